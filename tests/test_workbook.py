"""The reader's copy of the chapters, and the command line that opens it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nbformat
import pytest
from jupyter_core.paths import jupyter_config_path
from jupyterlab.commands import get_app_dir
from jupyterlab_server.config import ConfigManager
from nbformat.sign import NotebookNotary
from typer.testing import CliRunner

from course import answers, cli, progress, workbook
from course.checks import CHAPTERS, chapters
from course.exercise import solution
from course.notebooks import ROOT, exercise_name, read, solved
from course.notebooks import chapters as notebook_paths
from course.workbook import WorkbookError
from tests.small_course import (
    ANSWERS,
    FIRST,
    LATER,
    SCRATCH,
    cells_of,
    code,
    contents,
    lost,
    md,
    publish,
    save,
    sources_of,
    stub,
    update,
    work,
)

TOTAL = sum(map(len, chapters().values()))


@pytest.fixture(autouse=True)
def signatures(monkeypatch, tmp_path_factory):
    """Jupyter keeps its signatures of this test apart from the reader's."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path_factory.mktemp("jupyter")))


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
        names = [name for c in code if (name := exercise_name(c.source))]
        assert names
        for cell in cells:
            assert not any(f":pyobject: {name}" in cell.source for name in names)


def test_only_the_solution_is_left_out_of_a_cell(home):
    solution = "::::{dropdown} Solution: `f`\n:::{literalinclude} a\n:::\n::::\n"
    cells = [
        nbformat.v4.new_markdown_cell(f"Before.\n\n{solution}\nAfter."),
        nbformat.v4.new_markdown_cell(solution),
        nbformat.v4.new_markdown_cell("::::{dropdown} Answer\nYes.\n::::"),
    ]
    copy = workbook.for_the_reader(nbformat.v4.new_notebook(cells=cells), home)
    first, second = (cell.source for cell in copy.cells)
    assert re.sub(r"\s+", " ", first) == "Before. After."
    assert "Answer" in second


def prose_of(path):
    return "\n".join(c.source for c in read(path).cells if c.cell_type == "markdown")


def test_the_reader_gets_all_prose_of_the_chapters(home):
    workbook.update(home)
    for path in notebook_paths():
        prose = prose_of(home / path.relative_to(path.parents[1]))
        for cell in read(path).cells:
            source = cell.source
            if cell.cell_type == "markdown" and "{dropdown} Solution" in source:
                after = source.rpartition("\n::::")[2].strip()
                assert after in prose
            elif cell.cell_type == "markdown" and "{literalinclude}" not in source:
                for line in source.splitlines():
                    assert line in prose or "](" in line


def test_no_copy_needs_a_file_that_only_the_book_has(home):
    workbook.update(home)
    for path in notebook_paths():
        prose = prose_of(home / path.relative_to(path.parents[1]))
        assert "{literalinclude}" not in prose
        assert ":pyobject:" not in prose


def copied(source, folder):
    """What the reader gets for a text in a notebook of the folder."""
    cells = [nbformat.v4.new_markdown_cell(source)]
    copy = workbook.for_the_reader(nbformat.v4.new_notebook(cells=cells), folder)
    return copy.cells[0].source


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (":pyobject: B", "class B:\n    pass"),
        (":start-at: A =\n:end-at: A =\n:language: python", "A = 1"),
        (":lines: 1", "A = 1"),
    ],
)
def test_code_that_the_book_takes_from_a_file_stands_in_the_copy(home, options, shown):
    (home / "parts.py").write_text("A = 1\n\n\nclass B:\n    pass\n")
    (home / "week1").mkdir()
    before = "::::{dropdown} The pattern\nIn words.\n\n"
    include = f":::{{literalinclude}} ../parts.py\n{options}\n:::"
    assert copied(f"{before}{include}\n::::\nAfter.", home / "week1") == (
        f"{before}````python\n{shown}\n````\n::::\nAfter."
    )


