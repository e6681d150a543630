"""The sampling figure: its probabilities are torch's, and its draws follow them."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from playwright.sync_api import Locator

from course.live.sampling import sampling
from tests.browser import alive

CHARACTERS = "\n abcdefghijkl"
V = len(CHARACTERS)
# Two decimals, as they travel; the last three columns tie in every row.
LOGITS = (4 * torch.randn(V, V, generator=torch.Generator().manual_seed(0))).double()
LOGITS = LOGITS.round(decimals=2)
LOGITS[:, -3:] = LOGITS[:, -1:]


@pytest.fixture
def figure(browser):
    with alive(browser, sampling(CHARACTERS, LOGITS, after="a")) as shown:
        yield shown


def expected(row: torch.Tensor, temperature: float, k: int) -> torch.Tensor:
    """Torch's own probabilities, the largest first."""
    best = torch.topk(row, k).values  # (k,)
    if temperature == 0:
        chances = torch.nn.functional.one_hot(torch.tensor(0), k).double()
    else:
        chances = torch.softmax(best / temperature, dim=-1)
    return torch.cat([chances, torch.zeros(V - k, dtype=torch.float64)])


def move(figure: Locator, kind: str, value: float) -> None:
    figure.locator(kind).evaluate(
        """(slider, value) => {
          slider.value = value
          slider.dispatchEvent(new Event("input"))
        }""",
        value,
    )


def chances(figure: Locator) -> list[float]:
    return [float(text) for text in figure.locator(".fs-chance").all_inner_texts()]


def widths(figure: Locator, kind: str) -> torch.Tensor:
    """How wide each is, in hundredths."""
    return torch.tensor(
        figure.locator(kind).evaluate_all(
            "all => all.map(one => parseFloat(one.style.width))"
        ),
        dtype=torch.float64,
    )


def tally(figure: Locator) -> list[int]:
    return [int(text or 0) for text in figure.locator(".fs-tally").all_inner_texts()]


def click(figure: Locator, kind: str, times: int = 1) -> None:
    figure.locator(kind).evaluate(
        "(button, times) => { while (times--) button.click() }", times
    )


# ---- probabilities ----------------------------------------------------------------


def test_the_probabilities_are_those_of_torch(figure):
    settings = [
        (after, temperature / 10, k)
        for after in range(V)
        for temperature in (0, 1, 5, 10, 13, 30)
        for k in (1, 2, 3, 7, V - 1, V)
    ]
    got = figure.evaluate(
        "(figure, all) => all.map((one) => figure.predict(...one))", settings
    )
    for (after, temperature, k), prediction in zip(settings, got, strict=True):
        row = LOGITS[after]
        # The order names each character once, the likeliest first.
        assert sorted(prediction["order"]) == list(range(V))
        assert (
            row[prediction["order"]].tolist() == row.sort(descending=True)[0].tolist()
        )
        torch.testing.assert_close(
            torch.tensor(prediction["chances"], dtype=torch.float64),
            expected(row, temperature, k),
        )


@pytest.mark.parametrize(
    ("after", "temperature", "k"),
    [(" ", 1.0, V), ("\n", 0.3, V), ("c", 2.7, V), ("c", 2.7, 4), ("l", 0.0, V)],
)
def test_the_bars_and_the_strip_show_them(figure, after, temperature, k):
    place = CHARACTERS.index(after)
    figure.locator(".fs-after").select_option(index=place)
    move(figure, ".fs-temperature", temperature)
    move(figure, ".fs-top", k)
    chance = expected(LOGITS[place], temperature, k)
    grouped = [*chance[:8].tolist(), chance[8:].sum().item()]
    assert chances(figure) == [round(p, 3) for p in grouped]
    for kind in ".fs-bar", ".fs-piece":
        exact = 100 * torch.tensor(grouped, dtype=torch.float64)
        torch.testing.assert_close(widths(figure, kind), exact, rtol=0, atol=1e-4)
    names = figure.locator(".fs-label").all_inner_texts()
    assert names.pop() == "6 others"
    signs = {"␣": " ", "⏎": "\n"}
    ids = [CHARACTERS.index(signs.get(name, name)) for name in names]
    assert len(set(ids)) == 8  # which of those that tie stands first is open
    assert LOGITS[place][ids].tolist() == LOGITS[place].topk(8).values.tolist()


def test_the_model_s_logits_travel_with_two_decimals(browser):
    """So a probability is wrong by one part in a hundred at most: exp(0.005) twice."""
    logits = 3 * torch.randn(V, V, generator=torch.Generator().manual_seed(1))
    with alive(browser, sampling(CHARACTERS, logits, after="a")) as figure:
        got = figure.evaluate(
            "(figure, n) => [...Array(n).keys()].map(a => figure.predict(a, 1, n))", V
        )
    for row, prediction in zip(logits.double(), got, strict=True):
        exact = torch.softmax(row, dim=-1)[prediction["order"]]
        shown = torch.tensor(prediction["chances"], dtype=torch.float64)
        torch.testing.assert_close(shown, exact, rtol=0.0101, atol=0)


