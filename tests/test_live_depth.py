"""The figure of sizes through depth: its curves, and what the slider does to them."""

from __future__ import annotations

import math
import re

import pytest
from playwright.sync_api import Locator

from course.live.depth import depth
from tests.browser import alive

SIZES = {
    "none": {1: [1.0, 2.0, 4.0], 3: [1.0, 100.0, 10000.0]},
    "norm": {1: [1.0, 1.5, 2.0], 3: [1.0, 1.0, 1.0]},
}


def heights(points: str) -> list[float]:
    return [float(pair.split(",")[1]) for pair in points.split()]


@pytest.fixture
def figure(browser):
    with alive(browser, depth(SIZES)) as shown:
        yield shown


def curves(figure: Locator) -> list[list[float]]:
    return [
        heights(p)
        for p in figure.locator("polyline").evaluate_all(
            "all => all.map(e => e.getAttribute('points'))"
        )
    ]


def test_heights_are_logarithms(figure):
    none, norm = curves(figure)
    assert norm[0] == norm[1] == norm[2] == none[0]
    # From 1 to 100 to 10,000: two equal steps, all of the plot's height of 180.
    assert none[0] - none[1] == pytest.approx(90, abs=0.11)
    assert none[1] - none[2] == pytest.approx(90, abs=0.11)


def test_the_slider_moves_the_curves_and_says_so(figure):
    slider = figure.locator("input")
    slider.press("ArrowLeft")
    none, norm = curves(figure)
    per_power = 180 / 4
    assert none[0] - none[2] == pytest.approx(per_power * math.log10(4), abs=0.11)
    assert norm[0] - norm[2] == pytest.approx(per_power * math.log10(2), abs=0.11)
    assert figure.locator("li b").all_inner_texts() == ["4.0", "2.0"]
    assert figure.locator(".fs-scale").inner_text() == "1×"
    said = figure.locator(".fs-says").text_content()
    assert said == "Weights 1 times as large. At the end: none 4.0, norm 2.0."
    slider.press("ArrowRight")
    assert figure.locator("li b").all_inner_texts() == ["10,000", "1.0"]


def test_the_powers_on_the_axis_stand_at_their_heights():
    html = depth(SIZES).html
    marks = re.findall(
        r'<text x="35" y="([\d.]+)" text-anchor="end">([^<]+)</text>', html
    )
    assert [name for _, name in marks] == ["1", "10", "100", "1,000", "10⁴"]
    first, last = float(marks[0][0]), float(marks[-1][0])
    assert first - last == pytest.approx(180, abs=0.11)


@pytest.mark.parametrize(
    "other", [{1: [1.0, 2.0], 3: [1.0, 1.0]}, {1: [1.0, 2.0, 3.0]}]
)
def test_curves_that_do_not_match_are_refused(other):
    with pytest.raises(ValueError, match="same length for each scale"):
        depth(SIZES | {"other": other})
