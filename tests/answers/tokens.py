"""Answers to "What a model reads": right in other ways, and plausibly wrong."""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from itertools import chain, pairwise

import torch
import torch.nn.functional as F
from torch import nn

from solutions.tokens import pre_tokenize
from tests.answers import right, wrong

# Pair counts


@right("pair_counts")
def adds_to_a_plain_dict(words):
    counts = {}
    for word in words:
        for i in range(len(word) - 1):
            pair = word[i], word[i + 1]
            counts[pair] = counts.get(pair, 0) + words[word]
    return counts


@right("pair_counts")
def returns_a_defaultdict(words):
    counts = defaultdict(int)
    for word, times in words.items():
        for pair in zip(word, word[1:]):
            counts[pair] += times
    return counts


@right("pair_counts")
def multiplies_a_list_of_pairs(words):
    return Counter(
        chain.from_iterable(list(pairwise(word)) * n for word, n in words.items())
    )


@wrong("pair_counts", says="Each word is counted once")
def ignores_how_often(words):
    return dict(Counter(pair for word in words for pair in zip(word, word[1:])))


@wrong("pair_counts", says="two places that overlap")
def skips_overlaps(words):
    counts = Counter()
    for word, times in words.items():
        i = 0
        while i < len(word) - 1:
            pair = word[i], word[i + 1]
            counts[pair] += times
            # as `str.count` does
            i += 2 if i + 2 < len(word) and word[i + 1 : i + 3] == pair else 1
    return dict(counts)


@wrong("pair_counts", says="never cross words")
def counts_across_words(words):
    tokens = [token for word, times in words.items() for token in word * times]
    return dict(Counter(zip(tokens, tokens[1:])))


@wrong("pair_counts", says="keeps only the count of the last one")
def overwrites(words):
    counts = {}
    for word, times in words.items():
        for pair in zip(word, word[1:]):
            counts[pair] = times
    return counts


@wrong("pair_counts", says="n - 1 pairs")
def runs_over_the_end(words):
    counts = Counter()
    for word, times in words.items():
        for i in range(len(word)):
            counts[word[i], word[i + 1]] += times
    return dict(counts)


@wrong("pair_counts", says="last pair of a word is missing")
def stops_too_early(words):
    counts = Counter()
    for word, times in words.items():
        for i in range(len(word) - 2):
            counts[word[i], word[i + 1]] += times
    return dict(counts)


@wrong("pair_counts", says="not the two joined")
def joins_the_keys(words):
    counts = Counter()
    for word, times in words.items():
        for a, b in zip(word, word[1:]):
            counts[a + b] += times
    return dict(counts)


@wrong("pair_counts", says="order inside a pair matters")
def sorts_the_pairs(words):
    counts = Counter()
    for word, times in words.items():
        for pair in zip(word, word[1:]):
            counts[tuple(sorted(pair))] += times
    return dict(counts)


@wrong("pair_counts", says="every second pair")
def takes_steps_of_two(words):
    counts = Counter()
    for word, times in words.items():
        for pair in zip(word[::2], word[1::2]):
            counts[pair] += times
    return dict(counts)


@wrong("pair_counts", says="iterating over `bytes` gives whole numbers")
def takes_tokens_apart(words):
    counts = Counter()
    for word, times in words.items():
        joined = b"".join(word)
        for pair in zip(joined, joined[1:]):
            counts[pair] += times
    return dict(counts)


@wrong("pair_counts", says="A token stays one piece")
def joins_and_takes_apart(words):
    counts = Counter()
    for word, times in words.items():
        joined = [bytes([byte]) for byte in b"".join(word)]
        for pair in zip(joined, joined[1:]):
            counts[pair] += times
    return dict(counts)


@wrong("pair_counts", says="changes its input")
def uses_up_the_words(words):
    counts = Counter()
    while words:
        word, times = words.popitem()
        for pair in zip(word, word[1:]):
            counts[pair] += times
    return dict(counts)


# Merge


@right("merge")
def remembers_the_last_token(word, pair):
    merged = []
    for token in word:
        # A token that is itself the outcome of a merge must not merge once more.
        if merged and not merged[-1][1] and (merged[-1][0], token) == pair:
            merged[-1] = (pair[0] + pair[1], True)
        else:
            merged.append((token, False))
    return tuple(token for token, _ in merged)


@right("merge")
def calls_itself(word, pair):
    def go(rest):
        if len(rest) < 2:
            return rest
        if rest[:2] == pair:
            return (pair[0] + pair[1], *go(rest[2:]))
        return (rest[0], *go(rest[1:]))

    return go(word)


