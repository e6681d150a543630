"""What is taken out of a page, and what stays."""

from __future__ import annotations

import pytest

from course.light_pages import lightened

PAGE = """\
<script defer src="../_static/scripts/fontawesome.js?digest=55c2"></script>
<script>window.MathJax = {"loader": {"load": ["input/tex"]}}</script>
<script defer="defer" src="../_static/vendor/mathjax/startup.js?v=4b"></script>
<script src="../_static/searchtools.js"></script>
<script src="../_static/language_data.js"></script>
<script src="../searchindex.js"></script>
<script src="../_static/quiz.js"></script>
<button title="Search"><i class="fa-solid fa-magnifying-glass"></i></button>
<p>%s</p>
"""


def scripts(page: str) -> list[str]:
    return [line for line in page.splitlines() if line.startswith("<script")]


@pytest.mark.parametrize(
    ("words", "searches", "left"),
    [
        ("no formula, but math", False, [6]),
        ('<span class="math notranslate">x</span>', False, [1, 2, 6]),
        ('<div class="output text_latex">x</div>', False, [1, 2, 6]),
        ("no formula", True, [3, 4, 5, 6]),
    ],
)
def test_what_a_page_does_not_use_is_taken_out(words, searches, left):
    page = PAGE % words
    kept = lightened(page, searches)
    assert scripts(kept) == [page.splitlines()[number] for number in left]
    assert f"<p>{words}</p>" in kept


def test_icons_are_silent_and_a_bibliography_claims_nothing_wrong():
    entry = '<div class="citation" id="c" role="doc-biblioentry">Gage</div>'
    page = lightened(PAGE % f'<div role="list" class="citation-list">{entry}</div>')
    assert '<i aria-hidden="true" class="fa-solid fa-magnifying-glass">' in page
    assert '<div class="citation-list"><div class="citation" id="c">Gage' in page


@pytest.mark.parametrize("gone", ["fontawesome", "searchindex"])
def test_a_page_of_another_theme_is_refused(gone):
    with pytest.raises(ValueError, match=rf"expected \d times .*{gone}.*, found \d"):
        lightened((PAGE % "").replace(gone, "renamed"))
