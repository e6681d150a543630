"""Many texts in one KV cache, each of its own length.

    batch = Batch(layers, rows=32)
    batch.join(cache)                   a text that a `course.generation.Cache` has read
    logits = batch.read([5, 7])         the next token of each text -> (N, V)
    batch.leave(0)                      the last text takes its row

The texts that are there have the rows 0 .. N - 1, so that a step computes with views of
the first rows, and only with as many positions as the longest text needs.

A text's logits should not depend on what else is in the batch. Additions in another
order would round otherwise, so the order must not depend on the size of the batch, or
on that of the longest text. Three things see to it:

- The matrices are packed for oneDNN (`PACKED`), or kept in int8, where sums are exact.
- The rows are filled up to a multiple of 4: with fewer, kernels of another shape run.
- Attention is three plain operations over a multiple of 32 positions. torch's fused
  kernel gives each thread a place in memory for its sums, and how they are added up
  depends on where that place begins.

torch promises none of this. `benchmarks/serving.py` counts how many texts become others
in company. Where there are some, logits differ in their last digits, and now and then a
token is drawn that is not the one that is drawn alone.

Shapes: `N` texts, `L` layers, `H` heads of `D` channels, `V` tokens in the vocabulary.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence

import torch
from torch import Tensor

from course.generation import Cache
from course.layers import PLAIN, Form, Layers, Linear

ROWS, POSITIONS = 4, 32
"""A step computes with multiples of these."""


def _linear(weight: Tensor, bias: Tensor | None) -> Linear:
    # Packed for 32 rows: a packing for one row is another one, and adds otherwise.
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, 32)
    multiply = torch.ops.mkldnn._linear_pointwise.default
    return lambda x: multiply(x, packed, bias, "none", [], "")


PACKED = Form(_linear, PLAIN.lookup)
"""float32, in the order in which oneDNN multiplies: faster for several rows."""


def best_form(weight: Tensor) -> Form:
    """`PACKED` where oneDNN has it, otherwise `PLAIN`."""
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return PLAIN
    try:
        _linear(torch.zeros(4, 4), None)(torch.zeros(4, 4))
    except (AttributeError, NotImplementedError, RuntimeError):
        return PLAIN
    return PACKED


class Batch:
    """The keys and values of up to `rows` texts."""

    def __init__(self, layers: Layers, rows: int) -> None:
        config = layers.config
        self.layers, self.heads = layers, config.n_head
        self.context, width = config.n_positions, config.n_embd // config.n_head
        self.kept = _zeros(
            (config.n_layer, 2, up(rows, ROWS), self.heads, self.context, width),
            layers.positions,
        )
        self.numbers = torch.arange(self.context, device=self.kept.device)
        self.lengths: list[int] = []  # of each text, as far as it is read

    def join(self, cache: Cache) -> None:
        """Add a text: what the cache has read of one text, nothing or more."""
        row, length = len(self.lengths), cache.length
        self.kept[:, :, row, :, :length] = cache.kept[:, :, 0, :, :length]
        self.lengths.append(length)

    def leave(self, row: int) -> None:
        """Remove a text; the last one moves to its row."""
        length = self.lengths.pop()
        if row < (last := len(self.lengths)):
            self.kept[:, :, row, :, :length] = self.kept[:, :, last, :, :length]
            self.lengths[row] = length

    def clear(self) -> None:
        """Remove all texts."""
        self.lengths.clear()

    @torch.inference_mode()
    def read(self, ids: Sequence[int]) -> Tensor:
        """The next token of each text -> logits (N, V) for the one after it."""
        texts = len(self.lengths)
        rows = up(texts, ROWS)
        none = [0] * (rows - texts)  # what these rows hold is never looked at
        end = min(up(max(self.lengths) + 1, POSITIONS), self.context)
        device = self.kept.device
        tokens = torch.tensor([[*ids, *none]], device=device).T  # (rows, 1)
        places = torch.tensor([*self.lengths, *none], device=device)  # (rows,)
        later = self.numbers[:end] > places[:, None]  # (rows, end)
        mask = self.kept.new_zeros(rows, self.heads, end)
        mask.masked_fill_(later[:, None], -math.inf)
        mask = mask.view(-1, 1, end)  # (rows * H, 1, end)
        seen = self.kept[:, :, :rows, :, :end].flatten(2, 3)  # (L, 2, rows * H, end, D)
        seen = [layer.unbind() for layer in seen]
        each = self.numbers[:rows]
        scale = 1 / math.sqrt(self.kept.shape[-1])

        def attend(layer: int, qkv: Tensor) -> Tensor:
            new = qkv.view(rows, 3, self.heads, -1)
            self.kept[layer][:, each, :, places] = new[:, 1:]
            keys, values = seen[layer]
            queries = new[:, :1].reshape(rows * self.heads, 1, -1)
            scores = torch.baddbmm(mask, queries, keys.mT, alpha=scale)
            found = torch.bmm(scores.softmax(dim=-1), values)  # (rows * H, 1, D)
            return found.view(rows, 1, -1)

        x = self.layers.hidden(tokens, self.layers.positions[places, None], attend)
        self.lengths = [length + 1 for length in self.lengths]
        return self.layers.logits(x[:, 0])[:texts]


def _zeros(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Zeros of the same type and device, which take memory when they are written to.

    What a text has not read must be finite: it is multiplied by a weight of 0.
    """
    if like.device.type != "cpu":
        return like.new_zeros(shape)
    pages = mmap.mmap(-1, math.prod(shape) * like.element_size())
    return torch.frombuffer(pages, dtype=like.dtype).view(shape)


def up(number: int, step: int) -> int:
    """The next multiple of a step.

    >>> up(5, 4), up(8, 4)
    (8, 8)
    """
    return -(-number // step) * step
