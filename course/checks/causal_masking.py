"""What the answers of "Attention that cannot see the future" must satisfy.

Oracles: tables worked out on paper, `F.scaled_dot_product_attention` with its own mask,
counts of zeros in dropped tensors, and toy models whose leaks are written into them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course.case import Case, Complaint, Exercise, Mistake, build
from course.refusal import is_refused, refusal, refused


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=_seeded(seed))


def _below(length: int, diagonal: int = 0) -> Tensor:
    """Bools, True on and below a diagonal."""
    return torch.ones(length, length).tril(diagonal) == 1


# Causal mask


def _of_bools(got: Any) -> bool:
    return isinstance(got, Tensor) and got.dtype == torch.bool


def causal_mask() -> Iterator[Case]:
    yes, no = True, False
    mask = torch.tensor(
        [
            [yes, no, no, no],
            [yes, yes, no, no],
            [yes, yes, yes, no],
            [yes, yes, yes, yes],
        ]
    )
    bools = Mistake(
        "The mask holds bools, True or False: `dtype=torch.bool`, or a comparison such "
        "as `== 1`.",
        when=lambda got: isinstance(got, Tensor) and not _of_bools(got),
    )
    yield Case(
        "four tokens",
        args=(4,),
        expected=mask,
        mistakes=(
            bools,
            Mistake(
                "Your mask is on its side: the first token sees everything. Row t is "
                "the position that *looks*, so row 0 has one True. `tril` keeps what "
                "is on and below the diagonal.",
                equals=mask.T,
            ),
            Mistake(
                "The diagonal is False: a position cannot see its own token, and the "
                "first sees nothing at all. It may see itself; what it predicts is the "
                "*next* token.",
                equals=_below(4, -1),
            ),
            Mistake(
                "One diagonal too many: each position sees the token after it, which "
                "is the one it must predict.",
                equals=_below(4, 1),
            ),
            Mistake(
                "True and False are swapped. Here True means *may look*. (PyTorch has "
                "both: `nn.MultiheadAttention` means the opposite.)",
                equals=~mask,
            ),
            Mistake(
                "Every position sees every other one: that is BERT's view. Keep what "
                "is on and below the diagonal, with `tril`.",
                equals=torch.ones(4, 4, dtype=torch.bool),
            ),
        ),
    )
    yield Case(
        "one token sees itself",
        args=(1,),
        expected=torch.tensor([[True]]),
        mistakes=(bools,),
    )
    yield Case(
        "the mask is made on the device that is asked for",
        args=(3,),
        kwargs={"device": "meta"},
        call=_device_of,
        expected="meta",
        mistakes=(
            Mistake(
                "`device` has no effect yet: the mask must be made where the scores "
                "are, `torch.ones(..., device=device)`.",
                equals="cpu",
            ),
        ),
    )


def _device_of(answer: Callable, length: int, device: str) -> str:
    return answer(length, device=device).device.type


# Masked weights


def _by_torch(scores: Tensor, mask: Tensor) -> Tensor:
    """Torch's own attention: with unit keys and unit values the output is the weights.

    queries = scores and keys = 1 give `scores` back, values = 1 give the weights.
    """
    unit = torch.eye(scores.shape[-1], dtype=scores.dtype, device=scores.device)
    unit = unit.expand(*scores.shape[:-2], *unit.shape)
    return F.scaled_dot_product_attention(
        scores, unit, unit, attn_mask=mask.expand(scores.shape), scale=1.0
    )


def masked_weights() -> Iterator[Case]:
    odds = torch.tensor([[1.0, 2, 5], [3, 1, 4], [2, 6, 3]], dtype=torch.float64)
    scores, mask = odds.log(), _below(3)
    expected = torch.tensor(
        [[1.0, 0, 0], [3 / 4, 1 / 4, 0], [2 / 11, 6 / 11, 3 / 11]], dtype=torch.float64
    )
    sums = Mistake(
        "The rows do not sum to 1: the mask comes *after* the softmax. Then the hidden "
        "scores have already taken their share, and what is missing betrays them. "
        "Hide first, with -inf, and take the softmax then.",
        when=lambda got: bool((got.sum(-1) < 1 - 1e-3).any()),
    )
    nan = Mistake(
        "NaN: perhaps from `0 * -inf`. To put -inf where the mask is False, use "
        "`scores.masked_fill(~mask, -math.inf)` or `torch.where`.",
        when=lambda got: bool(got.isnan().any()),
    )
    yield Case(
        "three tokens, on paper",
        args=(scores, mask),
        expected=expected,
        mistakes=(
            Mistake(
                "These are the weights without a mask: the future still has a share.",
                equals=scores.softmax(-1),
            ),
            Mistake(
                "The mask is used the wrong way round: you hide what is True. True "
                "means *may look*, so fill where `~mask`.",
                equals=scores.masked_fill(mask, -math.inf).softmax(-1),
            ),
            Mistake(
                "The mask is used the wrong way round: you hide what is True. True "
                "means *may look*, so fill where `~mask`.",
                when=lambda got: bool(got[0, 0] == 0) and bool(got[0, 2] > 0),
            ),
            Mistake(
                "A mask of 0 and 1 is *added* to the scores. That makes the visible "
                "ones e times as likely, and hides nothing: what is added must be 0 "
                "and -inf.",
                equals=(scores + mask).softmax(-1),
            ),
            Mistake(
                "Hidden scores are set to 0. But `exp(0)` is 1, a share like any "
                "other: a score that gets no share is -inf.",
                equals=(scores * mask).softmax(-1),
            ),
            Mistake(
                "The softmax runs over the columns. Each *row* shares out what one "
                "position sees: `dim=-1`.",
                equals=scores.masked_fill(~mask, -math.inf).softmax(-2),
            ),
            nan,
            sums,
        ),
    )
    fits = Mistake(
        "The scores may have axes in front, such as the batch and the heads. Work on "
        "the last two, with `dim=-1`; a mask that lacks axes broadcasts by itself.",
        raises=(RuntimeError, IndexError, ValueError),
    )
    axis = Mistake(
        "Weights of different heads sum to 1, not those of one row: the softmax runs "
        "over axis 1. With axes in front the last one is no longer axis 1: `dim=-1`.",
        when=_shares_between_heads,
    )
    some = torch.rand(2, 1, 5, 7, generator=_seeded(1)) < 0.5
    some[..., 0] = True
    yield Case(
        "a batch with heads, and a mask that is not square",
        args=(_normal(2, 3, 5, 7, seed=2), some),
        expected=_by_torch,
        gradient=True,
        any_device=True,
        mistakes=(fits, axis, nan, sums),
    )
    yield Case(
        "a hidden score of 900 beside visible ones of 0 and 1",
        args=(
            torch.tensor([[0.0, 900, 900], [0, 1, 900], [0, 1, 2]]).double(),
            mask,
        ),
        expected=_by_torch,
        gradient=True,
        mistakes=(
            Mistake(
                "0 / 0: you mask after the softmax, and divide by the new sum. Next to "
                "a hidden score of 900 every visible share is rounded to 0, and "
                "nothing is left to divide. Put -inf in *before* the softmax.",
                when=lambda got: bool(got.isnan().any()),
            ),
            Mistake(
                "The hidden 900 still has an effect: next to it the visible shares "
                "vanish, and no division brings them back. Put -inf in *before* the "
                "softmax.",
                when=lambda got: bool((got.sum(-1) < 0.9).any()),
            ),
        ),
    )
    blind = torch.tensor([[True, False, True], [False, False, False]])
    yield Case(
        "a row that may see nothing: zeros, and a gradient without NaN",
        args=(_normal(2, 3, seed=3), blind),
        expected=_by_torch,
        gradient=True,
        mistakes=(
            Mistake(
                "A row of -inf only is 0 / 0, which is NaN, and one NaN spoils "
                "everything that it meets, values and gradients. Give such rows "
                "finite scores before the softmax (`empty = (~mask).all(-1, "
                "keepdim=True)` finds them), and zeros after it.",
                when=lambda got: bool(got.isnan().any()),
            ),
            Mistake(
                "A row that may see nothing shares out 1 all the same, evenly, among "
                "tokens that are all hidden. Set hidden weights to 0 at the end.",
                when=lambda got: bool((got[1] > 0.1).all()),
            ),
        ),
    )
    yield Case(
        "float16, with visible scores around -20,000",
        args=(
            torch.tensor([[-2e4, 0.0, 0.0], [-2e4, -2e4, 0], [0, -2e4, 1]]).half(),
            mask,
        ),
        expected=torch.tensor(
            [[1.0, 0, 0], [0.5, 0.5, 0], [0.26894, 0, 0.73106]]
        ).half(),
        mistakes=(
            Mistake(
                "-1e9 does not exist in float16, whose largest number is 65,504. Hide "
                "with `-math.inf`, which is a number of float16 as well.",
                raises=RuntimeError,
                mentions="overflow",
            ),
            Mistake(
                "A very negative number is not -inf: here the visible scores are lower "
                "still, so the hidden ones get everything. Hide with `-math.inf`.",
                when=lambda got: bool(got[0, 1] > 0.1),
            ),
            Mistake(
                "The visible shares vanished next to a hidden score. Put -inf in "
                "*before* the softmax.",
                when=lambda got: bool((got.sum(-1) < 0.9).any()),
            ),
            nan,
        ),
    )


def _shares_between_heads(got: Tensor) -> bool:
    """Whether axis 1 sums to 1 wherever anything is left."""
    sums = got.nan_to_num().sum(1)
    return bool(((sums - 1).abs() < 1e-6)[sums != 0].all())


# Stolen score


def stolen_score() -> Iterator[Case]:
    odds = torch.tensor([[1.0, 2, 5], [3, 1, 4], [2, 6, 3]], dtype=torch.float64)
    shape = Mistake(
        "One number for each text is wanted: (..., T, T) -> (...). Pick the row with "
        "`weights[..., -2, :]`.",
        when=lambda got: got.dim() > 0,
    )
    yield Case(
        "three tokens, whose hidden score is log 4",
        args=_stolen(odds.log()),
        expected=torch.tensor(4.0, dtype=torch.float64).log(),
        mistakes=(
            shape,
            Mistake(
                "This is the *weight* that is missing. Weights are to each other as "
                "the exp of their scores: w_hidden / w_seen = exp(s_hidden - s_seen).",
                equals=torch.tensor(0.5, dtype=torch.float64),
            ),
            Mistake(
                "This is the logarithm of the missing weight. A weight is exp(score) "
                "divided by the total of the row: compare it with a visible weight, "
                "whose score you know, and the total falls away.",
                equals=torch.tensor(0.5, dtype=torch.float64).log(),
            ),
            Mistake(
                "This is exp(score). The score is its logarithm.",
                equals=torch.tensor(4.0, dtype=torch.float64),
            ),
            Mistake(
                "The ratio is upside down: hidden above, visible below.",
                when=lambda got: any(
                    math.isclose(
                        float(got), math.log(seen) - math.log(4 / seen), abs_tol=1e-6
                    )
                    for seen in (3, 1)
                ),
            ),
            Mistake(
                "The logarithm is of another base. Scores are undone by the natural "
                "one: `.log()`, not `log2` or `log10`.",
                when=lambda got: any(
                    math.isclose(
                        float(got),
                        math.log(seen) + math.log(4 / seen) / math.log(base),
                        abs_tol=1e-6,
                    )
                    for seen in (3, 1)
                    for base in (2, 10)
                ),
            ),
            Mistake(
                "A column is added up: `sum(-2)`. The weights of a *row* sum to 1, so "
                "what is missing is missing from the row: `sum(-1)`.",
                equals=torch.tensor(
                    8 * (1 - 1 / 8 - 6 / 11), dtype=torch.float64
                ).log(),
            ),
            Mistake(
                "The score of the visible token is missing. log(w_hidden / w_seen) is "
                "the *difference* of the two scores.",
                equals=torch.tensor(4 / 3, dtype=torch.float64).log(),
            ),
            Mistake(
                "The last row hides nothing, so nothing is missing from it. The one "
                "before it, `[..., -2, :]`, hides one token.",
                when=lambda got: bool((~got.isfinite()).any() or got < -20),
            ),
            Mistake(
                "The first row hides two tokens, and its missing share is that of both "
                "together. Take the last row but one.",
                equals=torch.tensor(7.0, dtype=torch.float64).log(),
            ),
        ),
    )
    batch = _normal(2, 3, 5, 5, seed=4)
    yield Case(
        "a batch with heads",
        args=_stolen(batch),
        expected=batch[..., -2, -1],
        mistakes=(
            Mistake(
                "There may be axes in front: index with `...`, and sum over `dim=-1` "
                "only. One number for each text and head is wanted.",
                when=lambda got: got.shape != (2, 3),
                raises=(RuntimeError, IndexError),
            ),
        ),
    )
    pair = torch.tensor([[0.5, -1.0], [2.0, 3.0]], dtype=torch.float64)
    yield Case(
        "two tokens: the first hides the second",
        args=_stolen(pair),
        expected=torch.tensor(-1.0, dtype=torch.float64),
        mistakes=(
            Mistake(
                "With two tokens the last row but one is the *first*: count from the "
                "end, `-2`.",
                raises=IndexError,
            ),
        ),
    )
    for place, name in ((0, "first"), (2, "last")):
        faint = _normal(4, 4, seed=5)
        faint[2] = torch.tensor([0.5, 1.0, 0.5, 2.0])
        faint[2, place] = -900.0
        yield Case(
            f"the {name} visible weight was rounded to 0",
            args=_stolen(faint),
            expected=torch.tensor(2.0, dtype=torch.float64),
            mistakes=(
                Mistake(
                    "You compare with a visible weight that happens to be 0. Take the "
                    "largest one (or all of them, with `logsumexp`).",
                    when=lambda got: not bool(got.isfinite().all()),
                ),
            ),
        )


def _stolen(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Weights that were masked too late, and the scores that may be seen."""
    seen = _below(scores.shape[-1])
    return scores.softmax(-1) * seen, scores.masked_fill(~seen, -math.inf)