@right("merge")
def uses_an_iterator_with_a_skip(word, pair):
    left, right = pair
    out, skip = (), False
    for i, token in enumerate(word):
        if skip:
            skip = False
            continue
        skip = token == left and i + 1 < len(word) and word[i + 1] == right
        out += (left + right,) if skip else (token,)
    return out


@wrong("merge", says="from right to left")
def merges_from_the_right(word, pair):
    merged, i = [], len(word) - 1
    while i >= 0:
        if i > 0 and word[i - 1 : i + 1] == pair:
            merged.insert(0, pair[0] + pair[1])
            i -= 2
        else:
            merged.insert(0, word[i])
            i -= 1
    return tuple(merged)


@wrong("merge", says="go on *two* tokens further")
def forgets_to_skip(word, pair):
    merged = []
    for i in range(len(word)):
        if word[i : i + 2] == pair:
            merged.append(pair[0] + pair[1])
        else:
            merged.append(word[i])
    return tuple(merged)


@wrong("merge", says="Only the first occurrence")
def merges_once(word, pair):
    for i in range(len(word) - 1):
        if word[i : i + 2] == pair:
            return (*word[:i], pair[0] + pair[1], *word[i + 2 :])
    return word


@wrong("merge", says="last token got lost")
def loses_the_last(word, pair):
    merged, i = [], 0
    while i < len(word) - 1:
        if word[i : i + 2] == pair:
            merged.append(pair[0] + pair[1])
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return tuple(merged)


@wrong("merge", says="no neighbour to look at")
def looks_over_the_end(word, pair):
    merged, i = [], 0
    while i < len(word):
        if word[i] == pair[0] and word[i + 1] == pair[1]:
            merged.append(pair[0] + pair[1])
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return tuple(merged)


@wrong("merge", says="is *one* `bytes`")
def nests_the_pair(word, pair):
    merged, i = [], 0
    while i < len(word):
        if word[i : i + 2] == pair:
            merged.append(pair)
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return tuple(merged)


@wrong("merge", says="expected a `tuple`")
def returns_a_list(word, pair):
    merged, i = [], 0
    while i < len(word):
        if word[i : i + 2] == pair:
            merged.append(pair[0] + pair[1])
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return merged


@wrong("merge", says="another pair")
def merges_both_orders(word, pair):
    merged, i = [], 0
    while i < len(word):
        if set(word[i : i + 2]) == set(pair) and len(word[i : i + 2]) == 2:
            merged.append(word[i] + word[i + 1])
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return tuple(merged)


@wrong("merge", says="Compare token with token")
def compares_joined_bytes(word, pair):
    merged, i = [], 0
    while i < len(word):
        if b"".join(word[i : i + 2]) == b"".join(pair) and i + 1 < len(word):
            merged.append(word[i] + word[i + 1])
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return tuple(merged)


@wrong("merge", says="merged again")
def merges_until_nothing_is_left(word, pair):
    word = list(word)
    i = 0
    while i + 1 < len(word):
        if word[i].endswith(pair[0]) and word[i + 1].startswith(pair[1]):
            word[i : i + 2] = [word[i] + word[i + 1]]
        else:
            i += 1
    return tuple(word)


# Training


def _pairs(words):
    counts = Counter()
    for word, times in words.items():
        for pair in zip(word, word[1:]):
            counts[pair] += times
    return counts


def _joined(word, pair):
    word, i = list(word), 0
    while i + 1 < len(word):
        if (word[i], word[i + 1]) == pair:
            word[i : i + 2] = [pair[0] + pair[1]]
        i += 1
    return tuple(word)


@right("train_bpe")
def counts_everything_again(text, vocab_size):
    ranks = {bytes([b]): b for b in range(256)}
    words = Counter(tuple(bytes([b]) for b in word) for word in pre_tokenize(text))
    while len(ranks) < vocab_size:
        counts = _pairs(words)
        if not counts:
            raise ValueError("too few pairs")
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        ranks[pair[0] + pair[1]] = len(ranks)
        words = {_joined(word, pair): times for word, times in words.items()}
    return ranks


@right("train_bpe")
def keeps_every_word_in_a_list_and_numbers_in_words(text, vocab_size):
    vocabulary = [bytes([b]) for b in range(256)]
    words = [list(word) for word in pre_tokenize(text)]
    for new in range(256, vocab_size):
        counts = Counter(pair for word in words for pair in pairwise(word))
        most = max(counts.values())  # fails by itself if there are none
        tied = [pair for pair in counts if counts[pair] == most]
        pair = min(tied, key=lambda p: (vocabulary[p[0]], vocabulary[p[1]]))
        vocabulary.append(vocabulary[pair[0]] + vocabulary[pair[1]])
        for word in words:
            i = 0
            while i + 1 < len(word):
                if (word[i], word[i + 1]) == pair:
                    word[i : i + 2] = [new]
                i += 1
    return {token: rank for rank, token in enumerate(vocabulary)}


