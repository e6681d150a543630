"""The ladder: what was measured, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from playwright.sync_api import Page

from course import corpus, exercise, ladder
from course.ladder import RUNGS, place
from course.notebooks import chapters, read
from tests.displayed import displayed


@pytest.fixture
def record(tmp_path, monkeypatch):
    monkeypatch.setattr(ladder, "RECORD", tmp_path / "ladder.json")
    monkeypatch.setattr(exercise, "opened", None)
    monkeypatch.delenv("FIVE_SUNDAYS_RECORD", raising=False)
    return tmp_path / "ladder.json"


def shown(*args, **rungs) -> dict:
    with displayed() as bundles:
        place(*args, **rungs)
    (data,) = bundles
    return data


def rows(html: str) -> dict[str, tuple[str, str]]:
    """Each rung's kind and its numbers, as read from the figure."""
    found = re.findall(
        r'<li class="fs-(\w+)".*?<b>(.*?)</b>.*?class="fs-bits">(.*?)</span>', html
    )
    return {
        re.sub("<.*?>", "", title): (kind, re.sub("<.*?>", "", bits).strip())
        for kind, title, bits in found
    }


def test_a_rung_is_shown_with_its_distance_to_the_floor(record):
    data = shown(uniform=5.0, bigram=3.25, floor=1.5)
    assert rows(data["text/html"]) == {
        "Uniform": ("here", "5.00 +3.50"),
        "Unigram": ("later", "to come"),
        "Bigram": ("here", "3.25 +1.75"),
        "One causal head": ("later", "to come"),
        "Multi-head": ("later", "to come"),
        "GPT block": ("later", "to come"),
        "Pretrained GPT": ("later", "to come"),
        "Entropy floor": ("floor", "1.50"),
    }
    widths = re.findall(r'fs-bar"><span style="width:([\d.]+)%', data["text/html"])
    assert widths == ["100.0", "65.0", "30.0"]
    assert data["text/plain"] == (
        "[figure] Bits per character, lower is better: Uniform 5.00, Bigram 3.25, "
        "Entropy floor 1.50. To come: Unigram, One causal head, Multi-head, GPT block, "
        "Pretrained GPT."
    )


def test_a_model_that_leaks_is_seen_below_the_floor(record):
    html = shown("bigram", 1.0, floor=1.5)["text/html"]
    assert rows(html)["Bigram"] == ("here", "1.00 -0.50")


def test_nothing_is_recorded_unless_it_is_asked_for(record):
    shown("bigram", 3.25)
    assert not record.exists()


def test_what_is_recorded_says_where_it_comes_from(record, monkeypatch):
    monkeypatch.setenv("FIVE_SUNDAYS_RECORD", "1")
    shown(causal_head=2.123456, floor=1.5)
    shown("uniform", 5.0)
    assert list(json.loads(record.read_text()).items()) == [
        ("uniform", entry(5.0, "week1/language-models")),
        ("causal-head", entry(2.1235, "week2/causal-masking")),
        ("floor", entry(1.5, "week1/language-models")),
    ]
    assert not list(record.parent.glob("*.tmp*"))


def entry(bits: float, chapter: str) -> dict:
    version = torch.__version__.split("+")[0]
    return {"bits": bits, "chapter": chapter, "torch": version}


def test_a_chapter_shows_what_came_before_it_and_not_what_comes_after(record):
    first = shown(unigram=4.0, floor=1.5)["text/html"]
    ladder.record({"uniform": 5.0, "unigram": 4.2, "gpt-block": 2.0, "floor": 1.5})
    assert rows(shown("bigram", 3.25)["text/html"]) == rows(first) | {
        "Uniform": ("reached", "5.00 +3.50"),
        "Unigram": ("reached", "4.20 +2.70"),
        "Bigram": ("here", "3.25 +1.75"),
    }
    alone = rows(shown("floor", 1.5)["text/html"])
    assert [title for title, row in alone.items() if row[0] != "later"] == [
        "Entropy floor"
    ]


@pytest.mark.parametrize(
    ("rungs", "words"),
    [
        ({"trigram": 3.0}, "no rung 'trigram' on the ladder; it has uniform, unigram"),
        ({"bigram": float("nan")}, "bigram: expected bits per character above 0"),
        ({"bigram": float("inf")}, "bigram: expected bits per character above 0"),
        ({"bigram": 0.0}, "bigram: expected bits per character above 0, got 0.0"),
        ({"bigram": -1.0}, "bigram: expected bits per character above 0, got -1.0"),
        ({}, "nothing to place"),
    ],
)
def test_what_is_no_result_is_refused_in_one_line(record, monkeypatch, rungs, words):
    monkeypatch.setenv("FIVE_SUNDAYS_RECORD", "1")
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        place(**rungs)
    assert "\n" not in str(caught.value)
    assert not record.exists()


def test_a_rung_without_bits_is_refused(record):
    with pytest.raises(ValueError, match="bigram: expected bits per character above 0"):
        place("bigram")