def test_links_lead_to_notebooks_or_are_only_words(home):
    for name in ("letters.ipynb", "glossary.md"):
        (home / name).write_text("")
    source = "[a](letters) [b](glossary) [c](#part) [d](https://e.org/f)"
    assert copied(source, home) == (
        "[a](letters.ipynb) b [c](#part) [d](https://e.org/f)"
    )


# Small chapters, and an update of them.


@pytest.fixture
def first(tmp_path):
    return publish(tmp_path / "first", FIRST)


@pytest.fixture
def later(tmp_path):
    return publish(tmp_path / "later", LATER)


@pytest.fixture
def book(tmp_path, first):
    """A workbook in which the reader has worked."""
    folder = tmp_path / "workbook"
    update(folder, first)
    work(folder)
    return folder


def test_an_update_brings_what_is_new_and_keeps_what_is_yours(book, later):
    lines = update(book, later)
    assert lost(book) == []
    letters = sources_of(book / "week1" / "letters.ipynb")
    assert letters[0] == "# Letters, better"
    assert letters[3:5] == ["count('abcd')", "A new thought."]
    assert letters[-2].startswith("**The exercise `join` has changed.**")
    assert sources_of(book / "week2" / "words.ipynb") == [
        "# Words", "Hello.", ANSWERS["week2/words"][1], SCRATCH
    ]  # fmt: skip
    assert lines == [
        "letters: 1 cell new, 2 cells changed, exercise changed: see the note under "
        "cell 6, your 2 answers kept",
        "words: 1 cell new, 1 cell gone, your 1 answer kept",
        "lines: new in your workbook: week3/lines.ipynb",
    ]


def test_a_second_run_changes_nothing_and_says_nothing(book, later):
    update(book, later)
    before = contents(book)
    assert update(book, later) == []
    assert contents(book) == before


def test_the_notebook_as_it_was_is_kept_beside(book, later):
    path = book / "week1" / "letters.ipynb"
    before = path.read_bytes()
    update(book, later)
    assert (book / ".course" / "before" / "week1" / "letters.ipynb").read_bytes() == (
        before
    )


def test_outputs_stay_where_the_code_stays(book, later):
    path = book / "week1" / "letters.ipynb"
    cells = cells_of(path)
    out = {"output_type": "stream", "name": "stdout", "text": "hi"}
    cells[1].outputs, cells[3].outputs = [out], [out]
    save(path, cells)
    update(book, later)
    cells = cells_of(path)
    assert cells[1].outputs == [out]
    assert cells[3].outputs == []


def trusted(path):
    return NotebookNotary().check_signature(nbformat.read(path, as_version=4))


def test_jupyter_trusts_what_it_trusted_before(book, later):
    letters, words = book / "week1" / "letters.ipynb", book / "week2" / "words.ipynb"
    NotebookNotary().sign(nbformat.read(letters, as_version=4))
    assert (trusted(letters), trusted(words)) == (True, False)
    update(book, later)
    assert (trusted(letters), trusted(words)) == (True, False)
    assert trusted(book / "week3" / "lines.ipynb")


def test_a_home_that_cannot_be_written_loses_only_the_trust(
    book, later, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "file"))
    assert len(update(book, later)) == 3


def test_both_versions_of_a_cell_are_kept_and_the_line_says_where(book, later):
    path = book / "week1" / "letters.ipynb"
    cells = cells_of(path)
    cells[3].source = "count('mine')"
    save(path, cells)
    (line, *_) = update(book, later)
    assert "both versions kept (yours in cell 4, the course's right below)" in line
    assert sources_of(path)[3:5] == ["count('mine')", "count('abcd')"]


def record_of(folder, name):
    """What the course had given when the notebook was last updated."""
    mark = workbook.load(folder / f"{name}.ipynb").mark
    return folder / ".course" / "given" / f"{mark}.ipynb"


