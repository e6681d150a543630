"""Your own GPT, assembled from your passing answers.

    print(yours.report())              # 29 of 62 parts are yours, and which are not
    own = yours.assemble("my-gpt")     # the weights of a folder; else the course's
    for piece in own.write("Tom"):     # your tokenizer, your model, your cache, ...
        print(piece, end="", flush=True)

A part that has passed is used, and the course's own stands in for each of the others.
`sundays serve --mine --model my-gpt` serves such a model.
"""

from __future__ import annotations

import importlib
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import tiktoken
import torch
from torch import Tensor, nn

import mine
from course.checks import CHAPTERS
from course.generation import check_settings, prompt_ids
from course.pretrained import load
from solutions.gpt_block import GPT

ATTEMPT = "\nMina hid 안녕 🙂 behind the curtain."
"""What the parts must agree on with the reference: text, tokens and logits."""

CLOSE = 1e-3
"""How far logits may be off that are computed in another order, in float32."""


def parts() -> dict[str, dict[str, bool]]:
    """Chapter -> exercise -> whether the reader's own answer is used."""
    mine.forget()  # what has passed since the last look
    return {chapter: mine.parts(chapter) for chapter in CHAPTERS}


def report() -> str:
    """How many parts are the reader's own, and which are not yet."""
    found = parts()
    own = [is_own for chapter in found.values() for is_own in chapter.values()]
    if all(own):
        return f"All {len(own)} parts are yours."
    lines = [f"{sum(own)} of {len(own)} parts are yours. The course's own, so far:"]
    for chapter, exercises in found.items():
        if rest := [name for name, is_own in exercises.items() if not is_own]:
            line = f"{chapter.replace('_', '-')}: {', '.join(rest)}"
            lines += textwrap.wrap(
                line, 72, initial_indent="  ", subsequent_indent="    "
            )
    return "\n".join(lines)


def assemble(where: str | Path | None = None) -> Own:
    """A GPT of the reader's parts, with the weights of any model.

    Parts that pass one by one might still not fit together. So they are tried on one
    text, and must give the tokens and the logits of the reference. If they do not, a
    warning says so, and the reference is used as a whole.

    Args:
        where: see `course.pretrained.load`.

    Raises:
        PretrainedError: if there is no such model.
    """
    reference, encoding = load(where)
    mine.forget()
    try:
        own = Own(reference, encoding)
        _try(own, reference)
    except Exception as error:
        warnings.warn(
            f"Your parts could not be put together ({type(error).__name__}: {error}); "
            "the course's own GPT stands in. `sundays check` looks at each of them.",
            stacklevel=2,
        )
        own = Own(reference, encoding, library="solutions")
    return own


class Own:
    """A GPT and all that it takes to write with it, from `mine` or `solutions`."""

    def __init__(
        self, reference: GPT, encoding: tiktoken.Encoding, library: str = "mine"
    ) -> None:
        """Give the model of that library the weights of the reference."""
        self.library, self.encoding, self.config = library, encoding, reference.config
        gpt_block = self.part("gpt_block")
        self.model: nn.Module = gpt_block.GPT(
            gpt_block.GPTConfig(**vars(self.config))
        ).eval()
        with torch.no_grad():
            for name, weight in reference.named_parameters():
                self.model.get_parameter(name).copy_(weight)
        special = map(encoding.encode_single_token, encoding.special_tokens_set)
        self.ranks = {
            encoding.decode_single_token_bytes(token): token
            for token in sorted({*range(encoding.n_vocab)} - {*special})
        }

    def part(self, chapter: str) -> ModuleType:
        """A chapter's module of this library."""
        return importlib.import_module(f"{self.library}.{chapter}")

    def write(
        self,
        prompt: str = "",
        *,
        tokens: int = 200,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop: Sequence[str] = ("\n\n",),
    ) -> Iterator[str]:
        """What comes after a prompt, piece by piece, with the reader's parts alone.

        At most so many tokens, and no more than the context holds. A prompt begins as
        in `course.generation.prompt_ids`.

        Raises:
            ValueError: if a setting cannot be, or the prompt does not fit the context.
        """
        check_settings(temperature, top_k, top_p)
        ids = prompt_ids(prompt, self.encoding)
        if prompt:  # else it is the beginning of a document, which may be no text
            ids = self.part("tokens").encode(self.encoding.decode(ids), self.ranks)
        deployment = self.part("local_deployment")
        decoder, stopper = deployment.StreamingDecoder(), deployment.StopAt(stop)
        generator = torch.Generator()
        generator.seed() if seed is None else generator.manual_seed(seed)
        drawn = self.draw(ids, tokens, temperature, top_k, top_p, generator)
        for token, _ in drawn:
            data = self.encoding.decode_single_token_bytes(token)
            if piece := stopper.push(decoder.push(data)):
                yield piece
            if stopper.stopped:
                return
        if piece := stopper.push(decoder.finish()) + stopper.finish():
            yield piece

    @torch.no_grad()
    def draw(
        self,
        ids: Sequence[int],
        steps: int,
        temperature: float,
        top_k: int | None,
        top_p: float | None,
        generator: torch.Generator,
    ) -> Iterator[tuple[int, Tensor]]:
        """Token after token, each with the logits (V,) that it was drawn by.

        Raises:
            ValueError: if `ids` do not fit the context.
        """
        gpt_block, read = self.part("gpt_block"), self.part("local_deployment").read
        sample_next = self.part("language_models").sample_next
        new, past = torch.tensor([ids]), None  # (1, T)
        for _ in range(min(steps, self.config.n_positions - len(ids) + 1)):
            logits, past = read(self.model, new, past)
            last = scores = logits[:, -1]  # (1, V)
            if temperature:
                scores = scores / temperature
            if top_k is not None:
                scores = gpt_block.keep_top_k(scores, top_k)
            if top_p is not None:
                scores = gpt_block.keep_top_p(scores, top_p)
            # Divided already, or greedy.
            drawn = sample_next(scores, 1.0 if temperature else 0.0, generator)
            new = drawn.unsqueeze(1)  # (1, 1)
            yield drawn.item(), last[0]


@torch.no_grad()
def _try(own: Own, reference: GPT) -> None:
    """Put one text through all parts.

    Raises:
        ValueError: if they do not give what the reference gives.
        Exception: whatever a part raises.
    """
    wanted = own.encoding.encode_ordinary(ATTEMPT)
    ids = own.part("tokens").encode(ATTEMPT, own.ranks)
    if list(ids) != wanted:
        raise ValueError("they make other tokens of a text than the reference")
    row = torch.tensor([ids])  # (1, T)
    expected = reference(row)  # (1, T, V)
    deployment = own.part("local_deployment")
    before, past = deployment.read(own.model, row[:, :5])
    after, _ = deployment.read(own.model, row[:, 5:], past)
    for got in own.model(row), torch.cat([before, after], dim=1):
        if (apart := (got - expected).abs().max()) > CLOSE:
            raise ValueError(f"their logits are off by {apart:.1e}")
    decoder = deployment.StreamingDecoder()
    pieces = [
        decoder.push(own.encoding.decode_single_token_bytes(token)) for token in ids
    ]
    if "".join(pieces) + decoder.finish() != ATTEMPT:
        raise ValueError("they do not make the same text of the tokens again")