# Dropout


def _judge_dropped(x: Tensor, p: float) -> Callable[[Tensor], str | None]:
    """Are there zeros at a rate of p, in no pattern, and the others x / (1 - p)?"""

    def judged(got: Tensor) -> str | None:
        if not isinstance(got, Tensor) or got.shape != x.shape:
            return "Expected a tensor of the shape of x."
        if got.dtype != x.dtype:
            return f"The result is of {got.dtype}, x of {x.dtype}: keep the type."
        zeros = got == 0
        scale = (got / x.to(got.device))[~zeros]
        rate = zeros.double().mean().item()
        if not zeros.any():
            return "Nothing was dropped, though `training` is True."
        if zeros.all():
            return "Everything was dropped."
        if torch.allclose(scale, torch.ones_like(scale)):
            return (
                "What is left was not rescaled. With a share p gone the mean is too "
                "small by 1 - p: divide what is left by 1 - p."
            )
        if torch.allclose(scale, torch.full_like(scale, 1 / p)):
            return (
                "What is left is divided by p. The share that is *left* is 1 - p: "
                "divide by that."
            )
        if torch.allclose(scale, torch.full_like(scale, 1 - p)):
            return (
                "What is left is *multiplied* by 1 - p, so the mean becomes smaller "
                "still. Divide."
            )
        if not torch.allclose(scale, torch.full_like(scale, 1 / (1 - p))):
            return (
                f"What is left should be x / (1 - p), that is {1 / (1 - p):.3f} times "
                f"x; yours is between {scale.min():.3f} and {scale.max():.3f} times x."
            )
        # 30,000 draws: three standard deviations of their rate are less than 0.01.
        if abs(rate - (1 - p)) < 0.02:
            return (
                f"A share of {rate:.2f} was dropped, expected {p}. p is the "
                "probability of a *zero*, not of staying."
            )
        if (zeros == zeros[:1]).all():
            return (
                "Every text has its zeros at the same places: one draw was made for "
                "the whole batch. Draw for each number of x: `torch.rand(x.shape)`."
            )
        if (zeros == zeros[:, :1]).all() or (zeros == zeros[:, :, :1]).all():
            return (
                "The zeros come in whole rows: one draw was made for many numbers. "
                "Draw for each number of x: `torch.rand(x.shape)`."
            )
        if abs(rate - p) > 0.02:
            return f"A share of {rate:.3f} was dropped, expected about {p}."
        return None

    return judged


