"""The model that answers: `python -m course.tuning` tunes the one that comes along.

The command trains the pretrained model on dialogues about stories, in a few minutes on
one core, and marks it before and after. It puts the tuned model, its card and what was
measured into `course/tuned`:

    model, encoding = pretrained.load(tuning.FOLDER)
    prompt = dialogue([("user", tuning.REQUEST)])       # solutions.instruction_tuning

In half of the dialogues the user tells a story and asks about it; in the others the
model is asked to tell one. The questions are those that the corpus has of each story,
in random order, and the answers are the right ones. `questions` are others, of stories
that were held out; `answers` lets a model answer them.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import tiktoken
import torch
from torch import Tensor

from course import corpus, generation, pretrained, records, ship, small_gpt
from course.files import write_atomically
from solutions.gpt_block import GPT, gpt_parameters
from solutions.instruction_tuning import (
    Dialogues,
    dialogue,
    dialogue_tokens,
    exact_match,
    padded,
)
from solutions.pretraining import NOTHING, Plan, evaluate, optimizers, pretrain
from solutions.tokens import load_ranks

FOLDER = Path(__file__).with_name("tuned")
"""The tuned model that comes with the course."""

REQUEST = "Tell me a story."
LISTENED = "Thank you. Now ask me about it."
"""What is said to a story that comes without a question."""

GAPS = ("\n\n", "\n\n", "\n", " ")
"""What stands between a story and the first question; most often an empty line."""

END = "\n"
"""What an answer ends before."""

LONGEST_ANSWER = 24
"""In tokens; the longest right answer has 13."""

KINDS = ("Where", "Who", "Whose", "How many", "What was in", "What")
"""How questions begin; what was in a box is asked in one plot alone."""

HELD_OUT_SEED = 2
TRIED_SEED = 5
QUESTIONS = 1000
STORIES = 500
TOGETHER = 100
"""So many stories are written in one batch."""

Pair = tuple[str, str]
"""A message, (role, text), or a prompt and its right answer."""


@dataclass(frozen=True)
class Recipe:
    """All that decides what the command makes.

    A step takes `rows` dialogues. Every `every` steps `tried` questions are put to the
    model.
    """

    dialogues: int = 20_000
    stories_seed: int = 3
    steps: int = 1300
    rows: int = 16
    rate: float = 0.004
    warmup: int = 20
    weight_decay: float = 0.1
    seed: int = 0
    every: int = 100
    tried: int = 100


@dataclass(frozen=True)
class Asked:
    """A story, a question about it, and its only right answer."""

    story: str
    question: str
    answer: str

    @property
    def kind(self) -> str:
        """What it asks for: one of `KINDS`."""
        return next(kind for kind in KINDS if self.question.startswith(f"{kind} "))

    @property
    def prompt(self) -> str:
        """The question as the first message of a dialogue."""
        return dialogue([("user", f"{self.story}\n\n{self.question}")])


# ---- dialogues ----------------------------------------------------------------------


def dialogues(count: int, seed: int = 0) -> Iterator[list[Pair]]:
    """Dialogues about so many stories: messages (role, text), an answer at the end.

    Each has all questions about its story, in random order. In half of them the
    model is asked to tell the story; in one of ten the user tells it and asks nothing
    yet; in the others the first question comes with it.
    """
    rng = random.Random(seed)
    for story in islice(corpus.stories(seed), count):
        pairs = [(question.question, question.answer) for question in story.questions]
        rng.shuffle(pairs)
        begins = rng.random()
        if begins < 0.5:
            pairs.insert(0, (REQUEST, story.text))
        elif begins < 0.6:
            pairs.insert(0, (story.text, LISTENED))
        else:
            question, answer = pairs[0]
            pairs[0] = f"{story.text}{rng.choice(GAPS)}{question}", answer
        yield [
            (role, text)
            for pair in pairs
            for role, text in zip(("user", "assistant"), pair, strict=True)
        ]


def readable(
    some: Iterable[list[Pair]], model: GPT, encoding: tiktoken.Encoding
) -> Dialogues:
    """Dialogues for the loop; of one that does not fit the context, the first turns."""
    most, rows = model.config.n_positions + 1, []
    for messages in some:
        row = dialogue_tokens(messages, encoding.encode_ordinary)
        while len(row[0]) > most:
            messages = messages[:-2]
            row = dialogue_tokens(messages, encoding.encode_ordinary)
        rows.append(row)
    return Dialogues(model, *padded(rows))


def batches(some: Dialogues, rows: int, seed: int = 0) -> Callable[[int], list[Tensor]]:
    """What the loop draws: so many dialogues, the same ones for the same step."""

    def draw(step: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        chosen = torch.randint(len(some.ids), (rows,), generator=generator)
        return [some.batch(chosen.to(some.ids.device))]

    return draw


# ---- answers ------------------------------------------------------------------------


def questions(count: int, seed: int = HELD_OUT_SEED) -> list[Asked]:
    """At least so many questions: all those of one story after another."""
    found: list[Asked] = []
    for story in corpus.stories(seed):
        if len(found) >= count:
            break
        found += [
            Asked(story.text, question.question, question.answer)
            for question in story.questions
        ]
    return found


def answers(
    model: GPT, encoding: tiktoken.Encoding, prompts: Sequence[str]
) -> list[str]:
    """What a model answers to each prompt: the likeliest tokens, up to the end of line.

    An answer that does not end is cut off after `LONGEST_ANSWER` tokens.
    """
    alike = defaultdict(list)  # prompts of one length are read together
    for number, prompt in enumerate(prompts):
        ids = encoding.encode_ordinary(prompt)
        alike[len(ids)].append((number, ids))
    place, (end,) = next(model.parameters()).device, encoding.encode(END)
    found = [""] * len(prompts)
    for group in alike.values():
        numbers, ids = zip(*group, strict=True)
        new = _likeliest(model, torch.tensor(ids, device=place), end)
        for number, row in zip(numbers, new.tolist(), strict=True):
            found[number] = encoding.decode(row).split(END)[0]
    return found


def _likeliest(model: GPT, ids: Tensor, end: int) -> Tensor:
    """The likeliest next tokens, until each row has an `end`: (B, T) -> (B, new)."""
    new = []
    for token in generation.stream(model, ids, LONGEST_ANSWER, temperature=0):
        new.append(token)
        if (torch.stack(new) == end).any(dim=0).all():
            break
    return torch.stack(new, dim=1)


def share_right(
    model: GPT, encoding: tiktoken.Encoding, asked: Sequence[Pair]
) -> float:
    """The exact match of what a model answers: pairs (prompt, right answer)."""
    prompts, expected = zip(*asked, strict=True)
    return exact_match(answers(model, encoding, prompts), expected)


def by_kind(asked: Sequence[Asked], given: Sequence[str]) -> dict[str, float]:
    """The exact match for each kind of question."""
    kinds = defaultdict(list)
    for question, answer in zip(asked, given, strict=True):
        kinds[question.kind].append((answer, question.answer))
    return {
        kind: exact_match(*zip(*kinds[kind], strict=True))
        for kind in KINDS
        if kind in kinds
    }


def told(model: GPT, encoding: tiktoken.Encoding, count: int) -> list[str]:
    """So many stories that a model tells when it is asked to, at temperature 1."""
    prompt = encoding.encode_ordinary(dialogue([("user", REQUEST)]))
    room = model.config.n_positions - len(prompt)
    generator = torch.Generator().manual_seed(0)
    texts: list[str] = []
    while len(texts) < count:
        ids = torch.tensor([prompt] * min(TOGETHER, count - len(texts)))  # (B, T)
        rows = generation.write(model, ids, room, generator=generator)
        new = rows[:, len(prompt) :].tolist()
        texts += [encoding.decode(row).split(END)[0] for row in new]
    return texts


def bits_when_asked(model: GPT, encoding: tiktoken.Encoding) -> float:
    """Bits per character of 200 stories held out, each as an answer to the request."""
    texts = [story.text for story in islice(corpus.stories(HELD_OUT_SEED), 200)]
    some = readable(
        ([("user", REQUEST), ("assistant", text)] for text in texts), model, encoding
    )
    numbers = torch.arange(len(texts)).split(TOGETHER)
    nats, tokens = evaluate(some, map(some.batch, numbers))
    characters = sum(len(text) + len(corpus.SEPARATOR) for text in texts)
    return nats * tokens / math.log(2) / characters


def about(stories: Iterable[str]) -> list[Pair]:
    """What can be asked about stories that a model told: pairs (prompt, right answer).

    Only those are asked about that are right to the last word: of a story that
    contradicts itself, nobody knows.
    """
    return [
        (
            dialogue([("user", REQUEST), ("assistant", text), ("user", each.question)]),
            each.answer,
        )
        for text in filter(ship.is_right, stories)
        for each in corpus.Story(text, corpus.bits(text)).questions
    ]


# ---- the command --------------------------------------------------------------------

CARD = """\
---
license: mit
language: en
library_name: transformers
pipeline_tag: text-generation
---

