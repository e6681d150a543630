"""BPE, windows and embeddings, by tiktoken, a textbook trainer, torch and paper."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from itertools import pairwise

import pytest
import regex
import tiktoken
import tiktoken._educational
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiktoken.load import data_gym_to_mergeable_bpe_ranks, load_tiktoken_bpe
from torch.testing import assert_close

import solutions.tokens as module
from solutions.tokens import (
    END_OF_TEXT,
    GPT2_PATTERN,
    TokenAndPositionEmbedding,
    batches,
    bytes_as_characters,
    decode,
    decode_with_special,
    download_gpt2_files,
    encode,
    encode_with_special,
    from_gpt2_files,
    load_ranks,
    merge,
    pair_counts,
    pre_tokenize,
    save_ranks,
    to_tiktoken,
    train_bpe,
    windows,
)

BYTES = {bytes([byte]): byte for byte in range(256)}

TEXT = (
    "The fox hid the key under the old bridge. It's the fox's key, isn't it?\n"
    "여우는 오래된 다리 밑에 열쇠를 숨겼어요. 아무도 그 열쇠를 찾지 못했어요.\n\n"
    "  3 keys, 33 locks and 333 doors… naïve café "
    "👩\u200d👩\u200d👧 👍🏽 🇰🇷!!! \u1112\u1161\u11ab\r\n"
) * 3
RANKS = train_bpe(TEXT, 400)
SPECIAL = {END_OF_TEXT: 400, "<|end|>": 401, "<|end|>of": 402}
TIKTOKEN = to_tiktoken(RANKS, SPECIAL)

# What a hypothesis alphabet of single characters rarely joins.
FRAGMENTS = st.sampled_from(
    (
        *("안녕", "하세요", "ㅎㅏㄴ", "\u1112\u1161\u11ab", "e\u0301", "\u200d"),
        *("👩\u200d👩\u200d👧", "🇰🇷", "👍🏽", "it's", "'ll", "'", " the", "the", "aaa"),
        *("  ", "\n\n", "\t", "\x00", "\x1c", "\x85", "\u2028", "\u3000", "\ufeff"),
        *("123", "½", "…", "<|end|>", "<|endoftext|>"),
    )
)
UNICODE = st.lists(st.one_of(FRAGMENTS, st.text(max_size=5)), max_size=20).map("".join)


# Words


@given(UNICODE)
def test_words_joined_are_the_text(text):
    assert b"".join(pre_tokenize(text)) == text.encode()


def test_words_by_hand():
    assert pre_tokenize("Don't  stop, it's 2026!\n") == [
        *(b"Don", b"'t", b" ", b" stop", b",", b" it", b"'s", b" 2026", b"!", b"\n")
    ]


def test_our_pattern_is_gpt2s():
    published = (
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    )
    expanded = GPT2_PATTERN.replace("'(?:s|t|re|ve|m|ll|d)", "'s|'t|'re|'ve|'m|'ll|'d")
    assert expanded == published


@pytest.mark.parametrize("kind", [r"\p{L}", r"\p{N}", r"\s"])
def test_regex_and_tiktoken_know_the_same_characters(kind):
    """Both bring their own Unicode tables; a newer `regex` would cut text differently.

    If this fails after an update, pin the `regex` release with tiktoken's tables.
    """
    scalars = [*range(0xD800), *range(0xE000, 0x110000)]
    text = "".join(map(chr, scalars))
    # This encoding skips what its pattern does not match.
    only = tiktoken.Encoding(
        "only", pat_str=kind, mergeable_ranks=BYTES, special_tokens={}
    )
    theirs = set(only.decode(only.encode_ordinary(text)))
    differ = theirs ^ set(regex.findall(kind, text))
    assert len(differ) == 0, f"{len(differ)} differ, from U+{ord(min(differ)):04X} on"


@pytest.mark.parametrize("text", ["\ud83d", "ab\udc00c", "안\ud83d\ude00"])
def test_half_a_surrogate_pair_is_refused_in_one_line(text):
    with pytest.raises(ValueError, match="half a surrogate pair") as caught:
        encode(text, RANKS)
    assert "\n" not in str(caught.value)


# Training


def test_pair_counts_by_hand():
    words = {(b"a", b"a", b"a"): 2, (b"b", b"a", b"a"): 3, (b"c",): 7, (): 1}
    assert pair_counts(words) == {(b"a", b"a"): 2 * 2 + 3, (b"b", b"a"): 3}
    assert type(pair_counts(words)) is dict


@pytest.mark.parametrize(
    ("word", "merged"),
    [
        ((), ()),
        ((b"a",), (b"a",)),
        ((b"a", b"b"), (b"ab",)),
        ((b"b", b"a"), (b"b", b"a")),
        ((b"a", b"b", b"a", b"b", b"a"), (b"ab", b"ab", b"a")),
        ((b"x", b"a", b"ab", b"a", b"b"), (b"x", b"a", b"ab", b"ab")),
    ],
)
def test_merge_by_hand(word, merged):
    assert merge(word, (b"a", b"b")) == merged


def test_merge_takes_overlaps_from_the_left():
    assert merge((b"a",) * 5, (b"a", b"a")) == (b"aa", b"aa", b"a")


def test_training_by_hand():
    # low 5 times, lower 2, newest 6, widest 3: the example of Sennrich et al., without
    # their sign for the end of a word. Each is a word of its own, the space in front.
    text = " low" * 5 + " lower" * 2 + " newest" * 6 + " widest" * 3
    ranks = train_bpe(text, 256 + 6)
    # es 9, st 9: "e" < "s". Then est 9. Then lo 7, ow 7 (and l after space, 7):
    # " l" is the smallest. Then " lo" 7 before "ow" 7. Then " low" 7 before " n" 6.
    assert list(ranks)[256:] == [b"es", b"est", b" l", b" lo", b" low", b" n"]
    assert list(ranks.values()) == list(range(262))
    # Ids of the bytes are the bytes.
    assert all(ranks[bytes([byte])] == byte for byte in range(256))


def test_merges_never_cross_words():
    ranks = train_bpe("ab ab ab ab, ab, ab,", 256 + 2)
    # " a" 5, "ab" 6: "ab" first, then " ab". The comma stays alone, though ", " and
    # "b," are frequent.
    assert list(ranks)[256:] == [b"ab", b" ab"]


def textbook_trainer(text: str, vocab_size: int) -> dict[bytes, int]:
    """Counts everything again at each step, over all words in a row."""
    ranks = dict(BYTES)
    words = [[bytes([b]) for b in word] for word in pre_tokenize(text)]
    while len(ranks) < vocab_size:
        counts = Counter(pair for word in words for pair in pairwise(word))
        if not counts:
            raise ValueError("nothing left")
        most = max(counts.values())
        left, right = sorted(pair for pair in counts if counts[pair] == most)[0]
        assert left + right not in ranks
        ranks[left + right] = len(ranks)
        for word in words:
            place = 0
            while place + 1 < len(word):
                if word[place] == left and word[place + 1] == right:
                    word[place : place + 2] = [left + right]
                place += 1
    return ranks


@given(st.text("ab c", min_size=1, max_size=200), st.integers(0, 30))
@example("aaaaaaaaaaaaaaaaaaaa aaaaaaa aaaaaa aaaaa aaa", 9)
def test_training_equals_the_textbook(text, merges):
    try:
        expected = textbook_trainer(text, 256 + merges)
    except ValueError:
        with pytest.raises(ValueError, match="no pair is left"):
            train_bpe(text, 256 + merges)
    else:
        assert train_bpe(text, 256 + merges) == expected


@given(UNICODE.filter(bool))
def test_training_on_any_text_equals_the_textbook(text):
    try:
        expected = textbook_trainer(text, 270)
    except ValueError:
        with pytest.raises(ValueError, match="no pair is left"):
            train_bpe(text, 270)
    else:
        assert train_bpe(text, 270) == expected


def test_training_on_a_real_text_equals_the_textbook_and_keeps_no_order():
    expected = list(textbook_trainer(TEXT, 400).items())
    assert list(RANKS.items()) == expected


def test_without_ties_training_equals_tiktokens_own():
    # Doubling counts 1, 2, 4, ... of words that share no pair: no two pairs are tied
    # but those inside one word, so the words have two letters.
    words = ["ab", "cd", "ef", "gh", "ij", "kl"]
    text = "\n".join("\n".join([word] * 2**n) for n, word in enumerate(words))
    theirs = tiktoken._educational.bpe_train(
        text, 256 + len(words), pat_str=GPT2_PATTERN, visualise=None
    )
    assert train_bpe(text, 256 + len(words)) == theirs


@pytest.mark.parametrize(
    ("text", "vocab_size", "says"),
    [
        ("abc", 255, "vocab_size is 255, expected 256"),
        ("", 300, "the text is empty"),
        ("abab", 259, "after 258 tokens no pair is left"),
        ("a b c", 260, "after 258 tokens no pair is left"),
    ],
)
def test_impossible_training_is_refused(text, vocab_size, says):
    with pytest.raises(ValueError, match=says) as caught:
        train_bpe(text, vocab_size)
    assert "\n" not in str(caught.value)


def test_a_vocabulary_of_bytes_needs_no_merge():
    assert train_bpe("a", 256) == BYTES


# Encoding and decoding


@settings(max_examples=1000)
@given(UNICODE)
@example("안녕하세요" * 200)
@example("a" * 2000 + " " * 700 + "!" * 600)
def test_encoding_equals_tiktoken_on_any_text(text):
    ids = encode(text, RANKS)
    assert ids == TIKTOKEN.encode_ordinary(text)
    assert decode(ids, RANKS) == text
    assert TIKTOKEN.decode(ids) == text


@given(st.text("ab", min_size=12, max_size=80), st.text("ab", max_size=40))
def test_any_trained_vocabulary_equals_tiktoken(text, other):
    ranks = train_bpe(text, 256 + 3)
    assert encode(other, ranks) == to_tiktoken(ranks).encode_ordinary(other)


@given(UNICODE)
def test_encoding_equals_the_steps_of_the_textbook(text):
    expected = [
        token_id
        for word in pre_tokenize(text)
        for token_id in tiktoken._educational.bpe_encode(RANKS, word, visualise=None)
    ]
    assert encode(text, RANKS) == expected


def test_the_lowest_rank_goes_first_by_hand():
    # Left to right, or longest first, would take "ab" or "abc".
    ranks = BYTES | {b"bc": 256, b"ab": 257, b"abc": 258, b"bcd": 259}
    assert encode("abc", ranks) == [258]
    assert encode("abcd", ranks) == [258, ord("d")]
    ranks = BYTES | {b"bc": 256, b"ab": 257, b"cd": 258}
    assert encode("abcd", ranks) == [ord("a"), 256, ord("d")]


def test_the_stories_of_training_come_out_shorter():
    assert len(encode(TEXT, RANKS)) < len(TEXT.encode()) / 3


@given(st.lists(st.integers(0, 399), max_size=30))
@example(list("안".encode())[:2])
@example([0xFF, 0x41, 0xC0, 0x80, 0xED, 0xA0, 0x80, 0xF5])
def test_ids_that_are_no_text_decode_like_tiktoken(ids):
    assert decode(ids, RANKS) == TIKTOKEN.decode(ids)


@given(st.binary(max_size=40))
def test_bytes_that_are_no_utf8_decode_like_python(raw):
    assert decode(list(raw), BYTES) == raw.decode("utf-8", errors="replace")


def test_a_character_spread_over_tokens_is_whole_again():
    assert decode([0xEC, 0x95, 0x88], BYTES) == "안"
    assert decode([0xEC, 0x95], BYTES) == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("wrong", [-1, 400, 10**9, 1.5, torch.tensor(3)])
def test_an_unknown_id_is_named(wrong):
    with pytest.raises(ValueError, match=r"is no id of this vocabulary.*0 to 399"):
        decode([65, wrong], RANKS)


def test_a_vocabulary_without_all_bytes_is_named():
    with pytest.raises(ValueError, match="lacks the byte b'b', expected all 256"):
        encode("ab", {b"a": 0})


# Special tokens


def test_a_special_token_in_plain_text_stays_text():
    ids = encode_with_special(f"a{END_OF_TEXT}", RANKS, SPECIAL)
    assert ids == encode(f"a{END_OF_TEXT}", RANKS)
    assert max(ids) < 400
    assert decode(ids, RANKS) == f"a{END_OF_TEXT}"


@given(UNICODE, st.sets(st.sampled_from([END_OF_TEXT, "<|end|>"])))
@example("<|end|><|endoftext|>of<|end|>", {"<|end|>"})
def test_allowed_special_tokens_equal_tiktoken(text, allowed):
    expected = TIKTOKEN.encode(text, allowed_special=allowed, disallowed_special=())
    ids = encode_with_special(text, RANKS, SPECIAL, allowed)
    assert ids == expected
    assert decode_with_special(ids, RANKS, SPECIAL) == TIKTOKEN.decode(ids) == text


def test_of_two_special_tokens_the_longer_is_taken():
    ids = encode_with_special("<|end|>of", RANKS, SPECIAL, set(SPECIAL))
    assert ids == [402]


def test_an_allowed_name_that_is_no_special_token_is_refused():
    with pytest.raises(ValueError, match="'<x>' is allowed but no special token"):
        encode_with_special("a", RANKS, SPECIAL, {"<x>"})


def test_a_special_token_decodes_to_its_name_only_if_it_is_known():
    assert decode_with_special([65, 400], RANKS, SPECIAL) == f"A{END_OF_TEXT}"
    with pytest.raises(ValueError, match="400 is no id"):
        decode([65, 400], RANKS)


# tiktoken, and files


def test_the_encoding_has_one_row_for_every_id():
    assert TIKTOKEN.n_vocab == 403
    assert TIKTOKEN.encode(END_OF_TEXT, allowed_special="all") == [400]
    assert to_tiktoken(RANKS).n_vocab == 400


@pytest.mark.parametrize(
    ("ranks", "special", "says"),
    [
        ({b"a": 0}, {}, "lacks the byte 0"),
        (BYTES | {b"ab": 257}, {}, "has 257 ids, expected each of 0 to 256 once"),
        (BYTES | {b"ab": 255}, {}, "has 257 ids"),
        (BYTES, {"<|x|>": 300}, "has 257 ids"),
    ],
)
def test_a_damaged_vocabulary_is_refused(ranks, special, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        to_tiktoken(ranks, special)
    if not special:
        with pytest.raises(ValueError, match=says):
            save_ranks(ranks, tmp_path / "ranks")
        assert list(tmp_path.iterdir()) == []


def test_a_saved_vocabulary_comes_back_and_tiktoken_reads_it(tmp_path):
    path = tmp_path / "new" / "stories.tiktoken"
    save_ranks(RANKS, path)
    assert load_ranks(path) == RANKS
    assert load_tiktoken_bpe(str(path)) == RANKS
    assert path.read_text().splitlines()[0x41] == "QQ== 65"
    assert [file.name for file in path.parent.iterdir()] == ["stories.tiktoken"]


def test_tiktokens_own_format_is_read(tmp_path):
    lines = [f"{base64.b64encode(bytes([b])).decode()} {b}" for b in range(256)]
    path = tmp_path / "ranks"
    path.write_text("\n".join([*lines, "4pWj 256"]))
    assert load_ranks(path) == BYTES | {"╣".encode(): 256}


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "ranks"
    save_ranks(BYTES, path)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        save_ranks(RANKS, path)
    assert load_ranks(path) == BYTES
    assert [file.name for file in tmp_path.iterdir()] == ["ranks"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("QQ==", "line 66 of .* is no 'base64 rank'"),
        ("QQ== x", "line 66 of .* is no 'base64 rank'"),
        ("Q!== 65", "line 66 of .* is no 'base64 rank'"),
        ("QQ= 65", "line 66 of .* is no 'base64 rank'"),
        ("Q*Q== 65", "line 66 of .* is no 'base64 rank'"),
        ("", "line 66 of .* is no 'base64 rank'"),
        ("QUI= 65", "lacks the byte 65"),
        ("QQ== 66", "expected each of 0 to 255 once"),
    ],
)
def test_a_damaged_file_is_one_clear_line(tmp_path, line, says):
    path = tmp_path / "ranks"
    save_ranks(BYTES, path)
    lines = path.read_text().splitlines()
    lines[65] = line
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=says) as caught:
        load_ranks(path)
    assert "\n" not in str(caught.value)


def test_a_cut_file_is_one_clear_line(tmp_path):
    path = tmp_path / "ranks"
    save_ranks(BYTES, path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="ranks"):
        load_ranks(path)


# GPT-2's files


def gpt2_files(folder):
    """Small files in GPT-2's format, with the characters found as tiktoken does it."""
    printable = [b for b in range(256) if chr(b).isprintable() and chr(b) != " "]
    order = printable + [b for b in range(256) if b not in printable]
    character = {b: chr(b) for b in printable}
    hidden = [b for b in range(256) if b not in printable]
    character |= {b: chr(256 + n) for n, b in enumerate(hidden)}

    def spelled(token: bytes) -> str:
        return "".join(character[b] for b in token)

    merges = [(b" ", b"t"), (b"h", b"e"), (b" t", b"he")]
    merges += [(b"\xec", b"\x95"), (b"\xec\x95", b"\x88")]  # 안
    tokens = [bytes([b]) for b in order] + [left + right for left, right in merges]
    vocab = {spelled(token): number for number, token in enumerate(tokens)}
    vocab[END_OF_TEXT] = len(tokens)
    (folder / "vocab.json").write_text(json.dumps(vocab))
    lines = [f"{spelled(left)} {spelled(right)}" for left, right in merges]
    text = "\n".join(["#version: 0.2", *lines, ""])
    (folder / "merges.txt").write_text(text, encoding="utf-8")
    return folder / "vocab.json", folder / "merges.txt"


