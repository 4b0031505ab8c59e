"""Compares a compiled training step with a plain one: ``python -m ... BACKEND FOLDER_OF_BODY_MODELS``.

It has a process of its own: tests run functions and dataclasses through a checker of shapes, which compilers
do not see through.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from tests.models.smplerx import networks
from tests.models.smplerx.training import crops, gradients, loss_of, supervision


def main(backend: str, golden: str) -> None:
    """Exit with a message where the two differ."""
    net = networks.network("tiny", networks.body_layer(Path(golden)), 1, posed=True)
    # Network and losses as one graph: nothing falls back to Python.
    compiled = torch.compile(loss_of, backend=backend, fullgraph=True)
    given = (crops(2), *supervision(2))
    expected, found = loss_of(net, *given), compiled(net, *given)
    assert abs(found.item() / expected.item() - 1) < 1e-4, (found.item(), expected.item())
    wanted, got = gradients(net, expected), gradients(net, found)
    assert set(wanted) == set(got)
    for name, gradient in got.items():
        apart = (gradient - wanted[name]).norm()
        assert apart <= 2e-3 * wanted[name].norm() + 1e-5, (name, apart)


if __name__ == "__main__":
    main(*sys.argv[1:])
