"""A Sphinx extension: the docstrings of the course, as the API reference shows them.

They are written to be read in an editor: `code` between backticks, an equation
indented, sections such as `Raises:`. Autodoc reads reStructuredText, where these are
spelled otherwise. Napoleon, which comes with Sphinx, knows the sections; the rest is
here.
"""

from __future__ import annotations

import re
from itertools import pairwise

from sphinx.application import Sphinx

SECTIONS = ("Args:", "Raises:")
"""What Napoleon turns into lists: their indented lines are no equation."""


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this when it loads the extension."""
    app.setup_extension("sphinx.ext.autodoc")
    app.setup_extension("sphinx.ext.napoleon")
    # Before Napoleon, which listens with the usual priority of 500.
    app.connect("autodoc-process-docstring", process, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def process(
    app: Sphinx, what: str, name: str, thing: object, options: dict, lines: list[str]
) -> None:
    """Autodoc's hook: change the lines in place."""
    lines[:] = to_rst(lines, "python" if what == "module" else "text")
    if what == "data":  # of which Napoleon takes words before a colon for a type
        lines[0] = lines[0].replace(": ", " \u2013 ")


def to_rst(lines: list[str], language: str = "text") -> list[str]:
    """A docstring of the course as reStructuredText.

    `language` is that of its indented blocks: a function has equations there, a module
    has Python.

    >>> print(*to_rst(["The mean of `x`.", "", "    sum / n"]), sep="|")
    The mean of ``x``.||.. code-block:: text||    sum / n
    """
    out: list[str] = []
    block = section = False
    for before, line in pairwise(["", *lines]):
        indented = line.startswith("    ")
        if line and not indented:
            block, section = False, line in SECTIONS
        elif indented and not (before or block or section):
            block = True
            out += [f".. code-block:: {language}", ""]
        out.append(line if block or line.startswith(">>>") else _inline(line))
    return out


def _inline(line: str) -> str:
    """One line of text: its code, its arrows, the name of a section in one line."""
    line = re.sub(r"^(Sources?):(?=.)", r"**\1:**", line)
    line = line.replace(" -> ", "\u00a0→ ")  # a line must not begin with it, nor cut it
    return re.sub(r"`([^`]+)`", r"``\1``", line)
