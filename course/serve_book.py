"""Serves the built book on this machine: `python -m course.serve_book`.

It listens on 127.0.0.1 only, takes the next free port if its own is in use, and opens
no browser unless asked. Ctrl-C stops it.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import signal
import sys
import threading
import webbrowser
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).parents[1]
BOOK = ROOT / ".build/book/_build/html"
PORT = 8000
ATTEMPTS = 50  # ports tried, one after the other


class Pages(SimpleHTTPRequestHandler):
    """Files of the book; what is missing gets the book's own page for that."""

    def send_error(
        self, code: int, message: str | None = None, explain: str | None = None
    ) -> None:
        page = Path(self.directory, "404.html")
        if code != 404 or not page.is_file():
            super().send_error(code, message, explain)
            return
        body = page.read_bytes()
        self.send_response(404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def end_headers(self) -> None:
        # A book that was built again must not be read from the browser's memory.
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the terminal keeps the address in view."""


class Server(ThreadingHTTPServer):
    allow_reuse_address = sys.platform != "win32"
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that closes a page early is no error; anything else is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def open_server(folder: Path, port: int) -> Server:
    """A server for a built book at `port` or at the next free one.

    Raises:
        FileNotFoundError: if the folder holds no book.
        OSError: if all ports that were tried are in use.
    """
    if not (folder / "index.html").is_file():
        raise FileNotFoundError(f"no book in {folder}: build it with `make book`")
    pages = partial(Pages, directory=str(folder))
    for candidate in range(port, min(port + ATTEMPTS, 65536)):
        try:
            return Server(("127.0.0.1", candidate), pages)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise OSError(f"no free port from {port} on: name another with --port")


def main() -> int:
    parser = argparse.ArgumentParser(description="Serves the built book.")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--folder", type=Path, default=BOOK)
    parser.add_argument("--open", action="store_true", help="open it in a browser")
    options = parser.parse_args()
    try:
        server = open_server(options.folder, options.port)
    except (OSError, OverflowError) as error:
        print(error, file=sys.stderr)
        return 1
    # Before anything is printed: whoever reads the address may stop the server.
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    address = f"http://127.0.0.1:{server.server_address[1]}/"
    if server.server_address[1] != options.port:
        print(f"Port {options.port} is in use.")
    print(f"The book is at {address}  (Ctrl-C stops it)", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    if options.open:
        webbrowser.open(address)
    stop.wait()
    server.shutdown()
    server.server_close()
    with contextlib.suppress(BrokenPipeError):
        print("\nStopped.", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
