"""Cases in which an answer has to say no: by a `ValueError`, and by nothing else.

A case calls the answer through `refusal`, judges what came back with `is_refused`, and
names what went wrong with `refused`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from course.case import Complaint, Mistake


def refusal(use: Callable, *args: Any) -> str:
    """What happens where a `ValueError` is due."""
    try:
        use(*args)
    except Complaint:
        raise
    except ValueError:
        return "ValueError"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no exception"


def is_refused(got: str) -> str | None:
    """None if a `ValueError` was raised, and otherwise what should have happened."""
    return (
        None if got == "ValueError" else "Here your code should raise a `ValueError`."
    )


def refused(hint: str) -> tuple[Mistake, ...]:
    """Nothing was raised: `hint`; something else was: what is wrong with that."""
    return (
        Mistake(hint, equals="no exception"),
        Mistake(
            "An `assert` is a note to yourself: `python -O` leaves it out. Write `if "
            "...: raise ValueError(...)`, and say what is wrong.",
            when=lambda got: got.startswith("AssertionError"),
        ),
        Mistake(
            "Something else is raised, perhaps by torch, in words that do not name the "
            "cause. Check first, and raise a `ValueError` that says what is wrong.",
            when=lambda got: got != "ValueError",
        ),
    )
