"""What the answers of the chapter on the GPT must satisfy.

Oracles: `F.gelu`; a block and a whole GPT written out with torch's own `F.layer_norm`,
`F.scaled_dot_product_attention`, `F.gelu` and `F.linear`; sums on paper for the counts;
and for top-k and top-p loops over a few tokens in plain Python.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from course.case import Case, Complaint, Exercise, Mistake, build
from course.counts import TOO_LARGE_TO_BUILD, whole
from course.refusal import is_refused, refusal, refused

State = Mapping[str, Tensor]


def _random(*sizes: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(sizes, generator=generator, dtype=torch.float64)


# GELU

NUMBERS = torch.tensor(
    [[-6.0, -2.2, -1.0, -0.3], [0.0, 0.3, 0.75, 1.0], [1.5, 2.2, 3.0, 6.0]],
    dtype=torch.float64,
)
"""Numbers (3, 4) on both sides of 0; the two forms differ most near 2.2."""

PLAIN_NUMBERS = (
    Mistake(
        "`math` knows single numbers only. Use the functions of torch, `torch.erf` and "
        "`torch.tanh`, which take a whole tensor.",
        raises=(TypeError, ValueError),
        mentions="converted to Python scalars",
    ),
    Mistake(
        "`x` itself is changed, `x *= ...` or a name that ends in `_`. Make a new "
        "tensor.",
        raises=RuntimeError,
        mentions="in-place",
    ),
)


def _phi(x: Tensor) -> Tensor:
    """The share of a standard normal distribution below x."""
    return torch.special.ndtr(x)


def _tanh_form(
    x: Tensor,
    factor: float = math.sqrt(2 / math.pi),
    cubic: float = 0.044715,
    power: int = 3,
) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(factor * (x + cubic * x**power)))


def _other_curves(x: Tensor) -> tuple[Mistake, ...]:
    return (
        Mistake(
            "This is ReLU, with its corner at 0. GELU is smooth.",
            equals=F.relu(x),
        ),
        Mistake(
            "This is `x * sigmoid(1.702 x)`, a rougher approximation, which GPT-2 does "
            "not use.",
            equals=x * torch.sigmoid(1.702 * x),
        ),
        Mistake(
            "This is SiLU, `x * sigmoid(x)`. GELU has the normal distribution in place "
            "of the sigmoid.",
            equals=F.silu(x),
        ),
    )


def _gelu_mistakes(x: Tensor) -> tuple[Mistake, ...]:
    return (
        *PLAIN_NUMBERS,
        Mistake(
            "This is the form with tanh, which is the next exercise. The exact one has "
            "`torch.erf`.",
            equals=F.gelu(x, approximate="tanh"),
        ),
        Mistake(
            "The half is missing: 1 + erf runs from 0 to 2, and a share from 0 to 1.",
            equals=2 * F.gelu(x),
        ),
        Mistake(
            "This is Phi(x) alone, the share. Multiply it by `x`.",
            equals=_phi(x),
        ),
        Mistake(
            "The 1 is missing: erf runs from -1 to 1. (1 + erf) / 2 runs from 0 to 1.",
            when=lambda got: any(
                torch.allclose(got, half * x * torch.erf(x / math.sqrt(2)))
                for half in (0.5, 1)
            ),
        ),
        Mistake(
            "`x` goes into erf as it is. Divide it by sqrt(2) there.",
            equals=x * (1 + torch.erf(x)) / 2,
        ),
        Mistake(
            "In erf `x` is multiplied by sqrt(2), or divided by 2. *Divide* it by "
            "sqrt(2).",
            when=lambda got: any(
                torch.allclose(got, x * (1 + torch.erf(x * scale)) / 2)
                for scale in (math.sqrt(2), 0.5, 2)
            ),
        ),
        Mistake(
            "This has the density of the normal distribution, the bell. Phi is the "
            "share *below* x, which grows from 0 to 1.",
            equals=x * torch.exp(-x * x / 2) / math.sqrt(2 * math.pi),
        ),
        Mistake(
            "Phi is taken at -x: it must grow with x, from 0 to 1.",
            equals=x * _phi(-x),
        ),
        *_other_curves(x),
    )


def _exactly(wanted: Tensor, allowed: float = 1e-14) -> Callable[[Tensor], str | None]:
    """Compares float64 as closely as rounding allows, and says how far it is off."""

    def complaint(got: Tensor) -> str | None:
        largest = wanted.abs().max().item()
        error = (got - wanted).abs().max().item()
        if error <= allowed * max(largest, 1):
            return None
        return (
            f"The numbers are almost right: the largest error is {error:.1g}, where "
            "float64 allows about 1e-16."
        )

    return complaint


FEW_DIGITS = (
    "{constant} has too few digits. `{call}` gives all of a float64; a "
    "`torch.tensor(...)` of a number is a float32 and has seven."
)


def _has_few_digits(constant: float, true: float) -> bool:
    return 1e-13 < abs(constant / true - 1) < 0.01


def _number_at(x: Tensor, value: float) -> tuple:
    return tuple((x == value).nonzero()[0].tolist())


def _smooth_cases(
    oracle: Callable[[Tensor], Tensor],
    mistakes: Callable[[Tensor], tuple],
    rounded: tuple[Mistake, ...],
) -> Iterator[Case]:
    yield Case(
        "twelve numbers from -6 to 6",
        args=(NUMBERS,),
        expected=oracle,
        mistakes=(*mistakes(NUMBERS), *rounded),
    )
    yield Case(
        "the same to fourteen digits",
        args=(NUMBERS,),
        judge=_exactly(oracle(NUMBERS)),
        mistakes=rounded,
    )
    single = NUMBERS.float()
    yield Case(
        "the same in float32, on any device, with the gradient",
        args=(single,),
        expected=oracle,
        gradient=True,
        any_device=True,
        mistakes=mistakes(single),
    )
    yield Case(
        "one number without an axis, and a tensor of three axes",
        args=(torch.tensor(0.5), _random(2, 1, 3).float()),
        call=lambda answer, one, many: (answer(one), answer(many)),
        expected=lambda one, many: (oracle(one), oracle(many)),
    )


def _root_in(got: Tensor) -> float:
    """The number by which x is divided inside erf, read off at one x."""
    at = _number_at(NUMBERS, 0.75)
    root = 0.75 / torch.erfinv(2 * got[at] / 0.75 - 1).item()
    again = NUMBERS * (1 + torch.erf(NUMBERS / root)) / 2
    return root if torch.allclose(got, again, rtol=0, atol=1e-13) else math.nan


ROUNDED_ROOT = (
    Mistake(
        FEW_DIGITS.format(constant="The root of 2", call="math.sqrt(2)"),
        when=lambda got: _has_few_digits(_root_in(got), math.sqrt(2)),
    ),
)


def gelu() -> Iterator[Case]:
    yield from _smooth_cases(F.gelu, _gelu_mistakes, ROUNDED_ROOT)


def _gelu_tanh_mistakes(x: Tensor) -> tuple[Mistake, ...]:
    root = math.sqrt(2 / math.pi)

    def astray(hint: str, *values: Tensor) -> Mistake:
        return Mistake(
            hint, when=lambda got: any(torch.allclose(got, value) for value in values)
        )

    inner = root * (x + 0.044715 * x**3)
    return (
        *PLAIN_NUMBERS,
        astray(
            "This is the exact form, with erf. Here a tanh stands in its place.",
            F.gelu(x),
        ),
        astray(
            "The constant 0.044715 is missing: it multiplies x^3.",
            _tanh_form(x, cubic=1),
        ),
        astray("The part with x^3 is missing.", _tanh_form(x, cubic=0)),
        astray(
            "The constant multiplies the whole sum, x + x^3. It belongs to x^3 alone.",
            _tanh_form(x, factor=root * 0.044715, cubic=1),
        ),
        astray(
            "The constant is cubed together with x. Only x is: 0.044715 * x**3.",
            _tanh_form(x, cubic=0.044715**3),
        ),
        astray(
            "The factor sqrt(2 / pi) multiplies x alone. It multiplies the whole sum, "
            "x + 0.044715 x^3: mind the brackets.",
            0.5 * x * (1 + torch.tanh(root * x + 0.044715 * x**3)),
        ),
        astray(
            "The fraction is upside down: it is sqrt(2 / pi), about 0.798.",
            _tanh_form(x, factor=math.sqrt(math.pi / 2)),
        ),
        astray(
            "The factor sqrt(2 / pi), about 0.798, is not right: the root goes over "
            "the whole fraction.",
            *(
                _tanh_form(x, factor=factor)
                for factor in (2 / math.pi, math.sqrt(2) / math.pi, math.sqrt(2), 1)
            ),
            _tanh_form(x, factor=2 / math.sqrt(math.pi)),
        ),
        astray("It is x to the power of 3, not of 2.", _tanh_form(x, power=2)),
        astray(
            "A digit of the constant is wrong: it is 0.044715.",
            *(_tanh_form(x, cubic=c) for c in (0.44715, 0.0044715, 0.04715, 0.4715)),
        ),
        astray(
            "The half is missing: 1 + tanh runs from 0 to 2.", x * (1 + inner.tanh())
        ),
        astray(
            "The 1 is missing: tanh runs from -1 to 1, and 1 + tanh from 0 to 2.",
            0.5 * x * inner.tanh(),
            x * inner.tanh(),
        ),
        astray(
            "This is the share alone. Multiply it by `x`.", 0.5 * (1 + inner.tanh())
        ),
        *_other_curves(x),
    )


def _constants_in(got: Tensor) -> tuple[float, float]:
    """The factor sqrt(2 / pi) and the 0.044715 of an answer, read off at two x."""
    xs = (0.75, 1.5)
    inner = [
        torch.atanh(2 * got[_number_at(NUMBERS, x)] / x - 1).item() / x for x in xs
    ]
    steep = (inner[1] - inner[0]) / (xs[1] ** 2 - xs[0] ** 2)  # factor + steep x^2
    factor = inner[0] - steep * xs[0] ** 2
    again = _tanh_form(NUMBERS, factor, steep / factor)
    if not torch.allclose(got, again, rtol=0, atol=1e-13):
        return math.nan, math.nan
    return factor, steep / factor


ROUNDED_CONSTANTS = (
    Mistake(
        FEW_DIGITS.format(
            constant="The factor sqrt(2 / pi)", call="math.sqrt(2 / math.pi)"
        ),
        when=lambda got: _has_few_digits(_constants_in(got)[0], math.sqrt(2 / math.pi)),
    ),
    Mistake(
        "The constant that multiplies x^3 has too few digits: it is 0.044715.",
        when=lambda got: _has_few_digits(_constants_in(got)[1], 0.044715),
    ),
)


def gelu_tanh() -> Iterator[Case]:
    yield from _smooth_cases(
        lambda x: F.gelu(x, approximate="tanh"), _gelu_tanh_mistakes, ROUNDED_CONSTANTS
    )


# Modules: parameters by name


def _made(
    cls: type,
    state: State,
    *args: Any,
    advice: Callable[[str, nn.Module], str] = lambda name, module: "",
    **options: Any,
) -> nn.Module:
    """The reader's module with these weights; a stored mask is no parameter.

    One tensor may have two names, as tied weights do, if one of them is expected.

    Raises:
        Complaint: if a parameter is missing, too many, shared, or of another shape.
    """
    module = build(cls, *args, **options)
    own = dict(module.named_parameters(remove_duplicate=False))
    for name, value in state.items():
        if name not in own:
            raise Complaint(
                f"The module has no parameter `{name}` of shape {tuple(value.shape)}; "
                f"it has {_listed(own)}. {advice(name, module)}".rstrip()
            )
        if own[name].shape != value.shape:
            raise Complaint(
                f"`{name}` has shape {tuple(own[name].shape)}, expected "
                f"{tuple(value.shape)}. {advice(name, module)}".rstrip()
            )
        if not own[name].requires_grad:
            raise Complaint(f"`{name}` is not trained: it has requires_grad=False.")
    names = {id(own[name]): name for name in state}
    for name in state:
        if names[id(own[name])] != name:
            raise Complaint(
                f"`{name}` and `{names[id(own[name])]}` are one and the same tensor. "
                "Make a new module for each."
            )
    for name, value in own.items():
        if id(value) not in names:
            raise Complaint(
                f"The module has a parameter too many: `{name}` of shape "
                f"{tuple(value.shape)}. {advice(name, module)}".rstrip()
            )
    module.to(torch.float64)
    module.load_state_dict(dict(state), strict=False)
    return module.eval()


def _listed(own: Mapping[str, Tensor]) -> str:
    names = [f"`{name}`" for name in own]
    if not names:
        return "none: make them in `__init__`"
    more = f", and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(names[:6]) + more


def _weighed(output: Tensor) -> Tensor:
    """A scalar in which every output counts differently, to differentiate."""
    many = torch.arange(1, output.numel() + 1).to(output).cos()
    return (output * many.view_as(output)).sum()


def _module_gradients(module: nn.Module, names: Any, *inputs: Tensor) -> dict:
    """The gradient of each parameter: name -> tensor.

    Raises:
        Complaint: if one gets none.
    """
    output = module(*inputs)
    if output.requires_grad:
        _weighed(output).backward()
    own = dict(module.named_parameters(remove_duplicate=False))
    for name in names:
        if own[name].grad is None:
            raise Complaint(
                f"The output is right, but no gradient reaches `{name}`, so it would "
                "not be trained. Is something detached, or under `torch.no_grad()`?"
            )
    return {name: own[name].grad for name in names}


def _oracle_gradients(
    oracle: Callable[[State], Tensor], state: State
) -> dict[str, Tensor]:
    leaves = {name: value.clone().requires_grad_() for name, value in state.items()}
    _weighed(oracle(leaves)).backward()
    return {name: value.grad for name, value in leaves.items()}


WRONG_GRADIENT = Mistake(
    "The output is right, and the gradient is not: on one of the ways something is "
    "detached, or turned into plain numbers.",
    when=lambda got: isinstance(got, dict),
)


def _rounded_gradient(right: Mapping[str, Tensor]) -> Mistake:
    return Mistake(
        "The gradient is almost right, so nothing is detached: a number is rounded, "
        "perhaps a constant of GELU, or something is computed in float32.",
        when=lambda got: all(
            torch.allclose(got[name], value, rtol=1e-4, atol=1e-4)
            for name, value in right.items()
        ),
    )


def _twice(module: nn.Module, x: Tensor) -> bool:
    """Whether a module in training mode answers the same twice."""
    module.train()
    return torch.equal(module(x), module(x))


# The feed-forward layer


def _feed_forward_state(width: int, prefix: str = "", seed: int = 0) -> dict:
    sizes = {
        "expand.weight": (4 * width, width),
        "expand.bias": (4 * width,),
        "projection.weight": (width, 4 * width),
        "projection.bias": (width,),
    }
    return {
        prefix + name: 0.7 * _random(*size, seed=seed + number)
        for number, (name, size) in enumerate(sizes.items())
    }


def _feed_forward(
    x: Tensor,
    state: State,
    prefix: str = "",
    activation: Callable = lambda x: F.gelu(x, approximate="tanh"),
    biases: tuple[bool, bool] = (True, True),
) -> Tensor:
    first, second = (
        state[f"{prefix}{name}.bias"] * has
        for name, has in zip(("expand", "projection"), biases, strict=True)
    )
    hidden = activation(F.linear(x, state[f"{prefix}expand.weight"], first))
    return F.linear(hidden, state[f"{prefix}projection.weight"], second)


def _feed_forward_advice(name: str, module: nn.Module) -> str:
    own = dict(module.named_parameters())
    if name.startswith(("expand", "projection")):
        if name in own:
            return (
                "`expand` leads from C to 4 C, `projection` back to C; the weight of "
                "`nn.Linear` is (outputs, inputs)."
            )
        if name.endswith("bias") and f"{name.removesuffix('bias')}weight" in own:
            return "Both layers have a bias."
    return (
        "Two layers are all: `self.expand = nn.Linear(C, 4 * C)` and "
        "`self.projection = nn.Linear(4 * C, C)`."
    )


def _forward_made(cls: type, x: Tensor, state: State) -> nn.Module:
    return _made(cls, state, x.shape[-1], advice=_feed_forward_advice)


def feed_forward() -> Iterator[Case]:
    x, state = _random(2, 3, 5, seed=4), _feed_forward_state(5)

    def astray(hint: str, **wrong: Any) -> Mistake:
        return Mistake(hint, equals=_feed_forward(x, state, **wrong))

    hidden = F.linear(x, state["expand.weight"], state["expand.bias"])
    mistakes = (
        Mistake(
            "A `nn.Linear` meets numbers of another width. First `expand`, from C to "
            "4 C, then GELU, then `projection`.",
            raises=RuntimeError,
            mentions="shapes cannot be multiplied",
        ),
        astray("Between the matrices stands ReLU. GPT-2 has GELU.", activation=F.relu),
        astray("Between the matrices stands SiLU. GPT-2 has GELU.", activation=F.silu),
        astray(
            "This is the exact GELU. GPT-2 was trained with the form with tanh: "
            '`gelu_tanh`, or `F.gelu(x, approximate="tanh")`.',
            activation=F.gelu,
        ),
        astray(
            "Nothing stands between the two matrices, so together they are no more "
            "than one. Apply GELU to what `expand` gives.",
            activation=lambda x: x,
        ),
        Mistake(
            "GELU comes at the end, too. What a layer adds to the stream may be "
            "negative: apply GELU between the matrices only.",
            equals=F.gelu(_feed_forward(x, state), approximate="tanh"),
        ),
        Mistake(
            "GELU comes after both matrices. It belongs between them.",
            equals=F.gelu(
                _feed_forward(x, state, activation=lambda x: x), approximate="tanh"
            ),
        ),
        Mistake(
            "GELU comes before `expand`. It belongs between the two matrices.",
            equals=_feed_forward(
                F.gelu(x, approximate="tanh"), state, activation=lambda x: x
            ),
        ),
        Mistake(
            "The input is added to the output. That is the step of the block; here "
            "return what `projection` gives.",
            equals=x + _feed_forward(x, state),
        ),
        astray("The second bias has no effect.", biases=(True, False)),
        astray("The first bias has no effect.", biases=(False, True)),
        astray("The biases have no effect.", biases=(False, False)),
        Mistake(
            "The last step is missing: `projection` leads back to C channels.",
            when=lambda got: got.shape == hidden.shape,
        ),
    )
    yield Case(
        "two texts of three vectors, five channels",
        args=(x,),
        call=lambda cls, x: _forward_made(cls, x, state)(x),
        expected=lambda x: _feed_forward(x, state),
        gradient=True,
        mistakes=mistakes,
    )
    yield Case(
        "the gradient of each weight",
        args=(x,),
        call=lambda cls, x: _module_gradients(_forward_made(cls, x, state), state, x),
        expected=lambda x: _oracle_gradients(lambda own: _feed_forward(x, own), state),
        mistakes=(WRONG_GRADIENT,),
    )
    yield Case(
        "the same to twelve digits",
        args=(x,),
        call=lambda cls, x: _forward_made(cls, x, state)(x).detach(),
        judge=_exactly(_feed_forward(x, state), 1e-12),
        mistakes=(
            Mistake(
                "A constant of your GELU has too few digits: `gelu_tanh` and "
                '`F.gelu(x, approximate="tanh")` have them all.',
                when=lambda got: got.shape == x.shape,
            ),
        ),
    )
    yield Case(
        "in training, the same input gives the same output",
        args=(x,),
        call=lambda cls, x: _twice(_forward_made(cls, x, state), x),
        expected=True,
        mistakes=(
            Mistake(
                "There is dropout in here. The block drops what this layer returns; "
                "the layer itself has none.",
                equals=False,
            ),
        ),
    )
    yield Case(
        "a new layer of another width, on any device",
        args=(_random(1, 2, 3).float(),),
        call=lambda cls, x: build(cls, 3, device=x.device)(x),
        judge=lambda got: None if got.shape == (1, 2, 3) else "The shape is not C.",
        any_device=True,
    )


# The block


class _Parts(NamedTuple):
    """What a block is made of: functions of the stream."""

    attention: Callable[[Tensor], Tensor]
    feed_forward: Callable[[Tensor], Tensor]
    norm: Callable[[Tensor], Tensor]
    second_norm: Callable[[Tensor], Tensor]


def _right(x: Tensor, p: _Parts) -> Tensor:
    x = x + p.attention(p.norm(x))
    return x + p.feed_forward(p.second_norm(x))


def _post_norm(x: Tensor, p: _Parts) -> Tensor:
    x = p.norm(x + p.attention(x))
    return p.second_norm(x + p.feed_forward(x))


def _normed_stream(x: Tensor, p: _Parts) -> Tensor:
    x = p.norm(x)
    x = p.second_norm(x + p.attention(x))
    return x + p.feed_forward(x)


def _half_normed_stream(x: Tensor, p: _Parts) -> Tensor:
    x = x + p.attention(p.norm(x))
    x = p.second_norm(x)
    return x + p.feed_forward(x)


def _attention_from_normed(x: Tensor, p: _Parts) -> Tensor:
    x = p.norm(x)
    x = x + p.attention(x)
    return x + p.feed_forward(p.second_norm(x))


def _one_residual(x: Tensor, p: _Parts) -> Tensor:
    return x + p.feed_forward(p.second_norm(p.attention(p.norm(x))))


def _first_residual_only(x: Tensor, p: _Parts) -> Tensor:
    x = x + p.attention(p.norm(x))
    return p.feed_forward(p.second_norm(x))


def _second_residual_only(x: Tensor, p: _Parts) -> Tensor:
    x = p.attention(p.norm(x))
    return x + p.feed_forward(p.second_norm(x))


def _attention_lost(x: Tensor, p: _Parts) -> Tensor:
    return x + p.feed_forward(p.second_norm(x + p.attention(p.norm(x))))


def _feed_forward_first(x: Tensor, p: _Parts) -> Tensor:
    x = x + p.feed_forward(p.second_norm(x))
    return x + p.attention(p.norm(x))


def _wrongly_normed(x: Tensor, p: _Parts) -> Tensor:
    x = x + p.norm(p.attention(x))
    return x + p.second_norm(p.feed_forward(x))


NOTHING_LOST = (
    "What came in is lost once: the stream only ever grows, `x = x + ...`, both times."
)
ASTRAY: tuple[tuple[str, Callable[[Tensor, _Parts], Tensor]], ...] = (
    (
        "There is no residual connection: what came in is lost. Add what each layer "
        "computes to the stream, `x = x + ...`.",
        lambda x, p: p.feed_forward(p.second_norm(p.attention(p.norm(x)))),
    ),
    (f"{NOTHING_LOST} The feed-forward layer replaces it.", _first_residual_only),
    (f"{NOTHING_LOST} The attention replaces it.", _second_residual_only),
    (
        "There is one residual connection around both layers. Each layer has its own.",
        _one_residual,
    ),
    (
        "What the attention found reaches the feed-forward layer, but is not in the "
        "stream: add the second time to the *new* x.",
        _attention_lost,
    ),
    (
        "This is post-norm, the order of the first Transformer. GPT-2 normalises what "
        "a layer *reads*: x + attention(norm(x)).",
        _post_norm,
    ),
    (
        "The norms stand behind the layers. They stand before them: "
        "x + attention(norm(x)).",
        _wrongly_normed,
    ),
    (
        "The stream itself is normalised, `x = norm(x)`. Only the layer reads "
        "normalised vectors; x is added as it came.",
        _normed_stream,
    ),
    (
        "Before the feed-forward layer the stream itself is normalised. Only the layer "
        "reads normalised vectors; x is added as it came.",
        _half_normed_stream,
    ),
    (
        "Before the attention the stream itself is normalised. Only the layer reads "
        "normalised vectors; x is added as it came.",
        _attention_from_normed,
    ),
    (
        "Both layers read through `attention_norm`. The feed-forward layer has a norm "
        "of its own.",
        lambda x, p: _right(x, p._replace(second_norm=p.norm)),
    ),
    (
        "Both layers read through `feed_forward_norm`. The attention has a norm of its "
        "own.",
        lambda x, p: _right(x, p._replace(norm=p.second_norm)),
    ),
    (
        "The two norms are exchanged.",
        lambda x, p: _right(x, p._replace(norm=p.second_norm, second_norm=p.norm)),
    ),
    (
        "The feed-forward layer reads the stream as it is. It reads "
        "`feed_forward_norm(x)`.",
        lambda x, p: _right(x, p._replace(second_norm=lambda x: x)),
    ),
    (
        "The attention reads the stream as it is. It reads `attention_norm(x)`.",
        lambda x, p: _right(x, p._replace(norm=lambda x: x)),
    ),
    (
        "No norm is used.",
        lambda x, p: _right(x, p._replace(norm=lambda x: x, second_norm=lambda x: x)),
    ),
    (
        "Attention and feed-forward layer work in parallel, both on what came in. In "
        "GPT-2 the second reads what the first has added to.",
        lambda x, p: x + p.attention(p.norm(x)) + p.feed_forward(p.second_norm(x)),
    ),
    (
        "The feed-forward layer comes first. In GPT-2 the attention does.",
        _feed_forward_first,
    ),
    (
        "The feed-forward layer is missing.",
        lambda x, p: x + p.attention(p.norm(x)),
    ),
    (
        "The attention is missing.",
        lambda x, p: x + p.feed_forward(p.second_norm(x)),
    ),
)


def _block_state(width: int, prefix: str = "", seed: int = 0) -> dict[str, Tensor]:
    """Weights of a block of which no part resembles another."""
    state = {
        "attention_norm.weight": 1 + 0.5 * _random(width, seed=seed + 1),
        "attention_norm.bias": 0.5 * _random(width, seed=seed + 2),
        "attention.qkv.weight": 0.8 * _random(3 * width, width, seed=seed + 3),
        "attention.qkv.bias": 0.5 * _random(3 * width, seed=seed + 4),
        "attention.projection.weight": 0.6 * _random(width, width, seed=seed + 5),
        "attention.projection.bias": 0.5 * _random(width, seed=seed + 6),
        "feed_forward_norm.weight": 1 + 0.5 * _random(width, seed=seed + 7),
        "feed_forward_norm.bias": 0.5 * _random(width, seed=seed + 8),
    }
    state = {prefix + name: value for name, value in state.items()}
    return state | _feed_forward_state(width, f"{prefix}feed_forward.", seed + 9)


def _norm(state: State, name: str, eps: float) -> Callable[[Tensor], Tensor]:
    return lambda x: F.layer_norm(
        x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps
    )


def _attention(x: Tensor, state: State, heads: int, prefix: str) -> Tensor:
    """Causal multi-head attention by torch's kernel."""
    parts = F.linear(x, state[f"{prefix}qkv.weight"], state[f"{prefix}qkv.bias"])
    queries, keys, values = (
        part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in parts.chunk(3, -1)
    )
    found = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
    merged = found.transpose(1, 2).flatten(2)
    weight, bias = (
        state[f"{prefix}projection.weight"],
        state[f"{prefix}projection.bias"],
    )
    return F.linear(merged, weight, bias)


