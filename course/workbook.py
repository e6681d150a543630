"""The reader's copy of the chapters: made, and brought up to date, never overwritten.

An update has to tell what the reader changed from what the course changed. So what the
course gave is kept in the hidden folder `.course`, under a name made from its content,
and each notebook says in its metadata from which of these it comes:

    week1/tokens.ipynb                  the reader's; its metadata say 3f2a...
    .course/given/3f2a....ipynb         what the course gave: the base of the merge
    .course/before/week1/tokens.ipynb   the reader's, as it was before the last update
    .course/lock                        held while an update runs

An update writes `given`, then `before`, then the reader's notebook, each at once or not
at all. Stopped between any two, it has lost nothing, and the next one does the rest. A
JupyterLab that was open meanwhile may put the old notebook back: that one still says
where it comes from, so the next update brings the same again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.sign import NotebookNotary
from sphinx.config import Config
from sphinx.directives.code import LiteralInclude, LiteralIncludeReader

from course import answers
from course.files import remove_unfinished, write_atomically
from course.merge import Merged, merge, text
from course.notebooks import ROOT, chapters, exercise_of, read
from course.weeks import weeks

CURRENT_FORMAT = f"{nbformat.v4.nbformat}.{nbformat.v4.nbformat_minor}"

SOLUTION = re.compile(
    r"^(?P<fence>:{3,})\{dropdown\} Solution.*?^(?P=fence)$\n?",
    re.MULTILINE | re.DOTALL,
)
"""A folded solution; the prose around it stays in the reader's copy."""

INCLUDE = re.compile(
    r"^(?P<fence>:{3,})\{literalinclude\} (?P<file>.+)\n"
    r"(?P<options>(?::[\w-]+:.*\n)*)"
    r"(?P=fence)$",
    re.MULTILINE,
)
"""Code that the book takes from a file of the course."""

LINK = re.compile(r"\[(?P<words>[^][]+)\]\((?P<page>[\w./-]+)\)")
"""A link to another page of the book, which is named without its ending."""

MARK = "five_sundays"
"""Where a notebook's metadata say what the course had given when it was updated."""

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
    mark: str | None  # the name of what the course had given


def update(
    folder: Path | None = None, root: Path = ROOT, say: Say = print
) -> dict[Path, Path]:
    """Give the reader every chapter, and what is new in those that they have.

    The copies have no outputs and no solutions. Says one line for each notebook that
    changed or that needs the reader's eye. Returns where the reader's notebook of each
    chapter is; both paths start at the folder.

    Raises:
        WorkbookError: if the folder cannot be written, or another update is running.
    """
    folder = folder or answers.home()
    given = {
        path.relative_to(root / "chapters"): for_the_reader(read(path), path.parent)
        for path in chapters(root)
    }
    try:
        with _alone(folder):
            remove_unfinished(folder)
            places = {p: _update_chapter(folder, p, given, say) for p in given}
            _update_readme(folder)
    except OSError as error:
        raise WorkbookError(_cannot_write(folder, error)) from error
    return {path: place.relative_to(folder) for path, place in places.items()}


def make_notes(folder: Path) -> None:
    """Make the folder for the group's own notes, once; it is never touched again.

    Raises:
        WorkbookError: if it cannot be made.
    """
    notes = folder / "notes"
    if os.path.lexists(notes):
        return
    text = Path(__file__).with_name("notes-readme.md").read_text("utf-8")
    text += "".join(f"- `sunday-{w.number}.md`: {w.title}\n" for w in weeks())
    try:
        write_atomically(notes / "README.md", text)
    except OSError as error:
        raise WorkbookError(
            f"The folder {notes} for your group's notes cannot be made: "
            f"{error.strerror}. Make it yourself, or run this again."
        ) from error


def for_the_reader(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """A copy that needs no book: without outputs and the folded solutions.

    Code from the course's files, named relative to `folder`, is put in its place.
    """
    copy = nbformat.from_dict(notebook)
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            continue
        if SOLUTION.search(cell.source):
            cell.source = SOLUTION.sub("", cell.source).strip()
        cell.source = INCLUDE.sub(lambda found: _code(found, folder), cell.source)
        cell.source = LINK.sub(lambda found: _link(found, folder), cell.source)
    copy.cells = [cell for cell in copy.cells if cell.source]
    return copy


def _code(found: re.Match, folder: Path) -> str:
    """What the book shows for a `literalinclude`, as a block of code."""
    options = {
        name: LiteralInclude.option_spec[name](value.strip())
        for name, value in re.findall(r"^:([\w-]+):(.*)$", found["options"], re.M)
    }
    file = str(folder / found["file"].strip())
    lines, _ = LiteralIncludeReader(file, options, Config()).read()
    return f"````python\n{lines.rstrip()}\n````"


def _link(found: re.Match, folder: Path) -> str:
    """A link to a notebook by its whole name; of one to another page, the words."""
    page = found["page"]
    if (folder / f"{page}.ipynb").is_file():
        return f"[{found['words']}]({page}.ipynb)"
    return found["words"] if (folder / f"{page}.md").is_file() else found[0]


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
        mark = notebook.metadata.get(MARK)
    # What is no notebook fails in many ways.
    except Exception as error:
        raise Unreadable(why) from error
    return Yours(path, data, notebook, version, mark if isinstance(mark, str) else None)


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
) -> Path:
    """Bring one chapter up to date; `path` is its place in the workbook.

    Returns where the reader's notebook is.
    """
    new = given[path]
    yours, notes = _find(folder, path, given)
    place = yours.path if yours else _free(folder / path)
    if yours is None:
        _write(place, _marked(new, _give(folder, new)), trusted=True)
        notes.append(f"new in your workbook: {place.relative_to(folder)}")
    else:
        base, lost = _base(folder, yours)
        merged = merge(base, new.cells, yours.notebook.cells)
        changed = _texts(merged.cells) != _texts(yours.notebook.cells)
        if changed or lost:
            updated = _with_cells(yours.notebook, merged.cells)
            updated = _marked(updated, _give(folder, new))
            _keep_as_it_was(folder, path, yours)
            if place.read_bytes() != yours.data:  # saved in Jupyter just now
                return _update_chapter(folder, path, given, say)
            _write(place, updated, trusted=_is_trusted(yours.notebook))
        if changed:
            notes += _what_changed(merged, lost, yours.format)
        elif lost:
            notes.append(f"{lost}; it is made again")
        notes += _twice(merged.cells)
    if notes:
        name = path.stem
        if place != folder / path and yours:
            name += f" ({place.relative_to(folder)})"
        say(f"{name}: {'; '.join(notes)}")
    return place


