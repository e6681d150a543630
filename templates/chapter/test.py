"""Template chapter: against torch, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from solutions.chapter_name import part_name


@pytest.mark.parametrize("length", [1, 2, 7])
def test_each_position_has_the_mean_of_what_it_has_seen(length):
    generator = torch.Generator().manual_seed(length)
    x = torch.randn(length, dtype=torch.float64, generator=generator)
    means = torch.stack([x[: t + 1].mean() for t in range(length)])
    assert_close(part_name(x), means)


def test_a_table_is_refused():
    with pytest.raises(ValueError, match=r"one row of numbers \(T,\), got \(2, 3\)"):
        part_name(torch.zeros(2, 3))
