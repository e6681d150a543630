"""A group's plan as one page that can be sent, projected, or printed and pinned up."""

from __future__ import annotations

from datetime import UTC, date, datetime
from html import escape
from pathlib import Path

from course import plan_calendar
from course.files import write_atomically
from course.look import style
from course.plan import Plan, spoken
from course.preparation import Reading, points, readings
from course.weeks import Week, weeks

FILE = "plan.html"

CSS = Path(__file__).with_name("plan.css")


def write(plan: Plan, folder: Path) -> None:
    """Write `plan.html`.

    Raises:
        OSError: if the folder cannot be written; the old page is kept then.
    """
    write_atomically(folder / FILE, page(plan))


def page(plan: Plan) -> str:
    """The page: one file, without scripts, which asks for nothing."""
    times = list(zip(weeks(), plan.starts(), plan.ends(), strict=True))
    glance = [(start.date(), _line(week, start)) for week, start, _ in times]
    glance += [(day, _skipped(day)) for day in plan.skipped()]
    lines = "\n".join(line for _, line in sorted(glance))
    meetings = "\n".join(_meeting(week, start, end) for week, start, end in times)
    bonus = [chapter for week in weeks() for chapter in readings(week, week.bonus)]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Five Sundays: when we meet</title>
<style>
{style()}
{CSS.read_text("utf-8")}</style>
</head>
<body>
<header>
<p class="course">Five Sundays</p>
<h1>When we meet</h1>
<p>{escape(spoken(plan))} For a calendar program:
<a href="{plan_calendar.FILE}">{plan_calendar.FILE}</a>, in the same folder.</p>
</header>
<main>
<nav aria-label="The dates">
<ol>
{lines}
</ol>
</nav>
{meetings}
<section class="after">
<h2>After the five</h2>
{_table("A bonus", bonus)}
</section>
</main>
<footer>
<p>The minutes are those of the exercises, for someone who does all of them; the
reading comes on top. Nobody has to have finished. The page of every Sunday has a
catch-up path of 45 minutes for someone who had no time at all.</p>
</footer>
</body>
</html>
"""


def _line(week: Week, start: datetime) -> str:
    """A date at a glance, which leads to what it needs."""
    return (
        f"<li>{_time(start.date())} <span>{week.number}</span> "
        f'<a href="#sunday-{week.number}">{_title(week)}</a></li>'
    )


def _skipped(day: date) -> str:
    return f'<li class="skipped">{_time(day)} <span></span> no meeting</li>'


def _time(day: date) -> str:
    return f'<time datetime="{day}">{day:%a} {day.day} {day:%B}</time>'


def _meeting(week: Week, start: datetime, end: datetime) -> str:
    next_day = " the next day" * (end.date() > start.date())
    to_do = "\n".join(f"<li>{point.html}</li>" for point in points(week))
    return f"""<section class="meeting" id="sunday-{week.number}">
<div class="when">
<time datetime="{start.isoformat(timespec="minutes")}">
<span class="weekday">{start:%A}</span>
<span class="day">{start.day} {start:%B} {start.year}</span>
</time>
<span class="hours">{start:%H:%M} to {end:%H:%M}{next_day}</span>
<span class="utc">{start.astimezone(UTC):%H:%M} UTC</span>
</div>
<div class="what">
<h2><span>Sunday {week.number}</span> {_title(week)}</h2>
<ul>
{to_do}
</ul>
{_table("Its chapters", readings(week))}
</div>
</section>"""


def _title(week: Week) -> str:
    return escape(week.title[0].upper() + week.title[1:])


def _table(caption: str, chapters: list[Reading]) -> str:
    rows = "".join(
        f"<tr><th scope=row>{escape(chapter.title)}</th>"
        f"<td>{chapter.exercises} exercises</td>"
        f"<td>{chapter.minutes} minutes</td></tr>\n"
        for chapter in chapters
    )
    return f"<table><caption>{caption}</caption>\n<tbody>\n{rows}</tbody></table>"
