"""The tuned model that comes with the course: what its card says is measured again."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from dataclasses import asdict
from itertools import islice

import pytest
import torch
import torch.nn.functional as F
from transformers import GPT2LMHeadModel

from course import corpus, grammar, pretrained, ship, tuning
from course.stories import STORIES
from course.tuning import Pair, Recipe, answers, dialogues, questions, told
from solutions.instruction_tuning import dialogue, exact_match

FOLDER = tuning.FOLDER
MADE = json.loads((FOLDER / "run.json").read_text("utf-8"))
AFTER = MADE["after"]
CARD = " ".join((FOLDER / "README.md").read_text("utf-8").split())


@pytest.fixture(scope="module")
def shipped():
    torch.set_num_threads(1)
    return pretrained.load(FOLDER)


@pytest.fixture(scope="module")
def theirs():
    return GPT2LMHeadModel.from_pretrained(FOLDER).eval()


@torch.no_grad()
def right(model, encoding, asked: list[Pair]) -> list[bool]:
    """Whether each token of an answer, and its end, is the likeliest one.

    Then the likeliest tokens are the answer, and otherwise they are not: no need to
    write anything.
    """
    found = []
    for start in range(0, len(asked), 50):
        rows = [
            (encoding.encode(prompt), [*encoding.encode(answer), 10])
            for prompt, answer in asked[start : start + 50]
        ]
        ids = [torch.tensor(prompt + answer) for prompt, answer in rows]
        logits = model(torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)).logits
        for (prompt, answer), row in zip(rows, logits.argmax(-1).tolist(), strict=True):
            begin = len(prompt) - 1
            found.append(row[begin : begin + len(answer)] == answer)
    return found


def test_it_is_small_enough_to_come_along():
    assert (FOLDER / "model.safetensors").stat().st_size <= 5_000_000
    names = {path.name for path in FOLDER.iterdir()}
    assert names == {path.name for path in pretrained.FOLDER.iterdir()}


def test_it_reads_with_the_vocabulary_of_the_pretrained_model(shipped):
    model, encoding = shipped
    other, its = pretrained.load()
    assert model.config == other.config
    text = corpus.write(3000, seed=8)
    assert encoding.encode(text) == its.encode(text)


def test_nine_of_ten_questions_are_answered_right_to_the_letter(shipped, theirs):
    """Half of those that the card counts, by `transformers`' model; and by kind."""
    asked = questions(500)
    kinds = defaultdict(list)
    marks = right(theirs, shipped[1], [(q.prompt, q.answer) for q in asked])
    for question, mark in zip(asked, marks, strict=True):
        kinds[question.kind].append(mark)
    assert len(marks) >= 500
    assert sum(marks) / len(marks) >= 0.9
    assert sum(marks) / len(marks) == pytest.approx(AFTER["exact_match"], abs=0.02)
    assert set(kinds) == set(AFTER["by_kind"])
    for kind, some in kinds.items():
        share = AFTER["by_kind"][kind]
        # Four standard deviations of a count, or one question of another rounding.
        away = 4 * math.sqrt(share * (1 - share) / len(some)) + 1 / len(some)
        assert sum(some) / len(some) == pytest.approx(share, abs=away), kind


def test_the_questions_are_of_every_plot():
    asked = questions(tuning.QUESTIONS)
    assert Counter(each.kind for each in asked) == MADE["questions"]
    texts = {each.story for each in asked}
    plots = {next(grammar.derivations(STORIES, text))[1] for text in texts}
    assert plots == set(STORIES.plots)


def test_what_it_writes_is_marked_as_its_likeliest_tokens_are(shipped, theirs):
    asked = [(q.prompt, q.answer) for q in questions(120)]
    given = answers(*shipped, [prompt for prompt, _ in asked])
    marks = right(theirs, shipped[1], asked)
    assert exact_match(given, [answer for _, answer in asked]) == pytest.approx(
        sum(marks) / len(marks), abs=0.01
    )


def test_before_tuning_it_answered_nothing(shipped):
    untuned = GPT2LMHeadModel.from_pretrained(pretrained.FOLDER).eval()
    asked = [(q.prompt, q.answer) for q in questions(100)]
    assert not any(right(untuned, shipped[1], asked))
    assert MADE["before"]["exact_match"] == 0
    assert set(MADE["before"]["by_kind"].values()) == {0}


def test_the_last_question_of_a_dialogue_is_answered_as_well(shipped, theirs):
    last = [
        (dialogue(messages[:-1]), messages[-1][1])
        for messages in dialogues(100, tuning.HELD_OUT_SEED)
    ]
    marks = right(theirs, shipped[1], last)
    assert sum(marks) / len(marks) == pytest.approx(AFTER["last_question"], abs=0.03)


@pytest.mark.parametrize(
    ("before", "name"),
    [("\n", "bits_per_character"), (f"\n{tuning.REQUEST}\n", "bits_when_asked")],
)
def test_what_it_forgot_is_as_the_card_says(shipped, theirs, before, name):
    """Every token of 200 stories, and of their ends, by `transformers`' model."""
    bits = characters = 0.0
    end = 2 if before == "\n" else 1  # an answer ends at the first end of line
    for story in islice(corpus.stories(seed=2), 200):
        given = shipped[1].encode(before)
        ids = [*given, *shipped[1].encode(story.text), *[10] * end]
        with torch.no_grad():
            logits = theirs(torch.tensor([ids[:-1]])).logits[0]
        targets = torch.tensor(ids[len(given) :])
        nats = F.cross_entropy(logits[len(given) - 1 :], targets, reduction="sum")
        bits += nats.item() / math.log(2)
        characters += len(story.text) + 2
    assert bits / characters == pytest.approx(AFTER[name], abs=2e-4)


def test_the_stories_that_it_tells_hold_together_as_often_as_the_card_says(shipped):
    texts = told(*shipped, 60)
    for judge, name in (
        (ship.holds_together, "hold_together"),
        (ship.is_right, "right_to_the_last_word"),
    ):
        share = sum(map(judge, texts)) / len(texts)
        # Four standard deviations of a count of 60.
        assert share == pytest.approx(AFTER[name], abs=0.23), name


def test_the_card_and_the_record_are_those_of_the_command():
    assert MADE["recipe"] == asdict(Recipe())
    made = " ".join(tuning.card(MADE, parameters=1_030_912).split())
    assert made == CARD
    log = [json.loads(x) for x in (FOLDER / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == list(
        range(1, MADE["recipe"]["steps"] + 1)
    )
    assert log[-1]["exact_match"] >= 0.9
