"""The corpus of the course: small stories with a known entropy floor.

    from course import corpus

    text = corpus.write(1_000_000, seed=0)      # a million characters of stories
    corpus.floor()                              # bits per character; none can do better

The stories come from the grammar in `course/stories.py`. It knows the probability of
every choice it makes, so the entropy of the text is known exactly. Any text file can
stand in for the stories: `corpus.read(path)`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from course import grammar
from course.stories import STORIES

SEPARATOR = "\n\n"
"""What ends each story in a text."""

LEAST_CHARACTERS = 1000
"""A text file with fewer characters teaches a model nothing."""


class CorpusError(ValueError):
    """A text that cannot be used: says what was wrong and what to do."""


@dataclass(frozen=True)
class Question:
    """A question about one story, and its only right answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class Story:
    """One story, and its exact -log2 probability in bits."""

    text: str
    bits: float

    @cached_property
    def questions(self) -> tuple[Question, ...]:
        """Questions about the story; each answer stands in its text."""
        _, plot, forms = _understood(self.text)
        return tuple(
            Question(_filled(question, forms), _filled(answer, forms))
            for question, answer in plot.questions
        )


def stories(seed: int = 0) -> Iterator[Story]:
    """Stories without end; the same seed gives the same stories everywhere.

    >>> next(stories(seed=3)) == next(stories(seed=3))
    True
    """
    rng = random.Random(seed)
    sampler = _sampler()
    while True:
        yield Story(*sampler.sample(rng))


def write(characters: int, seed: int = 0) -> str:
    """Whole stories, each ended by `SEPARATOR`: at least `characters` characters.

    >>> text = write(1000, seed=1)
    >>> len(text) >= 1000, text.endswith(SEPARATOR)
    (True, True)
    """
    rng = random.Random(seed)
    sample = _sampler().sample
    pieces, length = [], 0
    while length < characters:
        text, _ = sample(rng)
        pieces.append(text)
        length += len(text) + len(SEPARATOR)
    return "".join(piece + SEPARATOR for piece in pieces)


@cache
def floor() -> float:
    """The entropy of the endless text, in bits per character, exact.

        entropy of a story / expected length of a story and its separator

    Stories are independent, so this is the entropy rate: no model of the text can need
    fewer bits per character, on average, whatever it remembers.
    """
    length = grammar.mean_length(STORIES) + len(SEPARATOR)
    return grammar.entropy(STORIES) / length


def bits(text: str) -> float:
    """The exact -log2 probability of one story, in bits, found by reading it.

    Raises:
        CorpusError: if the grammar cannot write this text: a name, a pronoun, a place
            or a number does not fit, or the words are others.
    """
    return _understood(text)[0]


def read(path: str | Path, at_least: int = LEAST_CHARACTERS) -> str:
    """Any UTF-8 text file, in place of the stories.

    Raises:
        CorpusError: if it is missing, no file, unreadable, not UTF-8, empty, or has
            fewer than `at_least` characters.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CorpusError(
            f"{path} does not exist; give the path of a text file"
        ) from None
    except IsADirectoryError:
        raise CorpusError(f"{path} is a folder; give the path of a text file") from None
    except (OSError, ValueError) as error:
        # A ValueError is a path that no system allows, such as one with a NUL.
        reason = getattr(error, "strerror", None) or error
        message = f"{path} cannot be read ({reason}); give a file you may read"
        raise CorpusError(message) from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path} is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}; "
            "save it as UTF-8"
        ) from None
    # Neither a byte order mark nor how a system ends its lines is part of a text.
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise CorpusError(
            f"{path} is empty; give a text of {at_least} characters or more"
        )
    if len(text) < at_least:
        raise CorpusError(
            f"{path} has {len(text)} characters; a model needs at least {at_least}: "
            "give a longer text"
        )
    return text


@cache
def _sampler() -> grammar.Sampler:
    return grammar.Sampler(STORIES)


def _understood(text: str) -> tuple[float, grammar.Plot, dict[str, str]]:
    """Bits, plot and all forms of the facts of a story."""
    for found, plot, values in grammar.derivations(STORIES, text):
        forms = {
            f"{name}.{form}": word
            for name, index in values.items()
            for form, word in STORIES.facts[name].values[index].items()
        }
        return found, plot, forms
    reach = grammar.reach(STORIES, text)
    raise CorpusError(
        f"this is no story of the grammar: after character {reach}, "
        f"{text[max(0, reach - 30) : reach]!r}, no story goes on with "
        f"{text[reach : reach + 20]!r}; give one whole story, without SEPARATOR"
    )


def _filled(template: str, forms: dict[str, str]) -> str:
    return template.replace("{", "%(").replace("}", ")s") % forms
