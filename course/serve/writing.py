"""One text on its way from the engine to its reader, piece by piece.

The engine calls from a thread of its own; here its tokens come into the server's event
loop. A reader that goes away cancels the text, and its place in the engine is free.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from fastapi import Request as HttpRequest
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from course.serve.engine import Closed, Overloaded, Request, Token
from course.serve.errors import ApiError
from course.serve.schema import Usage
from course.serve.served import Served
from course.serve.text import Piece, Text

Result = TypeVar("Result")


class Writing:
    """A text that is being written."""

    def __init__(self, served: Served, request: Request, stops: Sequence[str]) -> None:
        """Ask the engine for it.

        Raises:
            ApiError: if the engine has too much to do (429), or ends (503).
        """
        self.text = Text(served.encoding, stops, request.end)
        self.given = len(request.ids)
        self.came: asyncio.Queue[Token | Exception | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def put(item: Token | Exception | None) -> None:
            with suppress(RuntimeError):  # the server has ended at once
                loop.call_soon_threadsafe(self.came.put_nowait, item)

        try:
            self.ticket = served.engine.submit(request, put, put)
        except Overloaded as busy:
            seconds = max(1, math.ceil(busy.retry_after))
            raise ApiError(
                429,
                f"too many texts are being written; try again in {seconds} s",
                code="rate_limit_exceeded",
                headers={"Retry-After": str(seconds)},
            ) from None
        except Closed:
            raise closing() from None

    async def pieces(self) -> AsyncIterator[Piece]:
        """Each piece as soon as it may be shown.

        Raises:
            ApiError: if the server ends at once.
        """
        while not self.text.stopped and (item := await self.came.get()) is not None:
            if isinstance(item, Closed):
                raise closing()
            if isinstance(item, Exception):
                raise item
            if piece := self.text.push(item):
                yield piece
        if piece := self.text.finish():
            yield piece

    def cancel(self) -> None:
        self.ticket.cancel()

    @property
    def finish_reason(self) -> str:
        return "stop" if self.text.stopped else "length"

    @property
    def usage(self) -> Usage:
        """Tokens that were read and drawn, that which ended the text included."""
        return Usage(
            prompt_tokens=self.given,
            completion_tokens=self.text.drawn,
            total_tokens=self.given + self.text.drawn,
        )


def closing() -> ApiError:
    return ApiError(
        503,
        "the server is being stopped and takes no more requests",
        code="shutting_down",
    )


class Events(StreamingResponse):
    """Server-sent events; whatever ends them, the text is cancelled."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[str], writing: Writing) -> None:
        super().__init__(events, headers={"Cache-Control": "no-store"})
        self.writing = writing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.writing.cancel()


async def unless_gone(
    request: HttpRequest, work: Coroutine[Any, Any, Result]
) -> Result | None:
    """What `work` returns; None if the client goes away before."""
    doing = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        doing.cancel()
        leaving.cancel()


async def _left(request: HttpRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
