"""What the answers of "Steady activations" must satisfy.

Oracles: `F.layer_norm`, `F.rms_norm`, the formula of DyT from its paper worked out by
`math.tanh`, and for the two orders of a residual layer numbers that fit on paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course.case import Case, Complaint, Exercise, Mistake, build


def _stream(scale: float = 1.0) -> Tensor:
    """Vectors (B, T, C) = (2, 3, 5), each with a mean and a spread of its own."""
    numbers = torch.arange(30.0).reshape(2, 3, 5)
    return scale * ((1.7 * numbers).sin() + 0.1 * numbers)


GAIN = torch.tensor([0.5, 2.0, -1.0, 1.5, 3.0])
SHIFT = torch.tensor([1.0, -2.0, 0.5, 4.0, -0.25])


def _applied(cls: type, x: Tensor, *parameters: Tensor, **options: float) -> Tensor:
    """What the reader's module makes of x with these parameters, differentiably."""
    names = {1: ("weight",), 2: ("weight", "bias"), 3: ("alpha", "weight", "bias")}
    state = dict(zip(names[len(parameters)], parameters, strict=True))
    kept = {name: value.detach() for name, value in state.items()}
    module = build(cls, x.shape[-1], state=kept, device=x.device, **options)
    return torch.func.functional_call(module, state, (x,))


def _fresh(cls: type, x: Tensor, **options: float) -> Tensor:
    """What a new module of the reader makes of x."""
    return build(cls, x.shape[-1], **options)(x)


def _by_rows(x: Tensor, dim: int | tuple, eps: float, unbiased: bool = False) -> Tensor:
    """x without its mean and with variance 1 along `dim`."""
    variance, mean = torch.var_mean(x, dim, correction=int(unbiased), keepdim=True)
    return (x - mean) / (variance + eps).sqrt()


COLUMN = Mistake(
    "The mean has lost its axis, so it does not fit. Keep it: `keepdim=True` gives "
    "(B, T, 1), which broadcasts over the channels.",
    raises=RuntimeError,
)


# LayerNorm


