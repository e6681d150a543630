"""What CONTRIBUTING.md begins with, made in a copy: an exercise, and a new chapter.

Each must pass the tests that hold for every exercise and every chapter.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from course.notebooks import ROOT
from templates import new_chapter

LEFT_OUT = shutil.ignore_patterns(
    ".*", "__pycache__", "*.egg-info", "workbook", "my-gpt", "vendor"
)
NAME, MODULE, EXERCISE = "running-mean", "running_mean", "mean_so_far"
NOTEBOOK = f"week2/{NAME}.ipynb"
QUIETLY = ("-q", "-p", "no:cacheprovider")


def copied(tmp_path_factory) -> Path:
    """A copy of the course."""
    copy = tmp_path_factory.mktemp("course") / "copy"
    return shutil.copytree(ROOT, copy, ignore=LEFT_OUT)


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Path:
    """A copy of the course with a chapter that was begun from the template, and run."""
    copy = copied(tmp_path_factory)
    run(copy, "templates.new_chapter", f"week2/{NAME}", EXERCISE)
    run(copy, "course.notebooks", "execute", f"chapters/{NOTEBOOK}")
    return copy


def run(course: Path, module: str, *arguments: str) -> str:
    """Run a module of the copy; what it printed. It must end well."""
    environment = os.environ | {"PYTHONPATH": str(course)}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=course,
        env=environment,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def passed(told: str) -> int:
    return int(re.search(r"(\d+) passed", told)[1])


def test_the_new_chapter_passes_the_tests_of_a_chapter(course):
    names = ["checks", MODULE, "notebooks", "quizzes", "imports", "executions", "weeks"]
    files = [f"tests/test_{name}.py" for name in names]
    chosen = f"{MODULE} or {NAME} or {EXERCISE} or is_in_the_week or is_a_chapter"
    chosen += " or two_right_and_four_wrong or unique_in_the_course"
    told = run(course, "pytest", *QUIETLY, "-k", chosen, *files)
    # 1 + 2 right + 4 wrong answers, 4 of the solution, 4 of all chapters; the rest are
    # the rules for notebooks.
    assert passed(told) > 15 + 10


def test_the_new_notebook_runs_as_committed_solved_and_spoiled(course):
    run(course, "course.notebooks", "solve", ".build/solved")
    run(course, "course.notebooks", "spoil", ".build/spoiled")
    options = (*QUIETLY, "--nbval", "--nbval-current-env")
    folders = ("chapters", ".build/solved", ".build/spoiled")
    told = run(course, "pytest", *options, *(f"{f}/{NOTEBOOK}" for f in folders))
    assert passed(told) == 3 * 5 + 2 * 2  # five cells; two more where it was filled


def test_what_was_written_is_clean_and_has_no_gap_of_the_template(course):
    written = [
        course / "chapters" / NOTEBOOK,
        course / "course" / "checks" / f"{MODULE}.py",
        course / "solutions" / f"{MODULE}.py",
        course / "tests" / "answers" / f"{MODULE}.py",
        course / "tests" / f"test_{MODULE}.py",
    ]
    run(course, "ruff", "check", "--no-cache", *map(str, written))
    run(course, "ruff", "format", "--no-cache", "--check", *map(str, written))
    for path in written:
        text = path.read_text("utf-8")
        assert not re.search(r"chapter.name|part_name|Template chapter", text), path
    reference = (course / "chapters/reference/api.md").read_text("utf-8")
    assert f"automodule:: solutions.{MODULE}\n" in reference


@pytest.mark.parametrize(
    ("place", "exercise", "words"),
    [
        (f"week2/{NAME}", "another", "is there already"),
        ("week2/attention", "another", "is there already"),
        ("week7/other", "another", "there is no chapters/week7"),
        ("week2/Other_Name", "another", "is no place for a chapter"),
        ("other", "another", "is no place for a chapter"),
        ("week2/../other", "another", "is no place for a chapter"),
        ("week2/lambda", "another", "is a word of Python"),
        ("week2/other", "two words", "cannot be the name of a function"),
        ("week2/other", "class", "cannot be the name of a function"),
        ("week2/other", "softmax", "attention.py has an exercise 'softmax'"),
    ],
)
def test_what_cannot_be_a_chapter_is_refused_and_nothing_written(
    course, place, exercise, words
):
    before = {path: path.stat().st_mtime_ns for path in course.rglob("*.*")}
    with pytest.raises(new_chapter.Refused, match=re.escape(words)) as caught:
        new_chapter.begin(place, exercise, course)
    assert "\n" not in str(caught.value)
    assert before == {path: path.stat().st_mtime_ns for path in course.rglob("*.*")}


# ---- the exercise of CONTRIBUTING.md, step by step ----------------------------------

WEEK1 = "chapters/week1/language-models.ipynb"


def blocks() -> list[str]:
    """What the walk of CONTRIBUTING.md gives to be typed, in its order."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    walk = text.split("\n## A new exercise, step by step\n")[1].split("\n## ")[0]
    return re.findall(r"^```\w+\n(.*?)\n```$", walk, re.M | re.S)


