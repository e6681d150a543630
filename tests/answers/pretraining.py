"""Answers to the chapter on pretraining: right in other ways, and plausibly wrong."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from solutions.gpt_block import forward_flops, gpt_parameters
from solutions.pretraining import NOTHING, next_token_loss
from tests.answers import right, wrong

# The loss


@right("next_token_loss")
def gathers_the_logarithms(model, ids):
    if ids.size(1) < 2:
        raise ValueError("a text of one token has no next one")
    inputs, targets = ids[:, :-1], ids[:, 1:]
    logits = model(torch.where(inputs < 0, 0, inputs))
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    asked = targets != NOTHING
    found = F.log_softmax(logits, -1).gather(-1, targets.clamp(min=0)[..., None])
    return -(found.squeeze(-1) * asked).sum() / asked.sum()


@right("next_token_loss")
def turns_the_axes(model, ids):
    if ids.shape[1] <= 1:
        raise ValueError(f"{ids.shape[1]} tokens, expected 2 or more")
    logits = model(ids[:, :-1].relu())
    logits = logits.to(torch.promote_types(torch.float32, logits.dtype))
    return F.cross_entropy(logits.transpose(1, 2), ids[:, 1:])


@right("next_token_loss")
def picks_what_is_asked(model, ids):
    batch, length = ids.shape
    if length < 2:
        raise ValueError("too short")
    targets = ids[:, 1:].reshape(-1)
    logits = model(ids[:, :-1].masked_fill(ids[:, :-1] == NOTHING, 3))
    logits = logits.reshape(batch * (length - 1), -1)
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    logits, targets = logits[targets >= 0].to(dtype), targets[targets >= 0]
    chosen = logits[torch.arange(len(targets)), targets]
    return (torch.logsumexp(logits, dim=-1) - chosen).mean()


def _parts(model, ids):
    """What most wrong answers share: logits (B, T, V) and targets (B, T)."""
    if ids.shape[1] < 2:
        raise ValueError("too short")
    logits = model(ids[:, :-1].clamp(min=0))
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits, ids[:, 1:]


def _each(model, ids):
    logits, targets = _parts(model, ids)
    return F.cross_entropy(logits.mT, targets, reduction="none")


@wrong("next_token_loss", says="learn to copy")
def does_not_shift(model, ids):
    inputs = ids[:, :-1]
    return F.cross_entropy(model(inputs.clamp(min=0)).mT, inputs)


@wrong("next_token_loss", says="token *before* each one")
def shifts_the_wrong_way(model, ids):
    return F.cross_entropy(model(ids[:, 1:].clamp(min=0)).mT, ids[:, :-1])


@wrong("next_token_loss", says="the model reads `ids[:, :-1]`")
def reads_everything(model, ids):
    logits = model(ids.clamp(min=0))[:, :-1]
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


@wrong("next_token_loss", says="given a -100")
def reads_nothing(model, ids):
    logits = model(ids[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


@wrong("next_token_loss", says="token 0 is asked")
def asks_for_padding(model, ids):
    ids = ids.clamp(min=0)
    return F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())


@wrong("next_token_loss", says="Token 0 is a token like any other")
def takes_zero_for_padding(model, ids):
    logits, targets = _parts(model, ids)
    targets = targets.clamp(min=0).flatten()
    return F.cross_entropy(logits.flatten(0, 1), targets, ignore_index=0)


@wrong("next_token_loss", says="a target is -100, which is no token")
def ignores_another_number(model, ids):
    logits, targets = _parts(model, ids)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)


@wrong("next_token_loss", says="a target is -100, which is no token")
def gathers_nothing(model, ids):
    logits, targets = _parts(model, ids)
    found = logits.log_softmax(-1).gather(-1, targets[..., None]).squeeze(-1)
    return -found[targets != NOTHING].mean()


@wrong("next_token_loss", says="this is the sum")
def adds_up(model, ids):
    return _each(model, ids).sum()


@wrong("next_token_loss", says="divided by the number of rows")
def divides_by_rows(model, ids):
    return _each(model, ids).sum() / len(ids)


@wrong("next_token_loss", says="divided by all B T places")
def averages_all_places(model, ids):
    return _each(model, ids).mean()


@wrong("next_token_loss", says="Each row counts the same")
def averages_rows(model, ids):
    asked = (ids[:, 1:] != NOTHING).sum(dim=1)
    return (_each(model, ids).sum(dim=1) / asked).mean()


@wrong("next_token_loss", says="one number for each token")
def averages_nothing(model, ids):
    return _each(model, ids)


@wrong("next_token_loss", says="looks for the tokens on the second axis")
def forgets_to_flatten(model, ids):
    logits, targets = _parts(model, ids)
    return F.cross_entropy(logits, targets)


@wrong("next_token_loss", says="do not swap axes")
def reshapes_to_swap(model, ids):
    logits, targets = _parts(model, ids)
    batch, length, size = logits.shape
    return F.cross_entropy(logits.reshape(batch, size, length), targets)


@wrong("next_token_loss", says="in bits")
def takes_log2(model, ids):
    return _each(model, ids).sum() / (ids[:, 1:] != NOTHING).sum() / math.log(2)


@wrong("next_token_loss", says="The sign is wrong")
def forgets_the_minus(model, ids):
    return -_each(model, ids).sum() / (ids[:, 1:] != NOTHING).sum()


@wrong("next_token_loss", says="two softmaxes")
def takes_softmax_twice(model, ids):
    logits, targets = _parts(model, ids)
    return F.cross_entropy(logits.softmax(-1).flatten(0, 1), targets.flatten())


@wrong("next_token_loss", says="The logarithm is missing")
def forgets_the_logarithm(model, ids):
    logits, targets = _parts(model, ids)
    return F.nll_loss(logits.softmax(-1).flatten(0, 1), targets.flatten())


@wrong("next_token_loss", says="e to a large power")
def takes_the_logarithm_of_a_softmax(model, ids):
    logits, targets = _parts(model, ids)
    return F.nll_loss(logits.softmax(-1).log().flatten(0, 1), targets.flatten())


@wrong("next_token_loss", says="without `.item()`")
def returns_a_number(model, ids):
    logits, targets = _parts(model, ids)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()


@wrong("next_token_loss", says="no gradient reaches")
def detaches_the_logits(model, ids):
    logits, targets = _parts(model, ids)
    return F.cross_entropy(logits.detach().flatten(0, 1), targets.flatten())


@wrong("next_token_loss", says="rounded to bfloat16")
def keeps_the_type(model, ids):
    if ids.shape[1] < 2:
        raise ValueError("too short")
    logits = model(ids[:, :-1].clamp(min=0))
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


@wrong("next_token_loss", says="*before* the loss")
def converts_too_late(model, ids):
    logits = model(ids[:, :-1].clamp(min=0))
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).float()


@wrong("next_token_loss", says="a float64 stays")
def always_converts(model, ids):
    logits, targets = _parts(model, ids)
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


@wrong("next_token_loss", says="stays on the CPU")
def makes_weights_on_the_cpu(model, ids):
    weights = torch.ones(len(ids), 1)
    return (_each(model, ids) * weights).sum() / (ids[:, 1:] != NOTHING).sum()


@wrong("next_token_loss", says="The dtype is float64, expected float32")
def computes_in_float64(model, ids):
    logits, targets = _parts(model, ids)
    return F.cross_entropy(logits.double().flatten(0, 1), targets.flatten())


@wrong("next_token_loss", says="Raise a `ValueError` for fewer than two")
def asks_for_no_second_token(model, ids):
    logits = model(ids[:, :-1].clamp(min=0))
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


@wrong("next_token_loss", says="Raise a `ValueError` for fewer than two")
def refuses_one_token_only(model, ids):
    if ids.shape[1] == 1:
        raise ValueError("one token")
    return asks_for_no_second_token(model, ids)


@wrong("next_token_loss", says="changes its input `ids`")
def clamps_in_place(model, ids):
    targets = ids[:, 1:].clone()
    logits = model(ids[:, :-1].clamp_(min=0))
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


# The learning rate


@right("learning_rate")
def asks_for_the_end_first(step, steps, peak, warmup=0, lowest=0.0):
    if warmup > steps:
        raise ValueError(f"warmup {warmup} is longer than the run of {steps} steps")
    if step >= steps:
        return lowest
    if step < warmup:
        return (step + 1) / warmup * peak
    angle = math.pi * (step - warmup) / (steps - warmup)
    return lowest + 0.5 * (peak - lowest) * (math.cos(angle) + 1)


@right("learning_rate")
def squares_a_cosine(step, steps, peak, warmup=0, lowest=0.0):
    """(1 + cos(x)) / 2 is the square of cos(x / 2)."""
    if not warmup <= steps:
        raise ValueError("the run is too short")
    if step < warmup:
        return peak * (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    share = math.cos(math.pi / 2 * done) ** 2 if step < steps else 0.0
    return share * peak + (1 - share) * lowest


@right("learning_rate")
def takes_the_middle(step, steps, peak, warmup=0, lowest=0.0):
    if steps < warmup:
        raise ValueError("the run is too short")
    if step < warmup:
        return peak - peak * (warmup - step - 1) / warmup
    middle, half = (peak + lowest) / 2, (peak - lowest) / 2
    left = 0 if step >= steps else (steps - step) / (steps - warmup)
    return middle - half * math.cos(math.pi * left)


def _falling(step, steps, peak, warmup, lowest, done=None, share=None):
    """What most wrong answers share."""
    if warmup > steps:
        raise ValueError("the run is too short")
    if step < warmup:
        return peak * (step + 1) / warmup
    if step >= steps:
        return lowest
    done = (step - warmup) / (steps - warmup) if done is None else done
    share = (1 + math.cos(math.pi * done)) / 2 if share is None else share(done)
    return lowest + (peak - lowest) * share


@wrong("learning_rate", says="the first step does nothing")
def begins_at_zero(step, steps, peak, warmup=0, lowest=0.0):
    if step < warmup:
        return peak * step / warmup
    return _falling(step, steps, peak, warmup, lowest)


@wrong("learning_rate", says="does not reach the peak")
def never_reaches_the_peak(step, steps, peak, warmup=0, lowest=0.0):
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    return _falling(step, steps, peak, warmup, lowest)


@wrong("learning_rate", says="begins at the lowest rate")
def warms_up_from_the_lowest(step, steps, peak, warmup=0, lowest=0.0):
    if step < warmup:
        return lowest + (peak - lowest) * (step + 1) / warmup
    return _falling(step, steps, peak, warmup, lowest)


@wrong("learning_rate", says="There is no warmup")
def forgets_the_warmup(step, steps, peak, warmup=0, lowest=0.0):
    return _falling(step, steps, peak, 0, lowest)


@wrong("learning_rate", says="begins when the warmup ends")
def begins_the_cosine_early(step, steps, peak, warmup=0, lowest=0.0):
    return _falling(step, steps, peak, warmup, lowest, done=step / steps)


@wrong("learning_rate", says="does not come to its end")
def divides_by_all_steps(step, steps, peak, warmup=0, lowest=0.0):
    done = (step - warmup) / steps
    return _falling(step, steps, peak, warmup, lowest, done)


@wrong("learning_rate", says="one step ahead")
def ends_in_the_last_step(step, steps, peak, warmup=0, lowest=0.0):
    done = (step - warmup) / (steps - warmup - 1)
    return _falling(step, steps, peak, warmup, lowest, done)


@wrong("learning_rate", says="one step ahead")
def counts_from_one(step, steps, peak, warmup=0, lowest=0.0):
    done = (step + 1 - warmup) / (steps - warmup)
    return _falling(step, steps, peak, warmup, lowest, done)


@wrong("learning_rate", says="falls in a line")
def falls_in_a_line(step, steps, peak, warmup=0, lowest=0.0):
    return _falling(step, steps, peak, warmup, lowest, share=lambda done: 1 - done)


@wrong("learning_rate", says="1 + cos, not 1 - cos")
def rises(step, steps, peak, warmup=0, lowest=0.0):
    return _falling(
        step,
        steps,
        peak,
        warmup,
        lowest,
        None,
        lambda x: (1 - math.cos(math.pi * x)) / 2,
    )


@wrong("learning_rate", says="The half is missing")
def forgets_the_half(step, steps, peak, warmup=0, lowest=0.0):
    return _falling(
        step, steps, peak, warmup, lowest, None, lambda x: 1 + math.cos(math.pi * x)
    )


@wrong("learning_rate", says="cos runs from 1 to -1")
def forgets_the_one(step, steps, peak, warmup=0, lowest=0.0):
    return _falling(
        step, steps, peak, warmup, lowest, None, lambda x: math.cos(math.pi * x)
    )


@wrong("learning_rate", says="cos(pi * done)")
def forgets_pi(step, steps, peak, warmup=0, lowest=0.0):
    return _falling(
        step, steps, peak, warmup, lowest, None, lambda x: (1 + math.cos(x)) / 2
    )


@wrong("learning_rate", says="`lowest` has no effect")
def forgets_the_lowest(step, steps, peak, warmup=0, lowest=0.0):
    return _falling(step, steps, peak, warmup, 0.0)


@wrong("learning_rate", says="added to the whole peak")
def adds_the_lowest(step, steps, peak, warmup=0, lowest=0.0):
    if step < warmup:
        return peak * (step + 1) / warmup
    return lowest + _falling(step, steps, peak, warmup, 0.0)


@wrong("learning_rate", says="you divide by 0")
def always_divides_by_the_warmup(step, steps, peak, warmup=0, lowest=0.0):
    up = peak * (step + 1) / warmup
    return up if step < warmup else _falling(step, steps, peak, warmup, lowest)


@wrong("learning_rate", says="you divide by 0")
def always_divides_by_the_rest(step, steps, peak, warmup=0, lowest=0.0):
    done = (step - warmup) / (steps - warmup)
    return _falling(step, steps, peak, warmup, lowest, done)


@wrong("learning_rate", says="you divide by 0")
def forgets_the_end_after_a_long_warmup(step, steps, peak, warmup=0, lowest=0.0):
    if step < warmup:
        return peak * (step + 1) / warmup
    done = min(1, (step - warmup) / (steps - warmup))
    return lowest + (peak - lowest) * (1 + math.cos(math.pi * done)) / 2


@wrong("learning_rate", says="rises again")
def forgets_the_end(step, steps, peak, warmup=0, lowest=0.0):
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / (steps - warmup)
    return lowest + (peak - lowest) * (1 + math.cos(math.pi * done)) / 2


@wrong("learning_rate", says="not at 0")
def stops_at_the_end(step, steps, peak, warmup=0, lowest=0.0):
    return 0.0 if step >= steps else _falling(step, steps, peak, warmup, lowest)


@wrong("learning_rate", says="A step after the end is allowed")
def refuses_later_steps(step, steps, peak, warmup=0, lowest=0.0):
    if step >= steps:
        raise ValueError("the run is over")
    return _falling(step, steps, peak, warmup, lowest)


@wrong("learning_rate", says="not longer")
def refuses_a_run_of_warmup(step, steps, peak, warmup=0, lowest=0.0):
    if warmup >= steps:
        raise ValueError("the run is too short")
    return _falling(step, steps, peak, warmup, lowest)


@wrong("learning_rate", says="plain number")
def returns_a_tensor(step, steps, peak, warmup=0, lowest=0.0):
    return torch.tensor(_falling(step, steps, peak, warmup, lowest))


@wrong("learning_rate", says="never reaches the peak")
def allows_any_warmup(step, steps, peak, warmup=0, lowest=0.0):
    return _falling(step, max(steps, warmup), peak, warmup, lowest)


@wrong("learning_rate", says="An `assert` is a note to yourself")
def asserts_the_length(step, steps, peak, warmup=0, lowest=0.0):
    assert warmup <= steps
    return _falling(step, steps, peak, warmup, lowest)


# Parameters in groups


@right("parameter_groups")
def loops_over_parameters(model, weight_decay):
    matrices, vectors = [], []
    for parameter in model.parameters():
        if parameter.requires_grad:
            (matrices if parameter.ndim > 1 else vectors).append(parameter)
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0},
    ]


@right("parameter_groups")
def goes_by_names_and_axes(model, weight_decay):
    by_name = dict(model.named_parameters())
    for name, parameter in list(by_name.items()):
        if not parameter.requires_grad:
            del by_name[name]
    matrices = {n for n, p in by_name.items() if len(p.shape) >= 2}
    return (
        dict(params=[by_name[n] for n in sorted(matrices)], weight_decay=weight_decay),
        dict(
            params=[p for n, p in by_name.items() if n not in matrices],
            weight_decay=0.0,
        ),
    )


@right("parameter_groups")
def goes_through_modules(model, weight_decay):
    seen, groups = set(), ([], [])
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                groups[parameter.dim() < 2].append(parameter)
    decays = weight_decay, 0.0
    return [
        {"params": g, "weight_decay": d} for g, d in zip(groups, decays, strict=True)
    ]


def _sorted(parameters, weight_decay, is_matrix):
    """What most wrong answers share."""
    parameters = list(parameters)
    return [
        {
            "params": [p for p in parameters if is_matrix(p)],
            "weight_decay": weight_decay,
        },
        {"params": [p for p in parameters if not is_matrix(p)], "weight_decay": 0.0},
    ]


def _learned(model):
    return [p for p in model.parameters() if p.requires_grad]


@wrong("parameter_groups", says="The sorting goes by names")
def sorts_by_name(model, weight_decay):
    vectors = {id(p) for n, p in model.named_parameters() if "bias" in n or "norm" in n}
    return _sorted(_learned(model), weight_decay, lambda p: id(p) not in vectors)


@wrong("parameter_groups", says="A token or position table")
def spares_the_tables(model, weight_decay):
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    return _sorted(
        _learned(model), weight_decay, lambda p: p.dim() > 1 and id(p) not in tables
    )


@wrong("parameter_groups", says="The groups are exchanged")
def returns_vectors_first(model, weight_decay):
    return _sorted(_learned(model), weight_decay, lambda p: p.dim() > 1)[::-1]


@wrong("parameter_groups", says="The groups are exchanged")
def exchanges_the_decays(model, weight_decay):
    return _sorted(_learned(model), weight_decay, lambda p: p.dim() < 2)


@wrong("parameter_groups", says="The second group decays, too")
def decays_everything(model, weight_decay):
    groups = _sorted(_learned(model), weight_decay, lambda p: p.dim() > 1)
    return [{**group, "weight_decay": weight_decay} for group in groups]


@wrong("parameter_groups", says="not the one that was given")
def has_a_decay_of_its_own(model, weight_decay):
    return _sorted(_learned(model), 0.1, lambda p: p.dim() > 1)


@wrong("parameter_groups", says="Return two groups")
def returns_one_group(model, weight_decay):
    return [{"params": _learned(model), "weight_decay": weight_decay}]


@wrong("parameter_groups", says="Return a list of two groups")
def returns_a_dict(model, weight_decay):
    return {"params": _learned(model), "weight_decay": weight_decay}


@wrong("parameter_groups", says="Leave out those")
def keeps_the_frozen(model, weight_decay):
    return _sorted(model.parameters(), weight_decay, lambda p: p.dim() > 1)


@wrong("parameter_groups", says="listed twice")
def lists_shared_ones_twice(model, weight_decay):
    named = model.named_parameters(remove_duplicate=False)
    learned = [p for _, p in named if p.requires_grad]
    return _sorted(learned, weight_decay, lambda p: p.dim() > 1)


@wrong("parameter_groups", says="three axes or more")
def takes_two_axes_only(model, weight_decay):
    return _sorted(_learned(model), weight_decay, lambda p: p.dim() == 2)


@wrong("parameter_groups", says="without an axis")
def takes_a_number_for_no_vector(model, weight_decay):
    return _sorted(_learned(model), weight_decay, lambda p: p.dim() != 1)


@wrong("parameter_groups", says="would never be trained")
def takes_linear_layers_only(model, weight_decay):
    parameters = [
        p
        for module in model.modules()
        if isinstance(module, (nn.Linear, nn.LayerNorm, nn.Embedding))
        for p in module.parameters(recurse=False)
        if p.requires_grad
    ]
    return _sorted(parameters, weight_decay, lambda p: p.dim() > 1)


@wrong("parameter_groups", says="without names")
def keeps_the_names(model, weight_decay):
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    return _sorted(named, weight_decay, lambda pair: pair[1].dim() > 1)


@wrong("parameter_groups", says="without names")
def gives_names_alone(model, weight_decay):
    return [
        {
            "params": [n for n, p in model.named_parameters()],
            "weight_decay": weight_decay,
        },
        {"params": [], "weight_decay": 0.0},
    ]


@wrong("parameter_groups", says="no parameter of the model")
def copies(model, weight_decay):
    copies = [p.detach().clone().requires_grad_() for p in _learned(model)]
    return _sorted(copies, weight_decay, lambda p: p.dim() > 1)


@wrong("parameter_groups", says="no 'weight_decay'")
def forgets_a_decay(model, weight_decay):
    first, second = _sorted(_learned(model), weight_decay, lambda p: p.dim() > 1)
    return [first, {"params": second["params"]}]


@wrong("parameter_groups", says="is a list of the parameters alone")
def makes_sets(model, weight_decay):
    groups = _sorted(_learned(model), weight_decay, lambda p: p.dim() > 1)
    return [{**group, "params": set(group["params"])} for group in groups]


# One step of training


@right("training_step")
def counts_first(model, parts, optimizers, clip=1.0):
    everything = sum((part[:, 1:] != NOTHING).sum() for part in parts)
    losses = []
    for part in parts:
        share = (part[:, 1:] != NOTHING).sum() / everything
        loss = share * next_token_loss(model, part)
        loss.backward()
        losses.append(loss.detach())
    loss = torch.stack(losses).sum()
    length = nn.utils.clip_grad_norm_(model.parameters(), clip)
    if not (loss.isfinite() and length.isfinite()):
        model.zero_grad()
        raise FloatingPointError("the loss is no number")
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
    return loss


@right("training_step")
def divides_at_the_end(model, parts, optimizers, clip=1.0):
    total, tokens = 0.0, 0
    for part in parts:
        asked = (part[:, 1:] >= 0).sum().item()
        loss = next_token_loss(model, part) * asked
        loss.backward()
        total += loss.item()
        tokens += asked
    with torch.no_grad():
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        for gradient in gradients:
            gradient /= tokens
        length = math.sqrt(sum(g.pow(2).sum().item() for g in gradients))
        broken = not math.isfinite(total) or not math.isfinite(length)
        if not broken:
            for gradient in gradients:
                gradient *= min(1.0, clip / length)
            for optimizer in optimizers:
                optimizer.step()
    model.zero_grad()
    if broken:
        raise FloatingPointError(f"loss {total}, length {length}")
    return torch.tensor(total / tokens)


@right("training_step")
def takes_gradients_itself(model, parts, optimizers, clip=1.0):
    parameters = [p for p in model.parameters() if p.requires_grad]
    tokens = [int((part[:, 1:] != NOTHING).sum()) for part in parts]
    total = 0.0
    sums = [None for _ in parameters]
    for part, asked in zip(parts, tokens, strict=True):
        loss = next_token_loss(model, part) * asked / sum(tokens)
        total = total + loss.detach()
        new = torch.autograd.grad(loss, parameters, allow_unused=True)
        sums = [
            b if a is None else a if b is None else a + b
            for a, b in zip(sums, new, strict=True)
        ]
    for parameter, gradient in zip(parameters, sums, strict=True):
        parameter.grad = gradient
    try:
        nn.utils.clip_grad_norm_(parameters, clip, error_if_nonfinite=True)
        if not total.isfinite():
            raise FloatingPointError("the loss is no number")
        for optimizer in optimizers:
            optimizer.step()
    except RuntimeError as error:
        raise FloatingPointError(str(error)) from None
    finally:
        for optimizer in optimizers:
            optimizer.zero_grad()
    return total


def _shares_of(parts):
    asked = [int((part[:, 1:] != NOTHING).sum()) for part in parts]
    return [n / sum(asked) for n in asked]


def _backward(model, parts, shares):
    total = 0.0
    for part, share in zip(parts, shares, strict=True):
        loss = next_token_loss(model, part) * share
        loss.backward()
        total = total + loss.detach()
    return total


def _finish(model, optimizers, loss, length):
    """Let the optimizers step if all is finite, and clear the gradients."""
    finite = bool(torch.isfinite(loss + length))
    for optimizer in optimizers:
        if finite:
            optimizer.step()
        optimizer.zero_grad()
    if not finite:
        raise FloatingPointError("no number")
    return loss


def _weighed(model, parts, optimizers, clip, shares):
    loss = _backward(model, parts, shares)
    length = nn.utils.clip_grad_norm_(model.parameters(), clip)
    return _finish(model, optimizers, loss, length)


@wrong("training_step", says="Every part counts the same")
def takes_the_mean_of_means(model, parts, optimizers, clip=1.0):
    shares = [1 / len(parts)] * len(parts)
    return _weighed(model, parts, optimizers, clip, shares)


@wrong("training_step", says="the gradient grows with the number of parts")
def adds_the_means(model, parts, optimizers, clip=1.0):
    return _weighed(model, parts, optimizers, clip, [1.0] * len(parts))


@wrong("training_step", says="is weighed by its rows")
def weighs_by_rows(model, parts, optimizers, clip=1.0):
    rows = sum(map(len, parts))
    return _weighed(model, parts, optimizers, clip, [len(p) / rows for p in parts])


@wrong("training_step", says="is weighed by its places")
def weighs_by_places(model, parts, optimizers, clip=1.0):
    places = [part[:, 1:].numel() for part in parts]
    shares = [n / sum(places) for n in places]
    return _weighed(model, parts, optimizers, clip, shares)


@wrong("training_step", says="The first of each row is no target")
def weighs_by_all_tokens(model, parts, optimizers, clip=1.0):
    tokens = [int((part != NOTHING).sum()) for part in parts]
    shares = [n / sum(tokens) for n in tokens]
    return _weighed(model, parts, optimizers, clip, shares)


@wrong("training_step", says="not divided by the number of targets")
def forgets_to_divide(model, parts, optimizers, clip=1.0):
    asked = [int((part[:, 1:] != NOTHING).sum()) for part in parts]
    return _weighed(model, parts, optimizers, clip, asked)


@wrong("training_step", says="There is a step after each part")
def steps_after_each_part(model, parts, optimizers, clip=1.0):
    total = 0.0
    for part, share in zip(parts, _shares_of(parts), strict=True):
        total += share * _weighed(model, [part], optimizers, clip, [1.0])
    return total


@wrong("training_step", says="One part alone is learned from")
def clears_between_the_parts(model, parts, optimizers, clip=1.0):
    total = 0.0
    for part, share in zip(parts, _shares_of(parts), strict=True):
        model.zero_grad()
        total = total + _backward(model, [part], [share])
    length = nn.utils.clip_grad_norm_(model.parameters(), clip)
    return _finish(model, optimizers, total, length)


@wrong("training_step", says="One part alone is learned from")
def learns_from_the_first_part(model, parts, optimizers, clip=1.0):
    return _weighed(model, parts[:1], optimizers, clip, [1.0])


@wrong("training_step", says="cannot be put together")
def puts_the_parts_together(model, parts, optimizers, clip=1.0):
    return _weighed(model, [torch.cat(list(parts))], optimizers, clip, [1.0])


@wrong("training_step", says="6 rows at once")
def pads_and_puts_together(model, parts, optimizers, clip=1.0):
    longest = max(part.shape[1] for part in parts)
    parts = [F.pad(part, (0, longest - part.shape[1]), value=NOTHING) for part in parts]
    return _weighed(model, [torch.cat(parts)], optimizers, clip, [1.0])


@wrong("training_step", says="memory fills up")
def goes_back_once(model, parts, optimizers, clip=1.0):
    losses = [
        next_token_loss(model, part) * share
        for part, share in zip(parts, _shares_of(parts), strict=True)
    ]
    sum(losses).backward()
    length = nn.utils.clip_grad_norm_(model.parameters(), clip)
    return _finish(model, optimizers, sum(losses).detach(), length)


@wrong("training_step", says="not clipped")
def forgets_to_clip(model, parts, optimizers, clip=1.0):
    loss = _backward(model, parts, _shares_of(parts))
    return _finish(model, optimizers, loss, loss)


@wrong("training_step", says="not clipped")
def clips_after_the_step(model, parts, optimizers, clip=1.0):
    loss = _backward(model, parts, _shares_of(parts))
    for optimizer in optimizers:
        optimizer.step()
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    model.zero_grad()
    return loss


@wrong("training_step", says="Each parameter is clipped by itself")
def clips_each_parameter(model, parts, optimizers, clip=1.0):
    loss = _backward(model, parts, _shares_of(parts))
    for parameter in model.parameters():
        nn.utils.clip_grad_norm_([parameter], clip)
    return _finish(model, optimizers, loss, loss)


@wrong("training_step", says="The parameters of each optimizer")
def clips_each_optimizer(model, parts, optimizers, clip=1.0):
    loss = _backward(model, parts, _shares_of(parts))
    for optimizer in optimizers:
        own = [p for group in optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(own, clip)
    return _finish(model, optimizers, loss, loss)


@wrong("training_step", says="Each number is clipped by itself")
def clips_each_number(model, parts, optimizers, clip=1.0):
    loss = _backward(model, parts, _shares_of(parts))
    nn.utils.clip_grad_value_(model.parameters(), clip)
    return _finish(model, optimizers, loss, loss)


@wrong("training_step", says="made longer")
def always_scales(model, parts, optimizers, clip=1.0):
    loss = _backward(model, parts, _shares_of(parts))
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    length = torch.stack([g.norm() for g in gradients]).norm()
    for gradient in gradients:
        gradient.mul_(clip / length)
    return _finish(model, optimizers, loss, length)


@wrong("training_step", says="clipped after each part")
def clips_each_part(model, parts, optimizers, clip=1.0):
    total, sums = 0.0, {}
    for part, share in zip(parts, _shares_of(parts), strict=True):
        total = total + _backward(model, [part], [share])
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                sums[name] = sums.get(name, 0) + parameter.grad.clone()
        model.zero_grad()
    for name, value in sums.items():
        model.get_parameter(name).grad = value
    return _finish(model, optimizers, total, total)


@wrong("training_step", says="clipped after each part")
def clips_in_the_loop(model, parts, optimizers, clip=1.0):
    total = 0.0
    for part, share in zip(parts, _shares_of(parts), strict=True):
        total = total + _backward(model, [part], [share])
        length = nn.utils.clip_grad_norm_(model.parameters(), clip)
    return _finish(model, optimizers, total, length)


@wrong("training_step", says="whatever `clip` is")
def clips_to_one(model, parts, optimizers, clip=1.0):
    return _weighed(model, parts, optimizers, 1.0, _shares_of(parts))


@wrong("training_step", says="`grad` is None")
def asks_every_gradient(model, parts, optimizers, clip=1.0):
    loss = _backward(model, parts, _shares_of(parts))
    length = math.sqrt(sum(p.grad.square().sum() for p in model.parameters()))
    return _finish(model, optimizers, loss, length)


@wrong("training_step", says="Nothing has moved")
def clears_before_the_step(model, parts, optimizers, clip=1.0):
    loss = _backward(model, parts, _shares_of(parts))
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    for optimizer in optimizers:
        optimizer.zero_grad()
        optimizer.step()
    return loss


@wrong("training_step", says="still has a gradient")
def clears_nothing(model, parts, optimizers, clip=1.0):
    loss = _backward(model, parts, _shares_of(parts))
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    for optimizer in optimizers:
        optimizer.step()
    return loss


@wrong("training_step", says="still has a gradient")
def clears_at_the_beginning(model, parts, optimizers, clip=1.0):
    model.zero_grad()
    return clears_nothing(model, parts, optimizers, clip)


@wrong("training_step", says="Only one of the optimizers")
def lets_one_optimizer_step(model, parts, optimizers, clip=1.0):
    loss = _weighed(model, parts, optimizers[:1], clip, _shares_of(parts))
    model.zero_grad()
    return loss


@wrong("training_step", says="Return `loss.detach()`")
def returns_the_graph(model, parts, optimizers, clip=1.0):
    total = 0.0
    for part, share in zip(parts, _shares_of(parts), strict=True):
        loss = next_token_loss(model, part) * share
        loss.backward()
        total = total + loss
    length = nn.utils.clip_grad_norm_(model.parameters(), clip)
    return _finish(model, optimizers, total, length)


@wrong("training_step", says="Return the loss, a tensor")
def returns_a_plain_number(model, parts, optimizers, clip=1.0):
    return _weighed(model, parts, optimizers, clip, _shares_of(parts)).item()


@wrong("training_step", says="that of the last part alone")
def returns_the_last_loss(model, parts, optimizers, clip=1.0):
    with torch.no_grad():
        last = next_token_loss(model, parts[-1])
    _weighed(model, parts, optimizers, clip, _shares_of(parts))
    return last


@wrong("training_step", says="measured after the step")
def measures_after_the_step(model, parts, optimizers, clip=1.0):
    shares = _shares_of(parts)
    _weighed(model, parts, optimizers, clip, shares)
    with torch.no_grad():
        pairs = zip(parts, shares, strict=True)
        return sum(share * next_token_loss(model, part) for part, share in pairs)


@wrong("training_step", says="let no optimizer make its step")
def steps_whatever_happens(model, parts, optimizers, clip=1.0):
    loss = _backward(model, parts, _shares_of(parts))
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    return _finish(model, optimizers, loss, torch.zeros(())) if loss == loss else loss


@wrong("training_step", says="let no optimizer make its step")
def looks_at_the_loss_only(model, parts, optimizers, clip=1.0):
    loss = _backward(model, parts, _shares_of(parts))
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    return _finish(model, optimizers, loss, torch.zeros(()))


@wrong("training_step", says="let no optimizer make its step")
def looks_at_the_gradient_only(model, parts, optimizers, clip=1.0):
    loss = _backward(model, parts, _shares_of(parts))
    length = nn.utils.clip_grad_norm_(model.parameters(), clip)
    if length.isfinite():
        for optimizer in optimizers:
            optimizer.step()
    model.zero_grad()
    if not length.isfinite():
        raise FloatingPointError("no number")
    return loss


@wrong("training_step", says="let no optimizer make its step")
def looks_for_nan_only(model, parts, optimizers, clip=1.0):
    loss = _backward(model, parts, _shares_of(parts))
    length = nn.utils.clip_grad_norm_(model.parameters(), clip)
    if loss.isnan() or length.isnan():
        model.zero_grad()
        raise FloatingPointError("no number")
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return loss


@wrong("training_step", says="Another exception is raised")
def raises_a_value_error(model, parts, optimizers, clip=1.0):
    try:
        return _weighed(model, parts, optimizers, clip, _shares_of(parts))
    except FloatingPointError as error:
        raise ValueError("the loss is no number") from error


@wrong("training_step", says="The exception comes too late")
def raises_after_the_step(model, parts, optimizers, clip=1.0):
    loss = _backward(model, parts, _shares_of(parts))
    length = nn.utils.clip_grad_norm_(model.parameters(), clip)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    if not torch.isfinite(loss + length):
        raise FloatingPointError("no number")
    return loss


@wrong("training_step", says="has left its gradient behind")
def clears_after_good_steps_only(model, parts, optimizers, clip=1.0):
    loss = _backward(model, parts, _shares_of(parts))
    length = nn.utils.clip_grad_norm_(model.parameters(), clip)
    if not torch.isfinite(loss + length):
        raise FloatingPointError("no number")
    return _finish(model, optimizers, loss, length)


@wrong("training_step", says="has left its gradient behind")
def raises_at_once(model, parts, optimizers, clip=1.0):
    total = 0.0
    for part, share in zip(parts, _shares_of(parts), strict=True):
        loss = next_token_loss(model, part) * share
        if not loss.isfinite():
            raise FloatingPointError("the loss is no number")
        loss.backward()
        total = total + loss.detach()
    length = nn.utils.clip_grad_norm_(model.parameters(), clip)
    return _finish(model, optimizers, total, length)


# Measuring


@right("evaluate")
@torch.no_grad()
def measures_as_a_whole(model, batches):
    before = model.training
    model.train(False)
    try:
        nats, tokens = [], []
        for batch in batches:
            asked = (batch[:, 1:] != NOTHING).sum().item()
            if asked > 0:
                nats.append(asked * next_token_loss(model, batch).item())
                tokens.append(asked)
    finally:
        model.train(before)
    if not tokens:
        raise ValueError("nothing to measure")
    return math.fsum(nats) / sum(tokens), sum(tokens)


@right("evaluate")
def measures_each_token(model, batches):
    training = model.training
    model.eval()
    nats, tokens = torch.zeros((), dtype=torch.float64), 0
    with torch.inference_mode():
        for ids in batches:
            logits = model(ids[:, :-1].clamp(min=0)).double()
            targets = ids[:, 1:]
            nats = nats + F.cross_entropy(logits.mT, targets, reduction="sum")
            tokens += (targets >= 0).sum().item()
    if training:
        model.train()
    if tokens == 0:
        raise ValueError("nothing to measure")
    return float(nats / tokens), tokens


@right("evaluate")
def keeps_a_running_mean(model, batches):
    was_training = model.training
    model.eval()
    mean, tokens = 0.0, 0
    for ids in list(batches):
        asked = int(ids[:, 1:].ne(NOTHING).sum())
        if not asked:
            continue
        with torch.no_grad():
            loss = float(next_token_loss(model, ids))
        tokens += asked
        mean += (loss - mean) * asked / tokens
    model.train(was_training)
    if not tokens:
        raise ValueError("nothing to measure")
    return mean, tokens


def _resting(measure):
    """What most wrong answers share: evaluation mode, no gradients, the mode back."""

    def answer(model, batches):
        training = model.training
        model.eval()
        with torch.no_grad():
            result = measure(model, batches)
        model.train(training)
        return result

    return answer


def _loss_of(model, ids):
    asked = int((ids[:, 1:] != NOTHING).sum())
    return (next_token_loss(model, ids).item() if asked else 0.0), asked


@wrong("evaluate", says="Every batch counts the same")
def averages_batches(model, batches):
    def measure(model, batches):
        pairs = [_loss_of(model, ids) for ids in batches]
        return sum(loss for loss, _ in pairs) / len(pairs), sum(n for _, n in pairs)

    return _resting(measure)(model, batches)


def _weighing(model, batches, weight):
    def measure(model, batches):
        total, weights, tokens = 0.0, 0, 0
        for ids in batches:
            loss, asked = _loss_of(model, ids)
            total += loss * weight(ids)
            weights += weight(ids)
            tokens += asked
        return total / weights, tokens

    return _resting(measure)(model, batches)


@wrong("evaluate", says="is weighed by its rows")
def weighs_batches_by_rows(model, batches):
    return _weighing(model, batches, len)


@wrong("evaluate", says="is weighed by its places")
def weighs_batches_by_places(model, batches):
    return _weighing(model, batches, lambda ids: ids[:, 1:].numel())


@wrong("evaluate", says="is weighed by all its tokens")
def weighs_batches_by_tokens(model, batches):
    return _weighing(model, batches, lambda ids: int((ids != NOTHING).sum()))


def _right(model, batches):
    total, tokens = 0.0, 0
    for ids in batches:
        loss, asked = _loss_of(model, ids)
        total += loss * asked
        tokens += asked
    if not tokens:
        raise ValueError("nothing to measure")
    return total / tokens, tokens


@wrong("evaluate", says="The losses are added up")
def adds_up_the_losses(model, batches):
    def measure(model, batches):
        loss, tokens = _right(model, batches)
        return loss * tokens, tokens

    return _resting(measure)(model, batches)


@wrong("evaluate", says="The second number is how many tokens")
def counts_the_first_tokens(model, batches):
    batches = list(batches)
    loss, _ = _resting(_right)(model, batches)
    return loss, sum(int((ids != NOTHING).sum()) for ids in batches)


@wrong("evaluate", says="The second number is how many tokens")
def counts_the_places(model, batches):
    batches = list(batches)
    loss, _ = _resting(_right)(model, batches)
    return loss, sum(ids[:, 1:].numel() for ids in batches)


@wrong("evaluate", says="The second number is how many tokens")
def counts_the_batches(model, batches):
    batches = list(batches)
    return _resting(_right)(model, batches)[0], len(batches)


@wrong("evaluate", says="in training mode while it is measured")
def stays_in_training_mode(model, batches):
    with torch.no_grad():
        return _right(model, batches)


@wrong("evaluate", says="Set it back with `model.train(...)`")
def leaves_evaluation_mode(model, batches):
    model.eval()
    with torch.no_grad():
        return _right(model, batches)


@wrong("evaluate", says="is in training mode afterwards")
def always_trains_afterwards(model, batches):
    model.eval()
    with torch.no_grad():
        result = _right(model, batches)
    model.train()
    return result


@wrong("evaluate", says="before the exception")
def raises_in_evaluation_mode(model, batches):
    return _resting(_right)(model, batches)


@wrong("evaluate", says="Measure under `torch.no_grad()`")
def keeps_the_graph(model, batches):
    training = model.training
    model.eval()
    result = _right(model, batches)
    model.train(training)
    return result


@wrong("evaluate", says="switched off for good")
def switches_gradients_off(model, batches):
    torch.set_grad_enabled(False)
    return _resting(_right)(model, batches)


@wrong("evaluate", says="NaN times 0 is NaN")
def multiplies_nan_by_zero(model, batches):
    def measure(model, batches):
        total, tokens = 0.0, 0
        for ids in batches:
            asked = int((ids[:, 1:] != NOTHING).sum())
            total += next_token_loss(model, ids).item() * asked
            tokens += asked
        return total / tokens, tokens

    return _resting(measure)(model, batches)


@wrong("evaluate", says="Count in the loop")
def asks_for_the_length(model, batches):
    def measure(model, batches):
        tokens = [0] * len(batches)
        return _right(model, batches), tokens

    return _resting(measure)(model, batches)


@wrong("evaluate", says="a second loop finds nothing")
def goes_through_twice(model, batches):
    def measure(model, batches):
        tokens = sum(int((ids[:, 1:] != NOTHING).sum()) for ids in batches)
        nats = [
            loss * asked for loss, asked in (_loss_of(model, ids) for ids in batches)
        ]
        return sum(nats) / tokens, tokens

    return _resting(measure)(model, batches)


@wrong("evaluate", says="a second loop finds nothing")
def goes_through_twice_in_the_other_order(model, batches):
    def measure(model, batches):
        nats = [
            loss * asked for loss, asked in (_loss_of(model, ids) for ids in batches)
        ]
        tokens = sum(int((ids[:, 1:] != NOTHING).sum()) for ids in batches)
        return sum(nats) / tokens, tokens

    return _resting(measure)(model, batches)


@wrong("evaluate", says="The two are exchanged")
def returns_the_tokens_first(model, batches):
    return _resting(_right)(model, batches)[::-1]


@wrong("evaluate", says="Return two things")
def returns_the_loss_alone(model, batches):
    return _resting(_right)(model, batches)[0]


@wrong("evaluate", says="Return plain numbers")
def returns_tensors(model, batches):
    loss, tokens = _resting(_right)(model, batches)
    return torch.tensor(loss), tokens


@wrong("evaluate", says="in bits")
def measures_in_bits(model, batches):
    loss, tokens = _resting(_right)(model, batches)
    return loss / math.log(2), tokens


@wrong("evaluate", says="a mean of nothing is no number")
def returns_nan_for_nothing(model, batches):
    def measure(model, batches):
        batches = list(batches)
        if not any((ids[:, 1:] != NOTHING).any() for ids in batches):
            return math.nan, 0
        return _right(model, batches)

    return _resting(measure)(model, batches)


@wrong("evaluate", says="Something else is raised")
def divides_by_no_tokens(model, batches):
    training = model.training
    model.eval()
    with torch.no_grad():
        pairs = [_loss_of(model, ids) for ids in batches]
    model.train(training)
    tokens = sum(asked for _, asked in pairs)
    return sum(loss * asked for loss, asked in pairs) / tokens, tokens


# The share of a machine


@right("utilisation")
def forward_and_twice_back(tokens_per_second, config, length, peak):
    forward = forward_flops(config, length)
    backward = 2 * forward
    return tokens_per_second * (forward + backward) / peak


@right("utilisation")
def by_seconds_per_token(tokens_per_second, config, length, peak):
    least = 3 * forward_flops(config, length) / peak  # seconds, at the peak
    return least / (1 / tokens_per_second)


@right("utilisation")
def counts_by_itself(tokens_per_second, config, length, peak):
    width = config.n_embd
    block = 24 * width**2 + 4 * length * width
    forward = config.n_layer * block + 2 * config.vocab_size * width
    return float(tokens_per_second * 3 * forward) / peak


@wrong("utilisation", says="the way forward alone")
def forgets_the_way_back(tokens_per_second, config, length, peak):
    return forward_flops(config, length) * tokens_per_second / peak


@wrong("utilisation", says="by 3, not by 6")
def takes_six_times(tokens_per_second, config, length, peak):
    return 6 * forward_flops(config, length) * tokens_per_second / peak


@wrong("utilisation", says="six for each parameter")
def takes_six_for_each_parameter(tokens_per_second, config, length, peak):
    return 6 * gpt_parameters(config) * tokens_per_second / peak


@wrong("utilisation", says="six for each parameter")
def takes_six_for_each_number_of_a_matrix(tokens_per_second, config, length, peak):
    matrices = 12 * config.n_layer * config.n_embd**2
    return 6 * matrices * tokens_per_second / peak


@wrong("utilisation", says="upside down")
def turns_the_fraction(tokens_per_second, config, length, peak):
    return peak / (3 * forward_flops(config, length) * tokens_per_second)


@wrong("utilisation", says="in percent")
def returns_percent(tokens_per_second, config, length, peak):
    return 100 * 3 * forward_flops(config, length) * tokens_per_second / peak


@wrong("utilisation", says="Divide by `peak`")
def forgets_the_peak(tokens_per_second, config, length, peak):
    return 3 * forward_flops(config, length) * tokens_per_second


@wrong("utilisation", says="The speed is missing")
def forgets_the_speed(tokens_per_second, config, length, peak):
    return 3 * forward_flops(config, length) / peak


@wrong("utilisation", says="as long as the context")
def takes_the_context(tokens_per_second, config, length, peak):
    flops = forward_flops(config, config.n_positions)
    return 3 * flops * tokens_per_second / peak


@wrong("utilisation", says="cuts the fraction off")
def divides_to_a_whole_number(tokens_per_second, config, length, peak):
    return 3 * forward_flops(config, length) * tokens_per_second // peak
