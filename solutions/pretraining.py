r"""Pretraining: the loss, the optimizers, the schedule, and one readable loop.

A GPT learns by guessing every next token of a text. One step draws a batch, measures
the loss, and moves every weight a little in the direction that makes it smaller:

    loss = mean of -log p[ids[t + 1]]      over all positions t of the batch
    weights -= learning_rate(step) * direction(gradients)

What the direction is, the optimizer decides: AdamW scales each number by itself, Muon
turns each matrix as a whole. `pretrain` is the loop that `sundays train` runs.

Shapes: `B` texts, `T + 1` tokens each (the last one is only ever a target), `C`
channels, `V` tokens in the vocabulary. Left out: files, processes and progress bars
(`course/training.py`).

Sources: Radford et al. 2018 and 2019 for the recipe; Loshchilov and Hutter 2019,
"Decoupled Weight Decay Regularization", arXiv:1711.05101, for AdamW; Pascanu et al.
2013, "On the difficulty of training recurrent neural networks", for clipping; Jordan et
al. 2024, "Muon: An optimizer for hidden layers in neural networks",
kellerjordan.github.io/posts/muon.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from solutions.gpt_block import GPT, GPTConfig, forward_flops

NOTHING = -100
"""Stands in a batch where a row has no more tokens: nothing is asked there."""


def next_token_loss(model: Callable[[Tensor], Tensor], ids: Tensor) -> Tensor:
    """Mean surprise at every next token, in nats: ids (B, T + 1) -> ().

        loss = mean over b and t of -log p(ids[b, t + 1] given ids[b, 0 .. t])

    The model reads all tokens but the last, and is asked for all but the first. A row
    that is shorter than the others ends in `NOTHING`; what stands there is not asked.
    The loss is computed in at least float32, whatever the model's numbers are. If
    nothing is asked at all it is 0 / 0, which is NaN.

    Args:
        model: maps ids (B, T) to logits (B, T, V).

    Raises:
        ValueError: if there are fewer than two tokens in a row.
    """
    if ids.dim() != 2 or ids.shape[1] < 2:
        raise ValueError(f"expected ids (B, T + 1), T >= 1, got {tuple(ids.shape)}")
    # Any token may stand for NOTHING in the input: no position before it can see it.
    logits = model(ids[:, :-1].clamp(min=0))  # (B, T, V)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    targets = ids[:, 1:]  # (B, T)
    return F.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=NOTHING
    )


def learning_rate(
    step: int, steps: int, peak: float, warmup: int = 0, lowest: float = 0.0
) -> float:
    r"""The learning rate of one step: up in a line, then down along half a cosine.

        step < warmup:  peak * (step + 1) / warmup
        otherwise:      lowest + (peak - lowest) * (1 + cos(pi * done)) / 2,
                        done = (step - warmup) / (steps - warmup)

    Steps are counted from 0; from `steps` on it stays at `lowest`.

    >>> [round(learning_rate(s, steps=6, peak=1.0, warmup=2), 3) for s in range(7)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0]

    Raises:
        ValueError: if the warmup is negative, or longer than the run.

    Source: the cosine, Loshchilov and Hutter 2017, "SGDR", arXiv:1608.03983; after a
    linear warmup, Radford et al. 2018, section 4.1.
    """
    if not 0 <= warmup <= steps:
        raise ValueError(f"a warmup of {warmup} steps in a run of {steps}")
    if step < warmup:
        return peak * (step + 1) / warmup
    if step >= steps:
        return lowest
    done = (step - warmup) / (steps - warmup)
    return lowest + (peak - lowest) * (1 + math.cos(math.pi * done)) / 2


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """The parameters of a model for AdamW: matrices decay, vectors do not.

    Two groups, `{"params": [...], "weight_decay": ...}`: everything with two axes or
    more, token and position tables too, and then biases and the gains of norms. Each
    parameter is in one group, once; those that need no gradient are left out.

    Source: Radford et al. 2018, section 4.1, for what decays; by the number of axes,
    as many training programs tell it, nanoGPT among them.
    """
    learned = [p for p in model.parameters() if p.requires_grad]
    return [
        {
            "params": [p for p in learned if p.dim() >= 2],
            "weight_decay": weight_decay,
        },
        {"params": [p for p in learned if p.dim() < 2], "weight_decay": 0.0},
    ]


def training_step(
    model: nn.Module,
    parts: Sequence[Tensor],
    optimizers: Sequence[Optimizer],
    clip: float = 1.0,
    loss: Callable[[Callable[[Tensor], Tensor], Tensor], Tensor] | None = None,
) -> Tensor:
    """Learn from one batch: returns its loss before the step, in nats, detached.

    The batch comes in parts, (B, T + 1) each, that fit into memory one at a time; the
    gradients of all parts add up to that of the whole batch (gradient accumulation). A
    part counts by the number of targets in it, so that the cut does not matter.

    If the gradient of all parameters together is longer than `clip`, it is made that
    long. Afterwards no gradient is left behind.

    Args:
        loss: maps the model and a part to its mean loss; None: `next_token_loss`. On
            a GPU a compiled one is faster.

    Raises:
        ValueError: if nothing is asked.

        FloatingPointError: if the loss or the gradient is not finite; the weights are
            as they were before.

    Source: for clipping, Pascanu et al. 2013, section 3.2.
    """
    asked = [int((part[:, 1:] != NOTHING).sum()) for part in parts]
    if not sum(asked):
        raise ValueError("no token is asked in this batch: there is nothing to learn")
    loss = loss or next_token_loss
    total = torch.zeros((), device=parts[0].device)
    for part, targets in zip(parts, asked, strict=True):
        if targets:
            share = loss(model, part) * (targets / sum(asked))
            share.backward()
            total = total + share.detach()
    length = nn.utils.clip_grad_norm_(model.parameters(), clip)
    finite = bool(torch.isfinite(total + length))
    if finite:
        for optimizer in optimizers:
            optimizer.step()
    model.zero_grad()
    if not finite:
        raise FloatingPointError(f"loss {total.item()}, gradient {length.item()}")
    return total


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[Tensor]) -> tuple[float, int]:
    """Mean loss over whole batches: (nats per token, tokens asked).

    In evaluation mode and without gradients; afterwards the model is in the mode that
    it was in. Every token counts the same, however the batches are cut, so a last
    batch that is smaller does not weigh more.

    Raises:
        ValueError: if nothing is asked.
    """
    training = model.training
    model.eval()
    nats, tokens = 0.0, 0
    try:
        for ids in batches:  # (B, T + 1)
            asked = int((ids[:, 1:] != NOTHING).sum())
            if asked:
                nats += next_token_loss(model, ids).item() * asked
                tokens += asked
    finally:
        model.train(training)
    if not tokens:
        raise ValueError("no token is asked: give at least one batch")
    return nats / tokens, tokens


def utilisation(
    tokens_per_second: float, config: GPTConfig, length: int, peak: float
) -> float:
    """The share of a machine's arithmetic that training makes use of, 0 to 1.

        share = 3 * forward_flops(config, length) * tokens_per_second / peak

    Only what the model needs is counted (model FLOPs utilisation), not what is computed
    twice to save memory. `peak`: FLOPs per second of the machine, measured or as its
    maker gives it.

    Source: Chowdhery et al. 2022, "PaLM", arXiv:2204.02311, section 4.1.
    """
    return 3 * forward_flops(config, length) * tokens_per_second / peak


# ---- Muon ---------------------------------------------------------------------------


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    r"""Make all singular values of a matrix nearly 1: (..., M, N) -> (..., M, N).

    With the decomposition G = U S V^T, the result is about U V^T: the directions stay,
    their sizes become alike. Each step is a polynomial of the matrix that does to each
    singular value, 0 to 1, what it would do to a number:

        X <- a X + b (X X^T) X + c (X X^T)^2 X

    The three constants are chosen for speed: after five steps the singular values lie
    between about 0.7 and 1.2, unless they were tiny. No decomposition is computed.

    Source: Jordan et al. 2024, the Newton-Schulz iteration and its constants.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = matrices if wide else matrices.mT  # the smaller square below
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)  # then all are at most 1
    for _ in range(steps):
        square = x @ x.mT  # (..., M, M)
        x = a * x + (b * square + c * square @ square) @ x
    return x if wide else x.mT