def test_a_workbook_without_records(book, first, later):
    shutil.rmtree(book / ".course")
    lines = update(book, first)
    what = "there is no record of what the course gave last"
    assert lines == [f"letters: {what}; it is made again",
                     f"words: {what}; it is made again"]  # fmt: skip
    assert update(book, first) == []
    shutil.rmtree(book / ".course")
    (line, *_) = update(book, later)
    assert f"{what}, so where in doubt both versions were kept" in line
    assert lost(book) == []
    assert {"# Letters", "# Letters, better"} <= set(
        sources_of(book / "week1" / "letters.ipynb")
    )


def test_without_records_everything_of_the_course_comes_back(book, first):
    path = book / "week1" / "letters.ipynb"
    cells = cells_of(path)
    del cells[2]
    save(path, cells)
    assert update(book, first) == []
    shutil.rmtree(book / ".course")
    assert "1 cell new" in update(book, first)[0]
    assert sources_of(path)[2] == "Now use it."
    assert lost(book) == []


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe\x00", "another"])
def test_a_damaged_record_is_one_line(book, first, later, damage):
    record = record_of(book, "week1/letters")
    if damage == "another":  # a notebook, but not the one of that name
        damage = record_of(book, "week2/words").read_bytes()
    record.write_bytes(damage)
    (line,) = update(book, first)
    assert "the record of what the course gave last is damaged" in line
    assert update(book, first) == []
    record.write_bytes(damage)
    (line, *_) = update(book, later)
    assert "where in doubt both versions were kept" in line
    assert lost(book) == []
    assert update(book, later) == []


def test_a_jupyter_that_was_open_puts_the_old_notebook_back(book, later):
    path = book / "week1" / "letters.ipynb"
    open_in_jupyter = path.read_bytes()
    lines = update(book, later)
    updated = sources_of(path)
    path.write_bytes(open_in_jupyter)
    assert update(book, later) == lines[:1]
    assert sources_of(path) == updated
    assert update(book, later) == []


def test_a_notebook_from_a_backup_is_brought_up_to_date(book, later, tmp_path):
    path = book / "week1" / "letters.ipynb"
    backup = path.read_bytes()
    update(book, later)
    last = {**LATER, "week1/letters": LATER["week1/letters"][1:]}
    update(book, publish(tmp_path / "last", last))
    path.write_bytes(backup)
    update(book, tmp_path / "last")
    assert lost(book) == []
    assert sources_of(path)[:4] == [
        ANSWERS["week1/letters"][1], "Now use it.", "count('abcd')", "A new thought."
    ]  # fmt: skip


def test_a_cell_that_the_reader_takes_back_from_the_course_stays(book, later):
    path = book / "week2" / "words.ipynb"
    update(book, later)
    save(path, [*cells_of(path), md("The end.", "again")])
    assert update(book, later) == []
    assert sources_of(path)[-1] == "The end."


def test_what_a_killed_update_left_is_removed_by_a_later_one(book, later):
    left = [book / ".unfinished-abc", book / ".course" / "given" / ".unfinished-def"]
    for path in left:
        path.write_text("half")
        os.utime(path, (0, 0))
    update(book, later)
    assert not any(path.exists() for path in left)


def test_a_cell_deleted_after_an_update_stays_deleted(book, later):
    update(book, later)
    path = book / "week1" / "letters.ipynb"
    cells = [c for c in cells_of(path) if c.source != "A new thought."]
    save(path, cells)
    assert update(book, later) == []
    save(path, cells, metadata={})  # by a program that drops what it does not know
    assert update(book, later) == []
    assert "A new thought." not in sources_of(path)


def test_where_the_texts_do_not_tell_the_last_record_counts(book, later, tmp_path):
    path = book / "week2" / "words.ipynb"
    update(book, later)
    os.utime(record_of(book, "week2/words"), (0, 0))
    more = [*LATER["week2/words"], md("One more.", "more")]
    update(book, publish(tmp_path / "last", {**LATER, "week2/words": more}))
    assert "One more." in sources_of(path)
    cells = [cell for cell in cells_of(path) if cell.source != "One more."]
    save(path, cells, metadata={})
    assert update(book, tmp_path / "last") == []


