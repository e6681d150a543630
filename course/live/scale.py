"""The scale figure: dot products grow with the width, and a softmax saturates.

    scale()

On the left the scores are divided by a temperature that the reader chooses, on the
right by the square root of the width D. Above, how far the scores of random queries and
keys spread; below, the softmax of one query's scores, and how much it can still learn.
All widths are cut from the same random rows: the first D numbers of each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from course.figures import Drawing, live

ALT = (
    "Left, scores divided by a temperature; right, by the root of the width D. Each "
    "has a histogram of scores and eight bars, the softmax of one query's scores."
)
WIDTHS = (1, 4, 16, 64, 256, 1024)
TEMPERATURES = (0.5, 1, 2, 4, 8, 16, 32)
PAIRS = 400  # random pairs of a query and a key, for the histogram
KEYS = 8  # what one query looks at
REACH = 40  # the histogram ends at scores of -40 and 40; what is further is counted
HIGH = 0.5  # the share that a bar of full height has
UP, DOWN = 60, 76  # px: the height of the histogram, and of a weight of 1
FLOOR = UP + 62 + DOWN  # px: where the weights stand


def scale(width: int = 64, temperature: float = 1) -> Drawing:
    """The figure at one of its widths, and one of its temperatures on the left."""
    rows, spread = scores()
    data = {
        "widths": WIDTHS,
        "temperatures": TEMPERATURES,
        "rows": rows,
        "spread": spread,
        "reach": REACH,
        "high": HIGH,
        "up": UP,
        "down": DOWN,
        "floor": FLOOR,
    }
    return live("scale", _picture(width, temperature, rows, spread), ALT, data)


def scores() -> tuple[list[list[float]], list[list[float]]]:
    """For each width: one query times 8 keys, and 400 queries times a key of their own.

    The numbers are normal, with mean 0 and variance 1; one decimal is kept of what goes
    into the histogram, three of what goes into the softmax.
    """
    generator = torch.Generator().manual_seed(10)
    longest = max(WIDTHS)
    ends = [width - 1 for width in WIDTHS]

    def products(queries: int, keys: int, digits: int) -> list[list[float]]:
        q = torch.randn(queries, longest, generator=generator, dtype=torch.float64)
        k = torch.randn(keys, longest, generator=generator, dtype=torch.float64)
        growing = (q * k).cumsum(-1)[:, ends]  # (keys, W): the first D channels each
        return [[round(x, digits) for x in row] for row in growing.T.tolist()]

    return products(1, KEYS, 3), products(PAIRS, PAIRS, 1)


# ---- the first state; scale.js draws the others in the same way ---------------------


def _picture(
    width: int,
    temperature: float,
    rows: Sequence[Sequence[float]],
    spread: Sequence[Sequence[float]],
) -> str:
    at = WIDTHS.index(width)
    left = _panel(
        "left", f"q · k / τ, τ = {temperature:g}", rows[at], spread[at], temperature
    )
    root = math.sqrt(width)
    right = _panel("right", f"q · k / √D, √D = {root:g}", rows[at], spread[at], root)
    return f"""<div class="fs-controls">
<label><span class="fs-name">width D <b>{width}</b></span>
<input class="fs-width" type="range" min="0" max="{len(WIDTHS) - 1}" value="{at}"
aria-valuetext="{width}"></label>
<label><span class="fs-name">temperature τ <b>{temperature:g}</b></span>
<input class="fs-heat" type="range" min="0" max="{len(TEMPERATURES) - 1}"
value="{TEMPERATURES.index(temperature)}" aria-valuetext="{temperature:g}"></label>
</div>
<div class="fs-panels">{left}{right}</div>
<p class="fs-says" role="status">{says(width, temperature, rows[at])}</p>"""


def says(width: int, temperature: float, row: Sequence[float]) -> str:
    """The state of both sides in words."""
    root = math.sqrt(width)
    left, right = (max(softmax(row, divisor)) for divisor in (temperature, root))
    words = f"D = {width}: the largest weight is {left:.2f} on the left"
    if temperature == root:
        return f"{words} and on the right: √D is a temperature, here {root:g}."
    return f"{words}, {right:.2f} on the right."


def softmax(row: Sequence[float], divisor: float) -> list[float]:
    scaled = torch.tensor(row, dtype=torch.float64) / divisor
    return torch.softmax(scaled, dim=-1).tolist()


def _panel(
    side: str,
    title: str,
    row: Sequence[float],
    spread: Sequence[float],
    divisor: float,
) -> str:
    weights = softmax(row, divisor)
    bars = "".join(
        f'<rect x="{8 + 36 * n}" y="{FLOOR - DOWN * w:.1f}" width="28" '
        f'height="{DOWN * w:.1f}"/>'
        f'<text class="fs-weight" x="{22 + 36 * n}" y="{FLOOR - DOWN * w - 4:.1f}">'
        f"{w:.2f}</text>"
        for n, w in enumerate(weights)
    )
    ticks = "".join(
        f'<text x="{148 + 3.6 * score:g}" y="{UP + 14}">{score:g}</text>'
        for score in (-40, -20, 0, 20, 40)
    )
    return f"""<div class="fs-panel fs-{side}"><b>{title}</b>
<svg viewBox="-8 0 312 {FLOOR + 18}" aria-hidden="true">
<path class="fs-spread" d="{histogram(spread, divisor)}"/>
<path class="fs-line" d="M0 {UP}H296M0 {FLOOR}H296"/>{ticks}
<text class="fs-pairs" x="148" y="{UP + 29}">{pairs(spread, divisor)}</text>
<g class="fs-weights">{bars}</g>
<text x="148" y="{FLOOR + 14}">the weights of 8 keys</text></svg>
<p class="fs-learns">Steepest slope of a weight:
<b>{max(w * (1 - w) for w in weights):.3f}</b></p></div>"""


def pairs(spread: Sequence[float], divisor: float) -> str:
    """What the histogram shows, in words."""
    beyond = sum(abs(_nearest(score / divisor)) > REACH for score in spread)
    outside = f", {beyond} beyond ±{REACH}" if beyond else ""
    return f"scores of {PAIRS} random pairs{outside}"


def _nearest(score: float) -> int:
    return math.floor(score + 0.5)


def histogram(spread: Sequence[float], divisor: float) -> str:
    """A path: for each whole score from -40 to 40, how many pairs are nearest to it."""
    counts = [0] * (2 * REACH + 1)
    for score in spread:
        nearest = _nearest(score / divisor)
        if abs(nearest) <= REACH:
            counts[nearest + REACH] += 1
    path = ""
    for n, count in enumerate(counts):
        if count:
            height = UP * min(1, count / len(spread) / HIGH)
            x = 148 + 3.6 * (n - REACH)
            path += f"M{x - 1.8:.1f} {UP}v{-height:.1f}h3.6v{height:.1f}z"
    return path
