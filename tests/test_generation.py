"""Writing with kept keys and values, by transformers' GPT-2 and Python's own UTF-8."""

from __future__ import annotations

import doctest
import io
import math
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close
from transformers import GPT2LMHeadModel
from transformers.generation.logits_process import TopKLogitsWarper, TopPLogitsWarper

from course import generation, pretrained
from course.generation import Cache, before, characters, prompt_ids, run, stream, write
from course.layers import Layers
from solutions.gpt_block import GPT, GPTConfig
from solutions.normalization import DyT, LayerNorm, swap_norms
from solutions.tokens import END_OF_TEXT, to_tiktoken, train_bpe
from tests.gpt2 import seeded, shaken, theirs

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
TINY = GPTConfig(23, 11, n_embd=10, n_layer=3, n_head=5)
CONFIGS = [
    TINY,
    replace(TINY, layer_norm_epsilon=0.3),
    GPTConfig(7, 11, n_embd=12, n_layer=1, n_head=1),
]
RANKS = train_bpe("the cat and the hat 안녕 안녕\n" * 3, 262)
ENCODING = to_tiktoken(RANKS)
SPECIAL = to_tiktoken(RANKS, {END_OF_TEXT: 262})
TEXTS = GPTConfig(262, 16, n_embd=8, n_layer=2, n_head=2)


