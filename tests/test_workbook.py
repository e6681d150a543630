"""The reader's copy of the chapters, and the command line that opens it."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from course import answers, cli, workbook
from course.checks import CHAPTERS, chapters
from course.exercise import solution
from course.notebooks import chapters as notebook_paths
from course.notebooks import exercise_name, read, solved

TOTAL = sum(map(len, chapters().values()))


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("FIVE_SUNDAYS_HOME", str(tmp_path))
    return tmp_path


def run(*arguments: str):
    # Wide enough that no column of the table is cut.
    return CliRunner(env={"COLUMNS": "120"}).invoke(cli.app, arguments)


def test_it_has_every_chapter_without_outputs_and_without_solutions(home):
    workbook.update(home)
    copies = [path for path in home.rglob("*.ipynb") if ".course" not in path.parts]
    assert len(copies) == len(notebook_paths())
    for path in copies:
        cells = read(path).cells
        code = [cell for cell in cells if cell.cell_type == "code"]
        assert all(not c.outputs and c.execution_count is None for c in code)
        assert any(exercise_name(cell.source) for cell in code)
        assert not any("literalinclude" in cell.source for cell in cells)


def test_a_folder_that_cannot_be_written_is_one_clear_line(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("FIVE_SUNDAYS_HOME", str(blocked))
    result = run("lab", "--no-browser")
    assert result.exit_code == 1
    assert "cannot be written" in str(result.exception or result.output)


def test_check_on_an_empty_folder_says_what_is_next(home):
    result = run("check")
    assert result.exit_code == 0
    assert (
        f"0 of {TOTAL} parts are yours. Next: {chapters()[CHAPTERS[0]][0].name}."
        in (result.output)
    )


def test_check_counts_what_passes_and_names_what_does_not(home):
    first, second = chapters()[CHAPTERS[0]][:2]
    for spec in (first, second):
        text = solved(spec.name).replace("@exercise\n", "")
        answers.keep(CHAPTERS[0], spec.name, text)
    assert f"2 of {TOTAL} parts are yours" in run("check").output
    answers.keep(CHAPTERS[0], second.name, f"def {second.name}(*args): return None\n")
    result = run("check")
    assert result.exit_code == 1
    assert "no longer passes" in result.output
    assert f"{second.name}: in the case" in result.output


def test_every_solution_could_be_kept_and_passes_again(home):
    for chapter, exercises in chapters().items():
        for spec in exercises:
            assert solution(chapter, spec.name).__name__ == spec.name
            text = solved(spec.name).replace("@exercise\n", "")
            answers.keep(chapter, spec.name, text)
    result = run("check")
    assert f"{TOTAL} of {TOTAL} parts are yours." in result.output, result.output
    assert result.exit_code == 0