def _parts(state: State, heads: int, eps: float = 1e-5, prefix: str = "") -> _Parts:
    return _Parts(
        lambda x: _attention(x, state, heads, f"{prefix}attention."),
        lambda x: _feed_forward(x, state, f"{prefix}feed_forward."),
        _norm(state, f"{prefix}attention_norm", eps),
        _norm(state, f"{prefix}feed_forward_norm", eps),
    )


def _block_advice(name: str, module: nn.Module) -> str:
    return (
        "A block has four parts with weights: `attention_norm`, `attention`, "
        "`feed_forward_norm` and `feed_forward`."
    )


def _block_made(
    cls: type, state: State, heads: int, context: int, **options: Any
) -> nn.Module:
    width = len(state["attention_norm.weight"])
    return _made(cls, state, width, heads, context, advice=_block_advice, **options)


IN_PLACE = tuple(
    Mistake(
        "`x += ...` writes over numbers that the way back still needs, or over the "
        "caller's. Write `x = x + ...`, which makes a new tensor.",
        raises=RuntimeError,
        mentions=words,
    )
    for words in ("in-place", "inplace")
)


def _block_mistakes(
    x: Tensor, state: State, heads: int, eps: float = 1e-5
) -> tuple[Mistake, ...]:
    parts = _parts(state, heads, eps)
    return (
        *IN_PLACE,
        *(Mistake(hint, equals=way(x, parts)) for hint, way in ASTRAY),
        *(
            Mistake(
                "The norms do not have the `eps` that was given to `__init__`.",
                equals=_right(x, _parts(state, heads, other)),
            )
            for other in (1e-5, 1e-6)
            if other != eps
        ),
        *(
            Mistake(
                f"Only `{with_it}` has the `eps` that was given to `__init__`. Give it "
                "to both norms.",
                equals=_right(x, parts._replace(**{field: way})),
            )
            for other in (1e-5, 1e-6)
            if other != eps
            for with_it, field, way in (
                (
                    "feed_forward_norm",
                    "norm",
                    _norm(state, "attention_norm", other),
                ),
                (
                    "attention_norm",
                    "second_norm",
                    _norm(state, "feed_forward_norm", other),
                ),
            )
        ),
        *(
            Mistake(
                f"The attention has another number of heads than was asked for: "
                f"{heads}.",
                equals=_right(x, _parts(state, other, eps)),
            )
            for other in range(1, x.shape[-1] + 1)
            if x.shape[-1] % other == 0 and other != heads
        ),
    )


