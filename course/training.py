"""A training run in a folder: what `sundays train` does around the loop of the chapter.

    result = training.run(Settings("stories", size="tiny"), Path("my-gpt"))

The folder holds the run and, at its end, the model:

    data/                    the text as tokens, see `course.dataset`
    checkpoint.safetensors   weights, optimizers, steps done, see `course.checkpoints`
    log.jsonl                a line for every few steps, and for every evaluation
    config.json  model.safetensors  vocabulary.txt     see `course.pretrained`

The same call goes on where a run was stopped, by Ctrl+C, a kill or a power cut, and on
a CPU it ends bit for bit as if it had not been. On CUDA the model is compiled and runs
in bfloat16. Under `torchrun` the rows of each batch are shared out among the processes:
each has the whole model (DDP), or, with `sharded`, a part of it (FSDP2).
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from tqdm.auto import tqdm

from course import checkpoints, dataset, generation, pretrained
from course.checkpoints import CheckpointError
from course.fast import InBfloat16, build, compiled_step, keep_pages
from course.files import write_atomically
from course.processes import Machine, machine
from solutions.gpt_block import PRESETS, GPTConfig
from solutions.pretraining import Plan, evaluate, optimizers, pretrain

STORY_VOCABULARY = 1600
"""At most 1,745 are possible: then every word of the stories is one token."""

LARGEST_SEED = 2**40
"""Each step has a seed of its own, made of this one; it must fit 64 bits."""


class TrainingError(ValueError):
    """A run that cannot begin or go on: says what was wrong and what to do."""


@dataclass(frozen=True)
class Settings:
    """All that decides how a run ends. `rows` of `context` tokens make a batch.

    Where `layers`, `width`, `heads` or `context` is None, it is that of the size.
    """

    source: str = "stories"
    size: str = "tiny"
    steps: int = 2700
    rows: int = 16
    pieces: int = 1
    layers: int | None = None
    width: int | None = None
    heads: int | None = None
    context: int | None = None
    vocab_size: int | None = None
    optimizer: str = "muon"
    rate: float = 0.008
    weight_decay: float = 0.1
    warmup: int = 100
    lowest: float = 0.0
    clip: float = 1.0
    dropout: float = 0.0
    seed: int = 0

    def config(self) -> GPTConfig:
        """The model of this run.

        Raises:
            TrainingError: if there can be none.
        """
        if self.size not in PRESETS:
            raise TrainingError(
                f"no size {self.size!r}: expected one of {', '.join(PRESETS)}"
            )
        changed = {
            "vocab_size": self.vocab_size,
            "n_positions": self.context,
            "n_layer": self.layers,
            "n_embd": self.width,
            "n_head": self.heads,
        }
        if self.vocab_size is None and self.source.split(":")[0] == "stories":
            changed["vocab_size"] = STORY_VOCABULARY
        given = {name: value for name, value in changed.items() if value is not None}
        dropout = dict.fromkeys(
            ("embd_pdrop", "attn_pdrop", "resid_pdrop"), self.dropout
        )
        try:
            return replace(PRESETS[self.size], **given, **dropout)
        except ValueError as problem:
            raise TrainingError(str(problem)) from None

    def plan(self) -> Plan:
        """What the loop does at which step."""
        return Plan(self.steps, self.warmup, self.lowest, self.clip, self.seed)

    def check(self, here: Machine) -> None:
        """Refuse what cannot be, in one line.

        Raises:
            TrainingError: if it cannot.
        """
        for name in "steps", "rows", "pieces":
            if getattr(self, name) < 1:
                raise TrainingError(
                    f"{name} is {getattr(self, name)}, expected 1 or more"
                )
        if self.optimizer not in ("muon", "adamw"):
            raise TrainingError(
                f"no optimizer {self.optimizer!r}: expected muon or adamw"
            )
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise TrainingError(f"the rate is {self.rate}, expected more than 0")
        if not self.clip > 0:
            raise TrainingError(f"clip is {self.clip}, expected more than 0")
        for name, most in ("weight_decay", 1), ("lowest", 1), ("seed", LARGEST_SEED):
            if not 0 <= getattr(self, name) <= most:
                raise TrainingError(
                    f"{name} is {getattr(self, name)}, expected 0 to {most}"
                )
        if not 0 <= self.warmup <= self.steps:
            raise TrainingError(
                f"a warmup of {self.warmup} steps does not fit a run of {self.steps}"
            )
        if here.sharded and self.optimizer == "muon":
            raise TrainingError(
                "Muon turns whole matrices, and here each process has a part of them: "
                "give --optimizer adamw"
            )
        share = self.pieces * here.processes
        if self.rows % share:
            raise TrainingError(
                f"{self.rows} rows cannot be shared out among {here.processes} "
                f"processes with {self.pieces} pieces each: give a multiple of {share}"
            )


def run(
    settings: Settings,
    folder: Path,
    *,
    device: str | None = None,
    sharded: bool = False,
    every: int = 100,
    progress: bool = True,
    watch: Callable[[int, float], None] | None = None,
) -> dict[str, Any]:
    """Train to the end, from the checkpoint in the folder if there is one.

    Args:
        device: `cpu`, `cuda`, ...; None: CUDA if there is one.
        sharded: with several processes, give each a part of the model.
        every: evaluate, write some text and keep a checkpoint after so many steps.
        progress: show a bar.
        watch: called with (steps done, bits per character) at each evaluation.

    Raises:
        TrainingError: if settings, text, checkpoint, disk or loss do not allow it; the
            last good checkpoint stays.
        KeyboardInterrupt: if it was stopped by a signal, after a checkpoint.
    """
    try:
        with machine(device, sharded) as here:
            settings.check(here)
            if every < 1:
                raise TrainingError(f"every is {every}, expected 1 or more")
            return Run(settings, folder, here).to_the_end(every, progress, watch)
    except OSError as problem:
        raise TrainingError(
            f"{problem.filename or folder}: {problem.strerror or problem}. Make room, "
            "or choose another folder; a checkpoint that was there is kept, and the "
            "same command goes on from it"
        ) from None
    except TrainingError:
        raise
    except ValueError as problem:  # the one line of a text, checkpoint or device
        raise TrainingError(str(problem)) from None


class Run:
    """A run in its folder, at the step to which its checkpoint has come."""

    def __init__(self, settings: Settings, folder: Path, here: Machine) -> None:
        keep_pages()
        self.settings, self.folder, self.here = settings, folder, here
        self.config = settings.config()
        self.data = self._data()
        self.inner = build(self.config, settings.seed).to(here.device)
        self.model = self._made_ready()
        self.optimizers = optimizers(
            self.inner,
            settings.rate,
            settings.weight_decay,
            muon=settings.optimizer == "muon",
        )
        self.checkpoint = folder / "checkpoint.safetensors"
        self.record = {"settings": asdict(settings), "data": self.data.fingerprint}
        self.step = self._resumed()

    def to_the_end(
        self, every: int, progress: bool, watch: Callable[[int, float], None] | None
    ) -> dict[str, Any]:
        """Train, keep the model, and say what came of it."""
        last, here = self.settings.steps, self.here
        log = Log(self.folder / "log.jsonl", self.step) if here.leads else None
        steps = pretrain(
            self.model,
            self._parts,
            self.optimizers,
            self.settings.plan(),
            self.step,
            compiled_step() if self.on_gpu else None,
        )
        bar = tqdm(
            total=last,
            initial=self.step,
            unit="step",
            disable=not (progress and here.leads),
        )
        bits, stop = math.nan, False
        with bar, _stop_asked() as asked:
            while self.step < last and not stop:
                began = time.perf_counter()
                loss = self._next(steps)
                stop = here.any(asked.is_set())
                speed = self.tokens_per_step / (time.perf_counter() - began)
                bar.update()
                bar.set_postfix_str(f"{loss:.3f} bits/char, {speed:,.0f} tokens/s")
                if log and self.step % 10 == 0:
                    log.add(step=self.step, loss=round(loss, 5))
                if self.step % every == 0 or self.step == last or stop:
                    bits = self.bits_per_character()
                    text = self.sample()
                    self.keep()
                    if log:
                        entry = {"bits_per_character": round(bits, 5), "text": text}
                        log.add(step=self.step, **entry)
                    if watch:
                        watch(self.step, bits)
        if self.step < last:
            raise KeyboardInterrupt
        if math.isnan(bits):  # a run that had come to its end before
            bits = self.bits_per_character()
        self.finish()
        return {
            "steps": self.step,
            "tokens": self.step * self.tokens_per_step,
            "parameters": sum(p.numel() for p in self.inner.parameters()),
            "bits_per_character": bits,
            "floor": self.data.floor,
            "device": str(here.device),
        }

    @property
    def on_gpu(self) -> bool:
        return self.here.device.type == "cuda"

    @property
    def tokens_per_step(self) -> int:
        return self.settings.rows * self.config.n_positions

    def _data(self) -> dataset.Dataset:
        """The text as tokens, made by one process and read by all."""
        folder, size = self.folder / "data", self.config.vocab_size
        if self.here.leads:
            dataset.prepare(self.settings.source, folder, size)
        self.here.wait()
        return dataset.prepare(self.settings.source, folder, size)

    def _made_ready(self) -> nn.Module:
        """The model as it is trained; its weights are those of `inner`."""
        model = self.here.spread(self.inner)
        return InBfloat16(model) if self.on_gpu else model

    def _resumed(self) -> int:
        """Put back what the checkpoint holds; how many steps were done.

        Raises:
            CheckpointError: if it is damaged, or of another run.
        """
        if not self.checkpoint.is_file():
            return 0
        tensors, about = checkpoints.read(self.checkpoint)
        then, now = about["settings"], self.record["settings"]
        changed = [name for name in now if then.get(name) != now[name]]
        if changed:
            name = changed[0]
            raise CheckpointError(
                f"{self.folder} holds a run with {name} {then.get(name)!r}, not "
                f"{now[name]!r}: give the same settings to go on with it, or another "
                "folder to begin a new one"
            )
        if about["data"] != self.data.fingerprint:
            raise CheckpointError(
                f"the text of {self.folder} is another one than the checkpoint was "
                "trained on: give another folder to begin anew"
            )
        checkpoints.restore(self.inner, self.optimizers, tensors)
        return about["step"]

    def _parts(self, step: int) -> list[Tensor]:
        """This process's share of the batch of a step, in pieces."""
        settings, here = self.settings, self.here
        parts = settings.pieces * here.processes
        mine = range(here.rank * settings.pieces, (here.rank + 1) * settings.pieces)
        return [
            self.data.draw(
                step,
                settings.rows,
                self.config.n_positions,
                settings.seed,
                part,
                parts,
            ).to(here.device, non_blocking=True)
            for part in mine
        ]

    def _next(self, steps: Iterator[tuple[int, Tensor]]) -> float:
        """Take a step: the loss of its whole batch, in bits per character."""
        try:
            self.step, loss = next(steps)
        except FloatingPointError as problem:
            kept = "no checkpoint was written yet"
            if self.checkpoint.is_file():
                kept = f"{self.checkpoint} is as it was"
            raise TrainingError(
                f"step {self.step + 1} has no finite loss or gradient ({problem}): "
                f"lower the rate, which is {self.settings.rate}; {kept}"
            ) from None
        nats = self.here.mean(loss)
        return nats / math.log(2) * self.data.tokens_per_character

    def bits_per_character(self) -> float:
        """On the text that is held out, in float32 and with nothing compiled.

        The rows differ in length: each length would be compiled anew.
        """
        batches = self.data.held_out_batches(self.config.n_positions)
        nats, tokens = evaluate(
            self.inner, (ids.to(self.here.device) for ids in batches)
        )
        return self.data.bits_per_character(nats, tokens)

    def sample(self, tokens: int = 120) -> str:
        """Some text that the model writes now, from its usual beginning."""
        if self.here.sharded:  # no process has a whole model to write with
            return ""
        pieces = generation.text(
            self.inner,
            self.data.encoding,
            "",
            tokens=min(tokens, self.config.n_positions - 1),
            seed=self.settings.seed,
        )
        return "".join(pieces)

    def keep(self) -> None:
        """Write the checkpoint: every process has to take part."""
        tensors = checkpoints.state(self.inner, self.optimizers)
        if self.here.leads:
            about = {**self.record, "step": self.step}
            checkpoints.write(self.checkpoint, tensors, about)

    def finish(self) -> None:
        """Write the model, as other programs read it."""
        weights = checkpoints.state(self.inner, [])
        if self.here.leads:
            model = build(self.config, self.settings.seed)
            checkpoints.restore(model, [], weights)
            pretrained.save(self.folder, model, self.data.ranks)
        self.here.wait()


