r"""What a language model reads: byte-level BPE, from text to batches of vectors.

A model reads whole numbers. This file turns text into them and back: it learns a
vocabulary by byte pair encoding (BPE), encodes, decodes, hands the same vocabulary to
`tiktoken`, cuts the ids into windows of inputs and targets, and gives each id a vector.

A *token* is a piece of text as `bytes`. Its *rank* is its place in the order in which
training made it; it is the token's id, too. A vocabulary is `ranks: dict[bytes, int]`,
what tiktoken calls `mergeable_ranks`. Every single byte is a token, so there is no text
that cannot be encoded. A *word* is a tuple of tokens that merges never cross.

Shapes: `B` texts, `T` tokens each, `C` channels per vector, `V` tokens in all.
Left out: the speed of tiktoken, which encodes the same in Rust (`to_tiktoken`).

Sources: Gage 1994, "A New Algorithm for Data Compression"; Sennrich, Haddow and Birch
2016, "Neural Machine Translation of Rare Words with Subword Units"; for the bytes and
the pattern, Radford et al. 2019, "Language Models are Unsupervised Multitask Learners".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import heapq
import json
import math
import os
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import regex
import tiktoken
import torch
from torch import Tensor, nn

GPT2_PATTERN = (
    r"'(?:s|t|re|ve|m|ll|d)"  # the end of an English contraction
    r"| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"  # letters, digits or signs, and one space
    r"|\s+(?!\S)|\s+"  # the spaces that are left; the last one goes to the next word
)
"""How GPT-2 cuts text into words before it merges anything."""

END_OF_TEXT = "<|endoftext|>"
"""GPT-2's special token: it stands between two documents."""


