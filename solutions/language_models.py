"""What a language model is, in one file: count, predict, measure, write.

A language model looks at tokens and gives every token of its vocabulary a score for
coming next. Here the simplest one that learns from data, the bigram model, which looks
at one token only; and the loss, the units and the writing loop, which stay the same for
every later model of the course, up to the GPT.

Shapes: `B` texts, `T` tokens each, `V` tokens in the vocabulary. A token is a whole
number from 0 to `V - 1`, its id. Left out: how text becomes ids (the next chapter).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


def bigram_counts(ids: Tensor, vocab_size: int) -> Tensor:
    """How often each token follows each: (T,) -> (V, V), int64.

    `counts[a, b]` is the number of places where `b` stands right after `a`.

    >>> bigram_counts(torch.tensor([0, 1, 0, 1, 1]), vocab_size=2)
    tensor([[0, 2],
            [1, 1]])

    Raises:
        ValueError: if an id is not in 0 .. vocab_size - 1, or `ids` is no row.
    """
    if ids.dim() != 1:
        raise ValueError(f"expected one row of ids (T,), got shape {tuple(ids.shape)}")
    if ids.numel() and not 0 <= ids.min() <= ids.max() < vocab_size:
        raise ValueError(
            f"ids run from {ids.min()} to {ids.max()}, expected 0 to {vocab_size - 1}"
        )
    # Each pair gets one number, a * V + b, the place of [a, b] in a flattened table.
    pairs = ids[:-1].long() * vocab_size + ids[1:]  # (T - 1,)
    counts = torch.bincount(pairs, minlength=vocab_size**2)  # (V * V,)
    return counts.view(vocab_size, vocab_size)  # (V, V)


def bigram_probabilities(counts: Tensor, alpha: float = 0.0) -> Tensor:
    """The probability of each next token: (V, V) -> (V, V), every row sums to 1.

        p[a, b] = (counts[a, b] + alpha) / sum over c of (counts[a, c] + alpha)

    `alpha` is added to every count (add-alpha smoothing): with alpha > 0 nothing is
    impossible. Without it a token that nothing ever followed has no probabilities.

    Raises:
        ValueError: if alpha < 0, or alpha is 0 and a row of `counts` is all zeros.

    Source: Jurafsky and Martin, Speech and Language Processing, chapter 3.
    """
    if alpha < 0:
        raise ValueError(f"alpha is {alpha}, expected 0 or more")
    smoothed = counts + alpha  # (V, V)
    totals = smoothed.sum(dim=-1, keepdim=True)  # (V, 1)
    if (totals == 0).any():
        raise ValueError("a token was never followed by anything: give alpha > 0")
    return smoothed / totals  # (V, V)


class BigramModel(nn.Module):
    """A language model that looks at the last token only: a table of logits.

    (B, T) -> (B, T, V): the logits at position t are row `ids[:, t]` of the table, the
    logarithms of the probabilities it was made from.
    """

    def __init__(self, probabilities: Tensor) -> None:
        """`probabilities[a, b]`: how likely b is after a; a zero becomes -inf."""
        super().__init__()
        self.register_buffer("logits", probabilities.log())  # (V, V)

    def forward(self, ids: Tensor) -> Tensor:
        return self.logits[ids]  # (B, T, V)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean surprise at the right answers, in nats: (..., V), (...) -> ().

        loss = mean of -log p[target],  p = softmax(logits)
             = mean of log(sum over v of exp(logits[v])) - logits[target]

    The largest logit is taken away from all of them first: that changes no probability,
    and `exp` can no longer overflow. Like `F.cross_entropy`, but the vocabulary is the
    last axis, and there are no class weights and no ignored targets.

    >>> cross_entropy(torch.zeros(3, 5), torch.tensor([0, 1, 4]))  # log(5)
    tensor(1.6094)

    Raises:
        ValueError: if `targets` is not shaped like `logits` without its last axis.
    """
    if logits.shape[:-1] != targets.shape:
        raise ValueError(
            f"logits {tuple(logits.shape)} need targets {tuple(logits.shape[:-1])}, "
            f"got {tuple(targets.shape)}"
        )
    shifted = logits - logits.amax(dim=-1, keepdim=True)  # (..., V)
    log_total = shifted.exp().sum(dim=-1).log()  # (...)
    chosen = shifted.gather(-1, targets.unsqueeze(-1)).squeeze(-1)  # (...)
    return (log_total - chosen).mean()


def perplexity(nats: float) -> float:
    """exp(cross-entropy): as unsure as between so many equally likely tokens.

    >>> round(perplexity(math.log(27)), 6)
    27.0

    Source: Jelinek et al. 1977, "Perplexity: a measure of the difficulty of speech
    recognition tasks".
    """
    return math.exp(nats)


def bits_per_character(nats: float, tokens: int, characters: int) -> float:
    """Cross-entropy per token in nats -> bits per character of the text.

        bits = nats / ln(2) * tokens / characters

    A model with longer tokens makes fewer, harder predictions; per character the two
    can be compared. `tokens` predictions were averaged, over a text of `characters`.

    >>> bits_per_character(math.log(8), tokens=50, characters=150)
    1.0

    Raises:
        ValueError: if there are no characters.
    """
    if characters < 1:
        raise ValueError("bits per character need a text of at least one character")
    return nats / math.log(2) * tokens / characters


def sample_next(
    logits: Tensor,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw the next token: logits (B, V) -> ids (B,), int64.

        p = softmax(logits / temperature)

    Temperature 1 draws from the model's own probabilities; below 1 the likely tokens
    become likelier, above 1 the rare ones. Temperature 0 is greedy: the largest logit.

    Args:
        generator: where the randomness comes from; the same seed draws the same ids.

    Raises:
        ValueError: if the temperature is negative.
    """
    if temperature < 0:
        raise ValueError(f"the temperature is {temperature}, expected 0 or more")
    if temperature == 0:
        return logits.argmax(dim=-1)  # (B,)
    probabilities = torch.softmax(logits / temperature, dim=-1)  # (B, V)
    drawn = torch.multinomial(probabilities, num_samples=1, generator=generator)
    return drawn.squeeze(-1)  # (B, 1) -> (B,)


@torch.no_grad()
def generate(
    model: Callable[[Tensor], Tensor],
    ids: Tensor,
    steps: int,
    *,
    temperature: float = 1.0,
    context: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The next-token loop: ids (B, T) -> (B, T + steps), the given ids come first.

    Each step asks the model about the text so far, draws one token from its prediction
    at the last position, and appends it. `ids` itself stays as it is. The model's mode
    is the caller's: call `model.eval()` first where there is dropout.

    Args:
        model: maps ids (B, T) to logits (B, T, V).
        context: how many of the last tokens the model can see at most; None: all.

    Raises:
        ValueError: if there is no token to start from, or `context` is less than 1.
    """
    if ids.dim() != 2 or ids.shape[1] == 0:
        raise ValueError(f"expected ids (B, T) with T >= 1, got {tuple(ids.shape)}")
    if context is not None and context < 1:
        raise ValueError(f"the context is {context}, expected 1 or more")
    for _ in range(steps):
        seen = ids if context is None else ids[:, -context:]  # (B, T) at most
        logits = model(seen)[:, -1]  # (B, T, V) -> (B, V)
        drawn = sample_next(logits, temperature, generator)  # (B,)
        ids = torch.cat([ids, drawn.unsqueeze(1)], dim=1)  # (B, T + 1)
    return ids
