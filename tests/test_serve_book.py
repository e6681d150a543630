"""The server of the book: it serves that folder only, and stops cleanly."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest

from course.notebooks import ROOT
from tests.browser import serving


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_the_server_stops_cleanly(book, name):
    with serving(book, 8750) as (process, _address):
        process.send_signal(getattr(signal, name))
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out.strip(), err) == (0, "Stopped.", "")


def test_a_port_in_use_gets_the_next_free_one(book):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with serving(book, port) as (_process, url):
            assert urlsplit(url).port > port
            with urllib.request.urlopen(url) as answer:
                assert b"<title>Five Sundays" in answer.read()


def test_a_missing_page_gets_the_page_for_that(address):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{address}no/such/page.html")
    assert caught.value.code == 404
    assert b"There is no page here" in caught.value.read()


def test_nothing_outside_the_book_is_served(address):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{address}../../../../_config.yml")
    assert caught.value.code == 404


def test_a_folder_without_a_book_gets_one_line(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "course.serve_book", "--folder", str(tmp_path)],
        cwd=ROOT,
        text=True,
        capture_output=True,
    )
    assert run.returncode == 1
    assert run.stderr == f"no book in {tmp_path}: build it with `make book`\n"
