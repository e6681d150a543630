"""What a Sunday needs beforehand, from the page of its session and from the checks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.token import Token

from course.checks import of_chapter
from course.weeks import ROOT, Week

BOX = re.compile(
    r"^:{3,}\{admonition\} Before Sunday\n(?P<text>.*?)^:{3,}$", re.M | re.S
)
"""The box at the beginning of a session's page."""

MARKDOWN = MarkdownIt()


@dataclass(frozen=True)
class Reading:
    """A chapter, and the time that its exercises take."""

    title: str
    exercises: int
    minutes: int


@dataclass(frozen=True)
class Point:
    """A line of the box "Before Sunday", for a page and for a calendar."""

    html: str
    text: str


def readings(week: Week, chapters: Iterable[str] | None = None) -> list[Reading]:
    """The chapters that a Sunday needs, or others of its week."""
    return [
        _reading(week.number, chapter)
        for chapter in (week.chapters if chapters is None else chapters)
    ]


def points(week: Week) -> list[Point]:
    """What everyone reads, tries and brings, as the page of the session has it.

    Its links lead from that page, so they are left out. So is the line that leads to
    the catch-up path further down on it.
    """
    page = (ROOT / f"{week.session}.md").read_text("utf-8")
    box = BOX.search(page)
    items = re.split(r"^- ", box["text"], flags=re.M)[1:] if box else []
    return [_point(item) for item in items if "](#" not in item]


def _point(item: str) -> Point:
    (inline,) = MARKDOWN.parseInline(" ".join(item.split()))
    tokens = [_without_link(token) for token in inline.children]
    html = MARKDOWN.renderer.render(tokens, MARKDOWN.options, {})
    return Point(html, "".join(map(_plain, tokens)))


def _without_link(token: Token) -> Token:
    """The title of a chapter stands in quotation marks where it was a link."""
    mark = {"link_open": "“", "link_close": "”"}.get(token.type)
    return Token("text", "", 0, content=mark) if mark else token


def _plain(token: Token) -> str:
    """Plain text, which has quotation marks in place of italics."""
    return {"em_open": "“", "em_close": "”"}.get(token.type, token.content)


def _reading(week: int, chapter: str) -> Reading:
    path = ROOT / "chapters" / f"week{week}" / f"{chapter.replace('_', '-')}.ipynb"
    cells = json.loads(path.read_text("utf-8"))["cells"]
    title = "".join(cells[0]["source"]).splitlines()[0].removeprefix("# ")
    exercises = of_chapter(chapter)
    return Reading(title, len(exercises), sum(e.minutes for e in exercises))
