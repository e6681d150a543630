"""What the answers of the chapter on pretraining must satisfy.

Oracles: `F.cross_entropy` token by token; learning rates and the work of a model worked
out on paper; and a step of gradient descent written out, with gradients by
`torch.autograd.grad`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from course.case import Case, Complaint, Exercise, Mistake
from course.checks.gpt_block import GPTConfig
from course.refusal import is_refused, refusal, refused

NOTHING = -100


def _random(*sizes: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(sizes, generator=generator, dtype=torch.float64)


def _near(got: Any, *values: Any) -> bool:
    """Whether a number, or numbers, are about one of the values."""
    return any(
        torch.allclose(
            torch.as_tensor(got, dtype=torch.float64).detach(),
            torch.as_tensor(value, dtype=torch.float64).detach(),
            rtol=1e-4,
            atol=1e-6,
        )
        for value in values
    )


# The loss

WHOLE = torch.tensor([[3, 0, 6, 1, 2, 5], [1, 4, 0, 6, 6, 2], [2, 2, 3, 0, 5, 1]])
"""Three rows of six tokens, of a vocabulary of seven."""

SHORT = WHOLE.clone()
"""The same, and two rows end early: 5, 2 and 3 tokens are asked."""
SHORT[1, 3:] = SHORT[2, 4:] = NOTHING


def _asked(ids: Tensor) -> int:
    return int((ids[:, 1:] != NOTHING).sum())


def _real(ids: Tensor) -> int:
    return int((ids != NOTHING).sum())


def _table(size: float = 1.5) -> Tensor:
    """Logits for each position and each token that stands there: (T, V, V)."""
    return (size * _random(5, 7, 7, seed=3)).float()


def _reads(table: Tensor) -> Callable[[Tensor], Tensor]:
    """A model that looks its logits up: ids (B, T) -> (B, T, V)."""

    def model(ids: Tensor) -> Tensor:
        if ids.shape[1] > len(table):
            raise Complaint(
                "The model is given all T + 1 tokens, and has places for T. The last "
                "token is only a target: the model reads `ids[:, :-1]`."
            )
        if ids.device.type != "meta" and bool((ids < 0).any()):
            raise Complaint(
                f"The model is given a {ids.min().item()}, which is no token: its "
                "table has no such row. Put any token there, `.clamp(min=0)` puts 0; "
                "no real token before it can see it."
            )
        return table[torch.arange(ids.shape[1], device=ids.device), ids]

    return model


def _logits(table: Tensor, ids: Tensor) -> Tensor:
    logits = _reads(table)(ids.clamp(min=0))
    return logits.to(torch.promote_types(table.dtype, torch.float32))


def _surprises(logits: Tensor, targets: Tensor) -> Tensor:
    """-log p of each target, and 0 where nothing is asked: (B, T)."""
    return F.cross_entropy(logits.mT, targets, reduction="none", ignore_index=NOTHING)


def _loss(table: Tensor, ids: Tensor) -> Tensor:
    return _surprises(_logits(table, ids[:, :-1]), ids[:, 1:]).sum() / _asked(ids)


def _loss_mistakes(table: Tensor, ids: Tensor) -> tuple[Mistake, ...]:
    inputs, targets = ids[:, :-1], ids[:, 1:]
    logits, real = _logits(table, inputs), targets != NOTHING
    each = _surprises(logits, targets)  # (B, T)
    shares = logits.softmax(-1)
    chosen = targets.clamp(min=0)[..., None]
    right = each.sum() / real.sum()

    def astray(hint: str, *values: Tensor) -> Mistake:
        return Mistake(
            hint, when=lambda got: not _near(got, right) and _near(got, *values)
        )

    def asked(targets: Tensor, logits: Tensor = logits) -> Tensor:
        return _surprises(logits, targets).sum() / (targets != NOTHING).sum()

    return (
        Mistake(
            "A number has lost its way back to the model, so nothing could be learned "
            "from it. Return the tensor, without `.item()`.",
            when=lambda got: isinstance(got, float),
        ),
        Mistake(
            "There is one number for each token, or for each row. Return the mean of "
            "all that is asked, a tensor of shape ().",
            when=lambda got: got.dim() > 0,
        ),
        Mistake(
            "`F.cross_entropy` looks for the tokens on the second axis. Give it one "
            "long list: logits as (B T, V), targets as (B T), by `flatten`.",
            raises=(RuntimeError, ValueError),
            mentions="xpected",
        ),
        Mistake(
            f"A target is {NOTHING}, which is no token. Leave it out: with "
            "`F.cross_entropy`, by its `ignore_index`.",
            raises=(IndexError, RuntimeError),
            mentions="out of bounds",
        ),
        Mistake(
            "Something is infinite, or no number: e to a large power does not fit into "
            "a float, and the logarithm of 0 is no number. `F.cross_entropy` and "
            "`log_softmax` avoid both.",
            when=lambda got: not bool(got.isfinite()),
        ),
        astray(
            "The targets are the tokens that the model has read, so it would learn to "
            "copy. At position t the target is the token at t + 1: `ids[:, 1:]`.",
            asked(inputs),
        ),
        astray(
            "The model is asked for the token *before* each one that it reads. It "
            "reads `ids[:, :-1]`, and the targets are `ids[:, 1:]`.",
            asked(inputs, _logits(table, targets)),
        ),
        astray(
            "Nothing is averaged: this is the sum. Divide by how many tokens are "
            "asked.",
            each.sum(),
        ),
        astray(
            "The sum is divided by the number of rows. Divide it by the number of "
            "tokens that are asked.",
            each.sum() / len(ids),
        ),
        astray(
            f"The sum is divided by all B T places, also those with {NOTHING}, where "
            "nothing is asked. Divide it by the number of real targets.",
            each.mean(),
        ),
        astray(
            "Each row counts the same, however short. Each *token* counts the same: "
            "add all of them up, and divide by how many they are.",
            (each.sum(1) / real.sum(1)).mean(),
        ),
        astray(
            f"Where {NOTHING} stands token 0 is asked. Clamp what the model reads; the "
            f"targets keep their {NOTHING}, and `F.cross_entropy` leaves it out.",
            asked(targets.clamp(min=0)),
        ),
        astray(
            f"Token 0 is a token like any other, and is asked, too. What is left out "
            f"is {NOTHING}.",
            asked(targets.masked_fill(targets == 0, NOTHING)),
        ),
        astray("This is in bits. Take the natural logarithm.", right / math.log(2)),
        astray("The sign is wrong: a surprise is *minus* log p.", -right),
        astray(
            "There are two softmaxes: `F.cross_entropy` contains one. Give it the "
            "logits.",
            asked(targets, shares),
        ),
        astray(
            "The logarithm is missing: `F.nll_loss` expects log p, as `log_softmax` "
            "gives it.",
            *(
                -(part.gather(-1, chosen)[..., 0] * real).sum() / real.sum()
                for part in (logits, shares)
            ),
        ),
        astray(
            "Positions and tokens are mixed up: `reshape` and `view` do not swap axes. "
            "Use `logits.transpose(1, 2)`, or flatten the first two axes.",
            asked(targets, logits.reshape(3, 7, 5).mT),
        ),
        Mistake(
            "The numbers are rounded to bfloat16, which has three digits. Convert the "
            "logits to float32 *before* the loss.",
            when=lambda got: table.dtype == torch.bfloat16 and abs(got / right - 1) < 1,
        ),
        Mistake(
            "Only what is less than float32 is converted; a float64 stays. "
            "`torch.promote_types(logits.dtype, torch.float32)` says which type to "
            "take.",
            when=lambda got: table.dtype == torch.float64 and _near(got, right),
        ),
    )


def next_token_loss() -> Iterator[Case]:
    for title, table, ids in (
        ("three rows of six tokens", _table(), WHOLE),
        ("two rows end early", _table(), SHORT),
        ("logits of some hundreds", _table(200.0), SHORT),
        ("a model in bfloat16: the loss in float32", _table().bfloat16(), SHORT),
        ("a model in float64: the loss, too", _table().double(), SHORT),
    ):
        yield Case(
            title,
            args=(table, ids),
            call=lambda answer, table, ids: answer(_reads(table), ids),
            expected=_loss,
            gradient=table.dtype != torch.bfloat16,
            any_device=ids is WHOLE,
            seconds=30.0,  # what the other device needs of torch is loaded here
            mistakes=_loss_mistakes(table, ids),
        )
    for length in 1, 0:
        yield Case(
            f"rows of length {length}: a ValueError",
            args=(_table(), WHOLE[:, :length]),
            call=lambda answer, table, ids: refusal(answer, _reads(table), ids),
            judge=is_refused,
            mistakes=refused(
                "Without a second token there is no target, and a mean of nothing is "
                "no number. Raise a `ValueError` for fewer than two tokens."
            ),
        )


# The learning rate


class _Run(NamedTuple):
    steps: int
    peak: float
    warmup: int
    lowest: float


def _rate_mistakes(run: _Run) -> tuple[Mistake, ...]:
    steps, peak, warmup, lowest = run
    span = peak - lowest

    def share(angle: float) -> float:
        return (1 + math.cos(angle)) / 2

    def astray(
        hint: str,
        *ups: Callable[[int], float],  # the rate of a step in the warmup
        done: Callable[[int], float] = lambda step: (step - warmup) / (steps - warmup),
        down: Callable[[float], float] = lambda done: (
            lowest + span * share(math.pi * done)
        ),
    ) -> Mistake:
        def rates(up: Callable[[int], float]) -> list[float]:
            return [
                up(step) if step < warmup else down(done(step)) for step in range(steps)
            ]

        ups = ups or (lambda step: peak * (step + 1) / warmup,)
        return Mistake(hint, when=lambda got: any(_near(got, rates(up)) for up in ups))

    def cosine_of_all(step: int) -> float:
        return lowest + span * share(math.pi * step / steps)

    return (
        Mistake(
            "A learning rate is a plain number here. `math.cos` gives one.",
            when=lambda got: any(isinstance(rate, Tensor) for rate in got),
        ),
        Mistake(
            "With a warmup of 0 steps, or one that is as long as the run, you divide "
            "by 0. Ask first which part the step is in.",
            raises=ZeroDivisionError,
        ),
        Mistake("The warmup may be as long as the run, not longer.", raises=ValueError),
        astray(
            "At step 0 the rate is 0, so the first step does nothing. Steps are "
            "counted from 0: peak * (step + 1) / warmup.",
            lambda step: peak * step / warmup,
        ),
        astray(
            "The warmup does not reach the peak in its last step: divide by `warmup`, "
            "not by one more.",
            lambda step: peak * (step + 1) / (warmup + 1),
        ),
        astray(
            "The warmup begins at the lowest rate. It begins at peak / warmup, and "
            "`lowest` is for the end.",
            lambda step: lowest + span * (step + 1) / warmup,
            lambda step: lowest + span * step / warmup,
        ),
        astray(
            "There is no warmup: during the first `warmup` steps the rate grows in a "
            "line, and the cosine begins after them.",
            cosine_of_all,
            done=lambda step: step / steps,
        ),
        astray(
            "The cosine begins at step 0, so after the warmup the rate jumps. It "
            "begins when the warmup ends: count from there, step - warmup.",
            done=lambda step: step / steps,
        ),
        astray(
            "The cosine does not come to its end: after the warmup there are steps - "
            "warmup steps left.",
            done=lambda step: (step - warmup) / steps,
        ),
        *(
            astray(
                "The cosine is one step ahead. In the first step after the warmup "
                "nothing of it is done; its end, `lowest`, comes at step `steps`.",
                done=done,
            )
            for done in (
                lambda step: (step + 1 - warmup) / (steps - warmup),
                lambda step: (step - warmup) / (steps - warmup - 1),
            )
        ),
        astray(
            "The rate falls in a line. It should follow a cosine.",
            down=lambda done: peak - span * done,
        ),
        astray(
            "The rate rises after the warmup. cos begins at 1: 1 + cos, not 1 - cos.",
            down=lambda done: peak - span * share(math.pi * done),
        ),
        astray(
            "The half is missing: 1 + cos runs from 2 to 0.",
            down=lambda done: lowest + span * 2 * share(math.pi * done),
        ),
        astray(
            "cos runs from 1 to -1, so the rate becomes negative, or falls too low. "
            "(1 + cos) / 2 runs from 1 to 0.",
            down=lambda done: lowest + span * math.cos(math.pi * done),
        ),
        astray(
            "Half a turn of the cosine is pi: cos(pi * done).",
            down=lambda done: lowest + span * share(done),
        ),
        astray(
            "`lowest` has no effect. The cosine falls from `peak` to `lowest`, not "
            "to 0.",
            down=lambda done: peak * share(math.pi * done),
        ),
        astray(
            "`lowest` is added to the whole peak, so the cosine begins too high. It "
            "falls by peak - lowest.",
            down=lambda done: lowest + peak * share(math.pi * done),
        ),
    )


HALF_ROOT = math.sqrt(3) / 2  # the cosine of 30 degrees
FALLING = [1, (1 + HALF_ROOT) / 2, 0.75, 0.5, 0.25, (1 - HALF_ROOT) / 2]
"""(1 + cos) / 2 at 0, 30, 60, 90, 120 and 150 degrees: a fall in six steps."""


def learning_rate() -> Iterator[Case]:
    def rates(answer: Callable, steps: int, peak: float, **rest: Any) -> list[float]:
        return [answer(step, steps=steps, peak=peak, **rest) for step in range(steps)]

    for title, run, expected in (
        ("six steps, no warmup", _Run(6, 3.0, 0, 0.0), [3 * x for x in FALLING]),
        (
            "a warmup of four steps, then six",
            _Run(10, 3.0, 4, 0.0),
            [0.75, 1.5, 2.25, 3.0, *(3 * x for x in FALLING)],
        ),
        (
            "the same, and the lowest rate is 0.5",
            _Run(10, 3.0, 4, 0.5),
            [0.75, 1.5, 2.25, 3.0, *(0.5 + 2.5 * x for x in FALLING)],
        ),
        ("the warmup is as long as the run", _Run(3, 6.0, 3, 0.5), [2.0, 4.0, 6.0]),
    ):
        given = run._asdict()
        if not run.warmup:  # what is not given is 0
            given = {"steps": run.steps, "peak": run.peak}
        yield Case(
            title,
            kwargs=given,
            call=rates,
            expected=expected,
            mistakes=_rate_mistakes(run),
        )
    for warmup in 4, 10:
        yield Case(
            f"after the end of the run, with a warmup of {warmup} steps",
            kwargs=_Run(10, 3.0, warmup, 0.5)._asdict(),
            call=lambda answer, **run: [answer(step, **run) for step in (10, 11, 16)],
            expected=[0.5, 0.5, 0.5],
            mistakes=(
                Mistake(
                    "The cosine goes on, and rises again. From step `steps` on the "
                    "rate stays at `lowest`.",
                    when=lambda got: got[0] == 0.5 < got[1] < got[2],
                ),
                Mistake(
                    "From step `steps` on the rate stays at `lowest`, not at 0, nor at "
                    "the peak.",
                    when=lambda got: got[0] in (0, 3) and len(set(got)) == 1,
                ),
                Mistake(
                    "With a warmup that is as long as the run you divide by 0. Ask "
                    "first whether the run is over.",
                    raises=ZeroDivisionError,
                ),
                Mistake(
                    "A step after the end is allowed: the rate stays at `lowest`.",
                    raises=(ValueError, IndexError),
                ),
            ),
        )
    yield Case(
        "a warmup of 5 steps in a run of 4: a ValueError",
        kwargs={"steps": 4, "peak": 3.0, "warmup": 5},
        call=lambda answer, **run: refusal(lambda: answer(0, **run)),
        judge=is_refused,
        mistakes=refused(
            "A run that ends before its warmup never reaches the peak. Raise a "
            "`ValueError` if `warmup` is more than `steps`."
        ),
    )


# Parameters in groups


def _zoo() -> nn.Module:
    """A model with parameters of every kind, two of them named misleadingly."""
    model = nn.Module()
    model.tokens = nn.Embedding(7, 5)
    model.positions = nn.Embedding(3, 5)
    model.norm = nn.LayerNorm(5)
    model.inner = nn.Linear(5, 11)
    model.bias = nn.Parameter(torch.zeros(3, 3))  # as attention may have one
    model.weights = nn.Parameter(torch.ones(11))
    return model


def _tied() -> nn.Module:
    model = nn.Module()
    model.tokens = nn.Embedding(7, 5)
    model.output = nn.Linear(5, 7)
    model.output.weight = model.tokens.weight
    return model


def _frozen() -> nn.Module:
    model = nn.Module()
    model.first, model.second = nn.Linear(5, 3), nn.Linear(3, 5)
    model.first.requires_grad_(False)
    return model


def _images() -> nn.Module:
    """With parameters of no axis, of three, and of four."""
    model = nn.Module()
    model.patches = nn.Conv2d(3, 5, 2)
    model.sounds = nn.Conv1d(3, 5, 2, bias=False)
    model.scale = nn.Parameter(torch.tensor(0.5))
    return model


def _grouped(answer: Callable, make: Callable, weight_decay: float) -> list | None:
    """What the answer returns, with the names of the parameters in place of them.

    Raises:
        Complaint: if torch's optimizers, or a reader, could not use it.
    """
    model = make()
    groups = answer(model, weight_decay)
    if groups is None:
        return None
    groups = list(groups) if isinstance(groups, tuple) else groups
    if not isinstance(groups, list) or not all(isinstance(g, dict) for g in groups):
        raise Complaint(
            'Return a list of two groups, each a dict: `{"params": [...], '
            '"weight_decay": ...}`.'
        )
    names = {id(p): name for name, p in model.named_parameters()}
    listed = []
    for group in groups:
        for key in "params", "weight_decay":
            if key not in group:
                raise Complaint(f"A group has no {key!r}; it has {', '.join(group)}.")
        members = group["params"]
        if not isinstance(members, list) or any(
            type(m) in (tuple, str) for m in members
        ):
            raise Complaint(
                '"params" is a list of the parameters alone, without names, as '
                "`model.parameters()` gives them."
            )
        if any(id(member) not in names for member in members):
            raise Complaint(
                "A group holds a tensor that is no parameter of the model: a copy, or "
                "a part of one? An optimizer has to change the model's own."
            )
        members = sorted(names[id(member)] for member in members)
        listed.append((float(group["weight_decay"]), members))
    return listed


def _group_mistakes(make: Callable, decay: float) -> tuple[Mistake, ...]:
    model = make()
    learned = {n: p for n, p in model.named_parameters() if p.requires_grad}
    matrices = {n for n, p in learned.items() if p.dim() >= 2}
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}

    def members(got: list) -> list[str]:
        return [name for _, names in got for name in names]

    def misplaced(got: list) -> set[str]:
        return (set(got[0][1]) ^ matrices) & set(members(got)) - frozen

    return (
        Mistake(
            "Return two groups: first everything with two axes or more, then the rest.",
            when=lambda got: len(got) != 2,
        ),
        Mistake(
            "The groups are exchanged: first what has two axes or more, with the "
            "weight decay, then the rest, without.",
            when=lambda got: set(got[1][1]) == matrices,
        ),
        Mistake(
            "The second group decays, too. Its weight decay is 0: a norm's gain should "
            "not be drawn to 0.",
            when=lambda got: got[1][0] == decay != 0,
        ),
        Mistake(
            "The weight decay of the first group is not the one that was given.",
            when=lambda got: got[0][0] != decay,
        ),
        Mistake(
            "A parameter that needs no gradient is in a group. Leave out those whose "
            "`requires_grad` is False.",
            when=lambda got: bool(frozen & set(members(got))),
        ),
        Mistake(
            "A parameter that two modules share is listed twice, so it would be "
            "changed twice. `model.parameters()` gives each one once.",
            when=lambda got: len(set(members(got))) < len(members(got)),
        ),
        Mistake(
            "The sorting goes by names. A matrix may be called `bias`, and a vector "
            "`weights`: count the axes, `p.dim()`.",
            when=lambda got: bool(misplaced(got) & {"bias", "weights"}),
        ),
        Mistake(
            "A token or position table is in the second group. It has two axes: it "
            "decays like any other matrix.",
            when=lambda got: "tokens.weight" in misplaced(got),
        ),
        Mistake(
            "A parameter with three axes or more belongs to the matrices: `p.dim() >= "
            "2`.",
            when=lambda got: any(
                name in got[1][1] or name not in members(got)
                for name in matrices
                if learned[name].dim() > 2
            ),
        ),
        Mistake(
            "A parameter without an axis, a single number, belongs to the vectors: "
            "`p.dim() < 2`.",
            when=lambda got: any(
                name not in got[1][1] for name, p in learned.items() if p.dim() == 0
            ),
        ),
        Mistake(
            "A parameter is in no group, so it would never be trained. Does your code "
            "look into some kinds of modules only? `model.parameters()` gives all.",
            when=lambda got: bool(set(learned) - set(members(got))),
        ),
    )


def parameter_groups() -> Iterator[Case]:
    plain = nn.Linear(5, 3, bias=False)
    for title, make, decay, matrices, vectors in (
        (
            "two tables, a norm, a linear layer, and two parameters by themselves",
            _zoo,
            0.3,
            ["bias", "inner.weight", "positions.weight", "tokens.weight"],
            ["inner.bias", "norm.bias", "norm.weight", "weights"],
        ),
        (
            "parameters of four axes, of three, and of none",
            _images,
            0.01,
            ["patches.weight", "sounds.weight"],
            ["patches.bias", "scale"],
        ),
        ("a shared table", _tied, 0.1, ["tokens.weight"], ["output.bias"]),
        ("a frozen layer", _frozen, 0.1, ["second.weight"], ["second.bias"]),
        ("no vectors: two groups all the same", lambda: plain, 0.2, ["weight"], []),
    ):
        yield Case(
            title,
            args=(make, decay),
            call=_grouped,
            expected=[(decay, matrices), (0.0, vectors)],
            mistakes=_group_mistakes(make, decay),
        )


# One step of training

PARTS = (
    SHORT,  # 10 tokens are asked,
    torch.tensor([[4, 4, 1, 6], [0, 5, 2, 3]]),  # 6,
    torch.tensor([[6, 2, 5] + 5 * [NOTHING]]),  # and 2, at 7 places
)
RATES = {"table": 0.5, "head": 0.2}
"""Each half of the model has an optimizer of its own, with this learning rate."""

Gradient = dict[str, Tensor]


class _Model(nn.Module):
    """A small model in float64: ids (B, T) -> logits (B, T, V).

    `watch` sees the ids, the logits and the model each time that it is called.
    """

    def __init__(self, watch: Callable[..., None] | None = None) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(7, 5), nn.Linear(5, 7)
        self.inner = nn.Identity()
        self.unused = nn.Parameter(torch.ones(3))
        self.watch = watch
        self.double()
        with torch.no_grad():
            for number, value in enumerate(self.parameters()):
                value.copy_(_random(*value.shape, seed=number))

    def forward(self, ids: Tensor) -> Tensor:
        logits = 3 * self.head(self.inner(self.table(ids)).tanh())
        if self.watch is not None:
            self.watch(ids, logits, self)
        return logits


class _OneByOne:
    """Sees that the parts go through the model singly, each forward and back."""

    def __init__(self) -> None:
        self.waiting = 0

    def __call__(self, ids: Tensor, logits: Tensor, model: nn.Module) -> None:
        if not any(len(ids) == len(part) for part in PARTS):
            raise Complaint(
                f"The model is given {len(ids)} rows at once. It gets one part at a "
                "time, because together they would not fit into memory."
            )
        if self.waiting:
            raise Complaint(
                "The model is given the next part before the gradient of the last one "
                "is taken, so memory fills up with all of them. Call `backward` for "
                "each part in the loop: gradients add up by themselves."
            )
        if logits.requires_grad:
            self.waiting += 1
            logits.register_hook(self.done)

    def done(self, gradient: Tensor) -> None:
        self.waiting -= 1


def _mean_surprise(model: nn.Module, ids: Tensor) -> Tensor:
    logits = model(ids[:, :-1].clamp(min=0))
    return _surprises(logits, ids[:, 1:]).sum() / max(_asked(ids), 1)


def _optimizers(model: nn.Module, kind: type = SGD) -> list[Optimizer]:
    return [
        kind([model.table.weight, model.unused], lr=RATES["table"]),
        kind(model.head.parameters(), lr=RATES["head"]),
    ]


def _weighings(what: str) -> tuple[tuple[str, Callable[[Tensor], int]], ...]:
    """How parts or batches may be weighed wrongly: words, and the weight of one."""
    return (
        (
            f"Every {what} counts the same, and one of them has many more targets than "
            "another. Each *token* counts the same: weigh by the number of targets.",
            lambda ids: 1,
        ),
        (
            f"Every {what} is weighed by its rows. Rows differ in length: weigh by the "
            "number of targets.",
            len,
        ),
        (
            f"Every {what} is weighed by its places. Where {NOTHING} stands nothing is "
            "asked: count the targets that are not.",
            lambda ids: ids[:, 1:].numel(),
        ),
        (
            f"Every {what} is weighed by all its tokens. The first of each row is no "
            "target: count in `[:, 1:]`.",
            _real,
        ),
    )


def _shares(parts: Sequence[Tensor], count: Callable[[Tensor], int]) -> list[float]:
    return [count(part) / sum(map(count, parts)) for part in parts]


def _clipped(
    gradient: Gradient, clip: float, key: Callable[[str], str] = lambda name: ""
) -> Gradient:
    """No longer than `clip`: all together, or all that have the same key."""
    squares = dict.fromkeys(map(key, gradient), 0.0)
    for name, value in gradient.items():
        squares[key(name)] += value.square().sum().item()
    return {
        name: value * min(1.0, clip / math.sqrt(squares[key(name)]))
        for name, value in gradient.items()
    }


def _unclipped(gradient: Gradient, clip: float) -> Gradient:
    return gradient


def _half(name: str) -> str:
    """The table or the head, each of which has an optimizer."""
    return name.split(".")[0]


def _step(
    parts: Sequence[Tensor],
    clip: float,
    shares: Sequence[float] | None = None,
    clipped: Callable[[Gradient, float], Gradient] = _clipped,
    each: Callable[[Gradient, float], Gradient] = _unclipped,
    so_far: Callable[[Gradient, float], Gradient] = _unclipped,
    apart: bool = False,
) -> dict[str, Tensor]:
    """The loss of a batch, and the weights after one step of gradient descent.

    Args:
        shares: how much each part counts; by default as many as its targets.
        clipped: shortens the gradient of the batch; `each` that of one part, `so_far`
            what the parts up to this one have added up to.
        apart: a step after each part.
    """
    model = _Model()
    own = {n: p for n, p in model.named_parameters() if n != "unused"}
    total, sums = 0.0, {name: torch.zeros_like(p) for name, p in own.items()}

    def move(gradient: Gradient) -> None:
        with torch.no_grad():
            for name, value in clipped(gradient, clip).items():
                own[name].sub_(RATES[_half(name)] * value)

    for part, share in zip(parts, shares or _shares(parts, _asked), strict=True):
        loss = share * _mean_surprise(model, part)
        found = torch.autograd.grad(loss, list(own.values()))
        gradient = each(dict(zip(own, found, strict=True)), clip)
        total = total + loss.detach()
        sums = so_far({name: sums[name] + gradient[name] for name in own}, clip)
        if apart:
            move(gradient)
    if not apart:
        move(sums)
    return {"loss": total, **{name: value.detach() for name, value in own.items()}}


def _trained(answer: Callable, parts: Sequence[Tensor], *clip: float) -> dict:
    """What the answer returns, and the weights after it.

    Raises:
        Complaint: if it leaves something behind that harms the next step.
    """
    model = _Model(_OneByOne())
    loss = answer(model, parts, _optimizers(model), *clip)
    for name, value in model.named_parameters():
        if value.grad is not None and bool(value.grad.any()):
            raise Complaint(
                f"`{name}` still has a gradient after the step; the next batch would "
                "add its own to it. Call `model.zero_grad()` at the end."
            )
    if not isinstance(loss, Tensor):
        raise Complaint("Return the loss, a tensor of shape ().")
    if loss.requires_grad:
        raise Complaint(
            "The loss that you return still holds the graph of its computation, and "
            "with it memory. Return `loss.detach()`."
        )
    if not model.training:
        raise Complaint("The model is no longer in training mode.")
    weights = {n: p.detach() for n, p in model.named_parameters() if n != "unused"}
    return {"loss": loss.double(), **weights}


def _step_mistakes(parts: Sequence[Tensor], clip: float) -> tuple[Mistake, ...]:
    right = _step(parts, clip)
    start = dict(_Model().named_parameters())
    names = [name for name in right if name != "loss"]
    count, targets = len(parts), [_asked(part) for part in parts]

    def moved_as(got: dict, wanted: dict) -> bool:
        return all(_near(got[name], wanted[name]) for name in names)

    def astray(hint: str, *ways: dict[str, Any]) -> Mistake:
        return Mistake(
            hint,
            when=lambda got: any(
                moved_as(got, _step(parts, clip, **way)) for way in ways
            ),
        )

    def weighed(hint: str, *ways: Sequence[float]) -> Mistake:
        """Wrong shares show whether or not the answer clips."""
        cuts = _clipped, _unclipped
        return astray(hint, *({"shares": w, "clipped": c} for w in ways for c in cuts))

    def each_number(gradient: Gradient, clip: float) -> Gradient:
        return {n: value.clamp(-clip, clip) for n, value in gradient.items()}

    def stretched(gradient: Gradient, clip: float) -> Gradient:
        return _clipped({n: value * 1e6 for n, value in gradient.items()}, clip)

    def told(hint: str, *losses: Tensor) -> Mistake:
        return Mistake(
            f"The weights are right, the loss is not. {hint}",
            when=lambda got: (
                moved_as(got, right) and (not losses or _near(got["loss"], *losses))
            ),
        )

    losses = [_mean_surprise(_Model(), part) for part in parts]
    only = [[float(n == chosen) for n in range(count)] for chosen in (0, count - 1)]
    return (
        Mistake(
            "The parts have different lengths, and cannot be put together. They go "
            "through the model one after another; their gradients add up.",
            raises=RuntimeError,
            mentions="Sizes of tensors must match",
        ),
        Mistake(
            "Not every parameter has a gradient: where nothing depends on it, `grad` "
            "is None. `nn.utils.clip_grad_norm_` knows that.",
            raises=(AttributeError, TypeError),
            mentions="NoneType",
        ),
        Mistake(
            "Nothing has moved. Each optimizer needs a `step()`, after `backward` and "
            "before the gradients are cleared.",
            when=lambda got: moved_as(got, start),
        ),
        Mistake(
            "Only one of the optimizers has made its step. Each has a part of the "
            "parameters.",
            when=lambda got: any(_near(got[name], start[name]) for name in names),
        ),
        told("It is that of the last part alone.", losses[-1]),
        told("It is measured after the step.", _later(right, parts)),
        told("Return the mean over all targets of the batch, before the step."),
        *(weighed(hint, _shares(parts, by)) for hint, by in _weighings("part")),
        weighed(
            "The losses of the parts are added up, so the gradient grows with the "
            "number of parts. Weigh each by its share of the targets.",
            count * [1.0],
        ),
        weighed(
            "The losses are added up, and not divided by the number of targets.",
            targets,
        ),
        weighed(
            "One part alone is learned from: the gradients are cleared between the "
            "parts, or the loop stops early.",
            *only,
            *([n * targets[-1] / sum(targets) for n in one] for one in only),
        ),
        astray(
            "There is a step after each part. One batch is one step: first the "
            "gradients of all parts, then the step.",
            *(
                {"apart": True, "shares": shares, "clipped": clipped}
                for shares in (None, count * [1 / count], count * [1.0])
                for clipped in (_clipped, _unclipped)
            ),
        ),
        astray(
            "The gradient is not clipped, or only when the step is done: after all "
            "`backward`s, before the first `step`.",
            {"clipped": _unclipped},
        ),
        astray(
            "Each parameter is clipped by itself, which turns the direction of the "
            "step. The length is that of all gradients together.",
            {"clipped": lambda gradient, clip: _clipped(gradient, clip, str)},
        ),
        astray(
            "The parameters of each optimizer are clipped by themselves. The length is "
            "that of all gradients together: `model.parameters()`, once.",
            {"clipped": lambda gradient, clip: _clipped(gradient, clip, _half)},
        ),
        astray(
            "Each number is clipped by itself. It is the *length* of the whole "
            "gradient that may be at most `clip`: `nn.utils.clip_grad_norm_`.",
            {"clipped": each_number},
        ),
        astray(
            "The gradient is made longer where it is shorter than `clip`. Then it "
            "should stay as it is.",
            {"clipped": stretched},
        ),
        astray(
            "The gradient is clipped after each part, and not once, that of the whole "
            "batch: clip after the loop.",
            {"clipped": _unclipped, "each": _clipped},
            {"clipped": _unclipped, "so_far": _clipped},
            {"each": _clipped},
        ),
        astray(
            "The gradient is cut to a length of 1, whatever `clip` is.",
            {"clipped": lambda gradient, clip: _clipped(gradient, 1.0)},
        ),
    )


def _later(state: dict[str, Tensor], parts: Sequence[Tensor]) -> Tensor:
    """The loss of all parts with these weights."""
    model = _Model()
    model.load_state_dict(state, strict=False)
    shares = _shares(parts, _asked)
    return sum(s * _mean_surprise(model, p) for s, p in zip(shares, parts, strict=True))


def _spoiled(answer: Callable, parts: Sequence[Tensor], spoil: Callable) -> str:
    """What happens in a step that goes wrong, between two good steps.

    Raises:
        Complaint: if the bad step leaves traces.
    """
    watch = _OneByOne()
    models = [_Model(), _Model(watch)]
    both = [_optimizers(model, Adam) for model in models]
    for model, optimizers in zip(models, both, strict=True):
        answer(model, parts, optimizers)
    good, model = models
    before = [p.detach().clone() for p in model.parameters()]
    with spoil(model):
        outcome = "no exception"
        try:
            answer(model, parts, both[1])
        except FloatingPointError:
            outcome = "FloatingPointError"
        except Complaint:
            raise
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
    if outcome != "FloatingPointError":
        return outcome
    if not all(map(torch.equal, before, model.parameters())):
        raise Complaint(
            "The exception comes too late: the weights have changed already, and are "
            "lost. Look at the loss and the length of the gradient before any "
            "optimizer makes its step."
        )
    watch.waiting = 0
    with contextlib.suppress(FloatingPointError):
        for each, optimizers in zip(models, both, strict=True):
            answer(each, parts, optimizers)
        if all(map(torch.allclose, good.parameters(), model.parameters())):
            return outcome
    raise Complaint(
        "The next good batch goes astray: the bad one has left its gradient behind, or "
        "has got into an optimizer. Clear the gradients before you raise, and make no "
        "`step()`."
    )


def training_step() -> Iterator[Case]:
    for title, parts, clip in (
        ("one part, and a gradient that is short enough", PARTS[:1], (100.0,)),
        ("three parts, of 10, 6 and 2 targets", PARTS, (100.0,)),
        ("three parts, and a gradient that is longer than 0.3", PARTS, (0.3,)),
        ("`clip` is not given: 1", PARTS, ()),
    ):
        yield Case(
            title,
            args=(parts, *clip),
            call=_trained,
            expected=_step(parts, *clip or (1.0,)),
            rtol=1e-5,  # torch's clipping adds 1e-6 to the length
            atol=1e-8,
            mistakes=_step_mistakes(parts, *clip or (1.0,)),
        )

    def second_part(model: nn.Module) -> Any:
        calls = iter(range(1000))
        return model.inner.register_forward_hook(
            lambda module, inputs, output: (
                output * (math.nan if next(calls) == 1 else 1)
            )
        )

    for title, spoil in (
        ("the loss of the second part is NaN: a FloatingPointError", second_part),
        (
            "the loss is a number, its gradient is infinite: a FloatingPointError",
            lambda model: model.head.weight.register_hook(lambda g: g.abs() / 0),
        ),
        (
            "the loss is infinite, its gradient is not: a FloatingPointError",
            lambda model: model.head.register_forward_hook(
                lambda module, inputs, output: output.index_fill(
                    -1, torch.tensor([2]), -math.inf
                )
            ),
        ),
    ):
        yield Case(
            title,
            args=(PARTS, spoil),
            call=_spoiled,
            judge=lambda got: (
                None
                if got == "FloatingPointError"
                else "Here your code should raise a `FloatingPointError`."
            ),
            mistakes=(
                Mistake(
                    "A step with such a gradient would turn all weights into NaN. If "
                    "the loss, or the length of the gradient that `clip_grad_norm_` "
                    "returns, is not finite: raise a `FloatingPointError`, and let no "
                    "optimizer make its step.",
                    equals="no exception",
                ),
                Mistake(
                    "Another exception is raised. Raise a `FloatingPointError`, so "
                    "that the caller can tell this from a mistake in the code.",
                    when=lambda got: got != "FloatingPointError",
                ),
            ),
        )


# Measuring


class _Resting:
    """Sees that a model is measured in evaluation mode, without gradients."""

    def __call__(self, ids: Tensor, logits: Tensor, model: nn.Module) -> None:
        if model.training:
            raise Complaint(
                "The model is in training mode while it is measured: dropout makes it "
                "worse than it is. Call `model.eval()` first."
            )
        if logits.requires_grad:
            raise Complaint(
                "What a gradient would need is kept in memory, for nothing. Measure "
                "under `torch.no_grad()`."
            )


def _measured(
    answer: Callable, batches: Sequence[Tensor], training: bool = True
) -> tuple[float, int]:
    """What the answer returns for batches that can be gone through once.

    Raises:
        Complaint: if the model is not as it was before.
    """
    model = _with_dropout(_Resting()).train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    got = outcome = None
    try:
        got = answer(model, iter(batches))
    except ValueError as error:
        outcome = error
    if not torch.is_grad_enabled():
        raise Complaint(
            "Gradients are switched off for good. `with torch.no_grad():` switches "
            "them on again at its end."
        )
    if model.training != training:
        names = {True: "training", False: "evaluation"}
        raise Complaint(
            f"The model was in {names[training]} mode before, and is in "
            f"{names[not training]} mode afterwards. Keep `model.training` at the "
            "beginning, and set it back with `model.train(...)`"
            + (", before the exception." if outcome else ".")
        )
    for name, value in model.state_dict().items():
        if not torch.equal(before[name], value):
            raise Complaint(f"`{name}` has changed. Measuring changes nothing.")
    if outcome:
        raise outcome
    return got


def _with_dropout(watch: Callable[..., None] | None = None) -> nn.Module:
    model = _Model(watch)
    model.inner = nn.Dropout(0.5)
    return model


def _evaluate_mistakes(batches: Sequence[Tensor]) -> tuple[Mistake, ...]:
    model = _with_dropout().eval()
    tokens = [_asked(batch) for batch in batches]
    losses = [_mean_surprise(model, batch).item() for batch in batches]
    total = sum(n * loss for n, loss in zip(tokens, losses, strict=True))

    def weighed(count: Callable[[Tensor], int]) -> float:
        shares = _shares(batches, count)
        return sum(s * loss for s, loss in zip(shares, losses, strict=True))

    right = total / sum(tokens)

    def nats(hint: str, *values: float) -> Mistake:
        return Mistake(
            hint, when=lambda got: not _near(got[0], right) and _near(got[0], *values)
        )

    return (
        Mistake(
            "Return two things, the mean loss and how many tokens were asked.",
            when=lambda got: not isinstance(got, tuple) or len(got) != 2,
        ),
        Mistake(
            "The loss is a tensor. Return plain numbers: `.item()` gives them.",
            when=lambda got: any(isinstance(value, Tensor) for value in got),
        ),
        Mistake(
            "The two are exchanged: first the loss, then the number of tokens.",
            when=lambda got: _near(got[1], right),
        ),
        Mistake(
            "The batches have no length, and can be gone through once: they may come "
            "from a generator. Count in the loop.",
            raises=TypeError,
            mentions="len()",
        ),
        *(
            Mistake(
                "The batches can be gone through once: they may come from a generator, "
                "and a second loop finds nothing. Measure and count in one loop.",
                **sign,
            )
            for sign in (
                {"raises": (ValueError, ZeroDivisionError)},
                {"when": lambda got: 0 in got},
            )
        ),
        Mistake(
            "A batch in which nothing is asked has no mean: 0 / 0 is NaN, and NaN "
            "times 0 is NaN, too. Leave such a batch out.",
            when=lambda got: math.isnan(got[0]),
        ),
        *(nats(hint, weighed(by)) for hint, by in _weighings("batch")),
        nats(
            "The losses are added up. Divide by the number of tokens.",
            total,
            sum(losses),
        ),
        nats("This is in bits. The loss is in nats.", right / math.log(2)),
        Mistake(
            "The loss is right. The second number is how many tokens were asked in all "
            f"batches: in `ids[:, 1:]`, what is not {NOTHING}.",
            when=lambda got: _near(got[0], right),
        ),
    )


def evaluate() -> Iterator[Case]:
    nothing = torch.tensor([[3, NOTHING, NOTHING], [5, NOTHING, NOTHING]])
    for title, batches, training in (
        ("one batch, of 15 tokens", (WHOLE,), True),
        ("three batches, of 10, 6 and 2 tokens", PARTS, True),
        ("the model was in evaluation mode already", PARTS, False),
        ("in the second batch nothing is asked", (SHORT, nothing, WHOLE), True),
    ):
        model = _with_dropout().eval()
        tokens = sum(map(_asked, batches))
        nats = sum(_asked(ids) * _mean_surprise(model, ids).item() for ids in batches)
        yield Case(
            title,
            args=(batches, training),
            call=_measured,
            expected=(nats / tokens, tokens),
            mistakes=_evaluate_mistakes(batches),
        )
    for title, batches in (
        ("no batch: a ValueError", ()),
        ("nothing is asked in any batch: a ValueError", (nothing,)),
    ):
        yield Case(
            title,
            args=(batches,),
            call=lambda answer, batches: refusal(lambda: _measured(answer, batches)),
            judge=is_refused,
            mistakes=refused(
                "A mean of nothing is no number. Raise a `ValueError` if no token was "
                "asked."
            ),
        )


# The share of a machine


def utilisation() -> Iterator[Case]:
    small, gpt2 = GPTConfig(11, 9, 6, 3, 2), GPTConfig(50257, 1024, 768, 12, 12)
    for title, config, length, speed, peak, per_token in (
        # 3 * (2 * (3 * 12 * 6^2 + 11 * 6) + 3 * 4 * 5 * 6)
        ("C = 6, three layers", small, 5, 700.0, 2e7, 9_252),
        # the same with 3 * 4 * 9 * 6 at the end
        ("the same, longer texts", small, 9, 700.0, 2e7, 10_116),
        # 3 * (2 * 123,532,032 + 12 * 4 * 512 * 768)
        ("GPT-2, 512 tokens at a time", gpt2, 512, 150_000.0, 312e12, 797_815_296),
    ):
        yield Case(
            title,
            args=(speed, config, length, peak),
            expected=per_token * speed / peak,
            mistakes=_share_mistakes(speed, config, length, peak),
        )


def _share_mistakes(
    speed: float, config: GPTConfig, length: int, peak: float
) -> tuple[Mistake, ...]:
    width, layers = config.n_embd, config.n_layer
    table = config.vocab_size * width
    matrices = 12 * layers * width**2 + table
    vectors = 13 * layers * width + 2 * width + config.n_positions * width

    forward = 2 * matrices + 4 * layers * length * width
    right = 3 * forward
    longer = 12 * layers * (config.n_positions - length) * width

    def astray(hint: str, *per_token: float) -> Mistake:
        return Mistake(
            hint, when=lambda got: _near(got, *(n * speed / peak for n in per_token))
        )

    return (
        Mistake(
            "`//` cuts the fraction off. A share is a fraction: divide with `/`.",
            when=lambda got: got == 0,
        ),
        Mistake(
            "The fraction is upside down: what the model needs, divided by what the "
            "machine can do.",
            when=lambda got: _near(got, peak / (right * speed), peak / right / speed),
        ),
        Mistake(
            "This is in percent. Return a share, from 0 to 1.",
            when=lambda got: _near(got / 100, right * speed / peak),
        ),
        Mistake(
            "Divide by `peak`: this is how much the model needs in a second.",
            when=lambda got: _near(got, right * speed, forward * speed),
        ),
        Mistake(
            "The speed is missing: multiply what one token needs by the tokens per "
            "second.",
            when=lambda got: got != 0 and _near(got * speed, right * speed / peak),
        ),
        astray(
            "This is the way forward alone. The way back takes twice as much, so "
            "training takes three times as much.",
            forward,
        ),
        astray(
            "`forward_flops` counts a multiplication and an addition as two already: "
            "multiply it by 3, not by 6.",
            6 * forward,
        ),
        astray(
            "This counts six for each parameter, and no scores and averages of "
            "attention. `forward_flops` counts them.",
            6 * matrices,
            6 * (matrices + vectors),
            6 * (matrices - table),
        ),
        astray(
            "The texts are taken to be as long as the context. They have `length` "
            "tokens.",
            right + longer,
        ),
    )


EXERCISES = (
    Exercise(
        "next_token_loss",
        difficulty=1,
        minutes=10,
        hints=(
            "Every token but the first is a question, and every token but the last is "
            "read. Which two pieces of `ids` are these?",
            "The model reads `ids[:, :-1]`, where 0 may stand for `NOTHING` "
            "(`clamp(min=0)`); the targets are `ids[:, 1:]`. `F.cross_entropy` takes "
            "one long list of logits and one of targets, and leaves out -100. Before "
            "that, the logits become float32 at least.",
            "if ids has fewer than two columns: raise ValueError\n"
            "logits = model(ids[:, :-1].clamp(min=0))    # (B, T, V)\n"
            "logits = logits.to(torch.promote_types(logits.dtype, torch.float32))\n"
            "targets = ids[:, 1:]                        # (B, T)\n"
            "return F.cross_entropy(logits.flatten(0, 1), targets.flatten(),\n"
            "                       ignore_index=NOTHING)",
        ),
        cases=next_token_loss,
    ),
    Exercise(
        "learning_rate",
        difficulty=1,
        minutes=10,
        hints=(
            "A step is in one of three parts: in the warmup, on the way down, or after "
            "the end. Ask in which one first.",
            "On the way down, what share of it is done? It is 0 in the first step "
            "after the warmup. (1 + cos(pi * done)) / 2 falls from 1 to 0; stretch it "
            "to fall from `peak` to `lowest`.",
            "if warmup > steps: raise ValueError\n"
            "if step < warmup: return peak * (step + 1) / warmup\n"
            "if step >= steps: return lowest\n"
            "done = (step - warmup) / (steps - warmup)\n"
            "return lowest + (peak - lowest) * (1 + math.cos(math.pi * done)) / 2",
        ),
        cases=learning_rate,
    ),
    Exercise(
        "parameter_groups",
        difficulty=2,
        minutes=10,
        hints=(
            "What tells a matrix from a vector? Its name does not.",
            "Go through `model.parameters()`, which gives each parameter once. Leave "
            "out those without `requires_grad`, and sort the others by `p.dim()`.",
            "learned = those of model.parameters() that require a gradient\n"
            "matrices = those of learned with p.dim() >= 2\n"
            "vectors = the other ones of learned\n"
            'return [{"params": matrices, "weight_decay": weight_decay},\n'
            '        {"params": vectors, "weight_decay": 0.0}]',
        ),
        cases=parameter_groups,
    ),
    Exercise(
        "training_step",
        difficulty=3,
        minutes=20,
        hints=(
            "The result must be that of the whole batch at once, however it is cut. By "
            "how much does a part count, if each token counts the same?",
            "Multiply the loss of each part by its share of the targets, and call "
            "`backward` for it in the loop: gradients add up by themselves. After the "
            "loop clip once; `nn.utils.clip_grad_norm_` returns the length before. "
            "Then look whether all is finite, and only then let the optimizers step.",
            "asked = the number of targets that are not NOTHING, for each part\n"
            "total = 0\n"
            "for each part:\n"
            "    loss = next_token_loss(model, part) * its asked / the sum of asked\n"
            "    loss.backward()\n"
            "    total = total + loss.detach()\n"
            "length = nn.utils.clip_grad_norm_(model.parameters(), clip)\n"
            "finite = whether total and length are finite\n"
            "for each optimizer:\n"
            "    if finite: optimizer.step()\n"
            "    optimizer.zero_grad()\n"
            "if not finite: raise FloatingPointError\n"
            "return total",
        ),
        cases=training_step,
    ),
    Exercise(
        "evaluate",
        difficulty=2,
        minutes=10,
        hints=(
            "A batch with few tokens must not weigh as much as one with many. What do "
            "you have to add up, and what to count?",
            "Keep `model.training`, call `model.eval()`, and go through the batches "
            "under `torch.no_grad()`. The mean loss of a batch times its tokens is its "
            "sum. Leave out a batch in which nothing is asked, and set the mode back "
            "before you raise or return.",
            "before = model.training\n"
            "model.eval()\n"
            "nats, tokens = 0.0, 0\n"
            "with torch.no_grad():\n"
            "    for ids in batches:\n"
            "        asked = how many of ids[:, 1:] are not NOTHING\n"
            "        if asked: nats += next_token_loss(model, ids).item() * asked\n"
            "        tokens += asked\n"
            "model.train(before)\n"
            "if tokens is 0: raise ValueError\n"
            "return nats / tokens, tokens",
        ),
        cases=evaluate,
    ),
    Exercise(
        "utilisation",
        difficulty=1,
        minutes=6,
        hints=(
            "How much arithmetic does one token need in training, and how much is done "
            "in a second? What could the machine do in that second?",
            "`forward_flops(config, length)` is the way forward of one token. With the "
            "way back it is three times as much.",
            "needed = 3 * forward_flops(config, length)    # FLOPs per token\n"
            "done = needed * tokens_per_second             # FLOPs per second\n"
            "return done / peak",
        ),
        cases=utilisation,
    ),
)
