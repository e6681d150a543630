"""The model that comes with the course: what its card says is measured again."""

from __future__ import annotations

import json
import math
import re
from itertools import islice

import pytest
import torch
import torch.nn.functional as F

from course import corpus, pretrained, ship, small_gpt

FOLDER = pretrained.FOLDER
MADE = json.loads((FOLDER / "run.json").read_text("utf-8"))
CARD = (FOLDER / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def shipped():
    torch.set_num_threads(1)
    return pretrained.load()


def test_it_is_small_enough_to_come_along():
    assert (FOLDER / "model.safetensors").stat().st_size <= 5_000_000


def test_its_loss_is_that_of_the_card_and_near_the_floor(shipped):
    """Every token of 200 stories that it has not read, by `transformers`' model."""
    from transformers import GPT2LMHeadModel

    model, (_, encoding) = GPT2LMHeadModel.from_pretrained(FOLDER).eval(), shipped
    bits = characters = 0.0
    for story in islice(corpus.stories(seed=2), 200):
        ids = [10, *encoding.encode_ordinary(story.text), 10, 10]
        with torch.no_grad():
            logits = model(torch.tensor([ids[:-1]])).logits[0]
        nats = F.cross_entropy(logits, torch.tensor(ids[1:]), reduction="sum")
        bits += nats.item() / math.log(2)
        characters += len(story.text) + 2
    assert bits / characters == pytest.approx(MADE["bits_per_character"], abs=2e-4)
    assert bits / characters < 1.05 * corpus.floor()
    assert MADE["floor"] == pytest.approx(corpus.floor(), abs=1e-4)


def test_nine_of_ten_stories_that_it_writes_keep_all_rules(shipped):
    right = ship.right_stories(*shipped, ship.STORIES)
    assert right == pytest.approx(MADE["right"], abs=0.02)  # other sums, other words
    assert right >= 0.9


def test_a_story_with_one_wrong_name_is_not_right():
    story = next(corpus.stories(seed=2)).text
    assert ship.is_right(story)
    names = re.findall(r"\b[A-Z][a-z]{2,}\b", story)
    name = max(set(names), key=names.count)
    assert not ship.is_right(story.replace(name, "Bartholomew", 1))
    assert not ship.is_right(story[:-20])
    assert not ship.is_right(story + story)


def test_the_card_tells_what_was_measured():
    assert f"{MADE['bits_per_character']:.4f} bits per character" in CARD
    assert f"{MADE['right']:.1%}" in CARD
    assert MADE["command"] in CARD
    assert "license: mit" in CARD
    assert f"{MADE['tokens']:,} tokens" in CARD


def test_its_log_ends_where_the_card_does():
    last = [json.loads(x) for x in (FOLDER / "log.jsonl").read_text().splitlines()][-1]
    assert last["step"] == MADE["settings"]["steps"]
    assert last["bits_per_character"] == pytest.approx(
        MADE["bits_per_character"], abs=1e-4
    )


def test_stories_are_cut_by_the_temperature(shipped):
    """Temperature near 0 always writes the likeliest story: all are one."""
    model, encoding = shipped
    cold = small_gpt.write_stories(model, encoding, 3, lambda logits: logits / 1e-4)
    assert len(set(cold)) == 1
