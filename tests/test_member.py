"""A member's file: written, read again, and whatever else may lie in its place."""

from __future__ import annotations

import os
import tomllib
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course.member import (
    LARGEST,
    Member,
    MemberError,
    NoMemberFile,
    name_of,
    one_line,
    read,
    text_of,
)

ADA = Member(
    id="0a1b2c3d",
    name="Ada",
    written=datetime(2026, 12, 6, 13, 0, tzinfo=UTC),
    course="00c0ffee",
    passed={"split_heads": date(2026, 12, 1)},
    tries={"split_heads": 3, "merge_heads": 5},
)

digits = st.text("0123456789abcdef", min_size=8, max_size=8)
exercises = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,30}", fullmatch=True)
members = st.builds(
    Member,
    id=digits,
    name=st.text().map(name_of),
    written=st.datetimes(
        datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)
    ).map(lambda moment: moment.replace(microsecond=0)),
    course=digits,
    passed=st.dictionaries(exercises, st.dates()),
    tries=st.dictionaries(exercises, st.integers(0, 1_000_000)),
)

ANY = settings(deadline=None)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("member") / "ada.toml"


def refusal(path: Path) -> str:
    with pytest.raises(MemberError) as caught:
        read(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 200
    return message


def test_the_text_is_for_people_too():
    assert text_of(ADA) == (
        "# Five Sundays: how far one member of a study group is.\n"
        "# It holds no answers: only which exercises passed, on which day, after how "
        "many runs.\n"
        "# `sundays progress --share` writes it, and `sundays group FOLDER` reads it.\n"
        "\n"
        "format = 1\n"
        'id = "0a1b2c3d"\n'
        'name = "Ada"\n'
        "written = 2026-12-06T13:00:00Z\n"
        'course = "00c0ffee"\n'
        "\n"
        "[passed]\n"
        "split_heads = 2026-12-01\n"
        "\n"
        "[tries]\n"
        "split_heads = 3\n"
        "merge_heads = 5\n"
    )


@ANY
@given(member=members)
def test_what_was_written_is_read(path, member):
    path.write_text(text_of(member), "utf-8")
    assert read(path) == member


@ANY
@given(name=st.text())
def test_any_name_makes_a_file_that_others_read(name):
    text = text_of(Member("0a1b2c3d", name, ADA.written, "00c0ffee", {}, {}))
    assert tomllib.loads(text)["name"] == name_of(name)


def test_a_time_of_another_zone_is_written_in_utc(path):
    seoul = datetime(2026, 12, 6, 22, 0, tzinfo=timezone(timedelta(hours=9)))
    path.write_text(text_of(Member("0a1b2c3d", "", seoul, "00c0ffee", {}, {})))
    assert read(path).written == datetime(2026, 12, 6, 13, 0, tzinfo=UTC)
    path.write_text(path.read_text().replace(":00Z", ":00.75Z"))
    assert read(path).written == datetime(2026, 12, 6, 13, 0, tzinfo=UTC)
    path.write_text(text_of(read(path)))
    assert "written = 2026-12-06T13:00:00Z\n" in path.read_text()


# ---- what else may lie there --------------------------------------------------------

values = st.one_of(
    st.text().map(lambda text: f"'{text}'"),
    st.from_regex(r"[-+0-9a-zA-Z_.:\[\]{}\"' ]{0,30}", fullmatch=True),
    st.datetimes(timezones=st.none() | st.timezones()).map(str),
    st.integers().map(str),
    st.floats().map(str),
)
LINES = text_of(ADA).splitlines()


@ANY
@given(data=st.binary(max_size=300) | st.text().map(str.encode))
def test_any_bytes_are_a_member_or_refused(path, data):
    path.write_bytes(data)
    refusal(path)  # nobody writes a member's file by chance


@ANY
@given(
    at=st.integers(4, len(LINES) - 1),
    value=values,
    cut=st.integers(0, 400),
)
def test_any_value_in_any_place_is_read_or_refused(path, at, value, cut):
    lines = list(LINES)
    lines[at] = lines[at].partition("=")[0] + "= " + value
    data = "\n".join(lines).encode(errors="surrogatepass")
    for text in data, data[:cut]:
        path.write_bytes(text)
        try:
            member = read(path)
        except MemberError:
            refusal(path)
        else:
            assert type(member.written) is datetime
            assert member.written.utcoffset() == timedelta(0)
            assert {type(day) for day in member.passed.values()} <= {date}
            assert all(0 <= runs <= 1_000_000 for runs in member.tries.values())


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("format = 1\n", "format = 2\n", "format 2 is not known here"),
        ("format = 1\n", "format = true\n", "`format` is true; expected format = 1"),
        ("format = 1\n", "", "`format` is missing"),
        ('"0a1b2c3d"', '"0a1b2c"', '`id` is "0a1b2c"; expected id = "0a1b2c3d"'),
        ('"0a1b2c3d"', "12345678", "`id` is 12345678"),
        ('"0a1b2c3d"', '"a\u2028\u202eb"', '`id` is "a b"'),
        ('"00c0ffee"', '"version 2"', '`course` is "version 2"'),
        ('name = "Ada"', "name = 7", '`name` is 7; expected name = "Ada", or ""'),
        ("T13:00:00Z", "T13:00:00", "`written` is 2026-12-06T13:00:00; expected"),
        ("T13:00:00Z", "", "`written` is 2026-12-06; expected"),
        ("2026-12-06T13", "2026-13-06T13", "it is no TOML"),
        ("2026-12-01", '"yes"', '`split_heads` is "yes"; expected the day it passed'),
        ("2026-12-01", "2026-12-01T10:00:00", "expected the day it passed"),
        ("heads = 3", "heads = -3", "`split_heads` is -3; expected a number of runs"),
        ("heads = 3", "heads = 3.0", "`split_heads` is 3.0; expected"),
        ("heads = 3", "heads = 1000001", "expected a number of runs"),
        ("merge_heads = 5", '"merge heads" = 5', '"merge heads" is no name of an'),
        ("[tries]", "[runs]", "`tries` is missing; expected a part [tries]"),
        ("heads = 3\n", f"heads = {'9' * 900}\n", "expected a number of runs"),
        ("[tries]", "tries = 3\n[a]", "`tries` is 3; expected the day it passed"),
        ("heads = 3\n", "heads = 3\nsplit_heads = 3\n", "it is no TOML"),
        ("heads = 3\n", f"heads = 3\n{'a.' * 600}a = 3\n", "a line in it is longer"),
        ("heads = 3\n", f"heads = {'[' * 900}\n", "too deep"),
    ],
    ids=count(),
)
def test_a_broken_file_says_where(path, old, new, words):
    assert text_of(ADA).count(old) == 1
    path.write_text(text_of(ADA).replace(old, new), "utf-8")
    assert words in refusal(path)


