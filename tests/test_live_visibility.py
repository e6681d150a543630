"""GPT beside BERT: whom a position sees, and what it is asked to predict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from playwright.sync_api import Page

from course.live.visibility import gaps, visibility
from tests.browser import alive

TOKENS = ("Ada", "hid", "a", "<b>", "&", "left", ".")


@contextmanager
def page(browser, **options) -> Iterator[Page]:
    with alive(browser, visibility(TOKENS), **options) as figure:
        yield figure.page


def choose(tab: Page, position: int) -> None:
    tab.locator("input").fill(str(position + 1))


def columns(tab: Page, kind: str) -> list[tuple[str, str, bool, bool]]:
    """Each token as read: the word, what is to be predicted there, seen, chosen."""
    found = tab.locator(f".fs-{kind} .fs-token").evaluate_all(
        """all => all.map(e => [...[...e.children].map(c => c.textContent),
             e.classList.contains("fs-seen"), e.classList.contains("fs-chosen")])"""
    )
    return [tuple(column) for column in found]


def says(tab: Page, kind: str) -> str:
    return tab.locator(f".fs-{kind} .fs-here").inner_text()


MASKS = {
    "gpt": torch.tril(torch.ones(7, 7, dtype=torch.bool)),
    "bert": torch.ones(7, 7, dtype=torch.bool),
}


@pytest.mark.parametrize("kind", MASKS)
def test_a_position_sees_what_its_mask_allows(browser, kind):
    with page(browser) as tab:
        cells = tab.locator(f".fs-{kind} .fs-row").evaluate_all(
            """rows => rows.map(row => [...row.querySelectorAll("rect:not(.fs-frame)")]
                 .map(e => getComputedStyle(e).fill !== "none"))"""
        )
        assert cells == MASKS[kind].tolist()
        # The squares stand where their row and their column are.
        places = tab.locator(f".fs-{kind} .fs-row").evaluate_all(
            """rows => rows.map(row => [...row.querySelectorAll("rect:not(.fs-frame)")]
                 .map(e => [e.x.baseVal.value, e.y.baseVal.value]))"""
        )
        assert places == [[[66 + 15 * s, 15 * t] for s in range(7)] for t in range(7)]
        for t in range(7):
            choose(tab, t)
            seen = [column[2] for column in columns(tab, kind)]
            assert seen == MASKS[kind][t].tolist()
            chosen = [column[3] for column in columns(tab, kind)]
            assert chosen == [s == t for s in range(7)]
            rows = tab.locator(f".fs-{kind} .fs-row").evaluate_all(
                "all => all.map(e => e.classList.contains('fs-chosen'))"
            )
            assert rows == chosen
            number = {"gpt": f"sees {t + 1} of 7", "bert": "sees all 7"}[kind]
            assert number in says(tab, kind)


def test_gpt_predicts_the_next_token_everywhere(browser):
    with page(browser) as tab:
        predicted = [(word, target) for word, target, *_ in columns(tab, "gpt")]
        assert predicted == list(zip(TOKENS, (*TOKENS[1:], ""), strict=True))
        lessons = tab.locator(".fs-gpt p").last.inner_text()
        assert lessons == "One text gives 6 predictions."
        for t, following in enumerate(TOKENS[1:]):
            choose(tab, t)
            assert says(tab, "gpt").endswith(f"predict the next one: “{following}”.")
        choose(tab, 6)
        assert says(tab, "gpt").endswith("there is no next token to predict.")


def test_bert_predicts_the_gaps_and_nothing_else(browser):
    generator = torch.Generator().manual_seed(0)
    expected = [torch.randperm(7, generator=generator)[:1].item() for _ in range(20)]
    with page(browser) as tab:
        for gap in [*expected, expected[0]]:  # after the last comes the first
            words = [column[0] for column in columns(tab, "bert")]
            targets = [column[1] for column in columns(tab, "bert")]
            assert words == [*TOKENS[:gap], "[MASK]", *TOKENS[gap + 1 :]]
            assert targets == [""] * gap + [TOKENS[gap]] + [""] * (6 - gap)
            for t in range(7):
                choose(tab, t)
                asked = f"“{TOKENS[t]}” sees all 7 tokens. It is no gap: nothing is"
                if t == gap:
                    asked = "The gap sees all 7 tokens, and has to fill itself in: "
                    asked += f"“{TOKENS[t]}”."
                assert says(tab, "bert").startswith(asked)
            tab.get_by_role("button", name="Draw other gaps").click()
        lessons = tab.locator(".fs-bert p").last.inner_text()
        assert lessons == "One text gives 1 prediction, and in another pass others."


@pytest.mark.parametrize(
    ("length", "count"),
    [(2, 1), (7, 1), (11, 2), (20, 3), (60, 9)],  # 15 %: 0.3, 1.05, 1.65, 3, 9
)
def test_fifteen_percent_are_hidden_and_every_place_comes(length, count):
    drawn = gaps(length, seed=3, draws=2000)
    assert drawn == gaps(length, seed=3, draws=2000)
    assert drawn != gaps(length, seed=4, draws=2000)
    assert {len(set(hidden)) for hidden in drawn} == {count}
    times = Counter(t for hidden in drawn for t in hidden)
    fair = 2000 * count / length
    for t in range(length):
        assert abs(times[t] - fair) < 5 * fair**0.5, t


def test_what_changed_is_said(browser):
    with page(browser) as tab:
        heard = tab.locator(".fs-says")
        assert heard.get_attribute("role") == "status"
        choose(tab, 1)
        assert heard.text_content() == (
            f"GPT: “hid” sees 2 of 7 tokens, and has to predict the next one: “a”. "
            f"BERT: {says(tab, 'bert')}"
        )
        assert tab.locator("input").get_attribute("aria-valuetext") == "2, hid"
        tab.get_by_role("button", name="Draw other gaps").click()
        place = 1 + [column[0] for column in columns(tab, "bert")].index("[MASK]")
        assert heard.text_content() == f"BERT's gaps are now at {place}."


def test_the_button_stands_with_what_it_changes(browser):
    with page(browser) as tab:
        button = tab.locator(".fs-bert").get_by_role("button", name="Draw other gaps")
        assert tab.get_by_role("button").count() == button.count() == 1
        top = button.bounding_box()["y"]
        gpt = tab.locator(".fs-gpt").bounding_box()
        assert gpt["y"] + gpt["height"] <= top
        assert top < tab.locator(".fs-bert svg").bounding_box()["y"]


def test_how_to_read_it_stands_above_it(browser):
    reading = "Each row marks the tokens that one position sees."
    with page(browser) as tab:
        how = tab.locator(".fs-how")
        assert how.inner_text() == f"{reading} Tap a row or a word."
        assert how.bounding_box()["y"] < tab.locator("input").bounding_box()["y"]
    with page(browser, java_script_enabled=False) as tab:  # nothing answers a tap
        assert tab.locator(".fs-how").inner_text().strip() == reading


def test_without_a_script_the_first_state_is_the_same(browser):
    with page(browser, java_script_enabled=False) as tab:
        assert not tab.locator("input").is_visible()
        assert says(tab, "gpt").startswith("“<b>” sees 4 of 7")
    with page(browser) as tab:
        first = tab.locator(".fs-panels").inner_html()
        choose(tab, 0)
        assert tab.locator(".fs-panels").inner_html() != first
        choose(tab, 3)
        assert tab.locator(".fs-panels").inner_html() == first


def test_keyboard_and_mouse_reach_every_position(browser):
    with page(browser) as tab:
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.type") == "range"
        for key, position in [("Home", 0), ("ArrowRight", 1), ("End", 6)]:
            tab.keyboard.press(key)
            assert columns(tab, "gpt")[position][3]
        tab.keyboard.press("Tab")
        before = columns(tab, "bert")
        tab.keyboard.press("Enter")
        assert columns(tab, "bert") != before
        tab.locator(".fs-bert .fs-token").nth(2).click()
        assert columns(tab, "gpt")[2][3]
        tab.locator(".fs-gpt .fs-row").nth(5).locator("rect").nth(3).click()
        assert columns(tab, "bert")[5][3]
        assert tab.locator("input").input_value() == "6"


def test_it_fits_a_phone(browser):
    with page(browser) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        for part in ("input", "button"):
            assert tab.locator(part).bounding_box()["height"] >= 36


def test_one_token_is_no_sentence():
    with pytest.raises(ValueError, match="expected two tokens or more, got 1"):
        visibility(["Ada"])
