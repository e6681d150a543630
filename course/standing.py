"""How a study group stands: where it is stuck, and who can help whom.

Nobody is ranked: members stand in the order of their names, and how many runs somebody
took is never told, only the median of all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import median_low
from typing import Literal

from rich.text import Text

from course import plan
from course.case import Exercise
from course.checks import chapters
from course.member import Member
from course.weeks import Week, weeks

State = Literal["passed", "tried", "not begun"]

LATELY = timedelta(days=14)
HELPING = 6  # lines about who can help whom
LONGEST = 24  # of a name, in columns of a terminal
TOGETHER = 3  # whom one helper helps at a time, and with how many exercises


@dataclass(frozen=True)
class Group:
    """The members in the order of their names, and what was wrong with their files."""

    members: tuple[Member, ...]
    notes: tuple[str, ...]

    def labels(self) -> dict[str, str]:
        """What to call each member, by id: two of one name are told apart."""
        alike: dict[str, list[str]] = {}
        for member in self.members:
            alike.setdefault(label_of(member).casefold(), []).append(member.id)
        labels = {}
        for member in self.members:
            label, ids = label_of(member), alike[label_of(member).casefold()]
            if len(ids) > 1:
                short = len({id_[:4] for id_ in ids}) == len(ids)
                label += f" ({member.id[:4] if short else member.id})"
            labels[member.id] = label
        return labels


@dataclass(frozen=True)
class Tally:
    """How the group stands with one exercise; the counts together are all members."""

    chapter: str
    exercise: Exercise
    passed: int
    tried: int  # and not passed yet
    not_begun: int
    runs: int  # the median of those who passed or tried, 0 if nobody did

    @property
    def begun(self) -> int:
        return self.passed + self.tried


@dataclass(frozen=True)
class Help:
    """One who can help, and whom, with what."""

    helper: str
    helped: tuple[str, ...]
    exercises: tuple[str, ...]


def state(member: Member, exercise: str) -> State:
    """How far a member is with an exercise."""
    if exercise in member.passed:
        return "passed"
    return "tried" if member.tries.get(exercise) else "not begun"


def week_of_group(group: Group, planned: plan.Plan | None, now: datetime) -> Week:
    """The week that the group is at.

    By the plan it is that of the next Sunday. Without one, or after its last Sunday, it
    is the first week that fewer than half of the members are done with, or the last.
    """
    if planned is not None and not planned.over(now):
        return weeks()[planned.sunday(now) - 1]
    for week in weeks():
        names = [exercise.name for _, exercise in exercises(week.chapters)]
        done = sum(all(n in m.passed for n in names) for m in group.members)
        if 2 * done < len(group.members) or not group.members:
            return week
    return weeks()[-1]


def exercises(of: Sequence[str]) -> list[tuple[str, Exercise]]:
    """The exercises of some chapters in reading order, each with its chapter."""
    return [(chapter, exercise) for chapter in of for exercise in chapters()[chapter]]


# ---- what to talk about -------------------------------------------------------------


def tally(group: Group, chapter: str, exercise: Exercise) -> Tally:
    """Count how the members stand with an exercise."""
    name = exercise.name
    states = Counter(state(member, name) for member in group.members)
    runs = [
        max(1, member.tries.get(name, 1))  # of a pass that was never counted: one
        for member in group.members
        if state(member, name) != "not begun"
    ]
    return Tally(
        chapter,
        exercise,
        states["passed"],
        states["tried"],
        states["not begun"],
        median_low(runs) if runs else 0,
    )


def stuck(tallies: Sequence[Tally]) -> list[Tally]:
    """Where the group is stuck, the exercise to talk about first in front.

    An exercise counts if at least two members tried it and did not pass: one alone
    needs a helper, not the eyes of all. It weighs as many as they are, times the median
    of the runs of all who tried it. So one person with forty runs does not decide, nor
    do many who have only begun. Of equal weight the one that comes first in the course
    stands first: the others may build on it.
    """
    hard = [one for one in tallies if one.tried >= 2]
    return sorted(hard, key=lambda one: -one.tried * one.runs)


def first_words(tallies: Sequence[Tally]) -> tuple[str, str]:
    """The exercise to talk about first, "" if there is none, and the reason."""
    if hard := stuck(tallies):
        return hard[0].exercise.name, reason(hard[0])
    if not any(one.begun for one in tallies):
        easy = tallies[0].exercise
        return easy.name, (
            "Nobody has begun this Sunday's exercises. Do the first one together; it "
            f"takes about {easy.minutes} minutes."
        )
    if someone := next((one for one in tallies if one.tried), None):
        return someone.exercise.name, (
            "No two of you are stuck at the same exercise. This is the first one where "
            "somebody is."
        )
    several = [one for one in tallies if one.begun >= 2]
    long = max(several, key=lambda one: one.runs, default=None)
    if long and long.runs >= 3:
        return long.exercise.name, (
            f"Nobody is stuck. This one took the most: {_runs(long)}."
        )
    return "", "Nobody is stuck. Let everybody show the answer they like most."


def reason(one: Tally) -> str:
    """Why to talk about an exercise: "5 of 8 tried it, 2 passed; the median..."."""
    members = one.begun + one.not_begun
    passed = f"{one.passed} passed" if one.passed else "nobody passed yet"
    so_far = " so far" if one.tried else ""
    return f"{one.begun} of {members} tried it, {passed}; {_runs(one)}{so_far}."


def helping(group: Group, tallies: Sequence[Tally], today: date) -> list[Help]:
    """Who can help whom: a few lines, spread over those who can help.

    For each exercise that somebody tried and did not pass, somebody who passed it in
    the 14 days before the newest file, when it is still fresh; else anybody who passed.
    The one who helps least so far comes first, then the one who passed it last. Every
    exercise gets one line before any gets a second.
    """
    fresh = newest(group, today) - LATELY
    label = group.labels()
    busy: Counter[str] = Counter()
    lines: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    waiting = []
    for one in tallies:
        name = one.exercise.name
        can = [member for member in group.members if name in member.passed]
        lately = [member for member in can if member.passed[name] >= fresh]
        need = [m.id for m in group.members if state(m, name) == "tried"]
        if can and need:
            waiting.append((name, lately or can, need))
    while waiting:
        rest = []
        for name, can, need in waiting:
            if len(lines) == HELPING:
                break
            helper = min(
                can, key=lambda m: (busy[m.id], -m.passed[name].toordinal(), m.id)
            )
            busy[helper.id] += 1
            helped = tuple(label[id_] for id_ in need[:TOGETHER])
            lines.setdefault((label[helper.id], helped), []).append(name)
            can = [member for member in can if member is not helper]
            if can and need[TOGETHER:]:
                rest.append((name, can, need[TOGETHER:]))
        waiting = rest
    return [Help(*who, tuple(what[:TOGETHER])) for who, what in lines.items()]


def newest(group: Group, today: date) -> date:
    """The day of the newest file, but for those of a clock that is ahead."""
    written = [member.written.date() for member in group.members]
    return max((day for day in written if day <= today), default=today)


def _runs(one: Tally) -> str:
    return f"the median took {one.runs} run{'s' * (one.runs != 1)}"


def label_of(member: Member) -> str:
    """What to call a member: the name, shortened, or the beginning of the id."""
    if not member.name:
        return f"member {member.id[:4]}"
    name = Text(member.name)
    name.truncate(LONGEST, overflow="ellipsis")
    return name.plain.strip()
