"""Networks with the weights that the golden figures were made with, and the generators of those."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from hmtools.bodies.assets import load_model
from hmtools.bodies.layers import BodyLayer
from hmtools.models.sizes import SIZES, Size
from hmtools.models.smplerx.model import SmplerX

__all__ = ["FIGURES", "as_published", "body_layer", "figures", "inputs", "network", "weights"]

# The published architecture in small; the size that is called tiny differs in what short trainings need.
_SMALL = Size("tiny", 32, 2, 2, 0.0, box_features=64)
FIGURES = Path(__file__).parents[2] / "golden/smplerx"


def _script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"golden_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


inputs = _script(FIGURES / "inputs.py")
weights = _script(FIGURES.parent / "weights.py")


def figures(name: str) -> dict[str, np.ndarray]:
    """The arrays of a golden file."""
    with np.load(FIGURES / f"{name}.npz") as file:
        return dict(file)


def body_layer(golden: Path) -> BodyLayer:
    """The body model of the golden figures."""
    return BodyLayer(load_model("smplx", "neutral", roots=[golden]))


def network(size: str, body: BodyLayer, seed: int, *, posed: bool, **options: Any) -> SmplerX:
    """A network in eval mode, filled by name; ``posed`` as in the README of the figures."""
    with torch.device("meta"):  # drawing weights that are not used takes longer than all the rest
        net = SmplerX(_SMALL if size == "tiny" else SIZES[size], body, **options)
    state = weights.fill(net.state_dict(), seed=seed)
    net.load_state_dict(inputs.override(state) if posed else state, assign=True)
    return net.eval()


def as_published(prediction: Any) -> dict[str, torch.Tensor]:
    """The outputs under the names they have in the figures."""
    left, right, face = prediction.boxes_xyxy.unbind(1)
    return {
        "joint_img": prediction.joints_position_net,
        "smplx_joint_proj": prediction.projected,
        "smplx_root_pose": prediction.root_pose,
        "smplx_body_pose": prediction.body_pose,
        "smplx_lhand_pose": prediction.left_hand_pose,
        "smplx_rhand_pose": prediction.right_hand_pose,
        "smplx_jaw_pose": prediction.jaw_pose,
        "smplx_shape": prediction.betas,
        "smplx_expr": prediction.expression,
        "cam_trans": prediction.transl,
        "lhand_bbox": left,
        "rhand_bbox": right,
        "face_bbox": face,
    }
