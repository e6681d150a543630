"""Writes a file so that a crash at any moment leaves the old one or the new one."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

UNFINISHED = ".unfinished-"
"""How the name of a file begins that is not yet written to its end."""

HOUR = 3600


def write_atomically(path: Path, data: str | bytes) -> None:
    """Write under a temporary name in the same folder, flush to disk, then rename.

    A link stays a link: the file that it leads to is written. A file that was there
    keeps its permissions.

    Raises:
        OSError: if the folder cannot be written or the disk is full; `path` then still
            holds what it held before.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=UNFINISHED, dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(_mode(path))
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_names(path.parent)


def remove_unfinished(folder: Path) -> None:
    """Remove what writes that were killed have left in the folder and below it.

    What is younger than an hour stays: another program may still be writing it.
    """
    for path in list(folder.rglob(f"{UNFINISHED}*")):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > HOUR:
                path.unlink()


def _mode(path: Path) -> int:
    """The permissions of the file; of a new one, those that any other would get."""
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _flush_names(folder: Path) -> None:
    """Make a rename outlast a power cut, too. Not every file system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
