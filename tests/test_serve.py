"""The server, as others see it: the openai client, transformers, and sockets."""

from __future__ import annotations

import asyncio
import json
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from types import SimpleNamespace
from urllib.parse import urlsplit

import httpx
import openai
import pytest
import torch
from torch.testing import assert_close
from transformers import GPT2LMHeadModel
from typer.testing import CliRunner

from course import cli, pretrained, tuning
from course.notebooks import ROOT
from course.serve import run
from course.serve.engine import Closed, Engine, Overloaded, Token
from course.serve.guard import BODY
from course.serve.served import Served
from solutions.gpt_block import GPT, GPTConfig
from solutions.tokens import END_OF_TEXT, to_tiktoken, train_bpe
from tests.serving import Held, served

STORIES, CHAT = "five-sundays", "five-sundays-chat"
MODEL, ENCODING = pretrained.load()
ENCODE = ENCODING.encode_ordinary
CONTEXT = 256
PATIENCE = 60  # seconds, for what happens at once unless it never does

# A busy machine may be slow.
get = partial(httpx.get, timeout=PATIENCE)
post = partial(httpx.post, timeout=PATIENCE)
request = partial(httpx.request, timeout=PATIENCE)
stream_of = partial(httpx.stream, "POST", timeout=PATIENCE)

