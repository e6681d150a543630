"""What was measured is kept with the machine that it was measured on."""

from __future__ import annotations

import json

import pytest
import torch

from course import records


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "FOLDER", tmp_path)
    return tmp_path


def test_a_record_says_where_it_comes_from(folder):
    path = records.keep("speed", {"ratio": 1.5})
    assert path == folder / "speed.json"
    record = records.load("speed")
    assert record["results"] == {"ratio": 1.5}
    assert record["command"] == "python -m benchmarks.speed"
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]
    assert f"{torch.get_num_threads()} thread" in record["machine"]
    assert record["commit"] == "unknown"  # this folder is in no repository


def test_nothing_measured_is_told(folder):
    with pytest.raises(FileNotFoundError):
        records.load("nothing")


@pytest.mark.parametrize(
    "name",
    [
        "training",
        "training_gpu",
        "generation",
        "learning",
        "sizes",
        "serving",
        "browser",
    ],
)
def test_the_records_of_the_book_are_whole(name):
    record = records.load(name)
    assert record["results"]
    assert record["commit"] not in ("", "unknown")
    assert record["machine"]
    json.dumps(record)