class Log:
    """A line of JSON for every few steps, and for every evaluation.

    Each says after how many seconds it was written, counted over all processes that
    have gone on with the run one after another.
    """

    def __init__(self, path: Path, step: int) -> None:
        """Go on at a step: what was logged after it will be done again."""
        self.path = path
        kept = [entry for entry in read_log(path) if entry["step"] <= step]
        before = kept[-1]["seconds"] if kept else 0.0
        self.began = time.perf_counter() - before
        write_atomically(path, "".join(json.dumps(entry) + "\n" for entry in kept))

    def add(self, **entry: Any) -> None:
        entry["seconds"] = round(time.perf_counter() - self.began, 2)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; one that a crash has cut off is left out."""
    entries = []
    for line in path.read_text("utf-8").splitlines() if path.is_file() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            break
        if not isinstance(entry, dict) or not {"step", "seconds"} <= entry.keys():
            break
        entries.append(entry)
    return entries


def summary(result: dict[str, Any], folder: Path) -> str:
    """What came of a run, in two lines."""
    bits, floor = result["bits_per_character"], result["floor"]
    above = f", {100 * (bits / floor - 1):.1f} % above the floor" if floor else ""
    return (
        f"{result['parameters']:,} parameters, {result['tokens']:,} tokens: "
        f"{bits:.4f} bits per character on text that was held out{above}.\n"
        f"Try it: sundays generate --model {folder}"
    )


@contextmanager
def _stop_asked() -> Iterator[threading.Event]:
    """Set by Ctrl+C or a polite kill, to stop between two steps and not within one."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked  # only the main thread gets signals
        return
    names = signal.SIGINT, signal.SIGTERM
    before = [signal.signal(name, lambda *_: asked.set()) for name in names]
    try:
        yield asked
    finally:
        for name, handler in zip(names, before, strict=True):
            signal.signal(name, handler)
