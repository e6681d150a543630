"""`sundays`: the course from the command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from course import answers, workbook
from course.checks import chapters
from course.recheck import Outcome, recheck

SETTINGS = Path(__file__).with_name("jupyter")
"""JupyterLab asks no questions at its start, and shows texts instead of their source.

What the reader has set in JupyterLab comes first.
"""

app = typer.Typer(
    help="Five Sundays: build a GPT from an empty file.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _commands() -> None:
    """Keeps `sundays check` a subcommand even while there are few commands."""


@app.command()
def check() -> None:
    """Check all your kept answers again; show what is passed and what comes next."""
    console = Console()
    outcomes = []
    with console.status("checking") as status:
        for chapter, exercises in chapters().items():
            for exercise in exercises:
                status.update(f"checking {exercise.name}")
                outcomes.append(recheck(chapter, exercise))
    console.print(_table(outcomes))
    for outcome in outcomes:
        if outcome.problem:
            console.print(f"{outcome.exercise.name}: {outcome.problem}", markup=False)
    todo = [outcome.exercise for outcome in outcomes if not outcome.passed]
    done = len(outcomes) - len(todo)
    line = f"{done} of {len(outcomes)} parts are yours."
    if todo:
        minutes = sum(exercise.minutes for exercise in todo)
        line += f" Next: {todo[0].name}. About {minutes} minutes to go."
    console.print(line, soft_wrap=True)
    if any(outcome.problem for outcome in outcomes):
        raise typer.Exit(1)


@app.command()
def lab(
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
) -> None:
    """Bring your workbook up to date with the course, and open JupyterLab on it."""
    folder = answers.home().absolute()
    try:
        notebooks = workbook.update(folder)
    except workbook.WorkbookError as problem:
        sys.exit(str(problem))
    print(
        f"Your workbook is {folder}. In JupyterLab, Shift+Enter runs a cell; "
        "Ctrl+C here ends JupyterLab.",
        flush=True,
    )
    command = [sys.executable, "-m", "jupyterlab", f"--notebook-dir={folder}"]
    # What the update says stays in sight.
    command += ["--log-level=WARN", "--LabApp.log_level=WARN"]
    if start := _where_to_start(notebooks):
        command.append(f"--LabApp.default_url=/lab/tree/{quote(str(start))}")
    if not browser:
        command.append("--no-browser")
    if os.geteuid() == 0:
        command.append("--allow-root")  # as in a container; it serves this machine only
    # The kernels run in other folders: for them the place must not be relative.
    os.environ["FIVE_SUNDAYS_HOME"] = str(folder)
    own = os.environ.get("JUPYTER_CONFIG_PATH")
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(
        filter(None, [own, str(SETTINGS)])
    )
    # JupyterLab takes this process over, so that Ctrl+C asks and ends it properly.
    os.execv(command[0], command)


def _where_to_start(notebooks: dict[Path, Path]) -> Path | None:
    """The first notebook with an exercise that is not passed yet."""
    places = {path.stem.replace("-", "_"): place for path, place in notebooks.items()}
    for chapter, exercises in chapters().items():
        if chapter in places and len(answers.passed(chapter)) < len(exercises):
            return places[chapter]
    return None


def _table(outcomes: list[Outcome]) -> Table:
    table = Table("chapter", "exercise", "level", "min", "state", box=box.SIMPLE)
    table.columns[1].no_wrap = True
    chapter = ""
    for outcome in outcomes:
        exercise = outcome.exercise
        table.add_row(
            outcome.chapter.replace("_", "-") if outcome.chapter != chapter else "",
            exercise.name,
            "●" * exercise.difficulty + "○" * (3 - exercise.difficulty),
            str(exercise.minutes),
            outcome.state,
        )
        chapter = outcome.chapter
    return table


def main() -> None:
    """The entry point of `sundays`."""
    app()


if __name__ == "__main__":
    main()
