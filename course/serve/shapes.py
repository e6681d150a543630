"""A text in the shapes of OpenAI's interface: whole, or as events.

`Texts` speaks for /v1/completions and `Chats` for /v1/chat/completions. Both make of a
`Piece` what a client expects.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Protocol

import tiktoken
from pydantic import BaseModel

from course.serve.engine import Token
from course.serve.schema import (
    Answer,
    ChatChoice,
    ChatChunk,
    ChatCompletion,
    ChatLogprobs,
    Choice,
    ChunkChoice,
    Completion,
    Delta,
    Logprobs,
    TokenLogprob,
    TopLogprob,
    Usage,
)
from course.serve.text import Piece

LOWEST = -9999.0
"""The logarithm of a probability of 0, which JSON cannot hold."""


class Shape(Protocol):
    def whole(self, text: Piece, finish: str, usage: Usage) -> BaseModel:
        """The answer at once."""

    def begun(self) -> Iterator[BaseModel]:
        """Events before the first piece."""

    def part(self, piece: Piece, finish: str | None = None) -> BaseModel:
        """One event; the last but the usage says why the text ended."""

    def counted(self, usage: Usage) -> BaseModel:
        """The event after all others, where the client asked for it."""


class Texts:
    """The shapes of /v1/completions."""

    def __init__(
        self, model: str, encoding: tiktoken.Encoding, top: int | None, offset: int
    ) -> None:
        """`top`: so many likeliest tokens; `offset`: of the text, behind the prompt."""
        self.encoding, self.top, self.offset = encoding, top, offset
        self.head = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, text: Piece, finish: str, usage: Usage) -> Completion:
        return Completion(
            **self.head, choices=[self._choice(text, finish)], usage=usage
        )

    def begun(self) -> Iterator[Completion]:
        return iter(())

    def part(self, piece: Piece, finish: str | None = None) -> Completion:
        return Completion(**self.head, choices=[self._choice(piece, finish)])

    def counted(self, usage: Usage) -> Completion:
        return Completion(**self.head, choices=[], usage=usage)

    def _choice(self, piece: Piece, finish: str | None) -> Choice:
        logprobs = None if self.top is None else self._logprobs(piece)
        return Choice(text=piece.text, logprobs=logprobs, finish_reason=finish)

    def _logprobs(self, piece: Piece) -> Logprobs:
        tokens = [token for _, token in piece.tokens]
        name = self._name
        return Logprobs(
            tokens=[name(token.id) for token in tokens],
            token_logprobs=[finite(token.logprob) for token in tokens],
            # What was drawn stands there, too, likely or not.
            top_logprobs=[
                {name(i): finite(p) for i, p in (*token.top, (token.id, token.logprob))}
                for token in tokens
            ]
            if self.top
            else None,
            text_offset=[self.offset + place for place, _ in piece.tokens],
        )

    def _name(self, token: int) -> str:
        r"""A token as text; "bytes:\xec\x95" if it is none by itself."""
        chunk = self.encoding.decode_single_token_bytes(token)
        try:
            return chunk.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in chunk)


class Chats:
    """The shapes of /v1/chat/completions."""

    def __init__(
        self, model: str, encoding: tiktoken.Encoding, top: int | None, left_out: int
    ) -> None:
        """`top`: so many likeliest tokens; `left_out`: messages of the dialogue."""
        self.encoding, self.top, self.left_out = encoding, top, left_out
        self.head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, text: Piece, finish: str, usage: Usage) -> ChatCompletion:
        choice = ChatChoice(
            message=Answer(content=text.text),
            logprobs=self._logprobs(text),
            finish_reason=finish,
        )
        return ChatCompletion(
            **self.head,
            choices=[choice],
            usage=usage,
            messages_left_out=self.left_out,
        )

    def begun(self) -> Iterator[ChatChunk]:
        choice = ChunkChoice(
            delta=Delta(role="assistant", content=""), logprobs=None, finish_reason=None
        )
        yield ChatChunk(
            **self.head, choices=[choice], messages_left_out=self.left_out or None
        )

    def part(self, piece: Piece, finish: str | None = None) -> ChatChunk:
        choice = ChunkChoice(
            delta=Delta(content=piece.text or None),
            logprobs=self._logprobs(piece) if piece.tokens else None,
            finish_reason=finish,
        )
        return ChatChunk(**self.head, choices=[choice])

    def counted(self, usage: Usage) -> ChatChunk:
        return ChatChunk(**self.head, choices=[], usage=usage)

    def _logprobs(self, piece: Piece) -> ChatLogprobs | None:
        if self.top is None:
            return None
        return ChatLogprobs(content=[self._token(token) for _, token in piece.tokens])

    def _token(self, token: Token) -> TokenLogprob:
        tops = [self._top(i, p) for i, p in token.top]
        own = self._top(token.id, token.logprob)
        return TokenLogprob(**own.model_dump(), top_logprobs=tops)

    def _top(self, token: int, logprob: float) -> TopLogprob:
        chunk = self.encoding.decode_single_token_bytes(token)
        return TopLogprob(
            token=chunk.decode(errors="replace"),
            logprob=finite(logprob),
            bytes=list(chunk),
        )


def finite(logprob: float) -> float:
    return max(logprob, LOWEST)