def pre_tokenize(text: str) -> list[bytes]:
    r"""Cut text into words, as bytes. No token will ever cross their borders.

    Joined again, the words are the text.

    >>> pre_tokenize("It's 안녕, twice")
    [b'It', b"'s", b' \xec\x95\x88\xeb\x85\x95', b',', b' twice']

    Raises:
        ValueError: if the text holds half a surrogate pair, which is no character.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"character {error.start} of the text is {text[error.start]!r}, half a "
            "surrogate pair and no character; remove it, or join it with its half"
        ) from None
    return [word.encode() for word in regex.findall(GPT2_PATTERN, text)]


def pair_counts(
    words: Mapping[tuple[bytes, ...], int],
) -> dict[tuple[bytes, bytes], int]:
    """How often each two tokens stand side by side, over all words.

    `words` maps each distinct word to how often the text holds it. Every place counts,
    so `aaa` holds the pair `(a, a)` twice. There are no pairs across words.

    >>> pair_counts({(b"a", b"a", b"a"): 5, (b"a", b"b"): 2})
    {(b'a', b'a'): 10, (b'a', b'b'): 2}
    """
    counts: Counter[tuple[bytes, bytes]] = Counter()
    for word, times in words.items():
        for pair in pairwise(word):
            counts[pair] += times
    return dict(counts)


def merge(word: tuple[bytes, ...], pair: tuple[bytes, bytes]) -> tuple[bytes, ...]:
    """The word with each occurrence of the pair as one token, from left to right.

    >>> merge((b"a", b"a", b"a", b"b"), (b"a", b"a"))
    (b'aa', b'a', b'b')
    """
    merged: list[bytes] = []
    place = 0
    while place < len(word):
        if word[place : place + 2] == pair:
            merged.append(pair[0] + pair[1])
            place += 2
        else:
            merged.append(word[place])
            place += 1
    return tuple(merged)


def train_bpe(text: str, vocab_size: int) -> dict[bytes, int]:
    """Learn a vocabulary of `vocab_size` tokens: 256 bytes, then one merge at a time.

    Each step merges the most frequent pair of neighbours everywhere, and the new token
    gets the next rank. Of pairs that are equally frequent, the smaller one is taken, as
    Python compares tuples of bytes: `(b"a", b"c")` before `(b"b", b"a")`.

    Special tokens are not part of it: their ids come after these.

    >>> list(train_bpe("hug hug pug", vocab_size=258))[256:]
    [b'ug', b'hug']

    Raises:
        ValueError: if `vocab_size` is less than 256, the text is empty, or every word
            has become one token before `vocab_size` is reached.
    """
    if vocab_size < 256:
        raise ValueError(
            f"vocab_size is {vocab_size}, expected 256 (all bytes) or more"
        )
    if not text:
        raise ValueError("the text is empty: there is nothing to learn from")
    ranks = {bytes([byte]): byte for byte in range(256)}
    corpus = MergingCorpus(text)
    while len(ranks) < vocab_size:
        pair = corpus.most_frequent_pair()
        if pair is None:
            raise ValueError(
                f"after {len(ranks)} tokens no pair is left to merge, expected "
                f"{vocab_size}: give a longer text, or a vocab_size of {len(ranks)}"
            )
        ranks[pair[0] + pair[1]] = len(ranks)
        corpus.merge_everywhere(pair)
    return ranks


class MergingCorpus:
    """A text as distinct words, with pair counts that keep up as pairs are merged.

    Counting all pairs again after each merge would read the whole text each time. Here
    a merge touches only the words that hold the pair; and the most frequent pair is
    found in a heap, whose outdated entries are put right when they come to the top.
    """

    def __init__(self, text: str) -> None:
        words = Counter(pre_tokenize(text))
        self.words = [tuple(bytes([byte]) for byte in word) for word in words]
        self.times = list(words.values())
        self.counts = pair_counts(dict(zip(self.words, self.times, strict=True)))
        self.holders: dict[tuple[bytes, bytes], set[int]] = defaultdict(set)
        for index, word in enumerate(self.words):
            for pair in pairwise(word):
                self.holders[pair].add(index)
        # The smallest entry is on top: the largest count, then the smallest pair.
        self.heap = [(-count, pair) for pair, count in self.counts.items()]
        heapq.heapify(self.heap)

    def most_frequent_pair(self) -> tuple[bytes, bytes] | None:
        """The pair to merge next, or None if every word is one token."""
        while self.heap:
            entry, pair = self.heap[0]
            if self.counts[pair] == 0:
                heapq.heappop(self.heap)
            elif self.counts[pair] != -entry:
                heapq.heapreplace(self.heap, (-self.counts[pair], pair))
            else:
                return pair
        return None

    def merge_everywhere(self, pair: tuple[bytes, bytes]) -> None:
        """Merge the pair in the words that hold it, and correct the counts of these."""
        token = pair[0] + pair[1]
        new_pairs = set()
        for index in self.holders.pop(pair):
            old, new = self.words[index], merge(self.words[index], pair)
            self.words[index] = new
            for before in pairwise(old):
                self.counts[before] -= self.times[index]
            for after in pairwise(new):
                self.counts[after] = self.counts.get(after, 0) + self.times[index]
                self.holders[after].add(index)
                if token in after:
                    new_pairs.add(after)
        # Only pairs with the new token can have become more frequent.
        for pair in new_pairs:
            heapq.heappush(self.heap, (-self.counts[pair], pair))


def encode(text: str, ranks: Mapping[bytes, int]) -> list[int]:
    """Text to ids, as training would have merged it: the lowest rank first.

    Each word starts as single bytes. Of all neighbours that join to a token, the two
    with the lowest rank are merged, again and again, until no two join.

    Special tokens are not known here: `<|endoftext|>` in a text is thirteen characters.

    >>> ranks = train_bpe("hug hug pug", vocab_size=258)
    >>> encode("hugs", ranks)
    [257, 115]

    Raises:
        ValueError: if the text is no Unicode (see `pre_tokenize`), or `ranks` lacks one
            of its bytes.
    """
    ids: list[int] = []
    for word in pre_tokenize(text):
        tokens = tuple(bytes([byte]) for byte in word)
        while len(tokens) > 1:
            pair = min(pairwise(tokens), key=lambda p: ranks.get(p[0] + p[1], math.inf))
            if pair[0] + pair[1] not in ranks:
                break
            tokens = merge(tokens, pair)
        for token in tokens:
            if token not in ranks:
                raise ValueError(
                    f"the vocabulary lacks the byte {token!r}, expected all 256 bytes"
                )
            ids.append(ranks[token])
    return ids


def decode(ids: Sequence[int], ranks: Mapping[bytes, int]) -> str:
    """Ids to text: join the bytes of all tokens, then read them as UTF-8, once.

    A character may be spread over several tokens, so a token alone may be no text.
    Bytes that are no valid UTF-8 become `U+FFFD`, the replacement character.

    >>> decode([236, 149, 136], {bytes([byte]): byte for byte in range(256)})
    '안'

    Raises:
        ValueError: if an id is not in the vocabulary.
    """
    tokens = {rank: token for token, rank in ranks.items()}
    for token_id in ids:
        if token_id not in tokens:
            raise ValueError(
                f"{token_id!r} is no id of this vocabulary, expected whole numbers "
                f"from {min(tokens)} to {max(tokens)} (of a tensor: ids.tolist())"
            )
    return b"".join(tokens[token_id] for token_id in ids).decode(errors="replace")


def encode_with_special(
    text: str,
    ranks: Mapping[bytes, int],
    special_tokens: Mapping[str, int],
    allowed_special: Collection[str] = (),
) -> list[int]:
    """Like `encode`, but the names in `allowed_special` become their own single ids.

    What a user types must never become a special token: it would end the document.
    So nothing is allowed unless it is named. Where two names could start at the same
    place, the longer one is taken.

    Where it differs from tiktoken: `Encoding.encode` refuses a text with the name of a
    token that is not allowed; here it is plain text, as with `disallowed_special=()`.

    >>> ranks = {bytes([byte]): byte for byte in range(256)}
    >>> encode_with_special("a<|x|>", ranks, {"<|x|>": 256}, allowed_special={"<|x|>"})
    [97, 256]

    Raises:
        ValueError: if an allowed name is no special token; and as `encode`.
    """
    for name in allowed_special:
        if name not in special_tokens:
            raise ValueError(
                f"{name!r} is allowed but no special token; there are "
                f"{', '.join(special_tokens) or 'none'}"
            )
    if not allowed_special:
        return encode(text, ranks)
    names = sorted(allowed_special, key=len, reverse=True)
    either = "|".join(regex.escape(name) for name in names)
    ids: list[int] = []
    for piece in regex.split(f"({either})", text):
        if piece in allowed_special:
            ids.append(special_tokens[piece])
        else:
            ids += encode(piece, ranks)
    return ids


def decode_with_special(
    ids: Sequence[int], ranks: Mapping[bytes, int], special_tokens: Mapping[str, int]
) -> str:
    """Like `decode`, and the ids of special tokens become their names.

    Raises:
        ValueError: if an id is in neither vocabulary.
    """
    names = {name.encode(): special_id for name, special_id in special_tokens.items()}
    return decode(ids, {**ranks, **names})


def to_tiktoken(
    ranks: Mapping[bytes, int],
    special_tokens: Mapping[str, int] | None = None,
    name: str = "five-sundays",
) -> tiktoken.Encoding:
    """The same tokenizer as a `tiktoken.Encoding`: equal ids, far faster.

    Raises:
        ValueError: if the ids are not 0, 1, 2, ... without a gap, or a byte is missing.
    """
    special_tokens = dict(special_tokens or {})
    check_ranks(ranks, "the vocabulary", also=special_tokens.values())
    return tiktoken.Encoding(
        name=name,
        pat_str=GPT2_PATTERN,
        mergeable_ranks=dict(ranks),
        special_tokens=special_tokens,
    )


def check_ranks(
    ranks: Mapping[bytes, int], what: str, also: Collection[int] = ()
) -> None:
    """Refuse a vocabulary that is damaged, in one line that begins with `what`.

    Raises:
        ValueError: if one of the 256 bytes is missing, or the ids, together with those
            in `also`, are not 0, 1, 2, ... each once.
    """
    for byte in range(256):
        if bytes([byte]) not in ranks:
            raise ValueError(f"{what} lacks the byte {byte}, expected all 256 bytes")
    ids = sorted([*ranks.values(), *also])
    if ids != list(range(len(ids))):
        raise ValueError(
            f"{what} has {len(ids)} ids, expected each of 0 to {len(ids) - 1} once"
        )


def save_ranks(ranks: Mapping[bytes, int], path: str | Path) -> None:
    """Write the vocabulary as text, one token a line: base64, a space, the rank.

    This is tiktoken's own format, `tiktoken.load.load_tiktoken_bpe` reads it. Special
    tokens are not in it. A crash leaves the old file or the new one, never a half.

    Raises:
        ValueError: if the vocabulary is damaged, see `check_ranks`.
        OSError: if the file cannot be written.
    """
    check_ranks(ranks, "the vocabulary")
    lines = [
        f"{base64.b64encode(token).decode()} {rank}\n"
        for token, rank in sorted(ranks.items(), key=lambda item: item[1])
    ]
    _write(Path(path), "".join(lines).encode())


def load_ranks(path: str | Path) -> dict[bytes, int]:
    """Read what `save_ranks` wrote.

    Raises:
        ValueError: if the file is damaged; the line says where.
        OSError: if it cannot be read.
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(Path(path).read_bytes().splitlines(), start=1):
        try:
            token, rank = line.split(b" ")
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            raise ValueError(
                f"line {number} of {path} is no 'base64 rank': the file is damaged, "
                "save the vocabulary again"
            ) from None
    check_ranks(ranks, str(path))
    return ranks


