"""The ladder: every model of the course in one unit, next to the best that is possible.

    place(uniform=6.17, unigram=4.19, bigram=3.31, floor=1.02)

shows the ladder with these rungs, in bits per character. It also shows what earlier
chapters recorded; whatever comes later is "to come", so that what a chapter shows does
not change when the book grows. Place the floor together with a chapter's first rung.

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

from course.figures import Drawing, diagram
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

    In a keyword a hyphen becomes an underscore. With FIVE_SUNDAYS_RECORD=1, which only
    `make notebooks` sets, the results are kept in `ladder.json` too.

    Raises:
        ValueError: for a rung that is not on the ladder, or for bits that no model has.
    """
    placed = {} if rung is None else {rung: bits}
    placed |= {name.replace("_", "-"): value for name, value in more.items()}
    placed = {name: _checked(name, value) for name, value in placed.items()}
    if not placed:
        raise ValueError("nothing to place: give a rung, as in place(bigram=3.3)")
    if os.environ.get("FIVE_SUNDAYS_RECORD") == "1":
        record(placed)

    from IPython.display import display

    order = list(RUNGS)
    top = max((order.index(name) for name in placed if name != "floor"), default=0)
    earlier = {n: b for n, b in recorded().items() if n in (*order[:top], "floor")}
    display(ladder(earlier | placed, here=placed))


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
    bits: Mapping[str, float], here: Mapping[str, float] | None = None, base: str = ""
) -> Drawing:
    """The ladder as a figure.

    Args:
        bits: bits per character of the rungs that are reached.
        here: the rungs of this chapter, which stand out.
        base: the folder of the book's pages as seen from the page with the ladder, for
            links to the chapters that exist; none where the page has no fixed place.
    """
    floor, scale = bits.get("floor"), max(bits.values(), default=1.0)
    rows = "".join(
        _row(name, rung, bits.get(name), floor, scale, name in (here or {}), base)
        for name, rung in RUNGS.items()
    )
    unit = "Bits per character" + (", and above the floor" if floor else "")
    html = (
        f"<style>{STYLE}</style><p>{unit}</p>"
        f'<ol style="--floor:{_percent(floor or 0, scale)}">{rows}</ol>'
    )
    return diagram(
        f'<div class="fs-ladder">{html}</div>', _in_words(bits), role="group"
    )


def main() -> int:
    write_atomically(PAGE, landing())
    print(f"{PAGE.relative_to(ROOT)}: {len(recorded())} of {len(RUNGS)} rungs recorded")
    return 0


def landing() -> str:
    """The recorded ladder as the landing page includes it."""
    return ladder(recorded(), base="chapters/").html + "\n"


def _row(
    name: str,
    rung: Rung,
    bits: float | None,
    floor: float | None,
    scale: float,
    here: bool,
    base: str,
) -> str:
    title = rung.title
    if base and (ROOT / "chapters" / f"{rung.chapter}.ipynb").is_file():
        title = f'<a href="{base}{rung.chapter}.html">{title}</a>'
    label = f'<span class="fs-rung"><b>{title}</b> <i>{escape(rung.idea)}</i></span>'
    if bits is None:
        return (
            f'<li class="fs-later">{label}<span class="fs-bar"></span>'
            '<span class="fs-bits">to come</span></li>'
        )
    above = ""
    if floor is not None and name != "floor":
        above = f"<i>{bits - floor:+.2f}</i>"
    kind = "fs-floor" if name == "floor" else "fs-here" if here else "fs-reached"
    return (
        f'<li class="{kind}">{label}<span class="fs-bar">'
        f'<span style="width:{_percent(bits, scale)}"></span></span>'
        f'<span class="fs-bits"><b>{bits:.2f}</b> {above}</span></li>'
    )


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


# One line per rung on a screen; on a phone the bar goes below the words. Each bar is
# grey up to the floor, which no model can save, and coloured above it.
STYLE = """
.fs-ladder{max-width:54em;font-size:15px;line-height:1.3}
.fs-ladder p{margin:0 0 .3em;font-size:.9em;text-align:right}
.fs-figure .fs-ladder ol{list-style:none;margin:0;padding:0}
.fs-ladder li{display:grid;grid-template:"rung bits" "bar bar"/1fr auto;
gap:.3em .9em;margin:0;padding:.45em 0}
.fs-rung{grid-area:rung}.fs-bar{grid-area:bar}.fs-bits{grid-area:bits}
.fs-ladder i{font-style:normal;font-size:.86em;
color:color-mix(in srgb,currentColor 78%,var(--fs-ground))}
.fs-bits{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.fs-bar{position:relative;height:.75em;align-self:center;border-radius:.2em;
background:color-mix(in srgb,currentColor 7%,transparent)}
.fs-bar>span{position:absolute;inset:0 auto 0 0;border-radius:.2em;
background:var(--tone,currentColor)}
.fs-reached{--tone:var(--fs-1)}.fs-here{--tone:var(--fs-2)}
.fs-bar::after{content:"";position:absolute;inset:0 auto 0 0;width:var(--floor);
border-radius:.2em 0 0 .2em;
background:color-mix(in srgb,currentColor 45%,var(--fs-ground))}
.fs-later .fs-bar{background:none;height:0;
border-top:1px dashed color-mix(in srgb,currentColor 40%,transparent)}
.fs-later .fs-bar::after{display:none}
.fs-later .fs-rung>b{font-weight:normal}
@media(min-width:640px){.fs-ladder li{grid-template:"rung bar bits"/15em 1fr 6.4em}
.fs-rung i{display:block}}
""".replace("\n", "")

if __name__ == "__main__":
    sys.exit(main())
