"""Model cards: what stands in the JSON file beside imported weights. No torch is needed to read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmtools import __version__
from hmtools.core.errors import CheckpointError
from hmtools.models.published_weights import LICENCES, MODEL_TITLES, PublishedWeights

if TYPE_CHECKING:
    from hmtools.models.checkpoint import Checkpoint

__all__ = ["CARD_FORMAT", "card_path", "model_card", "read_card"]

CARD_FORMAT = "hmtools-weights-1"
"""What the model card beside a safetensors file of ours says under ``format``."""


def card_path(path: Path) -> Path:
    """Where the model card of a file of weights is: ``x.safetensors`` -> ``x.json``."""
    return path.with_suffix(".json")


def read_card(path: Path) -> dict[str, Any]:
    """Read the model card beside a safetensors file; empty when there is none of ours.

    Raises:
        CheckpointError: for a card that is damaged or in another format.
    """
    card = card_path(path)
    if not card.is_file():
        return {}
    try:
        content = json.loads(card.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{card}: cannot be read as the card of {path.name}: {error}") from error
    form = content.get("format") if isinstance(content, dict) else None
    if not str(form).startswith(CARD_FORMAT.rstrip("0123456789")):
        return {}  # somebody else's file
    if form != CARD_FORMAT:
        raise CheckpointError(f"{card}: expected a model card of format {CARD_FORMAT}, found {form}")
    parts = [content.get(name) for name in ("weights", "source")]
    kinds = {"file": str, "sha256": str, "bytes": int}
    whole = all(
        isinstance(part, dict) and all(isinstance(part.get(name), kind) for name, kind in kinds.items())
        for part in parts
    )
    if not whole or not isinstance(content.get("epoch"), int | None):
        raise CheckpointError(f"{card}: a model card without its entries; import the original again")
    return dict(content)


def model_card(
    checkpoint: Checkpoint, target: Path, sha256: str, published: PublishedWeights | None
) -> dict[str, Any]:
    """Describe imported weights: no paths, times or hosts, so that the same file gives the same card.

    Args:
        checkpoint: what was imported.
        target: the safetensors file that was written.
        sha256: of that file.
        published: the row of the table that the weights are, or None.
    """
    licence, earlier = LICENCES[checkpoint.model], checkpoint.card
    return {
        "format": CARD_FORMAT,
        "model": checkpoint.model,
        "title": MODEL_TITLES[checkpoint.model],
        "size": checkpoint.size,
        "decoder": checkpoint.decoder,
        "parameters": checkpoint.parameters,
        "tensors": len(checkpoint.state),
        "types": sorted({str(tensor.dtype).removeprefix("torch.") for tensor in checkpoint.state.values()}),
        "epoch": checkpoint.epoch,
        "published": published.name if published else None,
        "datasets": list(published.datasets) if published else None,
        "started_from": published.start if published else None,
        "licence": licence.name if published else None,
        "commercial_use": licence.commercial_use if published else None,
        "page": licence.page if published else None,
        "left_out": list(checkpoint.left_out) or earlier.get("left_out", []),
        "source": {
            "file": checkpoint.source,
            "sha256": checkpoint.source_sha256,
            "bytes": earlier["source"]["bytes"] if earlier else checkpoint.path.stat().st_size,
        },
        "weights": {"file": target.name, "sha256": sha256, "bytes": target.stat().st_size},
        "hmtools": __version__,
    }
