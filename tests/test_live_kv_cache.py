"""The figure of the cache: a triangle beside a diagonal, moved as it is drawn."""

from __future__ import annotations

import pytest
import torch
from playwright.sync_api import Locator

from course.live.kv_cache import kv_cache
from tests.browser import alive

TOKENS = ("Ada", "hid", "a", "<b>", "&", "left", ".")


def shown(figure: Locator, kind: str, look: str) -> torch.Tensor:
    """(steps, tokens): which cells of a look can be seen, by where they stand."""
    places = figure.locator(f".fs-{kind} rect.fs-{look}").evaluate_all(
        """all => all.filter(e => e.checkVisibility({visibilityProperty: true}))
             .map(e => [e.y.baseVal.value, e.x.baseVal.value])"""
    )
    cells = torch.zeros(7, 7, dtype=torch.bool)
    for y, x in places:
        cells[int(y - 19) // 18, int(x - 27) // 34] = True
    return cells


@pytest.mark.parametrize("step", range(1, 8))
def test_a_triangle_is_computed_without_a_cache_and_a_diagonal_with_it(browser, step):
    lower = torch.ones(7, 7, dtype=torch.bool).tril()
    lower[step:] = False  # steps that have not come yet
    diagonal = torch.eye(7, dtype=torch.bool) & lower
    with alive(browser, kv_cache(TOKENS)) as figure:
        figure.locator("input").fill(str(step))
        assert torch.equal(shown(figure, "whole", "computed"), lower)
        assert not shown(figure, "whole", "known").any()
        assert torch.equal(shown(figure, "kept", "computed"), diagonal)
        assert torch.equal(shown(figure, "kept", "known"), lower & ~diagonal)
        said = figure.locator(".fs-says").inner_text()
        assert said.startswith(f"Step {step}, after “{TOKENS[step - 1]}”: {step} comp")
        assert said.endswith(f"So far {int(lower.sum())} and {int(diagonal.sum())}.")


@pytest.mark.parametrize("step", [1, 4, 7])
def test_the_script_draws_what_python_draws(browser, step):
    def state(figure: Locator) -> tuple:
        looks = figure.locator("g, rect, text").evaluate_all(
            """all => all.map(e => [e.getAttribute("x"), e.getAttribute("y"),
                 ...["fill", "stroke", "visibility", "fontWeight"].map(
                    name => getComputedStyle(e)[name])])"""
        )
        label = figure.locator("input").get_attribute("aria-valuetext")
        return looks, label, figure.locator(".fs-says").inner_text()

    with alive(browser, kv_cache(TOKENS, step)) as figure:
        wanted = state(figure)
    with alive(browser, kv_cache(TOKENS, 2)) as figure:
        assert state(figure) != wanted
        figure.locator("input").fill(str(step))
        assert state(figure) == wanted


def test_without_a_script_it_stands_at_its_step(browser):
    with alive(browser, kv_cache(TOKENS), java_script_enabled=False) as figure:
        assert not figure.locator("input").is_visible()
        assert figure.locator(".fs-says").inner_text().endswith("So far 28 and 7.")


def test_it_fits_a_phone_and_the_keyboard_moves_it(browser):
    with alive(browser, kv_cache(TOKENS)) as figure:
        tab = figure.page
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        assert figure.locator("input").bounding_box()["height"] >= 36
        tab.keyboard.press("Tab")
        tab.keyboard.press("Home")
        assert "after “Ada”" in figure.locator(".fs-says").inner_text()


@pytest.mark.parametrize(("tokens", "step"), [((), None), (TOKENS, 8), (TOKENS, 0)])
def test_a_step_that_is_not_there_is_refused(tokens, step):
    with pytest.raises(ValueError, match=f"of a text of {len(tokens)} tokens"):
        kv_cache(tokens, step)
