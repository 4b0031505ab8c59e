"""Random bodies for tests."""

from __future__ import annotations

import torch

from hmtools.bodies.model import Family
from hmtools.bodies.params import POSE_PARTS, BodyParams


def random_body(
    family: Family, batch: int, seed: int = 0, *, dtype: torch.dtype = torch.float64
) -> BodyParams:
    """Bodies with every parameter that ``family`` has."""
    rng = torch.Generator().manual_seed(seed)

    def noise(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return scale * torch.randn(*shape, generator=rng, dtype=torch.float64).to(dtype)

    parts = {name: noise(batch, 3 * count, scale=0.4) for name, count in POSE_PARTS[family].items()}
    face = {"expression": noise(batch, 10)} if family == "smplx" else {}
    return BodyParams(**parts, **face, betas=noise(batch, 10), transl=noise(batch, 3))
