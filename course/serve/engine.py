"""Writes many texts at once with one GPT, and lets them come and go.

    engine = Engine(model)
    ticket = engine.submit(Request((5, 7), max_tokens=20), on_token, on_end)
    ticket.cancel()                     if nobody waits for it any more
    engine.close()                      when all texts are written

On a CPU, a step for 32 texts takes a few times as long as a step for one: the weights
are read once for all. So one thread takes step after step, and in each step all texts
that are there get their next token (continuous batching). A text that comes need not
wait until others are done, and one that is done makes room at once.

A prompt is read before its text joins the others, a piece of it in each step, so that
those that are being written do not wait for a long one.

What a text becomes depends on its request and its seed, not on the others beside it:
random numbers are its own, and the logits do not depend on the batch, see
`course.serve.batch` for how far that goes.

Source: Yu et al. 2022, "Orca: A Distributed Serving System for Transformer-Based
Generative Models", section 3, for texts that join and leave between steps.
"""

from __future__ import annotations

import atexit
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch

from course.generation import Cache
from course.int8 import INT8
from course.layers import Layers
from course.serve.batch import Batch, best_form, up
from course.serve.sampling import Settings, draw, scores
from solutions.gpt_block import GPT, GPTConfig, gpt_parameters

PIECE = 64
"""So many tokens of prompts are read in a step, at most."""

FILLED = 16
"""A piece of a prompt is filled up to a multiple of this.

For every new size oneDNN writes a program, of half a megabyte, and keeps it.
"""

SMALL = 10_000_000
"""A model of fewer parameters is best served by one thread."""

SEEDS = range(-(2**63), 2**63)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """A text to go on with, and how."""

    ids: tuple[int, ...]
    """The prompt: one token or more."""

    max_tokens: int
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None
    """The same seed, the same text; None: another one each time."""

    top_logprobs: int | None = None
    """None: no log-probabilities; 0: of the drawn token; n: of the n likeliest, too."""

    end: int | None = None
    """A token at which the text ends; it is still told."""


