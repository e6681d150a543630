"""Pretraining by torch's own optimizers and schedules, and by transformers' GPT-2."""

from __future__ import annotations

import copy
import doctest
import io
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config, GPT2LMHeadModel

import solutions.pretraining as chapter
from solutions.gpt_block import GPT, PRESETS, GPTConfig, to_gpt2
from solutions.pretraining import (
    NOTHING,
    Muon,
    Plan,
    evaluate,
    learning_rate,
    next_token_loss,
    optimizers,
    orthogonalise,
    parameter_groups,
    pretrain,
    training_step,
    utilisation,
)

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
TINY = GPTConfig(23, 7, n_embd=6, n_layer=2, n_head=3)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*sizes: int, seed: int = 0) -> Tensor:
    return torch.randn(sizes, generator=seeded(seed), dtype=torch.float64)


def tokens(*sizes: int, seed: int = 0) -> Tensor:
    return torch.randint(TINY.vocab_size, sizes, generator=seeded(seed))


def ended(ids: Tensor, *lengths: int) -> Tensor:
    """The same rows, each ended after so many tokens."""
    ids = ids.clone()
    for row, length in zip(ids, lengths, strict=True):
        row[length:] = NOTHING
    return ids


def gpt(seed: int = 3, **options: float) -> GPT:
    """A GPT in float64 whose weights are large enough to matter."""
    model = GPT(replace(TINY, **options)).double()
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.copy_(0.6 * normal(*parameter.shape, seed=100 * seed + number))
    return model


def as_transformers(ours: GPT) -> GPT2LMHeadModel:
    config = GPT2Config(**vars(ours.config), attn_implementation="eager")
    theirs = GPT2LMHeadModel(config).double()
    theirs.load_state_dict(to_gpt2(ours), strict=False)
    return theirs.train(ours.training)


