"""A training run: its losses, the floor below them, and what the model wrote meanwhile.

    training(read_log(folder / "log.jsonl"), floor=0.117)

A thin line is the loss of the batches, points are the held-out text. The reader chooses
a point, and reads what the model wrote at that step. Both axes are drawn here, the
linear one and the logarithmic one: the script only says which of them is seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from statistics import fmean
from typing import Any

from course.figures import Drawing, live

LOSSES = 150  # points of the line, at most: a phone has no more pixels for them
CHECKPOINTS = 60  # at most: their texts are most of what travels with the figure
ROOM = 0.12  # of the height, below all points: for the label of the floor
NICE = (1, 2, 5)


def training(
    entries: Sequence[Mapping[str, Any]], floor: float, alt: str | None = None
) -> Drawing:
    """The figure, with the last checkpoint chosen.

    Args:
        entries: the lines of a `log.jsonl`, in the order of their steps: `step` and
            `loss`, or `step`, `seconds`, `bits_per_character` and `text`. Of more than
            150 losses, neighbours are averaged; of more than 60 checkpoints, as many
            are kept, evenly spread, the first and the last among them.
        floor: the entropy of the text, in bits per character.
        alt: what the figure shows, in a sentence; None: a sentence with its numbers.

    Raises:
        ValueError: if the floor is not above 0, there is no checkpoint, an entry lacks
            something, a loss is not finite, or the steps do not rise.
    """
    if not (floor and math.isfinite(floor) and floor > 0):
        raise ValueError(f"the floor is {floor}, expected bits per character above 0")
    losses = _read(entries, "loss")
    checkpoints = _read(entries, "bits_per_character", "seconds", "text")
    if not checkpoints:
        raise ValueError(
            "no entry has bits_per_character: give the log of a run that was evaluated"
        )
    line = _averaged(losses)
    kept = _spread(checkpoints)
    says = [in_words(step, seconds, bits, floor) for step, bits, seconds, _text in kept]
    data = {
        "steps": [f"{step:,}" for step, *_ in kept],
        "says": says,
        "texts": [seen(text) for *_, text in kept],
    }
    size = math.ceil(len(losses) / len(line)) if line else 1
    picture = _picture(line, kept, floor, data, size)
    return live("training", picture, alt or _alt(checkpoints, floor), data)


def in_words(step: int, seconds: float, bits: float, floor: float) -> str:
    """A checkpoint in a sentence: `Step 2,000, after 12.5 minutes: ...`."""
    return (
        f"Step {step:,}, after {duration(seconds)}: {bits:.3f} bits per character, "
        f"{distance(bits, floor)}."
    )


def distance(bits: float, floor: float) -> str:
    """How far bits per character are from the floor, in percent of it."""
    side = "above" if bits >= floor else "below"
    return f"{abs(bits / floor - 1):,.1%} {side} the floor"


def duration(seconds: float) -> str:
    """In the unit that has few digits: `59.9 seconds`, `12.5 minutes`, `3.1 hours`."""
    for size, unit in (1, "seconds"), (60, "minutes"):
        if round(seconds / size, 1) < 100:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 3600:,.1f} hours"


def seen(text: str) -> str:
    """A text as it is shown: control characters as signs, and words where it is empty.

    A model that has learned nothing yet writes any bytes.
    """
    if not text.strip():
        return "(nothing)"
    signs = {code: 0x2400 + code for code in range(32) if chr(code) != "\n"}
    return text.translate(signs | {0x7F: "␡"})


# ---- the entries ------------------------------------------------------------------


def _read(entries: Sequence[Mapping[str, Any]], kind: str, *more: str) -> list[tuple]:
    """(step, value of `kind`, values of `more`) of each entry that has this kind.

    Raises:
        ValueError: as `training` says.
    """
    found = []
    for entry in entries:
        if kind not in entry:
            continue
        for name in ("step", *more):
            if name not in entry:
                raise ValueError(
                    f"step {entry.get('step', '?')}: an entry with {kind} has no {name}"
                )
        step, value = entry["step"], entry[kind]
        if not math.isfinite(value):
            raise ValueError(f"at step {step} the {kind} is {value}")
        if found and step <= found[-1][0]:
            raise ValueError(
                f"step {step} comes after step {found[-1][0]}: give the entries of one "
                "run, in order"
            )
        found.append((step, value, *(entry[name] for name in more)))
    return found


def _averaged(losses: list[tuple[int, float]]) -> list[tuple[float, float]]:
    """At most `LOSSES` points: the mean step and the mean loss of neighbours."""
    size = math.ceil(len(losses) / LOSSES) or 1
    groups = [losses[at : at + size] for at in range(0, len(losses), size)]
    return [tuple(map(fmean, zip(*group, strict=True))) for group in groups]


def _spread(checkpoints: list[tuple]) -> list[tuple]:
    """At most `CHECKPOINTS`, evenly spread from the first to the last."""
    last = len(checkpoints) - 1
    if last < CHECKPOINTS:
        return checkpoints
    return [checkpoints[n * last // (CHECKPOINTS - 1)] for n in range(CHECKPOINTS)]


# ---- the picture ------------------------------------------------------------------


def _picture(
    line: list[tuple[float, float]],
    checkpoints: list[tuple],
    floor: float,
    data: dict[str, Any],
    size: int,
) -> str:
    """HTML: lengths in percent of the plot, so that it is as wide as its page."""
    bits = [value for _, value, *_ in checkpoints]
    linear = _Linear([loss for _, loss in line], bits, floor)
    logarithmic = _Logarithmic([loss for _, loss in line], bits, floor)
    end = max(1, *(step for step, *_ in [*line, *checkpoints]))
    last = len(checkpoints) - 1

    stops = "".join(
        f'<i class="fs-stop{" fs-chosen" * (n == last)}" '
        f'style="--x:{100 * step / end:.2f}%;--y:{linear.down(value):.2f}%;'
        f'--z:{logarithmic.down(value):.2f}%"></i>'
        for n, (step, value, *_) in enumerate(checkpoints)
    )
    batches = "one batch" if size == 1 else f"mean of {size} batches"
    thin = f'<span class="fs-thin">loss, {batches}</span>' if line else ""
    return f"""<div class="fs-top"><span class="fs-name">
