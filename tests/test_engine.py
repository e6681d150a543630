"""The engine, by transformers' GPT-2 and by probabilities on paper.

What happens when is fixed without a clock: the engine calls from its own thread between
two steps, and in such a call the tests ask for texts, cancel and close.
"""

from __future__ import annotations

import doctest
import itertools
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from transformers.generation.logits_process import TopKLogitsWarper, TopPLogitsWarper

from course import pretrained
from course.generation import Cache
from course.layers import PLAIN, Layers
from course.serve import batch, engine, sampling
from course.serve.batch import PACKED, Batch, best_form
from course.serve.engine import Closed, Engine, Overloaded, Request, Stats, Token
from course.serve.sampling import Settings, draw, nucleus, scores
from solutions.gpt_block import GPT, GPTConfig
from tests.gpt2 import seeded, shaken, theirs

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
CONFIG = GPTConfig(61, 80, n_embd=20, n_layer=2, n_head=5)
PATIENCE = 60  # seconds; only a test that fails waits so long


@dataclass(eq=False)
class Heard:
    """What was told about a text."""

    ids: list[int] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    ends: list[Exception | None] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> Heard:
        assert self.over.wait(PATIENCE), "no end was told"
        return self


def ask(
    writer: Engine, request: Request, then: Callable[[Heard], None] | None = None
) -> Heard:
    """Ask for a text; `then` is called after each of its tokens."""
    heard = Heard()

    def on_token(token: Token) -> None:
        heard.tokens.append(token)
        heard.ids.append(token.id)
        if then is not None:
            then(heard)

    def on_end(error: Exception | None) -> None:
        heard.ends.append(error)
        heard.over.set()

    heard.ticket = writer.submit(request, on_token, on_end)
    return heard


@contextmanager
def held(writer: Engine) -> Iterator[None]:
    """The engine stands still; what is asked for meanwhile begins in one step."""
    inside, go = threading.Event(), threading.Event()

    def on_token(_: Token) -> None:
        inside.set()
        go.wait(PATIENCE)

    writer.submit(greedy(1, 1), on_token, lambda _: None)
    assert inside.wait(PATIENCE)
    try:
        yield
    finally:
        go.set()


@pytest.fixture
def started():
    """Start engines that are closed in the end."""
    engines = []

    def start(model: GPT | None = None, **settings) -> Engine:
        engines.append(Engine(model or shaken(CONFIG), **settings))
        return engines[-1]

    yield start
    for each in engines:
        each.close(drain=False)


def prompt(length: int, seed: int = 0) -> tuple[int, ...]:
    return tuple(torch.randint(61, (length,), generator=seeded(seed)).tolist())


def greedy(length: int, most: int, seed: int = 0, **more) -> Request:
    return Request(prompt(length, seed), most, temperature=0, **more)


def expected(model: GPT, request: Request) -> list[int]:
    """What transformers writes, always the likeliest token."""
    ids = torch.tensor([request.ids])
    written = theirs(model).generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=request.max_tokens,
        do_sample=False,
        pad_token_id=0,
    )
    return written[0, len(request.ids) :].tolist()


# ---- what is written ----------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("slots", [1, 3, 32])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_greedy_texts_are_those_of_transformers(started, dtype, slots, device):
    """They come and go at different times, and use the context to its end."""
    model = shaken(CONFIG, 0.6, 1.5).to(dtype)
    sizes = [(1, 79), (70, 10), (40, 3), (7, 30), (33, 33), (2, 1), (64, 16), (5, 60)]
    asked = [greedy(*size, seed) for seed, size in enumerate(sizes)]
    right = [expected(model, request) for request in asked]
    assert len({token for ids in right for token in ids}) > 20
    writer = started(model.to(device), slots=slots)
    heard = [ask(writer, request) for request in asked]
    for each, ids in zip(heard, right, strict=True):
        assert each.wait().ends == [None]
        assert each.ids == ids


def test_a_text_that_comes_later_joins_the_others(started):
    model = shaken(CONFIG, 0.6, 1.5)
    first, second = greedy(9, 30), greedy(12, 30, seed=1)
    late: list[Heard] = []

    def then(heard: Heard) -> None:
        if len(heard.ids) == 10:
            late.append(ask(writer, second, lambda _: seen.append(len(heard.ids))))

    seen: list[int] = []
    writer = started(model)
    heard = ask(writer, first, then).wait()
    assert heard.ids == expected(model, first)
    assert late[0].wait().ids == expected(model, second)
    # Each step wrote one token of both, the older text first.
    assert seen == [*range(11, 30), *[30] * 11]


