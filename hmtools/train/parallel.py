"""One network among the processes that train it: all of it in each of them (DDP), or pieces (FSDP2).

With ``fsdp`` a process holds its rows of every weight, gradient, moment and average; torch calls such a
tensor a DTensor. A block of the encoder is put together for its pass and taken apart again. Nothing else of a
training needs to know: what leaves it, a checkpoint or a network that predicts, is whole (:func:`gathered`,
:meth:`Parallel.whole`), and what enters it is cut (:func:`piece_of`). So a run may go on with another number
of processes, or the other way. What torch has for it takes a second to load: only those who need it do.

Buffers are constants of the body model and BatchNorm's statistics: each process has its own, whole ones.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import Tensor, nn

from hmtools.models.smplerx.model import SmplerX
from hmtools.train.recipe import Recipe
from hmtools.train.world import World

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

__all__ = ["Parallel", "full", "gathered", "in_pieces", "parallel", "piece_of", "unsent"]


@dataclass(frozen=True, slots=True)
class Parallel:
    """A network that is trained by the processes of a world.

    Attributes:
        network: with its own names; its parameters are what the optimiser changes.
        trained: what training calls: ``network``, compiled and wrapped as the recipe says.
    """

    network: SmplerX
    trained: nn.Module
    _hollow: SmplerX | None

    @contextlib.contextmanager
    def whole(self) -> Iterator[SmplerX]:
        """A network that this process can use without the others, to be read only; enter it in all of them.

        It is the trained one, or with ``fsdp`` a copy of its present weights, which needs the memory for them
        all.
        """
        if self._hollow is None:
            yield self.network
            return
        body = self._hollow.body
        found = copy.deepcopy(self._hollow, {id(body): body})
        weights = {name: full(tensor) for name, tensor in self.network.state_dict().items()}
        found.load_state_dict(weights, assign=True)
        yield found


def parallel(network: SmplerX, recipe: Recipe, world: World) -> Parallel:
    """Prepare a network for training: BatchNorm over all GPUs, compiler, DDP or FSDP2.

    One process alone holds everything, whatever the recipe says.

    Args:
        network: on the device of this process, the same in all of them; not to be used itself any more.
        recipe: ``run.sync_bn``, ``run.compile``, ``run.parallel``.
        world: the processes.
    """
    if world.size > 1 and recipe.run.sync_bn and world.device.type == "cuda":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    if world.size > 1 and recipe.run.parallel == "fsdp":
        hollow = _hollow(network)
        _cut(network, world, compiles=recipe.run.compile)
        return Parallel(network, network, hollow)
    whole: nn.Module = torch.compile(network) if recipe.run.compile else network  # type: ignore[assignment]
    return Parallel(network, whole if world.size == 1 else _distributed(whole, world), None)


def _distributed(whole: nn.Module, world: World) -> nn.Module:
    distributed = nn.parallel.DistributedDataParallel
    names = inspect.signature(distributed).parameters  # the option was renamed in torch 2.13
    unsent_buffers = "forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers"
    options: dict[str, Any] = {unsent_buffers: False}
    devices = [world.device] if world.device.type == "cuda" else None
    return distributed(whole, device_ids=devices, gradient_as_bucket_view=True, **options)


def _cut(network: SmplerX, world: World, *, compiles: bool) -> None:
    """Leave our rows of each weight: those of a block of the encoder travel together, then all others."""
    from torch.distributed.device_mesh import init_device_mesh

    try:
        from torch.distributed.fsdp import fully_shard
    except ImportError:  # torch 2.5 has it there
        from torch.distributed._composable.fsdp import fully_shard  # type: ignore[attr-defined]

    # Of outputs that are changed in place, which nobody does with those of a network.
    warnings.filterwarnings("ignore", message=r"FSDP2-wrapped module .* returned a view tensor")
    mesh = init_device_mesh(world.device.type, (world.size,))
    for block in network.encoder.blocks:
        if compiles:  # between the exchanges, which are no part of it
            block.forward = torch.compile(block.forward)
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)


def _hollow(network: SmplerX) -> SmplerX:
    """A copy that shares the body model and has no memory for weights; FSDP2's own cannot be copied."""
    kept: dict[int, Any] = {id(p): nn.Parameter(p.detach().to("meta")) for p in network.parameters()}
    kept[id(network.body)] = network.body
    return copy.deepcopy(network, kept)


@contextlib.contextmanager
def unsent(network: nn.Module) -> Iterator[None]:
    """Leave the gradients of passes in their process, summed up; the first pass outside sends the sums.

    Between such passes a process holds all gradients, whatever else it has in pieces.

    Args:
        network: :attr:`Parallel.trained`; one of a single process has nothing to send.
    """
    sends = getattr(network, "set_requires_gradient_sync", None)  # of FSDP2; DDP has no_sync
    if sends is None:
        with getattr(network, "no_sync", contextlib.nullcontext)():
            yield
        return
    sends(False)
    try:
        yield
    finally:
        sends(True)


def in_pieces(tensor: Tensor) -> TypeGuard[DTensor]:
    """Whether each process has only a piece of a tensor."""
    return hasattr(tensor, "placements")


def full(tensor: Tensor) -> Tensor:
    """All of a tensor, on its device; all processes ask for one that is in pieces."""
    return tensor.full_tensor() if in_pieces(tensor) else tensor


def gathered(tensors: Mapping[str, Tensor], *, keeps: bool) -> dict[str, Tensor]:
    """Copies of whole tensors on the CPU, gathered one by one; all processes do this side by side.

    Args:
        tensors: the same names in the same order in all processes.
        keeps: whether this process wants them; else it only hands over its pieces.

    Returns:
        Name -> whole tensor; empty in a process that keeps none.
    """
    found = {}
    for name, tensor in tensors.items():
        whole = full(tensor.detach())
        if keeps:
            found[name] = whole.to("cpu", copy=True)
    return found


def piece_of(whole: Tensor, own: Tensor) -> Tensor:
    """What of a whole tensor belongs where this process has ``own``; all processes do this side by side.

    Args:
        whole: anywhere, the same in all processes.
        own: of the same shape, maybe in pieces.

    Returns:
        On the device of ``own`` and in pieces as it is.
    """
    here = whole.to(own.device)
    if not in_pieces(own):
        return here
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(here, own.device_mesh, own.placements)
