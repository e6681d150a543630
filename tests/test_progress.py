"""How far the reader is, as the notebook, the terminal and the group see it."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime

import pytest
from typer.testing import CliRunner

from course import answers, checked, cli, member, progress, progress_command
from course.checks import CHAPTERS, chapters
from course.files import write_atomically
from course.notebooks import ROOT
from course.progress_card import card
from course.weeks import weeks

FIRST, SECOND = chapters()["tokens"][:2]
TOTAL = sum(map(len, chapters().values()))
PLAN = """\
days = [2026-12-06, 2026-12-13, 2026-12-20, 2026-12-27, 2027-01-03]
begins = "14:00"
minutes = 120
zone = "Asia/Seoul"
"""


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    folder = tmp_path / "home"
    monkeypatch.setenv("FIVE_SUNDAYS_HOME", str(folder))
    return folder


def keep(*names: str, at: str = "2026-11-28T10:00:00+00:00") -> None:
    """Answers that passed at a time. What they say is not judged here."""
    for chapter, exercises in chapters().items():
        for exercise in exercises:
            if exercise.name in names:
                path = answers.home() / "answers" / chapter / f"{exercise.name}.py"
                text = f"# {exercise.name}: passed {at}\ndef {exercise.name}(): ...\n"
                write_atomically(path, text)


def keep_all_of(*names: str) -> None:
    keep(*(e.name for chapter in names for e in chapters()[chapter]))


def tries(*lines: object) -> None:
    """`tries.jsonl` with these lines; what is no bytes is written as JSON."""
    text = b"".join(
        (line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n"
        for line in lines
    )
    write_atomically(answers.home() / "tries.jsonl", text)


def a_try(passed: bool, at: str = "2026-11-28T09:00:00+00:00") -> dict:
    return {"at": at, "exercise": FIRST.name, "passed": passed}


def the_part(name: str = FIRST.name) -> progress.Part:
    (found,) = (part for part in progress.parts() if part.exercise.name == name)
    return found


def run(*arguments: str):
    return CliRunner(env={"COLUMNS": "60"}).invoke(cli.app, ["progress", *arguments])


# What was done.


def test_every_exercise_of_the_course_is_there_in_reading_order():
    assert [(part.chapter, part.exercise) for part in progress.parts()] == [
        (chapter, exercise)
        for chapter, exercises in chapters().items()
        for exercise in exercises
    ]
    assert {part.state for part in progress.parts()} == {"to do"}


@pytest.mark.parametrize(
    ("runs", "counted"),
    [([], 1), ([False, False, True], 3), ([True, False, True], 1), ([False], 1)],
    ids=["before tries were noted", "third", "first, then more", "kept before"],
)
def test_tries_count_until_the_first_that_passed(runs, counted):
    keep(FIRST.name, at="2026-11-28T08:00:00+00:00")
    tries(*map(a_try, runs))
    part = the_part()
    assert (part.state, part.tries) == ("passed", counted)
    assert part.passed == datetime(2026, 11, 28, 8, tzinfo=UTC)


def test_tries_before_an_answer_that_another_machine_kept_count():
    keep(FIRST.name)
    earlier, later = "2026-11-27T10:00:00+00:00", "2026-11-29T10:00:00+00:00"
    tries(*(a_try(False, at) for at in (earlier, earlier, later)))
    assert the_part().tries == 2


def test_what_has_not_passed_shows_all_tries_so_far():
    progress.note_try(FIRST.name, False)
    progress.note_try(FIRST.name, False)
    part = the_part()
    assert (part.state, part.passed, part.tries) == ("tried", None, 2)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[1]",
        b"7",
        b"\xff\xfe",
        b"[" * 100_000,
        {"exercise": FIRST.name, "passed": True},
        a_try(True) | {"at": "yesterday"},
        a_try(True) | {"at": 7},
        a_try(True, "0001-01-01T00:00:00+09:00"),
        a_try(True) | {"passed": "yes"},
        a_try(True) | {"exercise": ["x"]},
    ],
    ids=lambda line: f"{line}"[:24],
)
def test_a_broken_line_says_nothing_and_spoils_no_other(line):
    tries(a_try(False), line, a_try(False) | {"new": 1})
    assert the_part().tries == 2


def test_a_line_that_was_cut_off_does_not_spoil_the_next(home):
    tries(a_try(False))
    with (home / "tries.jsonl").open("ab") as file:
        file.write(b'{"at": "2026-1')
    progress.note_try(FIRST.name, False)
    assert the_part().tries == 2


def test_tries_that_are_noted_side_by_side_all_count():
    progress.note_try(FIRST.name, False)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: progress.note_try(FIRST.name, False), range(200)))
    assert the_part().tries == 201


def test_a_try_that_cannot_be_noted_stops_nothing(home, monkeypatch):
    home.write_text("a file where the folder should be")
    progress.note_try(FIRST.name, True)
    assert home.read_text() == "a file where the folder should be"
    home.unlink()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    progress.note_try(FIRST.name, True)
    assert (home / "tries.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"def {FIRST.name}(): ...\n", "first line"),
        (f"# {FIRST.name}: passed lately\ndef f(): ...\n", "first line"),
        (f"# {FIRST.name}: passed 0001-01-01T00:00:00+09:00\n", "first line"),
        (f"# {SECOND.name}: passed 2026-11-28T10:00:00+00:00\n", "first line"),
        (f"# {FIRST.name}: passed 2026-11-28T10:00:00+00:00\ndef f(:\n", "Python"),
        (f"# {FIRST.name}: passed 2026-11-28T10:00:00+00:00\n\0", "Python"),
        (None, "cannot be read"),
    ],
    ids=["none", "no date", "year 0", "of another", "syntax", "null", "a folder"],
)
def test_a_damaged_answer_does_not_count_and_says_why(home, text, why):
    path = home / "answers" / "tokens" / f"{FIRST.name}.py"
    if text is None:
        path.mkdir(parents=True)
    else:
        write_atomically(path, text)
    part = the_part()
    assert (part.state, part.passed) == ("tried", None)
    assert why in part.problem
    shown = " ".join(run().output.split())
    assert f"Your answer to {FIRST.name} is kept, and does not count" in shown
    assert f"You have passed 0 of {TOTAL}" in shown


def test_a_time_without_its_zone_is_meant_in_utc(monkeypatch):
    keep(FIRST.name, at="2026-11-28T10:00:00")
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "Asia/Seoul")
        time.tzset()
        assert the_part().passed == datetime(2026, 11, 28, 10, tzinfo=UTC)
    time.tzset()


def test_an_answer_that_no_longer_passes_does_not_count_until_a_newer_one():
    keep(FIRST.name)
    checked.record("tokens", [(FIRST.name, False)])
    assert the_part().passed is None
    assert "no longer passes" in the_part().problem
    answers.keep("tokens", FIRST.name, "def newer(): ...\n")
    assert the_part().state == "passed"


# What comes next.


def test_without_a_plan_it_is_the_first_week_that_is_not_done():
    assert progress.this_week().number == 1
    keep_all_of("language_models", "tokens")
    assert progress.this_week().number == 2
    keep_all_of(*CHAPTERS[:-1])  # the last is a bonus
    assert progress.this_week().number == 5
    assert progress.next_part(progress.parts(), progress.this_week()).chapter == (
        "instruction_tuning"
    )


def test_a_bonus_of_an_earlier_week_does_not_hold_the_group_back(monkeypatch):
    first, second, *others = weeks()
    moved = type(first)(1, first.title, first.chapters[:1], first.chapters[1:], "")
    monkeypatch.setattr(progress, "weeks", lambda: (moved, second, *others))
    keep_all_of("language_models")
    assert progress.this_week().number == 2


@pytest.mark.parametrize(
    ("utc", "number"),
    [
        ("2026-11-01T00:00", 1),
        ("2026-12-06T06:59", 1),  # 15:59 in Seoul, nine hours ahead: still meeting
        ("2026-12-06T07:01", 2),
        ("2027-06-01T00:00", 1),  # all are over: the first with something to do
    ],
)
def test_with_a_plan_it_is_the_next_sunday_or_the_one_in_progress(home, utc, number):
    write_atomically(home / "plan.toml", PLAN)
    now = datetime.fromisoformat(f"{utc}:00+00:00")
    assert progress.this_week(now).number == number


def minutes(*names: str) -> int:
    return sum(e.minutes for name in names for e in chapters()[name])


def test_the_two_lines_say_what_the_sunday_needs_and_how_far_you_are():
    assert progress.two_lines().splitlines() == [
        "Sunday 1 needs language-models and tokens: about "
        f"{minutes('language_models', 'tokens')} minutes of exercises to go.",
        f"You have passed 0 of {TOTAL} exercises. Next: bigram_counts, in "
        "language-models, about 10 minutes.",
    ]
    keep_all_of("language_models")
    keep(FIRST.name)
    left = minutes("tokens") - FIRST.minutes
    needs, far = progress.two_lines().splitlines()
    assert needs == f"Sunday 1 needs tokens: about {left} minutes of exercises to go."
    assert far.startswith(f"You have passed 7 of {TOTAL} exercises. Next: merge, in")


def test_the_two_lines_have_the_date_of_the_plan_and_its_exercises_come_next(home):
    write_atomically(home / "plan.toml", PLAN.replace("2026-12-13", "2026-12-12"))
    now = datetime(2026, 12, 7, tzinfo=UTC)
    needs, far = progress.two_lines(now).splitlines()
    assert needs.startswith(
        "Sunday 2 (Saturday 12 December 2026, 14:00) needs attention and causal-masking"
    )
    assert "Next: softmax, in attention" in far
    keep_all_of("attention", "causal_masking")
    needs, far = progress.two_lines(now).splitlines()
    assert needs.endswith("needs nothing more: all 12 of its exercises are passed.")
    assert "Next: bigram_counts" in far


def test_when_all_is_done_the_two_lines_say_so():
    keep_all_of(*CHAPTERS)
    assert progress.two_lines().splitlines() == [
        "Sunday 5 needs nothing more: all 6 of its exercises are passed.",
        f"You have passed all {TOTAL} exercises of the course.",
    ]


def test_a_broken_plan_is_one_line_and_the_rest_goes_on_without_it(home):
    write_atomically(home / "plan.toml", PLAN.replace('"Asia/Seoul"', '"<b>"'))
    assert progress.two_lines().startswith("Sunday 1 needs")
    (line,) = progress.plan_problem().splitlines()
    assert "plan.toml cannot be read" in line
    assert line in repr(card("tokens")).splitlines()
    assert "<b>" not in card("tokens")._repr_html_()
    assert "plan.toml cannot be read" in " ".join(run().output.split())


# The card and the table.


def test_the_card_of_an_empty_workbook_depends_on_nothing_else():
    assert repr(card("gpt_block")).splitlines() == [
        "0 of 8 exercises passed.",
        f"Next: gelu. About {minutes('gpt_block')} minutes of exercises to go.",
        "For Sunday 4: 0 of 14 exercises passed, about "
        f"{minutes('gpt_block', 'pretraining')} minutes to go.",
    ]


def test_the_card_has_a_piece_for_each_exercise_of_the_week_and_says_it_in_words():
    keep(FIRST.name)
    progress.note_try(SECOND.name, False)
    html = card("tokens")._repr_html_()
    rows = re.findall(r"<li(.*?)><span>(.*?)</span>(.*?)<span>(\d of \d)</span>", html)
    assert [(row[1], row[3]) for row in rows] == [
        ("language-models", "0 of 6"),
        ("tokens", "1 of 7"),
    ]
    assert [bool(row[0]) for row in rows] == [False, True]
    pieces = re.findall('class="fs-(passed|tried|to-do)"', rows[1][2])
    assert pieces == ["passed", "tried", *["to-do"] * 5]
    assert 'aria-hidden="true"' in rows[1][2]


def test_the_card_says_where_the_group_is_if_that_is_another_sunday(home):
    far = PLAN.replace("2027-", "2099-").replace("2026-", "2098-")
    write_atomically(home / "plan.toml", far)
    first, second = repr(card("attention")).splitlines()[2:]
    assert first.startswith("For Sunday 2 (Saturday 13 December 2098, 14:00): 0 of 12")
    assert second.startswith("Your group is at Sunday 1 (Saturday 6 December 2098, 14")
    assert len(repr(card("tokens")).splitlines()) == 3


def test_an_answer_that_does_not_load_does_not_count_on_the_card():
    keep(FIRST.name)
    assert repr(card("tokens")).startswith("1 of 7")
    text = repr(card("tokens", {FIRST.name, SECOND.name}))
    assert text.startswith("0 of 7")
    assert text.count("does not load") == 1


def test_the_table_fits_60_columns_and_marks_this_sunday():
    keep_all_of("language_models")
    keep(FIRST.name)
    progress.note_try(SECOND.name, False)
    lines = run().output.splitlines()
    assert max(map(len, lines)) <= 60
    left = minutes("tokens") - FIRST.minutes
    rows = [line.split() for line in lines]
    assert ["▸", "1", "language-models", "●●●●●●", "6/6", "6", "0"] in rows
    assert ["tokens", "●◐○○○○○", "1/7", "2", str(left)] in rows
    assert ["instruction-tuning", "(bonus)", "○○○", "0/3", "0", "28"] in rows
    assert not any("…" in line for line in lines)
    assert sum("▸" in line for line in lines) == 2  # and in the legend


# What the group may see.


def test_what_is_shared_is_what_was_done_and_no_answer(home):
    keep(FIRST.name)
    progress.note_try(SECOND.name, False)
    result = run("--share")
    assert result.exit_code == 0, result.output
    assert "holds no answer, and no name" in " ".join(result.output.split())
    text = (home / "progress.toml").read_text()
    assert "def " not in text
    shared = member.read(home / "progress.toml")
    assert (shared.name, shared.course) == ("", progress.version())
    assert shared.passed == {FIRST.name: date(2026, 11, 28)}
    assert shared.tries == {FIRST.name: 1, SECOND.name: 1}
    assert shared.written.microsecond == 0
    assert abs((datetime.now(UTC) - shared.written).total_seconds()) < 3600


def test_in_a_folder_the_file_has_the_members_id_which_stays(home, tmp_path):
    run("--share", str(tmp_path))
    (path,) = tmp_path.glob("*.toml")
    own = tomllib.loads((home / "member.toml").read_text())["id"]
    assert path.name == f"{own}.toml"
    keep(FIRST.name)
    run(str(tmp_path), "--share")
    (path,) = tmp_path.glob("*.toml")
    assert FIRST.name in member.read(path).passed


def test_a_name_that_was_given_is_remembered_and_can_be_taken_back(home):
    assert "but your name: Ada Ü" in run("--share", "--name", " Ada\n\tÜ ").output
    assert member.read(home / "progress.toml").name == "Ada Ü"
    run("--share")
    assert member.read(home / "progress.toml").name == "Ada Ü"
    assert progress.name_is_known()
    run("--share", "--no-name")
    run("--share")
    assert member.read(home / "progress.toml").name == ""
    assert progress.name_is_known()


def test_without_a_terminal_nobody_is_asked_and_nothing_is_remembered(home):
    assert run("--share").exit_code == 0
    assert not progress.name_is_known()


def test_the_name_is_asked_for_once_at_a_terminal(home, monkeypatch):
    here, there = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "course.cli", "progress", "--share"],
        stdin=there,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    os.write(here, b"Grace\n")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "Your name on the board? Empty for none:" in output
    assert member.read(home / "progress.toml").name == "Grace"
    with os.fdopen(here), os.fdopen(there) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        monkeypatch.setattr("builtins.input", lambda _: pytest.fail("asked again"))
        progress_command.share(None, None)


def one_line(result) -> str:
    """What a command says that did nothing."""
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert "Traceback" not in line
    return line


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("id = ", "Invalid value"),
        ('name = "Ada"\n', "`id` is missing"),
        ('id = "12"\n', "8 hex digits"),
        ("id = 12345678\n", "8 hex digits"),
        ('id = "0a1b2c3d"\nname = 7\n', "must be a text"),
        ('id = "0a1b2c3d"\nname = "' + "x" * 99 + '"\n', "99 characters"),
        ("a = " + "[" * 5000, "nested too deeply"),
        (b"\xff", "codec"),
    ],
    ids=["toml", "no id", "short", "number", "name", "long", "deep", "bytes"],
)
def test_a_broken_member_file_is_one_line_and_stays(home, text, why):
    path = home / "member.toml"
    write_atomically(path, text)
    before = path.read_bytes()
    line = one_line(run("--share", "--name", "Ada"))
    assert "member.toml cannot be read" in line
    assert why in line
    assert path.read_bytes() == before
    assert not (home / "progress.toml").exists()


def test_a_file_that_may_not_be_ones_own_is_never_overwritten(home, tmp_path):
    notes, other = tmp_path / "notes.toml", tmp_path / "other.toml"
    notes.write_text("mine = 1\n")
    run("--share", str(other))
    other.write_text(other.read_text().replace('id = "', 'id = "00000000"#'))
    for path, why in ((notes, "may not be yours"), (other, "another member, 00000000")):
        before = path.read_bytes()
        assert why in one_line(run("--share", str(path)))
        assert path.read_bytes() == before
    own = tmp_path / "own.toml"
    assert run("--share", str(own)).exit_code == 0
    assert run("--share", str(own)).exit_code == 0


@pytest.mark.parametrize("name", ["gruop", "gruop/me.toml", "me.txt"])
def test_a_folder_that_is_not_there_is_not_made(tmp_path, name):
    assert "There is no folder" in one_line(run("--share", str(tmp_path / name)))
    assert not (tmp_path / name).exists()


def test_a_name_that_is_too_long_is_one_line():
    assert "81 characters" in one_line(run("--share", "--name", "x" * 81))


@pytest.mark.parametrize("arguments", [["."], ["--name", "Ada"], ["--no-name"]])
def test_what_goes_with_sharing_does_nothing_without_it(home, arguments):
    assert "go with --share" in one_line(run(*arguments))
    assert not home.exists()


def test_a_folder_that_cannot_be_written_is_one_line(home, monkeypatch, tmp_path):
    (tmp_path / "group").mkdir()
    run("--share", "--no-name")

    def denied(path, data):
        raise OSError(errno.EACCES, "Permission denied", "/somewhere/.unfinished-x")

    monkeypatch.setattr(progress, "write_atomically", denied)
    line = one_line(run("--share", str(tmp_path / "group")))
    assert re.search(r"group/[0-9a-f]{8}\.toml cannot be written: Permission", line)
    (home / "member.toml").unlink()
    assert "member.toml cannot be written: Permission" in one_line(run("--share"))


# Which version of the course.


def test_the_version_is_that_of_the_checks_and_of_what_decides(monkeypatch, tmp_path):
    for name in ("course", "solutions"):
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.setattr(checked, "ROOT", tmp_path)

    def digests() -> dict[str, str]:
        found = {name: checked.digest.__wrapped__(name) for name in CHAPTERS}
        return found | {"all": checked.version.__wrapped__()}

    def changed(file: str) -> set[str]:
        before = digests()
        with (tmp_path / file).open("a") as end:
            end.write("# changed\n")
        after = digests()
        return {name for name in after if after[name] != before[name]}

    assert digests() == {name: checked.digest(name) for name in CHAPTERS} | {
        "all": progress.version()
    }
    assert re.fullmatch("[0-9a-f]{8}", progress.version())
    assert changed("course/checks/tokens.py") == {"tokens", "all"}
    # Its settings of a GPT are what later checks use.
    assert {"gpt_block", "pretraining"} < changed("course/checks/gpt_block.py")
    assert changed("course/compare.py") == {*CHAPTERS, "all"}
    assert changed("solutions/tokens.py") == {"tokens"}
    assert changed("course/figures.py") == set()
