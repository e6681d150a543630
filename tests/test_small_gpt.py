"""The small GPT: its files, its stories, and what its training does."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from itertools import islice

import pytest
import torch
import torch.nn.functional as F

from course import corpus, small_gpt, small_model
from course.small_gpt import MADE, WEIGHTS, Recipe
from course.small_model import to_tiktoken, train_bpe
from solutions.gpt_block import GPT, keep_top_k, write

TINY = Recipe(
    characters=30_000, vocab_size=300, context=24, width=8, heads=2, layers=2, steps=150
)


@pytest.fixture(scope="module")
def loaded():
    return small_gpt.load()


@pytest.fixture(scope="module")
def made():
    return json.loads(MADE.read_text("utf-8"))


def test_the_files_are_small_and_say_how_they_were_made(made):
    assert WEIGHTS.stat().st_size < 500_000
    assert Recipe(**made["recipe"]) == Recipe()
    assert made["command"] == "python -m course.small_gpt"


def test_it_learned_from_what_the_small_model_learned_from(made):
    other = json.loads(small_model.MADE.read_text("utf-8"))
    assert made["tokens"] == other["tokens"]
    same = ("characters", "text_seed", "vocab_size", "context", "width", "heads")
    for name in (*same, "batch_size", "steps", "seed"):
        assert made["recipe"][name] == other["recipe"][name]


def test_the_model_is_as_good_as_the_record_says(loaded, made):
    model, encoding = loaded
    results = made["results"]["gpt"]
    bits = small_gpt.bits_per_character(model, encoding)
    asked = small_model.questions(encoding, model.config.n_positions)
    # The weights were written in half precision, after they were measured.
    assert bits == pytest.approx(results["bits_per_character"], abs=0.003)
    assert small_model.found(model, asked) == pytest.approx(
        results["places_found"], abs=0.02
    )
    assert sum(p.numel() for p in model.parameters()) == results["parameters"]
    assert not model.training


def test_it_stands_between_the_floor_and_the_small_model(loaded):
    bits = small_gpt.bits_per_character(*loaded)
    assert corpus.floor() < bits < small_model.bits_per_character(*small_model.load())


def test_stories_are_those_that_write_would_write(loaded):
    """Keeping keys and values changes nothing: greedily, token by token."""
    model, encoding = loaded
    (story,) = small_gpt.write_stories(model, encoding, 1, lambda z: keep_top_k(z, 1))
    start = torch.tensor([encoding.encode("\n")])
    written = write(model, start, model.config.n_positions - 1, temperature=0)
    assert encoding.decode(written[0, 1:].tolist()).startswith(story)
    assert len(story) > 100


def test_each_step_gives_the_logits_of_the_whole_text(loaded):
    model, encoding = loaded
    ids = torch.tensor([encoding.encode("\nMina hid"), encoding.encode("\nTom left")])
    past = [None] * len(model.blocks)
    steps = [
        small_gpt._step(model, ids[:, t : t + 1], t, past) for t in range(ids.shape[1])
    ]
    got = torch.stack(steps, dim=1)  # (B, T, V)
    torch.testing.assert_close(got, model(ids), rtol=0, atol=1e-4)


def test_stories_are_repeatable_and_differ_by_seed(loaded):
    first, again = (small_gpt.write_stories(*loaded, 3, seed=1) for _ in range(2))
    assert first == again
    assert len(first) == 3
    assert first != small_gpt.write_stories(*loaded, 3, seed=2)
    assert not any(corpus.SEPARATOR in story for story in first)


def test_the_change_gets_the_logits_and_is_what_is_drawn_from(loaded):
    model, encoding = loaded
    full = encoding.encode(".")[0]
    shapes = []

    def always(logits):
        shapes.append(tuple(logits.shape))
        only = F.one_hot(torch.tensor(full), logits.shape[-1]).bool()
        return logits.masked_fill(~only, -torch.inf)

    stories = small_gpt.write_stories(model, encoding, 2, always)
    assert stories == 2 * ["." * model.config.n_positions]
    assert set(shapes) == {(2, encoding.n_vocab)}


def test_rules_are_kept_up_to_the_first_word_that_breaks_them():
    for story in islice(corpus.stories(seed=3), 5):
        assert small_gpt.rules_kept(story.text) == 1
    text = story.text
    assert small_gpt.rules_kept(text[:-9]) == 1
    half = len(text) // 2
    kept = small_gpt.rules_kept(text[:half] + "§" + text[half + 1 :])
    assert kept == pytest.approx(half / len(text), abs=0.01)
    assert small_gpt.rules_kept("") == 0


def test_training_is_repeatable_and_lowers_the_loss(capsys):
    text = corpus.write(TINY.characters, TINY.text_seed)
    encoding = to_tiktoken(train_bpe(text, TINY.vocab_size))
    models = [small_gpt.build(TINY) for _ in range(2)]
    before = small_gpt.bits_per_character(models[0], encoding, count=20)
    for model in models:
        small_gpt.train(model, encoding, text, TINY)
    after = [small_gpt.bits_per_character(m, encoding, count=20) for m in models]
    assert after[0] == after[1] < 0.8 * before


def test_a_step_learns_from_every_token_of_its_stories(monkeypatch):
    """Rows are cut to the longest story of the batch: that must lose no token."""
    text = corpus.write(6000, seed=1)
    encoding = to_tiktoken(train_bpe(text, 300))
    recipe, real, seen = replace(TINY, context=400, steps=3), F.cross_entropy, []

    def watched(logits, targets):
        seen.append((targets[targets >= 0], len(targets) // recipe.batch_size))
        return real(logits, targets)

    monkeypatch.setattr(F, "cross_entropy", watched)
    small_gpt.train(small_gpt.build(recipe), encoding, text, recipe)
    texts = text.removesuffix(corpus.SEPARATOR).split(corpus.SEPARATOR)
    _, targets = small_model.rows(encoding, texts, recipe.context)
    generator = torch.Generator().manual_seed(recipe.seed)
    for tokens, width in seen:
        chosen = targets[torch.randint(len(targets), (8,), generator=generator)]
        assert torch.equal(tokens, chosen[chosen >= 0])
        assert width == (chosen >= 0).sum(dim=1).max()
    assert len(seen) == 3


def test_the_twin_has_attention_alone():
    twin = small_gpt.build(TINY, feed_forward=False)
    assert isinstance(twin, GPT)
    assert not any("feed_forward" in name for name, _ in twin.named_parameters())
    whole = small_gpt.build(TINY)
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        for block in whole.blocks:
            block.feed_forward.projection.weight.zero_()
        torch.testing.assert_close(twin(ids), whole(ids))


@pytest.mark.parametrize(("threads", "kept"), [([], True), (["2"], False)])
def test_only_a_run_on_one_thread_is_kept(monkeypatch, tmp_path, threads, kept):
    used = torch.get_num_threads()
    monkeypatch.setattr(sys, "argv", ["small_gpt", *threads])
    monkeypatch.setattr(small_gpt, "Recipe", lambda: replace(TINY, steps=1))
    monkeypatch.setattr(small_gpt, "questions", lambda *_: None)
    monkeypatch.setattr(small_gpt, "found", lambda *_: 0.5)
    for name in ("WEIGHTS", "MADE"):
        monkeypatch.setattr(small_gpt, name, tmp_path / getattr(small_gpt, name).name)
    try:
        assert small_gpt.main() == 0
        assert torch.get_num_threads() == int((threads or ["1"])[0])
    finally:
        torch.set_num_threads(used)
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == (["small_gpt.json", "small_gpt.npz"] if kept else [])
