"""The weeks, beside what the folders of the chapters and the checks say."""

from __future__ import annotations

import pytest

from course.checks import CHAPTERS
from course.notebooks import ROOT, chapters
from course.weeks import week_of, weeks


def test_every_chapter_is_in_the_week_whose_folder_it_lies_in():
    named = [name for week in weeks() for name in week.chapters + week.bonus]
    assert named == list(CHAPTERS)
    for path in chapters():
        week = week_of(path.stem.replace("-", "_"))
        assert path.parent.name == f"week{week.number}"


def test_five_weeks_each_with_a_title_and_a_session():
    assert [week.number for week in weeks()] == [1, 2, 3, 4, 5]
    assert weeks()[2].title == "many heads, steady numbers"
    assert all((ROOT / f"{week.session}.md").is_file() for week in weeks())


def test_what_stands_behind_a_session_is_a_bonus():
    assert [week.bonus for week in weeks()] == [(), (), (), (), ("instruction_tuning",)]


def test_a_chapter_of_no_week_is_told():
    with pytest.raises(LookupError, match="no week has a chapter 'nothing'"):
        week_of("nothing")
