"""A group's plan for calendar programs: an iCalendar file (RFC 5545) with reminders.

Each event has a UID that stays when its date moves, so that opening a newer file moves
the event in place of doubling it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from icalendar import (
    Alarm,
    Calendar,
    Event,
    Timezone,
    TimezoneDaylight,
    TimezoneStandard,
)

from course.files import write_atomically
from course.plan import Plan
from course.preparation import points, readings
from course.weeks import Week, weeks

FILE = "plan.ics"

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)

PREPARE, BRING = ("Everyone reads", "Everyone tries"), ("Everyone brings",)

ALARMS = {
    timedelta(days=-2): ("In two days", PREPARE),
    timedelta(hours=-1): ("In an hour", BRING),
}
"""When a calendar program reminds of a Sunday, how that begins, and of what."""

FIRST_EDITION = datetime(2025, 1, 1, tzinfo=UTC)


def write(plan: Plan, folder: Path) -> None:
    """Write `plan.ics`. If nothing has changed since the last time, it stays as it is.

    Raises:
        OSError: if the folder cannot be written; the old file is kept then.
    """
    path = folder / FILE
    stamp = datetime.now(UTC).replace(microsecond=0)
    with suppress(FileNotFoundError, ValueError, LookupError, AttributeError):
        before = path.read_bytes()
        last = Calendar.from_ical(before).events[0].DTSTAMP
        if calendar(plan, last) == before:
            return
        # Also with a clock that was set back, the newer file is the later one.
        stamp = max(stamp, last + timedelta(seconds=1))
    write_atomically(path, calendar(plan, stamp))


def calendar(plan: Plan, stamp: datetime) -> bytes:
    """The file, as it is written at the moment `stamp` (UTC, whole seconds)."""
    starts = plan.starts()
    whole = Calendar()
    whole.add("VERSION", "2.0")
    whole.add("PRODID", "-//Five Sundays//sundays plan//EN")
    whole.add("X-WR-CALNAME", "Five Sundays")
    # A day before and after: every hour of the meetings lies between.
    margin = timedelta(days=1)
    first, last = starts[0].astimezone(UTC), plan.ends()[-1].astimezone(UTC)
    whole.add_component(_timezone(plan.zone, first - margin, last + margin))
    for week, start in zip(weeks(), starts, strict=True):
        whole.add_component(_event(plan, week, start, stamp))
    return whole.to_ical()


def _event(plan: Plan, week: Week, start: datetime, stamp: datetime) -> Event:
    event = Event()
    event.add("UID", f"{plan.calendar}-sunday-{week.number}@five-sundays")
    event.add("DTSTAMP", stamp)
    # It has to grow with every change, even if no earlier file is there to count from.
    event.add("SEQUENCE", int((stamp - FIRST_EDITION).total_seconds()))
    event.add("DTSTART", start)
    # Not DTEND: in the night that has an hour twice its clock time could mean either.
    event.add("DURATION", timedelta(minutes=plan.minutes))
    title = f"Sunday {week.number}: {week.title}"
    event.add("SUMMARY", title)
    event.add("DESCRIPTION", _description(week))
    for before, (words, wanted) in ALARMS.items():
        alarm = Alarm()
        alarm.add("ACTION", "DISPLAY")
        alarm.add("TRIGGER", before)
        alarm.add(
            "DESCRIPTION", "\n".join([f"{words}: {title}", *_to_do(week, wanted)])
        )
        event.add_component(alarm)
    return event


def _description(week: Week) -> str:
    chapters = [
        f"{reading.title}: {reading.exercises} exercises, {reading.minutes} minutes"
        for reading in readings(week)
    ]
    return "\n\n".join(
        [
            "\n".join(["Chapters:", *chapters]),
            *_to_do(week, PREPARE),
            "No time for it? The page of the Sunday has a catch-up path of 45 minutes.",
        ]
    )


def _to_do(week: Week, wanted: tuple[str, ...]) -> list[str]:
    """The lines of "Before Sunday" that begin in one of these ways."""
    return [point.text for point in points(week) if point.text.startswith(wanted)]


def _timezone(name: str, first: datetime, last: datetime) -> Timezone:
    """The rules of a time zone between two moments in UTC.

    Made here: icalendar's own `from_tzid` begins a rule for clocks that go forward with
    the time that they show afterwards. RFC 5545 wants the one that they showed.
    """
    zone = ZoneInfo(name)
    whole = Timezone()
    whole.add("TZID", name)
    for moment in (first, *_changes(zone, first, last)):
        # The rule begins at the time that the clocks show until then.
        before = (moment - MINUTE).astimezone(zone)
        after = moment.astimezone(zone)
        rule = TimezoneDaylight() if after.dst() else TimezoneStandard()
        rule.add("DTSTART", (moment + before.utcoffset()).replace(tzinfo=None))
        rule.add("TZOFFSETFROM", before.utcoffset())
        rule.add("TZOFFSETTO", after.utcoffset())
        rule.add("TZNAME", after.tzname())
        whole.add_component(rule)
    return whole


def _changes(zone: ZoneInfo, first: datetime, last: datetime) -> Iterator[datetime]:
    """The moments at which the clocks of a zone are changed, in UTC."""
    moment = first
    while moment < last:
        offset = moment.astimezone(zone).utcoffset()
        if (moment + HOUR).astimezone(zone).utcoffset() == offset:
            moment += HOUR
            continue
        while moment.astimezone(zone).utcoffset() == offset:
            moment += MINUTE
        yield moment
