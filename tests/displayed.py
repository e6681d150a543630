"""What code shows in a notebook, caught without one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from IPython.core.formatters import DisplayFormatter


@contextmanager
def displayed() -> Iterator[list[dict]]:
    """Collects the bundle of each `display(...)`: its data by MIME type."""
    bundles: list[dict] = []

    def display(*objects: object, raw: bool = False) -> None:
        for item in objects:
            bundles.append(item if raw else DisplayFormatter().format(item)[0])

    with patch("IPython.display.display", display):
        yield bundles
