"""The chat page, in a browser: alone with a model, and with an engine that waits."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import httpx
import pytest
import torch
from playwright.sync_api import Browser, Page, expect
from torch.testing import assert_close
from transformers import GPT2LMHeadModel

from course import corpus, pretrained, tuning
from course.serve.app import FOLDER
from course.serve.engine import Engine, Overloaded, Token
from course.serve.guard import SENT_WITH_ALL
from course.serve.served import Served
from tests.browser import axe_faults, opened
from tests.serving import Held, served

STORIES, CHAT = "five-sundays", "five-sundays-chat"
MODEL, ENCODING = pretrained.load()
ENCODE = ENCODING.encode_ordinary
(LINE,) = ENCODE("\n")
PATIENCE = 60


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server of both models that come with the course."""
    tuned, _ = pretrained.load(tuning.FOLDER)
    models = [
        Served(CHAT, Engine(tuned), ENCODING, chats=True),
        Served(STORIES, Engine(MODEL), ENCODING),
    ]
    with served(*models) as address:
        yield address
    for model in models:
        model.engine.close()


@pytest.fixture(scope="module")
def theirs() -> GPT2LMHeadModel:
    """The model that answers, as transformers has it."""
    return GPT2LMHeadModel.from_pretrained(tuning.FOLDER).eval()


def answered(
    model: GPT2LMHeadModel, ids: list[int], most: int | None = None
) -> list[int]:
    """The likeliest tokens of transformers, up to the end of the line."""
    given = torch.tensor([ids])
    written = model.generate(
        given,
        attention_mask=torch.ones_like(given),
        max_new_tokens=most or 256 - len(ids),
        do_sample=False,
        pad_token_id=0,
        eos_token_id=LINE,
    )
    new = written[0, len(ids) :].tolist()
    return new[:-1] if new[-1] == LINE else new


def template(*texts: str) -> list[int]:
    """User and assistant in turn, by hand."""
    ids = ENCODE("\n")
    for number, text in enumerate(texts):
        ids += [*ENCODE(text), *ENCODE("\n\n" if number % 2 else "\n")]
    return ids


def send(page: Page, text: str) -> None:
    page.locator("#text").fill(text)
    page.locator("#text").press("Enter")


def answer(page: Page) -> str:
    """The last answer, when it is complete."""
    expect(page.locator(".retry")).to_be_visible(timeout=1000 * PATIENCE)
    return page.locator(".answer p").last.text_content()


def always_the_likeliest(page: Page) -> None:
    page.locator("summary").click()
    page.locator("#heat").press("Home")
    expect(page.locator("#heat-shown")).to_have_text("0.0")
    page.locator("summary").click()


@contextmanager
def waiting(
    browser: Browser, faults_like: str = "none", chats: bool = True, **options
) -> Iterator[tuple[Page, Held]]:
    """The page, and an engine that writes what the test says.

    `faults_like`: what the browser may complain about.
    """
    engine = Held(MODEL.config)
    with (
        served(Served(CHAT, engine, ENCODING, chats)) as url,
        opened(browser, f"{url}/", **options) as (page, faults),
    ):
        yield page, engine
        assert [fault for fault in faults if not re.search(faults_like, fault)] == []


def requested(page: Page, engine: Held) -> SimpleNamespace:
    """What the engine is asked next; a page can only ask while a test waits for it."""
    for _ in range(100 * PATIENCE):
        if not engine.asked.empty():
            return engine.asked.get()
        page.wait_for_timeout(10)
    pytest.fail("the engine was not asked")


def write(asked: SimpleNamespace, text: str, end: bool = True, p: float = 0.5) -> None:
    """Let the engine write it, each token with this probability."""
    for token in ENCODE(text):
        asked.token(Token(token, math.log(p), ((5, math.log(1 - p)),)))
    if end:
        asked.end(None)


def told(
    page: Page, engine: Held, question: str, text: str, p: float = 0.5
) -> list[int]:
    """Ask, and let it be answered; the tokens that the engine was given."""
    send(page, question)
    asked = requested(page, engine)
    write(asked, text, p=p)
    assert answer(page) == text
    return list(asked.request.ids)


# ---- a conversation -----------------------------------------------------------------


