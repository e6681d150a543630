"""A block of GPT-2 with its shapes: choose a part, see what it does and what it costs.

    block_shapes()

The stream runs down on the left; each layer reads it, and adds to it. The numbers are
those of the smallest GPT-2, C = 768 and H = 12.
"""

from __future__ import annotations

from html import escape
from typing import NamedTuple

from course.figures import Drawing, live

ALT = (
    "A block of GPT-2. The stream runs from top to bottom. Attention reads it through "
    "a norm and adds to it; then the feed-forward layer does the same."
)
C = 768
TOTAL = 12 * C**2 + 13 * C


class Part(NamedTuple):
    """A part of the block: what the figure says about it."""

    name: str
    shape: str
    formula: str
    count: str  # the parameters, in C
    parameters: int  # the same, of the smallest GPT-2
    words: str


PARTS = (
    Part(
        "the stream",
        "(B, T, C)",
        "x",
        "0",
        0,
        "What the embedding and all blocks before have added up.",
    ),
    Part(
        "attention_norm",
        "(B, T, C)",
        "LayerNorm(x)",
        "2 C",
        2 * C,
        "A copy of the stream at a steady size. The stream stays as it is.",
    ),
    Part(
        "qkv",
        "(B, T, 3 C)",
        "norm(x) Wᵀ + b",
        "3 C² + 3 C",
        3 * C**2 + 3 * C,
        "Queries, keys and values of all heads, in one matrix product.",
    ),
    Part(
        "weights",
        "(B, H, T, T)",
        "softmax(mask(Q Kᵀ / √D))",
        "0",
        0,
        "Whom each position looks at. Nothing is learned here.",
    ),
    Part(
        "heads",
        "(B, H, T, D)",
        "weights V",
        "0",
        0,
        "What each head has fetched; then the heads are merged to (B, T, C).",
    ),
    Part(
        "projection",
        "(B, T, C)",
        "merged Wᵀ + b",
        "C² + C",
        C**2 + C,
        "Mixes what the heads have fetched. It writes to the stream.",
    ),
    Part(
        "add",
        "(B, T, C)",
        "x + attention(norm(x))",
        "0",
        0,
        "The stream now knows what attention has fetched.",
    ),
    Part(
        "feed_forward_norm",
        "(B, T, C)",
        "LayerNorm(x)",
        "2 C",
        2 * C,
        "A second norm, with a gain and a shift of its own.",
    ),
    Part(
        "expand",
        "(B, T, 4 C)",
        "norm(x) Wᵀ + b",
        "4 C² + 4 C",
        4 * C**2 + 4 * C,
        "4 C questions to each vector, at each position by itself.",
    ),
    Part(
        "GELU",
        "(B, T, 4 C)",
        "gelu(...)",
        "0",
        0,
        "The bend: without it, the two matrices would be one.",
    ),
    Part(
        "projection",
        "(B, T, C)",
        "gelu(...) Wᵀ + b",
        "4 C² + C",
        4 * C**2 + C,
        "What follows from the answers. It writes to the stream.",
    ),
    Part(
        "add",
        "(B, T, C)",
        "x + feed_forward(norm(x))",
        "0",
        0,
        "What the next block reads.",
    ),
)
ADDS = (6, 11)
STREAM, LEFT, RIGHT, HIGH, STEP = 22, 64, 338, 26, 33  # of the picture, in its units


def block_shapes(part: int = 8) -> Drawing:
    """The figure, with one part chosen.

    Raises:
        ValueError: if there is no such part.
    """
    if not 0 <= part < len(PARTS):
        raise ValueError(f"no part {part}: there are 0 to {len(PARTS) - 1}")
    data = [[in_words(part), *details(part)] for part in PARTS]
    return live("block", _picture(part), ALT, data)


def details(part: Part) -> tuple[str, str, str, str]:
    """Name, shape, formula and parameters, as they are shown."""
    share = f", {100 * part.parameters / TOTAL:.1f}% of the block"
    cost = f"{part.count} = {part.parameters:,}{share}" if part.parameters else "none"
    return part.name, part.shape, part.formula, cost


def in_words(part: Part) -> str:
    """What it does, in a sentence."""
    return part.words


def _picture(chosen: int) -> str:
    top = [8 + STEP * n for n in range(len(PARTS))]
    middle = [y + HIGH / 2 for y in top]
    boxes = "".join(
        _box(n, top[n], n == chosen) for n in range(1, len(PARTS)) if n not in ADDS
    )
    bottom = top[-1] + HIGH + 22
    # The branches leave the stream, run down through the boxes, and come back to it.
    x = LEFT + 14
    way = f"M{STREAM} {top[0] + HIGH}V{bottom - 6}m-4-7l4 7l4-7"
    for first, add in (1, ADDS[0]), (7, ADDS[1]):
        y = middle[first]
        way += f"M{STREAM} {y}H{LEFT}m-6-4l6 4l-6 4M{x} {y}V{middle[add]}"
        way += f"H{STREAM + 9}m6-4l-6 4l6 4"
    adds = "".join(_add(n, middle[n], n == chosen) for n in ADDS)
    whole = _box(0, top[0], chosen == 0, left=4)
    name, shape, formula, cost = details(PARTS[chosen])
    return f"""<div class="fs-both"><svg viewBox="0 0 342 {bottom}" aria-hidden="true"
font-size="11.5"><path class="fs-way" d="{way}"/>{whole}{boxes}{adds}</svg>
<div class="fs-about"><div class="fs-controls"><label class="fs-walk">part
<input type="range" min="0" max="{len(PARTS) - 1}" value="{chosen}"
aria-valuetext="{name}"></label></div>
<dl><dt>part</dt><dd><code>{name}</code></dd><dt>shape</dt><dd>{shape}</dd>
<dt>formula</dt><dd>{formula}</dd><dt>parameters</dt><dd>{cost}</dd></dl>
<p class="fs-says" role="status">{escape(in_words(PARTS[chosen]))}</p>
<p class="fs-note">Parameters of the smallest GPT-2, C = 768. All parts of a block
together: 12 C² + 13 C = {TOTAL:,}.</p></div></div>"""


def _box(n: int, y: float, chosen: bool, left: int = LEFT) -> str:
    part = PARTS[n]
    weighs = " fs-weighs" if part.parameters > C * 2 else ""
    return (
        f'<g class="fs-part{weighs}{" fs-chosen" if chosen else ""}" data-part="{n}">'
        f'<rect x="{left}" y="{y}" width="{RIGHT - left}" height="{HIGH}" rx="5"/>'
        f'<text x="{left + 8}" y="{y + 17}">{part.name}</text>'
        f'<text x="{RIGHT - 8}" y="{y + 17}" text-anchor="end">{part.shape}</text></g>'
    )


def _add(n: int, y: float, chosen: bool) -> str:
    look = "fs-part fs-add fs-chosen" if chosen else "fs-part fs-add"
    return (
        f'<g class="{look}" data-part="{n}"><circle cx="{STREAM}" cy="{y}" r="9"/>'
        f'<path d="M{STREAM - 5} {y}h10m-5-5v10"/>'
        f'<text x="{RIGHT - 8}" y="{y + 4}" text-anchor="end">{PARTS[n].shape}</text>'
        f'<text x="{LEFT + 24}" y="{y + 4}">added to the stream</text></g>'
    )
