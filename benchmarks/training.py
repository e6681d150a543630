"""Training steps of ours against `transformers`: `python -m benchmarks.training`.

Both train a GPT of the same size with AdamW on the same random tokens, each in a
process of its own, so that its memory can be told. They take turns; the medians of the
rounds are kept, and how many times as fast ours is. `transformers` runs as its
documentation has it: `labels=ids`, and torch's AdamW with its defaults; once more with
the fused AdamW that ours has. On CUDA all run in bfloat16, ours and theirs compiled, at
GPT-2's own size, and the share of the machine's arithmetic is told, too.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

import torch
from torch import Tensor, nn

from course import records
from course.fast import InBfloat16, build, compiled_step, keep_pages
from solutions.gpt_block import PRESETS, GPTConfig
from solutions.pretraining import optimizers, training_step, utilisation

ROUNDS = 7
RATE = 1e-3


@dataclass(frozen=True)
class Size:
    """A model, and a batch of `rows` texts of `config.n_positions` tokens."""

    config: GPTConfig
    rows: int
    steps: int  # in one round


CPU_SIZES = {
    "4 layers, 128 wide": Size(replace(PRESETS["tiny"], n_positions=128), 16, 10),
    "6 layers, 384 wide": Size(PRESETS["small"], 8, 4),
}
CUDA_SIZES = {"GPT-2, 124 M": Size(PRESETS["gpt2"], 32, 10)}


def ours(size: Size, device: str) -> Callable[[Tensor], Tensor]:
    keep_pages()
    model = build(size.config, seed=0).to(device)
    steppers = optimizers(model, RATE, muon=False)
    if device != "cuda":
        return lambda ids: training_step(model, [ids], steppers)
    used, step = InBfloat16(model), compiled_step()
    return lambda ids: step(used, [ids], steppers)


def theirs(size: Size, device: str, fused: bool = False) -> Callable[[Tensor], Tensor]:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = size.config
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=config.vocab_size,
            n_positions=config.n_positions + 1,  # `labels` shift within the text
            n_embd=config.n_embd,
            n_layer=config.n_layer,
            n_head=config.n_head,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            resid_pdrop=0.0,
        )
    ).to(device)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), RATE, fused=fused or None)
    used = torch.compile(model) if device == "cuda" else model

    def step(ids: Tensor) -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = used(ids, labels=ids).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


def theirs_fused(size: Size, device: str) -> Callable[[Tensor], Tensor]:
    return theirs(size, device, fused=True)


CONTENDERS = {
    "ours": ours,
    "transformers": theirs,
    "transformers, fused AdamW": theirs_fused,
}


def serve(name: str, size: Size, threads: int, pipe) -> None:
    """In a process of its own: for each request some steps; the time, the peak."""
    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    step = CONTENDERS[name](size, device)
    generator = torch.Generator().manual_seed(0)
    shape = (size.rows, size.config.n_positions + 1)
    while (steps := pipe.recv()) is not None:
        batches = [
            torch.randint(size.config.vocab_size, shape, generator=generator).to(device)
            for _ in range(steps)
        ]
        began = time.perf_counter()
        losses = [step(ids) for ids in batches]
        last = losses[-1].item()  # waits for a GPU
        pipe.send((time.perf_counter() - began, peak_bytes(device), last))


def peak_bytes(device: str) -> int:
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    # The system counts in kilobytes, on macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measure(rounds: int = ROUNDS) -> dict:
    """Tokens per second, peak memory, and ours as a multiple of the others."""
    sizes = CUDA_SIZES if torch.cuda.is_available() else CPU_SIZES
    return {name: compared(size, rounds) for name, size in sizes.items()}


def compared(size: Size, rounds: int) -> dict:
    spawn = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name in CONTENDERS:
        pipes[name], far = spawn.Pipe()
        arguments = (name, size, torch.get_num_threads(), far)
        processes.append(spawn.Process(target=serve, args=arguments, daemon=True))
        processes[-1].start()
    times: dict[str, list[float]] = {name: [] for name in pipes}
    memory = {}
    for turn in range(rounds + 1):
        for name, pipe in pipes.items():
            pipe.send(size.steps)
            seconds, memory[name], _ = pipe.recv()
            if turn:  # the first turn is for warming up
                times[name].append(seconds / size.steps)
    for pipe, process in zip(pipes.values(), processes, strict=True):
        pipe.send(None)
        process.join()
    tokens = size.rows * size.config.n_positions
    speed = {name: tokens / median(seconds) for name, seconds in times.items()}
    result = {
        name: {
            "tokens_per_second": round(speed[name]),
            "megabytes": round(memory[name] / 1e6),
            "ours_is_faster": round(speed["ours"] / speed[name], 3),
            "ours_takes_of_its_memory": round(memory["ours"] / memory[name], 3),
        }
        for name in CONTENDERS
    }
    if torch.cuda.is_available():
        peak = matmul_rate()
        for name in CONTENDERS:
            share = utilisation(speed[name], size.config, size.config.n_positions, peak)
            result[name]["utilisation"] = round(share, 3)
        result["matmul_flops_per_second"] = round(peak)
    return result


def matmul_rate(size: int = 8192, repeats: int = 20) -> float:
    """FLOPs per second of bfloat16 matrix products on this GPU, measured."""
    a, b = torch.randn(2, size, size, device="cuda", dtype=torch.bfloat16)
    for _ in range(3):
        a @ b
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(repeats):
        a @ b
    torch.cuda.synchronize()
    return 2 * size**3 * repeats / (time.perf_counter() - began)


def main() -> None:
    results = measure()
    for size, contenders in results.items():
        print(size)
        for name, values in contenders.items():
            print(f"  {name:28} {values}")
    # The book shows what a CPU does, on which its readers can try it again.
    on_gpu = torch.cuda.is_available()
    name = "training_gpu" if on_gpu else "training"
    print(records.keep(name, results, "training"))


if __name__ == "__main__":
    main()