RANKS = train_bpe("the cat and the hat 안녕 안녕\n" * 3, 262)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server of the shipped model under two names, one of which answers.

    What the chat model says is of no matter here: it is the same model.
    """
    engine = Engine(MODEL)
    with served(
        Served(STORIES, engine, ENCODING),
        Served(CHAT, engine, ENCODING, chats=True),
    ) as address:
        yield address
    engine.close()


@pytest.fixture(scope="module")
def client(url) -> Iterator[openai.OpenAI]:
    with opened(url) as made:
        yield made


def opened(url: str, key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


@pytest.fixture(scope="module")
def theirs() -> GPT2LMHeadModel:
    return GPT2LMHeadModel.from_pretrained(pretrained.FOLDER).eval()


def greedy(model: GPT2LMHeadModel, ids: list[int], steps: int) -> list[int]:
    """What transformers goes on with."""
    given = torch.tensor([ids])
    written = model.generate(
        given,
        attention_mask=torch.ones_like(given),
        max_new_tokens=steps,
        do_sample=False,
        pad_token_id=0,
    )
    return written[0, len(ids) :].tolist()


def said(theirs: GPT2LMHeadModel, ids: list[int], steps: int) -> str:
    return ENCODING.decode(greedy(theirs, ids, steps))


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


# ---- models -------------------------------------------------------------------------


def test_the_models_are_listed_and_described(client):
    models = client.models.list().data
    assert [model.id for model in models] == [STORIES, CHAT]
    assert [(m.object, m.max_model_len, m.chat) for m in models] == [
        ("model", 256, False),
        ("model", 256, True),
    ]
    assert client.models.retrieve(CHAT) == models[1]
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("openai-community/gpt2")
    assert caught.value.code == "model_not_found"
    assert f"only {STORIES} and {CHAT}" in caught.value.message


# ---- texts --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "ids"),
    [
        ("One rainy day", ENCODE("\nOne rainy day")),
        (["\nMina"], ENCODE("\nMina")),
        ("", ENCODE("\n")),
        (ENCODE(" the red"), ENCODE(" the red")),
        ([ENCODE("Omar")], ENCODE("Omar")),
        ("안녕 🙂", ENCODE("\n안녕 🙂")),
    ],
)
def test_a_greedy_text_is_that_of_transformers(client, theirs, prompt, ids):
    made = client.completions.create(
        model=STORIES, prompt=prompt, temperature=0, max_tokens=30
    )
    (choice,) = made.choices
    assert choice.text == said(theirs, ids, 30)
    assert (choice.finish_reason, choice.index, choice.logprobs) == ("length", 0, None)
    assert (made.object, made.model) == ("text_completion", STORIES)
    usage = made.usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (len(ids), 30)
    assert usage.total_tokens == len(ids) + 30


def test_without_a_limit_the_context_is_filled(client, theirs):
    ids = ENCODE("\nMina")
    for limit in None, 5000:
        made = client.completions.create(
            model=STORIES, prompt="Mina", temperature=0, max_tokens=limit
        )
        assert made.usage.total_tokens == CONTEXT
        assert made.choices[0].text == said(theirs, ids, CONTEXT - len(ids))


@pytest.mark.parametrize("almost", [{"top_p": 0}, {"extra_body": {"top_k": 1}}])
def test_other_ways_to_leave_nothing_to_chance(client, theirs, almost):
    made = client.completions.create(
        model=STORIES, prompt="Mina", max_tokens=20, **almost
    )
    assert made.choices[0].text == said(theirs, ENCODE("\nMina"), 20)


def test_the_same_seed_writes_the_same_text(client):
    def text(seed: int, **settings) -> str:
        made = client.completions.create(
            model=STORIES, prompt="Mina", max_tokens=40, seed=seed, **settings
        )
        return made.choices[0].text

    assert text(2**63 - 1) == text(2**63 - 1)
    assert text(1) != text(2)
    assert text(1) != text(1, temperature=1.7)


def test_a_stream_is_the_text_in_pieces(client, theirs):
    chunks = list(
        client.completions.create(
            model=STORIES,
            prompt="Mina",
            temperature=0,
            max_tokens=30,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    *parts, last, counted = chunks
    assert len(parts) > 20
    assert all(part.choices[0].text for part in parts)
    assert "".join(part.choices[0].text for part in parts) == said(
        theirs, ENCODE("\nMina"), 30
    )
    assert {part.choices[0].finish_reason for part in parts} == {None}
    assert (last.choices[0].text, last.choices[0].finish_reason) == ("", "length")
    assert counted.choices == []
    assert counted.usage.completion_tokens == 30
    assert {chunk.usage for chunk in chunks[:-1]} == {None}
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].id.startswith("cmpl-")


def test_a_stream_is_of_events_and_ends_with_done(url):
    asked = {"model": STORIES, "prompt": "Mina", "max_tokens": 3, "stream": True}
    answer = post(f"{url}/v1/completions", json=asked)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    *events, nothing = answer.text.split("\n\n")
    assert nothing == ""
    assert all(event.startswith("data: {") for event in events[:-1])
    assert events[-1] == "data: [DONE]"
    assert "usage" not in answer.text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("stop", "which"),
    [(". ", 0), (["zebra", " and"], 1), ([" and", ".", "Mina"], 1), ("never", None)],
)
def test_a_text_ends_before_the_first_stop_string(client, theirs, stop, which, stream):
    full = said(theirs, ENCODE("\nMina"), 40)
    stops = [stop] if isinstance(stop, str) else stop
    found = [full.index(each) for each in stops if each in full]
    expected = full[: min(found, default=None)]
    made = client.completions.create(
        model=STORIES,
        prompt="Mina",
        temperature=0,
        max_tokens=40,
        stop=stop,
        stream=stream,
        logprobs=0,
    )
    chunks = list(made) if stream else [made]
    choices = [chunk.choices[0] for chunk in chunks]
    assert "".join(choice.text for choice in choices) == expected
    assert choices[-1].finish_reason == ("length" if which is None else "stop")
    # Tokens of which nothing is shown are not told, nor is more written than needed.
    tokens = [t for c in choices if c.logprobs for t in c.logprobs.tokens]
    assert "".join(tokens).startswith(expected)
    assert len("".join(tokens[:-1])) < len(expected)


@pytest.mark.parametrize("stream", [False, True])
def test_what_could_have_become_a_stop_string_is_shown_at_the_end(
    client, theirs, stream
):
    full = said(theirs, ENCODE("\nMina"), 20)
    made = client.completions.create(
        model=STORIES,
        prompt="Mina",
        temperature=0,
        max_tokens=20,
        stop=f"{full[-7:]}#",
        stream=stream,
    )
    choices = [chunk.choices[0] for chunk in (made if stream else [made])]
    assert "".join(choice.text for choice in choices) == full
    assert choices[-1].finish_reason == "length"


def test_many_ask_at_once_and_each_gets_its_own(url, theirs):
    prompts = ["Mina", "Omar", "One rainy day", "Tom had", "Zoe", "On", "Late", "Ivy"]

    async def all_of_them() -> list[str]:
        async with openai.AsyncOpenAI(
            base_url=f"{url}/v1", api_key="none", max_retries=0
        ) as client:
            return await asyncio.gather(*(ask(client, prompt) for prompt in prompts))

    async def ask(client: openai.AsyncOpenAI, prompt: str) -> str:
        stream = await client.completions.create(
            model=STORIES, prompt=prompt, temperature=0, max_tokens=25, stream=True
        )
        return "".join([chunk.choices[0].text async for chunk in stream])

    for prompt, text in zip(prompts, asyncio.run(all_of_them()), strict=True):
        assert text == said(theirs, ENCODE(f"\n{prompt}"), 25)


# ---- dialogues ----------------------------------------------------------------------

STORY = "Mina had a red kite.\n\nWhose kite was it?"
DIALOGUES = [
    ([user("Tell me a story.")], ["\n", "Tell me a story.", "\n"]),
    (
        [user(STORY), assistant("Mina"), user(" What was it like? ")],
        ["\n", STORY, "\n", "Mina", "\n\n", "What was it like?", "\n"],
    ),
    (
        [user([{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo."}])],
        ["\n", "Hello.", "\n"],
    ),
]


@pytest.mark.parametrize(("messages", "pieces"), DIALOGUES)
def test_an_answer_is_what_comes_after_the_template(client, theirs, messages, pieces):
    ids = [i for piece in pieces for i in ENCODE(piece)]
    drawn = greedy(theirs, ids, 60)
    text = ENCODING.decode(drawn)
    made = client.chat.completions.create(
        model=CHAT, messages=messages, temperature=0, max_completion_tokens=60
    )
    (choice,) = made.choices
    assert choice.message.content == text.split("\n")[0]
    assert choice.message.role == "assistant"
    assert choice.finish_reason == ("stop" if "\n" in text else "length")
    assert made.usage.prompt_tokens == len(ids)
    assert made.object == "chat.completion"
    assert made.messages_left_out == 0

    chunks = list(
        client.chat.completions.create(
            model=CHAT, messages=messages, temperature=0, max_tokens=60, stream=True
        )
    )
    first, *parts, last = [chunk.choices[0] for chunk in chunks]
    assert (first.delta.role, first.delta.content) == ("assistant", "")
    assert "".join(part.delta.content for part in parts) == choice.message.content
    assert (last.delta.content, last.finish_reason) == (None, choice.finish_reason)


def test_an_answer_can_be_sent_back_with_all_its_fields(client):
    told = client.chat.completions.create(
        model=CHAT, messages=[user("Hello.")], max_tokens=5
    )
    message = told.choices[0].message.model_dump()
    client.chat.completions.create(
        model=CHAT, messages=[user("Hello."), message, user("Bye.")], max_tokens=5
    )


def test_a_line_ends_an_answer_and_no_text():
    """A model that writes nothing but line breaks."""
    with constant("\n") as model, served(model) as address, opened(address) as client:
        made = client.completions.create(model="one", prompt="a", max_tokens=3)
        assert (made.choices[0].text, made.choices[0].finish_reason) == (
            "\n\n\n",
            "length",
        )
        told = client.chat.completions.create(model="one", messages=[user("a")])
        assert (told.choices[0].message.content, told.choices[0].finish_reason) == (
            "",
            "stop",
        )
        assert told.usage.completion_tokens == 1


def test_a_line_may_end_within_a_token():
    lines = train_bpe("\n\n" * 9, 257)  # its only merge is two line breaks
    with (
        constant("\n\n", lines) as model,
        served(model) as address,
        opened(address) as client,
    ):
        told = client.chat.completions.create(model="one", messages=[user("a")])
        assert (told.choices[0].message.content, told.choices[0].finish_reason) == (
            "",
            "stop",
        )


def test_the_token_for_it_ends_any_text():
    with constant(END_OF_TEXT) as model, served(model) as address:
        with opened(address) as client:
            made = client.completions.create(model="one", prompt="a", logprobs=1)
        (choice,) = made.choices
        assert (choice.text, choice.finish_reason) == ("", "stop")
        assert choice.logprobs.tokens == []


@contextmanager
def constant(token: str, ranks: dict[bytes, int] = RANKS) -> Iterator[Served]:
    """A model that always writes the same token."""
    encoding = to_tiktoken(ranks, {END_OF_TEXT: len(ranks)})
    model = GPT(GPTConfig(len(ranks) + 1, 16, n_embd=8, n_layer=1, n_head=1)).eval()
    (wanted,) = encoding.encode(token, allowed_special="all")
    with torch.no_grad():
        model.embedding.token_embedding.weight.zero_()[wanted] = 1
        model.norm.weight.zero_()
        model.norm.bias.fill_(100)  # so its logit is 800, and all others are 0
    engine = Engine(model)
    yield Served("one", engine, encoding, chats=True)
    engine.close()


def long_dialogue(questions: int) -> list[dict]:
    """A story of 100 tokens, and questions of 20, each answered."""
    exchange = [user(" the" * 20), assistant(" a" * 10)]
    return [user(" old" * 100), assistant("Mina"), *exchange * questions, user("Who?")]


def dialogue_ids(messages: list[dict]) -> list[int]:
    """The template, by hand."""
    ids = ENCODE("\n")
    for message in messages:
        end = "\n" if message["role"] == "user" else "\n\n"
        ids += [*ENCODE(message["content"].strip()), *ENCODE(end)]
    return ids


@pytest.mark.parametrize("stream", [False, True])
def test_the_oldest_questions_are_left_out_and_the_story_stays(client, theirs, stream):
    messages = long_dialogue(6)
    kept = [*messages[:2], *messages[-7:]]
    # Three exchanges fit beside the story, with room for an answer; four do not.
    assert len(dialogue_ids(kept)) + 32 <= CONTEXT
    assert len(dialogue_ids([*messages[:2], *messages[-9:]])) + 32 > CONTEXT
    made = client.chat.completions.create(
        model=CHAT,
        messages=messages,
        temperature=0,
        max_tokens=40,
        stream=stream,
        extra_body={"truncation": "auto"},
    )
    expected = said(theirs, dialogue_ids(kept), 40).split("\n")[0]
    if stream:
        first, *others = made
        assert first.messages_left_out == 6
        text = "".join(other.choices[0].delta.content or "" for other in others)
        assert text == expected
    else:
        assert made.messages_left_out == 6
        assert made.usage.prompt_tokens == len(dialogue_ids(kept))
        assert made.choices[0].message.content == expected


def test_nothing_is_left_out_unasked_nor_where_that_is_not_enough(client):
    for messages, settings in (
        (long_dialogue(6), {}),
        ([user(" old" * 300)], {"extra_body": {"truncation": "auto"}}),
        (
            [user(" old" * 250), *long_dialogue(2)[1:]],
            {"extra_body": {"truncation": "auto"}},
        ),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model=CHAT, messages=messages, **settings)
        assert caught.value.code == "context_length_exceeded"
        assert re.search(r"\d+ tokens, .* context of 256; .* 255", caught.value.message)


# ---- probabilities ------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(theirs) -> SimpleNamespace:
    """A text of transformers, and the logarithms of all probabilities on its way."""
    ids = ENCODE("\nMina")
    new = greedy(theirs, ids, 12)
    with torch.no_grad():
        logits = theirs(torch.tensor([[*ids, *new]])).logits[0, len(ids) - 1 : -1]
    return SimpleNamespace(new=new, logs=logits.double().log_softmax(-1))


def close(got: list[float], expected: torch.Tensor) -> None:
    assert_close(torch.tensor(got).double(), expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("temperature", [0, 1e-9])
def test_probabilities_of_a_text_are_those_of_transformers(client, drawn, temperature):
    made = client.completions.create(
        model=STORIES,
        prompt="Mina",
        temperature=temperature,
        max_tokens=12,
        logprobs=4,
    )
    got = made.choices[0].logprobs
    assert got.tokens == [ENCODING.decode([i]) for i in drawn.new]
    close(got.token_logprobs, drawn.logs[range(12), drawn.new])
    best = drawn.logs.topk(4)
    for place, row in enumerate(got.top_logprobs):
        assert list(row) == [ENCODING.decode([i]) for i in best.indices[place].tolist()]
        close(list(row.values()), best.values[place])
    # Where each token stands in prompt and text.
    whole = "Mina" + made.choices[0].text
    for token, place in zip(got.tokens, got.text_offset, strict=True):
        assert whole[place : place + len(token)] == token


def test_probabilities_are_the_models_own_whatever_is_drawn(client, theirs):
    """At another temperature and among few tokens, too."""
    made = client.completions.create(
        model=STORIES,
        prompt="Mina",
        temperature=2,
        top_p=0.9,
        seed=5,
        max_tokens=12,
        logprobs=2,
    )
    got = made.choices[0].logprobs
    prompt = ENCODE("\nMina")
    ids = [*prompt, *(ENCODING.encode_single_token(token) for token in got.tokens)]
    with torch.no_grad():
        logits = theirs(torch.tensor([ids])).logits[0, len(prompt) - 1 : -1]
    logs = logits.double().log_softmax(-1)
    close(got.token_logprobs, logs[range(12), ids[len(prompt) :]])
    sizes = [len(row) for row in got.top_logprobs]
    assert set(sizes) == {2, 3}  # what was drawn is told, too, if it is not likely
    assert all(t in row for t, row in zip(got.tokens, got.top_logprobs, strict=True))


def test_probabilities_of_an_answer(client, theirs):
    ids = dialogue_ids([user("Hello.")])
    new = greedy(theirs, ids, 8)
    with torch.no_grad():
        logits = theirs(torch.tensor([[*ids, *new]])).logits[0, len(ids) - 1 : -1]
    logs = logits.double().log_softmax(-1)
    asked = {
        "model": CHAT,
        "messages": [user("Hello.")],
        "temperature": 0,
        "max_tokens": 8,
        "logprobs": True,
    }
    made = client.chat.completions.create(**asked, top_logprobs=3)
    got = made.choices[0].logprobs.content
    assert [bytes(token.bytes) for token in got] == [
        ENCODING.decode_single_token_bytes(i) for i in new
    ]
    assert [token.token for token in got] == [ENCODING.decode([i]) for i in new]
    close([token.logprob for token in got], logs[range(8), new])
    for token, best in zip(got, logs.topk(3).values, strict=True):
        close([other.logprob for other in token.top_logprobs], best)
    parts = client.chat.completions.create(**asked, stream=True)
    streamed = [
        token
        for part in parts
        if part.choices[0].logprobs
        for token in part.choices[0].logprobs.content
    ]
    assert [token.bytes for token in streamed] == [token.bytes for token in got]
    assert {len(token.top_logprobs) for token in streamed} == {0}


def test_no_piece_holds_half_a_character(theirs):
    """A model of random weights writes any bytes; Python decodes them."""
    torch.manual_seed(3)
    model = GPT(GPTConfig(262, 200, n_embd=8, n_layer=1, n_head=1)).eval()
    engine = Engine(model)
    one = Served("one", engine, to_tiktoken(RANKS), chats=True)
    with served(one) as url, opened(url) as client:
        for seed in range(5):
            parts = list(
                client.chat.completions.create(
                    model="one",
                    messages=[user("안녕")],
                    seed=seed,
                    temperature=2,
                    stream=True,
                    logprobs=True,
                )
            )
            text = "".join(part.choices[0].delta.content or "" for part in parts)
            tokens = [
                token
                for part in parts
                if part.choices[0].logprobs
                for token in part.choices[0].logprobs.content
            ]
            data = b"".join(bytes(token.bytes) for token in tokens)
            assert text == data.decode(errors="replace").split("\n")[0]
            assert "�" in text
    engine.close()


# ---- what cannot be done ------------------------------------------------------------


def check_error(answer: httpx.Response, status: int, words: str = "") -> dict:
    """It is in OpenAI's shape, and one line."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body.keys() == {"error"}
    error = body["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert "\n" not in error["message"]
    assert re.search(words, error["message"]), error["message"]
    return error


TEXT = {"model": STORIES, "prompt": "Mina", "max_tokens": 1}
TALK = {"model": CHAT, "messages": [user("Hello.")], "max_tokens": 1}
WRONG = [
    (TEXT, "model", 3, "model is 3, expected the id of a model"),
    (TEXT, "prompt", None, "prompt is null, expected a text, or a list of token ids"),
    (TEXT, "prompt", [], "prompt is a list of 0"),
    (TEXT, "prompt", ["a", "b"], "prompt is a list of 2, .* one such prompt"),
    (TEXT, "prompt", [1, 1600], "token 1600, expected ids from 0 to 1599"),
    (TEXT, "prompt", [1, -1], "prompt"),
    (TEXT, "prompt", [True], "prompt"),
    (TEXT, "prompt", "a\ud800", r"prompt: character 1 is '\\ud800', half a surrogate"),
    (TEXT, "user", "\udfff", "user: character 0"),
    (TEXT, "stop", "", 'stop is "", expected a string'),
    (TEXT, "stop", list("abcde"), "stop is a list of 5, .* up to 4"),
    (TEXT, "stop", "a" * 101, "stop is .*1 to 100 characters"),
    (TEXT, "max_tokens", 0, "max_tokens is 0, expected a whole number from 1"),
    (TEXT, "max_tokens", -7, "max_tokens is -7"),
    (TEXT, "max_tokens", 10**30, r"max_tokens is 10+, expected .* to 1000000"),
    (TEXT, "max_tokens", 1.5, "max_tokens is 1.5"),
    (TEXT, "max_tokens", "5", 'max_tokens is "5"'),
    (TEXT, "max_tokens", True, "max_tokens is true"),
    (TEXT, "temperature", -0.1, "temperature is -0.1, expected a number from 0 to 2"),
    (TEXT, "temperature", 2.1, "temperature is 2.1"),
    (TEXT, "temperature", float("nan"), "temperature is NaN"),
    (TEXT, "temperature", float("inf"), "temperature is Infinity"),
    (TEXT, "top_p", 1.01, "top_p is 1.01, expected a number from 0 to 1"),
    (TEXT, "top_k", 0, "top_k is 0"),
    (TEXT, "seed", -1, "seed is -1, expected a whole number from 0"),
    (TEXT, "seed", 2**63, "seed is 9223372036854775808"),
    (TEXT, "logprobs", 6, "logprobs is 6, expected a whole number from 0 to 5"),
    (TEXT, "stream", "yes", 'stream is "yes", expected true or false'),
    (
        TEXT,
        "stream_options",
        {"include_usage": True},
        "stream_options goes with stream",
    ),
    (TEXT, "n", 2, "n is 2, expected 1: one answer"),
    (TEXT, "n", True, "n is true, expected 1"),
    (TEXT, "best_of", 2, "best_of is 2, expected 1"),
    (TEXT, "echo", True, "echo is true, expected false"),
    (TEXT, "suffix", "b", 'suffix is "b", expected null'),
    (TEXT, "frequency_penalty", 0.5, "frequency_penalty is 0.5, expected 0"),
    (TEXT, "frequency_penalty", False, "frequency_penalty is false, expected 0"),
    (TEXT, "logit_bias", {"5": 1}, "logit_bias is an object, expected null"),
    (TEXT, "temprature", 1, 'no field "temprature": did you mean temperature?'),
    (TEXT, "\ud800", 1, "expected a JSON object"),
    (TALK, "messages", [], "messages is a list of 0, expected a list of 1 to 100"),
    (TALK, "messages", [user("a"), assistant("b")] * 50 + [user("a")], "list of 101"),
    (TALK, "messages", "Hello.", 'messages is "Hello."'),
    (TALK, "messages", [user("a"), user("b")], "message 2 has the role 'user'"),
    (TALK, "messages", [user("a"), assistant("b")], "last message is the assistant's"),
    (TALK, "messages", [{"role": "user"}], r"messages\[0\].content is missing"),
    (TALK, "top_logprobs", 3, "top_logprobs goes with logprobs: true"),
    (TALK, "max_completion_tokens", 3, "max_tokens is max_completion_tokens, too"),
    (TALK, "tools", [{}], "tools is a list of 1, expected null: there are no tools"),
    (TALK, "response_format", {"type": "json_object"}, "response_format is an object"),
    (TALK, "model", STORIES, "answers no questions: .* /v1/completions"),
]


@pytest.mark.parametrize(("good", "field", "value", "words"), WRONG)
def test_a_wrong_value_gets_one_line(url, good, field, value, words):
    path = "completions" if good is TEXT else "chat/completions"
    content = json.dumps(good | {field: value})  # as ASCII, whatever it is
    headers = {"Content-Type": "application/json"}
    answer = post(f"{url}/v1/{path}", content=content, headers=headers)
    error = check_error(answer, 400, words)
    if field != "\ud800" and field != "max_completion_tokens":
        assert error["param"].startswith(field)
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            {"role": "system", "content": "Be kind."},
            r'messages\[0\].role is "system", expected "user" or "assistant"',
        ),
        ({"role": "user", "content": 3}, r"messages\[0\].content is 3"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {}}]},
            r'messages\[0\].content\[0\].type is "image_url", expected "text"',
        ),
        (
            {"role": "user", "content": "a", "cotent": 1},
            r"messages\[0\].cotent.*mean content",
        ),
    ],
)
def test_a_wrong_message_is_named_by_its_place(url, message, words):
    asked = TALK | {"messages": [message]}
    check_error(post(f"{url}/v1/chat/completions", json=asked), 400, words)


