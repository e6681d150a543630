"""Commands of a course, typed on any day, and killed at any moment.

    with opened(copied(folder / "course"), folder) as course:
        done = course.run("progress", home=home, at=moment)

Every command is a process of its own: it is forked from one that has imported all of
that copy of the course, so that it starts at once. What it does it does to real files;
only its clock is set, and in place of JupyterLab a line says how that was started.

This file runs twice: it is imported by the test, and it is the process that forks. So
it imports nothing of the course by itself.
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = ("course", "solutions", "mine", "chapters", "assets")
"""What the commands of a course need, besides the table of contents."""

VERDICT = "verdict: "
"""How a line begins that says what became of a cell."""

JUPYTERLAB = 'import sys\nprint("JupyterLab:", *sys.argv[1:])\n'


# ---- in the test --------------------------------------------------------------------


def copied(target: Path) -> Path:
    """A copy of the course that may be changed."""
    target.mkdir(parents=True)
    shutil.copy2(ROOT / "_toc.yml", target)
    for part in PARTS:
        shutil.copytree(
            ROOT / part, target / part, ignore=shutil.ignore_patterns("__pycache__")
        )
    return target


def environment(root: Path, home: Path, **more: str) -> dict[str, str]:
    """What a process of this copy of the course is started with."""
    path = os.pathsep.join([str(root.parent / "instead"), str(root)])
    own = {"FIVE_SUNDAYS_HOME": str(home), "COLUMNS": "200", "NO_COLOR": "1"}
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | own | more


@dataclass(frozen=True)
class Done:
    """What a process said, and how it ended: below 0 by a signal."""

    said: str
    status: int

    @property
    def killed(self) -> bool:
        return self.status == -signal.SIGKILL

    @property
    def verdicts(self) -> list[tuple[str, str]]:
        """Of the cells that it ran: exercise and verdict."""
        lines = self.said.splitlines()
        return [
            tuple(line.removeprefix(VERDICT).split(" ", 1))
            for line in lines
            if line.startswith(VERDICT)
        ]


class Course:
    """A copy of the course, ready to run commands."""

    def __init__(self, root: Path, process: subprocess.Popen) -> None:
        self.root, self.process = root, process

    def run(
        self,
        *arguments: str,
        home: Path,
        at: datetime.datetime,
        die: tuple[str, str] | None = None,
        action: str = "sundays",
        **more: str,
    ) -> Done:
        """Run `sundays` with these arguments, or another action; `more` is environment.

        `die`: "before" or "after" a file whose path ends so gets its name, or "cell"
        and an exercise, after whose cell it is.
        """
        said = self.root.parent / "said.txt"
        order = {
            "action": action,
            "arguments": arguments,
            "at": at.isoformat(),
            "die": die,
            "environment": {"FIVE_SUNDAYS_HOME": str(home)} | more,
            "said": str(said),
        }
        print(json.dumps(order), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        assert answer, "the process that forks has ended"
        return Done(said.read_text("utf-8"), int(answer))

    def work(self, cells: Sequence[tuple[str, str, str]], **more: object) -> Done:
        """Write cells into the notebooks of a home, save, and run them, in this order.

        Each is the path of its notebook, its exercise and its new text.
        """
        return self.run(json.dumps(cells), action="work", **more)


@contextmanager
def opened(root: Path) -> Iterator[Course]:
    """Start the process that forks."""
    instead = root.parent / "instead"
    instead.mkdir(exist_ok=True)
    (instead / "jupyterlab.py").write_text(JUPYTERLAB)
    # Without -P the folder of this file would come before the copy.
    with subprocess.Popen(
        [sys.executable, "-P", str(Path(__file__)), str(root)],
        cwd=root,
        env=environment(root, root.parent / "nobody"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Course(root, process)
        process.stdin.close()
        assert process.wait(60) == 0


# ---- in the process that forks ------------------------------------------------------


class Clock(datetime.datetime):
    """Goes on from a moment that is not now."""

    ahead = datetime.timedelta()

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Clock:
        return super().now(tz) + cls.ahead


def main(root: Path) -> None:
    """Take orders, one a line, until there are no more."""
    datetime.datetime = Clock  # before anything of the course takes it from there
    import torch

    from course import cli, exercise, group, plan_command, workbook, yours  # noqa: F401
    from course.checks import chapters

    assert Path(cli.__file__).is_relative_to(root), cli.__file__
    chapters()
    # At its first step on another device torch imports much more, which would count as
    # time of the answer that is checked.
    torch.zeros(1, device="meta") / 2
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(_obey(json.loads(line)))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _obey(order: dict) -> int:
    """Do it in this process, and return its exit status as Python would."""
    said = os.open(order["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for number, given in enumerate([os.open(os.devnull, os.O_RDONLY), said, said]):
        os.dup2(given, number)
    sys.stdin = open(0)  # noqa: SIM115
    sys.stdout = sys.stderr = open(1, "w", buffering=1, encoding="utf-8")  # noqa: SIM115
    os.environ.update(order["environment"])
    Clock.ahead = Clock.fromisoformat(order["at"]) - Clock.now(datetime.UTC)
    die = tuple(order["die"] or ("", ""))
    _die_at_a_file(*die)
    try:
        {"sundays": _sundays, "work": _work, "report": _report}[order["action"]](
            *order["arguments"], **{"die": die} if order["action"] == "work" else {}
        )
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code)
        return 1 if isinstance(end.code, str) else end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
    return 0


def _sundays(*arguments: str) -> None:
    from course.cli import app

    sys.argv = ["sundays", *arguments]
    app()


def _report() -> None:
    from course import yours

    print(yours.report())


def _work(cells: str, die: tuple[str, str]) -> None:
    """Do in one process what a member does in the kernels of a day."""
    import linecache

    import nbformat

    from course import answers
    from course.exercise import verdicts
    from course.notebooks import exercise_of

    def run(text: str, name: str, names: dict) -> None:
        file = f"<cell {place} {name}>"
        linecache.cache[file] = (len(text), None, text.splitlines(True), file)
        exec(compile(text, file, "exec"), names)

    open_books: dict[Path, dict] = {}
    for place, name, text in json.loads(cells):
        path = answers.home() / place
        notebook = nbformat.read(path, as_version=4)
        if path not in open_books:
            open_books[path] = {"__name__": "__main__"}
            first = next(cell for cell in notebook.cells if "begin(" in cell.source)
            run(first.source, "begin", open_books[path])
        (cell,) = (cell for cell in notebook.cells if exercise_of(cell) == name)
        if cell.source != text:
            cell.source = text
            cell.execution_count = len(verdicts) + 1
            nbformat.write(notebook, path)
        run(text, name, open_books[path])
        print(f"{VERDICT}{name} {verdicts[name].status}")
        if die == ("cell", name):
            os.kill(os.getpid(), signal.SIGKILL)


def _die_at_a_file(moment: str, end: str) -> None:
    """Let this process be killed before or after a file gets its name."""
    if moment not in ("before", "after"):
        return
    replace = os.replace

    def replace_and_die(source: str, target: str, **more: object) -> None:
        here = str(target).endswith(end)
        if not here or moment == "after":
            replace(source, target, **more)
        if here:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace_and_die


if __name__ == "__main__":
    main(Path(sys.argv[1]))