@right("train_bpe")
def sorts_all_pairs(text, vocab_size):
    ranks = {bytes([b]): b for b in range(256)}
    words = Counter(tuple(bytes([b]) for b in word) for word in pre_tokenize(text))
    for rank in range(256, vocab_size):
        (pair, _), *_ = sorted(_pairs(words).items(), key=lambda item: (-item[1], item))
        ranks[pair[0] + pair[1]] = rank
        merged = Counter()
        for word, times in words.items():
            merged[_joined(word, pair)] += times
        words = merged
    return ranks


@right("train_bpe")
def uses_a_heap_each_time(text, vocab_size):
    ranks = {bytes([b]): b for b in range(256)}
    words = Counter(tuple(bytes([b]) for b in word) for word in pre_tokenize(text))
    while len(ranks) < vocab_size:
        heap = [(-count, *pair) for pair, count in _pairs(words).items()]
        heapq.heapify(heap)
        _, left, right = heapq.heappop(heap)
        ranks[left + right] = len(ranks)
        words = {_joined(word, (left, right)): n for word, n in words.items()}
    return ranks


def _train(text, vocab_size, choose, split=pre_tokenize):
    ranks = {bytes([b]): b for b in range(256)}
    words = Counter(tuple(bytes([b]) for b in word) for word in split(text))
    while len(ranks) < vocab_size:
        counts = _pairs(words)
        if not counts:
            raise ValueError("too few pairs")
        pair = choose(counts)
        ranks[pair[0] + pair[1]] = len(ranks)
        words = {_joined(word, pair): times for word, times in words.items()}
    return ranks


@wrong("train_bpe", says="take the *largest*")
def breaks_ties_the_other_way(text, vocab_size):
    return _train(text, vocab_size, lambda c: max(c, key=lambda pair: (c[pair], pair)))


@wrong("train_bpe", says="counted first")
def breaks_ties_by_the_text(text, vocab_size):
    return _train(text, vocab_size, lambda c: max(c, key=c.get))


@wrong("train_bpe", says="crosses two words")
def does_not_cut_into_words(text, vocab_size):
    def choose(counts):
        return min(counts, key=lambda pair: (-counts[pair], pair))

    return _train(text, vocab_size, choose, split=lambda text: [text.encode()])


@wrong("train_bpe", says="`split()` throws the spaces away")
def splits_at_spaces(text, vocab_size):
    def choose(counts):
        return min(counts, key=lambda pair: (-counts[pair], pair))

    def split(text):
        return [word.strip().encode() for word in text.replace(",", " , ").split()]

    return _train(text, vocab_size, choose, split)


@wrong("train_bpe", says="count again after it")
def counts_only_once(text, vocab_size):
    ranks = {bytes([b]): b for b in range(256)}
    words = Counter(tuple(bytes([b]) for b in word) for word in pre_tokenize(text))
    counts = _pairs(words)
    best = sorted(counts, key=lambda pair: (-counts[pair], pair))
    for pair in best[: vocab_size - 256]:
        ranks[pair[0] + pair[1]] = len(ranks)
    return ranks


@wrong("train_bpe", says="only 256 bytes")
def makes_a_byte_of_every_rank(text, vocab_size):
    return {bytes([rank]): rank for rank in range(vocab_size)}


@wrong("train_bpe", says="counted again after each merge")
def never_counts_again(text, vocab_size):
    ranks = {bytes([b]): b for b in range(256)}
    words = Counter(tuple(bytes([b]) for b in word) for word in pre_tokenize(text))
    counts = _pairs(words)
    while len(ranks) < vocab_size:
        first, second = min(counts, key=lambda pair: (-counts[pair], pair))
        ranks.setdefault(first + second, len(ranks))
    return ranks


@wrong("train_bpe", says="begins with all 256 single bytes")
def starts_with_no_bytes(text, vocab_size):
    ranks = {}
    words = Counter(tuple(bytes([b]) for b in word) for word in pre_tokenize(text))
    while len(ranks) < vocab_size - 256:
        counts = _pairs(words)
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        ranks[pair[0] + pair[1]] = len(ranks)
        words = {_joined(word, pair): times for word, times in words.items()}
    return ranks