@pytest.mark.parametrize("metadata", [{}, {"five_sundays": 3}])
def test_a_program_that_drops_the_mark(book, later, metadata):
    path = book / "week1" / "letters.ipynb"
    cells = cells_of(path)
    del cells[2]
    save(path, cells, metadata=metadata)
    (line, *_) = update(book, later)
    assert line.startswith("letters: 1 cell new, 2 cells changed")
    assert "Now use it." not in sources_of(path)
    save(path, cells_of(path), metadata=metadata)
    assert update(book, later) == []
    assert lost(book) == []


@pytest.mark.parametrize("mark", ["0123456789abcdef", "../given/x", "\0", "*"])
def test_a_mark_that_is_not_ours(book, first, mark):
    path = book / "week1" / "letters.ipynb"
    save(path, cells_of(path), metadata={"five_sundays": mark})
    (line,) = update(book, first)
    assert line == (
        "letters: there is no record of what the course gave last; it is made again"
    )
    assert update(book, first) == []


def test_a_chapter_that_the_course_renames_is_updated_where_it_is(book, tmp_path):
    name = "week1/letters"
    cells = [*LATER[name][:2], *LATER[name][3:]]
    later = publish(tmp_path / "renamed", {"week1/signs": cells})
    (line,) = update(book, later)
    assert line == (
        "signs (week1/letters.ipynb): 1 cell new, 2 cells changed, 1 cell gone, "
        "exercise changed: see the note under cell 5, your 2 answers kept"
    )
    assert lost(book) == []
    assert not (book / "week1" / "signs.ipynb").exists()
    assert update(book, later) == []


def test_it_says_where_each_chapter_is(book, later):
    (book / "week1" / "letters.ipynb").rename(book / "mine.ipynb")
    assert workbook.update(book, later, say=lambda line: None) == {
        Path("week1/letters.ipynb"): Path("mine.ipynb"),
        Path("week2/words.ipynb"): Path("week2/words.ipynb"),
        Path("week3/lines.ipynb"): Path("week3/lines.ipynb"),
    }


def test_an_exercise_in_two_cells_is_one_clear_line(book, first):
    path = book / "week1" / "letters.ipynb"
    cells = cells_of(path)
    cells.insert(3, stub("count", id="copy"))
    save(path, cells)
    before = path.read_bytes()
    (line,) = update(book, first)
    assert line == "letters: count is in cells 2, 4: the last one that passes is kept"
    assert path.read_bytes() == before


def test_a_deleted_exercise_is_one_clear_line(book, first):
    path = book / "week1" / "letters.ipynb"
    cells = cells_of(path)
    del cells[4]
    save(path, cells)
    (line,) = update(book, first)
    assert line == (
        "letters: exercise join, which you deleted, is back, your 1 answer kept"
    )


# Notebooks that are not as the course made them.


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"cells": [\n"half', "no valid JSON, line 2"),
        (b"", "no valid JSON, line 1"),
        (b"\xff\xfe\xfa", "no valid JSON"),
        (b"[]", "no notebook"),
        (b'{"nbformat": 4, "cells": [1]}', "no notebook"),
        (b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": 3}]}', "no note"),
        (b'{"nbformat": 5, "cells": []}', "format 5.0, which is newer"),
    ],
)
def test_a_notebook_that_cannot_be_read_stays_and_a_fresh_one_is_beside(
    book, later, content, why
):
    path = book / "week1" / "letters.ipynb"
    path.write_bytes(content)
    line = update(book, later)[0]
    assert f"week1/letters.ipynb cannot be read ({why}" in line
    assert line.endswith("new in your workbook: week1/letters.fresh.ipynb")
    assert path.read_bytes() == content
    fresh = path.with_name("letters.fresh.ipynb")
    assert len(sources_of(fresh)) == len(LATER["week1/letters"])
    # From now on the fresh one is the reader's: it is kept up to date.
    (line,) = update(book, later)
    assert line.startswith("letters (week1/letters.fresh.ipynb): week1/letters.ipynb")
    assert path.read_bytes() == content
    assert not path.with_name("letters.fresh-2.ipynb").exists()


