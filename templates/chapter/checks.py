"""What the answers of "Template chapter" must satisfy.

Oracles: numbers worked out on paper, and the mean of each beginning by torch.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from course.case import Case, Exercise, Mistake


def _means(x: Tensor) -> Tensor:
    return torch.stack([x[: t + 1].mean() for t in range(len(x))])


def part_name() -> Iterator[Case]:
    yield Case(
        "three numbers",
        args=(torch.tensor([2.0, 4.0, 9.0]),),
        expected=torch.tensor([2.0, 3.0, 5.0]),
        mistakes=(
            Mistake(
                "These are the sums so far. Divide each by how many numbers it has.",
                equals=torch.tensor([2.0, 6.0, 15.0]),
            ),
            Mistake(
                "Every sum is divided by T. Position t has seen t + 1 numbers only.",
                equals=torch.tensor([2.0, 6.0, 15.0]) / 3,
            ),
            Mistake(
                "This is one mean, of all numbers. Each position has its own, of what "
                "stands before it and itself.",
                when=lambda got: bool((got == 5.0).all()),
            ),
            Mistake(
                "Position 0 has seen one number, not none: divide by t + 1.",
                when=lambda got: not bool(got.isfinite().all()),
            ),
        ),
    )
    yield Case(
        "seven numbers, and the gradient",
        args=(torch.randn(7, generator=torch.Generator().manual_seed(7)).double(),),
        expected=_means,
        gradient=True,
        any_device=True,
    )


EXERCISES = (
    Exercise(
        "part_name",
        difficulty=1,
        minutes=5,
        hints=(
            "What is the sum of the numbers up to each position?",
            "`cumsum` gives the sums. How many numbers are in each of them?",
            "sums = cumulative sum of x: (T,)\ncount = 1, 2, ..., T\n"
            "return sums / count",
        ),
        cases=part_name,
    ),
)
