"""The chat of a notebook: it streams, stops, asks again, and never loses an error."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import pytest

from course import chat as module
from course.chat import Chat, chat


class Model:
    """Gives its pieces one at a time, each when it is told to."""

    def __init__(self, *pieces: str | Exception) -> None:
        self.pieces, self.asked = pieces, []
        self.wanted, self.given = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, dialogue) -> Iterator[str]:
        self.asked.append(list(dialogue))
        for piece in self.pieces:
            assert self.wanted.acquire(timeout=30)
            if isinstance(piece, Exception):
                raise piece
            yield piece
            self.given.release()  # the chat has taken it, and wants another

    def give(self, count: int = 1) -> None:
        """Let so many pieces out; return when all have been taken."""
        for _ in range(count):
            self.wanted.release()
            assert self.given.acquire(timeout=30)


@pytest.fixture(autouse=True)
def every_piece_is_drawn(monkeypatch):
    monkeypatch.setattr(module, "SECONDS", 0)


def ended(talk: Chat) -> None:
    talk.worker.join(30)
    assert not talk.busy


def states(talk: Chat) -> dict[str, bool]:
    """Which buttons can be pressed."""
    return {name: not button.disabled for name, button in talk.buttons.items()}


IDLE = {"Send": True, "Stop": False, "Again": True, "Clear": True}
BUSY = {name: not state for name, state in IDLE.items()}


def test_a_reply_comes_piece_by_piece():
    model = Model("Once", " upon", " a time.")
    talk = Chat(model)
    assert states(talk) == IDLE
    talk.send("  Tell me a story. ")
    model.give(2)
    assert states(talk) == BUSY
    assert talk.messages == [
        ("user", "Tell me a story."),
        ("assistant", "Once upon"),
    ]
    assert "Once upon</p>" in talk.view.value
    model.wanted.release()
    ended(talk)
    assert talk.messages[-1] == ("assistant", "Once upon a time.")
    assert "Once upon a time.</p>" in talk.view.value
    assert states(talk) == IDLE


def test_each_question_brings_the_whole_dialogue():
    talk = Chat(lambda dialogue: [f"reply {len(dialogue)}"])
    for text in "one", "two":
        talk.send(text)
        ended(talk)
    assert talk.messages == [
        ("user", "one"),
        ("assistant", "reply 1"),
        ("user", "two"),
        ("assistant", "reply 3"),
    ]


def test_a_reply_can_be_stopped_and_what_has_come_stays():
    model = Model("one", " two", " three")
    talk = Chat(model)
    talk.send("Count.")
    model.give()
    talk.buttons["Stop"].click()
    model.wanted.release()
    ended(talk)
    assert talk.messages[-1] == ("assistant", "one two")
    talk.buttons["Again"].click()
    model.give(2)
    model.wanted.release()
    ended(talk)
    assert talk.messages[-1] == ("assistant", "one two three")
    assert model.asked == [[("user", "Count.")]] * 2


def test_what_gave_the_pieces_hears_that_nobody_listens_any_more():
    class Endless:
        closed = False

        def __iter__(self):
            return self

        def __next__(self) -> str:
            talk.stop()
            return "and "

        def close(self) -> None:
            self.closed = True

    stream = Endless()
    talk = Chat(lambda dialogue: stream)
    talk.send("Go on.")
    ended(talk)
    assert stream.closed
    assert talk.messages[-1] == ("assistant", "and")


def test_while_a_reply_is_written_nothing_else_begins():
    model = Model("one", " two")
    talk = Chat(model)
    talk.send("Count.")
    model.give()
    for do in (lambda: talk.send("More!"), talk.again, talk.clear):
        do()
    model.wanted.release()
    ended(talk)
    assert talk.messages == [("user", "Count."), ("assistant", "one two")]
    assert len(model.asked) == 1


def test_enter_and_the_button_send_and_an_empty_line_does_not():
    talk = Chat(lambda dialogue: ["yes"])
    talk.text.value = "Are you there?"  # as after Enter
    ended(talk)
    assert talk.messages[0] == ("user", "Are you there?")
    assert talk.text.value == ""
    talk.text.value = "   "
    talk.buttons["Send"].click()
    assert len(talk.messages) == 2
    talk.buttons["Clear"].click()
    assert talk.messages == []
    assert "Are you there?" not in talk.view.value
    talk.again()  # nothing to ask again
    assert talk.messages == []


@pytest.mark.parametrize("at", [0, 1])
def test_what_goes_wrong_is_said_in_place_of_the_reply(at):
    pieces = ["one", ValueError("no <b>model</b>"), "three"][1 - at :]
    model = Model(*pieces)
    talk = Chat(model)
    talk.send("Count.")
    for _ in pieces:
        model.wanted.release()
    ended(talk)
    said = talk.messages[-1][1]
    assert said == "one" * at + "[ValueError: no <b>model</b>]"
    assert "<b>model" not in talk.view.value
    assert states(talk) == IDLE


def test_a_model_that_does_not_even_begin_is_said_too():
    def refuses(dialogue):
        raise ConnectionError("nobody there")

    talk = Chat(refuses)
    talk.send("Hello?")
    ended(talk)
    assert talk.messages[-1][1] == "[ConnectionError: nobody there]"


def test_what_is_said_is_text_and_no_html():
    talk = Chat(lambda dialogue: ["<script>alert(1)</script>", " & <b>"])
    talk.send("<i>you</i>")
    ended(talk)
    assert "<script" not in talk.view.value
    assert "&lt;script&gt;" in talk.view.value
    assert "&lt;i&gt;you" in talk.view.value


def test_not_every_piece_is_sent_to_the_browser(monkeypatch):
    monkeypatch.setattr(module, "SECONDS", 3600)
    talk = Chat(lambda dialogue: ["a"] * 500)
    drawn = []
    talk.view.observe(drawn.append, names="value")
    talk._drawn = module.time.monotonic()
    talk.send("Many.")
    ended(talk)
    assert len(drawn) == 1  # the whole reply
    assert "a" * 500 in talk.view.value


@pytest.mark.parametrize("recording", [True, False])
def test_a_page_without_a_kernel_has_the_first_reply(monkeypatch, recording):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda what, raw: shown.append(what))
    monkeypatch.setenv("FIVE_SUNDAYS_RECORD", "1" if recording else "0")
    chat(lambda dialogue: ["Once", " upon"], first="Tell me.")
    [bundle] = shown
    assert bundle["text/plain"] == "[figure] A chat. You: Tell me. Model: Once upon"
    assert re.search(r"fs-user.*Tell me\.</p>.*Once upon</p>", bundle["text/html"])
    widgets = "application/vnd.jupyter.widget-view+json"
    assert (widgets in bundle) != recording
