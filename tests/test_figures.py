"""Figures: the same bytes each time, the page's colours, an alternative in words."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from xml.etree import ElementTree

import ipywidgets
import numpy as np
import pytest

from course.figures import DARK, LIGHT, Drawing, controls, diagram, drawing, figure
from tests.displayed import displayed

PLOT = """
from course.figures import drawing
def plot(axes):
    axes.plot([0, 1, 2], [0.1, 0.7, 0.4], "o-", label="seen")
    axes.fill_between([0, 1, 2], [0, 0, 0], [0.1, 0.7, 0.4], color="C1", alpha=0.3)
    axes.set(xlabel="step", title="$x^2$", yscale="linear")
    axes.legend()
print(drawing("A line that rises and falls.", plot).html)
"""


def bars(axes):
    axes.bar(["a", "b", "안"], [3, 1, 2], color=["C0", "C3", "black"])
    axes.text(0, 1, "in the bar", color="white", family="monospace")
    axes.set_xlabel("character")


def svg_of(drawn: Drawing) -> ElementTree.Element:
    text = re.search(r"<svg.*</svg>", drawn.html, re.DOTALL)[0]
    return ElementTree.fromstring(text.replace("xlink:href", "href"))


def texts(drawn: Drawing) -> list[str]:
    return ["".join(e.itertext()) for e in svg_of(drawn).iter("text")]


def without_style(drawn: Drawing) -> str:
    return re.sub(r"<style>.*?</style>", "", drawn.html, flags=re.DOTALL)


def test_the_same_drawing_is_the_same_bytes_in_every_process():
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PLOT],
            env=environment | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert drawing("Bars.", bars).html == drawing("Bars.", bars).html


def test_a_readers_settings_change_nothing(monkeypatch):
    import matplotlib

    before = drawing("Bars.", bars).html
    with matplotlib.rc_context({"font.size": 30, "patch.force_edgecolor": True}):
        assert drawing("Bars.", bars).html == before
        assert matplotlib.rcParams["font.size"] == 30


def test_noise_in_the_last_digits_does_not_show():
    heights = np.array([0.3, 0.7, 0.2, 0.9])
    first = drawing("Noise.", lambda axes: axes.plot(heights))
    other = drawing("Noise.", lambda axes: axes.plot(heights * (1 + 3e-15)))
    assert first.html == other.html
    for name in ("d", "x", "y", "transform", "width", "height"):
        for value in re.findall(rf'\b{name}="([^"]*)"', without_style(first)):
            assert not re.search(r"\.\d\d", value), value


def test_every_colour_comes_from_the_page():
    html = without_style(drawing("Bars.", bars))
    assert "#" not in re.sub(r'(url\(#|href="#)', "", html)
    assert "fill:var(--fs-1)" in html
    assert "fill:var(--fs-4)" in html
    assert "fill:var(--fs-ground)" in html
    assert not re.search(r"\b(black|white)\b", html)


def test_a_heat_map_is_made_of_the_first_hue_and_of_nothing_else():
    cells = np.arange(6).reshape(2, 3)
    html = without_style(drawing("Cells.", lambda axes: axes.pcolormesh(cells)))
    assert html.count("fill:var(--fs-1)") >= 5
    assert "#" not in re.sub(r'(url\(#|href="#)', "", html)


def test_grey_is_a_mix_of_ink_and_ground():
    html = drawing("Line.", lambda axes: axes.plot([0, 1], color="0.4")).html
    assert "stroke:color-mix(in srgb,currentColor 60%,var(--fs-ground))" in html


def test_pixels_are_refused_in_one_line():
    with pytest.raises(ValueError, match=r"pcolormesh\(...\) in place of .*imshow"):
        drawing("Pixels.", lambda axes: axes.imshow(np.eye(3)))


def test_text_stays_text_in_the_fonts_of_the_page(recwarn):
    drawn = drawing("Bars.", bars)
    assert {"a", "b", "안", "character", "in the bar"} <= set(texts(drawn))
    families = set(re.findall(r"font-family:([^;\"]*)", without_style(drawn)))
    assert families == {"var(--fs-font)", "var(--fs-mono)"}
    assert not recwarn.list


@pytest.mark.parametrize("width", [3.0, 4.8, 7.0, 9.0])
def test_text_can_be_read_on_a_phone(width):
    drawn = drawing("Bars.", bars, size=(width, 3))
    shown = min(1.35, 358 / (72 * width))  # how large the page shows it
    sizes = [float(s) for s in re.findall(r"font-size:([\d.]+)px", drawn.html)]
    assert sizes
    assert min(sizes) * shown >= 10.99


def test_no_style_rule_reaches_beyond_the_figure():
    styles = re.findall(r"<style.*?</style>", drawing("B.", bars).html, re.DOTALL)
    assert len(styles) == 1
    selectors = re.findall(r"([^{}]+)\{", re.sub(r"</?style>", "", styles[0]))
    for selector in ",".join(s for s in selectors if not s.startswith("@")).split(","):
        assert ".fs-figure" in selector, selector


def test_ids_are_unique_on_a_page_and_all_are_used():
    drawn = [drawing(f"{words}.", lambda axes: axes.plot([2, 1])) for words in "AB"]
    drawn.append(diagram('<svg><g id="a"/><use href="#a"/><g id="b"/></svg>', "D."))
    found = [re.findall(r'\sid="([^"]*)"', d.html) for d in drawn]
    assert all(found)
    together = [name for ids in found for name in ids]
    assert len(set(together)) == len(together)
    for ids, figure_ in zip(found, drawn, strict=True):
        used = re.findall(r'(?:url\(|href=")#([^")]*)', figure_.html)
        assert set(used) == set(ids)


def test_the_alternative_is_there_for_every_reader():
    drawn = drawing('Less < than "more".', bars)
    assert 'role="img" aria-label="Less &lt; than &quot;more&quot;."' in drawn.html
    assert repr(drawn) == '[figure] Less < than "more".'
    assert 'role="group" aria-label="A."' in diagram("<p>x</p>", "A.", "group").html


@pytest.mark.parametrize("alt", ["", "  \n"])
def test_a_figure_without_an_alternative_is_refused(alt):
    for make in (lambda: drawing(alt, bars), lambda: diagram("<svg></svg>", alt)):
        with pytest.raises(ValueError, match="needs alt=") as caught:
            make()
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="needs alt="), figure(alt=alt):
        pass


def test_a_figure_is_shown_when_its_block_ends_and_only_then():
    with displayed() as shown, figure(alt="Two.", rows=1, columns=2) as axes:
        axes[0].plot([1, 2])
        axes[1].plot([2, 1])
        assert not shown
    (data,) = shown
    assert data["text/plain"] == "[figure] Two."
    assert data["text/html"].startswith('<div class="fs-figure"')


def test_a_block_that_fails_shows_nothing():
    with (
        displayed() as shown,
        pytest.raises(ZeroDivisionError),
        figure(alt="Broken."),
    ):
        raise ZeroDivisionError
    assert not shown


def height(value: int) -> Drawing:
    return drawing(f"A bar of height {value}.", lambda axes: axes.bar(["a"], [value]))


def run_controls(monkeypatch, recording: bool, draw=height, **widgets):
    monkeypatch.setenv("FIVE_SUNDAYS_RECORD", "1" if recording else "")
    with displayed() as shown:
        controls(draw, **widgets)
    (data,) = shown
    return data


def picture_of(data: dict) -> ipywidgets.HTML:
    view = data["application/vnd.jupyter.widget-view+json"]
    box = ipywidgets.widgets.widget._instances[view["model_id"]]
    return box.children[-1]


def test_a_slider_changes_the_drawing(monkeypatch):
    slider = ipywidgets.IntSlider(value=2, min=1, max=9)
    data = run_controls(monkeypatch, recording=False, value=slider)
    picture = picture_of(data)
    assert picture.value == height(2).html == data["text/html"]
    slider.value = 7
    assert picture.value == height(7).html
    assert height(7).html != height(2).html
    assert data["text/plain"] == "[figure] A bar of height 2."


def test_what_a_notebook_keeps_is_the_drawing_and_is_the_same_each_time(monkeypatch):
    kept = [
        run_controls(monkeypatch, recording=True, value=ipywidgets.IntSlider(2))
        for _ in range(2)
    ]
    assert kept[0] == kept[1]
    assert set(kept[0]) == {"text/plain", "text/html"}
    alive = run_controls(monkeypatch, recording=False, value=ipywidgets.IntSlider(2))
    assert {k: alive[k] for k in kept[0]} == kept[0]


def test_every_control_has_a_label(monkeypatch):
    named = ipywidgets.IntSlider(2, description="height of the bar")
    unnamed = ipywidgets.IntSlider(3)
    run_controls(
        monkeypatch,
        recording=False,
        draw=lambda value, top_k: height(value + top_k),
        value=named,
        top_k=unnamed,
    )
    assert named.description == "height of the bar"
    assert unnamed.description == "top k"


def test_a_drawing_that_fails_says_so_where_the_picture_was(monkeypatch):
    def fragile(value):
        if value > 5:
            raise ValueError("expected at most 5 <bars>")
        return height(value)

    slider = ipywidgets.IntSlider(value=2, min=1, max=9)
    data = run_controls(monkeypatch, recording=False, draw=fragile, value=slider)
    slider.value = 6
    shown = picture_of(data).value
    assert shown == '<p role="alert">ValueError: expected at most 5 &lt;bars&gt;</p>'
    slider.value = 3
    assert picture_of(data).value == height(3).html


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
    ]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_every_hue_can_be_read_as_text_on_its_ground():
    for light, dark in zip(LIGHT, DARK, strict=True):
        assert contrast(light, "#fffdfa") >= 4.5, light  # WCAG 2.2, 1.4.3
        assert contrast(dark, "#20242b") >= 4.5, dark
