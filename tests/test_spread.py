"""Bytes, characters and tokens in one picture: each as wide as its bytes."""

from __future__ import annotations

import itertools
import re

import pytest

from course import pretrained
from course.spread import spread

BOX = re.compile(r'<rect x="([\d.]+)" y="(\d+)" width="(\d+)"')
TEXT = re.compile(r'<text x="([\d.]+)" y="(\d+)"[^>]*>([^<]*)')


@pytest.fixture(scope="module")
def encoding():
    return pretrained.load()[1]


def test_a_box_is_as_wide_as_its_bytes_and_stands_above_them(encoding):
    text = "Mina 안🙂"
    html = spread(text, encoding).html
    boxes = [(float(x), int(y), int(w)) for x, y, w in BOX.findall(html)]
    characters = [(x, w) for x, y, w in boxes if y == 8]
    tokens = [(x, w) for x, y, w in boxes if y == 64]
    # Mina and a space have a byte each; 안 has three, 🙂 four.
    assert [round((w + 3) / 27) for _, w in characters] == [1, 1, 1, 1, 1, 3, 4]
    assert [round((w + 3) / 27) for _, w in tokens] == [4, 1, 1, 1, 1, 1, 1, 1, 1]
    for row in characters, tokens:
        for (x, w), (following, _) in itertools.pairwise(row):
            assert x + w + 3 == following
    words = [word for _, y, word in TEXT.findall(html) if y == "51"]
    assert words == ["bytes", *text.encode().hex(" ").split()]
    middles = [float(x) for x, y, _ in TEXT.findall(html) if y == "51"][1:]
    assert middles == [58 + 27 * n + 13.5 for n in range(12)]


def test_each_token_shows_what_it_is_alone(encoding):
    html = spread("Mina 안", encoding).html
    shown = [word for _, y, word in TEXT.findall(html) if y in ("26", "82")]
    assert shown == ["text", "tokens", *"Mina␣안", "Mina", "␣", *"���"]


def test_in_words(encoding):
    assert spread("안!", encoding).alt == (
        "“안!” has 2 characters, of 3, 1 bytes, and 4 tokens, of 1, 1, 1, 1."
    )


def test_signs_of_html_stay_text(encoding):
    words = [word for _, y, word in TEXT.findall(spread("a<", encoding).html)]
    assert words.count("&lt;") == 2


def test_no_text_is_refused(encoding):
    with pytest.raises(ValueError, match="the text is empty"):
        spread("", encoding)
