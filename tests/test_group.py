"""The board of a study group: what its files may be, its rules, and how it looks.

The expected counts, medians and orders are arithmetic on paper.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from rich.cells import cell_len
from typer.testing import CliRunner

from course import cli, plan, progress
from course.board import Board, either
from course.checks import chapters
from course.group import GroupError, board, gather
from course.member import Member, text_of
from course.notebooks import ROOT
from course.standing import (
    Group,
    exercises,
    first_words,
    helping,
    state,
    stuck,
    tally,
    week_of_group,
)
from course.weeks import weeks
from tests.browser import axe_faults

NOW = datetime(2026, 12, 6, 13, 0, tzinfo=UTC)
TODAY = NOW.date()
VERSION = "00c0ffee"
HEADS = ("multi_head", "normalization")


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path_factory) -> Path:
    """A reader without a plan."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("FIVE_SUNDAYS_HOME", str(folder))
    return folder


def member(id_: str, name: str = "", **other) -> Member:
    """`passed` names exercises that passed today, or gives each its day."""
    passed = other.pop("passed", {})
    if not isinstance(passed, dict):
        passed = dict.fromkeys(passed, TODAY)
    known = {"written": NOW, "course": VERSION, "tries": {}} | other
    return Member(
        id=id_ * 8 if len(id_) == 1 else id_, name=name, passed=passed, **known
    )


def group(*members: Member) -> Group:
    return Group(members, ())


def tallies(*members: Member, of=HEADS):
    return [tally(group(*members), *one) for one in exercises(of)]


def put(folder: Path, place: str, one: Member) -> None:
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text_of(one), "utf-8")


def read_all(folder: Path) -> Group:
    return gather(folder, now=NOW, version=VERSION)


def names(one: Group) -> list[str]:
    return [member.name for member in one.members]


# ---- the files ----------------------------------------------------------------------


def test_all_files_below_the_folder_are_read_but_hidden_ones(tmp_path):
    put(tmp_path, "b.toml", member("b", "Ben"))
    put(tmp_path, "Week 1/deep/a.TOML", member("a", "Ada"))
    put(tmp_path, ".git/c.toml", member("c", "Cleo"))
    put(tmp_path, ".d.toml", member("d", "Dan"))
    put(tmp_path, "e.txt", member("e", "Eve"))
    (tmp_path / "plan.toml").write_text("days = 5")
    (tmp_path / "member.toml").write_text('id = "0a1b2c3d"')
    (tmp_path / "folder.toml").mkdir()
    assert read_all(tmp_path) == group(member("a", "Ada"), member("b", "Ben"))


def test_links_are_followed_and_circles_end(tmp_path):
    inside, outside = tmp_path / "group", tmp_path / "elsewhere"
    put(inside, "a.toml", member("a", "Ada"))
    put(outside, "b.toml", member("b", "Ben"))
    for place, target in {
        "here": inside,
        "sub/up": inside,
        "there": outside,
        "z-again": outside,
    }.items():
        (inside / place).parent.mkdir(exist_ok=True)
        (inside / place).symlink_to(target)
    (outside / "back").symlink_to(inside)
    assert read_all(inside) == group(member("a", "Ada"), member("b", "Ben"))


def test_what_is_wrong_with_a_file_is_a_line_and_stops_nothing(tmp_path):
    put(tmp_path, "ada.toml", member("a", "Ada"))
    text = (tmp_path / "ada.toml").read_text()
    (tmp_path / "broken.toml").write_text(text + "merge = \n")
    (tmp_path / "edited.toml").write_text(text.replace("[tries]", "[tries]\nmerge=-1"))
    (tmp_path / "gone.toml").symlink_to("nowhere")
    (tmp_path / "large.toml").write_text("#\n" * 60_000)
    (tmp_path / "pyproject.toml").write_text("[project]")
    (tmp_path / "empty.toml").write_text("")
    os.mkfifo(tmp_path / "pipe.toml")
    found = read_all(tmp_path)
    assert names(found) == ["Ada"]
    assert len(found.notes) == 6
    for note, words in zip(
        found.notes,
        [
            r"broken\.toml: it is no TOML: .*share it again with `sundays progress.*\.",
            r"edited\.toml: `merge` is -1; expected a number of runs, as 3\.",
            r"gone\.toml: it cannot be read \(No such file or directory\)\.",
            r"large\.toml: it is larger than 100,000 bytes; no member's file is\.",
            r"pipe\.toml: it is not a file\.",
            r"Not members' files: empty\.toml, pyproject\.toml\.",
        ],
        strict=True,
    ):
        assert re.fullmatch(words, note)


