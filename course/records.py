"""What the benchmarks measured, with the machine they ran on.

    records.load("training")["results"]

`python -m benchmarks.NAME` writes `course/records/NAME.json`. The book shows these
numbers; nothing in the tests depends on how fast a machine is.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from course.files import write_atomically

FOLDER = Path(__file__).with_name("records")
PACKAGES = ("torch", "transformers", "numpy")


def load(name: str) -> dict[str, Any]:
    """`results`, and beside them `command`, `machine`, `versions` and `commit`.

    Raises:
        FileNotFoundError: if nothing of that name was measured.
    """
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))


def keep(name: str, results: Any, benchmark: str | None = None) -> Path:
    """Write what was measured now, on this machine.

    `benchmark`: the one that measured it, if the record has another name.
    """
    record = {
        "command": f"python -m benchmarks.{benchmark or name}",
        "machine": machine(),
        "versions": versions(),
        "commit": _commit(),
        "results": results,
    }
    path = FOLDER / f"{name}.json"
    write_atomically(path, json.dumps(record, indent=1) + "\n")
    return path


def versions() -> dict[str, str]:
    """Of Python and of what computes."""
    found = {package: version(package).split("+")[0] for package in PACKAGES}
    return {"python": platform.python_version()} | found


def machine() -> str:
    """What computes here, in one line."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    used = "1 thread" if threads == 1 else f"{threads} threads"
    return f"{_processor()}, {os.cpu_count()} cores, {used}"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _commit() -> str:
    """The commit that was measured; `+` behind it: with changes that are not in it."""
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=10"],
            cwd=FOLDER,
            capture_output=True,
            text=True,
            check=True,
        )
        return told.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
