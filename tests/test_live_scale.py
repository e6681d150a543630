"""The scale figure: its numbers are torch's, and it moves as it was drawn."""

from __future__ import annotations

import math
import re

import pytest
import torch
from playwright.sync_api import Locator
from torch.testing import assert_close

from course.live.scale import TEMPERATURES, WIDTHS, scale, scores
from tests.browser import alive


def move(figure: Locator, kind: str, at: int) -> None:
    figure.locator(kind).evaluate(
        """(slider, at) => {
          slider.value = at
          slider.dispatchEvent(new Event("input"))
        }""",
        at,
    )


def state(figure: Locator) -> list:
    """All that is shown, each length in whole tenths of a pixel."""
    return figure.evaluate(
        """figure => [...figure.querySelectorAll(".fs-panel b, .fs-weight, .fs-says")]
          .map((text) => text.textContent)
          .concat([...figure.querySelectorAll(".fs-spread")].map((path) =>
            path.getAttribute("d")))
          .concat([...figure.querySelectorAll("rect")].map((bar) =>
            Number(bar.getAttribute("height")).toFixed(1)))"""
    )


def test_the_spread_of_the_products_is_the_root_of_the_width():
    _, spread = scores()
    for width, products in zip(WIDTHS, spread, strict=True):
        deviation = torch.tensor(products).std().item()
        # 400 of them: the deviation of a deviation is under 5 percent of it.
        assert abs(deviation / math.sqrt(width) - 1) < 0.15


def test_products_are_of_rows_that_were_cut():
    rows, spread = scores()
    assert {len(row) for row in rows} == {8}
    assert {len(row) for row in spread} == {400}
    generator = torch.Generator().manual_seed(10)
    kind = {"generator": generator, "dtype": torch.float64}
    query, keys = torch.randn(1, 1024, **kind), torch.randn(8, 1024, **kind)
    for width, row in zip(WIDTHS, rows, strict=True):
        products = keys[:, :width] @ query[0, :width]
        assert_close(torch.tensor(row).double(), products, rtol=0, atol=6e-4)


def test_the_weights_in_the_browser_are_torchs(browser):
    rows, _ = scores()
    with alive(browser, scale()) as figure:
        for row in rows:
            for divisor in (0.5, 1, math.sqrt(len(row)), 32):
                got = figure.evaluate("(f, [r, d]) => f.softmax(r, d)", [row, divisor])
                wanted = torch.softmax(torch.tensor(row).double() / divisor, -1)
                assert_close(torch.tensor(got).double(), wanted)


@pytest.mark.parametrize(("width", "temperature"), [(1, 0.5), (16, 4), (1024, 2)])
def test_the_script_draws_what_python_draws(browser, width, temperature):
    with alive(browser, scale(width, temperature)) as figure:
        wanted = state(figure)
    with alive(browser, scale()) as figure:
        assert state(figure) != wanted
        move(figure, ".fs-width", WIDTHS.index(width))
        move(figure, ".fs-heat", TEMPERATURES.index(temperature))
        assert state(figure) == wanted


def test_what_can_be_learned_is_the_largest_entry_of_torchs_jacobian(browser):
    rows, _ = scores()
    with alive(browser, scale()) as figure:
        for at, width in enumerate(WIDTHS):
            move(figure, ".fs-width", at)
            scaled = torch.tensor(rows[at]).double() / math.sqrt(width)
            jacobian = torch.autograd.functional.jacobian(
                lambda x: torch.softmax(x, -1), scaled
            )
            shown = figure.locator(".fs-right .fs-learns b").inner_text()
            assert abs(float(shown) - jacobian.abs().max().item()) < 6e-4


def test_at_the_root_of_the_width_both_sides_agree(browser):
    with alive(browser, scale(64, 8)) as figure:
        assert "√D is a temperature, here 8" in figure.locator(".fs-says").inner_text()
        left, right = (
            figure.locator(f"{side} .fs-spread").get_attribute("d")
            for side in (".fs-left", ".fs-right")
        )
        assert left == right


def test_what_the_histogram_has_no_room_for_is_counted(browser):
    _, spread = scores()
    far = torch.tensor(spread[-1], dtype=torch.float64) / 0.5
    nearest = (far + 0.5).floor()
    beyond = int(nearest.abs().gt(40).sum())
    assert beyond > 100
    with alive(browser, scale(1024, 0.5)) as figure:
        words = figure.locator(".fs-left .fs-pairs").text_content()
        assert words == f"scores of 400 random pairs, {beyond} beyond ±40"
        within = figure.locator(".fs-left .fs-spread").get_attribute("d")
        shares = nearest[nearest.abs() <= 40].unique(return_counts=True)[1] / 400
        bars = [float(height) for height in re.findall(r"v-([\d.]+)", within)]
        assert bars == pytest.approx((60 * shares / 0.5).tolist(), abs=0.051)
    with alive(browser, scale()) as figure:
        for slider, steps in (
            (figure.locator(".fs-width"), 2),
            (
                figure.locator(".fs-heat"),
                -1,
            ),
        ):
            for _ in range(abs(steps)):
                slider.press("ArrowRight" if steps > 0 else "ArrowLeft")
        assert figure.locator(".fs-left .fs-pairs").text_content() == words
        assert figure.locator(".fs-left .fs-spread").get_attribute("d") == within
        right = figure.locator(".fs-right .fs-pairs").text_content()
        assert right == "scores of 400 random pairs"


def test_the_keyboard_moves_it_and_says_so(browser):
    with alive(browser, scale()) as figure:
        says = figure.locator(".fs-says").inner_text()
        figure.locator(".fs-width").press("ArrowRight")
        assert figure.locator(".fs-says").inner_text() != says
        assert figure.locator(".fs-width").get_attribute("aria-valuetext") == "256"


def test_a_phone_has_room_for_it(browser):
    with alive(browser, scale(1024, 0.5)) as figure:
        assert figure.evaluate("() => document.body.scrollWidth") <= 390
        for text in figure.locator("svg text").all():
            assert text.evaluate("t => t.getBoundingClientRect().height") >= 11
        for slider in figure.locator("input").all():
            assert slider.bounding_box()["height"] >= 36


def test_without_a_script_the_picture_stands(browser):
    with alive(browser, scale(), java_script_enabled=False) as figure:
        assert figure.locator(".fs-panel").count() == 2
        assert not figure.locator("input").first.is_visible()
        assert "D = 64" in figure.locator(".fs-says").inner_text()
