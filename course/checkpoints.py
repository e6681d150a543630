"""The state of a training run in one file that a crash cannot tear.

A checkpoint holds the weights, all that the optimizers remember, the number of steps
done, and the settings of the run, in one safetensors file: numbers and text, no code.
It is written under another name and renamed. Killed at any moment, the run leaves this
checkpoint or the one before it. What is random needs no state: it follows from the seed
and the step, see `solutions.pretraining.pretrain`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from course.files import write_atomically

ABOUT = "five_sundays_checkpoint"
"""The name of the record in the head of the file. It is the only one there: of several
names the order would be left to chance, and the same run would make other bytes."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: says what was wrong and what to do."""


def state(model: nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, Tensor]:
    """Every tensor that the rest of a run depends on, under a name of its own.

    Of a model that is cut up among processes each tensor is put together, so every
    process has to ask.
    """
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for number, optimizer in enumerate(optimizers):
        for place, values in optimizer.state_dict()["state"].items():
            for key, value in values.items():
                tensors[f"optimizer.{number}.{place}.{key}"] = value
    return {
        name: value.full_tensor() if isinstance(value, DTensor) else value
        for name, value in tensors.items()
    }


def restore(
    model: nn.Module, optimizers: Sequence[Optimizer], tensors: Mapping[str, Tensor]
) -> None:
    """Put back what `state` took; model and optimizers are new ones of the same make.

    Raises:
        CheckpointError: if the tensors are those of another model or optimizer.
    """
    own = model.state_dict()
    sizes = {f"model.{name}": value.shape for name, value in own.items()}
    if sizes != {n: v.shape for n, v in tensors.items() if n.startswith("model.")}:
        raise CheckpointError("the checkpoint holds the weights of another model")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(_cut_like(tensors[f"model.{name}"], value))
    for number, optimizer in enumerate(optimizers):
        whole = optimizer.state_dict()
        weights = [p for group in optimizer.param_groups for p in group["params"]]
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith(f"optimizer.{number}."):
                place, key = name.split(".")[2:]
                weight = weights[int(place)]
                states.setdefault(int(place), {})[key] = _cut_like(value, weight)
        optimizer.load_state_dict({**whole, "state": states})


def _cut_like(value: Tensor, weight: Tensor) -> Tensor:
    """This process's part of it, if the weight is cut up among processes."""
    if isinstance(weight, DTensor) and value.shape == weight.shape:
        value = value.to(weight.device)
        return distribute_tensor(value, weight.device_mesh, weight.placements)
    return value


def write(path: Path, tensors: Mapping[str, Tensor], about: Mapping) -> None:
    """Keep tensors, and a record of numbers and words, in one file.

    Raises:
        OSError: if it cannot be written; what was at `path` is still there.
    """
    header = {ABOUT: json.dumps(about)}
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_atomically(path, safetensors.torch.save(whole, header))


def read(path: Path) -> tuple[dict[str, Tensor], dict]:
    """What `write` has kept.

    Raises:
        CheckpointError: if the file is damaged, or no checkpoint of a run.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if ABOUT not in header:
                raise CheckpointError(
                    f"{path} is no checkpoint of a training run: give another folder, "
                    "or move it away to begin anew"
                )
            # A copy of its own for each: memory of the file may lie at an odd address,
            # and sums of numbers at an odd address can differ in their last digit.
            names = file.keys()
            tensors = {name: file.get_tensor(name).clone() for name in names}
        return tensors, dict(json.loads(header[ABOUT]))
    except CheckpointError:
        raise
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise CheckpointError(
            f"the checkpoint {path} is damaged ({error}): move it away to begin anew"
        ) from None
