"""Text becomes tokens on disk, and a step's batch is found again from its number."""

from __future__ import annotations

import json
import math
import re
from itertools import islice

import numpy as np
import pytest
import torch

from course import corpus, dataset
from course.corpus import CorpusError
from solutions.pretraining import NOTHING

SOURCE = "stories:60000"
VOCABULARY = 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def data(folder):
    return dataset.prepare(SOURCE, folder, VOCABULARY)


def refusal(source, folder, vocab_size=VOCABULARY) -> str:
    with pytest.raises(CorpusError) as caught:
        dataset.prepare(str(source), folder, vocab_size)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- what is on disk ----------------------------------------------------------------


def test_the_tokens_are_the_text(data):
    assert data.encoding.decode(data.tokens.tolist()) == corpus.write(60_000, 1)
    assert data.characters == len(corpus.write(60_000, 1))


def test_the_tokens_are_mapped_not_read(data):
    assert isinstance(data.tokens, np.memmap)
    assert data.tokens.dtype == np.uint16


def test_the_text_is_cut_where_the_tokenizer_cuts(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "CHUNK", 700)  # many pieces of a few stories
    data = dataset.prepare(SOURCE, tmp_path, VOCABULARY)
    whole = data.encoding.encode_ordinary(corpus.write(60_000, 1))
    assert data.tokens.tolist() == whole


def test_the_end_of_the_text_is_cut_like_every_other_end_of_a_story(tmp_path):
    """Also with a vocabulary so large that it knows the separator as one token."""
    most = int(
        re.search(r"after (\d+) tokens", refusal("stories:2000", tmp_path, 1700))[1]
    )
    data = dataset.prepare("stories:2000", tmp_path, most)
    assert b"\n\n" in data.ranks
    assert data.tokens[-2:].tolist() == [10, 10]


def test_a_second_call_reads_what_the_first_one_made(data, folder, monkeypatch):
    monkeypatch.setattr(dataset, "_make", None)
    again = dataset.prepare(SOURCE, folder, VOCABULARY)
    assert again.tokens.tolist() == data.tokens.tolist()
    assert again.fingerprint == data.fingerprint