def _layer_norm_mistakes(x: Tensor, eps: float, gain: Tensor, shift: Tensor) -> tuple:
    def scaled(normed: Tensor) -> Tensor:
        return normed * gain + shift

    variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
    centred = x - mean
    right = _by_rows(x, -1, eps)
    return (
        COLUMN,
        Mistake(
            "Each vector is normalised with the *other texts* of the batch. That is "
            "BatchNorm's way. Take mean and variance over the channels, dim=-1.",
            equals=scaled(_by_rows(x, 0, eps)),
        ),
        Mistake(
            "Mean and variance are taken over all texts and positions, as BatchNorm "
            "does. Take them over the channels of one vector, dim=-1.",
            equals=scaled(_by_rows(x, (0, 1), eps)),
        ),
        Mistake(
            "Mean and variance are taken over *time*, so a position sees the others, "
            "the later ones too. Take them over the channels, dim=-1.",
            equals=scaled(_by_rows(x, 1, eps)),
        ),
        Mistake(
            "One mean and one variance serve a whole text or the whole tensor. Every "
            "vector has its own: dim=-1, with keepdim=True.",
            when=lambda got: any(
                torch.allclose(got, scaled(_by_rows(x, dim, eps)))
                for dim in ((1, 2), (0, 1, 2))
            ),
        ),
        Mistake(
            "The variance divides by C - 1. LayerNorm divides by C: "
            "`unbiased=False`, or the mean of the squares.",
            equals=scaled(_by_rows(x, -1, eps, unbiased=True)),
        ),
        Mistake(
            "`eps` stands outside of the root. It is added to the *variance*: "
            "sqrt(variance + eps).",
            when=lambda got: any(
                torch.allclose(got, scaled(centred / root))
                for root in (
                    variance.sqrt() + eps,
                    torch.var(x, -1, keepdim=True).sqrt() + eps,
                )
            ),
        ),
        Mistake(
            "`eps` is missing, or is not the one that was given: "
            "sqrt(variance + eps), with the `eps` of `__init__`.",
            when=lambda got: any(
                torch.allclose(got, scaled(_by_rows(x, -1, other)))
                for other in (0.0, 1e-5, 1e-6, 1e-8, 1e-12)
                if other != eps
            ),
        ),
        Mistake(
            "`eps` is squared, or added to the deviation before squaring. Add it once, "
            "to the variance.",
            equals=scaled(centred / (variance + eps**2).sqrt()),
        ),
        Mistake(
            "The root is missing: divide by the deviation, sqrt(variance + eps), not "
            "by the variance.",
            equals=scaled(centred / (variance + eps)),
        ),
        Mistake(
            "The mean is still in it: first subtract each vector's mean.",
            when=lambda got: any(
                torch.allclose(got, scaled(x / (size + eps).sqrt()))
                for size in (variance, x.square().mean(-1, keepdim=True))
            ),
        ),
        Mistake(
            "Only the mean is taken away. Divide by sqrt(variance + eps) as well.",
            equals=scaled(centred),
        ),
        Mistake(
            "Gain and shift have changed places: multiply by `weight`, then add "
            "`bias`.",
            equals=right * shift + gain,
        ),
        Mistake(
            "The shift is added before the gain multiplies. First `* weight`, then "
            "`+ bias`.",
            equals=(right + shift) * gain,
        ),
        Mistake(
            "The gain is applied before normalising, which undoes most of it. "
            "Normalise first, then `* weight + bias`.",
            equals=_by_rows(x * gain, -1, eps) + shift,
        ),
        Mistake(
            "Gain and shift have no effect: return `normed * weight + bias`.",
            equals=right,
        ),
        Mistake("The shift is missing: add `bias` at the end.", equals=right * gain),
        Mistake("The gain is missing: multiply by `weight`.", equals=right + shift),
    )


def layer_norm() -> Iterator[Case]:
    ones, zeros = torch.ones(5), torch.zeros(5)
    x = _stream()
    begins = (
        Mistake(
            "A new layer gives nothing but zeros, because its gain begins at 0. It "
            "begins at 1, `torch.ones`; the shift begins at 0.",
            equals=torch.zeros(2, 3, 5),
        ),
        Mistake(
            "A new layer must change nothing but mean and size: its shift begins at 0, "
            "`torch.zeros`.",
            equals=_by_rows(x, -1, 1e-5) + 1,
        ),
    )
    yield Case(
        "a new layer: two texts of three vectors",
        args=(x,),
        call=_fresh,
        expected=lambda x: F.layer_norm(x, (5,)),
        mistakes=(*_unlike_fresh(_layer_norm_mistakes(x, 1e-5, ones, zeros)), *begins),
    )
    yield Case(
        "with a gain and a shift, and a large eps",
        args=(x, GAIN, SHIFT),
        kwargs={"eps": 0.3},
        call=_applied,
        expected=lambda x, gain, shift, eps: F.layer_norm(x, (5,), gain, shift, eps),
        gradient=True,
        mistakes=_layer_norm_mistakes(x, 0.3, GAIN, SHIFT),
    )
    small = _stream(0.003)
    yield Case(
        "small numbers, where the eps of 1e-5 counts",
        args=(small, GAIN, SHIFT),
        call=_applied,
        expected=lambda x, gain, shift: F.layer_norm(x, (5,), gain, shift),
        mistakes=_layer_norm_mistakes(small, 1e-5, GAIN, SHIFT),
    )
    row = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
    yield Case(
        "one single vector: any number of axes may come before the last",
        args=(row, GAIN, SHIFT),
        call=_applied,
        expected=lambda x, gain, shift: F.layer_norm(x, (5,), gain, shift),
        mistakes=(
            Mistake(
                "Name the axis from the end, `dim=-1`: then it works for (C,), (T, C) "
                "and (B, T, C) alike.",
                raises=(IndexError, ValueError),
            ),
        ),
    )


