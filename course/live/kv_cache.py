"""A KV cache growing token by token, beside a model that reads the text anew each time.

    kv_cache("Mina hid her key in the shed .".split())

Each row is a step, each column a token. Filled: computed in this step. Outlined: kept
from an earlier one. Without a cache, step t computes t tokens; with one, the new token.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from course.figures import Drawing, live

WIDE, HIGH, LABEL, TOP = 34, 18, 26, 18  # px: a cell, the steps beside, words above
TITLES = {"whole": "Reading all of it again", "kept": "With a cache"}


def kv_cache(tokens: Sequence[str], step: int | None = None) -> Drawing:
    """Both for one text, at one of its steps; None: at the last.

    Raises:
        ValueError: if there is no token, or no such step.
    """
    steps = len(tokens)
    step = steps if step is None else step
    if not 1 <= step <= steps:
        raise ValueError(f"step {step} of a text of {steps} tokens: expected 1 or more")
    panels = "".join(_panel(kind, tokens, step) for kind in TITLES)
    picture = f"""<div class="fs-controls"><label>Step
<input type="range" min="1" max="{steps}" value="{step}"
aria-valuetext="{step}, {escape(tokens[step - 1])}"></label></div>
<div class="fs-panels">{panels}</div>
<p class="fs-key"><span class="fs-computed"></span> computed in this step
<span class="fs-known"></span> kept from before</p>
<p class="fs-says" role="status">{says(tokens, step)}</p>"""
    every = steps * (steps + 1) // 2
    alt = (
        f"A text of {steps} tokens is written in {steps} steps. Reading all of it "
        f"again at each step computes {every} tokens, a triangle; with a cache "
        f"{steps}, a diagonal."
    )
    words = [says(tokens, each) for each in range(1, steps + 1)]
    return live("kv_cache", picture, alt, {"tokens": list(tokens), "says": words})


def says(tokens: Sequence[str], step: int) -> str:
    """One step in words, and what all steps until then have computed."""
    so_far = step * (step + 1) // 2
    return (
        f"Step {step}, after “{escape(tokens[step - 1])}”: {step} computed without a "
        f"cache, 1 with it. So far {so_far} and {step}."
    )


def _panel(kind: str, tokens: Sequence[str], step: int) -> str:
    names = "".join(
        f'<text x="{LABEL + WIDE * (n + 0.5):g}" y="{TOP - 6}">{escape(token)}</text>'
        for n, token in enumerate(tokens)
    )
    rows = "".join(_row(kind, row, step) for row in range(1, len(tokens) + 1))
    width, height = LABEL + WIDE * len(tokens), TOP + HIGH * len(tokens)
    return (
        f'<div class="fs-panel fs-{kind}"><b>{TITLES[kind]}</b>'
        f'<svg viewBox="0 0 {width} {height}" aria-hidden="true">{names}{rows}</svg>'
        "</div>"
    )


def _row(kind: str, row: int, step: int) -> str:
    """Step `row`: the tokens that it computes, and those that it finds kept."""
    y = TOP + HIGH * (row - 1)
    cells = "".join(
        f'<rect x="{LABEL + WIDE * n + 1}" y="{y + 1}" width="{WIDE - 2}" '
        f'height="{HIGH - 2}" rx="2" '
        f'class="fs-{"known" if kind == "kept" and n < row - 1 else "computed"}"/>'
        for n in range(row)
    )
    state = " fs-now" if row == step else " fs-later" if row > step else ""
    return (
        f'<g class="fs-row{state}"><text x="{LABEL / 2:g}" y="{y + 13}">{row}</text>'
        f"{cells}</g>"
    )
