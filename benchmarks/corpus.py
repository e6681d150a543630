"""How fast the corpus writes, and how hard it is: python benchmarks/corpus.py [MB].

Prints megabytes per second on one core; bits per character of counting models beside
the floor; and how many bits of a story rest on facts told long before. Speeds vary by
machine; nothing in `tests/` depends on them.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections import Counter

from course import corpus
from course.grammar import Choice, Literal, Row, Slot
from course.stories import STORIES

FAR = 30
"""Characters after which a fact counts as told long before."""


def speed(size: int) -> str:
    speeds = []
    for seed in range(5):
        start = time.perf_counter()
        text = corpus.write(size, seed)
        speeds.append(len(text) / 1e6 / (time.perf_counter() - start))
    low, _, middle, _, high = sorted(speeds)
    return f"{middle:.1f} MB/s (from {low:.1f} to {high:.1f})"


def counted(text: str, context: int) -> float:
    """Bits per character of the counts of `text` itself, given `context` characters.

    H(next | context), from the counts: too low where a context is met only once.
    """
    longer = Counter(text[i : i + context + 1] for i in range(len(text) - context))
    shorter = Counter()
    for piece, count in longer.items():
        shorter[piece[:-1]] += count
    total = len(text) - context
    return -math.fsum(
        count / total * math.log2(count / shorter[piece[:-1]])
        for piece, count in longer.items()
    )


def remembered(seed: int = 0, runs: int = 5000) -> tuple[float, float]:
    """Bits per story that a reader without memory would pay again.

    A form of a fact costs -log2 of its share once more if the fact was told, but not
    within the last FAR characters: first, in this same form; second, in any form.
    """
    rng = random.Random(seed)
    shares = {
        name: [
            {
                form: math.fsum(
                    p
                    for p, other in zip(fact.probabilities, fact.values, strict=True)
                    if other[form] == word
                )
                for form, word in value.items()
            }
            for value in fact.values
        ]
        for name, fact in STORIES.facts.items()
    }
    same = anyform = 0.0
    for _ in range(runs):
        at, drawn, last = 0, {}, {}
        waiting: list = [STORIES.root]
        while waiting:
            node = waiting.pop()
            if isinstance(node, Literal):
                at += len(node.text)
            elif isinstance(node, Slot):
                index = drawn[node.fact]
                cost = -math.log2(shares[node.fact][index][node.form])
                for key in ((node.fact, node.form), (node.fact, None)):
                    if key in last and at - last[key] > FAR:
                        if key[1]:
                            same += cost
                        else:
                            anyform += cost
                at += len(STORIES.facts[node.fact].values[index][node.form])
                last[node.fact, node.form] = last[node.fact, None] = at
            elif isinstance(node, Choice):
                waiting += rng.choices(node.options, node.weights)
            elif isinstance(node, Row):
                for name in node.facts:
                    fact = STORIES.facts[name]
                    values = range(len(fact.values))
                    (drawn[name],) = rng.choices(values, fact.weights)
                waiting += reversed(node.nodes)
    return same / runs, anyform / runs


def main() -> None:
    size = int(float(sys.argv[1] if len(sys.argv) > 1 else 5) * 1_000_000)
    corpus.write(1)  # the grammar is read once, before the clock starts
    print(speed(size))
    text = corpus.write(size, seed=99)
    stories = text.count(corpus.SEPARATOR)
    print(f"{len(text) / stories:.1f} characters per story and separator")
    print(
        f"{len(set(text))} different characters: {math.log2(len(set(text))):.3f} bits"
    )
    for context in (0, 1, 2, 4, 8):
        print(f"counts given {context} characters: {counted(text, context):.3f} bits")
    floor = corpus.floor()
    print(f"entropy floor: {floor:.4f} bits per character")
    same, anyform = remembered()
    print(
        f"{floor * len(text) / stories:.1f} bits per story; without memory beyond "
        f"{FAR} characters {same:.0f} (told in the same form) or "
        f"{anyform:.0f} (told in any form) more"
    )


if __name__ == "__main__":
    main()