# The GPT of Five Sundays that answers

The pretrained GPT of the course, tuned to answer: the same {parameters:,} parameters,
the same vocabulary, other numbers. It answers questions about the small stories of the
course's corpus, and tells one when it is asked to.

- **Data.** {dialogues:,} dialogues about stories of the grammar in `course/stories.py`,
  seed {stories_seed}; {tokens:,} tokens were drawn, of which {asked:,}, those of the
  answers, were asked. No text from elsewhere: no person's words, no personal data.
- **Template.** `"\\n" user "\\n" assistant "\\n\\n"`, and from `user` on again. An
  answer ends at the first `"\\n"`. The user begins with a story, an empty line and a
  question, or with `{request}`
- **Command.** `python -m course.tuning`
- **Machine.** {machine}; torch {torch}; {minutes:.0f} minutes.
- **Answers.** Of {questions:,} questions about stories that were held out,
  {after[exact_match]:.1%} are answered right to the letter by the likeliest tokens;
  before tuning, {before[exact_match]:.1%}. By how they begin:
  {kinds}.
- **Later questions.** Of {stories} questions at the end of a dialogue,
  {after[last_question]:.1%} are answered right.
- **Its own stories.** Of {stories} that it told at temperature 1,
  {after[hold_together]:.1%} have names, pronouns and the hidden object right
  throughout, and {after[right_to_the_last_word]:.1%} are right to the last word; of the
  questions about the latter, {after[about_its_own]:.1%} are answered right. Before
  tuning: {before[hold_together]:.1%} and {before[right_to_the_last_word]:.1%}.
