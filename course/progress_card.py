"""The card in a chapter's first cell: how far the reader is, in it and its week."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from html import escape

from course import progress, verdict
from course.progress import Part
from course.weeks import week_of


@dataclass(frozen=True)
class Card:
    """How far the reader is with a chapter, with its week, and with its Sunday."""

    chapter: str
    parts: tuple[Part, ...]  # of the whole course
    lines: tuple[str, ...]  # about the Sunday, and what is wrong

    def __repr__(self) -> str:
        """The card as text, for terminals and editors that show no HTML."""
        head = [line.replace("`", "") for line in self._head()]
        return "\n".join([*head, *self.lines])

    def _repr_html_(self) -> str:
        """The card for notebooks and for the page: follows light and dark by itself."""
        done, *following = map(_html, self._head())
        head = "".join(f"<span>{line}</span>" for line in following)
        rows = "".join(map(self._row, progress.chapters_of(week_of(self.chapter))))
        lines = "".join(f"<p>{_html(line)}</p>" for line in self.lines)
        return (
            '<div class="fs-verdict fs-progress" role="group" '
            f'aria-label="How far you are">{verdict.STYLE}{STYLE}'
            f'<p class="fs-head"><strong>{done}</strong>{head}</p>'
            f'<ul aria-label="Exercises passed, by chapter of this week">{rows}</ul>'
            f"{lines}</div>"
        )

    def _head(self) -> list[str]:
        here = progress.of(self.parts, self.chapter)
        todo = [part for part in here if not part.passed]
        lines = [f"{len(here) - len(todo)} of {len(here)} exercises passed."]
        if todo:
            lines.append(
                f"Next: `{todo[0].exercise.name}`. "
                f"About {progress.minutes_left(todo)} minutes of exercises to go."
            )
        return lines

    def _row(self, chapter: str) -> str:
        """A chapter of the week: a piece of bar for each exercise, and in words."""
        here = progress.of(self.parts, chapter)
        done = sum(part.passed is not None for part in here)
        bar = "".join(
            f'<i class="fs-{part.state.replace(" ", "-")}"></i>' for part in here
        )
        now = ' aria-current="true"' if chapter == self.chapter else ""
        return (
            f"<li{now}><span>{progress.title_of(chapter)}</span>"
            f'<span class="fs-bar" aria-hidden="true">{bar}</span>'
            f"<span>{done} of {len(here)}</span></li>"
        )


def card(chapter: str, unusable: Collection[str] = ()) -> Card:
    """The card of a chapter as things stand.

    `unusable` names exercises of it without an answer that could be loaded.
    """
    parts = [
        replace(part, passed=None, problem="it does not load: `sundays check` says why")
        if part.passed and part.exercise.name in unusable
        else part
        for part in progress.parts()
    ]
    week, planned = week_of(chapter), progress.planned_week()
    lines = [progress.sunday_line(parts, week)]
    # Without a plan nothing is said of another Sunday: so the card of an empty
    # workbook is the same everywhere and on every day, as in the book.
    if planned is not None and planned != week:
        lines.append(progress.sunday_line(parts, planned, "Your group is at"))
    lines.append(progress.plan_problem())
    lines += progress.problem_lines(progress.of(parts, chapter))
    return Card(chapter, tuple(parts), tuple(filter(None, lines)))


def _html(line: str) -> str:
    """Escaped text in which `code` is shown as meant."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(line))


# A bar has a piece for each exercise: full, half, or only an outline. The rest is as on
# the card of a verdict.
STYLE = """<style>
.fs-progress ul{display:grid;grid-template-columns:fit-content(100%) max-content 1fr;
gap:.3em 1em;white-space:nowrap;align-items:center;list-style:none;margin:.5em 0;
padding:0}
.fs-progress li{display:contents}.fs-progress li>span:first-child{white-space:normal}
.fs-progress li[aria-current]>span:first-child{font-weight:600}
.fs-progress .fs-bar{display:flex;gap:2px}
.fs-progress i{width:.85em;height:.7em;border-radius:2px;box-sizing:border-box;
border:1px solid color-mix(in srgb,currentColor 60%,transparent)}
.fs-progress .fs-passed{background:#2f9e63;border-color:#2f9e63}
.fs-progress .fs-tried{background:linear-gradient(90deg,#d9822b 50%,transparent 50%)}
</style>"""
