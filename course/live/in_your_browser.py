"""The model itself in a page: it writes, with its chances, and where its heads look.

    in_your_browser(model, encoding, {"a key": "Mina had a silver key"})

The script runs the model that `course.browser_model.script` puts into the page, with
the engine of `assets/gpt.js` and the tokenizer of `assets/bpe.js`. The first state is
drawn here, of what torch computes: paper shows it, and a page without scripts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import tiktoken
import torch
from torch import Tensor

from course.figures import Drawing, live
from course.small_model import START
from solutions.gpt_block import GPT

ALT = (
    "A text, token by token, that the model in this page goes on with; the tokens that "
    "may come next, with their chances; and for each head a strip: where it looks. In "
    "the text, tokens are filled as far as the chosen head looks at them."
)
BARS = 8  # the likeliest tokens; all others share one more line
TOP_K = 10  # the largest k to choose, before "all"
PACES = {2: "2 a second", 10: "10 a second", 30: "30 a second", 0: "full speed"}
PACE = 10
LEAST = 0.004  # a look of less is not drawn in a strip


def in_your_browser(
    model: GPT,
    encoding: tiktoken.Encoding,
    beginnings: Mapping[str, str],
    scripts: Sequence[str] = (),
    layer: int = 0,
    head: int = 0,
) -> Drawing:
    """The figure, at temperature 1 and without top-k; nothing is written yet.

    Args:
        model: with the weights that the page has, see `browser_model.rounded`.
        beginnings: name -> what to go on with; the first stands in the field at first.
        scripts: the addresses of the engine, the tokenizer and the model, which are
            loaded when the figure comes near; none, if the page has them already.
        layer, head: whose looks are shown first, counted from 0.

    Raises:
        ValueError: if the beginning does not fit the context, or there is no such head.
    """
    config, beginning = model.config, next(iter(beginnings.values()))
    ids = encoding.encode_ordinary(START + beginning.removeprefix(START))
    if len(ids) > config.n_positions:
        raise ValueError(
            f"the beginning has {len(ids)} tokens, and the context {config.n_positions}"
            ": shorten it"
        )
    if not (0 <= layer < config.n_layer and 0 <= head < config.n_head):
        raise ValueError(
            f"there is no layer {layer} with a head {head}: the model has "
            f"{config.n_layer} layers of {config.n_head} heads, counted from 0"
        )
    known = [
        seen(encoding.decode_single_token_bytes(n)) for n in range(encoding.n_vocab)
    ]
    tokens = [known[n] for n in ids]
    chances, looks = _read(model, ids)
    picture = (
        _controls(beginnings)
        + _text(tokens, _chances_of(ids, chances), looks[layer, head, -1].tolist())
        + f'<p class="fs-says" role="status">'
        f"{escape(in_words(tokens, looks[layer, head, -1], layer, head))}</p>"
        + f'<div class="fs-panels">{_bars(known, chances[-1])}'
        f"{_heads(looks[:, :, -1], layer, head)}</div>"
        '<p class="fs-machine"></p>'
    )
    data = {
        "start": START,
        "scripts": list(scripts),
        "layer": layer,
        "head": head,
        "bars": BARS,
        "least": LEAST,
    }
    return live("in_your_browser", picture, ALT, data)


@torch.no_grad()
def _read(model: GPT, ids: list[int]) -> tuple[Tensor, Tensor]:
    """The chances of what comes next (T, V), and where heads look (L, H, T, T)."""
    batch, looks = torch.tensor([ids]), []
    x = model.embedding(batch)  # (1, T, C)
    for block in model.blocks:
        looks.append(block.attention.weights(block.attention_norm(x))[0])
        x = block(x)
    return torch.softmax(model(batch)[0], dim=-1), torch.stack(looks)


def _chances_of(ids: list[int], chances: Tensor) -> list[float]:
    """Of each token, at its place; the first was given: ids T, (T, V) -> T numbers."""
    places = range(len(ids) - 1)
    return [1.0, *(chances[place, ids[place + 1]].item() for place in places)]


# ---- words ------------------------------------------------------------------------


def seen(token: bytes) -> str:
    """A token as it is read: its characters; or each byte, if these are not whole.

    >>> seen(b" key"), seen(b"\\xec\\x95")
    (' key', '<0xEC><0x95>')
    """
    try:
        return token.decode()
    except UnicodeDecodeError:
        return "".join(f"<0x{byte:02X}>" for byte in token)


def percent(chance: float) -> str:
    """In tenths of a percent; what is rounded to all or nothing says so.

    >>> [percent(p) for p in (0.0001, 0.1234, 0.9999, 1)]
    ['<0.1%', '12.3%', '>99.9%', '100%']
    """
    if chance in (0, 1):
        return f"{chance:.0%}"
    if 0.001 <= chance <= 0.999:
        return f"{100 * chance:.1f}%"
    return "<0.1%" if chance < 0.5 else ">99.9%"


def in_words(tokens: Sequence[str], looks: Tensor, layer: int, head: int) -> str:
    """Where the last token looks, in a sentence; looks (T,)."""
    most = looks.topk(min(3, len(looks)))
    named = ", ".join(
        f"{_quoted(tokens[place])} ({percent(look)})"
        for look, place in zip(most.values.tolist(), most.indices.tolist(), strict=True)
    )
    return (
        f"What comes next? Layer {layer}, head {head} looks from {_quoted(tokens[-1])} "
        f"at {named}."
    )


def _quoted(token: str) -> str:
    return f"“{token.strip() or _label(token)}”"


def _label(token: str) -> str:
    return token.replace(" ", "·").replace("\n", "⏎")


# ---- the first state --------------------------------------------------------------


def _controls(beginnings: Mapping[str, str]) -> str:
    examples = "".join(
        f'<option value="{escape(text)}">{escape(name)}</option>'
        for name, text in beginnings.items()
    )
    paces = "".join(
        f'<option value="{pace}"{" selected" * (pace == PACE)}>{name}</option>'
        for pace, name in PACES.items()
    )
    alone = " hidden" if len(beginnings) == 1 else ""
    return f"""<div class="fs-controls">
