"""How fast a GPT writes: `python -m benchmarks.generation [THREADS]`.

`course.generation`, in float32 and in int8, against `generate` of `transformers`: one
text, random weights, a prompt of 16 tokens, 200 more, always the likeliest one, keys
and values kept. Each runs in a process of its own, so that its memory can be told, and
they take turns, round by round, after one that warms up. Kept are the medians, and what
int8 costs the model that comes with the course, in bits per character.

Before, it is asserted that ours in float32 writes the same tokens as `transformers`
with the same weights. Times vary by machine and by what else it does; nothing in
`tests/` depends on them.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.training import peak_bytes
from course import pretrained, records
from course.generation import Cache, write
from course.int8 import INT8
from course.layers import Layers
from course.small_model import bits_per_character
from solutions.gpt_block import GPT, PRESETS, GPTConfig, to_gpt2

SIZES = ("tiny", "small", "gpt2")
PROMPT, TOKENS = 16, 200
ROUNDS = 5
STORIES, SEED = 200, 2  # held out, those of the model's card


def main() -> None:
    if len(sys.argv) > 1:
        torch.set_num_threads(int(sys.argv[1]))
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; "
        f"{PROMPT} tokens given, {TOKENS} written"
    )
    if hasattr(os, "getloadavg"):
        print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    results = {"bits_per_character": elsewhere(loss), "sizes": measure()}
    print("bits per character:", results["bits_per_character"])
    for size, contenders in results["sizes"].items():
        print(size)
        for name, values in contenders.items():
            print(f"  {name:14} {values}")
    if len(sys.argv) == 1:
        print(records.keep("generation", results))


def measure(rounds: int = ROUNDS) -> dict[str, dict[str, dict[str, float]]]:
    """For each size and contender its speed and memory, beside `transformers`.

    Raises:
        AssertionError: if ours and `transformers` write different tokens.
    """
    results = {}
    for size in SIZES:
        elsewhere(check, PRESETS[size])
        results[size] = compared(size, rounds)
    return results


def loss() -> dict[str, float]:
    """Bits per character of the model that comes with the course, in both forms."""
    model, encoding = pretrained.load()
    bits = {}
    for name, int8 in {"float32": False, "int8": True}.items():
        cache = Cache(model, batch=50, int8=int8)

        def logits(ids: Tensor, cache: Cache = cache) -> Tensor:
            cache.forget()
            return cache.read_all(ids)

        context = model.config.n_positions
        found = bits_per_character(logits, encoding, STORIES, SEED, context)
        bits[name] = round(found, 5)
    return bits


# ---- the contenders -----------------------------------------------------------------


def ours(config: GPTConfig) -> Callable[[Tensor], Tensor]:
    model = GPT(config)
    return lambda ids: write(model, ids, TOKENS, temperature=0)


def ours_int8(config: GPTConfig) -> Callable[[Tensor], Tensor]:
    layers = Layers(GPT(config), INT8, take=True)
    return lambda ids: write(layers, ids, TOKENS, temperature=0)


def transformers(config: GPTConfig) -> Callable[[Tensor], Tensor]:
    return _generate(_theirs(config))


def _theirs(config: GPTConfig):
    from transformers import GPT2Config, GPT2LMHeadModel

    # No token ends the text: all write as many.
    ends = {"bos_token_id": None, "eos_token_id": None}
    return GPT2LMHeadModel(GPT2Config(**vars(config), **ends)).eval()


def _generate(model) -> Callable[[Tensor], Tensor]:
    return lambda ids: model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=TOKENS,
        do_sample=False,
        use_cache=True,
        pad_token_id=0,
    )


CONTENDERS = {
    "ours": ours,
    "ours, int8": ours_int8,
    "transformers": transformers,
}


def check(config: GPTConfig) -> None:
    """Assert that the same weights write the same tokens."""
    torch.manual_seed(0)
    model, other = GPT(config), _theirs(config)
    other.load_state_dict(to_gpt2(model), strict=False)  # the output is the token table
    ids = _prompt(config)
    mine, their = write(model, ids, TOKENS, temperature=0), _generate(other)(ids)
    assert torch.equal(mine, their), "the tokens differ"


# ---- taking turns -------------------------------------------------------------------


def elsewhere(function: Callable, *arguments: Any) -> Any:
    """Call it in a process of its own.

    The peak of a new process begins with that of the one that starts it, so this one
    has to stay small.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(function, *arguments).result()


def compared(size: str, rounds: int) -> dict[str, dict[str, float]]:
    spawn = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name in CONTENDERS:
        pipes[name], far = spawn.Pipe()
        arguments = (name, size, torch.get_num_threads(), far)
        processes.append(spawn.Process(target=serve, args=arguments, daemon=True))
        processes[-1].start()
        pipes[name].recv()  # ready: nobody is timed while another one is being built
    times: dict[str, list[float]] = {name: [] for name in pipes}
    memory = {}
    for turn in range(rounds + 1):
        for name, pipe in pipes.items():
            pipe.send(True)
            seconds, memory[name] = pipe.recv()
            if turn:  # the first turn is for warming up
                times[name].append(seconds)
    for pipe, process in zip(pipes.values(), processes, strict=True):
        pipe.send(False)
        process.join()
    seconds = {name: median(each) for name, each in times.items()}
    return {
        name: {
            "tokens_per_second": round(TOKENS / seconds[name], 1),
            "times_as_fast": round(seconds["transformers"] / seconds[name], 2),
            "megabytes": round(memory[name] / 1e6),
            "of_its_memory": round(memory[name] / memory["transformers"], 2),
        }
        for name in CONTENDERS
    }


def serve(name: str, size: str, threads: int, pipe) -> None:
    """In a process of its own: write when told to; the time, and the peak."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    use, ids = CONTENDERS[name](PRESETS[size]), _prompt(PRESETS[size])
    pipe.send(None)
    while pipe.recv():
        began = time.perf_counter()
        use(ids)
        pipe.send((time.perf_counter() - began, peak_bytes("cpu")))


def _prompt(config: GPTConfig) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(config.vocab_size, (1, PROMPT), generator=generator)


if __name__ == "__main__":
    main()