def test_fields_that_make_no_difference_are_taken(client):
    client.completions.create(
        **TEXT,
        user="me",
        n=1,
        best_of=1,
        echo=False,
        frequency_penalty=0,
        presence_penalty=0.0,
        logit_bias={},
        suffix=None,
    )
    client.chat.completions.create(
        **TALK,
        user="me",
        store=False,
        metadata={"a": "b"},
        tools=[],
        tool_choice="none",
        response_format={"type": "text"},
        service_tier="auto",
        parallel_tool_calls=True,
        reasoning_effort="none",
        modalities=["text"],
        logprobs=False,
    )


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the body is no JSON object: send one"),
        (b"{", "the body is no JSON: Expecting property name"),
        (b"\xff{}", "byte 0 is no UTF-8"),
        (b'{"model": "\xc3("}', "byte 11 is no UTF-8"),
        (b"[1]", "the body is a list of 1, expected a JSON object"),
        (b"null", "the body is null|no JSON object"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"seed": ' + b"1" * 5000 + b"}", "thousands of digits"),
    ],
)
def test_a_body_that_is_no_request_gets_one_line(url, content, words):
    answer = post(f"{url}/v1/completions", content=content, headers=JSON)
    check_error(answer, 400, words)


def test_a_body_must_say_that_it_is_json(url):
    for headers in {"Content-Type": "text/plain"}, {}:
        answer = post(
            f"{url}/v1/completions", content=json.dumps(TEXT), headers=headers
        )
        check_error(answer, 400, "Content-Type: application/json")


