"""What an exercise is made of: its cases, its likely mistakes, its hints.

A file in `course/checks/` describes every exercise of one chapter with these classes.
`course/judge.py` runs them against a reader's answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


class Complaint(Exception):  # noqa: N818  (not an error of ours: words for the reader)
    """Raised inside a case to tell the reader, in these words, what is wrong."""


NOTHING = object()
"""Stands for "not given", where None could be a value that is meant."""


@dataclass(frozen=True)
class Mistake:
    """A plausible wrong turn, recognised by what it does, and the words that help.

    Give one of: `equals`, the value this mistake leads to; `when`, a test of the value
    that the answer returned; `raises`, the exception it ends in, if its message holds
    `mentions`. An endless loop counts as a TimeoutError.
    """

    hint: str
    equals: Any = NOTHING
    when: Callable[[Any], bool] | None = None
    raises: type[BaseException] | tuple[type[BaseException], ...] | None = None
    mentions: str = ""


def call_it(answer: Callable, *args: Any, **kwargs: Any) -> Any:
    """The usual way to use an answer: call it."""
    return answer(*args, **kwargs)


@dataclass(frozen=True)
class Case:
    """One question put to an answer, and how to know that its reply is right.

    Give `expected` (a value, or an oracle called with the same arguments) or `judge`,
    which returns None for a right reply and otherwise one sentence of complaint.

    Args:
        title: what this case is about, as the reader will see it.
        call: how to use the answer; for a module: build it, then call it.
        gradient: also compare the gradient of every floating-point argument; then
            `expected` must be an oracle that torch can differentiate.
        any_device: also run on another device, to find a tensor that stays behind.
        seconds: after this time the answer counts as an endless loop.
    """

    title: str
    args: tuple = ()
    kwargs: Mapping[str, Any] | None = None
    expected: Any = NOTHING
    judge: Callable[[Any], str | None] | None = None
    call: Callable = call_it
    mistakes: tuple[Mistake, ...] = ()
    gradient: bool = False
    any_device: bool = False
    rtol: float | None = None
    atol: float | None = None
    seconds: float = 10.0

    def __post_init__(self) -> None:
        if (self.expected is NOTHING) == (self.judge is None):
            raise ValueError(f"case {self.title!r}: give either `expected` or `judge`")
        if self.gradient and not callable(self.expected):
            raise ValueError(f"case {self.title!r}: `gradient` needs an oracle")


@dataclass(frozen=True)
class Exercise:
    """One part of the course that the reader builds.

    Args:
        name: of the function or class, the same in the notebook and in `solutions`.
        difficulty: 1 (follow the formula), 2 (think first) or 3 (design something).
        minutes: what a member of the study group needs.
        hints: three, from a nudge to pseudocode.
        cases: yields the cases, from fundamental to subtle.
    """

    name: str
    difficulty: int
    minutes: int
    hints: tuple[str, str, str]
    cases: Callable[[], Iterator[Case]]

    def __post_init__(self) -> None:
        if self.difficulty not in (1, 2, 3):
            raise ValueError(f"{self.name}: difficulty is 1, 2 or 3")
        if not 0 < self.minutes <= 25:
            raise ValueError(f"{self.name}: an exercise takes 1 to 25 minutes")
        if len(self.hints) != 3:
            raise ValueError(f"{self.name}: an exercise has three hints")


def build(
    module: type[nn.Module],
    *args: Any,
    state: Mapping[str, Tensor] | None = None,
    device: torch.device | str | None = None,
    **kwargs: Any,
) -> nn.Module:
    """An instance of the reader's module, holding the weights in `state`.

    Raises:
        Complaint: if it is no `nn.Module`, or a parameter has another name or shape.
    """
    built = module(*args, **kwargs)
    if not isinstance(built, nn.Module):
        raise Complaint(f"`{module.__name__}` must be a subclass of `nn.Module`.")
    if not hasattr(built, "_parameters"):
        raise Complaint("`__init__` must begin with `super().__init__()`.")
    if state is not None:
        own = {name: tuple(value.shape) for name, value in built.state_dict().items()}
        wanted = {name: tuple(value.shape) for name, value in state.items()}
        missing = [name for name in wanted if name not in own]
        if missing:
            there = ", ".join(f"`{name}`" for name in own)
            there = there or "none: make them in `__init__`"
            raise Complaint(
                f"The module has no parameter `{missing[0]}` of shape "
                f"{wanted[missing[0]]}; it has {there}."
            )
        for name, shape in own.items():
            if name not in wanted:
                raise Complaint(f"The module has a parameter too many: `{name}`.")
            if shape != wanted[name]:
                raise Complaint(f"`{name}` has shape {shape}, expected {wanted[name]}.")
        built.load_state_dict(dict(state))
        floating = [value for value in state.values() if value.is_floating_point()]
        if floating:
            built.to(floating[0].dtype)
    return built.to(device) if device is not None else built
