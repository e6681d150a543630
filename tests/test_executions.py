"""The record of the runs: what was executed, when, where, and if it still holds."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime

import nbformat
import pytest
import torch

from course import executions, notebooks, weeks
from course.executions import NoRecord
from course.notebooks import ROOT, chapters

PATHS = pytest.mark.parametrize("path", chapters(), ids=lambda p: p.stem)
ELSEWHERE = {"machine": "A laptop", "versions": {"python": "3.11.9", "torch": "2.13.0"}}
GPU = "NVIDIA Test 1"
ASKED = executions._where


@PATHS
def test_a_notebook_was_executed_as_it_is_committed(path):
    if line := executions.fault(path):
        pytest.fail(line, pytrace=False)


def test_the_page_shows_the_record():
    """Fails if the record was changed and `python -m course.executions` was not run."""
    assert executions.PAGE.read_text("utf-8") == executions.table()


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A book of two small notebooks, with a record of its own."""
    for name, title in (("one", "# The first: a beginning"), ("two", "# The second")):
        save(tmp_path / f"chapters/week1/{name}.ipynb", title, "print(1)", "2 + 2")
    week = weeks.Week(1, "small", ("one",), ("two",), "chapters/week1/session")
    monkeypatch.setattr(executions, "ROOT", tmp_path)
    monkeypatch.setattr(executions, "CHAPTERS", tmp_path / "chapters")
    monkeypatch.setattr(executions, "RECORD", tmp_path / "executions.json")
    monkeypatch.setattr(executions, "GPU_RECORD", tmp_path / "gpu.json")
    monkeypatch.setattr(executions, "PAGE", tmp_path / "executions.md")
    monkeypatch.setattr(executions, "weeks", lambda: (week,))
    monkeypatch.setattr(executions, "_where", lambda: ELSEWHERE)
    return tmp_path / "chapters" / "week1"


def save(path, title, *sources):
    cells = [nbformat.v4.new_markdown_cell(title)]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    notebooks.write(nbformat.v4.new_notebook(cells=cells), path)


