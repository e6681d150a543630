"""A model as the server knows it: its name, what it reads, what it shall write."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import tiktoken

from course.generation import COLDEST, prompt_ids
from course.serve.engine import Engine, Request
from course.serve.errors import ApiError
from course.serve.schema import Asked, ChatRequest, CompletionRequest, Message, Model
from course.serve.wording import shown
from solutions.instruction_tuning import dialogue_tokens
from solutions.tokens import END_OF_TEXT

ROOM = 32
"""Tokens that are kept free for an answer before a dialogue is shortened."""

LINE = "\n"
"""What ends an answer: in the dialogues that a model is tuned on it is one line."""

FIRST = 2
"""Messages at the beginning that are never left out: the story is in one of them."""


@dataclass(frozen=True)
class Served:
    """A model that is served; `chats`: it was tuned on the dialogues of the course."""

    id: str
    engine: Engine
    encoding: tiktoken.Encoding
    chats: bool = False
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def context(self) -> int:
        return self.engine.config.n_positions

    def end(self, asked: Asked) -> int | None:
        """The token after which the engine need not go on, if there is one.

        An answer may also end within a token: that is seen where tokens become text.
        """
        if isinstance(asked, ChatRequest):
            return self.encoding.encode_single_token(LINE)
        if END_OF_TEXT in self.encoding.special_tokens_set:
            return self.encoding.encode_single_token(END_OF_TEXT)
        return None

    def described(self) -> Model:
        return Model(
            id=self.id,
            created=self.created,
            max_model_len=self.context,
            chat=self.chats,
        )

    def read_prompt(self, asked: CompletionRequest) -> list[int]:
        """The tokens of a prompt.

        Raises:
            ApiError: if a token is not in the vocabulary.
        """
        prompt = asked.prompt
        if isinstance(prompt, list) and not isinstance(prompt[0], int):
            prompt = prompt[0]
        if isinstance(prompt, str):
            return prompt_ids(prompt, self.encoding)
        if max(prompt) >= self.encoding.n_vocab:
            raise ApiError(
                400,
                f"prompt holds the token {max(prompt)}, expected ids from 0 to "
                f"{self.encoding.n_vocab - 1}",
                param="prompt",
            )
        return prompt

    def read_dialogue(self, asked: ChatRequest) -> tuple[list[int], int]:
        """The tokens of a dialogue, and how many messages were left out.

        Raises:
            ApiError: if the model was not tuned on dialogues, or this is none that it
                can answer in.
        """
        if not self.chats:
            raise ApiError(
                400,
                f"{self.id} goes on with texts and answers no questions: ask for it at "
                "/v1/completions, or take a model that has chat: true in /v1/models",
                param="model",
                code="model_not_supported",
            )
        messages = list(asked.messages)
        if messages[-1].role != "user":
            raise ApiError(
                400,
                "the last message is the assistant's, expected one of the user's, to "
                "answer to",
                param="messages",
            )
        ids = self._dialogue_ids(messages)
        if asked.truncation != "auto":
            return ids, 0
        room = min(most_tokens(asked) or ROOM, ROOM)
        while len(ids) + room > self.context and len(messages) > FIRST + 1:
            del messages[FIRST : FIRST + 2]  # a question and its answer
            ids = self._dialogue_ids(messages)
        return ids, len(asked.messages) - len(messages)

    def _dialogue_ids(self, messages: Sequence[Message]) -> list[int]:
        pairs = [(message.role, message.text) for message in messages]
        try:
            return dialogue_tokens(pairs, self.encoding.encode_ordinary)[0]
        except ValueError as problem:
            raise ApiError(400, f"messages: {problem}", param="messages") from None

    def request(self, ids: Sequence[int], asked: Asked, top: int | None) -> Request:
        """What the engine is asked to write after these tokens.

        Raises:
            ApiError: if they leave no room for an answer.
        """
        room = self.context - len(ids)
        if room < 1:
            param = "messages" if isinstance(asked, ChatRequest) else "prompt"
            raise ApiError(
                400,
                f"{param}: {len(ids)} tokens, but {self.id} has a context of "
                f"{self.context}; shorten the text to {self.context - 1} or fewer, so "
                "that one more fits",
                param=param,
                code="context_length_exceeded",
            )
        # A field may be null, and then has its default.
        temperature = 1.0 if asked.temperature is None else asked.temperature
        return Request(
            ids=tuple(ids),
            max_tokens=min(most_tokens(asked) or room, room),
            # What is nearly 0 draws the likeliest token as 0 does.
            temperature=temperature if temperature >= COLDEST else 0.0,
            top_k=asked.top_k and min(asked.top_k, self.encoding.n_vocab),
            top_p=asked.top_p,
            seed=asked.seed,
            top_logprobs=top and min(top, self.encoding.n_vocab),
            end=self.end(asked),
        )


def most_tokens(asked: Asked) -> int | None:
    """The limit that a request names, under either name."""
    if isinstance(asked, ChatRequest) and asked.max_completion_tokens is not None:
        return asked.max_completion_tokens
    return asked.max_tokens


def find(models: Mapping[str, Served], name: str) -> Served:
    """The model that a request names.

    Raises:
        ApiError: if it is not served; the line says which are.
    """
    if name in models:
        return models[name]
    raise ApiError(
        404,
        f"there is no model {shown(name)} here, only {' and '.join(models)}",
        param="model",
        code="model_not_found",
    )
