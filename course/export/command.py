"""What `sundays export` does: a model in a new folder, for other programs.

    sundays export OUT                                  # the model of the course
    sundays export OUT --model my-gpt --format gguf     # one's own, for llama.cpp

The folder is new: it is made under another name beside it and renamed at the end, so
that it is there whole or not at all, and nothing is ever written over.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from course.export import gguf, huggingface
from course.export.card import card
from course.export.model import CARD, Model, read
from course.files import UNFINISHED, write_atomically

FORMATS = ("huggingface", "gguf")


class ExportError(ValueError):
    """Nothing was exported: says what was wrong and what to do."""


def run(
    out: Path,
    *,
    where: str | None = None,
    form: str | None = None,
    kind: str = "f32",
    chat: bool = False,
) -> None:
    """Export a model into a new folder, and say what is in it.

    Args:
        where: the model, see `course.pretrained.load`.
        form: one of `FORMATS`; None: all of them, in the same folder.
        kind: of the weights in the GGUF file, one of `gguf.TYPES`.
        chat: whether the model is tuned to answer.

    Raises:
        SystemExit: with one line, if the model or a setting cannot be used, or the
            folder not be written; with 130 after Ctrl+C.
    """
    try:
        for what, value, allowed in (
            ("format", form or FORMATS[0], FORMATS),
            ("type of the GGUF file", kind, tuple(gguf.TYPES)),
        ):
            if value not in allowed:
                raise ExportError(
                    f"the {what} is {value!r}, expected {' or '.join(allowed)}"
                )
        _check_new(out)  # before the model is loaded, which may take long
        model = read(where, chat)
        export(out, model, [form] if form else list(FORMATS), kind)
    except ValueError as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.exit(130)
    for path in sorted(out.iterdir()):
        print(f"{path.stat().st_size:>15,} bytes  {path}")
    print(f"{out / CARD} tells how to run it.")


def export(out: Path, model: Model, formats: list[str], kind: str) -> None:
    """Write a model into a new folder.

    Raises:
        ExportError: if the folder is there already, or cannot be written.
        ValueError: if the vocabulary has no list of merges.
    """
    _check_new(out)
    try:
        with new_folder(out) as folder:
            if "huggingface" in formats:
                huggingface.write(folder, model)
            if "gguf" in formats:
                gguf.write(folder, model, kind)
            write_atomically(folder / CARD, card(model, formats, kind))
    except OSError as error:
        raise ExportError(
            f"{out} cannot be written ({error.strerror or error}): nothing was kept; "
            "make room, or give another folder"
        ) from None


def _check_new(out: Path) -> None:
    if out.exists() or out.is_symlink():
        raise ExportError(
            f"{out} is there already: give the name of a new folder, or remove it first"
        )


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which is renamed to `out` at the end, or else removed."""
    folder = out.with_name(f"{UNFINISHED}{out.name}-{os.getpid()}")
    folder.mkdir(parents=True)
    try:
        yield folder
        folder.rename(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