def test_a_fresh_copy_never_takes_a_name_that_is_taken(book, later):
    path = book / "week1" / "letters.ipynb"
    other = path.with_name("letters.fresh.ipynb")
    path.write_bytes(b"{")
    other.write_bytes(b"[")
    assert "letters.fresh-2.ipynb" in update(book, later)[0]
    assert (path.read_bytes(), other.read_bytes()) == (b"{", b"[")


def test_a_folder_with_the_name_of_a_notebook(book, later):
    path = book / "week1" / "letters.ipynb"
    path.unlink()
    path.mkdir()
    assert "cannot be read (Is a directory) and stays" in update(book, later)[0]
    assert path.with_name("letters.fresh.ipynb").is_file()


def strip_ids(cells):
    for cell in cells:
        cell.pop("id", None)
    return cells


def test_an_older_jupyter_without_ids(book, later):
    path = book / "week1" / "letters.ipynb"
    save(path, strip_ids(cells_of(path)), minor=4)
    line = update(book, later)[0]
    assert "saved by another Jupyter (format 4.4)" in line
    assert lost(book) == []
    assert sources_of(path)[:4:3] == ["# Letters, better", "count('abcd')"]
    nbformat.validate(nbformat.read(path, as_version=4))


def test_the_format_of_old_jupyter_3(book, later):
    path = book / "week1" / "letters.ipynb"
    old = nbformat.v3.new_worksheet(
        cells=[
            nbformat.v3.new_code_cell(input=cell.source)
            if cell.cell_type == "code"
            else nbformat.v3.new_text_cell("markdown", source=cell.source)
            for cell in cells_of(path)
        ]
    )
    data = nbformat.v3.writes_json(nbformat.v3.new_notebook(worksheets=[old])).encode()
    path.write_bytes(data)
    line = update(book, later)[0]
    assert "saved by another Jupyter (format 3.0)" in line
    assert "as it was it is in .course/before" in line
    assert (book / ".course" / "before" / "week1" / "letters.ipynb").read_bytes() == (
        data
    )
    assert lost(book) == []
    assert "A new thought." in sources_of(path)
    nbformat.validate(nbformat.read(path, as_version=4))


def test_a_newer_jupyter_keeps_its_format_and_what_we_do_not_know(book, later):
    path = book / "week1" / "letters.ipynb"
    cells = cells_of(path)
    cells[1]["mood"] = "new"
    save(path, cells, minor=9, theme="new")
    assert "saved by another Jupyter (format 4.9)" in update(book, later)[0]
    content = json.loads(path.read_text())
    assert (content["nbformat_minor"], content["theme"]) == (9, "new")
    assert content["cells"][1]["mood"] == "new"
    assert lost(book) == []


def test_an_editor_that_leaves_out_what_it_does_not_need(book, later):
    path = book / "week1" / "letters.ipynb"
    cells = [{"cell_type": c.cell_type, "source": c.source} for c in cells_of(path)]
    path.write_text(json.dumps({"nbformat": 4, "cells": cells}))
    update(book, later)
    assert lost(book) == []
    assert "A new thought." in sources_of(path)


def test_half_a_character_survives(book, later):
    path = book / "week1" / "letters.ipynb"
    save(path, [*cells_of(path), code("'\ud83d'", "half")])
    update(book, later)
    assert "'\ud83d'" in sources_of(path)


