"""Cut a model's real prediction: by temperature, top-k and top-p, in this order.

    next_token({"One rainy morning": logits}, tokens)

The bars are the likeliest tokens, before and after; a sentence counts what is left to
draw from. Order and ties are those of `keep_top_k` and `keep_top_p`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import torch
from torch import Tensor

from course.figures import Drawing, live

ALT = (
    "Bars: how likely each token is to come next, after temperature, top-k and top-p; "
    "a mark shows how likely it was before."
)
BARS = 9  # the likeliest tokens; all others share one more bar
TOP_K = (1, 2, 3, 5, 10, 20, 50)  # and then "all"
SIGNS = {" ": "␣", "\n": "⏎"}


def next_token(predictions: Mapping[str, Tensor], tokens: Sequence[str]) -> Drawing:
    """The figure: nothing is cut at first.

    Args:
        predictions: for each beginning of a text the logits of what comes next, (V,),
            finite; the first is shown first. Two decimals travel with the figure.
        tokens: the vocabulary, V pieces of text.

    Raises:
        ValueError: if there is no prediction, or its shape does not fit.
    """
    if not predictions:
        raise ValueError("no predictions: give at least one text with its logits")
    rows = []
    for text, logits in predictions.items():
        if logits.shape != (len(tokens),):
            raise ValueError(
                f"{len(tokens)} tokens need logits ({len(tokens)},), got "
                f"{tuple(logits.shape)} after {text!r}"
            )
        if not logits.isfinite().all():
            raise ValueError(f"after {text!r} a logit is infinite or NaN")
        rows.append(logits.detach().double().cpu().round(decimals=2))
    # Only the labels that are ever shown travel with the figure.
    shown = min(BARS, len(tokens))
    orders = [
        row.argsort(descending=True, stable=True)[:shown].tolist() for row in rows
    ]
    data = {
        "logits": [[round(value, 2) for value in row.tolist()] for row in rows],
        "orders": orders,
        "labels": [[seen(tokens[i]) for i in order] for order in orders],
        "stops": TOP_K,
    }
    return live("next_token", _picture(list(predictions), rows[0], data), ALT, data)


def seen(token: str) -> str:
    """A token as it is shown: every space and every end of line as a sign."""
    return "".join(SIGNS.get(character, character) for character in token)


def _picture(texts: list[str], row: Tensor, data: dict) -> str:
    options = "".join(f"<option>{escape(text)} …</option>" for text in texts)
    chances = torch.softmax(row, dim=-1)
    parts = chances[data["orders"][0]].tolist()
    names = [escape(label) for label in data["labels"][0]]
    if others := len(row) - len(parts):
        names.append(f"{others:,} others")
        parts.append(1 - sum(parts))
    bars = "".join(
        f'<span class="fs-label">{name}</span><span class="fs-track" '
        f'style="--was:{100 * part:.2f}%"><span class="fs-bar" '
        f'style="width:{100 * part:.2f}%"></span></span>'
        f'<span class="fs-chance">{part:.3f}</span>'
        for name, part in zip(names, parts, strict=True)
    )
    return f"""<div class="fs-controls">
<label class="fs-after">after <select>{options}</select></label>
<label><span class="fs-name">temperature <b>1.0</b></span>
<input class="fs-heat" type="range" min="0" max="3" step="0.1" value="1"></label>
<label><span class="fs-name">top-k <b>all</b></span>
<input class="fs-k" type="range" min="0" max="{len(TOP_K)}" value="{len(TOP_K)}"
aria-valuetext="all"></label>
<label><span class="fs-name">top-p <b>1.00</b></span>
<input class="fs-p" type="range" min="0" max="1" step="0.05" value="1"></label>
</div>
<div class="fs-bars">{bars}</div>
<p class="fs-says" role="status">{says(len(row), len(row), 1)}</p>"""


def says(left: int, size: int, mass: float) -> str:
    """How many tokens are left to draw from, and their share before they were cut."""
    if left == size:
        return f"All {size:,} tokens are left to draw from."
    verb = "is" if left == 1 else "are"
    return (
        f"{left:,} of {size:,} tokens {verb} left to draw from. "
        f"Before the cut, {mass:.1%} of the probability was theirs."
    )