def block() -> Iterator[Case]:
    x, state = _random(2, 5, 6, seed=30), _block_state(6)
    yield Case(
        "two texts of five tokens, three heads of two channels",
        args=(x,),
        call=lambda cls, x: _block_made(cls, state, 3, 7)(x),
        expected=lambda x: _right(x, _parts(state, 3)),
        mistakes=_block_mistakes(x, state, 3),
    )
    yield Case(
        "the gradient of each weight",
        args=(x,),
        call=lambda cls, x: _module_gradients(_block_made(cls, state, 3, 7), state, x),
        expected=lambda x: _oracle_gradients(
            lambda own: _right(x, _parts(own, 3)), state
        ),
        mistakes=(*IN_PLACE, WRONG_GRADIENT),
    )
    yield Case(
        "a large eps, and the gradient",
        args=(x,),
        call=lambda cls, x: _block_made(cls, state, 3, 7, eps=0.3)(x),
        expected=lambda x: _right(x, _parts(state, 3, 0.3)),
        gradient=True,
        mistakes=_block_mistakes(x, state, 3, 0.3),
    )
    yield Case(
        "one token, in a context of one",
        args=(x[:, :1],),
        call=lambda cls, x: _block_made(cls, state, 2, 1)(x),
        expected=lambda x: _right(x, _parts(state, 2)),
        mistakes=(
            Mistake(
                "One token fits into a context of one: give `context` on to the "
                "attention as it is.",
                raises=(ValueError, AssertionError, IndexError),
            ),
            *_block_mistakes(x[:, :1], state, 2),
        ),
    )
    yield Case(
        "four tokens in a context of three: a ValueError",
        args=(x[:, :4],),
        call=lambda cls, x: refusal(_block_made(cls, state, 3, 3), x),
        judge=is_refused,
        mistakes=refused(
            "There are more tokens than the context has room for. Give `context` on to "
            "`MultiHeadAttention`, which refuses them."
        ),
    )
    yield from _block_dropout(x, state)
    yield Case(
        "a new block, on any device",
        args=(x.float(),),
        call=lambda cls, x: build(cls, 6, 2, 5, device=x.device)(x),
        judge=lambda got: None if got.shape == (2, 5, 6) else "The shape has changed.",
        any_device=True,
    )