def _unlike_fresh(mistakes: tuple) -> Iterator[Mistake]:
    """Without those that a gain of 1 and a shift of 0 cannot show."""
    for mistake in mistakes:
        words = mistake.hint.lower()
        if not any(part in words for part in ("gain", "the shift")):
            yield mistake


# RMSNorm


def _rms_norm_mistakes(x: Tensor, eps: float, gain: Tensor) -> tuple:
    square = x.square().mean(-1, keepdim=True)

    def over(dim: int | tuple) -> Tensor:
        return x / (x.square().mean(dim, keepdim=True) + eps).sqrt() * gain

    return (
        COLUMN,
        Mistake(
            "The mean is taken away first, as in LayerNorm. RMSNorm leaves it in: it "
            "divides by the root of the mean square, and that is all.",
            when=lambda got: any(
                torch.allclose(got, _by_rows(x, -1, eps, unbiased) * gain)
                for unbiased in (False, True)
            ),
        ),
        Mistake(
            "It divides by the deviation, whose mean is taken away. RMSNorm squares "
            "the numbers themselves: mean of x**2.",
            when=lambda got: any(
                torch.allclose(
                    got, x / (x.var(-1, c, keepdim=True) + eps).sqrt() * gain
                )
                for c in (False, True)
            ),
        ),
        Mistake(
            "The squares are summed, not averaged: take their *mean* over the "
            "channels.",
            equals=x / (5 * square + eps).sqrt() * gain,
        ),
        Mistake(
            "The mean square runs over texts or positions. Take it over the channels "
            "of one vector, dim=-1.",
            when=lambda got: any(
                torch.allclose(got, over(dim))
                for dim in (0, 1, (0, 1), (1, 2), (0, 1, 2))
            ),
        ),
        Mistake(
            "`eps` stands outside of the root. It is added to the mean square: "
            "sqrt(mean of x**2 + eps).",
            equals=x / (square.sqrt() + eps) * gain,
        ),
        Mistake(
            "`eps` is missing, or is not the one that was given to `__init__`.",
            when=lambda got: any(
                torch.allclose(got, x / (square + other).sqrt() * gain)
                for other in (0.0, 1e-5, 1e-6, 1e-8, torch.finfo(x.dtype).eps)
                if other != eps
            ),
        ),
        Mistake(
            "The root is missing: divide by sqrt(mean of x**2 + eps).",
            equals=x / (square + eps) * gain,
        ),
        Mistake(
            "It divides by the mean of the absolute values. Square, average, then take "
            "the root.",
            equals=x / (x.abs().mean(-1, keepdim=True) + eps) * gain,
        ),
        Mistake(
            "The gain has no effect: multiply by `weight` at the end.",
            equals=x / (square + eps).sqrt(),
        ),
        Mistake(
            "The gain multiplies before the size is measured. First divide, then "
            "`* weight`.",
            equals=F.rms_norm(x * gain, (5,), None, eps),
        ),
    )