def test_a_file_name_cannot_break_its_line(tmp_path):
    (tmp_path / "a\nb\u202e.toml").write_text("x")
    path = os.fsencode(tmp_path) + b"/c\xff.toml"
    with open(path, "w") as file:
        file.write("x")
    first, second = read_all(tmp_path).notes
    assert first.startswith("a b.toml: it is no TOML")
    assert second.startswith("c.toml: it is no TOML")


@pytest.mark.parametrize("first", ["a.toml", "z.toml"])
def test_of_two_files_with_one_id_the_newer_counts(tmp_path, first):
    put(tmp_path, first, member("a", "Old", written=NOW - timedelta(days=1)))
    put(tmp_path, "m.toml", member("a", "New"))
    found = read_all(tmp_path)
    assert names(found) == ["New"]
    assert found.notes == (
        f"{first}: the same member as m.toml, no newer; it does not count.",
    )


def test_two_of_one_name_are_told_apart(tmp_path):
    ids = ["0a1b0000", "0a1b1111", "22220000", "33330000", "44440000"]
    for id_, name in zip(ids, ["Ada", "ada", "Ben", "Ben", "Cleo"], strict=True):
        put(tmp_path, f"{id_}.toml", member(id_, name))
    found = read_all(tmp_path)
    assert list(found.labels().values()) == [
        "Ada (0a1b0000)",  # their first four digits are the same
        "ada (0a1b1111)",
        "Ben (2222)",
        "Ben (3333)",
        "Cleo",
    ]
    assert found.notes == (
        "2 members have the same name: Ada (0a1b0000), ada (0a1b1111).",
        "2 members have the same name: Ben (2222), Ben (3333).",
    )


def test_names_that_differ_only_beyond_their_shown_part_are_told_apart():
    one, two = member("a", "x" * 30 + "a"), member("b", "x" * 30 + "b")
    shown = list(group(one, two).labels().values())
    assert shown == ["x" * 23 + "… (aaaa)", "x" * 23 + "… (bbbb)"]


def test_members_stand_by_name_then_id_whatever_they_passed(tmp_path):
    everything = [exercise.name for _, exercise in exercises(list(chapters()))]
    put(tmp_path, "1.toml", member("9", "zoe", passed=everything))
    put(tmp_path, "2.toml", member("8", "", passed=everything))
    put(tmp_path, "3.toml", member("7", "Ben", passed=everything))
    put(tmp_path, "4.toml", member("6", "Ada"))
    put(tmp_path, "5.toml", member("5", "ben"))
    put(tmp_path, "6.toml", member("4", ""))
    found = read_all(tmp_path)
    assert names(found) == ["Ada", "ben", "Ben", "zoe", "", ""]
    assert [one.id[0] for one in found.members] == list("657948")
    assert list(found.labels().values())[-2:] == ["member 4444", "member 8888"]


def test_days_to_come_other_versions_and_strange_exercises_are_told(tmp_path):
    late = timedelta(days=2)
    put(tmp_path, "a.toml", member("a", "Ada", written=NOW + late))
    put(tmp_path, "b.toml", member("b", "Ben", passed={"gelu": TODAY + late}))
    put(tmp_path, "c.toml", member("c", "Cleo", passed=["rope"], tries={"flash": 2}))
    for number in range(7):
        put(
            tmp_path,
            f"d{number}.toml",
            member(str(number), f"D{number}", course="0" * 8),
        )
    # Where it is already tomorrow, nothing is wrong.
    east = timedelta(hours=14)
    eve = member("e", "Eve", written=NOW + east, passed={"gelu": TODAY + late / 2})
    put(tmp_path, "e.toml", eve)
    found = read_all(tmp_path)
    assert len(found.members) == 11
    assert found.notes == (
        "a.toml: written on 2026-12-08, which is still to come; check the clock.",
        "b.toml: passed on a day to come: gelu.",
        "c.toml: exercises this course does not have: rope, flash.",
        "With another version of the course than yours: D0, D1, D2, D3, D4 and 2 "
        "more. Their exercises may differ; bring all to the same version.",
    )


