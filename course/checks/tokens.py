"""What the answers of "What a model reads" must satisfy.

Oracles: counts and merges worked out on paper, `tiktoken.Encoding` with GPT-2's
pattern, Python's own UTF-8 decoder, and one-hot matrix products. Vocabularies are
written by hand, in an order in which training could have made them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import tiktoken
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from course.case import Case, Complaint, Exercise, Mistake, build

PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def _word(letters: str) -> tuple[bytes, ...]:
    """A word before any merge: one token per byte."""
    return tuple(bytes([byte]) for byte in letters.encode())


def _pair(letters: str) -> tuple[bytes, ...]:
    return _word(letters)


def _ranks(*tokens: str | bytes) -> dict[bytes, int]:
    """The 256 bytes, then `tokens` in this order."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    for token in tokens:
        ranks[token.encode() if isinstance(token, str) else token] = len(ranks)
    return ranks


def _refusal(answer: Callable, *args: Any) -> str:
    """What must be refused: any exception will do."""
    try:
        answer(*args)
    except Exception:
        return "an exception"
    return "no exception"


def _is_refused(got: str) -> str | None:
    return (
        None if got == "an exception" else "Here your code should raise an exception."
    )


def _encoded(answer: Callable, text: str, tokens_from_256: list) -> Any:
    return _with_ranks(answer, text, tokens_from_256)


def _decoded(answer: Callable, ids: list[int], tokens_from_256: list) -> Any:
    return _with_ranks(answer, ids, tokens_from_256)


def _with_ranks(answer: Callable, given: Any, tokens_from_256: list) -> Any:
    """Call the answer with a whole vocabulary; the verdict names only the merges.

    Raises:
        Complaint: if the answer changes the vocabulary.
    """
    ranks = _ranks(*tokens_from_256)
    before = dict(ranks)
    got = answer(given, ranks)
    if ranks != before:
        raise Complaint(
            "Your code changes its input `ranks`. Leave the caller's data as it was."
        )
    return got


# Pair counts


def pair_counts() -> Iterator[Case]:
    keys = (
        Mistake(
            "The keys are pairs: tuples of two tokens, such as `(b'l', b'o')`, not the "
            "two joined.",
            when=lambda got: got and all(isinstance(key, bytes | str) for key in got),
        ),
        Mistake(
            "The keys hold numbers: iterating over `bytes` gives whole numbers. A word "
            "is a tuple of tokens already, so pair up its elements as they are.",
            when=lambda got: any(isinstance(key[0], int) for key in got),
        ),
    )
    off_the_end = Mistake(
        "Your loop runs over the end: a word of n tokens has n - 1 pairs. "
        "`zip(word, word[1:])` stops in time.",
        raises=IndexError,
    )
    yield Case(
        "two words that share pairs",
        args=({_word("low"): 5, _word("lower"): 2},),
        # lo and ow stand in both words, 5 + 2 times; we and er in the second, 2 times.
        expected={_pair("lo"): 7, _pair("ow"): 7, _pair("we"): 2, _pair("er"): 2},
        mistakes=(
            *keys,
            off_the_end,
            Mistake(
                "Each word is counted once. The number beside it says how often it "
                "occurs in the text: add that number for each of its pairs.",
                equals={_pair("lo"): 2, _pair("ow"): 2, _pair("we"): 1, _pair("er"): 1},
            ),
            Mistake(
                "A pair that stands in two words keeps only the count of the last one. "
                "Add to the count: `counts[pair] = counts.get(pair, 0) + times`.",
                equals={_pair("lo"): 2, _pair("ow"): 2, _pair("we"): 2, _pair("er"): 2},
            ),
            Mistake(
                "There is a pair of the last token of one word and the first token of "
                "the next. Merges never cross words: count inside each word alone.",
                when=lambda got: _pair("wl") in got,
            ),
            Mistake(
                "Only every second pair is counted. Pairs overlap: `low` holds `(l, "
                "o)` and `(o, w)`.",
                equals={_pair("lo"): 7, _pair("we"): 2},
            ),
            Mistake(
                "The order inside a pair matters: `(w, e)` is the `w` before the `e`.",
                when=lambda got: _pair("ew") in got or _pair("ol") in got,
            ),
            Mistake(
                "The last pair of a word is missing: n tokens make n - 1 pairs, and "
                "`range(n)` stops before n.",
                when=lambda got: _pair("we") in got and _pair("er") not in got,
            ),
        ),
    )
    yield Case(
        "three equal letters in a row",
        args=({_word("aaa"): 5, _word("baab"): 1},),
        # aaa: (a, a) at two places, times 5. baab: ba, aa, ab.
        expected={_pair("aa"): 11, _pair("ba"): 1, _pair("ab"): 1},
        mistakes=(
            *keys,
            Mistake(
                "In `aaa` the pair `(a, a)` stands at two places that overlap. Both "
                "count; don't skip over the second, and don't use `count`.",
                equals={_pair("aa"): 6, _pair("ba"): 1, _pair("ab"): 1},
            ),
        ),
    )
    yield Case(
        "tokens of several bytes",
        args=({(b"th", b"e"): 3, (b"e",): 9, (b"the", b"t", b"h"): 2},),
        expected={(b"th", b"e"): 3, (b"the", b"t"): 2, (b"t", b"h"): 2},
        mistakes=(
            off_the_end,
            *keys,
            Mistake(
                "A token stays one piece, however many bytes it has. Pair up the "
                "elements of the word; don't join it and take it apart again.",
                when=lambda got: got.get((b"t", b"h")) != 2 and len(got) > 1,
            ),
            Mistake(
                "A word of one token has no pair.",
                when=lambda got: any(b"" in key or len(key) != 2 for key in got),
            ),
        ),
    )
    yield Case("no words, no pairs", args=({},), expected={})


