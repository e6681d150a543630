"""The figure of a run: what stands where, what is chosen, and what it says of it."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from playwright.sync_api import Locator

from course.live.training import duration, training
from course.notebooks import ROOT
from tests.browser import alive, axe_faults_everywhere

FLOOR = 0.2
TEXTS = [
    "e\n\nqz \x03\ufffd th",
    "The <b>dog</b> & the </script> cat.",
    "Once Mina hid a key.\n\nOnce Tom found it.\n" + "He told nobody. " * 40,
    "",
    "Mina hid the key in the teapot.",
]
BITS = [3.2, 1.2, 0.5, 0.25, 0.22]
STEPS = [200, 400, 1000, 1600, 2000]
SECONDS = [59.94, 150, 750, 5990, 6120]
LOSSES = [(step, 0.2 + 60 / step) for step in range(10, 2001, 10)]
ENTRIES = [
    *({"step": step, "loss": loss, "seconds": 1.0} for step, loss in LOSSES),
    *(
        {"step": step, "seconds": s, "bits_per_character": b, "text": text}
        for step, s, b, text in zip(STEPS, SECONDS, BITS, TEXTS, strict=True)
    ),
]
SAYS = [
    "Step 200, after 59.9 seconds: 3.200 bits per character, 1,500.0% above the floor.",
    "Step 400, after 2.5 minutes: 1.200 bits per character, 500.0% above the floor.",
    "Step 1,000, after 12.5 minutes: 0.500 bits per character, 150.0% above the floor.",
    "Step 1,600, after 99.8 minutes: 0.250 bits per character, 25.0% above the floor.",
    "Step 2,000, after 1.7 hours: 0.220 bits per character, 10.0% above the floor.",
]

# The heights in px of all that one of the two axes shows, and the places of the steps.
PLACES = """figure => {
  const plot = figure.querySelector(".fs-plot").getBoundingClientRect()
  const log = figure.classList.contains("fs-log")
  const kind = log ? "logarithmic" : "linear"
  const axis = figure.querySelector(`.fs-plot .fs-${kind}`)
  const all = (within, kind) => [...within.querySelectorAll(kind)]
  const top = (e) => e.getBoundingClientRect().top - plot.top
  const line = axis.querySelector("polyline")
  const ctm = line.getScreenCTM()
  const left = (e) => parseFloat(getComputedStyle(e).left)
  const dot = (e) => parseFloat(getComputedStyle(e, "::after").top)
  return {
    height: plot.height,
    width: plot.width,
    marks: all(axis, ".fs-mark").map(e => [Number(e.textContent), top(e)]),
    floor: top(axis.querySelector(".fs-floor")),
    dots: all(figure, ".fs-stop").map(dot),
    columns: all(figure, ".fs-stop").map(left),
    steps: all(figure, ".fs-steps span").map(e =>
      [Number(e.textContent.replace(/[^0-9]/g, "")), left(e)]),
    line: [...line.points].map(p => p.matrixTransform(ctm)).map(p =>
      [p.x - plot.left, p.y - plot.top]),
  }
}"""

STATE = """figure => [
  ...[...figure.querySelectorAll(".fs-stop, .fs-story p")]
    .filter(e => e.classList.contains("fs-chosen"))
    .map(e => e.textContent || e.getAttribute("style")),
  figure.querySelector("label b").textContent,
  figure.querySelector("input").value,
  figure.querySelector("input").getAttribute("aria-valuetext"),
  figure.querySelector(".fs-says").textContent]"""


def page(drawing, theme: str = "light") -> str:
    """A page with the colours of the book, which loads nothing."""
    style = (ROOT / "assets/book.css").read_text("utf-8")
    style = re.sub(r"@font-face \{.*?\}", "", style, flags=re.S)
    style += "body{background:var(--pst-color-background);margin:16px;"
    style += "color:var(--pst-color-text-base)}"
    return (
        f"<!doctype html><html lang=en data-theme={theme}><meta charset=utf-8>"
        f"<title>A run</title><style>{style}</style><body><main><h1>A run</h1>"
        f"{drawing.html}<p class=after>after</p></main>"
    )


@pytest.fixture
def figure(browser):
    with alive(browser, training(ENTRIES, FLOOR)) as shown:
        yield shown


def choose(figure: Locator, number: int) -> None:
    slider = figure.locator("input")
    slider.press("Home")
    for _ in range(number):
        slider.press("ArrowRight")


def shown_text(figure: Locator) -> str:
    seen = [e for e in figure.locator(".fs-story p").all() if e.is_visible()]
    assert len(seen) == 1
    return seen[0].inner_text()


def scale(marks) -> tuple[np.poly1d, float]:
    """From a number on an axis to px, as its marks have it, and how far one is off."""
    values, places = np.array(marks, dtype=float).T
    fitted = np.poly1d(np.polyfit(values, places, 1))
    return fitted, np.abs(fitted(values) - places).max()


def test_each_point_stands_where_the_linear_axis_says(figure):
    places = figure.evaluate(PLACES)
    height, off = scale(places["marks"])
    assert len(places["marks"]) >= 4
    assert off < 0.1
    np.testing.assert_allclose(places["dots"], height(BITS), atol=0.2)
    assert places["floor"] == pytest.approx(height(FLOOR), abs=0.2)
    assert max(places["dots"]) < places["floor"] < places["height"] - 18


def test_each_point_stands_where_the_logarithmic_axis_says(figure):
    figure.locator("button").click()
    places = figure.evaluate(PLACES)
    height, off = scale([(math.log10(v), top) for v, top in places["marks"]])
    assert len(places["marks"]) >= 4
    assert off < 0.1
    above = [math.log10(bits - FLOOR) for bits in BITS]
    np.testing.assert_allclose(places["dots"], height(above), atol=0.2)
    # From 1 bit above the floor to a tenth: as far as from a tenth to a hundredth.
    assert height(0) - height(-1) == pytest.approx(height(-1) - height(-2))
    assert figure.locator(".fs-top .fs-name").inner_text() == "bits above the floor"


@pytest.mark.parametrize("logarithmic", [False, True])
def test_the_line_is_the_mean_of_neighbouring_losses(figure, logarithmic):
    if logarithmic:
        figure.locator("button").click()
    places = figure.evaluate(PLACES)
    # 200 losses, at most 150 points: two and two.
    steps, losses = np.array(LOSSES).reshape(-1, 2, 2).mean(1).T
    assert "mean of 2 batches" in figure.locator(".fs-thin").inner_text()
    marks = places["marks"]
    if logarithmic:
        marks = [(math.log10(v), top) for v, top in marks]
        losses = np.log10(losses - FLOOR)
    stroke = figure.locator("polyline:visible").evaluate(
        "e => [getComputedStyle(e).stroke, getComputedStyle(e).vectorEffect]"
    )
    assert stroke[0] != "none"
    assert stroke[1] == "non-scaling-stroke"  # else it is as wide as it is stretched
    x, y = np.array(places["line"]).T
    inside = y < places["height"]  # the line may leave the plot, and is cut off there
    assert inside.sum() >= 80
    np.testing.assert_allclose(y[inside], scale(marks)[0](losses)[inside], atol=0.2)
    np.testing.assert_allclose(x, scale(places["steps"])[0](steps), atol=0.2)


def test_points_stand_at_their_steps(figure):
    places = figure.evaluate(PLACES)
    across, off = scale(places["steps"])
    names = figure.locator(".fs-steps span").all_inner_texts()
    assert names == ["step 0", "500", "1,000", "1,500", "2,000"]
    assert off < 0.1
    np.testing.assert_allclose(places["columns"], across(STEPS), atol=0.1)


def test_a_loss_below_the_floor_leaves_the_logarithmic_plot(browser):
    entries = [{"step": s, "loss": b} for s, b in [(1, 2), (2, 0.1), (3, 1)]]
    entries.append({**ENTRIES[-1], "step": 4})
    with alive(browser, training(entries, FLOOR)) as figure:
        figure.locator("button").click()
        places = figure.evaluate(PLACES)
        (_, first), (_, under), (_, last) = places["line"]
        assert first < last < places["height"] < under
        svg = figure.locator("svg").last
        assert svg.evaluate("e => getComputedStyle(e).overflow") == "hidden"


@pytest.mark.parametrize("bits", [[0.5], [0.5, 0.45, 0.41], [0.2], [0.5, 0.19]])
def test_short_and_strange_runs_have_numbers_on_both_axes(browser, bits):
    entries = [
        {"step": n, "seconds": n, "bits_per_character": b, "text": "a"}
        for n, b in enumerate(bits)
    ]
    with alive(browser, training(entries, FLOOR)) as figure:
        assert figure.locator(".fs-thin").count() == 0
        for click in range(2):
            if click:
                figure.locator("button").click()
            places = figure.evaluate(PLACES)
            assert all(-0.1 <= y <= places["height"] for y in places["dots"])
            marks = [value for value, _ in places["marks"]]
            assert marks == sorted(set(marks))
            assert click == 0 or marks
            assert [step for step, _ in places["steps"]] == list(
                range(max(2, len(bits)))
            )
        last = figure.locator(".fs-says").inner_text()
        side = "below" if bits[-1] < FLOOR else "above"
        assert last.endswith(f"{abs(bits[-1] / FLOOR - 1):.1%} {side} the floor.")


@pytest.mark.parametrize("number", range(len(STEPS)))
def test_the_slider_chooses_a_checkpoint_and_says_it(figure, number):
    choose(figure, number)
    assert figure.locator(".fs-says").inner_text() == SAYS[number]
    assert figure.locator(".fs-says").get_attribute("role") == "status"
    step = f"{STEPS[number]:,}"
    assert figure.locator("label b").inner_text() == step
    assert figure.locator("input").get_attribute("aria-valuetext") == step
    kinds = figure.locator(".fs-stop").evaluate_all("all => all.map(e => e.className)")
    chosen = [n for n, kind in enumerate(kinds) if "fs-chosen" in kind]
    assert chosen == [number]


def test_each_text_is_shown_whole_and_as_it_was_written(figure):
    wanted = list(TEXTS)
    wanted[0] = wanted[0].replace("\x03", "␃")
    wanted[3] = "(nothing)"
    for number, text in enumerate(wanted):
        choose(figure, number)
        assert shown_text(figure).rstrip() == text.rstrip()


@pytest.mark.parametrize("touch", [False, True])
@pytest.mark.parametrize("logarithmic", [False, True])
def test_a_tap_on_a_point_chooses_it_and_the_arrows_go_on(browser, touch, logarithmic):
    with alive(browser, training(ENTRIES, FLOOR), has_touch=touch) as figure:
        if logarithmic:
            figure.locator("button").click()
        plot = figure.locator(".fs-plot").bounding_box()
        places = figure.evaluate(PLACES)
        for number in (1, 4, 0, 3):
            x = plot["x"] + places["columns"][number] + 5  # no finger is exact
            y = plot["y"] + places["dots"][number] + 5
            if touch:
                figure.page.touchscreen.tap(x, y)
            else:
                figure.page.mouse.click(x, y)
            assert figure.locator(".fs-says").inner_text() == SAYS[number]
            assert figure.locator("input").input_value() == str(number)
        figure.page.keyboard.press("ArrowLeft")
        assert figure.locator(".fs-says").inner_text() == SAYS[2]


def test_the_button_changes_the_axis_and_says_which_it_is(figure):
    button = figure.get_by_role("button", name="logarithmic axis")
    linear, other = (
        figure.locator(f".fs-plot .fs-{kind} .fs-floor")
        for kind in ("linear", "logarithmic")
    )
    for pressed in ("false", "true", "false"):
        assert button.get_attribute("aria-pressed") == pressed
        assert linear.is_visible() == (pressed == "false")
        assert other.is_visible() == (pressed == "true")
        button.press("Enter")


@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_does_not_jump_and_has_room(browser, width):
    drawing = training(ENTRIES, FLOOR)
    tab = browser.new_page(viewport={"width": width, "height": 900})
    tab.set_content(page(drawing))
    figure = tab.locator(".fs-live")
    ends = set()
    for number in range(len(STEPS)):
        choose(figure, number)
        ends.add(tab.locator(".after").bounding_box()["y"])
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        story, last = (
            figure.locator(kind).bounding_box() for kind in (".fs-story", ".fs-steps")
        )
        assert last["y"] + last["height"] < story["y"]
        text = figure.locator(".fs-story .fs-chosen").bounding_box()
        assert text["y"] == pytest.approx(story["y"], abs=0.5)
    assert len(ends) == 1
    for control in figure.locator("input, button").all():
        assert control.bounding_box()["height"] >= 36
    tab.close()


def test_without_a_script_the_last_checkpoint_stands(browser):
    drawing = training(ENTRIES, FLOOR)
    with alive(browser, drawing, java_script_enabled=False) as still:
        for control in still.locator("input, button").all():
            assert not control.is_visible()
        assert still.locator(".fs-says").inner_text() == SAYS[-1]
        assert shown_text(still) == TEXTS[-1]
        assert still.locator(".fs-linear .fs-floor").is_visible()
        assert not still.locator(".fs-logarithmic .fs-floor").is_visible()
        wanted = still.evaluate(STATE)
        places = still.evaluate(PLACES)
    with alive(browser, drawing) as figure:
        assert figure.evaluate(STATE) == wanted
        choose(figure, 1)
        assert figure.evaluate(STATE) != wanted
        figure.locator("input").press("End")
        assert figure.evaluate(STATE) == wanted
        assert figure.evaluate(PLACES)["dots"] == places["dots"]


def test_paper_shows_what_is_chosen_and_is_light(browser):
    tab = browser.new_page(viewport={"width": 800, "height": 900})
    tab.set_content(page(training(ENTRIES, FLOOR), "dark"))
    figure = tab.locator(".fs-live")
    choose(figure, 1)
    before = figure.bounding_box()["height"]
    tab.emulate_media(media="print")
    assert not figure.locator("input").is_visible()
    assert not figure.locator("button").is_visible()
    assert shown_text(figure) == TEXTS[1]
    assert figure.bounding_box()["height"] < before - 200  # no room for the longest
    colour = figure.evaluate("e => getComputedStyle(e).color")
    assert colour == "rgb(0, 0, 0)"
    tab.close()


def test_axe_finds_no_fault_and_nothing_is_asked_of_the_network(browser):
    drawing = training(ENTRIES, FLOOR)
    context = browser.new_context()
    asked = []
    context.on("request", lambda request: asked.append(request.url))
    tab = context.new_page()
    tab.set_content(page(drawing))
    assert axe_faults_everywhere(tab) == []
    tab.locator("button").click()
    assert axe_faults_everywhere(tab) == []
    assert asked == []
    context.close()


def test_the_alternative_has_the_numbers_of_the_run_and_is_the_only_one():
    drawing = training(ENTRIES, FLOOR)
    assert "3.200 bits per character at step 200, 0.220 at step 2,000" in drawing.alt
    assert "floor is 0.200" in drawing.alt
    assert drawing.html.count("aria-label=") == 1
    assert training(ENTRIES, FLOOR, alt="A run.").alt == "A run."


def test_the_same_run_is_the_same_bytes():
    assert training(ENTRIES, FLOOR).html == training(list(ENTRIES), FLOOR).html


def test_a_long_run_is_thinned_out(browser):
    steps = range(10, 40_001, 10)
    entries = [{"step": s, "loss": 1.0 + (s % 20 == 0)} for s in steps]
    entries += [
        {"step": s, "seconds": s, "bits_per_character": 0.3, "text": f"at {s}"}
        for s in steps[9::10]
    ]
    with alive(browser, training(entries, FLOOR)) as figure:
        line = figure.evaluate(PLACES)["line"]
        assert 100 <= len(line) <= 150
        assert figure.locator("input").get_attribute("max") == "59"
        assert shown_text(figure) == "at 40000"
        choose(figure, 0)
        assert shown_text(figure) == "at 100"
        columns = np.diff(figure.evaluate(PLACES)["columns"])
        assert columns.max() / columns.min() < 1.3
    assert len(training(entries, FLOOR).html) < 40_000


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 seconds"),
        (99.94, "99.9 seconds"),
        (99.96, "1.7 minutes"),
        (5996, "99.9 minutes"),
        (5998, "1.7 hours"),
        (7_200_000, "2,000.0 hours"),
    ],
)
def test_a_duration_is_in_the_unit_that_fits(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("entries", "floor", "words"),
    [
        (ENTRIES, 0.0, "the floor is 0.0, expected bits per character above 0"),
        (ENTRIES, -0.1, "the floor is -0.1"),
        (ENTRIES, math.nan, "the floor is nan"),
        (ENTRIES, None, "the floor is None"),
        ([], FLOOR, "no entry has bits_per_character"),
        (ENTRIES[:5], FLOOR, "no entry has bits_per_character"),
        ([{"loss": 1.0}], FLOOR, r"step \?: an entry with loss has no step"),
        (
            [{"step": 7, "seconds": 1, "bits_per_character": 1.0}],
            FLOOR,
            "step 7: an entry with bits_per_character has no text",
        ),
        ([{"step": 7, "loss": math.inf}], FLOOR, "at step 7 the loss is inf"),
        ([*ENTRIES, ENTRIES[0]], FLOOR, "step 10 comes after step 2000"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(entries, floor, words):
    with pytest.raises(ValueError, match=words) as caught:
        training(entries, floor)
    assert "\n" not in str(caught.value)