def rms_norm() -> Iterator[Case]:
    x = _stream()
    yield Case(
        "a new layer: two texts of three vectors",
        args=(x,),
        call=_fresh,
        expected=lambda x: F.rms_norm(x, (5,), None, 1e-6),
        mistakes=(
            *_unlike_fresh(_rms_norm_mistakes(x, 1e-6, torch.ones(5))),
            Mistake(
                "A new layer gives nothing but zeros, because its gain begins at 0. It "
                "begins at 1, `torch.ones`.",
                equals=torch.zeros(2, 3, 5),
            ),
        ),
    )
    yield Case(
        "with a gain, and a large eps",
        args=(x, GAIN),
        kwargs={"eps": 0.3},
        call=_applied,
        expected=lambda x, gain, eps: F.rms_norm(x, (5,), gain, eps),
        gradient=True,
        mistakes=_rms_norm_mistakes(x, 0.3, GAIN),
    )
    small = _stream(0.001)
    yield Case(
        "small numbers, where the eps of 1e-6 counts",
        args=(small, GAIN),
        call=_applied,
        expected=lambda x, gain: F.rms_norm(x, (5,), gain, 1e-6),
        mistakes=_rms_norm_mistakes(small, 1e-6, GAIN),
    )
    yield Case(
        "one single vector: any number of axes may come before the last",
        args=(torch.tensor([3.0, -4.0, 0.0, 0.0, 5.0]), GAIN),
        call=_applied,
        expected=lambda x, gain: F.rms_norm(x, (5,), gain, 1e-6),
        mistakes=(
            Mistake(
                "Name the axis from the end, `dim=-1`: then it works for (C,), (T, C) "
                "and (B, T, C) alike.",
                raises=(IndexError, ValueError),
            ),
        ),
    )


# DyT