# Merge


def merge() -> Iterator[Case]:
    unjoined = Mistake(
        "The new token is *one* `bytes`: join the two with `+`. You put a tuple into "
        "the word.",
        when=lambda got: any(isinstance(token, tuple | list) for token in got),
    )
    off_the_end = Mistake(
        "At the last token there is no neighbour to look at: check that there is one "
        "first. A slice, `word[i : i + 2]`, never runs over the end.",
        raises=IndexError,
    )
    lost = "The last token got lost. If it is in no pair, it must be copied, too."
    yield Case(
        "a pair that occurs twice",
        args=(_word("ababc"), _pair("ab")),
        expected=(b"ab", b"ab", b"c"),
        mistakes=(
            off_the_end,
            unjoined,
            Mistake(
                "Return a tuple, `tuple(merged)`: words are keys of a dict, and a list "
                "cannot be a key.",
                when=lambda got: isinstance(got, list),
            ),
            Mistake(
                "Only the first occurrence is merged. Go on to the end of the word.",
                equals=(b"ab", b"a", b"b", b"c"),
            ),
            Mistake(
                "After a merge, go on *two* tokens further: the second token of the "
                "pair is used up, and here it is still there.",
                equals=(b"ab", b"b", b"ab", b"b", b"c"),
            ),
            Mistake(lost, equals=(b"ab", b"ab")),
            Mistake("Nothing is merged yet.", equals=_word("ababc")),
        ),
    )
    yield Case(
        "five equal tokens in a row: from left to right",
        args=(_word("aaaaa"), _pair("aa")),
        expected=(b"aa", b"aa", b"a"),
        mistakes=(
            off_the_end,
            unjoined,
            Mistake(
                "You merge from right to left. The first two go together, then the "
                "next two; the last one stays alone.",
                equals=(b"a", b"aa", b"aa"),
            ),
            Mistake(
                "A token is used twice: after a merge, go on two tokens further.",
                when=lambda got: sum(map(len, got)) > 5,
            ),
            Mistake(
                "Merged tokens are merged again. One call merges this pair only, once "
                "from left to right.",
                when=lambda got: any(len(token) > 2 for token in got),
            ),
            Mistake(lost, equals=(b"aa", b"aa")),
        ),
    )
    yield Case(
        "the pair at the end, and the two tokens the other way round",
        args=(_word("babca" + "ab"), _pair("ab")),
        expected=(b"b", b"ab", b"c", b"a", b"ab"),
        mistakes=(
            off_the_end,
            unjoined,
            Mistake(
                "`(b, a)` is another pair than `(a, b)`: the order matters.",
                when=lambda got: b"ba" in got,
            ),
            Mistake(
                "The pair at the end of the word is not merged: your loop ends too "
                "early.",
                equals=(b"b", b"ab", b"c", b"a", b"a", b"b"),
            ),
            Mistake(lost, equals=(b"b", b"ab", b"c", b"a")),
        ),
    )
    yield Case(
        "other pairs that spell the same bytes",
        args=((b"ab", b"c", b"a", b"bc", b"abc", b"a"), (b"a", b"bc")),
        expected=(b"ab", b"c", b"abc", b"abc", b"a"),
        mistakes=(
            off_the_end,
            unjoined,
            Mistake(
                "`(ab, c)` spells the same bytes as `(a, bc)`, but it is not the pair. "
                "Compare token with token; don't join them first.",
                when=lambda got: got[0] == b"abc" or got == (b"abc",) * 3 + (b"a",),
            ),
            Mistake(
                "A token stays one piece. Go through the elements of the word; don't "
                "join it and search in the bytes.",
                when=lambda got: b"ab" not in got,
            ),
        ),
    )
    yield Case(
        "a word of one token stays as it is",
        args=((b"a",), _pair("ab")),
        expected=(b"a",),
        mistakes=(off_the_end, Mistake(lost, equals=())),
    )