SETTINGS = [
    {},
    {"temperature": 0.4},
    {"temperature": 2.5},
    {"temperature": 0},
    {"top_k": 3},
    {"top_p": 0.4},
    {"top_k": 4, "top_p": 0.7},
    {"temperature": 1.7, "top_k": 6, "top_p": 0.8},
    {"top_k": 100, "top_p": 1.0},
    {"top_p": 0.0},
]


def test_each_token_is_the_one_that_its_random_number_asks_for(started):
    """transformers' logits and warpers, then sums on paper; all settings at once."""
    model = shaken(CONFIG, 0.6, 1.5)
    asked = [
        Request(prompt(4 + seed, seed), 30, seed=seed - 3, **settings)
        for seed, settings in enumerate(SETTINGS)
    ]
    writer = started(model)
    heard = [ask(writer, request) for request in asked]
    other = theirs(model)
    for request, each in zip(asked, heard, strict=True):
        ids = torch.tensor([[*request.ids, *each.wait().ids]])
        logits = other(ids).logits[0, len(request.ids) - 1 : -1].detach()  # (30, V)
        if not request.temperature:
            assert each.ids == logits.argmax(-1).tolist()
            continue
        logits /= request.temperature
        if request.top_k is not None:
            logits = TopKLogitsWarper(request.top_k)(None, logits)
        if request.top_p is not None:
            logits = TopPLogitsWarper(request.top_p)(None, logits)
        upper = logits.softmax(-1).cumsum(-1)
        lower = upper - logits.softmax(-1)
        numbers = torch.rand(30, generator=seeded(request.seed)).double()
        chosen = torch.tensor(each.ids)[:, None]
        assert (lower.gather(1, chosen)[:, 0] <= numbers + 1e-6).all()
        assert (numbers <= upper.gather(1, chosen)[:, 0] + 1e-6).all()
        assert torch.isfinite(logits.gather(1, chosen)).all()


def test_a_text_is_the_same_alone_and_among_others(started):
    """In float32, on as many threads as there are; with the model of the course."""
    model, encoding = pretrained.load()
    words = encoding.encode("\nOn a sunny morning Kofi found a blue kite for Suji. ")
    settings = [{}, {"temperature": 0.7}, {"top_k": 9}, {"top_p": 0.9}]
    asked = [
        Request(
            tuple(words[: 1 + seed % 11]), 20 + seed, seed=seed, **settings[seed % 4]
        )
        for seed in range(24)
    ]
    writer = started(model, slots=10)
    together = [ask(writer, request) for request in asked]
    for each in together:
        each.wait()
    for request, each in zip(asked, together, strict=True):
        assert ask(writer, request).wait().ids == each.ids


def test_who_asks_for_more_tokens_gets_the_same_ones_first(started):
    writer = started(shaken(CONFIG, 0.1))
    few, many = (
        ask(writer, Request(prompt(3), most, seed=5)).wait().ids for most in (7, 60)
    )
    assert many[:7] == few


def test_without_a_seed_each_text_is_another(started):
    writer = started(shaken(CONFIG, 0.1))
    texts = [ask(writer, Request(prompt(3), 20)).wait().ids for _ in range(2)]
    assert texts[0] != texts[1]


def test_a_text_ends_with_the_token_that_ends_it(started):
    model = shaken(CONFIG, 0.6, 1.5)
    request = greedy(9, 40)
    ids = expected(model, request)
    end = ids[20]
    heard = ask(started(model), replace(request, end=end)).wait()
    assert heard.ids == ids[: ids.index(end) + 1]
    assert heard.ends == [None]


