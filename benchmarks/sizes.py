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
from solutions.gpt_block import forward_flops

SIZES = {"1 x 32": (1, 32), "2 x 64": (2, 64), "4 x 128": (4, 128), "6 x 256": (6, 256)}
"""Layers and width; a head is 32 wide."""

BUDGETS = (1.5e12, 6e12)
"""Multiplications and additions of a whole run."""


def settings_for(layers: int, width: int, budget: float) -> Settings:
    """As many steps as the budget pays for."""
    size = Settings(
        "stories:10000000",
        layers=layers,
        width=width,
        heads=width // 32,
        steps=1000,
        rows=8,
        rate=0.02,
    )
    config = size.config()
    per_token = 3 * forward_flops(config, config.n_positions)
    steps = round(budget / (per_token * size.rows * config.n_positions))
    return replace(size, steps=steps, warmup=steps // 20)


def trained(name: str, budget: float) -> dict:
    """The loss of a size at the end of a budget, and what it had for it."""
    settings = settings_for(*SIZES[name], budget)
    with tempfile.TemporaryDirectory() as folder:
        result = training.run(
            settings, Path(folder), every=settings.steps, progress=False
        )
    return {
        "flops": budget,
        "size": name,
        "parameters": result["parameters"],
        "steps": result["steps"],
        "tokens": result["tokens"],
        "bits_per_character": round(result["bits_per_character"], 4),
    }


def main() -> None:
    results = []
    for budget in BUDGETS:
        for name in SIZES:
            results.append(trained(name, budget))
            print(results[-1], flush=True)
    print(records.keep("sizes", results))


if __name__ == "__main__":
    main()