@wrong("train_bpe", says="a token too many")
def makes_one_too_many(text, vocab_size):
    def choose(counts):
        return min(counts, key=lambda pair: (-counts[pair], pair))

    return _train(text, vocab_size + 1, choose)


@wrong("train_bpe", says="256 bytes")
def makes_vocab_size_merges(text, vocab_size):
    def choose(counts):
        return min(counts, key=lambda pair: (-counts[pair], pair))

    return _train(text, vocab_size + 256, choose)


@wrong("train_bpe", says="Each *distinct* word is counted once")
def forgets_how_often_words_occur(text, vocab_size):
    ranks = {bytes([b]): b for b in range(256)}
    words = {tuple(bytes([b]) for b in word): 1 for word in pre_tokenize(text)}
    while len(ranks) < vocab_size:
        counts = _pairs(words)
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        ranks[pair[0] + pair[1]] = len(ranks)
        words = {_joined(word, pair): times for word, times in words.items()}
    return ranks


@wrong("train_bpe", says="fewer tokens than asked for")
def stops_without_a_word(text, vocab_size):
    ranks = {bytes([b]): b for b in range(256)}
    words = Counter(tuple(bytes([b]) for b in word) for word in pre_tokenize(text))
    while len(ranks) < vocab_size and (counts := _pairs(words)):
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        ranks[pair[0] + pair[1]] = len(ranks)
        words = {_joined(word, pair): times for word, times in words.items()}
    return ranks


@wrong("train_bpe", says="as `bytes`")
def keeps_pairs_as_keys(text, vocab_size):
    ranks = {bytes([b]): b for b in range(256)}
    words = Counter(tuple(bytes([b]) for b in word) for word in pre_tokenize(text))
    while len(ranks) < vocab_size:
        counts = _pairs(words)
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        ranks[pair] = len(ranks)
        words = {_joined(word, pair): times for word, times in words.items()}
    return ranks


@wrong("train_bpe", says="whole characters")
def merges_characters(text, vocab_size):
    ranks = {bytes([b]): b for b in range(256)}
    words = Counter(
        tuple(letter.encode() for letter in word.decode())
        for word in pre_tokenize(text)
    )
    while len(ranks) < vocab_size:
        counts = _pairs(words)
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        ranks[pair[0] + pair[1]] = len(ranks)
        words = {_joined(word, pair): times for word, times in words.items()}
    return ranks


# Encoding


@right("encode")
def merges_one_place_at_a_time(text, ranks):
    ids = []
    for word in pre_tokenize(text):
        parts = [word[i : i + 1] for i in range(len(word))]
        while True:
            places = [
                (ranks[parts[i] + parts[i + 1]], i)
                for i in range(len(parts) - 1)
                if parts[i] + parts[i + 1] in ranks
            ]
            if not places:
                break
            _, i = min(places)
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        ids.extend(ranks[part] for part in parts)
    return ids


@right("encode")
def replays_training_rank_by_rank(text, ranks):
    ids = []
    merges = sorted((rank, token) for token, rank in ranks.items() if len(token) > 1)
    for word in pre_tokenize(text):
        parts = [bytes([b]) for b in word]
        for _, token in merges:
            i = 0
            while i + 1 < len(parts):
                if parts[i] + parts[i + 1] == token:
                    parts[i : i + 2] = [token]
                i += 1
        ids += [ranks[part] for part in parts]
    return ids


@right("encode")
def looks_a_whole_word_up_first(text, ranks):
    def split(parts):
        best, where = math.inf, None
        for i in range(len(parts) - 1):
            rank = ranks.get(parts[i] + parts[i + 1], math.inf)
            if rank < best:
                best, where = rank, i
        if where is None:
            return [ranks[part] for part in parts]
        return split(
            [*parts[:where], parts[where] + parts[where + 1], *parts[where + 2 :]]
        )

    return [
        token_id
        for word in pre_tokenize(text)
        for token_id in (
            [ranks[word]] if word in ranks else split([bytes([b]) for b in word])
        )
    ]


@right("encode")
def works_on_borders(text, ranks):
    ids = []
    for word in pre_tokenize(text):
        borders = list(range(len(word) + 1))
        while len(borders) > 2:
            options = [
                (ranks.get(word[borders[i - 1] : borders[i + 1]], math.inf), i)
                for i in range(1, len(borders) - 1)
            ]
            rank, i = min(options)
            if rank == math.inf:
                break
            del borders[i]
        ids += [ranks[word[a:b]] for a, b in pairwise(borders)]
    return ids


