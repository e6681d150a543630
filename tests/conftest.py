"""Fixtures of the browser tests: one browser, one book and one server per process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from course import build_book
from course.notebooks import ROOT
from tests.browser import launched, serving


@pytest.fixture(scope="session")
def book() -> Iterator[Path]:
    """The folder of the built pages.

    With FIVE_SUNDAYS_BOOK set it is that one (`make test` does so, and has just built
    it); otherwise one is built.
    """
    given = os.environ.get("FIVE_SUNDAYS_BOOK")
    if given:
        folder = Path(given)
    else:
        # One folder per process: tests may run side by side.
        output = ROOT / ".build" / f"book-test-{os.getpid()}"
        assert build_book.build(output) == 0
        folder = output / "_build/html"
    if not (folder / "index.html").is_file():
        pytest.fail(f"no book in {folder}: build it with `make site`", pytrace=False)
    yield folder
    if not given:
        shutil.rmtree(output)


@pytest.fixture(scope="session")
def address(book) -> Iterator[str]:
    """Where the built book is served; ends in a slash."""
    with serving(book, 8700) as (_process, url):
        yield url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with launched() as started:
        yield started
