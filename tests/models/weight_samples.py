"""Small files of weights as others save them: tiny networks with seeded numbers."""

from __future__ import annotations

import collections
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hmtools.models.checkpoint import expected_state
from hmtools.models.published_weights import Decoder, Model

SMPLERX_OLD = {
    "encoder.": "backbone.",
    "body_regressor.": "body_rotation_net.",
    "hand_regressor.": "hand_rotation_net.",
}


def state_of(
    model: Model, decoder: Decoder | None = None, *, size: str = "tiny", seed: int = 0
) -> dict[str, Tensor]:
    """Random weights of a network, by our names."""
    random = torch.Generator().manual_seed(seed)
    return {
        name: torch.tensor(7)
        if name.endswith("num_batches_tracked")
        else torch.randn(shape, generator=random) * 0.02
        for name, shape in expected_state(model, size, decoder).items()
    }


def smplerx_file(path: Path, state: dict[str, Tensor], *, old: bool = False, trained: int | None = 1) -> Path:
    """As SMPLer-X saves: under ``network`` with ``module.``, beside an optimiser with NumPy numbers.

    The optimiser has numbers for the first ``trained`` parameters (None: all, as in official files).
    """
    import numpy as np

    names = {}
    for name, tensor in state.items():
        ours, theirs = next(((a, b) for a, b in SMPLERX_OLD.items() if old and name.startswith(a)), ("", ""))
        names[f"module.{theirs}{name.removeprefix(ours)}"] = tensor
    parameters = {
        i: {"step": 3, "exp_avg": torch.zeros_like(tensor), "exp_avg_sq": torch.zeros_like(tensor)}
        for i, tensor in enumerate([*state.values()][:trained])
    }
    groups = [{"lr": np.float64(1e-5), "betas": (0.9, 0.999), "params": list(parameters)}]
    content = {
        "epoch": np.int64(9),
        "network": collections.OrderedDict(names),
        "optimizer": {"state": parameters, "param_groups": groups},
    }
    torch.save(content, path)
    return path


def vitpose_file(path: Path, state: dict[str, Tensor]) -> Path:
    """As mmpose saves: under ``state_dict``, with what it calls meta."""
    meta = {"epoch": 210, "mmpose_version": "0.24.0", "CLASSES": ["person"], "hook_msgs": {}}
    torch.save({"meta": meta, "state_dict": collections.OrderedDict(state)}, path)
    return path


class Attack:
    """Its pickle touches a file when it is loaded by ``pickle``."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.canary}",)