@wrong("encode", says="take the longest token that fits")
def takes_the_longest_that_fits(text, ranks):
    ids = []
    for word in pre_tokenize(text):
        while word:
            length = max(n for n in range(1, len(word) + 1) if word[:n] in ranks)
            ids.append(ranks[word[:length]])
            word = word[length:]
    return ids


@wrong("encode", says="merge from left to right")
def merges_whatever_comes_first(text, ranks):
    ids = []
    for word in pre_tokenize(text):
        parts = [bytes([b]) for b in word]
        i = 0
        while i + 1 < len(parts):
            if parts[i] + parts[i + 1] in ranks:
                parts[i : i + 2] = [parts[i] + parts[i + 1]]
                i = 0
            else:
                i += 1
        ids += [ranks[part] for part in parts]
    return ids


@wrong("encode", says="highest rank first")
def merges_the_highest_rank_first(text, ranks):
    ids = []
    for word in pre_tokenize(text):
        parts = [bytes([b]) for b in word]
        ids += takes_ranks(parts, ranks, max)
    return ids


def takes_ranks(parts, ranks, choose):
    while True:
        places = [
            (ranks[parts[i] + parts[i + 1]], -i)
            for i in range(len(parts) - 1)
            if parts[i] + parts[i + 1] in ranks
        ]
        if not places:
            return [ranks[part] for part in parts]
        _, i = choose(places)
        parts[-i : 2 - i] = [parts[-i] + parts[1 - i]]


@wrong("encode", says="joined. Cut the text with `pre_tokenize`")
def does_not_cut_the_text(text, ranks):
    parts = [bytes([b]) for b in text.encode()]
    while True:
        places = [
            (ranks[parts[i] + parts[i + 1]], i)
            for i in range(len(parts) - 1)
            if parts[i] + parts[i + 1] in ranks
        ]
        if not places:
            return [ranks[part] for part in parts]
        _, i = min(places)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


@wrong("encode", says="Nothing is merged")
def returns_the_bytes(text, ranks):
    return [ranks[bytes([b])] for word in pre_tokenize(text) for b in word]


@wrong("encode", says="Return their ids")
def returns_tokens(text, ranks):
    tokens = []
    for word in pre_tokenize(text):
        parts = [bytes([b]) for b in word]
        while True:
            places = [
                (ranks[parts[i] + parts[i + 1]], i)
                for i in range(len(parts) - 1)
                if parts[i] + parts[i + 1] in ranks
            ]
            if not places:
                break
            _, i = min(places)
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        tokens += parts
    return tokens


@wrong("encode", says="stops after one merge")
def merges_one_pair_only(text, ranks):
    ids = []
    for word in pre_tokenize(text):
        parts = [bytes([b]) for b in word]
        places = [
            (ranks[parts[i] + parts[i + 1]], i)
            for i in range(len(parts) - 1)
            if parts[i] + parts[i + 1] in ranks
        ]
        if places:
            _, i = min(places)
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        ids += [ranks[part] for part in parts]
    return ids


@wrong("encode", says="Look up bytes, not characters")
def looks_up_characters(text, ranks):
    return [ranks[letter] for letter in text]


@wrong("encode", says="changes its input `ranks`")
def uses_up_the_ranks(text, ranks):
    ids = []
    for word in pre_tokenize(text):
        parts = [bytes([b]) for b in word]
        for token in sorted(ranks, key=ranks.get):
            i = 0
            while i + 1 < len(parts):
                if parts[i] + parts[i + 1] == token:
                    parts[i : i + 2] = [token]
                i += 1
        ids += [ranks[part] for part in parts]
    ranks.clear()
    return ids


# Decoding


@right("decode")
def reads_a_list_of_tokens(ids, ranks):
    tokens = sorted(ranks, key=ranks.get)
    if any(i >= len(tokens) for i in ids):
        raise IndexError("no such token")
    return b"".join([tokens[i] for i in ids]).decode("utf-8", "replace")


@right("decode")
def grows_a_bytearray(ids, ranks):
    inverse = dict(zip(ranks.values(), ranks.keys()))
    raw = bytearray()
    for i in ids:
        raw += inverse[i]
    return str(raw, "utf-8", errors="replace")


@wrong("decode", says="Each token is decoded by itself")
def decodes_each_token(ids, ranks):
    inverse = {rank: token for token, rank in ranks.items()}
    return "".join(inverse[i].decode("utf-8", errors="replace") for i in ids)


@wrong("decode", says="Each token is decoded by itself")
def decodes_each_token_strictly(ids, ranks):
    inverse = {rank: token for token, rank in ranks.items()}
    return "".join(inverse[i].decode() for i in ids)