def test_gpt2s_files_become_the_same_encoding(tmp_path):
    vocab, merges = gpt2_files(tmp_path)
    ranks, special = from_gpt2_files(vocab, merges)
    assert ranks == data_gym_to_mergeable_bpe_ranks(str(merges), str(vocab))
    assert special == {END_OF_TEXT: 261}
    encoding = to_tiktoken(ranks, special)
    assert encoding.n_vocab == 262
    # "!" is GPT-2's first visible byte, so its id is 0.
    assert encoding.encode("!") == encode("!", ranks) == [0]
    assert encode(" the안", ranks) == [258, 260] == encoding.encode(" the안")
    assert encoding.encode(f"!{END_OF_TEXT}", allowed_special="all") == [0, 261]


def test_gpt2s_files_without_a_first_line_are_read_too(tmp_path):
    vocab, merges = gpt2_files(tmp_path)
    expected = from_gpt2_files(vocab, merges)
    text = merges.read_text(encoding="utf-8").split("\n", 1)[1]
    merges.write_text(text.rstrip("\n"), encoding="utf-8")
    assert from_gpt2_files(vocab, merges) == expected


def test_the_visible_characters_are_those_of_gpt2():
    characters = bytes_as_characters()
    assert sorted(characters) == list(range(256))
    assert len(set(characters.values())) == 256
    assert (characters[0x20], characters[0x0A], characters[0xAD]) == ("Ġ", "Ċ", "Ń")