def test_a_body_has_a_limit(url):
    fits = json.dumps(TEXT).encode().ljust(BODY)
    target = f"{url}/v1/completions"
    assert post(target, content=fits, headers=JSON).status_code == 200
    for content in fits + b" ", iter([fits, b" "]):  # with a length, and in chunks
        answer = post(target, content=content, headers=JSON)
        error = check_error(answer, 413, f"larger than {BODY} bytes")
        assert error["code"] == "body_too_large"


def test_a_prompt_must_leave_room(client):
    full = [ENCODE(" the")[0]] * CONTEXT
    made = client.completions.create(model=STORIES, prompt=full[1:])
    assert made.usage.completion_tokens == 1
    for prompt, number in (full, 256), (" the" * 300, 301):
        with pytest.raises(openai.BadRequestError) as caught:
            client.completions.create(model=STORIES, prompt=prompt)
        assert caught.value.code == "context_length_exceeded"
        words = f"{number} tokens, but {STORIES} has a context of 256"
        assert words in caught.value.message


def test_unknown_models_pages_and_methods(url):
    answer = post(f"{url}/v1/completions", json=TEXT | {"model": 'a"b\n'})
    error = check_error(answer, 404, r'no model "a\\"b\\n" here')
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    check_error(get(f"{url}/v1/embeddings"), 404, "no GET /v1/embeddings here")
    check_error(get(f"{url}/docs"), 404)
    check_error(get(f"{url}/../course/cli.py"), 404)
    for method, path, allowed in (
        ("GET", "/v1/completions", "POST"),
        ("DELETE", "/v1/models/a", "GET"),
        ("PUT", "/", "GET"),
    ):
        answer = request(method, f"{url}{path}")
        check_error(answer, 405, f"{method} {path} is not possible, only .*{allowed}")
        assert allowed in answer.headers["allow"]


