"""Runs that are killed, fill the disk, break, or are shared out among processes."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

from course import checkpoints, pretrained, training
from course.cli import app
from course.notebooks import ROOT
from course.processes import Machine
from course.training import Log, Settings, TrainingError, read_log
from solutions.pretraining import Muon

SMALL = Settings(
    source="stories:30000",
    size="tiny",
    steps=12,
    rows=4,
    context=24,
    vocab_size=300,
    rate=0.005,
    warmup=3,
    dropout=0.1,
    seed=5,
)
CHECKPOINT = "checkpoint.safetensors"
CPU = torch.device("cpu")

# Processes are forked from a server that has imported all.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__])


def run(folder: Path, settings: Settings = SMALL, every: int = 4, **options) -> dict:
    torch.set_num_threads(1)
    return training.run(settings, folder, every=every, progress=False, **options)


def refusal(folder: Path, settings: Settings = SMALL, **options) -> str:
    with pytest.raises(TrainingError) as caught:
        run(folder, settings, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nothing has disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder)
    return folder


@pytest.fixture
def halfway(tmp_path):
    """The folder of a run that was stopped: asked after step 4, it makes one more."""
    return stopped(tmp_path / "halfway")


def stopped(
    folder: Path, settings: Settings = SMALL, by: int = signal.SIGINT, every: int = 4
) -> Path:
    """The folder of a run that was asked to stop when it measured first."""
    with pytest.raises(KeyboardInterrupt):
        run(folder, settings, every, watch=lambda *_: os.kill(os.getpid(), by))
    return folder


def same_end(folder: Path, whole: Path) -> None:
    """Weights, optimizers and all: every bit."""
    for name in CHECKPOINT, "config.json", "vocabulary.txt":
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    # The head of this file has its entries in any order.
    mine, theirs = (
        safetensors.torch.load_file(place / "model.safetensors")
        for place in (folder, whole)
    )
    assert mine.keys() == theirs.keys()
    assert all(mine[name].equal(theirs[name]) for name in mine)


def steps_of(folder: Path) -> int:
    return checkpoints.read(folder / CHECKPOINT)[1]["step"]


# ---- a run by itself ----------------------------------------------------------------


def test_a_run_learns_and_leaves_a_model(tmp_path):
    settings = replace(SMALL, steps=60, dropout=0.0)
    result = run(tmp_path, settings, every=20)
    told = [
        e["bits_per_character"] for e in read_log(tmp_path / "log.jsonl") if "text" in e
    ]
    assert len(told) == 3
    assert told[2] < told[0]
    # Better than what an even guess among all tokens would cost.
    assert result["bits_per_character"] < 0.5 * math.log2(300)
    assert result["tokens"] == 60 * 4 * 24
    assert result["device"] == "cpu"


def test_the_model_in_the_folder_is_the_one_that_was_measured(whole):
    """`transformers` reads it, and needs as many bits for the held-out stories."""
    from transformers import GPT2LMHeadModel

    from course import dataset

    theirs = GPT2LMHeadModel.from_pretrained(whole).eval()
    data = dataset.prepare(SMALL.source, whole / "data", 300)
    nats, asked = 0.0, 0
    for ids in data.held_out_batches(24):
        with torch.no_grad():
            logits = theirs(ids[:, :-1].clamp(min=0)).logits.log_softmax(dim=-1)
        real = ids[:, 1:] >= 0
        chosen = logits.gather(-1, ids[:, 1:].clamp(min=0).unsqueeze(-1)).squeeze(-1)
        nats -= chosen[real].double().sum().item()
        asked += int(real.sum())
    bits = nats / math.log(2) / data.held_out_characters
    told = read_log(whole / "log.jsonl")[-1]["bits_per_character"]
    assert told == pytest.approx(bits, abs=2e-5)


def test_the_same_settings_end_in_the_same_bits(tmp_path, whole):
    run(tmp_path)
    same_end(tmp_path, whole)


def test_pieces_of_a_batch_change_nothing_but_rounding(tmp_path, whole):
    settings = replace(SMALL, pieces=2, dropout=0.0)
    one = run(tmp_path / "one", replace(settings, pieces=1))
    two = run(tmp_path / "two", settings)
    assert two["bits_per_character"] == pytest.approx(one["bits_per_character"], 1e-5)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_the_optimizers_have_what_the_settings_say(tmp_path, optimizer):
    settings = replace(SMALL, optimizer=optimizer, rate=0.003, weight_decay=0.07)
    begun = training.Run(settings, tmp_path, Machine(CPU))
    kinds = ["Muon", "AdamW"] if optimizer == "muon" else ["AdamW"]
    assert [type(each).__name__ for each in begun.optimizers] == kinds
    groups = [group for each in begun.optimizers for group in each.param_groups]
    assert {group["lr"] for group in groups} == {0.003}
    for group in groups:
        decay = {0.07 if p.dim() == 2 else 0.0 for p in group["params"]}
        assert decay == {group["weight_decay"]}


def test_the_log_tells_loss_and_text(whole):
    entries = read_log(whole / "log.jsonl")
    assert [e["step"] for e in entries] == [4, 8, 10, 12]
    assert [e["step"] for e in entries if "text" in e] == [4, 8, 12]
    seconds = [e["seconds"] for e in entries]
    assert seconds == sorted(seconds)


# ---- stopping and going on ----------------------------------------------------------


def test_a_run_that_was_stopped_ends_bit_for_bit_as_if_it_had_not_been(halfway, whole):
    assert steps_of(halfway) == 5
    assert not (halfway / "model.safetensors").exists()
    run(halfway)
    same_end(halfway, whole)
    steps = [entry["step"] for entry in read_log(halfway / "log.jsonl")]
    assert steps == [4, 5, 8, 10, 12]


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_each_optimizer_goes_on_bit_for_bit(tmp_path, optimizer):
    settings = replace(SMALL, steps=6, optimizer=optimizer)
    run(tmp_path / "whole", settings, every=3)
    stopped(tmp_path / "again", settings, signal.SIGTERM, every=3)
    run(tmp_path / "again", settings, every=3)
    same_end(tmp_path / "again", tmp_path / "whole")


def test_a_run_that_is_done_only_tells_its_result_again(whole):
    before = (whole / CHECKPOINT).stat().st_mtime_ns
    result = run(whole)
    assert (whole / CHECKPOINT).stat().st_mtime_ns == before
    assert result["bits_per_character"] == pytest.approx(
        read_log(whole / "log.jsonl")[-1]["bits_per_character"], abs=1e-5
    )


def killed_in_step(folder: Path, step: int, part: str) -> None:
    """A run that is killed in a step: before it, or between its two optimizers."""
    draw, turn, reached = training.Run._parts, Muon.step, 0

    def drawn(run: training.Run, number: int) -> list[torch.Tensor]:
        nonlocal reached
        reached = number
        if part == "before" and number == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return draw(run, number)

    def turned(optimizer: Muon) -> None:
        turn(optimizer)
        if part == "between" and reached == step:
            os.kill(os.getpid(), signal.SIGKILL)

    training.Run._parts, Muon.step = drawn, turned
    run(folder)


def test_killed_again_and_again_it_ends_bit_for_bit_the_same(tmp_path, whole):
    """With checkpoints after 4 and 8 steps, it comes back to them, and goes on."""
    for step, part, kept in (
        (0, "before", None),
        (2, "between", None),
        (5, "between", 4),
        (4, "before", 4),
        (7, "between", 4),
        (8, "before", 8),
        (11, "between", 8),
    ):
        process = FORKS.Process(target=killed_in_step, args=(tmp_path, step, part))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        assert (tmp_path / CHECKPOINT).exists() == (kept is not None)
        if kept:
            assert steps_of(tmp_path) == kept
    run(tmp_path)
    same_end(tmp_path, whole)
    # What was logged between a checkpoint and a kill is not told twice.
    steps = [entry["step"] for entry in read_log(tmp_path / "log.jsonl")]
    assert steps == [4, 8, 10, 12]


@pytest.mark.parametrize("seconds", [0.1, 0.5, 1.0, 1.5, 2.0])
def test_killed_at_any_time_it_ends_bit_for_bit_the_same(tmp_path, whole, seconds):
    """Where this hits depends on the machine: tokens, a step, a checkpoint, nothing."""
    process = FORKS.Process(target=run, args=(tmp_path,))
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    run(tmp_path)
    same_end(tmp_path, whole)


def killed_at_write(folder: Path, number: int) -> None:
    """A run that is killed in the middle of the so-manyth write of a checkpoint."""
    real, count = Path.replace, 0

    def replace_or_die(path: Path, target: Path) -> Path:
        nonlocal count
        if Path(target).name == CHECKPOINT:
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
        return real(path, target)

    Path.replace = replace_or_die
    run(folder)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_killed_while_a_checkpoint_is_written_the_one_before_stays(
    tmp_path, whole, number
):
    process = FORKS.Process(target=killed_at_write, args=(tmp_path, number))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    if number == 1:
        assert not (tmp_path / CHECKPOINT).exists()
    else:
        assert steps_of(tmp_path) == 4 * (number - 1)
    run(tmp_path)
    same_end(tmp_path, whole)


# ---- what goes wrong ----------------------------------------------------------------


def with_a_full_disk(folder: Path, said: Path) -> None:
    """Go on with files no longer than 1 MB: the next checkpoint does not fit."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    try:
        run(folder)
    except TrainingError as problem:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        said.write_text(str(problem))


