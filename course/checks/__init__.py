"""What an answer must satisfy: one file per chapter, in the order of the course.

`chapters()` maps each chapter to its exercises in reading order; `find` looks one up by
name. The checks know oracles and paper arithmetic, never the course's own solutions.
"""

from __future__ import annotations

import difflib
import importlib
from functools import cache

from course.case import Exercise

CHAPTERS = (
    "language_models",
    "tokens",
    "attention",
    "causal_masking",
    "multi_head",
    "normalization",
    "gpt_block",
    "pretraining",
    "local_deployment",
    "instruction_tuning",
)
"""Chapters in the order of the course, by the name of their module."""


class UnknownExercise(LookupError):  # noqa: N818  (reads better in a traceback)
    """There is no exercise or chapter of this name."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: one line says it all, and no line of ours helps."""
        return [str(self)]


@cache
def chapters() -> dict[str, tuple[Exercise, ...]]:
    """Every chapter with its exercises, in reading order."""
    return {
        chapter: importlib.import_module(f"course.checks.{chapter}").EXERCISES
        for chapter in CHAPTERS
    }


def find(name: str) -> tuple[str, Exercise]:
    """The chapter of an exercise, and the exercise.

    Raises:
        UnknownExercise: if no exercise has this name; says which one may be meant.
    """
    known = {
        exercise.name: (chapter, exercise)
        for chapter, exercises in chapters().items()
        for exercise in exercises
    }
    if name not in known:
        raise UnknownExercise(
            f"no exercise is called `{name}`{_meant(name, list(known))} "
            "Keep the name that stands in the chapter."
        )
    return known[name]


def of_chapter(chapter: str) -> tuple[Exercise, ...]:
    """The exercises of one chapter.

    Raises:
        UnknownExercise: if there is no such chapter.
    """
    if chapter not in CHAPTERS:
        raise UnknownExercise(
            f"no chapter is called {chapter!r}{_meant(chapter, list(CHAPTERS))} "
            f"The chapters are {', '.join(CHAPTERS)}."
        )
    return chapters()[chapter]


def _meant(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean `{near[0]}`?" if near else "."