# ---- who may ask --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["evil.example", "192.168.0.5", "", "0.0.0.0"])
def test_a_local_server_answers_to_local_names_only(url, name):
    port = urlsplit(url).port
    answer = get(f"{url}/v1/models", headers={"Host": f"{name}:{port}"})
    assert check_error(answer, 403, "127.0.0.1 or localhost")["code"] == "foreign_host"
    for local in "localhost", "127.0.0.1", "[::1]", "127.1.2.3":
        headers = {"Host": f"{local}:{port}"}
        assert get(f"{url}/v1/models", headers=headers).status_code == 200


def test_another_page_may_not_ask(url):
    port = urlsplit(url).port
    for origin in (
        "http://evil.example",
        "null",
        f"http://localhost:{port + 1}",
        f"http://127.0.0.1:{port}.evil.example",
    ):
        headers = {"Origin": origin}
        answer = post(f"{url}/v1/completions", json=TEXT, headers=headers)
        assert check_error(answer, 403)["code"] == "foreign_origin"
    own = post(f"{url}/v1/completions", json=TEXT, headers={"Origin": url})
    assert own.status_code == 200
    assert "access-control-allow-origin" not in own.headers


def test_a_token_is_demanded_for_all_but_the_page():
    engine = Engine(MODEL)
    token = "two-words~and+signs/="
    with served(Served(STORIES, engine, ENCODING), token=token) as url:
        with opened(url, token) as client:
            assert client.completions.create(**TEXT).choices[0].text
        for key in "", "two", f"{token}x", token.upper():
            with (
                opened(url, key or "none") as client,
                pytest.raises(openai.AuthenticationError) as caught,
            ):
                client.completions.create(**TEXT)
            assert caught.value.code == "invalid_api_key"
            assert caught.value.response.headers["www-authenticate"] == "Bearer"
        for headers in (
            {},
            {"Authorization": token},
            {"Authorization": f"Basic {token}"},
            {"Authorization": "Bearer \xff".encode("latin-1")},
        ):
            for path in "/v1/models", "/v1/nothing", "/v1":
                answer = get(f"{url}{path}", headers=headers)
                check_error(answer, 401, "Authorization: Bearer TOKEN")
        headers = {"Authorization": f"bearer {token}", "Host": "laptop.local:8001"}
        assert get(f"{url}/v1/models", headers=headers).status_code == 200
        assert get(f"{url}/").status_code == 200
    engine.close()


