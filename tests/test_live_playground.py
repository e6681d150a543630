"""The tokenizer playground: it cuts as `regex` cuts, and encodes as tiktoken does."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest
import regex
from tiktoken._educational import bpe_encode
from tiktoken_ext.openai_public import r50k_pat_str

from course.corpus import write
from course.live.playground import playground, ranges
from solutions.tokens import to_tiktoken, train_bpe
from tests.browser import alive

TALE = """옛날 어느 마을에 시계를 고치는 할머니가 살았습니다.
할머니는 아침마다 창문을 열고 골목을 내다보았습니다.
"""
STORIES = train_bpe(write(50_000, seed=1), 512)
BOTH = train_bpe(write(5_000, seed=4) + TALE * 20, 512)
LINE = "She hid the key. 할머니의 열쇠 👩‍👩‍👧 e\u0301 33\t½"

NEWEST = "\U0001c89a\U00010d4a\ua7dc\U0001e5d0\U000323af\u0c5d\U0001e030"  # letters
SPACES = " \t\n\r\x0b\x0c\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000"
ALMOST_SPACES = "\x1c\x1f\u180e\u200b\u2060\ufeff"  # to JavaScript, the last is one
POOLS = (
    [*SPACES],
    [*SPACES, *ALMOST_SPACES, "a", "1", "!"],
    [*"aehinorst '.,"],
    ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "’s", "'", "x", " ", "안"],
    [chr(point) for point in range(0xAC00, 0xAC80)] + [" ", "."],
    [*"\u1112\u1161\u11ab\u3131\u314f할머니시계 "],  # Hangul in pieces, too
    [*"👩👧🇰🇷\u200d\ufe0f\U0001f3fd☕ e"],
    [*"e\u0301\u0323\u20dd\u093e\u0e31\u3099 o\U0001d165"],  # marks that combine
    [*"019٣७൪〇Ⅷ①½²𝟗\U00010107 ,a"],  # digits of many scripts
    [*NEWEST, " ", "a", "1"],
    [*"\x00\x01\x7f\x80\xad\ufffd\ufffe\uffff\U0010ffff a"],
)


def mixed() -> str:
    """A text in which digits, signs, marks and spaces are frequent neighbours, too."""
    rng = random.Random(7)
    return "".join("".join(rng.choices(pool, k=400)) for pool in POOLS)


WILD = train_bpe(mixed(), 1024)
VOCABULARIES = {"stories": STORIES, "both": BOTH, "wild": WILD}


def strings(number: int) -> list[str]:
    """Random texts: from pools, from all of Unicode, and both mixed."""
    rng = random.Random(0)
    texts = ["", " ", "\ufeff", "a" * 3000, " " * 3000 + "x", "👩" * 800, "안" * 900]
    texts += ["the " * 700, "\n" * 2000, "'s" * 900, "1" * 2500, "\u0301" * 1500]
    stories = write(20_000, seed=9)
    while len(texts) < number:
        pool = rng.choice(POOLS) if rng.random() < 0.7 else []
        text = ""
        for _ in range(rng.randint(1, 40)):
            if pool and rng.random() < 0.9:
                text += rng.choice(pool)
            elif rng.random() < 0.2:
                start = rng.randrange(len(stories))
                text += stories[start : start + 9]
            else:
                point = rng.randrange(0x110000 - 0x800)
                text += chr(point + 0x800 * (point >= 0xD800))  # no surrogates
        texts.append(text)
    return texts


@pytest.fixture(scope="module")
def shown(browser):
    """Three vocabularies in one figure."""
    with alive(browser, playground(VOCABULARIES, LINE)) as figure:
        yield figure


# ---- equal to Python on any text --------------------------------------------------


def test_thousands_of_texts_become_the_ids_of_tiktoken(shown):
    texts = strings(4000)
    for number, ranks in enumerate(VOCABULARIES.values()):
        shown.locator("select").select_option(index=number)
        got = shown.evaluate("(figure, texts) => texts.map(figure.encode)", texts)
        expected = to_tiktoken(ranks).encode_ordinary_batch(texts, num_threads=2)
        wrong = [t for t, a, b in zip(texts, got, expected, strict=True) if a != b]
        assert not wrong, f"{len(wrong)} texts, the first: {wrong[0]!r}"


def test_thousands_of_texts_are_cut_as_openai_s_own_pattern_cuts_them(shown):
    texts = strings(4000)
    got = shown.evaluate("(figure, texts) => texts.map(figure.cut)", texts)
    for text, words in zip(texts, got, strict=True):
        assert words == regex.findall(r50k_pat_str, text), repr(text)


def test_every_code_point_is_what_it_is_to_regex(shown):
    """Behind a letter, a digit and a sign: does it go on with the word?"""
    kinds = shown.evaluate("""figure => {
      let kinds = ""
      const goesOn = (text) => figure.cut(text).length === 1
      for (let point = 0; point < 0x110000; point++) {
        const character = String.fromCodePoint(point)
        kinds += goesOn("a" + character) ? "L" : goesOn("1" + character) ? "N"
          : goesOn("!" + character) ? "P" : "S"
      }
      return kinds
    }""")
    expected = list("P" * 0x110000)
    every = "".join(map(chr, range(0x110000)))
    for kind, pattern in ("L", r"\p{L}"), ("N", r"\p{N}"), ("S", r"\s"):
        for found in regex.finditer(pattern, every):
            expected[found.start()] = kind
    wrong = [n for n in range(0x110000) if kinds[n] != expected[n]]
    assert not wrong, f"{len(wrong)}, the first is {wrong[0]:04X}"


def test_the_ranges_are_read_on_paper():
    assert ranges("[\t-\r ]") == "9 4 j 0"  # 9 to 13, and 32 = 13 + 19
    assert ranges("\x00") == "0 0"
    assert (
        ranges("\U0010ffff") == "nvnj 0"
    )  # 1114111 = ((23 * 36 + 31) * 36 + 23) * 36 + 19


def test_any_order_of_merging_is_followed(browser):
    """Ranks that no training made; tiktoken's plain Python merges one at a time."""
    rng = random.Random(3)
    for _ in range(8):
        made = list({bytes(rng.choices(b"ab", k=rng.randint(2, 5))) for _ in range(30)})
        tokens = [bytes([byte]) for byte in range(256)] + made
        ranks = {token: rank for rank, token in enumerate(tokens)}
        texts = ["".join(rng.choices("ab", k=rng.randint(1, 30))) for _ in range(100)]
        with alive(browser, playground({"odd": ranks}, "ab")) as figure:
            got = figure.evaluate("(figure, texts) => texts.map(figure.encode)", texts)
        assert got == [bpe_encode(ranks, t.encode(), visualise=None) for t in texts]


