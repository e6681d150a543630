"""The sampling figure: a model's next token, drawn by the reader, once or often.

    sampling(characters, model.logits, after="h")

Temperature and top-k move the bars and the pieces of the strip; a dart draws a
character; a tally shows how often each was hit; and the whole table is there, so that
the reader can let the model write.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import torch
from torch import Tensor

from course.figures import Drawing, live

ALT = (
    "Bars: how likely each character is to come next. Below them a strip, cut into "
    "pieces as long as the bars, at which darts are thrown."
)
BARS = 8  # the likeliest characters; all others share one more bar
SIGNS = {" ": "␣", "\n": "⏎"}


def sampling(characters: Sequence[str], logits: Tensor, after: str) -> Drawing:
    """The figure, at temperature 1 and without top-k.

    Args:
        characters: the vocabulary, V single characters.
        logits: (V, V), finite; row a: the logits of what comes after character a. Two
            decimals of them travel with the figure.
        after: the character whose prediction is shown first.

    Raises:
        ValueError: if the shapes do not fit, `after` is not in the vocabulary, or a
            logit is not finite.
    """
    size = len(characters)
    if logits.shape != (size, size):
        raise ValueError(
            f"{size} characters need logits ({size}, {size}), got {tuple(logits.shape)}"
        )
    if not logits.isfinite().all():
        raise ValueError("a logit is infinite or NaN: smooth the counts (alpha > 0)")
    if after not in characters:
        raise ValueError(f"{after!r} is not in the vocabulary")
    table = logits.detach().double().cpu().round(decimals=2)  # (V, V)
    data = {
        "characters": list(characters),
        "logits": [[_short(value) for value in row] for row in table.tolist()],
        "after": characters.index(after),
        "bars": BARS,
    }
    return live("sampling", _picture(characters, table, after), ALT, data)


def _short(value: float) -> float | int:
    return int(value) if value == int(value) else round(value, 2)


def _picture(characters: Sequence[str], table: Tensor, after: str) -> str:
    row = table[characters.index(after)]  # (V,)
    order = row.argsort(descending=True, stable=True)  # (V,)
    chances = torch.softmax(row, dim=-1)[order].tolist()
    shown = min(BARS, len(characters))
    names = [_seen(characters[i]) for i in order[:shown].tolist()]
    parts = chances[:shown]
    if left := len(characters) - shown:
        names.append(f"{left} others")
        parts.append(sum(chances[shown:]))
    bars = "".join(map(_bar, range(len(parts)), names, parts))
    strip = "".join(
        f'<span class="fs-piece fs-hue{_hue(n)}" style="width:{100 * part:.2f}%">'
        f"{escape(name) if part > 0.04 and n < BARS else ''}</span>"
        for n, (name, part) in enumerate(zip(names, parts, strict=True))
    )
    options = "".join(
        f"<option{' selected' if c == after else ''}>{escape(_seen(c))}</option>"
        for c in characters
    )
    return f"""<div class="fs-controls">
<label>after <select class="fs-after">{options}</select></label>
<label><span class="fs-name">temperature <b>1.0</b></span>
<input class="fs-temperature" type="range" min="0" max="3" step="0.1" value="1"></label>
<label><span class="fs-name">top-k <b>all</b></span>
<input class="fs-top" type="range" min="1" max="{len(characters)}"
value="{len(characters)}"></label>
</div>
<div class="fs-bars"><span class="fs-head">p</span>
<span class="fs-head fs-hits"></span>{bars}</div>
<div class="fs-strip"><span class="fs-dart" hidden>▼</span>
<div class="fs-pieces">{strip}</div></div>
<p class="fs-says" role="status">What the model expects after {_seen(after)}.</p>
<div class="fs-controls">
<button type="button" class="fs-once">Draw once</button>
<button type="button" class="fs-often">Draw 100</button>
<button type="button" class="fs-write">Write 1</button>
<button type="button" class="fs-write-on">Write 100</button>
<button type="button" class="fs-again">Start again</button>
</div>
<p class="fs-written fs-controls"></p>"""


def _bar(number: int, name: str, part: float) -> str:
    return (
        f'<span class="fs-label">{escape(name)}</span>'
        f'<span class="fs-track"><span class="fs-bar fs-hue{_hue(number)}" '
        f'style="width:{100 * part:.2f}%"></span></span>'
        f'<span class="fs-chance">{part:.3f}</span><span class="fs-tally"></span>'
    )


def _hue(number: int) -> int:
    """Which of the six hues; 0, a grey, for all the others."""
    return 0 if number == BARS else number % 6 + 1


def _seen(character: str) -> str:
    return SIGNS.get(character, character)
