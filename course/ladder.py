"""The ladder: every model of the course in one unit, next to the best that is possible.

Every chapter ends with it. A chapter that has measured something places its rungs, in
bits per character; the first one of the course places the floor too:

    ladder.place(uniform=6.17, unigram=4.19, bigram=3.31, floor=1.02)

A chapter that adds no rung shows the ladder as far as the course has come:

    ladder.place()

Both show what earlier chapters recorded, linked to them, and everything later as "to
come": what a chapter has shown stays the same when the book grows. In a book that has a
later chapter, a script links its rung as the page opens (`course/live/ladder.js`).

`make notebooks` records what the chapters measure in `ladder.json`, and then writes
the ladder of the landing page: `python -m course.ladder`.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

from course.checks import CHAPTERS
from course.figures import Drawing, live
from course.files import write_atomically

ROOT = Path(__file__).parents[1]
RECORD = Path(__file__).with_name("ladder.json")
PAGE = ROOT / "assets" / "ladder.html"


@dataclass(frozen=True)
class Rung:
    """A model of the course: its words on the ladder and the chapter that builds it."""

    title: str
    idea: str
    chapter: str

    @property
    def module(self) -> str:
        """The chapter as the checks call it: `language_models`."""
        return self.chapter.split("/")[1].replace("-", "_")


RUNGS: dict[str, Rung] = {
    "uniform": Rung("Uniform", "knows the alphabet", "week1/language-models"),
    "unigram": Rung("Unigram", "counts characters", "week1/language-models"),
    "bigram": Rung("Bigram", "sees one character back", "week1/language-models"),
    "causal-head": Rung("One causal head", "looks back", "week2/causal-masking"),
    "multi-head": Rung("Multi-head", "looks back in several ways", "week3/multi-head"),
    "gpt-block": Rung("GPT block", "computes on what it saw", "week4/gpt-block"),
    "pretrained": Rung("Pretrained GPT", "blocks, data, time", "week4/pretraining"),
    "floor": Rung("Entropy floor", "nothing does better", "week1/language-models"),
}


def place(rung: str | None = None, bits: float | None = None, **more: float) -> None:
    """Show the ladder with these rungs; `place("bigram", 3.3)` or `place(bigram=3.3)`.

    In a keyword a hyphen becomes an underscore. With no rung, it is the ladder as far
    as the chapter that `begin` has opened. With FIVE_SUNDAYS_RECORD=1, which only
    `make notebooks` sets, the results are kept in `ladder.json` too.

    Raises:
        ValueError: for a rung that is not on the ladder, for bits that no model has, or
            if there is neither a rung nor an open chapter.
    """
    placed = {} if rung is None else {rung: bits}
    placed |= {name.replace("_", "-"): value for name, value in more.items()}
    placed = {name: _checked(name, value) for name, value in placed.items()}
    before = _before(placed) if placed else _so_far()
    if os.environ.get("FIVE_SUNDAYS_RECORD") == "1":
        record(placed)

    from IPython.display import display

    earlier = {name: bits for name, bits in recorded().items() if name in before}
    display(ladder(earlier | placed, here=placed))


def _before(placed: Mapping[str, float]) -> set[str]:
    """The floor, and the rungs below the highest of these."""
    order = list(RUNGS)
    top = max((order.index(name) for name in placed if name != "floor"), default=0)
    return {*order[:top], "floor"}


def _so_far() -> set[str]:
    """The rungs of the chapters up to the one that is open.

    Raises:
        ValueError: if none is.
    """
    from course import exercise

    if exercise.opened is None:
        raise ValueError(
            "nothing to place: give a rung, as in place(bigram=3.3), or open the "
            'chapter first, as in begin("tokens")'
        )
    come = CHAPTERS[: CHAPTERS.index(exercise.opened) + 1]
    return {name for name, rung in RUNGS.items() if rung.module in come}


def recorded() -> dict[str, float]:
    """Bits per character of every rung that a chapter has recorded."""
    return {name: entry["bits"] for name, entry in _read().items()}


def record(placed: Mapping[str, float]) -> None:
    """Keep results in `ladder.json`, with the chapter and the torch they came from."""
    import torch

    entries = _read()
    for name, bits in placed.items():
        entries[name] = {
            "bits": round(bits, 4),
            "chapter": RUNGS[name].chapter,
            "torch": torch.__version__.split("+")[0],
        }
    ordered = {name: entries[name] for name in RUNGS if name in entries}
    write_atomically(RECORD, json.dumps(ordered, indent=2) + "\n")


def ladder(
    bits: Mapping[str, float],
    here: Mapping[str, float] | None = None,
    base: str = "../",
) -> Drawing:
    """The ladder as a figure.

    Args:
        bits: bits per character of the rungs that are reached; each links to its
            chapter.
        here: the rungs of this chapter, which stand out.
        base: the folder of the chapters as seen from the page with the ladder.
    """
    floor, scale = bits.get("floor"), max(bits.values(), default=1.0)
    rows, last = "", None
    for name, rung in RUNGS.items():
        if name not in bits:
            rows += _later(rung)
            continue
        width, costs = _percent(bits[name], scale), _costs(name, bits, last)
        rows += _reached(
            name, bits[name], floor, width, costs, name in (here or {}), base
        )
        last = name
    unit = "Bits per character" + (", and above the floor" if floor else "")
    picture = (
        f'<p class="fs-unit">{unit}</p>'
        f'<ol style="--floor:{_percent(floor or 0, scale)}">{rows}</ol>'
    )
    return live("ladder", picture, _in_words(bits))


def main() -> int:
    write_atomically(PAGE, landing())
    print(f"{PAGE.relative_to(ROOT)}: {len(recorded())} of {len(RUNGS)} rungs recorded")
    return 0


def landing() -> str:
    """The recorded ladder as the landing page includes it."""
    return ladder(recorded(), base="chapters/").html + "\n"


def _reached(
    name: str,
    bits: float,
    floor: float | None,
    width: str,
    costs: str,
    here: bool,
    base: str,
) -> str:
    rung = RUNGS[name]
    above = ""
    if floor is not None and name != "floor":
        above = f" <i>{bits - floor:+.2f}</i>"
    kind = "fs-floor" if name == "floor" else "fs-here" if here else "fs-reached"
    link = f'<a href="{base}{rung.chapter}.html">{rung.title}</a>'
    return (
        f'<li class="{kind}">{_label(link, rung)}'
        f'<span class="fs-bar"><span style="width:{width}"></span></span>'
        f'<span class="fs-bits"><b>{bits:.2f}</b>{above}</span>'
        f'<p class="fs-costs" hidden>{costs}</p></li>'
    )


def _later(rung: Rung) -> str:
    return (
        f'<li class="fs-later" data-chapter="{rung.chapter}">'
        f'{_label(rung.title, rung)}<span class="fs-bar"></span>'
        '<span class="fs-bits">to come</span></li>'
    )


def _label(title: str, rung: Rung) -> str:
    return f'<span class="fs-rung"><b>{title}</b> <i>{escape(rung.idea)}</i></span>'


def _costs(name: str, bits: Mapping[str, float], last: str | None) -> str:
    """What the bits of a rung mean: as a choice, and next to its neighbours.

    A surprise of b bits is that of a choice among 2^b equally likely characters.
    """
    words = f"As unsure as with {2 ** bits[name]:.3g} equally likely characters"
    if name == "floor":
        return f"{words}: no model is surer on fresh stories."
    compared = []
    if last is not None:
        saved = bits[last] - bits[name]
        more = "fewer" if saved >= 0 else "more"
        compared.append(f"{abs(saved):.2f} bits {more} than {RUNGS[last].title}")
    if "floor" in bits:
        above = bits[name] - bits["floor"]
        side = "above" if above >= 0 else "below"
        compared.append(f"{abs(above):.2f} bits {side} the floor")
    return f"{words}; {', '.join(compared)}." if compared else f"{words}."


def _percent(bits: float, scale: float) -> str:
    return f"{100 * max(bits, 0) / scale:.1f}%"


def _in_words(bits: Mapping[str, float]) -> str:
    """One sentence for readers who do not see the ladder."""
    reached = [f"{RUNGS[n].title} {bits[n]:.2f}" for n in RUNGS if n in bits]
    later = [RUNGS[n].title for n in RUNGS if n not in bits]
    words = "Bits per character, lower is better: " + ", ".join(reached or ["none yet"])
    return words + (f". To come: {', '.join(later)}." if later else ".")


def _checked(name: str, bits: float | None) -> float:
    if name not in RUNGS:
        raise ValueError(f"no rung {name!r} on the ladder; it has {', '.join(RUNGS)}")
    if bits is None or not math.isfinite(bits) or bits <= 0:
        raise ValueError(f"{name}: expected bits per character above 0, got {bits}")
    return float(bits)


def _read() -> dict[str, dict]:
    return json.loads(RECORD.read_text("utf-8")) if RECORD.is_file() else {}


if __name__ == "__main__":
    sys.exit(main())