PASTED = """(area, text) => {
  area.value = text
  area.dispatchEvent(new Event("input"))
}"""


# ---- what is shown ----------------------------------------------------------------


def ids(figure) -> list[int]:
    """The ids in the line below, which are those in the boxes."""
    line = figure.locator(".fs-ids").inner_text().removeprefix("ids:")
    return [int(number) for number in line.split()]


def boxes(figure) -> list[int]:
    return [int(text) for text in figure.locator(".fs-token").all_inner_texts()]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(
    "text",
    ["It's a bird; isn't it?", "할머니는 시계를 봅니다.", "\ta\u00a0 b\n\n c", ""],
)
def test_what_is_typed_is_shown_as_tiktoken_encodes_it(shown, number, text):
    shown.locator("select").select_option(index=number)
    shown.locator("textarea").fill(text)
    expected = to_tiktoken((STORIES, BOTH)[number]).encode_ordinary(text)
    assert ids(shown) == boxes(shown) == expected
    counts = regex.findall(r"\d+", shown.locator(".fs-says").inner_text())
    assert counts == [str(n) for n in (len(text), len(text.encode()), len(expected))]
    hexes = [f"{byte:02X}" for byte in text.encode()]
    cells = shown.locator(".fs-row > span:not([class])").all_inner_texts()
    assert [c for c in cells if regex.fullmatch("[0-9A-F]{2}", c)] == hexes


def test_another_vocabulary_encodes_at_once(shown):
    text = "할머니는 the key"
    shown.locator("select").select_option(index=0)
    shown.locator("textarea").fill(text)
    for number in 1, 0:
        shown.locator("select").select_option(index=number)
        expected = to_tiktoken((STORIES, BOTH)[number]).encode_ordinary(text)
        assert ids(shown) == boxes(shown) == expected


