"""GPT beside BERT: whom each position may look at, and what it is asked to predict.

    visibility("One windy morning Jun bought a green comb for Ivy .".split())

GPT looks at itself and back, and predicts the next token at every position that has
one. BERT looks at every position; 15 % of the tokens, at least one, are gaps to fill
in, and another pass over the text has others. (Devlin et al. 2019, section 3.1: of the
tokens chosen there 8 in 10 are hidden. Here all are.)
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import torch

from course.figures import Drawing, live

CELL, LABEL = 15, 66  # px: the side of a square, the words beside the rows
GAP = "[MASK]"  # as BERT's own vocabulary calls it


def visibility(tokens: Sequence[str], seed: int = 0, draws: int = 20) -> Drawing:
    """Both for one sentence, at its middle.

    Args:
        tokens: the sentence.
        seed: of the gaps.
        draws: how many different texts with gaps can be seen.

    Raises:
        ValueError: if there are not two tokens at least.
    """
    length = len(tokens)
    if length < 2:
        raise ValueError(f"expected two tokens or more, got {length}")
    everything = torch.ones(length, length, dtype=torch.bool)
    sees = {"gpt": everything.tril(), "bert": everything}
    hidden, position = gaps(length, seed, draws), length // 2
    count = len(hidden[0])
    states = {
        "gpt": [_gpt_says(tokens, t) for t in range(length)],
        "bert": [
            [_bert_says(tokens, t, gap) for gap in (False, True)] for t in range(length)
        ],
    }
    lessons = {
        "gpt": f"One text gives <b>{length - 1}</b> predictions.",
        "bert": f"One text gives <b>{count}</b> prediction{'s' * (count > 1)}, "
        "and in another pass others.",
    }
    says = {
        "gpt": states["gpt"][position],
        "bert": states["bert"][position][position in hidden[0]],
    }
    draw = {
        "gpt": "",
        "bert": '<span class="fs-controls"><button type="button" class="fs-draw">'
        "Draw other gaps</button></span>",
    }
    panels = "".join(
        f'<div class="fs-panel fs-{kind}"><div class="fs-title"><b>{kind.upper()}</b>'
        f"{draw[kind]}</div>"
        f"{_grid(tokens, sees[kind], position)}"
        f"{_sentence(tokens, kind, sees[kind][position], position, hidden[0])}"
        f'<p class="fs-here">{says[kind]}</p><p>{lessons[kind]}</p></div>'
        for kind in sees
    )
    picture = (
        '<p class="fs-how">Each row marks the tokens that one position sees. '
        '<span class="fs-tap">Tap a row or a word.</span></p>'
        '<div class="fs-controls"><label>Position '
        f'<input type="range" min="1" max="{length}" value="{position + 1}" '
        f'aria-valuetext="{position + 1}, {escape(tokens[position])}"></label></div>'
        f'<div class="fs-panels">{panels}</div>'
        '<p class="fs-says fs-heard" role="status"></p>'
    )
    alt = (
        f"For the {length} tokens of “{' '.join(tokens)}”: under GPT a position sees "
        "itself and what is before it, and predicts the next token; under BERT it sees "
        "all, and gaps are filled in."
    )
    data = {
        "tokens": list(tokens),
        "sees": {kind: mask.int().tolist() for kind, mask in sees.items()},
        "gaps": hidden,
        "gap": GAP,
        "says": states,
    }
    return live("visibility", picture, alt, data)


def gaps(length: int, seed: int, draws: int) -> list[list[int]]:
    """For each draw the hidden positions: 15 % of them, and at least one."""
    generator = torch.Generator().manual_seed(seed)
    count = max(1, round(0.15 * length))
    return [
        sorted(torch.randperm(length, generator=generator)[:count].tolist())
        for _ in range(draws)
    ]


def _gpt_says(tokens: Sequence[str], t: int) -> str:
    seen = f"“{escape(tokens[t])}” sees {t + 1} of {len(tokens)} tokens"
    if t + 1 == len(tokens):
        return f"{seen}. The text ends here: there is no next token to predict."
    return f"{seen}, and has to predict the next one: “{escape(tokens[t + 1])}”."


def _bert_says(tokens: Sequence[str], t: int, gap: bool) -> str:
    seen = f"sees all {len(tokens)} tokens"
    if gap:
        return f"The gap {seen}, and has to fill itself in: “{escape(tokens[t])}”."
    return f"“{escape(tokens[t])}” {seen}. It is no gap: nothing is asked of it."


def _grid(tokens: Sequence[str], sees: torch.Tensor, position: int) -> str:
    """A row per position, a square per token; filled where the row may look."""
    length = len(tokens)
    rows = ""
    for t, row in enumerate(sees.tolist()):
        squares = "".join(
            f'<rect x="{LABEL + CELL * s}" y="{CELL * t}" width="{CELL}" '
            f'height="{CELL}" class="fs-{"sees" if seen else "blind"}"/>'
            for s, seen in enumerate(row)
        )
        rows += (
            f'<g class="fs-row{" fs-chosen" * (t == position)}">{squares}'
            f'<text x="{LABEL - 5}" y="{CELL * t + 12}">{escape(tokens[t])}</text>'
            f'<rect class="fs-frame" x="{LABEL + 1}" y="{CELL * t + 1}" '
            f'width="{CELL * length - 2}" height="{CELL - 2}"/></g>'
        )
    width, height = LABEL + CELL * length + 1, CELL * length
    return f'<svg viewBox="0 0 {width} {height}" aria-hidden="true">{rows}</svg>'


def _sentence(
    tokens: Sequence[str],
    kind: str,
    sees: torch.Tensor,
    position: int,
    hidden: Sequence[int],
) -> str:
    """The tokens as they are read, and under each what is to be predicted there."""
    items = ""
    for t, token in enumerate(tokens):
        gap = kind == "bert" and t in hidden
        target = token if gap else ""
        if kind == "gpt" and t + 1 < len(tokens):
            target = tokens[t + 1]
        kinds = " fs-seen" * bool(sees[t]) + " fs-chosen" * (t == position)
        items += (
            f'<span class="fs-token{kinds}"><b>{escape(GAP if gap else token)}</b>'
            f"<i>{escape(target)}</i></span>"
        )
    return f'<div class="fs-sentence" aria-hidden="true">{items}</div>'