# ---- an engine that waits for the test ----------------------------------------------


@contextmanager
def held(refusal: Exception | None = None) -> Iterator[tuple[str, Held]]:
    engine = Held(MODEL.config, refusal)
    with served(Served(STORIES, engine, ENCODING)) as url:
        yield url, engine


def busy(seconds: float) -> Overloaded:
    error = Overloaded.__new__(Overloaded)
    error.retry_after = seconds
    return error


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("seconds", "header"), [(7, "7"), (0.2, "1"), (2.5, "3")])
def test_too_many_are_sent_away_for_a_while(seconds, header, stream):
    with (
        held(busy(seconds)) as (url, _engine),
        opened(url) as client,
        pytest.raises(openai.RateLimitError) as caught,
    ):
        client.completions.create(**TEXT, stream=stream)
    assert caught.value.response.headers["retry-after"] == header
    assert caught.value.type == "rate_limit_error"


def test_the_client_comes_again_by_itself():
    with (
        held(busy(1)) as (url, engine),
        openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client,
    ):
        real = client._client.send

        def send(*args, **kwargs) -> httpx.Response:
            answer = real(*args, **kwargs)
            engine.refusal = None  # the next time there is room
            return answer

        client._client.send = send
        thread = threading.Thread(target=client.completions.create, kwargs=TEXT)
        thread.start()
        engine.asked.get(timeout=PATIENCE).end(None)
        thread.join()


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_that_ends_says_so(stream):
    with (
        held(Closed("closed")) as (url, _engine),
        opened(url) as client,
        pytest.raises(openai.InternalServerError) as caught,
    ):
        client.completions.create(**TEXT, stream=stream)
    assert (caught.value.status_code, caught.value.code) == (503, "shutting_down")


