"""What the kept answers were last checked with, and which of them no longer pass.

An update of the course may change a check. `.course/checked.json` in the reader's
folder says which version of each chapter's checks has last judged the kept answers, and
names those that failed it, each with a digest of its text: a newer answer is not meant.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from course import answers
from course.answers import Kept
from course.checks import CHAPTERS
from course.files import write_atomically

ROOT = Path(__file__).parents[1]

IMPORT = re.compile(r"^from (course[\w.]*) import (?:\(([^)]*)\)|(.*))$", re.MULTILINE)


@cache
def version() -> str:
    """8 hex digits of all exercises and their checks in this version of the course."""
    files = set().union(*map(_files_that_judge, CHAPTERS))
    return _digest_of(files)[:8]


@cache
def digest(chapter: str) -> str:
    """A digest of what decides whether an answer to the chapter passes.

    That is the chapter's checks, what they and the judge use of the course, and the
    solutions, which an answer may call in place of another exercise.
    """
    given = ROOT / "solutions" / f"{chapter}.py"
    return _digest_of({*_files_that_judge(chapter), given})


def last(chapter: str) -> str | None:
    """The digest of the checks that last judged the kept answers to a chapter."""
    return _read()["chapters"].get(chapter)


def failed() -> dict[str, str]:
    """The kept answers that no longer pass: exercise and digest of the answer."""
    return _read()["failed"]


def fails(name: str, kept: Kept, known: Mapping[str, str] | None = None) -> bool:
    """Whether a kept answer is one of those; `known` is `failed()` if at hand."""
    return (failed() if known is None else known).get(name) == _text_digest(kept)


def record(chapter: str, outcomes: Iterable[tuple[str, bool]]) -> None:
    """Note that a chapter was checked: kept answers by exercise, whether they passed.

    Raises:
        OSError: if the folder cannot be written.
    """
    known = _read()
    for name, passed in outcomes:
        known["failed"].pop(name, None)
        if passed:
            continue
        with suppress(OSError):  # what cannot be read does not count anyway
            if kept := answers.find(chapter, name):
                known["failed"][name] = _text_digest(kept)
    known["chapters"][chapter] = digest(chapter)
    _write(known)


def passes(name: str) -> None:
    """Note that the kept answer to an exercise passes, if it is said not to.

    Raises:
        OSError: if the folder cannot be written.
    """
    known = _read()
    if known["failed"].pop(name, None) is not None:
        _write(known)


def _read() -> dict[str, dict[str, str]]:
    """What is known; nothing if the file is broken: all is then checked once more."""
    content: Any = None
    with suppress(OSError, ValueError, RecursionError):
        content = json.loads(_path().read_bytes())
    if not isinstance(content, dict):
        content = {}
    return {
        part: {k: v for k, v in known.items() if isinstance(v, str)}
        if isinstance(known := content.get(part), dict)
        else {}
        for part in ("chapters", "failed")
    }


def _write(known: dict[str, dict[str, str]]) -> None:
    write_atomically(_path(), json.dumps(known, indent=1, sort_keys=True) + "\n")


def _path() -> Path:
    return answers.home() / ".course" / "checked.json"


def _text_digest(kept: Kept) -> str:
    return hashlib.sha256(kept.source.encode()).hexdigest()[:16]


def _files_that_judge(chapter: str) -> set[Path]:
    """A chapter's checks and the judge, with all that they import of the course."""
    found: set[Path] = set()
    todo = [ROOT / "course" / "checks" / f"{chapter}.py", ROOT / "course" / "judge.py"]
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            todo += _imported(path)
    return found


def _imported(path: Path) -> list[Path]:
    """The files of the course that a file imports from."""
    modules = []
    for module, *names in IMPORT.findall(path.read_text("utf-8")):
        modules += [
            module,
            *(f"{module}.{name}" for name in re.split(r"\W+", "".join(names))),
        ]
    files = [ROOT / f"{module.replace('.', '/')}.py" for module in modules]
    return [file for file in files if file.is_file()]


def _digest_of(files: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for file in sorted(files):
        total.update(f"{file.relative_to(ROOT)}\0".encode())
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()[:16]