def test_a_conversation_is_what_the_model_says(browser, url, theirs):
    with opened(browser, f"{url}/") as (page, faults):
        always_the_likeliest(page)
        texts = []
        for question in "Tell me a story.", "Who won?\n\nWho lost?", "Who won?":
            send(page, question)
            expect(page.locator(".user").last).to_have_text(question)
            said = ENCODING.decode(answered(theirs, template(*texts, question)))
            assert answer(page) == said
            texts += question, said
        assert len(texts[1]) > 200
        assert page.locator("#status").text_content() == texts[-1]
        page.locator("#fresh").click()
        assert page.locator(".exchange").count() == 0
        send(page, "Who?")  # nothing is left of what was said before
        assert answer(page) == ENCODING.decode(answered(theirs, template("Who?")))
        assert faults == []


def test_a_model_that_continues_can_be_chosen(browser, url):
    with opened(browser, f"{url}/") as (page, faults):
        always_the_likeliest(page)
        page.locator("summary").click()
        page.get_by_label("Model").select_option(STORIES)
        page.locator("summary").click()
        expect(page.locator("h2")).to_have_text("Begin a text")
        send(page, "One rainy day")
        theirs = GPT2LMHeadModel.from_pretrained(pretrained.FOLDER).eval()
        begins = ENCODING.decode(answered(theirs, ENCODE("\nOne rainy day"), 25))
        assert answer(page).startswith(f"One rainy day{begins}")
        assert "no more than 256 tokens" in page.locator(".below").inner_text()
        assert faults == []


def test_a_model_can_begin_by_itself(browser):
    with waiting(browser, chats=False) as (page, engine):
        page.get_by_role("button", name="Begin for me").click()
        asked = requested(page, engine)
        assert list(asked.request.ids) == [LINE]
        write(asked, "Mina had")
        assert answer(page) == "Mina had"
        assert page.locator("#choice").is_hidden()  # there is one model alone


def test_text_comes_as_it_is_written(browser):
    with waiting(browser) as (page, engine):
        page.get_by_role("button", name="Tell me a story.").click()
        asked = requested(page, engine)
        assert list(asked.request.ids) == template("Tell me a story.")
        assert asked.request.end == LINE  # no token after it is written in vain
        said = page.locator(".answer p")
        expect(page.locator("#stop")).to_be_visible()
        expect(page.locator("#send")).to_be_hidden()
        write(asked, "Mina had", end=False)
        expect(said).to_have_text("Mina had")
        write(asked, " a kite.", end=False)
        expect(said).to_have_text("Mina had a kite.")
        assert page.locator(".retry").count() == 0
        asked.end(None)
        assert answer(page) == "Mina had a kite."
        expect(page.locator("#stop")).to_be_hidden()
        expect(page.locator("#send")).to_be_visible()


@pytest.mark.parametrize("key", [None, "Escape"])
def test_an_answer_can_be_stopped(browser, key):
    with waiting(browser) as (page, engine):
        send(page, "Tell me a story.")
        asked = requested(page, engine)
        write(asked, "Mina had", end=False)
        expect(page.locator(".answer p")).to_have_text("Mina had")
        page.keyboard.press(key) if key else page.locator("#stop").click()
        assert asked.ticket.cancelled.wait(PATIENCE)
        assert answer(page) == "Mina had"
        expect(page.locator(".below")).to_contain_text("Stopped.")
        # What was said remains said.
        ids = told(page, engine, "Who?", "Mina")
        assert ids == template("Tell me a story.", "Mina had", "Who?")


def test_a_new_conversation_ends_what_is_being_written(browser):
    with waiting(browser) as (page, engine):
        send(page, "Tell me a story.")
        asked = requested(page, engine)
        write(asked, "Mina had", end=False)
        expect(page.locator(".answer p")).to_have_text("Mina had")
        page.locator("#fresh").click()
        assert asked.ticket.cancelled.wait(PATIENCE)
        expect(page.locator("#said")).to_be_empty()
        expect(page.locator("#send")).to_be_visible()
        assert told(page, engine, "Who?", "Omar") == template("Who?")
        assert page.locator(".exchange").count() == 1


def test_an_answer_can_be_had_again(browser):
    with waiting(browser) as (page, engine):
        told(page, engine, "Tell me a story.", "Mina had a kite.")
        first = told(page, engine, "Who?", "Omar")
        page.get_by_role("button", name="Retry").click()
        asked = requested(page, engine)
        assert list(asked.request.ids) == first
        write(asked, "Mina")
        assert answer(page) == "Mina"
        assert page.locator(".exchange").count() == 2
        assert page.locator(".retry").count() == 1  # of the last answer alone


