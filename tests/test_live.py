"""Figures that live without a kernel: in the file, and in the browser."""

from __future__ import annotations

import pytest

from course import figures
from course.figures import live

COUNTER = """\
// Counts up.
(figure, data) => {
  let count = data.start  // kept: not a line of its own
  const says = figure.querySelector(".fs-says")
  figure.querySelector("button").addEventListener("click", () => {
    says.textContent = data.words + " " + ++count
  })
}
"""
PICTURE = (
    '<p class="fs-says" role="status">nothing yet</p>'
    '<div class="fs-controls"><button type="button">more</button></div>'
)


@pytest.fixture
def counter(tmp_path, monkeypatch):
    """A folder of scripts with one in it; gives that script's path."""
    monkeypatch.setattr(figures, "SCRIPTS", tmp_path)
    path = tmp_path / "counter.js"
    path.write_text(COUNTER)
    return path


def drawn(start=3, words="now"):
    return live("counter", PICTURE, "A counter.", {"start": start, "words": words})


def page_of(*drawings) -> str:
    body = "\n".join(d.html for d in drawings)
    return f"<!doctype html><html data-theme=light><body>{body}</body></html>"


def test_the_picture_stands_in_the_page_and_the_script_follows(counter):
    html = drawn().html
    assert 'class="fs-figure fs-live fs-counter"' in html
    assert 'role="group" aria-label="A counter."' in html
    assert html.index("nothing yet") < html.index("<script>")
    assert "Counts up" not in html
    assert "not a line of its own" in html
    assert html == drawn().html
    assert html != drawn(start=4).html


def test_styles_come_along_where_there_are_some(counter):
    assert ".fs-counter{" not in drawn().html
    counter.with_suffix(".css").write_text("/* wide */\n.fs-counter{width:9em}\n")
    assert ".fs-counter{width:9em}</style>" in drawn().html
    assert "wide */" not in drawn().html


@pytest.mark.parametrize(
    ("name", "alt", "data", "words"),
    [
        ("counter", " ", None, "needs alt="),
        ("nothing", "A.", None, "nothing.js is not in course/live"),
        ("counter", "A.", float("nan"), "not JSON compliant"),
    ],
)
def test_what_cannot_live_is_refused_in_one_line(counter, name, alt, data, words):
    with pytest.raises(ValueError, match=words) as caught:
        live(name, PICTURE, alt, data)
    assert "\n" not in str(caught.value)


def test_a_file_that_would_end_its_own_element_is_refused(counter):
    counter.with_suffix(".css").write_text(".fs-counter::after{content:'</style>'}")
    with pytest.raises(ValueError, match=r"counter\.css holds '</style'"):
        drawn()
    counter.write_text("() => '</script>'")
    with pytest.raises(ValueError, match=r"counter\.js holds '</script'"):
        drawn()


def test_two_of_a_kind_live_side_by_side(counter, browser):
    words = 'a < b & "c" </script> \u2028 안'
    tab = browser.new_page()
    faults = []
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.set_content(page_of(drawn(3), drawn(3), drawn(10, words)))
    first, second, third = tab.locator(".fs-counter").all()
    for figure, clicks in (first, 1), (second, 2), (third, 3):
        for _ in range(clicks):
            figure.locator("button").click()
    said = tab.locator(".fs-says").evaluate_all("all => all.map(e => e.textContent)")
    assert said == ["now 4", "now 5", f"{words} 13"]
    # JupyterLab leaves the keys to what bears this mark.
    assert tab.locator("button[data-lm-suppress-shortcuts]").count() == 3
    assert not faults
    tab.close()


def test_controls_are_there_only_where_something_answers(counter, browser):
    tab = browser.new_page()
    tab.set_content(page_of(drawn()))
    assert tab.locator("button").is_visible()
    tab.emulate_media(media="print")
    assert not tab.locator("button").is_visible()
    assert tab.locator(".fs-says").is_visible()
    tab.close()
    without = browser.new_context(java_script_enabled=False).new_page()
    without.set_content(page_of(drawn()))
    assert not without.locator("button").is_visible()
    assert without.locator(".fs-says").is_visible()
    without.context.close()


def test_a_script_that_is_run_outside_of_its_figure_finds_it(counter, browser):
    """As in editors that take the scripts of an output out and run them by hand."""
    tab = browser.new_page()
    tab.set_content("<!doctype html><div id=place></div>")
    tab.evaluate(
        """html => {
          document.querySelector("#place").innerHTML = html
          for (const old of document.querySelectorAll("#place script")) {
            const script = document.createElement("script")
            script.text = old.innerText
            document.body.append(script)
          }
        }""",
        drawn().html + drawn().html,
    )
    for button in tab.locator("button").all():
        button.click()
    said = tab.locator(".fs-says").evaluate_all("all => all.map(e => e.textContent)")
    assert said == ["now 4", "now 4"]
    tab.close()
