"""A network of the smallest size with drawn numbers, large enough that what it says depends on the image."""

from __future__ import annotations

from pathlib import Path

import torch

from hmtools.models.weight_files import write_safetensors
from tests.models.weight_samples import state_of

__all__ = ["write_tiny"]


def write_tiny(path: Path, seed: int = 0) -> Path:
    """Write the weights, ``*.safetensors``, without a card; returns the path."""
    state = state_of("smplerx", seed=seed)
    spread = {
        name: torch.ones_like(tensor) if name.endswith("running_var") else tensor * 10
        for name, tensor in state.items()
        if tensor.is_floating_point()
    }
    write_safetensors(path, {**state, **spread})
    return path
