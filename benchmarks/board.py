"""How long the board of a large group takes: `python -m benchmarks.board [MEMBERS]`.

Members' files are written into a new folder (not counted), read and drawn: as the text
of a terminal and as the page. Times vary by machine; nothing in `tests/` depends on
them. With a second argument the files stay in that folder, to be looked at.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from course import progress
from course.checks import chapters
from course.group import board
from course.member import Member, text_of
from course.standing import exercises

MEMBERS = 200
ROUNDS = 5
NAMES = ("Ada", "Ben", "Cleo", "Dong-hyun", "Fatima", "Grace", "Jiwoo", "Kofi")


def write_members(folder: Path, count: int, seed: int = 0) -> None:
    """Files of so many members, who are in the middle of the course."""
    draw, now = random.Random(seed), datetime.now(UTC).replace(microsecond=0)
    version = progress.version()
    names = [exercise.name for _, exercise in exercises(list(chapters()))]
    hard = set(draw.sample(names, len(names) // 5))
    for number in range(count):
        done, passed, tries = draw.randint(10, 45), {}, {}
        for place, name in enumerate(names[: done + 4]):
            slips = 6 if name in hard else 2
            tries[name] = draw.randint(1, 1 + slips)
            if place < done and draw.random() < (0.7 if name in hard else 0.95):
                passed[name] = now.date() - timedelta(days=draw.randint(0, 30))
        name, again = NAMES[number % len(NAMES)], number // len(NAMES)
        member = Member(
            id=f"{draw.getrandbits(32):08x}",
            name="" if number % 9 == 8 else f"{name} {again + 1}" if again else name,
            written=now - timedelta(hours=draw.randint(0, 200)),
            course=version,
            passed=passed,
            tries=tries,
        )
        (folder / f"{member.id}.toml").write_text(text_of(member), "utf-8")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else MEMBERS
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[2] if len(sys.argv) > 2 else temporary)
        folder.mkdir(parents=True, exist_ok=True)
        write_members(folder, count)
        progress.version()  # kept in memory: counted once
        times = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            shown = board(folder)
            read = time.perf_counter()
            text = repr(shown)
            drawn = time.perf_counter()
            page = shown.page()
            end = time.perf_counter()
            times.append((end - start, read - start, drawn - read, end - drawn))
    whole, reading, terminal, html = sorted(times)[ROUNDS // 2]
    print(
        f"{count} members: read in {reading:.2f} s, as text in {terminal:.2f} s "
        f"({len(text):,} characters), as a page in {html:.2f} s "
        f"({len(page.encode()):,} bytes); together {whole:.2f} s"
    )


if __name__ == "__main__":
    main()
