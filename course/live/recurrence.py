"""An RNN beside attention: who waits, and who computes more.

    recurrence()

Both read T tokens, each a row of C numbers. A step is what can be computed at once:
the RNN needs T, because each state needs the state before it; attention needs one. A
product is a multiplication of two numbers:

    RNN         x_t W and h U are C·C products each, for T tokens:          2 T C²
    attention   Q Kᵀ and (weights) V are T·T·C products each:               2 T² C

As in one matrix product, all T·T pairs are counted, also those that a mask then hides.
Source: Vaswani et al. 2017, Table 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from course.figures import Drawing, live

PITCH, BOX = 28, 22  # px from box to box, and the side of one
TOP, BOTTOM = 8, 70  # px: the upper row, the lower row


def recurrence(lengths: Sequence[int] = (4, 8, 12), width: int = 8) -> Drawing:
    """The two at their first step, for the middle one of the lengths.

    Args:
        lengths: the T to choose from.
        width: C, the numbers in a row.
    """
    shown = lengths[len(lengths) // 2]
    words = {length: _words(length, width) for length in lengths}
    panels = "".join(
        f'<div class="fs-panel fs-{kind}"><b>{title}</b>'
        + "".join(_boxes(kind, length, length == shown) for length in lengths)
        + f'<p class="fs-count">{words[shown][1][kind]}</p></div>'
        for kind, title in (
            ("rnn", "RNN: each waits for the one before"),
            ("attention", "Attention: all at once"),
        )
    )
    choices = "".join(
        f'<button type="button" value="{length}" '
        f'aria-pressed="{str(length == shown).lower()}">T = {length}</button>'
        for length in lengths
    )
    picture = (
        f'<div class="fs-controls fs-lengths">{choices}</div>'
        f'<div class="fs-panels">{panels}</div>'
        '<div class="fs-controls"><button type="button" class="fs-step">Step</button>'
        '<button type="button" class="fs-play">Play</button>'
        '<button type="button" class="fs-again">Start again</button></div>'
        f'<p class="fs-says" role="status">{words[shown][1]["says"]}</p>'
    )
    alt = (
        "An RNN computes its states one after another, each from the one before; "
        "attention computes all positions in one step."
    )
    return live("recurrence", picture, alt, {"shown": shown, "words": words})


def products(kind: str, length: int, width: int) -> int:
    """Multiplications for a whole text, as above."""
    return 2 * length * width * (width if kind == "rnn" else length)


def _words(length: int, width: int) -> list[dict[str, str]]:
    """What is said after 0, 1, ..., T steps."""
    return [
        {
            kind: _count(kind, min(step, steps), steps, length, width)
            for kind, steps in (("rnn", length), ("attention", 1))
        }
        | {"says": _says(step, length, width)}
        for step in range(length + 1)
    ]


def _count(kind: str, step: int, steps: int, length: int, width: int) -> str:
    """Steps and products so far, and the products of the whole text as a formula."""
    whole = products(kind, length, width)
    formula = (
        f"2 T C² = 2 · {length} · {width}²"
        if kind == "rnn"
        else f"2 T² C = 2 · {length}² · {width}"
    )
    return (
        f"<b>{step} of {steps}</b> step{'s' * (steps > 1)}, "
        f"<b>{whole * step // steps:,}</b> of {whole:,} products<br><i>{formula}</i>"
    )


def _says(step: int, length: int, width: int) -> str:
    if step == 0:
        return f"{length} tokens wait to be read, each a row of C = {width} numbers."
    if step == 1:
        return (
            "Step 1: the RNN has computed its first state. Attention has computed all "
            f"{length} positions, and is done."
        )
    if step < length:
        return (
            f"Step {step}: the RNN computes state {step}, which had to wait for state "
            f"{step - 1}. Attention was done after step 1."
        )
    rnn, attention = (products(kind, length, width) for kind in ("rnn", "attention"))
    most = (
        "Both computed as many products."
        if rnn == attention
        else f"{'The RNN' if rnn > attention else 'Attention'} computed more products."
    )
    return f"Step {step}: the RNN is done too, after {length} steps against 1. {most}"


def _boxes(kind: str, length: int, shown: bool) -> str:
    """Tokens above, and below what is made of them; `data-at` says in which step."""
    middle = PITCH / 2
    arrows, boxes = "", ""
    for t in range(length):
        x, at = PITCH * t + middle, t + 1 if kind == "rnn" else 1
        state = "fs-now" if at == 1 else "fs-wait"
        if kind == "rnn":
            lines = f"M{x:g} {TOP + BOX}V{BOTTOM}"
            if t > 0:
                lines += f"M{x - PITCH + BOX / 2:g} {BOTTOM + BOX / 2:g}h{PITCH - BOX}"
        else:
            lines = "".join(
                f"M{PITCH * s + middle:g} {TOP + BOX}L{x:g} {BOTTOM}"
                for s in range(t + 1)
            )
        arrows += f'<path data-at="{at}" class="{state}" d="{lines}"/>'
        boxes += (
            f'<g class="fs-token">{_box(x, TOP, t)}</g>'
            f'<g data-at="{at}" class="{state}">{_box(x, BOTTOM, t)}</g>'
        )
    wide, high = PITCH * max(length, 12), BOTTOM + BOX + 2
    return (
        f'<svg viewBox="0 0 {wide} {high}" data-length="{length}" aria-hidden="true"'
        f"{'' if shown else ' hidden'}>{arrows}{boxes}</svg>"
    )


def _box(x: float, top: int, t: int) -> str:
    return (
        f'<rect x="{x - BOX / 2:g}" y="{top}" width="{BOX}" height="{BOX}" rx="4"/>'
        f'<text x="{x:g}" y="{top + BOX / 2 + 4:g}">{t + 1}</text>'
    )