def tokens(*sizes: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(7, sizes, generator=seeded(seed))


@torch.no_grad()
def continued(
    model: GPT2LMHeadModel,
    ids: torch.Tensor,
    steps: int,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """A text and what transformers goes on with, by a full pass for each token.

    It sees what fits the context. Without a generator, the likeliest token is taken.
    """
    for _ in range(steps):
        logits = model(ids[:, -model.config.n_positions :]).logits[:, -1]
        if generator is None:
            new = logits.argmax(-1, keepdim=True)
        else:
            new = torch.multinomial(logits.softmax(-1), 1, generator=generator)
        ids = torch.cat([ids, new], dim=1)
    return ids


@pytest.fixture
def reads(monkeypatch) -> list[tuple[int, ...]]:
    """The shapes of all that a cache reads from now on."""
    shapes, real = [], Cache.read

    def watched(cache, ids):
        shapes.append(tuple(ids.shape))
        return real(cache, ids)

    monkeypatch.setattr(Cache, "read", watched)
    return shapes


# ---- logits -------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("prompt", [1, 6, 11])
@pytest.mark.parametrize("config", CONFIGS, ids=["tiny", "eps", "one-head"])
def test_logits_along_the_way_are_those_of_transformers(config, prompt, batch, device):
    ours, ids = shaken(config), tokens(batch, 11)
    expected = theirs(ours)(ids).logits  # (B, 11, V)
    cache = Cache(ours.to(device), batch)
    steps = [cache.read(ids[:, :prompt].to(device))]
    for t in range(prompt, 11):
        steps.append(cache.read(ids[:, t : t + 1].to(device)))
    got = torch.stack(steps, dim=1).cpu()  # (B, 12 - prompt, V)
    assert_close(got, expected[:, prompt - 1 :], rtol=0, atol=1e-12)


@pytest.mark.parametrize("pieces", [(2, 9), (1, 3, 2, 5), (4, 4, 1, 1, 1), (10, 1)])
def test_a_text_can_be_read_in_pieces(pieces):
    ours, ids = shaken(TINY), tokens(2, 11)
    expected = theirs(ours)(ids).logits
    cache, end = Cache(ours, 2), 0
    for piece in ids.split(pieces, dim=1):
        end += piece.shape[1]
        assert_close(cache.read(piece), expected[:, end - 1], rtol=0, atol=1e-12)
        assert cache.length == end


def test_logits_of_all_that_is_read_are_those_of_transformers():
    ours, ids = shaken(TINY), tokens(2, 11)
    expected = theirs(ours)(ids).logits
    cache = Cache(ours, 2)
    got = torch.cat([cache.read_all(ids[:, :4]), cache.read_all(ids[:, 4:])], dim=1)
    assert_close(got, expected, rtol=0, atol=1e-12)


def test_what_is_taken_in_is_read_though_nothing_is_said():
    ours, ids = shaken(TINY), tokens(2, 11)
    expected = theirs(ours)(ids).logits
    cache = Cache(ours, 2)
    for piece in ids[:, :4], ids[:, 4:7]:
        assert cache.take_in(piece) is None
    assert cache.length == 7
    assert_close(cache.read(ids[:, 7:]), expected[:, -1], rtol=0, atol=1e-12)


def test_layers_that_were_looked_up_before_write_the_same():
    ours, ids = shaken(TINY), tokens(2, 3)
    written = write(Layers(ours), ids, 12, generator=seeded(3))
    assert torch.equal(written, write(ours, ids, 12, generator=seeded(3)))


def test_after_forgetting_another_text_can_be_read():
    ours = shaken(TINY)
    cache = Cache(ours, 2)
    cache.read(tokens(2, 9))
    cache.forget()
    ids = tokens(2, 4, seed=1)
    expected = theirs(ours)(ids).logits[:, -1]
    assert_close(cache.read(ids), expected, rtol=0, atol=1e-12)


def test_the_texts_of_a_batch_know_nothing_of_each_other():
    ours, ids = shaken(TINY), tokens(3, 8)
    changed = ids.clone()
    changed[1] = (changed[1] + 1) % 7
    first, second = (Cache(ours, 3) for _ in range(2))
    for t in range(8):
        a = first.read(ids[:, t : t + 1])
        b = second.read(changed[:, t : t + 1])
        assert torch.equal(a[[0, 2]], b[[0, 2]])
        assert not torch.equal(a[1], b[1])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_it_works_in_the_type_of_the_model(device, dtype):
    ours, ids = shaken(TINY, 0.3), tokens(2, 11)
    expected = theirs(ours)(ids).logits
    ours = ours.to(device, dtype)
    cache = Cache(ours, 2)
    cache.read(ids[:, :5].to(device))
    logits = [cache.read(ids[:, t : t + 1].to(device)) for t in range(5, 11)]
    assert {each.dtype for each in logits} == {dtype}
    near = 1e-5 if dtype == torch.float32 else 0.25
    got = torch.stack(logits, dim=1).cpu().double()
    assert_close(got, expected[:, 5:], rtol=0, atol=near)
    for settings in {"temperature": 0}, {"top_k": 5, "top_p": 0.9}:
        written = write(ours, ids[:, :3].to(device), 12, **settings)
        assert written.shape == (2, 15)


def test_the_weights_are_the_models_own():
    ours, ids = shaken(TINY), tokens(1, 5)
    cache = Cache(ours, 1)
    cache.read(ids)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.mul_(0.5)
    cache.forget()
    expected = theirs(ours)(ids).logits[:, -1]
    assert_close(cache.read(ids), expected, rtol=0, atol=1e-12)


def test_dropout_rests_and_the_mode_of_the_model_stays():
    ours = shaken(replace(TINY, embd_pdrop=0.5, attn_pdrop=0.5, resid_pdrop=0.5))
    ids = tokens(2, 6)
    expected = theirs(ours)(ids).logits[:, -1]
    ours.train()
    assert_close(Cache(ours, 2).read(ids), expected, rtol=0, atol=1e-12)
    assert ours.training


# ---- tokens -------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", [1, 5])
def test_greedy_writing_is_that_of_transformers(prompt):
    ours, ids = shaken(TINY, 1.0), tokens(12, prompt)
    steps = TINY.n_positions - prompt
    expected = theirs(ours).generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=steps,
        do_sample=False,
        pad_token_id=0,
    )
    before = ids.clone()
    written = write(ours, ids, steps, temperature=0)
    assert torch.equal(written, expected)
    assert torch.equal(ids, before)
    assert len(written[:, prompt:].unique()) > 3  # it does not say one thing only


@pytest.mark.parametrize("prompt", [2, 9, 11, 12, 20])
def test_beyond_the_context_the_last_tokens_are_seen(prompt):
    ours, ids = shaken(TINY), tokens(4, prompt)
    written = write(ours, ids, 15, generator=seeded(3))
    assert torch.equal(written, continued(theirs(ours), ids, 15, seeded(3)))
    assert len(written[:, prompt:].unique()) > 3
    written = write(ours, ids, 15, temperature=0)
    assert torch.equal(written, continued(theirs(ours), ids, 15))


SETTINGS = [
    {},
    {"temperature": 0.4},
    {"temperature": 2.5},
    {"top_k": 3},
    {"top_p": 0.4},
    {"top_k": 4, "top_p": 0.7},
    {"temperature": 1.7, "top_k": 6, "top_p": 0.8},
    {"top_k": 100, "top_p": 1.0},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_each_step_draws_from_what_transformers_leaves(settings):
    """Their warpers in their order: temperature, top-k, top-p; the same seed."""
    ours = shaken(TINY, 0.3)
    written = write(ours, tokens(30, 8), 6, generator=seeded(7), **settings)
    other, source, ids = theirs(ours), seeded(7), tokens(30, 8)
    for _ in range(6):  # the last ones do not fit the context
        logits = other(ids[:, -11:]).logits[:, -1] / settings.get("temperature", 1.0)
        if "top_k" in settings:
            logits = TopKLogitsWarper(settings["top_k"])(None, logits)
        if "top_p" in settings:
            logits = TopPLogitsWarper(settings["top_p"])(None, logits)
        new = torch.multinomial(logits.detach().softmax(-1), 1, generator=source)
        ids = torch.cat([ids, new], dim=1)
    assert torch.equal(written, ids)


@pytest.mark.parametrize("settings", [{"top_k": 1}, {"top_p": 0.0}], ids=str)
def test_other_ways_to_leave_nothing_to_chance(settings):
    ours, ids = shaken(TINY), tokens(3, 4)
    for seed in 0, 1:
        written = write(ours, ids, 6, generator=seeded(seed), **settings)
        assert torch.equal(written, continued(theirs(ours), ids, 6))


def test_each_token_comes_as_soon_as_it_is_drawn(reads):
    ours, ids = shaken(TINY, 1.0), tokens(2, 4)
    written = continued(theirs(ours), ids, 10)
    drawn = stream(ours, ids, 10, temperature=0)
    assert reads == []
    for step, token in enumerate(drawn):
        assert len(reads) == step + 1
        assert torch.equal(token, written[:, 4 + step])
    assert len(reads) == 10


def test_only_new_tokens_are_read_until_the_context_is_full(reads):
    write(shaken(TINY), tokens(2, 4), 11, temperature=0)
    assert reads == [(2, 4), *[(2, 1)] * 7, *[(2, 11)] * 3]
    reads.clear()
    write(shaken(TINY), tokens(2, 40), 2, temperature=0)
    assert reads == [(2, 11), (2, 11)]


def test_what_is_written_can_be_learned_from():
    ours = shaken(TINY)
    for settings in {"temperature": 0}, {"temperature": 1.0}:
        written = write(ours, tokens(2, 3), 4, **settings)
        assert not written.is_inference()
        assert written.dtype == torch.int64
        F.cross_entropy(ours(written).mT, written).backward()
        (token,) = stream(ours, tokens(2, 3), 1, **settings)
        ours(token.unsqueeze(1)).sum().backward()
    assert torch.is_grad_enabled()


def test_no_step_writes_nothing_and_any_whole_numbers_are_ids():
    ours, ids = shaken(TINY), tokens(2, 3)
    assert torch.equal(write(ours, ids, 0), ids)
    assert list(stream(ours, ids, 0)) == []
    expected = write(ours, ids, 12, temperature=0)
    assert torch.equal(write(ours, ids.int(), 12, temperature=0), expected)


def other_norms(norm) -> GPT:
    model = GPT(TINY)
    swap_norms(model, LayerNorm, norm)
    return model


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: stream(GPT(TINY), tokens(1, 2), 1, temperature=-1), "ture is -1, exp"),
        (
            lambda: stream(GPT(TINY), tokens(1, 2), 1, temperature=math.nan),
            "is nan, ex",
        ),
        (
            lambda: stream(GPT(TINY), tokens(1, 2), 1, temperature=1e-40),
            "0 .always the",
        ),
        (lambda: stream(GPT(TINY), tokens(1, 2), 1, top_k=0), "k is 0, expected 1 or"),
        (lambda: stream(GPT(TINY), tokens(1, 2), 1, top_p=1.1), "p is 1.1, expected 0"),
        (lambda: stream(GPT(TINY), tokens(1, 2), 1, top_p=math.nan), "p is nan, expec"),
        (
            lambda: stream(GPT(TINY), tokens(1, 2), -1),
            "steps is -1, expected 0 or more",
        ),
        (
            lambda: stream(GPT(TINY), tokens(1, 0), 1),
            r"expected ids \(B, T\) with T >=",
        ),
        (lambda: stream(GPT(TINY), tokens(2), 1), r"expected ids \(B, T\) with T >= 1"),
        (lambda: write(GPT(TINY), tokens(1, 2), 0, top_k=0), "k is 0, expected 1"),
        (
            lambda: Cache(GPT(TINY), 1).read(tokens(1, 12)),
            "12 tokens after 0: expected",
        ),
        (
            lambda: Cache(GPT(TINY), 1).read(tokens(1, 0)),
            "0 tokens after 0: expected 1",
        ),
        (
            lambda: Cache(other_norms(DyT), 1),
            "alpha is missing in this model, or no pa",
        ),
        (
            lambda: Cache(other_norms(nn.RMSNorm), 1),
            "bias is missing in this model, or",
        ),
    ],
)
def test_bad_input_gets_one_clear_line_at_once(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_full_cache_reads_no_more():
    cache = Cache(shaken(TINY), 1)
    cache.read(tokens(1, 10))
    with pytest.raises(ValueError, match="2 tokens after 10: expected 1 or more, and"):
        cache.read(tokens(1, 2))
    cache.read(tokens(1, 1))
    assert cache.length == 11


# ---- text ---------------------------------------------------------------------------


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(ends)]