def test_the_landing_page_shows_the_record():
    """Fails if results were recorded and `python -m course.ladder` was not run."""
    assert ladder.PAGE.read_text("utf-8") == ladder.landing()


def test_the_landing_page_invents_nothing():
    recorded = json.loads(ladder.RECORD.read_text()) if ladder.RECORD.exists() else {}
    listed = rows(ladder.PAGE.read_text("utf-8"))
    assert len(listed) == len(RUNGS)
    for name, rung in RUNGS.items():
        bits = listed[rung.title][1]
        assert (bits == "to come") == (name not in recorded), name
        if name in recorded:
            assert bits.startswith(f"{recorded[name]['bits']:.2f}")


def test_the_recorded_floor_is_that_of_the_stories():
    """Fails if the stories changed and the notebooks were not run again."""
    assert ladder.recorded()["floor"] == round(corpus.floor(), 4)


def kinds(html: str) -> dict[str, str]:
    return {title: kind for title, (kind, _) in rows(html).items()}


def test_a_chapter_without_a_rung_shows_how_far_the_course_has_come(
    record, monkeypatch
):
    ladder.record(dict.fromkeys(RUNGS, 2.0))
    monkeypatch.setattr(ladder, "CHAPTERS", ("language_models", "tokens"))
    monkeypatch.setattr(exercise, "opened", "tokens")
    data = shown()["text/html"]
    week1 = ["Uniform", "Unigram", "Bigram", "Entropy floor"]
    assert [title for title, kind in kinds(data).items() if kind != "later"] == week1
    assert "here" not in kinds(data).values()

    grown = ("language_models", "tokens", "attention", "causal_masking", "multi_head")
    monkeypatch.setattr(ladder, "CHAPTERS", grown)
    assert shown()["text/html"] == data
    monkeypatch.setattr(exercise, "opened", "attention")
    assert shown()["text/html"] == data
    monkeypatch.setattr(exercise, "opened", "causal_masking")
    assert kinds(shown()["text/html"])["One causal head"] == "reached"


def test_a_chapter_is_open_once_it_has_begun(record, capsys):
    ladder.record({"uniform": 5.0, "floor": 1.5, "gpt-block": 2.0})
    exercise.begin("tokens")
    assert kinds(shown()["text/html"]) == {
        rung.title: "later" for rung in RUNGS.values()
    } | {"Uniform": "reached", "Entropy floor": "floor"}


def test_a_rung_that_is_reached_links_to_its_chapter(record):
    html = shown(uniform=5.0, causal_head=3.0, floor=1.5)["text/html"]
    assert re.findall(r'<a href="(.*?)">(.*?)<', html) == [
        ("../week1/language-models.html", "Uniform"),
        ("../week2/causal-masking.html", "One causal head"),
        ("../week1/language-models.html", "Entropy floor"),
    ]
    home = ladder.ladder({"uniform": 5.0}, base="chapters/").html
    assert re.findall(r'<a href="(.*?)"', home) == [
        "chapters/week1/language-models.html"
    ]


def test_a_rung_says_what_its_bits_mean(record):
    html = shown(uniform=5.0, bigram=3.0, causal_head=3.25, floor=1.0)["text/html"]
    assert re.findall('"fs-costs" hidden>(.*?)</p>', html) == [
        "As unsure as with 32 equally likely characters; 4.00 bits above the floor.",
        "As unsure as with 8 equally likely characters; "
        "2.00 bits fewer than Uniform, 2.00 bits above the floor.",
        "As unsure as with 9.51 equally likely characters; "  # 2^3.25 = 8 * 1.1892
        "0.25 bits more than Bigram, 2.25 bits above the floor.",
        "As unsure as with 2 equally likely characters: "
        "no model is surer on fresh stories.",
    ]
    leaking = ladder.ladder({"bigram": 0.5, "floor": 1.0}).html
    assert "characters; 0.50 bits below the floor." in leaking


# ---- in the browser ---------------------------------------------------------------

SIDEBAR = """<div class="bd-sidebar-primary"><nav>
<a href="../week1/language-models.html">L</a><a href="#">This page</a>
<a href="../week2/causal-masking.html">C</a></nav></div>"""
BITS = {"uniform": 6.0, "unigram": 4.5, "bigram": 3.0, "floor": 0.6}


@contextmanager
def page(browser, before="", body="", drawn=None, **options) -> Iterator[Page]:
    """The ladder in a page of the book's folder structure; the network is not used."""
    html = (drawn or ladder.ladder(BITS, here={"bigram": 3.0})).html
    html = f"<!doctype html><html data-theme=light><body {body}>{before}{html}"
    context = browser.new_context(**options)
    context.route("**/*", lambda route: route.fulfill(body=html, content_type=HTML))
    tab = context.new_page()
    faults = []
    tab.on("pageerror", lambda error: faults.append(str(error)))
    try:
        tab.goto("http://book.test/chapters/week1/tokens.html")
        yield tab
        assert not faults
    finally:
        context.close()


HTML = "text/html; charset=utf-8"
LINKS = "all => all.map(a => [a.textContent, a.href])"


