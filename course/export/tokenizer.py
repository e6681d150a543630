"""Our tokenizer as `tokenizer.json`, which the Hugging Face libraries read, and back.

A vocabulary of tiktoken is a rank for each token, and no more: of two neighbours, any
that join to a token are merged, those of the lowest rank first. Elsewhere a vocabulary
comes with a list of merges, the pairs that may be joined, in the order of their
importance. `merges` derives the list from the ranks, and both encode alike.

Why: say a token is made somewhere in a word. Until then no merge has crossed its
borders, so inside them the same merges were made, in the same order, as in a word that
is this token alone. There the last pair is always the same one. So each token is made
of one pair only, wherever it stands, and it is enough to allow that pair.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from solutions.tokens import bytes_as_characters, check_ranks

VISIBLE = bytes_as_characters()
"""GPT-2's visible character for each byte: what tokens are written with in files."""


def visible(token: bytes) -> str:
    """A token as files have it.

    >>> visible(" 안".encode())
    'ĠìķĪ'
    """
    return "".join(VISIBLE[byte] for byte in token)


def merges(ranks: Mapping[bytes, int]) -> list[tuple[bytes, bytes]]:
    """The pair that each token is made of, in the order of the ranks.

    >>> ranks = {bytes([byte]): byte for byte in range(256)}
    >>> merges({**ranks, b"ug": 256, b"hug": 257})
    [(b'u', b'g'), (b'h', b'ug')]

    Raises:
        ValueError: if a token cannot be made of others. tiktoken would use it for a
            word that is this token alone, and a tokenizer with merges never.
    """
    longer = sorted((t for t in ranks if len(t) > 1), key=ranks.__getitem__)
    return [last_merge(token, ranks) for token in longer]


def last_merge(token: bytes, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes]:
    """The two parts that are left before the token is whole.

    Raises:
        ValueError: if the merging stops before.
    """
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        places = enumerate(pairwise(parts))
        rank, cut = min((ranks.get(a + b, math.inf), place) for place, (a, b) in places)
        if rank == math.inf:
            raise ValueError(
                f"the token {token!r} cannot be made of two others of this vocabulary: "
                "no tokenizer with a list of merges reads like it"
            )
        parts[cut : cut + 2] = [parts[cut] + parts[cut + 1]]
    return parts[0], parts[1]


def to_json(ranks: Mapping[bytes, int], special_tokens: Mapping[str, int]) -> str:
    """The text of `tokenizer.json`.

    Special tokens are found in any text, as in tiktoken with `allowed_special="all"`.

    Raises:
        ValueError: if a token cannot be made of others.
    """
    # Only what reads or writes such files needs the library.
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    vocab = {visible(token): rank for token, rank in ranks.items()}
    pairs = [(visible(a), visible(b)) for a, b in merges(ranks)]
    tokenizer = Tokenizer(models.BPE({**vocab, **special_tokens}, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in special_tokens]
    )
    return tokenizer.to_str(pretty=True) + "\n"


def from_json(path: str | Path) -> tuple[dict[bytes, int], dict[str, int]]:
    """A `tokenizer.json` -> ranks and special tokens, as `to_tiktoken` takes them.

    Raises:
        ValueError: if the file is damaged, or its tokenizer is not built like GPT-2's.
    """
    from tokenizers import Tokenizer

    try:
        # Written again, so that older files have the form of today's.
        told = json.loads(Tokenizer.from_file(str(path)).to_str())
    except Exception as error:  # the library raises no other kind
        raise ValueError(
            f"{path} cannot be read ({error}): copy or save it again"
        ) from None
    special_tokens = {token["content"]: token["id"] for token in told["added_tokens"]}
    byte_of = {character: byte for byte, character in VISIBLE.items()}
    try:
        ranks = {
            bytes(byte_of[character] for character in token): rank
            for token, rank in told["model"]["vocab"].items()
            if token not in special_tokens
        }
        pairs = [[visible(a), visible(b)] for a, b in merges(ranks)]
    except (KeyError, TypeError, AttributeError, ValueError):
        pairs = None
    cut = told["pre_tokenizer"] or {}
    if (
        pairs is None
        or told["model"].get("merges") != pairs
        or told["normalizer"] is not None
        or cut.get("type") != "ByteLevel"
        or cut["add_prefix_space"]
        or not cut["use_regex"]
    ):
        raise ValueError(
            f"{path} is a tokenizer of another kind than GPT-2's: take a model that "
            "is built like GPT-2, with its tokenizer"
        )
    check_ranks(ranks, str(path), also=special_tokens.values())
    return ranks, special_tokens
