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
from course.refusal import is_refused, refusal, refused


def _stream(scale: float = 1.0) -> Tensor:
    """Vectors (B, T, C) = (2, 3, 5), each with a mean and a spread of its own."""
    numbers = torch.arange(30.0).reshape(2, 3, 5)
    return scale * ((1.7 * numbers).sin() + 0.1 * numbers)


GAIN = torch.tensor([0.5, 2.0, -1.0, 1.5, 3.0])
SHIFT = torch.tensor([1.0, -2.0, 0.5, 4.0, -0.25])


def _module(cls: type, width: int, wanted: dict, **options: float) -> nn.Module:
    """A new module of the reader's, whose parameters have these names and shapes.

    What is no parameter is the reader's own business, a buffer for `eps` included.

    Raises:
        Complaint: if one is missing, has another shape, or would never be trained.
    """
    module = build(cls, width, **options)
    own = dict(module.named_parameters())
    there = ", ".join(f"`{name}`" for name in own) or "none: make them in `__init__`"
    for name, shape in wanted.items():
        if name not in own and isinstance(getattr(module, name, None), Tensor):
            raise Complaint(
                f"`{name}` is a tensor that no optimizer would train. Make it a "
                "parameter: `nn.Parameter(...)`."
            )
        if name not in own:
            raise Complaint(
                f"The module has no parameter `{name}` of shape {shape}; it has "
                f"{there}."
            )
        if tuple(own[name].shape) != shape:
            raise Complaint(
                f"`{name}` has shape {tuple(own[name].shape)}, expected {shape}."
            )
        if not own[name].requires_grad:
            raise Complaint(
                f"`{name}` is a parameter that does not require a gradient, so it is "
                "never trained. Leave `requires_grad` as it is."
            )
    for name in own:
        if name not in wanted:
            raise Complaint(f"The module has a parameter too many: `{name}`.")
    return module


def _holding(cls: type, x: Tensor, state: dict[str, Tensor], **options) -> Tensor:
    """What the reader's module makes of x with these parameters, differentiably."""
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    module = _module(cls, x.shape[-1], shapes, **options).to(x.dtype)
    return torch.func.functional_call(module, state, (x,))


# Three calls, so that a verdict names each parameter as the reader does.


def _gain_and_shift(cls: type, x: Tensor, weight: Tensor, bias: Tensor, **options):
    return _holding(cls, x, {"weight": weight, "bias": bias}, **options)


def _gain(cls: type, x: Tensor, weight: Tensor, **options) -> Tensor:
    return _holding(cls, x, {"weight": weight}, **options)


def _all_three(cls: type, x: Tensor, alpha: Tensor, weight: Tensor, bias: Tensor):
    return _holding(cls, x, {"alpha": alpha, "weight": weight, "bias": bias})


def _fresh(cls: type, x: Tensor, **options: float) -> Tensor:
    """What a new module of the reader makes of x."""
    return build(cls, x.shape[-1], **options)(x)


def _fresh_layer_norm(cls: type, x: Tensor) -> Tensor:
    width = x.shape[-1]
    return _module(cls, width, {"weight": (width,), "bias": (width,)})(x)


def _fresh_rms_norm(cls: type, x: Tensor) -> Tensor:
    width = x.shape[-1]
    return _module(cls, width, {"weight": (width,)})(x)


def _fresh_dyt(cls: type, x: Tensor) -> Tensor:
    width = x.shape[-1]
    return _module(cls, width, {"alpha": (1,), "weight": (width,), "bias": (width,)})(x)


def _near(got: Tensor, values: Tensor) -> bool:
    """Close, whatever the eps: enough to tell one wrong turn from another."""
    return torch.allclose(got, values, rtol=1e-3, atol=1e-4)


