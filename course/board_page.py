"""The board of the group as HTML: a part for a notebook, a page for a projector.

Names come from other people's files: nothing of them reaches the page unescaped, and
the page runs no script and asks for nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from html import escape
from itertools import islice
from pathlib import Path

from course.board import SIGNS, Board, of_chapters
from course.look import style
from course.standing import Help, State, Tally

CSS = Path(__file__).with_name("board.css")

ROWS = 25
"""Of a table at most; more members make more tables, side by side on a wide screen."""

KINDS = {"passed": "passed", "tried": "tried", "not begun": "open"}


def page(board: Board) -> str:
    """One file that needs no other."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
style-src 'unsafe-inline'; font-src data:">
<title>{escape(board.title)}: the board of the group</title>
<style>
{style()}
{CSS.read_text("utf-8")}</style>
</head>
<body class="fs-alone">
<main class="fs-board">
{_parts(board, 1)}
</main>
</body>
</html>
"""


def part(board: Board) -> str:
    """The same for a notebook, whose light and dark it follows."""
    css = CSS.read_text("utf-8")
    return f'<div class="fs-board"><style>{css}</style>\n{_parts(board, 3)}\n</div>'


def _parts(board: Board, level: int) -> str:
    """The parts of the board; its title is a heading of this level."""
    title, below = f"h{level}", f"h{level + 1}"
    parts = [
        f'<header><p class="fs-course">Five Sundays: the board of the group</p>'
        f"<{title}>{escape(board.title)}</{title}>"
        f"<p>{_prose(board.size)}</p></header>"
    ]
    if board.group.members:
        sections = {
            "first": ("Talk about this first", _first(board)),
            "help": ("Who can help whom", _help(board.help)),
            "exercises": ("The exercises of this Sunday", _exercises(board)),
            "members": ("Who is where", "".join(_members(board))),
        }
        for name, (heading, html) in sections.items():
            if html:
                parts.append(
                    f'<section class="fs-{name}"><{below}>{heading}</{below}>\n{html}'
                    "</section>"
                )
    if board.group.notes:
        notes = "".join(f"<li>{_prose(note)}</li>\n" for note in board.group.notes)
        parts.append(
            f'<section class="fs-notes"><{below}>Notes</{below}>\n<ul>{notes}</ul>'
            "</section>"
        )
    many = " fs-many" if len(board.group.members) > ROWS else ""
    together = "\n".join(parts)
    return f'<div class="fs-parts{many}">\n{together}\n</div>'


def _first(board: Board) -> str:
    name, why = board.first
    html = f'<p class="fs-name">{_code(name)}</p>' if name else ""
    html += f"<p>{escape(why)}</p>"
    html += "".join(_bar(one) for one in board.tallies if one.exercise.name == name)
    for name, why in board.then:
        html += f'<p class="fs-then">Then {_code(name)}: {escape(why)}</p>'
    return html


def _help(lines: Iterable[Help]) -> str:
    html = "".join(
        f'<li><span>{_name(one.helper)} <span class="fs-quiet">can help</span> '
        f"{_either(one.helped)}</span> "
        f"<span>{', '.join(map(_code, one.exercises))}</span></li>\n"
        for one in lines
    )
    return html and f"<ul>{html}</ul>"


def _exercises(board: Board) -> str:
    rows = ""
    letters = iter(board.letters())
    tallies = iter(board.tallies)
    for chapter, count in of_chapters(board).items():
        rows += (
            f'<tr class="fs-chapter"><th colspan=5 scope=rowgroup>{chapter}</th></tr>\n'
        )
        for one in islice(tallies, count):
            counts = (one.passed, one.tried, one.not_begun)
            rows += (
                f'<tr><td class="fs-letter">{next(letters)}</td>'
                f"<th scope=row>{_code(one.exercise.name)}{_bar(one)}</th>"
                + "".join(f"<td>{number}</td>" for number in counts)
                + "</tr>\n"
            )
    heads = "".join(f"<th scope=col>{_sign(name, said=True)}</th>" for name in SIGNS)
    return (
        f"<table><thead><tr><td></td><td></td>{heads}</tr></thead>\n"
        f"<tbody>{rows}</tbody></table>"
    )


def _members(board: Board) -> Iterator[str]:
    """Tables of members by exercises, all with the same columns."""
    signs = ", ".join(f"<span>{_sign(name)} {name}</span>" for name in SIGNS)
    yield (
        f'<p class="fs-legend">{signs}. Beside a name: the five Sundays of the course. '
        "Names are in the order of the alphabet, which is no ranking.</p>\n"
    )
    groups = "".join(
        f"<th colspan={count} scope=colgroup>{chapter}</th>"
        for chapter, count in of_chapters(board).items()
    )
    ends = _ends(board)
    heads = "".join(
        f'<th scope=col{_end(at, ends)}><span class="fs-up">'
        f"{escape(one.exercise.name)}</span>"
        f'<span class="fs-letter">{letter}</span></th>'
        for at, (letter, one) in enumerate(
            zip(board.letters(), board.tallies, strict=True)
        )
    )
    head = (
        f'<thead><tr class="fs-chapter"><td></td>{groups}</tr>\n'
        f"<tr><td></td>{heads}</tr></thead>\n"
    )
    rows = (
        f'<tr><th scope=row><div class="fs-who">{_name(label)} {_course(whole)}</div>'
        "</th>"
        + "".join(
            f"<td{_end(at, ends)}>{_sign(one, said=True)}</td>"
            for at, one in enumerate(own)
        )
        + "</tr>\n"
        for label, own, whole in board.rows()
    )
    yield '<div class="fs-tables">'
    members = len(board.group.members)
    each = math.ceil(members / math.ceil(members / ROWS))  # all of about one length
    while several := list(islice(rows, each)):
        yield f"<table>{head}<tbody>{''.join(several)}</tbody></table>\n"
    yield "</div>"


def _ends(board: Board) -> set[int]:
    """After which columns another chapter begins."""
    chapters = [one.chapter for one in board.tallies]
    return {at for at in range(len(chapters) - 1) if chapters[at] != chapters[at + 1]}


def _end(at: int, ends: set[int]) -> str:
    return ' class="fs-end"' if at in ends else ""


def _course(whole: list[State]) -> str:
    """The whole course, a sign for each Sunday."""
    told = ", ".join(f"Sunday {n} {WHOLE[one]}" for n, one in enumerate(whole, 1))
    signs = "".join(_sign(one) for one in whole)
    return f'<span class="fs-whole" role=img aria-label="{told}">{signs}</span>'


WHOLE: dict[State, str] = {
    "passed": "passed",
    "tried": "begun",
    "not begun": "not begun",
}


def _sign(one: State, said: bool = False) -> str:
    """A full, half or empty disc, drawn by the style; in words where it is alone."""
    how = f'role=img aria-label="{one}"' if said else "aria-hidden=true"
    return f"<i class=fs-{KINDS[one]} {how}></i>"


def _bar(one: Tally) -> str:
    """How many passed, tried, have not begun, as lengths; numbers say it elsewhere."""
    counts = zip(SIGNS, (one.passed, one.tried, one.not_begun), strict=True)
    pieces = "".join(
        f'<span class="fs-{KINDS[name]}" style="flex-grow:{number}"></span>'
        for name, number in counts
        if number
    )
    return f'<div class="fs-bar" aria-hidden=true>{pieces}</div>'


def _either(names: tuple[str, ...]) -> str:
    *others, last = map(_name, names)
    quiet = ' <span class="fs-quiet">and</span> '
    return f"{', '.join(others)}{quiet}{last}" if others else last


def _name(name: str) -> str:
    """A member's name; one written from right to left turns nothing but itself."""
    return f"<bdi>{escape(name)}</bdi>"


def _code(name: str) -> str:
    """The name of an exercise; on a phone it may go on in a new line after a word."""
    words = re.split(r"(?<=_)|(?<=[a-z])(?=[A-Z])", name)
    return f"<code>{'<wbr>'.join(map(escape, words))}</code>"


def _prose(text: str) -> str:
    """A sentence with `code` in it; a code of foreign text, too, is only text."""
    pieces = escape(text).split("`")
    if len(pieces) % 2 == 0:
        return escape(text)
    return "".join(
        f"<code>{piece}</code>" if at % 2 else piece for at, piece in enumerate(pieces)
    )