# Training


def _learned(answer: Callable, text: str, vocab_size: int) -> list[bytes] | None:
    """The tokens that training added to the 256 bytes, in their order."""
    ranks = answer(text, vocab_size)
    if ranks is None:
        return None
    if not isinstance(ranks, dict) or not all(isinstance(key, bytes) for key in ranks):
        kind = "tokens that are not `bytes`" if isinstance(ranks, dict) else "no dict"
        raise Complaint(
            f"Your code returned {kind}. A vocabulary maps each token, as `bytes`, to "
            "its rank: `{b'a': 97, ...}`."
        )
    for byte in range(256):
        if ranks.get(bytes([byte])) != byte:
            raise Complaint(
                "The vocabulary begins with all 256 single bytes, and the rank of each "
                f"is its own value. Yours has {ranks.get(bytes([byte]))} for the byte "
                f"{byte}. Begin with `{{bytes([b]): b for b in range(256)}}`."
            )
    if sorted(ranks.values()) != list(range(len(ranks))):
        raise Complaint(
            f"The {len(ranks)} ranks are not 0 to {len(ranks) - 1}, each once. A new "
            "token gets the next rank: `ranks[token] = len(ranks)`."
        )
    return sorted(ranks, key=ranks.get)[256:]


def train_bpe() -> Iterator[Case]:
    learn = {"call": _learned}
    one_less = "One token is missing: `vocab_size` counts the bytes and the merges."
    one_more = (
        "There is a token too many: stop as soon as there are `vocab_size` of them."
    )
    whole = Mistake(
        "`vocab_size` includes the 256 bytes: 259 tokens are 3 merges, not 259.",
        when=lambda got: len(got) > 10,
    )
    crossing = Mistake(
        "A token crosses two words. Cut the text with `pre_tokenize` first, and count "
        "and merge inside each word only.",
        when=lambda got: any(b" " in token[1:] or b"," in token for token in got),
    )
    spaces = (
        "The space belongs to the word after it, ` x`. Cut the text with "
        "`pre_tokenize`; `split()` throws the spaces away."
    )
    characters = Mistake(
        "There are only 256 bytes. The loop over `bytes([b])` runs from 0 to 255, "
        "not to `vocab_size`; what comes after is merged.",
        raises=ValueError,
        mentions="range(0, 256)",
    )
    endless = Mistake(
        "A loop never ends. Does every round add a *new* token, and are the pairs "
        "counted again after each merge, in the merged words?",
        raises=TimeoutError,
    )
    starved = Mistake(
        "No pair was left, though there should be one. Does every word start as single "
        "bytes, its space included? Did you count `vocab_size` merges on top of the "
        "256 bytes?",
        raises=ValueError,
    )
    yield Case(
        "three merges, no two pairs equally frequent",
        args=("abc abc abc bcd", 259),
        # Words: abc 1, " abc" 2, " bcd" 1. Pairs: bc 4, ab 3, " a" 2, " b" 1, cd 1.
        # Then (a, bc) 3, (" ", a) 2, (" ", bc) 1, (bc, d) 1. Then (" ", abc) 2.
        expected=[b"bc", b"abc", b" abc"],
        **learn,
        mistakes=(
            Mistake(
                "These are the three most frequent pairs of the *first* count. Each "
                "merge makes new pairs: count again after it.",
                equals=[b"bc", b"ab", b" a"],
            ),
            Mistake(one_less, equals=[b"bc", b"abc"]),
            Mistake(one_more, when=lambda got: len(got) == 4),
            whole,
            characters,
            endless,
            starved,
            crossing,
            Mistake(spaces, equals=[b"bc", b"abc", b"bcd"]),
            Mistake(
                "You merge the *least* frequent pair. The most frequent one comes "
                "first.",
                when=lambda got: got[0] in (b"cd", b" b"),
            ),
        ),
    )
    yield Case(
        "pairs across two words",
        args=("x, x, x, y,", 258),
        # Words: x, ",", " x", ",", " x", ",", " y", ",". Pairs: (" ", x) 2, (" ", y) 1.
        expected=[b" x", b" y"],
        **learn,
        mistakes=(
            crossing,
            Mistake(spaces, raises=ValueError),
            whole,
        ),
    )
    yield Case(
        "a word that occurs often counts often",
        args=("cd\ncd\ncd\nae\nae\nab", 258),
        # Words: cd 3, ae 2, ab 1, and the ends of lines. One pair each.
        expected=[b"cd", b"ae"],
        **learn,
        mistakes=(
            crossing,
            Mistake(
                "Each *distinct* word is counted once. A word that occurs three times "
                "counts three times.",
                when=lambda got: got[0] == b"ab",
            ),
        ),
    )
    yield Case(
        "equally frequent pairs: the smaller one first",
        args=("dc ba dc ba", 259),
        # Words: dc, " ba", " dc", " ba". Pairs: (" ", b) 2, (b, a) 2, (d, c) 2,
        # (" ", d) 1. The smallest is (" ", b). Then (" b", a) 2 before (d, c) 2.
        expected=[b" b", b" ba", b"dc"],
        **learn,
        mistakes=(
            Mistake(
                "Of equally frequent pairs you take the *largest*. Take the smallest: "
                "`min(counts, key=lambda pair: (-counts[pair], pair))`.",
                equals=[b"dc", b"ba", b" ba"],
            ),
            Mistake(
                "Of equally frequent pairs you take the one that was counted first. So "
                "that everybody gets the same vocabulary, take the smallest: "
                "`min(counts, key=lambda pair: (-counts[pair], pair))`.",
                when=lambda got: got[0] == b"dc" or got[1] == b"dc",
            ),
            starved,
        ),
    )
    yield Case(
        "Korean: the bytes are merged, not the characters",
        args=("안녕 안녕 안경", 259),
        # 안 is EC 95 88, 녕 is EB 85 95, 경 is EA B2 BD. (EC, 95) and (95, 88) both
        # occur 3 times, and 95 < EC. Then (EC, 95 88) 3. Then, of the pairs that occur
        # twice, (20, 안) is the smallest.
        expected=[b"\x95\x88", "안".encode(), " 안".encode()],
        **learn,
        mistakes=(
            Mistake(
                "Your first merge is of whole characters. Start from single bytes: "
                "`tuple(bytes([b]) for b in word)`.",
                when=lambda got: len(got[0]) > 2,
            ),
        ),
    )
    yield Case(
        "more tokens than the text can give: an exception",
        args=("abab", 300),
        call=lambda answer, text, vocab_size: _refusal(answer, text, vocab_size),
        judge=_is_refused,
        mistakes=(
            Mistake(
                "After `ab` and `abab` no pair is left, but your code returned fewer "
                "tokens than asked for, without a word. Raise a `ValueError`.",
                equals="no exception",
            ),
        ),
    )


