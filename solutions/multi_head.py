r"""Several heads at once: split the channels, attend in each part, put them together.

One head makes one weighted average per position. Here `H` heads look at the same text
side by side, each in `D = C / H` channels of its own, and a last matrix mixes what
they found. Written as matrix products over all heads at once, in GPT-2's layout.

    x (B, T, C) -> queries, keys, values (B, H, T, D) -> (B, H, T, D) -> (B, T, C)

Shapes: `B` texts, `T` tokens, `C` channels, `H` heads, `D` channels per head, `V`
tokens in the vocabulary. Left out: normalization and the feed-forward layer, which come
later.

Sources: Vaswani et al. 2017, "Attention Is All You Need", section 3.2.2; for the
layout, Radford et al. 2019, "Language Models are Unsupervised Multitask Learners".
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solutions.attention import attention_scores
from solutions.causal_masking import causal_mask, masked_weights
from solutions.tokens import TokenAndPositionEmbedding


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Give each head its own channels: (B, T, C) -> (B, H, T, D), D = C / H.

    Head 0 gets the first D channels of every token, head 1 the next D, and so on. The
    result is a view: nothing is copied.

    >>> split_heads(torch.arange(6).view(1, 1, 6), heads=2).tolist()
    [[[[0, 1, 2]], [[3, 4, 5]]]]

    Raises:
        ValueError: if `x` has no three axes, or the heads do not divide its channels.
    """
    if x.dim() != 3:
        raise ValueError(f"expected x (B, T, C), got shape {tuple(x.shape)}")
    _check_width(x.shape[-1], heads)
    # Cut the last axis, then move the heads beside the batch: time stays time.
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)  # (B, T, H, D) -> (B, H, T, D)


def merge_heads(x: Tensor) -> Tensor:
    """Put the channels of all heads side by side: (B, H, T, D) -> (B, T, C), C = H D.

    It undoes `split_heads`: `merge_heads(split_heads(x, heads))` equals `x`.

    Raises:
        ValueError: if `x` has no four axes.
    """
    if x.dim() != 4:
        raise ValueError(f"expected x (B, H, T, D), got shape {tuple(x.shape)}")
    return x.transpose(1, 2).flatten(-2)  # (B, T, H, D) -> (B, T, C)