<span class="fs-linear">bits per character</span>
<span class="fs-logarithmic">bits above the floor</span></span>
<span class="fs-controls"><button type="button" aria-pressed="false">
logarithmic axis</button></span></div>
<div class="fs-plot" aria-hidden="true">
{_axis("linear", linear, line, end)}{_axis("logarithmic", logarithmic, line, end)}
{stops}</div>
<div class="fs-steps" aria-hidden="true">{_steps(end)}</div>
<div class="fs-legend" aria-hidden="true">{thin}
<span class="fs-held">held-out text</span></div>
<div class="fs-controls"><label><span class="fs-name">step
<b>{data["steps"][-1]}</b></span><input type="range" min="0" max="{last}" value="{last}"
aria-valuetext="{data["steps"][-1]}"></label></div>
<p class="fs-says" role="status">{data["says"][-1]}</p>
<p class="fs-wrote">What the model wrote at this step:</p>
<div class="fs-story"><p class="fs-chosen">{escape(data["texts"][-1])}</p></div>"""


class _Linear:
    """Bits per character; the floor is a line near the bottom."""

    def __init__(self, losses: list[float], bits: list[float], floor: float) -> None:
        self.floor = floor
        low, self.high = min(floor, *bits), max(floor, *losses, *bits)
        span = max(self.high - low, floor / 100)
        self.low = low - ROOM * span

    def down(self, value: float) -> float:
        """How far a value lies below the top of the plot, in percent of its height."""
        return 100 * (self.high - value) / (self.high - self.low)

    def marks(self) -> list[tuple[float, str]]:
        ticks, digits = _ticks(self.floor, self.high, 6)
        return [(tick, f"{tick:.{digits}f}") for tick in ticks]


class _Logarithmic:
    """The logarithm of the bits above the floor, which is infinitely far below."""

    def __init__(self, losses: list[float], bits: list[float], floor: float) -> None:
        self.floor = floor
        # A batch may by chance lie below the floor: the held-out text sets the bottom.
        self.least = min(map(self._log, bits))
        self.high = max(self.least + 0.3, *map(self._log, [*losses, *bits]))
        self.low = self.least - ROOM * (self.high - self.least)

    def _log(self, value: float) -> float:
        """A thousandth of the floor above it counts as the nearest."""
        return math.log10(max(value - self.floor, self.floor / 1000))

    def down(self, value: float) -> float:
        """How far a value lies below the top of the plot, in percent of its height."""
        return 100 * (self.high - self._log(value)) / (self.high - self.low)

    def marks(self) -> list[tuple[float, str]]:
        parts = (1,) if self.high - self.least > 4 else NICE
        found = [
            (part * 10.0**power, max(0, -power))
            for power in range(math.floor(self.least), math.ceil(self.high) + 1)
            for part in parts
            if self.least <= math.log10(part) + power <= self.high
        ]
        if len(found) < 2:  # all of a short run may lie between two of them
            ticks, digits = _ticks(10**self.least, 10**self.high, 4)
            found = [(tick, digits) for tick in ticks]
        return [(self.floor + above, f"{above:.{n}f}") for above, n in found]


def _axis(
    kind: str, axis: _Linear | _Logarithmic, line: list[tuple[float, float]], end: float
) -> str:
    """All that belongs to one of the two axes: the class of the figure shows it."""
    marks = "".join(
        f'<span class="fs-mark" style="top:{axis.down(value):.2f}%">{name}</span>'
        for value, name in axis.marks()
    )
    points = " ".join(
        f"{1000 * step / end:.1f},{10 * axis.down(loss):.1f}" for step, loss in line
    )
    floor = f"<span>entropy floor {axis.floor:.3f}</span>"
    if kind == "linear":
        height = f"{axis.down(axis.floor):.2f}%"
        floor = f'<div class="fs-floor" style="top:{height}">{floor}</div>'
    else:
        floor = f'<div class="fs-floor fs-under">{floor}</div>'
    return (
        f'<div class="fs-{kind}">{marks}{floor}<svg viewBox="0 0 1000 1000" '
        f'preserveAspectRatio="none"><polyline points="{points}"/></svg></div>'
    )


def _steps(end: float) -> str:
    """The numbers below the plot; one at its right end must not stick out."""
    steps, digits = _ticks(0, end, min(5, math.floor(end) + 1))  # whole steps
    html = ""
    for n, step in enumerate(steps):
        share = step / end
        kind = ' class="fs-end"' if share > 0.93 else ""
        name = f"{step:,.{digits}f}" if n else "step 0"
        html += f'<span{kind} style="left:{100 * share:.2f}%">{name}</span>'
    return html


def _ticks(low: float, high: float, most: int) -> tuple[list[float], int]:
    """Round numbers from `low` to `high`, at most `most`, and how many decimals."""
    power = math.floor(math.log10((high - low) / most or 1))
    while True:
        for part in NICE:
            step = part * 10.0**power
            first, last = math.ceil(low / step), math.floor(high / step)
            if last - first < most:
                return [n * step for n in range(first, last + 1)], max(0, -power)
        power += 1


def _alt(checkpoints: list[tuple], floor: float) -> str:
    (first, before, *_), (last, after, *_) = checkpoints[0], checkpoints[-1]
    return (
        f"Loss over the steps of a training run. Held-out text: {before:.3f} bits per "
        f"character at step {first:,}, {after:.3f} at step {last:,}; the entropy floor "
        f"is {floor:.3f}. Below, what the model wrote at the step that is chosen."
    )
