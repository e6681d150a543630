"""When each notebook was last executed, on which machine, and how long it took.

`python -m course.notebooks execute` keeps one entry per notebook, and writes the table
that the page "When the notebooks were run" includes. After a GPU run:

    python -m course.executions                   writes that table again
    python -m course.executions gpu REPORT.xml    keeps what pytest told of the run

An entry holds a digest of the code that was executed: code that was edited later is
told from it, and a test asks for another run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nbformat

from course.files import write_atomically
from course.weeks import weeks

ROOT = Path(__file__).parents[1]
CHAPTERS = ROOT / "chapters"
RECORD = Path(__file__).with_name("records") / "executions.json"
GPU_RECORD = RECORD.with_name("executions_gpu.json")
PAGE = ROOT / "assets" / "executions.md"

BY_HAND = (
    "**On a GPU.** The last run was made by hand: one NVIDIA H200, torch 2.11.0, "
    "transformers 5.17.0, Python 3.12.3: all 524 cells of the solved notebooks passed "
    "in 48 s with ten processes (2026\u201111\u201127), 20 of them those that check "
    "the run. Two cells have been added since."
)

ASK = """\
import json
from course import records
print(json.dumps({"machine": records.machine(), "versions": records.versions()}))"""


class NoRecord(Exception):  # noqa: N818  (one line for whoever made the run)
    """What was given is no run that can be kept."""


def name_of(path: Path) -> str | None:
    """`week1/tokens` for a notebook of the book, None for any other."""
    path = path.resolve()
    if path.suffix != ".ipynb" or not path.is_relative_to(CHAPTERS.resolve()):
        return None
    return path.relative_to(CHAPTERS.resolve()).with_suffix("").as_posix()


def digest(path: Path) -> str:
    """Of the code of a notebook, cell by cell. Its prose is not executed."""
    code = [cell.source for cell in _code_cells(path)]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()[:16]


def recorded() -> dict[str, dict[str, Any]]:
    """The entry of each notebook that was executed.

    Raises:
        NoRecord: if the file cannot be read.
    """
    return _read(RECORD)


def keep(path: Path, seconds: float) -> None:
    """Note that a notebook has been executed now, in place of its earlier entry.

    A notebook that is not in the book is not noted.

    Raises:
        NoRecord: if the file of the record cannot be read; it stays as it is.
    """
    name = name_of(path)
    if name is None:
        return
    entries = recorded()
    entries[name] = {
        "when": _now(),
        **_where(),
        "seconds": round(seconds, 1),
        "cells": len(_code_cells(path)),
        "digest": digest(path),
    }
    ordered = {known: entries[known] for known in _names() if known in entries}
    _write(RECORD, ordered)
    publish()


def fault(path: Path) -> str | None:
    """One line, if the notebook is not the one that was executed last."""
    entry = recorded().get(name_of(path) or "")
    if entry is not None and entry["digest"] == digest(path):
        return None
    shown = path.relative_to(CHAPTERS.parent)
    what = "has no run on record" if entry is None else "was edited after its last run"
    return f"{shown} {what}; run: python -m course.notebooks execute {shown}"


def keep_gpu(report: Path) -> dict[str, Any]:
    """Note a run of the solved notebooks on this machine's GPU.

    Args:
        report: what `pytest --junitxml` wrote about the run.

    Raises:
        NoRecord: if the report cannot be read, a cell failed or none was run, or there
            is no GPU here.
    """
    import torch

    suites = _suites(report)
    count = {
        kind: sum(int(suite.get(kind, 0)) for suite in suites)
        for kind in ("tests", "failures", "errors", "skipped")
    }
    if not count["tests"]:
        raise NoRecord(f"{report} tells of no cell: nothing is kept")
    bad = count["failures"] + count["errors"] + count["skipped"]
    if bad:
        raise NoRecord(
            f"{report}: {bad} of {count['tests']} cells did not pass: nothing is kept"
        )
    if not torch.cuda.is_available():
        raise NoRecord(
            "no CUDA device: run this on the machine that ran the notebooks; nothing "
            "is kept"
        )
    record = {
        "when": _now(),
        **_where(),
        "seconds": round(sum(float(suite.get("time", 0)) for suite in suites), 1),
        "cells": count["tests"],
        "digests": {name: digest(_path(name)) for name in _names()},
    }
    _write(GPU_RECORD, record)
    publish()
    return record


def publish() -> None:
    """Write what the page of the book includes."""
    write_atomically(PAGE, table())


def table() -> str:
    """The runs as the page shows them: narrow enough for a phone."""
    entries = recorded()
    places = list(dict.fromkeys(map(_place, entries.values())))
    several = len(places) > 1
    rows = [["Notebook", "Cells", "Seconds", "Executed"], ["---", "--:", "--:", "---"]]
    for name in _names():
        rows.append(_row(name, entries.get(name)))
    if several:
        rows[0].append("On")
        rows[1].append("---")
        for name, row in zip(_names(), rows[2:], strict=True):
            row.append(_letter(places, entries.get(name)))
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines += ["", *_in_words(entries, places), "", _gpu_in_words(), ""]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m course.executions")
    actions = parser.add_subparsers(dest="action")
    gpu = actions.add_parser("gpu", help="keep a GPU run")
    gpu.add_argument("report", type=Path, help="what `pytest --junitxml` wrote")
    options = parser.parse_args(arguments)
    try:
        if options.action == "gpu":
            kept = keep_gpu(options.report)
            print(f"{_shown(GPU_RECORD)}: {kept['cells']} cells on {kept['machine']}")
        else:
            publish()
        entries = recorded()
    except NoRecord as problem:
        print(problem, file=sys.stderr)
        return 1
    for line in _faults():
        print(line)
    print(f"{_shown(PAGE)}: {len(entries)} of {len(list(_names()))} notebooks executed")
    return 0


def _names() -> Iterator[str]:
    """The notebooks in the order of the course."""
    for week in weeks():
        for chapter in week.chapters + week.bonus:
            name = f"week{week.number}/{chapter.replace('_', '-')}"
            if _path(name).is_file():
                yield name


def _path(name: str) -> Path:
    return CHAPTERS / f"{name}.ipynb"


def _code_cells(path: Path) -> list[nbformat.NotebookNode]:
    notebook = nbformat.read(path, as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _title(name: str) -> str:
    first = nbformat.read(_path(name), as_version=4).cells[0].source.splitlines()[0]
    return first.removeprefix("# ").partition(":")[0]


def _row(name: str, entry: dict[str, Any] | None) -> list[str]:
    link = f"[{_title(name)}](../{name}.ipynb)"
    if entry is None:
        return [link, "", "", "not yet"]
    day = _day(entry)
    if entry["digest"] != digest(_path(name)):
        day += ", changed since"
    return [link, str(entry["cells"]), f"{entry['seconds']:.0f}", day]


def _day(entry: dict[str, Any]) -> str:
    """Of a run; a narrow column must not break it at its hyphens."""
    return entry["when"][:10].replace("-", "\u2011")


def _place(entry: dict[str, Any]) -> str:
    """The machine and the versions of a run, in one line."""
    versions = dict(entry["versions"])
    python = versions.pop("python")
    others = ", ".join(f"{name} {number}" for name, number in versions.items())
    return f"{entry['machine']}; Python {python}, {others}"


def _letter(places: list[str], entry: dict[str, Any] | None) -> str:
    return "" if entry is None else f"({_letter_at(places.index(_place(entry)))})"


def _letter_at(number: int) -> str:
    return chr(ord("a") + number) if number < 26 else str(number)


def _in_words(entries: dict[str, dict], places: list[str]) -> list[str]:
    """What the rows come to, and where the runs were made."""
    if not entries:
        return ["No run has been kept yet."]
    cells = sum(entry["cells"] for entry in entries.values())
    seconds = sum(entry["seconds"] for entry in entries.values())
    total = f"Together {cells} cells in {seconds:.0f} s."
    if len(places) == 1:
        return [f"{total} On: {places[0]}."]
    listed = [f"- ({_letter_at(n)}) {place}" for n, place in enumerate(places)]
    return [f"{total} The runs were made on:", "", *listed]


def _gpu_in_words() -> str:
    record = _read(GPU_RECORD)
    if not record:
        return BY_HAND
    text = (
        f"**On a GPU.** The last run, on {_day(record)}: {_place(record)}. All "
        f"{record['cells']} cells of the solved notebooks passed in "
        f"{record['seconds']:.0f} s."
    )
    now = {name: digest(_path(name)) for name in _names()}
    if record["digests"] != now:
        text += " Some notebooks have changed since."
    return text


def _faults() -> Iterator[str]:
    for name in _names():
        if line := fault(_path(name)):
            yield line


def _suites(report: Path) -> list[ElementTree.Element]:
    try:
        root = ElementTree.parse(report).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise NoRecord(
            f"{report} cannot be read ({error}): give what `pytest --junitxml` wrote; "
            "nothing is kept"
        ) from None
    return list(root.iter("testsuite"))


@cache
def _where() -> dict[str, Any]:
    """The machine and the versions, as a kernel that is started now finds them.

    Asked in a process of its own: how many threads torch uses is settled when it is
    imported, here perhaps before the notebooks were given theirs.
    """
    course = Path(__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-c", ASK], cwd=course, check=True, capture_output=True
    )
    return json.loads(run.stdout)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise NoRecord(
            f"{_shown(path)} is no JSON ({error}): mend it, or delete it and execute "
            "all notebooks"
        ) from None


def _write(path: Path, record: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(record, indent=1) + "\n")


def _shown(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


if __name__ == "__main__":
    sys.exit(main())
