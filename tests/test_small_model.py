"""The small model: its files, what it is asked, and how its answers are counted."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import islice

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course import corpus, small_gpt, small_model
from course.small_model import MADE, WEIGHTS, Recipe, SmallModelError
from course.stories import PLACES

TINY = Recipe(
    characters=30_000, vocab_size=300, context=24, width=8, heads=2, layers=1, steps=150
)


@pytest.fixture(scope="module")
def loaded():
    return small_model.load()


@pytest.fixture(scope="module")
def asked(loaded):
    model, encoding = loaded
    return small_model.questions(encoding, model.layers[0].context, count=60)


def test_the_files_are_small_and_say_how_they_were_made():
    made = json.loads(MADE.read_text("utf-8"))
    assert WEIGHTS.stat().st_size < 1_000_000
    assert Recipe(**made["recipe"]) == Recipe()
    assert made["command"] == "python -m course.small_model"


def test_the_model_is_as_good_as_the_record_says(loaded):
    model, encoding = loaded
    made = json.loads(MADE.read_text("utf-8"))
    results = made["results"][f"heads={made['recipe']['heads']}"]
    bits = small_model.bits_per_character(model, encoding)
    asked = small_model.questions(encoding, model.layers[0].context)
    # The weights were written in half precision, after they were measured.
    assert bits == pytest.approx(results["bits_per_character"], abs=0.003)
    assert small_model.found(model, asked) == pytest.approx(
        results["places_found"], abs=0.02
    )
    assert bits > corpus.floor()


def test_the_tokenizer_reads_every_story(loaded):
    _, encoding = loaded
    text = next(corpus.stories(seed=9)).text
    assert encoding.decode(encoding.encode(text)) == text


def test_bits_per_character_are_counted_by_hand(loaded):
    """A model that finds all tokens equally likely needs log2(V) bits for each."""
    _, encoding = loaded
    context = 40
    model = small_model.build(replace(Recipe(), context=context))
    with torch.no_grad():
        model.output_norm.weight.zero_()
    bits = characters = 0
    for story in islice(corpus.stories(seed=4), 7):
        ids = encoding.encode(story.text + corpus.SEPARATOR)[:context]
        bits += len(ids) * math.log2(encoding.n_vocab)
        characters += len(encoding.decode(ids))
    with torch.no_grad():
        model.output.bias.zero_()
    got = small_model.bits_per_character(model, encoding, count=7, seed=4)
    assert got == pytest.approx(bits / characters, rel=1e-5)


def test_what_is_asked_is_the_last_mention_of_a_place_named_before(loaded, asked):
    _, encoding = loaded
    for ids, asking, hidden, other in zip(
        asked.ids, asked.asking, asked.hidden, asked.other, strict=True
    ):
        at = asking.nonzero().flatten() + 1
        place = encoding.decode(ids[at].tolist()).strip()
        assert place in PLACES
        mentions = encoding.decode(ids[hidden].tolist())
        assert mentions.strip() == " ".join([place] * mentions.count(place))
        assert mentions.count(place) >= 1
        assert hidden.nonzero().max() < at.min()
        elsewhere = encoding.decode(ids[other].tolist()).strip()
        assert place not in elsewhere
        assert not other.any() or any(one in elsewhere for one in PLACES)
        assert not (other & (torch.arange(len(ids)) >= at.min())).any()


def test_a_place_is_found_if_every_token_of_it_is_the_likeliest(asked):
    class Knows(nn.Module):
        """Predicts the true next token, but for one token of some stories."""

        def __init__(self, wrong: int) -> None:
            super().__init__()
            self.wrong = wrong

        def forward(self, ids):
            following = ids.roll(-1, dims=1)
            for row, asking in enumerate(asked.asking[: self.wrong]):
                following[row, asking.nonzero()[-1]] += 1
            return F.one_hot(following, 2000).float()

    few = type(asked)(*(mask[:20] for mask in vars(asked).values()))
    assert small_model.found(Knows(wrong=0), few) == 1
    assert small_model.found(Knows(wrong=5), few) == pytest.approx(15 / 20)


def test_training_is_repeatable_and_lowers_the_loss(capsys):
    text = corpus.write(TINY.characters, TINY.text_seed)
    encoding = small_model.to_tiktoken(small_model.train_bpe(text, TINY.vocab_size))
    models = [small_model.build(TINY) for _ in range(2)]
    before = small_model.bits_per_character(models[0], encoding, count=20)
    for model in models:
        small_model.train(model, encoding, text, TINY)
    after = [small_model.bits_per_character(m, encoding, count=20) for m in models]
    assert after[0] == after[1] < 0.8 * before


@pytest.mark.parametrize("module", [small_model, small_gpt], ids=lambda m: m.__name__)
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda weights, made: weights.unlink(), "No such file"),
        (lambda weights, made: made.write_text("{"), "make them again"),
        (lambda weights, made: weights.write_bytes(b"PK\x03\x04"), "make them again"),
        (
            lambda weights, made: made.write_text(
                made.read_text().replace('"width": ', '"width": 1')
            ),
            "do not belong together",
        ),
    ],
)
def test_damaged_files_get_one_clear_line(tmp_path, monkeypatch, module, damage, words):
    for name in ("WEIGHTS", "MADE"):
        source = getattr(module, name)
        copy = tmp_path / source.name
        copy.write_bytes(source.read_bytes())
        monkeypatch.setattr(module, name, copy)
    damage(module.WEIGHTS, module.MADE)
    with pytest.raises(SmallModelError, match=words) as caught:
        module.load()
    assert "\n" not in str(caught.value)
    assert f"python -m {module.__name__}" in str(caught.value)
