"""The attention explorer: real weights, and a figure that moves as it was drawn."""

from __future__ import annotations

import pytest
import torch
from playwright.sync_api import Locator

from course.live.attention_explorer import attention_explorer
from tests.browser import alive

TOKENS = ["\n", "Mina", " hid", " <b>", " key", "."]


def weights() -> torch.Tensor:
    """(L, H, T, T): 2 layers, 3 heads, each row of the lower triangle sums to 1."""
    generator = torch.Generator().manual_seed(0)
    scores = 2 * torch.randn(2, 3, 6, 6, generator=generator)
    future = torch.ones(6, 6, dtype=torch.bool).triu(1)
    return scores.masked_fill(future, -torch.inf).softmax(-1)


def drawn(token=4, layer=0, head=0):
    return attention_explorer(TOKENS, weights(), token, layer, head)


def state(figure: Locator) -> dict:
    """All that is shown."""
    return figure.evaluate(
        """figure => ({
          shares: [...figure.querySelectorAll(".fs-text span")].map((span) =>
            parseInt(span.style.getPropertyValue("--share"))),
          chosen: [...figure.querySelectorAll(".fs-text span")].findIndex((span) =>
            span.className === "fs-chosen"),
          pressed: [...figure.querySelectorAll("[aria-pressed=true]")].map((button) =>
            button.getAttribute("aria-label")),
          slider: figure.querySelector("input").value,
          head: figure.querySelector(".fs-head").innerText.trim(),
          says: figure.querySelector(".fs-says").innerText})"""
    )


def percent(layer: int, head: int, token: int) -> list[int]:
    rounded = (100 * weights()[layer, head, token]).round().int().tolist()
    return [share if share >= 2 else 0 for share in rounded]


def test_every_choice_shows_the_weights_of_the_model(browser):
    with alive(browser, drawn()) as figure:
        for layer in range(2):
            for head in range(3):
                figure.get_by_label(f"layer {layer}, head {head}").click()
                for token in range(6):
                    figure.locator(".fs-text span").nth(token).click()
                    shown = state(figure)
                    assert shown["shares"] == percent(layer, head, token)
                    assert shown["chosen"] == token == int(shown["slider"])
                    assert shown["pressed"] == [f"layer {layer}, head {head}"]


def test_a_choice_looks_as_if_it_had_been_the_first(browser):
    with alive(browser, drawn(token=5, layer=1, head=2)) as figure:
        wanted = state(figure)
    assert wanted["head"] == "Layer 1, head 2."
    with alive(browser, drawn(token=1)) as figure:
        figure.get_by_label("layer 1, head 2").click()
        figure.locator(".fs-text span").nth(5).click()
        assert state(figure) == wanted


def test_the_keyboard_walks_through_the_text(browser):
    with alive(browser, drawn(token=4)) as figure:
        figure.locator("input").focus()
        figure.page.keyboard.press("ArrowLeft")
        shown = state(figure)
    assert shown["chosen"] == 3
    largest = max(range(4), key=lambda s: percent(0, 0, 3)[s])
    word = TOKENS[largest].strip() or "⏎"
    assert shown["says"].startswith(
        f"From “<b>” it looks at “{word}” ({percent(0, 0, 3)[largest]}%)"
    )


def test_without_scripts_the_picture_stands(browser):
    with alive(browser, drawn(token=4), java_script_enabled=False) as figure:
        assert figure.locator(".fs-text").is_visible()
        assert figure.locator(".fs-says").is_visible()
        assert not figure.locator("button").first.is_visible()
    share = percent(0, 0, 4)[4]
    assert f'--share:{share}%"> key<' in drawn(token=4).html
    assert "<b> key" not in drawn().html


def test_a_phone_shows_it_without_scrolling_sideways(browser):
    with alive(browser, drawn()) as figure:
        page = figure.page
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        for button in figure.locator("button").all():
            assert button.bounding_box()["height"] >= 36


def test_weights_that_do_not_fit_are_refused_in_one_line():
    with pytest.raises(ValueError, match=r"6 tokens need weights \(L, H, 6, 6\)"):
        attention_explorer(TOKENS, weights()[..., :5], token=0)
