"""The record of killed updates: `python -m benchmarks.kills [RANDOM KILLS]`.

A reader has answered every exercise of a small course; then the update to its next
edition is killed, or finds the disk full, and runs again. It ends with an error at the
first word of the reader that is missing. `tests/test_kills.py` does the same, with
fewer random kills.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests import kills
from tests.small_course import ANSWERS, FIRST, LATER, publish


def main() -> None:
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    with tempfile.TemporaryDirectory() as folder:
        first = publish(Path(folder) / "first", FIRST)
        later = publish(Path(folder) / "later", LATER)
        place = (Path(folder) / str(number) for number in range(9))
        moments = kills.at_every_moment(first, later, next(place))
        start = kills.at_every_moment_of_the_first_run(first, next(place))
        hits = kills.at_random_times(first, later, next(place), times)
        full = kills.at_every_full_disk(first, later, next(place))
        small = kills.at_files_that_may_not_grow(first, later, next(place))
    answers = sum(map(len, ANSWERS.values()))
    print(
        f"{answers} answers, and a cell and a file of the reader's own. Killed at each "
        f"of {moments} moments of an update and {start} of a first run, and "
        f"{times} times at random ({hits} left it half done); disk full at each of "
        f"{full} writes; {small} limits on the size of a file. Lost: 0."
    )


if __name__ == "__main__":
    main()
