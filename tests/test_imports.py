"""Who may import whom: the rooms of the course stay apart."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from course.checks import CHAPTERS
from course.notebooks import ROOT, chapters, read

OUTSIDE = {"torch", "tiktoken", "regex"}


def imported(text: str) -> set[str]:
    """Full names of all modules that a text imports."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names.add(node.module)
    return names


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_solution_imports_torch_and_earlier_solutions_only(chapter):
    text = (ROOT / "solutions" / f"{chapter}.py").read_text("utf-8")
    earlier = {f"solutions.{name}" for name in CHAPTERS[: CHAPTERS.index(chapter)]}
    for module in imported(text):
        allowed = (
            module.split(".")[0] in sys.stdlib_module_names | OUTSIDE
            or module in earlier
        )
        assert allowed, f"solutions/{chapter}.py imports {module}"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_solution_imports_from_earlier_ones_by_name(chapter):
    # `mine` replaces this form, and only this form, by the reader's own parts.
    text = (ROOT / "solutions" / f"{chapter}.py").read_text("utf-8")
    assert not re.search(
        r"^[ \t]+from solutions|^[ \t]*import solutions", text, re.MULTILINE
    )


@pytest.mark.parametrize("path", files("course/checks"), ids=lambda p: p.stem)
def test_a_check_never_asks_the_solutions(path):
    for module in imported(path.read_text("utf-8")):
        assert module.split(".")[0] not in {"solutions", "mine", "tests"}, module


@pytest.mark.parametrize("folder", ["course", "solutions", "mine"])
def test_nothing_that_is_installed_imports_the_tests(folder):
    for path in files(folder):
        if path.name != "notebooks.py":  # takes the tests' wrong answers, for a test
            assert "tests" not in {
                m.split(".")[0] for m in imported(path.read_text("utf-8"))
            }, path


def test_every_solution_is_a_chapter_with_checks_and_answers():
    stems = {path.stem for path in files("solutions")} - {"__init__"}
    assert stems == set(CHAPTERS)
    for chapter in CHAPTERS:
        assert (ROOT / "course" / "checks" / f"{chapter}.py").is_file()
        assert (ROOT / "tests" / "answers" / f"{chapter}.py").is_file()


@pytest.mark.parametrize("path", chapters(), ids=lambda p: p.stem)
def test_a_notebook_leaves_the_import_path_alone(path):
    for cell in read(path).cells:
        if cell.cell_type == "code":
            assert not re.search(r"sys\.path|^\s*[!%]", cell.source, re.MULTILINE)