@pytest.mark.parametrize("missing", ["vocab.json", "merges.txt"])
def test_missing_files_say_what_to_do(tmp_path, missing):
    paths = gpt2_files(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(FileNotFoundError, match="download_gpt2_files") as caught:
        from_gpt2_files(*paths)
    assert missing in str(caught.value)
    assert "\n" not in str(caught.value)


def broken(name, text):
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


def add_a_token_that_is_no_bytes(folder):
    broken("merges.txt", "안 녕\n")(folder)
    vocab = json.loads((folder / "vocab.json").read_text())
    broken("vocab.json", json.dumps(vocab | {"안녕": len(vocab)}))(folder)


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (broken("vocab.json", "{"), "no JSON table"),
        (broken("vocab.json", "[1, 2]"), "no JSON table"),
        (broken("vocab.json", '{"a": "x"}'), "no JSON table"),
        (broken("vocab.json", '{"!": 0}'), "do not belong together"),
        (broken("merges.txt", "#version\nx y\n"), "'xy' is not in both"),
        (broken("merges.txt", "h e\nĠ t\nĠt he\n"), "not in the order of merging"),
        (broken("merges.txt", "h e\nh e\n"), "'he' is not in both"),
        (broken("merges.txt", "안 녕\n"), "is not in both"),
        (add_a_token_that_is_no_bytes, "'안녕' is not in both"),
    ],
)
def test_damaged_files_are_one_clear_line(tmp_path, break_it, says):
    paths = gpt2_files(tmp_path)
    break_it(tmp_path)
    with pytest.raises(ValueError, match=says) as caught:
        from_gpt2_files(*paths)
    assert "\n" not in str(caught.value)