def test_a_folder_that_cannot_be_opened_is_told(tmp_path, monkeypatch):
    put(tmp_path, "a.toml", member("a", "Ada"))
    put(tmp_path, "locked/b.toml", member("b", "Ben"))
    scan = os.scandir

    def refuse(place):  # the tests may run as root, whom no lock stops
        if str(place).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(place))
        return scan(place)

    monkeypatch.setattr(os, "scandir", refuse)
    found = read_all(tmp_path)
    assert names(found) == ["Ada"]
    assert found.notes == ("locked: it cannot be opened (Permission denied).",)


# ---- which Sunday -------------------------------------------------------------------


def through(*numbers: int) -> list[str]:
    """All exercises that these Sundays need."""
    return [
        exercise.name
        for number in numbers
        for _, exercise in exercises(weeks()[number - 1].chapters)
    ]


def test_the_sunday_is_the_first_that_fewer_than_half_are_done_with():
    done = member("a", passed=through(1, 2))
    almost = member("b", passed=through(1, 2)[:-1])
    new = member("c")
    for members, number in [
        ([done, new], 3),
        ([done, new, almost], 2),
        ([new], 1),
        ([done], 3),
        ([], 1),
    ]:
        assert week_of_group(group(*members), None, NOW).number == number
    end = member("a", passed=through(1, 2, 3, 4, 5))
    assert week_of_group(group(end), None, NOW).number == 5


def test_a_plan_says_which_sunday_it_is(tmp_path, home):
    put(tmp_path, "a.toml", member("a", "Ada"))
    own = plan.make("2026-11-22", zone="UTC")  # the third Sunday is NOW's
    plan.write(own, home)
    assert board(tmp_path, now=NOW).week.number == 3
    assert board(tmp_path, now=NOW, sunday=5).week.number == 5
    # That of the group's own folder comes first.
    plan.write(plan.make("2026-12-06", zone="UTC"), tmp_path)
    assert board(tmp_path, now=NOW).week.number == 1
    (tmp_path / "plan.toml").write_text("days = 7")
    shown = board(tmp_path, now=NOW)
    assert shown.week.number == 1
    assert any("plan.toml cannot be read: `days`" in n for n in shown.group.notes)


# ---- what to talk about -------------------------------------------------------------


def test_a_tally_counts_each_member_once():
    one = tally(
        group(
            member("a", passed=["merge"], tries={"merge": 9}),
            member("b", passed=["merge"]),  # from before runs were counted: one
            member("c", tries={"merge": 4}),
            member("d", tries={"merge": 0}),
            member("e"),
        ),
        *exercises(["tokens"])[1],
    )
    assert (one.passed, one.tried, one.not_begun, one.runs) == (2, 1, 2, 4)
    uncounted = tally(group(member("a", passed=["merge"])), "tokens", one.exercise)
    assert (uncounted.passed, uncounted.runs) == (1, 1)
    assert state(member("a", tries={"merge": 4}), "merge") == "tried"


def test_the_first_to_talk_about_weighs_members_times_their_median():
    # split_heads: 3 at it, median of 1, 2, 2, 9 is 2: weighs 6.
    # LayerNorm: 2 at it, median of 4, 4, 5 is 4: weighs 8.
    # DyT: 5 at it, median 2: weighs 10.
    # merge_heads: one alone, after forty runs: for a helper, not for all.
    a = {"split_heads": 2, "LayerNorm": 4, "DyT": 2, "merge_heads": 40}
    b = {"split_heads": 2, "LayerNorm": 5, "DyT": 2}
    c = {"split_heads": 9, "LayerNorm": 4, "DyT": 2}
    members = [
        member("a", tries=a),
        member("b", tries=b),
        member("c", tries=c, passed=["LayerNorm"]),
        member("d", tries={"split_heads": 1, "DyT": 2}, passed=["split_heads"]),
        member("e", tries={"DyT": 2}),
        member("f"),
    ]
    counted = tallies(*members)
    order = [one.exercise.name for one in stuck(counted)]
    assert order == ["DyT", "LayerNorm", "split_heads"]
    assert first_words(counted) == (
        "DyT",
        "5 of 6 tried it, nobody passed yet; the median took 2 runs so far.",
    )
    assert shown(*members).then == [
        ("LayerNorm", "3 of 6 tried it, 1 passed; the median took 4 runs so far."),
        ("split_heads", "4 of 6 tried it, 1 passed; the median took 2 runs so far."),
    ]