def _nearest(ways: dict[str, list[Tensor]]) -> Iterator[Mistake]:
    """Mistakes that differ by little: the one whose values come nearest is named.

    With an eps of 1e-6 all of them agree to five digits, and only the distance tells.
    """

    def distance(got: Tensor, values: list[Tensor]) -> float:
        return min((got - value).abs().max().item() for value in values)

    def named(hint: str) -> Callable[[Tensor], bool]:
        def when(got: Tensor) -> bool:
            far = {words: distance(got, values) for words, values in ways.items()}
            return min(far, key=far.get) == hint and any(
                torch.allclose(got, value) for value in ways[hint]
            )

        return when

    for hint in ways:
        yield Mistake(hint, when=named(hint))


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
        *_nearest(
            {
                "`eps` stands outside of the root. It is added to the *variance*: "
                "sqrt(variance + eps).": [
                    scaled(centred / (root + eps))
                    for root in (variance.sqrt(), x.std(-1, keepdim=True))
                ],
                "`eps` is missing, or squared, or is not the one that was given: "
                "sqrt(variance + eps), with the `eps` of `__init__`.": [
                    scaled(_by_rows(x, -1, other))
                    for other in (0.0, eps**2, 1e-5, 1e-6, 1e-8, 1e-12)
                    if other != eps
                ],
            }
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
        call=_fresh_layer_norm,
        expected=lambda x: F.layer_norm(x, (5,)),
        mistakes=(*_unlike_fresh(_layer_norm_mistakes(x, 1e-5, ones, zeros)), *begins),
    )
    yield Case(
        "with a gain and a shift, and a large eps",
        args=(x, GAIN, SHIFT),
        kwargs={"eps": 0.3},
        call=_gain_and_shift,
        expected=lambda x, gain, shift, eps: F.layer_norm(x, (5,), gain, shift, eps),
        gradient=True,
        mistakes=_layer_norm_mistakes(x, 0.3, GAIN, SHIFT),
    )
    small = _stream(0.003)
    yield Case(
        "small numbers, where the eps of 1e-5 counts",
        args=(small, GAIN, SHIFT),
        call=_gain_and_shift,
        expected=lambda x, gain, shift: F.layer_norm(x, (5,), gain, shift),
        mistakes=_layer_norm_mistakes(small, 1e-5, GAIN, SHIFT),
    )
    far = 30_000 + torch.tensor([[[-2.0, -1, 0, 1, 2], [-10, 0, 0, 0, 10]]])
    yield Case(
        "numbers that lie far from 0: only their distances count",
        args=(far, GAIN, SHIFT),
        call=_gain_and_shift,
        expected=lambda x, gain, shift: F.layer_norm(x, (5,), gain, shift),
        rtol=1e-3,
        atol=1e-3,
        mistakes=(
            Mistake(
                "Rounding has eaten the variance. As mean(x**2) - mean(x)**2 it is "
                "the difference of two large numbers: first subtract the mean, then "
                "square.",
                when=lambda got: True,
            ),
        ),
    )
    yield _in_float64(_gain_and_shift, (GAIN, SHIFT), F.layer_norm, 1e-5)
    row = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
    yield Case(
        "one single vector: any number of axes may come before the last",
        args=(row, GAIN, SHIFT),
        call=_gain_and_shift,
        expected=lambda x, gain, shift: F.layer_norm(x, (5,), gain, shift),
        mistakes=(
            Mistake(
                "Name the axis from the end, `dim=-1`: then it works for (C,), (T, C) "
                "and (B, T, C) alike.",
                raises=(IndexError, ValueError),
            ),
        ),
    )