def _dropped_in_two_ways(answer: Callable, x: Tensor, p: float) -> str:
    """What the generator decides: the same seed, another seed, no generator."""
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, again, other = (answer(x, p, generator=_seeded(s)) for s in (3, 3, 4))
    if not torch.equal(first, again):
        return "the same seed drops differently"
    if torch.equal(first, other):
        return "every seed drops the same"
    if not torch.equal(before, torch.get_rng_state()):
        return "the global randomness is used as well"
    torch.manual_seed(1)
    if torch.equal(answer(x, p), answer(x, p)):
        return "without a generator the same is dropped every time"
    return "the generator decides, and only it"


def _gradient_of_dropped(answer: Callable, x: Tensor, p: float) -> str:
    x = x.clone().requires_grad_()
    got = answer(x, p, generator=_seeded(2))
    if not got.requires_grad:
        return "no gradient"
    got.sum().backward()
    return "as the values" if torch.allclose(x.grad * x, got) else "another"


def dropout() -> Iterator[Case]:
    x = 1 + torch.rand(20, 30, 50, generator=_seeded(0))  # no zeros of its own
    small = x[0, :3, :5].clone()
    yield Case(
        "not training: x as it is",
        args=(small, 0.3),
        kwargs={"training": False},
        expected=small,
        mistakes=(
            Mistake(
                "Something is dropped although `training` is False: in evaluation "
                "dropout does nothing.",
                when=lambda got: bool((got == 0).any()),
            ),
            Mistake(
                "In evaluation nothing is rescaled, because in training what is left "
                "was divided by 1 - p already.",
                when=lambda got: got.shape == small.shape,
            ),
        ),
    )
    yield Case(
        "training with p = 0.3: zeros, and the others rescaled",
        args=(x, 0.3),
        judge=_judge_dropped(x, 0.3),
        any_device=True,
    )
    yield Case(
        "p = 0.9, in float64",
        args=(x.double(), 0.9),
        judge=_judge_dropped(x.double(), 0.9),
    )
    yield Case(
        "the generator decides what is dropped",
        args=(x, 0.5),
        call=_dropped_in_two_ways,
        expected="the generator decides, and only it",
        mistakes=(
            Mistake(
                "The `generator` has no effect: hand it to the function that draws, "
                "`torch.rand(x.shape, generator=generator)`.",
                when=lambda got: got.startswith(("the same seed", "the global")),
            ),
            Mistake(
                "A seed is fixed inside your code. Randomness comes from the "
                "`generator` alone, and without one from torch's own.",
                when=lambda got: got.startswith(("every seed", "without")),
            ),
        ),
    )
    yield Case(
        "the gradient goes where the values went",
        args=(small, 0.4),
        call=_gradient_of_dropped,
        expected="as the values",
        mistakes=(
            Mistake(
                "No gradient reaches `x`. Is something detached, or written into a new "
                "tensor under `no_grad`?",
                equals="no gradient",
            ),
        ),
    )
    yield Case(
        "p = 0: nothing is dropped",
        args=(small, 0.0),
        expected=small,
    )
    yield Case(
        "p = 1: everything is dropped",
        args=(small, 1.0),
        expected=torch.zeros_like(small),
        mistakes=(
            Mistake(
                "1 / (1 - p) is 1 / 0 here, and 0 times infinity is NaN. With p = 1 "
                "the result is zeros.",
                when=lambda got: not bool(got.isfinite().all()),
            ),
            Mistake("1 / (1 - p) divides by zero when p is 1.", raises=Exception),
        ),
    )