# Encoding


def encode() -> Iterator[Case]:
    def case(title: str, text: str, new: list[str | bytes], *mistakes: Mistake) -> Case:
        ranks = _ranks(*new)
        theirs = tiktoken.Encoding(
            "check", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={}
        )
        characters = Mistake(
            "The keys of `ranks` are `bytes`, and every single byte is a key. Look up "
            "bytes, not characters: `bytes([b])` for each `b` of a word.",
            raises=KeyError,
        )
        unmerged = Mistake(
            "Nothing is merged: these are the single bytes.",
            equals=list(text.encode()),
        )
        tokens = Mistake(
            "These are the tokens. Return their ids: `ranks[token]`.",
            when=lambda got: any(isinstance(item, bytes | str) for item in got),
        )
        common = (tokens, unmerged, characters) if text else (characters,)
        return Case(
            title,
            args=(text, new),
            call=_encoded,
            expected=theirs.encode_ordinary(text),
            mistakes=(*mistakes, *common),
        )

    yield case(
        "one word",
        "hugs",
        ["ug", "hug"],
        Mistake(
            "Your code stops after one merge. Go on until no two neighbours join to a "
            "token.",
            equals=[104, 256, 115],
        ),
    )
    yield case(
        "the lowest rank goes first, not the highest",
        "abc",
        ["ab", "bc"],
        Mistake(
            "You merge the highest rank first. Training made the lowest rank first: "
            "`ab` here.",
            equals=[97, 257],
        ),
    )
    yield case(
        "the lowest rank goes first, not the leftmost pair",
        "abcd",
        ["bc", "ab", "cd"],
        Mistake(
            "You merge from left to right, or take the longest token that fits. The "
            "pair with the *lowest rank* goes first, as in training: `bc` here.",
            equals=[257, 258],
        ),
    )
    yield case(
        "a merge makes new neighbours, and they may join as well",
        "abcabcabc",
        ["bc", "abc", "abcabc"],
        Mistake(
            "A word that is no token as a whole still joins further: `abc` and `abc` "
            "are a token together. Go on until no two neighbours join.",
            equals=[257, 257, 257],
        ),
        Mistake(
            "You merge from right to left. Of equal pairs the leftmost goes first.",
            equals=[257, 258],
        ),
    )
    yield case(
        "spaces, cut as in training",
        "a  b",
        ["  ", " b"],
        Mistake(
            "Spaces of two words were joined. Cut the text with `pre_tokenize` first: "
            "the last space belongs to the next word.",
            equals=[97, 256, 98],
        ),
    )
    yield case(
        "Korean, in tokens of one, two and three bytes",
        "안녕 안과 annyeong",
        [b"\x95\x88", "안", " 안", "an", b"\xeb\x85"],
        Mistake(
            "An id is the rank of some bytes. You looked up characters by number.",
            when=lambda got: max(got) > 260,
        ),
    )
    yield case("an empty text has no ids", "", ["ab"])
    yield case("fifty equal letters", "a" * 50 + "!", ["aa", "aaaa", "a" * 8])


