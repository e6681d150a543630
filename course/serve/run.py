"""What `sundays serve` does: models, an address, and an end in good order.

It listens on this machine only. On any other address it demands a token, since whoever
is in the same network could use it. The first Ctrl+C (or SIGTERM) lets the answers that
are being written come to their end; the second ends it at once.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from urllib.parse import quote

import torch
import uvicorn

from course import pretrained, tuning
from course.serve.app import create_app
from course.serve.engine import Engine, threads
from course.serve.guard import is_local
from course.serve.served import Served

STORIES, CHAT = "five-sundays", "five-sundays-chat"
"""The ids of the course's own models."""

TOKEN = "FIVE_SUNDAYS_TOKEN"
"""The environment variable that may hold the token."""

PATIENCE = 5
"""Seconds that a client has to take the rest of an answer when the server ends."""


def run(
    model: str | None = None,
    *,
    chat: bool = False,
    host: str = "127.0.0.1",
    port: int = 8001,
    int8: bool = False,
    token: str | None = None,
    slots: int = 32,
    mine: bool = False,
) -> None:
    """Serve until a signal ends it.

    Args:
        model: see `course.pretrained.load`; None: the story model of the course, and
            the one that answers questions.
        chat: `model` was tuned on the dialogues of the course.
        token: what requests must bring; else that of the environment, if it has one.
        slots: how many texts are written at once.
        mine: with the reader's own parts, one text at a time.

    Raises:
        SystemExit: with one line, if it cannot serve; with 130 after Ctrl+C while the
            models are loaded.
    """
    token = token or os.environ.get(TOKEN) or None
    try:
        check_access(host, token)
        if slots < 1:
            raise ValueError(f"slots is {slots}, expected 1 or more")
        if mine and int8:
            raise ValueError("your own parts keep float32: leave --int8 or --mine out")
        listening = listen(host, port)
        if mine:
            models = load_mine(model, chat=chat)
        else:
            models = load(model, chat=chat, slots=slots, int8=int8)
    except ValueError as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.exit(130)
    engines = [served.engine for served in models.values()]
    torch.set_num_threads(min(threads(engine.config) for engine in engines))
    config = uvicorn.Config(
        create_app(models, token),
        http="h11",
        ws="none",
        lifespan="off",
        log_level="error",  # what went wrong, and nothing else
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=PATIENCE,
    )
    tell(welcome(models, host, listening.getsockname()[1], token))
    Server(config, lambda: close(engines)).run(sockets=[listening])
    tell("Stopped.")


def check_access(host: str, token: str | None) -> None:
    """Refuse to be reached from elsewhere without a token.

    Raises:
        ValueError: if there is none, or it cannot stand in a header.
    """
    if token is None and not is_local(host):
        raise ValueError(
            f"on {host!r} others can reach this server, so it demands a token: give "
            f"--token or {TOKEN}, for example --token {secrets.token_urlsafe(16)}"
        )
    if token is not None and not re.fullmatch(r"[!-~]+", token):
        raise ValueError("a token is one word of ASCII letters, digits and signs")


def listen(host: str, port: int) -> socket.socket:
    """The address, taken.

    Raises:
        ValueError: if another program has it, or there is no such address.
    """
    if not 0 <= port < 65536:
        raise ValueError(f"the port is {port}, expected 0 to 65535")
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address, family=family, backlog=256)
    except (OSError, UnicodeError) as error:
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            reason = f"port {port} is in use: end what uses it, or give another --port"
        else:
            reason = f"cannot listen on {host}, port {port}: {error}"
        raise ValueError(reason) from None


def load(model: str | None, *, chat: bool, slots: int, int8: bool) -> dict[str, Served]:
    """The models to serve, each with an engine of its own, by their ids.

    Raises:
        ValueError: if one cannot be loaded, or this machine has no int8.
    """
    if model is None:
        wanted = {CHAT: (tuning.FOLDER, True), STORIES: (None, False)}
    else:
        folder = Path(model).resolve()
        ours = {pretrained.FOLDER: STORIES, tuning.FOLDER: CHAT}
        name = ours.get(folder, folder.name or "model")
        wanted = {name: (model, chat or folder == tuning.FOLDER)}
    # All are loaded before the first engine starts: one may be missing.
    read = {name: pretrained.load(where) for name, (where, _) in wanted.items()}
    return {
        name: Served(
            name,
            Engine(gpt, slots=slots, int8=int8, take=True),
            encoding,
            wanted[name][1],
        )
        for name, (gpt, encoding) in read.items()
    }


def load_mine(model: str | None, *, chat: bool) -> dict[str, Served]:
    """The GPT of the reader's own parts; says how many they are.

    Raises:
        ValueError: if there is no such model.
    """
    from course import serve_yours, yours  # they take what is served from here

    served = serve_yours.served(model, chat)
    tell(yours.report())
    return {served.id: served}


def close(engines: Iterable[Engine]) -> None:
    """Take no more requests, in none of them; return when all are answered."""
    threads = [threading.Thread(target=engine.close) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def welcome(models: dict[str, Served], host: str, port: int, token: str | None) -> str:
    """What the terminal shows: where the page is, and what a program needs."""
    if host in ("", "0.0.0.0", "::"):
        host = own_address()
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    page = f"{address}/#token={quote(token)}" if token else f"{address}/"
    return (
        f"The chat page is at {page}  (Ctrl+C stops it)\n"
        f'For programs: base_url="{address}/v1", model {" or ".join(models)}'
    )


def own_address() -> str:
    """The address under which others in the network reach this machine.

    Nothing is sent: it is the one from which it would be.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # an address for examples, RFC 5737
            return probe.getsockname()[0]
    except OSError:
        return socket.gethostname()


def tell(what: str) -> None:
    """Print it, unless nobody reads the terminal any more."""
    with suppress(OSError):
        print(what, flush=True)


class Server(uvicorn.Server):
    """uvicorn's, but while answers are finished it still says 503 to new requests."""

    def __init__(self, config: uvicorn.Config, close: Callable[[], None]) -> None:
        """`close`: returns when the last answer is written."""
        super().__init__(config)
        self.signals: list[int] = []
        self.closing = threading.Thread(target=close, daemon=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.signals.append(sig)
        if len(self.signals) > 1:
            # Nothing is being written to disk that could be left half done.
            os._exit(128 + sig)
        self.closing.start()
        tell("\nFinishing what is being written; once more ends at once.")

    async def on_tick(self, counter: int) -> bool:
        if self.closing.ident and not self.closing.is_alive():
            self.should_exit = True
        return await super().on_tick(counter)
