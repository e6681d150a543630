"""A Sphinx extension: the shipped model in a page of the book, and its files beside it.

    ```{in-your-browser}
    ```

puts the figure there, and a line with what `python -m benchmarks.browser` measured. The
engine lies in `assets/`, and the model is written when the book is. Only the page with
the figure loads them, when its reader comes near the figure.
"""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from course import pretrained, records
from course.browser_model import ASSETS, ENGINE, SCRIPT, drawn, script


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this when it loads the extension."""
    app.add_directive("in-your-browser", InYourBrowser)
    app.connect("build-finished", _finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class InYourBrowser(SphinxDirective):
    """The figure, and what was measured."""

    def run(self) -> list[nodes.Node]:
        up = "../" * self.env.docname.count("/")
        scripts = [
            f"{up}_static/{name}?v={_digest(name)}" for name in (*ENGINE, SCRIPT)
        ]
        figure = drawn(*pretrained.load(), scripts=scripts)
        return [
            nodes.raw("", figure.html, format="html"),
            nodes.paragraph("", measured()),
        ]


def measured() -> str:
    """How fast it was, where it was measured."""
    record = records.load("browser")
    result = record["results"]
    return (
        f"Measured in {result['browser']} on {record['machine']}: "
        f"{result['seconds_until_ready']:.1f} s from the click on a link to this page "
        f"until the model is ready, and {result['tokens_per_second']:.0f} tokens a "
        "second, drawn on the page. The line above says what it is on yours."
    )


@cache
def _model() -> str:
    return script(*pretrained.load())


def _digest(name: str) -> str:
    """Of what a script holds, so that no browser takes an old one for it."""
    text = _model() if name == SCRIPT else (ASSETS / name).read_text("utf-8")
    return f"{zlib.crc32(text.encode()):08x}"


def _finish(app: Sphinx, problem: Exception | None) -> None:
    """Put the model into a book that went well."""
    if problem is None and app.builder.format == "html":
        Path(app.outdir, "_static", SCRIPT).write_text(_model(), "utf-8")