def test_nothing_that_is_said_is_html(browser):
    evil = "<img src=x onerror=alert(1)> <b>bold</b> &amp; ${1} \"'"
    with waiting(browser) as (page, engine):
        told(page, engine, evil, evil)
        page.locator("#shade").click()
        assert page.locator(".user").text_content() == evil
        assert page.locator(".answer p").text_content() == evil
        assert page.locator("#thread").locator("img, b, script").count() == 0
        page.locator(".token").nth(1).click()
        assert page.locator("#card").locator("img, b, script").count() == 0


def test_enter_sends_but_not_everywhere(browser):
    with waiting(browser) as (page, engine):
        page.locator("#text").press_sequentially("a")
        page.locator("#text").press("Shift+Enter")
        page.locator("#text").press_sequentially("b")
        page.locator("#text").press("Enter")
        asked = requested(page, engine)
        assert list(asked.request.ids) == template("a\nb")
        asked.end(None)
        expect(page.locator("#text")).to_have_value("")
        send(page, "  \n ")
        assert page.locator(".exchange").count() == 1  # there was nothing to send


def test_on_a_phone_enter_makes_a_line(browser, url):
    context = browser.new_context(has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(url)
    page.locator("#chips button").first.wait_for()
    assert page.evaluate("document.activeElement === document.body")  # no keyboard
    send(page, "a")
    assert page.locator("#text").input_value() == "a\n"
    context.close()


def test_the_example_is_a_story_of_the_course(browser):
    with waiting(browser) as (page, engine):
        page.get_by_role("button", name="Show me an example").click()
        story, question = page.locator("#text").input_value().split("\n\n")
        bits = corpus.bits(story)
        questions = [each.question for each in corpus.Story(story, bits).questions]
        assert question in questions
        page.locator("#send").click()
        asked = requested(page, engine)
        assert list(asked.request.ids) == template(f"{story}\n\n{question}")
        asked.end(None)


# ---- what does not fit --------------------------------------------------------------


def test_the_oldest_questions_are_left_out_and_marked(browser):
    story = " old" * 120
    with waiting(browser) as (page, engine):
        told(page, engine, story + "\n\nWho?", "Mina")
        texts = [story.strip() + "\n\nWho?", "Mina"]
        for number in range(3):
            question = f"{' a' * 40} {number}?".strip()
            ids = told(page, engine, question, "Omar")
            texts += question, "Omar"
        kept = [*texts[:2], *texts[-4:-1]]
        assert ids == template(*kept)
        below = page.locator(".below").last.inner_text()
        assert "the story stays, the oldest question is left out" in below
        unread = page.locator(".exchange.unread")
        assert unread.count() == 1
        expect(unread.locator(".user")).to_have_text(texts[2])


def test_what_is_too_long_can_be_edited(browser, url):
    with opened(browser, f"{url}/") as (page, faults):
        long = ("old " * 300).strip()
        send(page, long)
        notice = page.locator(".notice")
        expect(notice).to_contain_text(re.compile(r"\d+ tokens, .* a context of 256"))
        notice.get_by_role("button", name="Edit").click()
        expect(page.locator("#text")).to_have_value(long)
        assert page.locator(".exchange").count() == 0
        assert all("400" in fault for fault in faults)


# ---- a server that does not answer --------------------------------------------------


def test_a_server_that_is_gone(browser):
    with waiting(browser, "ERR_INTERNET_DISCONNECTED") as (page, engine):
        told(page, engine, "Who?", "Mina")
        page.context.set_offline(True)
        send(page, "Where?")
        notice = page.locator(".notice")
        expect(notice).to_contain_text('The server does not answer. Is "sundays serve"')
        expect(page.locator("#send")).to_be_visible()
        assert (
            page.locator("#status").text_content() == notice.locator("p").inner_text()
        )
        page.context.set_offline(False)
        notice.get_by_role("button", name="Try again").click()
        asked = requested(page, engine)
        assert list(asked.request.ids) == template("Who?", "Mina", "Where?")
        write(asked, "Here")
        assert answer(page) == "Here"
        expect(notice).to_have_count(0)


def test_what_had_no_answer_was_not_said(browser):
    with waiting(browser, "ERR_INTERNET_DISCONNECTED") as (page, engine):
        told(page, engine, "Who?", "Mina")
        page.context.set_offline(True)
        send(page, "Where?")
        page.locator(".notice").wait_for()
        page.context.set_offline(False)
        ids = told(page, engine, "When?", "Soon")
        assert ids == template("Who?", "Mina", "When?")
        assert page.locator(".notice button").count() == 0


def test_a_server_that_fails_while_it_writes(browser):
    with waiting(browser) as (page, engine):
        send(page, "Who?")
        asked = requested(page, engine)
        write(asked, "Mi", end=False)
        asked.end(RuntimeError("out of order"))
        expect(page.locator(".notice")).to_contain_text(
            "The server failed; its terminal"
        )
        expect(page.locator(".answer p")).to_have_text("Mi")


def test_a_server_that_is_busy(browser):
    busy = Overloaded.__new__(Overloaded)
    busy.retry_after = 3
    with waiting(browser, "429") as (page, engine):
        engine.refusal = busy
        send(page, "Who?")
        notice = page.locator(".notice")
        expect(notice).to_contain_text(
            "Too many texts are being written; try again in 3 s"
        )
        engine.refusal = None
        notice.get_by_role("button", name="Try again").click()
        write(requested(page, engine), "Mina")
        assert answer(page) == "Mina"


def test_a_server_that_was_never_there(browser, url):
    context = browser.new_context()
    context.route("**/v1/models", lambda route: route.abort())
    page = context.new_page()
    page.goto(url)
    expect(page.locator(".notice")).to_contain_text("The server does not answer.")
    expect(page.locator("#send")).to_be_disabled()
    context.unroute("**/v1/models")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("h2")).to_be_visible()
    expect(page.locator("#send")).to_be_enabled()
    context.close()


