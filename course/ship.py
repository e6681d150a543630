"""Make a run's model the one that comes with the course: `python -m course.ship RUN`.

The command measures the model, writes its card, and puts both into `course/pretrained`.
What is measured: bits per character of the stories that were held out, and two things
of 500 stories that it writes. In how many are the names, the pronouns and the object
with its place right throughout? And how many could the grammar of the corpus have
written to the last word, with all numbers and relatives right, too?
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import tiktoken

from course import checkpoints, corpus, grammar, pretrained, records, small_gpt
from course.files import write_atomically
from course.stories import STORIES
from course.training import Settings, read_log
from solutions.gpt_block import GPT, gpt_parameters

FILES = ("config.json", "vocabulary.txt", "model.safetensors", "log.jsonl")
COUNT = 500

CARD = """\
---
license: mit
language: en
library_name: transformers
pipeline_tag: text-generation
---

# The GPT of Five Sundays

A GPT-2 of {parameters:,} parameters: {layers} layers, {width} channels, {heads} heads,
a context of {context} tokens, a vocabulary of {vocab_size:,}. It writes the small
stories of the course's corpus, and nothing else.

- **Data.** Stories of the grammar in `course/stories.py`, seed 1; {tokens:,} tokens
  were drawn. No text from elsewhere: no person's words, no personal data.
- **Command.** `{command}`, then `python -m course.ship RUN`
- **Machine.** {machine}; torch {torch}; {minutes:.0f} minutes.
- **Loss.** {bits:.4f} bits per character on 200 stories that were held out. The
  entropy floor, below which no model comes, is {floor:.4f}: it is {above:.1f} % above.
- **Its own stories.** Of {stories} that it wrote at temperature 1, {hold_together:.1%}
  have names, pronouns and the hidden object right throughout;
  {right_to_the_last_word:.1%} are right to the last word, numbers and relatives too.
- **Limits.** It knows the words of the stories only. Whatever else it is given, it goes
  on with as if it were one. It is made for learning, and good for nothing else.
- **Licence.** MIT, as the course.

The files are those of `transformers`: `GPT2LMHeadModel.from_pretrained` reads them. The
tokenizer is in `vocabulary.txt`, in tiktoken's format.
"""


def right_stories(
    model: GPT, encoding: tiktoken.Encoding, count: int
) -> dict[str, float]:
    """The shares of so many stories of the model that hold together, and more."""
    texts = small_gpt.write_stories(model, encoding, count)
    return {
        "hold_together": sum(map(holds_together, texts)) / count,
        "right_to_the_last_word": sum(map(is_right, texts)) / count,
    }


HELD = {"cast", "thing", "look", "places", "spot", "swap"}
"""Who is in a story, with the pronouns, and what is hidden where."""

LOOSE = replace(STORIES, loose=frozenset(STORIES.facts.keys() - HELD))


def holds_together(text: str) -> bool:
    """Whether names, pronouns and the hidden object are right, from first to last.

    The story has to be a whole one. Numbers that do not add up, a grandfather who was a
    grandmother, and the weather are let pass.
    """
    return grammar.allows(LOOSE, text)


def is_right(text: str) -> bool:
    """Whether the grammar could have written this, to the last word."""
    return grammar.allows(STORIES, text)


def measured(model: GPT, encoding: tiktoken.Encoding) -> dict[str, Any]:
    """What the card says of the model."""
    bits = small_gpt.bits_per_character(model, encoding)
    return {
        "bits_per_character": round(bits, 4),
        "floor": round(corpus.floor(), 4),
        "above_the_floor": round(bits / corpus.floor() - 1, 4),
        "stories": COUNT,
        **right_stories(model, encoding, COUNT),
    }


def command_of(settings: dict[str, Any]) -> str:
    """The command that makes a run of these settings, defaults left out."""
    usual = Settings()
    options = [
        f"--{name.replace('_', '-')} {value}"
        for name, value in settings.items()
        if name != "source" and value != getattr(usual, name)
    ]
    return " ".join(["sundays train", settings["source"], "--out RUN", *options])


def ship(run: Path, folder: Path = pretrained.FOLDER) -> dict[str, Any]:
    """Measure the model of a run and put it, with its card, into the folder."""
    _, about = checkpoints.read(run / "checkpoint.safetensors")
    model, encoding = pretrained.load(run)
    entries = read_log(run / "log.jsonl")
    config, settings = model.config, about["settings"]
    made = {
        "command": command_of(settings),
        "settings": settings,
        "tokens": about["step"] * settings["rows"] * config.n_positions,
        "minutes": round(entries[-1]["seconds"] / 60, 1),
        "machine": records.machine(),
        "torch": records.versions()["torch"],
        **measured(model, encoding),
    }
    folder.mkdir(exist_ok=True)
    for name in FILES:
        shutil.copyfile(run / name, folder / name)
    write_atomically(folder / "run.json", json.dumps(made, indent=1) + "\n")
    card = CARD.format(
        parameters=gpt_parameters(config),
        layers=config.n_layer,
        width=config.n_embd,
        heads=config.n_head,
        context=config.n_positions,
        vocab_size=config.vocab_size,
        bits=made["bits_per_character"],
        above=100 * made["above_the_floor"],
        **made,
    )
    write_atomically(folder / "README.md", card)
    return made


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("give the folder of a finished run: python -m course.ship RUN")
    print(json.dumps(ship(Path(sys.argv[1])), indent=1))
