"""Compares what an answer returned with what was expected, and says how they differ."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import torch
from torch import Tensor

MOST_SHOWN = 36
"""A tensor with more values than this is described, not printed."""


def difference(
    expected: Any,
    got: Any,
    rtol: float | None = None,
    atol: float | None = None,
    where: str = "",
) -> str | None:
    """One sentence on the first thing that differs, or None if nothing does.

    Types come first, then shapes, dtypes, devices, NaN, and values last, so that the
    reader hears the cause before its consequences. Tolerances are those of
    `torch.testing.assert_close` unless given.
    """
    at = f" at {where}" if where else ""
    if isinstance(expected, Tensor):
        if not isinstance(got, Tensor):
            return _wrong_type(expected, got, at)
        return _tensor_difference(expected, got, rtol, atol, at)
    if got is None and expected is not None:
        return f"Your code returned None{at}. Is there a `return` line?"
    if isinstance(expected, bool) or isinstance(got, bool):
        same = isinstance(expected, bool) and isinstance(got, bool)
        if not same:
            return _wrong_type(expected, got, at)
    elif isinstance(expected, Real):
        return _number_difference(expected, got, rtol, atol, at)
    elif not isinstance(got, type(expected)):
        return _wrong_type(expected, got, at)
    elif isinstance(expected, Mapping):
        return _mapping_difference(expected, got, rtol, atol, where)
    elif isinstance(expected, list | tuple):
        if len(expected) != len(got):
            return f"The length{at} is {len(got)}, expected {len(expected)}."
        for index, (one, other) in enumerate(zip(expected, got, strict=True)):
            found = difference(one, other, rtol, atol, f"{where}[{index}]")
            if found:
                return found
        return None
    return None if expected == got else f"The value{at} is not the expected one."


def same(expected: Any, got: Any) -> bool:
    """Whether two values agree closely; NaN and infinity agree with themselves."""
    if isinstance(expected, Tensor) and isinstance(got, Tensor):
        return expected.shape == got.shape and torch.allclose(
            expected.detach().double().cpu(),
            got.detach().double().cpu(),
            rtol=1e-4,
            atol=1e-6,
            equal_nan=True,
        )
    if isinstance(expected, float) and isinstance(got, Real):
        both_nan = math.isnan(expected) and math.isnan(got)
        return both_nan or math.isclose(expected, got, rel_tol=1e-4, abs_tol=1e-6)
    return difference(expected, got, rtol=1e-4, atol=1e-6) is None


def copied(value: Any) -> Any:
    """A deep copy that shares no tensor storage and no generator state."""
    if isinstance(value, torch.Generator):
        return value.clone_state()
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, tuple | list) and type(value) in (tuple, list):
        return type(value)(copied(item) for item in value)
    if type(value) is dict:
        return {key: copied(item) for key, item in value.items()}
    return copy.deepcopy(value) if not callable(value) else value


def unchanged(before: Any, after: Any) -> bool:
    """Whether an argument still holds what it held before the call."""
    if isinstance(before, Tensor):
        return (
            before.shape == after.shape
            and before.dtype == after.dtype
            and torch.equal(torch.nan_to_num(before), torch.nan_to_num(after))
        )
    if isinstance(before, list | tuple):
        return len(before) == len(after) and all(map(unchanged, before, after))
    if isinstance(before, dict):
        return list(before) == list(after) and all(
            unchanged(value, after[key]) for key, value in before.items()
        )
    if isinstance(before, torch.Generator) or callable(before):
        return True  # a generator is there to be used; code is not looked into
    return bool(before == after)


def shown(value: Any) -> str:
    """A value as the verdict prints it: rounded, and short."""
    if isinstance(value, Tensor):
        value = value.detach()
        head = f"tensor of shape {tuple(value.shape)}, {_name(value.dtype)}"
        if value.device.type == "meta" or value.numel() > MOST_SHOWN:
            return head
        body = torch.round(value.double().cpu(), decimals=4).tolist()
        return f"{head}\n{_rows(body)}"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:297]}..."


def _rows(body: Any, depth: int = 0) -> str:
    """Nested lists of numbers, one row a line."""
    if not isinstance(body, list):
        return f"{body:g}"
    if not body or not isinstance(body[0], list):
        return "[" + ", ".join(f"{number:g}" for number in body) + "]"
    rows = (",\n" + " " * (depth + 1)).join(_rows(row, depth + 1) for row in body)
    return f"[{rows}]"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _a(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} `{name}`"


def _wrong_type(expected: Any, got: Any, at: str) -> str:
    if got is None:
        return f"Your code returned None{at}. Is there a `return` line?"
    return f"Your code returned {_a(got)}{at}, expected {_a(expected)}."


def _number_difference(
    expected: Real, got: Any, rtol: float | None, atol: float | None, at: str
) -> str | None:
    if not isinstance(got, Real):
        return _wrong_type(expected, got, at)
    if math.isnan(got) and not math.isnan(expected):
        return f"The result{at} is NaN (not a number)."
    exact = isinstance(expected, int) and rtol is None and atol is None
    close = expected == got or (
        not exact
        and math.isclose(
            expected,
            got,
            rel_tol=1e-7 if rtol is None else rtol,
            abs_tol=1e-9 if atol is None else atol,
        )
    )
    return None if close else f"The value{at} is not the expected one."


def _mapping_difference(
    expected: Mapping, got: Mapping, rtol: float | None, atol: float | None, where: str
) -> str | None:
    for key in expected:
        if key not in got:
            return f"The entry {key!r} is missing."
    for key in got:
        if key not in expected:
            return f"There is an entry too many: {key!r}."
    for key, value in expected.items():
        found = difference(value, got[key], rtol, atol, f"{where}[{key!r}]")
        if found:
            return found
    return None


def _tensor_difference(
    expected: Tensor, got: Tensor, rtol: float | None, atol: float | None, at: str
) -> str | None:
    if expected.shape != got.shape:
        return f"The shape{at} is {tuple(got.shape)}, expected {tuple(expected.shape)}."
    if expected.dtype != got.dtype:
        return f"The dtype{at} is {_name(got.dtype)}, expected {_name(expected.dtype)}."
    if expected.device.type != got.device.type:
        return (
            f"The result{at} is on the device {got.device.type!r}, the input on "
            f"{expected.device.type!r}. Create new tensors with `device=` of the input."
        )
    if expected.device.type == "meta":
        return None
    if got.is_floating_point() and got.isnan().any() and not expected.isnan().any():
        return f"The result{at} holds NaN (not a number)."
    try:
        torch.testing.assert_close(
            got.detach(), expected.detach(), rtol=rtol, atol=atol, equal_nan=True
        )
    except AssertionError:
        return _first_difference(expected.detach(), got.detach(), rtol, atol, at)
    return None


def _first_difference(
    expected: Tensor, got: Tensor, rtol: float | None, atol: float | None, at: str
) -> str:
    if expected.dim() == 0:
        return f"The value{at} is not the expected one."
    tolerance = {"rtol": 1e-5 if rtol is None else rtol, "atol": atol or 1e-8}
    far = ~torch.isclose(got, expected, equal_nan=True, **tolerance)
    if not far.any():  # a difference so small that only the stricter comparison saw it
        far = ~torch.isclose(got, expected, equal_nan=True, rtol=0, atol=0)
    index = tuple(far.nonzero()[0].tolist())
    digits = 6 if f"{got[index]:.6g}" != f"{expected[index]:.6g}" else 9
    return (
        f"{int(far.sum())} of {far.numel()} values{at} differ; the first is at "
        f"[{', '.join(map(str, index))}]: got {got[index].item():.{digits}g}, "
        f"expected {expected[index].item():.{digits}g}."
    )