def test_a_deleted_notebook_comes_back_fresh(book, first):
    (book / "week2" / "words.ipynb").unlink()
    assert update(book, first) == ["words: new in your workbook: week2/words.ipynb"]
    assert sources_of(book / "week2" / "words.ipynb") == [
        cell.source for cell in FIRST["week2/words"]
    ]


@pytest.mark.parametrize("name", ["week1/mine.ipynb", "done/letters.ipynb"])
def test_a_renamed_notebook_stays_the_readers(book, later, name):
    path, other = book / "week1" / "letters.ipynb", book / name
    other.parent.mkdir(exist_ok=True)
    path.rename(other)
    assert update(book, later)[0].startswith(f"letters ({name}): 1 cell new")
    assert not path.exists()
    there = sources_of(other)
    assert {*ANSWERS["week1/letters"].values(), SCRATCH, "A new thought."} <= {*there}
    assert update(book, later) == []


def test_a_renamed_notebook_that_is_hard_to_know_gets_a_fresh_one_beside(book, first):
    path = book / "week1" / "letters.ipynb"
    other = path.rename(path.with_name("mine.ipynb"))
    save(other, [code(SCRATCH, "mine")])
    before = other.read_bytes()
    assert update(book, first) == ["letters: new in your workbook: week1/letters.ipynb"]
    assert other.read_bytes() == before


def test_a_notebook_with_hardly_anything_left_is_still_the_chapter(book, first):
    path = book / "week1" / "letters.ipynb"
    save(path, [md("All begins anew."), code(SCRATCH, "mine")])
    assert update(book, first) == [
        "letters: exercise count, which you deleted, is back, "
        "exercise join, which you deleted, is back"
    ]
    assert sources_of(path)[0] == "All begins anew."
    assert [exercise_name(s) for s in sources_of(path)].count(None) == 2


def test_the_readers_own_notebook_with_the_name_of_a_new_chapter(book, later):
    path = book / "week3" / "lines.ipynb"
    save(path, [md("My poems"), code("poem()")])
    before = path.read_bytes()
    line = update(book, later)[-1]
    assert "week3/lines.ipynb is a notebook of your own and stays as it is" in line
    assert path.read_bytes() == before
    assert len(sources_of(path.with_name("lines.fresh.ipynb"))) == 2
    assert update(book, later) == []


def test_the_readme_is_kept_new_until_the_reader_changes_it(book, first):
    readme, record = book / "README.md", book / ".course" / "given" / "README.md"
    for path in (readme, record):
        path.write_text("as it was once")
    update(book, first)
    assert readme.read_text().startswith("# Your workbook")
    readme.write_text("mine")
    record.write_text("as it was once")
    update(book, first)
    assert readme.read_text() == "mine"


# Folders and disks that do not do what they should.


def test_a_file_where_a_folder_should_be(book, later):
    file = book / "week3"
    file.write_text("mine")
    with pytest.raises(WorkbookError, match="week3 is a file where a folder should be"):
        update(book, later)
    assert file.read_text() == "mine"
    assert lost(book) == []
    file.unlink()
    update(book, later)
    assert len(sources_of(book / "week3" / "lines.ipynb")) == 2


@contextmanager
def read_only(folder):
    """Nothing in the folder can be written, even if root runs the tests."""
    paths = [folder, *folder.rglob("*")]
    modes = [(path, path.stat().st_mode) for path in paths]
    root = os.geteuid() == 0
    for path in paths:
        path.chmod(0o555)
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for path, mode in modes:
            path.chmod(mode)


def test_a_read_only_folder_is_one_clear_line():
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        folder = Path(place) / "workbook"
        first, later = publish(Path(place) / "1", FIRST), Path(place) / "2"
        publish(later, LATER)
        update(folder, first)
        work(folder)
        before = contents(folder)
        with (
            read_only(folder),
            pytest.raises(WorkbookError, match="cannot be written: Permission denied"),
        ):
            update(folder, later)
        assert contents(folder) == before


