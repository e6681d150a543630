"""A server in a process that does other things, too, such as a notebook's kernel.

server = Here(models)            # as `course.serve.run.load` gives them
server.address                   # http://127.0.0.1:54321
server.close()                   # or it ends with the process
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

import uvicorn

from course.serve.app import create_app
from course.serve.run import close, listen
from course.serve.served import Served


class Here:
    """Serves these models on a free port of this machine, in a thread of its own."""

    def __init__(self, models: Mapping[str, Served]) -> None:
        """Return when it takes requests.

        Raises:
            RuntimeError: if it could not start.
        """
        self.models = dict(models)
        listening = listen("127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self.server = uvicorn.Server(
            uvicorn.Config(
                create_app(self.models),
                lifespan="off",
                log_level="error",
                access_log=False,
            )
        )
        self.thread = threading.Thread(
            target=self.server.run, args=([listening],), daemon=True
        )
        self.thread.start()
        while not self.server.started:
            if not self.thread.is_alive():
                raise RuntimeError("the server did not start")
            time.sleep(0.01)

    def close(self) -> None:
        """Finish what is being written, and end."""
        close(served.engine for served in self.models.values())
        self.server.should_exit = True
        self.thread.join()