def links(tab: Page) -> dict[str, str]:
    return dict(tab.locator(".fs-ladder a").evaluate_all(LINKS))


def test_a_rung_to_come_is_linked_once_the_book_has_its_chapter(browser):
    week1 = "http://book.test/chapters/week1/language-models.html"
    reached = dict.fromkeys(["Uniform", "Unigram", "Bigram", "Entropy floor"], week1)
    with page(browser) as tab:
        assert links(tab) == reached
    with page(browser, SIDEBAR) as tab:
        later = "http://book.test/chapters/week2/causal-masking.html"
        assert links(tab) == reached | {"One causal head": later}
        assert (
            tab.locator("li", has_text="One causal head")
            .inner_text()
            .endswith("to come")
        )
        tab.get_by_role("link", name="One causal head").click()
        assert tab.url == later
    with page(browser, SIDEBAR, java_script_enabled=False) as tab:
        names = tab.locator(".fs-ladder a").all_inner_texts()
        assert names == list(reached)
        assert tab.locator(".fs-ladder button").count() == 0
        tab.get_by_role("link", name="Bigram").click()
        assert tab.url == week1


def test_the_numbers_of_a_rung_unfold_by_keyboard(browser):
    with page(browser, SIDEBAR) as tab:
        stops = []
        for _ in range(9):
            tab.keyboard.press("Tab")
            stops.append(
                tab.evaluate(
                    "() => { const e = document.activeElement; return e.closest"
                    "('.fs-ladder') ? `${e.tagName} ${e.textContent.trim()}` : '-' }"
                )
            )
            if stops[-1] == "BUTTON 3.00 +2.40":
                outline = tab.evaluate(
                    "getComputedStyle(document.activeElement).outlineStyle"
                )
                assert outline == "solid"
                break
        assert stops[-5:] == [
            "BUTTON 6.00 +5.40",
            "A Unigram",
            "BUTTON 4.50 +3.90",
            "A Bigram",
            "BUTTON 3.00 +2.40",
        ]
        says = tab.locator("li", has_text="Bigram").locator("p")
        button = tab.get_by_role("button", name="Bigram, 3.00 +2.40: what it means")
        assert not says.is_visible()
        for shown_now in (True, False):
            tab.keyboard.press("Enter")
            assert says.is_visible() == shown_now
            assert button.get_attribute("aria-expanded") == str(shown_now).lower()
        tab.keyboard.press("Space")
        assert says.inner_text() == (
            "As unsure as with 8 equally likely characters; "
            "1.50 bits fewer than Unigram, 2.40 bits above the floor."
        )


@pytest.mark.parametrize("width", [390, 1440])
def test_bars_are_as_long_as_their_bits(browser, width):
    with page(browser, viewport={"width": width, "height": 900}) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        bars = tab.locator("li:not(.fs-later) .fs-bar")
        measured = bars.evaluate_all(
            """all => all.map(bar => [bar, bar.firstChild].map(
                 e => e.getBoundingClientRect().width))"""
        )
        grey = bars.evaluate_all(
            "all => all.map(b => parseFloat(getComputedStyle(b, '::after').width))"
        )
        for (whole, part), floor, bits in zip(
            measured, grey, BITS.values(), strict=True
        ):
            assert part / whole == pytest.approx(bits / 6.0, abs=0.001)
            assert floor / whole == pytest.approx(0.6 / 6.0, abs=0.001)
        for target in tab.locator(".fs-ladder button").all():
            assert target.bounding_box()["height"] >= 36


def test_in_jupyterlab_a_rung_opens_the_notebook(browser):
    """Lab has by then made of a link the address of a file, and listens to it."""
    with page(browser, body="data-jp-theme-light=true") as tab:
        opened = tab.evaluate(
            """() => {
              const link = document.querySelector(".fs-ladder a")
              link.href = "/some/base/files/a%20b/week1/language-models.html?_xsrf=2"
              const seen = []
              link.addEventListener("click", () => seen.push("a page"))
              document.body.addEventListener("click", event => {
                const { commandlinkerCommand, commandlinkerArgs } = event.target.dataset
                seen.push(commandlinkerCommand, JSON.parse(commandlinkerArgs))
              })
              const click = new MouseEvent("click", { bubbles: true, cancelable: true })
              const goes = link.dispatchEvent(click)
              return [goes, ...seen]
            }"""
        )
        path = {"path": "a b/week1/language-models.ipynb"}
        assert opened == [False, "docmanager:open", path]
        assert tab.url.endswith("tokens.html")
        assert tab.locator("[data-commandlinker-command]").count() == 0


def test_every_chapter_ends_with_the_ladder():
    """After its last exercise; only the summary and the quiz come later."""
    for path in chapters():
        sources = [cell.source for cell in read(path).cells]
        at = [n for n, source in enumerate(sources) if "ladder.place(" in source]
        assert at, f"{path.name} does not place its model on the ladder"
        assert not any("@exercise" in source for source in sources[at[-1] :])
