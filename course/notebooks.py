"""Executes the chapters' notebooks, and fills their exercises for a test run.

    python -m course.notebooks execute               run all, keep the outputs
    python -m course.notebooks solve .build/solved   copies with the solutions in place
    python -m course.notebooks spoil .build/spoiled  copies with wrong answers in place
    python -m course.notebooks gpu .build/gpu        solved copies that must use CUDA

`execute` takes notebooks, too, to run only these. It notes when, where and how long in
`course/records/executions.json`. The copies keep the committed outputs, so that nbval
compares every cell: a reader who solved everything, or nothing, sees the same results.
Only the verdicts differ; a last cell asserts them.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from course import executions
from course.checks import find
from course.files import write_atomically
from course.source import source_of

ROOT = Path(__file__).parents[1]
CELL_SECONDS = 90
UNCOMPARED = "nbval-ignore-output"

EXERCISE = re.compile(
    r"^@exercise\b.*\n"
    r"(?:(?:[@#].*)?\n)*"  # other decorators, and comments
    r"(?:def|class)\s+(?P<name>\w+)",
    re.MULTILINE,
)

OWN_FOLDER = """\
import os, tempfile
os.environ["FIVE_SUNDAYS_HOME"] = tempfile.mkdtemp(prefix="five-sundays-")"""

ALL_PASSED = """\
from course.exercise import verdicts
failed = [v for v in map(verdicts.get, {names}) if v.status != "passed"]
assert not failed, failed
unkept = [v.note for v in verdicts.values() if not v.note.startswith("Kept")]
assert not unkept, unkept"""

NONE_PASSED = """\
from course.exercise import verdicts
passed = [name for name in {names} if verdicts[name].status != "not yet"]
assert not passed, passed"""

CUDA_WORKED = """\
import torch
assert torch.cuda.is_available(), "no CUDA device: run this on a machine with a GPU"
assert torch.cuda.max_memory_allocated() > 0, "this notebook left the GPU idle\""""


def chapters(root: Path = ROOT) -> list[Path]:
    """Every notebook of the course, in order."""
    return sorted((root / "chapters").rglob("*.ipynb"))


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def write(notebook: NotebookNode, path: Path) -> None:
    nbformat.validate(notebook)
    write_atomically(path, nbformat.writes(notebook) + "\n")


def execute(path: Path) -> None:
    """Run a notebook in a fresh kernel, as a reader without answers, and keep it.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell fails; the file is unchanged.
    """
    notebook = read(path)
    # What the last run left must not survive in a cell that prints nothing now.
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    with tempfile.TemporaryDirectory() as empty:
        os.environ["FIVE_SUNDAYS_HOME"] = empty
        os.environ["FIVE_SUNDAYS_RECORD"] = "1"
        # As under pytest: what is trained on more threads differs in its last digits.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            resources={"metadata": {"path": str(path.parent)}},
            record_timing=False,
            store_widget_state=False,
            # A kernel that this process alone reaches warns of its own connection.
            extra_arguments=["--log-level=ERROR"],
        ).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {
                "display_name": "Python 3",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
        }
    )
    write(notebook, path)


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """What was printed in one go, as one output: a slow kernel sends it in pieces."""
    joined: list[NotebookNode] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if last and "name" in output and last.get("name") == output.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined


def exercise_name(source: str) -> str | None:
    """The exercise that the text of a code cell holds, told by its `@exercise`.

    The text need not be Python: a reader's may have magics, or a mistake in it.
    """
    found = EXERCISE.search(source)
    return found["name"] if found else None


def exercise_of(cell: NotebookNode) -> str | None:
    """The exercise that a cell holds, or None."""
    return exercise_name(cell.source) if cell.cell_type == "code" else None


def filled(
    notebook: NotebookNode, answer: Callable[[str], str], last: str
) -> NotebookNode:
    """A copy whose exercise cells hold `answer(name)` and whose last cell is `last`.

    Raises:
        ValueError: if the notebook has no exercise.
    """
    copy = nbformat.from_dict(notebook)
    names = []
    for cell in copy.cells:
        name = exercise_of(cell)
        if name is not None:
            names.append(name)
            cell.source = answer(name)
            _uncompared(cell)
    if not names:
        raise ValueError("the notebook has no exercise")
    copy.cells.insert(0, _new_cell(OWN_FOLDER))
    copy.cells.append(_new_cell(last.format(names=names)))
    return copy


def solved(name: str) -> str:
    """The text of the validated solution, as a reader might have written it."""
    from course.exercise import solution

    chapter, _ = find(name)
    return _as_answer(solution(chapter, name), name)


def spoiled(name: str) -> str:
    """The text of a plausible wrong answer, from the collection of the tests."""
    from tests.answers import everything

    code = next(w.code for w in everything() if w.exercise == name and w.says)
    return _as_answer(code, name)


def _as_answer(code: Callable, name: str) -> str:
    """The text of `code` with what it uses, defined as exercise `name`."""
    from course.checks import of_chapter
    from course.source import standalone

    source = source_of(code)
    (node,) = ast.parse(source).body
    node.decorator_list = [
        d
        for d in node.decorator_list
        if not ast.unparse(d).startswith(("right", "wrong"))
    ]
    chapter, _ = find(name)
    others = [e.name for e in of_chapter(chapter)]
    text = standalone(code, ast.unparse(node) + "\n", others)
    text = text.removeprefix("from __future__ import annotations\n")
    # Renaming comes last: the text was looked up under the name it has in its file.
    tree = ast.parse(text)
    node = tree.body[-1]
    own = node.name
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id == own:
            part.id = name
    node.name = name
    node.decorator_list.insert(0, ast.Name("exercise"))
    return "from __future__ import annotations\n" + ast.unparse(tree)


def _new_cell(source: str) -> NotebookNode:
    cell = nbformat.v4.new_code_cell(source, execution_count=0)
    _uncompared(cell)
    return cell


def _uncompared(cell: NotebookNode) -> None:
    cell.metadata["tags"] = sorted({*cell.metadata.get("tags", ()), UNCOMPARED})


def _copies(folder: Path, answer: Callable[[str], str], last: str) -> Iterator[Path]:
    for path in chapters():
        target = folder / path.relative_to(ROOT / "chapters")
        write(filled(read(path), answer, last), target)
        yield target


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m course.notebooks")
    parser.add_argument("action", choices=["execute", "solve", "spoil", "gpu"])
    parser.add_argument("paths", nargs="*", type=Path)
    options = parser.parse_args(arguments)
    if options.action == "execute":
        missing = [str(path) for path in options.paths if not path.is_file()]
        if missing:
            parser.error(f"there is no notebook {missing[0]}")
        try:
            executions.recorded()  # before the minutes that a run takes
        except executions.NoRecord as problem:
            parser.error(str(problem))
        for path in options.paths or chapters():
            print(f"executing {path}", flush=True)
            began = time.monotonic()
            execute(path.resolve())
            executions.keep(path, time.monotonic() - began)
        return 0
    if len(options.paths) != 1:
        parser.error(f"{options.action} needs one folder to write to")
    answer, last = {
        "solve": (solved, ALL_PASSED),
        "spoil": (spoiled, NONE_PASSED),
        "gpu": (solved, f"{ALL_PASSED}\n{CUDA_WORKED}"),
    }[options.action]
    for path in _copies(options.paths[0], answer, last):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