def their_loss(theirs: GPT2LMHeadModel, ids: Tensor) -> Tensor:
    """Of their logits in float64; the loss that they compute themselves is float32."""
    logits = theirs(ids[:, :-1].clamp(min=0)).logits
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def parameters_of(model: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def saved(*things: nn.Module | torch.optim.Optimizer) -> list[dict]:
    """Their states, as they come back from a file."""
    file = io.BytesIO()
    torch.save([thing.state_dict() for thing in things], file)
    file.seek(0)
    return torch.load(file)


BATCH = ended(tokens(3, 7), 7, 3, 5)
"""Three rows, with 6, 2 and 4 targets."""


# The loss


@pytest.mark.parametrize("ids", [tokens(3, 7), BATCH, BATCH[1:2]], ids=len)
def test_the_loss_and_its_gradient_are_those_of_transformers(ids):
    """It shifts the labels itself, leaves out -100, and computes in float32."""
    ours = gpt()
    theirs = as_transformers(ours)
    loss = next_token_loss(ours, ids)
    expected = theirs(ids.clamp(min=0), labels=ids).loss
    assert_close(loss, expected.double(), rtol=1e-6, atol=0)
    loss.backward()
    expected.backward()
    assert_close(
        ours.embedding.token_embedding.weight.grad,
        theirs.transformer.wte.weight.grad,
        rtol=0,
        atol=1e-6,
    )


def test_the_loss_is_a_sum_that_can_be_written_out():
    table = normal(23, 23)
    nats = [
        math.log(sum(math.exp(x) for x in table[here].tolist())) - table[here, after]
        for row in BATCH.tolist()
        for here, after in pairwise(row)
        if after != NOTHING
    ]
    assert len(nats) == 12
    loss = next_token_loss(lambda ids: table[ids], BATCH)
    assert loss.item() == pytest.approx(np.mean(nats), rel=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_loss_is_computed_in_float32_at_least(dtype, device):
    table = normal(23, 23).to(device, dtype)
    ids = BATCH.to(device)
    loss = next_token_loss(lambda ids: table[ids], ids)
    assert loss.dtype == torch.float32
    exact = next_token_loss(lambda ids: table.double()[ids], ids)
    assert exact.dtype == torch.float64
    assert_close(loss.double(), exact, rtol=1e-6, atol=0)


def test_the_model_sees_tokens_only_and_one_less_than_there_are():
    seen, before = [], BATCH.clone()
    next_token_loss(lambda ids: seen.append(ids) or normal(3, 6, 23), BATCH)
    (ids,) = seen
    real = BATCH[:, :-1] != NOTHING
    assert ids.shape == (3, 6)
    assert torch.equal(ids[real], BATCH[:, :-1][real])
    assert ids.min() >= 0
    assert torch.equal(BATCH, before)


# The learning rate


@pytest.mark.parametrize(
    ("steps", "warmup", "lowest"),
    [(10, 0, 0.0), (10, 4, 0.0), (17, 2, 0.3), (301, 100, 0.01), (5, 5, 0.2)],
)
def test_the_learning_rate_is_that_of_torchs_schedulers(steps, warmup, lowest):
    optimizer = SGD([torch.zeros(1)], lr=0.7)
    falling = CosineAnnealingLR(optimizer, max(1, steps - warmup), eta_min=lowest)
    schedule = falling
    if warmup:
        rising = LinearLR(optimizer, 1 / warmup, 1.0, total_iters=warmup - 1)
        schedule = SequentialLR(optimizer, [rising, falling], milestones=[warmup])
    for step in range(steps):
        rate = learning_rate(step, steps, 0.7, warmup, lowest)
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        schedule.step()


def test_the_learning_rate_by_hand():
    root = math.sqrt(3) / 2
    falling = [1, (1 + root) / 2, 0.75, 0.5, 0.25, (1 - root) / 2]
    rates = [learning_rate(step, 10, 8.0, 4, 2.0) for step in range(10)]
    assert rates == pytest.approx([2, 4, 6, 8, *(2 + 6 * x for x in falling)])
    assert learning_rate(0, 1, 3.0) == learning_rate(0, 1, 3.0, 1) == 3.0


@pytest.mark.parametrize("warmup", [0, 3, 8])
@pytest.mark.parametrize("step", [8, 9, 1000])
def test_after_the_end_the_rate_stays_at_the_lowest(step, warmup):
    assert learning_rate(step, 8, 0.7, warmup, 0.1) == 0.1


# Parameters in groups


def test_matrices_decay_and_vectors_do_not():
    model = gpt()
    first, second = parameter_groups(model, 0.3)
    names = {id(p): name for name, p in model.named_parameters()}
    vectors = {n for n in names.values() if n.endswith("bias") or "norm" in n}
    assert {names[id(p)] for p in second["params"]} == vectors
    assert {names[id(p)] for p in first["params"]} == set(names.values()) - vectors
    assert len(first["params"]) + len(second["params"]) == len(names)
    assert (first["weight_decay"], second["weight_decay"]) == (0.3, 0.0)


def test_a_tied_table_is_listed_once_and_a_frozen_one_not_at_all():
    theirs = as_transformers(gpt())  # its output layer shares the table
    assert theirs.lm_head.weight is theirs.transformer.wte.weight
    theirs.transformer.wpe.requires_grad_(False)
    groups = parameter_groups(theirs, 0.1)
    found = [id(p) for group in groups for p in group["params"]]
    assert found.count(id(theirs.lm_head.weight)) == 1
    assert id(theirs.transformer.wpe.weight) not in found
    assert len(found) == len(set(found)) == len(list(theirs.parameters())) - 1
    AdamW(groups)  # torch refuses groups that overlap


def test_axes_decide_whatever_a_parameter_is_called():
    model = nn.Module()
    model.bias = nn.Parameter(torch.zeros(3, 2))
    model.weight = nn.Parameter(torch.zeros(3))
    model.filters = nn.Conv2d(2, 3, 5).weight
    model.scale = nn.Parameter(torch.zeros(()))
    first, second = parameter_groups(model, 0.1)
    assert [p.dim() for p in first["params"]] == [2, 4]
    assert [p.dim() for p in second["params"]] == [1, 0]


# One step


@pytest.mark.parametrize("clip", [100.0, 0.2])
def test_the_cut_into_parts_does_not_matter(clip):
    """The parts have 6, 2 and 4 targets: a mean of their means would differ."""
    start = gpt()
    whole, cut = copy.deepcopy(start), copy.deepcopy(start)
    parts = BATCH[:1], BATCH[1:2, :3], BATCH[2:]
    loss = training_step(whole, [BATCH], [SGD(whole.parameters(), 0.5)], clip)
    other = training_step(cut, parts, [SGD(cut.parameters(), 0.5)], clip)
    assert_close(other, loss, rtol=1e-12, atol=1e-12)
    assert_close(parameters_of(cut), parameters_of(whole), rtol=1e-12, atol=1e-12)
    assert_close(loss, their_loss(as_transformers(start), BATCH).detach())


def test_a_part_in_which_nothing_is_asked_changes_nothing():
    whole, cut = gpt(), gpt()
    parts = BATCH, ended(tokens(2, 4), 1, 1)
    loss = training_step(whole, [BATCH], [SGD(whole.parameters(), 0.5)])
    other = training_step(cut, parts, [SGD(cut.parameters(), 0.5)])
    assert_close(other, loss, rtol=0, atol=0)
    assert_close(parameters_of(cut), parameters_of(whole), rtol=0, atol=0)


def test_the_loss_that_is_given_is_the_one_that_is_minimised():
    model, twin, asked = gpt(), gpt(), []

    def doubled(some, part):
        asked.append(part)
        return 2 * next_token_loss(some, part)

    parts = BATCH[:1], BATCH[1:2, :3], BATCH[2:]
    loss = training_step(model, parts, [SGD(model.parameters(), 0.25)], 1e6, doubled)
    single = training_step(twin, parts, [SGD(twin.parameters(), 0.5)], 1e6)
    assert [len(part) for part in asked] == [1, 1, len(BATCH) - 2]
    assert_close(loss, 2 * single, rtol=1e-12, atol=0)
    assert_close(parameters_of(model), parameters_of(twin), rtol=1e-12, atol=1e-12)


def test_the_loop_takes_the_steps_that_it_is_given():
    model, asked = gpt(), []
    own = optimizers(model, 0.01)
    plan = Plan(steps=2, clip=0.3)
    run = pretrain(model, draw, own, plan, learn=lambda *given: asked.append(given))
    assert [*run] == [(1, None), (2, None)]
    assert all(given[0] is model and given[2:] == (own, 0.3) for given in asked)
    assert_close([given[1] for given in asked], [draw(0), draw(1)])


@pytest.mark.parametrize("clip", [1e-3, 0.7, 1e6])
def test_the_step_is_no_longer_than_the_clipped_gradient(clip):
    model = gpt()
    theirs = as_transformers(model)
    their_loss(theirs, BATCH).backward()
    length = torch.stack([p.grad.norm() for p in theirs.parameters()]).norm().item()
    assert 0.7 < length < 1e6
    before = parameters_of(model)
    halves = list(model.parameters())[:5], list(model.parameters())[5:]
    training_step(model, [BATCH], [SGD(half, 1.0) for half in halves], clip)
    moved = [new - old for new, old in zip(model.parameters(), before, strict=True)]
    step = torch.stack([m.norm() for m in moved]).norm().item()
    assert step == pytest.approx(min(length, clip), rel=1e-5)


@pytest.mark.parametrize(
    "step",
    [
        lambda model, own: training_step(model, [BATCH], own),
        lambda model, own: next(pretrain(model, lambda step: [BATCH], own, Plan(1))),
    ],
    ids=["step", "loop"],
)
def test_the_clip_is_1_unless_given(step):
    model = gpt()
    before = parameters_of(model)
    step(model, [SGD(model.parameters(), 1.0)])
    moved = [new - old for new, old in zip(model.parameters(), before, strict=True)]
    length = torch.stack([m.norm() for m in moved]).norm().item()
    assert length == pytest.approx(1.0, rel=1e-5)


def test_nothing_is_left_behind():
    model = gpt()
    halves = list(model.parameters())[:5], list(model.parameters())[5:]
    loss = training_step(model, [BATCH, BATCH], [AdamW(half) for half in halves[:1]])
    assert not loss.requires_grad
    assert loss.shape == ()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


@pytest.mark.parametrize(
    "where", ["loss", "infinite loss", "gradient", "infinite gradient"]
)
@pytest.mark.parametrize("muon", [False, True])
def test_a_step_that_is_no_number_is_not_made(where, muon):
    """The next one goes on as if there had been none."""
    model, twin = gpt(), gpt()
    pair = optimizers(model, 0.1, muon=muon), optimizers(twin, 0.1, muon=muon)
    parts = BATCH[:1], BATCH[1:]
    for each, own in zip((model, twin), pair, strict=True):
        training_step(each, parts, own)
    before = parameters_of(model)
    if where == "loss":
        spoilt = model.norm.register_forward_hook(lambda m, i, out: out * math.nan)
    elif where == "infinite loss":  # of a target without any probability
        spoilt = model.register_forward_hook(
            lambda m, i, out: out.index_fill(-1, BATCH[0, 1:2], -math.inf)
        )
    else:
        times = math.nan if where == "gradient" else math.inf
        spoilt = model.norm.weight.register_hook(lambda g: g.abs() * times)
    said = pytest.raises(FloatingPointError, match=r"^loss .*, gradient \S+$")
    with spoilt, said:
        training_step(model, parts, pair[0])
    assert_close(parameters_of(model), before, rtol=0, atol=0)
    for each, own in zip((model, twin), pair, strict=True):
        training_step(each, parts, own)
    assert_close(parameters_of(model), parameters_of(twin), rtol=0, atol=0)


# Measuring


def test_the_measure_counts_every_token_the_same():
    model = gpt(embd_pdrop=0.5, resid_pdrop=0.5).train()
    batches = tokens(2, 7, seed=5), ended(tokens(2, 4), 1, 1), BATCH, BATCH[1:2, :3]
    theirs = as_transformers(copy.deepcopy(model).eval())
    losses = [their_loss(theirs, batches[n]).item() for n in (0, 2, 3)]
    expected = np.average(losses, weights=[12, 12, 2])  # nothing is asked in the second
    nats, count = evaluate(model, iter(batches))
    assert nats == pytest.approx(expected, rel=1e-12)
    assert count == 26
    assert isinstance(nats, float)
    assert isinstance(count, int)


@pytest.mark.parametrize("training", [True, False])
def test_measuring_leaves_no_trace(training):
    model = nn.Sequential(
        nn.Embedding(23, 6),
        nn.Dropout(0.5),
        nn.Flatten(0, 1),
        nn.BatchNorm1d(6),
        nn.Linear(6, 23),
        nn.Unflatten(0, (3, 6)),
    )
    model.train(training)
    before = copy.deepcopy(model.state_dict())
    once = evaluate(model, [BATCH])
    assert all(part.training == training for part in model.modules())
    assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert all(p.grad is None for p in model.parameters())
    assert torch.is_grad_enabled()
    assert evaluate(model, [BATCH]) == once


def test_measuring_records_no_gradient():
    seen = []
    model = gpt()
    model.norm.register_forward_hook(lambda m, i, out: seen.append(out.requires_grad))
    evaluate(model, [BATCH])
    assert seen == [False]


# The share of a machine


@pytest.mark.parametrize("length", [64, 256])
def test_the_share_is_what_torch_counts_in_training(length):
    """Its counter sees all products of matrices, forward and back."""
    with torch.device("meta"):
        model, ids = GPT(PRESETS["tiny"]), torch.zeros(3, length, dtype=torch.long)
        with FlopCounterMode(display=False) as counted:
            model(ids).sum().backward()
    seconds = 0.25  # for this batch, on a machine of 10^12 FLOPs per second
    share = utilisation(3 * length / seconds, PRESETS["tiny"], length, 1e12)
    expected = counted.get_total_flops() / seconds / 1e12
    assert share == pytest.approx(expected, rel=1e-12)


def test_the_share_by_hand():
    # 3 * (2 * (2 * 12 * 6^2 + 23 * 6) + 2 * 4 * 5 * 6) = 6,732 FLOPs per token
    assert utilisation(1000.0, TINY, 5, 1e7) == pytest.approx(0.6732)


# Muon


SHAPES = [(5, 5), (3, 8), (8, 3), (1, 7), (7, 1), (16, 48)]


def polynomial(x: Tensor, steps: int = 5) -> Tensor:
    """What the iteration does to one singular value."""
    for _ in range(steps):
        x = 3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5
    return x


@pytest.mark.parametrize("steps", [0, 1, 5])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_singular_values_go_through_the_polynomial_and_directions_stay(shape, steps):
    matrix = 1e6 * normal(*shape)  # so large that 1e-7 does not count
    left, sizes, right = torch.linalg.svd(matrix, full_matrices=False)
    sizes = polynomial(sizes / sizes.norm(), steps)
    expected = left @ sizes.diag() @ right
    assert_close(orthogonalise(matrix, steps), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_after_five_steps_they_are_near_1(shape):
    """The polynomial, five times, keeps what is above 0.002 in 0.68 to 1.21."""
    matrices = normal(200, *shape)
    before = torch.linalg.svdvals(matrices)
    tiny = before < 0.002 * before.norm(dim=-1, keepdim=True)
    after = torch.linalg.svdvals(orthogonalise(matrices))
    assert after.max() < 1.21
    assert after[~tiny].min() > 0.68
    assert tiny.double().mean() < 0.01


def test_many_matrices_are_turned_as_each_by_itself():
    matrices = normal(2, 3, 4, 7)
    apart = [orthogonalise(matrix) for matrix in matrices.flatten(0, 1)]
    assert_close(orthogonalise(matrices).flatten(0, 1), torch.stack(apart))
    assert_close(orthogonalise(matrices.mT), orthogonalise(matrices).mT)


def test_a_matrix_of_zeros_stays_and_its_size_does_not_matter():
    assert not orthogonalise(torch.zeros(3, 5)).any()
    matrix = normal(3, 5)
    before = matrix.clone()
    assert_close(orthogonalise(1000 * matrix), orthogonalise(matrix), rtol=0, atol=1e-6)
    assert torch.equal(matrix, before)


@pytest.mark.parametrize("shape", [(3, 8), (8, 3)])
def test_the_smaller_square_is_multiplied(shape):
    with FlopCounterMode(display=False) as counted:
        orthogonalise(normal(*shape), steps=5)
    # X X^T is 3 by 3: it, its square, and its product with X
    each = 2 * 3 * 8 * 3 + 2 * 3 * 3 * 3 + 2 * 3 * 3 * 8
    assert counted.get_total_flops() == 5 * each


def weights(*shapes: tuple[int, int]) -> list[nn.Parameter]:
    return [nn.Parameter(normal(*shape, seed=n)) for n, shape in enumerate(shapes)]


def push(parameters: list[nn.Parameter], step: int, size: float = 1e6) -> None:
    """Gradients, by default so large that 1e-7 does not count."""
    for number, parameter in enumerate(parameters):
        gradient = size * normal(*parameter.shape, seed=100 * step + number)
        parameter.grad = gradient.to(parameter.dtype)


@pytest.fixture
def exact(monkeypatch):
    """torch's own Muon, without its rounding to bfloat16.

    Its momentum is ours times (1 - beta), which orthogonalisation does not see.
    """
    monkeypatch.setattr(Tensor, "bfloat16", lambda self: self.clone())
    return torch.optim.Muon


@pytest.mark.parametrize("momentum", [0.95, 0.6, 0.0])
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_muon_is_torchs(exact, momentum, decay):
    ours, theirs = weights(*SHAPES, (3, 8)), weights(*SHAPES, (3, 8))
    mine = Muon(ours, 0.05, momentum=momentum, weight_decay=decay)
    other = exact(
        theirs,
        lr=0.05,
        momentum=momentum,
        weight_decay=decay,
        adjust_lr_fn="match_rms_adamw",
    )
    for step in range(4):
        for parameters, optimizer in (ours, mine), (theirs, other):
            push(parameters, step)
            optimizer.step()
        assert_close(ours, theirs, rtol=0, atol=1e-11)


def test_muon_is_torchs_as_it_is_to_the_digits_of_bfloat16():
    start = [p.data.clone() for p in weights(*SHAPES)]
    ours, theirs = weights(*SHAPES), weights(*SHAPES)
    other = torch.optim.Muon(
        theirs, lr=0.05, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
    )
    for parameters, optimizer in (ours, Muon(ours, 0.05)), (theirs, other):
        push(parameters, 0)
        optimizer.step()
    for old, mine, its in zip(start, ours, theirs, strict=True):
        assert (mine - its).norm() < 0.03 * (mine - old).norm()


def test_three_pieces_are_three_matrices(exact):
    whole = weights((12, 5))
    pieces = [nn.Parameter(piece.clone()) for piece in whole[0].data.split(4)]
    mine = Muon([{"params": whole, "pieces": 3}], 0.05, weight_decay=0.2)
    other = exact(pieces, lr=0.05, weight_decay=0.2, adjust_lr_fn="match_rms_adamw")
    for step in range(3):
        push(whole, step)
        for piece, gradient in zip(pieces, whole[0].grad.split(4), strict=True):
            piece.grad = gradient.clone()
        mine.step()
        other.step()
    assert_close(whole[0].data, torch.cat([p.data for p in pieces]))


def test_an_update_has_the_size_of_adamws():
    ours = weights((48, 16), (16, 48), (32, 32))
    start = [p.data.clone() for p in ours]
    push(ours, 0)
    Muon(ours, 1.0).step()
    for old, new in zip(start, ours, strict=True):
        rms = (new.data - old).square().mean().sqrt()
        assert 0.14 < rms < 0.24


def test_groups_of_muon_have_settings_of_their_own(exact):
    ours, theirs = weights((4, 6), (4, 6)), weights((4, 6), (4, 6))
    settings = [
        {"lr": 0.3, "weight_decay": 0.1, "momentum": 0.5},
        {"lr": 0.02, "weight_decay": 0.0, "momentum": 0.9},
    ]
    mine = Muon(
        [{"params": [p], **own} for p, own in zip(ours, settings, strict=True)], 9.0
    )
    others = [
        exact([p], adjust_lr_fn="match_rms_adamw", **own)
        for p, own in zip(theirs, settings, strict=True)
    ]
    for step in range(2):
        push(ours, step)
        push(theirs, step)
        for optimizer in (mine, *others):
            optimizer.step()
    assert_close(ours, theirs, rtol=0, atol=1e-11)


def test_muon_leaves_a_matrix_without_a_gradient_alone():
    ours = weights((4, 6), (4, 6))
    push(ours[:1], 0)
    before, gradient = ours[1].data.clone(), ours[0].grad.clone()
    Muon(ours, 0.1, weight_decay=0.5).step()
    assert torch.equal(ours[1].data, before)
    assert torch.equal(ours[0].grad, gradient)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_muon_works_in_other_types_and_on_a_device(device, dtype):
    exactly = weights((4, 6), (6, 4))
    ours = [nn.Parameter(p.data.to(device, dtype)) for p in exactly]
    for parameters in ours, exactly:
        push(parameters, 0, size=1.0)
    for each in ours:
        each.grad = each.grad.to(device)
    Muon(ours, 0.1).step()
    Muon(exactly, 0.1).step()
    for mine, other in zip(ours, exactly, strict=True):
        assert mine.dtype == dtype
        assert mine.device.type == device
        tolerance = 20 * torch.finfo(dtype).eps
        assert_close(mine.data.cpu().double(), other.data, rtol=0, atol=tolerance)


# Which optimizer a parameter has


@pytest.mark.parametrize("muon", [True, False])
def test_every_parameter_has_one_optimizer(muon):
    model = gpt()
    found = {
        name: (type(o).__name__, group["weight_decay"], group.get("pieces"))
        for o in optimizers(model, 0.1, weight_decay=0.3, muon=muon)
        for group in o.param_groups
        for p in group["params"]
        for name, own in model.named_parameters()
        if own is p
    }
    listed = [
        p
        for o in optimizers(model, 0.1, muon=muon)
        for group in o.param_groups
        for p in group["params"]
    ]
    assert optimizers(model, 0.1, muon=muon)[-1].defaults["fused"]  # one pass over all
    assert len(listed) == len(found) == len(list(model.parameters()))
    for name, kind in found.items():
        if name.endswith("bias") or "norm" in name:
            assert kind == ("AdamW", 0.0, None), name
        elif name.startswith("embedding") or not muon:
            assert kind == ("AdamW", 0.3, None), name
        else:
            assert kind == ("Muon", 0.3, 3 if "qkv" in name else 1), name


def test_both_optimizers_move_a_gpt_as_torchs_do(exact):
    ours, theirs = gpt(), gpt()
    mine = optimizers(ours, 0.02, weight_decay=0.3)
    assert {g["weight_decay"] for o in optimizers(ours, 1) for g in o.param_groups} == {
        0.0,
        0.1,  # unless given
    }
    inner, other = [], []
    for name, p in theirs.named_parameters():
        inside = name.startswith("blocks") and p.dim() == 2
        (inner if inside else other).append((name, p))
    # A view per matrix: the queries, keys and values have one parameter.
    views = [
        nn.Parameter(piece.detach())
        for name, p in inner
        for piece in p.split(6 if "qkv" in name else len(p))
    ]
    its = [
        exact(views, lr=0.02, weight_decay=0.3, adjust_lr_fn="match_rms_adamw"),
        AdamW(
            [
                {"params": [p], "weight_decay": 0.3 if p.dim() == 2 else 0.0}
                for _, p in other
            ],
            lr=0.02,
            betas=(0.9, 0.95),
        ),
    ]
    for step in range(3):
        for (name, p), same in zip(
            ours.named_parameters(), theirs.parameters(), strict=True
        ):
            p.grad = 1e4 * normal(*p.shape, seed=step + 7 * len(name))
            same.grad = p.grad.clone()
        gradients = [
            piece
            for name, p in inner
            for piece in p.grad.split(6 if "qkv" in name else len(p))
        ]
        for view, gradient in zip(views, gradients, strict=True):
            view.grad = gradient
        for optimizer in (*mine, *its):
            optimizer.step()
    assert_close(
        dict(ours.named_parameters()),
        dict(theirs.named_parameters()),
        rtol=0,
        atol=1e-10,
    )


# The loop


def draw(step: int) -> list[Tensor]:
    """A batch of its own for each step, in two parts."""
    ids = ended(tokens(4, 7, seed=50 + step), 7, 3 + step % 3, 5, 2)
    return [ids[:1], ids[1:]]


def test_a_run_is_that_of_a_loop_by_hand_on_transformers_gpt2():
    ours = gpt(seed=5)
    theirs = as_transformers(ours).train()
    plan = Plan(steps=9, warmup=3, lowest=0.1, clip=0.4)
    decayed = [p for p in theirs.parameters() if p.dim() == 2]
    others = [p for p in theirs.parameters() if p.dim() == 1]
    optimizer = AdamW(
        [{"params": decayed, "weight_decay": 0.2}, {"params": others}],
        lr=0.03,
        betas=(0.9, 0.95),
        weight_decay=0.0,
    )
    rising = LinearLR(optimizer, 1 / 3, 1.0, total_iters=2)
    falling = CosineAnnealingLR(optimizer, 6, eta_min=0.003)
    schedule = SequentialLR(optimizer, [rising, falling], milestones=[3])
    run = pretrain(ours, draw, optimizers(ours, 0.03, 0.2, muon=False), plan)
    for step in range(9):
        loss = their_loss(theirs, torch.cat(draw(step)))
        optimizer.zero_grad()
        loss.backward()
        length = nn.utils.clip_grad_norm_(theirs.parameters(), 0.4)
        assert length > 0.4  # so the clipping matters
        optimizer.step()
        schedule.step()
        done, mine = next(run)
        assert done == step + 1
        assert mine.item() == pytest.approx(loss.item(), rel=1e-9)
    assert next(run, None) is None
    assert_close(
        to_gpt2(ours)["transformer.wte.weight"],
        theirs.transformer.wte.weight.detach(),
        rtol=0,
        atol=1e-9,
    )


def run_of(model: GPT, muon: bool, plan: Plan, start: int = 0, state=None) -> Iterator:
    own = optimizers(model, 0.02, muon=muon)
    if state is not None:
        for thing, saved_state in zip((model, *own), state, strict=True):
            thing.load_state_dict(saved_state)
    for done, loss in pretrain(model, draw, own, plan, start):
        yield done, loss.item(), own


@pytest.mark.parametrize("stop", [1, 4])
@pytest.mark.parametrize("muon", [True, False])
def test_a_run_that_stops_and_goes_on_is_the_same_run_bit_for_bit(stop, muon):
    plan = Plan(steps=6, warmup=2, lowest=0.1, seed=11)
    sizes = {"embd_pdrop": 0.3, "attn_pdrop": 0.3, "resid_pdrop": 0.3}
    whole = gpt(**sizes).float()
    losses = [loss for _, loss, _ in run_of(whole, muon, plan)]

    first = gpt(**sizes).float()
    run = run_of(first, muon, plan)
    before = [next(run) for _ in range(stop)]
    state = saved(first, *before[-1][2])
    second = gpt(seed=8, **sizes).float()  # other weights, until they are loaded
    torch.rand(5)  # the random numbers of the run do not come from before
    after = [*run_of(second, muon, plan, stop, state)]
    assert [done for done, *_ in (*before, *after)] == [1, 2, 3, 4, 5, 6]
    assert [loss for _, loss, _ in (*before, *after)] == losses
    assert_close(parameters_of(second), parameters_of(whole), rtol=0, atol=0)


def test_each_step_and_each_seed_drops_other_numbers():
    """With a rate of 0 and one batch nothing else can change the loss."""
    losses = []
    for seed in 0, 1, 0:
        model = gpt(resid_pdrop=0.5)
        run = pretrain(
            model, lambda step: [BATCH], optimizers(model, 0.0), Plan(3, seed=seed)
        )
        losses.append([loss.item() for _, loss in run])
    assert len({*losses[0], *losses[1]}) == 6
    assert losses[2] == losses[0]


def test_every_group_follows_the_schedule_from_a_rate_of_its_own():
    model = gpt()
    pair = [SGD(model.blocks.parameters(), 0.4), SGD(model.norm.parameters(), 0.1)]
    pair[0].add_param_group({"params": model.embedding.parameters(), "lr": 0.02})
    rates = []
    for _ in pretrain(model, draw, pair, Plan(steps=5, warmup=2, lowest=0.5)):
        rates.append([g["lr"] for o in pair for g in o.param_groups])
    shares = [0.5, 1.0, 1.0, 0.875, 0.625]  # a fall of a half, in three steps
    expected = [[0.4 * share, 0.02 * share, 0.1 * share] for share in shares]
    assert np.array(rates) == pytest.approx(np.array(expected))


def test_the_loop_trains_and_draws_once_for_each_step():
    model = gpt(resid_pdrop=0.5).eval()
    asked = []
    run = pretrain(
        model,
        lambda step: asked.append(step) or draw(step),
        optimizers(model, 0.01),
        Plan(steps=7),
        start=3,
    )
    assert asked == []
    assert [done for done, _ in run] == [4, 5, 6, 7]
    assert asked == [3, 4, 5, 6]
    assert model.training


@pytest.mark.parametrize("muon", [True, False])
def test_a_run_that_breaks_keeps_its_last_good_weights(muon):
    model = gpt()
    run = run_of(model, muon, Plan(steps=9))
    next(run)
    next(run)
    before = parameters_of(model)
    spoilt = model.norm.register_forward_hook(lambda m, i, out: out * math.nan)
    with spoilt, pytest.raises(FloatingPointError, match="loss nan"):
        next(run)
    assert_close(parameters_of(model), before, rtol=0, atol=0)


@pytest.mark.parametrize("muon", [True, False])
def test_both_ways_learn_a_text_by_heart(muon):
    torch.manual_seed(0)
    model = GPT(replace(TINY, n_embd=24))
    ids = tokens(2, 8)
    run = pretrain(
        model, lambda step: [ids], optimizers(model, 0.02, muon=muon), Plan(60, 5)
    )
    losses = [loss.item() for _, loss in run]
    assert abs(losses[0] - math.log(23)) < 0.1
    assert losses[-1] < 0.1


# What is refused


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: next_token_loss(gpt(), tokens(2, 1)), r"got \(2, 1\)"),
        (lambda: next_token_loss(gpt(), tokens(2, 0)), r"got \(2, 0\)"),
        (
            lambda: next_token_loss(gpt(), tokens(5)),
            r"expected ids \(B, T \+ 1\), T >=",
        ),
        (lambda: learning_rate(0, 4, 1.0, 5), "a warmup of 5 steps in a run of 4"),
        (lambda: learning_rate(0, 4, 1.0, -1), "a warmup of -1 steps in a run of 4"),
        (lambda: evaluate(gpt(), []), "no token is asked: give at least one batch"),
        (
            lambda: evaluate(gpt(), [ended(tokens(2, 4), 1, 1)]),
            "no token is asked",
        ),
        (lambda: training_step(gpt(), [], []), "no token is asked in this batch"),
        (
            lambda: training_step(gpt(), [ended(tokens(2, 4), 1, 1)], []),
            "no token is asked in this batch",
        ),
        (
            lambda: Muon([{"params": [torch.zeros(7, 2)], "pieces": 3}], 0.1),
            "7 rows do not make 3 pieces",
        ),
        (lambda: Muon([torch.zeros(3)], 0.1), r"Muon got \(3,\), not a matrix"),
        (
            lambda: Muon([{"params": [torch.zeros(2, 3, 4)]}], 0.1),
            r"Muon got \(2, 3, 4\), not a matrix",
        ),
    ],
)
def test_bad_input_gets_one_clear_line(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_the_mode_is_restored_before_a_refusal():
    model = gpt().train()
    with pytest.raises(ValueError, match="no token is asked"):
        evaluate(model, [])
    assert model.training


def test_the_mode_is_restored_when_a_batch_is_too_long():
    model = gpt().train()
    with pytest.raises(ValueError, match="do not fit the context"):
        evaluate(model, [tokens(1, 500)])
    assert model.training


def test_a_plan_cannot_be_changed():
    with pytest.raises(AttributeError):
        Plan(3).steps = 4


def test_the_examples_in_the_docstrings_hold():
    results = doctest.testmod(chapter)
    assert results.attempted > 0
    assert results.failed == 0