@dataclass(frozen=True)
class Token:
    """A token that was drawn."""

    id: int
    logprob: float | None
    """The natural logarithm of its probability, at temperature 1 and before any cut."""

    top: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens with their logarithms, the likeliest first."""


@dataclass(frozen=True)
class Stats:
    """How busy an engine is."""

    running: int
    """Requests that have a slot."""

    waiting: int
    slots: int
    tokens: int
    """Written since the start."""


class Overloaded(RuntimeError):  # noqa: N818
    """All slots and all places in the queue are taken."""

    def __init__(self, requests: int, retry_after: int) -> None:
        """`retry_after`: seconds, in which a slot should become free."""
        super().__init__(
            f"{requests} requests are being answered or wait: try again in "
            f"{retry_after} s"
        )
        self.retry_after = retry_after


class Closed(RuntimeError):  # noqa: N818
    """The engine takes no more requests, or was closed before this one was done."""


class Ticket:
    """A request that an engine has taken."""

    def __init__(
        self,
        request: Request,
        on_token: Callable[[Token], None],
        on_end: Callable[[Exception | None], None],
    ) -> None:
        self._request, self._on_token, self._on_end = request, on_token, on_end
        self._settings = Settings(request.temperature, request.top_k, request.top_p)
        generator = torch.Generator()
        seed = request.seed
        generator.seed() if seed is None else generator.manual_seed(seed)
        numbers = torch.rand(request.max_tokens, generator=generator)
        self._numbers: list[float] = numbers.tolist()
        self._last = request.ids[-1]  # the token that is read next
        self._written = 0
        self._cancelled = False

    def cancel(self) -> None:
        """Write no more: the slot is free before the next step, and `on_end` comes."""
        self._cancelled = True


class Engine:
    """A GPT with one thread of its own, which writes what is asked for."""

    def __init__(
        self,
        model: GPT | Layers,
        *,
        slots: int = 32,
        waiting: int = 64,
        int8: bool = False,
        take: bool = False,
    ) -> None:
        """Take the memory for `slots` texts, and start.

        The matrices are copied, in another layout or in int8.

        Args:
            slots: how many texts are written at once, at most.
            waiting: how many more requests are taken.
            int8: see `course.int8`.
            take: let the model's own matrices go, see `Layers`.

        Raises:
            ValueError: if a number is too small, the model is no GPT-2, or int8 is not
                to be had on this machine.
        """
        if slots < 1 or waiting < 0:
            raise ValueError(
                f"{slots} slots and {waiting} waiting, expected 1 or more, 0 or more"
            )
        if not isinstance(model, Layers):
            weight = model.embedding.token_embedding.weight
            model = Layers(model, INT8 if int8 else best_form(weight), take=take)
        self.config = model.config
        self._slots, self._places = slots, slots + waiting
        self._batch = Batch(model, slots)
        self._prompt = Cache(model, 1)  # the text whose prompt is being read
        self._reading: Ticket | None = None
        self._running: list[Ticket] = []  # in the rows of the batch
        self._tokens, self._pace = 0, 0.0  # seconds that a step takes
        self._changed = threading.Condition()  # guards the four that follow
        self._waiting: deque[Ticket] = deque()
        self._open: set[Ticket] = set()  # those whose end has not been told
        self._closed, self._drain = False, True
        self._worker = threading.Thread(target=self._work, name="engine", daemon=True)
        self._worker.start()
        # A thread that computes while Python ends would crash it.
        atexit.register(self.close, drain=False)

    def submit(
        self,
        request: Request,
        on_token: Callable[[Token], None],
        on_end: Callable[[Exception | None], None],
    ) -> Ticket:
        """Ask for a text; any thread may.

        Args:
            on_token: called with each token. Both are called by the engine's thread:
                they must be quick and raise nothing.
            on_end: called once, after the last token: with None, or with what went
                wrong.

        Raises:
            ValueError: if the request cannot be, in one line.

            Overloaded: if all slots and all places in the queue are taken.

            Closed: after `close`.
        """
        check(request, self.config)
        ticket = Ticket(request, on_token, on_end)
        with self._changed:
            if self._closed:
                raise Closed("the engine is closed: it takes no more requests")
            asked = sum(not each._cancelled for each in self._open)
            if asked >= self._places:
                raise Overloaded(asked, self._retry_after())
            self._open.add(ticket)
            self._waiting.append(ticket)
            self._changed.notify()
        return ticket

    def close(self, drain: bool = True) -> None:
        """Take no more requests, and return when the last one has ended.

        `drain`: those that are there are finished first; otherwise they end with
        `Closed`. A second call may still ask for that.
        """
        with self._changed:
            self._closed, self._drain = True, self._drain and drain
            self._changed.notify()
        if threading.current_thread() is not self._worker:
            self._worker.join()
            atexit.unregister(self.close)

    def stats(self) -> Stats:
        """How busy it is now."""
        with self._changed:
            waiting, taken = len(self._waiting), len(self._open)
        return Stats(taken - waiting, waiting, self._slots, self._tokens)

    # What follows is done by the engine's own thread.

    def _work(self) -> None:
        while self._wait():
            began = time.perf_counter()
            self._drop_cancelled()
            self._read_prompts()
            if self._running:
                self._write_tokens()
                took = time.perf_counter() - began
                self._pace = took if not self._pace else 0.9 * self._pace + 0.1 * took
        self._drop_cancelled()
        for ticket in list(self._open):
            self._end(ticket, Closed("the engine was closed before the text was done"))

    def _wait(self) -> bool:
        """Sleep until there is something to write; False: it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._open or self._closed)
            return bool(self._open) and (self._drain or not self._closed)

    def _drop_cancelled(self) -> None:
        with self._changed:
            cancelled = [ticket for ticket in self._open if ticket._cancelled]
            for ticket in cancelled:
                if ticket in self._waiting:
                    self._waiting.remove(ticket)
        if self._reading in cancelled:
            self._reading = None
        self._leave(cancelled)
        for ticket in cancelled:
            self._end(ticket, None)

    def _read_prompts(self) -> None:
        """Read a piece of the first prompt, or several short ones."""
        room = PIECE
        while room > 0 and (ticket := self._next_to_read()):
            # The last token is read with those of the other texts.
            prompt = ticket._request.ids[:-1]
            piece = prompt[self._prompt.length : self._prompt.length + PIECE]
            try:
                if piece:
                    self._take_in(piece)
                if self._prompt.length == len(prompt):
                    self._batch.join(self._prompt)
                    self._running.append(ticket)
                    self._reading = None
            except Exception as error:
                self._reading = None
                self._end(ticket, error)
            room -= len(piece)

    def _take_in(self, piece: tuple[int, ...]) -> None:
        """Read a piece of a prompt; what it is filled up with is forgotten."""
        start, device = self._prompt.length, self._prompt.kept.device
        size = min(up(len(piece), FILLED), self.config.n_positions - start)
        ids = torch.zeros(1, size, dtype=torch.int64)
        ids[0, : len(piece)] = torch.tensor(piece)
        self._prompt.take_in(ids.to(device))
        self._prompt.length = start + len(piece)

    def _next_to_read(self) -> Ticket | None:
        if self._reading is None and len(self._running) < self._slots:
            with self._changed:
                self._reading = self._waiting.popleft() if self._waiting else None
            self._prompt.forget()
        return self._reading

    def _write_tokens(self) -> None:
        """One more token for each text."""
        running = list(self._running)
        try:
            logits = self._batch.read([ticket._last for ticket in running])
            drawn = draw(
                logits,
                [ticket._settings for ticket in running],
                [ticket._numbers[ticket._written] for ticket in running],
            )
            told = scores(
                logits, drawn, [ticket._request.top_logprobs for ticket in running]
            )
        except Exception as error:
            self._running.clear()
            self._batch.clear()
            for ticket in running:
                self._end(ticket, error)
            return
        self._tokens += len(running)
        ended: dict[Ticket, Exception | None] = {}
        for ticket, token, score in zip(running, drawn, told, strict=True):
            ticket._last = token
            ticket._written += 1
            if ticket._cancelled:
                continue  # that is told before the next step
            try:
                ticket._on_token(Token(token, *(score or (None,))))
            except Exception as error:
                ended[ticket] = error
                continue
            request = ticket._request
            if ticket._written == request.max_tokens or token == request.end:
                ended[ticket] = None
        self._leave(ended)
        for ticket, error in ended.items():
            self._end(ticket, error)

    def _leave(self, ended: Collection[Ticket]) -> None:
        """Free the slots of these texts."""
        # From the last one on: whoever moves to a free row stays.
        for row in reversed(range(len(self._running))):
            if self._running[row] in ended:
                self._batch.leave(row)
                last = self._running.pop()
                if row < len(self._running):
                    self._running[row] = last

    def _end(self, ticket: Ticket, error: Exception | None) -> None:
        with self._changed:
            self._open.discard(ticket)
        try:
            ticket._on_end(error)
        except Exception:
            log.exception("on_end raised something, and must not")

    def _retry_after(self) -> int:
        """Seconds until the first text must be done, one or more."""
        running = list(self._running)
        left = [each._request.max_tokens - each._written for each in running]
        return max(1, math.ceil(min(left, default=0) * self._pace))