def rows() -> list[list[str]]:
    lines = executions.PAGE.read_text("utf-8").splitlines()
    table = [line for line in lines if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


# ---- a run is kept ------------------------------------------------------------------


def test_an_execution_is_kept_with_what_it_was_made_of(book, monkeypatch):
    monkeypatch.setattr(executions, "_where", ASKED)
    before = datetime.now(UTC).replace(microsecond=0)
    assert notebooks.main(["execute", str(book / "one.ipynb")]) == 0
    entry = executions.recorded()["week1/one"]
    assert before <= datetime.fromisoformat(entry["when"]) <= datetime.now(UTC)
    assert entry["versions"]["torch"] == torch.__version__.split("+")[0]
    if not torch.cuda.is_available():
        assert entry["machine"].endswith(", 1 thread")  # as the kernel's
    assert (entry["cells"], entry["seconds"] > 0.1) == (2, True)
    assert executions.fault(book / "one.ipynb") is None


def test_a_notebook_that_is_executed_alone_replaces_its_own_entry(book):
    executions.keep(book / "two.ipynb", 9.25)
    executions.keep(book / "one.ipynb", 1.25)
    two = executions.recorded()["week1/two"]
    save(book / "one.ipynb", "# The first", "print(1)")
    executions.keep(book / "one.ipynb", 3.75)
    entries = executions.recorded()
    assert list(entries) == ["week1/one", "week1/two"]
    assert entries["week1/two"] == two
    assert [entries["week1/one"][key] for key in ("seconds", "cells")] == [3.8, 1]
    assert [row[1:3] for row in rows()] == [["1", "4"], ["2", "9"]]


def test_a_notebook_that_is_not_in_the_book_is_not_noted(book, tmp_path):
    save(tmp_path / "own.ipynb", "# Mine", "1")
    executions.keep(tmp_path / "own.ipynb", 1.0)
    assert not executions.RECORD.exists()


def test_an_entry_of_a_notebook_that_is_gone_goes(book):
    executions.keep(book / "one.ipynb", 1.0)
    (book / "one.ipynb").unlink()
    executions.keep(book / "two.ipynb", 1.0)
    assert list(executions.recorded()) == ["week1/two"]


# ---- an edit shows ------------------------------------------------------------------


def test_code_that_was_edited_is_told_in_one_line_with_the_command(book):
    path = book / "one.ipynb"
    command = "run: python -m course.notebooks execute chapters/week1/one.ipynb"
    assert executions.fault(path) == (
        f"chapters/week1/one.ipynb has no run on record; {command}"
    )
    executions.keep(path, 1.0)
    assert executions.fault(path) is None
    save(path, "# The first", "print(2)", "2 + 2")
    assert executions.fault(path) == (
        f"chapters/week1/one.ipynb was edited after its last run; {command}"
    )
    executions.publish()
    assert rows()[0][3].endswith(", changed since")


@pytest.mark.parametrize(
    "sources", [["print(1)"], ["print(1)2 + 2"], ["2 + 2", "print(1)"]]
)
def test_cells_that_are_lost_joined_or_moved_are_an_edit(book, sources):
    executions.keep(book / "one.ipynb", 1.0)
    save(book / "one.ipynb", "# The first", *sources)
    assert executions.fault(book / "one.ipynb")


def test_prose_and_outputs_are_not_what_was_executed(book):
    path = book / "one.ipynb"
    executions.keep(path, 1.0)
    notebook = notebooks.read(path)
    notebook.cells[0].source = "# The first, with another word"
    notebook.cells[1].execution_count = 7
    notebooks.write(notebook, path)
    assert executions.fault(path) is None


# ---- what the page says -------------------------------------------------------------


def test_runs_on_one_machine_are_told_in_one_sentence(book):
    executions.keep(book / "one.ipynb", 1.6)
    day = datetime.now(UTC).date().isoformat().replace("-", "\u2011")
    assert rows() == [
        ["[The first](../week1/one.ipynb)", "2", "2", day],
        ["[The second](../week1/two.ipynb)", "", "", "not yet"],
    ]
    text = executions.PAGE.read_text("utf-8")
    place = "A laptop; Python 3.11.9, torch 2.13.0."
    assert f"Together 2 cells in 2 s. On: {place}" in text


def test_runs_on_two_machines_are_told_apart(book, monkeypatch):
    executions.keep(book / "one.ipynb", 1.6)
    other = ELSEWHERE | {"machine": "A desktop"}
    monkeypatch.setattr(executions, "_where", lambda: other)
    executions.keep(book / "two.ipynb", 2.6)
    assert [row[4] for row in rows()] == ["(a)", "(b)"]
    text = executions.PAGE.read_text("utf-8")
    assert "Together 4 cells in 4 s." in text
    places = re.findall(r"^- \((.)\) (.*?);", text, re.M)
    assert places == [("a", "A laptop"), ("b", "A desktop")]


def test_a_record_that_cannot_be_read_stops_before_the_run(book, capsys):
    executions.RECORD.write_text("{")
    before = (book / "one.ipynb").read_bytes()
    with pytest.raises(SystemExit):
        notebooks.main(["execute", str(book / "one.ipynb")])
    assert "executions.json is no JSON" in capsys.readouterr().err
    assert executions.main([]) == 1
    assert "mend it, or delete it" in capsys.readouterr().err
    assert executions.RECORD.read_text() == "{"
    assert (book / "one.ipynb").read_bytes() == before


def test_a_notebook_that_is_not_there_is_told_before_any_is_executed(book, capsys):
    before = (book / "one.ipynb").read_bytes()
    with pytest.raises(SystemExit):
        notebooks.main(["execute", str(book / "one.ipynb"), str(book / "no.ipynb")])
    assert re.search(r"there is no notebook .*no\.ipynb", capsys.readouterr().err)
    assert (book / "one.ipynb").read_bytes() == before


# ---- a run on a GPU -----------------------------------------------------------------


@pytest.fixture
def on_a_gpu(book, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    where = ELSEWHERE | {"machine": GPU}
    monkeypatch.setattr(executions, "_where", lambda: where)
    return book


def report(folder, **counts):
    counts = {"tests": 3, "failures": 0, "errors": 0, "skipped": 0} | counts
    told = " ".join(f'{kind}="{number}"' for kind, number in counts.items())
    path = folder / "gpu.xml"
    path.write_text(f'<testsuites><testsuite {told} time="4.56"/></testsuites>')
    return path


def test_before_the_first_record_the_run_made_by_hand_is_told(book):
    executions.publish()
    assert executions.BY_HAND in executions.PAGE.read_text("utf-8")


def test_a_gpu_run_is_kept_and_told(on_a_gpu, capsys):
    assert executions.main(["gpu", str(report(on_a_gpu))]) == 0
    assert f"gpu.json: 3 cells on {GPU}" in capsys.readouterr().out
    text = executions.PAGE.read_text("utf-8")
    assert executions.BY_HAND not in text
    assert f"{GPU}; Python 3.11.9, torch 2.13.0. All 3 cells" in text
    assert text.rstrip().endswith("passed in 5 s.")
    save(on_a_gpu / "one.ipynb", "# The first", "print(2)")
    executions.publish()
    assert "Some notebooks have changed since." in executions.PAGE.read_text("utf-8")


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"failures": 1}, "1 of 3 cells did not pass"),
        ({"errors": 2}, "2 of 3 cells did not pass"),
        ({"skipped": 3}, "3 of 3 cells did not pass"),
        ({"tests": 0}, "tells of no cell"),
    ],
)
def test_a_gpu_run_that_did_not_pass_is_not_kept(on_a_gpu, counts, words, capsys):
    assert executions.main(["gpu", str(report(on_a_gpu, **counts))]) == 1
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not executions.GPU_RECORD.exists()


@pytest.mark.parametrize("content", [None, "", "no XML"])
def test_a_report_that_cannot_be_read_is_told(on_a_gpu, content, capsys):
    path = on_a_gpu / "gpu.xml"
    if content is not None:
        path.write_text(content)
    assert executions.main(["gpu", str(path)]) == 1
    said = capsys.readouterr().err
    assert "cannot be read" in said
    assert said.count("\n") == 1


def test_a_machine_without_a_gpu_keeps_no_gpu_run(book, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(NoRecord, match="no CUDA device"):
        executions.keep_gpu(report(book))
    assert not executions.GPU_RECORD.exists()


def test_the_report_of_pytest_is_what_is_read(on_a_gpu, tmp_path):
    """A real report of nbval about a real notebook, as `make gpu-test` makes one."""
    told = tmp_path / "told.xml"
    options = ["--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, "--junitxml", str(told)]
    subprocess.run(
        [*command, str(on_a_gpu / "one.ipynb")],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    kept = executions.keep_gpu(told)
    assert kept["cells"] == 2
    assert kept["seconds"] > 0