@given(st.binary(max_size=30), st.lists(st.integers(0, 40), max_size=12))
def test_any_bytes_cut_anywhere_become_what_python_reads(data, places):
    pieces = list(characters(cut(data, places)))
    assert "".join(pieces) == data.decode("utf-8", errors="replace")
    assert "" not in pieces


@given(st.text(max_size=12), st.lists(st.integers(0, 60), max_size=12))
def test_a_character_comes_whole_and_as_soon_as_it_is(text, places):
    chunks = cut(text.encode(), places)
    fed: list[bytes] = []
    got = ""
    for piece in characters(chunk for chunk in chunks if fed.append(chunk) or True):
        got += piece
        assert got == b"".join(fed).decode("utf-8", errors="ignore")
    assert got == text


@given(
    st.text("ab\n", max_size=12),
    st.text("ab\n", min_size=1, max_size=4),
    st.lists(st.integers(0, 12), max_size=6),
)
@example("aab", "aab", [2])  # both `aa` and its last letter may begin the stop
@example("abaab", "ab\n", [3])
def test_a_text_ends_before_its_stop_wherever_it_is_cut(text, stop, places):
    pieces = [piece.decode() for piece in cut(text.encode(), places)]
    fed: list[str] = []
    got = ""
    for piece in before((each for each in pieces if fed.append(each) or True), stop):
        assert piece
        got += piece
        assert "".join(fed).split(stop)[0].startswith(got)
        # Only what may be the beginning of a stop is held back.
        held = "".join(fed).removeprefix(got)
        assert stop in held or stop.startswith(held)
    assert got == text.split(stop)[0]