def test_a_server_that_demands_its_token(browser):
    engine = Held(MODEL.config)
    one = Served(CHAT, engine, ENCODING, chats=True)
    with served(one, token="secret") as url:
        with opened(browser, f"{url}/") as (page, _faults):
            for given in "wrong", "secret":
                field = page.get_by_label("This server wants its token:")
                field.fill(given)
                page.get_by_role("button", name="Use it").click()
            told(page, engine, "Who?", "Mina")
        with opened(browser, f"{url}/#token=secret") as (page, faults):
            assert page.url == f"{url}/"  # it is not left for others to see
            told(page, engine, "Who?", "Mina")
            page.reload()
            told(page, engine, "Who?", "Mina")
            assert faults == []


# ---- probabilities ------------------------------------------------------------------


def test_probabilities_are_those_of_the_model(browser, url, theirs):
    ids = template("Tell me a story.")
    new = answered(theirs, ids)
    with torch.no_grad():
        logits = theirs(torch.tensor([[*ids, *new]])).logits[0, len(ids) - 1 : -1]
    chances = logits.double().softmax(-1)
    with opened(browser, f"{url}/") as (page, faults):
        always_the_likeliest(page)
        send(page, "Tell me a story.")
        answer(page)
        tokens = page.locator(".token")
        assert tokens.first.get_attribute("role") is None  # not yet asked for
        page.locator("#shade").click()
        assert tokens.count() == len(new)
        surprises = tokens.evaluate_all(
            "all => all.map(one => +one.style.getPropertyValue('--surprise'))"
        )
        expected = 1 - chances[range(len(new)), new]
        assert_close(torch.tensor(surprises).double(), expected, rtol=0, atol=1e-4)
        # What is likelier is paler.
        alphas = tokens.evaluate_all(
            "all => all.map(one => +(getComputedStyle(one).backgroundColor"
            ".match(/ ([^ ]+)\\)$/) ?? [0, 1])[1])"
        )
        order = torch.tensor(alphas).argsort(stable=True)
        assert_close(expected[order], expected.sort().values, rtol=0, atol=5e-3)

        place = int(expected.argmax())
        tokens.nth(place).click()
        rows = page.locator("#card tr")
        values, ids = chances[place].topk(5)
        likely = values > 0.0005
        named = [ENCODING.decode([i]).replace(" ", "␣") for i in ids[likely].tolist()]
        assert rows.locator("th").all_inner_texts() == named
        shown = [
            float(t.strip("<%"))
            for t in rows.locator("td:last-child").all_inner_texts()
        ]
        assert_close(
            torch.tensor(shown).double(), 100 * values[likely], rtol=0, atol=0.51
        )
        assert rows.first.get_attribute("class") == "drawn"
        page.locator("#shade").click()
        assert tokens.first.get_attribute("role") is None
        assert page.locator("#legend").is_hidden()
        assert faults == []