def _block_dropout(x: Tensor, state: State) -> Iterator[Case]:
    """Everything is dropped, so that what is left can be told exactly."""
    parts = _parts(state, 3)
    bias = state["attention.projection.bias"]
    full = _right(x, parts)
    quiet = _right(x, parts._replace(attention=lambda x: bias.expand(x.shape)))
    nothing = torch.zeros_like(x)
    unread = [
        x + parts.attention(first) + parts.feed_forward(second)
        for first, second in (
            (nothing, nothing),
            (parts.norm(nothing), parts.second_norm(nothing)),
        )
    ]
    yield Case(
        "everything that is added is dropped, in training: x stays",
        args=(x,),
        call=lambda cls, x: _block_made(cls, state, 3, 7, dropout=1.0).train()(x),
        expected=lambda x: x,
        mistakes=(
            Mistake(
                "The stream itself is dropped. Dropout is on what a layer adds: "
                "x + dropout(...).",
                equals=torch.zeros_like(x),
            ),
            Mistake(
                "Dropout is on what a layer reads. It is on what the layer returns: "
                "x + dropout(layer(norm(x))).",
                when=lambda got: any(torch.allclose(got, other) for other in unread),
            ),
            Mistake(
                "`dropout` has no effect. It is on what each layer adds to the stream: "
                "x + dropout(...).",
                equals=full,
            ),
            Mistake(
                "What the attention adds is dropped; drop what the feed-forward layer "
                "adds as well.",
                equals=x + parts.feed_forward(parts.second_norm(x)),
            ),
            Mistake(
                "What the feed-forward layer adds is dropped; drop what the attention "
                "adds as well.",
                equals=x + parts.attention(parts.norm(x)),
            ),
            Mistake(
                "`dropout` has reached the weights of the attention. Those have "
                "`attention_dropout`; `dropout` is on what is added to the stream.",
                equals=quiet,
            ),
        ),
    )
    yield Case(
        "all weights of attention are dropped, in training",
        args=(x,),
        call=lambda cls, x: _block_made(
            cls, state, 3, 7, attention_dropout=1.0
        ).train()(x),
        # Its values are gone, the bias of its projection is not.
        expected=quiet,
        mistakes=(
            Mistake(
                "`attention_dropout` has no effect. Give it on to "
                "`MultiHeadAttention`.",
                equals=full,
            ),
            Mistake(
                "`attention_dropout` has dropped what is added to the stream. Give it "
                "to `MultiHeadAttention`, which drops weights.",
                when=lambda got: any(
                    torch.allclose(got, other)
                    for other in (x, x + parts.feed_forward(parts.second_norm(x)))
                ),
            ),
        ),
    )
    yield Case(
        "dropout while evaluating: none",
        args=(x,),
        call=lambda cls, x: _block_made(
            cls, state, 3, 7, attention_dropout=0.5, dropout=0.5
        )(x),
        expected=full,
        mistakes=(
            Mistake(
                "Something is dropped after `eval()`. `nn.Dropout` as a part of the "
                "module knows the mode; `F.dropout` has to be told: "
                "`training=self.training`.",
                when=lambda got: got.shape == x.shape,
            ),
        ),
    )


# The GPT


@dataclass(frozen=True)
class GPTConfig:
    """The fields of the chapter's configuration."""

    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int
    n_head: int
    embd_pdrop: float = 0.0
    attn_pdrop: float = 0.0
    resid_pdrop: float = 0.0
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02


LARGE_EPS = 0.3
TOKENS, POSITIONS = (
    f"embedding.{name}_embedding.weight" for name in ("token", "position")
)


def _gpt_state(config: GPTConfig) -> dict[str, Tensor]:
    width = config.n_embd
    state = {
        TOKENS: _random(config.vocab_size, width, seed=1),
        POSITIONS: _random(config.n_positions, width, seed=2),
        "norm.weight": 1 + 0.5 * _random(width, seed=3),
        "norm.bias": 0.5 * _random(width, seed=4),
    }
    for layer in range(config.n_layer):
        state |= _block_state(width, f"blocks.{layer}.", seed=100 * (layer + 1))
    return state


def _gpt(
    ids: Tensor,
    state: State,
    config: GPTConfig,
    *,
    layers: tuple[int, ...] | None = None,
    embedded: Callable[[Tensor, Tensor], Tensor] = lambda tokens, places: (
        tokens + places
    ),
    way: Callable[[Tensor, _Parts], Tensor] = _right,
    mute: bool = False,
    eps: tuple[float, float] | None = None,
    last: bool = True,
    table: Tensor | None = None,
) -> Tensor:
    """The logits of a GPT with these weights, or of one that went astray.

    `mute`: no value of the attention is heard, only the bias of its projection; `eps`:
    of the norms in the blocks, and of the last one.
    """
    inner, outer = eps or 2 * (config.layer_norm_epsilon,)
    places = state[POSITIONS][: ids.shape[1]]
    x = embedded(F.embedding(ids, state[TOKENS]), places)
    for layer in range(config.n_layer) if layers is None else layers:
        parts = _parts(state, config.n_head, inner, f"blocks.{layer}.")
        if mute:
            bias = state[f"blocks.{layer}.attention.projection.bias"]
            parts = parts._replace(attention=lambda x, bias=bias: bias.expand(x.shape))
        x = way(x, parts)
    x = _norm(state, "norm", outer)(x) if last else x
    return F.linear(x, state[TOKENS] if table is None else table)


def _gpt_advice(name: str, module: nn.Module) -> str:
    own = dict(module.named_parameters())
    if name.startswith("embedding."):
        return (
            "`self.embedding` is a `TokenAndPositionEmbedding` of `vocab_size`, "
            "`n_positions` and `n_embd`, in this order."
        )
    vocab_size = own[TOKENS].shape[0] if TOKENS in own else None
    if name in own and own[name].shape[:1] == (vocab_size,):
        if own[name].dim() == 1:
            return "The output is a product with the token table; it has no bias."
        return (
            "The output has a table of its own. Take the token table, the very same "
            "tensor and no copy: `F.linear(x, self.embedding.token_embedding.weight)`."
        )
    if name.startswith("blocks."):
        if isinstance(getattr(module, "blocks", None), list):
            return (
                "torch looks into no list, so these blocks would never be trained: "
                "`self.blocks = nn.ModuleList(...)`."
            )
        return "`self.blocks` is an `nn.ModuleList` of as many `Block`s as `n_layer`."
    if name.startswith("norm."):
        return "One more norm, `self.norm`, comes after the last block."
    return "Its parts with weights are `embedding`, `blocks` and `norm`."


def _gpt_made(cls: type, config: GPTConfig, state: State) -> nn.Module:
    module = _made(cls, state, config, advice=_gpt_advice)
    for name, value in module.named_buffers():
        if value.shape == state[TOKENS].shape:
            raise Complaint(
                f"`{name}` is a copy of the token table, which training does not "
                "change. Use the table itself, "
                "`self.embedding.token_embedding.weight`."
            )
    return module


ROOT_OF_C = (
    "The vectors of the tokens are multiplied by the root of C, as in the first "
    "Transformer. GPT-2 adds token and position as they are."
)
ANOTHER_EPS = "the config's `layer_norm_epsilon`."
GPT_ASTRAY: tuple[tuple[str, dict[str, Any]], ...] = (
    ("The last norm is missing: normalise before the output.", {"last": False}),
    (
        "The positions are missing: add the vector of each position to that of its "
        "token. `TokenAndPositionEmbedding` does both.",
        {"embedded": lambda tokens, places: tokens},
    ),
    (
        ROOT_OF_C,
        {"embedded": lambda tokens, places: tokens * tokens.shape[-1] ** 0.5 + places},
    ),
    (
        ROOT_OF_C,
        {
            "embedded": lambda tokens, places: (
                (tokens + places) * tokens.shape[-1] ** 0.5
            )
        },
    ),
    (
        "The blocks run in reverse order: the first one comes first.",
        {"layers": (2, 1, 0)},
    ),
    ("Only the first block runs.", {"layers": (0,)}),
    (
        "Only the last block has an effect. Each block reads what the one before "
        "returned: `x = block(x)`.",
        {"layers": (2,)},
    ),
    ("The last block does not run.", {"layers": (0, 1)}),
    ("The first block runs in place of the others, too.", {"layers": (0, 0, 0)}),
    ("The last block runs in place of the others, too.", {"layers": (2, 2, 2)}),
    ("No block runs.", {"layers": ()}),
    (
        "What a block returns is added to the stream once more. The block has done "
        "so itself: `x = block(x)`.",
        {"way": lambda x, p: x + _right(x, p)},
    ),
    (f"The norms do not have {ANOTHER_EPS}", {"eps": (1e-5, 1e-5)}),
    (f"The norms do not have {ANOTHER_EPS}", {"eps": (1e-6, 1e-6)}),
    (f"The last norm does not have {ANOTHER_EPS}", {"eps": (LARGE_EPS, 1e-5)}),
    (f"The norms of the blocks do not have {ANOTHER_EPS}", {"eps": (1e-5, LARGE_EPS)}),
)


def _are_shares(got: Tensor, axis: int) -> bool:
    total = got.sum(axis)
    return bool((got >= 0).all()) and torch.allclose(total, torch.ones_like(total))


def _gpt_mistakes(ids: Tensor, state: State, config: GPTConfig) -> tuple[Mistake, ...]:
    norm = _norm(state, "norm", config.layer_norm_epsilon)
    right = _gpt(ids, state, config)
    found = [(hint, _gpt(ids, state, config, **wrong)) for hint, wrong in GPT_ASTRAY]
    found += [
        (
            "The norm stands before the blocks. It comes after the last one.",
            _gpt(
                ids,
                state,
                config,
                last=False,
                embedded=lambda tokens, places: norm(tokens + places),
            ),
        ),
        (
            "The last norm also stands before every block. Each block has norms of its "
            "own.",
            _gpt(ids, state, config, way=lambda x, p: _right(norm(x), p)),
        ),
    ]
    return (
        Mistake(
            "Drawing in place needs `torch.no_grad()` or `nn.init.normal_`: a weight "
            "is changed while torch keeps track of it.",
            raises=RuntimeError,
            mentions="leaf Variable",
        ),
        *IN_PLACE,
        *(
            Mistake(hint, equals=value)
            for hint, value in found
            if not torch.equal(value, right)  # an eps may be the one that is given
        ),
        # Whatever else is wrong, and whatever the logits were divided by.
        Mistake(
            "These are probabilities. Return the logits as they are.",
            when=lambda got: _are_shares(got, -1),
        ),
        Mistake(
            "These are logarithms of probabilities. Return the logits as they are.",
            when=lambda got: _are_shares(got.exp(), -1),
        ),
        Mistake(
            "There is a softmax at the end, and along the wrong axis. None is needed: "
            "return the logits as they are.",
            when=lambda got: any(_are_shares(got, axis) for axis in (0, 1)),
        ),
        Mistake(
            "This is one number for each position. Return the logits of all V tokens: "
            "choosing comes later.",
            when=lambda got: got.shape == ids.shape,
        ),
        Mistake(
            "This is the last position only. Every position predicts its next token: "
            "(B, T, V).",
            when=lambda got: got.shape in (right[:, :1].shape, right[:, 0].shape),
        ),
        Mistake(
            "These are vectors of C channels. Multiply them with every row of the "
            "token table: (B, T, V).",
            when=lambda got: got.shape == (*ids.shape, config.n_embd),
        ),
        Mistake(
            "The token table is a (V, C) matrix: `F.linear(x, table)`, or `x @ "
            "table.T`.",
            raises=RuntimeError,
            mentions="cannot be multiplied",
        ),
        Mistake(
            "The token table is a (V, C) matrix: `F.linear(x, table)`, or `x @ "
            "table.T`.",
            raises=RuntimeError,
            mentions="batch2 tensor",
        ),
    )


