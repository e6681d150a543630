"""The five weeks, as the book's table of contents has them.

    for week in weeks():
        print(week.number, week.title, week.chapters)

The chapters that stand before a week's session are needed for its Sunday; those behind
it are a bonus.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Week:
    """A week and its Sunday. Chapters are named by their modules, as in `checks`."""

    number: int
    title: str  # of its Sunday, without "Sunday 1: "
    chapters: tuple[str, ...]
    bonus: tuple[str, ...]
    session: str  # the page of its Sunday: its path without an ending


@cache
def weeks() -> tuple[Week, ...]:
    """All weeks in order."""
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))["parts"]
    numbered = [re.fullmatch(r"Week (\d+)", part["caption"]) for part in parts]
    return tuple(
        _week(int(number[1]), [chapter["file"] for chapter in part["chapters"]])
        for part, number in zip(parts, numbered, strict=True)
        if number
    )


def week_of(chapter: str) -> Week:
    """The week that a chapter belongs to, as a bonus or not.

    Raises:
        LookupError: if none has it.
    """
    for week in weeks():
        if chapter in week.chapters + week.bonus:
            return week
    raise LookupError(f"no week has a chapter {chapter!r}")


def _week(number: int, files: list[str]) -> Week:
    place = next(i for i, file in enumerate(files) if file.endswith("/session"))
    heading = (ROOT / f"{files[place]}.md").read_text("utf-8").splitlines()[0]
    return Week(
        number,
        heading.removeprefix(f"# Sunday {number}: "),
        tuple(_chapters(files[:place])),
        tuple(_chapters(files[place:])),
        files[place],
    )


def _chapters(files: list[str]) -> list[str]:
    notebooks = [file for file in files if (ROOT / f"{file}.ipynb").is_file()]
    return [Path(file).name.replace("-", "_") for file in notebooks]