# ---- draws ------------------------------------------------------------------------


def chi_square(counts: list[int], chances: list[float]) -> float:
    total = sum(counts)
    return sum(
        (n - total * p) ** 2 / (total * p) for n, p in zip(counts, chances, strict=True)
    )


def test_draws_follow_the_bars(figure):
    figure.locator(".fs-after").select_option(index=1)
    move(figure, ".fs-temperature", 3)
    click(figure, ".fs-often", 500)
    chance = expected(LOGITS[1], 3, V)
    grouped = [*chance[:8].tolist(), chance[8:].sum().item()]
    counts = tally(figure)
    assert sum(counts) == 50_000
    assert "thrown so far: 50000" in figure.locator(".fs-says").inner_text()
    # With 8 degrees of freedom, more than 26.12 comes once in a thousand times.
    assert chi_square(counts, grouped) < 26.12
    # The mark on each bar stands at the share of the hits.
    marks = figure.locator(".fs-track").evaluate_all(
        "all => all.map(one => parseFloat(one.style.getPropertyValue('--hit')))"
    )
    assert marks == pytest.approx([n / 500 for n in counts], abs=1e-4)


def test_what_is_cut_off_is_never_drawn(figure):
    move(figure, ".fs-temperature", 3)
    move(figure, ".fs-top", 3)
    click(figure, ".fs-often", 20)
    counts = tally(figure)
    assert sum(counts) == 2000
    assert min(counts[:3]) > 0
    assert counts[3:] == [0] * 6


def test_the_text_follows_the_model(figure):
    """In 100,000 written characters: what came after each, against its row."""
    move(figure, ".fs-temperature", 3)
    text = "a" + figure.locator(".fs-write-on").evaluate(
        """button => {
          const written = button.closest(".fs-figure").querySelector(".fs-written")
          let text = ""
          for (let n = 0; n < 1000; n++) {
            button.click()
            text += written.textContent.slice(-100)
          }
          return text
        }"""
    )
    assert len(text) == 100_001
    followers = torch.zeros(V, V, dtype=torch.float64)
    for a, b in pairwise(text):
        followers[CHARACTERS.index(a), CHARACTERS.index(b)] += 1
    for row in followers.sum(1).topk(4).indices.tolist():
        chance = torch.softmax(LOGITS[row] / 3, dim=-1)
        # 13 degrees of freedom: more than 34.53 comes once in a thousand times.
        assert (chance * followers[row].sum()).min() > 1
        assert chi_square(followers[row].tolist(), chance.tolist()) < 34.53


def test_the_dart_lies_in_the_piece_that_it_hits(figure):
    move(figure, ".fs-temperature", 3)
    # In steps of the strip the pieces would still be moving.
    figure.locator(".fs-piece").evaluate_all(
        "all => all.forEach(one => one.style.transition = 'none')"
    )
    before = tally(figure)
    for _ in range(40):
        click(figure, ".fs-once")
        after = tally(figure)
        hit = [a - b for a, b in zip(after, before, strict=True)].index(1)
        before = after
        at = figure.locator(".fs-dart").evaluate(
            "dart => parseFloat(dart.style.left) / 100"
        )
        strip = figure.locator(".fs-pieces").bounding_box()
        box = figure.locator(".fs-piece").nth(hit).bounding_box()
        x = strip["x"] + at * strip["width"]
        assert box["x"] - 0.5 <= x <= box["x"] + box["width"] + 0.5


def test_at_temperature_0_it_is_greedy(figure):
    move(figure, ".fs-temperature", 0)
    click(figure, ".fs-often")
    assert tally(figure) == [100] + [0] * 8
    click(figure, ".fs-write", 5)
    text, at = "a", CHARACTERS.index("a")
    for _ in range(5):
        at = LOGITS[at].argmax().item()
        text += CHARACTERS[at]
    assert figure.locator(".fs-written").text_content() == text


def test_start_again_throws_the_same_darts(figure):
    move(figure, ".fs-temperature", 2)

    def story() -> tuple:
        click(figure, ".fs-often")
        counts = tally(figure)
        click(figure, ".fs-write-on")
        return counts, figure.locator(".fs-written").text_content()

    first = story()
    assert figure.locator(".fs-written").text_content() != "a"
    click(figure, ".fs-again")
    assert figure.locator(".fs-written").text_content() == "a"
    assert sum(tally(figure)) == 0
    assert not figure.locator(".fs-dart").is_visible()
    assert story() == first
    assert story() != first


