"""The course as the reader built it: kept answers in the places of the reference."""

from __future__ import annotations

import importlib
import sys

import pytest
import torch

import mine
from course import answers, checked
from course.checks import chapters
from course.exercise import solution
from course.recheck import recheck

CHAPTER = "language_models"
NAME = "bigram_probabilities"
MARKED = """\
import torch

def bigram_probabilities(counts, alpha=0.0):
    bigram_probabilities.calls += 1
    table = counts.double() + alpha
    return (table / table.sum(dim=-1, keepdim=True)).float()

bigram_probabilities.calls = 0
"""


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """An empty folder of a reader; `mine.*` is imported anew on each call."""
    monkeypatch.setenv("FIVE_SUNDAYS_HOME", str(tmp_path))

    def load(chapter: str = CHAPTER):
        for name in [name for name in sys.modules if name.startswith("mine.")]:
            del sys.modules[name]
        return importlib.import_module(f"mine.{chapter}")

    yield load
    for name in [name for name in sys.modules if name.startswith("mine.")]:
        del sys.modules[name]


def test_without_answers_every_part_is_the_reference(fresh):
    module = fresh()
    assert not any(mine.parts(CHAPTER).values())
    counts = torch.tensor([[1, 2], [3, 5]])
    ours = solution(CHAPTER, NAME)(counts)
    assert torch.equal(module.bigram_probabilities(counts), ours)


def test_a_kept_answer_takes_its_place(fresh):
    answers.keep(CHAPTER, NAME, MARKED)
    module = fresh()
    assert [name for name, own in mine.parts(CHAPTER).items() if own] == [NAME]
    module.bigram_probabilities(torch.ones(2, 2))
    assert module.bigram_probabilities.calls == 1


def test_an_answer_that_no_longer_passes_is_not_used_until_it_does(fresh):
    answers.keep(CHAPTER, NAME, MARKED)
    checked.record(CHAPTER, [(NAME, False)])
    fresh()
    assert not any(mine.parts(CHAPTER).values())
    checked.passes(NAME)
    fresh()
    assert mine.parts(CHAPTER)[NAME]


def test_the_rest_of_the_chapter_calls_the_readers_part(fresh):
    always_one = """\
import torch

def sample_next(logits, temperature=1.0, generator=None):
    return torch.ones(len(logits), dtype=torch.long)
"""
    answers.keep(CHAPTER, "sample_next", always_one)
    module = fresh()
    model = module.BigramModel(torch.full((3, 3), 1 / 3))
    written = module.generate(model, torch.zeros(1, 1, dtype=torch.long), steps=4)
    assert written.tolist() == [[0, 1, 1, 1, 1]]


def test_an_answer_that_uses_another_uses_the_readers(fresh):
    answers.keep(CHAPTER, NAME, MARKED)
    calls_it = "def sample_next(counts):\n    return bigram_probabilities(counts)\n"
    answers.keep(CHAPTER, "sample_next", calls_it)
    module = fresh()
    module.sample_next(torch.ones(2, 2))
    assert module.bigram_probabilities.calls == 1


def test_a_later_chapter_takes_the_readers_parts_of_an_earlier_one(fresh):
    answers.keep(CHAPTER, NAME, MARKED)
    fresh()
    later = f"from solutions.{CHAPTER} import {NAME}\n# from solutions, in a comment\n"
    namespace: dict = {}
    exec(mine.earlier_parts(later), namespace)
    namespace[NAME](torch.ones(2, 2))
    assert namespace[NAME].calls == 1


def test_the_reference_itself_is_untouched(fresh):
    answers.keep(CHAPTER, NAME, MARKED)
    fresh()
    assert not hasattr(solution(CHAPTER, NAME), "calls")


@pytest.mark.parametrize(
    "text",
    ["def bigram_probabilities(:\n", "x = 1\n", "import no_such_module\n", "\x00"],
)
def test_a_broken_file_gives_one_line_and_the_reference(fresh, text):
    answers.keep(CHAPTER, NAME, text)
    with pytest.warns(UserWarning, match=r"could not be used.*stands in"):
        module = fresh()
    assert not any(mine.parts(CHAPTER).values())
    assert module.bigram_probabilities(torch.ones(2, 2)).shape == (2, 2)


class TestRecheck:
    spec = next(e for e in chapters()[CHAPTER] if e.name == NAME)

    def test_an_answer_that_is_not_there_is_to_do(self, fresh):
        assert recheck(CHAPTER, self.spec).state == "to do"

    def test_a_right_one_passes(self, fresh):
        answers.keep(CHAPTER, NAME, MARKED)
        assert recheck(CHAPTER, self.spec).passed

    def test_one_that_was_edited_no_longer_passes(self, fresh):
        answers.keep(CHAPTER, NAME, MARKED.replace("dim=-1", "dim=0"))
        outcome = recheck(CHAPTER, self.spec)
        assert (outcome.passed, outcome.state) == (False, "no longer passes")
        assert NAME in outcome.problem

    def test_a_broken_one_does_not_load(self, fresh):
        answers.keep(CHAPTER, NAME, "def broken(:")
        assert recheck(CHAPTER, self.spec).state == "does not load"

    def test_a_file_without_its_first_line_still_counts(self, fresh):
        path = answers.keep(CHAPTER, NAME, MARKED)
        path.write_text(MARKED)
        assert recheck(CHAPTER, self.spec).passed

    def test_a_file_that_is_no_text_is_not_lost(self, fresh):
        path = answers.keep(CHAPTER, NAME, MARKED)
        path.write_bytes(b"\xff\xfe\x00")
        assert recheck(CHAPTER, self.spec).state == "does not load"
        answers.keep(CHAPTER, NAME, MARKED)
        (earlier,) = (answers.home() / "answers" / "earlier").iterdir()
        assert earlier.read_bytes() == b"\xff\xfe\x00"
