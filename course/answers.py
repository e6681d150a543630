"""The reader's own folder: answers that passed, one readable file each.

An answer is kept as `answers/<chapter>/<exercise>.py` with a first line that says when
it passed. The folder is `workbook/` in the course, or `FIVE_SUNDAYS_HOME`. Nothing is
ever deleted: an answer that a newer one replaces moves to `answers/earlier/`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from course.checks import chapters
from course.files import write_atomically

HEADER = re.compile(r"# (?P<name>\w+): passed (?P<passed>\S+)\n")


@dataclass(frozen=True)
class Kept:
    """An answer in the reader's folder."""

    path: Path
    passed: datetime | None  # None if the first line was edited away
    source: str


def home() -> Path:
    """The reader's own folder."""
    own = os.environ.get("FIVE_SUNDAYS_HOME")
    return Path(own) if own else Path(__file__).parents[1] / "workbook"


def keep(chapter: str, name: str, source: str) -> Path:
    """Keep the text of a passing answer; what was there before moves to `earlier/`.

    Raises:
        OSError: if the folder cannot be written; nothing is lost then.
    """
    path = _path(chapter, name)
    before = find(chapter, name)
    if before is not None:
        if before.passed is not None and before.source == source:
            return path  # the same answer again keeps its date
        # Content is set aside before it is replaced, under a name made from its date.
        stamp = (before.passed or datetime.now(UTC)).strftime("%Y-%m-%dT%H%M%S")
        earlier = home() / "answers" / "earlier" / f"{name}.{stamp}.py"
        number = 1
        while earlier.exists():
            number += 1
            earlier = earlier.with_name(f"{name}.{stamp}-{number}.py")
        write_atomically(earlier, path.read_bytes())
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_atomically(path, f"# {name}: passed {now}\n{source}")
    return path


def find(chapter: str, name: str) -> Kept | None:
    """The kept answer to an exercise, or None.

    Raises:
        OSError: if the file is there but cannot be read.
    """
    path = _path(chapter, name)
    try:
        text = path.read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return None
    header = HEADER.match(text)
    if not header or header["name"] != name:
        return Kept(path, None, text)
    try:
        passed = datetime.fromisoformat(header["passed"])
    except ValueError:
        return Kept(path, None, text)
    return Kept(path, passed, text[header.end() :])


def passed(chapter: str) -> list[str]:
    """Names of the chapter's exercises that have a kept answer, in reading order."""
    return [
        exercise.name
        for exercise in chapters()[chapter]
        if _path(chapter, exercise.name).is_file()
    ]


def _path(chapter: str, name: str) -> Path:
    return home() / "answers" / chapter / f"{name}.py"
