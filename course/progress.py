"""How far the reader is: what passed, after how many tries, and what comes next.

    for part in parts():
        print(part.chapter, part.exercise.name, part.passed, part.tries)

    print(two_lines())       # what this Sunday needs, and how far you are

Everything comes from the reader's own folder: the kept answers, `tries.jsonl` with one
line for every run of a written answer, and the plan of the group, if there is one.
`share` writes what a study group may see of it: no answer, and a name only if the
reader gave one.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from course import answers, checked, member, plan
from course.answers import Kept
from course.case import Exercise
from course.checks import CHAPTERS, chapters
from course.files import write_atomically
from course.member import Member, MemberError
from course.plan import Plan, PlanError
from course.weeks import Week, weeks

State = Literal["passed", "tried", "to do"]


@dataclass(frozen=True)
class Part:
    """One exercise, and how far the reader is with it."""

    chapter: str
    exercise: Exercise
    passed: datetime | None  # in UTC; None if no answer counts
    tries: int  # runs of a written answer until it passed; so far, if it has not
    problem: str = ""  # why the answer that is kept does not count

    @property
    def state(self) -> State:
        """In one word."""
        if self.passed:
            return "passed"
        return "tried" if self.tries or self.problem else "to do"


class ShareError(ValueError):
    """Progress that cannot be shared; says in one line why."""


# ---- what was done ------------------------------------------------------------------


def parts() -> list[Part]:
    """Every exercise of the course, in reading order."""
    tried, failed = _tries(), checked.failed()
    return [
        _part(chapter, exercise, tried.get(exercise.name, []), failed)
        for chapter, exercises in chapters().items()
        for exercise in exercises
    ]


def of(known: Iterable[Part], chapter: str) -> list[Part]:
    """The exercises of one chapter."""
    return [part for part in known if part.chapter == chapter]


def chapters_of(week: Week) -> list[str]:
    """The chapters of a week that have exercises; a bonus comes last."""
    return [c for c in week.chapters + week.bonus if c in CHAPTERS]


def title_of(chapter: str) -> str:
    """A chapter by the name of its page; one that is a bonus says so."""
    bonus = any(chapter in week.bonus for week in weeks())
    return chapter.replace("_", "-") + (" (bonus)" if bonus else "")


def note_try(name: str, passed: bool) -> None:
    """Note that a written answer was run. Never raises: a verdict must not end here."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    line = json.dumps({"at": now, "exercise": name, "passed": passed}) + "\n"
    with suppress(OSError, ValueError):
        path = _tries_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            size = os.fstat(file).st_size
            # A line that was cut off, as by a full disk, must not spoil this one.
            if size and os.pread(file, 1, size - 1) != b"\n":
                line = "\n" + line
            os.write(file, line.encode())
        finally:
            os.close(file)


def version() -> str:
    """8 hex digits of all exercises and their checks in this version of the course."""
    return checked.version()


def _part(
    chapter: str,
    exercise: Exercise,
    tries: list[tuple[datetime, bool]],
    failed: dict[str, str],
) -> Part:
    passed, problem = None, ""
    try:
        kept = answers.find(chapter, exercise.name)
    except OSError as error:
        problem = f"it cannot be read ({error.strerror})"
    else:
        if kept is not None:
            passed = _in_utc(kept.passed)
            problem = _problem(kept, checked.fails(exercise.name, kept, failed))
    if problem:
        passed = None
    return Part(chapter, exercise, passed, _count(tries, passed), problem)