@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [(Closed("closed"), 503, "being stopped"), (RuntimeError("out"), 500, "terminal")],
)
def test_an_engine_that_fails_is_no_riddle(failure, status, words):
    with held() as (url, engine), opened(url) as client:
        answers: queue.Queue[Exception] = queue.Queue()

        def ask(stream: bool) -> None:
            try:
                made = client.completions.create(**TEXT, stream=stream)
                list(made if stream else ())
            except openai.OpenAIError as error:
                answers.put(error)

        for stream in False, True:
            thread = threading.Thread(target=ask, args=[stream])
            thread.start()
            asked = engine.asked.get(timeout=PATIENCE)
            asked.token(Token(ENCODE(" the")[0], None))
            asked.end(failure)
            error = answers.get(timeout=PATIENCE)
            thread.join()
            assert words in error.message
            assert (getattr(error, "status_code", None)) == (None if stream else status)


def test_after_a_failure_the_connection_is_not_used_again():
    with held(RuntimeError("out")) as (url, _engine):
        failed = post(f"{url}/v1/completions", json=TEXT)
    assert (failed.status_code, failed.headers["connection"]) == (500, "close")


@contextmanager
def asking(url: str, asked: dict) -> Iterator[socket.socket]:
    """A request by hand, so that its sender can go away at any moment."""
    body = json.dumps(asked)
    address = urlsplit(url)
    head = [
        "POST /v1/completions HTTP/1.1",
        f"Host: {address.netloc}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    with closing(socket.create_connection((address.hostname, address.port))) as link:
        link.sendall("\r\n".join([*head, "", body]).encode())
        yield link


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("tokens", [0, 2])
def test_who_goes_away_makes_room(stream, tokens):
    with held() as (url, engine):
        with asking(url, TEXT | {"stream": stream}) as link:
            asked = engine.asked.get(timeout=PATIENCE)
            for _ in range(tokens):
                asked.token(Token(ENCODE(" the")[0], None))
            if stream and tokens:
                received = b""
                while b'" the"' not in received:
                    received += link.recv(4096)
            assert not asked.ticket.cancelled.is_set()
        assert asked.ticket.cancelled.wait(PATIENCE)


@pytest.mark.parametrize("stream", [False, True])
def test_a_text_that_stops_is_not_written_further(stream):
    with held() as (url, engine), opened(url) as client:
        thread = threading.Thread(
            target=lambda: list(
                client.completions.create(**TEXT, stop="the", stream=stream)
            )
        )
        thread.start()
        asked = engine.asked.get(timeout=PATIENCE)
        asked.token(Token(ENCODE(" the")[0], None))
        assert asked.ticket.cancelled.wait(PATIENCE)
        asked.end(None)
        thread.join()


def test_a_slot_is_free_as_soon_as_its_reader_has_gone():
    """One slot, no queue, and a text that takes long."""
    model = GPT(GPTConfig(262, 30_000, n_embd=4, n_layer=1, n_head=1)).eval()
    engine = Engine(model, slots=1, waiting=0)
    one = Served("one", engine, to_tiktoken(RANKS))
    asked = {"model": "one", "prompt": "a", "stream": True}
    with served(one) as url:
        with asking(url, asked) as link:
            while b"data: " not in link.recv(4096):
                pass
            answer = post(f"{url}/v1/completions", json=asked)
            check_error(answer, 429, "try again in")
            assert int(answer.headers["retry-after"]) >= 1
        asked |= {"max_tokens": 1, "stream": False}
        while (answer := post(f"{url}/v1/completions", json=asked)).is_error:
            check_error(answer, 429)
        assert engine.stats().tokens < 29_000
    engine.close()


# ---- the command --------------------------------------------------------------------


def refused(**options) -> str:
    with pytest.raises(SystemExit) as caught:
        run.run(**options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.5", "", "::", "laptop"])
def test_elsewhere_it_demands_a_token(monkeypatch, host):
    monkeypatch.delenv(run.TOKEN, raising=False)
    message = refused(host=host)
    assert "others can reach this server, so it demands a token" in message
    fresh = re.search(r"--token (\S{20,})$", message)[1]
    assert fresh not in refused(host=host)  # another one each time
    run.check_access(host, fresh)


def test_the_command_refuses_too(monkeypatch):
    monkeypatch.delenv(run.TOKEN, raising=False)
    result = CliRunner().invoke(cli.app, ["serve", "--host", "0.0.0.0"])
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"token": "two words"}, "a token is one word of ASCII"),
        ({"token": "안녕"}, "a token is one word of ASCII"),
        ({"port": 65536}, "the port is 65536, expected 0 to 65535"),
        ({"port": -1}, "the port is -1"),
        ({"slots": 0}, "slots is 0, expected 1 or more"),
        ({"host": "203.0.113.7", "token": "a"}, "cannot listen on 203.0.113.7"),
        ({"model": "no-such-folder/x/y", "port": 0}, "there is no folder"),
    ],
)
def test_what_cannot_be_served_gets_one_line(options, words):
    assert words in refused(**options)


