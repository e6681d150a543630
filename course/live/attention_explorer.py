"""Pick a token and a head, and see whom it looks at, in a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from torch import Tensor

from course.figures import Drawing, live

LEAST = 2
"""Percent: less is not shown, and not kept in the page."""


def attention_explorer(
    tokens: Sequence[str],
    weights: Tensor,
    token: int,
    layer: int = 0,
    head: int = 0,
) -> Drawing:
    """The text, with every token filled as far as the chosen token looks at it.

    Args:
        tokens: the text, one piece per token.
        weights: (L, H, T, T), of L layers with H heads; each row sums to 1.
        token, layer, head: what is chosen first, counted from 0.

    Raises:
        ValueError: if `weights` is not shaped for the tokens.
    """
    layers, heads, *square = weights.shape
    if square != [len(tokens)] * 2:
        raise ValueError(
            f"{len(tokens)} tokens need weights (L, H, {len(tokens)}, {len(tokens)}), "
            f"got {tuple(weights.shape)}"
        )
    looks = [[_sparse(head) for head in layer] for layer in weights]
    data = {"tokens": list(tokens), "looks": looks, "first": [layer, head, token]}
    shares = dict(zip(*[iter(looks[layer][head][token])] * 2, strict=True))
    words = escape(in_words(tokens, shares, token))
    picture = (
        f'<p class="fs-head"><b>{_title(layer, head)}</b></p>'
        f'<div class="fs-controls">{_buttons(layers, heads, layer, head)}</div>'
        f'<p class="fs-text">{_text(tokens, shares, token)}</p>'
        '<div class="fs-controls"><label class="fs-token">token '
        f'<input type="range" min="0" max="{len(tokens) - 1}" value="{token}">'
        "</label></div>"
        f'<p class="fs-says" role="status">{words}</p>'
    )
    alt = (
        f"A text of {len(tokens)} tokens. {_title(layer, head)} "
        f"{in_words(tokens, shares, token)}"
    )
    return live("attention_explorer", picture, alt, data)


def in_words(tokens: Sequence[str], shares: dict[int, int], token: int) -> str:
    """Whom the token looks at most, in a sentence."""
    most = sorted(shares, key=lambda place: (-shares[place], place))[:3]
    named = ", ".join(f"{_quoted(tokens[s])} ({shares[s]}%)" for s in most)
    return (
        f"From {_quoted(tokens[token])} it looks at {named or 'nothing in particular'}."
    )


def _sparse(rows: Tensor) -> list[list[int]]:
    """For each token: place, percent, place, percent, ... of what it looks at."""
    percent = (100 * rows).round().int().tolist()
    return [
        [number for s, p in enumerate(row) if p >= LEAST for number in (s, p)]
        for row in percent
    ]


def _title(layer: int, head: int) -> str:
    return f"Layer {layer}, head {head}."


def _buttons(layers: int, heads: int, layer: int, head: int) -> str:
    """One row of buttons for each layer."""
    return "".join(
        f'<span role="group" aria-label="Layer {a}">layer {a}: head '
        + "".join(
            f'<button type="button" data-layer="{a}" data-head="{b}" '
            f'aria-pressed="{str((a, b) == (layer, head)).lower()}" '
            f'aria-label="layer {a}, head {b}">{b}</button>'
            for b in range(heads)
        )
        + "</span>"
        for a in range(layers)
    )


def _text(tokens: Sequence[str], shares: dict[int, int], chosen: int) -> str:
    return "".join(
        f"<span{' class=fs-chosen' if n == chosen else ''} "
        f'style="--share:{shares.get(n, 0)}%">'
        f"{escape(token) if token.strip() else '⏎ '}</span>"
        for n, token in enumerate(tokens)
    )


def _quoted(token: str) -> str:
    return f"“{token.strip() or '⏎'}”"
