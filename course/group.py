"""The board of a study group, from its members' files in one folder.

    board("our-group")         # in a notebook
    sundays group our-group    # in a terminal

The files come from other machines, other versions of the course, and from hands: what
is wrong with one is told in a line, and nothing stops.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from course import plan, progress
from course.board import Board
from course.checks import chapters
from course.member import Member, MemberError, NoMemberFile, one_line, read
from course.standing import Group, exercises, label_of, week_of_group
from course.weeks import weeks

PASSED_OVER = {plan.FILE, plan.EARLIER, "member.toml"}
"""What else the course writes as TOML: no word is lost about it."""

SHOWN = 5  # names in a line, before it says "and 3 more"


class GroupError(ValueError):
    """There is no board to show; says in one line why."""


def board(
    folder: str | Path, *, sunday: int | None = None, now: datetime | None = None
) -> Board:
    """The board of the group whose members' files lie in a folder.

    It shows the Sunday that the group is at, or another.

    Raises:
        GroupError: if there is no such folder, or no such Sunday.
    """
    folder, now = Path(folder), now or datetime.now(UTC)
    numbers = [week.number for week in weeks()]
    if sunday is not None and sunday not in numbers:
        raise GroupError(
            f"There is no Sunday {sunday}; give one from {numbers[0]} to {numbers[-1]}."
        )
    group = gather(folder, now=now, version=progress.version())
    planned = None
    if sunday is not None:
        week = weeks()[sunday - 1]
    else:
        try:
            planned = plan.load(folder) or plan.load()
        except plan.PlanError as problem:
            group = Group(group.members, (*group.notes, one_line(str(problem))))
        week = week_of_group(group, planned, now)
    return Board(group, week, now.date(), one_line(str(folder)))


def gather(folder: Path, *, now: datetime, version: str) -> Group:
    """Read all members' files of a folder.

    Of two files with one id the newer counts. `version` is that of this course.

    Raises:
        GroupError: if there is no such folder.
    """
    if not os.path.isdir(folder):
        raise GroupError(
            f"There is no folder {folder}; give the one with your members' files."
        )
    notes: list[str] = []
    newest = _newest(_members(folder, notes), notes)
    members = tuple(sorted((member for member, _ in newest.values()), key=_by_name))
    places = {id_: place for id_, (_, place) in newest.items()}
    notes += _about(Group(members, ()), places, now, version)
    return Group(members, tuple(map(one_line, notes)))


# ---- files and notes ----------------------------------------------------------------


def _files(folder: Path, notes: list[str]) -> Iterator[Path]:
    """All `*.toml` below a folder, in order; links are followed, each folder once."""

    def told(problem: OSError) -> None:
        place = os.path.relpath(problem.filename, folder)
        notes.append(f"{place}: it cannot be opened ({problem.strerror}).")

    seen: set[str] = set()
    for root, folders, names in os.walk(folder, onerror=told, followlinks=True):
        place = os.path.realpath(root)
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(".toml") and not name.startswith("."):
                yield Path(root, name)


def _members(folder: Path, notes: list[str]) -> Iterator[tuple[Member, str]]:
    """Each member that a file tells of, and where the file is."""
    others = []
    for path in _files(folder, notes):
        place = str(path.relative_to(folder))
        try:
            yield read(path), place
        except MemberError as problem:
            if path.name in PASSED_OVER:
                continue
            if isinstance(problem, NoMemberFile):
                others.append(place)
            else:
                notes.append(f"{place}: {problem}.")
    if others:
        notes.append(f"Not members' files: {_some(others)}.")


def _newest(
    members: Iterator[tuple[Member, str]], notes: list[str]
) -> dict[str, tuple[Member, str]]:
    """By id, the newest file of each member."""
    newest: dict[str, tuple[Member, str]] = {}
    for member, place in members:
        if member.id not in newest:
            newest[member.id] = member, place
            continue
        known, counts = newest[member.id]
        if member.written > known.written:
            newest[member.id] = member, place
            counts, place = place, counts
        notes.append(
            f"{place}: the same member as {counts}, no newer; it does not count."
        )
    return newest


def _about(
    group: Group, places: dict[str, str], now: datetime, version: str
) -> Iterator[str]:
    """What to know about the files that count."""
    label = group.labels()
    known = {exercise.name for _, exercise in exercises(list(chapters()))}
    tomorrow = now.astimezone(UTC) + timedelta(days=1)  # clocks and zones differ
    same = Counter(label_of(m).casefold() for m in group.members)
    for member in group.members:
        place = places[member.id]
        if member.written > tomorrow:
            yield (
                f"{place}: written on {member.written.date()}, which is still to come; "
                "check the clock."
            )
        ahead = [n for n, day in member.passed.items() if day > tomorrow.date()]
        if ahead:
            yield f"{place}: passed on a day to come: {_some(ahead)}."
        strange = [n for n in member.passed | member.tries if n not in known]
        if strange:
            yield f"{place}: exercises this course does not have: {_some(strange)}."
    for name, often in same.items():
        if often > 1:
            alike = [m for m in group.members if label_of(m).casefold() == name]
            told = _some([label[member.id] for member in alike])
            yield f"{often} members have the same name: {told}."
    others = [label[m.id] for m in group.members if m.course != version]
    if others:
        yield (
            f"With another version of the course than yours: {_some(others)}. Their "
            "exercises may differ; bring all to the same version."
        )


def _by_name(member: Member) -> tuple[bool, str, str]:
    return not member.name, member.name.casefold(), member.id


def _some(names: Sequence[str]) -> str:
    short = [name if len(name) <= 40 else name[:39] + "…" for name in names]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(short[:SHOWN]) + more
