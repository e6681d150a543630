"""An update of the course that changes checks: the kept answers are checked again."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from course import answers, checked, cli, progress, recheck
from course.checks import chapters
from course.notebooks import solved

CHAPTER = "language_models"
GOOD, BAD, ODD = (exercise.name for exercise in chapters()[CHAPTER][:3])


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("FIVE_SUNDAYS_HOME", str(tmp_path))
    return tmp_path


def right(name: str) -> str:
    return solved(name).replace("@exercise\n", "")


def keep(name: str, text: str | None = None) -> None:
    answers.keep(CHAPTER, name, right(name) if text is None else text)


def said() -> list[str]:
    lines: list[str] = []
    recheck.after_an_update(lines.append)
    return lines


def passed() -> list[str]:
    return [part.exercise.name for part in progress.parts() if part.passed]


@pytest.fixture
def older(home):
    """The answers are kept, and were last checked with an older version."""
    keep(GOOD)
    recheck.after_an_update(lambda line: None)
    path = home / ".course" / "checked.json"

    def make(*names: str) -> None:
        known = json.loads(path.read_text())
        known["chapters"] |= dict.fromkeys(names, "an older one")
        path.write_text(json.dumps(known))

    make(CHAPTER)
    return make


def test_an_answer_that_no_longer_passes_is_one_line_stays_and_does_not_count(older):
    keep(BAD, f"def {BAD}(*args): return None\n")
    path = answers.find(CHAPTER, BAD).path
    before = path.read_bytes()
    (line,) = said()
    assert line.startswith(f"{BAD} no longer passes: in the case “")
    assert str(path) in line
    assert "Your answer stays there as it is" in line
    assert path.read_bytes() == before
    assert passed() == [GOOD]
    assert said() == []  # it was said
    assert passed() == [GOOD]
    keep(BAD)
    assert passed() == [GOOD, BAD]


def test_when_all_still_pass_one_line_says_so_for_all_chapters(older):
    answers.keep("tokens", "merge", right("merge"))
    older("tokens", "attention")
    assert said() == [
        "The checks of language-models and tokens have changed: all your answers "
        "there still pass (2)."
    ]
    assert passed() == [GOOD, "merge"]
    assert said() == []


def test_only_chapters_whose_checks_have_changed_are_checked(older):
    answers.keep("tokens", "merge", "def merge(): return None\n")
    assert len(said()) == 1
    assert passed() == [GOOD, "merge"]


def test_an_answer_that_passes_a_newer_check_again_counts_again(older):
    checked.record(CHAPTER, [(GOOD, False)])
    older(CHAPTER)
    assert passed() == []
    said()
    assert passed() == [GOOD]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("syntax error", "does not load: SyntaxError"),
        ("import sys\nsys.exit(3)", "does not load: SystemExit"),
        ("while True:\n    pass", "does not load: it was stopped after 0.2 seconds"),
        ("def other(): ...", "does not load: NameError"),
    ],
    ids=["syntax", "exit", "endless", "another name"],
)
def test_an_answer_that_does_not_load_ends_nothing(older, monkeypatch, text, why):
    monkeypatch.setattr(recheck, "SECONDS_TO_LOAD", 0.2)
    keep(BAD, text)
    keep(ODD, f"def {ODD}(*args): return None\n")
    first, second = said()
    assert first.startswith(f"{BAD} {why}")
    assert second.startswith(f"{ODD} no longer passes")
    assert passed() == [GOOD]


def test_an_answer_that_cannot_be_read_is_one_line(older, home):
    (home / "answers" / CHAPTER / f"{BAD}.py").mkdir()
    (line,) = said()
    assert line.startswith(f"{BAD} unreadable: the kept answer cannot be read (Is a")
    assert passed() == [GOOD]
    assert said() == []


@pytest.mark.parametrize(
    "record", [None, "", "[1]", '{"chapters": 3}', '{"chapters": {"tokens": 5}}']
)
def test_without_a_record_that_can_be_read_all_is_checked_once_and_quietly(
    home, record
):
    keep(GOOD)
    if record is not None:
        (home / ".course").mkdir()
        (home / ".course" / "checked.json").write_text(record)
    assert said() == []
    assert passed() == [GOOD]
    (home / ".course" / "checked.json").unlink()
    keep(BAD, f"def {BAD}(*args): return None\n")
    assert len(said()) == 1
    assert passed() == [GOOD]


def test_a_record_that_cannot_be_written_is_one_line(older, home, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checked, "write_atomically", full)
    (line,) = said()
    assert "cannot be noted in the workbook (No space left on device)" in line


def test_check_remembers_what_became_of_the_answers(home):
    keep(GOOD)
    keep(BAD, f"def {BAD}(*args): return None\n")
    assert CliRunner().invoke(cli.app, ["check"]).exit_code == 1
    assert passed() == [GOOD]
    assert checked.last(CHAPTER) == checked.digest(CHAPTER)
    assert checked.last("tokens") is None
