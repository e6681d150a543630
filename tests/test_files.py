"""A file is written whole or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from course.files import remove_unfinished, write_atomically


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
from course.files import remove_unfinished, write_atomically
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


def test_a_file_keeps_its_permissions(tmp_path):
    path = tmp_path / "private"
    path.write_text("old")
    path.chmod(0o600)
    write_atomically(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "far" / "a.txt", tmp_path / "a.txt"
    target.parent.mkdir()
    target.write_text("old")
    link.symlink_to(target)
    write_atomically(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


def test_the_longest_name_can_be_written(tmp_path):
    path = tmp_path / ("가" * 85)  # 255 bytes
    write_atomically(path, "new")
    assert path.read_text() == "new"


def test_the_folder_is_flushed_after_the_rename(tmp_path, monkeypatch):
    path, flushed = tmp_path / "a.txt", []
    fsync = os.fsync

    def watch(handle):
        flushed.append((stat.S_ISDIR(os.fstat(handle).st_mode), path.exists()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watch)
    write_atomically(path, "new")
    assert flushed == [(False, False), (True, True)]


def test_a_folder_that_cannot_be_flushed_is_no_failure(tmp_path, monkeypatch):
    fsync = os.fsync

    def refuse(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(22, "Invalid argument")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    write_atomically(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"


def test_what_killed_writes_left_is_removed_when_it_is_old(tmp_path):
    code = f"""
import os, pathlib, signal
from course.files import write_atomically
os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
write_atomically(pathlib.Path({str(tmp_path / "week1" / "a.txt")!r}), "new")
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    (left,) = (tmp_path / "week1").iterdir()
    (mine := tmp_path / "unfinished-thoughts").write_text("")
    remove_unfinished(tmp_path)
    assert left.exists()  # it may still be written
    for path in (left, mine):
        os.utime(path, (time.time() - 7200,) * 2)
    remove_unfinished(tmp_path)
    assert (left.exists(), mine.exists()) == (False, True)
