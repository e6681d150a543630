"""More parameters, better model? `python -m benchmarks.sizes`.

GPTs of several sizes learn the stories with the same number of multiplications and
additions: the larger the model, the fewer tokens it sees. What is compared is the loss
on stories that were held out. Two budgets, one four times the other: which size is best
depends on it.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from course import records, training
from course.training import Settings
from solutions.gpt_block import PRESETS, GPTConfig, forward_flops, gpt_parameters

SIZES = {"1 x 32": (1, 32), "2 x 64": (2, 64), "4 x 128": (4, 128), "6 x 256": (6, 256)}
"""Layers and width; a head is 32 wide."""

LEAST = 2.0e12
BUDGETS = (LEAST, 4 * LEAST)
"""Multiplications and additions of a whole run."""

ROWS = 16


def config_of(layers: int, width: int) -> GPTConfig:
    return replace(
        PRESETS["tiny"],
        vocab_size=training.STORY_VOCABULARY,
        n_layer=layers,
        n_embd=width,
        n_head=width // 32,
    )


def steps_for(config: GPTConfig, budget: float) -> int:
    """How many batches the budget pays for."""
    per_token = 3 * forward_flops(config, config.n_positions)
    return max(1, round(budget / (per_token * ROWS * config.n_positions)))


def measure() -> list[dict]:
    """One row for each budget and size."""
    found = []
    for budget in BUDGETS:
        for name, (layers, width) in SIZES.items():
            config = config_of(layers, width)
            steps = steps_for(config, budget)
            settings = Settings(steps=steps, rows=ROWS, warmup=steps // 20)
            with tempfile.TemporaryDirectory() as folder:
                place = Path(folder)
                result = training.Run(settings, place, config=config)
            found.append({"budget": budget, "size": name, "steps": steps})
            print(found[-1], result, gpt_parameters(config), flush=True)
    return found


if __name__ == "__main__":
    print(records.keep("sizes", measure()))
