"""What is wrong with a request, in one line that says what was expected.

Each field of `course.serve.schema` describes itself by what it takes: "a number from 0
to 2". The same words stand in the OpenAPI document and in the line that refuses:

    temperature is 3, expected a number from 0 to 2: 0 is always the likeliest token
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel

LONGEST = 40
"""Characters of a wrong value that a message repeats."""

OBJECT = "a JSON object, sent with the header Content-Type: application/json"


class Place(NamedTuple):
    """Where in a request something is wrong."""

    path: str | None  # as messages[0].role; None: the request itself
    expected: str | None  # what the field takes
    beside: list[str]  # the names of the fields there
    depth: int  # how many fields the path names


def in_words(
    model: type[BaseModel], errors: Sequence[Mapping[str, Any]]
) -> tuple[str, str | None]:
    """The message and the path of the field, of what pydantic found in a request.

    Where a field may have several types, pydantic says of each why it is none. The one
    that came closest counts: it found most fields, or refused for a reason of our own.
    """
    places = [(error, _place(model, error)) for error in errors]
    error, place = max(
        places, key=lambda pair: (pair[1].depth, pair[0]["type"] == "value_error")
    )
    path, expected = place.path, place.expected or OBJECT
    match error["type"]:
        case "value_error":
            message = f"{path}: {error['ctx']['error']}"
        case "extra_forbidden":
            near = difflib.get_close_matches(error["loc"][-1], place.beside, n=1)
            hint = f": did you mean {near[0]}?" if near else ""
            message = f"this server knows no field {shown(path)}{hint}"
        case "missing":
            message = f"{path} is missing, expected {expected}"
        case _:
            got = shown(error["input"])
            message = f"{path or 'the body'} is {got}, expected {expected}"
    return message, path


def _place(model: type[BaseModel], error: Mapping[str, Any]) -> Place:
    """Follow pydantic's path, which names types as well as fields and numbers."""
    path, expected, depth = "", None, 0
    inside: type[BaseModel] | None = model
    beside = list(model.model_fields)
    *_, last = error["loc"] or (None,)
    for part in error["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif inside and part in inside.model_fields:
            field = inside.model_fields[part]
            path, depth = f"{path}.{part}", depth + 1
            expected, beside = field.description, list(inside.model_fields)
            inside = _model_in(field.annotation)
        elif error["type"] == "extra_forbidden" and part is last:
            path, depth = f"{path}.{part}", depth + 1
            beside = list(inside.model_fields) if inside else beside
    return Place(path.removeprefix(".") or None, expected, beside, depth)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds, alone, in a list, or beside other types."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(part) for part in get_args(annotation))
    return next(filter(None, found), None)


def shown(value: Any) -> str:
    """A value as a message repeats it: short, and always one line.

    >>> shown("안녕"), shown("a" * 99), shown(None), shown([1, 2])
    ('"안녕"', '"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa..."', 'null', 'a list of 2')
    """
    if isinstance(value, bytes):
        return "no JSON"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, str):
        cut = value[:LONGEST] + "..." * (len(value) > LONGEST)
        return json.dumps(cut, ensure_ascii=not cut.isprintable())
    return json.dumps(value)[:LONGEST]
