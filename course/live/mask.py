"""The mask and its effect: none, one that comes too late, and one that comes in time.

    mask("She hid the key under a box".split())

A table of weights: each row a position that looks, each column a token that is looked
at. The reader chooses where the mask goes, picks a row, and changes the scores of the
last token. Beside each row stand what its weights sum to and whether they have changed;
rows before the last must not.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import torch

from course.figures import Drawing, live

ALT = (
    "A table of attention weights with the sum of each row. Without a mask a row looks "
    "at later tokens; a mask after the softmax leaves sums below 1, which change with "
    "what is hidden; a mask before it leaves sums of 1 that nothing hidden can change."
)
KINDS = {"none": "No mask", "after": "Mask after softmax", "before": "Mask before it"}
CELL, LEFT, TOP = 36, 46, 22  # px: a square, the words beside the rows and above them
LATER = ' class="fs-later"'
SUM = 52  # px: the sum of a row, and a mark if it has changed


def mask(
    tokens: Sequence[str],
    kind: str = "after",
    row: int = 2,
    change: float = 0.0,
    seed: int = 3,
) -> Drawing:
    """The figure in one of its states.

    Args:
        tokens: seven at most, and short ones, so that a phone has room.
        kind: where the mask goes at first, a key of `KINDS`.
        row: the position that is looked at closely.
        change: what is added to all scores of the last token.
        seed: of the scores, which are normal.

    Raises:
        ValueError: if there are not two to seven tokens.
    """
    if not 2 <= len(tokens) <= 7:
        raise ValueError(f"expected two to seven tokens, got {len(tokens)}")
    scores = scores_of(len(tokens), seed)
    data = {"tokens": list(tokens), "scores": scores}
    return live("mask", _picture(tokens, scores, kind, row, change), ALT, data)


def scores_of(length: int, seed: int) -> list[list[float]]:
    """Scores of random queries and keys, with one decimal."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(length, length, generator=generator, dtype=torch.float64)
    return [[round(score, 1) for score in row] for row in scores.tolist()]


# ---- the first state; mask.js draws the others in the same way ----------------------


def weights_of(
    scores: Sequence[Sequence[float]], kind: str, change: float
) -> list[list[float]]:
    """The weights after the last token's scores have changed, under a kind of mask."""
    changed = torch.tensor(scores, dtype=torch.float64)
    changed[:, -1] += change
    seen = torch.ones_like(changed).tril() == 1
    if kind == "before":
        changed = changed.masked_fill(~seen, -torch.inf)
    weights = changed.softmax(-1)
    return (weights * seen if kind == "after" else weights).tolist()


def _picture(
    tokens: Sequence[str],
    scores: Sequence[Sequence[float]],
    kind: str,
    row: int,
    change: float,
) -> str:
    weights, before = weights_of(scores, kind, change), weights_of(scores, kind, 0)
    rows = "".join(
        _row(tokens, t, weights[t], weights[t] != before[t], t == row)
        for t in range(len(tokens))
    )
    names = "".join(
        f'<text x="{LEFT + CELL * (s + 0.5):g}" y="{TOP - 8}">{escape(token)}</text>'
        for s, token in enumerate(tokens)
    )
    width = LEFT + CELL * len(tokens) + SUM
    names += f'<text class="fs-head" x="{width}" y="{TOP - 8}">sum</text>'
    buttons = "".join(
        f'<button type="button" data-kind="{key}" '
        f'aria-pressed="{str(key == kind).lower()}">{name}</button>'
        for key, name in KINDS.items()
    )
    return f"""<div class="fs-controls">{buttons}</div>
<div class="fs-controls">
<label>Row <b class="fs-name">{escape(tokens[row])}</b>
<input class="fs-pick" type="range" min="0" max="{len(tokens) - 1}" value="{row}"
aria-valuetext="{escape(tokens[row])}"></label>
<label>Scores of “{escape(tokens[-1])}” <b class="fs-by">{_signed(change)}</b>
<input class="fs-change" type="range" min="-3" max="3" step="0.5" value="{change:g}"
aria-valuetext="{_signed(change)}"></label>
</div>
<svg viewBox="0 0 {width} {TOP + CELL * len(tokens) + 4}" aria-hidden="true">
{names}{rows}</svg>
<p class="fs-says" role="status">{says(tokens, weights, before, kind, row)}</p>"""


def _row(
    tokens: Sequence[str], t: int, weights: Sequence[float], moved: bool, chosen: bool
) -> str:
    y = TOP + CELL * t
    cells = "".join(
        f'<rect x="{LEFT + CELL * s + 1}" y="{y + 1}" width="{CELL - 2}" '
        f'height="{CELL - 2}" style="--w:{_percent(weight)}"'
        f"{LATER * (s > t)}/>"
        f'<text x="{LEFT + CELL * (s + 0.5):g}" y="{y + 22}">{_short(weight)}</text>'
        for s, weight in enumerate(weights)
    )
    x = LEFT + CELL * len(weights)
    leak = moved and t < len(weights) - 1
    return (
        f'<g class="fs-row{" fs-chosen" * chosen}{" fs-leak" * leak}">'
        f'<text class="fs-token" x="{LEFT - 6}" y="{y + 22}">{escape(tokens[t])}</text>'
        f'{cells}<text class="fs-sum" x="{x + SUM}" y="{y + 22}">'
        f"{sum(weights):.2f}</text>"
        f'<circle cx="{x + 12}" cy="{y + 18}" r="4"/>'
        f'<rect class="fs-frame" x="{LEFT}" y="{y}" width="{CELL * len(weights)}" '
        f'height="{CELL}"/></g>'
    )


def says(
    tokens: Sequence[str],
    weights: Sequence[Sequence[float]],
    before: Sequence[Sequence[float]],
    kind: str,
    row: int,
) -> str:
    """The state in two sentences: the chosen row, and which rows have changed."""
    seen = sum(weights[row][: row + 1])
    total = f"{seen:.2f}"
    name = escape(tokens[row])
    if row == len(tokens) - 1:
        first = f"“{name}” is the last token: nothing is hidden from it."
    elif kind == "none":
        first = f"“{name}” gives {1 - seen:.2f} of its attention to later tokens."
    elif kind == "after":
        first = (
            f"The weights of “{name}” sum to {total}: the missing {1 - seen:.2f} went "
            "to tokens it may not see."
        )
    else:
        first = f"“{name}” shares out {total} among what it may see."
    last = len(tokens) - 1
    moved = sum(weights[t] != before[t] for t in range(last))
    if weights[last] == before[last]:
        return f"{first} Change the scores of the last token: which rows notice?"
    return f"{first} Of the {last} rows before the last, {moved} noticed the change."


def _signed(change: float) -> str:
    return f"{change:+.1f}" if change else "as they are"


def _short(weight: float) -> str:
    return f"{weight:.2f}" if weight else ""


def _percent(weight: float) -> str:
    return f"{100 * weight:.1f}%"
