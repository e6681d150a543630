r"""Attention in one file: compare, share out, average.

Every position asks a question, the query, and every position offers a key and a value.
A query is compared with all keys; softmax makes shares of the scores; the output is the
average of the values, each by its share.

    Attention(Q, K, V) = softmax(Q K^T / sqrt(D)) V

Shapes: `B` texts, `T` positions that ask, `S` positions that are asked (in
self-attention they are the same), `C` channels that come in, `D` channels of a query
and a key. Left out: the mask, which hides the future, and dropout (the next chapter).

Source: Vaswani et al. 2017, "Attention Is All You Need", section 3.2.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def softmax(x: Tensor, dim: int = -1) -> Tensor:
    """Scores to shares: none negative, their sum 1 along `dim`; of the same shape.

        softmax(x)_i = exp(x_i - m) / sum over j of exp(x_j - m),   m = max of all x_j

    Subtracting `m` changes no share, and `exp` cannot overflow. Each row along `dim`
    has its own `m`: with one for all, a row far below it would underflow to 0 / 0.

    >>> softmax(torch.tensor([0.0, math.log(3.0)]))
    tensor([0.2500, 0.7500])

    Raises:
        ValueError: if there is no score along `dim`.
    """
    if x.shape[dim] == 0:
        raise ValueError(f"no scores to share out along axis {dim} of {tuple(x.shape)}")
    exponentials = (x - x.amax(dim=dim, keepdim=True)).exp()
    return exponentials / exponentials.sum(dim=dim, keepdim=True)


def softmax_gradient(weights: Tensor, upstream: Tensor) -> Tensor:
    """From the gradient at the weights to the gradient at the scores: (..., S) each.

        dL/dx_i = w_i * (g_i - sum over j of w_j g_j),   g = dL/dw

    `weights` is softmax(x) over the last axis. Where one weight is nearly 1 and the
    others nearly 0, every entry is nearly 0: such a row has stopped learning.

    Raises:
        ValueError: if the two shapes differ.
    """
    if weights.shape != upstream.shape:
        raise ValueError(
            f"weights {tuple(weights.shape)} need a gradient of the same shape, "
            f"got {tuple(upstream.shape)}"
        )
    average = (weights * upstream).sum(dim=-1, keepdim=True)  # (..., 1)
    return weights * (upstream - average)  # (..., S)


def attention_scores(queries: Tensor, keys: Tensor) -> Tensor:
    """How well each query fits each key: (..., T, D), (..., S, D) -> (..., T, S).

        scores = Q K^T / sqrt(D)

    Raises:
        ValueError: if there are fewer than two axes, or the widths D differ.
    """
    if min(queries.dim(), keys.dim()) < 2 or queries.shape[-1] != keys.shape[-1]:
        raise ValueError(
            "expected queries (..., T, D) and keys (..., S, D) of one width D, got "
            f"{tuple(queries.shape)} and {tuple(keys.shape)}"
        )
    # The scale goes first: in float16 the products alone could pass 65,504.
    scaled = queries / math.sqrt(queries.shape[-1])  # (..., T, D)
    return scaled @ keys.transpose(-2, -1)  # (..., T, S)


def attention_weights(queries: Tensor, keys: Tensor) -> Tensor:
    """Each query's shares of the keys: (..., T, D), (..., S, D) -> (..., T, S).

        weights = softmax(Q K^T / sqrt(D)),   every row sums to 1

    Raises:
        ValueError: as `attention_scores`.
    """
    return softmax(attention_scores(queries, keys), dim=-1)


def scaled_dot_product_attention(
    queries: Tensor, keys: Tensor, values: Tensor
) -> Tensor:
    """For each query the average of the values, by its weights: -> (..., T, D).

        Attention(Q, K, V) = softmax(Q K^T / sqrt(D)) V

    Queries (..., T, D), keys (..., S, D), values (..., S, D); the values may be of
    another width, which is then the width of the output. Like
    `F.scaled_dot_product_attention`, without its mask and dropout.

    Raises:
        ValueError: as `attention_scores`, or if keys and values differ in S.
    """
    if keys.shape[-2:-1] != values.shape[-2:-1]:
        raise ValueError(
            "expected one value for each key, (..., S, D), got keys "
            f"{tuple(keys.shape)} and values {tuple(values.shape)}"
        )
    return attention_weights(queries, keys) @ values  # (..., T, D)


class SelfAttention(nn.Module):
    """One head of attention of a text to itself: (B, T, C) -> (B, T, D).

        Q = x W_Q^T,  K = x W_K^T,  V = x W_V^T,  output = Attention(Q, K, V)

    What is learned are the three matrices; the weights of the average are computed from
    each input anew. No mask: every position looks at every position.
    """

    def __init__(self, width: int, head_width: int) -> None:
        """`width`: the channels C that come in; `head_width`: the channels D."""
        super().__init__()
        self.query = nn.Linear(width, head_width, bias=False)
        self.key = nn.Linear(width, head_width, bias=False)
        self.value = nn.Linear(width, head_width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C) -> (B, T, D).

        Raises:
            ValueError: if x is no (B, T, C) of this width.
        """
        width = self.query.in_features
        if x.dim() != 3 or x.shape[-1] != width:
            raise ValueError(f"expected x (B, T, {width}), got {tuple(x.shape)}")
        queries, keys, values = self.query(x), self.key(x), self.value(x)  # (B, T, D)
        return scaled_dot_product_attention(queries, keys, values)  # (B, T, D)


def is_attention(candidate: Callable[[Tensor, Tensor, Tensor], Tensor]) -> bool:
    """Is `candidate(queries, keys, values)` scaled dot-product attention? A test.

    It is compared with `F.scaled_dot_product_attention` on inputs that separate near
    misses: no two sizes are equal, no two rows alike, and the second time the scores
    are so large that `exp` of them overflows. In float64, so that rounding is far below
    any mistake. A candidate that raises fails, too.
    """
    generator = torch.Generator().manual_seed(0)
    for size in (1.0, 100.0):
        inputs = [
            size * torch.randn(shape, generator=generator, dtype=torch.float64)
            for shape in ((2, 3, 7), (2, 5, 7), (2, 5, 11))  # T = 3, S = 5, D = 7
        ]
        expected = F.scaled_dot_product_attention(*inputs)
        try:
            got = candidate(*(tensor.clone() for tensor in inputs))
            same = got.shape == expected.shape and torch.allclose(got, expected)
        except Exception:  # also when it returned something that is no tensor
            return False
        if not same:
            return False
    return True
