"""What is exported: a model of a folder, with all that the formats ask of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import tiktoken

from course import pretrained
from course.tuning import FOLDER as TUNED
from solutions.gpt_block import GPT
from solutions.instruction_tuning import ENDS, START
from solutions.tokens import END_OF_TEXT

NAME = "five-sundays"
"""Of the course's own model."""

CARD = "README.md"
FRONT_MATTER = re.compile(r"---\n(.*?\n)---\n", re.DOTALL)
"""The head of a card: license, language and so on, as YAML."""


@dataclass(frozen=True)
class Model:
    """A GPT and its tokenizer, and whether it is tuned to answer in dialogues."""

    name: str
    gpt: GPT
    encoding: tiktoken.Encoding
    chat: bool = False
    front_matter: str = "pipeline_tag: text-generation\n"

    @cached_property
    def special_tokens(self) -> dict[str, int]:
        names = self.encoding.special_tokens_set
        return {name: self.encoding.encode_single_token(name) for name in names}

    @cached_property
    def ranks(self) -> dict[bytes, int]:
        special = self.special_tokens.values()
        ids = [i for i in range(self.encoding.n_vocab) if i not in special]
        return {self.encoding.decode_single_token_bytes(i): i for i in ids}

    @property
    def end_of_text(self) -> int | None:
        """The token between two documents, if there is one."""
        return self.special_tokens.get(END_OF_TEXT)

    @property
    def end(self) -> int | None:
        """The token at which writing ends: of an answer, or of any text."""
        return self.end_of_answer if self.chat else self.end_of_text

    @property
    def end_of_answer(self) -> int:
        """The first token that stands after an answer in the course's dialogues."""
        return self.encoding.encode_ordinary(ENDS["assistant"])[0]

    @property
    def start(self) -> int:
        """The token before a text."""
        if self.end_of_text is not None:
            return self.end_of_text
        return self.encoding.encode_single_token(START)


def read(where: str | Path | None, chat: bool = False) -> Model:
    """The model of a folder or of the hub; its card, if it has one, tells the license.

    Args:
        where: see `course.pretrained.load`; None: the model of the course, with `chat`
            the one that answers.
        chat: the model was tuned on the dialogues of the course.

    Raises:
        PretrainedError: as `course.pretrained.load`.
    """
    name = f"{NAME}-chat" if chat else NAME
    if where is not None:
        name = Path(where).resolve().name
    folder = pretrained.folder_of(TUNED if chat and where is None else where)
    gpt, encoding = pretrained.load(folder)
    chat = chat or folder.resolve() == TUNED.resolve()
    try:
        found = FRONT_MATTER.match((folder / CARD).read_text("utf-8"))
    except (OSError, ValueError):
        found = None
    front_matter = found[1] if found else Model.front_matter
    return Model(name, gpt, encoding, chat, front_matter)