def test_of_equal_weight_the_earlier_exercise_comes_first():
    same = {"swap_norms": 3, "attention_mass": 3, "DyT": 3}
    order = stuck(tallies(member("a", tries=same), member("b", tries=same)))
    assert [one.exercise.name for one in order] == [
        "attention_mass",
        "DyT",
        "swap_norms",
    ]


def test_when_nobody_is_stuck_something_can_still_be_said():
    assert first_words(tallies(member("a"))) == (
        "split_heads",
        "Nobody has begun this Sunday's exercises. Do the first one together; it "
        "takes about 10 minutes.",
    )
    two = [member(id_, passed=["DyT"], tries={"DyT": 4}) for id_ in "ab"]
    assert first_words(tallies(*two)) == (
        "DyT",
        "Nobody is stuck. This one took the most: the median took 4 runs.",
    )
    done = tallies(member("a", passed=["DyT"], tries={"DyT": 1}), member("b"))
    assert first_words(done) == (
        "",
        "Nobody is stuck. Let everybody show the answer they like most.",
    )


def test_where_no_two_are_stuck_the_first_place_is_named_whoever_took_longest():
    alone = member("a", tries={"DyT": 40}), member("b", tries={"RMSNorm": 1})
    assert first_words(tallies(*alone)) == (
        "RMSNorm",
        "No two of you are stuck at the same exercise. This is the first one where "
        "somebody is.",
    )


def test_a_bonus_is_shown_and_is_no_reason_to_talk():
    tries = dict.fromkeys(["dialogue", "memory"], 5) | {"exact_match": 9}
    board_ = shown(member("a", tries=tries), member("b", tries=tries), sunday=5)
    assert board_.first[0] == "memory"
    assert board_.then == []
    assert board_.tallies[-1].exercise.name == "exact_match"
    assert "instruction-tuning (bonus)" in board_.page()


# ---- who can help whom --------------------------------------------------------------


def helped(*members: Member) -> list[tuple[str, str, tuple[str, ...]]]:
    lines = helping(group(*members), tallies(*members), TODAY)
    return [(", ".join(one.exercises), one.helper, one.helped) for one in lines]


def test_who_passed_it_lately_helps_before_who_passed_it_long_ago():
    newest = TODAY - timedelta(days=3)  # of the files
    written = datetime(newest.year, newest.month, newest.day, tzinfo=UTC)
    fresh, old = newest - timedelta(days=14), newest - timedelta(days=15)
    ahead = member("9", "Fay", written=NOW + timedelta(days=99))  # a wrong clock
    stuck_ones = [
        member("c", "Cleo", tries={"DyT": 2}, written=written),
        member("d", "Dan", tries={"DyT": 2}, written=written),
        member("e", "Eve", tries={"DyT": 2}, written=written),
        member("f", "Finn", tries={"DyT": 2}, written=written),
    ]
    ada = member("a", "Ada", passed={"DyT": old}, written=written)
    ben = member("b", "Ben", passed={"DyT": fresh}, written=written)
    three = ("Cleo", "Dan", "Eve")
    assert helped(ada, ben, *stuck_ones) == [("DyT", "Ben", three)]  # Finn waits
    assert helped(ada, ben, *stuck_ones, ahead) == [("DyT", "Ben", three)]
    assert helped(ada, *stuck_ones)[0] == ("DyT", "Ada", three)
    assert helped(*stuck_ones) == []


def test_help_is_spread_and_short():
    stuck_one = member("f", "Fay", tries=dict.fromkeys(through(3), 2))
    ada = member("a", "Ada", passed=through(3))
    ben = member("b", "Ben", passed=through(3))
    cleo = member("c", "Cleo", passed=["split_heads"])
    assert helped(ada, ben, cleo, stuck_one) == [
        ("split_heads, MultiHeadAttention, attention_mass", "Ada", ("Fay",)),
        ("merge_heads, multi_head_parameters, without_head", "Ben", ("Fay",)),
    ]
    each = [
        member(str(number), f"H{number}", passed=[name])
        for number, name in enumerate(through(3)[:8])
    ]
    lines = helped(*each, stuck_one)
    assert [line[0] for line in lines] == through(3)[:6]
    assert [line[1] for line in lines] == ["H0", "H1", "H2", "H3", "H4", "H5"]
    # Who can help with one thing only does so when the others are busy.
    also = member("d", "Dan", passed=["Residual"])
    assert helped(also, ada, stuck_one)[1] == ("Residual", "Dan", ("Fay",))


