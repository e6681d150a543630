r"""A GPT in 8-bit numbers, with torch's own kernels for them.

    cache = Cache(model, batch=1, int8=True)        # course.generation
    layers = Layers(model, INT8)                    # course.layers

A row of a matrix is kept as whole numbers -127 .. 127 and one scale, a quarter of
float32. A row of x is made whole numbers, too, each time; the products are added up in
whole numbers, and only the sum is scaled back:

    q = round(w / s),  s = max |w| / 127            for each row of the matrix
    p = round(x / r),  r = max |x| / 127            for each row of x
    output = (sum of p q) r s + bias

Sums of whole numbers are exact in any order. So a row of the output depends on its own
row of x alone, and not on what else is in the batch.

It is faster where matrices are large, as in GPT-2, where most of the time goes into
reading them from memory. Those of a small model are faster in float32.

The kernel is oneDNN's, as `torch.compile` uses it for quantized models. It takes x as
numbers 0 .. 255, of which it takes 128 away again.

Source: Dettmers et al. 2022, "LLM.int8()", arXiv:2208.07339, section 2, for one scale
per row of both; Jacob et al. 2018, arXiv:1712.05877, for whole numbers all the way.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from course.layers import Form, Linear

TINY = 1e-30
"""Instead of the largest number of a row of zeros."""

ROWS = 1024
"""So many rows of a matrix are made whole numbers at once."""


def quantized(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Rows as whole numbers: (out, in) -> int8 (out, in) and scales float32 (out,)."""
    whole = torch.empty_like(weight, dtype=torch.int8)
    scale = weight.new_empty(len(weight))
    # Some rows at a time: what lies between takes as much memory as the matrix itself.
    pieces = (each.split(ROWS) for each in (weight, whole, scale))
    for rows, kept, scales in zip(*pieces, strict=True):
        scales.copy_(rows.abs().amax(dim=1)).clamp_min_(TINY).div_(127)
        kept.copy_((rows / scales[:, None]).round_())
    return whole, scale


def linear(weight: Tensor, bias: Tensor | None) -> Linear:
    """The product with a matrix (out, in), which is kept in int8.

    Raises:
        ValueError: if this torch has no kernel for it, the weight is not on the CPU,
            or not float32.
    """
    if weight.device.type != "cpu":
        raise ValueError(
            f"the model is on {weight.device}, and int8 is for the CPU alone: leave "
            "int8 out"
        )
    if weight.dtype != torch.float32:
        raise ValueError(
            f"the model is in {weight.dtype}, and int8 is made from float32: call "
            "model.float() first"
        )
    steps = levels()
    whole, scale = quantized(weight)
    packed = torch.ops.onednn.qlinear_prepack(whole, None)
    scale, zero = scale / steps, torch.zeros(len(whole), dtype=torch.int32)
    # Whole numbers -steps .. steps are moved to 1 .. 2 steps + 1; half of one more
    # makes the cut that follows round them.
    middle = torch.tensor(steps + 1.5)
    multiply = torch.ops.onednn.qlinear_pointwise.default
    settings = (packed, scale, zero, None, 1.0, 0, torch.float32, "none", [], "")

    def product(x: Tensor) -> Tensor:
        largest = x.abs().amax(dim=-1, keepdim=True).clamp_min_(TINY)  # (..., 1)
        moved = torch.addcmul(middle, x, steps / largest).to(torch.uint8)
        sums = multiply(moved, 1.0, steps + 1, *settings)  # (..., out)
        return sums * largest if bias is None else torch.addcmul(bias, sums, largest)

    return product


def lookup(table: Tensor) -> Callable[[Tensor], Tensor]:
    """Rows of a table (V, C) that is kept in int8."""
    whole, scale = quantized(table)
    scale = scale[:, None]
    return lambda ids: whole[ids].float().mul_(scale[ids])


INT8 = Form(linear, lookup)


@cache
def levels() -> int:
    """The largest whole number for x: 127, or 63 where 127 would go wrong.

    A processor without VNNI or its like adds two products in 16 bits, which hold two of
    127 * 127 and not two of 255 * 127.

    Raises:
        ValueError: if this torch has no such kernel.
    """
    for steps in (127, 63):
        if _is_right(steps):
            return steps
    raise ValueError(
        "torch's int8 kernel is missing or wrong on this machine: leave int8 out"
    )


def _is_right(steps: int) -> bool:
    """Whether the kernel adds the largest numbers there are without a mistake."""
    x = torch.full((3, 64), 2 * steps + 1, dtype=torch.uint8)
    weight = torch.full((32, 64), 127, dtype=torch.int8)
    weight[::2] = -127
    expected = (x.long() - steps - 1) @ weight.long().T  # (3, 32)
    try:
        packed = torch.ops.onednn.qlinear_prepack(weight, None)
        ones, zeros = torch.ones(32), torch.zeros(32, dtype=torch.int32)
        got = torch.ops.onednn.qlinear_pointwise(
            x, 1.0, steps + 1, packed, ones, zeros, None, 1.0, 0, torch.float32,
            "none", [], "",
        )  # fmt: skip
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
    return torch.equal(got.long(), expected)
