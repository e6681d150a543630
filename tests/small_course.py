"""A course of two small chapters, its update, and a reader who works in a copy."""

from __future__ import annotations

import json
from pathlib import Path

from nbformat import NotebookNode

from course import workbook
from course.files import UNFINISHED
from course.merge import text


def md(source, id=None):
    id = id or "md-" + source.strip("#- ")[:1]
    return NotebookNode(cell_type="markdown", id=id, metadata={}, source=source)


def code(source, id=None):
    return NotebookNode(
        cell_type="code",
        execution_count=None,
        id=id or f"code-{source[:1]}",
        metadata={},
        outputs=[],
        source=source,
    )


def stub(name, doc="Add.", id=None):
    source = f'@exercise\ndef {name}(a):\n    """{doc}"""\n    ...  # your turn'
    return code(source, id or f"stub-{name}")


FIRST = {
    "week1/letters": [
        md("# Letters"),
        stub("count"),
        md("Now use it."),
        code("count('abc')", "use"),
        stub("join"),
    ],
    "week2/words": [md("# Words"), stub("split"), md("The end.")],
}
LATER = {
    "week1/letters": [
        md("# Letters, better", "md-L"),
        stub("count"),
        md("Now use it."),
        code("count('abcd')", "use"),
        md("A new thought.", "thought"),
        stub("join", "Join, with a sign between."),
    ],
    "week2/words": [md("# Words"), md("Hello.", "hello"), stub("split")],
    "week3/lines": [md("# Lines"), stub("wrap")],
}
ANSWERS = {
    "week1/letters": {
        1: '@exercise\ndef count(a):\n    """Add."""\n    return len(a)',
        4: '@exercise\ndef join(a):\n    """Add."""\n    return "".join(a)',
    },
    "week2/words": {
        1: '@exercise\ndef split(a):\n    """Add."""\n    return a.split()'
    },
}
SCRATCH = "my_own = 'experiment'"


def publish(root: Path, chapters: dict[str, list[NotebookNode]]) -> Path:
    """Lay out a course with these chapters."""
    for name, cells in chapters.items():
        save(root / "chapters" / f"{name}.ipynb", cells)
    return root


def save(path, cells, minor=5, metadata=None, **more):
    """Save as Jupyter does: what the metadata of the file say stays, if not given."""
    if metadata is None:
        metadata = json.loads(path.read_text())["metadata"] if path.exists() else {}
    content = {"cells": cells, "metadata": metadata, "nbformat": 4}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content | {"nbformat_minor": minor} | more))


def cells_of(path):
    return workbook.load(path).notebook.cells


def sources_of(path):
    return [cell.source for cell in cells_of(path)]


def work(folder: Path) -> None:
    """What a reader does: answers every exercise, and adds cells and files."""
    for name, answers in ANSWERS.items():
        path = folder / f"{name}.ipynb"
        cells = cells_of(path)
        for place, answer in answers.items():
            cells[place].source = answer
        save(path, [*cells, code(SCRATCH, "mine")])
    (folder / "week1" / "notes.txt").write_text("my notes")


def lost(folder: Path) -> list[str]:
    """Everything of the reader's work that is not where the reader left it."""
    missing = []
    for name, answers in ANSWERS.items():
        there = sources_of(folder / f"{name}.ipynb")
        missing += [s for s in [*answers.values(), SCRATCH] if s not in there]
    notes = folder / "week1" / "notes.txt"
    return missing + ([] if notes.read_text() == "my notes" else ["notes"])


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a workbook that is not left over from a write cut short."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(UNFINISHED)
    }


def all_texts(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """The cells of every notebook, without the ids, which may differ."""
    return {
        name: [text(cell) for cell in cells_of(folder / name)]
        for name in contents(folder)
        if name.endswith(".ipynb")
    }


def update(folder: Path, root: Path) -> list[str]:
    """Update, and return the lines that it says."""
    lines: list[str] = []
    workbook.update(folder, root, lines.append)
    assert all("\n" not in line for line in lines)
    return lines