<label{alone}>example <select class="fs-example">{examples}</select></label>
<label class="fs-asks">a beginning
<textarea rows="4" spellcheck="false" autocapitalize="off" autocomplete="off">
{escape(next(iter(beginnings.values())))}</textarea></label>
<span class="fs-buttons"><button type="button" class="fs-write" disabled>Write</button>
<button type="button" class="fs-once" disabled>One token</button>
<button type="button" class="fs-again" disabled>Start again</button></span>
<label>seed <input class="fs-seed" type="number" min="0" max="999999" value="1"></label>
<label>pace <select class="fs-pace">{paces}</select></label>
<label><span class="fs-name">temperature <b>1.0</b></span>
<input class="fs-temperature" type="range" min="0" max="2" step="0.1" value="1"></label>
<label><span class="fs-name">top-k <b>all</b></span>
<input class="fs-top" type="range" min="1" max="{TOP_K + 1}" value="{TOP_K + 1}"
aria-valuetext="all"></label></div>"""


def _text(tokens: Sequence[str], chances: list[float], looks: list[float]) -> str:
    spans = ""
    for token, chance, look in zip(tokens, chances, looks, strict=True):
        word = token.strip()
        # A space before a word stands before its span, where a line may break.
        spans += " " if word and token.startswith(" ") else ""
        spans += (
            f'<span class="fs-given" style="--share:{100 * look:.1f}%;'
            f'--odd:{100 * (1 - chance):.1f}%">{escape(word or _label(token))}</span>'
        )
    return f'<p class="fs-text">{spans}<span class="fs-next fs-chosen">?</span></p>'


def _bars(known: Sequence[str], chances: Tensor) -> str:
    best = chances.topk(BARS)
    rows = [
        '<button type="button" class="fs-row" disabled>'
        f"{_bar(_label(known[n]), p)}</button>"
        for p, n in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]
    left, rest = len(known) - BARS, 1 - best.values.sum().item()
    rows.append(f'<span class="fs-row">{_bar(f"{left:,} others", rest)}</span>')
    return (
        '<div class="fs-bars" role="group" aria-label="What may come next">'
        f'<p class="fs-head">What may come next</p>{"".join(rows)}</div>'
    )


def _bar(name: str, chance: float) -> str:
    share = f"{100 * chance:.2f}%"
    return (
        f'<span class="fs-label">{escape(name)}</span>'
        f'<span class="fs-track" style="--own:{share}">'
        f'<span class="fs-bar" style="width:{share}"></span></span>'
        f'<span class="fs-chance">{percent(chance)}</span>'
    )


def _heads(looks: Tensor, layer: int, head: int) -> str:
    """A strip for each head: looks (L, H, T)."""
    layers, heads, length = looks.shape
    cells = ""
    for a in range(layers):
        cells += f'<span class="fs-layer">layer {a}</span>'
        for b in range(heads):
            cells += (
                f'<button type="button" data-layer="{a}" data-head="{b}" disabled '
                f'aria-pressed="{str((a, b) == (layer, head)).lower()}" '
                f'aria-label="layer {a}, head {b}"><span>{b}</span>'
                f'<svg viewBox="0 0 {length} 1" preserveAspectRatio="none" '
                'aria-hidden="true">'
                f'<path d="{strip(looks[a, b].tolist())}"/></svg></button>'
            )
    return (
        f'<div class="fs-heads" style="--heads:{heads}" role="group" '
        'aria-label="Where each head looks">'
        f'<p class="fs-head">Where each head looks</p>{cells}</div>'
    )


def strip(looks: Sequence[float]) -> str:
    """A bar for each token, as high as it is looked at, as the path of an SVG.

    >>> strip([0.25, 0.0, 0.75])
    'M0 1v-0.25h1v0.25zM2 1v-0.75h1v0.75z'
    """
    wide = max(1, round(len(looks) / 30))  # so that one token can be seen
    bars = (
        f"M{place} 1v-{look:.2f}h{wide}v{look:.2f}z"
        for place, look in enumerate(looks)
        if look >= LEAST
    )
    return "".join(bars)
