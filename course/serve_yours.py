"""What answers in `sundays serve --mine`: the GPT of your own parts.

The chat page and the programs are answered by your parts, one text after the other. The
engine of `sundays serve` is the fast one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from course import tuning, yours
from course.generation import check_settings
from course.serve.engine import Closed, Overloaded, Request, Stats, Token, check
from course.serve.served import Served
from course.yours import Own

NAME = "yours"
"""What programs call the model."""


class OwnTicket:
    """A request that was taken."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()

    def cancel(self) -> None:
        """End it before its next token."""
        self.cancelled.set()


class OwnEngine:
    """What `course.serve.engine.Engine` is, with the reader's parts; one at a time."""

    def __init__(self, own: Own, waiting: int = 8) -> None:
        """`waiting`: how many requests may wait for the one that is written."""
        self.own, self.config, self.waiting = own, own.config, waiting
        self.worker = ThreadPoolExecutor(1)
        self.lock = threading.Lock()
        self.taken = self.tokens = 0
        self.closed, self.at_once = False, threading.Event()

    def submit(
        self,
        request: Request,
        on_token: Callable[[Token], None],
        on_end: Callable[[Exception | None], None],
    ) -> OwnTicket:
        """Take a request; the callbacks come from the one worker thread.

        Raises:
            ValueError: if it cannot be.
            Overloaded: if too many wait.
            Closed: after `close`.
        """
        check_settings(request.temperature, request.top_k, request.top_p)
        check(request, self.config)
        ticket = OwnTicket()
        with self.lock:
            if self.closed:
                raise Closed("the engine is closed: start another one")
            if self.taken > self.waiting:
                raise Overloaded(self.taken, retry_after=2)
            self.taken += 1
            self.worker.submit(self._write, request, on_token, on_end, ticket)
        return ticket

    def close(self, drain: bool = True) -> None:
        """Take no more; those taken are finished, or end with `Closed`."""
        with self.lock:
            self.closed = True
        if not drain:
            self.at_once.set()
        self.worker.shutdown()

    def stats(self) -> Stats:
        with self.lock:
            running = min(self.taken, 1)
            return Stats(running, self.taken - running, 1, self.tokens)

    def _write(
        self,
        request: Request,
        on_token: Callable[[Token], None],
        on_end: Callable[[Exception | None], None],
        ticket: OwnTicket,
    ) -> None:
        end: Exception | None = None
        try:
            for token in self._drawn(request):
                if ticket.cancelled.is_set() or self.at_once.is_set():
                    break
                self.tokens += 1
                on_token(token)
                if token.id == request.end:
                    break
        except Exception as error:
            end = error
        with self.lock:
            self.taken -= 1
        on_end(Closed("the engine was closed") if self.at_once.is_set() else end)

    def _drawn(self, request: Request) -> Iterator[Token]:
        generator = torch.Generator()
        if request.seed is None:
            generator.seed()
        else:
            generator.manual_seed(request.seed)
        for token, logits in self.own.draw(
            request.ids,
            request.max_tokens,
            request.temperature,
            request.top_k,
            request.top_p,
            generator,
        ):
            if request.top_logprobs is None:
                yield Token(token, None)
                continue
            logs = logits.log_softmax(dim=-1)  # (V,)
            best = logs.topk(request.top_logprobs)
            top = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            yield Token(token, logs[token].item(), tuple(top))


def served(where: str | Path | None = None, chat: bool = False) -> Served:
    """The reader's model, ready for `course.serve.app.create_app`.

    Args:
        where: a model, as `sundays train` leaves it, see `course.yours.assemble`; None:
            the weights of the one that answers questions.
        chat: it was tuned on the dialogues of the course.

    Raises:
        PretrainedError: if there is no such model.
    """
    own = yours.assemble(tuning.FOLDER if where is None else where)
    chats = chat or where is None
    return Served(NAME, OwnEngine(own), own.encoding, chats)
