"""A Sphinx extension: pages load what they use, and screen readers get valid markup.

Left out of each page, because nothing on it would change:

- Font Awesome's script, 1.5 MB: it draws the icons that its font has drawn already;
- the search index with its script: only the search page searches;
- MathJax, where there is no formula.

The theme and docutils have no option for these. So the finished pages are changed, and
a page that does not look as expected stops the build instead of staying as it was.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

ICONS = r"<script[^>]*/scripts/fontawesome\.js[^>]*></script>"
SEARCH = r'<script src="[^"]*(?:searchtools|language_data|searchindex)\.js"></script>'
MATHJAX = (
    r"<script>window\.MathJax = .*?</script>"
    r"|<script[^>]*/vendor/mathjax/startup\.js[^>]*></script>"
)
FORMULA = r'class="[^"]*\bmath\b|class="[^"]*\btext_latex\b'


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this when it loads the extension."""
    app.connect("build-finished", _finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _finish(app: Sphinx, problem: Exception | None) -> None:
    """Change the pages of a build that went well."""
    if problem or app.builder.format != "html":
        return
    folder = Path(app.outdir)
    for name in app.env.found_docs | {"search", "genindex"}:
        path = folder / app.builder.get_target_uri(name)
        try:
            page = lightened(path.read_text("utf-8"), searches=name == "search")
        except ValueError as wrong:
            raise ExtensionError(f"{path.name}: {wrong}") from None
        path.write_text(page, "utf-8")
    for script in folder.glob("_static/scripts/fontawesome.js*"):
        script.unlink()


def lightened(page: str, searches: bool = False) -> str:
    """A page of the theme without what it would load for nothing.

    Raises:
        ValueError: if the page does not load what it should be freed of.
    """
    page = _without(ICONS, page, 1)
    # The icons say nothing that the words of their button do not say.
    page = re.sub(r'<i (?=class="[^"]*\bfa-)', '<i aria-hidden="true" ', page)
    if not searches:
        page = _without(SEARCH, page, 3)
    if not re.search(FORMULA, page):
        page = re.sub(MATHJAX, "", page, flags=re.DOTALL)
    # The logo stands outside of every landmark: a screen reader would pass it by.
    sidebar = 'id="pst-primary-sidebar"'
    page = page.replace(sidebar, f'{sidebar} role="complementary" aria-label="Course"')
    # Docutils calls a bibliography a list, of entries that are no items of a list.
    page = page.replace(' role="list" class="citation-list"', ' class="citation-list"')
    return page.replace(' role="doc-biblioentry"', "")


def _without(pattern: str, page: str, times: int) -> str:
    page, found = re.subn(pattern, "", page)
    if found != times:
        raise ValueError(f"expected {times} times {pattern}, found {found}")
    return page
