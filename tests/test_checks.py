"""Every check accepts what is right, however written, and names what is wrong."""

from __future__ import annotations

import importlib
from collections import Counter

import pytest

from course.checks import chapters, find
from course.judge import judge
from tests.answers import Written, everything

EXERCISES = [
    (chapter, exercise)
    for chapter, exercises in chapters().items()
    for exercise in exercises
]
RIGHT = [answer for answer in everything() if answer.says is None]
WRONG = [answer for answer in everything() if answer.says is not None]


@pytest.mark.parametrize(
    ("chapter", "exercise"), EXERCISES, ids=lambda e: getattr(e, "name", e)
)
def test_the_reference_passes(chapter, exercise):
    solution = getattr(importlib.import_module(f"solutions.{chapter}"), exercise.name)
    assert judge(exercise, solution) is None


@pytest.mark.parametrize("answer", RIGHT, ids=lambda a: a.title)
def test_a_right_answer_passes(answer: Written):
    _, exercise = find(answer.exercise)
    assert judge(exercise, answer.code) is None


@pytest.mark.parametrize("answer", WRONG, ids=lambda a: a.title)
def test_a_wrong_answer_fails_with_the_hint_that_fits(answer: Written):
    _, exercise = find(answer.exercise)
    finding = judge(exercise, answer.code)
    assert finding is not None, "a wrong answer passed"
    said = f"{finding.complaint} {finding.hint or ''}"
    assert answer.says.lower() in said.lower()


def test_every_exercise_has_two_right_and_four_wrong_answers():
    right = Counter(answer.exercise for answer in RIGHT)
    wrong = Counter(answer.exercise for answer in WRONG)
    for _, exercise in EXERCISES:
        assert right[exercise.name] >= 2, f"{exercise.name}: add right answers"
        assert wrong[exercise.name] >= 4, f"{exercise.name}: add wrong answers"


def test_names_are_unique_in_the_course():
    names = Counter(exercise.name for _, exercise in EXERCISES)
    assert [name for name, count in names.items() if count > 1] == []
