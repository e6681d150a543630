"""Text as tokens on disk, ready to be drawn from: what `sundays train` reads.

    data = dataset.prepare("stories", folder, vocab_size=1600)
    data.draw(step=0, rows=16, context=256, seed=0)      # ids (16, 257)

The text is written once as token numbers, one after another, two bytes each, and then
mapped into memory: only what is drawn is read. The source is one of

- `stories`, or `stories:20_000_000` for so many characters of the course's corpus;
- the path of a text file, or of a folder with `.txt` and `.md` files;
- `hub:OWNER/NAME`, the text files of a data set on the Hugging Face hub.

A batch is found again from the seed and the number of its step alone.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import tiktoken
import torch
from torch import Tensor

from course import corpus, hub
from course.corpus import CorpusError
from course.files import write_atomically
from course.hub import HubError
from course.small_model import START
from solutions.pretraining import NOTHING
from solutions.tokens import load_ranks, save_ranks, to_tiktoken, train_bpe

STORIES_SEED = 1
HELD_OUT_SEED = 2
HELD_OUT = 200
"""The stories that are never learned from: those that all chapters measure with.

There are fewer where the text is short.
"""

CHARACTERS = 30_000_000
CHUNK = 1_000_000
SAMPLE = 2_000_000
"""So many characters of the text teach the tokenizer."""

TYPE = np.dtype("<u2")
SUFFIXES = (".txt", ".md")


@dataclass(frozen=True)
class Dataset:
    """Tokens to learn from, others that are held out, and how to read them.

    `begins` are the places where a window may begin: of the stories, where a story
    does. Of another text there are none, and a window begins anywhere; so it does where
    a whole story does not fit. `floor` is in bits per character, None where nobody
    knows it.
    """

    tokens: np.ndarray
    held_out: list[list[int]]
    held_out_characters: int
    begins: np.ndarray | None
    encoding: tiktoken.Encoding
    ranks: dict[bytes, int]
    characters: int
    fingerprint: str
    floor: float | None

    @property
    def tokens_per_character(self) -> float:
        return len(self.tokens) / self.characters

    def draw(
        self,
        step: int,
        rows: int,
        context: int,
        seed: int = 0,
        part: int = 0,
        parts: int = 1,
    ) -> Tensor:
        """The batch of a step, `rows` windows: ids (rows, context + 1).

        With `parts`, only the rows `part`, `part + parts`, ...: what one of several
        processes, or one of several pieces, gets of the same batch.

        Raises:
            CorpusError: if the text is shorter than one window.
        """
        last = len(self.tokens) - context - 1
        begins = self.begins
        if begins is not None and np.diff(begins).max(initial=0) > context:
            begins = None  # else the ends of stories would never be learned
        if begins is not None:
            begins = begins[: np.searchsorted(begins, last, side="right")]
        places = last + 1 if begins is None else len(begins)
        if places < 1:
            raise CorpusError(
                f"the text has {len(self.tokens)} tokens, and a window takes "
                f"{context + 1}: give a longer text, or a shorter context"
            )
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        chosen = torch.randint(places, (rows,), generator=generator)[part::parts]
        first = chosen.numpy() if begins is None else begins[chosen.numpy()]
        window = self.tokens[first[:, None] + np.arange(context + 1)]
        return torch.from_numpy(window.astype(np.int64))

    def held_out_batches(self, context: int, rows: int = 32) -> Iterator[Tensor]:
        """What is held out, in order: ids (B, at most context + 1).

        A row that is too long goes on in another one, whose first token is the last of
        the one before; so every token but the first of a row is asked for once.
        """
        cut = [
            row[place : place + context + 1]
            for row in self.held_out
            for place in range(0, len(row) - 1, context)
        ]
        for start in range(0, len(cut), rows):
            some = cut[start : start + rows]
            batch = torch.full((len(some), max(map(len, some))), NOTHING)
            for ids, row in zip(batch, some, strict=True):
                ids[: len(row)] = torch.tensor(row)
            yield batch

    def bits_per_character(self, nats: float, tokens: int) -> float:
        """Of a loss on what is held out."""
        return nats / math.log(2) * tokens / self.held_out_characters


def prepare(source: str, folder: Path, vocab_size: int) -> Dataset:
    """Make the tokens of a source in a folder, unless they are there already.

    Raises:
        CorpusError: if the text cannot be used, or the folder holds another one.
    """
    if not 256 <= vocab_size <= 2 ** (8 * TYPE.itemsize):
        raise CorpusError(
            f"vocab_size is {vocab_size}, expected 256 (all bytes) to 65,536"
        )
    record = folder / "data.json"
    wanted = {"source": source, "vocab_size": vocab_size}
    if not record.is_file():
        made = wanted | _make(source, folder, vocab_size)
        write_atomically(record, json.dumps(made))
    made = _read_record(record)
    if {key: made.get(key) for key in wanted} != wanted:
        raise CorpusError(
            f"{folder} holds the tokens of {made.get('source')!r} with vocab_size "
            f"{made.get('vocab_size')}: choose another folder for {source!r} with "
            f"{vocab_size}"
        )
    return _open(folder, made)


def _read_record(record: Path) -> dict:
    try:
        return dict(json.loads(record.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise CorpusError(
            f"{record} is damaged ({error}): remove the folder {record.parent}, and "
            "it is made again"
        ) from None


def _make(source: str, folder: Path, vocab_size: int) -> dict:
    """Write tokens and vocabulary; what the record says of them.

    The record is written last. Without it, all of this is made again.
    """
    texts, held_out = _texts(source)
    try:
        ranks = train_bpe(_beginning(texts()), vocab_size)
    except ValueError as problem:
        raise CorpusError(f"{source}: {problem}") from None
    save_ranks(ranks, folder / "vocabulary.txt")  # makes the folder, too
    write_atomically(folder / "held-out.json", json.dumps(held_out))
    encoding, characters, count = to_tiktoken(ranks), 0, 0
    sha256 = hashlib.sha256()
    with (folder / "tokens.bin").open("wb") as file:
        for text in texts():
            tokens = np.array(encoding.encode_ordinary(text), TYPE)
            file.write(tokens.tobytes())
            sha256.update(tokens.tobytes())
            characters, count = characters + len(text), count + len(tokens)
    return {"characters": characters, "tokens": count, "sha256": sha256.hexdigest()}


def _beginning(texts: Iterable[str]) -> str:
    kept, length = [], 0
    for text in texts:
        kept.append(text[: SAMPLE - length])
        length += len(kept[-1])
        if length >= SAMPLE:
            break
    return "".join(kept)


def _open(folder: Path, made: dict) -> Dataset:
    try:
        tokens = np.memmap(folder / "tokens.bin", TYPE, mode="r")
        held_out = json.loads((folder / "held-out.json").read_text("utf-8"))
        ranks = load_ranks(folder / "vocabulary.txt")
        if len(tokens) != made["tokens"] or len(tokens) == 0:
            raise ValueError(f"{len(tokens)} tokens, expected {made['tokens']}")
    except (OSError, ValueError, KeyError) as error:
        raise CorpusError(
            f"the tokens in {folder} are damaged ({error}): remove that folder, and "
            "they are made again"
        ) from None
    encoding = to_tiktoken(ranks)
    stories = made["source"].split(":")[0] == "stories"
    rows = [encoding.encode_ordinary(text) for text in held_out]
    if stories:
        # A story is judged from its beginning, on every token of it and of its end,
        # which is two tokens, as in running text.
        (start,) = encoding.encode(START)
        rows = [[start, *row, start, start] for row in rows]
    return Dataset(
        tokens=tokens,
        held_out=rows,
        # The first token of a row is given, not asked for.
        held_out_characters=sum(len(encoding.decode(row[1:])) for row in rows),
        begins=_begins(tokens, encoding) if stories else None,
        encoding=encoding,
        ranks=ranks,
        characters=made["characters"],
        fingerprint=made["sha256"],
        floor=corpus.floor() if stories else None,
    )


def _begins(tokens: np.ndarray, encoding: tiktoken.Encoding) -> np.ndarray:
    """The places of `START` before each story: the end of the separator before it."""
    (start,) = encoding.encode(START)
    is_start = tokens == start
    return np.flatnonzero(is_start[1:] & is_start[:-1]) + 1


# ---- sources ------------------------------------------------------------------------


def _texts(source: str) -> tuple[Callable[[], Iterator[str]], list[str]]:
    """The text in pieces, as often as asked for, and what is held out of it."""
    if source.split(":")[0] == "stories":
        characters = _how_many(source)
        count = min(HELD_OUT, max(1, characters // 5000))  # about a tenth as many
        stories = islice(corpus.stories(HELD_OUT_SEED), count)
        return lambda: _story_texts(characters), [story.text for story in stories]
    lengths = {path: len(corpus.read(path)) for path in _files(source)}
    # The last tenth of each file is held out, at most a million characters of all.
    share = min(0.1, CHUNK / sum(lengths.values()))
    cuts = {path: length - int(length * share) for path, length in lengths.items()}
    held_out = [corpus.read(path)[cut:] for path, cut in cuts.items()]
    return lambda: (corpus.read(path)[:cut] for path, cut in cuts.items()), held_out


def _how_many(source: str) -> int:
    _, _, count = source.partition(":")
    try:
        characters = int(count) if count else CHARACTERS
    except ValueError:
        characters = 0
    if characters < corpus.LEAST_CHARACTERS:
        raise CorpusError(
            f"{source!r}: expected stories:CHARACTERS with {corpus.LEAST_CHARACTERS} "
            "or more, as in stories:20000000"
        )
    return characters


def _story_texts(characters: int) -> Iterator[str]:
    text = corpus.write(characters, STORIES_SEED)
    begin = 0
    while begin < len(text):
        # Cut within the separator: there the tokenizer cuts, too, in running text.
        end = text.find(corpus.SEPARATOR, begin + CHUNK) + 1
        end = end or max(begin + 1, len(text) - 1)
        yield text[begin:end]
        begin = end


def _files(source: str) -> list[Path]:
    path = _from_hub(source) if source.startswith("hub:") else Path(source)
    if not path.is_dir():
        return [path]  # `corpus.read` says it if there is none
    files = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
    if not files:
        raise CorpusError(
            f"{path} has no text in it: expected files that end in "
            f"{' or '.join(SUFFIXES)}"
        )
    return files


def _from_hub(source: str) -> Path:
    name = source.removeprefix("hub:")
    texts = [f"*{suffix}" for suffix in SUFFIXES]
    try:
        return hub.fetch(name, texts, "dataset", ignore_patterns="README.md")
    except HubError as problem:
        raise CorpusError(
            f"of the data set {name} there is nothing here, and {problem}; give the "
            "path of a text file, or `stories`"
        ) from None
