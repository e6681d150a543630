"""The pages in a browser: wide and narrow, light and dark, with and without a mouse."""

from __future__ import annotations

import re

import pytest
from fontTools.ttLib import TTFont

from tests.browser import (
    FRAMES,
    PAGES,
    axe_faults,
    axe_faults_everywhere,
    loaded,
    opened,
)

MEGABYTES = 4  # what a page may weigh, uncompressed, with everything it loads

SHOWN = """() => {
  const grounds = getComputedStyle(document.body).backgroundColor
  const texts = [...document.querySelectorAll(
      '.fs-figure svg text, .fs-figure svg tspan, .fs-ladder li, .fs-verdict p')]
  return [grounds, texts.map(e => [
      e.textContent.trim().slice(0, 40),
      e instanceof SVGElement ? getComputedStyle(e).fill : getComputedStyle(e).color])]
}"""


def lightness(colour: str) -> float:
    """Of a computed colour, `rgb(...)` or `color(srgb ...)`: from 0 to 1."""
    numbers = [float(n) for n in re.findall(r"[\d.]+", colour)[:3]]
    if colour.startswith("rgb"):
        numbers = [n / 255 for n in numbers]
    return sum(w * n for w, n in zip((0.21, 0.72, 0.07), numbers, strict=True))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_right_on_a_phone_in_light_and_dark(browser, address, page):
    with opened(browser, f"{address}{page}.html", width=390) as (tab, faults):
        assert not faults
        wrong = tab.locator("mjx-merror, mjx-mtext[style*='color: red']")
        assert wrong.all_inner_texts() == []
        width = tab.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, f"{page} scrolls sideways: {width} px"
        assert sum(loaded(tab).values()) < MEGABYTES * 1e6
        for theme in ("light", "dark"):
            tab.evaluate("name => document.documentElement.dataset.theme = name", theme)
            ground, texts = tab.evaluate(SHOWN)
            assert (lightness(ground) > 0.5) == (theme == "light")
            for words, colour in texts:
                # White text may stand in a full hue; it is then the ground's colour.
                if colour != ground:
                    far = abs(lightness(colour) - lightness(ground))
                    assert far > 0.3, f"{theme}: {words!r} in {colour} on {ground}"


@pytest.mark.parametrize("page", [*PAGES, "search", "404"])
def test_axe_finds_no_fault_wide_or_narrow_light_or_dark(browser, address, page):
    with opened(browser, f"{address}{page}.html") as (tab, _faults):
        found = axe_faults_everywhere(tab)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("opener", ["primary-toggle", "search-button"])
def test_axe_finds_no_fault_in_what_opens_over_a_phones_page(browser, address, opener):
    url = f"{address}index.html"
    with opened(browser, url, width=390) as (tab, _faults):
        tab.emulate_media(reduced_motion="reduce")
        tab.locator(f"button.{opener}:visible").first.click()
        assert tab.locator("dialog[open]").is_visible()
        assert not axe_faults(tab)


def test_axe_sees_faults(browser):
    tab = browser.new_page()
    tab.set_content(
        "<html lang=en><title>T</title><main><h1>H</h1><img src='data:,'>"
        + "<p>fine</p><p style='color:#999;background:#fff'>pale</p>" * 2
    )
    assert [fault.rpartition(": ")[0] for fault in axe_faults(tab)] == [
        "serious: color-contrast",
        "critical: image-alt",
    ]
    assert len(axe_faults(tab, "colours")) == 1
    tab.close()


def test_a_page_loads_only_what_it_uses(browser, address):
    unused = ("fontawesome.js", "searchindex", "searchtools", "mathjax")
    with opened(browser, f"{address}index.html") as (tab, _faults):
        assert not [url for url in loaded(tab) for name in unused if name in url]
        assert any("webfonts/fa-solid" in url for url in loaded(tab))


def icons(book) -> set[str]:
    """The classes of every icon in a page, and of those that a script puts there."""
    found = set()
    for path in [*book.rglob("*.html"), *book.rglob("*.js")]:
        text = path.read_text("utf-8")
        found |= set(
            re.findall(r"\bfa(?:s|r|b|-solid|-regular|-brands) fa-[\w-]+", text)
        )
    return found


DRAWN = """names => names.map(name => {
  const icon = document.body.appendChild(document.createElement("i"))
  icon.className = name
  const {content, fontFamily, fontWeight} = getComputedStyle(icon, "::before")
  return [name, content, fontFamily, fontWeight]
})"""


