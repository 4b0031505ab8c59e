"""Compares a compiled or exported network with the plain one: ``python -m ... WAY FOLDER_OF_BODY_MODELS``.

It has a process of its own: tests run functions and dataclasses through a checker of shapes, which compilers
do not see through.
"""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

import torch
from torch import Tensor, nn

from hmtools.models.smplerx.model import SmplerX
from tests.models.smplerx import networks
from tests.models.smplerx.training import crops, gradients, loss_of, supervision

_ROUNDING = 2e-4  # the order of sums differs, nothing else


class Numbers(nn.Module):
    """A network whose answer is a plain dictionary, as an exported one has to give."""

    def __init__(self, net: SmplerX) -> None:
        super().__init__()
        self.net = net

    def forward(self, crop: Tensor) -> dict[str, Tensor]:
        """All tensors of a pass by name, mesh and all."""
        found = self.net(crop, vertices=True)
        return {item.name: getattr(found, item.name) for item in fields(found) if item.name != "raw"}


def compiled(net: SmplerX, backend: str) -> None:
    """A training step, network and losses, as one graph: nothing falls back to Python."""
    step = torch.compile(loss_of, backend=backend, fullgraph=True)
    given = (crops(2), *supervision(2))
    expected, found = loss_of(net, *given), step(net, *given)
    assert abs(found.item() / expected.item() - 1) < 1e-4, (found.item(), expected.item())
    wanted, got = gradients(net, expected), gradients(net, found)
    assert set(wanted) == set(got)
    for name, gradient in got.items():
        apart = (gradient - wanted[name]).norm()
        assert apart <= 2e-3 * wanted[name].norm() + 1e-5, (name, apart)


def exported(net: SmplerX) -> None:
    """Batches of any size, after an export with another one."""
    numbers = Numbers(net)
    batch = torch.export.Dim("batch", min=1, max=256)
    program = torch.export.export(numbers, (crops(4),), dynamic_shapes={"crop": {0: batch}})
    for size in (1, 2, 3, 7):
        crop = networks.inputs.image(1, 2, 7)[:size]
        with torch.no_grad():
            expected, found = numbers(crop), program.module()(crop)
        assert set(found) == set(expected)
        for name, value in found.items():
            torch.testing.assert_close(value, expected[name], atol=_ROUNDING, rtol=_ROUNDING, msg=name)


def main(way: str, golden: str) -> None:
    """Exit with a message where the two differ."""
    net = networks.network("tiny", networks.body_layer(Path(golden)), 1, posed=True)
    exported(net) if way == "export" else compiled(net, way)


if __name__ == "__main__":
    main(*sys.argv[1:])