def append(path: Path, text: str) -> None:
    path.write_text(f"{path.read_text('utf-8')}\n\n{text}\n", "utf-8")


@pytest.fixture(scope="module")
def walked(tmp_path_factory) -> Path:
    """A copy in which someone has typed what the text gives, where it says."""
    copy = copied(tmp_path_factory)
    solution, cases, entry, answers, tested, *cells = blocks()
    append(copy / "solutions/language_models.py", solution)
    checks = copy / "course/checks/language_models.py"
    before, exercises = checks.read_text("utf-8").split("EXERCISES = (\n")
    assert exercises.endswith("\n)\n")
    exercises = f"{exercises[:-2]}{entry}\n)\n"
    checks.write_text(f"{before}{cases}\n\n\nEXERCISES = (\n{exercises}", "utf-8")
    append(copy / "tests/answers/language_models.py", answers)
    tests = copy / "tests/test_language_models.py"
    append(tests, tested)
    text = tests.read_text("utf-8")
    name = "    generate,\n"
    tests.write_text(text.replace(name, f"{name}    likeliest_next,\n", 1), "utf-8")
    _insert(copy / WEEK1, cells)
    run(copy, "course.notebooks", "execute", WEEK1)
    return copy


def _insert(path: Path, cells: list[str]) -> None:
    """The cells, of prose and code as the text says, behind the last solution."""
    notebook = nbformat.read(path, as_version=4)
    sources = [cell.source for cell in notebook.cells]
    (place,) = (n for n, s in enumerate(sources) if ":pyobject: bits_per_char" in s)
    prose, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    kinds = (prose, code, prose, code, prose)
    made = [kind(cell) for kind, cell in zip(kinds, cells, strict=True)]
    notebook.cells[place + 1 : place + 1] = made
    nbformat.write(notebook, path)


def test_the_exercise_of_the_text_passes_its_tests(walked):
    checks = ("tests/test_checks.py", "-k", "likeliest_next")
    assert passed(run(walked, "pytest", *QUIETLY, *checks)) == 7  # as the text says
    solution, tests = "solutions/language_models.py", "tests/test_language_models.py"
    files = [f"tests/test_{name}.py" for name in ("notebooks", "quizzes", "executions")]
    chosen = "language-models or language_models or likeliest_next"
    options = (*QUIETLY, "--doctest-modules", "-k", chosen)
    assert passed(run(walked, "pytest", *options, solution, tests, *files)) > 60
    code = (solution, tests, "course/checks", "tests/answers", WEEK1)
    run(walked, "ruff", "check", "--no-cache", *code)
    run(walked, "ruff", "format", "--no-cache", "--check", *code)


def test_the_notebook_of_the_text_shows_what_the_text_says(walked):
    cells = nbformat.read(walked / WEEK1, as_version=4).cells
    (use,) = (cell for cell in cells if cell.source.startswith("likeliest = "))
    assert use.outputs[0].text.endswith(" 'uhe'\n")  # after q, t and h


def test_every_file_that_the_text_names_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    text = text.split("\n## A new chapter")[0] + text.split("\n## A figure")[1]
    made = ("course/records/executions_gpu.json",)  # by a run on a GPU
    named = re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.\w+)`", text)
    named = [n for n in named if not re.search(r"NAME|weekN|^locale/|^\.build/", n)]
    assert len(named) > 15
    assert not [n for n in named if n not in made and not (ROOT / n).exists()]
