"""What the makers of the miniatures know of their people, as predictions in our own format.

Nothing here asks the benchmark what the truth is: meshes and parameters come from the miniature's truth
files, root turns and places are fitted to its meshes, and errors are computed once more in float64 NumPy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from hmtools.bench.protocols.base import Protocol
from hmtools.bench.run import BenchResult, bench
from hmtools.bench.source import open_predictions
from hmtools.bodies.assets import load_model, standin_dir
from hmtools.bodies.layers import BodyLayer
from hmtools.bodies.model import BodyModel
from hmtools.bodies.params import BodyParams
from hmtools.geometry.rotation import matrix_to_axis_angle
from hmtools.humandata.keys import key_encode
from hmtools.humandata.predictions import PredictionSpec, PredictionWriter
from hmtools.shards.reader import Shards
from hmtools.synth import PersonTruth, read_truth
from tests.bench.testset_shards import TestSets

__all__ = [
    *("FACTS", "Oracle", "changed", "layer", "model_of", "oracle", "people", "pose_fit", "posed"),
    *("ubody_fits", "values", "write"),
]

Row = dict[str, Any]
Array = NDArray[Any]
FACTS = {"model": "oracle", "standin": True}


@dataclass(frozen=True)
class Oracle:
    """A converted miniature, and what its maker knows of the people that were kept, by record key."""

    shards: Shards
    people: dict[str, PersonTruth]

    def rows(self) -> list[Row]:
        """The true meshes as rows of predictions; in AGORA with their joints."""
        return [mesh_row(key, person) for key, person in self.people.items()]

    def bench(self, protocol: type[Protocol], rows: Iterable[Row], out: Path, **options: Any) -> BenchResult:
        """Write the rows, and measure them."""
        path = write(out / "predictions.parquet", rows, **options)
        return bench([self.shards], open_predictions(path, [self.shards]), protocol, out)


def oracle(test_sets: TestSets, name: str) -> Oracle:
    """The miniature of a dataset."""
    shards = test_sets[name]
    known = read_truth(test_sets.root / "raw" / name).people
    kept = {key_of(name, person): person for person in known if person.rejected is None}
    return Oracle(shards, kept)


def key_of(dataset: str, person: PersonTruth) -> str:
    own = person.columns
    return key_encode(dataset, person.split, own["sequence"], own["frame"], own["person"])


def mesh_row(key: str, person: PersonTruth) -> Row:
    assert person.vertices is not None
    row: Row = {"key": key, "image_path": person.file, "vertices": np.array(person.vertices, np.float32)}
    for name in ("2d", "3d"):
        joints = person.columns.get(f"keypoints{name}_original")
        if joints is not None and len(joints) == 127:
            row[f"joints{name}"] = np.array(joints, np.float32)
    return row


def write(path: Path, rows: Iterable[Row], facts: Mapping[str, Any] = FACTS) -> Path:
    """Rows as a table of predictions with what they have: meshes, joints, parameters."""
    rows = list(rows)
    names = {name for row in rows for name in row}
    bodies = tuple(family for family in ("smplx", "smpl") if f"{family}_global_orient" in names)
    count = next((len(row["vertices"]) for row in rows if "vertices" in row), 0)
    spec = PredictionSpec(
        bodies,
        joints2d="agora_127" if "joints2d" in names else None,
        joints3d="agora_127" if "joints3d" in names else None,
        mesh={10475: ("smplx", 10475), 6890: ("smpl", 6890)}.get(count),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with PredictionWriter(path, spec, facts) as writer:
        writer.write(rows)
    return path


def values(result: BenchResult, subset: str = "all") -> dict[str, Any]:
    """Metric -> figure of a report."""
    return {row["metric"]: row["value"] for row in result.rows if row["subset"] == subset}


def people(result: BenchResult) -> dict[str, Row]:
    """Key -> row of ``per_sample``."""
    return {row["key"]: row for row in pq.read_table(result.per_sample).to_pylist()}


def model_of(family: str, gender: str = "neutral") -> BodyModel:
    """A stand-in model."""
    return load_model(family, gender, roots=[standin_dir()])  # type: ignore[arg-type]


@cache
def layer(family: str, gender: str) -> BodyLayer:
    """A stand-in body that poses in float64."""
    return BodyLayer(model_of(family, gender), dtype=torch.float64)


def posed(family: str, gender: str, parameters: Mapping[str, Array]) -> Array:
    """(V, 3) float64 mesh of one person's parameters, by their names without the family."""
    given = {name: torch.tensor(np.asarray(value, np.float64))[None] for name, value in parameters.items()}
    with torch.no_grad():
        found = layer(family, gender)(BodyParams(**given)).vertices
    assert found is not None
    return np.asarray(found[0])


def pose_fit(family: str, gender: str, parameters: Mapping[str, Array], mesh: Array | None) -> Row:
    """The parameters with the root turn and the place that bring them onto a mesh (Kabsch)."""
    plain = {**parameters, "global_orient": np.zeros(3), "transl": np.zeros(3)}
    x, y = posed(family, gender, plain), np.asarray(mesh, np.float64)
    u, _, vt = np.linalg.svd((x - x.mean(0)).T @ (y - y.mean(0)))
    turn = vt.T @ np.diag([1, 1, np.linalg.det(vt.T @ u.T)]) @ u.T
    turned = {**plain, "global_orient": matrix_to_axis_angle(torch.tensor(turn)).numpy()}
    found = {**turned, "transl": (y - posed(family, gender, turned)).mean(0)}
    assert np.abs(posed(family, gender, found) - y).max() < 1e-5, "these are not the body's parameters"
    return found


def ubody_fits(test_sets: TestSets) -> dict[str, Row]:
    """Annotation id -> the fit as the release has it, hands absolute; relaxed where marked invalid."""
    hands = np.asarray(model_of("smplx").hand_mean)
    found: dict[str, Row] = {}
    for folder in (test_sets.root / "raw/ubody/annotations").iterdir():
        fits = json.loads((folder / "smplx_annotation.json").read_text())
        marks = json.loads((folder / "keypoint_annotation.json").read_text())["annotations"]
        for mark in marks:
            if str(mark["id"]) not in fits:
                continue
            own = fits[str(mark["id"])]["smplx_param"]
            face = float(bool(mark["face_valid"]))
            found[str(mark["id"])] = {
                **{"global_orient": own["root_pose"], "body_pose": own["body_pose"], "betas": own["shape"]},
                **{"transl": own["trans"], "jaw_pose": face * np.array(own["jaw_pose"])},
                "expression": face * np.array(own["expr"]),
                "left_hand_pose": hands[0] + bool(mark["lefthand_valid"]) * np.array(own["lhand_pose"]),
                "right_hand_pose": hands[1] + bool(mark["righthand_valid"]) * np.array(own["rhand_pose"]),
            }
    return found


def changed(rows: Iterable[Row], change: Callable[[Array], Array]) -> list[Row]:
    """The rows with other meshes."""
    return [{**row, "vertices": change(row["vertices"])} for row in rows]