def gpt() -> Iterator[Case]:
    config = GPTConfig(11, 7, n_embd=6, n_layer=3, n_head=2)
    state = _gpt_state(config)
    ids = torch.tensor([[3, 1, 4, 10, 5], [9, 2, 6, 0, 3]])

    def logits(cls: type, ids: Tensor, config: GPTConfig) -> Tensor:
        return _gpt_made(cls, config, state)(ids)

    yield Case(
        "two texts of five tokens, three blocks",
        args=(ids, config),
        call=logits,
        expected=lambda ids, config: _gpt(ids, state, config),
        mistakes=_gpt_mistakes(ids, state, config),
    )
    far = replace(config, layer_norm_epsilon=LARGE_EPS)
    yield Case(
        "a large eps",
        args=(ids, far),
        call=logits,
        expected=lambda ids, config: _gpt(ids, state, config),
        mistakes=_gpt_mistakes(ids, state, far),
    )
    yield from _gpt_gradients(ids, config, state)
    yield from _gpt_lengths(config, state, logits)
    yield from _gpt_dropout(ids, config, state)
    yield from _beginning()
    yield Case(
        "the sizes, for who uses the model",
        args=(config,),
        call=lambda cls, config: getattr(
            build(cls, config), "config", "no such attribute"
        ),
        expected=lambda config: config,
        mistakes=(
            Mistake(
                "Keep the sizes as `self.config`. What follows reads them there.",
                when=lambda got: True,
            ),
        ),
    )
    yield Case(
        "a new model, on any device",
        args=(ids, config),
        call=_on_its_device,
        judge=lambda got: None if got.shape == (2, 5, 11) else "The shape is wrong.",
        any_device=True,
    )


class _OneDevice(TorchFunctionMode):
    """Refuses what a GPU would and "meta" does not: ids on another device."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if func is F.embedding and args[0].device != args[1].device:
            raise RuntimeError("the ids are not on the expected device")
        return func(*args, **(kwargs or {}))


def _on_its_device(cls: type, ids: Tensor, config: GPTConfig) -> Tensor:
    model = build(cls, config, device=ids.device)
    with _OneDevice():
        return model(ids)


def _gpt_gradients(ids: Tensor, config: GPTConfig, state: State) -> Iterator[Case]:
    right = _oracle_gradients(lambda own: _gpt(ids, own, config), state)
    fixed = state[TOKENS].clone()
    inside = _oracle_gradients(lambda own: _gpt(ids, own, config, table=fixed), state)
    yield Case(
        "the gradient of each weight",
        args=(ids, config),
        call=lambda cls, ids, config: _module_gradients(
            _gpt_made(cls, config, state), state, ids
        ),
        expected=right,
        mistakes=(
            *IN_PLACE,
            Mistake(
                "The output does not train the token table: it is detached there. Use "
                "the table itself on both sides.",
                when=lambda got: torch.allclose(got[TOKENS], inside[TOKENS]),
            ),
            Mistake(
                "The token table is trained by the output alone: what goes into the "
                "blocks is detached.",
                when=lambda got: torch.allclose(
                    got[TOKENS], right[TOKENS] - inside[TOKENS]
                ),
            ),
            _rounded_gradient(right),
            WRONG_GRADIENT,
        ),
    )


def _gpt_lengths(config: GPTConfig, state: State, logits: Callable) -> Iterator[Case]:
    for title, length in (
        ("a single token", 1),
        ("as many tokens as there are positions", config.n_positions),
    ):
        ids = (3 * torch.arange(length)[None] + 2) % config.vocab_size
        yield Case(
            title,
            args=(ids, config),
            call=logits,
            expected=lambda ids, config: _gpt(ids, state, config),
            mistakes=(
                Mistake(
                    "So many tokens fit: refuse a text only if T is *more* than "
                    "`n_positions`.",
                    raises=(ValueError, AssertionError, IndexError),
                ),
            ),
        )
    yield Case(
        "one token more than there are positions: a ValueError",
        args=(torch.zeros(1, config.n_positions + 1, dtype=torch.long), config),
        call=lambda cls, ids, config: refusal(logits, cls, ids, config),
        judge=is_refused,
        mistakes=(
            Mistake(
                "The position table has no such row, and says so in its own words; on "
                "a GPU that ends the whole program. Check first, and raise a "
                "`ValueError` if T is more than `n_positions`.",
                when=lambda got: got.startswith("IndexError"),
            ),
            *refused(
                "There is no vector for the last position, yet your code returned "
                "something. Raise a `ValueError` if T is more than `n_positions`."
            ),
        ),
    )


def _gpt_dropout(ids: Tensor, config: GPTConfig, state: State) -> Iterator[Case]:
    """Everything is dropped, so that what is left can be told exactly."""

    def trained(cls: type, ids: Tensor, config: GPTConfig) -> Tensor:
        return _gpt_made(cls, config, state).train()(ids)

    right = _gpt(ids, state, config)
    outcomes = {
        "embd_pdrop": _gpt(
            ids, state, config, embedded=lambda tokens, places: 0 * tokens
        ),
        "resid_pdrop": _gpt(ids, state, config, layers=()),
        "attn_pdrop": _gpt(ids, state, config, mute=True),
    }
    places = {
        "embd_pdrop": "on the sum of both embeddings, before the first block",
        "resid_pdrop": "on what is added to the stream, the `dropout` of each block",
        "attn_pdrop": "on the weights, the `attention_dropout` of each block",
    }
    for name, expected in outcomes.items():
        others = [
            Mistake(
                f"`{name}` has done what `{other}` should do. `{name}` is "
                f"{places[name]}.",
                equals=value,
            )
            for other, value in outcomes.items()
            if other != name
        ]
        yield Case(
            f"{name} of 1, in training",
            args=(ids, replace(config, **{name: 1.0})),
            call=trained,
            expected=expected,
            mistakes=(
                Mistake(
                    f"`{name}` has no effect. It is {places[name]}.",
                    equals=right,
                ),
                *others,
            ),
        )
    every = replace(config, embd_pdrop=0.5, attn_pdrop=0.5, resid_pdrop=0.5)
    yield Case(
        "dropout while evaluating: none",
        args=(ids, every),
        call=lambda cls, ids, config: _gpt_made(cls, config, state)(ids),
        expected=right,
        mistakes=(
            Mistake(
                "Something is dropped after `eval()`. `nn.Dropout` as a part of the "
                "module knows the mode; `F.dropout` has to be told: "
                "`training=self.training`.",
                when=lambda got: got.shape == right.shape,
            ),
        ),
    )


# How a model begins

NEW = GPTConfig(500, 300, n_embd=64, n_layer=3, n_head=4, initializer_range=0.05)
"""No deviation of this one is a default of torch, or a deviation of another part."""

MATRICES = {
    "token table": r"embedding\.token_embedding\.weight",
    "position table": r"embedding\.position_embedding\.weight",
    "attention.qkv": r"blocks\.\d+\.attention\.qkv\.weight",
    "feed_forward.expand": r"blocks\.\d+\.feed_forward\.expand\.weight",
    "attention.projection": r"blocks\.\d+\.attention\.projection\.weight",
    "feed_forward.projection": r"blocks\.\d+\.feed_forward\.projection\.weight",
}
WRITERS = ("attention.projection", "feed_forward.projection")
SCALED = 0.05 / math.sqrt(6)
BEGINNING = {
    **{name: SCALED if name in WRITERS else 0.05 for name in MATRICES},
    "mean of all": 0.0,
    "largest bias or shift": 0.0,
    "smallest gain": 1.0,
    "largest gain": 1.0,
    "kurtosis": 3.0,
}


def _measured(cls: type, config: GPTConfig) -> dict[str, float]:
    """Standard deviations and more of a new model's weights."""
    own = {
        name: value.detach().double()
        for name, value in build(cls, config).named_parameters()
    }

    def those(pattern: str) -> Tensor:
        found = [v.flatten() for n, v in own.items() if re.fullmatch(pattern, n)]
        if not found:
            raise Complaint(f"No parameter has a name such as `{pattern}`.")
        return torch.cat(found)

    biases, gains = those(r".*bias").abs(), those(r".*norm\.weight")
    matrices = {name: those(pattern) for name, pattern in MATRICES.items()}
    measured = {name: values.std().item() for name, values in matrices.items()}
    everything = torch.cat([values / values.std() for values in matrices.values()])
    measured |= {
        # Of 200,000 numbers with deviation 1, it is below 0.01 but for bad luck.
        "mean of all": round(everything.mean().item(), 1),
        "largest bias or shift": biases.max().item(),
        "smallest gain": gains.min().item(),
        "largest gain": gains.max().item(),
        # Normal numbers have 3, give or take 0.05 here; evenly spread ones have 1.8.
        "kurtosis": round(min(map(_kurtosis, matrices.values()))),
    }
    return {name: round(value, 4) + 0.0 for name, value in measured.items()}


def _kurtosis(values: Tensor) -> float:
    """The mean fourth power of numbers brought to mean 0 and deviation 1."""
    return ((values - values.mean()) / values.std()).pow(4).mean().item()


def _near(value: float, wanted: float) -> bool:
    return math.isclose(value, wanted, rel_tol=0.06)


