"""What the answers of "Attention" must satisfy.

Oracles: shares worked out on paper, `torch.softmax`, torch's automatic gradients and
`F.scaled_dot_product_attention`. No two sizes are equal where a mix-up could hide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from course.case import Case, Complaint, Exercise, Mistake, build


def _random(*shape: int, seed: int, size: float = 1.0) -> Tensor:
    """Normal numbers in float64, so that only real mistakes differ."""
    generator = torch.Generator().manual_seed(seed)
    return size * torch.randn(shape, generator=generator, dtype=torch.float64)


def _exact(numbers: list) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def _is_nan(got: Tensor) -> bool:
    return bool(got.isnan().any())


def _sums_to_one(got: Tensor, dim: int | tuple[int, ...]) -> bool:
    sums = got.sum(dim)
    return torch.allclose(sums, torch.ones_like(sums), atol=1e-4)


# Softmax


def softmax() -> Iterator[Case]:
    scores = torch.tensor([1.0, 2.0, 5.0]).log()
    overflow = (
        "The result is NaN: `exp` of a large score is inf, and inf / inf has no value. "
        "Subtract the *largest* score of the row before `exp`; that changes no share."
    )
    two_things = Mistake(
        "`x.max(dim=...)` returns two things, values and indices. `x.amax` returns the "
        "values only.",
        raises=(TypeError, AttributeError),
    )
    yield Case(
        "the logarithms of 1, 2 and 5",
        args=(scores,),
        # exp gives 1, 2, 5 back; together they are 8.
        expected=torch.tensor([0.125, 0.25, 0.625]),
        mistakes=(
            Mistake(
                "`exp` is there, the division is not: divide by the sum of all `exp`.",
                when=lambda got: (
                    (got - got.max() * torch.tensor([0.2, 0.4, 1])).norm() < 1e-4
                    and got.sum() > 1.1
                ),
            ),
            Mistake(
                "The scores are divided by their own sum. Take `exp` first: shares are "
                "positive, and scores need not be.",
                equals=scores / scores.sum(),
            ),
            Mistake(
                "These are the *logarithms* of the shares. Leave the last `log` out.",
                equals=torch.tensor([0.125, 0.25, 0.625]).log(),
            ),
            Mistake(
                "The largest score gets the smallest share: a sign is wrong. "
                "`exp(x - largest)`, not `exp(largest - x)`.",
                equals=torch.tensor([10.0, 5.0, 2.0]) / 17,
            ),
            Mistake(
                "Only the largest score counts. That is a maximum; a softmax gives "
                "every score a share.",
                equals=torch.tensor([0.0, 0.0, 1.0]),
            ),
            Mistake(overflow, when=_is_nan),
            two_things,
        ),
    )
    rows = torch.tensor([[1.0, 3.0, 4.0], [6.0, 1.0, 1.0]]).log()
    yield Case(
        "two rows",
        args=(rows,),
        expected=torch.tensor([[0.125, 0.375, 0.5], [0.75, 0.125, 0.125]]),
        mistakes=(
            Mistake(
                "All six shares together sum to 1. Each *row* has its own sum: "
                "`sum(dim=dim, keepdim=True)`.",
                when=lambda got: _sums_to_one(got, (0, 1)),
            ),
            Mistake(
                "Each *column* sums to 1. The sum goes along `dim`, here the last "
                "axis: along a row.",
                when=lambda got: _sums_to_one(got, 0),
            ),
            Mistake(
                "What is subtracted is the largest of each *column*, so the scores of "
                "a row move against each other. Take the largest along `dim`.",
                equals=torch.softmax(rows - rows.amax(0), -1),
            ),
            Mistake(
                "The sums of two rows cannot divide three columns: keep the axis with "
                "`keepdim=True`, so that they are (2, 1).",
                raises=RuntimeError,
                mentions="must match",
            ),
            two_things,
        ),
    )
    cube = _random(2, 3, 5, seed=1)
    for dim in (1, 0):
        yield Case(
            f"along another axis: dim={dim} of three",
            args=(cube,),
            kwargs={"dim": dim},
            expected=lambda x, dim: torch.softmax(x, dim),
            mistakes=(
                Mistake(
                    "The shares sum to 1 along another axis than `dim`. Hand `dim` on, "
                    "to the sum and to the largest score.",
                    when=lambda got: any(_sums_to_one(got, d) for d in (0, 1, 2)),
                ),
                Mistake(
                    "Hand `dim` on to the sum and to the largest score, both with "
                    "`keepdim=True`.",
                    when=lambda got: True,
                ),
                Mistake(
                    "The axes do not fit: hand `dim` on to the sum and to the largest "
                    "score, both with `keepdim=True`.",
                    raises=(RuntimeError, IndexError),
                ),
            ),
        )
    yield Case(
        "scores of three thousand",
        args=(_exact([3000, 3001, 0]),),
        expected=_exact([1, math.e, 0]) / (1 + math.e),
        mistakes=(
            Mistake(overflow, when=_is_nan),
            Mistake(
                "Two scores that differ by 1 get equal shares: something cuts large "
                "scores off. Subtract the largest instead; the differences stay.",
                when=lambda got: abs(got[0] - got[1]) < 1e-6,
            ),
        ),
    )
    yield Case(
        "scores far below zero, and rows far apart",
        args=(_exact([[-1000, -1001], [1000, 1002]]),),
        expected=_exact([[math.e, 1], [1, math.e**2]])
        / _exact([[1 + math.e], [1 + math.e**2]]),
        mistakes=(
            Mistake(
                "A row is lost: next to 1002, every `exp` of it underflows to 0, and "
                "0 / 0 is NaN. Subtract from each row its *own* largest score: "
                "`x.amax(dim=dim, keepdim=True)`.",
                when=_is_nan,
            ),
            Mistake(
                "The first row sums to less than 1: its `exp` underflow to 0. "
                "Subtract from each row its own largest score, along `dim`.",
                when=lambda got: got[0].sum() < 0.9,
            ),
        ),
    )
    yield Case(
        "a score of -inf gets nothing",
        args=(torch.tensor([-math.inf, 0.0, math.log(3.0)]),),
        expected=torch.tensor([0.0, 0.25, 0.75]),
        mistakes=(
            Mistake(
                "-inf is a score, too: `exp(-inf)` is 0. NaN comes from -inf minus "
                "-inf, or from 0 times inf: subtract the largest score, nothing else.",
                when=_is_nan,
            ),
        ),
    )
    yield Case(
        "the gradient",
        args=(_random(3, 5, seed=2),),
        expected=lambda x: torch.softmax(x, -1),
        gradient=True,
        any_device=True,
    )


# Its gradient


def _torch_gradient(weights: Tensor, upstream: Tensor) -> Tensor:
    """What torch finds: the scores are the logarithms of their softmax."""
    with torch.enable_grad():
        scores = weights.log().requires_grad_(True)
        (found,) = torch.autograd.grad(torch.softmax(scores, -1), scores, upstream)
    return found


def softmax_gradient() -> Iterator[Case]:
    weights = torch.tensor([0.5, 0.25, 0.25])
    upstream = torch.tensor([4.0, 0.0, 4.0])
    yield Case(
        "three weights, worked out on paper",
        args=(weights, upstream),
        # The average of the gradients is 2 + 0 + 1 = 3; then 0.5 (4 - 3), and so on.
        expected=torch.tensor([0.5, -0.75, 0.25]),
        mistakes=(
            Mistake(
                "A score changes the other weights, too, because they share a sum. "
                "Subtract the weighted average of the gradients first.",
                equals=weights * upstream,
            ),
            Mistake(
                "That is each weight's change with its *own* score, w (1 - w). A score "
                "also moves all the other weights, by -w_i w_j.",
                equals=weights * (1 - weights) * upstream,
            ),
            Mistake(
                "The plain mean is subtracted. Take the *weighted* average: the sum of "
                "weights times gradients.",
                equals=weights * (upstream - upstream.mean()),
            ),
            Mistake(
                "The plain sum is subtracted. Take the *weighted* average: the sum of "
                "weights times gradients.",
                equals=weights * (upstream - upstream.sum()),
            ),
            Mistake(
                "The sign is turned: it is the gradient minus the average.",
                equals=torch.tensor([-0.5, 0.75, -0.25]),
            ),
            Mistake(
                "The factor w_i in front is missing: multiply by the weight.",
                equals=upstream - 3.0,
            ),
            Mistake(
                "The average is taken away after the weight has multiplied: a bracket "
                "is missing. w_i * (g_i - average).",
                equals=weights * upstream - 3.0,
            ),
            Mistake(
                "The softmax is taken again. `weights` are shares already.",
                equals=_torch_gradient(weights.softmax(-1), upstream),
            ),
        ),
    )
    many, more = torch.softmax(_random(2, 3, 5, seed=3), -1), _random(2, 3, 5, seed=4)
    yield Case(
        "many rows at once",
        args=(many, more),
        expected=_torch_gradient,
        any_device=True,
        mistakes=(
            Mistake(
                "One average for all rows. Each row has its own: sum over the last "
                "axis with `keepdim=True`.",
                equals=many * (more - (many * more).sum()),
            ),
            Mistake(
                "The average runs down the columns. A row of weights is one softmax: "
                "sum over `dim=-1`.",
                equals=many * (more - (many * more).sum(-2, keepdim=True)),
            ),
            Mistake(
                "The averages do not line up with the rows: keep their axis with "
                "`keepdim=True`.",
                raises=RuntimeError,
            ),
        ),
    )
    yield Case(
        "one weight is 1: nothing can change",
        args=(torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([[3.0, -2.0, 7.0]])),
        expected=torch.zeros(1, 3),
        mistakes=(
            Mistake(
                "A weight may be 0: there is no need to take its logarithm, or to "
                "divide by it.",
                when=lambda got: not got.isfinite().all(),
            ),
        ),
    )


# Attention weights


def _weights(queries: Tensor, keys: Tensor) -> Tensor:
    scale = 1 / math.sqrt(queries.shape[-1])
    return torch.softmax(queries @ keys.transpose(-2, -1) * scale, -1)


NO_SCALE = (
    "The scale is missing: divide the scores by the square root of D, the width of a "
    "query, before the softmax."
)
TOO_SMALL = (
    "The scores are divided by D itself. Once by its square *root* is enough: is the "
    "root missing, or are they scaled twice?"
)
OVERFLOW = (
    "The result is NaN: `exp` overflows on large scores. Use `softmax`, which "
    "subtracts the largest score of each row."
)
LAST_AXES = Mistake(
    "There may be any number of axes in front, also none. Count from the end: "
    "`keys.transpose(-2, -1)`, and the softmax along `dim=-1`.",
    raises=(RuntimeError, IndexError, ValueError),
)


def attention_weights() -> Iterator[Case]:
    turned = Mistake(
        "The shapes do not fit. Every query meets every key in one product: (T, D) "
        "times (D, S). So the keys change their last two axes: "
        "`keys.transpose(-2, -1)`.",
        raises=(RuntimeError, IndexError),
    )
    query = torch.tensor([[[2.0, 0.0, 0.0, 0.0]]])
    keys = torch.tensor([[[0.0, 9, 9, 9], [math.log(3), -9, 9, 9]]])
    product = torch.tensor([[[0.0, 2 * math.log(3)]]])
    yield Case(
        "one query and two keys, worked out on paper",
        args=(query, keys),
        # D = 4: the products 0 and 2 ln 3 become 0 and ln 3, and exp gives 1 and 3.
        expected=torch.tensor([[[0.25, 0.75]]]),
        mistakes=(
            turned,
            # 2 ln 3 without the root: exp gives 1 and 9.
            Mistake(NO_SCALE, equals=torch.tensor([[[0.1, 0.9]]])),
            Mistake(TOO_SMALL, equals=torch.softmax(product / 4, -1)),
            Mistake(
                "The scores are *multiplied* by the root of D. Divide: they must "
                "become smaller.",
                equals=torch.softmax(product * 2, -1),
            ),
            Mistake(
                "These are the scores. The softmax along the last axis is still to "
                "come.",
                equals=product / 2,
            ),
            Mistake(
                "The scale comes after the softmax, so the row sums to 1/2. Scale the "
                "scores first.",
                equals=torch.tensor([[[0.05, 0.45]]]),
            ),
            Mistake(
                "Every weight is 1: the softmax runs along the queries, and here is "
                "only one. It goes along the keys: `dim=-1`.",
                equals=torch.ones(1, 1, 2),
            ),
            Mistake(
                "The root is of the number of keys or of queries. It is of D, the "
                "width of a query: `queries.shape[-1]`.",
                equals=torch.softmax(product / math.sqrt(2), -1),
            ),
            Mistake(
                "There is a row for each key. Queries come first: `queries @ keys` "
                "with the keys turned, (T, D) times (D, S).",
                when=lambda got: got.shape == (1, 2, 1),
            ),
            Mistake(
                "The keys' lengths should count, too: the score is the plain product, "
                "not the cosine.",
                equals=torch.softmax(
                    F.normalize(query, dim=-1)
                    @ F.normalize(keys, dim=-1).transpose(-2, -1),
                    -1,
                ),
            ),
        ),
    )
    three, five = _random(2, 3, 7, seed=5), _random(2, 5, 7, seed=6)
    scores = three @ five.transpose(-2, -1) / math.sqrt(7)
    yield Case(
        "two texts, three queries, five keys",
        args=(three, five),
        expected=_weights,
        any_device=True,
        mistakes=(
            turned,
            Mistake(
                "Each *column* sums to 1: the softmax runs along the queries. Each "
                "query shares out its own attention: `dim=-1`, every row sums to 1.",
                equals=torch.softmax(scores, -2),
            ),
            Mistake(
                "The softmax runs across the texts of the batch. They have nothing to "
                "do with each other: `dim=-1`.",
                equals=torch.softmax(scores, 0),
            ),
            Mistake(
                "There is a row for each key. A row belongs to a *query*: queries "
                "first, `queries @ keys.transpose(-2, -1)`.",
                when=lambda got: got.shape == (2, 5, 3),
            ),
            Mistake(
                "The root is of T, the number of queries. It is of D, the width of a "
                "query: `queries.shape[-1]`.",
                equals=torch.softmax(scores * math.sqrt(7 / 3), -1),
            ),
            Mistake(
                "The root is of S, the number of keys. It is of D, the width of a "
                "query: `queries.shape[-1]`.",
                equals=torch.softmax(scores * math.sqrt(7 / 5), -1),
            ),
            Mistake(
                "The root of 4 is written as a number. D is the width of the queries "
                "you are given: `queries.shape[-1]`.",
                equals=torch.softmax(scores * math.sqrt(7) / 2, -1),
            ),
            Mistake(NO_SCALE, equals=torch.softmax(scores * math.sqrt(7), -1)),
        ),
    )
    yield Case(
        "no batch",
        args=(_random(3, 7, seed=7), _random(5, 7, seed=8)),
        expected=_weights,
        mistakes=(LAST_AXES,),
    )
    yield Case(
        "two axes in front of T",
        args=(_random(2, 3, 5, 7, seed=9), _random(2, 3, 11, 7, seed=10)),
        expected=_weights,
        mistakes=(LAST_AXES,),
    )
    yield Case(
        "scores in the thousands",
        args=(_random(1, 3, 2, seed=11, size=100), _random(1, 5, 2, seed=12, size=100)),
        expected=_weights,
        mistakes=(Mistake(OVERFLOW, when=_is_nan),),
    )
    yield Case(
        "the gradients",
        args=(_random(2, 3, 7, seed=13), _random(2, 5, 7, seed=14)),
        expected=_weights,
        gradient=True,
    )


# Attention


def _plain(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(queries, keys, values)


def scaled_dot_product_attention() -> Iterator[Case]:
    yield Case(
        "weights of 1/4 and 3/4",
        args=(
            torch.tensor([[[2.0, 0.0, 0.0, 0.0]]]),
            torch.tensor([[[0.0, 9, 9, 9], [math.log(3), -9, 9, 9]]]),
            torch.tensor([[[0.0, 4.0, 8.0, 1.0], [8.0, 0.0, 4.0, 1.0]]]),
        ),
        # 1/4 of the first value and 3/4 of the second.
        expected=torch.tensor([[[6.0, 1.0, 5.0, 1.0]]]),
        mistakes=(
            Mistake(
                "These are the weights. The values are still to be averaged: weights "
                "times values, a matrix product.",
                equals=torch.tensor([[[0.25, 0.75]]]),
            ),
            Mistake(
                "The values are not yet added up: `weights @ values`, a matrix "
                "product, does both.",
                when=lambda got: got.shape[-2:] == (2, 4),
            ),
            Mistake(NO_SCALE, equals=torch.tensor([[[7.2, 0.4, 4.4, 1.0]]])),
            Mistake(
                "The scores are scaled twice. `attention_weights` has the scale in it.",
                # 2 ln 3 divided by 4: exp gives 1 and the root of 3.
                when=lambda got: abs(got[..., 0] - 8 * 3**0.5 / (1 + 3**0.5)) < 1e-4,
            ),
            Mistake(
                "The result is divided once more. `attention_weights` has the scale "
                "in it; the average of the values needs none.",
                equals=torch.tensor([[[3.0, 0.5, 2.5, 0.5]]]),
            ),
            Mistake(
                "The keys are averaged. The weights come from the keys, what is "
                "averaged are the *values*.",
                when=lambda got: abs(got[..., 0] - 0.75 * math.log(3)) < 1e-4,
            ),
            Mistake(
                "The shapes do not fit: weights (T, S) times values (S, D). Or have "
                "queries and keys changed places?",
                raises=RuntimeError,
            ),
        ),
    )
    q, k, v = (_random(2, 3, 7, seed=seed) for seed in (15, 16, 17))
    yield Case(
        "as many queries as keys",
        args=(q, k, v),
        expected=_plain,
        any_device=True,
        mistakes=(
            Mistake(
                "Queries and keys are mixed up: the *queries* ask, one row of weights "
                "each. `attention_weights(queries, keys)`.",
                equals=_plain(k, q, v),
            ),
            Mistake(
                "The weights are turned around. Row t of the weights belongs to query "
                "t: `weights @ values`, without transposing.",
                equals=_weights(q, k).transpose(-2, -1) @ v,
            ),
            Mistake("The keys are averaged: use the values.", equals=_plain(q, k, k)),
            Mistake(
                "Keys and values are mixed up: the weights come from the keys.",
                equals=_plain(q, v, k),
            ),
            Mistake(TOO_SMALL, equals=_plain(q / math.sqrt(7), k, v)),
            Mistake(NO_SCALE, equals=_plain(q * math.sqrt(7), k, v)),
            Mistake(
                "The columns of the weights sum to 1, not the rows: softmax along "
                "`dim=-1`.",
                equals=torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(7), -2) @ v,
            ),
        ),
    )
    yield Case(
        "three queries, five keys, and values of another width",
        args=(
            _random(2, 3, 7, seed=18),
            _random(2, 5, 7, seed=19),
            _random(2, 5, 11, seed=20),
        ),
        expected=_plain,
        mistakes=(
            Mistake(
                "The shapes do not fit: weights (T, S) times values (S, ...). The "
                "values may be wider than the keys.",
                raises=RuntimeError,
            ),
            Mistake(
                "The keys are averaged: use the values.",
                when=lambda got: got.shape == (2, 3, 7),
            ),
        ),
    )
    yield Case(
        "no batch",
        args=(_random(2, 5, seed=21), _random(3, 5, seed=22), _random(3, 5, seed=23)),
        expected=_plain,
        mistakes=(LAST_AXES,),
    )
    yield Case(
        "scores in the thousands",
        args=tuple(
            _random(1, n, 2, seed=26 + i, size=100) for i, n in enumerate((3, 5, 5))
        ),
        expected=_plain,
        mistakes=(Mistake(OVERFLOW, when=_is_nan),),
    )
    yield Case(
        "two axes in front, and the gradients",
        args=tuple(_random(2, 3, n, 7, seed=41 + i) for i, n in enumerate((2, 5, 5))),
        expected=_plain,
        gradient=True,
        mistakes=(LAST_AXES,),
    )


# Self-attention


def _linears(x: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return _plain(F.linear(x, query), F.linear(x, key), F.linear(x, value))


def _module(cls: type, width: int, head_width: int, names: dict[str, Tensor]):
    """The reader's module with these weights.

    Raises:
        Complaint: if a layer has a bias, another name or another shape.
    """
    plain = cls(width, head_width)
    for name, weight in getattr(plain, "named_parameters", dict)():
        if name.endswith(".bias"):
            raise Complaint(
                f"There is a parameter `{name}`. The three layers have no bias: "
                "`nn.Linear(width, head_width, bias=False)`."
            )
        if name == "query.weight" and weight.shape == (width, head_width):
            raise Complaint(
                f"`{name}` has shape {(width, head_width)}, expected "
                f"{(head_width, width)}. `nn.Linear` is told first how many numbers "
                "come in: `nn.Linear(width, head_width, bias=False)`."
            )
    return build(cls, width, head_width, state=names)


def _attended(
    cls: type, x: Tensor, query: Tensor, key: Tensor, value: Tensor
) -> Tensor:
    """Call the reader's module on x, with the given tensors as its weights."""
    state = {"query.weight": query, "key.weight": key, "value.weight": value}
    module = _module(
        cls,
        query.shape[1],
        query.shape[0],
        {
            name: torch.zeros_like(weight, device="cpu")
            for name, weight in state.items()
        },
    )
    return torch.func.functional_call(module, state, (x,))


