"""The judge names what is wrong with an answer, whatever is wrong."""

from __future__ import annotations

import random
import subprocess
import sys
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course.case import Case, Complaint, Exercise, Mistake, build
from course.judge import judge

X = torch.tensor([[0.5, -1.0, 2.0], [3.0, 0.25, -0.5]])


def check(answer, *cases: Case):
    spec = Exercise("part", 1, 5, ("a", "b", "c"), lambda: iter(cases))
    return judge(spec, answer)


def softmax_case(**more) -> Case:
    return Case(
        "two rows",
        args=(X,),
        expected=lambda x: F.softmax(x, dim=-1),
        mistakes=(Mistake("each column sums to 1", equals=F.softmax(X, dim=0)),),
        **more,
    )


def loops(x):
    while True:
        pass


def loops_again_after_a_bare_except(x):
    try:
        loops(x)
    except:  # noqa: E722
        loops(x)


def changes_its_input(x):
    x -= x.max(dim=-1, keepdim=True).values
    return torch.softmax(x, dim=-1)


WRONG = {
    "hint": (lambda x: F.softmax(x, dim=0), "each column sums to 1"),
    "none": (lambda x: None, "returned None"),
    "type": (lambda x: F.softmax(x, dim=-1).tolist(), "a `list`"),
    "number": (lambda x: 3, "an `int`"),
    "shape": (lambda x: F.softmax(x, dim=-1).T, "(3, 2), expected (2, 3)"),
    "dtype": (lambda x: F.softmax(x.double(), dim=-1), "float64, expected float32"),
    "nan": (lambda x: F.softmax(x, dim=-1) * float("nan"), "NaN"),
    "value": (lambda x: F.softmax(2 * x, dim=-1), "the first is at [0, 0]"),
    "mutates": (changes_its_input, "changes its input `x`"),
    "raises": (lambda x: x @ x, "RuntimeError"),
    "exits": (lambda x: exit(), "SystemExit"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_named(kind):
    answer, says = WRONG[kind]
    finding = check(answer, softmax_case())
    assert says in f"{finding.complaint} {finding.hint}"


def test_a_value_barely_off_is_named_with_enough_digits():
    case = Case("two values", expected=torch.tensor([2.0, 100.0]))
    complaint = check(lambda: torch.tensor([2.0, 100.0003]), case).complaint
    assert "1 of 2 values" in complaint
    assert "[1]: got 100.000298, expected 100." in complaint


@pytest.mark.parametrize("answer", [loops, loops_again_after_a_bare_except])
def test_an_endless_loop_is_stopped(answer):
    case = Case("a loop", args=(X,), expected=X, seconds=0.2)
    finding = check(answer, case)
    assert "stopped after 0.2 seconds" in finding.complaint
    assert "never ends" in finding.hint


def test_an_endless_loop_has_a_hint_of_its_own():
    again = Mistake("count again", raises=TimeoutError)
    case = Case("a loop", args=(X,), expected=X, seconds=0.2, mistakes=(again,))
    assert check(loops, case).hint == "count again"


def test_an_exception_has_the_hint_that_its_message_fits():
    mistakes = (
        Mistake("about b", raises=ValueError, mentions="no b"),
        Mistake("about any", raises=ValueError),
    )
    case = Case("errors", args=(X,), expected=X, mistakes=mistakes)

    def fails(words):
        def answer(x):
            raise ValueError(words)

        return check(answer, case).hint

    assert fails("there is no b") == "about b"
    assert fails("else") == "about any"


def test_a_module_that_forgets_super_is_told():
    class Forgets(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(2, 3)

    case = Case("built", expected=3, call=lambda cls: cls())
    assert "super().__init__()" in check(Forgets, case).hint


def test_an_endless_loop_is_stopped_on_another_thread():
    found = []
    case = Case("a loop", args=(X,), expected=X, seconds=0.2)
    thread = threading.Thread(target=lambda: found.append(check(loops, case)))
    thread.start()
    thread.join(timeout=20)
    assert "never ends" in found[0].hint


def test_a_right_answer_passes():
    assert (
        check(lambda x: x.exp() / x.exp().sum(-1, keepdim=True), softmax_case()) is None
    )


def test_a_detached_gradient_is_named():
    right = softmax_case(gradient=True)
    assert check(lambda x: torch.softmax(x, -1), right) is None
    finding = check(lambda x: torch.softmax(x.detach(), -1), right)
    assert "no gradient reaches `x`" in finding.complaint


def test_a_wrong_gradient_is_named():
    def half_detached(x):
        return x * x.detach()

    case = Case("squares", args=(X,), expected=lambda x: x**2, gradient=True)
    assert "the gradient of `x` is not" in check(half_detached, case).complaint
    assert check(lambda x: x * x, case) is None


def test_a_way_back_that_fails_is_a_finding_too():
    def changes_what_exp_keeps(x):
        y = x.exp()
        y += 1  # the gradient of exp is its own output
        return y

    hint = Mistake("make a new tensor", raises=RuntimeError, mentions="inplace")
    case = Case(
        "in place",
        args=(X,),
        expected=lambda x: x.exp() + 1,
        gradient=True,
        mistakes=(hint,),
    )
    assert check(changes_what_exp_keeps, case).hint == "make a new tensor"


def test_a_tensor_left_on_the_cpu_is_named():
    case = Case("rows", args=(X,), expected=lambda x: x + 1, any_device=True)
    finding = check(lambda x: x + torch.ones(3), case)
    assert "another device" in finding.complaint
    assert check(lambda x: x + torch.ones(3, device=x.device), case) is None


def test_a_result_left_on_the_cpu_is_named():
    case = Case(
        "places", args=(X,), expected=lambda x: torch.arange(3), any_device=True
    )
    finding = check(lambda x: torch.arange(x.shape[1]), case)
    assert "on the device 'cpu'" in finding.complaint


def test_code_that_needs_values_is_not_blamed_for_the_device():
    case = Case("scaled", args=(X,), expected=lambda x: x * 4.25, any_device=True)
    assert check(lambda x: x * x.sum().item(), case) is None


FIRST_TIME = """
import sys
import torch
from course.case import Case, Exercise
from course.judge import judge

def halved(x):
    before = set(sys.modules)
    half = x / 2
    if x.device.type == "meta":
        sys.stderr.write(f"{len(set(sys.modules) - before)} new")
    return half

x = torch.ones(3)
case = Case("halves", args=(x,), expected=torch.full((3,), 0.5), any_device=True)
part = Exercise("part", 1, 5, ("a", "b", "c"), lambda: iter([case]))
assert judge(part, halved) is None
"""


def test_what_torch_imports_for_a_device_is_not_the_answers_time():
    """In a new process: here it has long been imported."""
    done = subprocess.run(
        [sys.executable, "-c", FIRST_TIME], capture_output=True, text=True, check=True
    )
    assert done.stderr == "0 new"


def test_what_the_answer_prints_is_shown_only_when_it_fails(capsys):
    def chatty(x):
        print("looking at", tuple(x.shape))
        return x

    finding = check(chatty, softmax_case())
    assert finding.printed == "looking at (2, 3)"
    assert capsys.readouterr().out == ""


def test_judging_leaves_the_random_numbers_alone():
    torch.manual_seed(1)
    random.seed(1)
    expected = torch.rand(1), random.random()
    torch.manual_seed(1)
    random.seed(1)

    def draws(x):
        random.random()
        return torch.rand_like(x)

    check(draws, Case("noise", args=(X,), judge=lambda got: None))
    assert (torch.rand(1), random.random()) == expected


def test_an_exception_is_shown_at_the_readers_line():
    def breaks(x):
        y = x + 1
        return y @ y

    trace = check(breaks, softmax_case()).trace
    assert trace.endswith("in breaks\n    return y @ y")


def test_the_inputs_are_shown_under_the_readers_names():
    def answer(rows, factor):
        return rows

    case = Case("scaled", args=(X, 3), expected=lambda x, f: x * f)
    given = check(answer, case).inputs
    assert given.startswith("rows = tensor of shape (2, 3), float32\n[[0.5, -1, 2],")
    assert given.endswith("factor = 3")


def test_a_complaint_gives_its_words():
    def call(answer, x):
        raise Complaint("say it like this")

    finding = check(lambda x: x, Case("own words", args=(X,), expected=X, call=call))
    assert finding.complaint == "say it like this"


def test_a_changed_input_is_not_taken_for_another_mistake():
    def zeroed(x):
        x.zero_()
        return X.clone()

    case = Case(
        "copied",
        args=(X.clone(),),
        expected=X.clone(),
        mistakes=(Mistake("all zeros", when=lambda got: not got.any()),),
    )
    finding = check(zeroed, case)
    assert "changes its input `x`" in finding.complaint
    assert finding.hint is None


class TestBuild:
    state = {"weight": torch.ones(2, 3)}  # noqa: RUF012

    def test_weights_are_copied_in(self):
        class Right(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(torch.zeros(2, 3))

        assert torch.equal(build(Right, state=self.state).weight, torch.ones(2, 3))

    def test_what_is_missing_is_named(self):
        class Renamed(nn.Module):
            def __init__(self):
                super().__init__()
                self.w = nn.Parameter(torch.zeros(2, 3))

        with pytest.raises(Complaint, match="no parameter `weight` of shape"):
            build(Renamed, state=self.state)

    def test_a_transposed_weight_is_named(self):
        class Transposed(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(torch.zeros(3, 2))

        with pytest.raises(Complaint, match=r"shape \(3, 2\), expected \(2, 3\)"):
            build(Transposed, state=self.state)

    def test_one_too_many_is_named(self):
        class More(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(torch.zeros(2, 3))
                self.bias = nn.Parameter(torch.zeros(2))

        with pytest.raises(Complaint, match="too many: `bias`"):
            build(More, state=self.state)

    def test_a_plain_class_is_named(self):
        with pytest.raises(Complaint, match=r"subclass of `nn.Module`"):
            build(dict)


def test_a_case_is_complete():
    with pytest.raises(ValueError, match="either `expected` or `judge`"):
        Case("nothing to compare with")
    with pytest.raises(ValueError, match="needs an oracle"):
        Case("no function to differentiate", expected=X, gradient=True)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"minutes": 26}, "1 to 25 minutes"),
        ({"difficulty": 4}, "1, 2 or 3"),
        ({"hints": ("one",)}, "three hints"),
    ],
)
def test_an_exercise_keeps_the_rules(change, says):
    fields = {
        "name": "part",
        "difficulty": 1,
        "minutes": 5,
        "hints": ("a", "b", "c"),
        "cases": list,
    }
    with pytest.raises(ValueError, match=says):
        Exercise(**{**fields, **change})