def _beginning() -> Iterator[Case]:
    plain = [name for name in MATRICES if name not in WRITERS]

    def all_are(names: Any, wanted: float) -> Callable[[dict], bool]:
        return lambda got: all(_near(got[name], wanted) for name in names)

    yield Case(
        "standard deviations of a new model's weights; 3 layers, initializer_range "
        "0.05",
        args=(NEW,),
        call=_measured,
        expected=BEGINNING,
        rtol=0.06,
        atol=0.0,
        mistakes=(
            Mistake(
                "Nothing is initialised: the tables still have torch's standard "
                "deviation of 1.",
                when=lambda got: _near(got["token table"], 1),
            ),
            Mistake(
                "The tables are initialised, the linear layers are not.",
                when=lambda got: (
                    _near(got["token table"], 0.05)
                    and not _near(got["attention.qkv"], 0.05)
                    and got["attention.qkv"] > 0.06
                ),
            ),
            Mistake(
                "The position table has another deviation than the token table.",
                when=lambda got: (
                    _near(got["token table"], 0.05)
                    and not _near(got["position table"], 0.05)
                ),
            ),
            Mistake(
                "The standard deviation is 0.02, whatever the config says. Use its "
                "`initializer_range`.",
                when=all_are(plain, 0.02),
            ),
            Mistake(
                "`initializer_range` is taken for the variance. It is the standard "
                "deviation.",
                when=all_are(plain, math.sqrt(0.05)),
            ),
            Mistake(
                "These numbers are spread evenly. Draw them from a normal "
                "distribution, whose standard deviation is `initializer_range`.",
                when=lambda got: any(
                    _near(got["token table"], 0.05 * scale / math.sqrt(3))
                    for scale in (1, 0.5)
                ),
            ),
            Mistake(
                "The norms are initialised like the matrices. Their gains begin at 1.",
                when=lambda got: got["smallest gain"] < 0.9,
            ),
            Mistake(
                "The biases do not begin at 0: `nn.Linear` fills them with numbers of "
                "its own.",
                when=lambda got: got["largest bias or shift"] > 0,
            ),
            Mistake(
                "The two matrices of a block that write to the stream are not scaled "
                "down, by the root of 2 * n_layer. Or they are, and the numbers for "
                "all modules are drawn after that: scale last.",
                when=all_are(WRITERS, 0.05),
            ),
            Mistake(
                "The root of n_layer is taken. Each block writes *twice*: 2 * n_layer.",
                when=all_are(WRITERS, 0.05 / math.sqrt(3)),
            ),
            Mistake(
                "It is divided by 2 * n_layer. Divide by its root.",
                when=all_are(WRITERS, 0.05 / 6),
            ),
            Mistake(
                "It is divided by 2 * n_layer. Divide by its root.",
                when=all_are(WRITERS, 0.05 / 3),
            ),
            Mistake("They are scaled down twice.", when=all_are(WRITERS, 0.05 / 6)),
            Mistake(
                "One of the two matrices that write to the stream is not scaled down. "
                "There is a `projection` in the attention and one in the feed-forward "
                "layer.",
                when=lambda got: (
                    sorted(_near(got[w], SCALED) for w in WRITERS) == [False, True]
                ),
            ),
            Mistake(
                "All weights are scaled down. Only those that write to the stream are, "
                "the two called `projection`.",
                when=all_are(plain[2:], SCALED),
            ),
            Mistake(
                "The deviations are right, but these numbers are spread evenly: their "
                "kurtosis is below 3. Draw them from a normal distribution.",
                when=lambda got: got["kurtosis"] < 3,
            ),
        ),
    )

    def alike(cls: type, config: GPTConfig) -> bool:
        own = dict(build(cls, config).named_parameters())
        name = "attention.qkv.weight"
        return torch.equal(own[f"blocks.0.{name}"], own[f"blocks.1.{name}"])

    yield Case(
        "every block begins with numbers of its own",
        args=(NEW,),
        call=alike,
        expected=False,
        mistakes=(
            Mistake(
                "The blocks are copies of one, or each is drawn with the same seed. "
                "Make each anew, and draw without a seed of your own.",
                equals=True,
            ),
        ),
    )


# Counting


def _count_mistakes(config: GPTConfig) -> tuple[Mistake, ...]:
    width, layers = config.n_embd, config.n_layer
    tokens, places = config.vocab_size * width, config.n_positions * width
    square, half = layers * width**2, layers * width  # C^2 and C in every block
    right = tokens + places + 12 * square + 13 * half + 2 * width

    def off(hint: str, *amounts: int) -> Mistake:
        return Mistake(hint, when=lambda got: got - right in amounts)

    return (
        off(
            "The output table is counted as well. It is the token table: count it "
            "once.",
            tokens,
        ),
        off(
            "The attention is counted once per head. The heads share its matrices: C "
            "channels are split among them.",
            *((config.n_head - 1) * n * (square + half) for n in (1, 3, 4)),
        ),
        off(
            "The last norm is counted in every layer. There is one, after the last "
            "block.",
            2 * width * (layers - 1),
        ),
        off("The positions are missing: a table of n_positions rows.", -places),
        off("The token table is missing.", -tokens),
        off("The last norm is missing: a gain and a shift, 2 C.", -2 * width),
        off(
            "A norm has a gain *and* a shift, 2 C. You count one of the two.",
            -2 * half - width,
        ),
        off("The norms of the blocks are missing: two in each, 4 C.", -4 * half),
        off("All norms are missing.", -4 * half - 2 * width),
        off("A block has two norms. You count one.", -2 * half),
        off(
            "The biases of the linear layers are missing: 3 C and C in the attention, "
            "4 C and C in the feed-forward layer.",
            -9 * half,
        ),
        off("Biases and norms are missing.", -13 * half, -13 * half - 2 * width),
        off("The biases of the feed-forward layer are missing: 4 C and C.", -5 * half),
        off(
            "One bias of the feed-forward layer is not right. The first has 4 C, the "
            "second C.",
            -half,
            -3 * half,
            3 * half,
        ),
        off(
            "The feed-forward layer is counted as if it had one matrix. It has two of "
            "4 C^2.",
            -4 * square,
            -4 * square - half,
        ),
        off(
            "The projection of the attention is missing: C^2 and C.",
            -square - half,
            -square,
        ),
        off(
            "The blocks are counted once. There are n_layer of them.",
            -(12 * square + 13 * half) * (layers - 1) // layers,
        ),
    )


BUILDS = (
    "You build the model and count? That takes long, and the largest has no room in "
    "memory. Work the number out from the sizes, without building."
)


def gpt_parameters() -> Iterator[Case]:
    for title, config, count in (
        # 11 * 7 + 5 * 7 + 3 * (12 * 49 + 13 * 7) + 2 * 7
        ("C = 7, three layers", GPTConfig(11, 5, 7, 3, 1), 2_163),
        # 13 * 6 + 5 * 6 + 3 * (12 * 36 + 13 * 6) + 2 * 6
        ("C = 6, three layers, two heads", GPTConfig(13, 5, 6, 3, 2), 1_650),
        # 38,597,376 + 786,432 + 12 * 7,087,872 + 1,536
        ("the smallest GPT-2", GPTConfig(50257, 1024, 768, 12, 12), 124_439_808),
        # 80,411,200 + 1,638,400 + 48 * 30,740,800 + 3,200
        ("the largest GPT-2", GPTConfig(50257, 1024, 1600, 48, 25), 1_557_611_200),
    ):
        yield Case(
            title,
            args=(config,),
            expected=count,
            seconds=4.0,
            mistakes=(
                Mistake(BUILDS, raises=(TimeoutError, MemoryError)),
                *_count_mistakes(config),
            ),
        )
    yield Case(
        "the number of heads changes nothing",
        args=(GPTConfig(13, 5, 6, 3, 3),),
        expected=1_650,
    )
    yield Case(
        "a model that no memory holds",
        # Its token table alone is larger than the addresses of a process: a system that
        # gives out memory it does not have must refuse it, too.
        args=(GPTConfig(10**8, 10**3, 10**7, 1, 1),),
        # 10^15 + 10^10 + 12 * 10^14 + 13 * 10^7 + 2 * 10^7
        expected=2_200_010_150_000_000,
        mistakes=(TOO_LARGE_TO_BUILD,),
    )
    yield whole(GPTConfig(13, 5, 6, 3, 2))


# Top-k and top-p

INF = math.inf


def _kept(got: Tensor) -> Tensor:
    return got != -INF


def _cut_mistakes(logits: Tensor, keep: Tensor) -> tuple[Mistake, ...]:
    """The right tokens, and something wrong about the others; `keep` is the oracle."""
    mask = _kept(keep)
    probabilities = keep.softmax(-1)
    return (
        Mistake(
            "The right tokens stay, but the others are set to 0, which is a logit like "
            "any other: exp(0) is 1. Set them to -inf.",
            equals=torch.where(mask, logits, 0.0),
        ),
        Mistake(
            "The others are set to a very small number. Set them to -inf, so that "
            "their probability is exactly 0.",
            when=lambda got: (
                torch.equal(got[mask], logits[mask])
                and bool((got[~mask] < -1e3).all() and got.isfinite().any())
                and not bool((got[~mask] == -INF).all())
            ),
        ),
        Mistake(
            "These are probabilities. Return the logits, with -inf for what is cut: "
            "the softmax comes when a token is drawn.",
            when=lambda got: any(
                torch.allclose(got, other)
                for other in (
                    probabilities,
                    torch.where(mask, logits.softmax(-1), 0.0),
                    torch.where(mask, logits.softmax(-1), -INF),
                )
            ),
        ),
        Mistake(
            "This is a mask of bools. Return the logits, with -inf for what is cut.",
            when=lambda got: got.dtype == torch.bool,
        ),
        Mistake(
            "It is turned round: what should stay is cut, and what should go stays.",
            equals=torch.where(mask, -INF, logits),
        ),
        Mistake("Nothing is cut: the logits are as they were.", equals=logits),
        Mistake("A row is cut as a whole: at least one token stays.", when=_all_gone),
    )


def _all_gone(got: Tensor) -> bool:
    return bool((got == -INF).all(-1).any())


def _top_k(logits: Tensor, k: int) -> Tensor:
    """By counting, for each token, how many are larger."""
    larger = (logits.unsqueeze(-2) > logits.unsqueeze(-1)).sum(-1)  # (..., V)
    return torch.where(larger < k, logits, -INF)


