"""The figure of sizes: its sums are the model's, and it moves as it was drawn."""

from __future__ import annotations

import itertools

import pytest
import torch
from playwright.sync_api import Locator

from course.live.gpt_sizes import MODELS, PARTS, STOPS, flops, gpt_sizes, parameters
from solutions.gpt_block import GPT, GPTConfig, forward_flops, gpt_parameters
from tests.browser import alive

SETTINGS = list(
    itertools.product(
        STOPS["width"], (1, 12, 96), STOPS["vocabulary"], STOPS["context"][::3]
    )
)


def config(sizes) -> GPTConfig:
    width, layers, vocabulary, context = sizes
    return GPTConfig(vocabulary, context, n_embd=width, n_layer=layers, n_head=1)


def move(figure: Locator, sizes) -> None:
    places = [s.index(v) for s, v in zip(STOPS.values(), sizes, strict=True)]
    figure.evaluate(
        """(figure, places) => figure.querySelectorAll("input").forEach((slider, n) => {
          slider.value = places[n]
          slider.dispatchEvent(new Event("input"))
        })""",
        places,
    )


def state(figure: Locator) -> list:
    return figure.evaluate(
        """figure => [...figure.querySelectorAll("b, td, th, .fs-says")]
          .map(one => one.textContent)
          .concat([...figure.querySelectorAll(".fs-strip span")].map(one =>
            Math.round(10 * parseFloat(one.style.width))))
          .concat([...figure.querySelectorAll("button")].map(one =>
            one.getAttribute("aria-pressed")))
          .concat([...figure.querySelectorAll("input")].map(one =>
            one.value + one.getAttribute("aria-valuetext")))"""
    )


def test_the_parts_sum_to_what_the_chapter_counts():
    for sizes in SETTINGS:
        assert sum(parameters(*sizes)) == gpt_parameters(config(sizes))
        assert sum(flops(*sizes)) == forward_flops(config(sizes), sizes[3])


def test_the_parts_are_those_of_a_model_that_was_built():
    sizes = (64, 2, 256, 176)
    with torch.device("meta"):
        model = GPT(config(sizes))
    built = dict.fromkeys(PARTS["parameters"], 0)
    for name, value in model.named_parameters():
        part = next(
            part
            for mark, part in {
                "token_embedding": "token table",
                "position_embedding": "position table",
                "norm": "norms",
                "feed_forward.": "feed-forward layers",
                "attention.": "attention",
            }.items()
            if mark in name
        )
        built[part] += value.numel()
    assert list(built.values()) == parameters(*sizes)


def test_the_sums_in_the_browser_are_right_to_the_last_one(browser):
    with alive(browser, gpt_sizes()) as figure:
        got = figure.evaluate("(f, all) => all.map(s => f.count(s))", SETTINGS)
    for sizes, (numbers, work) in zip(SETTINGS, got, strict=True):
        assert (numbers, work) == (parameters(*sizes), flops(*sizes))


def test_what_is_shown_is_counted_for_the_sizes_that_are_shown(browser):
    with alive(browser, gpt_sizes()) as figure:
        for sizes in SETTINGS[5::97]:
            move(figure, sizes)
            said = figure.locator(".fs-says").inner_text()
            assert f"{gpt_parameters(config(sizes)):,} parameters" in said
            assert f"{forward_flops(config(sizes), sizes[3]):,} FLOPs" in said
            shown = figure.locator("td:nth-child(2)").all_inner_texts()
            counts = parameters(*sizes) + flops(*sizes)
            assert shown == [f"{count:,}" for count in counts]


@pytest.mark.parametrize("model", ["this chapter's", "small", "gpt2-xl"])
def test_a_button_and_the_sliders_show_what_python_draws(browser, model):
    with alive(browser, gpt_sizes(model)) as figure:
        wanted = state(figure)
    with alive(browser, gpt_sizes("GPT-3's sizes")) as figure:
        assert state(figure) != wanted
        figure.get_by_role("button", name=model, exact=True).click()
        assert state(figure) == wanted
    with alive(browser, gpt_sizes("GPT-3's sizes")) as figure:
        move(figure, MODELS[model])
        assert state(figure) == wanted


def test_every_model_has_sizes_that_the_sliders_have(browser):
    for sizes in MODELS.values():
        for stops, size in zip(STOPS.values(), sizes, strict=True):
            assert size in stops
    with alive(browser, gpt_sizes()) as figure:
        pressed = figure.locator("[aria-pressed=true]")
        assert pressed.all_inner_texts() == ["gpt2"]
        assert "124,439,808 parameters" in figure.locator(".fs-says").inner_text()
        figure.locator("input").first.press("ArrowRight")
        assert pressed.count() == 0


def test_a_phone_has_room_for_it(browser):
    with alive(browser, gpt_sizes("GPT-3's sizes")) as figure:
        assert figure.evaluate("() => document.body.scrollWidth") <= 390
        for control in figure.locator("input, button").all():
            assert control.bounding_box()["height"] >= 36


def test_without_a_script_the_picture_stands(browser):
    with alive(browser, gpt_sizes(), java_script_enabled=False) as figure:
        assert figure.locator(".fs-strip").count() == 2
        assert figure.locator("table").first.is_visible()
        assert not figure.locator("input").first.is_visible()
        assert not figure.locator("button").first.is_visible()


def test_a_model_that_does_not_exist_is_refused_in_one_line():
    with pytest.raises(ValueError, match="no model 'gpt5'; there are") as caught:
        gpt_sizes("gpt5")
    assert "\n" not in str(caught.value)