def _problem(kept: Kept, fails: bool) -> str:
    """Why a kept answer does not count; empty if it does."""
    if fails:
        return "it no longer passes: `sundays check` says why"
    if _in_utc(kept.passed) is None:
        return "its first line no longer says when it passed: run its cell again"
    try:
        compile(kept.source, kept.path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "it is no longer valid Python: run its cell again"
    return ""


def _count(tries: list[tuple[datetime, bool]], passed: datetime | None) -> int:
    """Runs until the first that passed; those so far, if nothing passed."""
    if passed is None:
        return len(tries)
    for number, (_, good) in enumerate(tries, 1):
        if good:
            return number
    # It passed before tries were noted, or on another machine.
    return max(1, sum(at <= passed for at, _ in tries))


def _tries() -> dict[str, list[tuple[datetime, bool]]]:
    """When each exercise was tried, and whether it passed; broken lines say nothing."""
    found: dict[str, list[tuple[datetime, bool]]] = {}
    try:
        lines = _tries_path().read_bytes().splitlines()
    except OSError:
        return {}
    for line in lines:
        try:
            known = json.loads(line)
            at, name, passed = known["at"], known["exercise"], known["passed"]
            at = _in_utc(datetime.fromisoformat(at))
        except (ValueError, TypeError, LookupError, RecursionError):
            continue
        if at is not None and isinstance(name, str) and isinstance(passed, bool):
            found.setdefault(name, []).append((at, passed))
    return found


def _tries_path() -> Path:
    return answers.home() / "tries.jsonl"


def _in_utc(moment: datetime | None) -> datetime | None:
    """The moment in UTC, also if its zone was edited away; None if there is none."""
    if moment is None:
        return None
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:  # in the year 1 it may be the year 0 in UTC
        return None


# ---- what comes next ----------------------------------------------------------------


def this_week(now: datetime | None = None, known: list[Part] | None = None) -> Week:
    """The week of the next Sunday, or of the one in progress.

    The plan of the group says it. Without one, or with a broken one, it is the first
    week with an exercise to do, not counting a bonus; when all is done, the last.
    """
    if planned := planned_week(now):
        return planned
    todo = {part.chapter for part in known or parts() if not part.passed}
    return next((week for week in weeks() if todo & {*week.chapters}), weeks()[-1])


def planned_week(now: datetime | None = None) -> Week | None:
    """The week that the group's plan says.

    None without a plan that can be read, and after its last Sunday.
    """
    found, now = _plan(), now or datetime.now(UTC)
    if not isinstance(found, Plan) or found.over(now):
        return None
    return weeks()[found.sunday(now) - 1]


def plan_problem() -> str:
    """One line if the plan of the group is broken; empty if it is not."""
    found = _plan()
    return str(found) if isinstance(found, PlanError) else ""


def next_part(known: list[Part], week: Week) -> Part | None:
    """The exercise to go on with: the first of this week, else of the course."""
    todo = [part for part in known if not part.passed]
    here = [part for part in todo if part.chapter in week.chapters]
    return next(iter(here + todo), None)


def two_lines(now: datetime | None = None, known: list[Part] | None = None) -> str:
    """What this Sunday needs, and how far the reader is."""
    known = known or parts()
    week = this_week(now, known)
    return f"{_what_it_needs(known, week)}\n{_how_far(known, week)}"


def sunday_line(known: list[Part], week: Week, begins: str = "For") -> str:
    """How far the reader is with the exercises for one Sunday."""
    here = [part for part in known if part.chapter in week.chapters]
    done = sum(part.passed is not None for part in here)
    line = f"{begins} {_sunday(week)}: {done} of {len(here)} exercises passed"
    left = minutes_left(here)
    return f"{line}, about {left} minutes to go." if left else f"{line}."


def problem_lines(known: Iterable[Part]) -> list[str]:
    """One line for every answer that is kept and does not count."""
    return [
        f"Your answer to {part.exercise.name} is kept, and does not count: "
        f"{part.problem}."
        for part in known
        if part.problem
    ]


def minutes_left(known: Iterable[Part]) -> int:
    """What the exercises that have not passed take a member of the group."""
    return sum(part.exercise.minutes for part in known if not part.passed)


def _what_it_needs(known: list[Part], week: Week) -> str:
    here = [part for part in known if part.chapter in week.chapters]
    todo = [part for part in here if not part.passed]
    if not todo:
        return (
            f"{_sunday(week)} needs nothing more: "
            f"all {len(here)} of its exercises are passed."
        )
    names = " and ".join(dict.fromkeys(title_of(part.chapter) for part in todo))
    return (
        f"{_sunday(week)} needs {names}: "
        f"about {minutes_left(todo)} minutes of exercises to go."
    )


def _how_far(known: list[Part], week: Week) -> str:
    done = sum(part.passed is not None for part in known)
    following = next_part(known, week)
    if following is None:
        return f"You have passed all {len(known)} exercises of the course."
    return (
        f"You have passed {done} of {len(known)} exercises. "
        f"Next: {following.exercise.name}, in {title_of(following.chapter)}, "
        f"about {following.exercise.minutes} minutes."
    )


def _sunday(week: Week) -> str:
    """The Sunday of a week, with the date and time that the plan gives it."""
    found = _plan()
    if not isinstance(found, Plan):
        return f"Sunday {week.number}"
    start = found.starts()[week.number - 1]
    day = f"{start.day} {start:%B} {start.year}, {start:%H:%M}"
    if start.weekday() != 6:
        day = f"{start:%A} {day}"
    return f"Sunday {week.number} ({day})"


def _plan() -> Plan | PlanError | None:
    try:
        return plan.load()
    except PlanError as problem:
        return problem


# ---- what the group may see ---------------------------------------------------------


def share(path: Path | None = None, name: str | None = None) -> tuple[Path, Member]:
    """Write how far the reader is as one small file without any answer in it.

    Args:
        path: a file that ends in .toml, or a folder that is there: then the file is
            named by the member's id. Without one it is `progress.toml` in the reader's
            own folder.
        name: is remembered, "" as the wish for none; None leaves what was remembered.

    Raises:
        ShareError: if the file is another member's or none of ours, or cannot be
            written, or `member.toml` is broken. Nothing is overwritten then.
    """
    known, target = parts(), _member_path()
    try:
        own = _myself(name)
        target = _target(path, own.id)
        shared = Member(
            id=own.id,
            name=own.name or "",
            written=datetime.now(UTC).replace(microsecond=0),
            course=version(),
            passed={p.exercise.name: p.passed.date() for p in known if p.passed},
            tries={
                p.exercise.name: min(p.tries, member.MOST_TRIES)
                for p in known
                if p.tries
            },
        )
        write_atomically(target, member.text_of(shared))
    except OSError as error:
        raise ShareError(
            f"{target} cannot be written: {error.strerror}. Mend that, or share to "
            "another place."
        ) from error
    return target, shared


def name_is_known() -> bool:
    """Whether the reader was asked for a name before; also if they gave none.

    Raises:
        ShareError: if `member.toml` is broken.
    """
    own = _read_myself()
    return own is not None and own.name is not None


@dataclass(frozen=True)
class _Myself:
    id: str
    name: str | None  # None if the reader was never asked


def _myself(name: str | None) -> _Myself:
    """Who the reader is in a group; made once, and written if the name is new."""
    before = _read_myself()
    own = before or _Myself(secrets.token_hex(4), None)
    if name is not None:
        own = _Myself(own.id, _checked_name(name))
    if own != before:
        lines = ["# Who you are for your study group: `sundays progress --share`."]
        lines += ['# name = "" shares no name.'] if own.name == "" else []
        lines += [f'id = "{own.id}"']
        if own.name is not None:
            # What `one_line` leaves in JSON is the same in TOML.
            lines.append(f"name = {json.dumps(own.name, ensure_ascii=False)}")
        write_atomically(_member_path(), "\n".join(lines) + "\n")
    return own


def _read_myself() -> _Myself | None:
    path = _member_path()
    try:
        known = tomllib.loads(path.read_text("utf-8"))
        own, name = known["id"], known.get("name")
        if not isinstance(own, str) or not re.fullmatch("[0-9a-f]{8}", own):
            raise ValueError("`id` must be 8 hex digits in quotes")
        if name is not None and not isinstance(name, str):
            raise ValueError("`name` must be a text in quotes")
        return _Myself(own, name if name is None else _checked_name(name))
    except FileNotFoundError:
        return None
    except OSError as error:
        problem = error.strerror
    except KeyError:
        problem = "`id` is missing"
    except RecursionError:
        problem = "it is nested too deeply"
    except ValueError as error:  # of TOML, of UTF-8, and ours
        problem = " ".join(str(error).split()).rstrip(".")
    raise ShareError(
        f"{path} cannot be read: {problem}. Mend that line; or delete the file: then "
        "you get a new id, and what you shared before stays as another member's."
    )


def _checked_name(name: str) -> str:
    name = member.one_line(name)
    if len(name) > member.LONGEST_NAME:
        raise ShareError(
            f"The name has {len(name)} characters; the board has room for "
            f"{member.LONGEST_NAME}."
        )
    return name


def _target(path: Path | None, own: str) -> Path:
    """The file to write. One that is not this member's own is never overwritten."""
    if path is None:
        return answers.home() / "progress.toml"
    if path.is_dir():
        return path / f"{own}.toml"
    if path.suffix != ".toml" or not path.parent.is_dir():
        folder = path if path.suffix != ".toml" else path.parent
        raise ShareError(
            f"There is no folder {folder}: make it first, or name a folder that is "
            "there, or a file in one, whose name ends in .toml."
        )
    if os.path.lexists(path):
        try:
            other = member.read(path).id
        except MemberError as problem:
            raise ShareError(
                f"{path} is there and stays as it is, for it may not be yours: "
                f"{str(problem).rstrip('.')}. Give another name or a folder."
            ) from None
        if other != own:
            raise ShareError(
                f"{path} is the file of another member, {other}: it stays as it is. "
                "Give another name or a folder."
            )
    return path


def _member_path() -> Path:
    return answers.home() / "member.toml"
