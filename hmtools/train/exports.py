"""Weights that a run hands to others: safetensors and the model card that :mod:`hmtools.models` reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hmtools import __version__
from hmtools.core.atomic import write_json
from hmtools.models.published_weights import MODEL_TITLES
from hmtools.models.weight_cards import CARD_FORMAT, card_path
from hmtools.models.weight_files import write_safetensors
from hmtools.train.recipe import Recipe

__all__ = ["save_weights"]


def save_weights(path: Path, state: Mapping[str, Tensor], recipe: Recipe, facts: Mapping[str, Any]) -> None:
    """Write the weights of a network and their card, ``<stem>.json``.

    Args:
        path: ``*.safetensors``; replaced where it exists.
        state: of the network.
        recipe: that trained it.
        facts: what else the card says, such as step and validation figures.
    """
    card_path(path).unlink(missing_ok=True)  # it would describe other weights
    sha256 = write_safetensors(path, state)
    size = path.stat().st_size
    card = {
        "format": CARD_FORMAT,
        "model": "smplerx",
        "title": MODEL_TITLES["smplerx"],
        "size": recipe.model.size,
        "decoder": None,
        "tensors": len(state),
        "recipe": recipe.name,
        "published": None,
        "datasets": [row.name for row in recipe.data.sets],
        "started_from": recipe.model.init,
        "left_out": [],
        **facts,
        "source": {"file": path.name, "sha256": sha256, "bytes": size},
        "weights": {"file": path.name, "sha256": sha256, "bytes": size},
        "hmtools": __version__,
    }
    write_json(card_path(path), card)