def test_every_exercise_gets_a_helper_before_any_gets_a_second():
    tries = {"split_heads": 2, "DyT": 2}
    many = [member(f"{number:08x}", f"S{number}", tries=tries) for number in range(9)]
    know = [
        member(id_ * 8, name, passed=list(tries))
        for id_, name in [("a", "Ada"), ("b", "Ben"), ("c", "Cleo")]
    ]
    lines = helped(*know, *many)
    assert [(line[0], line[1]) for line in lines] == [
        ("split_heads", "Ada"),
        ("DyT", "Ben"),
        ("split_heads", "Cleo"),
        ("DyT", "Ada"),
        ("split_heads", "Ben"),
        ("DyT", "Cleo"),
    ]
    assert lines[0][2] == ("S0", "S1", "S2")
    assert lines[2][2] == ("S3", "S4", "S5")
    assert lines[4][2] == ("S6", "S7", "S8")


# ---- as text ------------------------------------------------------------------------

ODD = [
    member("1", "<script>alert(1)</script><b>"),
    member("2", "&amp; [bold]`x`[/] \"'"),
    member("3", "שלום אריה בן דוד שלום אריה"),
    member("4", "김민준" * 20),
    member("5", "👩‍👩‍👧‍👦 e\u0301" + "\u0301" * 50),
    member("6", "x" * 80),
    member("7", "x" * 80),
    member("8", ""),
]


def shown(*members: Member, sunday: int = 3, notes: tuple[str, ...] = ()) -> Board:
    return Board(Group(members, notes), weeks()[sunday - 1], TODAY, "our group")


def test_a_row_has_the_signs_of_the_member():
    ada = member(
        "a",
        "Ada",
        passed=[*through(1), "split_heads", "DyT", "softmax"],
        tries={"merge_heads": 4321},
    )
    text = repr(shown(ada, member("b", "Ben"), member("c", "Cleo")))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "a b c d e f g h i j k 12345" in lines
    assert "Ada ● ◐ ○ ○ ○ ○ ○ ○ ● ○ ○ ●◐◐○○" in lines
    assert "Ben ○ ○ ○ ○ ○ ○ ○ ○ ○ ○ ○ ○○○○○" in lines
    assert "a split_heads 10 1 2" in lines
    assert "b merge_heads 8 1 2" in lines
    assert lines[1] == "3 members; the newest file is of 6 December 2026."
    assert "somebody is." in lines[-1]


def test_how_often_somebody_tried_is_told_nowhere():
    ada = member("a", "Ada", tries={"merge_heads": 4321})
    ben = member("b", "Ben", tries={"merge_heads": 5})
    cleo = member("c", "Cleo", passed=["merge_heads"], tries={"merge_heads": 7654})
    board_ = shown(ada, ben, cleo)
    for text in repr(board_), board_._repr_html_(), board_.page():
        assert "4321" in text  # the median is told, and whose it is is not
        assert "7654" not in text
    alone = shown(ada, member("b", "Ben"))
    for text in repr(alone), alone._repr_html_(), alone.page():
        assert "4321" not in text


@pytest.mark.parametrize("sunday", range(1, 6))
def test_eighty_columns_hold_every_sunday(sunday):
    text = repr(shown(*ODD, sunday=sunday))
    assert max(map(cell_len, text.splitlines())) <= 80
    assert len(re.findall(r"^ .*[●◐○]+ +[●◐○]{5} *$", text, re.M)) == len(ODD)
    assert "xxx… (6666)" in text
    assert "[bold]`x`[/]" in text


def test_many_notes_are_counted_in_the_text_and_all_on_the_page():
    notes = tuple(f"{number:03}.toml: broken." for number in range(40))
    board_ = shown(ODD[0], notes=notes)
    text = repr(board_)
    assert "011.toml" in text
    assert "012.toml" not in text
    assert "Note: 28 more; `--html FILE` lists all." in text
    assert all(note in board_.page() for note in notes)


def test_names_in_a_sentence():
    assert either(("Ada",)) == "Ada"
    assert either(("Ada", "Ben", "Cleo")) == "Ada, Ben and Cleo"


# ---- as a page ----------------------------------------------------------------------


