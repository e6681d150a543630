"""The progress of one member of a study group, as one small file without any answer.

`sundays progress --share` writes it and `sundays group` reads it. It is TOML that a
member can read, and mend, with any editor.
"""

from __future__ import annotations

import json
import re
import stat
import tomllib
import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

FORMAT = 1
LARGEST = 100_000
"""Bytes of a file. One with every exercise of the course has about 4,000."""

LONGEST_LINE = 1_000
"""One of 100,000 signs can be a key that takes a TOML parser a minute."""

LONGEST_NAME = 80
MOST_TRIES = 1_000_000

HEAD = """\
# Five Sundays: how far one member of a study group is.
# It holds no answers: only which exercises passed, on which day, after how many runs.
# `sundays progress --share` writes it, and `sundays group FOLDER` reads it.
"""

# They turn the direction of the text around them, and nobody sees them.
TURNS = dict.fromkeys([0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F)]) | dict.fromkeys(
    range(0x2066, 0x206A)
)


class MemberError(ValueError):
    """A member's file is broken; the message says in one line where, and what to do."""


class NoMemberFile(MemberError):  # noqa: N818  (it is not broken, it is another file)
    """The file is readable TOML, and was never a member's file."""


@dataclass(frozen=True)
class Member:
    """How far a member is."""

    id: str  # 8 hex digits
    name: str  # "" if none was agreed to
    written: datetime  # aware, UTC, whole seconds
    course: str  # which version of the course, 8 hex digits
    passed: dict[str, date]  # exercise -> the day it passed
    tries: dict[str, int]  # exercise -> runs until it passed; so far, if it has not


def text_of(member: Member) -> str:
    """The text of a member's file; `read` gives the same member again.

    The name is written as `name_of` makes it.
    """
    lines = [
        HEAD,
        f"format = {FORMAT}",
        f"id = {_quoted(member.id)}",
        f"name = {_quoted(name_of(member.name))}",
        f"written = {_moment(member.written)}",
        f"course = {_quoted(member.course)}",
        "",
        "[passed]",
        *(f"{_key(name)} = {day.isoformat()}" for name, day in member.passed.items()),
        "",
        "[tries]",
        *(f"{_key(name)} = {tries}" for name, tries in member.tries.items()),
    ]
    return "\n".join(lines) + "\n"


def read(path: Path) -> Member:
    """The member that a file tells of. What the file says beyond that is passed over.

    Raises:
        MemberError: if the file cannot be read, or something in it is not as `text_of`
            writes it. The message does not name the file.

        NoMemberFile: if it is TOML of another kind.
    """
    table = _table(path)
    if "format" not in table and "passed" not in table:
        raise NoMemberFile("it is not a member's file")
    version = _the(table, "format", int, f"format = {FORMAT}")
    if version != FORMAT:
        raise MemberError(
            f"format {_shown(version)} is not known here, {FORMAT} is; update the "
            "course, or write the file again with `sundays progress --share`"
        )
    return Member(
        id=_digits(table, "id"),
        name=name_of(_the(table, "name", str, 'name = "Ada", or "" for none')),
        written=_written(table),
        course=_digits(table, "course"),
        passed=_days(_the(table, "passed", dict, "a part [passed]")),
        tries=_tries(_the(table, "tries", dict, "a part [tries]")),
    )


def one_line(text: str) -> str:
    """Foreign text as one line: no control signs, and none that turn the text."""
    kept = "".join(
        " " if unicodedata.category(sign) in ("Cc", "Zl", "Zp") else sign
        for sign in text.translate(TURNS)
        if unicodedata.category(sign) != "Cs"  # half a sign: no file can hold it
    )
    return " ".join(kept.split())


def name_of(text: str) -> str:
    """A member's name: one line of at most 80 signs."""
    return one_line(text)[:LONGEST_NAME].strip()


# ---- reading ------------------------------------------------------------------------


def _table(path: Path) -> dict[str, Any]:
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):  # reading a pipe would wait for ever
            raise MemberError("it is not a file")
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as problem:
        why = problem.strerror or type(problem).__name__
        raise MemberError(f"it cannot be read ({why})") from None
    if len(data) > LARGEST:
        raise MemberError(f"it is larger than {LARGEST:,} bytes; no member's file is")
    if max(map(len, data.split(b"\n"))) > LONGEST_LINE:
        raise MemberError(f"a line in it is longer than {LONGEST_LINE:,} bytes")
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise MemberError("it is no text in UTF-8; write it again") from None
    except (ValueError, RecursionError) as problem:  # a number of 5,000 digits, [[[[...
        why = _line(str(problem)) if isinstance(problem, ValueError) else "too deep"
        raise MemberError(
            f"it is no TOML: {why}; share it again with `sundays progress --share`"
        ) from None


def _the(table: dict[str, Any], key: str, kind: type, expected: str) -> Any:
    if key not in table:
        raise MemberError(f"`{key}` is missing; expected {expected}")
    # True is an int, and a datetime is a date: neither is meant.
    if type(table[key]) is not kind:
        raise MemberError(f"`{key}` is {_shown(table[key])}; expected {expected}")
    return table[key]


def _digits(table: dict[str, Any], key: str) -> str:
    expected = f'{key} = "0a1b2c3d", 8 hex digits'
    text = _the(table, key, str, expected)
    if not re.fullmatch(r"[0-9a-f]{8}", text):
        raise MemberError(f"`{key}` is {_shown(text)}; expected {expected}")
    return text


def _written(table: dict[str, Any]) -> datetime:
    expected = "written = 2026-12-06T13:00:00Z"
    moment = _the(table, "written", datetime, expected)
    try:
        if moment.tzinfo is not None:
            return moment.astimezone(UTC).replace(microsecond=0)
    except OverflowError:  # in the year 1 it may be the year 0 in UTC
        pass
    raise MemberError(f"`written` is {_shown(moment)}; expected {expected}")


def _days(table: dict[str, Any]) -> dict[str, date]:
    expected = "the day it passed, as 2026-12-06"
    return {name: _the(table, name, date, expected) for name in _names(table)}


def _tries(table: dict[str, Any]) -> dict[str, int]:
    expected = "a number of runs, as 3"
    for name in _names(table):
        if not 0 <= _the(table, name, int, expected) <= MOST_TRIES:
            raise MemberError(f"`{name}` is {_shown(table[name])}; expected {expected}")
    return dict(table)


def _names(table: dict[str, Any]) -> list[str]:
    for name in table:
        if not name.isidentifier() or len(name) > LONGEST_NAME:
            raise MemberError(f"{_shown(name)} is no name of an exercise")
    return list(table)


def _shown(value: Any) -> str:
    """A value of the file as one short line."""
    if isinstance(value, dict | list):
        return "a list or a table"
    if isinstance(value, date):
        return value.isoformat()
    return _line(json.dumps(value, ensure_ascii=False, default=str))


def _line(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= 80 else text[:77] + "..."


# ---- writing ------------------------------------------------------------------------


def _moment(moment: datetime) -> str:
    naive = moment.astimezone(UTC).replace(tzinfo=None)
    return naive.isoformat(timespec="seconds") + "Z"


def _quoted(text: str) -> str:
    """A string of JSON is one of TOML, too: no text here has the sign DEL."""
    return json.dumps(text, ensure_ascii=False)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quoted(name)
