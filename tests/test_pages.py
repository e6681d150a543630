"""The pages in a browser: wide and narrow, light and dark, with and without a mouse."""

from __future__ import annotations

import re

import pytest

from tests.browser import PAGES, opened

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
        for theme in ("light", "dark"):
            tab.evaluate("name => document.documentElement.dataset.theme = name", theme)
            ground, texts = tab.evaluate(SHOWN)
            assert (lightness(ground) > 0.5) == (theme == "light")
            for words, colour in texts:
                # White text may stand in a full hue; it is then the ground's colour.
                if colour != ground:
                    far = abs(lightness(colour) - lightness(ground))
                    assert far > 0.3, f"{theme}: {words!r} in {colour} on {ground}"


def test_formulas_are_set_in_fonts_of_the_book(browser, address):
    url = f"{address}chapters/reference/notation.html"
    with opened(browser, url) as (tab, faults):
        tab.wait_for_selector("mjx-container")
        assert tab.evaluate("document.fonts.check('16px MJXTEX')")
        assert tab.locator("mjx-assistive-mml").count() > 10  # for screen readers
        assert not faults


@pytest.mark.parametrize(
    ("words", "page"),
    [("perplexity", "glossary"), ("교차 엔트로피", "glossary"), ("batch", "notation")],
)
def test_search_finds_words_in_both_languages(browser, address, words, page):
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
