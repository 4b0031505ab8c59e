"""hmtools: convert datasets of human mesh recovery, train, predict, benchmark.

``import hmtools`` is cheap: torch, ray and pyarrow load only when something needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pathlib import Path

    from hmtools.infer.model import Model
    from hmtools.shards.reader import Shards

__all__ = ["__version__", "load_model", "open"]


def open(path: str | Path) -> Shards:
    """Open one converted split, e.g. ``hmtools.open("shards/mscoco/val2017")``.

    Args:
        path: the folder that holds ``manifest.json`` and ``index.arrow``.

    Returns:
        A :class:`hmtools.shards.reader.Shards`: ``len``, ``[i]`` (record + decoded upright image),
        ``.table`` (zero copy), ``.select(query)``, ``.tracks``.

    Raises:
        hmtools.core.errors.LayoutError: if ``path`` is not a finished conversion.
    """
    from hmtools.shards.reader import open_shards

    return open_shards(path)


def load_model(
    name_or_path: str | Path,
    *,
    device: str = "auto",
    precision: Literal["fp32", "bf16"] = "fp32",
    allow_standin: bool = False,
) -> Model:
    """Load a trained network, e.g. ``hmtools.load_model("smplerx-h32")(images, boxes)``.

    Args:
        name_or_path: weights in the checkpoints folder (``hmtools weights list``), a file of weights, or the
            folder of a training run.
        device: ``cpu``, ``cuda``, ``cuda:1``; auto: a GPU where there is one.
        precision: ``fp32`` or ``bf16``.
        allow_standin: take the licence-free stand-in body, whose meshes are not those of SMPL-X.

    Returns:
        A :class:`hmtools.infer.model.Model`; its call documents shapes, units and frames.

    Raises:
        hmtools.core.errors.CheckpointError: for weights that are not there, or no SMPLer-X.
        hmtools.core.errors.AssetError: without a neutral SMPL-X model.
        hmtools.core.errors.UsageError: for a device that is not there, or the stand-in body unless allowed.
    """
    from hmtools.infer.model import load_model as load

    return load(name_or_path, device=device, precision=precision, allow_standin=allow_standin)
