"""The reader's own GPT: counted, put together, served, and refused where it fails."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading

import openai
import pytest
import torch
from torch.testing import assert_close

import mine
from course import answers, pretrained, yours
from course.checks import CHAPTERS, of_chapter
from course.notebooks import ROOT, solved
from course.serve.engine import Closed, Overloaded, Request
from course.serve.run import run
from course.serve_yours import OwnEngine
from solutions.gpt_block import write


def text_of(name: str) -> str:
    """The solution as a reader would have written it."""
    return re.sub(r"^\s*@exercise\n", "", solved(name), flags=re.MULTILINE)


def keep(chapter: str, name: str, text: str | None = None) -> None:
    """Keep an answer: this text, or the solution."""
    answers.keep(chapter, name, text or text_of(name))


@pytest.fixture
def home(monkeypatch, tmp_path):
    """An empty folder of a reader; what was imported from another one is forgotten."""
    monkeypatch.setenv("FIVE_SUNDAYS_HOME", str(tmp_path))
    mine.forget()
    yield tmp_path
    mine.forget()


@pytest.fixture(scope="module")
def model():
    return pretrained.load()


# ---- counting -----------------------------------------------------------------------

EVERY = [(chapter, spec.name) for chapter in CHAPTERS for spec in of_chapter(chapter)]


def test_without_answers_no_part_is_the_readers_and_all_are_named(home):
    told = yours.report()
    assert told.startswith(f"0 of {len(EVERY)} parts are yours.")
    names = re.findall(r"\w+", told.split(":", 1)[1].replace("-", "_"))
    assert sorted(names) == sorted([*CHAPTERS, *(name for _, name in EVERY)])
    assert max(map(len, told.splitlines())) <= 75


def test_what_has_passed_is_counted_and_no_longer_named(home):
    yours.report()
    keep("gpt_block", "gelu")
    keep("local_deployment", "memory")
    told = yours.report()
    assert told.startswith(f"2 of {len(EVERY)} parts are yours.")
    assert not re.search(r"\bgelu\b|\bmemory\b", told)
    assert "gelu_tanh" in told


def test_a_chapter_of_which_all_has_passed_is_not_named(home):
    for spec in of_chapter("normalization"):
        keep("normalization", spec.name)
    assert "normalization" not in yours.report()


def test_all_parts(home, monkeypatch):
    monkeypatch.setattr(mine, "parts", lambda chapter: {"a": True, "b": True})
    assert yours.report() == f"All {2 * len(CHAPTERS)} parts are yours."


# ---- putting together ---------------------------------------------------------------


def test_the_reference_of_each_part_makes_the_reference(home, model):
    own = yours.assemble()
    assert own.library == "mine"
    reference, encoding = model
    ids = torch.tensor([encoding.encode("\nTom kept his red")])
    with torch.no_grad():
        assert_close(own.model(ids), reference(ids))
    assert type(own.model).__module__ == "mine.gpt_block"


def test_it_writes_what_the_reference_writes(home, model):
    reference, encoding = model
    start = torch.tensor([encoding.encode("\nMina")])
    chance = torch.Generator().manual_seed(5)
    ids = write(reference, start, 120, top_k=9, generator=chance)
    wanted = encoding.decode(ids[0, start.shape[1] :].tolist()).split("\n\n")[0]
    pieces = list(yours.assemble().write("Mina", tokens=120, top_k=9, seed=5))
    assert "".join(pieces) == wanted
    assert len(pieces) > 50


def test_a_text_ends_where_the_context_is_full(home, model):
    reference, encoding = model
    context = reference.config.n_positions
    own = yours.assemble()
    chance = torch.Generator().manual_seed(0)
    given = encoding.encode("\n" * 250)[-250:]
    drawn = list(own.draw(given, 900, 1.0, None, None, chance))
    assert len(given) + len(drawn) == context + 1


AT_WORK = {
    "tokens": "encode",
    "multi_head": "split_heads",
    "gpt_block": "FeedForward",
    "language_models": "sample_next",
    "local_deployment": "StopAt",
}
MARK = """
inner = {name}

