"""The RNN beside attention: counted on paper, read in the browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from playwright.sync_api import Page
from torch.utils.flop_counter import FlopCounterMode

from course.live.recurrence import products, recurrence
from tests.browser import alive

# On paper, with C = 8: 2 T C² for the RNN, 2 T² C for attention.
PAPER = {4: (512, 256), 8: (1024, 1024), 12: (1536, 2304)}
MOST = {4: "The RNN computed more products.", 12: "Attention computed more products."}


@contextmanager
def page(browser, **options) -> Iterator[Page]:
    with alive(browser, recurrence(), **options) as figure:
        yield figure.page


def states(tab: Page, kind: str) -> list[str]:
    """Of each box that is computed, in the picture that is seen."""
    boxes = tab.locator(f".fs-{kind} svg:not([hidden]) g[data-at]")
    return boxes.evaluate_all("all => all.map(e => e.getAttribute('class').slice(3))")


def counts(tab: Page, kind: str) -> list[int]:
    """Steps, of how many; products, of how many; and the formula, worked out."""
    words, formula = tab.locator(f".fs-{kind} .fs-count").inner_text().split("\n")
    numbers = [int(n.replace(",", "")) for n in re.findall(r"[\d,]*\d", words)]
    factors = formula.split("=")[1].replace("²", "**2").replace("·", "*")
    return [*numbers, eval(factors)]


def says(tab: Page) -> str:
    return tab.locator(".fs-says").inner_text()


@pytest.mark.parametrize("length", PAPER)
def test_the_rnn_waits_and_attention_does_not(browser, length):
    rnn, attention = PAPER[length]
    with page(browser) as tab:
        tab.get_by_role("button", name=f"T = {length}").click()
        tab.get_by_role("button", name="Start again").click()
        for step in range(length + 1):
            done = min(step, 1)
            assert counts(tab, "rnn") == [step, length, rnn // length * step, rnn, rnn]
            assert counts(tab, "attention") == [
                done,
                1,
                attention * done,
                attention,
                attention,
            ]
            here = ["now"] * (step > 0)
            waiting = ["wait"] * (length - step)
            assert states(tab, "rnn") == ["done"] * (step - 1) + here + waiting
            (state,) = set(states(tab, "attention"))
            assert state == ("wait", "now", "done")[min(step, 2)]
            assert len(states(tab, "attention")) == length
            if 1 < step < length:
                assert f"state {step}, which had to wait for state {step - 1}" in says(
                    tab
                )
            tab.get_by_role("button", name="Step").click()
        most = MOST.get(length, "Both computed as many products.")
        end = f"the RNN is done too, after {length} steps against 1. {most}"
        assert says(tab) == f"Step {length}: {end}"


@pytest.mark.parametrize(("length", "width"), [(3, 5), (7, 2)])
def test_products_are_those_that_pytorch_counts(length, width):
    """It counts two operations for each multiplication: it is followed by a sum."""
    x = torch.randn(length, width)
    square = torch.randn(width, width)
    with FlopCounterMode(display=False) as rnn:
        for row in x:
            row[None] @ square, row[None] @ square
    with FlopCounterMode(display=False) as attention:
        (x @ x.T) @ x
    assert products("rnn", length, width) == rnn.get_total_flops() / 2
    assert products("attention", length, width) == attention.get_total_flops() / 2


def test_arrows_lead_to_what_a_box_is_made_of():
    """From the token and the state before it; from every token up to its own."""
    html = recurrence(lengths=(4,)).html
    paths = re.findall(r'<path data-at="(\d)" class="fs-\w+" d="(.*?)"', html)
    rnn, attention = paths[:4], paths[4:]
    assert [(at, d.count("V"), d.count("h")) for at, d in rnn] == [
        ("1", 1, 0),
        ("2", 1, 1),
        ("3", 1, 1),
        ("4", 1, 1),
    ]
    assert [(at, d.count("L")) for at, d in attention] == [
        ("1", 1),
        ("1", 2),
        ("1", 3),
        ("1", 4),
    ]


def test_at_first_nothing_is_computed_with_or_without_a_script(browser):
    with page(browser, java_script_enabled=False) as tab:
        assert not tab.get_by_role("button").first.is_visible()
        assert tab.locator("svg:visible").count() == 2
        text = tab.locator(".fs-recurrence").inner_text()
        assert "0 of 8 steps, 0 of 1,024 products" in text
        assert "0 of 1 step, 0 of 1,024 products" in text
        assert says(tab) == (
            "Step 0: nothing is computed yet. 8 tokens wait, each a row of C = 8 "
            "numbers."
        )
        for kind in "rnn", "attention":
            assert states(tab, kind) == ["wait"] * 8
    with page(browser) as tab:
        first = tab.locator(".fs-recurrence").inner_html()
        tab.get_by_role("button", name="T = 8").click()
        assert tab.locator(".fs-recurrence").inner_html() == first
        tab.get_by_role("button", name="Step").click()
        assert states(tab, "attention") == ["now"] * 8
        assert states(tab, "rnn") == ["now"] + ["wait"] * 7


def test_nothing_moves_by_itself_and_playing_ends(browser):
    with page(browser) as tab:
        tab.clock.install()
        tab.set_content(f"<!doctype html><body>{recurrence().html}")
        tab.clock.run_for(60_000)
        assert counts(tab, "rnn")[0] == 0
        play = tab.locator(".fs-play")
        play.click()
        seen = [counts(tab, "rnn")[0]]
        for _ in range(4):
            tab.clock.run_for(700)
            seen.append(counts(tab, "rnn")[0])
        assert seen == [1, 2, 3, 4, 5]
        assert play.inner_text() == "Pause"
        play.click()
        tab.clock.run_for(60_000)
        assert (counts(tab, "rnn")[0], play.inner_text()) == (5, "Play")
        play.click()
        tab.clock.run_for(60_000)
        assert (counts(tab, "rnn")[0], play.inner_text()) == (8, "Play")
        play.click()  # from the end it begins again
        assert counts(tab, "rnn")[0] == 0
        tab.get_by_role("button", name="T = 4").click()
        tab.clock.run_for(60_000)
        assert (counts(tab, "rnn")[:2], play.inner_text()) == ([0, 4], "Play")


def test_who_wants_no_motion_gets_the_end_at_once(browser):
    with page(browser, reduced_motion="reduce") as tab:
        tab.get_by_role("button", name="Play").click()
        assert counts(tab, "rnn")[0] == 8
        assert tab.locator(".fs-play").inner_text() == "Play"


def test_the_keyboard_does_it_all(browser):
    with page(browser) as tab:
        names = []
        for _ in range(6):
            tab.keyboard.press("Tab")
            names.append(tab.evaluate("document.activeElement.textContent"))
            if names[-1] in ("T = 12", "Step"):
                tab.keyboard.press("Enter")
        assert names == ["T = 4", "T = 8", "T = 12", "Step", "Play", "Start again"]
        assert counts(tab, "rnn")[:2] == [1, 12]
        pressed = tab.locator("[aria-pressed=true]").all_inner_texts()
        assert pressed == ["T = 12"]


def test_it_fits_a_phone(browser):
    with page(browser) as tab:
        tab.get_by_role("button", name="T = 12").click()
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        for button in tab.get_by_role("button").all():
            assert button.bounding_box()["height"] >= 36
        scale = tab.evaluate(
            "document.querySelector('svg:not([hidden])').getScreenCTM().a"
        )
        assert 11 * scale >= 11