# Decoding


def decode() -> Iterator[Case]:
    per_token = (
        "Each token is decoded by itself. A character may be spread over several "
        "tokens: join all bytes first, then decode once."
    )
    strict = Mistake(
        "Ids may be anything a model writes, also bytes that are no text. Decode with "
        '`errors="replace"`. And join all tokens first: one token may hold a part of a '
        "character.",
        raises=UnicodeDecodeError,
    )
    as_bytes = Mistake(
        "These are bytes. Decode them to a `str`.",
        when=lambda got: isinstance(got, bytes),
    )
    backwards = Mistake(
        "`ranks` goes from tokens to ids. You need the other direction: "
        "`{rank: token for token, rank in ranks.items()}`.",
        raises=KeyError,
    )
    yield Case(
        "tokens of letters",
        args=([257, 32, 104, 105, 257], ["th", "the"]),
        call=_decoded,
        expected="the hithe",
        mistakes=(
            as_bytes,
            backwards,
            Mistake(backwards.hint, raises=TypeError),
            Mistake(
                "There is something between the tokens. Spaces are bytes of the tokens "
                'themselves: join with `b""`.',
                when=lambda got: len(got) > 9,
            ),
            Mistake(
                "An id is no code point: look its token up in `ranks`.",
                when=lambda got: "\u0101" in got,
            ),
            Mistake(backwards.hint, raises=AttributeError),
        ),
    )
    yield Case(
        "a character spread over two tokens",
        # 안 is EC 95 88, 녕 is EB 85 95.
        args=([0xEC, 256, 0xEB, 0x85, 0x95], [b"\x95\x88"]),
        call=_decoded,
        expected="안녕",
        mistakes=(
            as_bytes,
            Mistake(per_token, raises=UnicodeDecodeError),
            Mistake(per_token, when=lambda got: "\ufffd" in got or got == ""),
            Mistake(
                "These are the bytes read as another alphabet. The text is UTF-8.",
                when=lambda got: len(got) == 6,
            ),
        ),
    )
    yield Case(
        "bytes that are no UTF-8",
        args=([65, 0xEC, 0x95, 66, 0xFF], []),
        call=_decoded,
        expected=b"A\xec\x95B\xff".decode("utf-8", "replace"),
        mistakes=(
            as_bytes,
            strict,
            Mistake(
                "Bytes that are no text have vanished, and nobody would notice. "
                '`errors="replace"` shows where they were.',
                equals="AB",
            ),
            Mistake(
                '`errors="replace"` puts the replacement character in their place.',
                when=lambda got: "\\x" in got or "?" in got or "\udcff" in got,
            ),
            Mistake(
                "One replacement character for each byte: these are tokens decoded one "
                "by one. Join all bytes first, then decode once.",
                equals="A\ufffd\ufffdB\ufffd",
            ),
        ),
    )
    yield Case("no ids, no text", args=([], []), call=_decoded, expected="")
    yield Case(
        "an id that is not in the vocabulary: an exception",
        args=([65, 300], ["ab"]),
        call=lambda answer, ids, tokens_from_256: _refusal(
            _with_ranks, answer, ids, tokens_from_256
        ),
        judge=_is_refused,
        mistakes=(
            Mistake(
                "The id 300 is not in the vocabulary of 257 tokens, and your code left "
                "it out without a word. Let it fail: look ids up with `[...]`.",
                equals="no exception",
            ),
        ),
    )


# Windows