def _dyt(x: Tensor, alpha: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    """tanh by its definition, from exponentials."""
    up, down = (alpha * x).exp(), (-alpha * x).exp()
    return (up - down) / (up + down) * gain + shift


def dyt() -> Iterator[Case]:
    x = _stream()
    yield Case(
        "a new layer, of one number: tanh(0.5 * 3)",
        args=(torch.tensor([[[3.0]]]),),
        call=_fresh,
        expected=torch.tensor([[[math.tanh(1.5)]]]),
        mistakes=(
            Mistake(
                "`alpha` begins at 0.5, the value that was given to `__init__`; here "
                "it begins at 1.",
                equals=torch.tensor([[[math.tanh(3.0)]]]),
            ),
            Mistake(
                "tanh squashes `x`, and `alpha` multiplies afterwards. It belongs "
                "inside: tanh(alpha * x).",
                equals=torch.tensor([[[0.5 * math.tanh(3.0)]]]),
            ),
            Mistake(
                "The result is 0: the gain begins at 1, only the shift begins at 0.",
                equals=torch.zeros(1, 1, 1),
            ),
            Mistake(
                "This is the sigmoid, which runs from 0 to 1. Use `torch.tanh`, which "
                "runs from -1 to 1.",
                equals=torch.tensor([[[1 / (1 + math.exp(-1.5))]]]),
            ),
        ),
    )
    alpha = torch.tensor([0.7])
    squashed = torch.tanh(alpha * x)
    yield Case(
        "with an alpha, a gain and a shift",
        args=(x, alpha, GAIN, SHIFT),
        call=_applied,
        expected=_dyt,
        gradient=True,
        mistakes=(
            Mistake(
                "`alpha` multiplies outside. It belongs inside: tanh(alpha * x).",
                equals=alpha * torch.tanh(x) * GAIN + SHIFT,
            ),
            Mistake(
                "The learned `alpha` has no effect: use `self.alpha`, not the number "
                "it began with.",
                when=lambda got: any(
                    torch.allclose(got, torch.tanh(a * x) * GAIN + SHIFT)
                    for a in (0.5, 1.0)
                ),
            ),
            Mistake(
                "Gain and shift are inside of the tanh, where they are squashed as "
                "well. They come after it: tanh(alpha * x) * weight + bias.",
                equals=torch.tanh(alpha * x * GAIN + SHIFT),
            ),
            Mistake(
                "Gain and shift have changed places: multiply by `weight`, then add "
                "`bias`.",
                equals=squashed * SHIFT + GAIN,
            ),
            Mistake("Gain and shift have no effect.", equals=squashed),
            Mistake("The shift is missing: add `bias`.", equals=squashed * GAIN),
            Mistake(
                "The gain is missing: multiply by `weight`.", equals=squashed + SHIFT
            ),
            Mistake(
                "Something is normalised here. DyT measures nothing: it squashes each "
                "number by itself.",
                when=lambda got: any(
                    torch.allclose(got, torch.tanh(alpha * y) * GAIN + SHIFT)
                    for y in (x - x.mean(-1, keepdim=True), F.layer_norm(x, (5,)))
                ),
            ),
        ),
    )
    yield Case(
        "another beginning for alpha",
        args=(x,),
        kwargs={"alpha": 0.2},
        call=_fresh,
        expected=torch.tanh(0.2 * x),
        mistakes=(
            Mistake(
                "`alpha` begins at 0.5 whatever is asked for. Use the value that "
                "`__init__` is given.",
                equals=torch.tanh(0.5 * x),
            ),
        ),
    )


# The residual layer


class _Half(nn.Module):
    """Stands for a norm: half of everything. A name of its own shows its order."""

    def forward(self, x: Tensor) -> Tensor:
        return x / 2


class _Triple(nn.Module):
    """Stands for a layer: three times everything, and 10 more."""

    def forward(self, x: Tensor) -> Tensor:
        return 3 * x + 10


def _residual(cls: type, x: Tensor, pre: bool) -> Tensor:
    module = build(cls, _Triple(), _Half(), pre=pre)
    if not any(isinstance(part, _Triple) for part in module.modules()):
        raise Complaint(
            "The layer is not a part of the module, so its weights would not be "
            "trained: `self.layer = layer`."
        )
    return module(x)


def _untouched(cls: type, x: Tensor) -> Tensor:
    """Given by position, without `pre`."""
    return build(cls, _Triple(), _Half())(x)


def residual() -> Iterator[Case]:
    x = torch.tensor([[[2.0, 4.0, 6.0]]])
    ways = {
        "x + layer(norm(x))": x + (3 * x / 2 + 10),
        "norm(x + layer(x))": (x + (3 * x + 10)) / 2,
        "layer(norm(x))": 3 * x / 2 + 10,
        "norm(layer(x))": (3 * x + 10) / 2,
        "x + layer(x)": x + (3 * x + 10),
        "norm(x) + layer(norm(x))": x / 2 + (3 * x / 2 + 10),
        "x + norm(layer(x))": x + (3 * x + 10) / 2,
        "norm(x) + layer(x)": x / 2 + (3 * x + 10),
    }

    def mistakes(right: str) -> tuple:
        says = {
            "layer(norm(x))": "What came in is lost: add it, `x + ...`.",
            "norm(layer(x))": "What came in is lost: add it, `x + ...`.",
            "x + layer(x)": "The norm is never used.",
            "norm(x) + layer(norm(x))": "The stream itself is normalised. In pre-norm "
            "only the layer reads normalised vectors; `x` is added as it came.",
            "x + norm(layer(x))": "The norm stands behind the layer alone.",
            "norm(x) + layer(x)": "The norm is on the wrong branch.",
            "x + layer(norm(x))": "This is pre-norm, and post-norm was asked for: "
            "pre=False.",
            "norm(x + layer(x))": "This is post-norm, and pre-norm was asked for: "
            "pre=True.",
        }
        return tuple(
            Mistake(f"{words} Your code computes {way}, wanted is {right}.", equals=got)
            for way, got in ways.items()
            if way != right
            for words in [says[way]]
        )

    for way, pre in ("x + layer(norm(x))", True), ("norm(x + layer(x))", False):
        name = "pre-norm" if pre else "post-norm"
        yield Case(
            f"{name}: a layer that triples and adds 10, a norm that halves",
            args=(x, pre),
            call=_residual,
            expected=ways[way],
            mistakes=mistakes(way),
        )
    yield Case(
        "pre-norm is what a new module does when nothing is said",
        args=(x,),
        call=_untouched,
        expected=ways["x + layer(norm(x))"],
        mistakes=mistakes("x + layer(norm(x))"),
    )


# The swap


class _New(nn.Module):
    """What is swapped in; it remembers the width it was made for."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


def _a_model() -> nn.Module:
    """Norms at three depths and of two widths; one of them in a list."""
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(5, 3), nn.LayerNorm(3))
    return nn.ModuleDict(
        {
            "first": nn.LayerNorm(5),
            "block": nn.ModuleDict({"norm": nn.LayerNorm(5), "inner": inner}),
            "blocks": nn.ModuleList([nn.LayerNorm(7), nn.Tanh()]),
            "batch": nn.BatchNorm1d(5),
        }
    )


def _described(model: nn.Module) -> dict[str, str]:
    def words(module: nn.Module) -> str:
        if isinstance(module, _New):
            return f"new {module.weight.numel()}"
        return type(module).__name__

    return {
        path: words(module)
        for path, module in model.named_modules()
        if not list(module.children())
    }


AFTER = {
    "first": "new 5",
    "block.norm": "new 5",
    "block.inner.0": "Linear",
    "block.inner.1": "new 3",
    "blocks.0": "new 7",
    "blocks.1": "Tanh",
    "batch": "BatchNorm1d",
}


def _swapped(answer: Callable) -> tuple[int, dict[str, str]]:
    model = _a_model()
    count = answer(model, nn.LayerNorm, _New)
    return count, _described(model)


def _kept(answer: Callable) -> bool:
    """Whether everything that is no norm is the same object as before."""
    model = _a_model()
    before = model["block"]["inner"][0], model["batch"]
    answer(model, nn.LayerNorm, _New)
    return before == (model["block"]["inner"][0], model["batch"])


def _types(answer: Callable) -> str:
    model = _a_model().double()
    answer(model, nn.LayerNorm, _New)
    return str(model["first"].weight.dtype)


def _refusal(answer: Callable) -> str:
    try:
        answer(nn.Sequential(nn.Linear(5, 3)), nn.LayerNorm, _New)
    except ValueError:
        return "ValueError"
    return "no exception"


def swap_norms() -> Iterator[Case]:
    def place(path: str) -> Callable:
        return lambda got: got[1].get(path) == "LayerNorm"

    yield Case(
        "four norms, at three depths; a BatchNorm that stays",
        call=_swapped,
        expected=(4, AFTER),
        mistakes=(
            Mistake(
                "The model changes while it is being walked through. Make a list of "
                "what you found first, then replace.",
                raises=RuntimeError,
            ),
            Mistake(
                "Nothing was replaced. Binding a name to a new layer leaves the model "
                "as it is: `setattr(parent, name, new)` puts it in.",
                when=lambda got: all(
                    got[1].get(path) == "LayerNorm"
                    for path in ("first", "block.norm", "blocks.0")
                ),
            ),
            Mistake(
                "Only the norms at the top are replaced. `named_children` goes one "
                "level deep: go into each child as well, or use `named_modules`.",
                when=lambda got: (
                    got[1].get("first") == "new 5"
                    and got[1].get("block.norm") == "LayerNorm"
                ),
            ),
            Mistake(
                "A norm inside a list or a sequence is left. Its name there is a "
                'number, "0", and `setattr` takes that, too.',
                when=lambda got: place("blocks.0")(got) or place("block.inner.1")(got),
            ),
            Mistake(
                "The BatchNorm is gone. Replace layers of the type `old` only.",
                when=lambda got: got[1].get("batch") != "BatchNorm1d",
            ),
            Mistake(
                "A width is wrong. Each old norm has its own: `weight.numel()`.",
                when=lambda got: {*got[1].values()} != {*AFTER.values()},
            ),
            Mistake(
                "The swap is right, the count is not: return how many were replaced.",
                when=lambda got: got[1] == AFTER and got[0] != 4,
            ),
            Mistake(
                "Ask each layer for its own width, `weight.numel()`; only norms have "
                "one.",
                raises=AttributeError,
            ),
        ),
    )
    yield Case(
        "what is no norm is left alone, the very same layer",
        call=_kept,
        expected=True,
        mistakes=(
            Mistake(
                "Layers that are no norms were copied or made again, so what they had "
                "learned may be lost. Change the model in place.",
                equals=False,
            ),
        ),
    )
    yield Case(
        "a model in float64 stays in float64",
        call=_types,
        expected="torch.float64",
        mistakes=(
            Mistake(
                "The new norm is in float32 while the model is in float64; on a GPU it "
                "would be left on the CPU. `new.to(old.weight)` moves it to the type "
                "and device of the old one.",
                equals="torch.float32",
            ),
        ),
    )
    yield Case(
        "a model without such a norm: an exception",
        call=_refusal,
        expected="ValueError",
        mistakes=(
            Mistake(
                "A swap that finds nothing is silent, and you would train the same "
                "model twice. Raise a `ValueError`.",
                equals="no exception",
            ),
        ),
    )


EXERCISES = (
    Exercise(
        "LayerNorm",
        difficulty=2,
        minutes=15,
        hints=(
            "One vector of C channels has one mean and one variance. Over which axis "
            "are they taken, and what shape must they keep to be subtracted?",
            "`x.mean(dim=-1, keepdim=True)` is (B, T, 1). The variance is the mean of "
            "the squared distances from it; `eps` goes into the root with it. Gain and "
            "shift are `nn.Parameter`s of length C.",
            "in `__init__`: super().__init__(); self.eps = eps; self.weight = "
            "nn.Parameter(ones(width)); self.bias = nn.Parameter(zeros(width)). In "
            "`forward`: centred = x - mean; variance = mean of centred squared; return "
            "centred / sqrt(variance + eps) * weight + bias.",
        ),
        cases=layer_norm,
    ),
    Exercise(
        "RMSNorm",
        difficulty=1,
        minutes=10,
        hints=(
            "Read the name backwards: square, take the mean, take the root. Nothing is "
            "subtracted.",
            "The mean square of each vector is (B, T, 1); `eps` is added to it before "
            "the root. There is a gain and no shift.",
            "size = sqrt(mean of x**2 over the last axis, with keepdim, + eps)\n"
            "return x / size * weight",
        ),
        cases=rms_norm,
    ),
    Exercise(
        "DyT",
        difficulty=1,
        minutes=8,
        hints=(
            "Nothing is measured here. Which of the three learned things stands inside "
            "of the tanh?",
            "`alpha` is a parameter of shape (1,) that begins at the given number; "
            "gain and shift are as in LayerNorm, and come after the tanh.",
            "self.alpha = nn.Parameter(torch.full((1,), alpha))\n"
            "return tanh(alpha * x) * weight + bias",
        ),
        cases=dyt,
    ),
    Exercise(
        "Residual",
        difficulty=1,
        minutes=8,
        hints=(
            "Both orders add `x` as it came in. What does the layer read, and what is "
            "normalised at the end?",
            "Pre-norm: the layer reads norm(x), and nothing happens to the sum. "
            "Post-norm: the layer reads x, and the sum is normalised.",
            "if pre: return x + layer(norm(x))\notherwise: return norm(x + layer(x))",
        ),
        cases=residual,
    ),
    Exercise(
        "swap_norms",
        difficulty=3,
        minutes=20,
        hints=(
            "To replace a part you need the part that holds it, and the name it has "
            "there. How do you come to both, at any depth?",
            "`model.modules()` gives every module, also the deep ones, and "
            "`named_children()` of each gives its parts with their names. "
            "`setattr(parent, name, new)` replaces. Make a list before you change "
            "anything.",
            "found = [(parent, name, child) for every parent in model.modules() for "
            "name, child in its named_children() if child is an `old`]\n"
            "if there are none: raise ValueError\n"
            "for each: new = make(child.weight.numel()).to(child.weight); "
            "setattr(parent, name, new)\nreturn how many",
        ),
        cases=swap_norms,
    ),
)
