"""The course as you built it: your passing answers, and the reference for the rest.

    from mine.tokens import encode

gives your own `encode` if you have passed it, otherwise the one in `solutions.tokens`.
Everything else in `mine.tokens` that calls `encode` calls yours as well: each chapter's
module is the text of the reference with your parts put in their places.

`parts("tokens")` says, exercise by exercise, which ones are yours. A module is made
once, when it is first imported; after `forget()` it is made anew.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import linecache
import re
import sys
import warnings
from types import ModuleType
from typing import Any

from course import answers, checked
from course.checks import CHAPTERS, of_chapter
from course.source import namespace_of


def earlier_parts(text: str) -> str:
    """The text of a chapter, taking what it needs of earlier chapters from `mine`."""
    return re.sub(r"^from solutions\b", "from mine", text, flags=re.MULTILINE)


class _Loader(importlib.abc.Loader):
    """Runs the reference under another name, then puts the reader's parts in."""

    def __init__(self, chapter: str, path: str) -> None:
        self.chapter, self.path = chapter, path

    def exec_module(self, module: ModuleType) -> None:
        text = earlier_parts("".join(linecache.getlines(self.path)))
        exec(compile(text, self.path, "exec"), module.__dict__)
        module.__mine__ = _put_in(self.chapter, module)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        package, _, chapter = name.partition(".")
        if package != "mine" or chapter not in CHAPTERS:
            return None
        reference = importlib.util.find_spec(f"solutions.{chapter}")
        loader = _Loader(chapter, reference.origin)
        return importlib.util.spec_from_loader(name, loader, origin=reference.origin)


if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
    sys.meta_path.append(_Finder())


def parts(chapter: str) -> dict[str, bool]:
    """For each exercise of a chapter, whether `mine` uses the reader's own answer."""
    module = importlib.import_module(f"mine.{chapter}")
    return {e.name: e.name in module.__mine__ for e in of_chapter(chapter)}


def forget() -> None:
    """Make all of `mine` anew when it is next imported: an answer may have passed."""
    for chapter in CHAPTERS:
        sys.modules.pop(f"mine.{chapter}", None)


def load(chapter: str, name: str, source: str, given: dict[str, Any]) -> Any:
    """Run the text of an answer by itself and return what it defines as `name`.

    `given` are names that it may use without defining them: the other exercises.

    Raises:
        Exception: whatever the text raises, or NameError if it does not define `name`.
    """
    namespace = {"__name__": f"mine.{chapter}", **given}
    file = str(answers.home() / "answers" / chapter / f"{name}.py")
    # Without this, a traceback could not show the lines, nor a check find the text.
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    exec(compile(source, file, "exec"), namespace)
    if name not in namespace:
        raise NameError(f"the kept answer does not define `{name}`")
    return namespace[name]


def part(chapter: str, name: str) -> tuple[Any, bool]:
    """One part as it goes on now, and whether it is the reader's own.

    Unlike an import, this looks into the reader's folder on every call.
    """
    others = [spec.name for spec in of_chapter(chapter)]
    reference = importlib.import_module(f"solutions.{chapter}")
    given = {other: getattr(reference, other) for other in others if other != name}
    own = _own(chapter, name, given)
    return (getattr(reference, name), False) if own is None else (own, True)


def _own(chapter: str, name: str, given: dict[str, Any]) -> Any | None:
    """The reader's kept answer, or None; one that cannot be used gives a warning.

    One that no longer passes, since the course changed its check, is not used.
    """
    try:
        kept = answers.find(chapter, name)
        if kept is None or checked.fails(name, kept):
            return None
        return load(chapter, name, kept.source, given)
    except Exception as error:
        warnings.warn(
            f"Your answer to `{name}` could not be used ({type(error).__name__}: "
            f"{error}); the course's own stands in. `sundays check` says more.",
            stacklevel=3,
        )
        return None


def _put_in(chapter: str, module: ModuleType) -> tuple[str, ...]:
    """Replace the parts that the reader has passed; their names are returned."""
    names = [spec.name for spec in of_chapter(chapter)]
    reference = {name: getattr(module, name) for name in names}
    own: dict[str, Any] = {}
    for name in names:
        given = {k: v for k, v in reference.items() if k != name}
        answer = _own(chapter, name, given)
        if answer is not None:
            own[name] = answer
    vars(module).update(own)
    for name, value in own.items():
        # An answer that uses another exercise uses the reader's, where there is one.
        namespace_of(value).update({k: v for k, v in own.items() if k != name})
    return tuple(own)
