"""Runs the cases of an exercise against an answer, up to the first that fails."""

from __future__ import annotations

import contextlib
import inspect
import io
import linecache
import random
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from course.case import NOTHING, Case, Complaint, Exercise, Mistake, call_it
from course.compare import copied, difference, same, shown, unchanged
from course.timelimit import TimeIsUp, time_limit

MOST_PRINTED = 10
"""Of what an answer prints while it is judged, so many last lines are shown."""


@dataclass(frozen=True)
class Finding:
    """Why an answer does not pass: the first case that fails, and what it showed."""

    case: str
    complaint: str
    hint: str | None = None
    inputs: str | None = None
    expected: str | None = None
    got: str | None = None
    trace: str | None = None
    printed: str | None = None


def judge(exercise: Exercise, answer: Callable) -> Finding | None:
    """None if the answer passes every case, otherwise what went wrong first."""
    for case in exercise.cases():
        with _randomness_of_its_own():
            finding = _judge_case(case, answer)
        if finding is not None:
            return finding
    return None


@contextlib.contextmanager
def _randomness_of_its_own() -> Iterator[None]:
    """Judging leaves the notebook's random numbers as they were.

    So a notebook prints the same with the reader's answers as with the course's.
    """
    state = random.getstate()
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(0)
        random.seed(0)
        yield
    random.setstate(state)


def _judge_case(case: Case, answer: Callable) -> Finding | None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        finding = _on_device(case, answer, None)
        if finding is None and case.any_device:
            _wake_meta()
            finding = _on_device(case, answer, "meta")
            if finding is None and torch.cuda.is_available():
                finding = _on_device(case, answer, "cuda")
    if finding is None:
        return None
    lines = printed.getvalue().splitlines()[-MOST_PRINTED:]
    return replace(
        finding, inputs=_inputs(case, answer), printed="\n".join(lines) or None
    )


@cache
def _wake_meta() -> None:
    """Let torch import what the meta device needs: that is not the answer's time.

    They are hundreds of modules, at the first arithmetic there.
    """
    _ = torch.zeros(1, device="meta") / 2


def _on_device(case: Case, answer: Callable, device: str | None) -> Finding | None:
    args = _moved(copied(case.args), device)
    kwargs = _moved(copied(dict(case.kwargs or {})), device)
    if case.gradient and device is None:
        _each_floating(args, lambda tensor: tensor.requires_grad_(True))
    before = copied(args), copied(kwargs)
    try:
        with time_limit(case.seconds):
            got = case.call(answer, *args, **kwargs)
    except TimeIsUp:
        words = f"Your code was stopped after {case.seconds:g} seconds."
        hint = _hint_for(case, TimeoutError()) or "Is there a loop that never ends?"
        return Finding(case.title, words, hint)
    except Complaint as complaint:
        return _finding(case, str(complaint))
    except (Exception, SystemExit) as error:
        return _of_exception(case, answer, error, device)
    return _of_result(case, answer, got, args, kwargs, before, device)


def _of_result(
    case: Case,
    answer: Callable,
    got: Any,
    args: tuple,
    kwargs: dict,
    before: tuple[tuple, dict],
    device: str | None,
) -> Finding | None:
    if case.expected is NOTHING:
        if device == "meta":
            return None
        try:
            complaint = case.judge(got)
        except Exception:  # the judge expected another kind of value
            complaint = f"Your code returned {shown(got)}, which cannot be judged."
        if got is None:
            complaint = "Your code returned None. Is there a `return` line?"
        if complaint:
            return _finding(case, complaint, got=got)
    else:
        expected = _expected(case, before, device)
        complaint = difference(expected, got, case.rtol, case.atol)
        if complaint:
            return _finding(case, complaint, expected, got)
        if case.gradient and device is None:
            finding = _of_gradients(case, answer, got, args, before)
            if finding is not None:
                return finding
    return _of_mutation(case, answer, args, kwargs, before, device)


def _expected(case: Case, before: tuple[tuple, dict], device: str | None) -> Any:
    if not callable(case.expected):
        return _moved(case.expected, device)
    args, kwargs = before
    if device == "meta":  # the oracle needs values: let it have them, then move
        return _moved(
            case.expected(*copied(case.args), **dict(case.kwargs or {})), device
        )
    with torch.enable_grad():
        return case.expected(*args, **kwargs)


def _of_mutation(
    case: Case,
    answer: Callable,
    args: tuple,
    kwargs: dict,
    before: tuple[tuple, dict],
    device: str | None,
) -> Finding | None:
    if device == "meta":
        return None
    named = [*zip(_names(case, answer, len(args)), before[0], args, strict=True)]
    named += [(name, value, kwargs[name]) for name, value in before[1].items()]
    for name, old, new in named:
        if not unchanged(old, new):
            return Finding(
                case.title,
                f"Your code changes its input `{name}`. Leave the caller's data as it "
                "was: work on a copy, or build a new object.",
                expected=shown(old),
                got=shown(new),
            )
    return None


