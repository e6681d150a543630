"""A chat in the notebook: what is answered comes piece by piece.

    chat(answer, first="Tell me a story.")

`answer` is given the dialogue so far, pairs of "user" or "assistant" and a text, and
gives the reply in pieces: a generator that draws tokens, or what a client of a server
receives. It runs in a thread of its own, so that a reply can be stopped.

Without a kernel, as on the page of the book, the first reply stands there and no more.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

from course.figures import Drawing, diagram

Message = tuple[str, str]
Answer = Callable[[Sequence[Message]], Iterable[str]]

SECONDS = 0.05
"""Between two drawings: each is sent to the browser as a whole."""

NAMES = {"user": "You", "assistant": "Model"}

STYLE = """<style>
.fs-chat{max-width:40em}
.fs-chat p{margin:.5em 0;padding:.5em .8em;border-radius:.6em;white-space:pre-wrap;
overflow-wrap:anywhere;line-height:1.45;
border:1px solid color-mix(in srgb,currentColor 20%,transparent)}
.fs-chat p.fs-user{margin-left:12%;
background:color-mix(in srgb,var(--fs-1) 14%,transparent)}
.fs-chat b{display:block;font-size:.85em}
</style>"""


class Chat:
    """A dialogue with a model, and the widgets that show it."""

    def __init__(self, answer: Answer, first: str | None = None) -> None:
        """`first`: a first message, which is answered at once."""
        self.answer = answer
        self.messages: list[Message] = []
        self.stopping = threading.Event()
        self.worker: threading.Thread | None = None
        self._drawn = 0.0
        self._make_widgets()
        if first is not None:
            self.messages.append(("user", first))
            self._reply()

    @property
    def busy(self) -> bool:
        """Whether a reply is being written."""
        return self.worker is not None and self.worker.is_alive()

    def send(self, text: str) -> None:
        """Say something; nothing happens while a reply is written, or to no text."""
        if text.strip() and not self.busy:
            self.messages.append(("user", text.strip()))
            self._start()

    def stop(self) -> None:
        """End the reply after the piece that is on its way; what has come stays."""
        self.stopping.set()

    def again(self) -> None:
        """Have the last message answered once more, in place of its reply."""
        if self.messages and not self.busy:
            if self.messages[-1][0] == "assistant":
                self.messages.pop()
            self._start()

    def clear(self) -> None:
        """Begin a new dialogue."""
        if not self.busy:
            self.messages.clear()
            self._show()

    def picture(self) -> Drawing:
        """The dialogue as far as it has come."""
        said = "".join(
            f'<p class="fs-{role}"><b>{NAMES[role]}</b>{escape(text)}</p>'
            for role, text in self.messages
        )
        words = " ".join(f"{NAMES[role]}: {text}" for role, text in self.messages)
        html = f'{STYLE}<div class="fs-chat" aria-live="polite">{said}</div>'
        return diagram(html, f"A chat. {words}", role="group")

    # ---- the reply ------------------------------------------------------------------

    def _start(self) -> None:
        self.worker = threading.Thread(target=self._reply, daemon=True)
        self.worker.start()

    def _reply(self) -> None:
        """Take the answer piece by piece; what goes wrong is said in its place."""
        self.stopping.clear()
        self._switch(busy=True)
        asked, text = list(self.messages), ""
        self.messages.append(("assistant", text))
        pieces = iter(())
        try:
            pieces = iter(self.answer(asked))
            for piece in pieces:
                text += piece
                self.messages[-1] = ("assistant", text)
                self._show(at_once=False)
                if self.stopping.is_set():
                    break
        except Exception as error:  # in a thread it would vanish
            text += f"[{type(error).__name__}: {error}]"
        finally:
            if close := getattr(pieces, "close", None):
                close()  # a server hears that nobody listens any more
        self.messages[-1] = ("assistant", text.strip())
        self._show()
        self._switch(busy=False)

    # ---- the widgets ----------------------------------------------------------------

    def _make_widgets(self) -> None:
        from ipywidgets import HTML, Button, HBox, Layout, Text, VBox

        self.view = HTML()
        self.text = Text(
            placeholder="Say something, and press Enter",
            layout=Layout(width="100%", max_width="40em"),
        )
        self.text.continuous_update = False  # a change is an Enter
        self.text.observe(self._entered, names="value")
        self.buttons: dict[str, Any] = {}
        for name, do in {
            "Send": lambda: self._entered(None),
            "Stop": self.stop,
            "Again": self.again,
            "Clear": self.clear,
        }.items():
            button = self.buttons[name] = Button(
                description=name, layout=Layout(width="auto")
            )
            button.on_click(lambda _, do=do: do())
        row = HBox([*self.buttons.values()], layout=Layout(flex_flow="row wrap"))
        self.box = VBox([self.view, self.text, row], layout=Layout(max_width="100%"))
        self._switch(busy=False)

    def _entered(self, _change: object) -> None:
        text = self.text.value
        if text.strip() and not self.busy:
            self.text.value = ""
            self.send(text)

    def _switch(self, busy: bool) -> None:
        for name, button in self.buttons.items():
            button.disabled = busy != (name == "Stop")

    def _show(self, at_once: bool = True) -> None:
        now = time.monotonic()
        if at_once or now - self._drawn >= SECONDS:
            self._drawn = now
            self.view.value = self.picture().html


def chat(answer: Answer, first: str | None = None) -> None:
    """Show a chat; `first` is said and answered before it appears.

    What `make notebooks` keeps has no widgets: without a kernel they would only fail.
    """
    from IPython.display import display

    talk = Chat(answer, first)
    picture = talk.picture()
    bundle = {"text/plain": repr(picture), "text/html": picture.html}
    if os.environ.get("FIVE_SUNDAYS_RECORD") != "1":
        bundle = talk.box._repr_mimebundle_() | bundle
    display(bundle, raw=True)
