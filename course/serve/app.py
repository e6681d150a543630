"""The server's routes: OpenAI's interface under /v1, and the chat page at /."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel

from course.serve import document
from course.serve.errors import ApiError, ErrorBody, install, unexpected
from course.serve.guard import Guard
from course.serve.schema import (
    Asked,
    ChatCompletion,
    ChatRequest,
    Completion,
    CompletionRequest,
    Model,
    ModelList,
)
from course.serve.served import LINE, Served, find
from course.serve.shapes import Chats, Shape, Texts
from course.serve.text import Piece, joined
from course.serve.writing import Events, Writing, unless_gone

FOLDER = Path(__file__).parent
ASSETS = Path(__file__).parents[2] / "assets"  # of the book
PAGE = {
    "/": FOLDER / "chat.html",
    "/chat.css": FOLDER / "chat.css",
    "/chat.js": FOLDER / "chat.js",
    "/favicon.svg": ASSETS / "favicon.svg",
    "/serif.woff2": ASSETS
    / "vendor/source-serif-4/source-serif-4-latin-wght-normal.woff2",
}
"""The chat page: path -> file."""

REFUSALS = {
    400: "what was asked cannot be",
    401: "the token is missing or wrong",
    403: "another web page asks, or under a foreign name",
    404: "no such model",
    413: "the body is too large",
    429: "too many texts are being written: Retry-After says when to ask again",
    503: "the server is being stopped",
}


def create_app(models: Mapping[str, Served], token: str | None = None) -> FastAPI:
    """The server of these models, by their ids.

    Args:
        token: what requests must bring as `Authorization: Bearer`; None: nothing.
    """
    app = FastAPI(
        title="Five Sundays",
        version="1",
        description="OpenAI's interface to the models of the course.",
        docs_url=None,  # these pages would come from the network
        redoc_url=None,
        responses={
            status: {"model": ErrorBody, "description": reason}
            for status, reason in REFUSALS.items()
        },
    )
    install(app)
    app.add_middleware(Guard, token=token)

    @app.get("/v1/models")
    async def list_models() -> ModelList:
        """The models that are served."""
        return ModelList(data=[served.described() for served in models.values()])

    @app.get("/v1/models/{model:path}")
    async def show_model(model: str) -> Model:
        """One model."""
        return find(models, model).described()

    @app.post("/v1/completions", response_model=Completion)
    async def complete(asked: CompletionRequest, request: Request) -> Response:
        """Go on with a text."""
        served = find(models, asked.model)
        ids = served.read_prompt(asked)
        offset = len(asked.prompt) if isinstance(asked.prompt, str) else 0
        shape = Texts(served.id, served.encoding, asked.logprobs, offset)
        writing = Writing(
            served, served.request(ids, asked, asked.logprobs), asked.stops
        )
        return await answer(writing, shape, asked, request)

    @app.post("/v1/chat/completions", response_model=ChatCompletion)
    async def chat(asked: ChatRequest, request: Request) -> Response:
        """Answer in a dialogue."""
        served = find(models, asked.model)
        ids, left_out = served.read_dialogue(asked)
        top = (asked.top_logprobs or 0) if asked.logprobs else None
        shape = Chats(served.id, served.encoding, top, left_out)
        writing = Writing(served, served.request(ids, asked, top), [LINE, *asked.stops])
        return await answer(writing, shape, asked, request)

    for path in PAGE:
        app.add_route(path, page)
    document.complete(app, list(models))
    return app


async def page(request: Request) -> FileResponse:
    """A file of the chat page. A browser asks each time whether it is the newest."""
    return FileResponse(PAGE[request.url.path], headers={"Cache-Control": "no-cache"})


async def answer(
    writing: Writing, shape: Shape, asked: Asked, request: Request
) -> Response:
    """The text that is being written, whole or as events."""
    if asked.stream:
        return Events(events(writing, shape, asked.with_usage), writing)

    async def all_pieces() -> list[Piece]:
        return [piece async for piece in writing.pieces()]

    try:
        pieces = await unless_gone(request, all_pieces())
    finally:
        writing.cancel()
    if pieces is None:
        return Response(status_code=499)  # nobody hears it
    whole = shape.whole(joined(pieces), writing.finish_reason, writing.usage)
    return Response(whole.model_dump_json(), media_type="application/json")


async def events(
    writing: Writing, shape: Shape, with_usage: bool
) -> AsyncIterator[str]:
    """The text as server-sent events, `[DONE]` at the end, unless something fails."""
    try:
        for begun in shape.begun():
            yield event(begun)
        async for piece in writing.pieces():
            yield event(shape.part(piece))
            await asyncio.sleep(0)  # so that other answers move on, too
        yield event(shape.part(Piece(), writing.finish_reason))
        if with_usage:
            yield event(shape.counted(writing.usage))
        yield "data: [DONE]\n\n"
    except ApiError as refusal:  # too late for another status
        yield event(refusal.body())
    except Exception:
        # Raised further, it would break the connection before this event is read.
        logging.getLogger("uvicorn.error").exception("a text could not be written")
        yield event(unexpected().body())


def event(told: BaseModel) -> str:
    return f"data: {told.model_dump_json()}\n\n"
