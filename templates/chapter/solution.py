"""Template chapter: in one line, what this module builds.

Then what it is for, in a few sentences, and what it leaves out.

Shapes: `T` tokens. This one works on a row of numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor


def part_name(x: Tensor) -> Tensor:
    """The mean of all numbers so far: (T,) -> (T,).

        y[t] = (x[0] + ... + x[t]) / (t + 1)

    >>> part_name(torch.tensor([2.0, 4.0, 9.0]))
    tensor([2., 3., 5.])

    Raises:
        ValueError: if `x` is no row of numbers.
    """
    if x.dim() != 1:
        raise ValueError(f"expected one row of numbers (T,), got {tuple(x.shape)}")
    count = torch.arange(1, len(x) + 1, device=x.device)  # (T,)
    return x.cumsum(dim=0) / count  # (T,)
