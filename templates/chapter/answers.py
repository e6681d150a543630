"""Answers to "Template chapter": right in other ways, and plausibly wrong."""

from __future__ import annotations

import torch

from tests.answers import right, wrong


@right("part_name")
def takes_the_mean_of_each_beginning(x):
    return torch.stack([x[:end].mean() for end in range(1, len(x) + 1)])


@right("part_name")
def multiplies_by_a_triangle(x):
    square = torch.ones(len(x), len(x), dtype=x.dtype, device=x.device)
    weights = square.tril()
    return (weights / weights.sum(dim=1, keepdim=True)) @ x


@wrong("part_name", says="sums so far")
def forgets_to_divide(x):
    return x.cumsum(0)


@wrong("part_name", says="divided by T")
def divides_by_the_length(x):
    return x.cumsum(0) / len(x)


@wrong("part_name", says="one mean, of all numbers")
def sees_what_comes_after(x):
    return x.mean().expand(len(x))


@wrong("part_name", says="not none")
def counts_from_zero(x):
    return x.cumsum(0) / torch.arange(len(x), device=x.device)
