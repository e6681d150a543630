"""What the answers of the chapter on your own machine must satisfy.

Oracles: torch's attention over the whole text, and its own rounding to steps; Python's
incremental decoder for UTF-8; `str.find` in whatever a text may become; and bytes
counted on paper.
"""

from __future__ import annotations

import codecs
import copy
import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course.case import Case, Complaint, Exercise, Mistake, build
from course.checks.gpt_block import GPTConfig
from course.compare import difference, same
from course.counts import TOO_LARGE_TO_BUILD
from course.refusal import is_refused, refusal, refused

Past = tuple[Tensor, Tensor]


def _random(*sizes: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(sizes, generator=generator, dtype=torch.float64)


def _linear(inputs: int, outputs: int, bias: bool = True, seed: int = 0) -> nn.Linear:
    linear = nn.Linear(inputs, outputs, bias, dtype=torch.float64)
    with torch.no_grad():
        for number, parameter in enumerate(linear.parameters(), start=seed):
            parameter.copy_(0.4 * _random(*parameter.shape, seed=number))
    return linear


# The KV cache


class _Attention(nn.Module):
    """What every reader's attention has, and no more."""

    def __init__(self, width: int, heads: int, bias: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = _linear(width, 3 * width, bias, seed=10)
        self.projection = _linear(width, width, bias, seed=20)


def _heads(attention: _Attention, x: Tensor) -> Tensor:
    """Queries, keys and values of all heads: (B, T, C) -> (3, B, H, T, D)."""
    parts = attention.qkv(x).unflatten(-1, (3, attention.heads, -1))
    return parts.permute(2, 0, 3, 1, 4)


def _output(attention: _Attention, found: Tensor) -> Tensor:
    """What the heads found, side by side and projected: (B, H, T, D) -> (B, T, C)."""
    return attention.projection(found.transpose(1, 2).flatten(2))


@torch.no_grad()
def _whole(attention: _Attention, x: Tensor, before: int = 0) -> tuple[Tensor, Past]:
    """Torch's attention over the whole text; of the output, what comes after S."""
    queries, keys, values = _heads(attention, x)
    found = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
    return _output(attention, found)[:, before:], (keys, values)


def _cache_mistakes(attention: _Attention, x: Tensor, new: int) -> Iterator[Mistake]:
    """What goes wrong with the last `new` tokens of x: in the output, in the past."""
    all_queries, keys, values = _heads(attention, x)
    queries, before = all_queries[:, :, -new:], x.shape[1] - new
    seen = torch.ones(new, x.shape[1], dtype=torch.bool)
    mask, past = seen.tril(before), torch.arange(x.shape[1]) < before
    scores = queries @ keys.mT / keys.shape[-1] ** 0.5

    def attends(mask: Tensor, scale: float | None = None) -> Tensor:
        return F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, scale=scale
        )

    masks = {
        "A new token sees what comes after it in the same piece. Mask the scores: new "
        "token t sees the S of the past, and the new ones up to itself.": seen,
        "The mask begins at the top left, so the new tokens see the beginning of the "
        "past only. New token t stands at S + t: `.tril(S)`, and no `is_causal`, which "
        "knows nothing of the past.": seen.tril(),
        "The new tokens see nothing of the past. Join it to the keys and values before "
        "you attend.": mask & ~past,
        "The new tokens see the past, and nothing new. Each sees itself, too.": (
            mask & past
        ),
        "The mask is one too narrow: a token sees itself. Row t ends at S + t, as "
        "`.tril(S)` cuts it.": seen.tril(before - 1),
        "The mask is one too wide: a token sees the next one. Row t ends at S + t, as "
        "`.tril(S)` cuts it.": seen.tril(before + 1),
        "The mask is turned round: True must stand where a token may look.": ~mask,
        "A mask of numbers is added to the scores. Make it of bools, `dtype="
        "torch.bool`, or of 0 and -inf.": mask.double(),
    }
    found = attends(mask)
    outputs = {hint: attends(mask) for hint, mask in masks.items()} | {
        "What is hidden has the score 0, and exp(0) is 1: it is still seen. Its score "
        "must be -inf.": scores.mul(mask).softmax(-1) @ values,
        "The mask comes after the softmax, so the weights no longer add up to 1. Mask "
        "the scores.": scores.softmax(-1).mul(mask) @ values,
        "The scores are not divided by the root of D, the width of one head.": (
            attends(mask, scale=1.0)
        ),
        "Channels of different tokens are mixed: `reshape` alone does not bring the "
        "heads of a token together. `merge_heads` does.": (
            found.reshape(len(x), new, keys.shape[1], -1).transpose(1, 2)
        ),
    }
    for hint, wrong in outputs.items():
        yield Mistake(hint, equals=(_output(attention, wrong), (keys, values)))
    yield Mistake(
        "The last step is missing: `attention.projection` mixes what the heads found.",
        equals=(found.transpose(1, 2).flatten(2), (keys, values)),
    )
    for hint, test in (
        (
            "Return two things: the output, and one pair (keys, values).",
            lambda got: isinstance(got, Tensor) or len(got) != 2,
        ),
        (
            "The two are exchanged: first the output, then the pair (keys, values).",
            lambda got: isinstance(got[0], tuple),
        ),
        (
            "Queries need not be kept: each is asked once. Keep keys and values.",
            lambda got: len(got[1]) == 3,
        ),
        (
            "The keys are kept before they are split into heads: keep (B, H, S, D).",
            lambda got: got[1][0].dim() == 3,
        ),
        (
            "The thirds of `qkv` are queries, keys and values, in this order.",
            lambda got: any(same(all_queries, part) for part in got[1]),
        ),
    ):
        yield Mistake(hint, when=test)
    for hint, wrong in (
        (
            "Keys and values are exchanged: the pair is (keys, values).",
            lambda own, other: other,
        ),
        (
            "Keys and values are exchanged: `past[0]` are keys, `past[1]` values.",
            lambda own, other: torch.cat([other[:, :, :before], own[:, :, before:]], 2),
        ),
        (
            "The past is returned as it was. The next call needs what is new, too.",
            lambda own, _: own[:, :, :before],
        ),
        (
            "Only the new keys and values are returned, so the next call would not "
            "know what came before. Return the past and the new ones, joined.",
            lambda own, _: own[:, :, before:],
        ),
        (
            "The past stands behind the new tokens. It was read first: "
            "`torch.cat([past[0], keys], dim=2)`.",
            lambda own, _: own.roll(new, dims=2),
        ),
    ):
        pair = wrong(keys, values), wrong(values, keys)
        if not same(pair, (keys, values)):  # as it is without a past
            yield Mistake(
                hint,
                when=lambda got, pair=pair: any(map(same, pair, got[1])),
            )
    yield Mistake(
        "The output is softmax(Q K^T / sqrt(D)) V of the new queries and of *all* keys "
        "and values, head by head; then the heads are joined and projected.",
        when=lambda got: not same(_output(attention, found), got[0]),
    )
    for hint, (error, words) in {
        "At the beginning there is no past: `past` is None. Join only if there is "
        "one.": (TypeError, "NoneType"),
        "The keys are (B, H, S, D), and the tokens are on axis 2: "
        "`torch.cat([past[0], keys], dim=2)`.": (
            RuntimeError,
            "Sizes of tensors must match",
        ),
        "The heads of a token lie side by side: cut the channels, then swap two axes, "
        "as `split_heads` does.": (RuntimeError, "view size"),
        "The past is (B, H, S, D). Split the new keys and values into heads before "
        "you join them.": (RuntimeError, "same number of dimensions"),
        "`projection` reads (B, T, C): bring the heads together first, by "
        "`merge_heads`.": (RuntimeError, "cannot be multiplied"),
        "The mask is (T, S + T): T new tokens, and S + T that they may see. Keys "
        "and values have S + T, both.": (RuntimeError, "match the"),
        "Two types meet. A mask of bools fits all, and what is made of x has the "
        "type of x.": (RuntimeError, "dtype"),
        "Of `attention` only `.qkv`, `.heads` and `.projection` are sure to be "
        "there.": (AttributeError, ""),
    }.items():
        yield Mistake(hint, raises=error, mentions=words)


def _step(attention: _Attention) -> Callable[..., Any]:
    """Call the answer, with the layer where its input is."""

    def step(answer: Callable, x: Tensor, keys: Any = None, values: Any = None) -> Any:
        past = () if keys is None else ((keys, values),)
        return answer(copy.deepcopy(attention).to(x.device), x, *past)

    return step


def _in_pieces(attention: _Attention, lengths: Sequence[int]) -> Callable[..., Any]:
    def step(answer: Callable, x: Tensor) -> tuple[Tensor, Past]:
        found, past = [], None
        for piece in x.split(lengths, dim=1):
            new, past = answer(attention, piece, past)
            found.append(new)
        return torch.cat(found, dim=1), past

    return step


def cached_attention() -> Iterator[Case]:
    for title, (batch, before, new), attention in (
        ("five tokens, and no past", (2, 0, 5), _Attention(12, 3)),
        ("one new token after six", (2, 6, 1), _Attention(12, 3)),
        ("four new tokens after two", (2, 2, 4), _Attention(12, 3)),
        ("two new tokens after five", (2, 5, 2), _Attention(12, 3)),
        ("one text, one head, no biases", (1, 3, 2), _Attention(5, 1, bias=False)),
    ):
        width = attention.projection.in_features
        x = _random(batch, before + new, width, seed=before)
        with torch.no_grad():
            mistakes = tuple(_cache_mistakes(attention, x, new))
        expected = _whole(attention, x, before)
        past = [part[:, :, :before].clone() for part in expected[1] if before]
        yield Case(
            title,
            args=(x[:, before:], *past),
            call=_step(attention),
            expected=expected,
            any_device=new == 4,
            seconds=30.0,  # what the other device needs of torch is loaded here
            mistakes=mistakes,
        )
    attention = _Attention(10, 5)
    for lengths in (1,) * 7, (3, 1, 2, 1):
        x = _random(2, 7, 10, seed=9)
        yield Case(
            f"seven tokens in pieces of {', '.join(map(str, lengths))}",
            args=(x,),
            call=_in_pieces(attention, lengths),
            expected=_whole(attention, x),
            mistakes=(
                Mistake(
                    "Each step by itself is right, one after another they are not. Is "
                    "something kept elsewhere than in `past`?",
                    when=lambda got: True,
                ),
            ),
        )


# Int8


def _rounded(weight: Tensor, scale: Tensor) -> Tensor:
    """Torch's own rounding to 127 steps each way, row by row: (out, in), int8."""
    weight, scale = weight.detach().float().cpu(), scale.detach().float().cpu()
    zero = torch.zeros(len(weight), dtype=torch.int32)
    near = torch.fake_quantize_per_channel_affine(
        weight, scale.flatten(), zero, axis=0, quant_min=-127, quant_max=127
    )
    return (near / scale.view(-1, 1)).round().to(torch.int8)


def _close(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(
        one.detach().double(), other.detach().double(), rtol=1e-3, atol=0.0
    )


def _quantized(weight: Tensor) -> tuple[Tensor, Tensor]:
    """int8 (out, in) and scale (out, 1) of a matrix in which no row is zero."""
    scale = weight.detach().abs().amax(1, keepdim=True) / 127
    return _rounded(weight, scale).to(weight.device), scale


def _quantize_mistakes(weight: Tensor) -> Iterator[Mistake]:
    largest = weight.abs().amax(1, keepdim=True)
    span = weight.amax(1, keepdim=True) - weight.amin(1, keepdim=True)
    scale, most = largest / 127, weight.abs().max() / 127
    steps, times = weight / scale, (weight * scale).round()
    axis = "The scales need the shape (out, 1): `keepdim=True` keeps the axis."
    yield Mistake(axis, raises=RuntimeError, mentions="must match the size")
    yield Mistake(
        "With `dim=` torch's `max` gives values and places: `.values`, or `amax`.",
        raises=(TypeError, AttributeError),
    )
    for hint, test in (
        (
            "Return two things: the int8 numbers, and the scales.",
            lambda got: not isinstance(got, tuple) or len(got) != 2,
        ),
        (
            "The two are exchanged: first the int8 numbers, then the scales.",
            lambda got: got[1].dtype == torch.int8,
        ),
        (
            "The numbers are not int8: `.to(torch.int8)`, one byte with a sign.",
            lambda got: got[0].dtype != torch.int8,
        ),
        (
            "The scale has the type of the weight.",
            lambda got: got[1].dtype != weight.dtype,
        ),
        (
            "There is one scale for the whole matrix, so its largest number makes all "
            "others coarse. Each row has its own: take the largest along `dim=1`.",
            lambda got: len(weight) > 1 and _close(got[1], most.expand(got[1].shape)),
        ),
        (
            "There is a scale for each column. A row makes one output, and each row "
            "has its own: take the largest along `dim=1`.",
            lambda got: got[1].shape == (1, weight.shape[1]) != (1, 1),
        ),
        (axis, lambda got: got[1].dim() == 1),
        (
            "A lower limit for the scales is more than these scales. Only a scale of 0 "
            "needs another value.",
            lambda got: (
                got[1].min() > 1.01 * scale.min()
                and _close(got[1], scale.clamp(min=got[1].min()))
            ),
        ),
    ):
        yield Mistake(hint, when=test)
    for hint, scales in {
        "The largest *size* of a row counts, also if it is negative: `weight.abs()`.": (
            weight.amax(1, keepdim=True) / 127,
        ),
        "This is the scale upside down. The weight is about int8 * scale, so "
        "divide the largest number by 127.": (127 / largest,),
        "int8 * scale must give the weight back, and the largest int8 is 127: "
        "divide the largest number by 127.": (largest,),
        "The largest size of a row becomes 127: divide by 127. At 128 it would "
        "wrap around to -128.": (largest / 128,),
        "There are 127 steps on each side of 0. Divide the largest size by 127, "
        "not by all 255 or 256 numbers of a byte.": (
            *(largest / n for n in (127.5, 254, 255, 256)),
        ),
        "This scale reaches from the smallest to the largest number of the row. "
        "Here 0 stays 0, and both sides have the largest *size* / 127.": (
            *(span / n for n in (254, 255, 256)),
        ),
    }.items():
        yield Mistake(
            hint,
            when=lambda got, scales=scales: any(_close(s, got[1]) for s in scales),
        )
    for hint, numbers in {
        "The fractions are cut off, which pulls all numbers towards 0. Round "
        "first: `.round()`, then `.to(torch.int8)`.": (steps.trunc(),),
        "The numbers are rounded down, or up. Round to the nearest: `.round()`.": (
            steps.floor(),
            steps.ceil(),
        ),
        "The weight is rounded before it is divided by its scale, or not divided "
        "at all. It is round(weight / scale).": (weight.round(), weight.trunc()),
        "The weight is multiplied by its scale. Divide: a scale is what one step "
        "of int8 is worth.": (times, times.clamp(-127, 127)),
    }.items():
        yield Mistake(
            hint,
            when=lambda got, numbers=numbers: any(
                torch.equal(got[0], other.to(torch.int8)) for other in numbers
            ),
        )
    yield Mistake(
        "The scale of a row is its largest size divided by 127, and int8 is "
        "round(weight / scale).",
        when=lambda got: got[0].shape == weight.shape,
    )


def _within(steps: float, weight: Tensor) -> Callable[[Any], str | None]:
    """Judge whether int8 * scale is the weight again, up to so many steps."""
    step = weight.double().abs().amax(1, keepdim=True) / 127

    def judge(got: Any) -> str | None:
        numbers, scale = got
        if numbers.dtype != torch.int8 or scale.shape != (len(weight), 1):
            return "Expected int8 numbers (out, in) and scales (out, 1)."
        if not bool((scale.isfinite() & (scale > 0)).all()):
            return "A scale is 0, or no number. Each must be more than 0."
        if bool((numbers == -128).any()):
            return "An int8 number is -128. They go from -127 to 127."
        off = (numbers.double() * scale.double() - weight.double()).abs()
        for row in (off > steps * step).any(dim=1).nonzero().flatten():
            return f"int8 * scale is not the weight again, in row {int(row)}."
        return None

    return judge


def quantize() -> Iterator[Case]:
    paper = torch.tensor(
        [[127.0, -64.4, 3.6, 0.0], [-31.75, 8.9, -0.4, 31.5], [1.7, 254, -4.6, -100]]
    )
    numbers = [[127, -64, 4, 0], [-127, 36, -2, 126], [1, 127, -2, -50]]
    yield Case(
        "three rows, by hand",
        args=(paper,),
        expected=(
            torch.tensor(numbers, dtype=torch.int8),
            torch.tensor([[1.0], [0.25], [2.0]]),
        ),
        any_device=True,
        seconds=30.0,
        mistakes=tuple(_quantize_mistakes(paper)),
    )
    for title, weight in (
        ("five rows of seven", _random(5, 7, seed=1).float()),
        ("a square matrix", _random(4, 4, seed=2).float()),
        ("very small numbers", 1e-6 * _random(3, 5, seed=3).float()),
        ("one row in float64: its scale, too", _random(1, 6, seed=4)),
    ):
        yield Case(
            title,
            args=(weight,),
            expected=_quantized,
            mistakes=tuple(_quantize_mistakes(weight)),
        )
    zero = torch.tensor([[0.5, -2.0, 1.0], [0, 0, 0], [-0.25, 0.125, 0]])
    half = _random(60, 5, seed=5).bfloat16()
    for title, weight, steps, hint, test in (
        (
            "a row of zeros",
            zero,
            0.51,
            "The largest size of this row is 0, and 0 / 0 is no number. Give such a "
            "row, and only this, the scale 1.",
            lambda got: True,
        ),
        (
            "sixty rows in bfloat16",
            half,
            2.0,
            "With the three digits of bfloat16 the largest number can come out as 128, "
            "which wraps around to -128. Before `.to(torch.int8)` put `.clamp(-127, "
            "127)`.",
            lambda got: bool((got[0] == -128).any()),
        ),
    ):
        yield Case(
            title,
            args=(weight,),
            judge=_within(steps, weight),
            mistakes=(Mistake(hint, when=test),),
        )


def _layer(cls: type, linear: nn.Linear) -> nn.Module:
    """The reader's layer, made from a linear one, which has to stay as it was.

    Raises:
        Complaint: if the linear layer has changed.
    """
    before = copy.deepcopy(dict(linear.state_dict()))
    layer = build(cls, linear)
    if difference(before, dict(linear.state_dict()), rtol=0, atol=0):
        raise Complaint(
            "The linear layer that you were given has changed. Leave it as it was."
        )
    return layer


def _stored(cls: type, linear: nn.Linear, x: Tensor) -> dict[str, str]:
    """Type and shape of what the layer would write to a file, after it was used.

    Raises:
        Complaint: if something of it learns, or is a plain attribute.
    """
    layer = _layer(cls, linear)
    layer(x)
    for name, _ in layer.named_parameters():
        raise Complaint(
            f"`{name}` is the float matrix or bias, which is kept, too. Keep what "
            "`quantize` returns, and a copy of the bias."
            if "." in name
            else f"`{name}` is a parameter: an optimizer would train it. Keep it by "
            f'`self.register_buffer("{name}", ...)`.'
        )
    for name, value in vars(layer).items():
        if isinstance(value, Tensor):
            raise Complaint(
                f"`{name}` is a plain attribute: it is not saved, and stays behind "
                f'when the layer moves to a GPU. `self.register_buffer("{name}", ...)`.'
            )
    for name, buffer in layer.named_buffers():
        if buffer.requires_grad:
            raise Complaint(
                f"`{name}` still hangs on the layer that it came from, and waits for a "
                "gradient. Take it off with `.detach()`."
            )
    return {
        name: f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
        for name, value in layer.state_dict().items()
    }


def _loaded(linear: nn.Linear, other: nn.Linear) -> Callable[..., Tensor]:
    """Make the layer of one linear layer, then load the numbers of another one."""

    def load(cls: type, x: Tensor) -> Tensor:
        layer = _layer(cls, linear)
        layer(x)
        weight, scale = _quantized(other.weight)
        state = {"weight": weight, "scale": scale, "bias": other.bias.detach()}
        layer.load_state_dict(state)
        return layer(x)

    return load


def _dequantized(linear: nn.Linear, x: Tensor) -> Tensor:
    weight, scale = _quantized(linear.weight)
    bias = None if linear.bias is None else linear.bias.detach()
    return F.linear(x, weight.to(x.dtype) * scale, bias)


@torch.no_grad()
def _layer_mistakes(linear: nn.Linear, x: Tensor) -> tuple[Mistake, ...]:
    weight, scale = _quantized(linear.weight)
    numbers, bias = weight.to(x.dtype), linear.bias
    exact, matrix = linear.weight, numbers * scale
    transposed = (
        "A linear layer is x times the matrix *transposed*: `F.linear` does it."
    )
    wrong = (
        (
            "The int8 numbers are used without their scale. The matrix is `self.weight "
            "* self.scale`.",
            F.linear(x, numbers, bias),
        ),
        (
            "The matrix is divided by its scale. `quantize` divides; here multiply.",
            F.linear(x, numbers / scale, bias),
        ),
        (
            "The layer still computes with the float matrix, not with the int8 one.",
            F.linear(x, exact, bias),
        ),
        (
            "The float matrix is multiplied by the scale. Keep the int8 one.",
            F.linear(x, exact * scale, bias),
        ),
        ("The bias is lost.", F.linear(x, matrix)),
        (
            "The bias is multiplied by the scale. It is not quantized: add it last.",
            F.linear(x, matrix) + (0 if bias is None else bias) * scale.flatten(),
        ),
    )
    errors = (
        (
            "torch does not multiply x by a matrix of another type. Make the float "
            "matrix, `self.weight * self.scale`: it has the type of the scale.",
            "same dtype",
        ),
        (
            "The scales (out, 1) belong to the rows of the matrix, that is, to the "
            f"outputs. {transposed}",
            "must match the size",
        ),
        (transposed, "cannot be multiplied"),
        (transposed, "size mismatch"),
        (
            "A parameter waits for a gradient, and int8 has none. "
            "`self.register_buffer` keeps a tensor that does not learn.",
            "can require gradients",
        ),
        ("This layer has no bias: `linear.bias` is None.", "NoneType"),
        ("Derive the class from `nn.Module`.", "no attribute 'register_buffer'"),
    )
    kinds = (RuntimeError, AttributeError, TypeError)
    return (
        *(Mistake(hint, raises=kinds, mentions=words) for hint, words in errors),
        Mistake(
            "x may have any number of leading axes, also none. `scale.T` has two: "
            "`scale.flatten()` fits them all.",
            when=lambda got: got.dim() > x.dim(),
        ),
        *(Mistake(hint, equals=value) for hint, value in wrong),
    )


def quantized_linear() -> Iterator[Case]:
    for title, linear, x in (
        ("five outputs of seven inputs", _linear(7, 5).float(), _random(3, 7).float()),
        ("two texts of three tokens", _linear(4, 6).float(), _random(2, 3, 4).float()),
        ("no bias", _linear(5, 3, bias=False).float(), _random(2, 5).float()),
        ("a single vector", _linear(3, 4).float(), _random(3).float()),
        ("a layer in float64", _linear(6, 5), _random(2, 6)),
    ):
        yield Case(
            title,
            args=(x,),
            call=lambda cls, x, linear=linear: _layer(cls, linear)(x),
            expected=_dequantized(linear, x),
            rtol=1e-4,
            atol=1e-5,
            mistakes=_layer_mistakes(linear, x),
        )
    linear, x = _linear(7, 5).float(), _random(2, 7).float()
    yield Case(
        "what is kept, and would be saved",
        args=(x,),
        call=lambda cls, x: _stored(cls, linear, x),
        expected={
            "weight": "int8 (5, 7)",
            "scale": "float32 (5, 1)",
            "bias": "float32 (5,)",
        },
        mistakes=(
            Mistake(
                "The matrix is kept as float, four bytes for each number. Keep the "
                "int8 numbers, and make the matrix in `forward`.",
                when=lambda got: "float32 (5, 7)" in got.values(),
            ),
            Mistake(
                "Keep three buffers: `weight` in int8, `scale` as `quantize` gives it, "
                "and `bias`.",
                when=lambda got: True,
            ),
        ),
    )
    other = _linear(7, 5, seed=7).float()
    yield Case(
        "the numbers of another layer, loaded from a file",
        args=(x,),
        call=_loaded(linear, other),
        expected=_dequantized(other, x),
        rtol=1e-4,
        atol=1e-5,
        mistakes=(
            Mistake(
                "The layer computes with a matrix that was made before. Make it in "
                "`forward`, each time: keeping it would also take the memory that int8 "
                "saves.",
                when=lambda got: got.shape == (2, 5),
            ),
        ),
    )
    yield Case(
        "moved to another device",
        args=(x,),
        call=lambda cls, x: _layer(cls, linear).to(x.device)(x),
        judge=lambda got: None if got.shape == (2, 5) else "The shape is not (2, 5).",
        any_device=True,
    )


# Whole characters


def _texts(made: Any, pieces: Sequence[Any]) -> Iterator[str]:
    """What an object returns for each piece, and at the end.

    Raises:
        Complaint: if that is not text.
    """
    for piece in (*pieces, None):
        text = made.finish() if piece is None else made.push(piece)
        if not isinstance(text, str):
            name = "finish" if piece is None else "push"
            missing = " Is there a `return` line?" if text is None else ""
            raise Complaint(f"`{name}` returned {text!r}, expected a `str`.{missing}")
        yield text


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")(errors="replace")


def _decoded(chunks: Sequence[bytes]) -> list[str]:
    decoder = _decoder()
    return [*map(decoder.decode, chunks), decoder.decode(b"", final=True)]


def _decoder_mistakes(chunks: Sequence[bytes]) -> Iterator[Mistake]:
    data, right = b"".join(chunks), _decoded(chunks)
    whole, seen = "".join(right), "".join(right[:-1])
    valid = data.startswith(seen.encode())  # up to its end, nothing was replaced
    for hint, errors in {
        "Bytes need not be UTF-8, and a chunk may end within a character. Hold "
        "back what may still become one, and decode the rest with "
        '`errors="replace"`.': (UnicodeDecodeError,),
        "A chunk is `bytes`, and so is what you hold. A single one, `data[0]`, is "
        "a number.": (TypeError,),
        "You look at a byte that is not there: a chunk may be empty, and so may be "
        "what you hold.": (IndexError, ValueError),
    }.items():
        yield Mistake(hint, raises=errors)
    for hint, texts in {
        "Each chunk is decoded by itself, so half a character becomes U+FFFD. Keep "
        "it for the next chunk.": [chunk.decode(errors="replace") for chunk in chunks],
        "What was shown before comes again. Return the new characters only, and "
        "forget their bytes.": ["".join(right[: n + 1]) for n in range(len(chunks))],
        "Everything is held back until the end. Return each character with the "
        "chunk that completes it.": ["" for _ in chunks],
    }.items():
        if texts != right[:-1]:
            yield Mistake(hint, when=lambda got, texts=texts: got[:-1] == texts)
    for hint, texts in {
        "What is held at the end is lost. `finish` returns what `decode(errors="
        '"replace")` makes of it.': (seen,),
        "What is held at the end need not be one U+FFFD: of ED A0 two are made. Decode "
        'it, with `errors="replace"`.': (
            (seen + "\ufffd",) if len(right[-1]) > 1 else ()
        ),
        "At the end there is one U+FFFD for each byte that is held. Decode them "
        'together, with `errors="replace"`.': (
            *(seen + times * right[-1] for times in (2, 3)),
        ),
        "Bytes are taken for characters. In UTF-8 one takes one to four bytes.": (
            data.decode("latin-1"),
        ),
        "Bytes that are no UTF-8 are left out. They become U+FFFD: decode with "
        '`errors="replace"`.': (data.decode(errors="ignore"),),
        "U+FEFF at the beginning is lost. It is a character: decode with `utf-8`, "
        "not with `utf-8-sig`.": (data.decode("utf-8-sig", errors="replace"),),
    }.items():
        yield Mistake(
            hint, when=lambda got, texts=texts: whole != "".join(got) in texts
        )
    for hint, test in (
        (
            "Something comes twice. When held bytes are decoded, forget them.",
            lambda got: got != whole and got.startswith(whole),
        ),
        (
            "A part of a character is shown, as U+FFFD. Hold back its bytes, one to "
            "three, and put them in front of the next chunk.",
            lambda got: got.count("\ufffd") > whole.count("\ufffd"),
        ),
        (
            "U+FFFD is a character like any other, in bytes EF BF BD: that a text ends "
            "in it does not mean that something is missing. Look at the bytes.",
            lambda got: got == whole and valid and "\ufffd" in seen,
        ),
        (
            "What is no UTF-8 holds up what follows. At most three bytes can be open.",
            lambda got: got == whole and not valid,
        ),
    ):
        yield Mistake(hint, when=lambda got, test=test: test("".join(got)))
    for hint, test in (
        (
            "Because of half a character at the end of a chunk whole ones before it "
            "wait, too. Return those, and hold back the half only.",
            lambda got: any(r and not g for g, r in zip(got, right, strict=True)),
        ),
        (
            "Characters come too late. Return each with the chunk that completes it: "
            "its first byte tells how many it has.",
            lambda got: "".join(got) == whole,
        ),
        (
            "Characters got lost. Only their last bytes are held back, and they go in "
            "front of the next chunk.",
            lambda got: len("".join(got)) < len(whole),
        ),
        (
            "What is no UTF-8 becomes U+FFFD, as often as Python makes it. Decode all "
            'of it with `errors="replace"`, and cut only in front of a first byte.',
            lambda got: True,
        ),
    ):
        yield Mistake(hint, when=test)


def _in_time(chunks: Sequence[bytes]) -> Callable[[list[str]], str | None]:
    """Judge a text with bytes that are no UTF-8: as Python's, and not held up.

    Whether such bytes come out at once or a little later is left to the answer.
    """

    def judge(got: list[str]) -> str | None:
        for number in range(len(chunks)):
            data, shown = b"".join(chunks[: number + 1]), "".join(got[: number + 1])
            due = _decoder().decode(data[:-3])
            if not shown.startswith(due):
                return f"After {data!r} there is {shown!r}, expected {due!r} at least."
        whole, shown = b"".join(chunks).decode(errors="replace"), "".join(got)
        return None if shown == whole else f"The text is {shown!r}, expected {whole!r}."

    return judge


EDGES = b"a\x80\x8f\x90\x9f\xa0\xbf\xc0\xc2\xdf\xe0\xe1\xed\xef\xf0\xf1\xf4\xf5\xff"
"""Bytes at which the rules of UTF-8 change."""


def streaming_decoder() -> Iterator[Case]:
    def texts(cls: type, chunks: Sequence[bytes]) -> list[str]:
        return list(_texts(cls(), chunks))

    def side_by_side(cls: type, first: bytes, other: bytes, rest: bytes) -> list[str]:
        one, two = cls(), cls()
        return [one.push(first), two.push(other), one.push(rest)]

    hangul = "안녕!".encode()
    for title, chunks in (
        ("letters", [b"one ", b"two", b"", b"!"]),
        ("a character of three bytes in two chunks", [hangul[:1], hangul[1:]]),
        ("seven bytes, one after another", [bytes([byte]) for byte in hangul]),
        ("whole ones, and a part of one", [b"so ", b"or \xf0\x9f", b"\x99\x82 \xc3"]),
        ("an emoji of several characters", [bytes([b]) for b in "👩‍🚀é".encode()]),
        ("U+FEFF and U+FFFD are characters", [b"\xef\xbb\xbfa\xef\xbf\xbd", b"b"]),
        ("the end comes within a character", [b"a\xec", b"\x95"]),
        ("no chunk at all", []),
    ):
        yield Case(
            title,
            args=(chunks,),
            call=texts,
            expected=_decoded,
            mistakes=tuple(_decoder_mistakes(chunks)),
        )
    yield Case(
        "two decoders at once",
        args=(hangul[:1], b"a", hangul[1:]),
        call=side_by_side,
        expected=["", "a", "안녕!"],
        mistakes=(
            Mistake(
                "Two decoders share what they hold. Each has its own: make it in "
                "`__init__`, as `self.held`.",
                when=lambda got: True,
            ),
        ),
    )
    chance = random.Random(5)
    for title, data, size in (
        ("a byte that begins nothing", b"a\xffb\x80cdefg", 1),
        ("a character that breaks off", b"\xec\x95a\xf0\x9f\x99\xec\x95\x88b", 1),
        ("the same, in chunks of two", b"\xec\x95a\xf0\x9f\x99\xec\x95\x88b", 2),
        ("more bytes than a character needs", b"\xc0\x80a\xe0\x80\x80b", 3),
        ("a half of a surrogate pair at the end", b"\xed\xa0", 1),
        *(
            ("any bytes", bytes(chance.choices(EDGES, k=2 + i % 8)), 1 + i % 3)
            for i in range(150)
        ),
    ):
        chunks = [data[i : i + size] for i in range(0, len(data), size)]
        yield Case(
            title,
            args=(chunks,),
            call=texts,
            judge=_in_time(chunks),
            mistakes=tuple(_decoder_mistakes(chunks)),
        )


# Stop strings

Shown = list[tuple[str, bool]]
"""What comes of each piece, and at the end, and whether the text has stopped."""


def _first(text: str, stops: Sequence[str]) -> int:
    """Where the first stop string begins, or the length of the text."""
    found = [text.find(stop) for stop in stops]
    return min((at for at in found if at >= 0), default=len(text))


def _safe(text: str, stops: Sequence[str]) -> int:
    """How much may be shown: what is before a stop, however the text may go on."""
    ways = [stop[i:] for stop in stops for i in range(len(stop))]
    return min([len(text), *(_first(text + way, stops) for way in ["", *ways])])


Way = Callable[[str, str, bool], tuple[int, bool]]
"""Text so far, its last piece, is it the end -> where what is shown ends; stopped?"""


def _run(way: Way, pieces: Sequence[str]) -> Shown:
    """What is shown, piece by piece, if `way` decides how far."""
    text, done, stopped, shown = "", 0, False, []
    for number, piece in enumerate((*pieces, "")):
        if not stopped:
            text += piece
            end, stopped = way(text, piece, number == len(pieces))
        shown.append((text[done:end], stopped))
        done = max(done, end)
    return shown


def _right_way(stops: Sequence[str]) -> Way:
    def way(text: str, _: str, final: bool) -> tuple[int, bool]:
        end = _first(text, stops) if final else _safe(text, stops)
        return end, any(text.startswith(stop, end) for stop in stops)

    return way


def _stop_mistakes(stops: Sequence[str], pieces: Sequence[str]) -> Iterator[Mistake]:
    right_way, whole = _right_way(stops), "".join(pieces)
    right = _run(right_way, pieces)
    longest = max(map(len, stops), default=1)

    def found(text: str) -> bool:
        return _first(text, stops) < len(text)

    def first(text: str) -> tuple[int, bool]:
        return _first(text, stops), found(text)

    def complete(cut: Callable[[str], int]) -> Way:
        """Stop as soon as a stop string is complete, and wait rightly before."""
        return lambda text, piece, final: (
            (cut(text), True) if found(text) else right_way(text, piece, final)
        )

    def shows_it(text: str, _: str, final: bool) -> tuple[int, bool]:
        end, stopped = right_way(text, "", final)
        own = [len(stop) for stop in stops if text.startswith(stop, end)]
        return (end + own[0], True) if stopped else (end, False)

    for hint, errors in {
        "`startswith` takes several strings as a tuple: `tuple(stops)`.": (TypeError,),
        "A stop string is no pattern: `re.escape` takes its signs as they are.": (
            re.error,
        ),
        "`stops` may be empty: then nothing stops the text.": (ValueError, IndexError),
    }.items():
        yield Mistake(hint, raises=errors)
    for hint, *ways in (
        (
            "You look for a stop string in each piece alone. It may come in several: "
            "keep what may be its beginning for the next piece.",
            lambda text, piece, _: (
                len(text) - len(piece) + _first(piece, stops),
                found(piece),
            ),
        ),
        (
            "The stop string is found when it is complete, and its beginning has been "
            "shown by then. Hold back what may be the beginning of one.",
            lambda text, *_: first(text),
        ),
        (
            "Everything is held back until the text ends or a stop string comes. Show "
            "what cannot be the beginning of one at once.",
            lambda text, _, final: first(text) if final else (0, False),
            lambda text, _, final: first(text) if final or found(text) else (0, False),
        ),
        (
            "As many characters as the longest stop string has, less one, are always "
            "held back. Hold back only an end that *is* the beginning of a stop "
            "string.",
            *(
                lambda text, _, final, n=n: (
                    first(text) if final or found(text) else (len(text[:-n]), False)
                )
                for n in (longest - 1, longest)
            ),
        ),
        ("The stop string is shown. The text ends before it.", shows_it),
        (
            "One stop string is complete, another one that began before it is not yet "
            "decided. The text ends before the one that begins first: wait for it.",
            complete(lambda text: _first(text, stops)),
        ),
        (
            "The first string of the list wins. The text ends before the one that "
            "*begins* first, whatever its place in the list.",
            complete(lambda text: next(text.find(s) for s in stops if s in text)),
        ),
        (
            "Only the first string of the list stops the text. Each of them does.",
            _right_way(stops[:1]),
        ),
        (
            "The text ends before the last stop string. It ends before the first.",
            complete(lambda text: max(text.rfind(stop) for stop in stops)),
        ),
    ):
        for way in ways:
            yield Mistake(hint, equals=_run(way, pieces))
    for hint, test in (
        (
            "What was shown before comes again. Return the new text only.",
            lambda got: len(got) > 1 and got[1][0].startswith(got[0][0]) and got[0][0],
        ),
        (
            "Something is shown after the stop. From then on `push` and `finish` "
            'return "".',
            lambda got: any(
                text and before
                for (text, _), (_, before) in zip(got[1:], got, strict=False)
            ),
        ),
        (
            "The texts are right. `stopped` becomes True with the piece that decides "
            "it, and is False before.",
            lambda got: [text for text, _ in got] == [text for text, _ in right],
        ),
        (
            "What was held back is lost at the end. `finish` returns it, as no stop "
            "string can come any more.",
            lambda got: got[:-1] == right[:-1] and not got[-1][0],
        ),
        (
            "At the end a stop string may stand in what was held back: it was waiting "
            "for another one. Look once more in `finish`.",
            lambda got: got[:-1] == right[:-1],
        ),
        (
            "Characters got lost, or changed places. What was held back goes in front "
            "of the next piece.",
            lambda got: not whole.startswith("".join(text for text, _ in got)),
        ),
        (
            "A stop string is overlooked. Look for each of them at each place: one may "
            "begin inside what looked like another beginning, as `aab` in `aaab`.",
            lambda got: right[-1][1] and not got[-1][1],
        ),
        (
            "Too much is shown. The text ends before a stop string, and what may be "
            "the beginning of one has to wait, however short it is.",
            lambda got: any(
                len("".join(text for text, _ in got[:n]))
                > len("".join(text for text, _ in right[:n]))
                for n in range(len(got) + 1)
            ),
        ),
        (
            "What cannot be the beginning of a stop string is shown too late, or not "
            "at all. Hold back only an end with which a stop string begins.",
            lambda got: True,
        ),
    ):
        yield Mistake(hint, when=test)


def stop_at() -> Iterator[Case]:
    def shown(cls: type, stops: Sequence[str], pieces: Sequence[str]) -> Shown:
        made = cls(stops)
        return [(text, made.stopped) for text in _texts(made, pieces)]

    for title, stops, pieces in (
        ("a stop string in one piece", ["The End"], ["one, two, ", "3. The End. No."]),
        ("in three pieces", ["The End"], ["so ", "one. Th", "e E", "nd", "less"]),
        ("it only looks like one", ["The End"], ["the end. T", "hen ", "The E", "gg"]),
        ("the end of the text comes first", ["The End"], ["one. The", " E"]),
        ("the second of two", ("two", "one"), ["a one", " b"]),
        ("both, and the second comes first", ("two", "one"), ["a one two one b"]),
        ("it begins inside what looked like one", ("aab",), [*"caaabc"]),
        ("letter by letter, with a sign", ("?!", "."), [*"Who? You?!", " Me."]),
        ("lines, and Hangul", ("\n\n", "끝"), ["하나\n", "둘\n", "", "\n셋"]),
        ("no stop strings", (), ["all of ", "it"]),
        ("one waits for another one", ("bc", "abcd"), [*"xabcd"]),
        ("and that one does not come", ("bc", "abcd"), ["xabc", "e"]),
        ("nor anything else", ("bc", "abcd"), ["xab", "c"]),
        *_any_stops(80),
    ):
        yield Case(
            title,
            args=(stops, pieces),
            call=shown,
            expected=_run(_right_way(stops), pieces),
            mistakes=tuple(_stop_mistakes(stops, pieces)),
        )
    yield Case(
        "an empty stop string: a ValueError",
        args=(["one", ""],),
        call=lambda cls, stops: refusal(cls, stops),
        judge=is_refused,
        mistakes=refused(
            "Every text begins with an empty string, so all of them would end at once. "
            "Raise a `ValueError` in `__init__`."
        ),
    )


def _any_stops(count: int) -> Iterator[tuple[str, tuple[str, ...], list[str]]]:
    """Of two letters, so that much of it overlaps."""
    chance = random.Random(2)

    def words(count: int, least: int, most: int) -> Iterator[str]:
        for _ in range(count):
            yield "".join(chance.choices("ab", k=chance.randint(least, most)))

    for number in range(count):
        stops = tuple(words(1 + number % 3, 2, 5))
        yield "any letters", stops, list(words(2 + number % 5, 1, 4))


# Memory


def _memory_mistakes(
    config: GPTConfig,
    weights: int,
    texts: int = 1,
    length: int = 0,
    bytes_per_weight: float = 4,
    bytes_per_cached: float = 4,
) -> Iterator[Mistake]:
    width, heads, layers = config.n_embd, config.n_head, config.n_layer
    kept, numbers = weights * bytes_per_weight, texts * length * 2 * layers * width
    token = texts * 2 * layers * width * bytes_per_cached  # of each text
    cached = numbers * bytes_per_cached
    right = kept + cached
    yield Mistake("A text may be as long as the context.", raises=ValueError)
    yield Mistake(
        "The number is right, as a `float`. Bytes are counted in whole numbers: return "
        "an `int`.",
        when=lambda got: isinstance(got, float) and abs(got - right) < 1,
    )
    for hint, wrong in {
        "This is in another unit. Both sizes are in bytes, and the result, too.": (
            *(right * unit for unit in (8, 1 / 8, 1e-6, 2**-20)),
        ),
        "This is the cache alone. The weights take memory, too.": (cached,),
        "These are the weights alone. Keys and values are missing.": (kept,),
        "The sizes are 4 bytes whatever is given. Use `bytes_per_weight` and "
        "`bytes_per_cached`.": (
            4 * (weights + numbers),
            4 * weights + cached,
            kept + 4 * numbers,
        ),
        "The two sizes are exchanged, or one is used for both: `bytes_per_weight` "
        "is for the weights, `bytes_per_cached` for the cache.": (
            weights * bytes_per_cached + numbers * bytes_per_weight,
            (weights + numbers) * bytes_per_cached,
            (weights + numbers) * bytes_per_weight,
        ),
        "Multiply both by their bytes: a weight takes `bytes_per_weight`, a number "
        "of the cache `bytes_per_cached`.": (
            weights + numbers,
            kept + numbers,
            weights + cached,
        ),
        "The cache has keys *and* values: a factor of 2 is missing.": (
            kept + cached / 2,
        ),
        "Every layer keeps keys and values of its own: multiply by the layers.": (
            kept + cached / layers,
        ),
        "Each text has its own keys and values: multiply by `texts`.": (
            kept + cached / texts,
        ),
        "All texts are read by the same weights: multiply only the cache by `texts`.": (
            texts * kept + cached,
            texts * right,
        ),
        "The length of the texts plays no part here. Each token has keys and "
        "values: multiply by `length`.": (kept + token,),
        "The cache is for the whole context. The texts have `length` tokens.": (
            kept + token * config.n_positions,
        ),
        "All heads together keep C numbers for a token, as D is C / H: the number "
        "of heads changes nothing.": (
            *(kept + cached * f for f in (heads, 1 / heads, heads / width, 1 / width)),
        ),
        "The token table is counted twice. It is the output, too, and stored once: "
        "`gpt_parameters` is all there is.": (
            right + config.vocab_size * width * bytes_per_weight,
        ),
        "The cache grows with the length, not with its square.": (
            kept + cached * length,
        ),
    }.items():
        yield Mistake(
            hint,
            when=lambda got, wrong=wrong: (
                abs(got - right) >= 1
                and any(abs(got - n) <= min(0.99, n / 100) for n in wrong)
            ),
        )
    yield Mistake(
        "It is the parameters times their bytes, and for each token of each text 2 * "
        "layers * C numbers times theirs. What is not given is 1 text of 0 tokens, and "
        "4 bytes for each number.",
        when=lambda got: True,
    )


def memory() -> Iterator[Case]:
    # 16 * 33 + 9 * 33 + 5 * (12 * 33^2 + 13 * 33) + 2 * 33 = 68,376 parameters. Each
    # token of a text has 2 * 5 * 33 = 330 numbers in the cache.
    small = (GPTConfig(16, 9, 33, 5, 11), 68_376)
    gpt2 = (GPTConfig(50257, 1024, 768, 12, 12), 124_439_808)
    odd = (GPTConfig(11, 5, 7, 3, 1), 2_163)
    huge = (GPTConfig(10**8, 10**3, 10**7, 1, 1), 2_200_010_150_000_000)
    two, four = {"bytes_per_cached": 2}, {"bytes_per_weight": 0.5}
    for title, (config, weights), given, right in (
        # 68,376 * 4
        ("the weights alone, without a text", small, {}, 273_504),
        # 68,376 * 4 + 7 * 330 * 4
        ("a text of seven tokens", small, {"length": 7}, 282_744),
        # 68,376 * 4 + 13 * 7 * 330 * 4
        ("thirteen such texts", small, {"texts": 13, "length": 7}, 393_624),
        # 68,376 + 13 * 7 * 330 * 2
        (
            "weights in int8, a cache in half precision",
            small,
            {"texts": 13, "length": 7, "bytes_per_weight": 1, **two},
            128_436,
        ),
        # half of 2,163, and 5 * 2 * 3 * 7 numbers of 4 bytes
        (
            "an odd number of weights, in four bits",
            odd,
            {"length": 5, **four},
            1_921.5,
        ),
        # and 1,000 * 2 * 10^7 numbers of 4 bytes
        (
            "a model that no memory holds",
            huge,
            {"length": 1000},
            8_800_040_600_000_000 + 80_000_000_000,
        ),
        # 124,439,808 * 4
        ("the smallest GPT-2, without a text", gpt2, {}, 497_759_232),
        # 124,439,808 * 2, and 8 * 1,024 tokens with 2 * 12 * 768 numbers of 2 bytes
        (
            "GPT-2 in half precision, eight texts as long as its context",
            gpt2,
            {"texts": 8, "length": 1024, "bytes_per_weight": 2, **two},
            550_869_504,
        ),
    ):
        yield Case(
            title,
            args=(config,),
            kwargs=given,
            judge=_counts(right),
            mistakes=(
                *((TOO_LARGE_TO_BUILD,) if config.n_embd == 10**7 else ()),
                *_memory_mistakes(config, weights, **given),
            ),
        )


def _counts(expected: float) -> Callable[[Any], str | None]:
    """Judge a whole number of bytes; half a byte may be rounded either way."""

    def judge(got: Any) -> str | None:
        if isinstance(got, int) and abs(got - expected) < 1:
            return None
        return f"Expected {math.ceil(expected)} bytes as an `int`, got {got!r}."

    return judge


EXERCISES = (
    Exercise(
        "cached_attention",
        difficulty=3,
        minutes=20,
        hints=(
            "Which of queries, keys and values does a token need only once, when it is "
            "new? And whom may new token t see, if S tokens came before?",
            "Take the thirds of `attention.qkv(x)` apart, and split each into heads. "
            "Join `past[0]` and the new keys on the axis of the tokens, 2, and values "
            "likewise. The mask is (T, S + T): row t ends at S + t, and `.tril(S)` "
            "cuts it so.",
            "q, k, v = the thirds of attention.qkv(x), each split into heads\n"
            "if there is a past:\n"
            "    k = torch.cat([past[0], k], dim=2)    # (B, H, S + T, D)\n"
            "    v = torch.cat([past[1], v], dim=2)\n"
            "T, seen = q.shape[2], k.shape[2]\n"
            "mask = torch.ones(T, seen, dtype=torch.bool, device=x.device)\n"
            "mask = mask.tril(seen - T)\n"
            "found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)\n"
            "return attention.projection(merge_heads(found)), (k, v)",
        ),
        cases=cached_attention,
    ),
    Exercise(
        "quantize",
        difficulty=2,
        minutes=10,
        hints=(
            "int8 reaches from -128 to 127. What must the largest size in a row "
            "become, and what is one step worth then?",
            "`weight.abs().amax(dim=1, keepdim=True)` is the largest size of each row, "
            "(out, 1). Divided by 127 it is the scale. What if a row is all zeros?",
            "scale = weight.abs().amax(dim=1, keepdim=True) / 127    # (out, 1)\n"
            "where scale is 0: put 1\n"
            "steps = (weight / scale).round().clamp(-127, 127)       # (out, in)\n"
            "return steps.to(torch.int8), scale",
        ),
        cases=quantize,
    ),
    Exercise(
        "QuantizedLinear",
        difficulty=2,
        minutes=10,
        hints=(
            "What does the layer have to keep, and what can it make again each time?",
            "In `__init__`, `self.register_buffer(name, tensor)` keeps a tensor that "
            "does not learn; None is allowed, too. In `forward`, int8 times the scale "
            "is the matrix again.",
            "in __init__:\n"
            "    super().__init__()\n"
            "    weight, scale = quantize(linear.weight.detach())\n"
            "    bias = a detached copy of linear.bias, or None\n"
            "    self.register_buffer each: weight, scale, bias\n"
            "in forward:\n"
            "    matrix = self.weight * self.scale    # (out, in)\n"
            "    return F.linear(x, matrix, self.bias)",
        ),
        cases=quantized_linear,
    ),
    Exercise(
        "StreamingDecoder",
        difficulty=3,
        minutes=25,
        hints=(
            "Only the last character can be unfinished. How do you find where it "
            "begins, and how do you know how many bytes it should have?",
            "Go back from the end over at most three bytes. One from 0x80 to 0xBF goes "
            "on with a character; before it stands the first byte, and "
            "`character_length` says how many it needs. If fewer are there, hold those "
            "back.",
            "in __init__: self.held = b''\n"
            "in push(chunk):\n"
            "    data = self.held + chunk\n"
            "    whole = len(data)\n"
            "    for count in 1, 2, 3, but no more than len(data):\n"
            "        byte = data[-count]\n"
            "        if 0x80 <= byte < 0xC0: continue    # it began before\n"
            "        if character_length(byte) > count: whole = len(data) - count\n"
            "        break\n"
            "    self.held = data[whole:]\n"
            "    return data[:whole].decode(errors='replace')\n"
            "in finish():\n"
            "    take what is held, and leave b''\n"
            "    return it.decode(errors='replace')",
        ),
        cases=streaming_decoder,
    ),
    Exercise(
        "StopAt",
        difficulty=3,
        minutes=20,
        hints=(
            "After each piece there are three sorts of text: what may be shown, what "
            "may be the beginning of a stop string, and what comes after one. Where "
            "does each begin?",
            "Put what was held in front of the piece, and go through it from the left. "
            "At each place ask: does a stop string stand here? Then the text ends. "
            "Does a stop string *begin* with all that is left? Then hold it.",
            "in push(piece):\n"
            "    if self.stopped: return ''\n"
            "    text, self.held = self.held + piece, ''\n"
            "    for start in range(len(text)):\n"
            "        rest = text[start:]\n"
            "        if rest starts with a stop string:\n"
            "            self.stopped = True\n"
            "            return text[:start]\n"
            "        if a stop string starts with rest:\n"
            "            self.held = rest\n"
            "            return text[:start]\n"
            "    return text\n"
            "in finish(): the same with what is held, but nothing waits any more",
        ),
        cases=stop_at,
    ),
    Exercise(
        "memory",
        difficulty=1,
        minutes=10,
        hints=(
            "Two things take memory: the weights, once, and keys and values, for each "
            "token of each text. How many numbers are kept for one token in one layer?",
            "`gpt_parameters(config)` counts the weights. One token keeps C numbers of "
            "keys and C of values in each layer, however many heads there are.",
            "weights = gpt_parameters(config) * bytes_per_weight\n"
            "per_token = 2 * config.n_layer * config.n_embd\n"
            "cached = texts * length * per_token * bytes_per_cached\n"
            "return math.ceil(weights + cached)",
        ),
        cases=memory,
    ),
)
