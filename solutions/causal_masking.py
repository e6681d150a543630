r"""Attention that cannot see the future: the mask, dropout, and one causal head.

A model that predicts the next token must not look at it. The mask hides the future
*before* the softmax, so that hidden positions get no share at all; dropout hides some
of what is left, at random, while the model learns. The leak detector tells whether a
finished model keeps its eyes shut.

    weights = softmax(scores, with -inf where the mask says no)

Shapes: `B` texts, `T` positions that ask, `S` positions that are asked, `C` channels
that come in, `D` channels of a head, `V` tokens in the vocabulary. A mask is of bools,
True where a position may look, as in `F.scaled_dot_product_attention`; the mask of
`nn.MultiheadAttention` is the other way round. Left out: several heads (next week).

Sources: Vaswani et al. 2017, "Attention Is All You Need", section 3.2.3, for the mask;
Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from
Overfitting", for dropout.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from solutions.attention import attention_scores, softmax
from solutions.tokens import TokenAndPositionEmbedding


def causal_mask(length: int, device: torch.device | str | None = None) -> Tensor:
    """Who may look where: bool (T, T), True on and below the diagonal.

    Row t is the position that looks, column s the one that is looked at; t sees s if
    s <= t. The diagonal is True: a position sees its own token, and predicts the next.

    >>> causal_mask(3)
    tensor([[ True, False, False],
            [ True,  True, False],
            [ True,  True,  True]])

    Raises:
        ValueError: if `length` is negative.
    """
    if length < 0:
        raise ValueError(f"a mask for {length} tokens: expected 0 or more")
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def masked_weights(scores: Tensor, mask: Tensor) -> Tensor:
    """Shares of what may be seen: (..., T, S), mask (..., T, S) -> (..., T, S).

        weights = softmax(scores, with -inf where mask is False)

    What is hidden gets exactly 0, and no hidden score has an effect on any weight. A
    row that may see nothing gets zeros, where the formula says 0 / 0; so does
    `F.scaled_dot_product_attention`. Its gradient is zero too, never NaN.

    Args:
        mask: bools, True where a position may look; it may lack axes in front.

    Raises:
        ValueError: if the mask is not of bools, or does not fit the scores.
    """
    if mask.dtype != torch.bool:
        raise ValueError(f"expected a mask of bools, got {mask.dtype}: use mask.bool()")
    if not _fits(mask, scores):
        raise ValueError(
            f"a mask {tuple(mask.shape)} does not fit scores {tuple(scores.shape)}: "
            "cut it to the same T and S"
        )
    hidden = ~mask
    empty = hidden.all(dim=-1, keepdim=True)  # (..., T, 1): rows that see nothing
    # Such a row would be 0 / 0. With any finite scores there is no NaN to find, here or
    # on the way back; the last line takes away the weights that it gets.
    scores = scores.masked_fill(hidden, -math.inf).masked_fill(empty, 0.0)
    return softmax(scores, dim=-1).masked_fill(hidden, 0.0)  # (..., T, S)


def stolen_score(weights: Tensor, scores: Tensor) -> Tensor:
    """Read a hidden score out of weights that were masked too late: -> (...).

        s_hidden = s_seen + log(w_hidden / w_seen),   w_hidden = 1 - sum of all w_seen

    If the mask comes after the softmax, the visible weights of a row no longer sum to
    1: what is missing is the share of the hidden ones. Row T - 2 hides one token only,
    the last, so its missing share is the weight of that token, and two weights of a row
    are to each other as the `exp` of their scores.

    Args:
        weights: (..., T, T), the softmax of all scores, then zeros above the diagonal.
        scores: (..., T, T), -inf above the diagonal: the hidden ones are not given.

    Raises:
        ValueError: if there are fewer than two positions, so that nothing is hidden.
    """
    if weights.shape[-1] < 2:
        raise ValueError(f"nothing is hidden in weights {tuple(weights.shape)}")
    seen = weights[..., -2, :-1]  # (..., T - 1)
    share, place = seen.max(dim=-1)  # the largest one is the most exact
    score = scores[..., -2, :-1].gather(-1, place.unsqueeze(-1)).squeeze(-1)
    return score + ((1 - seen.sum(dim=-1)) / share).log()


def dropout(
    x: Tensor,
    p: float,
    training: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Set each number to 0 with probability p, and the others to x / (1 - p).

    The division keeps the mean where it was, so that nothing has to be changed when
    dropout is off: with `training=False` the result is x. Each number of x has a draw
    of its own, in every text and at every position. Like `F.dropout`, but the
    randomness may come from a generator, which must live on the device of x.

    Raises:
        ValueError: if p is not in 0 .. 1.

    Source: Srivastava et al. 2014; the division in training is known as *inverted*
    dropout (the paper multiplies by 1 - p in evaluation instead).
    """
    if not 0 <= p <= 1:
        raise ValueError(f"the dropout probability is {p}, expected 0 to 1")
    if not training or p == 0:
        return x
    # In float32 whatever x is: bfloat16 has too few numbers between 0 and 1.
    drawn = torch.rand(
        x.shape, generator=generator, device=x.device, dtype=torch.float32
    )
    scale = 1 / (1 - p) if p < 1 else 0.0  # then nothing is left to scale
    return x.masked_fill(drawn < p, 0.0) * scale


