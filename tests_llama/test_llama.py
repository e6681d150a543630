"""Exported models in llama.cpp itself: `make llama-test` compiles it and runs these."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from course import corpus, generation, tuning
from course.export.command import export
from course.export.gguf import TYPES, file_name
from course.export.model import Model, read
from course.notebooks import ROOT
from solutions.gpt_block import GPT, GPTConfig
from solutions.instruction_tuning import dialogue
from solutions.tokens import END_OF_TEXT, to_tiktoken, train_bpe

PYTHON = ROOT / ".build" / "llama-venv" / "bin" / "python"
STEPS = 150
"""Tokens that are written; with the prompt, they fit the context."""

PROMPTS = ["\n", "\nMina", "\nOne rainy morning", "\nTom had a", "\n안녕"]


def by_llama(folder: Path, kind: str, model: Model, **asked: Any) -> dict[str, list]:
    """What llama.cpp says of an exported file, see `by_llama.py`."""
    question = {
        "file": str(folder / file_name(kind)),
        "context": model.gpt.config.n_positions,
        "texts": [],
        "prompts": [],
        "steps": STEPS,
        "dialogues": [],
    }
    done = subprocess.run(
        [PYTHON, Path(__file__).with_name("by_llama.py")],
        input=json.dumps(question | asked),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def story() -> Model:
    return read(None)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, story) -> Path:
    """The model of the course, with its weights stored in each way."""
    folder = tmp_path_factory.mktemp("exported")
    for kind in TYPES:
        export(folder / kind, story, ["gguf"], kind)
    return folder


def ids(model: Model, texts: list[str]) -> list[list[int]]:
    return [model.encoding.encode_ordinary(text) for text in texts]


def written(model: Model, prompt: list[int], steps: int = STEPS) -> tuple:
    """The likeliest tokens, up to one that ends the text, and the text."""
    row = generation.write(model.gpt, torch.tensor([prompt]), steps, temperature=0)[0]
    done = row[len(prompt) :].tolist()
    if model.end in done:
        done = done[: done.index(model.end)]
    return done, model.encoding.decode(done)


@torch.no_grad()
def logits(model: Model, ids: list[int]) -> torch.Tensor:
    """After each token: (T, V)."""
    return model.gpt(torch.tensor([ids]))[0]


# ---- what it writes -----------------------------------------------------------------


# Of logits up to 30. GELU comes from a table there, in half precision; and where
# weights have 8 bits, what they are multiplied with is rounded to 8 bits, too.
ERRORS = {"f32": 0.02, "f16": 0.02, "q8_0": 0.8}


@pytest.mark.parametrize("kind", TYPES)
def test_the_logits_are_close_and_the_likeliest_tokens_written(exported, story, kind):
    prompts, error = ids(story, PROMPTS), ERRORS[kind]
    told = by_llama(exported / kind, kind, story, prompts=prompts)
    for prompt, got, (done, text) in zip(
        prompts, told["logits"], told["written"], strict=True
    ):
        assert_close(torch.tensor(got), logits(story, prompt)[-1], rtol=0, atol=error)
        assert len(done) == STEPS
        assert text == story.encoding.decode(done)
        before = logits(story, prompt + done)[len(prompt) - 1 : -1]  # (STEPS, V)
        short = before.amax(1) - before[range(STEPS), done]
        assert short.max() <= 2 * error


def test_all_32_bits_write_the_same_text(exported, story):
    prompts = ids(story, PROMPTS)
    told = by_llama(exported / "f32", "f32", story, prompts=prompts)
    assert told["written"] == [list(written(story, prompt)) for prompt in prompts]


def test_a_model_that_answers_gives_the_same_answers(tmp_path):
    model = read(None, chat=True)
    export(tmp_path / "out", model, ["gguf"], "f32")
    dialogues = []
    for asked in tuning.questions(100)[::9]:
        dialogues.append([("user", f"{asked.story}\n\n{asked.question}")])
        dialogues.append([*dialogues[-1], ("assistant", "x"), ("user", "Who won?")])
    told = by_llama(
        tmp_path / "out",
        "f32",
        model,
        dialogues=[
            [{"role": role, "content": text} for role, text in messages]
            for messages in dialogues
        ],
    )
    prompts = ids(model, [dialogue(messages) for messages in dialogues])
    expected = [written(model, prompt, 40)[1] for prompt in prompts]
    assert told["answers"] == expected
    assert len(set(expected)) > 5


def test_writing_ends_at_the_token_that_ends_a_text(tmp_path):
    """A model of the course that has one, and likes to use it."""
    encoding = to_tiktoken(train_bpe(corpus.write(3000), 400), {END_OF_TEXT: 400})
    torch.manual_seed(0)
    model = Model("ending", GPT(GPTConfig(401, 64, 64, 2, 4)).eval(), encoding)
    with torch.no_grad():
        for parameter in model.gpt.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        model.gpt.norm.bias += 2 * model.gpt.embedding.token_embedding.weight[400]
    export(tmp_path / "out", model, ["gguf"], "f32")
    prompts = torch.randint(400, (12, 9)).tolist()
    told = by_llama(tmp_path / "out", "f32", model, prompts=prompts, steps=40)
    expected = [list(written(model, prompt, 40)) for prompt in prompts]
    assert told["written"] == expected
    lengths = {len(done) for done, _ in expected}
    assert len(lengths) > 3
    assert max(lengths) == 40


# ---- what it reads ------------------------------------------------------------------

FRAGMENTS = [
    *("a", "b", " ", "  ", "\n", "\n\n", "\t", "the", " kite", "'s", "'ll", "’s", "42"),
    *(
        "안녕",
        "녕하",
        "😀",
        "\u00a0",
        "\u2028",
        "\u3000",
        "\x85",
        "\x1c",
        "\x00",
        "\r\n",
    ),
    *("e\u0301", "١٢", "x²", "\ufffd", END_OF_TEXT, "<|endoftext", "def f(x):"),
]


def test_texts_have_the_same_tokens(exported, story):
    rng = random.Random(0)
    texts = [
        "".join(rng.choice(FRAGMENTS) for _ in range(rng.randrange(30)))
        for _ in range(3000)
    ]
    texts += [corpus.write(2000, seed) for seed in range(5)]
    texts += [" " * 300, "\n" * 300, "x" * 300, Path(__file__).read_text("utf-8")]
    told = by_llama(exported / "f32", "f32", story, texts=texts)
    assert told["tokens"] == ids(story, texts)


def test_every_character_is_of_the_same_kind(tmp_path):
    """A letter, a digit, white space or a sign: whether a word ends before it.

    Of all that Python knows. llama.cpp, too, has an older Unicode than tiktoken: there
    the letters that came with Unicode 16, in 2024, are signs.
    """
    single = {bytes([byte]): byte for byte in range(256)}
    first = [bytes([byte]) for byte in range(0xC2, 0xF5)]
    pairs = [before + byte for before in (b"a", b"1", b"!", b" ") for byte in first]
    ranks = {**single, **{pair: 256 + i for i, pair in enumerate(pairs)}}
    gpt = GPT(GPTConfig(len(ranks), 16, 32, 1, 1))
    model = Model("characters", gpt, to_tiktoken(ranks))
    export(tmp_path / "out", model, ["gguf"], "f32")
    known = [
        character
        for character in map(chr, range(0x80, sys.maxunicode + 1))
        if unicodedata.category(character) not in {"Cn", "Co", "Cs"}
    ]
    each = [f"a{c}1{c}!{c} {c}\n" for c in known]
    texts = ["".join(each[i : i + 100]) for i in range(0, len(each), 100)]
    told = by_llama(tmp_path / "out", "f32", model, texts=texts)
    assert told["tokens"] == ids(model, texts)