def test_a_full_disk_is_told_and_the_last_checkpoint_kept(halfway, tmp_path, whole):
    said = tmp_path / "said"
    process = FORKS.Process(target=with_a_full_disk, args=(halfway, said))
    process.start()
    process.join(60)
    assert "Make room, or choose another folder" in said.read_text()
    assert "\n" not in said.read_text()
    assert steps_of(halfway) == 5
    assert not list(halfway.glob(".unfinished-*"))
    run(halfway)
    same_end(halfway, whole)


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_checkpoint(
    halfway, whole, monkeypatch
):
    draw, broken = training.Run._parts, True

    def poisoned(self, step):
        if step == 6 and broken:
            with torch.no_grad():
                self.inner.norm.weight[0] = math.nan
        return draw(self, step)

    monkeypatch.setattr(training.Run, "_parts", poisoned)
    said = refusal(halfway)
    assert "step 7 has no finite loss" in said
    assert "lower the rate, which is 0.005" in said
    assert steps_of(halfway) == 5
    broken = False
    run(halfway)
    same_end(halfway, whole)


@pytest.mark.parametrize("change", ["steps", "rate", "seed", "context", "optimizer"])
def test_another_run_does_not_go_on_from_a_checkpoint(halfway, change):
    other = {"steps": 13, "rate": 0.5, "seed": 6, "context": 16, "optimizer": "adamw"}
    said = refusal(halfway, replace(SMALL, **{change: other[change]}))
    assert f"holds a run with {change} {getattr(SMALL, change)!r}" in said
    assert repr(other[change]) in said