def windows() -> Iterator[Case]:
    ids = torch.tensor([7, 1, 8, 2, 9, 3, 5, 4])
    inputs, targets = torch.tensor([[7, 1, 8], [2, 9, 3]]), [[1, 8, 2], [9, 3, 5]]
    targets = torch.tensor(targets)
    one_result = Mistake(
        "Return two tensors, inputs and targets: `return inputs, targets`.",
        when=lambda got: isinstance(got, Tensor),
    )
    stack = Mistake(
        "Rows of different lengths, or none, cannot become one tensor. Leave out the "
        "last window if it, or its last target, is not complete.",
        raises=RuntimeError,
    )
    ragged = Mistake(stack.hint, raises=ValueError)
    yield Case(
        "eight ids, context 3: two windows, two ids left",
        args=(ids, 3),
        expected=(inputs, targets),
        mistakes=(
            one_result,
            stack,
            ragged,
            Mistake(
                "Targets are equal to inputs. The model would be asked for the token "
                "it already sees: shift the targets by one.",
                equals=(inputs, inputs),
            ),
            Mistake("Inputs and targets are swapped.", equals=(targets, inputs)),
            Mistake(
                "The targets are *two* tokens on. The target is the very next token.",
                equals=(inputs, torch.tensor([[8, 2, 9], [3, 5, 4]])),
            ),
            Mistake(
                "The last target of a window is its first token again: you rolled the "
                "window. It is the first token *after* the window.",
                equals=(inputs, torch.tensor([[1, 8, 7], [9, 3, 2]])),
            ),
            Mistake(
                "The target is one number per window. Every position has a target: the "
                "token after it.",
                when=lambda got: got[1].shape != got[0].shape and got[1].dim() == 1,
            ),
            Mistake(
                "The windows are one token too short. Inputs have `context` tokens, so "
                "cut `context + 1` ids and drop the last for the inputs, the first for "
                "the targets.",
                when=lambda got: got[0].shape[1] == 2,
            ),
            Mistake(
                "The windows overlap. Without `stride` a window begins where the last "
                "one ended: every `context` tokens.",
                when=lambda got: len(got[0]) == 5,
            ),
        ),
    )
    yield Case(
        "seven ids, context 3: they fit exactly",
        args=(ids[:7], 3),
        expected=(inputs, targets),
        mistakes=(
            one_result,
            stack,
            ragged,
            Mistake(
                "The last window is complete, targets included, but it is missing. It "
                "may begin at `len(ids) - context - 1`; `range` stops before its end.",
                equals=(inputs[:1], targets[:1]),
            ),
        ),
    )
    yield Case(
        "six ids, context 3: the second window lacks its last target",
        args=(ids[:6], 3),
        expected=(inputs[:1], targets[:1]),
        mistakes=(
            one_result,
            stack,
            ragged,
            Mistake(
                "The second window has no last target. Drop what is not complete.",
                when=lambda got: len(got[0]) == 2,
            ),
        ),
    )
    by_two = torch.tensor([[7, 1, 8], [8, 2, 9], [9, 3, 5]])
    ignored = "`stride` has no effect: a window begins every `stride` tokens."
    yield Case(
        "stride 2: the windows overlap",
        args=(ids, 3, 2),
        expected=(by_two, torch.tensor([[1, 8, 2], [2, 9, 3], [3, 5, 4]])),
        mistakes=(
            one_result,
            stack,
            ragged,
            Mistake(ignored, equals=(inputs, targets)),
            Mistake(
                "`stride` is the distance between two beginnings. You left `stride` "
                "tokens out between two windows.",
                when=lambda got: got[0].tolist()[1:] == [[3, 5, 4]] or len(got[0]) == 1,
            ),
        ),
    )
    yield Case(
        "stride 5, context 2: some ids are in no window",
        args=(ids, 2, 5),
        expected=(torch.tensor([[7, 1], [3, 5]]), torch.tensor([[1, 8], [5, 4]])),
        mistakes=(
            one_result,
            stack,
            ragged,
            Mistake(ignored, when=lambda got: len(got[0]) == 3),
        ),
    )
    yield Case(
        "too few ids for one window: an exception",
        args=(ids[:3], 3),
        call=lambda answer, ids, context: _refusal(answer, ids, context),
        judge=_is_refused,
        mistakes=(
            Mistake(
                "Three ids are three inputs and only two targets, yet your code "
                "returned something. Raise a `ValueError`: a training run without data "
                "should stop at once.",
                equals="no exception",
            ),
        ),
    )


# Embeddings


def _tables(vocab_size: int, context: int, width: int) -> tuple[Tensor, Tensor]:
    """Tables that can be added in one's head: token 3 is 3.0, 3.1, 3.2, ...

    The place t is 100 (t + 1), and 10 more for each channel.
    """
    channels = torch.arange(width)
    tokens = torch.arange(vocab_size)[:, None] + channels / 10
    positions = 100 * (torch.arange(context)[:, None] + 1.0) + 10 * channels
    return tokens, positions


def _embedded(cls: type, ids: Tensor, tokens: Tensor, positions: Tensor) -> Tensor:
    """What the reader's module makes of `ids` with these tables, differentiably."""
    state = {
        "token_embedding.weight": tokens,
        "position_embedding.weight": positions,
    }
    sizes = len(tokens), len(positions), tokens.shape[1]
    module = build(cls, *sizes, state=_detached(state), device=ids.device)
    return torch.func.functional_call(module, state, (ids,))


