"""When the study group meets: five dates, made from the first, kept in `plan.toml`.

    plan = make("2026-12-06", skip=["2026-12-27"])
    plan.sunday(datetime.now(UTC))   # 1 to 5: the Sunday that comes next

The plan lies in the reader's own folder and may be edited by hand. `plan_page` and
`plan_calendar` write it as a page and for calendar programs.
"""

from __future__ import annotations

import difflib
import re
import reprlib
import tomllib
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

from course import answers
from course.files import write_atomically
from course.weeks import weeks

FILE, EARLIER = "plan.toml", "plan.earlier.toml"

# The first group met in these five weeks.
START, BEGINS, MINUTES, ZONE = "2025-03-02", "14:00", 120, "Asia/Seoul"

SUNDAYS = 5
YEARS = range(2000, 2100)
LENGTHS = range(10, 721)  # minutes
WEEK = timedelta(weeks=1)
LARGEST = 10_000
"""Bytes of a file. One with notes in it has about 1,000."""

ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
CLOCK = r"([0-9]{1,2}):([0-9]{2})"


class PlanError(ValueError):
    """A plan that cannot be made or read; says in one line why."""


@dataclass(frozen=True)
class Plan:
    """Five meetings, in the order of the weeks of the course."""

    days: tuple[date, ...]
    begins: time
    minutes: int
    zone: str  # a name of the IANA time zone database
    calendar: str = ""  # what calendar programs know the plan by, when its dates move

    def starts(self) -> list[datetime]:
        """When each meeting begins, in the group's time zone."""
        zone = ZoneInfo(self.zone)
        return [datetime.combine(day, self.begins, zone) for day in self.days]

    def ends(self) -> list[datetime]:
        """When each meeting ends, in the group's time zone."""
        # In UTC, where an hour of daylight saving is neither lost nor counted twice.
        length = timedelta(minutes=self.minutes)
        return [
            (start.astimezone(UTC) + length).astimezone(start.tzinfo)
            for start in self.starts()
        ]

    def sunday(self, now: datetime) -> int:
        """The number of the next meeting or of the one in progress; 5 after the last.

        `now` knows its time zone.
        """
        for number, end in enumerate(self.ends(), 1):
            if now < end:
                return number
        return SUNDAYS

    def over(self, now: datetime) -> bool:
        """Whether the last meeting has ended; `now` knows its time zone."""
        return now >= self.ends()[-1]

    def skipped(self) -> list[date]:
        """The weeks between the meetings in which the group does not meet."""
        return [
            before + WEEK * number
            for before, after in pairwise(self.days)
            for number in range(1, round((after - before) / WEEK))
        ]


def make(
    start: str | date = START,
    *,
    begins: str | time = BEGINS,
    minutes: int = MINUTES,
    zone: str = ZONE,
    skip: Iterable[str | date] = (),
) -> Plan:
    """Five dates, a week apart, from the first; a skipped date moves all later ones.

    Raises:
        PlanError: if something is no date, no time, no length or no time zone.
    """
    day, gone = _date(start), set(map(_date, skip))
    days: list[date] = []
    while len(days) < SUNDAYS:
        if day not in gone:
            days.append(day)
        day += WEEK
    return _checked(Plan(tuple(days), _time(begins), _minutes(minutes), _zone(zone)))


def load(folder: Path | None = None) -> Plan | None:
    """The plan in the reader's own folder, or in another; None if there is none.

    Raises:
        PlanError: if it cannot be read or says something that is no plan.
    """
    path = (folder or answers.home()) / FILE
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise PlanError("it is larger than any plan")
        known = tomllib.loads(data.decode())
        days = known["days"]
        if not isinstance(days, list) or len(days) != SUNDAYS:
            raise PlanError(f"`days` must be a list of {SUNDAYS} dates")
        plan = Plan(
            tuple(map(_date, days)),
            _time(known["begins"]),
            _minutes(known["minutes"]),
            _zone(known["zone"]),
            _calendar(known.get("calendar", "")),
        )
        return _checked(plan)
    except FileNotFoundError:
        return None
    except KeyError as missing:
        problem = f"`{missing.args[0]}` is missing"
    except RecursionError:
        problem = "it is nested too deeply"
    except OSError as error:
        raise PlanError(f"The plan {path} cannot be read: {error.strerror}") from None
    except ValueError as error:  # of TOML, of UTF-8, and ours
        problem = str(error)
    raise PlanError(
        f"The plan {path} cannot be read: {problem}. "
        f"Mend it, or write a new one: `sundays plan --start DATE --out {path.parent}`"
    )


def changed(
    plan: Plan,
    *,
    begins: str | time | None = None,
    minutes: int | None = None,
    zone: str | None = None,
    skip: Iterable[str | date] = (),
) -> Plan:
    """The same plan with another hour, length or zone, or with more weeks skipped.

    Raises:
        PlanError: as `make`; and if a week is to be skipped where dates were moved by
            hand, so that there is no weekly rhythm to go on with.
    """
    days, gone = plan.days, set(map(_date, skip))
    if gone:
        again = make(days[0], skip=plan.skipped()).days
        if again != days:
            raise PlanError(
                "the dates were moved by hand and are not whole weeks apart: edit "
                f"`days` in {FILE}, or give a first date with --start"
            )
        days = make(days[0], skip=[*plan.skipped(), *gone]).days
    return _checked(
        Plan(
            days,
            plan.begins if begins is None else _time(begins),
            plan.minutes if minutes is None else _minutes(minutes),
            plan.zone if zone is None else _zone(zone),
            plan.calendar,
        )
    )