# Causal head


WEIGHTS = ("query.weight", "key.weight", "value.weight")


def _head(
    cls: type,
    weights: tuple[Tensor, ...],
    context: int,
    dropout: float = 0.0,
) -> nn.Module:
    """The reader's head with these weights; buffers of its own are its own business."""
    head_width, width = weights[0].shape
    module = build(cls, width, head_width, context, dropout)
    own = {name: tuple(value.shape) for name, value in module.named_parameters()}
    for name in own:
        if name.endswith(".bias"):
            raise Complaint(f"`{name}` is a parameter too many: give `bias=False`.")
    for name, value in zip(WEIGHTS, weights, strict=True):
        if own.get(name) != tuple(value.shape):
            raise Complaint(
                f"Expected a parameter `{name}` of shape {tuple(value.shape)} (D, C), "
                f"as `nn.Linear(width, head_width, bias=False)` has it; the module "
                f"has {own or 'none'}."
            )
    if set(own) != set(WEIGHTS):
        raise Complaint(f"The module has parameters too many: {set(own) - {*WEIGHTS}}.")
    state = dict(zip(WEIGHTS, (w.detach() for w in weights), strict=True))
    module.to(weights[0])  # first, because nothing can be copied out of "meta"
    module.load_state_dict(state, strict=False)
    return module


def _attended(context: int) -> Callable:
    """What a head with this context makes of x, differentiable in its weights."""

    def attended(
        cls: type, x: Tensor, queries: Tensor, keys: Tensor, values: Tensor
    ) -> Tensor:
        weights = queries, keys, values
        module = _head(cls, weights, context).eval()
        state = dict(zip(WEIGHTS, weights, strict=True))
        return torch.func.functional_call(module, state, (x,))

    return attended