def test_the_first_moment_there_is_may_lie_before_it_in_utc(path):
    text = text_of(ADA).replace("2026-12-06T13:00:00Z", "0001-01-01T00:00:00+14:00")
    path.write_text(text)
    assert "`written` is 0001-01-01" in refusal(path)


def test_more_than_is_needed_is_passed_over(path):
    text = text_of(ADA).replace("[passed]", 'mood = "fine"\n\n[passed]')
    text += "\n[badges]\nfirst = 1\n"
    path.write_text(text, "utf-8")
    assert read(path) == ADA


def test_an_editor_of_another_system_may_have_saved_it(path):
    path.write_bytes(b"\xef\xbb\xbf" + text_of(ADA).replace("\n", "\r\n").encode())
    assert read(path) == ADA


def test_other_toml_is_told_from_a_broken_file(path):
    path.write_text('[project]\nname = "five-sundays"\n')
    with pytest.raises(NoMemberFile):
        read(path)
    path.write_text(text_of(ADA).replace("format = 1\n", ""))
    with pytest.raises(MemberError) as caught:
        read(path)
    assert not isinstance(caught.value, NoMemberFile)


def test_what_is_no_file_of_a_sensible_size(tmp_path):
    assert "it cannot be read" in refusal(tmp_path / "missing.toml")
    assert "it is not a file" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe.toml")
    assert "it is not a file" in refusal(tmp_path / "pipe.toml")
    large = tmp_path / "large.toml"
    text = text_of(ADA)
    large.write_text(text + "#" * 99 + "\n" + ("#" * 99 + "\n") * 995)
    assert large.stat().st_size <= LARGEST
    assert read(large) == ADA
    large.write_text(text + ("#" * 99 + "\n") * 1000)
    assert "larger than 100,000 bytes" in refusal(large)


def test_a_name_is_one_line_that_turns_nothing_around():
    assert name_of("  Ada \n Lovelace\t ") == "Ada Lovelace"
    assert name_of("a\x00b\x1b[31mc\x7f") == "a b [31mc"
    assert name_of("\u202eadA\u2066") == "adA"
    assert name_of("half \ud83d sign") == "half sign"
    family = "👩\u200d👩\u200d👧"
    assert name_of(family) == family
    assert name_of("x" * 79 + " yy") == "x" * 79
    assert one_line("x" * 200 + "\u2028") == "x" * 200
