"""Answers that readers might write: right ones, and plausible wrong ones.

One file per chapter. `@right` marks an answer that must pass; `@wrong` one that must
fail with words that contain `says`. An answer is self-contained but for the imports,
helpers and constants of its file.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from course.checks import CHAPTERS


@dataclass(frozen=True)
class Written:
    """An answer in the test collection."""

    exercise: str
    code: Callable
    says: str | None  # None: it is right

    @property
    def title(self) -> str:
        return f"{self.exercise}-{self.code.__name__}"


_written: list[Written] = []


def right(exercise: str) -> Callable:
    """Mark a differently written right answer to `exercise`."""
    return _marker(exercise, None)


def wrong(exercise: str, *, says: str) -> Callable:
    """Mark a plausible wrong answer; the verdict on it must contain `says`."""
    return _marker(exercise, says)


def _marker(exercise: str, says: str | None) -> Callable:
    def mark(code: Callable) -> Callable:
        _written.append(Written(exercise, code, says))
        return code

    return mark


@cache
def everything() -> tuple[Written, ...]:
    """All answers of all chapters, in the order of the course."""
    for chapter in CHAPTERS:
        importlib.import_module(f"tests.answers.{chapter}")
    return tuple(_written)
