"""The reader's copy of the chapters: made, and brought up to date, never overwritten.

What the course gave last time is kept in the hidden folder `.course` of the workbook,
so that an update can tell what the reader changed from what the course changed:

    week1/tokens.ipynb                  the reader's
    .course/given/week1/tokens.ipynb    what the course gave last: the base of the merge
    .course/before/week1/tokens.ipynb   the reader's, as it was before the last update
    .course/lock                        held while an update runs

An update writes `before`, then the reader's notebook, then `given`, each at once or not
at all. Stopped between any two, it has lost nothing, and the next one does the rest.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course import answers
from course.files import write_atomically
from course.merge import Merged, exercise_of, merge, text
from course.notebooks import ROOT, chapters, read

CURRENT_FORMAT = f"{nbformat.v4.nbformat}.{nbformat.v4.nbformat_minor}"

SOLUTION = re.compile(
    r"^(?P<fence>:{3,})\{dropdown\} Solution.*?^(?P=fence)$\n?",
    re.MULTILINE | re.DOTALL,
)
"""A folded solution; the prose around it stays in the reader's copy."""

Say = Callable[[str], None]


class WorkbookError(Exception):
    """The workbook cannot be brought up to date; says in one line why."""


class Unreadable(Exception):  # noqa: N818  (words for the reader)
    """A file that is no notebook, or none that can be read."""


@dataclass(frozen=True)
class Yours:
    """A notebook of the reader."""

    path: Path
    data: bytes
    notebook: NotebookNode
    format: str  # of the file, such as "4.5"


def update(folder: Path | None = None, root: Path = ROOT, say: Say = print) -> None:
    """Give the reader every chapter, and what is new in those that they have.

    The copies have no outputs and no solutions. Says one line for each notebook that
    changed or that needs the reader's eye.

    Raises:
        WorkbookError: if the folder cannot be written, or another update is running.
    """
    folder = folder or answers.home()
    given = {
        path.relative_to(root / "chapters"): for_the_reader(read(path))
        for path in chapters(root)
    }
    try:
        with _alone(folder):
            for path in given:
                _update_chapter(folder, path, given, say)
            _update_readme(folder)
    except OSError as error:
        raise WorkbookError(_cannot_write(folder, error)) from error


def for_the_reader(notebook: NotebookNode) -> NotebookNode:
    """A copy without outputs, and without the folded solutions."""
    copy = nbformat.from_dict(notebook)
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        elif SOLUTION.search(cell.source):
            cell.source = SOLUTION.sub("", cell.source).strip()
    copy.cells = [cell for cell in copy.cells if cell.source]
    return copy


def load(path: Path) -> Yours:
    """A notebook in any format that Jupyter ever wrote, or nearly in one.

    Other programs leave out ids, metadata and outputs: those are filled in.

    Raises:
        Unreadable: if it is none; says why.
        FileNotFoundError: if there is no such file.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unreadable(error.strerror) from error
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        line = f", line {error.lineno}" if hasattr(error, "lineno") else ""
        raise Unreadable(f"no valid JSON{line}") from error
    why = "no notebook"
    try:
        version = f"{content['nbformat']}.{content.get('nbformat_minor', 0)}"
        if content["nbformat"] == 4:
            _fill_in(content)
        elif content["nbformat"] > 4:
            why = f"format {version}, which is newer than this course"
        notebook = nbformat.convert(nbformat.reader.reads(json.dumps(content)), 4)
        if not all(isinstance(cell.source, str) for cell in notebook.cells):
            raise TypeError("a cell whose source is no text")
    # What is no notebook fails in many ways.
    except Exception as error:
        raise Unreadable(why) from error
    return Yours(path, data, notebook, version)


def _fill_in(content: dict) -> None:
    content.setdefault("metadata", {})
    content.setdefault("nbformat_minor", 0)
    for cell in content["cells"]:
        cell.setdefault("metadata", {})
        cell.setdefault("source", "")
        if cell["cell_type"] == "code":
            cell.setdefault("outputs", [])
            cell.setdefault("execution_count", None)


def _update_chapter(
    folder: Path, path: Path, given: dict[Path, NotebookNode], say: Say
) -> None:
    """Bring one chapter up to date; `path` is its place in the workbook."""
    record = folder / ".course" / "given" / path
    theirs = given[path].cells
    base, lost = _record(record)
    yours, notes = _find(folder, path, base, given)
    if yours is None:
        target = _free(folder / path)
        _write(target, given[path])
        notes.append(f"new in your workbook: {target.relative_to(folder)}")
    else:
        merged = merge(base or [], theirs, yours.notebook.cells)
        if _texts(merged.cells) != _texts(yours.notebook.cells):
            _keep_as_it_was(folder, path, yours)
            if yours.path.read_bytes() != yours.data:  # saved in Jupyter just now
                return _update_chapter(folder, path, given, say)
            _write(yours.path, _with_cells(yours.notebook, merged.cells))
            notes += _what_changed(merged, lost, yours.format)
        elif lost and record.exists():
            notes.append(f"{lost}; it is made again")
    if base is None or _texts(base) != _texts(theirs):
        _write(record, given[path])
    if notes:
        name = path.stem
        if yours and yours.path != folder / path:
            name += f" ({yours.path.relative_to(folder)})"
        say(f"{name}: {'; '.join(notes)}")


def _record(path: Path) -> tuple[list[NotebookNode] | None, str]:
    """What the course gave last time; or None, and why."""
    try:
        return load(path).notebook.cells, ""
    except FileNotFoundError:
        return None, "there is no record of what the course gave last"
    except Unreadable as reason:
        return None, f"the record of what the course gave last is damaged ({reason})"


def _find(
    folder: Path,
    path: Path,
    base: list[NotebookNode] | None,
    given: dict[Path, NotebookNode],
) -> tuple[Yours | None, list[str]]:
    """The reader's notebook of a chapter, under whatever name, and what to say of it.

    One with the chapter's name that is not the chapter is left alone.
    """

    def is_the_chapter(notebook: Yours) -> bool:
        return likeness(notebook) >= 0.5

    def likeness(notebook: Yours) -> float:
        return _likeness(notebook.notebook.cells, base or given[path].cells)

    named, notes = None, []
    try:
        named = load(folder / path)
    except FileNotFoundError:
        pass
    except Unreadable as reason:
        notes = [f"{path} cannot be read ({reason}) and stays as it is"]
    if named and is_the_chapter(named):
        return named, []
    best = max(_others(folder, given), key=likeness, default=None)
    if best and is_the_chapter(best):
        return best, notes
    if named and base is not None:
        return named, []
    if named:
        notes = [f"{path} is a notebook of your own and stays as it is"]
    return None, notes


def _others(folder: Path, given: Collection[Path]) -> Iterator[Yours]:
    """The reader's notebooks that do not have the name of a chapter."""
    for path in sorted(folder.rglob("*.ipynb")):
        name = path.relative_to(folder)
        if name not in given and not any(p.startswith(".") for p in name.parts):
            with suppress(Unreadable, FileNotFoundError):
                yield load(path)


