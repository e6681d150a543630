"""How large the numbers are after each layer, for larger and larger weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from course.figures import Drawing, live

LEFT, RIGHT, TOP, BOTTOM = 40, 335, 10, 190  # of the plot, in a view box of 340 by 222
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2")


def depth(sizes: Mapping[str, Mapping[int, Sequence[float]]]) -> Drawing:
    """Curves over the layers, one for each kind of norm; a slider scales the weights.

    `sizes[kind][scale]` holds the standard deviation after 0, 1, 2, ... layers, with
    all weights made `scale` times as large. The figure begins at the largest scale.

    Raises:
        ValueError: if the curves do not all have the same scales and length.
    """
    scales = sorted(next(iter(sizes.values())))
    lengths = {len(curve) for kind in sizes.values() for curve in kind.values()}
    if len(lengths) != 1 or any(sorted(kind) != scales for kind in sizes.values()):
        raise ValueError("every kind needs a curve of the same length for each scale")
    everything = [
        v for kind in sizes.values() for curve in kind.values() for v in curve
    ]
    lowest = math.floor(math.log10(min(everything)))
    highest = math.ceil(math.log10(max(everything)))

    def height(value: float) -> float:
        return BOTTOM - (math.log10(value) - lowest) / (highest - lowest) * (
            BOTTOM - TOP
        )

    def points(curve: Sequence[float]) -> str:
        step = (RIGHT - LEFT) / (len(curve) - 1)
        return " ".join(
            f"{LEFT + n * step:.1f},{height(value):.1f}"
            for n, value in enumerate(curve)
        )

    states = [
        {
            "scale": scale,
            "points": [points(kind[scale]) for kind in sizes.values()],
            "ends": [_shown(kind[scale][-1]) for kind in sizes.values()],
        }
        for scale in scales
    ]
    last = states[-1]
    grid = "".join(
        f'<path d="M{LEFT} {height(10**power):.1f}H{RIGHT}" stroke="currentColor" '
        f'stroke-opacity=".18"/><text x="{LEFT - 5}" y="{height(10**power) + 4:.1f}" '
        f'text-anchor="end">{_power(power)}</text>'
        for power in range(lowest, highest + 1, 2 if highest - lowest > 4 else 1)
    )
    curves = "".join(
        f'<polyline points="{line}" fill="none" stroke="var(--fs-{n + 1})" '
        f'stroke-width="2.2" stroke-dasharray="{DASHES[n]}"/>'
        for n, line in enumerate(last["points"])
    )
    layers = lengths.pop() - 1
    svg = (
        '<svg viewBox="0 0 340 222" style="max-width:560px" aria-hidden="true" '
        f'font-size="11">{grid}{curves}'
        f'<text x="{LEFT}" y="206" text-anchor="middle">0</text>'
        f'<text x="{RIGHT}" y="206" text-anchor="end">{layers} layers</text>'
        f'<text x="{(LEFT + RIGHT) / 2}" y="218" text-anchor="middle">'
        "standard deviation after each layer</text></svg>"
    )
    legend = "".join(
        f'<li><svg viewBox="0 0 30 10" aria-hidden="true"><path d="M0 5H30" '
        f'stroke="var(--fs-{n + 1})" stroke-width="2.6" '
        f'stroke-dasharray="{DASHES[n]}"/></svg>{escape(kind)} '
        f"<b>{last['ends'][n]}</b></li>"
        for n, kind in enumerate(sizes)
    )
    controls = (
        '<div class="fs-controls"><label>weights made larger <b class="fs-scale">'
        f"{scales[-1]}×</b>"
        f'<input type="range" min="0" max="{len(scales) - 1}" '
        f'value="{len(scales) - 1}"></label></div>'
    )
    says = f'<p class="fs-says" role="status">{_sentence(list(sizes), last)}</p>'
    return live(
        "depth",
        f"{controls}{svg}<ul>{legend}</ul>{says}",
        "Curves of the standard deviation over the layers of a tower, one for each "
        "kind of norm; the weights can be made larger.",
        {"states": states, "sentences": [_sentence(list(sizes), s) for s in states]},
    )


def _sentence(kinds: list[str], state: dict) -> str:
    ends = ", ".join(
        f"{kind} {end}" for kind, end in zip(kinds, state["ends"], strict=True)
    )
    return f"Weights {state['scale']} times as large. At the end: {ends}."


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _power(power: int) -> str:
    names = {-2: "0.01", -1: "0.1", 0: "1", 1: "10", 2: "100", 3: "1,000"}
    up = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return names.get(power, f"10{up}")
