"""The group's plan: its dates, its files, and what other programs read in them.

Times in UTC are computed by hand, and the calendar is read by `vobject`, which knows
nothing of the library that wrote it.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from pathlib import Path

import pytest
import vobject
from axe_playwright_python.sync_playwright import Axe
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from course import cli, look, plan_calendar, plan_command, plan_page, preparation
from course import plan as plans
from course.case import Exercise
from course.checks import find
from course.notebooks import ROOT
from course.plan import Plan, PlanError, load, make
from course.weeks import weeks

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
WINTER = "2026-12-06"


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("FIVE_SUNDAYS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(*arguments: str):
    return CliRunner().invoke(cli.app, ["plan", *arguments])


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def shown(days) -> list[str]:
    return [str(day) for day in days]


def utc(*moments: str) -> list[datetime]:
    return [datetime.fromisoformat(moment).replace(tzinfo=UTC) for moment in moments]


# ---- dates ------------------------------------------------------------------------


def test_without_a_word_it_is_the_original_plan():
    plan = make()
    assert shown(plan.days) == [
        "2025-03-02",
        "2025-03-09",
        "2025-03-16",
        "2025-03-23",
        "2025-03-30",
    ]
    # Seoul is nine hours ahead, all year.
    assert plan.starts()[4] == datetime(2025, 3, 30, 5, tzinfo=UTC)
    assert plan.ends()[4] == datetime(2025, 3, 30, 7, tzinfo=UTC)
    assert plan.skipped() == []


@pytest.mark.parametrize(
    ("skip", "days", "gone"),
    [
        (
            ["2026-12-27"],
            ["2026-12-06", "2026-12-13", "2026-12-20", "2027-01-03", "2027-01-10"],
            ["2026-12-27"],
        ),
        (  # what is moved by one may fall on another
            ["2027-01-10", "2026-12-27", "2027-01-03"],
            ["2026-12-06", "2026-12-13", "2026-12-20", "2027-01-17", "2027-01-24"],
            ["2026-12-27", "2027-01-03", "2027-01-10"],
        ),
        (
            [WINTER, "2026-12-09"],
            ["2026-12-13", "2026-12-20", "2026-12-27", "2027-01-03", "2027-01-10"],
            [],
        ),
    ],
    ids=["one", "three", "first"],
)
def test_a_skipped_week_moves_all_later_ones(skip, days, gone):
    plan = make(WINTER, skip=skip)
    assert shown(plan.days) == days
    assert shown(plan.skipped()) == gone


def test_a_leap_day_and_the_turn_of_a_year_are_dates_like_others():
    assert shown(make("2028-02-22").days)[:2] == ["2028-02-22", "2028-02-29"]
    assert shown(make("2099-12-31").days)[1] == "2100-01-07"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"start": "2026-02-30"}, "2026-02-30 is no date: no calendar has it"),
        ({"start": "2027-02-29"}, "2027-02-29 is no date: no calendar has it"),
        ({"start": "06.12.2026"}, "'06.12.2026' is no date: write it as 2026-12-06"),
        ({"start": "20261206"}, "'20261206' is no date: write it as 2026-12-06"),
        ({"start": "٢٠٢٦-12-06"}, "is no date: write it as 2026-12-06"),
        ({"start": "10000-01-02"}, "'10000-01-02' is no date: write it as"),
        ({"start": "9999-12-26"}, "too far away: a year from 2000 to 2099"),
        ({"start": "0001-01-07"}, "too far away: a year from 2000 to 2099"),
        ({"start": "2026-12-06\n"}, r"'2026-12-06\\n' is no date: write it as"),
        ({"start": ""}, "'' is no date: write it as 2026-12-06"),
        ({"skip": ["never"]}, "'never' is no date: write it as 2026-12-06"),
        ({"begins": "24:00"}, "'24:00' is no time of the day: write it as 14:00"),
        ({"begins": "14:60"}, "'14:60' is no time of the day: write it as 14:00"),
        ({"begins": "2 pm"}, "'2 pm' is no time of the day: write it as 14:00"),
        ({"minutes": 0}, "cannot last 0 minutes: a whole number from 10 to 720"),
        ({"minutes": -60}, "cannot last -60 minutes: a whole number from 10 to 720"),
        ({"minutes": 2000}, "cannot last 2000 minutes: a whole number from 10 to 720"),
        ({"zone": "Seoul"}, "no time zone is called 'Seoul'; you may mean Asia/Seoul"),
        ({"zone": "europe/berlin"}, "you may mean Europe/Berlin"),
        ({"zone": "New York"}, "you may mean America/New_York"),
        ({"zone": "../../etc/passwd"}, "write it as Asia/Seoul"),
        ({"zone": ""}, "no time zone is called ''; write it as Asia/Seoul"),
        (
            {"start": "2026-03-01", "begins": "02:30", "zone": "America/New_York"},
            "in America/New_York there is no 02:30 on 2026-03-08, because clocks go",
        ),
    ],
)
def test_what_makes_no_plan_is_told_in_one_line(wrong, words):
    with pytest.raises(
        PlanError, match=re.escape(words).replace(r"\\\\", r"\\")
    ) as told:
        make(**wrong)
    assert "\n" not in str(told.value)


def test_a_meeting_keeps_its_length_in_the_night_that_loses_an_hour():
    plan = make("2026-03-08", begins="1:30", zone="America/New_York")
    assert f"{plan.ends()[0]:%H:%M}" == "04:30"
    assert plan.ends()[0] == datetime(2026, 3, 8, 8, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "number"),
    [
        ("2020-01-01T00:00", 1),
        ("2025-03-02T05:00", 1),
        ("2025-03-02T06:59:59", 1),
        ("2025-03-02T07:00", 2),
        ("2025-03-08T23:00", 2),
        ("2025-03-30T06:00", 5),
        ("2025-03-30T07:00", 5),
        ("2031-01-01T00:00", 5),
    ],
)
def test_the_sunday_is_the_next_or_the_one_in_progress(now, number):
    (moment,) = utc(now)
    assert make().sunday(moment) == number


# ---- plan.toml --------------------------------------------------------------------


def edited(home: Path, old: str, new: str) -> None:
    path = home / "plan.toml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_what_is_written_is_read_back(home):
    plan = make(WINTER, begins="9:05", minutes=95, zone="Asia/Kathmandu")
    assert load() is None
    marked = plans.write(plan, home)
    assert load() == marked
    assert (load().days, load().begins, load().minutes, load().zone) == (
        plan.days,
        time(9, 5),
        95,
        "Asia/Kathmandu",
    )


def test_the_file_says_what_each_date_is(home):
    plans.write(make("2026-12-05"), home)
    text = (home / "plan.toml").read_text("utf-8")
    assert "  2026-12-19,  # Saturday: many heads, steady numbers\n" in text


def test_it_can_be_edited_in_many_ways(home):
    plans.write(make(WINTER), home)
    edited(home, "2026-12-13,", '"2026-12-12",')
    edited(home, 'begins = "14:00"', "begins = 10:30:00")
    edited(home, "calendar =", 'note = "room 3"\nformerly =')
    plan = load()
    assert plan.days[1] == date(2026, 12, 12)
    assert plan.begins == time(10, 30)
    assert plan.skipped() == []  # a day earlier is no week without a meeting


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("2026-12-13", "2026-02-30", "Invalid date or datetime (at line 7"),
        ("2026-12-13", "2026-13-12", "(at line 7"),
        ("2026-12-13", '"13 December"', "'13 December' is no date"),
        ("2026-12-13", "2026-12-13T14:00:00", "2026-12-13 14:00:00 is no date"),
        ("2026-12-13", "5", "5 is no date"),
        ("2026-12-13", "[2026-12-13]", "is no date"),
        ("2026-12-13", "2026-12-06", "2026-12-06 stands behind 2026-12-06"),
        ("2026-12-13", "2026-12-27", "2026-12-20 stands behind 2026-12-27"),
        ("  2026-12-13", "# 2026-12-13", "`days` must be a list of 5 dates"),
        ("days = [", "days = 3\nx = [", "`days` must be a list of 5 dates"),
        ("days = [", "dates = [", "`days` is missing"),
        ("zone =", "# zone =", "`zone` is missing"),
        ('"Asia/Seoul"', "9", "no time zone is called 9"),
        ('"Asia/Seoul"', "['Asia/Seoul']", "no time zone is called"),
        ("minutes = 120", "minutes = true", "cannot last True minutes"),
        ("minutes = 120", "minutes = 120.0", "cannot last 120.0 minutes"),
        ("minutes = 120", "minutes = '120'", "cannot last '120' minutes"),
        ('"14:00"', "14", "14 is no time of the day"),
        ("calendar =", "calendar = 5 #", "`calendar` must be letters and digits"),
        ('"14:00"', '"14:00', "Illegal character"),
        ("days = [", f"x = {'[' * 5000}", "it is nested too deeply"),
    ],
)
def test_what_is_wrong_with_an_edited_plan_is_told_in_one_line(home, old, new, words):
    plans.write(make(WINTER), home)
    edited(home, old, new)
    with pytest.raises(PlanError) as told:
        load()
    line = str(told.value)
    assert words in line
    assert str(home / "plan.toml") in line
    assert "\n" not in line


def test_a_plan_that_is_no_text_or_no_file_is_told(home):
    home.mkdir()
    (home / "plan.toml").write_bytes(b"# " + b"x" * 20_000)
    with pytest.raises(PlanError, match="cannot be read: it is larger than any plan"):
        load()
    (home / "plan.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(PlanError, match="cannot be read: 'utf-8' codec"):
        load()
    (home / "plan.toml").unlink()
    (home / "plan.toml").mkdir()
    with pytest.raises(PlanError, match="cannot be read: Is a directory"):
        load()


KEYS = st.sampled_from(["days", "begins", "minutes", "zone", "calendar"])
VALUES = st.sampled_from(
    [
        *["1", "120", "inf", "true", "99999999999999999999"],
        *["''", "'\\u0000'", "'14:00'", "'Asia/Seoul'"],
        *["2026-12-06", "14:00:00", "[]", "{}", f"[{'2026-12-06, ' * 5}]"],
    ]
)
LINES = st.dictionaries(KEYS, VALUES).map(
    lambda lines: "".join(f"{key} = {value}\n" for key, value in lines.items()).encode()
)


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | LINES)
def test_whatever_stands_in_the_file_it_is_a_plan_or_a_line(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "whatever"
    folder.mkdir(exist_ok=True)
    (folder / "plan.toml").write_bytes(data)
    problem = ""
    try:
        assert isinstance(load(folder), Plan)
    except PlanError as told:
        problem = str(told)
    assert len(problem.splitlines()) <= 1


def test_the_same_plan_leaves_the_file_with_its_notes(home):
    plans.write(make(WINTER), home)
    edited(home, "minutes = 120", "minutes = 120  # and then cake")
    before = written(home)
    plans.write(make(WINTER), home)
    assert written(home) == before


def test_a_plan_that_is_replaced_is_kept(home):
    plans.write(make(WINTER), home)
    old = (home / "plan.toml").read_bytes()
    plans.write(make("2027-02-07"), home)
    assert (home / "plan.earlier.toml").read_bytes() == old
    (home / "plan.toml").write_bytes(b"broken")
    plans.write(make("2027-02-07"), home)
    assert (home / "plan.earlier.toml").read_bytes() == b"broken"
    assert load().days[0] == date(2027, 2, 7)


# ---- the calendar -----------------------------------------------------------------


NUMBERS = count()


def events(data: bytes) -> list:
    """What vobject reads, with the rules of the zone in the file and no others."""
    text = data.decode()
    for zone in set(re.findall(r"TZID[:=]([\w/+-]+)", text)):
        text = text.replace(zone, f"Made/Up{next(NUMBERS)}")  # no database knows it
    return list(vobject.readOne(text).vevent_list)


def beginnings(plan: Plan) -> list[datetime]:
    found = events(plan_calendar.calendar(plan, NOON))
    return [event.dtstart.value.astimezone(UTC) for event in found]


def test_another_program_reads_five_events_with_two_reminders():
    plan = make(WINTER, skip=["2026-12-27"])
    found = events(plan_calendar.calendar(plan, NOON))
    assert [event.summary.value for event in found] == [
        f"Sunday {week.number}: {week.title}" for week in weeks()
    ]
    assert found[2].summary.value == "Sunday 3: many heads, steady numbers"
    assert [event.dtstart.value.astimezone(UTC) for event in found] == utc(
        "2026-12-06T05:00",
        "2026-12-13T05:00",
        "2026-12-20T05:00",
        "2027-01-03T05:00",
        "2027-01-10T05:00",
    )
    for event in found:
        assert event.duration.value == timedelta(hours=2)
        assert event.dtstamp.value == NOON
        before = [alarm.trigger.value for alarm in event.valarm_list]
        assert before == [timedelta(days=-2), timedelta(hours=-1)]
        first, second = (alarm.description.value for alarm in event.valarm_list)
        assert first.startswith(f"In two days: {event.summary.value}\nEveryone reads “")
        assert second.startswith(f"In an hour: {event.summary.value}\nEveryone brings")
        assert {alarm.action.value for alarm in event.valarm_list} == {"DISPLAY"}


def test_an_event_says_what_to_prepare_in_plain_text():
    said = events(plan_calendar.calendar(make(), NOON))[2].description.value
    assert re.search(r"^Many heads: \d+ exercises, \d+ minutes$", said, re.M)
    assert "Everyone reads “Many heads”, and in “Steady activations” the text" in said
    assert "Everyone tries split_heads" in said
    assert not re.search(r"[*`<\]]|\.ipynb", said)


@pytest.mark.parametrize(
    ("zone", "start", "begins", "moments"),
    [
        (  # forward at 02:00 on 8 March: five hours behind UTC, then four
            "America/New_York",
            "2026-03-01",
            "14:00",
            ["2026-03-01T19:00", "2026-03-08T18:00", "2026-03-15T18:00"],
        ),
        (  # back at 03:00 on 25 October: two hours ahead, then one
            "Europe/Berlin",
            "2026-10-18",
            "14:00",
            ["2026-10-18T12:00", "2026-10-25T13:00", "2026-11-01T13:00"],
        ),
        (  # in the hour after the change
            "America/New_York",
            "2026-03-08",
            "03:30",
            ["2026-03-08T07:30", "2026-03-15T07:30", "2026-03-22T07:30"],
        ),
        (  # in the hour before it
            "America/New_York",
            "2026-03-08",
            "01:30",
            ["2026-03-08T06:30", "2026-03-15T05:30", "2026-03-22T05:30"],
        ),
        (  # forward by half an hour, at 02:00 on 4 October, in spring
            "Australia/Lord_Howe",
            "2026-09-27",
            "10:00",
            ["2026-09-26T23:30", "2026-10-03T23:00", "2026-10-10T23:00"],
        ),
        (
            "Asia/Kathmandu",  # five hours and three quarters ahead
            "2026-12-06",
            "00:10",
            ["2026-12-05T18:25", "2026-12-12T18:25", "2026-12-19T18:25"],
        ),
    ],
    ids=["New York", "Berlin", "after", "before", "Lord Howe", "Kathmandu"],
)
def test_the_hour_is_right_when_the_clocks_change(zone, start, begins, moments):
    plan = make(start, begins=begins, zone=zone)
    assert [moment.astimezone(UTC) for moment in plan.starts()[:3]] == utc(*moments)
    assert beginnings(plan)[:3] == utc(*moments)


@pytest.mark.parametrize(
    ("zone", "start", "rule"),
    [  # when the clocks still show two, and three, in the old time
        ("America/New_York", "2026-03-01", "20260308T020000 -0500 -0400"),
        ("Europe/Berlin", "2026-10-18", "20261025T030000 +0200 +0100"),
        ("Australia/Lord_Howe", "2026-09-27", "20261004T020000 +1030 +1100"),
    ],
)
def test_a_rule_begins_when_the_old_time_ends(zone, start, rule):
    plan = make(start, begins="14:10", zone=zone)
    text = plan_calendar.calendar(plan, NOON).decode()
    moment, before, after = rule.split()
    (found,) = re.findall(f"DTSTART:{moment}(.*?)END:", text, re.S)
    assert f"TZOFFSETFROM:{before}\r\n" in found
    assert f"TZOFFSETTO:{after}\r\n" in found
    assert text.count("TZOFFSETFROM") == 2  # this one, and that of the beginning


def test_a_zone_that_never_changes_is_read_too():
    assert beginnings(make(WINTER, zone="UTC"))[0] == utc("2026-12-06T14:00")[0]


def test_lines_are_short_and_end_as_the_standard_wants(monkeypatch):
    korean = tuple(replace(week, title="주의, 그리고; " * 20) for week in weeks())
    monkeypatch.setattr(plan_calendar, "weeks", lambda: korean)
    data = plan_calendar.calendar(make(), NOON)
    lines = data.split(b"\r\n")
    assert lines.pop() == b""
    assert max(map(len, lines)) == 75
    assert not any(b"\n" in line or b"\r" in line for line in lines)
    assert events(data)[1].summary.value == "Sunday 2: " + "주의, 그리고; " * 20


def uids(folder: Path) -> list[str]:
    return [event.uid.value for event in events((folder / "plan.ics").read_bytes())]


def sequences(folder: Path) -> list[int]:
    found = events((folder / "plan.ics").read_bytes())
    return [int(event.sequence.value) for event in found]


def test_the_same_plan_again_changes_nothing(home):
    run("--start", WINTER)
    before = written(home)
    run("--start", WINTER)
    run()
    assert written(home) == before


def test_a_moved_date_keeps_its_uid_and_is_the_later_one(home):
    run("--start", WINTER)
    before = uids(home), sequences(home)
    assert len(set(before[0])) == 5
    run("--skip", "2026-12-27")
    assert uids(home) == before[0]
    assert all(new > old for new, old in zip(sequences(home), before[1], strict=True))
    run("--start", "2027-02-07", "--zone", "Europe/Berlin")
    assert uids(home) == before[0]


def test_the_newer_file_is_the_later_one_even_if_the_clock_was_set_back(home):
    marked = plans.write(make(WINTER), home)
    ahead = datetime.now(UTC).replace(microsecond=0) + timedelta(days=400)
    (home / "plan.ics").write_bytes(plan_calendar.calendar(marked, ahead))
    before = sequences(home)
    run("--skip", "2026-12-27")
    assert all(new > old for new, old in zip(sequences(home), before, strict=True))


def test_a_plan_without_its_calendar_is_later_than_the_lost_one(home):
    run("--start", WINTER)
    year_ago = datetime.now(UTC).replace(microsecond=0) - timedelta(days=365)
    (home / "plan.ics").write_bytes(plan_calendar.calendar(load(), year_ago))
    before = uids(home), sequences(home)
    (home / "plan.ics").unlink()
    run("--skip", "2026-12-27")
    assert uids(home) == before[0]
    assert all(new > old for new, old in zip(sequences(home), before[1], strict=True))


def test_a_calendar_that_cannot_be_read_is_replaced(home):
    run("--start", WINTER)
    for broken in (
        b"",
        b"\xff",
        b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n",
        b"BEGIN:VEVENT",
    ):
        (home / "plan.ics").write_bytes(broken)
        assert run().exit_code == 0
        assert len(uids(home)) == 5


def test_the_same_plan_has_the_same_uids_wherever_it_is_written(home, tmp_path):
    run("--start", WINTER, "--out", str(tmp_path / "one"))
    run("--start", WINTER, "--out", str(tmp_path / "two"))
    run("--start", "2027-02-07", "--out", str(tmp_path / "three"))
    assert uids(tmp_path / "one") == uids(tmp_path / "two")
    assert not set(uids(tmp_path / "one")) & set(uids(tmp_path / "three"))
    # What was moved at home is known again in the group's folder.
    run("--start", WINTER)
    run("--start", "2027-02-14")
    run("--start", "2027-02-14", "--out", str(tmp_path / "four"))
    assert uids(tmp_path / "four") == uids(home) == uids(tmp_path / "one")


# ---- what a Sunday needs ----------------------------------------------------------


def test_every_sunday_says_what_to_read_to_try_and_to_bring():
    for week in weeks():
        said = [point.text for point in preparation.points(week)]
        for lead in "Everyone reads “", "Everyone tries ", "Everyone brings ":
            assert sum(line.startswith(lead) for line in said) == 1, (week.number, lead)
        assert not any("catch-up" in line for line in said)
        (tries,) = (p.html for p in preparation.points(week) if "tries" in p.text)
        for name in re.findall("<code>(.+?)</code>", tries):
            assert find(name)[0] in week.chapters


def test_the_minutes_are_those_of_the_exercises(monkeypatch):
    def exercises(chapter: str) -> list[Exercise]:
        def one(minutes: int) -> Exercise:
            return Exercise(
                name="x",
                cases=(),
                hints=("a", "b", "c"),
                difficulty=1,
                minutes=minutes,
            )

        return [one(7), one(11)]

    monkeypatch.setattr(preparation, "of_chapter", exercises)
    (first, second) = preparation.readings(weeks()[2])
    assert (first.title, first.exercises, first.minutes) == ("Many heads", 2, 18)
    assert second.title == "Steady activations"


# ---- the page ---------------------------------------------------------------------

OVERFLOW = "document.documentElement.scrollWidth - innerWidth"


@pytest.fixture
def shown_page(browser, home):
    """The page as a file on disk, in a browser that asks nothing of anyone."""
    run("--start", WINTER, "--skip", "2026-12-27")
    context = browser.new_context(viewport={"width": 390, "height": 900})
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    tab = context.new_page()
    tab.goto((home / "plan.html").as_uri())
    yield tab, asked
    context.close()


def test_the_page_shows_the_dates_and_what_each_needs(shown_page):
    tab, asked = shown_page
    assert [u for u in asked if not u.startswith("data:")] == [tab.url]
    glance = tab.locator("nav li").all_inner_texts()
    assert [" ".join(line.split()) for line in glance] == [
        "Sun 6 December 1 What a language model is, and what it reads",
        "Sun 13 December 2 Attention, and what it must not see",
        "Sun 20 December 3 Many heads, steady numbers",
        "Sun 27 December no meeting",
        "Sun 3 January 4 A GPT, and how it learns",
        "Sun 10 January 5 Yours, on your machine",
    ]
    fourth = tab.locator("#sunday-4")
    words = " ".join(fourth.inner_text().split())
    assert "Sunday 3 January 2027 14:00 to 16:00 05:00 UTC" in words
    assert re.search(r"The GPT block \d exercises \d+ minutes", words)
    assert fourth.locator("time").get_attribute("datetime") == "2027-01-03T14:00+09:00"
    assert tab.get_by_role("link", name="plan.ics").get_attribute("href") == "plan.ics"


def test_the_page_is_accessible_wide_and_narrow_light_and_dark(shown_page):
    tab, _asked = shown_page
    for width in 390, 1440:
        tab.set_viewport_size({"width": width, "height": 900})
        assert tab.evaluate(OVERFLOW) <= 0
        for scheme in "light", "dark":
            tab.emulate_media(color_scheme=scheme)
            found = Axe().run(tab).response["violations"]
            assert [(f["id"], f["nodes"][0]["html"]) for f in found] == []


GROUND = "getComputedStyle(document.body).backgroundColor"
VARIABLES = """names => names.map(name =>
  getComputedStyle(document.documentElement).getPropertyValue(name))"""


def test_its_colours_and_fonts_are_those_of_the_book(shown_page, browser):
    tab, _asked = shown_page
    css = (ROOT / "assets" / "book.css").read_text("utf-8")
    names = sorted(set(re.findall(r"^  (--[\w-]+):", css, re.M)) | {"--sun"})
    assert len(names) > 20
    book = browser.new_page()
    for scheme in "light", "dark":
        book.set_content(f"<html data-theme={scheme}><style>{css}</style>")
        tab.emulate_media(color_scheme=scheme)
        assert tab.evaluate(VARIABLES, names) == book.evaluate(VARIABLES, names)
    book.close()
    assert tab.evaluate("document.fonts.check('600 20px \"Source Serif 4\"')")
    dark = tab.evaluate(GROUND)
    tab.emulate_media(color_scheme="dark", media="print")
    assert tab.evaluate(GROUND) == "rgb(255, 253, 250)" != dark


def test_whatever_a_title_holds_is_shown_as_it_is(monkeypatch):
    strange = tuple(replace(week, title="<script>&") for week in weeks())
    monkeypatch.setattr(plan_page, "weeks", lambda: strange)
    page = plan_page.page(make())
    assert "<script" not in page
    assert page.count("&lt;script&gt;&amp;") == 10


def test_a_meeting_beyond_midnight_says_so():
    page = plan_page.page(make(begins="23:00"))
    assert "23:00 to 01:00 the next day" in page
    assert "the next day" not in plan_page.page(make(begins="22:00", minutes=119))


def test_the_look_needs_no_other_file():
    addresses = re.findall(r"url\(\"?(.{12})", look.style())
    assert addresses == ["data:font/wo"]


# ---- the command ------------------------------------------------------------------


def test_the_command_prints_the_dates_and_where_the_files_are(home):
    result = run("--start", WINTER, "--skip", "2026-12-27")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[2:5] == [
        "Sunday 3  Sun 2026-12-20  many heads, steady numbers",
        "          Sun 2026-12-27  no meeting",
        "Sunday 4  Sun 2027-01-03  a GPT, and how it learns",
    ]
    assert "Sundays at 14:00, for 2 hours, by the clocks of Asia/Seoul." in lines
    assert f"Written to {home}/:" in lines
    assert max(map(len, lines[:6])) < 80
    assert sorted(written(home)) == ["plan.html", "plan.ics", "plan.toml"]


WRONG = [
    (["--start", "2026-02-30"], "2026-02-30 is no date"),
    (["--start", "06.12.2026"], "'06.12.2026' is no date"),
    (["--start", "10000-01-02"], "'10000-01-02' is no date"),
    (["--skip", "christmas"], "'christmas' is no date"),
    (["--at", "noon"], "'noon' is no time"),
    (["--minutes", "0"], "A meeting cannot last 0 minutes"),
    (["--minutes", "2000"], "A meeting cannot last 2000 minutes"),
    (["--zone", "Mars"], "No time zone is called 'Mars'"),
]


@pytest.mark.parametrize(("options", "words"), WRONG, ids=[w[0][1] for w in WRONG])
@pytest.mark.parametrize("again", [False, True], ids=["fresh", "again"])
def test_wrong_options_get_one_line_and_write_nothing(home, options, words, again):
    home.mkdir()
    if again:
        run("--start", WINTER)
    before = written(home)
    result = run(*options)
    assert result.exit_code == 1
    assert result.output.startswith(words)
    assert result.output.endswith("Nothing was written.\n")
    assert result.output.count("\n") == 1
    assert written(home) == before


def test_a_start_that_is_no_sunday_is_fine_and_is_said():
    said = run("--start", "2026-12-05").output
    assert "Saturdays at 14:00" in said
    assert "2026-12-05 is a Saturday: you meet on Saturdays." in said
    assert "Sunday 1  Sat 2026-12-05" in said
    assert "is a" not in run("--start", WINTER).output


def test_a_skipped_date_that_hits_nothing_is_said():
    said = run("--start", WINTER, "--skip", "2026-12-26", "--skip", WINTER).output
    assert said.count("--skip") == 1
    assert "--skip 2026-12-26 changes nothing" in said
    # Already skipped, or on the other side of the plan.
    said = run("--skip", "2027-01-17", "--skip", "2026-12-06").output
    assert said.count("--skip") == 2


def test_what_is_left_out_stays_as_it_was(home):
    run("--start", WINTER, "--zone", "Europe/Berlin", "--skip", "2026-12-27")
    run("--at", "10:00", "--minutes", "90")
    plan = load()
    assert (plan.begins, plan.minutes, plan.zone) == (time(10), 90, "Europe/Berlin")
    assert shown(plan.skipped()) == ["2026-12-27"]
    run("--skip", "2026-12-20")
    assert shown(load().skipped()) == ["2026-12-20", "2026-12-27"]
    run("--start", "2027-02-07")
    plan = load()
    assert (plan.begins, plan.minutes, plan.zone) == (time(10), 90, "Europe/Berlin")
    assert plan.skipped() == []


def test_after_an_edit_by_hand_the_page_and_the_calendar_follow(home):
    run("--start", WINTER)
    edited(home, "2026-12-13,", "2026-12-12,  # Mina's birthday is on Sunday")
    result = run()
    assert "Sunday 2  Sat 2026-12-12" in result.output
    assert "Sundays or Saturdays at 14:00" in result.output
    assert "Mina's birthday" in (home / "plan.toml").read_text("utf-8")
    assert '<time datetime="2026-12-12">' in (home / "plan.html").read_text("utf-8")
    found = events((home / "plan.ics").read_bytes())
    assert found[1].dtstart.value.astimezone(UTC) == utc("2026-12-12T05:00")[0]
    # There is no rhythm to go on with.
    result = run("--skip", "2026-12-27")
    assert result.exit_code == 1
    assert "moved by hand" in result.output


def test_the_own_plan_goes_into_the_folder_of_the_group(home, tmp_path):
    run("--start", WINTER)
    run("--out", str(tmp_path / "group"))
    assert load(tmp_path / "group") == load()
    assert uids(tmp_path / "group") == uids(home)
    # From then on the folder goes by its own.
    run("--at", "10:00", "--out", str(tmp_path / "group"))
    run("--minutes", "90", "--out", str(tmp_path / "group"))
    plan = load(tmp_path / "group")
    assert (plan.begins, plan.minutes) == (time(10), 90)
    assert (load().begins, load().minutes) == (time(14), 120)


def test_a_broken_plan_is_only_replaced_by_a_new_first_date(home):
    home.mkdir()
    (home / "plan.toml").write_text("days = [")
    result = run("--at", "10:00")
    assert result.exit_code == 1
    assert "cannot be read" in result.output
    assert result.output.count("\n") == 1
    assert written(home) == {"plan.toml": b"days = ["}
    result = run("--start", WINTER)
    assert result.exit_code == 0
    assert (
        "The plan that was there before is kept as plan.earlier.toml." in result.output
    )
    assert (home / "plan.earlier.toml").read_text() == "days = ["


def test_a_folder_that_is_a_file_gets_one_line(home, tmp_path):
    (tmp_path / "file").write_text("mine")
    for start in ["--start", WINTER], []:
        result = run(*start, "--out", str(tmp_path / "file"))
        assert result.exit_code == 1
        assert "Not a directory" in result.output
        assert result.output.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_leaves_every_file_whole(home, monkeypatch):
    run("--start", WINTER)
    before = written(home)

    def full(*_):
        raise OSError(28, "No space left on device", "plan")

    monkeypatch.setattr(os, "fsync", full)
    result = run("--start", "2027-02-07")
    assert result.exit_code == 1
    assert "No space left on device" in result.output
    assert result.output.count("\n") == 1
    assert written(home) == before


# ---- the page in the book ---------------------------------------------------------

PAGE = ROOT / "chapters" / "group.md"
EXAMPLE = re.compile(
    r"^```text\n\$ \.venv/bin/sundays plan (.*)\n((?:.*\n)+?)```$", re.M
)


def test_what_the_book_shows_of_the_command_is_what_it_prints(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FIVE_SUNDAYS_HOME", "workbook")
    examples = EXAMPLE.findall(PAGE.read_text("utf-8"))
    assert examples
    for options, output in examples:
        assert run(*options.split()).output == output


def test_a_plan_is_over_when_its_last_meeting_has_ended():
    before, end = utc("2025-03-30T06:59:59", "2025-03-30T07:00")  # 16:00 in Seoul
    assert not make().over(before)
    assert make().over(end)


def test_the_first_groups_dates_are_told_as_such_and_a_date_no_longer_skipped(tmp_path):
    folder = tmp_path / "group"
    folder.mkdir()
    said = plan_command.run(out=folder)
    assert "These are the dates of the first group" in said
    said = plan_command.run(start="2026-12-06", skip=["2026-12-27"], out=folder)
    assert "first group" not in said
    assert "No longer skipped" not in said
    said = plan_command.run(start="2026-12-13", out=folder)
    assert "No longer skipped: 2026-12-27. You do not meet then?" in said
