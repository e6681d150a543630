"""A small model of attention, to look into: `python -m course.small_model`.

The command trains one layer of attention with four heads on the course's stories, in a
little over a minute on two quiet cores, and then one of the same size and with the same
settings, but a single head, to compare. `build` says how they begin. It writes two
files beside this one: the weights, and how they were made with what both models can do.
Chapters load the first:

    model, encoding = small_model.load()

`questions` finds the places in many stories where the hidden object is found again: who
asks, where the answer stands, and where a wrong answer stands. `found` counts how often
a model knows it.
"""

from __future__ import annotations

import base64
import io
import json
import math
import re
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tiktoken
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course import corpus
from course.files import write_atomically
from course.stories import PLACES
from solutions.multi_head import AttentionModel, MultiHeadAttention
from solutions.tokens import to_tiktoken, train_bpe

WEIGHTS = Path(__file__).with_name("small_model.npz")
MADE = Path(__file__).with_name("small_model.json")
START = "\n"
"""What stands before the first token of a story: the end of the separator."""


@dataclass(frozen=True)
class Recipe:
    """All that decides what the command makes."""

    characters: int = 1_000_000
    text_seed: int = 1
    vocab_size: int = 1600
    context: int = 176
    width: int = 64
    heads: int = 4
    layers: int = 1
    batch_size: int = 8
    steps: int = 2800
    learning_rate: float = 0.015
    seed: int = 0


class SmallModelError(ValueError):
    """The weights cannot be used: says what was wrong and what to do."""


def load() -> tuple[AttentionModel, tiktoken.Encoding]:
    """The trained model, in evaluation mode, and the tokenizer that it reads with.

    Raises:
        SmallModelError: if a file is missing or the two do not belong together.
    """
    return restored(lambda made: build(Recipe(**made["recipe"])), WEIGHTS, MADE)


Model = TypeVar("Model", bound=nn.Module)


