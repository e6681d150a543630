"""The quizzes as they are written: one right option each, named by the answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from course.notebooks import ROOT, chapters, read

ANSWER = re.compile(
    r"^:::\{dropdown\} Answer (?P<number>\d+)\n(?P<text>.*?)^:::$", re.M | re.S
)
OPTION = re.compile(r"^- \*\*([a-z])\.\*\* (.+(?:\n  .+)*)", re.M)

CHAPTERS = chapters()
SESSIONS = sorted((ROOT / "chapters").rglob("session.md"))


def text_of(path: Path) -> str:
    if path.suffix == ".md":
        return path.read_text("utf-8")
    cells = [c.source for c in read(path).cells if c.cell_type == "markdown"]
    return "\n\n".join(cells)


def questions(text: str) -> Iterator[tuple[str, list[tuple[str, str]], str]]:
    """Number, options and explanation of each question, in order.

    A question is what stands between the last answer, or heading, and its own answer.
    """
    start = 0
    for answer in ANSWER.finditer(text):
        asked = text[start : answer.start()]
        asked = re.split(r"^#+ ", asked, flags=re.M)[-1]
        assert re.search(rf"^\*\*{answer['number']}\.\*\* \S", asked, re.M), asked
        yield answer["number"], OPTION.findall(asked), answer["text"]
        start = answer.end()


def name(path: Path) -> str:
    return path.relative_to(ROOT / "chapters").as_posix()


@pytest.mark.parametrize("path", CHAPTERS + SESSIONS, ids=name)
def test_each_question_has_one_right_option_and_the_answer_begins_with_it(path):
    found = list(questions(text_of(path)))
    assert [number for number, _, _ in found] == [
        str(n) for n in range(1, len(found) + 1)
    ]
    for number, options, explanation in found:
        letters = [letter for letter, _ in options]
        assert letters == list("abcdefgh"[: len(letters)]), f"question {number}"
        assert len(letters) in (3, 4), f"question {number}"
        assert len({words for _, words in options}) == len(options)
        right = re.match(r"\*\*([a-z])\.\*\* \S", explanation)
        assert right, f"answer {number} does not begin with its letter"
        assert right[1] in letters, f"answer {number}"


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_a_chapter_ends_with_a_quiz_whose_letters_give_nothing_away(path):
    text = text_of(path)
    rights = [explanation.strip()[2] for _, _, explanation in questions(text)]
    asked = re.findall(r"^\*\*\d+\.\*\* ", text.split("\n## Quiz\n")[1], re.M)
    assert len(rights) == len(asked) >= 4
    assert len(set(rights)) >= 3
    assert max(map(rights.count, rights)) <= len(rights) / 2


@pytest.mark.parametrize("path", CHAPTERS + SESSIONS, ids=name)
def test_an_explanation_speaks_of_options_that_are_there(path):
    for number, options, explanation in questions(text_of(path)):
        named = set(re.findall(r"[Oo]ptions? ([a-z])\b", explanation))
        named |= set(re.findall(r"\boptions [a-z] and ([a-z])\b", explanation))
        assert named <= {letter for letter, _ in options}, f"answer {number}"
