"""What keeps activations steady: LayerNorm, RMSNorm, and a network without them.

Every layer of a Transformer adds something to the stream of vectors that runs through
it, so the numbers in that stream drift with depth. A normalization layer gives each
vector the same size again before a layer reads it. Dynamic Tanh (DyT) has no statistics
at all: it squashes each number by itself.

Shapes: `B` texts, `T` tokens each, `C` channels. All three work on the last axis, token
by token: no text and no position ever learns anything of another. Names of parameters
are those of `torch.nn`, so that weights can be copied over.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from solutions.multi_head import MultiHeadAttention
from solutions.tokens import TokenAndPositionEmbedding


class LayerNorm(nn.Module):
    """Mean 0 and variance 1 for each vector, then a learned gain and shift.

        y = (x - mean) / sqrt(variance + eps) * weight + bias

    (..., C) -> (..., C). Mean and variance are those of the C channels of one vector;
    the variance divides by C, not by C - 1. Like `nn.LayerNorm` over one axis.

    Source: Ba, Kiros and Hinton 2016, "Layer Normalization", arXiv:1607.06450.
    """

    def __init__(self, width: int, eps: float = 1e-5, bias: bool = True) -> None:
        """`width`: the number of channels C; `eps` is added to the variance."""
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))  # (C,), the gain
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None  # (C,)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C).

        Raises:
            ValueError: if the last axis of `x` is not C.
        """
        _check_width(x, self.weight)
        wide = _wide(x)
        centred = wide - wide.mean(dim=-1, keepdim=True)  # (..., C)
        variance = centred.square().mean(dim=-1, keepdim=True)  # (..., 1)
        normed = centred * torch.rsqrt(variance + self.eps)  # (..., C)
        scaled = normed.to(x.dtype) * self.weight
        return scaled if self.bias is None else scaled + self.bias


class RMSNorm(nn.Module):
    """Root mean square 1 for each vector, then a learned gain: no mean, no shift.

        y = x / sqrt(mean of x**2 + eps) * weight

    (..., C) -> (..., C). Like `nn.RMSNorm`, whose default `eps` is another: the machine
    epsilon of the type of `x`.

    Source: Zhang and Sennrich 2019, "Root Mean Square Layer Normalization",
    arXiv:1910.07467.
    """

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        """`width`: the number of channels C; `eps` is added to the mean square."""
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))  # (C,), the gain

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C).

        Raises:
            ValueError: if the last axis of `x` is not C.
        """
        _check_width(x, self.weight)
        wide = _wide(x)
        mean_square = wide.square().mean(dim=-1, keepdim=True)  # (..., 1)
        normed = wide * torch.rsqrt(mean_square + self.eps)  # (..., C)
        return normed.to(x.dtype) * self.weight


class DyT(nn.Module):
    """Dynamic Tanh: squash each number by itself; nothing is measured.

        y = tanh(alpha * x) * weight + bias

    (..., C) -> (..., C). `alpha` is one learned number for the whole layer.

    Source: Zhu, Chen, He, LeCun and Liu 2025, "Transformers without Normalization",
    arXiv:2503.10622, whose `alpha` begins at 0.5 outside of large language models.
    """

    def __init__(self, width: int, alpha: float = 0.5) -> None:
        """`width`: the number of channels C; `alpha`: where its number begins."""
        super().__init__()
        self.alpha = nn.Parameter(torch.full((1,), alpha))  # (1,)
        self.weight = nn.Parameter(torch.ones(width))  # (C,)
        self.bias = nn.Parameter(torch.zeros(width))  # (C,)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C).

        Raises:
            ValueError: if the last axis of `x` is not C.
        """
        _check_width(x, self.weight)
        return torch.tanh(self.alpha * x) * self.weight + self.bias


class Residual(nn.Module):
    """A layer beside the stream: what it computes is added to what it was given.

        pre:   y = x + layer(norm(x))        post:   y = norm(x + layer(x))

    (B, T, C) -> (B, T, C). Pre-norm leaves an unbroken path from the last layer back to
    the embedding; post-norm is the order of the first Transformer.

    Source: Vaswani et al. 2017, arXiv:1706.03762 (post); Xiong et al. 2020, "On Layer
    Normalization in the Transformer Architecture", arXiv:2002.04745 (both compared).
    """

    def __init__(self, layer: nn.Module, norm: nn.Module, pre: bool = True) -> None:
        super().__init__()
        self.layer = layer
        self.norm = norm
        self.pre = pre

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)"""
        if self.pre:
            return x + self.layer(self.norm(x))
        return self.norm(x + self.layer(x))


class Tower(nn.Module):
    """A deep language model to try norms on: ids (B, T) -> logits (B, T, V).

    Each layer is two residual ones: attention, which moves information between
    positions, and two matrices with a bend between them, which work on each position by
    itself (week 4 builds that part). A pre-norm tower has one more norm at its end.
    """

    def __init__(
        self,
        vocab_size: int,
        context: int,
        width: int,
        heads: int,
        layers: int,
        norm: Callable[[int], nn.Module] = LayerNorm,
        pre: bool = True,
    ) -> None:
        """`norm` makes a layer for vectors of a width; `nn.Identity` leaves them be."""
        super().__init__()
        self.embedding = TokenAndPositionEmbedding(vocab_size, context, width)
        self.layers = nn.ModuleList()
        for _ in range(layers):
            attention = MultiHeadAttention(width, heads, context)
            position_wise = nn.Sequential(
                nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width)
            )
            self.layers.append(Residual(attention, norm(width), pre))
            self.layers.append(Residual(position_wise, norm(width), pre))
        self.last = norm(width) if pre else nn.Identity()
        self.output = nn.Linear(width, vocab_size)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, V)"""
        return self.output(self.last(self.stream(ids)[-1]))

    def stream(self, ids: Tensor) -> list[Tensor]:
        """What runs through the tower: the embedding, then after each residual layer.

        (B, T) -> 1 + 2 * layers tensors (B, T, C).
        """
        seen = [self.embedding(ids)]
        for layer in self.layers:
            seen.append(layer(seen[-1]))
        return seen


def swap_norms(
    model: nn.Module, old: type[nn.Module], make: Callable[[int], nn.Module]
) -> int:
    """Replace every `old` layer inside `model` by `make(width)`; how many there were.

    In place, however deep it lies. `width` is the length of the old layer's `weight`;
    the new layer goes to the same device and type. A layer that stands in two places
    is one layer afterwards, too. The new layers begin untrained.

    Raises:
        ValueError: if there is no such layer: a swap that does nothing is a mistake.
    """
    found = [
        (path, layer)
        for path, layer in model.named_modules(remove_duplicate=False)
        if isinstance(layer, old) and path
    ]
    if not found:
        raise ValueError(f"the model has no {old.__name__} to swap")
    new: dict[nn.Module, nn.Module] = {}
    for path, layer in found:
        if layer not in new:
            new[layer] = make(layer.weight.numel()).to(layer.weight)
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, new[layer])
    return len(new)


def _wide(x: Tensor) -> Tensor:
    """At least float32: in float16 the square of 300 is already infinite."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _check_width(x: Tensor, weight: Tensor) -> None:
    if x.dim() == 0 or x.shape[-1] != len(weight):
        raise ValueError(
            f"expected (..., {len(weight)}), got shape {tuple(x.shape)}: the channels "
            "are the last axis"
        )