@pytest.fixture
def a_server(tmp_path, monkeypatch):
    """A folder with GPT-2's remote names, as a file: address; the hashes fit."""
    remote = tmp_path / "remote"
    remote.mkdir()
    vocab, merges = gpt2_files(remote)
    vocab.rename(remote / "encoder.json")
    merges.rename(remote / "vocab.bpe")
    files = {
        name: (there, hashlib.sha256((remote / there).read_bytes()).hexdigest())
        for name, (there, _) in module.GPT2_FILES.items()
    }
    monkeypatch.setattr(module, "GPT2_FILES", files)
    return remote


def test_downloaded_files_can_be_used(tmp_path, a_server):
    download_gpt2_files(tmp_path / "gpt2", url=a_server.as_uri())
    paths = tmp_path / "gpt2" / "vocab.json", tmp_path / "gpt2" / "merges.txt"
    assert len(from_gpt2_files(*paths)[0]) == 261


def test_another_file_than_the_published_one_is_not_kept(tmp_path, a_server):
    (a_server / "encoder.json").write_text("{}")
    with pytest.raises(ValueError, match="not the published file"):
        download_gpt2_files(tmp_path / "gpt2", url=a_server.as_uri())
    assert not (tmp_path / "gpt2").exists()


def test_no_network_is_one_clear_line(tmp_path):
    nowhere = (tmp_path / "nowhere").as_uri()
    with pytest.raises(OSError, match=r"encoder\.json cannot be reached"):
        download_gpt2_files(tmp_path / "gpt2", url=nowhere)


