"""The mask figure: its numbers are torch's, and what may not notice does not."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from playwright.sync_api import Locator
from torch.testing import assert_close

from course.live.mask import KINDS, mask, scores_of
from tests.browser import alive

TOKENS = ["She", "hid", "the", "key", "under", "a", "box"]


def move(figure: Locator, slider: str, value: float) -> None:
    figure.locator(slider).evaluate(
        """(slider, value) => {
          slider.value = value
          slider.dispatchEvent(new Event("input"))
        }""",
        value,
    )


def state(figure: Locator) -> list:
    """All that is shown: words, weights, colours, marks."""
    return figure.evaluate(
        """figure => [...figure.querySelectorAll("b, svg text, .fs-says")]
          .map((text) => text.textContent)
          .concat([...figure.querySelectorAll(".fs-row")].map((row) =>
            row.classList.value))
          .concat([...figure.querySelectorAll("button")].map((b) => b.ariaPressed))
          .concat([...figure.querySelectorAll("rect")].map((square) =>
            square.style.getPropertyValue("--w")))"""
    )


def by_torch(kind: str, change: float) -> torch.Tensor:
    """Weights out of torch's attention, whose mask comes before the softmax."""
    scores = torch.tensor(scores_of(7, 3), dtype=torch.float64)
    scores = scores + change * F.one_hot(torch.tensor(6), 7)
    unit = torch.eye(7, dtype=torch.float64)
    attend = F.scaled_dot_product_attention
    weights = attend(
        scores[None], unit[None], unit[None], is_causal=kind == "before", scale=1.0
    )[0]
    return weights.tril() if kind == "after" else weights


@pytest.mark.parametrize("kind", KINDS)
def test_the_weights_in_the_browser_are_torchs(browser, kind):
    with alive(browser, mask(TOKENS)) as figure:
        for change in (0.0, -3.0, 2.5):
            got = figure.evaluate("(f, [k, c]) => f.weightsOf(k, c)", [kind, change])
            assert_close(torch.tensor(got, dtype=torch.float64), by_torch(kind, change))


@pytest.mark.parametrize(
    ("kind", "row", "change"), [("none", 0, 0), ("before", 6, 1.5), ("after", 5, -3)]
)
def test_the_script_draws_what_python_draws(browser, kind, row, change):
    with alive(browser, mask(TOKENS, kind, row, change)) as figure:
        wanted = state(figure)
    with alive(browser, mask(TOKENS)) as figure:
        assert state(figure) != wanted
        figure.locator(f"[data-kind={kind}]").click()
        move(figure, ".fs-pick", row)
        move(figure, ".fs-change", change)
        assert state(figure) == wanted


@pytest.mark.parametrize(
    ("kind", "noticed"), [("none", 6), ("after", 6), ("before", 0)]
)
def test_only_a_mask_in_time_keeps_the_change_from_the_rows_before(
    browser, kind, noticed
):
    with alive(browser, mask(TOKENS)) as figure:
        figure.locator(f"[data-kind={kind}]").click()
        assert figure.locator(".fs-leak").count() == 0
        move(figure, ".fs-change", 2)
        assert figure.locator(".fs-leak").count() == noticed
        says = figure.locator(".fs-says").inner_text()
        assert f"Of the 6 rows before the last, {noticed} noticed" in says


def test_a_mask_in_time_leaves_sums_of_one_and_a_late_one_does_not(browser):
    with alive(browser, mask(TOKENS)) as figure:
        late = [float(text) for text in figure.locator(".fs-sum").all_text_contents()]
        assert late == [round(w, 2) for w in by_torch("after", 0).sum(-1).tolist()]
        assert max(late[:-1]) < 1
        figure.locator("[data-kind=before]").click()
        assert figure.locator(".fs-sum").all_text_contents() == ["1.00"] * 7


def test_the_keyboard_and_the_mouse_pick_a_row(browser):
    with alive(browser, mask(TOKENS)) as figure:
        figure.locator(".fs-pick").press("ArrowRight")
        assert "“key”" in figure.locator(".fs-says").inner_text()
        assert figure.locator(".fs-pick").get_attribute("aria-valuetext") == "key"
        figure.locator(".fs-row").nth(5).locator("rect").first.click()
        assert "“a”" in figure.locator(".fs-says").inner_text()
        assert figure.locator(".fs-pick").input_value() == "5"


def test_a_phone_has_room_for_it(browser):
    with alive(browser, mask(TOKENS, change=-1.5)) as figure:
        assert figure.evaluate("() => document.body.scrollWidth") <= 390
        for text in figure.locator("svg text").all():
            if text.text_content():
                assert text.evaluate("t => t.getBoundingClientRect().height") >= 11
        for control in figure.locator("input, button").all():
            assert control.bounding_box()["height"] >= 36


def test_without_a_script_the_picture_stands(browser):
    with alive(browser, mask(TOKENS), java_script_enabled=False) as figure:
        assert figure.locator("svg").is_visible()
        assert not figure.locator("button").first.is_visible()
        assert "sum to 0." in figure.locator(".fs-says").inner_text()


@pytest.mark.parametrize("length", [1, 8])
def test_too_few_or_too_many_tokens_are_refused(length):
    with pytest.raises(ValueError, match=f"two to seven tokens, got {length}"):
        mask(["a"] * length)