def test_every_icon_is_in_the_font(browser, address, book):
    used = icons(book)
    assert {"fa-solid fa-magnifying-glass", "fas fa-download"} <= used
    fonts = book / "_static/vendor/fontawesome/webfonts"
    letters = {
        ('"Font Awesome 6 Free"', "900"): TTFont(fonts / "fa-solid-900.ttf"),
        ('"Font Awesome 6 Free"', "400"): TTFont(fonts / "fa-regular-400.ttf"),
        ('"Font Awesome 6 Brands"', "400"): TTFont(fonts / "fa-brands-400.ttf"),
    }
    with opened(browser, f"{address}index.html") as (tab, _faults):
        for name, content, family, weight in tab.evaluate(DRAWN, sorted(used)):
            letter = content.strip('"')
            assert len(letter) == 1, f"{name} has no letter: {content}"
            assert ord(letter) in letters[family, weight].getBestCmap(), name
        assert tab.evaluate("document.fonts.check('900 16px \"Font Awesome 6 Free\"')")


def test_formulas_are_set_in_fonts_of_the_book(browser, address):
    url = f"{address}chapters/reference/notation.html"
    with opened(browser, url) as (tab, faults):
        tab.wait_for_selector("mjx-container")
        assert tab.evaluate("document.fonts.check('16px MJXTEX')")
        assert tab.locator("mjx-assistive-mml").count() > 10  # for screen readers
        assert not faults


def test_the_keyboard_reaches_a_formula_that_scrolls_and_no_other(browser, address):
    url = f"{address}chapters/reference/notation.html"
    with opened(browser, url) as (tab, _faults):
        tab.wait_for_selector("mjx-container[display=true]")
        for width, some in (1440, False), (200, True), (1440, False):
            tab.set_viewport_size({"width": width, "height": 900})
            tab.evaluate(FRAMES)
            formulas = tab.locator("mjx-container[display=true]").evaluate_all(
                "all => all.map(e => [e.scrollWidth > e.clientWidth, e.tabIndex === 0])"
            )
            assert any(scrolls for scrolls, _ in formulas) == some
            assert all(scrolls == reached for scrolls, reached in formulas)


def test_nothing_moves_for_whoever_wants_no_motion(browser, address):
    with opened(browser, f"{address}chapters/week1/tokens.html") as (tab, _faults):
        running = []
        for motion in ("no-preference", "reduce"):
            tab.emulate_media(reduced_motion=motion)
            for opens in (False, True):
                tab.locator("details").evaluate_all(
                    "(all, opens) => all.forEach(e => e.open = opens)", opens
                )
            running.append(tab.evaluate("document.getAnimations().length"))
        assert running[0] > 0  # the theme's own, as what is folded opens
        assert running[1] == 0


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("perplexity", "glossary"),
        ("교차 엔트로피", "glossary"),
        ("batch", "notation"),
        ("BigramModel", "api"),
        ("windows", "api"),
    ],
)
def test_search_finds_words_in_both_languages_and_names_of_the_code(
    browser, address, words, page
):
    url = f"{address}search.html?q={words.replace(' ', '+')}"
    with opened(browser, url) as (tab, faults):
        tab.wait_for_selector("#search-results li a", timeout=10_000)
        links = tab.eval_on_selector_all(
            "#search-results li a", "all => all.map(a => a.href)"
        )
        assert any(f"{page}.html" in link for link in links)
        assert not faults


def test_the_theme_can_be_switched(browser, address):
    with opened(browser, f"{address}index.html") as (tab, _faults):
        before = tab.evaluate("document.documentElement.dataset.theme")
        button = tab.locator("button.theme-switch-button:visible").first
        seen = {before}
        for _ in range(3):  # light, dark, and as the machine has it
            button.click()
            seen.add(tab.evaluate("document.documentElement.dataset.theme"))
        assert seen == {"light", "dark"}


def test_a_dark_page_is_printed_light(browser, address):
    with opened(browser, f"{address}index.html", theme="dark") as (tab, _faults):
        themes = [
            tab.evaluate(
                "name => { if (name) dispatchEvent(new Event(name));"
                " return document.documentElement.dataset.theme }",
                name,
            )
            for name in (None, "beforeprint", "afterprint")
        ]
        assert themes == ["dark", "light", "dark"]


@pytest.mark.parametrize("folded", ["sd-dropdown", "hide", "fs-verdict"])
def test_what_is_folded_opens_and_closes_by_keyboard(browser, address, folded):
    """A solution, the code of a figure, a hint."""
    url = f"{address}chapters/week1/tokens.html"
    with opened(browser, url) as (tab, _faults):
        details = tab.locator(f"details.{folded}, .{folded} details").first
        inside = details.locator("> :not(summary)").first
        assert not inside.is_visible()
        details.locator("> summary").focus()
        for key, is_open in ("Enter", True), ("Enter", False), ("Space", True):
            tab.keyboard.press(key)
            assert inside.is_visible() == is_open