@wrong("decode", says="Each token is decoded by itself")
def decodes_each_token_and_ignores(ids, ranks):
    inverse = {rank: token for token, rank in ranks.items()}
    return "".join(inverse[i].decode(errors="ignore") for i in ids)


@wrong("decode", says="bytes that are no text")
def is_strict(ids, ranks):
    inverse = {rank: token for token, rank in ranks.items()}
    return b"".join(inverse[i] for i in ids).decode()


@wrong("decode", says="have vanished")
def ignores_what_is_no_text(ids, ranks):
    inverse = {rank: token for token, rank in ranks.items()}
    return b"".join(inverse[i] for i in ids).decode(errors="ignore")


@wrong("decode", says="puts the replacement character")
def escapes_what_is_no_text(ids, ranks):
    inverse = {rank: token for token, rank in ranks.items()}
    return b"".join(inverse[i] for i in ids).decode(errors="backslashreplace")


@wrong("decode", says="another alphabet")
def reads_latin_1(ids, ranks):
    inverse = {rank: token for token, rank in ranks.items()}
    return b"".join(inverse[i] for i in ids).decode("latin-1")


@wrong("decode", says="the other direction")
def looks_in_the_wrong_direction(ids, ranks):
    return b"".join(ranks[i] for i in ids).decode(errors="replace")


@wrong("decode", says="something between the tokens")
def puts_spaces_between(ids, ranks):
    inverse = {rank: token for token, rank in ranks.items()}
    return b" ".join(inverse[i] for i in ids).decode(errors="replace")


@wrong("decode", says="Decode them to a `str`")
def returns_bytes(ids, ranks):
    inverse = {rank: token for token, rank in ranks.items()}
    return b"".join(inverse[i] for i in ids)


@wrong("decode", says="no code point")
def takes_ids_for_characters(ids, ranks):
    return "".join(chr(i) for i in ids)


@wrong("decode", says="left it out without a word")
def skips_unknown_ids(ids, ranks):
    inverse = {rank: token for token, rank in ranks.items()}
    return b"".join(inverse.get(i, b"") for i in ids).decode(errors="replace")


@wrong("decode", says="changes its input")
def uses_up_the_ids(ids, ranks):
    inverse = {rank: token for token, rank in ranks.items()}
    raw = b""
    while ids:
        raw += inverse[ids.pop(0)]
    return raw.decode(errors="replace")


# Windows


@right("windows")
def stacks_slices(ids, context, stride=None):
    stride = stride or context
    starts = range(0, len(ids) - context, stride)
    inputs = torch.stack([ids[s : s + context] for s in starts])
    targets = torch.stack([ids[s + 1 : s + context + 1] for s in starts])
    return inputs, targets


@right("windows")
def indexes_with_a_table(ids, context, stride=None):
    last = len(ids) - context - 1
    if last < 0:
        raise ValueError("too short")
    starts = torch.arange(0, last + 1, context if stride is None else stride)
    places = starts[:, None] + torch.arange(context)
    return ids[places], ids[places + 1]


@right("windows")
def builds_lists(ids, context, stride=None):
    numbers, step = ids.tolist(), stride or context
    inputs, targets, s = [], [], 0
    while s + context < len(numbers):
        inputs.append(numbers[s : s + context])
        targets.append(numbers[s + 1 : s + 1 + context])
        s += step
    assert inputs, "too few ids"
    return torch.tensor(inputs), torch.tensor(targets)


@right("windows")
def unfolds_twice(ids, context, stride=None):
    step = context if stride is None else stride
    return ids[:-1].unfold(0, context, step), ids[1:].unfold(0, context, step)


@wrong("windows", says="Targets are equal to inputs")
def does_not_shift(ids, context, stride=None):
    blocks = ids[:-1].unfold(0, context, stride or context)
    return blocks, blocks


@wrong("windows", says="swapped")
def swaps(ids, context, stride=None):
    blocks = ids.unfold(0, context + 1, stride or context)
    return blocks[:, 1:], blocks[:, :-1]


@wrong("windows", says="the very next token")
def shifts_by_two(ids, context, stride=None):
    step = stride or context
    starts = range(0, len(ids) - context - 1, step)
    inputs = torch.stack([ids[s : s + context] for s in starts])
    return inputs, torch.stack([ids[s + 2 : s + 2 + context] for s in starts])


@wrong("windows", says="you rolled the window")
def rolls(ids, context, stride=None):
    inputs = ids[:-1].unfold(0, context, stride or context)
    return inputs, inputs.roll(-1, dims=1)