def test_nothing_is_read_after_the_stop():
    pieces = iter(["a", "b.", "c"])
    assert list(before(pieces, "b")) == ["a"]
    assert next(pieces) == "c"


@pytest.fixture
def scripted(monkeypatch):
    """Let the model write these tokens, whatever it is asked for."""

    def script(*ids: int) -> None:
        drawn = (torch.tensor([token]) for token in ids)
        monkeypatch.setattr(generation, "stream", lambda *_, **__: drawn)

    return script


def decoded(ids: torch.Tensor) -> str:
    table = list(RANKS)
    return b"".join(table[token] for token in ids).decode("utf-8", errors="replace")


def pieces_of(prompt: str = "", encoding=ENCODING, **settings) -> list[str]:
    model = shaken(replace(TEXTS, vocab_size=encoding.n_vocab))
    return list(generation.text(model, encoding, prompt, tokens=20, **settings))


@pytest.mark.parametrize("prompt", ["", "the cat", "the hat and the cat and the 안녕"])
def test_the_text_is_that_of_transformers_tokens(prompt):
    """Beyond the context, and of bytes that are often no UTF-8."""
    model = shaken(TEXTS)
    given = torch.tensor([ENCODING.encode("\n" + prompt)])
    ids = continued(theirs(model), given, 40, seeded(6))[0, given.shape[1] :]
    text = "".join(generation.text(model, ENCODING, prompt, tokens=40, seed=6))
    assert text == decoded(ids)
    assert len(set(text)) > 3
    ids = continued(theirs(model), given, 40)[0, given.shape[1] :]
    text = generation.text(model, ENCODING, prompt, tokens=40, temperature=0)
    assert "".join(text) == decoded(ids)