def self_attention() -> Iterator[Case]:
    x = _random(2, 3, 5, seed=51)  # B = 2, T = 3, C = 5
    query, key, value = (_random(7, 5, seed=seed) for seed in (52, 53, 54))  # D = 7
    q, k, v = (F.linear(x, weight) for weight in (query, key, value))
    yield Case(
        "two texts of three tokens, from 5 channels to 7",
        args=(x, query, key, value),
        call=_attended,
        expected=_linears,
        any_device=True,
        mistakes=(
            Mistake(
                "Queries and keys are mixed up: `query` makes what asks, `key` what is "
                "asked.",
                equals=_plain(k, q, v),
            ),
            Mistake(
                "The values are made by the layer `key`. They have one of their own: "
                "`self.value(x)`.",
                equals=_plain(q, k, k),
            ),
            Mistake("Keys and values are mixed up.", equals=_plain(q, v, k)),
            Mistake(
                "One layer makes both queries and keys. Each has its own.",
                when=lambda got: any(
                    torch.allclose(got, _plain(a, a, v)) for a in (q, k)
                ),
            ),
            Mistake(NO_SCALE, equals=_plain(q * math.sqrt(7), k, v)),
            Mistake(TOO_SMALL, equals=_plain(q / math.sqrt(7), k, v)),
            Mistake(
                "The scale is the root of the width C that comes in. It is the root of "
                "D, the width of a query.",
                equals=_plain(q * math.sqrt(7 / 5), k, v),
            ),
            Mistake(
                "The softmax runs along the queries. Every row sums to 1: `dim=-1`.",
                equals=torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(7), -2) @ v,
            ),
            Mistake(
                "The inputs are averaged as they are. What is averaged are the values, "
                "`self.value(x)`, with D channels.",
                when=lambda got: got.shape == (2, 3, 5),
            ),
            Mistake(
                "`x` was added to something of another width. This layer returns the "
                "average alone.",
                raises=RuntimeError,
            ),
            Mistake(
                "The future is hidden. That is the next chapter; here every position "
                "looks at every position.",
                equals=F.scaled_dot_product_attention(q, k, v, is_causal=True),
            ),
        ),
    )
    yield Case(
        "a text of one token looks at itself",
        args=(_random(2, 1, 5, seed=55), query, key, value),
        call=_attended,
        expected=_linears,
    )

    def again(cls: type, x: Tensor, other: Tensor) -> Tensor:
        state = {"query.weight": query, "key.weight": key, "value.weight": value}
        module = _module(cls, 5, 7, state)
        torch.func.functional_call(module, state, (x,))
        return torch.func.functional_call(module, state, (other,))

    other = _random(2, 3, 5, seed=56)
    yield Case(
        "two inputs, one after the other",
        args=(x, other),
        call=again,
        expected=lambda x, other: _linears(other, query, key, value),
        mistakes=(
            Mistake(
                "The second input gets the weights of the first. They are computed "
                "anew from every input: keep nothing between two calls.",
                when=lambda got: True,
            ),
        ),
    )
    yield Case(
        "a width of 3 and a head of 2, and the gradients",
        args=(
            _random(2, 5, 3, seed=57),
            *(_random(2, 3, seed=seed) for seed in (58, 59, 60)),
        ),
        call=_attended,
        expected=_linears,
        gradient=True,
    )