# Windows and batches


def test_windows_by_hand():
    inputs, targets = windows(torch.tensor([7, 1, 8, 2, 9, 3, 5, 4]), context=3)
    assert inputs.tolist() == [[7, 1, 8], [2, 9, 3]]
    assert targets.tolist() == [[1, 8, 2], [9, 3, 5]]


def test_windows_with_a_stride_by_hand():
    inputs, targets = windows(torch.arange(8), context=3, stride=2)
    assert inputs.tolist() == [[0, 1, 2], [2, 3, 4], [4, 5, 6]]
    assert targets.tolist() == [[1, 2, 3], [3, 4, 5], [5, 6, 7]]
    inputs, _ = windows(torch.arange(11), context=2, stride=5)
    assert inputs.tolist() == [[0, 1], [5, 6]]


@given(st.integers(1, 7), st.integers(1, 9), st.integers(0, 40))
def test_windows_equal_a_loop(context, stride, more):
    ids = torch.arange(100, 101 + context + more)
    inputs, targets = windows(ids, context, stride)
    starts = [s for s in range(0, len(ids), stride) if s + context < len(ids)]
    assert inputs.tolist() == [ids[s : s + context].tolist() for s in starts]
    assert targets.tolist() == [ids[s + 1 : s + 1 + context].tolist() for s in starts]
    assert len(starts) == (len(ids) - context - 1) // stride + 1