@wrong("windows", says="it is missing")
def loses_the_last_window(ids, context, stride=None):
    starts = range(0, len(ids) - context - 1, stride or context)
    inputs = torch.stack([ids[s : s + context] for s in starts])
    return inputs, torch.stack([ids[s + 1 : s + context + 1] for s in starts])


@wrong("windows", says="not complete")
def keeps_a_partial_window(ids, context, stride=None):
    starts = range(0, len(ids) - 1, stride or context)
    inputs = torch.stack([ids[s : s + context] for s in starts])
    return inputs, torch.stack([ids[s + 1 : s + context + 1] for s in starts])


@wrong("windows", says="not complete")
def keeps_a_partial_list(ids, context, stride=None):
    numbers = ids.tolist()
    starts = range(0, len(ids), stride or context)
    inputs = torch.tensor([numbers[s : s + context] for s in starts])
    return inputs, torch.tensor([numbers[s + 1 : s + context + 1] for s in starts])


@wrong("windows", says="`stride` has no effect")
def ignores_the_stride(ids, context, stride=None):
    blocks = ids.unfold(0, context + 1, context)
    return blocks[:, :-1], blocks[:, 1:]


@wrong("windows", says="between two windows")
def leaves_a_gap(ids, context, stride=None):
    step = context if stride is None else context + stride
    blocks = ids.unfold(0, context + 1, step)
    return blocks[:, :-1], blocks[:, 1:]


@wrong("windows", says="The windows overlap")
def moves_by_one(ids, context, stride=1):
    blocks = ids.unfold(0, context + 1, stride or 1)
    return blocks[:, :-1], blocks[:, 1:]


@wrong("windows", says="one token too short")
def cuts_context_ids(ids, context, stride=None):
    blocks = ids.unfold(0, context, stride or context)
    return blocks[:, :-1], blocks[:, 1:]


@wrong("windows", says="one number per window")
def predicts_one_token(ids, context, stride=None):
    blocks = ids.unfold(0, context + 1, stride or context)
    return blocks[:, :-1], blocks[:, -1]


@wrong("windows", says="Return two tensors")
def returns_blocks(ids, context, stride=None):
    return ids.unfold(0, context + 1, stride or context)


@wrong("windows", says="Raise a `ValueError`")
def returns_nothing_if_there_is_too_little(ids, context, stride=None):
    starts = range(0, len(ids) - context, stride or context)
    if not starts:
        return torch.empty(0, context), torch.empty(0, context)
    blocks = torch.stack([ids[s : s + context + 1] for s in starts])
    return blocks[:, :-1], blocks[:, 1:]


# Embeddings


@right("TokenAndPositionEmbedding")
class AddsASlice(nn.Module):
    def __init__(self, vocab_size, context, width):
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.position_embedding = nn.Embedding(context, width)

    def forward(self, ids):
        B, T = ids.shape
        assert T <= self.position_embedding.num_embeddings, "too long"
        return self.token_embedding(ids) + self.position_embedding.weight[:T]


@right("TokenAndPositionEmbedding")
class MovesThePositions(nn.Module):
    def __init__(self, vocab_size, context, width):
        super().__init__()
        self.position_embedding = nn.Embedding(context, width)
        self.token_embedding = nn.Embedding(vocab_size, width)

    def forward(self, ids):
        positions = torch.arange(ids.shape[1]).to(ids.device).expand_as(ids)
        x = self.position_embedding(positions)
        return x + self.token_embedding(ids)


@right("TokenAndPositionEmbedding")
class CountsOnes(nn.Module):
    def __init__(self, vocab_size, context, width):
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.position_embedding = nn.Embedding(context, width)

    def forward(self, ids):
        places = torch.ones_like(ids).cumsum(dim=1) - 1
        where = F.embedding(places, self.position_embedding.weight)
        return F.embedding(ids, self.token_embedding.weight) + where


class _Tables(nn.Module):
    def __init__(self, vocab_size, context, width):
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.position_embedding = nn.Embedding(context, width)


@wrong("TokenAndPositionEmbedding", says="positions are forgotten")
class ForgetsPositions(_Tables):
    def forward(self, ids):
        return self.token_embedding(ids)


@wrong("TokenAndPositionEmbedding", says="tokens are forgotten")
class ForgetsTokens(_Tables):
    def forward(self, ids):
        positions = torch.arange(ids.shape[1], device=ids.device)
        return self.position_embedding(positions).expand(*ids.shape, -1)


