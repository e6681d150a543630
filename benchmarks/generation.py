"""How fast a GPT writes: `python -m benchmarks.generation [THREADS]`.

`course.generation` against `generate` of `transformers`, with the same random weights:
one text, a prompt of 16 tokens, 200 more, always the likeliest one, keys and values
kept. Both take turns, round by round, after one that warms up; printed are the medians
in tokens per second, and how many times as fast ours is. The tokens must be the same.
Times vary by machine and by what else it does; nothing in `tests/` depends on them.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from course import records
from course.generation import write
from solutions.gpt_block import GPT, PRESETS, to_gpt2

SIZES = ("tiny", "small")
PROMPT, TOKENS = 16, 200
ROUNDS = 5


def main() -> None:
    if len(sys.argv) > 1:
        torch.set_num_threads(int(sys.argv[1]))
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; "
        f"{PROMPT} tokens given, {TOKENS} written; medians in tokens per second"
    )
    if hasattr(os, "getloadavg"):
        print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("size    layers  width  heads     ours   transformers   ratio")
    results = measure()
    for name, result in results.items():
        config = PRESETS[name]
        print(
            f"{name:8}{config.n_layer:5}{config.n_embd:8}{config.n_head:6}"
            f"{result['ours_tokens_per_second']:10.0f}"
            f"{result['transformers_tokens_per_second']:13.0f}{result['ratio']:11.2f}"
        )
    if len(sys.argv) == 1:
        print(records.keep("generation", results))


def measure(rounds: int = ROUNDS) -> dict[str, dict[str, float]]:
    """For each size the medians of both, in tokens per second, and their ratio.

    Raises:
        AssertionError: if the two write different tokens.
    """
    results = {}
    for name in SIZES:
        ours, theirs = pair(name)
        assert torch.equal(ours(), theirs()), f"{name}: the tokens differ"  # warms up
        a, b = in_turn(ours, theirs, rounds=rounds)
        results[name] = {
            "ours_tokens_per_second": round(TOKENS / a, 1),
            "transformers_tokens_per_second": round(TOKENS / b, 1),
            "ratio": round(b / a, 3),
        }
    return results


def pair(name: str) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """Two ways to write the same text with the same weights."""
    torch.manual_seed(0)
    config = PRESETS[name]
    model = GPT(config).eval()
    # No token ends the text: both write as many.
    ends = {"bos_token_id": None, "eos_token_id": None}
    other = GPT2LMHeadModel(GPT2Config(**vars(config), **ends)).eval()
    other.load_state_dict(to_gpt2(model), strict=False)  # the output is the token table
    ids = torch.randint(config.vocab_size, (1, PROMPT))

    def ours() -> Tensor:
        return write(model, ids, TOKENS, temperature=0)

    def theirs() -> Tensor:
        return other.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=TOKENS,
            do_sample=False,
            use_cache=True,
            pad_token_id=0,
        )

    return ours, theirs


def in_turn(*uses: Callable[[], Tensor], rounds: int) -> list[float]:
    """The median time of each in seconds, one after the other, round by round."""
    times = [[] for _ in uses]
    for _ in range(rounds):
        for use, kept in zip(uses, times, strict=True):
            start = time.perf_counter()
            use()
            kept.append(time.perf_counter() - start)
    return [median(kept) for kept in times]


if __name__ == "__main__":
    main()