@pytest.mark.parametrize(
    ("shape", "context", "stride", "says"),
    [
        ((5,), 5, None, "at least 6"),
        ((0,), 1, None, "at least 2"),
        ((2, 9), 3, None, r"shape \(2, 9\), expected one row"),
        ((9,), 0, None, "context 0"),
        ((9,), 3, 0, "stride 0"),
    ],
)
def test_impossible_windows_are_refused(shape, context, stride, says):
    with pytest.raises(ValueError, match=says):
        windows(torch.zeros(shape, dtype=torch.int64), context, stride)


def test_batches_in_order_and_the_last_is_smaller():
    inputs, targets = windows(torch.arange(22), context=3)
    got = [(x[:, 0].tolist(), y[:, 0].tolist()) for x, y in batches(inputs, targets, 3)]
    assert got == [
        ([0, 3, 6], [1, 4, 7]),
        ([9, 12, 15], [10, 13, 16]),
        ([18], [19]),
    ]


def test_shuffled_batches_hold_every_window_once_and_keep_its_targets():
    inputs, targets = windows(torch.arange(100), context=3)

    def go(seed):
        generator = torch.Generator().manual_seed(seed)
        return list(batches(inputs, targets, 5, generator))

    seen = torch.cat([x for x, _ in go(0)])
    assert not torch.equal(seen, inputs)
    assert sorted(seen[:, 0].tolist()) == inputs[:, 0].tolist()
    assert all(torch.equal(x + 1, y) for x, y in go(0))
    assert torch.equal(torch.cat([x for x, _ in go(0)]), seen)
    assert not torch.equal(torch.cat([x for x, _ in go(1)]), seen)


