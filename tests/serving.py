"""A server in this process, on a free port, and an engine that waits for the test."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import uvicorn

from course.serve.app import create_app
from course.serve.served import Served
from solutions.gpt_block import GPTConfig


@contextmanager
def served(*models: Served, token: str | None = None) -> Iterator[str]:
    """The address of a server of these models; ends without a slash."""
    app = create_app({model.id: model for model in models}, token)
    config = uvicorn.Config(
        app, http="h11", lifespan="off", log_level="critical", access_log=False
    )
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


class Ticket:
    def __init__(self) -> None:
        self.cancelled = threading.Event()

    def cancel(self) -> None:
        self.cancelled.set()


class Held:
    """An engine that writes what the test says, when the test says it."""

    def __init__(self, config: GPTConfig, refusal: Exception | None = None) -> None:
        self.config, self.refusal = config, refusal
        self.asked: queue.Queue[SimpleNamespace] = queue.Queue()

    def submit(self, request, on_token: Callable, on_end: Callable) -> Ticket:
        if self.refusal:
            raise self.refusal
        ticket = Ticket()
        self.asked.put(
            SimpleNamespace(request=request, token=on_token, end=on_end, ticket=ticket)
        )
        return ticket
