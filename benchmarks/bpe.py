"""How long training a vocabulary takes: `python benchmarks/bpe.py [TEXT FILE]`.

Without a file: one megabyte of the course's stories. Times are of one process and vary
by machine; nothing in `tests/` depends on them.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

from solutions.tokens import encode, pre_tokenize, to_tiktoken, train_bpe

CHARACTERS = 1_000_000
SIZES = (512, 1024, 4096)


def main() -> None:
    if len(sys.argv) > 1:
        text = Path(sys.argv[1]).read_text(encoding="utf-8")[:CHARACTERS]
    else:
        from course.corpus import write

        text = write(CHARACTERS)
    distinct = len(Counter(pre_tokenize(text)))
    print(f"{len(text):,} characters, {distinct:,} distinct words")
    for size in SIZES:
        start = time.perf_counter()
        try:
            ranks = train_bpe(text, size)
        except ValueError as error:
            print(f"{size:>6} tokens: {error}")
            continue
        trained = time.perf_counter() - start
        start = time.perf_counter()
        ids = to_tiktoken(ranks).encode_ordinary(text)
        fast = time.perf_counter() - start
        part = text[: len(text) // 20]
        start = time.perf_counter()
        encode(part, ranks)
        slow = (time.perf_counter() - start) * 20
        print(
            f"{size:>6} tokens: trained in {trained:.2f} s, "
            f"{len(text.encode()) / len(ids):.2f} bytes per token; "
            f"encoded in {fast:.2f} s by tiktoken, about {slow:.1f} s by hand"
        )


if __name__ == "__main__":
    main()
