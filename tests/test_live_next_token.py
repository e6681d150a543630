"""The figure of cuts: its probabilities are torch's, and it moves as it was drawn."""

from __future__ import annotations

import itertools

import pytest
import torch
from playwright.sync_api import Locator
from torch.testing import assert_close

from course.live.next_token import TOP_K, next_token
from solutions.gpt_block import keep_top_k, keep_top_p
from tests.browser import alive

TOKENS = ["\n", " the", " <b>", *"abcdefghijklmnopq"]
V = len(TOKENS)
# Two decimals, as they travel; three tokens tie in the second text.
LOGITS = 3 * torch.randn(2, V, generator=torch.Generator().manual_seed(0))
LOGITS = LOGITS.double().round(decimals=2)
LOGITS[1, [3, 8, 12]] = 2.5
TEXTS = {"One day": LOGITS[0], "Look <i>": LOGITS[1]}


@pytest.fixture
def figure(browser):
    with alive(browser, next_token(TEXTS, TOKENS)) as shown:
        yield shown


def expected(row: torch.Tensor, temperature: float, k: int, p: float) -> torch.Tensor:
    if temperature == 0:
        return torch.nn.functional.one_hot(row.argmax(), V).double()
    row = row / temperature
    row = keep_top_k(row, k) if k else row
    return torch.softmax(keep_top_p(row, p), dim=-1)


def move(figure: Locator, kind: str, value: float) -> None:
    figure.locator(kind).evaluate(
        """(slider, value) => {
          slider.value = value
          slider.dispatchEvent(new Event("input"))
        }""",
        value,
    )


def test_the_probabilities_are_those_of_torch(figure):
    settings = list(
        itertools.product(
            (0, 1), (0, 0.4, 1, 2.7), (0, 1, 2, 3, 5, 10, 50), (0, 0.13, 0.6, 0.9, 1)
        )
    )
    got = figure.evaluate(
        "(figure, all) => all.map(one => figure.cut(...one))", settings
    )
    for (at, *setting), shares in zip(settings, got, strict=True):
        if at == 1 and 0 < setting[2] < 1:
            continue  # which of those that tie goes first is open
        wanted = expected(LOGITS[at], *setting)
        assert_close(torch.tensor(shares, dtype=torch.float64), wanted)


def test_of_tokens_that_tie_as_many_are_kept(figure):
    for p in (0.2, 0.5, 0.8, 0.95):
        shares = torch.tensor(figure.evaluate("(f, p) => f.cut(1, 1, 0, p)", p))
        wanted = expected(LOGITS[1], 1, 0, p)
        assert_close(shares.double().sort()[0], wanted.sort()[0])


@pytest.mark.parametrize(
    ("temperature", "stop", "p"),
    [(1, len(TOP_K), 1), (2.5, 3, 1), (1, len(TOP_K), 0.6), (0.5, 4, 0.9), (0, 2, 0.5)],
)
def test_the_bars_show_them(figure, temperature, stop, p):
    move(figure, ".fs-heat", temperature)
    move(figure, ".fs-k", stop)
    move(figure, ".fs-p", p)
    k = [*TOP_K, 0][stop]
    wanted = expected(LOGITS[0], temperature, k, p)
    order = LOGITS[0].argsort(descending=True)[:9]
    rest = max(0, 1 - wanted[order].sum().item())
    texts = ["out" if w == 0 else f"{w:.3f}" for w in wanted[order].tolist()]
    shown = figure.locator(".fs-chance").all_inner_texts()
    assert shown[:-1] == texts
    assert float(shown[-1]) == pytest.approx(rest, abs=6e-4)
    widths = figure.locator(".fs-bar").evaluate_all(
        "all => all.map(bar => parseFloat(bar.style.width))"
    )
    percent = [100 * w for w in [*wanted[order].tolist(), rest]]
    assert widths == pytest.approx(percent, abs=1e-3)
    left = int((wanted > 0).sum())
    words = f"{left} of 20 tokens" if left < V else "All 20 tokens"
    assert figure.locator(".fs-says").inner_text().startswith(words)


def test_another_text_shows_its_own_tokens(figure):
    figure.locator("select").select_option(index=1)
    names = figure.locator(".fs-label").all_inner_texts()
    order = LOGITS[1].argsort(descending=True, stable=True)[:9]
    signs = [TOKENS[i].replace(" ", "␣").replace("\n", "⏎") for i in order]
    assert names == [*signs, "11 others"]


def test_what_is_left_out_says_so(figure):
    move(figure, ".fs-k", 0)
    says = figure.locator(".fs-says").inner_text()
    share = LOGITS[0].softmax(-1).max().item()
    assert says == (
        "1 of 20 tokens is left to draw from. Before the cut, "
        f"{share:.1%} of the probability was theirs."
    )
    assert figure.locator(".fs-out").count() == 8


def test_the_keyboard_is_enough(figure):
    names = (".fs-heat", "0.0"), (".fs-k", "1"), (".fs-p", "0.00")
    for number, (kind, name) in enumerate(names):
        figure.locator(kind).press("Home")
        assert figure.locator(".fs-name b").nth(number).inner_text() == name


def test_python_draws_what_the_script_draws(browser):
    drawing = next_token(TEXTS, TOKENS)
    with alive(browser, drawing, java_script_enabled=False) as still:
        assert not still.locator("select").is_visible()
        kinds = ".fs-label", ".fs-chance", ".fs-says"
        texts = [still.locator(kind).all_inner_texts() for kind in kinds]
    with alive(browser, drawing) as figure:
        move(figure, ".fs-p", 1)
        assert [figure.locator(kind).all_inner_texts() for kind in kinds] == texts
        assert figure.evaluate("() => document.body.scrollWidth") <= 390


@pytest.mark.parametrize(
    ("predictions", "words"),
    [
        ({}, "no predictions"),
        ({"a": torch.zeros(3)}, r"20 tokens need logits \(20,\), got \(3,\) after 'a'"),
        ({"a": torch.zeros(V).log()}, "after 'a' a logit is infinite or NaN"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(predictions, words):
    with pytest.raises(ValueError, match=words) as caught:
        next_token(predictions, TOKENS)
    assert "\n" not in str(caught.value)