- **What it forgot.** On 200 stories that were held out it needs
  {after[bits_per_character]:.4f} bits per character, before tuning
  {before[bits_per_character]:.4f}, and {after[bits_when_asked]:.4f} where the story is
  an answer to `{request}` The entropy floor is {floor:.4f}.
- **Limits.** It knows the words of the stories and the questions of the corpus only.
  Asked anything else, it gives an answer all the same, with the words that it has, and
  sounds as sure as ever. It is made for learning, and good for nothing else.
- **Licence.** MIT, as the course.

The files are those of `transformers`: `GPT2LMHeadModel.from_pretrained` reads them. The
tokenizer is in `vocabulary.txt`, in tiktoken's format.
"""


def measured(model: GPT, encoding: tiktoken.Encoding) -> dict[str, Any]:
    """What the card says of a model."""
    asked = questions(QUESTIONS)
    given = answers(model, encoding, [question.prompt for question in asked])
    last = [
        (dialogue(messages[:-1]), messages[-1][1])
        for messages in dialogues(STORIES, HELD_OUT_SEED)
    ]
    stories = told(model, encoding, STORIES)
    own = about(stories)
    return {
        "exact_match": exact_match(given, [question.answer for question in asked]),
        "by_kind": by_kind(asked, given),
        "last_question": share_right(model, encoding, last),
        "bits_per_character": small_gpt.bits_per_character(model, encoding),
        "bits_when_asked": bits_when_asked(model, encoding),
        "hold_together": sum(map(ship.holds_together, stories)) / STORIES,
        "right_to_the_last_word": sum(map(ship.is_right, stories)) / STORIES,
        "about_its_own": share_right(model, encoding, own) if own else 0.0,
    }


def tuned(
    some: Dialogues, encoding: tiktoken.Encoding, recipe: Recipe
) -> Iterator[dict[str, float]]:
    """Tune the model that reads these dialogues; hands out what there is to note."""
    asked = [(each.prompt, each.answer) for each in questions(recipe.tried, TRIED_SEED)]
    learning = optimizers(some, recipe.rate, recipe.weight_decay)
    plan = Plan(recipe.steps, recipe.warmup)
    draw = batches(some, recipe.rows, recipe.seed)
    for step, loss in pretrain(some, draw, learning, plan):
        entry = {"step": step, "loss": round(loss.item(), 4)}
        if step % recipe.every == 0 or step == recipe.steps:
            entry["exact_match"] = share_right(some.model, encoding, asked)
        yield entry


def drawn(some: Dialogues, recipe: Recipe) -> dict[str, int]:
    """How many tokens the run reads, and how many of them it is asked."""
    draw = batches(some, recipe.rows, recipe.seed)
    read = asked = 0
    for step in range(recipe.steps):
        (batch,) = draw(step)
        read += int((some.ids[batch[:, 0]] != NOTHING).sum())
        asked += int((batch[:, 1:] != NOTHING).sum())
    return {"tokens": read, "asked": asked}


def tune(recipe: Recipe = Recipe(), folder: Path = FOLDER) -> dict[str, Any]:
    """Tune the pretrained model, and put it with its card into the folder."""
    model, encoding = pretrained.load()
    before = measured(model, encoding)
    some = readable(dialogues(recipe.dialogues, recipe.stories_seed), model, encoding)
    began, log = time.perf_counter(), []
    for entry in tuned(some, encoding, recipe):
        log.append(entry)
        if "exact_match" in entry:
            print(json.dumps(entry), flush=True)
    minutes = (time.perf_counter() - began) / 60
    made = {
        "command": "python -m course.tuning",
        "recipe": asdict(recipe),
        **drawn(some, recipe),
        "minutes": round(minutes, 1),
        "machine": records.machine(),
        "torch": records.versions()["torch"],
        "floor": round(corpus.floor(), 4),
        "questions": dict(Counter(each.kind for each in questions(QUESTIONS))),
        "stories": STORIES,
        "before": before,
        "after": measured(model.eval(), encoding),
    }
    pretrained.save(
        folder, model, load_ranks(pretrained.FOLDER / pretrained.VOCABULARY)
    )
    lines = "".join(json.dumps(entry) + "\n" for entry in log)
    write_atomically(folder / "log.jsonl", lines)
    write_atomically(folder / "run.json", json.dumps(made, indent=1) + "\n")
    write_atomically(folder / "README.md", card(made, gpt_parameters(model.config)))
    return made


def card(made: dict[str, Any], parameters: int) -> str:
    """What stands beside the model, in words."""
    kinds = ", ".join(
        f"{kind} {share:.1%}" for kind, share in made["after"]["by_kind"].items()
    )
    return CARD.format_map(
        {
            **made["recipe"],
            **made,
            "questions": sum(made["questions"].values()),
            "parameters": parameters,
            "request": REQUEST,
            "kinds": kinds,
        }
    )


if __name__ == "__main__":
    torch.set_num_threads(1)  # sums in another order end in another model
    print(json.dumps(tune(), indent=1))