def keep_top_k() -> Iterator[Case]:
    row = torch.tensor([0.5, -1.0, 2.0, 1.5, -3.0])
    yield Case(
        "the three largest of five logits",
        args=(row, 3),
        expected=_top_k,
        any_device=True,
        mistakes=(
            *_cut_mistakes(row, _top_k(row, 3)),
            Mistake(
                "The k-th largest is cut, too. Cut what is *less* than it, not what "
                "equals it.",
                equals=_top_k(row, 2),
            ),
            Mistake("One token too many stays.", equals=_top_k(row, 4)),
            Mistake("The *smallest* logits stay.", equals=-_top_k(-row, 3)),
            Mistake(
                "The *smallest* logits stay.",
                equals=torch.where(_kept(_top_k(-row, 3)), row, -INF),
            ),
            Mistake(
                "These are k logits. Keep all V places, so that a place still tells "
                "which token it is.",
                when=lambda got: got.shape == (3,),
            ),
            Mistake(
                "The logits are sorted: a place no longer tells which token it is.",
                equals=torch.tensor([2.0, 1.5, 0.5, -INF, -INF]),
            ),
        ),
    )
    rows = torch.tensor(
        [[0.1, 3.0, -0.2, 2.0], [9.0, 8.0, 7.0, 6.0], [-5.0, -4.0, -7.0, -6.0]]
    )
    first = rows[0].topk(2).values[-1]
    yield Case(
        "three rows, each with its own two largest",
        args=(rows, 2),
        expected=_top_k,
        mistakes=(
            Mistake(
                "The largest of each *column* stay. The tokens are the last axis: "
                "dim=-1.",
                equals=_top_k(rows.mT, 2).mT,
            ),
            Mistake(
                "The threshold of the first row is used for all. Each row has its own: "
                "keep the axis, `values[..., -1:]`.",
                equals=torch.where(rows < first, -INF, rows),
            ),
            Mistake(
                "One threshold serves all rows. Each row has its own: keep the axis, "
                "`values[..., -1:]`.",
                when=lambda got: bool(
                    got.shape == rows.shape and (_kept(got).sum(-1) != 2).any()
                ),
            ),
            Mistake(
                "The thresholds have lost their axis, (3,), and cannot be compared "
                "with (3, 4). Keep it: `values[..., -1:]` is (3, 1).",
                raises=RuntimeError,
            ),
            *_cut_mistakes(rows, _top_k(rows, 2)),
        ),
    )
    ties = torch.tensor([[1.0, 2.0, 2.0, 2.0, 0.0]])
    yield Case(
        "the second largest comes three times",
        args=(ties, 2),
        expected=_top_k,
        mistakes=(
            Mistake(
                "Exactly k stay, chosen by chance among equal ones. Those that equal "
                "the k-th largest stay, too: compare with its value.",
                when=lambda got: bool(_kept(got).sum() == 2),
            ),
            *_cut_mistakes(ties, _top_k(ties, 2)),
        ),
    )
    yield Case(
        "more than there are: k = 9 of five logits, and k = 5",
        args=(row,),
        call=lambda answer, logits: (answer(logits, 9), answer(logits, 5)),
        expected=(row, row),
        mistakes=(
            Mistake(
                "k may be larger than V; then all stay. Take `min(k, V)`.",
                raises=(RuntimeError, IndexError, ValueError),
            ),
        ),
    )
    yield Case(
        "k = 1, and two axes before that of the tokens: (2, 3, 5)",
        args=(_random(2, 3, 5).float(), 1),
        expected=_top_k,
        mistakes=(
            Mistake(
                "There may be any number of axes before the last. Name it from the "
                "end: dim=-1, and `[..., -1:]`.",
                when=lambda got: True,
            ),
            Mistake(
                "There may be any number of axes before the last. Name it from the "
                "end: dim=-1, and `[..., -1:]`.",
                raises=(RuntimeError, IndexError, ValueError),
            ),
        ),
    )
    cut = torch.tensor([[2.0, -INF, 1.0, -INF]])
    yield Case(
        "two tokens are cut already, and k = 3",
        args=(cut, 3),
        expected=cut,
        mistakes=(
            Mistake(
                "A logit that is -inf stays -inf.", when=lambda got: got.isnan().any()
            ),
        ),
    )
    for k, why in (
        (0, "With k = 0 there is nothing to draw from (or everything, by index -1)."),
        (-1, "A negative k would count from the other end."),
    ):
        yield Case(
            f"k = {k}: a ValueError",
            args=(row, k),
            call=lambda answer, logits, k: refusal(answer, logits, k),
            judge=is_refused,
            mistakes=refused(f"{why} Raise a `ValueError` if k is less than 1."),
        )


def _top_p(logits: Tensor, p: float) -> Tensor:
    """Token by token, in plain Python: from the most probable until p is reached."""
    flat = logits.reshape(-1, logits.shape[-1])
    kept = torch.full_like(flat, -INF)
    for row, probabilities in enumerate(flat.double().softmax(-1).tolist()):
        together = 0.0
        order = sorted(range(len(probabilities)), key=lambda v: -probabilities[v])
        for token in order:
            kept[row, token] = flat[row, token]
            together += probabilities[token]
            if together >= p:
                break
    return kept.view_as(logits)


def _without_the_last(logits: Tensor, p: float) -> Tensor:
    """As those do that stop before p is crossed; perhaps nothing stays."""
    kept = _top_p(logits, p)
    least = kept.masked_fill(~_kept(kept), INF).amin(-1, keepdim=True)
    return kept.masked_fill(kept == least, -INF)


def _in_sorted_places(logits: Tensor, p: float) -> Tensor:
    """The mask of the sorted tokens, laid over the unsorted ones."""
    number = _kept(_top_p(logits, p)).sum(-1, keepdim=True)
    return logits.masked_fill(torch.arange(logits.shape[-1]) >= number, -INF)


def _gathered(logits: Tensor, p: float) -> Tensor:
    """The mask brought back by `gather` where it takes `scatter`."""
    order = logits.argsort(-1, descending=True)
    number = _kept(_top_p(logits, p)).sum(-1, keepdim=True)
    spare = (torch.arange(logits.shape[-1]) >= number).expand_as(logits)
    return logits.masked_fill(spare.gather(-1, order), -INF)


def _is_cut_by(got: Tensor, logits: Tensor, *masks: Tensor) -> bool:
    """Whether one of these masks tells which logits stay, and the others are -inf."""
    return any(
        torch.equal(got, torch.where(mask, logits, -INF))
        for mask in masks
        if not mask.all()
    )


def _top_p_mistakes(logits: Tensor, p: float) -> tuple[Mistake, ...]:
    probabilities = logits.softmax(-1)
    right = _top_p(logits, p)
    sorted_logits = right.sort(-1, descending=True).values
    from_below = logits.sort(-1).values.softmax(-1).cumsum(-1)
    places = logits.argsort(-1).argsort(-1)  # the place of each token from below
    below = from_below.gather(-1, places)
    unsorted = probabilities.cumsum(-1)
    return (
        Mistake(
            "The mask is that of the *sorted* tokens, but it is laid over the unsorted "
            "ones. Bring it back to the tokens' own places first: `scatter`.",
            equals=_in_sorted_places(logits, p),
        ),
        Mistake(
            "The mask is brought back the wrong way. `gather` reads from the places, "
            "and here it must write to them: `mask.scatter(-1, places, mask)`, or "
            "gather with `places.argsort(-1)`.",
            equals=_gathered(logits, p),
        ),
        Mistake(
            "The logits are sorted: a place no longer tells which token it is. Bring "
            "them back to where they were.",
            equals=sorted_logits,
        ),
        Mistake(
            "The token that crosses p is cut, too. It stays: without it the others "
            "have less than p. Ask how much the tokens *before* it have.",
            equals=_without_the_last(logits, p),
        ),
        Mistake(
            "The sum begins with the *least* probable tokens, and so these stay. Sort "
            "with `descending=True`.",
            when=lambda got: _is_cut_by(
                got, logits, below <= p, below - probabilities < p, below < p
            ),
        ),
        Mistake(
            "A token stays if its *own* probability is at least p. Add up from the "
            "most probable one on.",
            equals=torch.where(probabilities >= p, logits, -INF),
        ),
        Mistake(
            "A token stays if its probability is at least 1 - p. Add up from the most "
            "probable one on.",
            equals=torch.where(probabilities >= 1 - p, logits, -INF),
        ),
        Mistake(
            "The probabilities are added in the order of the tokens. Sort them first, "
            "the most probable one in front.",
            when=lambda got: _is_cut_by(
                got, logits, unsorted <= p, unsorted - probabilities < p
            ),
        ),
        Mistake(
            "A row has no token left: its most probable one crosses p already. That "
            "one always stays.",
            when=_all_gone,
        ),
        *_cut_mistakes(logits, right),
    )


