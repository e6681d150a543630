"""The text of an answer is found, read and made to stand alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course.source import (
    CannotStandAlone,
    is_empty,
    left_open,
    source_of,
    standalone,
)

FACTOR = 3
NOT_PLAIN = torch.ones(2)


def exercise(answer):
    return answer


def helper(x):
    return x * FACTOR


def uses_a_helper(x):
    """Imports, a helper and a constant."""
    return F.relu(helper(x)) + math.pi


def uses_a_tensor(x):
    return x + NOT_PLAIN


Alias = Callable[[torch.Tensor], torch.Tensor]


def uses_an_alias(model: Alias, x: torch.Tensor) -> torch.Tensor:
    return model(x)


def countdown(n):
    return 0 if n == 0 else countdown(n - 1)


@exercise
@torch.no_grad()
def decorated(x):
    return x  # a comment stays


class Model(nn.Module):
    """A class of a reader."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)

    def forward(self, x):
        return helper(self.layer(x))


def run(text: str) -> dict:
    namespace: dict = {}
    exec(text, namespace)
    return namespace


def test_an_answer_stands_alone_with_what_it_uses():
    text = standalone(uses_a_helper, source_of(uses_a_helper))
    result = run(text)["uses_a_helper"](torch.tensor(2.0))
    assert result.item() == pytest.approx(6 + math.pi)
    assert "FACTOR = 3" in text


def test_a_class_stands_alone():
    own = run(standalone(Model, source_of(Model)))["Model"]
    assert own(2)(torch.ones(1, 2)).shape == (1, 2)


def test_recursion_is_no_dependency():
    own = run(standalone(countdown, source_of(countdown)))["countdown"]
    assert own(3) == 0


def test_only_the_exercise_decorator_is_dropped():
    text = source_of(decorated)
    assert text.startswith("@torch.no_grad()\ndef decorated(x):")
    assert "a comment stays" in text


def test_a_value_of_the_notebook_is_named():
    with pytest.raises(CannotStandAlone, match="`NOT_PLAIN`"):
        standalone(uses_a_tensor, source_of(uses_a_tensor))


def test_a_type_that_only_an_annotation_names_is_not_needed():
    text = standalone(uses_an_alias, source_of(uses_an_alias))
    assert run(text)["uses_an_alias"](abs, -2) == 2
    assert "Alias =" not in text


def test_names_of_other_exercises_are_left_to_the_course():
    text = standalone(uses_a_helper, source_of(uses_a_helper), others=["helper"])
    assert "def helper" not in text


def in_a_class(*bodies: str) -> str:
    methods = "".join(
        f"    def m{i}(self):\n        {body}\n" for i, body in enumerate(bodies)
    )
    return f"class C(Base):\n    '''Doc.'''\n{methods}"


@pytest.mark.parametrize(
    "source",
    [
        "def f(x):\n    '''Doc.'''\n    ...\n",
        "def f(x):\n    ...  # your turn\n",
        "def f(x):\n    pass\n",
        "def f(x):\n    '''Only a docstring.'''\n",
        "def f(x):\n    raise NotImplementedError\n",
        "def f(x):\n    raise NotImplementedError('your turn')\n",
        in_a_class("...", "..."),
        in_a_class("super().__init__()", "..."),
    ],
)
def test_a_stub_is_empty(source):
    assert is_empty(source)


@pytest.mark.parametrize(
    "source",
    [
        "def f(x):\n    return x\n",
        "def f(x):\n    '''Doc.'''\n    return 'text'\n",
        "def f(x):\n    raise ValueError\n",
        in_a_class("self.x = 1", "..."),
    ],
)
def test_an_attempt_is_not_empty(source):
    assert not is_empty(source)


def test_a_gap_that_is_left_is_found():
    assert left_open("def f(x):\n    y = ...\n    return y\n") == 2
    assert left_open("def f(x):\n    y = x\n    ...\n") == 3
    assert left_open(in_a_class("self.x = 1", "...")) == 5
    assert left_open("def f(x):\n    return x[..., 0]\n") is None