def members_of(count: int) -> list[Member]:
    """So many, who passed the first few exercises and tried the next two."""
    names_ = through(1, 2, 3)
    return [
        member(
            f"{number:08x}",
            "" if number % 7 == 6 else f"Member Number {number}",
            passed=names_[: number % 30],
            tries=dict.fromkeys(names_[number % 30 :][:2], 3),
        )
        for number in range(count)
    ]


def opened(
    browser: Browser, html: str, width: int = 1440, theme: str = "light"
) -> Page:
    """The page in a tab of its own, which can ask for nothing."""
    size = {"width": width, "height": 900}
    context = browser.new_context(viewport=size, color_scheme=theme, offline=True)
    tab = context.new_page()
    tab.faults = []
    tab.on("pageerror", lambda error: tab.faults.append(str(error)))
    tab.on("console", lambda message: tab.faults.append(message.text))
    tab.on("request", lambda request: tab.faults.append(request.url))
    tab.on("dialog", lambda dialog: (tab.faults.append("dialog"), dialog.dismiss()))
    tab.set_content(html)
    return tab


def asked(tab: Page) -> list[str]:
    return [fault for fault in tab.faults if not fault.startswith("data:font/")]


@pytest.mark.parametrize("count", [0, 1, 3, 30, 200])
def test_the_page_fits_a_phone_and_a_projector(browser, count):
    notes = ("a" * 200 + ".toml: `broken`.",)
    html = shown(*members_of(count), *ODD[: count // 3], notes=notes).page()
    for width in 390, 1440:
        tab = opened(browser, html, width)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert asked(tab) == []
        for theme, rules in ("light", "all"), ("dark", "colours"):
            tab.emulate_media(color_scheme=theme)
            assert axe_faults(tab, rules) == []
        tab.context.close()


def test_the_page_says_who_is_where(browser):
    runs = {"merge_heads": 5}
    ada = member("a", "Ada", passed=["split_heads"], tries=runs)
    passed = [*through(1), "split_heads", "merge_heads"]
    ben = member("b", "Ben", passed=passed, tries=runs)
    tab = opened(browser, shown(ada, ben).page())
    assert tab.title() == "Sunday 3: many heads, steady numbers: the board of the group"
    row = tab.get_by_role("row", name="Ada")
    states = (
        row.get_by_role("cell")
        .locator("i")
        .evaluate_all("all => all.map(e => e.getAttribute('aria-label'))")
    )
    assert states == ["passed", "tried", *["not begun"] * 9]
    course = (
        tab.get_by_role("row", name="Ben")
        .get_by_role("rowheader")
        .locator("[role=img]")
    )
    assert course.get_attribute("aria-label") == (
        "Sunday 1 passed, Sunday 2 not begun, Sunday 3 begun, Sunday 4 not begun, "
        "Sunday 5 not begun"
    )
    counts = tab.locator(".fs-exercises").get_by_role("row", name="merge_heads")
    assert counts.get_by_role("cell").all_inner_texts()[1:] == ["1", "1", "0"]
    # A full, a half and an empty disc: not by colour alone.
    looks = tab.locator(".fs-legend i").evaluate_all(
        "all => all.map(e => getComputedStyle(e)).map(s =>"
        " [s.backgroundImage != 'none', s.backgroundColor != 'rgba(0, 0, 0, 0)'])"
    )
    assert looks == [[False, True], [True, False], [False, False]]
    assert tab.locator(".fs-help li").all_inner_texts() == [
        "Ben can help Ada\nmerge_heads"
    ]
    tab.context.close()


def test_a_name_is_only_ever_text(browser):
    tries = {"merge_heads": 2}
    odd = [member(one.id, one.name, tries=tries, passed=["split_heads"]) for one in ODD]
    ada = member("a", "Ada<i>", passed=["merge_heads"])
    notes = ("<img src=x onerror=alert(1)>.toml: `<b>` is broken.",)
    board_ = shown(ada, *odd, notes=notes)
    labels = [label for label, _, _ in board_.rows()]
    for html in board_.page(), board_._repr_html_():
        tab = opened(browser, html)
        assert asked(tab) == []
        assert tab.locator(":is(script, img, b)").count() == 0
        assert tab.locator(".fs-who bdi").all_text_contents() == labels
        assert tab.locator(".fs-help bdi").first.text_content() == "Ada<i>"
        assert tab.locator(".fs-notes li").all_text_contents() == [
            "<img src=x onerror=alert(1)>.toml: <b> is broken."
        ]
        tab.context.close()


BLOCKS = {
    "light": 'html:not([data-theme="dark"]) {',
    "dark": 'html[data-theme="dark"] {',
}


@pytest.mark.parametrize("theme", BLOCKS)
def test_the_page_has_the_colours_of_the_book(browser, theme):
    css = (ROOT / "assets/book.css").read_text("utf-8")
    start = css.index(BLOCKS[theme])
    block = css[start : css.index("}", start)]
    book = dict(re.findall(r"--([\w-]+): (#\w+)", block))
    tab = opened(browser, shown(member("a", passed=["DyT"])).page(), theme=theme)
    measured = tab.evaluate(
        """() => {
          const look = query => getComputedStyle(document.querySelector(query))
          return [look("body").backgroundColor, look("h1").color,
                  look(".fs-legend i.fs-passed").backgroundColor]
        }"""
    )
    wanted = ["pst-color-background", "pst-color-text-base", "right"]
    assert measured == [rgb(book[name]) for name in wanted]
    tab.context.close()


def rgb(colour: str) -> str:
    return f"rgb{tuple(bytes.fromhex(colour[1:]))}"


def test_in_a_notebook_the_board_follows_the_page_around_it(browser):
    board_ = shown(member("a", "Ada", passed=["DyT"]), member("b", "Ben"))
    html = (
        '<body data-jp-theme-light="false" style="--jp-content-font-color1: #eeeeee;'
        f'--jp-layout-color0: #111111">{board_._repr_html_()}</body>'
    )
    tab = opened(browser, html, 700)
    heading = tab.get_by_role("heading", name="Sunday 3")
    assert heading.evaluate("e => getComputedStyle(e).color") == rgb("#eeeeee")
    passed = tab.locator(".fs-legend i.fs-passed")
    assert passed.evaluate("e => getComputedStyle(e).backgroundColor") == rgb("#57c99b")
    for part in "Talk about this first", "The exercises of this Sunday", "Who is where":
        assert tab.get_by_role("heading", name=part).is_visible()
    tab.context.close()


# ---- the command --------------------------------------------------------------------


def run(*arguments: object):
    return CliRunner(env={"COLUMNS": "80"}).invoke(
        cli.app, ["group", *map(str, arguments)]
    )


def test_the_command_shows_the_board_and_writes_the_page(tmp_path):
    written = datetime(2025, 3, 2, tzinfo=UTC)
    ada = member("a", "Ada", course=progress.version(), written=written)
    put(tmp_path, "a.toml", ada)
    told = run(tmp_path, "--sunday", 3)
    assert told.exit_code == 0
    assert " Ada " in told.output
    assert "Note" not in told.output
    assert told.output.rstrip() == repr(board(tmp_path, sunday=3))
    page = tmp_path / "pages" / "board.html"
    told = run(tmp_path, "--html", page)
    assert told.exit_code == 0
    assert f"The board is {page}: open it in a browser.\n" in told.output
    assert "<bdi>Ada</bdi>" in page.read_text("utf-8")


def test_an_empty_folder_says_what_to_do_in_one_line(tmp_path):
    folder = tmp_path / "our group"
    folder.mkdir()
    told = run(folder)
    assert told.exit_code == 0
    assert told.output.splitlines()[1:] == [
        f"There is no member's file in {folder} yet. Each member writes one: "
        f"`sundays progress --share '{folder}'`."
    ]
    assert told.output.rstrip() == repr(board(folder))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "There is no folder nowhere; give the one with your members'"),
        (["a.toml"], "There is no folder a.toml; give"),
        ([".", "--sunday", "6"], "There is no Sunday 6; give one from 1 to 5."),
        ([".", "--html", "."], "The page . cannot be written: Is a directory."),
        ([".", "--html", "a.toml/b"], "The page a.toml/b cannot be written: "),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    tmp_path, monkeypatch, arguments, words
):
    put(tmp_path, "a.toml", member("a", "Ada"))
    before = (tmp_path / "a.toml").read_bytes()
    monkeypatch.chdir(tmp_path)
    told = run(*arguments)
    assert told.exit_code == 1
    assert told.output.startswith(words)
    assert len(told.output.splitlines()) == 1
    assert (tmp_path / "a.toml").read_bytes() == before


def test_the_board_of_no_folder_is_an_error(tmp_path):
    with pytest.raises(GroupError, match="There is no folder"):
        board(tmp_path / "nowhere")
