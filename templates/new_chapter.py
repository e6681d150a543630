"""Begins a new chapter from the template: files that pass their tests, to be rewritten.

    python -m templates.new_chapter week2/running-mean mean_so_far

makes the notebook, the solution, its checks, the answers that test the checks, and the
tests of the solution, with one exercise `mean_so_far`. It enters the chapter where the
course must know it: the list of the checks, the table of contents, the API reference.
"""

from __future__ import annotations

import argparse
import keyword
import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
TEMPLATE = Path(__file__).with_name("chapter")
KEBAB = r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*"


class Refused(Exception):  # noqa: N818  (one line for whoever asked)
    """A chapter that cannot be made. Nothing was written."""


def begin(place: str, exercise: str, root: Path = ROOT) -> list[Path]:
    """Write the chapter's files and its entries; return what was written.

    Args:
        place: the folder of its week and its name, as in `week2/running-mean`. It
            becomes the last chapter before the week's Sunday.
        exercise: the name of its function.

    Raises:
        Refused: for a week that is not there, or names that are taken or are no names.
    """
    week, name = _week_and_name(place, root)
    module = name.replace("-", "_")
    _check_exercise(exercise, root)
    targets = {
        "notebook.ipynb": root / "chapters" / week / f"{name}.ipynb",
        "solution.py": root / "solutions" / f"{module}.py",
        "checks.py": root / "course" / "checks" / f"{module}.py",
        "answers.py": root / "tests" / "answers" / f"{module}.py",
        "test.py": root / "tests" / f"test_{module}.py",
    }
    for target in targets.values():
        if target.exists():
            raise Refused(f"{target.relative_to(root)} is there already: take another")
    texts = {
        target: _filled(TEMPLATE / source, name, module, exercise)
        for source, target in targets.items()
    }
    texts |= _entries(week, name, module, root)
    for path, text in texts.items():
        path.write_text(text, "utf-8")
    return list(texts)


def _week_and_name(place: str, root: Path) -> tuple[str, str]:
    found = re.fullmatch(rf"(week\d+)/({KEBAB})", place)
    if not found:
        raise Refused(
            f"{place!r} is no place for a chapter: expected week and name, in small "
            "letters with hyphens, as in week2/running-mean"
        )
    week, name = found.groups()
    if not (root / "chapters" / week).is_dir():
        raise Refused(f"there is no chapters/{week}")
    if keyword.iskeyword(name):
        raise Refused(f"{name!r} is a word of Python: take another name")
    return week, name


def _check_exercise(exercise: str, root: Path) -> None:
    if not exercise.isidentifier() or keyword.iskeyword(exercise):
        raise Refused(f"{exercise!r} cannot be the name of a function")
    for path in sorted((root / "course" / "checks").glob("*.py")):
        if re.search(rf'Exercise\(\s*"{exercise}"', path.read_text("utf-8")):
            raise Refused(f"course/checks/{path.name} has an exercise {exercise!r}")


def _filled(source: Path, name: str, module: str, exercise: str) -> str:
    title = name.replace("-", " ").capitalize()
    return (
        source.read_text("utf-8")
        .replace("Template chapter", title)
        .replace("chapter-name", name)
        .replace("chapter_name", module)
        .replace("part_name", exercise)
    )


def _entries(week: str, name: str, module: str, root: Path) -> dict[Path, str]:
    """The files that list the chapters, with this one behind its week's last."""
    contents = root / "_toc.yml"
    listed = contents.read_text("utf-8")
    last = _last_chapter(yaml.safe_load(listed), week, root)
    before = last.replace("-", "_")
    checks = root / "course" / "checks" / "__init__.py"
    reference = root / "chapters" / "reference" / "api.md"
    block = "### `solutions.{0}`\n\n```{{eval-rst}}\n.. automodule:: solutions.{0}\n"
    block += "   :members:\n```\n"
    return {
        contents: _after(
            listed,
            f"      - file: chapters/{week}/{last}\n",
            f"      - file: chapters/{week}/{name}\n",
        ),
        checks: _after(
            checks.read_text("utf-8"), f'    "{before}",\n', f'    "{module}",\n'
        ),
        reference: _after(
            reference.read_text("utf-8"),
            block.format(before),
            "\n" + block.format(module),
        ),
    }


def _last_chapter(contents: dict, week: str, root: Path) -> str:
    """The notebook that stands before the Sunday of a week."""
    files = [c["file"] for part in contents["parts"] for c in part["chapters"]]
    own = [Path(file).name for file in files if file.startswith(f"chapters/{week}/")]
    own = own[: own.index("session")]
    folder = root / "chapters" / week
    return next(name for name in reversed(own) if (folder / f"{name}.ipynb").is_file())


def _after(text: str, line: str, new: str) -> str:
    before, found, rest = text.partition(line)
    if not found:
        raise Refused(f"expected {line.strip()!r} in the files that list the chapters")
    return before + found + new + rest


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m templates.new_chapter")
    parser.add_argument("place", help="week and name, as in week2/running-mean")
    parser.add_argument("exercise", help="the name of its first exercise")
    options = parser.parse_args(arguments)
    try:
        written = begin(options.place, options.exercise)
    except Refused as reason:
        print(reason, file=sys.stderr)
        return 1
    for path in written:
        print(path.relative_to(ROOT))
    notebook = written[0].relative_to(ROOT)
    print(f"Now run it: python -m course.notebooks execute {notebook}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
