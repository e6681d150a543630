"""A file is written whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from course.files import write_atomically


def test_it_writes_text_and_bytes_and_makes_the_folder(tmp_path):
    write_atomically(tmp_path / "new" / "a.txt", "안녕\n")
    write_atomically(tmp_path / "new" / "b.bin", b"\x00\xff")
    assert (tmp_path / "new" / "a.txt").read_text("utf-8") == "안녕\n"
    assert (tmp_path / "new" / "b.bin").read_bytes() == b"\x00\xff"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch, step):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*{"fsync": (os, step), "replace": (Path, step)}[step], fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.chmod"])
def test_a_kill_leaves_the_old_file(tmp_path, step):
    path = tmp_path / "a.txt"
    path.write_text("old")
    code = f"""
import os, pathlib, signal
def die(*args): os.kill(os.getpid(), signal.SIGKILL)
from course.files import write_atomically
{step} = die
write_atomically(pathlib.Path({str(path)!r}), "new" * 100_000)
"""
    run = subprocess.run([sys.executable, "-c", code], check=False)
    assert run.returncode == -9
    assert path.read_text() == "old"


def test_a_file_is_as_readable_as_any_other(tmp_path):
    plain, ours = tmp_path / "plain", tmp_path / "ours"
    plain.write_text("")
    write_atomically(ours, "")
    assert ours.stat().st_mode == plain.stat().st_mode