@pytest.mark.parametrize(
    ("size", "names"),
    [
        (V, [*map(str, range(1, 11)), "all"]),
        (11, [*map(str, range(1, 11)), "all"]),
        (4, ["1", "2", "3", "all"]),
    ],
)
def test_top_k_has_a_few_stops_and_all(browser, size, names):
    drawing = sampling(CHARACTERS[:size], LOGITS[:size, :size], after="\n")
    with alive(browser, drawing) as figure:
        slider, name = figure.locator(".fs-top"), figure.locator(".fs-name b").last
        assert name.inner_text() == "all"
        slider.press("Home")
        for number, stop in enumerate(names):
            assert name.inner_text() == stop
            assert slider.get_attribute("aria-valuetext") == stop
            k = size if stop == "all" else number + 1
            chance = expected(LOGITS[0, :size], 1, k)
            grouped = [*chance[:8].tolist(), chance[8:].sum().item()]
            assert chances(figure) == [round(p, 3) for p in grouped][:size]
            slider.press("ArrowRight")


def test_nothing_jumps_when_the_sentence_grows(figure):
    button = figure.locator(".fs-once")
    places = [button.bounding_box()["y"]]
    for kind in ".fs-once", ".fs-often", ".fs-write", ".fs-write-on":
        click(figure, kind)
        places.append(button.bounding_box()["y"])
    assert len(set(places)) == 1


def test_another_setting_begins_a_new_tally(figure):
    for kind, value in (".fs-temperature", 2), (".fs-top", 5):
        click(figure, ".fs-often")
        assert sum(tally(figure)) == 100
        move(figure, kind, value)
        assert sum(tally(figure)) == 0
    click(figure, ".fs-often")
    figure.locator(".fs-after").select_option(index=5)
    assert sum(tally(figure)) == 0


def test_what_is_written_is_what_comes_next(figure):
    click(figure, ".fs-write")
    text = figure.locator(".fs-written").text_content()
    assert len(text) == 2
    chosen = figure.locator(".fs-after").evaluate("select => select.selectedIndex")
    assert chosen == CHARACTERS.index(text[1])
    chance = expected(LOGITS[chosen], 1, V)
    assert chances(figure)[:8] == [round(p, 3) for p in chance[:8].tolist()]


def test_the_keyboard_is_enough(figure):
    figure.page.keyboard.press("Tab")  # after
    figure.page.keyboard.press("Tab")
    figure.page.keyboard.press("Home")
    assert figure.locator(".fs-name b").first.inner_text() == "0.0"
    figure.page.keyboard.press("Tab")
    figure.page.keyboard.press("Home")
    assert figure.locator(".fs-name b").last.inner_text() == "1"
    figure.page.keyboard.press("Tab")
    figure.page.keyboard.press("Enter")
    assert sum(tally(figure)) == 1


# ---- with and without the script --------------------------------------------------


def test_python_draws_what_the_script_draws(browser):
    drawing = sampling(CHARACTERS, LOGITS, after="a")
    without = browser.new_context(java_script_enabled=False).new_page()
    without.set_content(f"<!doctype html><meta charset=utf-8>{drawing.html}")
    with alive(browser, drawing) as figure:
        for kind in ".fs-label", ".fs-chance", ".fs-piece", ".fs-says", ".fs-tally":
            shown, still = (
                page.locator(kind).all_text_contents() for page in (figure, without)
            )
            assert shown == still
        for kind in ".fs-bar", ".fs-piece":
            shown, still = widths(figure, kind), widths(without, kind)
            torch.testing.assert_close(shown, still, rtol=0, atol=0.0051)
        assert figure.evaluate("figure => figure.scrollWidth <= figure.clientWidth")
    assert without.locator(".fs-strip").is_visible()
    assert not without.locator("button").first.is_visible()
    assert not without.locator(".fs-written").is_visible()
    without.context.close()


def test_paper_keeps_the_bars(figure):
    """Browsers print no backgrounds, except where they are told to."""
    for kind in ".fs-bar", ".fs-piece":
        assert (
            figure.locator(kind).first.evaluate(
                "bar => getComputedStyle(bar).printColorAdjust"
            )
            == "exact"
        )


def test_a_small_vocabulary_has_no_others(browser):
    """Two characters, on paper: p = 3/4 and 1/4 where the logits differ by ln 3."""
    logits = torch.tensor([[1.10, 0.0], [0.0, 0.0]])
    with alive(browser, sampling("ab", logits, after="a")) as figure:
        assert figure.locator(".fs-label").all_inner_texts() == ["a", "b"]
        assert chances(figure) == [0.75, 0.25]
        click(figure, ".fs-often")
        assert sum(tally(figure)) == 100


@pytest.mark.parametrize(
    ("characters", "logits", "after", "words"),
    [
        ("ab", torch.zeros(2, 3), "a", r"need logits \(2, 2\), got \(2, 3\)"),
        ("ab", torch.zeros(2, 2), "c", "'c' is not in the vocabulary"),
        ("ab", torch.zeros(2, 2).log(), "a", "a logit is infinite or NaN"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(characters, logits, after, words):
    with pytest.raises(ValueError, match=words) as caught:
        sampling(characters, logits, after)
    assert "\n" not in str(caught.value)
