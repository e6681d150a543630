"""The ladder: what was measured, and nothing else."""

from __future__ import annotations

import json
import re

import pytest
import torch

from course import corpus, exercise, ladder
from course.ladder import RUNGS, place
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