def test_half_a_character_is_never_shown(scripted):
    scripted(*"e안é".encode(), 0xEC, 0x95)
    assert pieces_of() == ["e", "안", "é", "\ufffd"]


def test_the_text_ends_before_its_stop(scripted):
    scripted(*b"one\ntwo\n\nthree")
    assert pieces_of(stop="\n\n") == [*"one", "\nt", *"wo"]
    scripted(*b"one\n")
    assert pieces_of(stop="\n\n") == [*"one", "\n"]


def test_the_text_ends_with_the_document(scripted):
    scripted(97, 98, 262, 99)
    assert pieces_of(encoding=SPECIAL) == ["a", "b"]
    scripted(97, 262, 99)
    assert pieces_of(encoding=SPECIAL, stop="ab") == ["a"]


def test_the_same_seed_writes_the_same_text():
    first, again, other = (pieces_of(seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert pieces_of() != pieces_of()  # without a seed, another one each time


def test_an_empty_prompt_is_the_beginning_of_a_document():
    assert prompt_ids("", ENCODING) == [RANKS[b"\n"]]
    assert prompt_ids("", SPECIAL) == [262]
    for prompt in "the cat", "\nthe cat":  # a story begins after the end of a line
        assert prompt_ids(prompt, ENCODING) == ENCODING.encode("\nthe cat")
    assert prompt_ids("the cat", SPECIAL) == ENCODING.encode("the cat")


def test_what_a_user_types_is_no_special_token():
    ids = prompt_ids(f"a{END_OF_TEXT}", SPECIAL)
    assert 262 not in ids
    assert b"".join(list(RANKS)[i] for i in ids).decode() == f"a{END_OF_TEXT}"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"stop": ""}, "stop is empty: give the string to stop before, or None"),
        ({"prompt": "a\ud800"}, r"character 1 of the prompt is '\\ud800', half a surr"),
        ({"temperature": -1}, "the temperature is -1"),
        ({"top_k": 0}, "k is 0"),
        ({"encoding": SPECIAL}, "the encoding has 263 tokens and the model 262: take"),
    ],
    ids=str,
)
def test_a_text_that_cannot_be_is_refused_at_once(settings, words):
    settings = {"encoding": ENCODING, "prompt": "a", **settings}
    with pytest.raises(ValueError, match=words) as caught:
        generation.text(GPT(TEXTS), tokens=3, **settings)
    assert "\n" not in str(caught.value)


# ---- the command --------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    pretrained.save(path, shaken(TEXTS).float(), RANKS)
    return path


def expected(folder, prompt: str, **settings) -> str:
    model, encoding = pretrained.load(folder)
    return prompt + "".join(generation.text(model, encoding, prompt, **settings))