def test_what_has_no_look_is_named(shown):
    """A byte order mark, a space, a joiner, a NUL, a line's end, a mark on nothing."""
    shown.locator("textarea").fill("\ufeffa \u200d\x00\n\u0301")
    cells = shown.locator(".fs-row > span:not([class])").all_inner_texts()
    named = [c for c in cells if not regex.fullmatch("[0-9A-F]{2}", c)]
    assert named == ["FEFF", "a", "·", "200D", "␀", "⏎", "◌\u0301"]


def test_each_key_counts(shown):
    shown.locator("select").select_option(index=0)
    shown.locator("textarea").fill("")
    encoding = to_tiktoken(STORIES)
    for n, key in enumerate(typed := "the bridge", start=1):
        shown.locator("textarea").press_sequentially(key)
        assert ids(shown) == encoding.encode_ordinary(typed[:n])


def test_each_step_is_the_vocabulary_as_it_was_then(shown):
    """Step by step back to the bytes: tiktoken with ever fewer merges."""
    shown.locator("select").select_option(index=1)
    text = "The key of the 할머니"
    shown.locator("textarea").fill(text)
    slider, back = shown.locator("input"), shown.get_by_label("one merge back")
    steps = int(slider.get_attribute("max"))
    used = []
    for step in range(steps, 0, -1):
        assert shown.locator(".fs-step").inner_text() == f"Merges: {step} of {steps}"
        used.append(shown.locator(".fs-says").inner_text())
        before = ids(shown)
        back.click()
        newest = max(set(before) - set(ids(shown)))
        fewer = {token: rank for token, rank in BOTH.items() if rank < newest}
        assert ids(shown) == boxes(shown) == to_tiktoken(fewer).encode_ordinary(text)
    assert ids(shown) == list(text.encode())
    assert back.is_disabled()
    assert "Nothing is merged yet" in shown.locator(".fs-says").inner_text()
    shown.get_by_label("one merge on").click()
    assert shown.locator(".fs-new").count() > 0
    slider.press("End")
    assert ids(shown) == to_tiktoken(BOTH).encode_ordinary(text)


def test_a_step_says_what_became_what(browser):
    """On paper: `hug hug pug` makes `ug`, then `hug`."""
    ranks = train_bpe("hug hug pug", 258)
    with alive(browser, playground({"hugs": ranks}, "hug pug")) as figure:
        says = figure.locator(".fs-says")
        assert not figure.locator("select").is_visible()
        assert says.inner_text() == "7 characters, 7 bytes, 4 tokens."
        assert boxes(figure) == [257, 32, 112, 256]
        figure.get_by_label("one merge back").click()
        assert says.inner_text() == (
            "7 characters, 7 bytes, 5 tokens. u and g became token 256, in 2 places."
        )
        assert boxes(figure) == [104, 256, 32, 112, 256]
        assert figure.locator(".fs-new").count() == 2


def test_half_a_pair_gets_one_line(shown):
    shown.locator("textarea").evaluate(
        """area => {
          area.value = "안👩" + String.fromCharCode(0xdc00) + "x"
          area.dispatchEvent(new Event("input"))
        }"""
    )
    said = shown.locator(".fs-says").inner_text()
    assert said.startswith("Character 2 is half a surrogate pair")
    assert "\n" not in said
    assert ids(shown) == boxes(shown) == []
    shown.locator("textarea").fill("a")
    assert ids(shown) == [97]


@pytest.mark.parametrize(
    "text",
    [write(100_000, seed=5), "ab안" * 25_000, "👩" * 30_000],
    ids=["stories", "one word", "one emoji"],
)
def test_of_a_long_text_the_beginning_is_drawn_and_all_is_counted(shown, text):
    shown.locator("select").select_option(index=0)
    shown.locator("textarea").evaluate(PASTED, text)
    expected = to_tiktoken(STORIES).encode_ordinary(text)
    said = shown.locator(".fs-says").inner_text().replace(",", "")
    numbers = [int(number) for number in regex.findall(r"\d+", said)]
    assert numbers[:3] == [len(text), len(text.encode()), len(expected)]
    assert "The first 240 bytes are drawn." in said
    assert shown.locator(".fs-ids").inner_text().endswith(" …")
    assert 50 < shown.locator(".fs-token").count() < 300
    drawn = boxes(shown)
    assert drawn == expected[: len(drawn)]
    shown.locator("input").press("Home")
    assert f"{len(text.encode())} tokens" in (
        shown.locator(".fs-says").inner_text().replace(",", "")
    )


