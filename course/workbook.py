"""The reader's copy of the chapters: made once, never overwritten."""

from __future__ import annotations

from pathlib import Path

import nbformat

from course import answers
from course.files import write_atomically
from course.notebooks import ROOT, chapters, read, write


def create(folder: Path | None = None) -> list[Path]:
    """Copy every notebook that is not in the workbook yet; return the new copies.

    The copies have no outputs and no solutions. A notebook that is there already is the
    reader's, and stays as it is.

    Raises:
        OSError: if the folder cannot be written.
    """
    folder = folder or answers.home()
    new = []
    for path in chapters():
        target = folder / path.relative_to(ROOT / "chapters")
        if not target.exists():
            write(for_the_reader(read(path)), target)
            new.append(target)
    readme = folder / "README.md"
    if not readme.exists():
        text = Path(__file__).with_name("workbook-readme.md").read_text("utf-8")
        write_atomically(readme, text)
    return new


def for_the_reader(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy without outputs, and without the folded solutions."""
    copy = nbformat.from_dict(notebook)
    copy.cells = [cell for cell in copy.cells if not _is_solution(cell)]
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return copy


def _is_solution(cell: nbformat.NotebookNode) -> bool:
    return cell.cell_type == "markdown" and "{dropdown} Solution" in cell.source
