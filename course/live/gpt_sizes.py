"""Where the numbers and the work of a GPT go, as its sizes change.

    gpt_sizes()

Four sliders and a few well-known models; two bars, the parameters and the FLOPs of one
token, each cut into the parts of the model. The sums are those of `gpt_parameters` and
`forward_flops`, to the last one.
"""

from __future__ import annotations

import math

from course.figures import Drawing, live
from solutions.gpt_block import PRESETS

ALT = (
    "Two bars: the parameters of a GPT, and the work of one token, each cut into the "
    "parts of the model."
)
SIZES = ("width", "layers", "vocabulary", "context")
STOPS = {
    "width": (64, 128, 192, 256, 384, 512, 768, 1024, 1280, 1600, 2048, 4096, 12288),
    "layers": (1, 2, 4, 6, 8, 12, 24, 36, 48, 96),
    "vocabulary": (256, 512, 1600, 2048, 8192, 32000, 50257, 128000, 200000),
    "context": (64, 176, 256, 512, 1024, 2048, 4096, 8192, 32768, 131072),
}
MODELS = {
    "this chapter's": (64, 2, 1600, 176),
    **{
        name: (config.n_embd, config.n_layer, config.vocab_size, config.n_positions)
        for name, config in PRESETS.items()
    },
    "GPT-3's sizes": (12288, 96, 50257, 2048),
}
PARTS = {
    "parameters": (
        "token table",
        "position table",
        "attention",
        "feed-forward layers",
        "norms",
    ),
    "FLOPs per token": (
        "output",
        "scores and averages",
        "attention's matrices",
        "feed-forward layers",
    ),
}
HUES = {"parameters": (1, 2, 3, 4, 5), "FLOPs per token": (1, 6, 3, 4)}


def gpt_sizes(model: str = "gpt2") -> Drawing:
    """The figure, with the sizes of one of `MODELS` first.

    Raises:
        ValueError: if there is no such model.
    """
    if model not in MODELS:
        raise ValueError(f"no model {model!r}; there are {', '.join(MODELS)}")
    sizes = MODELS[model]
    data = {"stops": list(STOPS.values()), "models": list(MODELS.items())}
    return live("gpt_sizes", _picture(model, sizes), ALT, data)


def parameters(width: int, layers: int, vocabulary: int, context: int) -> list[int]:
    """Of each part, in the order of `PARTS`."""
    return [
        vocabulary * width,
        context * width,
        layers * (4 * width**2 + 4 * width),
        layers * (8 * width**2 + 5 * width),
        layers * 4 * width + 2 * width,
    ]


def flops(width: int, layers: int, vocabulary: int, context: int) -> list[int]:
    """Of one token in a text that fills the context, in the order of `PARTS`."""
    return [
        2 * vocabulary * width,
        layers * 4 * context * width,
        layers * 8 * width**2,
        layers * 16 * width**2,
    ]


# ---- the first state; gpt_sizes.js draws the others in the same way -----------------


def _picture(model: str, sizes: tuple[int, ...]) -> str:
    buttons = "".join(
        f'<button type="button" aria-pressed="{str(name == model).lower()}">{name}'
        "</button>"
        for name in MODELS
    )
    sliders = "".join(
        f'<label><span class="fs-name">{name} <b>{value:,}</b></span>'
        f'<input type="range" min="0" max="{len(stops) - 1}" '
        f'value="{stops.index(value)}" aria-valuetext="{value:,}"></label>'
        for (name, stops), value in zip(STOPS.items(), sizes, strict=True)
    )
    counts = parameters(*sizes), flops(*sizes)
    panels = "".join(
        _panel(title, parts) for title, parts in zip(PARTS, counts, strict=True)
    )
    return (
        f'<div class="fs-controls fs-models">{buttons}</div>'
        f'<div class="fs-controls fs-sizes">{sliders}</div>'
        f'<div class="fs-panels">{panels}</div>'
        f'<p class="fs-says" role="status">{says(sizes)}</p>'
    )


def says(sizes: tuple[int, ...]) -> str:
    """The sizes and the sums in a sentence."""
    width, layers, vocabulary, context = sizes
    return (
        f"Width {width:,}, {layers} layer{'s' * (layers > 1)}, {vocabulary:,} tokens, "
        f"context {context:,}: {sum(parameters(*sizes)):,} parameters, "
        f"{sum(flops(*sizes)):,} FLOPs per token."
    )


def _panel(title: str, parts: list[int]) -> str:
    total, hues = sum(parts), HUES[title]
    strip = "".join(
        f'<span class="fs-hue{hue}" style="width:{100 * part / total:.2f}%"></span>'
        for hue, part in zip(hues, parts, strict=True)
    )
    rows = "".join(
        f'<tr><th scope="row"><i class="fs-hue{hue}"></i>{name}</th>'
        f"<td>{part:,}</td><td>{percent(part, total)}</td></tr>"
        for hue, name, part in zip(hues, PARTS[title], parts, strict=True)
    )
    return (
        f'<div class="fs-panel"><b class="fs-total">{total:,}</b> {title}'
        f'<div class="fs-strip" aria-hidden="true">{strip}</div>'
        f"<table>{rows}</table></div>"
    )


def percent(part: int, total: int) -> str:
    """In whole percent; a half goes up, as in JavaScript."""
    whole = math.floor(100 * part / total + 0.5)
    return f"{whole}%" if whole else "&lt;1%"