class Muon(Optimizer):
    """Momentum, orthogonalised: an optimizer for the matrices inside a network.

        momentum <- beta * momentum + gradient
        push     =  orthogonalise(gradient + beta * momentum)
        weights  <- (1 - lr * weight_decay) * weights - lr * 0.2 sqrt(max(M, N)) * push

    A gradient is often a few large directions and many small ones. AdamW follows the
    large ones; here all count alike. The factor gives each number of the update a size
    of about 0.2, near the 0.2 to 0.4 that AdamW's usually have, so that one learning
    rate serves both.

    For matrices (M, N) only: embeddings, biases and norms belong to AdamW. A group may
    say `pieces=3` where a parameter is three matrices, one below another, as `qkv` is:
    each is then turned by itself.

    Source: Jordan et al. 2024; the factor and weight decay, Liu et al. 2025, "Muon is
    Scalable for LLM Training", arXiv:2502.16982.
    """

    def __init__(
        self,
        matrices: Iterable[Tensor] | Iterable[dict],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        """`matrices`: parameters (M, N), or groups of them.

        Raises:
            ValueError: if a parameter is no matrix, or its rows do not make so many
                pieces.
        """
        settings = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(matrices, {**settings, "pieces": 1})
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.dim() != 2:
                    raise ValueError(f"Muon got {tuple(weight.shape)}, not a matrix")
                if len(weight) % group["pieces"]:
                    raise ValueError(
                        f"{len(weight)} rows do not make {group['pieces']} pieces"
                    )

    @torch.no_grad()
    def step(self) -> None:
        """Move every matrix that has a gradient."""
        pushed = list(self._pushed())
        # Matrices of one size are turned together: many small products are slow.
        for size in {direction.shape[1:] for _, _, direction in pushed}:
            alike = [each for each in pushed if each[2].shape[1:] == size]
            turned = orthogonalise(torch.cat([direction for *_, direction in alike]))
            scale = 0.2 * math.sqrt(max(size))
            pieces = turned.split([len(direction) for *_, direction in alike])
            for (weight, group, _), piece in zip(alike, pieces, strict=True):
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(piece.reshape(weight.shape), alpha=group["lr"] * scale)

    def _pushed(self) -> Iterator[tuple[Tensor, dict, Tensor]]:
        """Each weight, its group, and where momentum pushes it: (pieces, M, N)."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                if "momentum" not in self.state[weight]:
                    self.state[weight]["momentum"] = torch.zeros_like(weight)
                momentum = self.state[weight]["momentum"]
                momentum.mul_(group["momentum"]).add_(weight.grad)
                push = weight.grad.add(momentum, alpha=group["momentum"])
                yield weight, group, push.view(group["pieces"], -1, push.shape[-1])


# ---- the loop -----------------------------------------------------------------------


def optimizers(
    model: nn.Module, rate: float, weight_decay: float = 0.1, muon: bool = True
) -> list[Optimizer]:
    """AdamW for all of a GPT, or Muon for the matrices in its blocks and AdamW else.

    AdamW's `betas` are (0.9, 0.95), as in Brown et al. 2020, and it runs fused: one
    pass over all parameters.
    """
    turned: list[Optimizer] = []
    if muon:
        inner = [
            (name, p)
            for name, p in model.named_parameters()
            if p.dim() == 2 and "embedding" not in name
        ]
        groups = [
            {"params": [p for name, p in inner if "qkv" in name], "pieces": 3},
            {"params": [p for name, p in inner if "qkv" not in name]},
        ]
        turned = [Muon(groups, rate, weight_decay=weight_decay)]
    taken = {id(p) for o in turned for g in o.param_groups for p in g["params"]}
    rest = parameter_groups(model, weight_decay)
    for group in rest:
        group["params"] = [p for p in group["params"] if id(p) not in taken]
    return [*turned, torch.optim.AdamW(rest, rate, betas=(0.9, 0.95), fused=True)]


@dataclass(frozen=True)
class Plan:
    """What the loop does at which step.

    `lowest` is the learning rate at the end, as a share of the highest one.
    """

    steps: int
    warmup: int = 0
    lowest: float = 0.0
    clip: float = 1.0
    seed: int = 0


def pretrain(
    model: GPT | nn.Module,
    draw: Callable[[int], Sequence[Tensor]],
    optimizers: Sequence[Optimizer],
    plan: Plan,
    start: int = 0,
    learn: Callable[..., Tensor] | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Train, and hand out (steps done, loss before the last of them) after each step.

    Everything random at a step follows from the seed and the number of the step, and
    so does the learning rate. So a run that stops after some steps and goes on from its
    weights and optimizers (`start`) is the same run, bit for bit.

    Args:
        draw: gives the batch of a step, in parts (B, T + 1).
        learn: takes the step; called as `training_step`, which stands for None.

    Raises:
        FloatingPointError: if the loss is no number any more, see `training_step`.
    """
    learn = learn or training_step
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    for group in groups:
        group.setdefault("initial_lr", group["lr"])
    model.train()
    for step in range(start, plan.steps):
        torch.manual_seed(plan.seed * 1_000_003 + step)  # for dropout
        share = learning_rate(step, plan.steps, 1.0, plan.warmup, plan.lowest)
        for group in groups:
            group["lr"] = share * group["initial_lr"]
        yield step + 1, learn(model, draw(step), optimizers, plan.clip)