def _give(folder: Path, new: NotebookNode) -> str:
    """Keep what the course gives; its name, which is made from its content."""
    data = _data(new)
    name = _name(data)
    write_atomically(folder / ".course" / "given" / f"{name}.ipynb", data)
    return name


def _name(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _base(folder: Path, yours: Yours) -> tuple[list[NotebookNode], str]:
    """What the course had given when the notebook was last updated; or [], and why."""
    records = list((folder / ".course" / "given").glob("*.ipynb"))
    if yours.mark is None:
        # Another program has dropped the mark: the texts tell, or else the time.
        records.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        known = [cells for path in records if (cells := _recorded(path)) is not None]
        best = max(known, key=lambda c: _in_common(c, yours.notebook.cells), default=[])
        if _in_common(best, yours.notebook.cells):
            return best, ""
    for path in records:
        if path.stem == yours.mark:
            cells = _recorded(path)
            why = "the record of what the course gave last is damaged"
            return ([], why) if cells is None else (cells, "")
    return [], "there is no record of what the course gave last"


def _recorded(path: Path) -> list[NotebookNode] | None:
    """The cells of what the course gave once; None if it is damaged."""
    try:
        record = load(path)
    except (Unreadable, FileNotFoundError):
        return None
    return record.notebook.cells if _name(record.data) == path.stem else None


def _in_common(some: list[NotebookNode], others: list[NotebookNode]) -> int:
    return (Counter(_texts(some)) & Counter(_texts(others))).total()


def _find(
    folder: Path, path: Path, given: dict[Path, NotebookNode]
) -> tuple[Yours | None, list[str]]:
    """The reader's notebook of a chapter, under whatever name, and what to say of it.

    One with the chapter's name that is not the chapter is left alone.
    """

    def likeness(notebook: Yours) -> float:
        return _likeness(notebook.notebook.cells, given[path].cells)

    named, notes = None, []
    try:
        named = load(folder / path)
    except FileNotFoundError:
        pass
    except Unreadable as reason:
        notes = [f"{path} cannot be read ({reason}) and stays as it is"]
    if named and (named.mark or likeness(named) >= 0.5):
        return named, []
    best = max(_others(folder, given), key=likeness, default=None)
    if best and likeness(best) >= 0.5:
        return best, notes
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
    parts += [f"exercise {name}, which you deleted, is back" for name in merged.back]
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


def _twice(cells: list[NotebookNode]) -> Iterator[str]:
    """Says of each exercise that stands in several cells what that means."""
    places: dict[str, list[int]] = {}
    for number, cell in enumerate(cells, 1):
        if name := exercise_of(cell):
            places.setdefault(name, []).append(number)
    for name, numbers in places.items():
        if len(numbers) > 1:
            yield f"{name} is in {_places(numbers)}: the last one that passes is kept"


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


def _marked(notebook: NotebookNode, mark: str) -> NotebookNode:
    copy = nbformat.from_dict(notebook)
    copy.metadata[MARK] = mark
    return copy


def _write(path: Path, notebook: NotebookNode, trusted: bool) -> None:
    """Write a notebook; of a trusted one, Jupyter shows the outputs as they are."""
    data = _data(notebook)
    write_atomically(path, data)
    if trusted:
        # Without a signature the outputs must run again, and no more than that.
        with suppress(OSError, UnicodeError):
            NotebookNotary().sign(nbformat.reads(data.decode(), as_version=4))


def _is_trusted(notebook: NotebookNode) -> bool:
    """Whether Jupyter knows the notebook with its outputs as the reader's own work."""
    try:
        return NotebookNotary().check_signature(notebook)
    except (OSError, UnicodeError):
        return False


def _data(notebook: NotebookNode) -> bytes:
    # Half a character, which UTF-8 cannot hold, becomes its escape in JSON.
    return (nbformat.v4.writes(notebook) + "\n").encode("utf-8", "backslashreplace")


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
