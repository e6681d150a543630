"""The notebooks as they are committed, and the tool that runs and fills them."""

from __future__ import annotations

import itertools
import json
import statistics

import nbformat
import pytest

from course import notebooks
from course.checks import CHAPTERS, of_chapter
from course.notebooks import (
    chapters,
    exercise_name,
    exercise_of,
    filled,
    read,
    solved,
    spoiled,
)

PATHS = pytest.mark.parametrize("path", chapters(), ids=lambda p: p.stem)


def code_cells(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


@PATHS
def test_every_code_cell_was_executed_once_in_order(path):
    counts = [cell.execution_count for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1))


@PATHS
def test_no_output_is_an_error(path):
    for cell in code_cells(path):
        assert all(output.output_type != "error" for output in cell.outputs)


@PATHS
def test_what_was_printed_in_one_go_is_one_output(path):
    for cell in code_cells(path):
        names = [output.get("name") for output in cell.outputs]
        for one, following in itertools.pairwise(names):
            assert one is None or one != following


@PATHS
def test_few_cells_are_not_compared(path):
    # A picture of what was learned is drawn of digits that differ between machines. It
    # is not counted: what it shows is printed by another cell, and compared there.
    tags = [set(c.metadata.get("tags", ())) for c in code_cells(path)]
    skipped = [t for t in tags if notebooks.UNCOMPARED in t and "hide-input" not in t]
    assert len(skipped) <= max(1, len(tags) // 8)


@PATHS
def test_code_cells_are_short(path):
    sizes = [
        len([line for line in c.source.splitlines() if line.strip()])
        for c in code_cells(path)
    ]
    assert statistics.median(sizes) <= 6
    assert max(sizes) <= 25


@PATHS
def test_lines_of_code_fit_the_page(path):
    for cell in code_cells(path):
        for line in cell.source.splitlines():
            assert len(line) <= 75, line


@PATHS
def test_at_most_two_code_cells_in_a_row(path):
    kinds = "".join(cell.cell_type[0] for cell in read(path).cells)
    assert "ccc" not in kinds


@PATHS
def test_a_notebook_names_no_machine(path):
    assert set(json.loads(path.read_text("utf-8"))["metadata"]) == {
        "kernelspec",
        "language_info",
    }


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_exercise_stands_in_its_chapter_once_and_its_solution_after_it(chapter):
    (path,) = [p for p in chapters() if p.stem == chapter.replace("_", "-")]
    cells = read(path).cells
    names = [exercise_name(c.source) for c in cells if c.cell_type == "code"]
    assert [n for n in names if n] == [e.name for e in of_chapter(chapter)]
    for index, cell in enumerate(cells):
        name = exercise_name(cell.source) if cell.cell_type == "code" else None
        if name:
            after = cells[index + 1].source
            assert f":pyobject: {name}" in after
            assert f"solutions/{chapter}.py" in after


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_exercise_is_committed_empty(chapter):
    (path,) = [p for p in chapters() if p.stem == chapter.replace("_", "-")]
    for cell in code_cells(path):
        if exercise_name(cell.source):
            assert "not started" in str(cell.outputs)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("@exercise\ndef f(x):\n    ...", "f"),
        ("import x\n\n@exercise\nclass C:\n    ...", "C"),
        ("@exercise\n@cache\n\n# mine\ndef f(a): ...", "f"),
        ("@cache\n@exercise  # mine\ndef f(a): ...", "f"),
        ("%%time\n@exercise\nclass F:\n    ...", "F"),
        ("@exercise\ndef f(a:\n    return (", "f"),
        ("def f(x):\n    ...", None),
        ("@exercises\ndef f(x):\n    ...", None),
        ("# @exercise\ndef f(a): ...", None),
        ("x = '@exercise'", None),
        ("this is no Python", None),
    ],
)
def test_an_exercise_is_told_by_what_its_code_says(source, name):
    assert exercise_name(source) == name
    assert exercise_of(nbformat.v4.new_code_cell(source)) == name
    assert exercise_of(nbformat.v4.new_markdown_cell(source)) is None


def toy(*sources: str) -> nbformat.NotebookNode:
    cells = [nbformat.v4.new_code_cell(s, execution_count=1) for s in sources]
    return nbformat.v4.new_notebook(cells=cells)


def test_only_exercise_cells_are_filled():
    stub = "@exercise\ndef sample_next(logits):\n    ..."
    copy = filled(toy("x = 1", stub), lambda name: f"# {name}", "check({names})")
    sources = [cell.source for cell in copy.cells]
    assert sources[1:] == ["x = 1", "# sample_next", "check(['sample_next'])"]
    assert "FIVE_SUNDAYS_HOME" in sources[0]


def test_a_notebook_without_exercises_is_refused():
    with pytest.raises(ValueError, match="no exercise"):
        filled(toy("x = 1"), str, "")


@pytest.mark.parametrize("fill", [solved, spoiled])
@pytest.mark.parametrize(
    "name", [e.name for chapter in CHAPTERS for e in of_chapter(chapter)]
)
def test_a_filled_cell_is_an_exercise_of_that_name(fill, name):
    text = fill(name)
    assert exercise_name(text) == name
    compile(text, name, "exec")


def test_a_run_that_fails_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "broken.ipynb"
    notebooks.write(toy("print('new')", "1 / 0"), path)
    before = path.read_bytes()
    with pytest.raises(Exception, match="ZeroDivisionError"):
        notebooks.execute(path)
    assert path.read_bytes() == before


def test_a_run_keeps_outputs_and_nothing_of_the_machine(tmp_path):
    path = tmp_path / "fine.ipynb"
    notebooks.write(toy("print('hello')", "2 + 2"), path)
    notebooks.execute(path)
    first, second = read(path).cells
    assert first.outputs[0].text == "hello\n"
    assert second.outputs[0].data["text/plain"] == "4"
    assert (first.metadata, second.execution_count) == ({}, 2)
