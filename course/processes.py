"""One process or several, each with the whole model or a part: where a run runs.

`torchrun` starts the processes and says in the environment which one this is. Without
it there is one. `Machine` is all that the rest of the course needs to know.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from solutions.gpt_block import GPT


@dataclass(frozen=True)
class Machine:
    """Where this process runs, and how many there are like it.

    `sharded`: the model is cut up among the processes (FSDP2), not copied (DDP).
    """

    device: torch.device
    rank: int = 0
    processes: int = 1
    sharded: bool = False

    @property
    def leads(self) -> bool:
        """One process writes the files and speaks."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes have come here."""
        if self.processes > 1:
            dist.barrier()

    def mean(self, value: Tensor) -> float:
        """Of a number that each process has its own of."""
        if self.processes > 1:
            value = value.clone()
            dist.all_reduce(value)
            value /= self.processes
        return value.item()

    def any(self, asked: bool) -> bool:
        """Whether it is so in any process: all of them get the same answer."""
        return self.mean(torch.tensor(float(asked), device=self.device)) > 0

    def spread(self, model: GPT) -> nn.Module:
        """The model as all processes train it together."""
        if self.sharded:
            for block in model.blocks:
                fully_shard(block)
            return fully_shard(model)
        if self.processes > 1:
            return DistributedDataParallel(model)
        return model


@contextmanager
def machine(device: str | None = None, sharded: bool = False) -> Iterator[Machine]:
    """This process's place; ends the connection to the others afterwards.

    Raises:
        ValueError: if the device is not there, or a single process should be sharded.
    """
    processes = int(os.environ.get("WORLD_SIZE", 1))
    if sharded and processes < 2:
        raise ValueError(
            "a part for each process needs several: torchrun --nproc-per-node 2 ..."
        )
    place = _place(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if processes == 1:
        yield Machine(place)
        return
    if place.type == "cuda":
        place = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Machine(place, dist.get_rank(), processes, sharded)
    finally:
        dist.destroy_process_group()


def _place(device: str) -> torch.device:
    try:
        place = torch.device(device)
        torch.zeros(1, device=place).item()  # what it cannot hold, it cannot train
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ValueError(
            f"there is no device {device!r} here: leave --device out, or use cpu"
        ) from None
    return place
