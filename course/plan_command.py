"""`sundays plan`: makes or changes the group's plan and writes it in three forms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from course import answers, plan_calendar, plan_page
from course import plan as plans
from course.plan import WEEK, Plan, PlanError
from course.weeks import weeks

FILES = {
    plans.FILE: "the dates; you may edit them by hand",
    plan_page.FILE: "a page to send, to project or to print",
    plan_calendar.FILE: "open it with a calendar program; a newer one moves the dates",
}


def run(
    *,
    start: str | None = None,
    begins: str | None = None,
    minutes: int | None = None,
    zone: str | None = None,
    skip: Sequence[str] = (),
    out: Path | None = None,
) -> str:
    """Write the plan; returns what there is to say about it.

    What is not given stays as it is in the folder's plan, or else in the reader's own.
    Where there is neither, it is as in the original plan. A new first date makes all
    dates anew.

    Raises:
        PlanError: if something given is wrong, or the plan that is there cannot be
            read and no new first date is given. Nothing is written then.

        OSError: if the folder cannot be written; no file is left half written.
    """
    folder = out or answers.home()
    times = {"begins": begins, "minutes": minutes, "zone": zone}
    given = {name: value for name, value in times.items() if value is not None}
    try:
        known = plans.load(folder) or plans.load()
    except PlanError:
        if start is None:
            raise
        known = None
    if start is None and known:
        plan = plans.changed(known, **given, skip=skip)
        first = known.days[0]
    else:
        kept = {name: getattr(known, name) for name in times} if known else {}
        plan = plans.make(start or plans.START, **kept | given, skip=skip)
        first = plans.make(start or plans.START).days[0]
    replaced = _write(plan, folder)
    lines = [*_dates(plan), plans.spoken(plan), *_remarks(plan)]
    if start is None and known is None:
        lines.append(
            "These are the dates of the first group: give your own with --start."
        )
    elif known:
        lines += [
            f"No longer skipped: {day}. You do not meet then? Give --skip {day} again."
            for day in known.skipped()
            if day in plan.days
        ]
    possible = {
        str(first + WEEK * n) for n in range((plan.days[-1] - first) // WEEK + 1)
    }
    lines += [
        f"--skip {day} changes nothing: the plan has no meeting on that day."
        for day in skip
        if day not in possible
    ]
    if replaced:
        lines.append(f"The plan that was there before is kept as {plans.EARLIER}.")
    lines += ["", f"Written to {_shown(folder)}:"]
    lines += [f"  {name:9}  {what}" for name, what in FILES.items()]
    return "\n".join(lines)


def _write(plan: Plan, folder: Path) -> bool:
    """Write all files; whether another plan was replaced."""
    path = folder / plans.FILE
    before = path.read_bytes() if path.exists() else None
    marked = plans.write(plan, folder)
    plan_page.write(marked, folder)
    plan_calendar.write(marked, folder)
    return before not in (None, path.read_bytes())


def _dates(plan: Plan) -> list[str]:
    rows = [
        (day, f"Sunday {week.number}  {day:%a} {day}  {week.title}")
        for day, week in zip(plan.days, weeks(), strict=True)
    ]
    rows += [(day, f"{'':8}  {day:%a} {day}  no meeting") for day in plan.skipped()]
    return [row for _, row in sorted(rows)]


def _remarks(plan: Plan) -> list[str]:
    weekday = f"{plan.days[0]:%A}"
    if weekday == "Sunday":
        return []
    return [
        f"{plan.days[0]} is a {weekday}: you meet on {weekday}s. The course goes on "
        "calling them Sunday 1 to Sunday 5."
    ]


def _shown(folder: Path) -> str:
    """A folder as it is reached from here, if it lies here."""
    folder = folder.absolute()
    here = Path.cwd()
    return f"{folder.relative_to(here) if folder.is_relative_to(here) else folder}/"