def keep_top_p() -> Iterator[Case]:
    # By probability the tokens are 2, 0, 4, 3, 1: an order that does not undo itself.
    row = torch.tensor([0.3, 0.05, 0.35, 0.1, 0.2]).log()
    yield Case(
        "probabilities 0.3, 0.05, 0.35, 0.1 and 0.2, and p = 0.6",
        args=(row, 0.6),
        expected=_top_p,
        any_device=True,
        mistakes=(
            Mistake(
                "Nothing is cut: the logits are as they were. Do you add up the logits "
                "themselves? Turn them into probabilities first: softmax.",
                equals=row,
            ),
            *_top_p_mistakes(row, 0.6),
        ),
    )
    # Chosen so that a sum of logits keeps other tokens than any other mistake does.
    shifted = row + 1.8
    shares = shifted.softmax(-1)
    order = shifted.argsort(descending=True)
    total = shifted[order].cumsum(-1)[order.argsort()]
    yield Case(
        "the same with p = 0.9, and 1.8 added to every logit, which changes nothing",
        args=(shifted, 0.9),
        expected=_top_p,
        mistakes=(
            Mistake(
                "The logits are added up themselves. Turn them into probabilities "
                "first: softmax.",
                when=lambda got: _is_cut_by(
                    got, shifted, total <= 0.9, total - shifted < 0.9
                ),
            ),
            Mistake(
                "Each token is compared with p times the most probable one. That is "
                "another way to cut, min-p. Add up from the most probable one on.",
                equals=torch.where(shares >= 0.9 * shares.max(), shifted, -INF),
            ),
            *_top_p_mistakes(shifted, 0.9),
        ),
    )
    rows = torch.tensor(
        [
            [0.02, 0.9, 0.01, 0.04, 0.03],
            [0.15, 0.2, 0.25, 0.18, 0.22],
            [0.35, 0.01, 0.02, 0.5, 0.12],
        ]
    ).log()
    yield Case(
        "three rows: one token, four and two are enough for p = 0.8",
        args=(rows, 0.8),
        expected=_top_p,
        mistakes=(
            Mistake(
                "The sum runs over the rows. The tokens are the last axis: dim=-1.",
                equals=_top_p(rows.mT, 0.8).mT,
            ),
            *_top_p_mistakes(rows, 0.8),
            Mistake(
                "All rows are treated like the first. Each has its own order and its "
                "own sum: dim=-1.",
                when=lambda got: (
                    got.shape == rows.shape
                    and bool((_kept(got) == _kept(got)[:1]).all())
                ),
            ),
            Mistake(
                "An index of one row does not fit the others. `scatter` along dim=-1 "
                "treats each row by itself.",
                raises=(RuntimeError, IndexError, ValueError),
            ),
        ),
    )
    sure = torch.tensor([[0.95, 0.03, 0.02], [0.1, 0.3, 0.6]]).log()
    yield Case(
        "p = 0.3, less than the most probable token has",
        args=(sure, 0.3),
        expected=_top_p,
        mistakes=_top_p_mistakes(sure, 0.3),
    )
    yield Case(
        "p = 0: the most probable token alone",
        args=(rows, 0.0),
        expected=_top_p,
        mistakes=(
            Mistake(
                "p = 0 leaves no token. One always stays, the most probable one.",
                when=_all_gone,
            ),
            Mistake(
                "p = 0 is allowed: it leaves one token.",
                raises=ValueError,
            ),
            *_top_p_mistakes(rows, 0.0),
        ),
    )
    yield Case(
        "p = 1: all tokens stay, in float64, three axes",
        args=(_random(2, 1, 7),),
        call=lambda answer, logits: answer(logits, 1.0),
        expected=_random(2, 1, 7),
        mistakes=(
            Mistake("p = 1 is allowed: all stay.", raises=ValueError),
            Mistake(
                "There may be any number of axes before the last. Name it from the "
                "end: dim=-1.",
                raises=(RuntimeError, IndexError),
            ),
            Mistake(
                "With p = 1 every token is needed. The least probable one is missing.",
                when=lambda got: bool((~_kept(got)).any()),
            ),
        ),
    )
    tiny = torch.tensor([0.0, -30.0, -31.0, -20.0])
    yield Case(
        "p = 1, and three tokens with almost nothing, in float32: all stay",
        args=(tiny, 1.0),
        expected=tiny,
        mistakes=(
            Mistake(
                "Rounding: the sum reaches 1 before the last token. Treat p = 1 by "
                "itself, and return all logits.",
                when=lambda got: _is_cut_by(got, tiny, _kept(got)),
            ),
        ),
    )
    even = torch.zeros(2, 4)
    yield Case(
        "four equal tokens, p = 0.5: any two of them have exactly that",
        args=(even, 0.5),
        judge=lambda got: _number_kept(got, 2),
        mistakes=(
            Mistake(
                "Two tokens have 0.5 together, which is *at least* p: the third is "
                "spare. Compare with `>=`.",
                when=lambda got: bool((_kept(got).sum(-1) == 3).all()),
            ),
            Mistake(
                "The tokens that equal the last one stay as well. Here the *fewest* "
                "that reach p are kept.",
                when=lambda got: bool((_kept(got).sum(-1) == 4).all()),
            ),
            Mistake(
                "One token is not enough: the second one brings them to p.",
                when=lambda got: bool((_kept(got).sum(-1) == 1).all()),
            ),
        ),
    )
    yield Case(
        "a token is cut already",
        args=(torch.tensor([[1.0, -INF, 0.9, -2.0]]), 0.6),
        expected=_top_p,
        mistakes=(
            Mistake(
                "A logit that is -inf stays -inf.",
                when=lambda got: bool(got.isnan().any()),
            ),
        ),
    )
    for p in (1.5, -0.1):
        yield Case(
            f"p = {p}: a ValueError",
            args=(row, p),
            call=lambda answer, logits, p: refusal(answer, logits, p),
            judge=is_refused,
            mistakes=refused(
                "p is a share of the probability. Raise a `ValueError` unless it is "
                "from 0 to 1."
            ),
        )


def _number_kept(got: Tensor, number: int) -> str | None:
    if got.shape != (2, 4):
        return f"The shape is {tuple(got.shape)}, expected (2, 4)."
    found = _kept(got).sum(-1).tolist()
    if found != [number, number]:
        return f"In the two rows {found[0]} and {found[1]} tokens stay, expected 2."
    if not bool((got[_kept(got)] == 0).all()):
        return "The logits that stay have changed."
    return None


EXERCISES = (
    Exercise(
        "gelu",
        difficulty=1,
        minutes=8,
        hints=(
            "How large a share of the normal distribution lies below x? That share, "
            "from 0 to 1, decides how much of x comes through.",
            "`torch.erf` runs from -1 to 1. Move it to 0 to 1, and mind what goes into "
            "it: x divided by the root of 2.",
            "share = (1 + torch.erf(x / math.sqrt(2))) / 2\nreturn x * share",
        ),
        cases=gelu,
    ),
    Exercise(
        "gelu_tanh",
        difficulty=1,
        minutes=6,
        hints=(
            "The formula is `gelu`'s, with tanh for erf. What goes into the tanh?",
            "First the sum x + 0.044715 x^3, then times sqrt(2 / pi), then tanh. "
            "The constant belongs to x^3 alone.",
            "inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)\n"
            "return x / 2 * (1 + torch.tanh(inner))",
        ),
        cases=gelu_tanh,
    ),
    Exercise(
        "FeedForward",
        difficulty=2,
        minutes=12,
        hints=(
            "Three steps for every vector by itself: wider, GELU, back to its width.",
            "`expand` is a linear layer from C to 4 C, `projection` one from 4 C to C, "
            "both with a bias. GELU, the form with tanh, stands between them.",
            "in __init__:\n    super().__init__()\n"
            "    self.expand = nn.Linear(width, 4 * width)\n"
            "    self.projection = nn.Linear(4 * width, width)\n"
            "in forward:\n    return self.projection(gelu_tanh(self.expand(x)))",
        ),
        cases=feed_forward,
    ),
    Exercise(
        "Block",
        difficulty=2,
        minutes=12,
        hints=(
            "The stream is only ever added to. What does each of the two layers read, "
            "and what becomes of what it returns?",
            "Pre-norm, twice: x = x + dropout(layer(norm(x))), each time with its own "
            "layer and its own norm. `attention_dropout` goes to the attention.",
            "in __init__:\n    super().__init__()\n"
            "    self.attention_norm = LayerNorm(width, eps)\n"
            "    self.attention = MultiHeadAttention(width, heads, context,\n"
            "                                        attention_dropout)\n"
            "    self.feed_forward_norm = LayerNorm(width, eps)\n"
            "    self.feed_forward = FeedForward(width)\n"
            "    self.dropout = nn.Dropout(dropout)\n"
            "in forward:\n"
            "    x = x + self.dropout(self.attention(self.attention_norm(x)))\n"
            "    the same with the feed-forward layer and its norm\n"
            "    return x",
        ),
        cases=block,
    ),
    Exercise(
        "GPT",
        difficulty=3,
        minutes=25,
        hints=(
            "Follow one text: ids, vectors, vectors after each block, normalised "
            "vectors, logits. Which of these steps has weights that another step has "
            "already?",
            "`embedding`, `dropout`, `blocks` in an `nn.ModuleList`, `norm`; the "
            "logits are `F.linear(x, self.embedding.token_embedding.weight)`. For the "
            "beginning go through `self.modules()`: draw the weight of every "
            "`nn.Linear` and `nn.Embedding`, set biases to 0, and only then draw both "
            "`projection`s of every block again, with the smaller deviation.",
            "in __init__:\n    super().__init__()\n    self.config = config\n"
            "    self.embedding = TokenAndPositionEmbedding(V, n_positions, C)\n"
            "    self.dropout = nn.Dropout(config.embd_pdrop)\n"
            "    self.blocks = nn.ModuleList(a new Block for each layer)\n"
            "    self.norm = LayerNorm(C, config.layer_norm_epsilon)\n"
            "    with torch.no_grad():\n"
            "        for module in self.modules():\n"
            "            Linear or Embedding: module.weight.normal_(0, std)\n"
            "            Linear: module.bias.zero_()\n"
            "        small = std / math.sqrt(2 * config.n_layer)\n"
            "        for block in self.blocks:\n"
            "            block.attention.projection.weight.normal_(0, small)\n"
            "            block.feed_forward.projection.weight.normal_(0, small)\n"
            "in forward:\n"
            "    if T > config.n_positions: raise ValueError\n"
            "    x = self.dropout(self.embedding(ids))\n"
            "    for block in self.blocks: x = block(x)\n"
            "    return F.linear(self.norm(x), the token table)",
        ),
        cases=gpt,
    ),
    Exercise(
        "gpt_parameters",
        difficulty=2,
        minutes=12,
        hints=(
            "Make a list of all parts with weights: two tables, the parts of a block, "
            "what comes after the last block. What is the shape of each?",
            "A linear layer from n to m has n * m + m numbers, a norm has 2 C. A block "
            "has four linear layers and two norms. The output has no table of its own.",
            "C = config.n_embd\n"
            "tables = (vocab_size + n_positions) * C\n"
            "attention = (3 C * C + 3 C) + (C * C + C)\n"
            "feed_forward = (4 C * C + 4 C) + (4 C * C + C)\n"
            "block = attention + feed_forward + two norms of 2 C each\n"
            "return tables + n_layer * block + one last norm",
        ),
        cases=gpt_parameters,
    ),
    Exercise(
        "keep_top_k",
        difficulty=1,
        minutes=8,
        hints=(
            "Which logit is the smallest that may stay? Everything below it goes.",
            "`logits.topk(k, dim=-1).values` is sorted, the largest first; its last "
            "one, with its axis, is the limit of each row. `masked_fill` cuts.",
            "if k < 1: raise ValueError\n"
            "k = min(k, logits.shape[-1])\n"
            "limit = logits.topk(k, dim=-1).values[..., -1:]    # (..., 1)\n"
            "return logits.masked_fill(logits < limit, -math.inf)",
        ),
        cases=keep_top_k,
    ),
    Exercise(
        "keep_top_p",
        difficulty=3,
        minutes=18,
        hints=(
            "Line the tokens up, the most probable one first. A token is spare if "
            "those before it have p already. How much do those before it have?",
            "`logits.sort(dim=-1, descending=True)` gives sorted logits and the places "
            "they came from. With the probabilities of the sorted ones, `cumsum` minus "
            "the token's own share is what those before it have. `scatter` writes the "
            "mask to the tokens' own places.",
            "if p is not from 0 to 1: raise ValueError\n"
            "if p == 1: return a copy of logits    # all stay, whatever is rounded\n"
            "ordered, places = logits.sort(dim=-1, descending=True)\n"
            "shares = ordered.softmax(-1)\n"
            "before = shares.cumsum(-1) - shares\n"
            "spare = before >= p\n"
            "spare[..., 0] = False    # one always stays\n"
            "spare = spare.scatter(-1, places, spare)\n"
            "return logits.masked_fill(spare, -math.inf)",
        ),
        cases=keep_top_p,
    ),
)
