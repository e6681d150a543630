"""How the bytes of a text are spread over characters and tokens, in one picture.

spread("안녕 🙂", encoding)
"""

from __future__ import annotations

from html import escape

import tiktoken

from course.figures import Drawing, diagram

WIDE, LABEL = 27, 58  # px: a byte, the words before a row
STYLE = (
    "font:11px var(--fs-mono);text-anchor:middle",
    "font:17px var(--fs-font);text-anchor:middle",
    "font:11px var(--fs-font);text-anchor:end",
)


def spread(text: str, encoding: tiktoken.Encoding) -> Drawing:
    """Three rows: the characters, their bytes, and what each token shows by itself.

    Raises:
        ValueError: if the text is empty.
    """
    if not text:
        raise ValueError("the text is empty: give one character at least")
    small, large, label = STYLE
    characters = [(c, len(c.encode())) for c in text]
    tokens = map(encoding.decode_single_token_bytes, encoding.encode_ordinary(text))
    shown = [(token.decode(errors="replace"), len(token)) for token in tokens]
    cells = "".join(
        f'<text x="{LABEL + WIDE * (n + 0.5):g}" y="51" style="{small}">{byte:02x}'
        "</text>"
        for n, byte in enumerate(text.encode())
    )
    rows = _row(characters, 8, 26, large) + cells + _row(shown, 64, 26, large)
    names = "".join(
        f'<text x="{LABEL - 8}" y="{y}" style="{label}">{name}</text>'
        for name, y in (("text", 26), ("bytes", 51), ("tokens", 82))
    )
    width = LABEL + WIDE * len(text.encode()) + 1
    alt = (
        f"“{text}” has {len(characters)} characters, of "
        f"{', '.join(str(size) for _, size in characters)} bytes, and {len(shown)} "
        f"tokens, of {', '.join(str(size) for _, size in shown)}."
    )
    return diagram(
        f'<svg viewBox="0 0 {width} 98" style="max-width:{1.35 * width:.0f}px">'
        f"{names}{rows}</svg>",
        alt,
    )


def _row(parts: list[tuple[str, int]], y: int, high: int, style: str) -> str:
    """Boxes as wide as the bytes that they stand for, with a text in each."""
    boxes, at = "", LABEL
    for number, (text, size) in enumerate(parts):
        width = WIDE * size
        boxes += (
            f'<rect x="{at + 1.5}" y="{y}" width="{width - 3}" height="{high}" rx="3" '
            f'fill="none" stroke="var(--fs-{1 + number % 2})"/>'
            f'<text x="{at + width / 2:g}" y="{y + high - 8}" style="{style}">'
            f"{escape(text.replace(' ', '␣'))}</text>"
        )
        at += width
    return boxes
