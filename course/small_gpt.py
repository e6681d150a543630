"""A small GPT, trained like the small model: `python -m course.small_gpt [THREADS]`.

Two blocks, of the same width and as many heads as the small model has. Stories, tokens,
steps and batch are the same, too, and attention begins in the same way, by handing on
what it looks at. What differs is the model (the small one has one layer, and a bias at
the output), the first weights of the rest, the learning rate, AdamW with weight decay
in place of Adam, and gradients that are clipped. Beside it a twin is trained that has
no feed-forward layers. The command writes two files beside this one: the weights of the
GPT, and how they were made with what both can do. Chapters load them:

    model, encoding = small_gpt.load()

`course.small_model` has the questions to ask, `found` and `bits_per_character`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tiktoken
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course import corpus, grammar, small_model
from course.small_model import (
    START,
    found,
    hand_on,
    keep,
    questions,
    restored,
    rows,
)
from course.stories import STORIES
from solutions.gpt_block import GPT, GPTConfig
from solutions.multi_head import merge_heads
from solutions.tokens import to_tiktoken, train_bpe

WEIGHTS = Path(__file__).with_name("small_gpt.npz")
MADE = Path(__file__).with_name("small_gpt.json")


@dataclass(frozen=True)
class Recipe(small_model.Recipe):
    """All that decides what the command makes."""

    layers: int = 2
    learning_rate: float = 0.006
    initializer_range: float = 0.07  # what GPT-2's 0.02 is for a width of 768
    weight_decay: float = 0.01
    clip: float = 1.0


def load() -> tuple[GPT, tiktoken.Encoding]:
    """The trained GPT, in evaluation mode, and the tokenizer that it reads with.

    Raises:
        SmallModelError: if a file is missing or the two do not belong together.
    """
    return restored(lambda made: build(Recipe(**made["recipe"])), WEIGHTS, MADE)


def build(recipe: Recipe, feed_forward: bool = True) -> GPT:
    """The GPT before training; without `feed_forward`, with attention alone."""
    torch.manual_seed(recipe.seed)
    model = GPT(
        GPTConfig(
            recipe.vocab_size,
            recipe.context,
            n_embd=recipe.width,
            n_layer=recipe.layers,
            n_head=recipe.heads,
            initializer_range=recipe.initializer_range,
        )
    )
    for block in model.blocks:
        hand_on(block.attention)
    if not feed_forward:
        for block in model.blocks:
            block.feed_forward_norm, block.feed_forward = nn.Identity(), Nothing()
    return model


class Nothing(nn.Module):
    """A layer that adds nothing to the stream."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def bits_per_character(
    model: GPT, encoding: tiktoken.Encoding, count: int = 200, seed: int = 2
) -> float:
    """Of so many stories that it has not read, each from its own beginning."""
    context = model.config.n_positions
    return small_model.bits_per_character(model, encoding, count, seed, context)


# ---- writing stories ----------------------------------------------------------------


@torch.no_grad()
def write_stories(
    model: GPT,
    encoding: tiktoken.Encoding,
    count: int,
    change: Callable[[Tensor], Tensor] = lambda logits: logits,
    seed: int = 0,
) -> list[str]:
    """So many stories, each written from its beginning to its separator.

    `change` gets the logits of the next tokens, (count, V), and returns those that one
    token of each story is drawn with. A story that fills the context is cut off.

    Keys and values are kept from step to step, so that only the new token is computed;
    week 5 explains how. The stories are those that `write` writes, many times faster.
    """
    start, end = encoding.encode(START)[0], encoding.encode(corpus.SEPARATOR)
    generator = torch.Generator().manual_seed(seed)
    ids = torch.full((count, 1), start)
    past: list[tuple[Tensor, Tensor] | None] = [None] * len(model.blocks)
    for position in range(model.config.n_positions):
        logits = change(_step(model, ids[:, -1:], position, past))  # (count, V)
        drawn = torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)
        ids = torch.cat([ids, drawn], dim=1)  # (count, position + 2)
        if ((ids[:, 1:] == end[-1]).sum(dim=1) >= len(end)).all():
            break
    texts = [encoding.decode(row) for row in ids[:, 1:].tolist()]
    return [text.split(corpus.SEPARATOR)[0] for text in texts]


