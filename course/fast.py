"""What makes a training step faster and leaves its numbers as they are.

Measured by `python -m benchmarks.training`: norms in one pass, memory that is kept
between steps, and on a GPU products of matrices in bfloat16, which do round, in few
large kernels.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from solutions.gpt_block import GPT, GPTConfig
from solutions.normalization import LayerNorm, swap_norms
from solutions.pretraining import next_token_loss, training_step

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


def compiled_step() -> Callable[..., Tensor]:
    """`training_step` with model and loss compiled as one.

    The logits are by far the largest tensor of a step, V numbers for each token. Read
    by a compiled loss, they are never written down in float32.
    """
    return partial(training_step, loss=torch.compile(next_token_loss))