def test_log_probabilities_are_those_of_transformers(started):
    """Also after prompts that are read in more than one piece."""
    model = shaken(CONFIG, 0.6, 1.5)
    told = [(None, {}), (0, {}), (3, {"temperature": 0.2, "top_k": 2}), (61, {})]
    asked = [
        Request(prompt(length, n), 12, seed=n, top_logprobs=count, **settings)
        for n, (count, settings) in enumerate(told)
        for length in (6, 68)
    ]
    writer = started(model)
    heard = [ask(writer, request) for request in asked]
    for request, each in zip(asked, heard, strict=True):
        ids = torch.tensor([[*request.ids, *each.wait().ids]])
        logs = theirs(model)(ids).logits[0, -13:-1].log_softmax(-1)  # (12, V)
        assert len(each.tokens) == 12
        for token, right in zip(each.tokens, logs, strict=True):
            if request.top_logprobs is None:
                assert (token.logprob, token.top) == (None, ())
                continue
            assert token.logprob == pytest.approx(right[token.id].item(), abs=1e-5)
            best = right.topk(request.top_logprobs)
            assert [i for i, _ in token.top] == best.indices.tolist()
            values = [log for _, log in token.top]
            assert values == pytest.approx(best.values.tolist(), abs=1e-5)


def test_with_int8_texts_are_near_and_do_not_depend_on_each_other(started):
    model = shaken(CONFIG, 0.2).float()
    right = theirs(model)
    asked = [Request(prompt(3 + n, n), 30, seed=n, top_logprobs=0) for n in range(6)]
    writer = started(model, int8=True)
    together = [ask(writer, request) for request in asked]
    for request, each in zip(asked, together, strict=True):
        ids = torch.tensor([[*request.ids, *each.wait().ids]])
        logs = right(ids).logits[0, len(request.ids) - 1 : -1].log_softmax(-1)
        expected = logs.gather(1, torch.tensor(each.ids)[:, None])[:, 0]
        got = torch.tensor([token.logprob for token in each.tokens])
        assert_close(got, expected.detach(), rtol=0, atol=0.1)
        assert not torch.allclose(got, expected, rtol=0, atol=1e-5)
        assert ask(writer, request).wait().ids == each.ids


def test_the_matrices_of_the_model_can_be_let_go(started):
    model = shaken(CONFIG, 0.6, 1.5).float()
    request = greedy(5, 20)
    ids = expected(model, request)
    writer = started(model, take=True)
    assert model.embedding.token_embedding.weight.numel() == 0
    assert ask(writer, request).wait().ids == ids
    assert writer.config == CONFIG


# ---- drawing ------------------------------------------------------------------------


def test_tokens_are_drawn_as_often_as_they_are_probable():
    """As many numbers as there are, evenly spread: each share comes out by itself."""
    shares = torch.tensor([0.125, 0.0, 0.5, 0.25, 0.0, 0.125])
    count = 4096
    numbers = [(n + 0.5) / count for n in range(count)]
    logits = shares.log().expand(count, -1)
    drawn = torch.tensor(draw(logits, [Settings()] * count, numbers))
    assert torch.bincount(drawn, minlength=6).tolist() == (shares * count).tolist()
    # At half the temperature, shares are squared; then those of the best two are left.
    colder = [Settings(0.5, top_k=2)] * count
    drawn = torch.tensor(draw(logits, colder, numbers))
    left = torch.bincount(drawn, minlength=6) / count
    assert_close(left, torch.tensor([0, 0, 0.8, 0.2, 0, 0]), rtol=0, atol=1 / count)


def test_the_smallest_and_largest_numbers_draw_no_token_that_cannot_be():
    shares = torch.tensor([[0.0, 0.3, 0.0, 0.7, 0.0, 0.0]]).log()
    assert draw(shares, [Settings()], [0.0]) == [1]
    assert draw(shares, [Settings()], [1 - 2**-24]) == [3]
    for size in 7, 1600, 50257:  # sums of many are not 1
        logits = torch.randn(1, size, generator=seeded(size))
        logits[:, -3:] = -torch.inf
        assert draw(logits, [Settings()], [1 - 2**-24])[0] < size - 3


@pytest.mark.parametrize("p", [0.0, 0.3, 0.9, 0.999])
def test_the_nucleus_is_that_of_transformers_however_many_tokens_it_has(p):
    """From rows in which one token has nearly all to those in which all are alike."""
    logits = torch.randn(6, 500, generator=seeded(1)).double()
    logits *= torch.tensor([20.0, 5, 3, 2, 1, 0.1])[:, None]
    got = nucleus(logits, p)
    assert torch.equal(got, TopPLogitsWarper(p)(None, logits))
    many = (got > -torch.inf).sum(dim=1)
    assert p in (0, 0.3) or many[0] < sampling.FEW < many[-1]
    for row in range(6):
        assert torch.equal(nucleus(logits[row : row + 1], p)[0], got[row])