def test_what_was_drawn_is_shown_even_if_it_was_unlikely(browser):
    with waiting(browser) as (page, engine):
        send(page, "Who?")
        asked = requested(page, engine)
        (mina,), (omar,) = ENCODE(" Mina"), ENCODE(" Omar")
        asked.token(Token(mina, -9.21, ((omar, -0.0001),)))  # 1 in 10,000
        asked.end(None)
        answer(page)
        page.locator("#shade").click()
        page.locator(".token").click()
        rows = page.locator("#card tr").all_inner_texts()
        assert [row.split() for row in rows] == [["␣Omar", "100%"], ["␣Mina", "<0.1%"]]
        assert page.locator(".token").get_attribute("aria-label") == "Mina, <0.1%"


def test_a_character_of_several_tokens_is_one(browser):
    """안 is three bytes, each a token of its own here."""
    parts = [ENCODING.encode_single_token(bytes([b])) for b in "안".encode()]
    with waiting(browser) as (page, engine):
        send(page, "Who?")
        asked = requested(page, engine)
        for part in parts:
            asked.token(Token(part, -0.6931, ((part, -0.6931),)))
        asked.end(None)
        assert answer(page) == "안"
        page.locator("#shade").click()
        token = page.locator(".token")
        assert token.get_attribute("aria-label") == "안, 13%"  # 1/2 * 1/2 * 1/2
        token.click()
        assert page.locator("#card table").count() == 3


def test_the_keyboard_is_enough(browser):
    with waiting(browser) as (page, engine):
        told(page, engine, "Tell me a story.", "Mina had a kite.")
        told(page, engine, "Who?", "Mina")
        page.locator("#shade").focus()
        page.keyboard.press("Space")
        focused = "document.activeElement"
        for stop in ("summary", "#fresh", "#thread"):
            page.keyboard.press("Tab")
            assert page.evaluate(f"{focused}.matches('{stop}')")
        page.keyboard.press("Tab")
        names = []
        for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "End", "Home", "End"):
            names.append(page.evaluate(f"{focused}.textContent"))
            card = page.locator("#card")
            expect(card).to_have_count(1)
            assert (
                page.evaluate(f"{focused}.getAttribute('aria-describedby')") == "card"
            )
            page.keyboard.press(key)
        first = [ENCODING.decode([i]).strip() for i in ENCODE("Mina had a kite.")]
        assert names == [*first[:3], first[1], first[-1], first[0]]
        page.keyboard.press("Tab")  # to the other answer, in one step
        assert page.evaluate(f"{focused}.textContent") == ENCODING.decode(
            ENCODE("Mina")[:1]
        )
        page.keyboard.press("Escape")
        expect(page.locator("#card")).to_have_count(0)


# ---- how it looks -------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_is_hard_to_read(browser, width, theme):
    look = {"width": width, "theme": theme}
    with waiting(browser, "ERR_INTERNET_DISCONNECTED", **look) as (page, engine):
        page.emulate_media(reduced_motion="reduce", color_scheme=theme)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (
            ground == {"light": "rgb(255, 253, 250)", "dark": "rgb(22, 24, 29)"}[theme]
        )
        found = axe_faults(page)

        told(page, engine, "b" * 100, "Mina had a kite. " * 9 + "a" * 80, p=0.001)
        page.locator("#shade").click()
        for token in page.locator(".token").all()[::40]:
            token.click()
            card = page.locator("#card").bounding_box()
            assert card["x"] >= 0
            assert card["x"] + card["width"] <= width
        found += axe_faults(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("#thread").evaluate("e => e.scrollWidth <= e.clientWidth")

        page.locator("summary").click()
        page.context.set_offline(True)
        send(page, "Who?")
        page.locator(".notice").wait_for()
        found += axe_faults(page)
        assert found == []


def test_it_asks_for_nothing_elsewhere(url):
    """The policy forbids it, and the files do not try."""
    headers = httpx.get(url).headers
    for name, value in SENT_WITH_ALL.items():
        assert headers[name] == value
    assert "unsafe" not in headers["content-security-policy"]
    for path in FOLDER.glob("chat.*"):
        text = path.read_text("utf-8")
        assert not re.search(
            r"https?://|innerHTML|outerHTML|document\.write|eval", text
        )
    page = (FOLDER / "chat.html").read_text("utf-8")
    assert not re.search(r"\son\w+=|\sstyle=|<style|<script>", page)