def _likeness(mine: list[NotebookNode], course: list[NotebookNode]) -> float:
    """The share of the course's exercises, or without any of its cells, in `mine`."""
    for key in (exercise_of, text):
        wanted = set(map(key, course)) - {None}
        if wanted:
            return len(wanted & set(map(key, mine))) / len(wanted)
    return 0.0


def _what_changed(merged: Merged, lost: str, version: str) -> list[str]:
    """What an update did to a notebook, in words."""
    counts = {"new": merged.new, "changed": merged.changed, "gone": merged.gone}
    parts = [f"{_count(n, 'cell')} {what}" for what, n in counts.items() if n]
    if merged.both:
        parts.append(
            f"both versions kept (yours in {_places(merged.both)}, "
            "the course's right below)"
        )
    if merged.asked_again:
        parts.append(
            f"exercise changed: see the note under {_places(merged.asked_again)}"
        )
    if merged.answers:
        parts.append(f"your {_count(merged.answers, 'answer')} kept")
    notes = [", ".join(parts)]
    if lost:
        notes.append(f"{lost}, so where in doubt both versions were kept")
    if version != CURRENT_FORMAT:
        notes.append(
            f"it was saved by another Jupyter (format {version}), "
            "as it was it is in .course/before"
        )
    return notes


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _places(numbers: list[int]) -> str:
    cells = "cell" if len(numbers) == 1 else "cells"
    return f"{cells} {', '.join(map(str, numbers))}"


def _keep_as_it_was(folder: Path, path: Path, yours: Yours) -> None:
    write_atomically(folder / ".course" / "before" / path, yours.data)


def _with_cells(notebook: NotebookNode, cells: list[NotebookNode]) -> NotebookNode:
    copy = nbformat.from_dict(notebook)
    copy.cells = cells
    # Every cell has an id now, which older formats do not know.
    copy.nbformat_minor = max(copy.nbformat_minor, nbformat.v4.nbformat_minor)
    return copy


def _write(path: Path, notebook: NotebookNode) -> None:
    # Half a character, which UTF-8 cannot hold, becomes its escape in JSON.
    data = nbformat.v4.writes(notebook).encode("utf-8", "backslashreplace")
    write_atomically(path, data + b"\n")


def _texts(cells: list[NotebookNode]) -> list[tuple[str, str]]:
    return list(map(text, cells))


def _free(path: Path) -> Path:
    """The path, or one like it that is not taken."""
    number, free = 1, path
    while os.path.lexists(free):
        extra = "fresh" if number == 1 else f"fresh-{number}"
        free = path.with_name(f"{path.stem}.{extra}{path.suffix}")
        number += 1
    return free


def _update_readme(folder: Path) -> None:
    """Write the folder's README.md anew, unless the reader changed it."""
    new = Path(__file__).with_name("workbook-readme.md").read_bytes()
    readme, record = folder / "README.md", folder / ".course" / "given" / "README.md"
    mine = readme.read_bytes() if readme.exists() else None
    base = record.read_bytes() if record.exists() else None
    if mine is None or (mine == base and mine != new):
        write_atomically(readme, new)
    if base != new:
        write_atomically(record, new)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the workbook's lock; the system lets go of it when the process ends."""
    lock = folder / ".course" / "lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WorkbookError(
                f"The workbook {folder} is being updated by another program: "
                "run this again when that is done."
            ) from None
        except OSError:
            pass  # some network file systems have no locks
        yield


def _cannot_write(folder: Path, error: OSError) -> str:
    why = error.strerror
    if isinstance(error, FileExistsError | NotADirectoryError):
        path = Path(error.filename)
        file = next((p for p in (path, *path.parents) if p.is_file()), path)
        why = f"{file} is a file where a folder should be"
    return (
        f"The workbook {folder} cannot be written: {why}. "
        "Nothing in it was lost; run this again when that is mended."
    )
