"""What makes a training step faster and leaves its numbers as they are.

Measured by `python -m benchmarks.training`: norms in one pass, memory that is kept
between steps, and on a GPU products of matrices in bfloat16, which do round.
"""

from __future__ import annotations

import ctypes
import sys

import torch
from torch import Tensor, nn

from solutions.gpt_block import GPT, GPTConfig
from solutions.normalization import LayerNorm, swap_norms

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
LARGEST = 2**31 - 1


def keep_pages() -> bool:
    """Keep the memory that a step gives back; whether malloc listens (glibc does).

    It hands large pieces back to the system at once, and gets them again page by page,
    each filled with zeros. A training step does that thousands of times.

    Source: the manual page mallopt(3).
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # No piece gets a mapping of its own, and the end of the heap is never given back.
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, LARGEST))


def build(config: GPTConfig, seed: int) -> GPT:
    """A new GPT whose norms are torch's own: the same numbers, computed in one pass."""
    torch.manual_seed(seed)
    model = GPT(config)
    swap_norms(
        model, LayerNorm, lambda width: nn.LayerNorm(width, config.layer_norm_epsilon)
    )
    return model


class InBfloat16(nn.Module):
    """A model whose matrix products are in bfloat16, and all the rest as it was."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, ids: Tensor) -> Tensor:
        with torch.autocast(ids.device.type, torch.bfloat16):
            return self.inner(ids)
