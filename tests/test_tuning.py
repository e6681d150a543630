"""Dialogues about stories, what a model answers, and the command that tunes it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers import GPT2LMHeadModel

from course import corpus, pretrained, tuning
from course.tuning import (
    LISTENED,
    LONGEST_ANSWER,
    REQUEST,
    Asked,
    Pair,
    Recipe,
    about,
    answers,
    batches,
    by_kind,
    dialogues,
    drawn,
    questions,
    readable,
    told,
)
from solutions.instruction_tuning import dialogue
from solutions.pretraining import NOTHING

STORY = next(corpus.stories(seed=11))


@pytest.fixture(scope="module")
def shipped():
    torch.set_num_threads(1)
    return pretrained.load(tuning.FOLDER)


@pytest.fixture(scope="module")
def untuned():
    return pretrained.load()


def apart(messages: list[Pair], story: str) -> tuple[str, list[Pair]]:
    """How a dialogue about a story begins, and its questions with their answers."""
    texts = [text for _, text in messages]
    pairs = list(zip(texts[::2], texts[1::2], strict=True))
    if pairs[0] == (REQUEST, story):
        return "told", pairs[1:]
    if pairs[0] == (story, LISTENED):
        return "heard", pairs[1:]
    first, answer = pairs[0]
    assert first.startswith(story)
    question = first[len(story) :].lstrip()
    return first[len(story) : -len(question)], [(question, answer), *pairs[1:]]


# Dialogues


def test_a_dialogue_asks_what_the_corpus_asks_of_its_story_and_answers_it():
    """The grammar reads each story again, and says what can be asked of it."""
    begins = Counter()
    stories = islice(corpus.stories(seed=9), 120)
    for messages, story in zip(dialogues(120, seed=9), stories, strict=True):
        roles = [role for role, _ in messages]
        assert roles == ["user", "assistant"] * (len(messages) // 2)
        begin, asked = apart(messages, story.text)
        expected = corpus.Story(story.text, 0.0).questions
        assert sorted(asked) == sorted((q.question, q.answer) for q in expected)
        begins[begin] += 1
    assert begins["told"] == pytest.approx(60, abs=22)  # four standard deviations
    assert begins["heard"] == pytest.approx(12, abs=11)
    assert begins["\n\n"] > begins["\n"] > 0
    assert begins[" "] > 0


def test_dialogues_are_the_same_for_the_same_seed_and_in_another_order_each_time():
    one, again = list(dialogues(30, seed=9)), list(dialogues(30, seed=9))
    assert one == again
    assert one != list(dialogues(30, seed=10))
    in_order = 0
    for messages, story in zip(one, islice(corpus.stories(9), 30), strict=True):
        _, asked = apart(messages, story.text)
        in_order += [q for q, _ in asked] == [q.question for q in story.questions]
    assert in_order < 8  # one of 24, or of 120, is in order by chance


class Small(nn.Module):
    """As much of a model as `readable` asks for."""

    def __init__(self, context: int) -> None:
        super().__init__()
        self.config = SimpleNamespace(n_positions=context)


def test_of_a_dialogue_that_is_too_long_the_first_turns_stay(untuned):
    """A model with a context of T reads T tokens, and is asked for one more."""
    _, encoding = untuned
    messages = [("user", "Who won?"), ("assistant", "Mina")] * 12
    four, five = (len(encoding.encode(dialogue(messages[: 2 * n]))) for n in (4, 5))
    for context, turns in (four - 1, 4), (five - 2, 4), (five - 1, 5):
        some = readable([messages, messages[:2]], Small(context), encoding)
        long, short = some.ids
        assert encoding.decode(long.tolist()) == dialogue(messages[: 2 * turns])
        kept = encoding.decode(short[short != NOTHING].tolist())
        assert kept == dialogue(messages[:2])


def test_every_dialogue_of_the_command_fits_the_context(untuned):
    model, encoding = untuned
    some = list(dialogues(200, seed=3))
    rows = readable(some, model, encoding).ids
    for messages, row in zip(some, rows, strict=True):
        assert encoding.decode(row[row != NOTHING].tolist()) == dialogue(messages)


def test_a_step_draws_the_same_dialogues_again(untuned):
    some = readable(dialogues(40, seed=9), *untuned)
    draw = batches(some, rows=6, seed=1)
    (batch,) = draw(3)
    assert torch.equal(batch, batches(some, rows=6, seed=1)(3)[0])
    assert len(batch) == 6
    firsts = {tuple(draw(step)[0][:, 0].tolist()) for step in range(8)}
    assert len(firsts) == 8
    assert tuple(batches(some, rows=6, seed=2)(3)[0][:, 0].tolist()) not in firsts
    assert len(set().union(*firsts)) > 20


def test_what_was_drawn_is_counted(untuned):
    model, encoding = untuned
    some = readable(dialogues(12, seed=9), model, encoding)
    recipe = Recipe(steps=3, rows=5)
    draw = batches(some, 5, recipe.seed)
    tokens = asked = 0
    for step in range(3):
        for number in draw(step)[0][:, 0].tolist():
            messages = list(dialogues(12, seed=9))[number]
            tokens += len(encoding.encode(dialogue(messages)))
            said = [text for role, text in messages if role == "assistant"]
            asked += sum(len(encoding.encode(text)) + 1 for text in said)
    assert drawn(some, recipe) == {"tokens": tokens, "asked": asked}


# Questions


def test_questions_are_all_those_of_other_stories_than_were_tuned_on():
    asked = questions(60)
    assert 60 <= len(asked) < 65
    texts = {each.story for each in asked}
    for story in islice(corpus.stories(seed=2), len(texts)):
        assert story.text in texts
        assert [(q.question, q.answer) for q in story.questions] == [
            (each.question, each.answer) for each in asked if each.story == story.text
        ]
    recipe = Recipe()
    for seed, count in (recipe.stories_seed, 1000), (1, 1000), (tuning.TRIED_SEED, 30):
        seen = {story.text for story in islice(corpus.stories(seed), count)}
        assert not texts & seen


def test_every_question_is_of_a_kind():
    kinds = Counter(each.kind for each in questions(400))
    assert set(kinds) == set(tuning.KINDS)
    assert Asked("", "Whose hat was it?", "Tom").kind == "Whose"
    assert Asked("", "How many pies were left?", "two").kind == "How many"
    assert Asked("", "What was in the red box?", "an egg").kind == "What was in"
    assert Asked("", "What was the prize?", "a red hat").kind == "What"


def test_a_question_comes_after_its_story_and_an_empty_line():
    assert Asked("A story.", "Who?", "Tom").prompt == "\nA story.\n\nWho?\n"


# Answers


@pytest.mark.parametrize("which", ["shipped", "untuned"])
def test_answers_are_those_that_transformers_generates(which, request):
    """The likeliest tokens, one prompt at a time, up to the end of line."""
    model, encoding = request.getfixturevalue(which)
    folder = tuning.FOLDER if which == "shipped" else pretrained.FOLDER
    theirs = GPT2LMHeadModel.from_pretrained(folder).eval()
    prompts = [each.prompt for each in questions(8)]
    prompts += [dialogue([("user", "Who are you?")]), prompts[3]]
    expected = []
    for prompt in prompts:
        ids = torch.tensor([encoding.encode(prompt)])
        made = theirs.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=LONGEST_ANSWER,
            do_sample=False,
            eos_token_id=10,
            pad_token_id=10,
        )
        new = encoding.decode(made[0, ids.shape[1] :].tolist())
        expected.append(new.split("\n")[0])
    given = answers(model, encoding, prompts)
    assert given == expected
    ended = [len(encoding.encode(answer)) < LONGEST_ANSWER for answer in given[:8]]
    assert all(ended) == (which == "shipped")


def test_marks_are_by_kind_of_question():
    asked = [
        Asked("", "Who won?", "Mina"),
        Asked("", "Where was it?", "under the bed"),
        Asked("", "Who lost?", "Tom"),
        Asked("", "What was it?", "a hat"),
    ]
    given = ["Mina", "under the bed", "Mina", "a map"]
    assert by_kind(asked, given) == {"Where": 1.0, "Who": 0.5, "What": 0.0}


def test_a_story_is_told_on_request_and_as_often_as_wanted(shipped, monkeypatch):
    monkeypatch.setattr(tuning, "TOGETHER", 3)
    texts = told(*shipped, count=4)
    assert len(set(texts)) == 4
    assert all(text and "\n" not in text for text in texts)
    assert texts == told(*shipped, count=4)


def test_a_story_that_was_told_is_asked_about_if_it_is_right():
    wrong = STORY.text[:-1]
    pairs = about([wrong, STORY.text])
    assert [answer for _, answer in pairs] == [q.answer for q in STORY.questions]
    prompt, _ = pairs[0]
    question = STORY.questions[0].question
    assert prompt == f"\n{REQUEST}\n{STORY.text}\n\n{question}\n"


# The command


def measures(model, encoding):
    """In place of `measured`, which takes a minute."""
    return {
        "exact_match": 0.25,
        "by_kind": {"Who": 0.5},
        "last_question": 0.125,
        "bits_per_character": 0.5,
        "bits_when_asked": 0.25,
        "hold_together": 0.75,
        "right_to_the_last_word": 0.625,
        "about_its_own": 0.875,
    }


TINY = Recipe(dialogues=20, steps=4, rows=2, warmup=1, every=2, tried=5)


def test_the_command_makes_a_folder_that_loads_and_makes_it_again(
    tmp_path, monkeypatch, untuned
):
    monkeypatch.setattr(tuning, "measured", measures)
    monkeypatch.setattr(tuning, "QUESTIONS", 20)
    made = tuning.tune(TINY, tmp_path / "one")
    tuning.tune(TINY, tmp_path / "two")
    model, encoding = pretrained.load(tmp_path / "one")
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path / "one")
    assert model.config == untuned[0].config
    assert encoding.encode(STORY.text) == untuned[1].encode(STORY.text)
    ids = torch.tensor([encoding.encode(dialogue([("user", REQUEST)]))])
    with torch.no_grad():
        torch.testing.assert_close(model(ids), theirs(ids).logits)
        assert not torch.allclose(model(ids), untuned[0](ids), atol=0.1)
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert names == {path.name for path in pretrained.FOLDER.iterdir()}
    again, _ = pretrained.load(tmp_path / "two")
    for one, two in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)
    run = json.loads((tmp_path / "one" / "run.json").read_text("utf-8"))
    assert run == json.loads(json.dumps(made))
    assert run["recipe"]["steps"] == 4
    log = (tmp_path / "one" / "log.jsonl").read_text("utf-8").splitlines()
    entries = [json.loads(line) for line in log]
    assert [entry["step"] for entry in entries] == [1, 2, 3, 4]
    assert [entry["step"] for entry in entries if "exact_match" in entry] == [2, 4]


def test_another_seed_draws_other_dialogues():
    losses = []
    for seed in 0, 1:
        model, encoding = pretrained.load()
        recipe = replace(TINY, seed=seed, steps=1, tried=1)
        some = readable(dialogues(20, seed=3), model, encoding)
        (entry,) = tuning.tuned(some, encoding, recipe)
        losses.append(entry["loss"])
    assert losses[0] != losses[1]


def test_the_card_tells_what_was_measured():
    made = {
        "recipe": {"dialogues": 12_345, "stories_seed": 77},
        "tokens": 1_234_567,
        "asked": 98_765,
        "minutes": 3.2,
        "machine": "an abacus",
        "torch": "9.9",
        "floor": 0.117,
        "questions": {"Who": 600, "What": 411},
        "stories": 321,
        "before": dict.fromkeys(measures(None, None), 0.0123) | {"by_kind": {}},
        "after": measures(None, None),
    }
    told = " ".join(tuning.card(made, parameters=1_030_912).split())
    for words in (
        "12,345 dialogues",
        "seed 77; 1,234,567 tokens were drawn, of which 98,765",
        "1,030,912 parameters",
        "an abacus; torch 9.9; 3 minutes",
        "Of 1,011 questions",
        "25.0% are answered right to the letter",
        "before tuning, 1.2%",
        "By how they begin: Who 50.0%.",
        "Of 321 questions at the end of a dialogue, 12.5%",
        "Of 321 that it told at temperature 1, 75.0%",
        "62.5% are right to the last word",
        "the latter, 87.5%",
        "0.5000 bits per character, before tuning 0.0123, and 0.2500",
        "floor is 0.1170",
        "license: mit",
    ):
        assert words in told, words