def _attended_by_torch(x: Tensor, *weights: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(
        *(x @ weight.T for weight in weights), is_causal=True
    )


def _wrong_head(x: Tensor, weights: tuple[Tensor, ...], masked: Callable) -> Tensor:
    queries, keys, values = (x @ weight.T for weight in weights)
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(keys.shape[-1])
    return masked(scores, _below(x.shape[1])) @ values


def _before(scores: Tensor, mask: Tensor) -> Tensor:
    return scores.masked_fill(~mask, -math.inf).softmax(-1)


def _too_long(
    cls: type, x: Tensor, queries: Tensor, keys: Tensor, values: Tensor
) -> str:
    return refusal(_head(cls, (queries, keys, values), context=4).eval(), x)


def _changes_before(
    cls: type, x: Tensor, queries: Tensor, keys: Tensor, values: Tensor
) -> str:
    """Whether outputs before t stay the same bit for bit when x changes from t on."""
    module = _head(cls, (queries, keys, values), context=x.shape[1]).eval()
    before = module(x)
    for t in range(1, x.shape[1]):
        later = x.clone()
        later[:, t:] = x.flip(0)[:, t:] + 1
        difference = (module(later)[:, :t] - before[:, :t]).abs().max().item()
        if difference > 1e-4 or math.isnan(difference):
            return "the past depends on the future"
        if difference > 0:
            return "the past depends on the future a little"
    return "bit for bit the same"


def _how_it_drops(
    cls: type, x: Tensor, queries: Tensor, keys: Tensor, values: Tensor
) -> str:
    """Where the dropout of the reader's head is, told from outputs alone.

    All values are 1, so each output is the sum of the weights of its row.
    """
    weights = queries, keys, values
    module = _head(cls, weights, context=x.shape[1], dropout=0.5)
    module.eval()
    outputs = module(x)
    if not torch.equal(outputs, module(x)) or (outputs - 1).abs().max() > 1e-4:
        return "dropout in evaluation"
    module.train()
    sums = torch.cat([module(x) for _ in range(200)])  # (N, T, D)
    if (sums - 1).abs().max() < 1e-4:
        return "no dropout or before"
    if ((sums == 0).any(-1) & (sums != 0).any(-1)).any():
        return "on the output"
    first = sums[:, 0, 0].unique()
    if len(first) != 2 or (first - torch.tensor([0.0, 2.0])).abs().max() > 1e-4:
        return "not rescaled"
    if abs(sums.mean().item() - 1) > 0.05:
        return "another rate"
    return "on the weights, in training only"


def _rate(
    cls: type, x: Tensor, queries: Tensor, keys: Tensor, values: Tensor, p: float | None
) -> str:
    """How often position 0 loses the only weight it has; p = None gives no argument."""
    head_width, width = queries.shape
    given = () if p is None else (p,)
    try:
        module = build(cls, width, head_width, x.shape[1], *given).to(x).train()
    except TypeError:
        if p is None:
            return "it cannot be left out"
        raise
    outputs = torch.cat([module(x) for _ in range(500)])[:, 0]  # (N, D)
    share = (outputs == 0).all(-1).double().mean().item()
    # 1,000 draws: three standard deviations of their share are less than 0.05.
    for rate in (0.0, 0.2, 0.5):
        if abs(share - rate) < 0.05:
            return f"{rate:.0%} of the weights"
    return f"{share:.0%} of the weights"


def causal_head() -> Iterator[Case]:
    weights = tuple(_normal(3, 7, seed=seed) for seed in (11, 12, 13))  # (D, C)
    x = _normal(2, 5, 7, seed=10)
    shapes = Mistake(
        "Two shapes do not fit. x is (B, T, C), queries, keys and values are (B, T, D) "
        "each, the scores (B, T, T): `queries @ keys.transpose(-2, -1)`.",
        raises=(RuntimeError, IndexError),
    )
    yield Case(
        "two texts of five tokens, a context of five",
        args=(x, *weights),
        call=_attended(5),
        expected=_attended_by_torch,
        gradient=True,
        any_device=True,
        mistakes=(
            shapes,
            Mistake(
                "There is no mask: every position sees the future. Give the scores to "
                "`masked_weights` with the causal mask.",
                equals=_wrong_head(x, weights, lambda s, _: s.softmax(-1)),
            ),
            Mistake(
                "The mask comes after the softmax: the hidden scores have already "
                "taken their share. Use `masked_weights`.",
                equals=_wrong_head(x, weights, lambda s, m: s.softmax(-1) * m),
            ),
            Mistake(
                "The mask is on its side: each position sees itself and the future, "
                "and not the past.",
                equals=_wrong_head(x, weights, lambda s, m: _before(s, m.T)),
            ),
            Mistake(
                "A position does not see its own token: the diagonal of the mask is "
                "True.",
                when=lambda got: (
                    bool((got[:, 0] == 0).all() or got[:, 0].isnan().all())
                    and not bool(got[:, 1:].isnan().any())
                ),
            ),
            Mistake(
                "The scores are not divided by the square root of D: use "
                "`attention_scores`.",
                equals=_wrong_head(
                    x, weights, lambda s, m: _before(s * math.sqrt(3), m)
                ),
            ),
            Mistake(
                "The scores are divided by the root of C, the width of x. It is the "
                "width of a query that counts: D.",
                equals=_wrong_head(
                    x, weights, lambda s, m: _before(s * math.sqrt(3 / 7), m)
                ),
            ),
            Mistake(
                "Queries and keys have changed places: row t of the scores belongs to "
                "the query of t.",
                equals=_wrong_head(
                    x, (weights[1], weights[0], weights[2]), lambda s, m: _before(s, m)
                ),
            ),
        ),
    )
    yield Case(
        "three tokens in a context of seven",
        args=(x[:, :3].clone(), *weights),
        call=_attended(7),
        expected=_attended_by_torch,
        mistakes=(
            Mistake(
                "The text is shorter than the context, and the mask was not cut to "
                "it: `self.mask[:T, :T]`.",
                raises=(RuntimeError, ValueError, IndexError),
            ),
        ),
    )
    yield Case(
        "one token",
        args=(x[:, :1].clone(), *weights),
        call=_attended(5),
        expected=_attended_by_torch,
        mistakes=(shapes,),
    )
    yield Case(
        "the past does not depend on the future: outputs equal bit for bit",
        args=(x.float(), *(weight.float() for weight in weights)),
        call=_changes_before,
        expected="bit for bit the same",
        mistakes=(
            Mistake(
                "Outputs before t change when x changes from t on: something sees the "
                "future. Put -inf in before the softmax.",
                equals="the past depends on the future",
            ),
            Mistake(
                "Outputs before t change a little when x changes from t on. Masking "
                "after the softmax and dividing by the new sum is right on paper, but "
                "the rounding of the hidden scores stays in. Put -inf in before it.",
                equals="the past depends on the future a little",
            ),
        ),
    )
    ones = torch.zeros(7, 7)
    ones[:, 0] = 1.0  # every value is 1 where channel 0 of x is 1
    seen = _normal(2, 7, 7, seed=14).float()
    seen[:, :, 0] = 1.0
    yield Case(
        "dropout 0.5 in training, none in evaluation",
        args=(seen, *(_normal(7, 7, seed=s).float() for s in (15, 16)), ones),
        call=_how_it_drops,
        expected="on the weights, in training only",
        mistakes=(
            Mistake(
                "After `.eval()` something is still dropped. `Dropout` follows the "
                "module's mode by itself; with the function, give "
                "`training=self.training`.",
                equals="dropout in evaluation",
            ),
            Mistake(
                "Dropout has no effect on the weights: their rows still sum to 1 in "
                "training. It comes *after* the softmax, on the weights, before they "
                "meet the values.",
                equals="no dropout or before",
            ),
            Mistake(
                "The *output* is dropped, number by number. Here it is the weights: "
                "then a position does not look at some token, with all its channels.",
                equals="on the output",
            ),
            Mistake(
                "The weights that are left are not divided by 1 - p.",
                equals="not rescaled",
            ),
            Mistake(
                "Not half of the weights are dropped: hand the module's `dropout` on "
                "to `Dropout`.",
                equals="another rate",
            ),
        ),
    )
    handed_on = (
        "Hand the `dropout` of `__init__` on: `Dropout(dropout)`. Without a number "
        "`nn.Dropout()` and `F.dropout(...)` take 0.5."
    )
    yield Case(
        "dropout 0.2 in training",
        args=(x.float(), *(weight.float() for weight in weights), 0.2),
        call=_rate,
        expected="20% of the weights",
        mistakes=(
            Mistake(
                f"Half of the weights are dropped; 0.2 was asked for. {handed_on}",
                equals="50% of the weights",
            ),
        ),
    )
    yield Case(
        "training without a word about dropout: nothing is dropped",
        args=(x.float(), *(weight.float() for weight in weights), None),
        call=_rate,
        expected="0% of the weights",
        mistakes=(
            Mistake(
                "`dropout` has a default, so that one can leave it out: `dropout: "
                "float = 0.0`.",
                equals="it cannot be left out",
            ),
            Mistake(
                "Nobody asked for dropout: its default is 0.0.",
                when=lambda got: True,
            ),
        ),
    )
    yield Case(
        "five tokens, a context of four: a ValueError",
        args=(x, *weights),
        call=_too_long,
        judge=is_refused,
        mistakes=(
            Mistake(
                "The mask is smaller than the scores, so the shapes clash somewhere "
                "inside. Say what is wrong at once: if T is more than the context, "
                "raise a `ValueError`.",
                when=lambda got: got.startswith("RuntimeError"),
            ),
            *refused(
                "The text is longer than the context, yet an output came out. If T is "
                "more than the context, raise a `ValueError`."
            ),
        ),
    )


# Leak detector


class _Linked(nn.Module):
    """A toy model: position t adds up what it knows of the tokens it has links to.

    It refuses ids outside of its vocabulary, as an embedding does. If `first` is given,
    only texts that begin with this id have links to later tokens. If `noisy`, it
    answers differently each time, until it is told to rest.
    """

    def __init__(self, links: Tensor, first: int | None, noisy: bool) -> None:
        super().__init__()
        self.links, self.first, self.noisy = links, first, noisy
        self.table = _normal(7, 7, seed=20)  # (V, V)
        self.noise = _seeded(21)
        self.told = False

    def train(self, mode: bool = True) -> _Linked:
        self.told = True
        return super().train(mode)

    def forward(self, ids: Tensor) -> Tensor:
        if ids.is_floating_point() or ids.min() < 0 or ids.max() > 6:
            raise Complaint(
                f"Your detector shows the model the ids {ids.unique().tolist()}; they "
                "must be whole numbers from 0 to V - 1 = 6. V is the last axis of the "
                "logits, and `% V` keeps a number below it."
            )
        if ids.shape[-1] != len(self.links):
            raise Complaint(
                f"Your detector shows the model texts of {ids.shape[-1]} tokens; those "
                f"of `ids` have {len(self.links)}. Change tokens, and keep the length: "
                "a model may round differently when it computes with other sizes, and "
                "then no bits can be compared."
            )
        links = self.links.to(self.table)
        if self.first is not None:
            leaks = (ids[..., :1, None] == self.first).to(links)  # (B, 1, 1)
            links = leaks * links + (1 - leaks) * links.tril()
        logits = links @ self.table[ids]  # (B, T, V)
        if self.noisy and self.training:
            logits = logits + torch.randn(logits.shape, generator=self.noise)
        return logits


def _with_links(*pairs: tuple[int, int], strength: float = 1.0) -> Tensor:
    links = torch.ones(5, 5, dtype=torch.float64).tril()
    for looking, seen in pairs:
        links[looking, seen] = strength
    return links


TEXTS = torch.tensor([[6, 0, 3, 0, 6], [2, 6, 6, 1, 0]])


def _found(
    answer: Callable, ids: Tensor, links: Tensor, first: int | None = None
) -> Any:
    return answer(_Linked(links, first, noisy=False), ids)


def _of_a_noisy_model(answer: Callable, ids: Tensor, links: Tensor) -> str:
    model = _Linked(links, None, noisy=True)
    try:
        got = answer(model, ids)
    except Exception as error:
        return type(error).__name__
    return "the mode was changed" if model.told else f"{got}"


def leaks() -> Iterator[Case]:
    kind = Mistake(
        "Return a list of plain integers: the positions whose output changed.",
        when=lambda got: (
            not isinstance(got, list) or not all(type(t) is int for t in got)
        ),
    )
    yield Case(
        "a model that looks back only: nothing is found",
        args=(TEXTS, _with_links()),
        call=_found,
        expected=[],
        mistakes=(
            kind,
            Mistake(
                "Tokens that were changed before are still changed, so that outputs "
                "differ with good reason. Change one token at a time, in a fresh copy "
                "of `ids`.",
                equals=[1, 2, 3],
            ),
            Mistake(
                "When the token at t changes, the output at t *should* change: a "
                "position may see its own token. Compare only the outputs before t, "
                "`[:, :t]`.",
                when=lambda got: len(got) > 0,
            ),
        ),
    )
    yield Case(
        "a model that sees everything: all positions but the last",
        args=(TEXTS, torch.ones(5, 5, dtype=torch.float64)),
        call=_found,
        expected=[0, 1, 2, 3],
        mistakes=(
            Mistake(
                "Nothing was found. Do you change a copy of the ids, and ask the "
                "model again about the changed one?",
                equals=[],
            ),
            Mistake(
                "These are the tokens that were *changed*. Return the positions whose "
                "output betrayed it: they lie before.",
                equals=[1, 2, 3, 4],
            ),
            Mistake(
                "Each position is wanted once, in order: collect them in a `set`, and "
                "return `sorted(...)`.",
                when=lambda got: sorted(set(got)) == [0, 1, 2, 3],
            ),
            kind,
        ),
    )
    yield Case(
        "position 3 sees token 4, but a thousandth of it",
        args=(TEXTS, _with_links((3, 4), strength=1e-3)),
        call=_found,
        expected=[3],
        mistakes=(
            Mistake(
                "Not found. The leak moves the logits by a thousandth, and changes no "
                "most likely token. Compare all the logits, not their `argmax`, and "
                "without a tolerance.",
                equals=[],
            ),
            kind,
        ),
    )
    for pair in ((1, 2), (0, 3), (2, 4)):
        looking, seen = pair
        yield Case(
            f"position {looking} sees token {seen}, and nothing else leaks",
            args=(TEXTS, _with_links(pair)),
            call=_found,
            expected=[looking],
            mistakes=(
                Mistake(
                    f"The leak was not found. Try *every* later token: here only a "
                    f"change of token {seen} shows it.",
                    equals=[],
                ),
                Mistake(
                    "This is the token that was changed. Return the position whose "
                    "output changed.",
                    equals=[seen],
                ),
                Mistake(
                    "More was found than leaks. Change one token at a time, in a fresh "
                    "copy of `ids`, and compare only the outputs before it.",
                    when=lambda got, looking=looking: looking in got and len(got) > 1,
                ),
                kind,
            ),
        )
    yield Case(
        "the leak is a ten-millionth",
        args=(TEXTS, _with_links((2, 3), strength=1e-7)),
        call=_found,
        expected=[2],
        mistakes=(
            Mistake(
                "A small leak was missed. A causal model gives the same bits, not "
                "almost the same numbers: compare with `!=` or `torch.equal`, without "
                "a tolerance.",
                equals=[],
            ),
            kind,
        ),
    )
    yield Case(
        "only the second text of the batch leaks",
        args=(TEXTS, _with_links((1, 3)), 2),
        call=_found,
        expected=[1],
        mistakes=(
            Mistake(
                "The leak shows in the second text only. Change the token in every "
                "text, and compare all of them.",
                equals=[],
            ),
            kind,
        ),
    )
    yield Case(
        "a text of zeros",
        args=(torch.zeros(2, 5).long(), _with_links((1, 3))),
        call=_found,
        expected=[1],
        mistakes=(
            Mistake(
                "Not found. Every token of this text is 0; is the changed one another? "
                "V is the last axis of the logits. The largest id of a text says "
                "nothing about it.",
                equals=[],
            ),
            kind,
        ),
    )
    for first in range(7):
        yield Case(
            f"a changed token must be another one: text {first} leaks",
            args=(
                torch.arange(7)[:, None].expand(7, 5).clone(),
                _with_links((0, 1)),
                first,
            ),
            call=_found,
            expected=[0],
            mistakes=(
                Mistake(
                    "Not found: the token was replaced by an id that some text "
                    "already has there. Take `(old + 1) % V`, which is always another "
                    "one.",
                    equals=[],
                ),
                kind,
            ),
        )
    yield Case(
        "a model that answers differently each time: a ValueError",
        args=(TEXTS, _with_links()),
        call=_of_a_noisy_model,
        expected="ValueError",
        mistakes=(
            Mistake(
                "Your detector switches the model's mode. The mode is the caller's: "
                "who forgot `model.eval()` must hear of it, and not go on with "
                "dropout. Leave it alone, and raise a `ValueError`.",
                equals="the mode was changed",
            ),
            Mistake(
                "This model is as random as one with dropout switched on, so a "
                "comparison means nothing. Ask it twice about the same ids first, and "
                "raise a `ValueError` if the two answers differ.",
                when=lambda got: True,
            ),
        ),
    )


EXERCISES = (
    Exercise(
        "causal_mask",
        difficulty=1,
        minutes=6,
        hints=(
            "Row t looks, column s is looked at. For which s may t = 0 look? For which "
            "t = 1?",
            "A matrix of True, from which what lies above the diagonal is taken away. "
            "torch calls the lower triangle `tril`.",
            "ones = bools, all True, (length, length), on the device\n"
            "return the lower triangle of ones (tril)",
        ),
        cases=causal_mask,
    ),
    Exercise(
        "stolen_score",
        difficulty=2,
        minutes=12,
        hints=(
            "All weights of a row sum to 1 before they are masked. Row T - 2 hides one "
            "token. How large was its weight?",
            "w_hidden / w_seen = exp(s_hidden - s_seen), for any visible token of the "
            "same row. Three of these four you know.",
            "seen = weights[..., -2, :-1]\n"
            "share, place = the largest of seen, and where it is\n"
            "score = scores[..., -2, :-1] at this place (gather)\n"
            "missing = 1 - sum of seen over the last axis\n"
            "return score + log(missing / share)",
        ),
        cases=stolen_score,
    ),
    Exercise(
        "masked_weights",
        difficulty=2,
        minutes=15,
        hints=(
            "Which score has an exp of exactly 0? Put it where the mask is False, "
            "*before* the softmax. And what does a row of such scores become?",
            "`scores.masked_fill(~mask, -math.inf)`, then softmax over `dim=-1`. A row "
            "that sees nothing is 0 / 0: find it with `(~mask).all(dim=-1, "
            "keepdim=True)`, and give it other scores first.",
            "hidden = ~mask\n"
            "empty = hidden.all(dim=-1, keepdim=True)\n"
            "scores = scores with -inf where hidden, then 0 where empty\n"
            "weights = softmax of scores over dim=-1\n"
            "return weights with 0 where hidden",
        ),
        cases=masked_weights,
    ),
    Exercise(
        "dropout",
        difficulty=2,
        minutes=12,
        hints=(
            "Throw a dart at a strip of length 1 for each number of x. Where does it "
            "have to land for the number to become 0?",
            "`torch.rand(x.shape, generator=generator, device=x.device) < p` is True "
            "with probability p. What is left is divided by 1 - p; p = 1 leaves "
            "nothing.",
            "if not training or p == 0: return x\n"
            "if p == 1: return zeros like x\n"
            "dropped = torch.rand(...) < p   (shape, generator, device)\n"
            "return (x with 0 where dropped) / (1 - p)",
        ),
        cases=dropout,
    ),
    Exercise(
        "CausalHead",
        difficulty=3,
        minutes=20,
        hints=(
            "It is `SelfAttention` of the last chapter, with two more steps between "
            "the scores and the values. What has to be made once, in `__init__`?",
            "`self.register_buffer('mask', causal_mask(context), persistent=False)` "
            "keeps the mask with the module. In `forward` cut it to T x T.",
            "in __init__:\n    super().__init__()\n"
            "    self.query, self.key, self.value = three linear layers\n"
            "    self.dropout = Dropout(dropout)\n"
            "    the mask as a buffer\n"
            "in forward:\n    T = x.shape[1]; if T > context: raise ValueError\n"
            "    scores = attention_scores(self.query(x), self.key(x))\n"
            "    weights = masked_weights(scores, self.mask[:T, :T])\n"
            "    return self.dropout(weights) @ self.value(x)",
        ),
        cases=causal_head,
    ),
    Exercise(
        "leaks",
        difficulty=3,
        minutes=20,
        hints=(
            "Change one token and ask again. Which outputs may change, and which must "
            "not?",
            "For each t from 1 on: in a fresh `ids.clone()`, set `[:, t]` to `(ids[:, "
            "t] + 1) % V`, where V is the last axis of the logits. Compare the outputs "
            "at `[:, :t]`, with `!=`.",
            "logits = model(ids)\n"
            "if model(ids) differs from logits: raise ValueError\n"
            "found = empty set\n"
            "for t from 1 to T - 1:\n"
            "    changed = copy of ids, another token at t in every text\n"
            "    differs = model(changed)[:, :t] != logits[:, :t]   (B, t, V)\n"
            "    add the positions where differs.any(-1).any(0)\n"
            "return found, sorted",
        ),
        cases=leaks,
    ),
)
