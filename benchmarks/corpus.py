"""How fast the corpus writes: python benchmarks/corpus.py [megabytes]."""

from __future__ import annotations

import sys
import time

from course import corpus


def main() -> None:
    """Print megabytes of text per second, on one core, of five runs."""
    size = int(float(sys.argv[1] if len(sys.argv) > 1 else 5) * 1_000_000)
    corpus.write(1)  # the grammar is read once, before the clock starts
    speeds = []
    for seed in range(5):
        start = time.perf_counter()
        text = corpus.write(size, seed)
        speeds.append(len(text) / 1e6 / (time.perf_counter() - start))
    low, middle, high = sorted(speeds)[0], sorted(speeds)[2], sorted(speeds)[4]
    print(f"{middle:.1f} MB/s (from {low:.1f} to {high:.1f})")
    print(f"entropy floor: {corpus.floor():.4f} bits per character")


if __name__ == "__main__":
    main()
