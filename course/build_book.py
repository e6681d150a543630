"""Builds the book: `python -m course.build_book`. Warnings are errors.

Always from scratch, which takes seconds. A build on top of an older one says nothing of
the warnings of unchanged pages, and keeps old styles and pages that are gone.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / ".build/book"
JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"
SECONDS = 300  # a build takes half a minute; one that takes this long hangs


def main() -> int:
    return build(OUTPUT)


def build(output: Path) -> int:
    """Build into a folder, which is emptied first; 0 if there was no warning."""
    command = [sys.executable, "-c", JUPYTER_BOOK, "build", str(ROOT)]
    command += ["-W", "-n", "--keep-going", "--path-output", str(output)]
    shutil.rmtree(output, ignore_errors=True)
    start = time.monotonic()
    try:
        run = subprocess.run(
            command, cwd=ROOT, timeout=SECONDS, text=True, capture_output=True
        )
    except subprocess.TimeoutExpired:
        print(
            f"the build of the book did not end in {SECONDS} seconds", file=sys.stderr
        )
        return 1
    if run.returncode != 0:
        print(run.stdout, run.stderr, sep="\n", file=sys.stderr)
        return run.returncode
    print(f"The book is built ({time.monotonic() - start:.0f} s).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
