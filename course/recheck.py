"""Checks a kept answer again: the course, or the file, may have changed since."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import mine
from course import answers, checked
from course.case import Exercise
from course.checks import chapters, of_chapter
from course.exercise import solution
from course.judge import judge
from course.timelimit import TimeIsUp, time_limit

SECONDS_TO_LOAD = 10.0


@dataclass(frozen=True)
class Outcome:
    """What became of one exercise."""

    chapter: str
    exercise: Exercise
    state: str
    passed: bool = False
    problem: str = ""

    @property
    def kept(self) -> bool:
        """Whether there is an answer at all."""
        return self.state != "to do"


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
        with time_limit(SECONDS_TO_LOAD):
            answer = mine.load(chapter, exercise.name, kept.source, given)
    except TimeIsUp:
        problem = f"it was stopped after {SECONDS_TO_LOAD:g} seconds (in {kept.path})"
        return Outcome(chapter, exercise, "does not load", problem=problem)
    except (Exception, SystemExit) as error:
        problem = f"{type(error).__name__}: {error} (in {kept.path})"
        return Outcome(chapter, exercise, "does not load", problem=problem)
    finding = judge(exercise, answer)
    if finding is not None:
        problem = f"in the case “{finding.case}”: {finding.complaint} (in {kept.path})"
        return Outcome(chapter, exercise, "no longer passes", problem=problem)
    when = f" {kept.passed:%Y-%m-%d}" if kept.passed else ""
    return Outcome(chapter, exercise, f"passed{when}", passed=True)


def after_an_update(say: Callable[[str], None] = print) -> None:
    """Check the kept answers again to every chapter whose checks have changed.

    Says one line for each answer that no longer passes: it stays, and does not count
    until it passes. If all pass, one line says so; where it is not known what the
    answers were checked with, as in an older workbook, nothing does.
    """
    changed: list[Outcome] = []
    failed = False
    for chapter, exercises in chapters().items():
        before = checked.last(chapter)
        if before == checked.digest(chapter):
            continue
        outcomes = [recheck(chapter, exercise) for exercise in exercises]
        kept = [outcome for outcome in outcomes if outcome.kept]
        if before is not None:
            changed += kept
        for outcome in kept:
            if not outcome.passed:
                failed = True
                say(_no_longer(outcome))
        try:
            remember(chapter, kept)
        except OSError as error:
            say(
                "What was checked cannot be noted in the workbook "
                f"({error.strerror}); it is checked again the next time."
            )
            return
    if changed and not failed:
        say(_all_still_pass(changed))


def remember(chapter: str, outcomes: Iterable[Outcome]) -> None:
    """Note what became of the kept answers to a chapter.

    Raises:
        OSError: if the folder cannot be written.
    """
    checked.record(chapter, [(o.exercise.name, o.passed) for o in outcomes])


def remember_all(outcomes: Iterable[Outcome]) -> None:
    """Note what became of all kept answers, as far as the folder can be written."""
    by_chapter: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.kept:
            by_chapter.setdefault(outcome.chapter, []).append(outcome)
    with suppress(OSError):
        for chapter, kept in by_chapter.items():
            remember(chapter, kept)


def _no_longer(outcome: Outcome) -> str:
    problem = " ".join(outcome.problem.split())
    return (
        f"{outcome.exercise.name} {outcome.state}: {problem}. "
        "Your answer stays there as it is, and counts again when it passes."
    )


def _all_still_pass(outcomes: list[Outcome]) -> str:
    names = list(dict.fromkeys(o.chapter.replace("_", "-") for o in outcomes))
    return (
        f"The checks of {' and '.join(names)} have changed: all your answers there "
        f"still pass ({len(outcomes)})."
    )