def test_impossible_batches_are_refused():
    ids = torch.zeros(5, 2)
    with pytest.raises(ValueError, match="batch_size is 0"):
        next(batches(ids, ids, 0))
    with pytest.raises(ValueError, match="differ"):
        next(batches(ids, ids[:3], 2))


# Embeddings


def test_embedding_equals_one_hot_products_in_value_and_gradient():
    torch.manual_seed(0)
    module = TokenAndPositionEmbedding(vocab_size=11, context=7, width=5).double()
    ids = torch.tensor([[3, 3, 10], [0, 3, 1]])
    x = module(ids)
    assert x.shape == (2, 3, 5)
    tokens = module.token_embedding.weight.detach().clone().requires_grad_()
    positions = module.position_embedding.weight.detach().clone().requires_grad_()
    one_hot = F.one_hot(ids, 11).double() @ tokens
    expected = one_hot + torch.eye(7, dtype=torch.float64)[:3] @ positions
    assert_close(x, expected)
    weights = torch.arange(30, dtype=torch.float64).reshape(2, 3, 5).cos()
    (x * weights).sum().backward()
    (expected * weights).sum().backward()
    assert_close(module.token_embedding.weight.grad, tokens.grad)
    assert_close(module.position_embedding.weight.grad, positions.grad)


def test_the_same_token_differs_by_position_only():
    module = TokenAndPositionEmbedding(vocab_size=11, context=7, width=5)
    x = module(torch.tensor([[4, 4], [9, 9]]))
    assert_close(x[0, 0] - x[0, 1], x[1, 0] - x[1, 1])
    assert not torch.equal(x[0, 0], x[0, 1])


def test_parameters_of_the_embedding():
    module = TokenAndPositionEmbedding(vocab_size=11, context=7, width=5)
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    assert shapes == {
        "token_embedding.weight": (11, 5),
        "position_embedding.weight": (7, 5),
    }


def test_a_sequence_over_the_context_is_refused():
    module = TokenAndPositionEmbedding(vocab_size=11, context=3, width=5)
    assert module(torch.zeros(2, 3, dtype=torch.int64)).shape == (2, 3, 5)
    with pytest.raises(ValueError, match=r"4 tokens do not fit the context of 3"):
        module(torch.zeros(2, 4, dtype=torch.int64))


def test_the_positions_follow_the_ids_to_their_device():
    module = TokenAndPositionEmbedding(vocab_size=11, context=3, width=5)
    ids = torch.zeros(2, 3, dtype=torch.int64)
    places = []
    module.position_embedding.register_forward_pre_hook(
        lambda _, given: places.append(given[0].device)
    )
    with torch.device("meta"):  # where a tensor made without `device=` would go
        module(ids)
    assert places == [ids.device]
