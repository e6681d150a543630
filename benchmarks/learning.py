"""Muon beside AdamW: `python -m benchmarks.learning [TEXT]`.

On the stories AdamW gets nanoGPT's settings (betas 0.9 and 0.95, weight decay 0.1,
warmup, cosine to a tenth). Muon gets 0.4 times the tokens. Both get several learning
rates, and the best of each counts. Same model, first weights and batches. What is
compared is the loss on stories that were held out, the tokens, and the time of the
training steps.

TEXT is a file to learn by characters, in the setting that nanoGPT publishes for a
laptop: 4 layers, 4 heads, 128 wide, context 64, batch 12, 2,000 steps, no dropout; it
reports a loss of 1.88 on tinyshakespeare. Here: half of those steps.

Source of the settings: github.com/karpathy/nanoGPT, README and train.py.
"""

from __future__ import annotations

import math
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from course import records, training
from course.training import Settings

STEPS, ROWS = 600, 8
ADAMW = Settings(
    "stories:10000000",
    steps=STEPS,
    rows=ROWS,
    optimizer="adamw",
    warmup=STEPS // 10,
    lowest=0.1,
)
ADAMW_RATES = (0.002, 0.004, 0.008, 0.016)
MUON = Settings(
    "stories:10000000", steps=int(0.4 * STEPS), rows=ROWS, warmup=STEPS // 25
)
MUON_RATES = (0.015, 0.02, 0.03)

SHAKESPEARE = Settings(
    steps=1000,
    rows=12,
    rate=0.02,
    context=64,
    vocab_size=256,
    warmup=50,
    weight_decay=0.1,
)


def trained(settings: Settings) -> dict[str, float]:
    """Loss on what is held out, tokens and seconds of a run from its beginning."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        result = training.run(settings, place, every=settings.steps, progress=False)
        entries = training.read_log(place / "log.jsonl")
        held_out = [e for e in entries if "text" in e]
        steps = [e for e in entries if "loss" in e]
        assert len(held_out) == 1
        return {
            "rate": settings.rate,
            "tokens": result["tokens"],
            "seconds": steps[-1]["seconds"],
            "bits_per_character": round(result["bits_per_character"], 4),
        }


def on_stories() -> dict:
    """Every run, the best of each optimizer, and how they compare."""
    runs = {}
    for settings, rates in (ADAMW, ADAMW_RATES), (MUON, MUON_RATES):
        name = settings.optimizer
        runs[name] = [trained(replace(settings, rate=rate)) for rate in rates]
        for found in runs[name]:
            print(f"{name} {found}", flush=True)
    best = {
        name: min(found, key=lambda run: run["bits_per_character"])
        for name, found in runs.items()
    }
    adamw, muon = best["adamw"], best["muon"]
    return {
        "runs": runs,
        "best_adamw": adamw,
        "muon": muon,
        "muon_is_as_good": muon["bits_per_character"] <= adamw["bits_per_character"],
        "tokens_ratio": round(muon["tokens"] / adamw["tokens"], 3),
        "seconds_ratio": round(muon["seconds"] / adamw["seconds"], 3),
    }


def on_characters(path: str) -> dict:
    """By characters: of a text in plain ASCII, one byte is one character."""
    found = trained(replace(SHAKESPEARE, source=path))
    return found | {
        "steps": SHAKESPEARE.steps,
        "nats_per_character": round(found["bits_per_character"] * math.log(2), 4),
    }


def main() -> None:
    results = on_stories()
    if len(sys.argv) > 1:
        results["characters"] = on_characters(sys.argv[1])
        print(f"by characters: {results['characters']}")
    print(records.keep("learning", results))


if __name__ == "__main__":
    main()