def _step(model: GPT, ids: Tensor, position: int, past: list) -> Tensor:
    """The logits after one more token of each text: (B, 1) -> (B, V)."""
    tables = model.embedding
    x = tables.token_embedding(ids) + tables.position_embedding.weight[position]
    for layer, block in enumerate(model.blocks):
        queries, *new = block.attention.project(block.attention_norm(x))  # (B, H, 1, D)
        if past[layer] is not None:
            new = [
                torch.cat(pair, dim=2) for pair in zip(past[layer], new, strict=True)
            ]
        past[layer] = new
        looked = F.scaled_dot_product_attention(queries, *new)  # (B, H, 1, D)
        x = x + block.attention.projection(merge_heads(looked))
        x = x + block.feed_forward(block.feed_forward_norm(x))
    return F.linear(model.norm(x), tables.token_embedding.weight)[:, -1]


def rules_kept(text: str) -> float:
    """How far the grammar of the corpus can follow a story: a share of its characters.

    1 is a story that the grammar could have written, at least the beginning of one.
    """
    return grammar.reach(STORIES, text) / len(text) if text else 0.0


# ---- training -----------------------------------------------------------------------


def main() -> int:
    """Train both, and write the GPT; on more threads than one only print the results.

    Sums in another order differ in their last digits, and training makes that large.
    """
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    torch.set_num_threads(threads)
    recipe = Recipe()
    text = corpus.write(recipe.characters, recipe.text_seed)
    ranks = train_bpe(text, recipe.vocab_size)
    encoding = to_tiktoken(ranks)
    asked = questions(encoding, recipe.context)
    models, results = {}, {}
    for name in "gpt", "no feed-forward":
        began = time.perf_counter()
        model = models[name] = build(recipe, feed_forward=name == "gpt")
        train(model, encoding, text, recipe)
        results[name] = {
            "parameters": sum(p.numel() for p in model.parameters()),
            "bits_per_character": round(bits_per_character(model, encoding), 4),
            "places_found": round(found(model, asked), 3),
        }
        print(f"{name}: trained in {time.perf_counter() - began:.0f} s")
        print(results[name])
    if threads == 1:
        keep(models["gpt"], ranks, recipe, results, WEIGHTS, MADE)
    return 0


def train(
    model: nn.Module, encoding: tiktoken.Encoding, text: str, recipe: Recipe
) -> None:
    """AdamW on random stories; the learning rate rises, stays, and falls to the end.

    Matrices are kept small by weight decay; vectors, such as biases, are left alone.
    """
    texts = text.removesuffix(corpus.SEPARATOR).split(corpus.SEPARATOR)
    inputs, targets = rows(encoding, texts, recipe.context)
    lengths = (targets >= 0).sum(dim=1)  # (N,)
    generator = torch.Generator().manual_seed(recipe.seed)
    parameters = list(model.parameters())
    groups = [
        {
            "params": [p for p in parameters if p.dim() >= 2],
            "weight_decay": recipe.weight_decay,
        },
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * min(
                1, (step + 1) / 100, (recipe.steps - step) / (0.25 * recipe.steps)
            )
        chosen = torch.randint(len(inputs), (recipe.batch_size,), generator=generator)
        longest = int(lengths[chosen].max())  # what fills up the rows teaches nothing
        logits = model(inputs[chosen, :longest])  # (B, T, V)
        loss = F.cross_entropy(
            logits.flatten(0, 1), targets[chosen, :longest].flatten()
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
        optimizer.step()
        if step % 200 == 199:
            print(f"step {step + 1}: {loss.item():.3f} nats per token", flush=True)


if __name__ == "__main__":
    sys.exit(main())
