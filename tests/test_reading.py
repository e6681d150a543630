"""Finding one's way: the search, a phone's outline, a wrong address, and on paper."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from course.checks import CHAPTERS, of_chapter
from course.notebooks import ROOT
from tests.browser import PAGES, opened, serving

GLOSSARY = "chapters/reference/glossary"
CODE_NAMES = [e.name for chapter in CHAPTERS for e in of_chapter(chapter)]
KOREAN = re.findall(
    r"^ *((?:[가-힣A-Z]+ )*[가-힣]+(?: [A-Z]+)?)$",
    (ROOT / f"{GLOSSARY}.md").read_text("utf-8"),
    re.M,
)
FIND = """words => words.map(word => Search
  ._performSearch(...Search._parseQuery(word)).map(found => found[0]))"""


@pytest.fixture(scope="module")
def search(browser, address):
    """What the page of the search finds: word -> names of pages."""
    with opened(browser, f"{address}search.html") as (tab, faults):
        tab.wait_for_function("Search.hasIndex()")
        yield lambda *words: dict(
            zip(words, tab.evaluate(FIND, list(words)), strict=True)
        )
        assert not faults


def test_the_search_finds_each_exercise_by_its_name(search):
    found = search(*CODE_NAMES)
    assert len(found) >= 13
    for name, pages in found.items():
        assert any(re.match(r"chapters/week\d/", page) for page in pages), name


@pytest.mark.parametrize(
    ("part", "page"),
    [
        ("bigram_prob", "chapters/week1/language-models"),
        ("PositionEmb", "chapters/week1/tokens"),
        ("per_character", "chapters/week1/language-models"),
        ("BigramMod", "chapters/week1/language-models"),
        ("토크", GLOSSARY),
        ("소프트맥", GLOSSARY),
        ("토큰을", GLOSSARY),
        ("엔트로피는", GLOSSARY),
        ("교차 엔트로피를", GLOSSARY),
    ],
)
def test_the_search_finds_a_part_of_a_name_and_a_word_with_a_particle(
    search, part, page
):
    assert page in search(part)[part]


def test_the_search_finds_every_korean_word_of_the_glossary(search):
    assert len(KOREAN) > 40
    missed = [w for w, pages in search(*KOREAN).items() if GLOSSARY not in pages]
    assert not missed


def test_a_korean_word_that_is_nowhere_is_not_found(search):
    assert search("고슴도치", "안경")["고슴도치"] == []


def test_the_search_can_be_used_without_a_mouse(browser, address):
    with opened(browser, f"{address}index.html", width=390) as (tab, faults):
        tab.keyboard.press("Control+k")
        tab.keyboard.type("bigram_prob")
        tab.keyboard.press("Enter")
        tab.wait_for_selector("#search-results li a")
        link = tab.locator("#search-results a[href*='language-models']").first
        link.focus()
        tab.keyboard.press("Enter")
        tab.wait_for_url("**/language-models.html*")
        assert not faults


@pytest.mark.parametrize("choose", ["finger", "keyboard"])
def test_the_outline_of_a_phone_gives_way_to_the_section_that_was_chosen(
    browser, address, choose
):
    url = f"{address}chapters/week1/tokens.html"
    with opened(browser, url, width=390) as (tab, faults):
        tab.locator("button.secondary-toggle").focus()
        tab.keyboard.press("Enter")
        outline = tab.locator("dialog[open]")
        link = outline.get_by_role("link", name="Quiz")
        if choose == "finger":
            link.click()
        else:
            link.focus()
            tab.keyboard.press("Enter")
        expect(outline).to_have_count(0)
        expect(tab.get_by_role("heading", name="Quiz")).to_be_in_viewport()
        tab.keyboard.press("Tab")  # goes on from there
        within = "document.activeElement.closest('section').id"
        assert tab.evaluate(within) == "quiz"
        assert not faults


def test_copying_code_works_with_the_keyboard(browser, address):
    url = f"{address}chapters/week1/tokens.html"
    with opened(browser, url) as (tab, faults):
        tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
        button = tab.locator("button.copybtn").first
        button.focus()
        tab.keyboard.press("Tab")
        tab.keyboard.press("Shift+Tab")
        expect(button).to_have_css("opacity", "1")
        tab.keyboard.press("Enter")
        expect(button).to_have_class(re.compile("success"))
        copied = tab.evaluate("navigator.clipboard.readText()")
        assert copied.startswith("from collections import Counter")
        assert not faults


# ---- a wrong address --------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong", ["course/no/such.html", "course/404.html", "course/x"]
)
def test_the_page_for_a_wrong_address_leads_to_the_course_in_a_folder(
    browser, book, tmp_path, wrong
):
    """As on a host where the course lies in a folder beside other pages."""
    (tmp_path / "course").symlink_to(book.resolve())
    (tmp_path / "index.html").write_text("another site")
    (tmp_path / "404.html").write_text((book / "404.html").read_text("utf-8"))
    with serving(tmp_path, 8790) as (_process, url):
        tab = browser.new_page()
        tab.goto(f"{url}{wrong}")
        link = tab.get_by_role("link")
        expect(link).to_have_attribute("href", "/course/")
        link.click()
        expect(tab).to_have_title(re.compile("Five Sundays"))
        tab.close()


def test_the_page_for_a_wrong_address_leads_to_the_course_at_the_root(browser, address):
    tab = browser.new_page()
    tab.goto(f"{address}chapters/week9/nothing.html")
    tab.get_by_role("link").click()
    assert tab.url == address
    expect(tab.get_by_role("heading", name="Five Sundays")).to_be_visible()
    tab.close()


# ---- paper ------------------------------------------------------------------------

A4 = 680  # px between the margins

# What scrolls on a screen is cut on paper; what is too wide leaves the sheet.
CUT = """() => [...document.querySelectorAll(".bd-article :is(pre, table, .math, svg)")]
  .filter(e => e.checkVisibility())
  .filter(e => e.matches("pre, div.math") && e.scrollWidth > e.clientWidth + 1
    || e.getBoundingClientRect().right > innerWidth + 1)
  .map(e => e.outerHTML.slice(0, 200))"""
SCREEN_ONLY = (
    ".fs-marks, .fs-controls, .copybtn, .headerlink, .prev-next-footer, "
    ".bd-sidebar-primary, .bd-sidebar-secondary, .bd-header-article, .fs-score a"
)


@pytest.mark.parametrize("page", PAGES)
def test_paper_shows_all_of_a_page_and_no_controls(browser, address, page):
    with opened(browser, f"{address}{page}.html", width=A4) as (tab, faults):
        tab.emulate_media(media="print")
        tab.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert tab.evaluate(CUT) == []
        shown = tab.locator(SCREEN_ONLY).evaluate_all(
            "all => all.filter(e => e.checkVisibility()).map(e => e.className)"
        )
        assert shown == []
        assert not faults


def test_paper_shows_where_a_link_to_the_outside_leads(browser, address):
    url = f"{address}chapters/week1/tokens.html"
    with opened(browser, url) as (tab, _faults):
        tab.emulate_media(media="print")
        added = tab.get_by_role("link", name="SentencePiece").evaluate(
            "link => getComputedStyle(link, '::after').content"
        )
        assert "D18-2012" in added


def test_paper_shows_what_the_reader_has_unfolded_and_no_more(browser, address):
    url = f"{address}chapters/week1/tokens.html"
    with opened(browser, url) as (tab, _faults):
        tab.get_by_text("Answer 1").click()
        tab.emulate_media(media="print")
        tab.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert tab.get_by_text("The 256 bytes are there").is_visible()
        assert not tab.get_by_text("The lowest rank goes first, so").is_visible()
