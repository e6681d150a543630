"""The look of the book for a page that stands alone: one file, which asks for nothing.

    f"<style>{style()}</style>"

Colours and fonts are those of `assets/book.css`, taken from it. Such a page has no
script and no switch: it is light or dark as the reader's machine is.
"""

from __future__ import annotations

import base64
import re
from functools import cache

from course.weeks import ROOT

ASSETS = ROOT / "assets"

BLOCKS = {
    "all": ":root {",
    "light": 'html:not([data-theme="dark"]) {',
    "dark": 'html[data-theme="dark"] {',
}
"""How the blocks of `book.css` begin that hold the variables."""


@cache
def style() -> str:
    """The variables of the book, light and dark, and its font for headings."""
    css = (ASSETS / "book.css").read_text("utf-8")
    every, light, dark = (
        re.search(rf"^{re.escape(start)}(.*?)^\}}", css, re.M | re.S)[1]
        for start in BLOCKS.values()
    )
    return (
        f"{_font(css)}\n"
        f":root {{ color-scheme: light dark;{every}{light}}}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{{dark}}} }}\n"
        # Paper is white.
        f"@media print {{ :root {{ color-scheme: light;{light}}} }}"
    )


def _font(css: str) -> str:
    """The first font face of the book, with the font inside it."""
    face = re.search(r"^@font-face \{.*?^\}", css, re.M | re.S)[0]

    def within(found: re.Match[str]) -> str:
        font = base64.b64encode((ASSETS / found[1]).read_bytes()).decode()
        return f'url("data:font/woff2;base64,{font}")'

    return re.sub(r'url\("([^"]+)"\)', within, face)