@wrong("TokenAndPositionEmbedding", says="run over the *texts*")
class PositionsOverTheBatch(_Tables):
    def forward(self, ids):
        positions = torch.arange(ids.shape[0], device=ids.device)
        return self.token_embedding(ids) + self.position_embedding(positions)[:, None]


@wrong("TokenAndPositionEmbedding", says="shapes do not fit")
class PositionsOverTheBatchAndDoNotFit(_Tables):
    def forward(self, ids):
        positions = torch.arange(len(ids), device=ids.device)
        return self.token_embedding(ids) + self.position_embedding(positions)


@wrong("TokenAndPositionEmbedding", says="not by its id")
class LooksPositionsUpById(_Tables):
    def forward(self, ids):
        return self.token_embedding(ids) + self.position_embedding(ids)


@wrong("TokenAndPositionEmbedding", says="side by side")
class Concatenates(_Tables):
    def forward(self, ids):
        positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        both = self.token_embedding(ids), self.position_embedding(positions)
        return torch.cat(both, dim=-1)


@wrong("TokenAndPositionEmbedding", says="multiplied. Add them")
class Multiplies(_Tables):
    def forward(self, ids):
        positions = torch.arange(ids.shape[1], device=ids.device)
        return self.token_embedding(ids) * self.position_embedding(positions)


@wrong("TokenAndPositionEmbedding", says="begin at 1")
class CountsFromOne(_Tables):
    def forward(self, ids):
        positions = torch.arange(1, ids.shape[1] + 1, device=ids.device)
        return self.token_embedding(ids) + self.position_embedding(positions)


@wrong("TokenAndPositionEmbedding", says="*last* T rows")
class TakesTheLastPositions(_Tables):
    def forward(self, ids):
        rows = self.position_embedding.weight[-ids.shape[1] :]
        return self.token_embedding(ids) + rows


@wrong("TokenAndPositionEmbedding", says="or the same one")
class GivesAllTheSamePosition(_Tables):
    def forward(self, ids):
        last = torch.tensor(ids.shape[1] - 1, device=ids.device)
        return self.token_embedding(ids) + self.position_embedding(last)


@wrong("TokenAndPositionEmbedding", says="0, 1, 2 of the positions")
class AddsTheNumbers(_Tables):
    def forward(self, ids):
        positions = torch.arange(ids.shape[1], device=ids.device)
        return self.token_embedding(ids) + positions[:, None]


@wrong("TokenAndPositionEmbedding", says="square root of the width")
class ScalesTheTokens(_Tables):
    def forward(self, ids):
        positions = torch.arange(ids.shape[1], device=ids.device)
        x = self.token_embedding(ids)
        return x * math.sqrt(x.shape[-1]) + self.position_embedding(positions)


@wrong("TokenAndPositionEmbedding", says="`torch.arange(T, device=ids.device)`")
class StaysOnTheCpu(_Tables):
    def forward(self, ids):
        positions = torch.arange(ids.shape[1])
        return self.token_embedding(ids) + self.position_embedding(positions)


@wrong("TokenAndPositionEmbedding", says="must not be made up")
class WrapsAround(_Tables):
    def forward(self, ids):
        positions = torch.arange(ids.shape[1], device=ids.device)
        positions = positions % self.position_embedding.num_embeddings
        return self.token_embedding(ids) + self.position_embedding(positions)


@wrong("TokenAndPositionEmbedding", says="no gradient reaches")
class Detaches(_Tables):
    def forward(self, ids):
        positions = torch.arange(ids.shape[1], device=ids.device)
        x = self.token_embedding(ids) + self.position_embedding(positions)
        return x.detach()


@wrong("TokenAndPositionEmbedding", says="has no parameter")
class OtherNames(nn.Module):
    def __init__(self, vocab_size, context, width):
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(context, width)

    def forward(self, ids):
        positions = torch.arange(ids.shape[1], device=ids.device)
        return self.tokens(ids) + self.positions(positions)


@wrong("TokenAndPositionEmbedding", says="has shape")
class SwapsTheSizes(nn.Module):
    def __init__(self, vocab_size, context, width):
        super().__init__()
        self.token_embedding = nn.Embedding(context, width)
        self.position_embedding = nn.Embedding(vocab_size, width)

    def forward(self, ids):
        positions = torch.arange(ids.shape[1], device=ids.device)
        return self.token_embedding(ids) + self.position_embedding(positions)


@wrong("TokenAndPositionEmbedding", says="super().__init__")
class ForgetsSuper(nn.Module):
    def __init__(self, vocab_size, context, width):
        self.sizes = vocab_size, context, width

    def forward(self, ids):
        return ids