class _OneDevice(TorchFunctionMode):
    """Refuses what a GPU would: one operation on tensors of two devices."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        tensors = [value for value in args if isinstance(value, Tensor) and value.dim()]
        if len({tensor.device for tensor in tensors}) > 1:
            raise RuntimeError("tensors on two devices")
        return func(*args, **(kwargs or {}))


def _refused(cls: type, ids: Tensor, tokens: Tensor, positions: Tensor) -> str:
    return _refusal(_embedded, cls, ids, tokens, positions)


def _where_new_tensors_go(
    cls: type, ids: Tensor, tokens: Tensor, positions: Tensor
) -> str:
    """Whether tensors made inside the module follow its input, without a second device.

    While the default device is "meta", a tensor made without `device=` ends up there.
    """
    state = {
        "token_embedding.weight": tokens,
        "position_embedding.weight": positions,
    }
    module = build(cls, len(tokens), len(positions), tokens.shape[1], state=state)
    try:
        with torch.device("meta"), _OneDevice():
            module(ids)
    except NotImplementedError:
        pass  # moved to the device of the input, which "meta" cannot do: that is right
    except RuntimeError:
        return "some on the default device"
    return "all on the device of the ids"


def _detached(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in state.items()}


def _one_hot(ids: Tensor, tokens: Tensor, positions: Tensor) -> Tensor:
    """The same by matrix products: each one-hot row picks a row of a table."""
    length = ids.shape[1]
    what = F.one_hot(ids, len(tokens)).to(tokens) @ tokens  # (B, T, C)
    where = torch.eye(len(positions), device=ids.device)[:length] @ positions  # (T, C)
    return what + where


def token_and_position_embedding() -> Iterator[Case]:
    tokens, positions = _tables(11, 7, 5)
    ids = torch.tensor([[3, 3, 10], [0, 3, 1]])
    what = tokens[ids]
    right = _one_hot(ids, tokens, positions)
    by_ids = Mistake(
        "The rows of the position table are chosen by the *place* of a token, 0 to "
        "T - 1, not by its id: use `torch.arange(T)`.",
        raises=IndexError,
    )
    shapes = Mistake(
        "The shapes do not fit. The positions are `torch.arange(T)` with T = "
        "`ids.shape[1]`, so their vectors have shape (T, C) and broadcast over B.",
        raises=RuntimeError,
    )
    yield Case(
        "two texts of three tokens",
        args=(ids, tokens, positions),
        call=_embedded,
        expected=_one_hot,
        gradient=True,
        mistakes=(
            by_ids,
            shapes,
            Mistake(
                "The positions are forgotten: the token 3 has the same vector wherever "
                "it stands. Add a row of the position table.",
                equals=what,
            ),
            Mistake(
                "The tokens are forgotten: only the positions are there.",
                equals=positions[:3].expand(2, 3, 5),
            ),
            Mistake(
                "Positions run over the *texts*: each text has one position for all "
                "its tokens. They run over time, axis 1.",
                equals=what + positions[:2, None],
            ),
            Mistake(
                "Every token gets the *last* position, or the same one. There are T "
                "positions: `torch.arange(T)`.",
                when=lambda got: bool(torch.allclose(got[0, 0], got[0, 1])),
            ),
            Mistake(
                "Positions begin at 1 here. The first token has position 0.",
                equals=what + positions[1:4],
            ),
            Mistake(
                "The *last* T rows of the position table are added. Positions begin at "
                "0: take the first T.",
                equals=what + positions[-3:],
            ),
            Mistake(
                "The vectors are multiplied. Add them.", equals=what * positions[:3]
            ),
            Mistake(
                "The vectors stand side by side, so the width has doubled. Add them.",
                when=lambda got: got.shape == (2, 3, 10),
            ),
            Mistake(
                "The numbers 0, 1, 2 of the positions are added themselves. Look up "
                "their rows in the position table.",
                equals=what + torch.arange(3.0)[:, None],
            ),
            Mistake(
                "The token vectors are multiplied by the square root of the width, as "
                "in the first Transformer. GPT adds them as they are.",
                equals=right + what * (5**0.5 - 1),
            ),
        ),
    )
    yield Case(
        "the module and the ids on a device that is not the default",
        args=(ids, tokens, positions),
        call=_where_new_tensors_go,
        expected="all on the device of the ids",
        mistakes=(
            Mistake(
                "The positions are made on the default device, so this fails on a GPU: "
                "`torch.arange(T, device=ids.device)`.",
                equals="some on the default device",
            ),
        ),
    )
    longest = torch.tensor([[5, 4, 3, 2, 1, 0, 9]])
    yield Case(
        "one text as long as the context",
        args=(longest, tokens, positions),
        call=_embedded,
        expected=_one_hot,
        mistakes=(by_ids, shapes),
    )
    yield Case(
        "a text longer than the context: an exception",
        args=(torch.tensor([[1, 2, 3, 4]]), *_tables(5, 3, 2)),
        call=_refused,
        judge=_is_refused,
        mistakes=(
            Mistake(
                "There are four tokens and three positions, yet your code returned "
                "something. A position that was never learned must not be made up: "
                "raise a `ValueError`.",
                equals="no exception",
            ),
        ),
    )


EXERCISES = (
    Exercise(
        "pair_counts",
        difficulty=1,
        minutes=10,
        hints=(
            "Take one word, `(l, o, w)`, and write down its pairs. How many are there "
            "for n tokens?",
            "`zip(word, word[1:])` gives each token with its right neighbour. A "
            "`Counter` starts every count at 0.",
            "for each word and its number of times:\n"
            "    for each pair in zip(word, word[1:]):\n"
            "        add the number of times to counts[pair]\nreturn counts",
        ),
        cases=pair_counts,
    ),
    Exercise(
        "merge",
        difficulty=2,
        minutes=12,
        hints=(
            "How far do you go on after a merge, and how far otherwise? A `for` loop "
            "always goes one step.",
            "Use `while i < len(word)`. The slice `word[i : i + 2]` is the token and "
            "its neighbour, and at the end only the token.",
            "merged = []; i = 0\nwhile i is inside:\n"
            "    if word[i : i + 2] == pair:\n"
            "        append pair[0] + pair[1]; add 2 to i\n"
            "    otherwise:\n        append word[i]; add 1 to i\n"
            "return tuple(merged)",
        ),
        cases=merge,
    ),
    Exercise(
        "train_bpe",
        difficulty=3,
        minutes=25,
        hints=(
            "You have both parts: `pair_counts` finds the pair, `merge` merges it. "
            "What must be counted again after each merge?",
            "Keep a dict from word (a tuple of single bytes at first) to how often it "
            "occurs: `Counter(pre_tokenize(text))` gives you the words. The pair is "
            "`min(counts, key=lambda pair: (-counts[pair], pair))`.",
            "ranks = the 256 bytes, each with its number\n"
            "words = {tuple(bytes([b]) for b in word): times\n"
            "    for word, times in Counter(pre_tokenize(text)).items()}\n"
            "while len(ranks) < vocab_size:\n"
            "    counts = pair_counts(words); if it is empty: raise ValueError\n"
            "    pair = the one with the highest count\n"
            "    ranks[pair[0] + pair[1]] = len(ranks)\n"
            "    words = {merge(word, pair): times for word, times in words.items()}\n"
            "return ranks",
        ),
        cases=train_bpe,
    ),
    Exercise(
        "encode",
        difficulty=3,
        minutes=20,
        hints=(
            "Encoding repeats the merges of training, in the same order. How can you "
            "see from two neighbours when training merged them?",
            "For each word: among its pairs, find the one whose joined bytes have the "
            "lowest rank. `ranks.get(joined, math.inf)` also works where there is "
            "none.",
            "for word in pre_tokenize(text):\n"
            "    tokens = tuple of single bytes\n"
            "    while there are two or more:\n"
            "        pair = min(zip(tokens, tokens[1:]), key=rank of the joined pair)\n"
            "        if the joined pair is not in ranks: stop\n"
            "        tokens = merge(tokens, pair)\n"
            "    append ranks[token] for each token",
        ),
        cases=encode,
    ),
    Exercise(
        "decode",
        difficulty=1,
        minutes=8,
        hints=(
            "`ranks` leads from bytes to ids. Which dict do you need here?",
            "Turn it around: `{rank: token for token, rank in ranks.items()}`. How "
            "many times may you call `.decode`?",
            "tokens = {rank: token for token, rank in ranks.items()}\n"
            'whole = b"".join(tokens[i] for each id i)\n'
            'return whole.decode("utf-8", errors="replace")',
        ),
        cases=decode,
    ),
    Exercise(
        "windows",
        difficulty=2,
        minutes=15,
        hints=(
            "A window of T inputs needs T + 1 ids. Where may the last window begin?",
            "Cut blocks of `context + 1` ids. All but the last id of a block are "
            "inputs, all but the first are targets. A block begins at 0, stride, 2 * "
            "stride, ...",
            "starts = range(0, len(ids) - context, stride)\n"
            "if there are none: raise ValueError\n"
            "blocks = torch.stack([ids[s : s + context + 1] for s in starts])\n"
            "return blocks[:, :-1], blocks[:, 1:]",
        ),
        cases=windows,
    ),
    Exercise(
        "TokenAndPositionEmbedding",
        difficulty=2,
        minutes=12,
        hints=(
            "You need two tables: one has a row for each token, the other a row for "
            "each place. `nn.Embedding(rows, width)` is such a table.",
            "The ids choose rows of the first table: (B, T, C). "
            "`torch.arange(T, device=ids.device)` chooses rows of the second: (T, C).",
            "in __init__:\n    super().__init__()\n"
            "    self.token_embedding = nn.Embedding(vocab_size, width)\n"
            "    self.position_embedding = nn.Embedding(context, width)\n"
            "in forward:\n    positions = torch.arange(T, device=ids.device)\n"
            "    return self.token_embedding(ids) + self.position_embedding(positions)",
        ),
        cases=token_and_position_embedding,
    ),
)