def test_a_port_in_use_gets_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refused(port=port).startswith(f"port {port} is in use: ")


def test_the_models_of_the_course_have_names(monkeypatch, tmp_path):
    monkeypatch.setattr(tuning, "FOLDER", tmp_path / "tuned")
    pretrained.save(tuning.FOLDER, *small(16))
    pretrained.save(tmp_path / "my-gpt", *small(16))
    options = {"slots": 2, "int8": False}
    for model, chat, expected in (
        (None, False, {CHAT: True, STORIES: False}),
        (str(pretrained.FOLDER), False, {STORIES: False}),
        (str(tuning.FOLDER), False, {CHAT: True}),
        (str(tmp_path / "my-gpt"), False, {"my-gpt": False}),
        (str(tmp_path / "my-gpt"), True, {"my-gpt": True}),
    ):
        models = run.load(model, chat=chat, **options)
        assert {name: each.chats for name, each in models.items()} == expected
        assert all(name == each.id for name, each in models.items())
        run.close(each.engine for each in models.values())


def test_all_options_arrive(monkeypatch):
    given, made = {}, []
    monkeypatch.setattr(run, "run", lambda model, **options: given.update(options))
    command = "serve --model m --chat --host h --port 5 --int8 --token t --slots 7"
    command += " --mine"
    assert CliRunner().invoke(cli.app, command.split()).exit_code == 0
    assert given == {
        "chat": True,
        "host": "h",
        "port": 5,
        "int8": True,
        "token": "t",
        "slots": 7,
        "mine": True,
    }
    monkeypatch.setattr(run, "Engine", lambda gpt, **options: made.append(options))
    run.load(str(pretrained.FOLDER), chat=False, slots=3, int8=True)
    assert made == [{"slots": 3, "int8": True, "take": True}]


def test_the_terminal_shows_where_it_is():
    models = {"a": None, "b": None}
    local = run.welcome(models, "127.0.0.1", 8001, None)
    assert "http://127.0.0.1:8001/ " in local
    assert 'base_url="http://127.0.0.1:8001/v1", model a or b' in local
    elsewhere = run.welcome(models, "fe80::1", 80, "a+b&c")
    assert "http://[fe80::1]:80/#token=a%2Bb%26c " in elsewhere
    # No phone can reach "any address of this machine".
    assert "0.0.0.0" not in run.welcome(models, "0.0.0.0", 80, "t")


def small(context: int) -> tuple[GPT, dict[bytes, int]]:
    torch.manual_seed(0)
    return GPT(GPTConfig(262, context, n_embd=4, n_layer=1, n_head=1)), RANKS


def test_small_models_are_served_with_one_thread_and_kept_once(monkeypatch):
    read, threads, load = [], [], pretrained.load

    class Instead:
        def __init__(self, _config, close) -> None:
            self.close = close

        def run(self, sockets) -> None:
            threads.append(torch.get_num_threads())
            self.close()
            sockets[0].close()

    def remembered(where):
        read.append(load(where))
        return read[-1]

    monkeypatch.setattr(run, "Server", Instead)
    monkeypatch.setattr(pretrained, "load", remembered)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        run.run(port=0)
    finally:
        torch.set_num_threads(before)
    assert threads == [1]
    # The engines have matrices of their own, so those of the models are let go.
    assert [gpt.blocks[0].attention.qkv.weight.numel() for gpt, _ in read] == [0, 0]


@contextmanager
def started(folder) -> Iterator[tuple[subprocess.Popen, str]]:
    """`sundays serve` as a reader starts it, and the address that it printed."""
    command = [sys.executable, "-m", "course.cli", "serve", "--model", str(folder)]
    process = subprocess.Popen(
        [*command, "--port", "0", "--slots", "2"],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        first = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", first)
        assert found, first + process.stderr.read()
        assert "/v1" in process.stdout.readline()
        yield process, found[0]
    finally:
        process.kill()
        process.communicate()


def test_what_is_being_written_is_finished_before_the_end(tmp_path):
    pretrained.save(tmp_path / "slow", *small(2000))
    asked = {"model": "slow", "prompt": "a", "stream": True}
    with started(tmp_path / "slow") as (process, url):
        with stream_of(f"{url}/v1/completions", json=asked) as stream:
            lines = stream.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            while "once more ends at once" not in process.stdout.readline():
                pass
            answer = post(f"{url}/v1/completions", json=asked)
            assert check_error(answer, 503)["code"] == "shutting_down"
            assert get(f"{url}/v1/models").status_code == 200
            events = [
                json.loads(line[6:]) for line in lines if line.startswith("data: {")
            ]
            assert events[-1]["choices"][0]["finish_reason"] == "length"
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out, err) == (0, "Stopped.\n", "")


def test_a_second_signal_ends_it_at_once(tmp_path):
    pretrained.save(tmp_path / "endless", *small(100_000))
    asked = {"model": "endless", "prompt": "a", "stream": True}
    with started(tmp_path / "endless") as (process, url):
        with stream_of(f"{url}/v1/completions", json=asked) as stream:
            next(stream.iter_lines())
            process.send_signal(signal.SIGINT)
            while "once more ends at once" not in process.stdout.readline():
                pass
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 128 + signal.SIGINT
        assert process.stderr.read() == ""