def test_another_text_in_the_folder_is_told(halfway):
    record = halfway / "data" / "data.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"sha256": "0"}))
    assert "the text of" in refusal(halfway)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is damaged"),
        (b"no safetensors at all", "is damaged"),
        (None, "is damaged"),
        ({"x": torch.zeros(2)}, "is no checkpoint of a training run"),
    ],
    ids=["empty", "foreign", "cut off", "other safetensors"],
)
def test_a_checkpoint_that_cannot_be_used_is_told(halfway, content, says):
    path = halfway / CHECKPOINT
    whole = path.read_bytes()
    if content is None:
        content = whole[: len(whole) // 2]
    elif isinstance(content, dict):
        content = safetensors.torch.save(content)
    path.write_bytes(content)
    said = refusal(halfway)
    assert says in said
    assert CHECKPOINT in said
    assert path.read_bytes() == content


def test_a_checkpoint_of_another_model_is_told(halfway):
    path = halfway / CHECKPOINT
    tensors, about = checkpoints.read(path)
    tensors["model.norm.weight"] = torch.ones(7)
    checkpoints.write(path, tensors, about)
    assert "the weights of another model" in refusal(halfway)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": "huge"}, "expected one of tiny, small, gpt2"),
        ({"steps": 0}, "steps is 0, expected 1 or more"),
        ({"rows": 5, "pieces": 2}, "give a multiple of 2"),
        ({"optimizer": "sgd"}, "expected muon or adamw"),
        ({"rate": math.nan}, "expected more than 0"),
        ({"warmup": 13}, "a warmup of 13 steps does not fit a run of 12"),
        ({"dropout": 1.5}, "embd_pdrop is 1.5"),
        ({"width": 0}, "n_embd is 0, expected 1 or more"),
        ({"layers": 0}, "n_layer is 0, expected 1 or more"),
        ({"heads": 3}, "n_head 3 does not divide n_embd 128"),
        ({"vocab_size": 0}, "vocab_size is 0, expected 1 or more"),
        ({"clip": 0.0}, "clip is 0.0, expected more than 0"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1, expected 0 to 1"),
        ({"lowest": math.nan}, "lowest is nan, expected 0 to 1"),
        ({"seed": -1}, "seed is -1, expected 0 to"),
        ({"seed": 2**60}, "expected 0 to"),
        ({"context": 90_000, "steps": 1, "warmup": 0}, "a window takes 90001"),
        ({"vocab_size": 100}, "expected 256 (all bytes)"),
        ({"source": "nowhere.txt"}, "nowhere.txt does not exist"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_settings_that_cannot_be_are_refused(tmp_path, change, says):
    assert says in refusal(tmp_path, replace(SMALL, **change))


@pytest.mark.parametrize("device", ["cuda:99", "meta", "abacus"])
def test_a_device_that_is_not_there_is_refused(tmp_path, device):
    assert f"there is no device '{device}' here" in refusal(tmp_path, device=device)


def test_a_log_counts_its_seconds_on_from_where_the_run_was_stopped(tmp_path):
    path = tmp_path / "log.jsonl"
    lines = ['{"step": 1, "seconds": 500.0}', '{"step": 9, "seconds": 900.0}']
    path.write_text("\n".join(lines) + "\n")
    Log(path, 5).add(step=6)  # step 9 will be done again
    first, second = read_log(path)
    assert (first["step"], second["step"]) == (1, 6)
    assert 500 <= second["seconds"] < 900


def test_a_damaged_log_is_read_as_far_as_it_goes(tmp_path):
    path = tmp_path / "log.jsonl"
    for damaged in '{"step": 2, "sec', "[2, 0.7]", '{"step": 2}', "null":
        path.write_text('{"step": 1, "seconds": 0.5}\n' + damaged)
        assert read_log(path) == [{"step": 1, "seconds": 0.5}]


# ---- the command --------------------------------------------------------------------


def options(settings: Settings, out: Path) -> list[str]:
    names = "size", "steps", "rows", "context", "warmup", "dropout", "seed", "rate"
    given = [f"--{name}={getattr(settings, name)}" for name in names]
    given += [
        f"--vocab-size={settings.vocab_size}",
        f"--optimizer={settings.optimizer}",
    ]
    return ["train", settings.source, f"--out={out}", "--every=4", *given]


def test_the_command_is_the_same_run(tmp_path, whole):
    torch.set_num_threads(1)
    told = CliRunner().invoke(app, options(SMALL, tmp_path))
    assert told.exit_code == 0, told.output
    same_end(tmp_path, whole)
    assert "bits per character on text that was held out" in told.stdout
    assert f"sundays generate --model {tmp_path}" in told.stdout


def test_the_command_says_in_one_line_what_is_wrong(tmp_path):
    told = CliRunner().invoke(app, ["train", "nowhere.txt", f"--out={tmp_path}"])
    assert told.exit_code == 1
    assert "nowhere.txt does not exist" in told.output
    assert "Traceback" not in told.output


# ---- several processes --------------------------------------------------------------


def torchrun(
    folder: Path, settings: Settings, *more: str
) -> subprocess.CompletedProcess:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command += [f"--master-port={port}", "-m", "course.cli"]
    return subprocess.run(
        [*command, *options(settings, folder), "--device=cpu", *more],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("sharded", [False, True], ids=["DDP", "FSDP2"])
def test_two_processes_learn_what_one_learns_from_the_same_batches(tmp_path, sharded):
    settings = replace(SMALL, dropout=0.0, optimizer="adamw" if sharded else "muon")
    one = run(tmp_path / "one", settings)
    told = torchrun(tmp_path / "two", settings, *["--sharded"] * sharded)
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("held out") == 1  # one process speaks
    logs = [read_log(tmp_path / name / "log.jsonl") for name in ("one", "two")]
    for mine, theirs in zip(*logs, strict=True):
        assert mine["step"] == theirs["step"]
        for key in {"loss", "bits_per_character"} & mine.keys():
            # Sums in another order: the last digits of float32.
            assert theirs[key] == pytest.approx(mine[key], abs=2e-4)
    assert one["steps"] == steps_of(tmp_path / "two")
    mine, theirs = (pretrained.load(tmp_path / name)[0] for name in ("one", "two"))
    for name, value in mine.state_dict().items():
        torch.testing.assert_close(theirs.state_dict()[name], value, rtol=0, atol=1e-3)
    # What two processes have trained, one goes on with: the checkpoint is whole.
    assert run(tmp_path / "two", settings)["bits_per_character"] == pytest.approx(
        one["bits_per_character"], abs=2e-4
    )


@pytest.mark.parametrize("sharded", [False, True], ids=["DDP", "FSDP2"])
def test_two_processes_go_on_with_what_one_has_begun(tmp_path, sharded):
    """Each gets its part of the weights, and of what the optimizers remember."""
    settings = replace(SMALL, dropout=0.0, optimizer="adamw" if sharded else "muon")
    one = run(tmp_path / "one", settings)
    stopped(tmp_path / "two", settings)
    told = torchrun(tmp_path / "two", settings, *["--sharded"] * sharded)
    assert told.returncode == 0, told.stderr
    last = read_log(tmp_path / "two" / "log.jsonl")[-1]
    assert last["step"] == one["steps"]
    assert last["bits_per_character"] == pytest.approx(
        one["bits_per_character"], abs=2e-4
    )


@pytest.mark.parametrize(
    ("change", "here", "says"),
    [
        ({"rows": 3}, Machine(CPU, 0, 2), "3 rows cannot be shared out among 2"),
        ({}, Machine(CPU, 1, 2, sharded=True), "give --optimizer adamw"),
    ],
)
def test_processes_that_cannot_share_the_work_say_so(change, here, says):
    with pytest.raises(TrainingError, match=says):
        replace(SMALL, **change).check(here)


def test_one_process_is_not_sharded(tmp_path):
    assert "torchrun --nproc-per-node 2" in refusal(tmp_path, sharded=True)
