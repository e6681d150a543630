"""Stops code that does not come back: an endless loop in a reader's answer."""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class TimeIsUp(BaseException):
    """Not an `Exception`: an answer's `except Exception` must not swallow it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeIsUp` inside the block once it has run for `seconds`.

    On the main thread an alarm signal does it, which also wakes a sleeping call. On any
    other thread Python is asked to raise the exception at its next step.
    """
    main = threading.current_thread() is threading.main_thread()
    with _alarm(seconds) if main else _asked(seconds):
        yield


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(signum: int, frame: object) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, ring)
    # It rings again every second: a bare `except:` in the loop catches only the first.
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _asked(seconds: float) -> Iterator[None]:
    thread = ctypes.c_ulong(threading.get_ident())

    def ask() -> None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(TimeIsUp))

    timer = threading.Timer(seconds, ask)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
