"""Cases of exercises that count a model's numbers without building it."""

from __future__ import annotations

from typing import Any

from course.case import Case, Mistake

TOO_LARGE_TO_BUILD = Mistake(
    "You build it and count. This one has no room in any memory: work the number out.",
    raises=(RuntimeError, MemoryError, ValueError, NameError),
)
"""For a case whose sizes no machine can hold."""


def whole(*args: Any) -> Case:
    """The count for `args`, which other cases know to be right, has to be an `int`."""
    return Case(
        "a count is a whole number",
        args=args,
        judge=lambda got: (
            None
            if isinstance(got, int)
            else f"The number is right, as a `{type(got).__name__}`, not as an `int`."
        ),
        mistakes=(
            Mistake(
                "`/` makes a float, even where nothing is left over. Divide with `//`.",
                when=lambda got: isinstance(got, float),
            ),
        ),
    )