def test_a_call_that_was_stopped_is_made_again(tmp_path, monkeypatch, data):
    with monkeypatch.context() as patch:
        patch.setattr(dataset, "_beginning", lambda texts: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            dataset.prepare(SOURCE, tmp_path, VOCABULARY)
    (tmp_path / "tokens.bin").write_bytes(b"half")
    again = dataset.prepare(SOURCE, tmp_path, VOCABULARY)
    assert again.fingerprint == data.fingerprint


# ---- batches ------------------------------------------------------------------------


def test_a_window_of_stories_begins_with_a_story(data):
    beginnings = {s.text[:12] for s in islice(corpus.stories(1), 200)}
    rows = data.draw(step=3, rows=20, context=400)
    assert rows.shape == (20, 401)
    assert rows.dtype == torch.int64
    for row in rows.tolist():
        text = data.encoding.decode(row)
        assert text[0] == "\n"
        assert text[1:13] in beginnings


def test_every_story_with_room_for_a_window_can_be_drawn(data):
    rows = data.draw(step=0, rows=2000, context=400)
    stories = corpus.write(60_000, 1).split(corpus.SEPARATOR)
    # Not the first one, before which nothing stands; the last one may be too short.
    drawn = {data.encoding.decode(row)[1:41] for row in rows.tolist()}
    assert {story[:40] for story in stories[1:-3]} <= drawn


def test_where_no_whole_story_fits_a_window_begins_anywhere(data):
    rows = data.draw(step=0, rows=500, context=20)
    begins = sum(row[0] == 10 for row in rows.tolist())
    assert begins < 50


def test_a_step_draws_the_same_and_another_step_or_seed_does_not(data):
    first = data.draw(step=5, rows=8, context=16, seed=1)
    assert first.equal(data.draw(step=5, rows=8, context=16, seed=1))
    assert not first.equal(data.draw(step=6, rows=8, context=16, seed=1))
    assert not first.equal(data.draw(step=5, rows=8, context=16, seed=2))


def test_the_parts_of_a_batch_are_all_of_it(data):
    whole = data.draw(step=5, rows=6, context=16)
    parts = [data.draw(5, 6, 16, part=part, parts=3) for part in range(3)]
    assert torch.stack(parts, dim=1).flatten(0, 1).equal(whole)


def test_a_text_shorter_than_a_window_is_refused(data):
    with pytest.raises(CorpusError, match="a window takes 100001: give a longer text"):
        data.draw(step=0, rows=1, context=100_000)


# ---- what is held out ---------------------------------------------------------------


def test_no_story_that_is_held_out_is_learned_from(data):
    learned = corpus.write(60_000, 1)
    texts = [data.encoding.decode(row[1:]) for row in data.held_out]
    assert len(texts) == 12  # a tenth of 60,000 characters
    assert texts[0] == next(corpus.stories(2)).text + corpus.SEPARATOR
    assert not any(text in learned for text in texts)


def test_of_a_long_text_two_hundred_stories_are_held_out():
    assert len(dataset._texts("stories:1000000")[1]) == 200
    assert len(dataset._texts("stories:1000")[1]) == 1


@pytest.mark.parametrize("context", [7, 50, 300])
def test_every_held_out_token_is_asked_once_but_the_first_of_a_row(data, context):
    asked = []
    for batch in data.held_out_batches(context):
        assert batch.shape[1] <= context + 1
        asked += batch[:, 1:][batch[:, 1:] != NOTHING].tolist()
    assert asked == [token for row in data.held_out for token in row[1:]]


def test_bits_per_character_of_a_model_that_knows_nothing(data):
    # Every token costs log2(V) bits; the characters are those of the stories.
    tokens = sum(len(row) - 1 for row in data.held_out)
    characters = sum(len(s.text) + 2 for s in islice(corpus.stories(2), 12))
    bits = data.bits_per_character(math.log(VOCABULARY), tokens)
    assert bits == pytest.approx(math.log2(VOCABULARY) * tokens / characters)
    assert data.floor == corpus.floor()


# ---- other texts --------------------------------------------------------------------


@pytest.fixture
def texts(tmp_path):
    """A folder with two texts, one of them in a folder below it."""
    folder = tmp_path / "texts"
    (folder / "more").mkdir(parents=True)
    (folder / "b.md").write_text("To be, or not to be. " * 100)
    (folder / "more" / "a.txt").write_text("바다가 보인다. " * 200, "utf-8")
    (folder / "picture.png").write_bytes(b"\x89PNG")
    return folder


def test_a_file_is_learned_but_for_its_last_tenth(texts, tmp_path):
    data = dataset.prepare(str(texts / "b.md"), tmp_path / "data", 260)
    whole = "To be, or not to be. " * 100
    assert data.encoding.decode(data.tokens.tolist()) == whole[:1890]
    assert data.encoding.decode(data.held_out[0]) == whole[1890:]
    assert data.floor is None
    assert data.begins is None


def test_a_window_of_any_text_begins_anywhere(texts, tmp_path):
    data = dataset.prepare(str(texts / "b.md"), tmp_path / "data", 256)
    rows = data.draw(step=0, rows=500, context=5)
    assert len({tuple(row) for row in rows.tolist()}) == 21  # the text repeats


def test_a_folder_is_all_its_texts(texts, tmp_path):
    data = dataset.prepare(str(texts), tmp_path / "data", 280)
    text = data.encoding.decode(data.tokens.tolist())
    assert "not to be" in text
    assert "바다가" in text
    assert len(data.held_out) == 2


def test_a_data_set_of_the_hub_is_a_folder(texts, tmp_path, monkeypatch):
    asked = {}

    def snapshot(name, **options):
        asked.update(options, name=name)
        return str(texts)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    data = dataset.prepare("hub:someone/something", tmp_path / "data", 280)
    assert asked["name"] == "someone/something"
    assert asked["repo_type"] == "dataset"
    assert data.characters > 1000


def test_a_data_set_that_cannot_be_reached_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    said = refusal("hub:someone/something", tmp_path)
    assert "of the data set someone/something there is nothing here" in said
    assert "it cannot be fetched from the Hugging Face hub" in said
    assert "give the path of a text file" in said


# ---- what cannot be used ------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "vocab_size", "says"),
    [
        ("stories:few", 400, "expected stories:CHARACTERS"),
        ("stories:10", 400, "with 1000 or more"),
        ("stories:2000", 1700, "no pair is left to merge"),
        ("no-such-file.txt", 400, "does not exist"),
        (SOURCE, 255, "vocab_size is 255, expected 256"),
        (SOURCE, 65_537, "to 65,536"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, source, vocab_size, says):
    assert says in refusal(source, tmp_path, vocab_size)


def test_a_folder_without_texts_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "has no text in it" in refusal(tmp_path / "empty", tmp_path / "data")


def test_a_folder_that_holds_other_tokens_is_refused(folder, data):
    assert "choose another folder" in refusal("stories:70000", folder)
    assert "with vocab_size 400" in refusal(SOURCE, folder, 300)


@pytest.mark.parametrize("name", ["tokens.bin", "vocabulary.txt", "held-out.json"])
def test_damaged_tokens_are_refused(tmp_path, name):
    dataset.prepare("stories:3000", tmp_path, 300)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    assert f"the tokens in {tmp_path} are damaged" in refusal(
        "stories:3000", tmp_path, 300
    )


def test_a_damaged_record_is_refused(tmp_path):
    (tmp_path / "data.json").write_text(json.dumps({"source": "x"})[:-3])
    assert "data.json is damaged" in refusal("stories:3000", tmp_path)