def _in_float64(
    call: Callable, parameters: tuple, oracle: Callable, eps: float
) -> Case:
    """The same in 64-bit numbers, where a step in 32 bits shows."""
    return Case(
        "the same in float64, to ten decimals",
        args=(_stream().double(), *(value.double() for value in parameters)),
        call=call,
        expected=lambda x, *parameters: oracle(x, (5,), *parameters, eps=eps),
        rtol=1e-10,
        atol=1e-10,
        mistakes=(
            Mistake(
                "Only about seven digits are right: somewhere your code goes through "
                "float32. Leave the type of `x` as it is.",
                when=lambda got: got.dtype == torch.float64,
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
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    machine = torch.finfo(x.dtype).eps  # the default of `nn.RMSNorm`

    def over(dim: int | tuple) -> Tensor:
        return x / (x.square().mean(dim, keepdim=True) + eps).sqrt() * gain

    return (
        COLUMN,
        Mistake(
            "The mean is taken away first, as in LayerNorm. RMSNorm subtracts nothing: "
            "it divides by the root of the mean square, and that is all.",
            when=lambda got: any(
                _near(got, centred / (size + other).sqrt() * gain)
                for size in (square, variance, x.var(-1, keepdim=True))
                for other in (eps, 0.0, 1e-5, 1e-6)
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
        *_nearest(
            {
                "`eps` stands outside of the root. It is added to the mean square: "
                "sqrt(mean of x**2 + eps).": [x / (square.sqrt() + eps) * gain],
                "`eps` is missing, or squared, or is not the one that was given to "
                "`__init__`; here its default is 1e-6.": [
                    x / (square + other).sqrt() * gain
                    for other in (0.0, eps**2, 1e-5, 1e-6, 1e-8, machine)
                    if other != eps
                ],
            }
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
        call=_fresh_rms_norm,
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
        call=_gain,
        expected=lambda x, gain, eps: F.rms_norm(x, (5,), gain, eps),
        gradient=True,
        mistakes=_rms_norm_mistakes(x, 0.3, GAIN),
    )
    small = _stream(0.001)
    yield Case(
        "small numbers, where the eps of 1e-6 counts",
        args=(small, GAIN),
        call=_gain,
        expected=lambda x, gain: F.rms_norm(x, (5,), gain, 1e-6),
        mistakes=_rms_norm_mistakes(small, 1e-6, GAIN),
    )
    yield _in_float64(_gain, (GAIN,), F.rms_norm, 1e-6)
    yield Case(
        "one single vector: any number of axes may come before the last",
        args=(torch.tensor([3.0, -4.0, 0.0, 0.0, 5.0]), GAIN),
        call=_gain,
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
        call=_fresh_dyt,
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
        call=_all_three,
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
        "numbers whose exponential is infinite",
        args=(torch.tensor([[1e6, -1e6, 0.0, 300.0, -300.0]]), alpha, GAIN, SHIFT),
        call=_all_three,
        expected=torch.tensor([[1.0, -1.0, 0.0, 1.0, -1.0]]) * GAIN + SHIFT,
        mistakes=(
            Mistake(
                "The exponential of a large number is infinite, and infinite divided "
                "by infinite is NaN. `torch.tanh` knows better.",
                when=lambda got: bool(got.isnan().any()),
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


class _Square(nn.Module):
    """Stands for a norm: not linear, so its place shows; 1 is its only weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return x.square() * self.weight


class _Triple(nn.Module):
    """Stands for a layer: three times everything, and 10 more."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([3.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x + 10


def _residual(cls: type, x: Tensor, pre: bool) -> Tensor:
    parts = {"layer": _Triple(), "norm": _Square()}
    module = build(cls, parts["layer"], parts["norm"], pre=pre)
    for name, part in parts.items():
        if any(held is part for held in module.modules()):
            continue
        if any(type(held) is type(part) for held in module.modules()):
            raise Complaint(
                f"The {name} is a copy. Keep the very one that was given, "
                f"`self.{name} = {name}`."
            )
        raise Complaint(
            f"The {name} is not a part of the module, so its weights would not be "
            f"trained: `self.{name} = {name}`. A plain list hides it."
        )
    return module(x)


def _untouched(cls: type, x: Tensor) -> Tensor:
    """Given by position, without `pre`."""
    return build(cls, _Triple(), _Square())(x)


def residual() -> Iterator[Case]:
    x = torch.tensor([[[2.0, 3.0, 4.0]]])

    def layer(x: Tensor) -> Tensor:
        return 3 * x + 10

    ways = {
        "x + layer(norm(x))": x + layer(x**2),
        "norm(x + layer(x))": (x + layer(x)) ** 2,
        "layer(norm(x))": layer(x**2),
        "norm(layer(x))": layer(x) ** 2,
        "x + layer(x)": x + layer(x),
        "norm(x) + layer(norm(x))": x**2 + layer(x**2),
        "x + norm(layer(x))": x + layer(x) ** 2,
        "norm(x) + layer(x)": x**2 + layer(x),
        "norm(x) + norm(layer(x))": x**2 + layer(x) ** 2,
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
            "norm(x) + norm(layer(x))": "The two are normalised one by one. A norm of "
            "a sum is not the sum of two norms: add first.",
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

    def changes_it(way: str) -> tuple:
        return (
            Mistake(
                "`x += ...` writes into what came in. Make a new tensor: x + ...",
                raises=RuntimeError,
                mentions="in-place",
            ),
            *mistakes(way),
        )

    yield Case(
        "pre-norm: a layer that triples and adds 10, a norm that squares",
        args=(x, True),
        call=_residual,
        expected=lambda x, pre: x + layer(x**2),
        gradient=True,
        mistakes=changes_it("x + layer(norm(x))"),
    )
    yield Case(
        "post-norm: a layer that triples and adds 10, a norm that squares",
        args=(x, False),
        call=_residual,
        expected=lambda x, pre: (x + layer(x)) ** 2,
        gradient=True,
        mistakes=changes_it("norm(x + layer(x))"),
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
    for parent in model.modules():
        for name, _ in parent.named_children():
            if "." in name:
                above, _, last = name.rpartition(".")
                raise Complaint(
                    f"`setattr` takes a name, not a path: now the model has a new part "
                    f"called {name!r}, and the old norm is still where it was. Set "
                    f"{last!r} on the part that holds it, "
                    f"`model.get_submodule({above!r})`."
                )
    new = [
        part
        for _, part in model.named_modules(remove_duplicate=False)
        if isinstance(part, _New)
    ]
    if len({id(part) for part in new}) < len(new):
        raise Complaint(
            "One new layer stands in several places, so they would share their "
            "weights. Call `make` once for each old norm."
        )
    return count, _described(model)


class _OnlyWeight(nn.Module):
    """A norm as this chapter builds them: of its width it knows its weight alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))


def _another_kind(answer: Callable) -> tuple[int, str]:
    model = nn.Sequential(nn.Linear(5, 3), _OnlyWeight(3))
    count = answer(model, _OnlyWeight, _New)
    return count, _described(model)["1"]


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


def _no_norm(answer: Callable) -> str:
    return refusal(answer, nn.Sequential(nn.Linear(5, 3)), nn.LayerNorm, _New)


def _itself(answer: Callable) -> str:
    return refusal(answer, nn.LayerNorm(5), nn.LayerNorm, _New)


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
                "level deep: go into each child as well.",
                when=lambda got: (
                    got[1].get("first") == "new 5"
                    and got[1].get("block.norm") == "LayerNorm"
                ),
            ),
            Mistake(
                "Two levels are replaced, and a norm that lies deeper is left. Go on "
                "as deep as the model goes: a function that calls itself, or "
                "`model.modules()`.",
                when=lambda got: (
                    got[1].get("blocks.0") == "new 7" and place("block.inner.1")(got)
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
                "A ValueError is for a *whole* model without such a norm. If your "
                "function calls itself, a part without norms must not raise: count "
                "in a function inside, and raise once, at the end.",
                raises=ValueError,
            ),
            Mistake(
                "Ask each layer for its own width, `weight.numel()`; only norms have "
                "one.",
                raises=AttributeError,
            ),
        ),
    )
    yield Case(
        "norms of another kind, which have a weight and nothing else",
        call=_another_kind,
        expected=(1, "new 3"),
        mistakes=(
            Mistake(
                "`normalized_shape` is a matter of `nn.LayerNorm` alone; the norms of "
                "this chapter do not have it. The length of `weight` is the width.",
                raises=AttributeError,
            ),
            Mistake(
                "Only `nn.LayerNorm` is replaced. Replace what is of type `old`.",
                raises=ValueError,
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
        "a model without such a norm: a ValueError",
        call=_no_norm,
        judge=is_refused,
        mistakes=refused(
            "A swap that finds nothing is silent, and you would train the same model "
            "twice. Raise a `ValueError`."
        ),
    )
    yield Case(
        "the model is such a norm itself, with nothing inside: a ValueError",
        call=_itself,
        judge=is_refused,
        mistakes=(
            Mistake(
                "The model itself has no part that holds it, so it cannot be replaced "
                "in place. Inside it there is no norm: raise a `ValueError`.",
                when=lambda got: got.startswith(("KeyError", "AttributeError")),
            ),
            *refused(
                "The model itself counts as replaced, and nothing has changed. Inside "
                "it there is no norm: raise a `ValueError`."
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
            "in __init__:\n"
            "    super().__init__()\n"
            "    keep eps\n"
            "    weight = parameter of width ones\n"
            "    bias = parameter of width zeros\n"
            "in forward:\n"
            "    centred = x - its mean over the last axis, axis kept\n"
            "    variance = mean of centred squared, axis kept\n"
            "    return centred / sqrt(variance + eps) * weight + bias",
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
            "in __init__:\n"
            "    keep eps; weight = parameter of width ones\n"
            "in forward:\n"
            "    size = sqrt(mean of x**2 over the last axis, axis kept, + eps)\n"
            "    return x / size * weight",
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
            "in __init__:\n"
            "    alpha = parameter of one number, the one that was given\n"
            "    weight, bias = parameters of width ones, width zeros\n"
            "in forward:\n"
            "    return tanh(alpha * x) * weight + bias",
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
            "in __init__: keep layer, norm and pre\n"
            "in forward:\n"
            "    if pre: return x + layer(norm(x))\n"
            "    otherwise: return norm(x + layer(x))",
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
            "found = []\n"
            "for every parent in the modules of the model, itself included:\n"
            "    for every name, child of its named children:\n"
            "        if child is an old: note (parent, name, child) in found\n"
            "if found is empty: raise ValueError\n"
            "for every parent, name, child in found:\n"
            "    new = make(length of the child's weight)\n"
            "    move new to the type and device of that weight\n"
            "    set it on parent, under name\n"
            "return the length of found",
        ),
        cases=swap_norms,
    ),
)
