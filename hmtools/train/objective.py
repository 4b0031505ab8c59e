"""From a batch to losses: targets made on the device, one pass of the network, the published losses."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from hmtools.bench.bodies import BenchBodies, bodies_of
from hmtools.bodies.layers import BodyLayer
from hmtools.core.errors import CheckpointError, UsageError
from hmtools.models.checkpoint import load_encoder, load_into, read_checkpoint
from hmtools.models.sizes import SIZES
from hmtools.models.smplerx.losses import LossWeights, losses
from hmtools.models.smplerx.model import SmplerX
from hmtools.models.smplerx.target_rules import REFERENCE_FAULTS
from hmtools.models.smplerx.targets import TargetMaker
from hmtools.train.batches import Batch
from hmtools.train.loader import TrainData
from hmtools.train.recipe import Recipe
from hmtools.train.world import World

__all__ = ["Objective", "autocast", "bodies_for", "make_network"]


def bodies_for(data: TrainData, world: World) -> BenchBodies:
    """The body models that the shards were made with, on the device of this process."""
    families = {"smplx"} | {"smpl" for split in data.splits if split.kind.rule.joints2d == "smpl"}
    manifests = [split.manifest for split in data.splits]
    return bodies_of(manifests, families, device=str(world.device))


def make_network(recipe: Recipe, weights: str | None, bodies: BenchBodies, world: World) -> SmplerX:
    """The network of a recipe with the weights it starts from, on the device of this process.

    Drawn weights follow from the seed, so that they are the same in every process.

    Raises:
        CheckpointError: for weights that cannot be read or do not fit.
    """
    torch.manual_seed(recipe.run.seed)
    model = recipe.model
    layer = BodyLayer(bodies.layers("smplx").layer("neutral").model, surface=False)
    network = SmplerX(SIZES[model.size], layer, checkpoint=model.activation_checkpointing)
    if weights is not None:
        checkpoint = read_checkpoint(weights)
        if checkpoint.size != model.size:
            raise CheckpointError(
                f"{weights}: {checkpoint.model} of size {checkpoint.size}, and {recipe.name} trains size "
                f"{model.size}; choose weights of that size with --init, or --init random"
            )
        if checkpoint.model == "smplerx":
            load_into(network, checkpoint)
        else:
            load_encoder(network.encoder, checkpoint)
    return network.to(world.device)


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Passes in bfloat16 where a recipe says ``bf16``; weights and losses stay float32."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


class Objective:
    """Losses of micro-batches, by name.

    Args:
        network: what is trained, as training calls it (:attr:`hmtools.train.parallel.Parallel.trained`).
        recipe: losses, precision, rules of targets.
        bodies: models that targets are made with.
        world: the processes.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, bodies: BenchBodies, world: World) -> None:
        self._network, self._world = network, world
        self._weights = LossWeights(**asdict(recipe.loss))
        self._precision = recipe.run.precision
        smpl = bodies.layers("smpl") if "smpl_neutral" in bodies.files else None
        self._targets = TargetMaker(
            bodies.layers("smplx"),
            smpl=smpl,
            max_beta=recipe.max_beta,
            reference_faults=[name for name in recipe.reference_faults if name in REFERENCE_FAULTS],
        )

    def __call__(self, batch: Batch) -> Mapping[str, Tensor]:
        """Name -> mean loss, without axes; their sum is what is trained on.

        Raises:
            UsageError: if the batch is empty.
        """
        if not len(batch):
            raise UsageError("a batch without samples")
        here = batch.to(self._world.device)
        targets, masks = self._targets(here.inputs)
        with autocast(self._precision, self._world.device):
            forward = self._network(here.crops())
        return losses(forward, targets, masks, self._weights)