GPT2_FILES = {
    "vocab.json": (
        "encoder.json",
        "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    ),
    "merges.txt": (
        "vocab.bpe",
        "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    ),
}
"""GPT-2's two files: the name at OpenAI, and the SHA-256 of what is inside."""

GPT2_URL = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main"


def download_gpt2_files(folder: str | Path, url: str = GPT2_URL) -> None:
    """Fetch GPT-2's vocabulary into `folder`: `vocab.json` and `merges.txt`, 1.5 MB.

    Raises:
        OSError: if there is no network, or the folder cannot be written.
        ValueError: if what came is not the published file.
    """
    for name, (remote, sha256) in GPT2_FILES.items():
        try:
            with urllib.request.urlopen(f"{url}/{remote}", timeout=30) as reply:
                content = reply.read()
        except OSError as error:
            raise OSError(f"{url}/{remote} cannot be reached: {error}") from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ValueError(f"{url}/{remote} is not the published file; nothing kept")
        _write(Path(folder) / name, content)


def from_gpt2_files(
    vocab_json: str | Path, merges_txt: str | Path
) -> tuple[dict[bytes, int], dict[str, int]]:
    """GPT-2's `vocab.json` and `merges.txt` -> ranks and special tokens.

    The files write each byte as one visible character (`bytes_as_characters`): a space
    is `Ġ`. `merges.txt` has two tokens a line in the order of their merging, after a
    first line `#version`. An entry of `vocab.json` that is no byte and no merge is a
    special token. `to_tiktoken(*from_gpt2_files(...))` is GPT-2's own encoding.

    Raises:
        FileNotFoundError: if a file is missing; says how to get it.
        ValueError: if a file is damaged, or the ids are not in the order of merging.
    """
    for path in (vocab_json, merges_txt):
        if not Path(path).is_file():
            raise FileNotFoundError(
                f"GPT-2's vocabulary is not here: there is no file {path}. With a "
                f'network, download_gpt2_files("{Path(path).parent}") fetches it once.'
            )
    try:
        vocab = json.loads(Path(vocab_json).read_bytes())
        ids = {str(token): int(token_id) for token, token_id in vocab.items()}
    except (ValueError, AttributeError, TypeError):
        raise ValueError(f"{vocab_json} is no JSON table of tokens and ids") from None
    lines = Path(merges_txt).read_bytes().decode(errors="replace").splitlines()
    merges = [line for line in lines if line and not line.startswith("#version")]

    byte_of = {character: byte for byte, character in bytes_as_characters().items()}
    ranks: dict[bytes, int] = {}
    for token in [*byte_of, *(line.replace(" ", "", 1) for line in merges)]:
        if token not in ids or not set(token) <= byte_of.keys():
            raise ValueError(
                f"{merges_txt} and {vocab_json} do not belong together: the token "
                f"{token!r} is not in both"
            )
        ranks[bytes(byte_of[character] for character in token)] = ids.pop(token)
    merged = list(ranks.values())[256:]
    if merged != sorted(merged):
        raise ValueError(f"the ids in {vocab_json} are not in the order of merging")
    check_ranks(ranks, str(vocab_json), also=ids.values())
    return ranks, ids


def bytes_as_characters() -> dict[int, str]:
    """GPT-2's visible character for each byte.

    A byte that is a visible character in Latin-1 stands for itself; the 68 others get
    the characters from U+0100 on, in their order.

    Source: `bytes_to_unicode` in github.com/openai/gpt-2, `src/encoder.py`.
    """
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {
        byte: chr(0x100 + number) for number, byte in enumerate(hidden)
    }


def windows(
    ids: Tensor, context: int, stride: int | None = None
) -> tuple[Tensor, Tensor]:
    """Cut a row of ids into inputs and targets: (L,) -> (N, T), (N, T), T = context.

    `targets[n, t]` is the token right after `inputs[n, t]`. A window begins every
    `stride` tokens (None: every `context`, so that no input token comes twice). What is
    left at the end and fills no window with its last target is dropped:
    N = floor((L - T - 1) / stride) + 1. Both results are views of `ids`.

    >>> inputs, targets = windows(torch.arange(7), context=3)
    >>> inputs.tolist(), targets.tolist()
    ([[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 6]])

    Raises:
        ValueError: if `ids` is no row, `context` or `stride` is less than 1, or there
            are not `context + 1` ids.
    """
    stride = context if stride is None else stride
    if context < 1 or stride < 1:
        raise ValueError(f"context {context}, stride {stride}: expected 1 or more each")
    if ids.dim() != 1 or len(ids) < context + 1:
        raise ValueError(
            f"ids have shape {tuple(ids.shape)}, expected one row of at least "
            f"{context + 1}: {context} inputs and one more target"
        )
    blocks = ids.unfold(0, context + 1, stride)  # (N, T + 1)
    return blocks[:, :-1], blocks[:, 1:]  # (N, T), (N, T)


def batches(
    inputs: Tensor,
    targets: Tensor,
    batch_size: int,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Go through all windows once: (N, T), (N, T) -> pairs of (B, T), B = batch_size.

    In a random order if a generator is given. The last batch may be smaller.

    Raises:
        ValueError: if `batch_size` is less than 1, or inputs and targets do not match.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, expected 1 or more")
    if inputs.shape != targets.shape:
        raise ValueError(
            f"inputs {tuple(inputs.shape)} and targets {tuple(targets.shape)} differ"
        )
    order = torch.arange(len(inputs))
    if generator is not None:
        order = torch.randperm(len(inputs), generator=generator)
    for chosen in order.to(inputs.device).split(batch_size):  # (B,)
        yield inputs[chosen], targets[chosen]  # (B, T), (B, T)


class TokenAndPositionEmbedding(nn.Module):
    """A vector for each token: what it is plus where it stands, (B, T) -> (B, T, C).

        x[b, t] = token_embedding[ids[b, t]] + position_embedding[t]

    Both tables are learned. Without the second, a model that treats all positions alike
    could not tell the order of the tokens.

    Source: Radford et al. 2018, "Improving Language Understanding by Generative
    Pre-Training", equation 2, where the tables are called W_e and W_p.
    """

    def __init__(self, vocab_size: int, context: int, width: int) -> None:
        """`context`: the longest T; `width`: the number of channels C."""
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, width)  # (V, C)
        self.position_embedding = nn.Embedding(context, width)  # (context, C)

    def forward(self, ids: Tensor) -> Tensor:
        """ids (B, T) -> (B, T, C).

        Raises:
            ValueError: if T is more than the context.
        """
        length, context = ids.shape[-1], self.position_embedding.num_embeddings
        if length > context:
            raise ValueError(
                f"{length} tokens do not fit the context of {context}: "
                f"give the last ones, ids[:, -{context}:]"
            )
        positions = torch.arange(length, device=ids.device)  # (T,)
        # (B, T, C) + (T, C): every text has the same positions.
        return self.token_embedding(ids) + self.position_embedding(positions)


def _write(path: Path, content: bytes) -> None:
    """Write under a temporary name, then rename: never half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
