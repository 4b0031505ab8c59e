"""Golden figures of ViTPose, the generators they came from, and networks with their weights."""

from __future__ import annotations

import functools
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmtools.models.published_weights import Decoder
from hmtools.models.sizes import SIZES
from hmtools.models.vitpose import ViTPose

__all__ = ["both", "filled", "generator", "inputs", "keys", "meta_network", "numbers"]

FOLDER = Path(__file__).parents[1] / "golden" / "vitpose"
_SEED = 0


@functools.cache
def generator(name: str) -> ModuleType:
    """``weights`` or ``vitpose/inputs`` as a module."""
    path = FOLDER.parent / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"golden_{path.stem}_of_vitpose", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def inputs(name: str, *more: Any, **named: Any) -> Any:
    """What ``vitpose/inputs.py`` makes from the seed."""
    return getattr(generator("vitpose/inputs"), name)(_SEED, *more, **named)


def numbers(name: str) -> dict[str, np.ndarray]:
    """The arrays of a file."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def keys() -> dict[str, dict[str, tuple[list[int], str]]]:
    """Variant -> name -> shape and type, as in the official files."""
    found: dict[str, Any] = json.loads((FOLDER / "keys.json").read_text(encoding="utf-8"))
    return {variant: state for variant, state in found.items() if variant != "_"}


def meta_network(size: str, decoder: Decoder) -> ViTPose:
    """A network without memory."""
    with torch.device("meta"):
        return ViTPose(SIZES[size], decoder=decoder).eval()


def filled(net: ViTPose, known: dict[str, Tensor] | None = None) -> ViTPose:
    """The network with the weights of the figures; tensors of ``known`` are taken from there."""
    known = known or {}
    wanted = {name: value for name, value in net.state_dict().items() if name not in known}
    state = {**generator("weights").fill(wanted, _SEED), **known}
    net.load_state_dict({name: state[name] for name in net.state_dict()}, assign=True)
    return net


def both(size: str) -> dict[Decoder, ViTPose]:
    """Networks with both decoders and one backbone: its names and so its weights are the same."""
    simple = filled(meta_network(size, "simple"))
    shared = {name: value for name, value in simple.state_dict().items() if name.startswith("backbone.")}
    return {"simple": simple, "classic": filled(meta_network(size, "classic"), shared)}
