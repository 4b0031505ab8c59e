"""What somebody predicts who has seen the training set and not the image: everybody in its mean pose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from hmtools.bench.run import bench, chosen_rows
from hmtools.bench.source import open_predictions
from hmtools.humandata.predictions import PredictionSpec, PredictionWriter
from hmtools.shards.reader import Shards
from hmtools.train.recipe import Recipe
from hmtools.train.validate import protocol_for

ROTATIONS = (
    "global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose", "leye_pose", "reye_pose"
)  # fmt: skip
IDENTITY = ("key", "dataset", "split", "image_path", "height", "width", "track_id", "frame", "bbox_xywh")


def mean_body(shards: Shards) -> dict[str, Any]:
    """SMPL-X columns of the mean person of a set: rotations averaged as rotations, no eyes moved."""
    people = [shards[row].record for row in range(len(shards))]
    fits = [person for person in people if person["valid_smplx"]]
    found: dict[str, Any] = {"smplx_transl": np.array([0, 0, 5], np.float32)}
    for name in ROTATIONS:
        cells = [fit[f"smplx_{name}"] for fit in fits]
        known = [np.asarray(cell).reshape(-1, 3) for cell in cells if cell is not None]
        width = 3 if not known else known[0].size
        means = [
            Rotation.from_rotvec([cell[joint] for cell in known]).mean().as_rotvec() if known else np.zeros(3)
            for joint in range(width // 3)
        ]
        found[f"smplx_{name}"] = np.concatenate(means).astype(np.float32)
    for name in ("betas", "expression"):
        cells = [np.asarray(fit[f"smplx_{name}"])[:10] for fit in fits]
        found[f"smplx_{name}"] = np.mean(cells, axis=0).astype(np.float32)
    return found


def mean_pose_error(recipe: Recipe, root: Path, out: Path) -> float:
    """PVE, mm, of the mean body of a recipe's training set on its validation set, both below ``root``."""
    train, test = recipe.data.sets[0], recipe.validate.sets[0]
    seen = Shards(root / train.name)
    body = mean_body(seen.select(train.query) if train.query else seen)
    protocol, shards = protocol_for(test, recipe), Shards(root / test.name)
    shards = Shards(shards.path, chosen_rows(shards, protocol))
    facts = {"model": "mean pose", "standin": True}
    out.mkdir(parents=True)
    with PredictionWriter(out / "mean.parquet", PredictionSpec(bodies=("smplx",)), facts) as writer:
        for row in range(len(shards)):
            record = shards[row].record
            about = {name: record[name] for name in IDENTITY}
            writer.write([{**about, "gender": "neutral", **body}])
    found = bench([shards], open_predictions(out), protocol, out / "report", device="cpu")
    return next(
        float(row["value"]) for row in found.rows
        if row["metric"] == protocol.primary and row["subset"] in (None, "", "all")
    )  # fmt: skip
