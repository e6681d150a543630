"""From tokens to text that may be shown, and the tokens that belong to it.

    text = Text(encoding, stops=["\\n"])
    piece = text.push(token)         what may be shown by now, perhaps nothing
    piece = text.finish()            the rest

No piece ends in half a character, and none holds what may be the beginning of a stop
string (`solutions.local_deployment`). A token comes with the piece that shows the first
of its text; tokens that only belong to the stop string never come.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import tiktoken

from course.serve.engine import Token
from solutions.local_deployment import StopAt, StreamingDecoder


@dataclass(frozen=True)
class Piece:
    """Some text, and the tokens that it begins to show: each with its place.

    A place is that of a token's first character in the whole text.
    """

    text: str = ""
    tokens: tuple[tuple[int, Token], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text or self.tokens)


def joined(pieces: Iterable[Piece]) -> Piece:
    """All pieces as one."""
    pieces = list(pieces)
    return Piece(
        "".join(piece.text for piece in pieces),
        tuple(chain.from_iterable(piece.tokens for piece in pieces)),
    )


class Text:
    """A text that grows token by token, up to a stop string."""

    def __init__(
        self, encoding: tiktoken.Encoding, stops: Sequence[str], end: int | None = None
    ) -> None:
        """`end`: a token that ends the text and has none of its own."""
        self.encoding, self.end = encoding, end
        self.decoder, self.stop = StreamingDecoder(), StopAt(stops)
        self.held: list[tuple[int, Token]] = []  # tokens of which nothing is shown
        self.decoded = self.shown = 0  # characters
        self.drawn = 0  # tokens, that which ended the text included
        self.ended = False

    @property
    def stopped(self) -> bool:
        """Whether the model ended the text, not a limit."""
        return self.ended or self.stop.stopped

    def push(self, token: Token) -> Piece:
        """The next token -> what may be shown by now."""
        self.drawn += 1
        if token.id == self.end:
            self.ended = True
            return Piece()
        self.held.append((self.decoded, token))
        return self._show(
            self.decoder.push(self.encoding.decode_single_token_bytes(token.id))
        )

    def finish(self) -> Piece:
        """No token comes any more -> what was held back."""
        last = self._show(self.decoder.finish())
        return joined([last, self._piece(self.stop.finish())])

    def _show(self, text: str) -> Piece:
        self.decoded += len(text)
        return self._piece(self.stop.push(text))

    def _piece(self, text: str) -> Piece:
        self.shown += len(text)
        count = sum(place < self.shown for place, _ in self.held)
        tokens, self.held = self.held[:count], self.held[count:]
        return Piece(text, tuple(tokens))