def test_a_lock_that_is_held_is_one_clear_line_and_a_stale_one_does_not_block(
    book, later
):
    lock = book / ".course" / "lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(WorkbookError, match="is being updated by another program"):
            update(book, later)
    assert lock.exists()
    assert len(update(book, later)) == 3


def test_a_file_system_without_locks(book, later, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", flock)
    assert len(update(book, later)) == 3


def test_a_notebook_that_is_saved_during_the_update(book, later, monkeypatch):
    path = book / "week1" / "letters.ipynb"
    merge, times = workbook.merge, []

    def merge_while_jupyter_saves(*cells):
        if not times:
            save(path, [*cells_of(path), code("just_saved()", "j")])
        times.append(1)
        return merge(*cells)

    monkeypatch.setattr(workbook, "merge", merge_while_jupyter_saves)
    update(book, later)
    assert {"just_saved()", "A new thought."} <= set(sources_of(path))
    assert lost(book) == []


# The real chapters.


def test_every_answer_to_the_real_chapters_survives_an_update_of_them(tmp_path):
    folder, later = tmp_path / "workbook", tmp_path / "later"
    workbook.update(folder, say=lambda line: None)
    answers_ = {}
    for path in notebook_paths():
        name = path.relative_to(ROOT / "chapters")
        cells = cells_of(folder / name)
        for cell in cells:
            exercise = exercise_name(cell.source) if cell.cell_type == "code" else None
            if exercise:
                cell.source = answers_[exercise] = solved(exercise)
        save(folder / name, cells)
        changed = cells_of(path)
        for cell in changed:
            cell.source += "\n" if cell.cell_type == "markdown" else "\n# changed"
        save(later / "chapters" / name, [md("New.", "new"), *changed])
    (later / "solutions").symlink_to(ROOT / "solutions")
    assert answers_
    lines = update(folder, later)
    assert len(lines) == len(notebook_paths())
    copies = [folder / p.relative_to(ROOT / "chapters") for p in notebook_paths()]
    there = [source for path in copies for source in sources_of(path)]
    assert set(answers_.values()) <= set(there)
    assert there.count("New.") == len(lines)
    assert sum("# changed" in source for source in there) > len(answers_)
    assert update(folder, later) == []


# The command line.


@pytest.fixture
def started(monkeypatch):
    """The command lines that would have taken the process over."""
    calls = []
    monkeypatch.setattr(cli.os, "execv", lambda path, command: calls.append(command))
    # `lab` changes these for JupyterLab; they go back after the test.
    for name in ("FIVE_SUNDAYS_HOME", "JUPYTER_CONFIG_PATH"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    return calls


def test_lab_brings_the_workbook_up_to_date_and_opens_it(home, started):
    result = run("lab", "--no-browser")
    assert result.exit_code == 0
    assert result.output.count("new in your workbook") == len(notebook_paths())
    (command,) = started
    assert f"--notebook-dir={home}" in command
    assert "--no-browser" in command
    # The second time there is only to say what comes next, and where it is.
    needs, far, where = run("lab").output.splitlines()
    assert f"{needs}\n{far}" == progress.two_lines()
    assert where.startswith(f"Your workbook is {home}.")
    assert "--no-browser" not in started[1]


def test_lab_opens_the_first_chapter_that_is_not_done(home, started):
    (home / "my first").mkdir()
    workbook.update(home)
    one, two = (f"week1/{name}.ipynb" for name in ("language-models", "tokens"))
    (home / one).rename(home / "my first" / "a b.ipynb")
    run("lab")
    assert "--LabApp.default_url=/lab/tree/my%20first/a%20b.ipynb" in started[-1]
    for exercise in chapters()["language_models"]:
        answers.keep("language_models", exercise.name, "")
    run("lab")
    assert f"--LabApp.default_url=/lab/tree/{two}" in started[-1]
    for chapter, exercises in chapters().items():
        for exercise in exercises:
            answers.keep(chapter, exercise.name, "")
    run("lab")
    assert "default_url" not in " ".join(started[-1])


def test_lab_opens_what_the_next_sunday_of_the_plan_needs(home, started):
    fifth = datetime.now(UTC).date() + timedelta(days=2)
    first = str(fifth - timedelta(weeks=4))
    run("plan", "--start", first, "--out", str(home))
    run("lab")
    name = "week5/local-deployment.ipynb"
    assert f"--LabApp.default_url=/lab/tree/{name}" in started[-1]


def test_lab_checks_kept_answers_again_and_opens_the_one_that_does_not_pass(
    home, started
):
    for exercise in chapters()["language_models"]:
        text = f"def {exercise.name}(*args): return None\n"
        answers.keep("language_models", exercise.name, text)
    lines = run("lab").output.splitlines()
    again = [line for line in lines if "no longer passes" in line]
    assert len(again) == len(chapters()["language_models"])
    assert f"You have passed 0 of {TOTAL} exercises." in lines[-2]
    assert "/lab/tree/week1/language-models.ipynb" in " ".join(started[-1])
    assert len(run("lab").output.splitlines()) == 3


def test_lab_goes_on_with_a_broken_plan_and_says_so_in_one_line(home, started):
    (home / "plan.toml").write_text("days = 5")
    run("lab")
    needs, _, problem, where = run("lab").output.splitlines()
    assert needs.startswith("Sunday 1 needs")
    assert "plan.toml cannot be read" in problem
    assert where.startswith("Your workbook is")
    assert len(started) == 2


def test_lab_makes_a_folder_for_the_groups_notes_and_never_touches_it_again(
    home, started
):
    run("lab")
    readme = home / "notes" / "README.md"
    text = readme.read_text()
    assert "- `sunday-3.md`: many heads, steady numbers\n" in text
    assert text.count("- `sunday-") == 5
    readme.write_text("ours")
    run("lab")
    assert readme.read_text() == "ours"
    readme.unlink()
    run("lab")
    assert list(readme.parent.iterdir()) == []


def test_a_file_of_that_name_stays_and_a_folder_that_cannot_be_made_is_one_line(
    home, started, monkeypatch
):
    (home / "notes").write_text("mine")
    assert run("lab").exit_code == 0
    assert (home / "notes").read_text() == "mine"
    (home / "notes").unlink()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(workbook, "write_atomically", full)
    with pytest.raises(WorkbookError, match="notes cannot be made: No space"):
        workbook.make_notes(home)


def test_a_relative_folder_is_the_same_one_for_the_kernels(
    tmp_path, monkeypatch, started
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FIVE_SUNDAYS_HOME", "mine")
    run("lab")
    assert os.environ["FIVE_SUNDAYS_HOME"] == str(tmp_path / "mine")


@pytest.mark.parametrize("own", ["", "/own"])
def test_jupyterlab_finds_the_settings_of_the_course_after_the_readers(
    home, monkeypatch, started, own
):
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", own)
    run("lab")
    paths = [p for p in jupyter_config_path() if p in (own, str(cli.SETTINGS))]
    assert paths == [p for p in (own, str(cli.SETTINGS)) if p]
    manager = ConfigManager(
        config_dir_name="labconfig", read_config_path=[str(cli.SETTINGS / "labconfig")]
    )
    settings = manager.get("default_setting_overrides")
    schemas = Path(get_app_dir()) / "schemas"
    for plugin, values in settings.items():
        package, _, name = plugin.partition(":")
        schema = json.loads((schemas / package / f"{name}.json").read_text())
        assert set(values) <= set(schema["properties"])


def test_a_folder_that_cannot_be_written_is_one_clear_line(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("FIVE_SUNDAYS_HOME", str(blocked))
    result = run("lab", "--no-browser")
    assert result.exit_code == 1
    assert "cannot be written" in result.output


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
