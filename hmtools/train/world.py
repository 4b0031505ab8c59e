"""The processes of a training run: who we are among them, on which device, and what all of them agree on.

Launchers (:mod:`hmtools.train.launch_local` and its neighbours) say it the way ``torchrun`` does, by the
variables ``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``, ``MASTER_ADDR`` and ``MASTER_PORT``; without them there is
one process.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed

from hmtools.core.errors import UsageError
from hmtools.engine.worker import one_line

__all__ = ["World", "joined"]

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_PATIENCE = timedelta(minutes=30)  # longer than any validation or checkpoint that others wait for


@dataclass(frozen=True, slots=True)
class World:
    """The processes that train one network.

    Attributes:
        rank: ours, from 0.
        size: how many there are.
        local_rank: ours on this node, which is the GPU we have.
        device: where our network is.
    """

    rank: int
    size: int
    local_rank: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether we are the one that writes files and logs."""
        return self.rank == 0

    def sum(self, values: Sequence[float | torch.Tensor]) -> list[float]:
        """Add numbers up over all processes, in float64; everybody gets the same sums.

        The one place where training waits for its device.
        """
        numbers = torch.stack([
            torch.as_tensor(value).detach().to(self.device, torch.float64) for value in values
        ])  # fmt: skip
        if self.size > 1:
            distributed.all_reduce(numbers)
        return [float(number) for number in numbers.cpu()]

    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace float tensors by their mean over all processes, in place."""
        if self.size > 1:
            for tensor in tensors:
                distributed.all_reduce(tensor)
                tensor /= self.size

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            distributed.barrier()


@contextlib.contextmanager
def joined(device: str = "auto") -> Iterator[World]:
    """Join the processes that a launcher started, and leave them at the end.

    After an error nobody says goodbye: the others may wait in an exchange, and NCCL would wait for them.

    Args:
        device: ``auto`` (a GPU where there is one), ``cuda`` or ``cpu``.

    Raises:
        UsageError: for ``cuda`` without a GPU for this process, or a launcher that says only half.
    """
    found = {name: os.environ.get(name, "") for name in _VARIABLES}
    said = [name for name, value in found.items() if value]
    if said and len(said) < len(_VARIABLES):
        missing = ", ".join(name for name in _VARIABLES if name not in said)
        raise UsageError(
            f"{', '.join(said)} set but not {missing}: a launcher such as torchrun sets them all"
        )
    rank, size, local = (int(found[name]) for name in _VARIABLES[:3]) if said else (0, 1, 0)
    world = World(rank, size, local, _device(device, local))
    if world.device.type == "cuda":
        torch.cuda.set_device(world.device)
    ours = size > 1 and not distributed.is_initialized()  # Ray Train makes the group itself
    if ours:
        _meet("nccl" if world.device.type == "cuda" else "gloo")
    yield world
    if ours:
        distributed.destroy_process_group()


def _meet(backend: str) -> None:
    address = f"{os.environ['MASTER_ADDR']} port {os.environ['MASTER_PORT']}"
    try:
        distributed.init_process_group(backend, timeout=_PATIENCE)
    except (distributed.DistNetworkError, distributed.DistStoreError) as error:
        why = "that port is taken there" if "EADDRINUSE" in str(error) else one_line(error)
        raise UsageError(
            f"the processes of the training cannot meet at {address}: {why}; start it again, or export "
            "another MASTER_ADDR or MASTER_PORT (with Slurm in slurm.setup)"
        ) from error


def _device(wanted: str, local_rank: int) -> torch.device:
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if local_rank >= count:
        raise UsageError(
            f"process {local_rank} of this node needs a GPU of its own, and torch sees {count}; "
            "lower --gpus, or train on the CPU with --procs"
        )
    return torch.device("cuda", local_rank)