def restored(
    build: Callable[[dict], Model], weights: Path, made: Path
) -> tuple[Model, tiktoken.Encoding]:
    """What `keep` has kept: the model that `build` makes of the record, and its tokens.

    Raises:
        SmallModelError: if a file is missing or the two do not belong together.
    """
    again = f"make them again: python -m course.{weights.stem}"
    try:
        record = json.loads(made.read_text("utf-8"))
        arrays = np.load(weights, allow_pickle=False)
        model = build(record)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise SmallModelError(
            f"the small model cannot be read: {error}; {again}"
        ) from None
    parameters = dict(model.named_parameters())
    sizes = {name: tuple(value.shape) for name, value in parameters.items()}
    if sizes != {name: arrays[name].shape for name in arrays.files}:
        raise SmallModelError(
            f"{weights.name} and {made.name} do not belong together; {again}"
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(torch.from_numpy(arrays[name]))
    ranks = {base64.b64decode(token): i for i, token in enumerate(record["tokens"])}
    return model.eval(), to_tiktoken(ranks)


def build(recipe: Recipe) -> AttentionModel:
    """The model before training: its output is tied to the embedding.

    Each `projection` begins as 1.7 times the transpose of the matrix of the values.
    """
    torch.manual_seed(recipe.seed)
    sizes = (recipe.vocab_size, recipe.context, recipe.width, recipe.heads)
    model = AttentionModel(*sizes, recipe.layers, norm=nn.LayerNorm)
    model.output.weight = model.embedding.token_embedding.weight  # it reads and writes
    with torch.no_grad():
        for table in model.embedding.parameters():
            table.mul_(0.1)
    for layer in model.layers:
        hand_on(layer)
    return model


@torch.no_grad()
def hand_on(layer: MultiHeadAttention) -> None:
    """Let attention begin by handing on what it looks at.

    With one table that reads and writes, to look at a token then makes it likelier, so
    that a head soon learns where to look.
    """
    values = layer.qkv.weight[2 * layer.width :]  # (C, C)
    layer.projection.weight.copy_(1.7 * values.T)


# ---- stories as rows of tokens ----------------------------------------------------


def rows(
    encoding: tiktoken.Encoding, texts: list[str], context: int
) -> tuple[Tensor, Tensor]:
    """One story a row: inputs and targets, (N, T) each; -100 where nothing is asked.

    A row begins with `START`. Its last target is the separator; then it is filled up. A
    story longer than the context is cut off.
    """
    start, end = encoding.encode(START)[0], encoding.encode(corpus.SEPARATOR)
    inputs = torch.full((len(texts), context), start)
    targets = torch.full((len(texts), context), -100)
    for row, text in enumerate(texts):
        ids = [start, *encoding.encode(text), *end][: context + 1]
        inputs[row, : len(ids) - 1] = torch.tensor(ids[:-1])
        targets[row, : len(ids) - 1] = torch.tensor(ids[1:])
    return inputs, targets


@torch.no_grad()
def bits_per_character(
    model: nn.Module,
    encoding: tiktoken.Encoding,
    count: int = 200,
    seed: int = 2,
    context: int | None = None,
) -> float:
    """Of so many stories that it has not read, each from its own beginning.

    `context`: the longest T; None: that of an `AttentionModel`.
    """
    texts = [story.text for story in islice(corpus.stories(seed), count)]
    inputs, targets = rows(encoding, texts, context or model.layers[0].context)
    nats = characters = 0.0
    for x, y in zip(inputs.split(50), targets.split(50), strict=True):
        nats += F.cross_entropy(
            model(x).transpose(1, 2), y, reduction="sum", ignore_index=-100
        ).item()
        kept = [encoding.decode(row[row >= 0].tolist()) for row in y]
        characters += sum(map(len, kept))
    return nats / math.log(2) / characters


# ---- the hidden object ------------------------------------------------------------


@dataclass(frozen=True)
class Questions:
    """Where, in each story, the place of the hidden object is named for the last time.

    All (N, T). `asking` is True where the next token is one of that last mention;
    `hidden` where it was mentioned before; `other` where another place was, mostly one
    that was searched in vain.
    """

    ids: Tensor
    asking: Tensor
    hidden: Tensor
    other: Tensor


def questions(
    encoding: tiktoken.Encoding, context: int, count: int = 200, seed: int = 3
) -> Questions:
    """`count` stories of `stories(seed)` that hide something and find it again."""
    start = encoding.encode(START)[0]
    found = list(islice(_hiding(encoding, context, seed), count))
    ids = torch.full((count, context), start)
    masks = torch.zeros(3, count, context, dtype=torch.bool)
    for row, (tokens, asking, hidden, other) in enumerate(found):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        for mask, places in zip(masks, (asking, hidden, other), strict=True):
            mask[row, places] = True
    return Questions(ids, *masks)


def _hiding(
    encoding: tiktoken.Encoding, context: int, seed: int
) -> Iterator[tuple[list[int], list[int], list[int], list[int]]]:
    """Tokens of a story, and the positions that ask, and of hidden and other places."""
    for story in corpus.stories(seed):
        asked = {each.question: each.answer for each in story.questions}
        wanted = [q for q in asked if q.startswith("Where") and "in vain" not in q]
        if not wanted:
            continue
        *earlier, last = _mentions(encoding, story.text, asked[wanted[0]])
        tokens = [*encoding.encode(START), *encoding.encode(story.text)]
        if not earlier or last.stop > context:
            continue
        elsewhere = [place for place in PLACES if place != asked[wanted[0]]]
        other = [
            m for place in elsewhere for m in _mentions(encoding, story.text, place)
        ]
        yield (
            tokens[:context],
            [place - 1 for place in last],
            [place for mention in earlier for place in mention],
            [place for mention in other for place in mention if place < last.start],
        )


def _mentions(encoding: tiktoken.Encoding, text: str, words: str) -> list[range]:
    """The positions of the tokens of each mention, the `START` counted."""
    found = []
    for match in re.finditer(re.escape(f" {words}"), text):
        first = 1 + len(encoding.encode(text[: match.start()]))
        found.append(range(first, first + len(encoding.encode(f" {words}"))))
    return found


@torch.no_grad()
def found(model: nn.Module, asked: Questions) -> float:
    """The share of stories in which every token of the place is the likeliest one."""
    right = []
    for ids, asking in zip(asked.ids.split(50), asked.asking.split(50), strict=True):
        likeliest = model(ids)[:, :-1].argmax(dim=-1)  # (B, T - 1)
        hit = (likeliest == ids[:, 1:]) | ~asking[:, :-1]
        right.append(hit.all(dim=1))
    return torch.cat(right).float().mean().item()


# ---- training ---------------------------------------------------------------------


def main() -> int:
    """Train with several heads and, to compare, with one; write the first model."""
    recipe = Recipe()
    text = corpus.write(recipe.characters, recipe.text_seed)
    ranks = train_bpe(text, recipe.vocab_size)
    encoding = to_tiktoken(ranks)
    asked = questions(encoding, recipe.context)
    models, results = {}, {}
    for heads in recipe.heads, 1:
        began = time.perf_counter()
        model = models[heads] = build(replace(recipe, heads=heads))
        train(model, encoding, text, recipe)
        results[f"heads={heads}"] = {
            "bits_per_character": round(bits_per_character(model, encoding), 4),
            "places_found": round(found(model, asked), 3),
        }
        print(f"heads={heads}: trained in {time.perf_counter() - began:.0f} s")
        print(results[f"heads={heads}"])
    keep(models[recipe.heads], ranks, recipe, results, WEIGHTS, MADE)
    return 0


def keep(
    model: nn.Module,
    tokens: Iterable[bytes],
    recipe: Recipe,
    results: dict[str, Any],
    weights: Path,
    made: Path,
) -> None:
    """Write the weights, in half precision, and how they were made."""
    record = {
        "command": f"python -m course.{weights.stem}",
        "recipe": asdict(recipe),
        "torch": torch.__version__.split("+")[0],
        "results": results,
        "tokens": [base64.b64encode(token).decode() for token in tokens],
    }
    halves = {
        name: parameter.detach().half().numpy()
        for name, parameter in model.named_parameters()
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **halves)
    write_atomically(weights, buffer.getvalue())
    write_atomically(made, json.dumps(record, indent=1) + "\n")


def train(
    model: AttentionModel, encoding: tiktoken.Encoding, text: str, recipe: Recipe
) -> None:
    """Adam on random stories; the learning rate rises, stays, and falls to the end."""
    texts = text.removesuffix(corpus.SEPARATOR).split(corpus.SEPARATOR)
    inputs, targets = rows(encoding, texts, recipe.context)
    generator = torch.Generator().manual_seed(recipe.seed)
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98))
    for step in range(recipe.steps):
        optimizer.param_groups[0]["lr"] = recipe.learning_rate * min(
            1, (step + 1) / 100, (recipe.steps - step) / (0.25 * recipe.steps)
        )
        chosen = torch.randint(len(inputs), (recipe.batch_size,), generator=generator)
        logits = model(inputs[chosen])  # (B, T, V)
        loss = F.cross_entropy(logits.transpose(1, 2), targets[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 200 == 199:
            print(f"step {step + 1}: {loss.item():.3f} nats per token", flush=True)


if __name__ == "__main__":
    sys.exit(main())
