"""The exercise protocol: run the check, show the verdict, choose which code goes on.

    from course.exercise import begin, exercise

    begin("tokens")          # the first cell of a chapter

    @exercise
    def merge(ids, pair, new_id):
        ...                  # your turn

Running the cell is the check. The name is then bound to the reader's code if it passed,
and otherwise to the answer that passed before or, if there is none, to the validated
solution: the notebook always goes on.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import mine
from course import answers, checked
from course.checks import find, of_chapter
from course.judge import Finding, judge
from course.progress import note_try
from course.progress_card import Card, card
from course.source import CannotStandAlone, is_empty, left_open, source_of, standalone
from course.verdict import Verdict

Answer = TypeVar("Answer", bound=Callable)

verdicts: dict[str, Verdict] = {}
"""The latest verdict on each exercise of this session."""

opened: str | None = None
"""The chapter that `begin` has opened."""

hints_given: dict[str, int] = {}
"""How many hints to each exercise this session has shown."""

# The card that `begin` has shown, and the exercises of its chapter that have no answer
# which could be loaded.
_card_handle: Any = None
_unusable: set[str] = set()


def exercise(answer: Answer) -> Answer:
    """Check an answer, show the verdict, and return the code that goes on.

    Raises:
        UnknownExercise: if no exercise has the name of the answer.
    """
    chapter, spec = find(answer.__name__)
    try:
        source = source_of(answer)
    except OSError:
        source = None
    stand_in, own = mine.part(chapter, spec.name)
    if source is not None and is_empty(source):
        verdict = Verdict(spec, "not started", note=_stand_in(spec.name, own))
    else:
        finding = judge(spec, answer)
        if finding is None:
            verdict = Verdict(spec, "passed", note=_keep(chapter, answer, source))
        else:
            finding = _with_open_line(finding, source)
            verdict = Verdict(spec, "not yet", finding, _stand_in(spec.name, own))
    verdicts[spec.name] = verdict
    if verdict.status != "not started":
        note_try(spec.name, verdict.status == "passed")
    _show(verdict)
    _grow_card(verdict)
    return answer if verdict.status == "passed" else stand_in


def begin(chapter: str) -> None:
    """Open a chapter: show how far the reader is, and give every exercise a fallback.

    In a notebook that is a card, which grows when an exercise passes. Also binds
    `hint`, which the verdicts mention.

    A cell with a syntax error never reaches `@exercise`; because its name is bound here
    already, the cells after it still run.

    Raises:
        UnknownExercise: if there is no such chapter.
    """
    global opened, _card_handle
    exercises = of_chapter(chapter)
    opened = chapter
    namespace = sys._getframe(1).f_globals
    _unusable.clear()
    for spec in exercises:
        part, own = mine.part(chapter, spec.name)
        namespace.setdefault(spec.name, part)
        if not own:
            _unusable.add(spec.name)
    namespace.setdefault("hint", hint)
    _card_handle = _show(card(chapter, _unusable))


def hint(name: str) -> None:
    """Print the next hint to an exercise; after the third it begins again.

    Raises:
        UnknownExercise: if there is no such exercise.
    """
    _, spec = find(name)
    number = hints_given.get(name, 0) % 3
    hints_given[name] = number + 1
    print(f"Hint {number + 1} of 3: {spec.hints[number]}")


def solution(chapter: str, name: str) -> Any:
    """The validated solution to an exercise."""
    return getattr(importlib.import_module(f"solutions.{chapter}"), name)


def _stand_in(name: str, own: bool) -> str:
    if own:
        return f"Your `{name}` that passed before goes on: nothing is lost."
    return f"Until yours passes, the course's own `{name}` stands in: read on."


def _with_open_line(finding: Finding, source: str | None) -> Finding:
    """If a `...` is left, that is more likely the cause than any other mistake."""
    line = left_open(source) if source is not None else None
    if line is None:
        return finding
    hint = f"There is still a `...` to fill in, in line {line} of your answer."
    return replace(finding, hint=hint)


def _keep(chapter: str, answer: Callable, source: str | None) -> str:
    """Keep a passing answer, and say so; or say why it could not be kept."""
    name = answer.__name__
    if source is None:
        return "It cannot be kept: its text was not found."
    others = [spec.name for spec in of_chapter(chapter) if spec.name != name]
    try:
        text = standalone(answer, source, others)
        given = {other: solution(chapter, other) for other in others}
        mine.load(chapter, name, text, given)
        path = answers.keep(chapter, name, text)
        checked.passes(name)
    except CannotStandAlone as reason:
        return f"It cannot be kept for later chapters: {reason}."
    except OSError as error:
        return f"It could not be kept in {answers.home()}: {error.strerror}."
    except Exception as error:
        return (
            f"It cannot be kept: on its own it ends in {type(error).__name__}: {error}"
        )
    return f"Kept for the later chapters and your own GPT as `{_short(path)}`."


def _short(path: Any) -> str:
    try:
        return str(path.relative_to(answers.home().parent))
    except ValueError:
        return str(path)


def _show(shown: Verdict | Card) -> Any:
    """Show a card; in a kernel it can be changed later, by what is returned."""
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        get_ipython = None
    shell = get_ipython() if get_ipython is not None else None
    if shell is None:
        print(shown)
        return None
    # A terminal would print the card once more for every change.
    return display(shown, display_id=True if hasattr(shell, "kernel") else None)


def _grow_card(verdict: Verdict) -> None:
    """Bring the card of the first cell up to date, where the page can still change."""
    if opened is None or _card_handle is None or verdict.status == "not started":
        return
    if verdict.status == "passed":
        _unusable.discard(verdict.exercise.name)
    _card_handle.update(card(opened, _unusable))