class MultiHeadAttention(nn.Module):
    r"""Causal self-attention with several heads: (B, T, C) -> (B, T, C).

        head_h = softmax(mask(Q_h K_h^T / sqrt(D))) V_h
        output = concat(head_1, ..., head_H) W_O + b_O

    One linear layer `qkv` makes queries, keys and values of all heads in one matrix
    product; its 3 C outputs are the queries, then the keys, then the values, each with
    head 0 first. `projection` mixes the heads. Dropout is on the weights.

    The step in the middle is `F.scaled_dot_product_attention`: the same formula as in
    `solutions.attention` and `solutions.causal_masking`, in one call. Where a fused
    kernel fits, it does not keep the (T, T) weights; elsewhere (on a CPU with dropout,
    for example) torch goes through the formula step by step. `weights` computes them
    in the open.

    Where it differs from `nn.MultiheadAttention`: always causal, batch first, and it
    returns the output alone. The parameters correspond: `qkv` is `in_proj`,
    `projection` is `out_proj`.

    Source: Vaswani et al. 2017, section 3.2.2.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        context: int,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        """`width`: the channels C; `context`: the longest T.

        Raises:
            ValueError: if the heads do not divide the width, or dropout is not in 0..1.
        """
        super().__init__()
        _check_width(width, heads)
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout is {dropout}, expected a number from 0 to 1")
        self.width = width
        self.heads = heads
        self.context = context
        self.dropout = dropout
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.projection = nn.Linear(width, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C) -> (B, T, C).

        Raises:
            ValueError: if x is no (B, T, C) of this width, or T is over the context.
        """
        queries, keys, values = self.project(x)  # (B, H, T, D) each
        attended = F.scaled_dot_product_attention(
            queries,
            keys,
            values,
            is_causal=True,
            dropout_p=self.dropout if self.training else 0.0,
        )  # (B, H, T, D)
        return self.projection(merge_heads(attended))  # (B, T, C)

    def weights(self, x: Tensor) -> Tensor:
        """Where each head looks: (B, T, C) -> (B, H, T, T), rows sum to 1.

        Without dropout. `forward` is these weights times the values, merged and
        projected.

        Raises:
            ValueError: as `forward`.
        """
        queries, keys, _ = self.project(x)  # (B, H, T, D)
        scores = attention_scores(queries, keys)  # (B, H, T, T)
        return masked_weights(scores, causal_mask(x.shape[1], device=x.device))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of all heads: (B, T, C) -> three (B, H, T, D).

        Raises:
            ValueError: as `forward`.
        """
        if x.dim() != 3 or x.shape[-1] != self.width:
            raise ValueError(f"expected x (B, T, {self.width}), got {tuple(x.shape)}")
        if x.shape[1] > self.context:
            raise ValueError(
                f"{x.shape[1]} tokens do not fit the context of {self.context}: "
                f"give the last ones, x[:, -{self.context}:]"
            )
        queries, keys, values = self.qkv(x).chunk(3, dim=-1)  # (B, T, C) each
        return (
            split_heads(queries, self.heads),
            split_heads(keys, self.heads),
            split_heads(values, self.heads),
        )


def multi_head_parameters(width: int, heads: int, bias: bool = True) -> int:
    """How many numbers `MultiHeadAttention` learns, counted without building it.

    `qkv` has a (3 C, C) matrix, `projection` a (C, C) one, and each output a bias. The
    heads share the channels out, so their number changes nothing.

    >>> multi_head_parameters(width=768, heads=12)  # a layer of the smallest GPT-2
    2362368

    Raises:
        ValueError: if the heads do not divide the width.
    """
    _check_width(width, heads)
    matrices = 4 * width * width
    return matrices + 4 * width if bias else matrices


def without_head(attention: MultiHeadAttention, head: int) -> MultiHeadAttention:
    """A copy in which one head adds nothing to the output; the others are as before.

    What the head found meets the D columns of `projection.weight` that belong to it.
    With zeros there, it is not heard. The bias stays. `attention` is not changed.

    Raises:
        ValueError: if there is no such head.

    Source: Michel, Levy and Neubig 2019, "Are Sixteen Heads Really Better than One?",
    section 2.3.
    """
    if not 0 <= head < attention.heads:
        raise ValueError(
            f"there is no head {head}, expected 0 to {attention.heads - 1}"
        )
    silenced = copy.deepcopy(attention)
    with torch.no_grad():
        of_head = silenced.projection.weight.unflatten(1, (attention.heads, -1))
        of_head[:, head] = 0.0  # (C, H, D): a view of the weight
    return silenced


def attention_mass(weights: Tensor, asking: Tensor, sought: Tensor) -> Tensor:
    """How much each head looks from here to there: (B, H, T, T) -> (H,), each 0 to 1.

        mass[h] = mean over asking (b, t) of
                      sum over sought (b, s) of weights[b, h, t, s]

    `asking` (B, T) is True for the tokens that look, `sought` (B, T) for those that
    they may be looking at.

    Raises:
        ValueError: if no token asks.
    """
    if not asking.any():
        raise ValueError("no token asks: `asking` must be True somewhere")
    mass = (weights * sought[:, None, None, :]).sum(dim=-1)  # (B, H, T)
    return mass.transpose(1, 2)[asking].mean(dim=0)  # (N, H) -> (H,)


class AttentionModel(nn.Module):
    """A language model of attention alone: ids (B, T) -> logits (B, T, V).

        x = embedding(ids),   x = x + attention(norm(x)) per layer,   output(norm(x))

    Each layer *adds* what it found to what was there, so that later layers see both.
    """

    def __init__(
        self,
        vocab_size: int,
        context: int,
        width: int,
        heads: int,
        layers: int = 1,
        norm: Callable[[int], nn.Module] = nn.Identity,
    ) -> None:
        """`norm`: makes a layer that keeps numbers of this width steady, or nothing."""
        super().__init__()
        self.embedding = TokenAndPositionEmbedding(vocab_size, context, width)
        self.norms = nn.ModuleList(norm(width) for _ in range(layers))
        self.layers = nn.ModuleList(
            MultiHeadAttention(width, heads, context) for _ in range(layers)
        )
        self.output_norm = norm(width)
        self.output = nn.Linear(width, vocab_size)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids)  # (B, T, C)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = x + layer(norm(x))  # (B, T, C)
        return self.output(self.output_norm(x))  # (B, T, V)

    @torch.no_grad()
    def weights(self, ids: Tensor) -> Tensor:
        """Where each head of each layer looks: (B, T) -> (B, L, H, T, T)."""
        x, seen = self.embedding(ids), []
        for norm, layer in zip(self.norms, self.layers, strict=True):
            seen.append(layer.weights(norm(x)))  # (B, H, T, T)
            x = x + layer(norm(x))
        return torch.stack(seen, dim=1)  # (B, L, H, T, T)


def _check_width(width: int, heads: int) -> None:
    """Refuse heads that cannot share the channels out.

    Raises:
        ValueError: if `heads` is less than 1 or does not divide `width`.
    """
    if heads < 1 or width % heads:
        raise ValueError(
            f"{heads} heads do not divide {width} channels: choose a number of heads "
            "that does"
        )