def _of_gradients(
    case: Case, answer: Callable, got: Any, args: tuple, before: tuple[tuple, dict]
) -> Finding | None:
    expected = case.expected(*before[0], **before[1])
    _weighted_sum(expected).backward()
    outcome = _weighted_sum(got)
    if outcome.requires_grad:
        try:
            outcome.backward()
        except RuntimeError as error:  # such as a tensor that was changed in place
            return _of_exception(case, answer, error, None)
    for name, mine, theirs in zip(
        _names(case, answer, len(args)), args, before[0], strict=True
    ):
        if not isinstance(mine, Tensor) or not mine.requires_grad:
            continue
        if theirs.grad is None:
            continue
        if mine.grad is None:
            return _finding(
                case,
                f"The values are right, but no gradient reaches `{name}`. "
                "Is something detached, or turned into plain numbers?",
            )
        complaint = difference(theirs.grad, mine.grad, case.rtol, case.atol)
        if complaint:
            return _finding(
                case,
                f"The values are right, the gradient of `{name}` is not. {complaint}",
                expected=theirs.grad,
                got=mine.grad,
            )
    return None


def _weighted_sum(outputs: Any) -> Tensor:
    """A scalar in which every output has a weight of its own, to differentiate."""
    tensors = outputs if isinstance(outputs, tuple | list) else (outputs,)
    return sum(
        (out * torch.arange(1, out.numel() + 1).to(out).cos().reshape(out.shape)).sum()
        for out in tensors
    )


def _of_exception(
    case: Case, answer: Callable, error: BaseException, device: str | None
) -> Finding | None:
    message = f"{type(error).__name__}: {error}"
    if device is not None:
        if device == "meta" and "not on the expected device" not in str(error):
            return None  # code that needs real values may still be right
        return Finding(
            case=case.title,
            complaint="Your code works on the CPU, but not with inputs on another "
            "device, such as a GPU: a tensor inside it stays on the CPU.",
            hint="Give new tensors the `device=` of your input, or register them "
            "with `self.register_buffer`.",
            trace=readers_lines(error, answer),
        )
    hint = _hint_for(case, error)
    return Finding(case.title, message, hint, trace=readers_lines(error, answer))


def _hint_for(case: Case, error: BaseException) -> str | None:
    """What probably led to an exception: a mistake of this case, or one of any case."""
    for mistake in case.mistakes:
        expected = mistake.raises is not None and isinstance(error, mistake.raises)
        if expected and mistake.mentions in str(error):
            return mistake.hint
    if isinstance(error, NotImplementedError):
        return "One part is still empty: it raises NotImplementedError."
    if "before Module.__init__() call" in str(error):
        return "`__init__` of a module begins with `super().__init__()`."
    return None


def _finding(
    case: Case, complaint: str, expected: Any = NOTHING, got: Any = NOTHING
) -> Finding:
    hint = None
    if got is not NOTHING and got is not None:
        hint = next((m.hint for m in case.mistakes if _recognised(m, got)), None)
    return Finding(
        case=case.title,
        complaint=complaint,
        hint=hint,
        expected=None if expected is NOTHING else shown(expected),
        got=None if got is NOTHING else shown(got),
    )


def _recognised(mistake: Mistake, got: Any) -> bool:
    try:
        if mistake.when is not None:
            return bool(mistake.when(got))
        return mistake.equals is not NOTHING and same(mistake.equals, got)
    except Exception:  # the value is of another kind: not this mistake
        return False


def readers_lines(error: BaseException, answer: Callable) -> str | None:
    """Where in the reader's own code the exception arose: line number and text."""
    own = _filenames(answer)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename in own
    ]
    if not frames:
        return None
    frame = frames[-1]
    line = linecache.getline(frame.filename, frame.lineno or 0).strip()
    return f"line {frame.lineno}, in {frame.name}\n    {line}"


def _filenames(answer: Callable) -> set[str]:
    members = vars(answer).values() if isinstance(answer, type) else (answer,)
    codes = (
        getattr(inspect.unwrap(m), "__code__", None) for m in members if callable(m)
    )
    return {code.co_filename for code in codes if code is not None}


def _names(case: Case, answer: Callable, count: int) -> list[str]:
    """What the reader calls the arguments; else what the case's own call names them."""
    plain = case.call is call_it
    try:
        names = list(inspect.signature(answer if plain else case.call).parameters)
    except (TypeError, ValueError):
        names = []
    names = names if plain else names[1:]  # the first one is the answer itself
    return [names[i] if i < len(names) else f"argument {i + 1}" for i in range(count)]


def _inputs(case: Case, answer: Callable) -> str | None:
    """The arguments of a case as the verdict shows them: one after another, named."""
    named = [*zip(_names(case, answer, len(case.args)), case.args, strict=True)]
    named += list((case.kwargs or {}).items())
    lines = [
        f"{name} = {shown(value)}"
        for name, value in named
        if not callable(value) and not isinstance(value, torch.Generator)
    ]
    return "\n".join(lines) or None


def _each_floating(values: tuple, action: Callable[[Tensor], Any]) -> None:
    for value in values:
        if isinstance(value, Tensor) and value.is_floating_point():
            action(value)


def _moved(value: Any, device: str | None) -> Any:
    if device is None:
        return value
    if isinstance(value, Tensor):
        return value.to(device)
    if type(value) in (tuple, list):
        return type(value)(_moved(item, device) for item in value)
    if type(value) is dict:
        return {key: _moved(item, device) for key, item in value.items()}
    return value
