"""What the leader of a Sunday sees at a glance: the board of the group, drawn.

As text in a terminal, as HTML in a notebook, as a page for a projector and a phone.
"""

from __future__ import annotations

import io
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from string import ascii_letters

from rich import box
from rich.console import Console, RenderableType
from rich.console import Group as Lines
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from course.checks import chapters
from course.standing import (
    Group,
    Help,
    State,
    Tally,
    exercises,
    first_words,
    helping,
    newest,
    reason,
    state,
    stuck,
    tally,
)
from course.verdict import MARKS
from course.weeks import Week, weeks

SIGNS: dict[State, str] = {
    "passed": MARKS["passed"],
    "tried": MARKS["not yet"],
    "not begun": MARKS["not started"],
}
COLOURS: dict[State, str] = {"passed": "green", "tried": "yellow", "not begun": "dim"}

THEN = 2  # exercises to talk about after the first
NOTES = 12  # in a terminal; the page has all


@dataclass(frozen=True)
class Board:
    """A group, and the Sunday that it is shown for."""

    group: Group
    week: Week
    today: date
    folder: str

    @cached_property
    def tallies(self) -> list[Tally]:
        """How the group stands with each exercise of this Sunday, a bonus included."""
        own = exercises(self.week.chapters + self.week.bonus)
        return [tally(self.group, *one) for one in own]

    @cached_property
    def needed(self) -> list[Tally]:
        """The same without the bonus, which nobody has to have done."""
        return [one for one in self.tallies if one.chapter in self.week.chapters]

    @property
    def title(self) -> str:
        return f"Sunday {self.week.number}: {self.week.title}"

    @property
    def size(self) -> str:
        """How many members there are, and of when their newest file is."""
        members = self.group.members
        if not members:
            share = f"sundays progress --share {shlex.quote(self.folder)}"
            return (
                f"There is no member's file in {self.folder} yet. Each member writes "
                f"one: `{share}`."
            )
        day = newest(self.group, self.today)
        count = f"{len(members)} member{'s' * (len(members) != 1)}"
        return f"{count}; the newest file is of {day.day} {day:%B %Y}."

    @cached_property
    def first(self) -> tuple[str, str]:
        """The exercise to talk about first, and why."""
        return first_words(self.needed)

    @cached_property
    def then(self) -> list[tuple[str, str]]:
        """Where the group is stuck, too."""
        others = stuck(self.needed)[1 : 1 + THEN]
        return [(one.exercise.name, reason(one)) for one in others]

    @cached_property
    def help(self) -> list[Help]:
        """Who can help whom: with what is stuck, with this Sunday, with the rest."""
        order = stuck(self.tallies)
        order += [one for one in self.tallies if one not in order]
        known = {one.exercise.name for one in order}
        order += [
            tally(self.group, chapter, exercise)
            for chapter, exercise in exercises(list(chapters()))
            if exercise.name not in known
        ]
        return helping(self.group, order, self.today)

    def rows(self) -> Iterator[tuple[str, list[State], list[State]]]:
        """Each member: what to call it, this Sunday's exercises, all Sundays."""
        names = [one.exercise.name for one in self.tallies]
        needed = [[e.name for _, e in exercises(week.chapters)] for week in weeks()]
        label = self.group.labels()
        for member in self.group.members:
            whole = [
                _together([state(member, name) for name in sunday]) for sunday in needed
            ]
            yield label[member.id], [state(member, name) for name in names], whole

    def letters(self) -> str:
        """A letter for each exercise, by which the columns are known."""
        return ascii_letters[: len(self.tallies)]

    def __rich__(self) -> RenderableType:
        """The board for a terminal; what to do stands last, just above the prompt."""
        # A command is in one piece, to be copied.
        size = Text(self.size, no_wrap=True, overflow="ignore")
        head = [Text(self.title, "bold"), size]
        if not self.group.members:
            return Lines(*head, *self._notes())
        return Lines(
            *head,
            Text(),
            _members(self),
            _legend(),
            Text(),
            _exercises(self),
            *self._notes(),
            *self._to_do(),
        )

    def __repr__(self) -> str:
        """The board as text, 80 signs wide."""
        text = io.StringIO()
        Console(file=text, width=80, color_system=None).print(self, crop=False)
        return text.getvalue().rstrip()

    def _repr_html_(self) -> str:
        from course import board_page

        return board_page.part(self)

    def page(self) -> str:
        """The board as a page that stands alone."""
        from course import board_page

        return board_page.page(self)

    def _notes(self) -> Iterator[Text]:
        notes = self.group.notes
        for note in notes[:NOTES]:
            yield Text(f"Note: {note}", "dim")
        if len(notes) > NOTES:
            more = len(notes) - NOTES
            yield Text(f"Note: {more} more; `--html FILE` lists all.", "dim")

    def _to_do(self) -> Iterator[RenderableType]:
        name, why = self.first
        talk = [f"{name}: {why}" if name else why]
        talk += [f"Then {name}: {why}" for name, why in self.then]
        help_ = [
            f"{one.helper} can help {either(one.helped)}: {', '.join(one.exercises)}"
            for one in self.help
        ]
        parts = {"Talk about this first": talk, "Who can help whom": help_}
        for heading, lines in parts.items():
            if lines:
                yield Text(f"\n{heading}", "bold")
            for line in lines:
                yield Padding(Text(line), (0, 0, 0, 2))


def either(names: tuple[str, ...]) -> str:
    """Ada; Ada and Ben; Ada, Ben and Cleo."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def of_chapters(board: Board) -> dict[str, int]:
    """The chapters of the Sunday, by the names on their pages, and their exercises."""
    counts: dict[str, int] = {}
    for one in board.tallies:
        name = one.chapter.replace("_", "-")
        if one.chapter in board.week.bonus:
            name += " (bonus)"
        counts[name] = counts.get(name, 0) + 1
    return counts


def _together(states: list[State]) -> State:
    """How far somebody is with a Sunday."""
    if set(states) == {"passed"}:
        return "passed"
    return "not begun" if set(states) == {"not begun"} else "tried"


# ---- in a terminal ------------------------------------------------------------------


def _members(board: Board) -> Table:
    """Members by exercises: a column for each chapter, a letter for each exercise."""
    between = " " if len(board.tallies) <= 20 else ""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("", max_width=36, no_wrap=True, overflow="ellipsis")
    counts, first = of_chapters(board), 0
    for chapter, count in counts.items():
        letters = between.join(board.letters()[first : first + count])
        table.add_column(Text(f"{chapter}\n{letters}"), min_width=len(letters))
        first += count
    table.add_column(Text("Sundays\n12345"), no_wrap=True)
    for label, own, whole in board.rows():
        cells, first = [], 0
        for count in counts.values():
            cells.append(_signs(own[first : first + count], between))
            first += count
        table.add_row(Text(label), *cells, _signs(whole, ""))
    return table


def _signs(states: list[State], between: str) -> Text:
    return Text(between).join(Text(SIGNS[one], COLOURS[one]) for one in states)


def _legend() -> Text:
    signs = "  ".join(f"{sign} {name}" for name, sign in SIGNS.items())
    return Text(f"{signs}. In the order of names, which is no ranking.", "dim")


def _exercises(board: Board) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("")
    table.add_column("exercise", no_wrap=True)
    for heading in "min", *SIGNS:
        table.add_column(heading, justify="right")
    for letter, one in zip(board.letters(), board.tallies, strict=True):
        counts = [str(n or "") for n in (one.passed, one.tried, one.not_begun)]
        exercise = one.exercise
        table.add_row(letter, exercise.name, str(exercise.minutes), *counts)
    return table