# A test of attention


def _by_einsum(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    shares = torch.einsum("...td,...sd->...ts", q / math.sqrt(q.shape[-1]), k)
    return torch.einsum("...ts,...sd->...td", shares.softmax(-1), v)


def _by_loop(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    rows = []
    for t in range(q.shape[-2]):
        scores = (q[..., t : t + 1, :] * k).sum(-1) * q.shape[-1] ** -0.5
        shares = (scores - scores.amax(-1, keepdim=True)).exp()  # (..., S)
        total = sum(shares[..., s, None] * v[..., s, :] for s in range(k.shape[-2]))
        rows.append(total / shares.sum(-1, keepdim=True))
    return torch.stack(rows, dim=-2)


def _sharing_along(dim: int) -> Callable:
    def candidate(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        return torch.softmax(scores, dim) @ v

    return candidate


def _scores_divided_by(divisor: Callable[[Tensor, Tensor], float]) -> Callable:
    def candidate(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return torch.softmax(q @ k.transpose(-2, -1) / divisor(q, k), -1) @ v

    return candidate


def _overflowing(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    shares = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).exp()
    return shares / shares.sum(-1, keepdim=True) @ v


def _of_the_first_text(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _plain(q, k[:1].expand_as(k), v) if k.dim() > 2 else _plain(q, k, v)


SIZES = (
    "Give every size another number, such as T = 3, S = 5 and D = 7: where two are "
    "equal, a mix-up of the two cannot show. And keep the tolerance small."
)
THREE = (
    "Give queries, keys and values of their own. With the same tensor three times, no "
    "mix-up of the three can show."
)
BROKEN: tuple[tuple[str, Callable, str], ...] = (
    (
        "the plain mean of the values",
        lambda q, k, v: v.mean(-2, keepdim=True).expand(*q.shape[:-1], v.shape[-1]),
        "Your test accepts a plain mean, with no attention in it. If all rows of the "
        "inputs are alike, all averages are: use random numbers.",
    ),
    (
        "without the scale",
        _scores_divided_by(lambda q, k: 1.0),
        "Your test accepts scores without a scale. Compare with right results on "
        "random inputs with D greater than 1.",
    ),
    (
        "divided by D itself",
        _scores_divided_by(lambda q, k: q.shape[-1]),
        "Your test accepts scores divided by D. Compare with right results on random "
        "inputs with D greater than 1.",
    ),
    (
        "divided by the root of the number of queries",
        _scores_divided_by(lambda q, k: math.sqrt(q.shape[-2])),
        f"Your test accepts the root of T for the root of D. {SIZES}",
    ),
    (
        "divided by the root of the number of keys",
        _scores_divided_by(lambda q, k: math.sqrt(k.shape[-2])),
        f"Your test accepts the root of S for the root of D. {SIZES}",
    ),
    (
        "the softmax along the queries",
        _sharing_along(-2),
        "Your test accepts weights whose columns sum to 1. Compare with right results "
        "on random inputs.",
    ),
    (
        "the keys are averaged, not the values",
        lambda q, k, v: _plain(q, k, k),
        f"Your test accepts an average of the keys. {THREE}",
    ),
    (
        "the roles of queries and keys exchanged",
        lambda q, k, v: _plain(k, q, v),
        f"Your test accepts queries and keys exchanged. {THREE}",
    ),
    (
        "every text is given the keys of the first one",
        _of_the_first_text,
        "Your test accepts a mix-up of texts. With one text in the batch it cannot "
        "show: take B = 2 or more.",
    ),
    (
        "1 percent off",
        _scores_divided_by(lambda q, k: 1.01 * math.sqrt(q.shape[-1])),
        "Your test accepts scores that are 1 percent off: its tolerance is too wide. "
        "The defaults of `torch.allclose` are right for random inputs.",
    ),
    (
        "an axis too many",
        lambda q, k, v: _plain(q, k, v).unsqueeze(0),
        "Your test accepts a wrong shape: `torch.allclose` stretches shapes that "
        "differ. Compare the shapes first.",
    ),
    (
        "it raises an exception",
        lambda q, k, v: _plain(q, k.transpose(-2, -1).unsqueeze(-1), v),
        "Your test accepts a candidate that raises.",
    ),
    (
        "no largest score subtracted",
        _overflowing,
        "Your test accepts a softmax that overflows. Try large scores, too: inputs a "
        "hundred times as large. Does your loop go through all of them before it "
        "returns True? And NaN must count as different.",
    ),
)


def is_attention() -> Iterator[Case]:
    one_bool = Mistake(
        "Return a plain True or False: a tensor becomes one by `bool(...)`.",
        when=lambda got: isinstance(got, Tensor),
    )
    yield Case(
        "a right candidate: torch's own",
        args=(_plain,),
        expected=True,
        mistakes=(
            Mistake(
                "Your test rejects PyTorch's own attention. Does it ever return True? "
                "If it compares with a formula of yours, the last digits differ: use "
                "`torch.allclose`, not `==`, and float64 for large scores.",
                equals=False,
            ),
            one_bool,
        ),
    )
    for title, candidate in (
        ("written with einsum", _by_einsum),
        ("written as a loop", _by_loop),
    ):
        yield Case(
            f"a right candidate: {title}",
            args=(candidate,),
            expected=True,
            mistakes=(
                Mistake(
                    "Your test rejects a right one. It adds in another order, so the "
                    "last digits differ: compare with `torch.allclose`, not with "
                    "`==`; with large scores, do it in float64.",
                    equals=False,
                ),
                one_bool,
            ),
        )
    for title, candidate, hint in BROKEN:
        yield Case(
            f"a broken candidate: {title}",
            args=(candidate,),
            expected=False,
            mistakes=(
                Mistake(hint, equals=True),
                Mistake(
                    "Your test stops at a candidate of another shape, or at one that "
                    "raises: neither is attention, so return False. Compare the "
                    "shapes first, and call the candidate inside `try`.",
                    raises=Exception,
                ),
                one_bool,
            ),
        )


EXERCISES = (
    Exercise(
        "softmax",
        difficulty=1,
        minutes=12,
        hints=(
            "First make every score positive, then make them sum to 1. Which number "
            "can you subtract from all scores of a row so that none is above 0?",
            "Subtract `x.amax(dim=dim, keepdim=True)`, take `exp`, and divide by the "
            "sum along `dim`, also with `keepdim=True`.",
            "largest = amax of x along dim, axis kept\ne = exp(x - largest)\n"
            "return e / sum of e along dim, axis kept",
        ),
        cases=softmax,
    ),
    Exercise(
        "softmax_gradient",
        difficulty=2,
        minutes=15,
        hints=(
            "All weights share one sum: if one score goes up, its weight goes up and "
            "the others go down. So a gradient counts only by how far it is from the "
            "average one.",
            "The average is weighted: the sum over j of w_j g_j, for each row. "
            "Subtract it from every g_i and multiply by w_i.",
            "average = sum of weights * upstream over the last axis, axis kept\n"
            "return weights * (upstream - average)",
        ),
        cases=softmax_gradient,
    ),
    Exercise(
        "attention_weights",
        difficulty=2,
        minutes=12,
        hints=(
            "One matrix product compares all queries with all keys. Which two axes of "
            "the keys must change places?",
            "(…, T, D) times (…, D, S) is (…, T, S). Divide by the square root of D, "
            "the last size of the queries. Each row becomes shares: `softmax`.",
            "scores = queries @ keys.transpose(-2, -1) / sqrt(queries.shape[-1])\n"
            "return softmax(scores, dim=-1)",
        ),
        cases=attention_weights,
    ),
    Exercise(
        "scaled_dot_product_attention",
        difficulty=1,
        minutes=8,
        hints=(
            "You have the weights. A weighted average of rows is a matrix product.",
            "Weights (…, T, S) times values (…, S, D) is (…, T, D). The scale and the "
            "softmax are in `attention_weights` already.",
            "return attention_weights(queries, keys) @ values",
        ),
        cases=scaled_dot_product_attention,
    ),
    Exercise(
        "SelfAttention",
        difficulty=2,
        minutes=15,
        hints=(
            "Three layers turn the same x into three things. What goes where is in the "
            "formula above the cell.",
            "In `__init__`: `super().__init__()`, then three "
            "`nn.Linear(width, head_width, bias=False)`, called `query`, `key` and "
            "`value`. In `forward`: apply each to x, then attend.",
            "in __init__:\n    super().__init__()\n"
            "    self.query, self.key, self.value = three linear layers\n"
            "in forward:\n    return scaled_dot_product_attention(\n"
            "        self.query(x), self.key(x), self.value(x))",
        ),
        cases=self_attention,
    ),
    Exercise(
        "is_attention",
        difficulty=3,
        minutes=25,
        hints=(
            "Compare the candidate with an implementation you trust. On which inputs "
            "would each of the three broken ones still look right?",
            "Random inputs, with B, T, S and D all different and more than 1, and "
            "three different tensors; then the same inputs a hundred times as large, "
            "in float64. Compare shapes before values, and values with "
            "`torch.allclose`.",
            "for size in 1, 100:\n"
            "    q, k, v = size * random (2, 3, 7), (2, 5, 7), (2, 5, 7), float64\n"
            "    got = candidate(q, k, v); if it raises: return False\n"
            "    expected = F.scaled_dot_product_attention(q, k, v)\n"
            "    if shapes differ, or not allclose: return False\n"
            "return True",
        ),
        cases=is_attention,
    ),
)
