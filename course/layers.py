"""What a GPT computes, without its modules: for writing, where steps are small.

    layers = Layers(model)
    x = layers.hidden(ids, places, attend)      (B, T) -> (B, T, C)
    logits = layers.logits(x)                   (B, T, C) -> (B, T, V)

With one text on a CPU, a step is a hundred small operations, and what Python and torch
do around an operation takes as long as the operation. So weights are looked up once and
no modules are called. Which positions a token sees, and where keys and values are kept,
is left to `attend`. In what form the matrices are kept is left to `Form`: `PLAIN`, or
`course.int8.INT8`.

Shapes: `B` texts, `T` tokens each, `C` channels, `V` tokens in the vocabulary. There is
no dropout, as after `model.eval()`.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from solutions.gpt_block import GPT, gpt2_names

Linear = Callable[[Tensor], Tensor]
"""x (..., in) -> (..., out): the product with a matrix, and a bias added."""

Attend = Callable[[int, Tensor], Tensor]
"""Of which layer, and queries, keys, values (B, T, 3 C) -> what was found (B, T, C)."""


class Form(NamedTuple):
    """In what form matrices are kept."""

    linear: Callable[[Tensor, Tensor | None], Linear]
    """Weight (out, in) and bias (out,) or None -> their product with an x."""

    lookup: Callable[[Tensor], Callable[[Tensor], Tensor]]
    """A table (V, C) -> ids (...) -> its rows (..., C)."""


def _linear(weight: Tensor, bias: Tensor | None) -> Linear:
    return lambda x: F.linear(x, weight, bias)


def _lookup(table: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda ids: F.embedding(ids, table)


PLAIN = Form(_linear, _lookup)
"""The weights are the model's own, not copies."""


def give_back() -> None:
    """Give free memory back to the system, where malloc keeps some of it (glibc does).

    Source: the manual page malloc_trim(3).
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


class Layers:
    """The weights of a GPT, and what is computed with them."""

    def __init__(self, model: GPT, form: Form = PLAIN, *, take: bool = False) -> None:
        """`take`: of a form with copies, let the model's own matrices go, each as soon
        as it is copied. It saves their memory, and the model can no longer be used.

        Raises:
            ValueError: if a weight is missing or one too many, as with other norms.
        """
        self.config = config = model.config
        weights = dict(model.named_parameters())
        if odd := weights.keys() ^ gpt2_names(config).keys():
            raise ValueError(
                f"{min(odd)} is missing in this model, or no part of a GPT-2: write "
                "with solutions.gpt_block.write, which takes any model"
            )

        def vectors(name: str) -> tuple[Tensor, Tensor]:
            return weights[f"{name}.weight"].detach(), weights[f"{name}.bias"].detach()

        def linear(name: str) -> Linear:
            weight = weights[f"{name}.weight"]
            made = form.linear(weight.detach(), weights[f"{name}.bias"].detach())
            if take and form is not PLAIN:
                weight.data = weight.new_empty(0)
                give_back()
            return made

        self.blocks = [
            (
                vectors(f"blocks.{layer}.attention_norm"),
                linear(f"blocks.{layer}.attention.qkv"),
                linear(f"blocks.{layer}.attention.projection"),
                vectors(f"blocks.{layer}.feed_forward_norm"),
                linear(f"blocks.{layer}.feed_forward.expand"),
                linear(f"blocks.{layer}.feed_forward.projection"),
            )
            for layer in range(config.n_layer)
        ]
        self.last_norm = vectors("norm")
        self.positions = weights["embedding.position_embedding.weight"].detach()
        # The largest comes last, when the others have made room for it.
        table = weights["embedding.token_embedding.weight"]  # (V, C)
        self.look_up = form.lookup(table.detach())
        self.output = form.linear(table.detach(), None)  # tied: the same table
        if take and form is not PLAIN:
            table.data = table.new_empty(0)
            give_back()

    def hidden(self, ids: Tensor, places: Tensor, attend: Attend) -> Tensor:
        """What the last block gives: ids (B, T) -> (B, T, C).

        `places`: what the table of positions says of each token, (T, C) or (B, T, C).
        """
        sizes, eps = self.positions.shape[1:], self.config.layer_norm_epsilon
        x = self.look_up(ids) + places  # (B, T, C)
        for layer, block in enumerate(self.blocks):
            norm, qkv, projection, second_norm, expand, contract = block
            normed = F.layer_norm(x, sizes, *norm, eps)
            x = x + projection(attend(layer, qkv(normed)))  # (B, T, C)
            normed = F.layer_norm(x, sizes, *second_norm, eps)
            x = x + contract(F.gelu(expand(normed), approximate="tanh"))  # (B, T, C)
        return x

    def logits(self, x: Tensor) -> Tensor:
        """The last norm and the output table: (..., C) -> (..., V)."""
        sizes, eps = self.positions.shape[1:], self.config.layer_norm_epsilon
        return self.output(F.layer_norm(x, sizes, *self.last_norm, eps))