def threads(config: GPTConfig) -> int:
    """How many threads torch should compute with, for `torch.set_num_threads`.

    One for a small model: its operations are over before others could help, and threads
    that wait for each other keep a processor from who reads the answers.
    """
    return 1 if gpt_parameters(config) < SMALL else torch.get_num_threads()


def check(request: Request, config: GPTConfig) -> None:
    """Refuse a request that cannot be.

    Raises:
        ValueError: in one line.
    """
    size, context = config.vocab_size, config.n_positions
    if not request.ids:
        raise ValueError("the prompt has no token, expected 1 or more")
    if not 0 <= min(request.ids) <= max(request.ids) < size:
        raise ValueError(
            f"the prompt has tokens from {min(request.ids)} to {max(request.ids)}, "
            f"expected 0 to {size - 1}"
        )
    if request.max_tokens < 1:
        raise ValueError(f"max_tokens is {request.max_tokens}, expected 1 or more")
    if len(request.ids) + request.max_tokens > context:
        raise ValueError(
            f"{len(request.ids)} tokens and {request.max_tokens} more, but the model "
            f"has a context of {context}: shorten the prompt, or ask for fewer"
        )
    if request.seed is not None and request.seed not in SEEDS:
        raise ValueError(f"the seed is {request.seed}, expected a number of 64 bits")
    if not 0 <= (request.top_logprobs or 0) <= size:
        raise ValueError(
            f"top_logprobs is {request.top_logprobs}, expected 0 to {size}"
        )