def write(plan: Plan, folder: Path) -> Plan:
    """Write `plan.toml`; returns the plan with the mark that calendar programs need.

    The mark of the plan that the folder had before stays, so that its events move. A
    new one is made from the dates: the same plan has it on every machine. A plan that
    is replaced is kept as `plan.earlier.toml`.

    Raises:
        OSError: if the folder cannot be written; the old plan is kept then.
    """
    path = folder / FILE
    before, own = _readable(folder), _readable(answers.home())
    mark = before.calendar if before else plan.calendar
    if not mark and own and replace(own, calendar="") == plan:
        mark = own.calendar
    marked = replace(plan, calendar=mark or _mark(plan))
    if marked == before:
        return marked  # the file stays, with what was noted in it by hand
    with suppress(FileNotFoundError):
        write_atomically(folder / EARLIER, path.read_bytes())
    write_atomically(path, text_of(marked))
    return marked


def text_of(plan: Plan) -> str:
    """The plan as TOML that people can read and edit."""
    days = "".join(
        f"  {day},  # {day:%A}: {week.title}\n"
        for day, week in zip(plan.days, weeks(), strict=True)
    )
    return f"""# When the study group meets. You may edit this by hand. After that, run
# `sundays plan --out FOLDER` with this file's folder: it writes plan.html and plan.ics
# again. In your workbook, leave --out away.

days = [
{days}]
begins = "{plan.begins:%H:%M}"  # in the time zone below
minutes = {plan.minutes}
zone = "{plan.zone}"

# By this mark a calendar program knows these dates again when they move.
calendar = "{plan.calendar}"
"""


def spoken(plan: Plan) -> str:
    """When the group meets, in a sentence."""
    weekdays = {f"{day:%A}s": None for day in plan.days}  # in the order of the dates
    hours, minutes = divmod(plan.minutes, 60)
    length = [f"{hours} hour{'s' * (hours > 1)}"] * (hours > 0)
    length += [f"{minutes} minutes"] * (minutes > 0)
    return (
        f"{' or '.join(weekdays)} at {plan.begins:%H:%M}, for {' and '.join(length)}, "
        f"by the clocks of {plan.zone}."
    )


def _readable(folder: Path) -> Plan | None:
    with suppress(PlanError):
        return load(folder)
    return None


def _mark(plan: Plan) -> str:
    first = plan.starts()[0].astimezone(UTC).isoformat()
    return f"{zlib.crc32(f'{first} {plan.zone}'.encode()):08x}"


def _date(value: object) -> date:
    if type(value) is date:
        day = value
    else:
        if not isinstance(value, str) or not re.fullmatch(ISO, value):
            raise PlanError(
                f"{_shown(value)} is no date: write it as 2026-12-06, year, month, day"
            )
        try:
            day = date.fromisoformat(value)
        except ValueError:
            raise PlanError(
                f"{value} is no date: no calendar has it; choose another"
            ) from None
    if day.year not in YEARS:
        raise PlanError(
            f"{day} is too far away: a year from {YEARS[0]} to {YEARS[-1]} is expected"
        )
    return day


def _time(value: object) -> time:
    if type(value) is time:
        return value.replace(second=0, microsecond=0)
    found = isinstance(value, str) and re.fullmatch(CLOCK, value)
    if found and int(found[1]) < 24 and int(found[2]) < 60:
        return time(int(found[1]), int(found[2]))
    raise PlanError(
        f"{_shown(value)} is no time of the day: write it as 14:00, hours and minutes"
    )


def _minutes(value: object) -> int:
    if type(value) is int and value in LENGTHS:
        return value
    raise PlanError(
        f"a meeting cannot last {_shown(value)} minutes: a whole number from "
        f"{LENGTHS[0]} to {LENGTHS[-1]} is expected"
    )


def _zone(value: object) -> str:
    known = available_timezones()
    if isinstance(value, str) and value in known:
        return value
    # By its city, or with a slip of the pen.
    word = str(value)[:40].replace(" ", "_").lower()
    names = {name.rsplit("/")[-1].lower(): name for name in sorted(known)}
    names |= {name.lower(): name for name in known}
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.75)
    meant = f"you may mean {names[near[0]]}" if near else "write it as Asia/Seoul"
    raise PlanError(f"no time zone is called {_shown(value)}; {meant}")


def _calendar(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"[0-9A-Za-z-]{0,40}", value):
        return value
    raise PlanError(
        "`calendar` must be letters and digits; delete the line, and a new one is made"
    )


def _shown(value: object) -> str:
    """A value in a message of one line."""
    return reprlib.repr(value) if isinstance(value, str) else f"{value}"[:40]


def _checked(plan: Plan) -> Plan:
    for before, after in pairwise(plan.days):
        if after <= before:
            raise PlanError(
                f"{after} stands behind {before}: the dates must be in order"
            )
    for start in plan.starts():
        there = start.astimezone(UTC).astimezone(start.tzinfo)
        if there.replace(tzinfo=None) != start.replace(tzinfo=None):
            raise PlanError(
                f"in {plan.zone} there is no {start:%H:%M} on {start:%Y-%m-%d}, "
                "because clocks go forward then: choose another time"
            )
    return plan
