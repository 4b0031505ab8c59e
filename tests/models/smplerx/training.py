"""One step of training on the figures' made-up supervision."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hmtools.models.smplerx.losses import losses
from hmtools.models.smplerx.target_types import Masks, Targets
from tests.models.smplerx import networks

__all__ = ["crops", "gradients", "loss", "loss_of", "supervision"]


def crops(batch: int = 4) -> Tensor:
    """Four images of the figures, or the first of them."""
    image: Tensor = networks.inputs.image(1, 4, 4)[:batch]
    return image


def supervision(batch: int = 4) -> tuple[Targets, Masks]:
    """Targets and masks of the figures, or those of the first samples."""
    targets, masks = networks.inputs.batch(1, 3)
    masks["is_3d"] = masks.pop("is_3D")
    return (
        Targets(**{name: value[:batch] for name, value in targets.items()}),
        Masks(**{name: value[:batch].float() for name, value in masks.items()}),
    )


def loss(net: nn.Module, crop: Tensor) -> Tensor:
    """What is trained on, of the whole batch."""
    return loss_of(net, crop, *supervision(len(crop)))


def loss_of(net: nn.Module, crop: Tensor, targets: Targets, masks: Masks) -> Tensor:
    """The same with other supervision; compilers see through it."""
    return torch.stack(list(losses(net(crop), targets, masks).values())).sum()


def gradients(net: nn.Module, total: Tensor) -> dict[str, Tensor]:
    """Name -> gradient of ``total``, where there is one."""
    names, parameters = zip(*net.named_parameters(), strict=True)
    found = torch.autograd.grad(total, parameters, allow_unused=True)
    return {name: value for name, value in zip(names, found, strict=True) if value is not None}
