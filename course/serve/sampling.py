"""Draws the next token of many texts at once, for each as it was asked for.

A text brings its own random numbers, one for each token, so that what it gets does not
depend on the others. With the number u, 0 <= u < 1, comes the first token at which the
probabilities, added up in the order of the ids, are more than u.

Shapes: `N` texts, `V` tokens in the vocabulary.

Source: Devroye 1986, "Non-Uniform Random Variate Generation", chapter III.2 (inversion
by sequential search).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from course.generation import check_settings
from solutions.gpt_block import keep_top_k, keep_top_p

FEW = 64
"""So many of the likeliest tokens are looked at before all are sorted."""


@dataclass(frozen=True)
class Settings:
    """How tokens are drawn: as `solutions.gpt_block.write` does.

    Raises:
        ValueError: if nothing can be drawn so.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        check_settings(self.temperature, self.top_k, self.top_p)


def draw(
    logits: Tensor, settings: Sequence[Settings], numbers: Sequence[float]
) -> list[int]:
    """The next token of each text: logits (N, V), and N settings and numbers."""
    if not any(each.temperature for each in settings):
        return logits.argmax(dim=-1).tolist()
    device = logits.device
    temperatures = [each.temperature or 1.0 for each in settings]
    scaled = logits.float() / torch.tensor(temperatures, device=device)[:, None]
    for (top_k, top_p), rows in _alike(settings).items():
        some = scaled[rows]
        if top_k is not None:
            some = keep_top_k(some, top_k)
        if top_p is not None:
            some = nucleus(some, top_p)
        scaled[rows] = some
    # In double precision, u times the whole sum is always less than the sum.
    sums = scaled.softmax(dim=-1).cumsum(dim=-1, dtype=torch.float64)  # (N, V)
    aims = torch.tensor(numbers, dtype=torch.float64, device=device)
    aims = aims[:, None] * sums[:, -1:]  # (N, 1)
    drawn = torch.searchsorted(sums, aims, right=True)[:, 0].tolist()
    if all(each.temperature for each in settings):
        return drawn
    likeliest = logits.argmax(dim=-1).tolist()
    return [
        token if each.temperature else best
        for token, best, each in zip(drawn, likeliest, settings, strict=True)
    ]


def nucleus(logits: Tensor, p: float) -> Tensor:
    """What `keep_top_p` keeps, (N, V) -> (N, V), without sorting all tokens.

    Mostly a few tokens have p together; only the rows of which more are needed are
    sorted.
    """
    few = logits.softmax(dim=-1).topk(min(FEW, logits.shape[-1]), dim=-1)
    sums = few.values.cumsum(dim=-1)  # (N, few)
    spare = sums - few.values >= p  # more probable ones have enough
    spare[:, 0] = False  # the most probable token always stays
    chosen = logits.gather(1, few.indices).masked_fill(spare, -math.inf)
    kept = torch.full_like(logits, -math.inf).scatter(1, few.indices, chosen)
    more = sums[:, -1] < p
    if more.any():
        kept[more] = keep_top_p(logits[more], p)
    return kept


def _alike(
    settings: Sequence[Settings],
) -> dict[tuple[int | None, float | None], list[int]]:
    """The rows that are cut in the same way, for each way."""
    groups: dict[tuple[int | None, float | None], list[int]] = {}
    for row, each in enumerate(settings):
        top_p = None if each.top_p == 1 else each.top_p  # 1 keeps all
        if each.temperature and (each.top_k, top_p) != (None, None):
            groups.setdefault((each.top_k, top_p), []).append(row)
    return groups


Score = tuple[float, tuple[tuple[int, float], ...]]
"""A log-probability, and the likeliest tokens with theirs."""


def scores(
    logits: Tensor, drawn: Sequence[int], counts: Sequence[int | None]
) -> list[Score | None]:
    """Log-probabilities of what was drawn: logits (N, V), N tokens -> N scores.

    They are natural logarithms of the model's own probabilities, at temperature 1 and
    before any cut.

    Args:
        counts: for each text, how many of the likeliest tokens are told; None: nothing.
    """
    told: list[Score | None] = [None] * len(drawn)
    rows = [row for row, count in enumerate(counts) if count is not None]
    if not rows:
        return told
    logs = logits[rows].float().log_softmax(dim=-1)  # (rows, V)
    chosen = torch.tensor([drawn[row] for row in rows], device=logits.device)
    best = logs.topk(max(counts[row] for row in rows), dim=-1)
    for row, log, ids, values in zip(
        rows,
        logs.gather(1, chosen[:, None])[:, 0].tolist(),
        best.indices.tolist(),
        best.values.tolist(),
        strict=True,
    ):
        likeliest = zip(ids[: counts[row]], values[: counts[row]], strict=True)
        told[row] = log, tuple(likeliest)
    return told
