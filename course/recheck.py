"""Checks a kept answer again: the course, or the file, may have changed since."""

from __future__ import annotations

from dataclasses import dataclass

import mine
from course import answers
from course.case import Exercise
from course.checks import of_chapter
from course.exercise import solution
from course.judge import judge


@dataclass(frozen=True)
class Outcome:
    """What became of one exercise."""

    chapter: str
    exercise: Exercise
    state: str
    passed: bool = False
    problem: str = ""


def recheck(chapter: str, exercise: Exercise) -> Outcome:
    """Load the kept answer by itself and judge it. Never raises for a bad answer."""
    try:
        kept = answers.find(chapter, exercise.name)
    except OSError as error:
        problem = f"the kept answer cannot be read ({error.strerror})"
        return Outcome(chapter, exercise, "unreadable", problem=problem)
    if kept is None:
        return Outcome(chapter, exercise, "to do")
    others = [e.name for e in of_chapter(chapter) if e.name != exercise.name]
    given = {name: solution(chapter, name) for name in others}
    try:
        answer = mine.load(chapter, exercise.name, kept.source, given)
    except Exception as error:
        problem = f"{type(error).__name__}: {error} (in {kept.path})"
        return Outcome(chapter, exercise, "does not load", problem=problem)
    finding = judge(exercise, answer)
    if finding is not None:
        problem = f"in the case “{finding.case}”: {finding.complaint} (in {kept.path})"
        return Outcome(chapter, exercise, "no longer passes", problem=problem)
    when = f" {kept.passed:%Y-%m-%d}" if kept.passed else ""
    return Outcome(chapter, exercise, f"passed{when}", passed=True)