# ---- with and without the script --------------------------------------------------


def test_python_draws_what_the_script_draws(browser):
    drawing = playground(
        {"stories": STORIES, "both": BOTH}, "x" * 20 + LINE + "x" * 20 + "안" * 9
    )
    without = browser.new_context(java_script_enabled=False).new_page()
    without.set_content(f"<!doctype html><meta charset=utf-8>{drawing.html}")
    with alive(browser, drawing) as figure:
        for part in ".fs-words", ".fs-says", ".fs-ids":
            drawn, still = (
                page.locator(part).inner_html().replace("\n", "")
                for page in (figure, without)
            )
            # The script's styles are written back as `--w: 3;`.
            assert regex.sub(r'(--\w): (\d+);"', r'\1:\2"', drawn) == still
    assert not without.locator("textarea").is_visible()
    without.context.close()


def test_a_row_fits_a_phone(shown):
    shown.locator("textarea").fill("internationalisation" * 3 + " 안녕하세요안녕하세요")
    assert shown.evaluate("figure => figure.scrollWidth <= figure.clientWidth")


@pytest.mark.parametrize("text", ["internationalisation", "안녕하세요안녕", "the key"])
def test_the_labels_stand_beside_the_first_word(shown, text):
    shown.locator("textarea").fill(text)
    names = shown.locator(".fs-names").bounding_box()
    first = shown.locator(".fs-row").first.bounding_box()
    assert first["x"] >= names["x"] + names["width"]
    assert abs(first["y"] - names["y"]) < 1
    # No wider than a full row of 16 bytes.
    assert first["x"] + first["width"] - names["x"] <= 16 * 22 + 4
    assert shown.evaluate("figure => figure.scrollWidth <= figure.clientWidth")


def test_neighbouring_ids_stand_apart(shown):
    """Three digits each, in the width of one byte."""
    shown.locator("textarea").fill("externs")
    shown.locator("input").press("Home")
    assert boxes(shown) == [*b"externs"]
    digits = shown.locator(".fs-token").evaluate_all("""all => all.map((token) => {
      const range = document.createRange()
      range.selectNodeContents(token)
      const box = range.getBoundingClientRect()
      return [box.left, box.right]
    })""")
    gaps = [right[0] - left[1] for left, right in pairwise(digits)]
    assert min(gaps) >= 4


def test_nothing_jumps_when_the_sentence_grows(shown):
    shown.locator("select").select_option(index=0)
    shown.locator("textarea").fill("She hid the key.")
    tops = set()
    for key in "Home", "ArrowRight", "ArrowRight", "End":
        shown.locator("input").press(key)
        words = shown.locator(".fs-words").bounding_box()
        tops.add(words["y"] - shown.locator(".fs-says").bounding_box()["y"])
    assert len(tops) == 1


def test_paper_keeps_the_tokens(shown):
    """Browsers print no backgrounds, except where they are told to."""
    shown.locator("textarea").fill("the")
    assert (
        shown.locator(".fs-token").first.evaluate(
            "token => getComputedStyle(token).printColorAdjust"
        )
        == "exact"
    )


@pytest.mark.parametrize(
    ("vocabularies", "text", "words"),
    [
        ({}, "a", "needs a vocabulary"),
        ({"half": {b"a": 0}}, "a", "the vocabulary of half lacks the byte 0"),
        ({"all": STORIES}, "안" * 90, "the text has 270 bytes, expected 240 at most"),
        ({"all": STORIES}, "\ud800", "half a surrogate pair"),
        (
            {"gpt2": {bytes([255 - byte]): byte for byte in range(256)}},
            "a",
            "byte b has not the id b",
        ),
    ],
)
def test_what_cannot_be_played_with_is_refused_in_one_line(vocabularies, text, words):
    with pytest.raises(ValueError, match=words) as caught:
        playground(vocabularies, text)
    assert "\n" not in str(caught.value)


def test_the_data_is_small():
    html = playground({"stories": STORIES, "both": BOTH}, LINE).html
    script = Path(playground.__code__.co_filename).with_suffix(".js").stat().st_size
    assert len(html.encode()) - script < 30_000