def {name}(*given, **named):
    import os
    os.environ["USED"] += " {name}"
    return inner(*given, **named)
"""


def test_the_readers_parts_do_the_work(home, monkeypatch):
    monkeypatch.setenv("USED", "")
    for chapter, name in AT_WORK.items():
        keep(chapter, name, text_of(name) + MARK.format(name=name))
    own = yours.assemble()
    assert own.library == "mine"
    assert "FeedForward" in os.environ["USED"]
    monkeypatch.setenv("USED", "")
    "".join(own.write("Tom", tokens=5, seed=0))
    assert set(os.environ["USED"].split()) == {*AT_WORK.values()} - {"FeedForward"}


BROKEN = {
    "raises": "def split_heads(x, heads):\n    raise RuntimeError('no')\n",
    "other logits": (
        "def split_heads(x, heads):\n"
        "    return 1.1 * x.unflatten(-1, (heads, -1)).transpose(1, 2)\n"
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_parts_that_do_not_fit_together_give_a_warning_and_the_reference(home, how):
    keep("multi_head", "split_heads", BROKEN[how])
    with pytest.warns(UserWarning, match=r"could not be put together .*stands in"):
        own = yours.assemble()
    assert own.library == "solutions"
    assert "".join(own.write("Tom", tokens=5, seed=0))


def test_other_tokens_or_another_text_are_noticed(home):
    keep("tokens", "encode", "def encode(text, ranks):\n    return [1, 2, 3]\n")
    with pytest.warns(UserWarning, match="other tokens"):
        yours.assemble()
    (home / "answers" / "tokens" / "encode.py").unlink()
    keep(
        "local_deployment",
        "StreamingDecoder",
        "class StreamingDecoder:\n"
        "    def push(self, chunk):\n"
        "        return chunk.decode(errors='replace')\n"
        "    def finish(self):\n"
        "        return ''\n",
    )
    with pytest.warns(UserWarning, match="same text"):
        yours.assemble()


def test_masks_that_a_reader_keeps_as_buffers_do_no_harm(home):
    """The shipped weights have none; they are put in by name."""
    text = text_of("MultiHeadAttention")
    line = "        self.qkv = "
    assert line in text
    buffer = "        import torch; self.register_buffer('mask', torch.ones(9))\n"
    keep("multi_head", "MultiHeadAttention", text.replace(line, buffer + line))
    assert yours.assemble().library == "mine"


# ---- serving ------------------------------------------------------------------------


def test_the_command_serves_until_ctrl_c(home):
    keep("gpt_block", "gelu")
    command = [sys.executable, "-m", "course.cli", "serve", "--mine"]
    command += ["--model", str(pretrained.FOLDER)]
    with subprocess.Popen(
        [*command, "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        told = ""
        for line in process.stdout:
            told += line
            if found := re.search(r'base_url="([^"]+)"', line):
                break
        assert told.startswith(f"1 of {len(EVERY)} parts are yours."), told
        with openai.OpenAI(base_url=found[1], api_key="any") as client:
            reply = client.completions.create(
                model="yours", prompt="Tom", seed=3, max_tokens=4
            )
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    own = yours.assemble()
    assert reply.choices[0].text == "".join(own.write("Tom", tokens=4, seed=3))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "no-such-folder"}, "no-such-folder"),
        ({"port": -1}, "port"),
        ({"int8": True}, "leave --int8 or --mine out"),
        ({"host": "0.0.0.0"}, "demands a token"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(options, words):
    with pytest.raises(SystemExit) as caught:
        run(mine=True, **{"port": 0, **options})
    assert words in caught.value.code
    assert "\n" not in caught.value.code


@pytest.fixture(scope="module")
def engine():
    mine.forget()
    engine = OwnEngine(yours.assemble(), waiting=1)
    yield engine
    engine.close()


class Listener:
    """Collects what an engine tells, and waits for the end."""

    def __init__(self) -> None:
        self.tokens, self.ends, self.ended = [], [], threading.Event()

    def end(self, error) -> None:
        self.ends.append(error)
        self.ended.set()

    def ask(self, engine, request):
        return engine.submit(request, self.tokens.append, self.end)

    def wait(self) -> list:
        assert self.ended.wait(60)
        assert len(self.ends) == 1
        return self.tokens


def test_the_engine_draws_what_the_reference_draws(engine, model):
    reference, encoding = model
    ids = tuple(encoding.encode("\nTom"))
    listener = Listener()
    listener.ask(engine, Request(ids, 20, seed=4, top_p=0.9, top_logprobs=2))
    got = listener.wait()
    chance = torch.Generator().manual_seed(4)
    row = torch.tensor([ids])
    wanted = write(reference, row, 20, top_p=0.9, generator=chance)[0]
    assert [token.id for token in got] == wanted[len(ids) :].tolist()
    with torch.no_grad():
        logs = reference(wanted[None, :-1])[0, len(ids) - 1 :].log_softmax(-1)
    best = logs.topk(2)
    for n, token in enumerate(got):
        assert token.logprob == pytest.approx(logs[n, token.id].item(), abs=1e-4)
        assert [t for t, _ in token.top] == best.indices[n].tolist()


def test_a_text_ends_at_its_end_and_where_it_is_cancelled(engine, model):
    _, encoding = model
    ids = tuple(encoding.encode("\nTom"))
    [full_stop] = encoding.encode(".")
    listener = Listener()
    listener.ask(engine, Request(ids, 200, seed=1, end=full_stop))
    told = [token.id for token in listener.wait()]
    assert told.index(full_stop) == len(told) - 1 < 199
    assert listener.ends == [None]

    listener, came = Listener(), threading.Event()
    ticket = engine.submit(
        Request(ids, 200, seed=1), lambda _: came.set(), listener.end
    )
    assert came.wait(60)
    ticket.cancel()
    listener.wait()
    assert listener.ends == [None]


def test_what_is_too_much_is_refused(engine, model):
    _, encoding = model
    ids, hold = tuple(encoding.encode("\nTom")), threading.Event()
    with pytest.raises(
        ValueError, match="2 tokens and 255 more, but the model has a context"
    ):
        Listener().ask(engine, Request(ids, 255))
    with pytest.raises(ValueError, match="temperature"):
        Listener().ask(engine, Request(ids, 5, temperature=-1.0))
    first, second, third = Listener(), Listener(), Listener()
    engine.submit(Request(ids, 2), lambda _: hold.wait(60), first.end)
    second.ask(engine, Request(ids, 2))
    assert (engine.stats().running, engine.stats().waiting) == (1, 1)
    with pytest.raises(Overloaded) as refusal:
        third.ask(engine, Request(ids, 2))
    assert refusal.value.retry_after > 0
    hold.set()
    assert len(second.wait()) == 2


@pytest.mark.parametrize("drain", [True, False])
def test_closing_finishes_or_ends_what_was_taken(model, drain):
    _, encoding = model
    engine = OwnEngine(yours.assemble())
    listener, came = Listener(), threading.Event()
    request = Request(tuple(encoding.encode("\nTom")), 30, seed=0)

    def on_token(token) -> None:
        listener.tokens.append(token)
        came.set()

    engine.submit(request, on_token, listener.end)
    assert came.wait(60)
    engine.close(drain)
    told = listener.wait()
    assert (len(told) == 30) == drain
    assert (listener.ends == [None]) == drain
    assert drain or isinstance(listener.ends[0], Closed)
    with pytest.raises(Closed):
        Listener().ask(engine, request)