def test_it_prints_the_prompt_and_what_comes_after_it(folder, capsys):
    run("the cat", where=folder, tokens=9, seed=4, temperature=0.7, top_k=9, top_p=0.9)
    settings = {"temperature": 0.7, "top_k": 9, "top_p": 0.9}
    text = expected(folder, "the cat", tokens=9, seed=4, **settings)
    assert capsys.readouterr() == (text + "\n", "")
    assert text.startswith("the cat")


def test_it_prints_as_many_texts_as_asked_for(folder, capsys):
    run(where=folder, tokens=9, seed=4, count=3)
    texts = [expected(folder, "", tokens=9, seed=4 + number) for number in range(3)]
    assert capsys.readouterr().out == "\n\n".join(texts) + "\n"
    assert len(set(texts)) == 3


def test_it_stops_where_it_is_told_to(folder, capsys, scripted):
    scripted(*b"one.\n\ntwo.")
    run("A ", where=folder, stop="\n\n")
    assert capsys.readouterr().out == "A one.\n"


def test_it_shows_each_piece_at_once(folder, monkeypatch):
    class Screen(io.StringIO):
        shown = ""

        def flush(self):
            self.shown = self.getvalue()

    screen, seen = Screen(), []

    def pieces(*_, **__):
        for piece in "one", " two":
            seen.append(screen.shown)
            yield piece

    monkeypatch.setattr(generation, "text", pieces)
    monkeypatch.setattr(sys, "stdout", screen)
    run("A ", where=folder)
    assert seen == ["A ", "A one"]
    assert screen.shown == "A one two\n"


def test_a_prompt_longer_than_the_context_is_cut_and_it_says_so(folder, capsys):
    prompt = "the cat and the hat and the cat"
    ids = ENCODING.encode("\n" + prompt)
    assert len(ids) > 16
    run(prompt, where=folder, tokens=12, seed=3)
    out, err = capsys.readouterr()
    assert err == f"The prompt has {len(ids)} tokens: the model sees the last 16.\n"
    model, _ = pretrained.load(folder)
    new = continued(theirs(model), torch.tensor([ids[-16:]]), 12, seeded(3))[0, 16:]
    assert out == f"{prompt}{decoded(new)}\n"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"where": "no/such/folder"}, "there is no folder 'no/such/folder'; give a fo"),
        ({"prompt": "\ud800"}, "character 0 of the prompt is"),
        ({"temperature": -0.5}, "the temperature is -0.5, expected 0"),
        ({"tokens": 0}, "tokens is 0, expected 1 or more"),
        ({"count": 0}, "count is 0, expected 1 or more"),
        ({"top_k": -1}, "k is -1, expected 1 or more"),
        ({"top_p": 2.0}, "p is 2.0, expected 0 to 1"),
        ({"seed": -1}, "the seed is -1, expected 0 to"),
        ({"seed": 2**64}, "the seed is 18446744073709551616, expected 0 to"),
        ({"stop": ""}, "stop is empty"),
    ],
    ids=str,
)
def test_what_cannot_be_ends_with_one_line(folder, capsys, settings, words):
    with pytest.raises(SystemExit, match=words) as caught:
        run(**{"where": folder, "prompt": "a", **settings})
    assert isinstance(caught.value.code, str)  # one line on stderr, and 1
    assert "\n" not in caught.value.code
    assert capsys.readouterr() == ("", "")


def test_impossible_settings_are_refused_before_the_model_is_read(monkeypatch):
    monkeypatch.setattr(generation, "load", None)
    with pytest.raises(SystemExit, match="k is 0"):
        run(top_k=0)


def test_ctrl_c_ends_the_line_and_the_program(folder):
    # What runs in the background of a shell script is told to ignore it: not this one.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        f"from course.generation import run; run(where={str(folder)!r}, tokens=10**6)"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    first = program.stdout.read(20)
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=60)
    assert program.returncode == 130
    assert err == b""
    assert (first + out).endswith(b"\n")


def test_the_examples_in_the_docstrings_hold():
    results = doctest.testmod(generation)
    assert results.attempted > 1
    assert results.failed == 0