def test_what_cannot_be_drawn_with_is_refused():
    for bad in {"temperature": -1}, {"top_k": 0}, {"top_p": 1.5}:
        with pytest.raises(ValueError, match="expected"):
            Settings(**bad)


# ---- the batch ----------------------------------------------------------------------


@pytest.mark.parametrize("form", [PLAIN, PACKED], ids=["plain", "packed"])
def test_rows_have_the_logits_of_transformers_whatever_moved(form):
    model = shaken(CONFIG, 0.6, 1.5).float()
    layers, other = Layers(model, form), theirs(model)
    texts = [list(prompt(length, length)) for length in (40, 1, 31, 9, 2, 32)]
    rows, cache = Batch(layers, 6), Cache(layers, 1)
    for ids in texts:
        cache.forget()
        if len(ids) > 1:
            cache.take_in(torch.tensor([ids[:-1]]))
        rows.join(cache)
    for step in range(12):
        got = rows.read([ids[-1] for ids in texts])
        assert got.shape == (len(texts), 61)
        for row, ids in enumerate(texts):
            right = other(torch.tensor([ids])).logits[0, -1]
            assert_close(got[row], right, rtol=0, atol=1e-4)
            ids.append((7 * step + row) % 61)
        if step % 3 == 2:  # the first one, one in between, and the last one leave
            row = [0, 2, 3, 1][step // 3]
            rows.leave(row)
            last = texts.pop()
            if row < len(texts):
                texts[row] = last
    assert rows.lengths == [len(ids) - 1 for ids in texts]


def test_only_as_many_positions_are_looked_at_as_the_longest_text_has(monkeypatch):
    layers = Layers(shaken(CONFIG))
    rows, cache, seen = Batch(layers, 5), Cache(layers, 1), []
    real = torch.bmm

    def watched(weights: Tensor, values: Tensor) -> Tensor:
        seen.append(weights.shape[-1])
        return real(weights, values)

    for length in 3, 31, 10:
        cache.forget()
        cache.take_in(torch.tensor([prompt(length)]))
        rows.join(cache)
    monkeypatch.setattr(torch, "bmm", watched)
    rows.read([1, 1, 1])
    rows.read([1, 1, 1])
    rows.leave(1)
    rows.read([1, 1])
    assert seen == [32, 32, 64, 64, 32, 32]  # two layers each time


def test_other_types_and_machines_get_matrices_as_they_are(monkeypatch):
    assert best_form(torch.zeros(1)) is PACKED
    assert best_form(torch.zeros(1).double()) is PLAIN
    assert best_form(torch.zeros(1, device="meta")) is PLAIN

    def missing(*_):
        raise NotImplementedError

    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", missing)
    assert best_form(torch.zeros(1)) is PLAIN


# ---- prompts ------------------------------------------------------------------------


@pytest.fixture
def pieces(monkeypatch):
    """The sizes of all pieces of prompts that are read from now on."""
    read, real = [], Cache.take_in

    def watched(cache: Cache, ids: Tensor) -> None:
        read.append(ids.shape[1])
        real(cache, ids)

    monkeypatch.setattr(Cache, "take_in", watched)
    return read


@pytest.fixture
def by_eight(pieces, monkeypatch):
    """So many tokens at a time, and nothing is filled up."""
    monkeypatch.setattr(engine, "PIECE", 8)
    monkeypatch.setattr(engine, "FILLED", 1)
    return pieces


def test_a_long_prompt_does_not_keep_others_waiting(started, by_eight):
    model = shaken(CONFIG, 0.6, 1.5)
    long = greedy(30, 5, seed=1)
    late, during = [], []

    def then(heard: Heard) -> None:
        if len(heard.ids) == 3:
            late.append(ask(writer, long))
        during.append(list(by_eight))

    writer = started(model)
    heard = ask(writer, greedy(1, 12), then).wait()
    # One piece in each step, and the text that was there goes on beside them.
    assert during[:7] == [[], [], [], [8], [8, 8], [8, 8, 8], [8, 8, 8, 5]]
    assert heard.ids == expected(model, greedy(1, 12))
    assert late[0].wait().ids == expected(model, long)


def test_several_short_prompts_are_read_in_a_step(started, by_eight):
    writer = started(shaken(CONFIG, 0.6, 1.5))
    late, during = [], []

    def then(heard: Heard) -> None:
        if len(heard.ids) == 1:
            late.extend(ask(writer, greedy(size, 3)) for size in (4, 1, 6, 5, 1))
        during.append((list(by_eight), writer.stats().running))

    ask(writer, greedy(1, 4), then).wait()
    # 3 and 5 fill a step, and 4 begins the next one.
    assert during == [([], 1), ([3, 5], 4), ([3, 5, 4], 6), ([3, 5, 4], 6)]
    assert [len(each.wait().ids) for each in late] == [3] * 5


def test_prompts_are_read_in_pieces_of_few_sizes(started, pieces):
    """And what they are filled up with leaves no trace."""
    model = shaken(CONFIG, 0.6, 1.5)
    writer = started(model)
    for length in 2, 17, 18, 66, 70, 79:
        request = greedy(length, 80 - length)
        assert ask(writer, request).wait().ids == expected(model, request)
    assert pieces == [16, 16, 32, 64, 16, 64, 16, 64, 16]
    # The last one may not go beyond the context.
    short = shaken(replace(CONFIG, n_positions=75), 0.6, 1.5)
    request = greedy(74, 1)
    assert ask(started(short), request).wait().ids == expected(short, request)
    assert pieces[9:] == [64, 11]


# ---- coming and going ---------------------------------------------------------------


def test_a_cancelled_text_makes_room_before_the_next_step(started):
    model = shaken(CONFIG, 0.6, 1.5)
    told: list[str] = []

    def then(heard: Heard) -> None:
        told.append("first")
        if len(heard.ids) == 3:
            heard.ticket.cancel()
            heard.ticket.cancel()

    writer = started(model, slots=1)
    with held(writer):
        first = ask(writer, greedy(4, 20), then)
        second = ask(writer, greedy(5, 6, seed=1), lambda _: told.append("second"))
    assert second.wait().ids == expected(model, greedy(5, 6, seed=1))
    assert told == ["first"] * 3 + ["second"] * 6
    assert first.ends == [None]
    first.ticket.cancel()  # there is nothing left to cancel
    writer.close()
    assert first.ends == second.ends == [None]


def test_texts_that_wait_or_are_being_read_can_be_cancelled(started, by_eight):
    model = shaken(CONFIG, 0.6, 1.5)
    others: list[Heard] = []

    def then(heard: Heard) -> None:
        if len(heard.ids) == 1:
            others.extend(
                ask(writer, greedy(size, 9, seed))
                for seed, size in enumerate([60, 5, 7, 3])
            )
        if len(heard.ids) == 3:  # two pieces of the first have been read
            others[0].ticket.cancel()
            others[2].ticket.cancel()

    writer = started(model, slots=2)
    ask(writer, greedy(1, 6), then).wait()
    for each, ids in zip(
        others,
        [[], expected(model, greedy(5, 9, 1)), [], expected(model, greedy(3, 9, 3))],
        strict=True,
    ):
        assert each.wait().ids == ids
        assert each.ends == [None]
    assert by_eight == [8, 8, 4, 2]
    assert writer.stats() == Stats(running=0, waiting=0, slots=2, tokens=6 + 9 + 9)


def test_a_text_that_is_cancelled_by_another_gets_no_more_tokens(started):
    writer = started()

    def then(heard: Heard) -> None:
        if len(heard.ids) == 2:
            second.ticket.cancel()

    with held(writer):
        first = ask(writer, greedy(4, 5), then)
        second = ask(writer, greedy(4, 5))
    assert len(first.wait().ids) == 5
    assert len(second.wait().ids) == 1


def test_it_takes_so_many_requests_and_no_more(started, monkeypatch):
    """On a clock that goes on by two seconds when it is looked at."""
    now = itertools.count(step=2)
    monkeypatch.setattr(engine.time, "perf_counter", lambda: next(now))
    others: list[Heard] = []
    refused: list[Overloaded] = []

    def then(heard: Heard) -> None:
        if len(heard.ids) != 4:
            return
        others.append(ask(writer, greedy(1, 50)))
        others.append(ask(writer, greedy(1, 50)))
        with pytest.raises(Overloaded) as caught:
            ask(writer, greedy(1, 1))
        refused.append(caught.value)
        assert writer.stats() == Stats(running=2, waiting=2, slots=2, tokens=1 + 8)
        others[0].ticket.cancel()
        others.append(ask(writer, greedy(1, 50)))  # its place is free
        with pytest.raises(Overloaded):
            ask(writer, greedy(1, 1))

    writer = started(slots=2, waiting=2)
    with held(writer):
        long, short = ask(writer, greedy(1, 60)), ask(writer, greedy(1, 20), then)
    assert [len(each.wait().ids) for each in (long, short)] == [60, 20]
    assert [len(each.wait().ids) for each in others] == [0, 50, 50]
    # One text has 16 tokens left, at two seconds each, and then a slot is free.
    assert refused[0].retry_after == 32
    assert "4 requests" in str(refused[0])
    assert "\n" not in str(refused[0])


def test_between_two_texts_it_can_say_when_to_come_again(started):
    writer, over = started(slots=1, waiting=0), threading.Event()
    refused: list[Overloaded] = []

    def on_end(error: Exception | None) -> None:
        ask(writer, greedy(1, 1))
        try:
            ask(writer, greedy(1, 1))
        except Overloaded as problem:
            refused.append(problem)
        over.set()

    writer.submit(greedy(1, 1), lambda _: None, on_end)
    assert over.wait(PATIENCE)
    assert [each.retry_after for each in refused] == [1]


def test_closing_waits_for_all_that_was_asked_for(started):
    model = shaken(CONFIG, 0.6, 1.5)
    writer = started(model, slots=2)
    asked = [greedy(3, 20, seed) for seed in range(5)]
    heard = [ask(writer, request) for request in asked]
    writer.close()
    for each, request in zip(heard, asked, strict=True):
        assert each.ends == [None]
        assert each.ids == expected(model, request)
    with pytest.raises(Closed, match="takes no more requests"):
        ask(writer, greedy(1, 1))
    writer.close()


def test_closing_can_end_all_texts(started):
    """Running, being read, waiting, and one that was cancelled before."""
    writer = started(slots=2)
    others: list[Heard] = []

    def then(heard: Heard) -> None:
        if len(heard.ids) == 2:
            others.extend(ask(writer, greedy(79, 1)) for _ in range(3))
        if len(heard.ids) == 3:
            others[1].ticket.cancel()
            writer.close()  # politely at first
            writer.close(drain=False)
            writer.close()  # which takes nothing back

    first = ask(writer, greedy(1, 20), then).wait()
    writer.close()
    assert len(first.ids) == 3
    assert [type(each.ends[0]) for each in (first, *others)] == [
        Closed,
        Closed,
        type(None),
        Closed,
    ]
    assert all(len(each.ends) == 1 for each in (first, *others))
    assert "closed before the text was done" in str(first.ends[0])


PROGRAM = """
import threading
from course.serve.engine import Engine, Request
from solutions.gpt_block import GPT, GPTConfig

begun = threading.Event()
writer = Engine(GPT(GPTConfig(1600, 4096, n_embd=128, n_layer=4, n_head=4)))
for _ in range(8):
    writer.submit(Request((1,), 4000), lambda token: begun.set(), lambda error: None)
begun.wait(60)
"""


def test_a_program_that_does_not_close_it_ends_all_the_same():
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


# ---- what goes wrong ----------------------------------------------------------------


def test_a_step_that_fails_ends_its_texts_and_the_engine_goes_on(started, monkeypatch):
    model = shaken(CONFIG, 0.6, 1.5)
    writer = started(model, slots=2)
    real, problem = Batch.read, RuntimeError("the machine is out of luck")

    def read(rows: Batch, ids: list[int]) -> Tensor:
        if rows.lengths[0] == 7:  # the first text has 7 tokens and reads one more
            raise problem
        return real(rows, ids)

    monkeypatch.setattr(Batch, "read", read)
    with held(writer):
        heard = [ask(writer, greedy(5, 12)), ask(writer, greedy(9, 12))]
        last = ask(writer, greedy(10, 12, seed=1))
    for each in heard:
        assert each.wait().ends == [problem]
        assert len(each.ids) == 3
    assert last.wait().ends == [None]
    assert last.ids == expected(model, greedy(10, 12, seed=1))


def test_a_prompt_that_fails_ends_its_own_text_alone(started, monkeypatch):
    model = shaken(CONFIG, 0.6, 1.5)
    real, problem = Cache.take_in, RuntimeError("too long for me")

    def take_in(cache: Cache, ids: Tensor) -> None:
        if ids.shape[1] == 32:
            raise problem
        real(cache, ids)

    monkeypatch.setattr(Cache, "take_in", take_in)
    writer = started(model)
    heard = [ask(writer, greedy(length, 9)) for length in (5, 30, 6)]
    for each, ends in zip(heard, [None, problem, None], strict=True):
        assert each.wait().ends == [ends]
    for each, length in zip(heard[::2], (5, 6), strict=True):
        assert each.ids == expected(model, greedy(length, 9))


def test_a_caller_that_raises_ends_its_own_text_alone(started, caplog):
    model = shaken(CONFIG, 0.6, 1.5)
    problem = RuntimeError("not now")

    def then(heard: Heard) -> None:
        if len(heard.ids) == 3:
            raise problem

    def on_end(error: Exception | None) -> None:
        raise problem

    writer = started(model)
    bad, good = ask(writer, greedy(3, 9), then), ask(writer, greedy(4, 9))
    assert bad.wait().ends == [problem]
    assert len(bad.ids) == 3
    assert good.wait().ids == expected(model, greedy(4, 9))
    with caplog.at_level(logging.ERROR):
        writer.submit(greedy(1, 1), lambda _: None, on_end)
        writer.close()
    assert "on_end raised something" in caplog.text
    assert "not now" in caplog.text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ids": ()}, "the prompt has no token, expected 1 or more"),
        ({"ids": (3, 61)}, "tokens from 3 to 61, expected 0 to 60"),
        ({"ids": (-1, 4)}, "tokens from -1 to 4, expected 0 to 60"),
        ({"max_tokens": 0}, "max_tokens is 0, expected 1 or more"),
        ({"max_tokens": 79}, "2 tokens and 79 more, but the model has a context of 80"),
        ({"temperature": -0.1}, "the temperature is -0.1, expected 0"),
        ({"temperature": float("nan")}, "the temperature is nan, expected 0"),
        ({"top_k": 0}, "k is 0, expected 1 or more"),
        ({"top_p": 1.1}, "p is 1.1, expected 0 to 1"),
        ({"seed": 2**63}, "the seed is 9223372036854775808, expected a number of 64"),
        ({"seed": -(2**63) - 1}, "expected a number of 64 bits"),
        ({"top_logprobs": -1}, "top_logprobs is -1, expected 0 to 61"),
        ({"top_logprobs": 62}, "top_logprobs is 62, expected 0 to 61"),
    ],
    ids=str,
)
def test_a_request_that_cannot_be_is_refused_in_one_line(started, change, words):
    writer = started()
    with pytest.raises(ValueError, match=words) as caught:
        ask(writer, replace(Request((3, 4), 5), **change))
    assert "\n" not in str(caught.value)
    assert writer.stats().waiting == 0


def test_the_outermost_requests_are_taken(started):
    writer = started()
    for change in {"max_tokens": 78}, {"seed": 2**63 - 1}, {"seed": -(2**63)}:
        request = replace(Request((3, 60), 5), **change)
        assert len(ask(writer, request).wait().ids) == request.max_tokens


@pytest.mark.parametrize("settings", [{"slots": 0}, {"waiting": -1}], ids=str)
def test_an_engine_that_cannot_be_is_refused(settings):
    with pytest.raises(ValueError, match="expected 1 or more, 0 or more"):
        Engine(shaken(CONFIG), **settings)


def test_a_small_model_takes_one_thread():
    assert engine.threads(pretrained.load()[0].config) == 1
    assert engine.threads(GPTConfig()) == torch.get_num_threads()


def test_the_examples_in_the_docstrings_hold():
    for module in batch, sampling:
        assert doctest.testmod(module).failed == 0
    assert scores(torch.zeros(2, 3), [0, 1], [None, None]) == [None, None]
