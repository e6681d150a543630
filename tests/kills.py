"""Updates of a workbook that are killed, or run out of disk, and what is lost by it.

Each function does it in every way that it knows, asserts that nothing is lost and that
the next update finishes the work, and returns how many ways there were. A test does
this on every run; `python -m benchmarks.kills` does more of it and prints the record.
"""

from __future__ import annotations

import errno
import itertools
import multiprocessing
import os
import random
import resource
import shutil
import signal
import stat
import time
from pathlib import Path
from unittest import mock

from course import workbook
from course.workbook import WorkbookError
from tests.small_course import all_texts, contents, lost, update, work

# Processes are forked from a server that has imported all.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__])


def at_every_moment(first: Path, later: Path, place: Path) -> int:
    """Kill the update from `first` to `later` at every moment of its writing."""
    book, whole = _worked(first, later, place)
    for moment in itertools.count(1):
        folder = shutil.copytree(book, place / f"killed-{moment}")
        if not killed(folder, later, moment):
            return moment - 1
        _nothing_is_lost_and_the_next_finishes(folder, later, whole)


def at_every_moment_of_the_first_run(first: Path, place: Path) -> int:
    """Kill the run that makes the workbook."""
    update(whole := place / "whole", first)
    for moment in itertools.count(1):
        folder = place / f"killed-{moment}"
        if not killed(folder, first, moment):
            return moment - 1
        update(folder, first)
        assert contents(folder) == contents(whole)


def again_and_again(first: Path, later: Path, place: Path) -> int:
    """Kill one and the same update, each time a moment later."""
    book, whole = _worked(first, later, place)
    for moment in itertools.count(1):
        if not killed(book, later, moment):
            assert all_texts(book) == all_texts(whole)
            return moment - 1
        assert lost(book) == []


def at_random_times(first: Path, later: Path, place: Path, times: int) -> int:
    """Kill updates from outside; how many of them were half done then."""
    book, whole = _worked(first, later, place)
    clock, hits = random.Random(0), 0
    start = time.perf_counter()
    update(shutil.copytree(book, place / "timed"), later)
    duration = time.perf_counter() - start
    for number in range(times):
        folder = shutil.copytree(book, place / f"random-{number}")
        here, there = FORKS.Pipe()
        process = FORKS.Process(target=_update_when_told, args=(folder, later, there))
        process.start()
        there.close()  # a process that fails ends the wait
        here.recv()
        time.sleep(clock.uniform(0, duration))
        process.kill()
        process.join()
        begun = contents(folder) != contents(book)
        hits += begun and all_texts(folder) != all_texts(whole)
        _nothing_is_lost_and_the_next_finishes(folder, later, whole)
        shutil.rmtree(folder)
    return hits


def at_every_full_disk(first: Path, later: Path, place: Path) -> int:
    """Let the disk be full at the first write, at the second, and so on."""
    book, whole = _worked(first, later, place)
    for writes in itertools.count():
        folder = shutil.copytree(book, place / f"full-{writes}")
        left = iter([True] * writes)
        fsync = os.fsync

        def full(handle, left=left, fsync=fsync):
            if stat.S_ISREG(os.fstat(handle).st_mode) and not next(left, False):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fsync(handle)

        with mock.patch.object(os, "fsync", full):
            problem = refusal(folder, later)
        if problem is None:
            assert lost(folder) == []
            return writes
        assert "cannot be written: No space left on device." in problem
        _nothing_is_lost_and_the_next_finishes(folder, later, whole)


def at_files_that_may_not_grow(
    first: Path, later: Path, place: Path, sizes: tuple[int, ...] = (0, 100, 1000)
) -> int:
    """Let the system refuse every file beyond a size, as a quota does."""
    book, whole = _worked(first, later, place)
    for size in sizes:
        folder = shutil.copytree(book, place / f"small-{size}")
        here, there = FORKS.Pipe()
        process = FORKS.Process(
            target=_update_on_a_small_disk, args=(folder, later, size, there)
        )
        process.start()
        there.close()
        assert "cannot be written: File too large." in here.recv()
        process.join()
        _nothing_is_lost_and_the_next_finishes(folder, later, whole)
    return len(sizes)


def refusal(folder: Path, root: Path) -> str | None:
    """Why an update stops, or None."""
    try:
        update(folder, root)
    except WorkbookError as problem:
        return str(problem)
    return None


def killed(folder: Path, root: Path, moment: int) -> bool:
    """Run an update that dies at a moment; whether it died."""
    process = FORKS.Process(target=_update_and_die, args=(folder, root, moment))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def _worked(first: Path, later: Path, place: Path) -> tuple[Path, Path]:
    """A workbook in which the reader has worked, and the same one updated."""
    book, whole = place / "workbook", place / "whole"
    update(book, first)
    work(book)
    update(shutil.copytree(book, whole), later)
    return book, whole


def _nothing_is_lost_and_the_next_finishes(
    folder: Path, later: Path, whole: Path
) -> None:
    assert lost(folder) == []
    update(folder, later)
    assert lost(folder) == []
    assert all_texts(folder) == all_texts(whole)
    assert update(folder, later) == []


def _update_and_die(folder: Path, root: Path, moment: int) -> None:
    """Update, but kill this process at the given moment of its writing.

    Each file has four: its temporary file is there, half of its data is there, all of
    it is there, and it has its name.
    """
    passing = itertools.count(1)

    def perhaps_die(*_):
        if next(passing) == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    fdopen, replace = os.fdopen, os.replace

    def open_and_write_in_halves(handle, mode):
        perhaps_die()
        file = fdopen(handle, mode, buffering=0)
        wrapped = mock.MagicMock(wraps=file)
        wrapped.__enter__.return_value, wrapped.__exit__.return_value = wrapped, False
        wrapped.write.side_effect = lambda data: (
            file.write(data[: len(data) // 2]),
            perhaps_die(),
            file.write(data[len(data) // 2 :]),
        )
        return wrapped

    def replace_and_perhaps_die(*paths):
        perhaps_die()
        replace(*paths)
        perhaps_die()

    os.fdopen, os.replace = open_and_write_in_halves, replace_and_perhaps_die
    workbook.update(folder, root, say=lambda line: None)


def _update_when_told(folder, root, told):
    told.send("ready")
    workbook.update(folder, root, say=lambda line: None)


def _update_on_a_small_disk(folder, root, size, said):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        workbook.update(folder, root, say=lambda line: None)
        said.send("done")
    except WorkbookError as error:
        said.send(str(error))
