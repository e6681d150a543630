"""`sundays progress`: every Sunday with its chapters, and the file for the group."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from course import progress, verdict
from course.checks import chapters
from course.progress import Part
from course.weeks import Week, weeks

MARKS = {
    "passed": (verdict.MARKS["passed"], "green"),
    "tried": (verdict.MARKS["not yet"], "yellow"),
    "to do": (verdict.MARKS["not started"], ""),
}

MOST_EXERCISES = max(map(len, chapters().values()))
"""Of one chapter."""


def show() -> None:
    """Print the table and the two lines, and what is wrong with answers or plan."""
    console, parts = Console(), progress.parts()
    console.print()
    console.print(_table(parts, progress.this_week(known=parts)))
    console.print()
    console.print(_legend())
    console.print()
    lines = [progress.two_lines(known=parts), progress.plan_problem()]
    lines += progress.problem_lines(parts)
    for line in filter(None, lines):
        console.print(line, markup=False, highlight=False)


def share(path: Path | None, name: str | None) -> None:
    """Write the file for the group; ask for a name, once, where someone can answer.

    Raises:
        ShareError: if it cannot be written; says in one line why.
    """
    if name is None and not progress.name_is_known() and sys.stdin.isatty():
        name = input("Your name on the board? Empty for none: ")
    target, shared = progress.share(path, name)
    who = f"and no name: the board calls you member {shared.id[:4]}."
    if shared.name:
        who = f"but your name: {shared.name}"
    print(
        f"Written: {target}\n"
        f"It says which {len(shared.passed)} exercises passed, on which day, and how "
        f"many tries each took. It holds no answer, {who}"
    )


def _table(parts: list[Part], here: Week) -> Table:
    """What passed, the tries, and the minutes left; fits 60 columns.

    The Sunday of the week `here` is marked.
    """
    shown = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, padding=0)
    for name in ("", "chapter", "passed"):
        shown.add_column(name, no_wrap=True)
    for name in ("tries", "min left"):
        shown.add_column(name, no_wrap=True, justify="right")
    for week in weeks():
        sign, style = ("▸", "bold") if week == here else (" ", None)
        for number, chapter in enumerate(progress.chapters_of(week)):
            known = progress.of(parts, chapter)
            passed = sum(part.passed is not None for part in known)
            marks = _marks(part.state for part in known)
            marks.pad_right(MOST_EXERCISES - len(known))
            shown.add_row(
                f"{sign} {week.number}" if number == 0 else "",
                progress.title_of(chapter),
                marks.append(f" {passed}/{len(known)}"),
                str(sum(part.tries for part in known)),
                str(progress.minutes_left(known)),
                style=style,
            )
    return shown


def _legend() -> Text:
    """What the signs of the table mean."""
    words = [Text.assemble(_marks([state]), f" {state}") for state in MARKS]
    return Text("   ").join([*words, Text("▸ this Sunday")])


def _marks(states: Iterable[str]) -> Text:
    return Text.assemble(*map(MARKS.__getitem__, states))
