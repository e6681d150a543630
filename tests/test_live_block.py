"""The figure of the block: its shapes and counts are the model's, and it answers."""

from __future__ import annotations

import pytest
import torch
from playwright.sync_api import Locator

from course.live.block import PARTS, TOTAL, C, block_shapes, details, in_words
from solutions.gpt_block import Block, gpt_parameters
from solutions.gpt_block import GPTConfig as Sizes
from solutions.multi_head import merge_heads
from tests.browser import alive

LETTERS = {"B": 2, "T": 5, "C": 12, "H": 3, "D": 4}


def state(figure: Locator) -> list:
    return figure.evaluate(
        """figure => [...figure.querySelectorAll("dd, .fs-says")]
          .map(one => one.textContent)
          .concat([...figure.querySelectorAll(".fs-chosen")].map(one =>
            one.dataset.part))
          .concat(figure.querySelector("input").value,
            figure.querySelector("input").getAttribute("aria-valuetext"))"""
    )


def size(shape: str) -> tuple[int, ...]:
    """(B, T, 3 C) -> (2, 5, 36)."""
    sizes = []
    for each in shape.strip("()").split(", "):
        *factor, letter = each.split()
        sizes.append(LETTERS[letter] * (int(factor[0]) if factor else 1))
    return tuple(sizes)


def test_the_shapes_are_those_of_a_block_that_runs():
    block, x = Block(12, 3, context=5), torch.randn(2, 5, 12)
    attention, layer = block.attention, block.feed_forward
    normed = block.attention_norm(x)
    weights = attention.weights(normed)
    heads = weights @ attention.project(normed)[2]
    written = attention.projection(merge_heads(heads))
    torch.testing.assert_close(written, attention(normed))
    expanded = layer.expand(block.feed_forward_norm(x + written))
    ran = [x, normed, attention.qkv(normed), weights, heads, written, x]
    ran += [x, expanded, expanded, layer.projection(expanded), x]
    assert [size(part.shape) for part in PARTS] == [tuple(y.shape) for y in ran]


def test_the_parameters_are_those_of_the_smallest_gpt2():
    with torch.device("meta"):
        block = Block(C, 12, context=8)
    modules = dict(block.named_children())
    made = {
        1: modules["attention_norm"],
        2: block.attention.qkv,
        5: block.attention.projection,
        7: modules["feed_forward_norm"],
        8: block.feed_forward.expand,
        10: block.feed_forward.projection,
    }
    for number, part in enumerate(PARTS):
        module = made.get(number)
        wanted = sum(p.numel() for p in module.parameters()) if module else 0
        assert part.parameters == wanted
        terms = part.count.replace("C²", f"* {C**2}").replace("C", f"* {C}")
        terms = terms.replace("+ *", "+ 1 *").removeprefix("* ")
        assert eval(terms) == wanted
    two, one = (gpt_parameters(Sizes(n_layer=layers)) for layers in (2, 1))
    assert sum(part.parameters for part in PARTS) == TOTAL == two - one


@pytest.mark.parametrize("chosen", range(len(PARTS)))
def test_a_click_and_the_slider_show_what_python_draws(browser, chosen):
    with alive(browser, block_shapes(chosen)) as figure:
        wanted = state(figure)
    assert wanted[:5] == [*details(PARTS[chosen]), in_words(PARTS[chosen])]
    with alive(browser, block_shapes((chosen + 3) % len(PARTS))) as figure:
        assert state(figure) != wanted
        figure.locator(f'[data-part="{chosen}"]').click()
        assert state(figure) == wanted
        slider = figure.locator("input")
        slider.press("Home")
        for _ in range(chosen):
            slider.press("ArrowRight")
        assert state(figure) == wanted


def test_a_phone_has_room_for_it(browser):
    with alive(browser, block_shapes()) as figure:
        assert figure.evaluate("() => document.body.scrollWidth") <= 390
        for text in figure.locator("svg text").all():
            assert text.evaluate("t => t.getBoundingClientRect().height") >= 11
        assert figure.locator("input").bounding_box()["height"] >= 36


def test_no_text_runs_out_of_its_box(browser):
    with alive(browser, block_shapes()) as figure:
        for n in range(len(PARTS)):
            figure.locator(f'[data-part="{n}"]').click()
            boxes = figure.locator(f'[data-part="{n}"] text').evaluate_all(
                "all => all.map(t => t.getBoundingClientRect())"
                ".map(b => [b.left, b.right]).sort((a, b) => a[0] - b[0])"
            )
            (left, end), (start, right) = boxes
            assert 0 <= left < end < start < right <= 390


def test_without_a_script_the_picture_stands(browser):
    with alive(browser, block_shapes(), java_script_enabled=False) as figure:
        assert figure.locator("svg").is_visible()
        assert figure.locator("dl").is_visible()
        assert not figure.locator("input").is_visible()


def test_a_part_that_does_not_exist_is_refused_in_one_line():
    with pytest.raises(ValueError, match="no part 12: there are 0 to 11"):
        block_shapes(12)