class Dropout(nn.Module):
    """`dropout` as a layer: it drops after `.train()` and rests after `.eval()`."""

    def __init__(self, p: float) -> None:
        """`p`: the probability of a zero.

        Raises:
            ValueError: if p is not in 0 .. 1.
        """
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"the dropout probability is {p}, expected 0 to 1")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p, training=self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class CausalHead(nn.Module):
    """One head of self-attention that sees no later position: (B, T, C) -> (B, T, D).

        Q = x W_Q^T,  K = x W_K^T,  V = x W_V^T
        output = dropout(softmax(mask(Q K^T / sqrt(D)))) V

    Dropout is on the weights: in training, now and then a position cannot look at
    something that it may see. Position t of the output depends on positions 0 to t of
    the input, bit for bit.

    Source: Vaswani et al. 2017, section 3.2; for dropout on the weights, their code
    (tensor2tensor) and GPT-2's `attn_pdrop`.
    """

    def __init__(
        self, width: int, head_width: int, context: int, dropout: float = 0.0
    ) -> None:
        """`width`: the channels C; `head_width`: D; `context`: the longest T."""
        super().__init__()
        self.query = nn.Linear(width, head_width, bias=False)
        self.key = nn.Linear(width, head_width, bias=False)
        self.value = nn.Linear(width, head_width, bias=False)
        self.dropout = Dropout(dropout)
        # A buffer moves with the module. Not persistent: it can always be made again.
        self.register_buffer("mask", causal_mask(context), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C) -> (B, T, D).

        Raises:
            ValueError: if x is no (B, T, C) of this width, or T is over the context.
        """
        width, context = self.query.in_features, len(self.mask)
        if x.dim() != 3 or x.shape[-1] != width:
            raise ValueError(f"expected x (B, T, {width}), got {tuple(x.shape)}")
        length = x.shape[1]
        if length > context:
            raise ValueError(
                f"{length} tokens do not fit the context of {context}: "
                f"give the last ones, x[:, -{context}:]"
            )
        queries, keys, values = self.query(x), self.key(x), self.value(x)  # (B, T, D)
        scores = attention_scores(queries, keys)  # (B, T, T)
        weights = masked_weights(scores, self.mask[:length, :length])  # (B, T, T)
        return self.dropout(weights) @ values  # (B, T, D)


@torch.no_grad()
def leaks(model: Callable[[Tensor], Tensor], ids: Tensor) -> list[int]:
    """The leak detector: positions whose output changes with a later token.

    For each t, the token at t is changed, and the outputs before t are compared with
    what they were, bit for bit: in a causal model none of them can know. Empty for a
    model that cannot see the future.

    The model's mode is the caller's: call `model.eval()` first where there is dropout.

    Args:
        model: maps ids (B, T) to logits (B, T, V).

    Returns:
        The leaking positions in order, each once.

    Raises:
        ValueError: if the model answers differently to the same ids, so that no
            comparison would mean anything.
    """
    logits = model(ids)  # (B, T, V)
    if not torch.equal(model(ids), logits):
        raise ValueError(
            "the model answers differently to the same ids: call model.eval() to "
            "switch off dropout, and look for NaN"
        )
    found: set[int] = set()
    for t in range(1, ids.shape[1]):
        changed = ids.clone()
        changed[:, t] = (ids[:, t] + 1) % logits.shape[-1]  # another id that exists
        differs = model(changed)[:, :t] != logits[:, :t]  # (B, t, V)
        found.update(differs.any(dim=-1).any(dim=0).nonzero()[:, 0].tolist())
    return sorted(found)


class HeadModel(nn.Module):
    """A language model with one causal head: ids (B, T) -> logits (B, T, V).

        x = dropout(embedding(ids)),   logits = output(x + head(x))

    What the head finds is added to what was there, so the output layer sees the token
    itself and what is known of the tokens before it.
    """

    def __init__(
        self,
        vocab_size: int,
        context: int,
        width: int,
        dropout: float = 0.0,
        head: nn.Module | None = None,
    ) -> None:
        """`head`: another (B, T, C) -> (B, T, C) in place of the causal head."""
        super().__init__()
        self.embedding = TokenAndPositionEmbedding(vocab_size, context, width)
        self.dropout = Dropout(dropout)
        self.head = head or CausalHead(width, width, context, dropout)
        self.output = nn.Linear(width, vocab_size)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.dropout(self.embedding(ids))  # (B, T, C)
        return self.output(x + self.head(x))  # (B, T, V)


def _fits(mask: Tensor, scores: Tensor) -> bool:
    try:
        return torch.broadcast_shapes(mask.shape, scores.shape) == scores.shape
    except RuntimeError:
        return False
