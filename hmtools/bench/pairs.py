"""What a protocol's measure gets: people whose prediction and truth are both there, as meshes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from hmtools.bench.bodies import BenchBodies, Posed
from hmtools.bench.protocols.base import Protocol
from hmtools.bench.source import Predicted
from hmtools.bench.truth import neutral_part, pose_people, spread
from hmtools.bodies.model import GENDERS, VERTICES, Family, Gender
from hmtools.bodies.params import POSE_PARTS
from hmtools.core.errors import UsageError
from hmtools.geometry.crop import crop_affine, network_box

__all__ = ["CROP_SIZE", "Pairs", "Place", "crop_of_record", "predicted_meshes"]

CROP_SIZE = (384, 512)
"""Width and height of SMPLer-X's network crop, pixels."""

_FARTHEST = 1e6
"""Metres from the camera; float32 is 6 cm apart there."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row is in time.

    Attributes:
        track: number of its gap-free run of one person.
        place: 0, 1, ... in it.
        fps: of these places.
    """

    track: int
    place: int
    fps: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """B people to compare; metres, OpenCV camera frame, float32 on the device of ``bodies``.

    Attributes:
        predicted: (B, V, 3) meshes of the protocol's ``predicted`` family, skeletons where it wants them.
        target: (B, W, 3) meshes of its truth, likewise.
        records: their B rows.
        bodies: the models that posed them.
        crop_affine: (B, 2, 3) pixels of the upright image to pixels of the test crop; None without a test
            camera.
        motion: where in which track each row is; None unless rows come over tracks.
    """

    predicted: Posed
    target: Posed
    records: Sequence[Mapping[str, Any]]
    bodies: BenchBodies
    crop_affine: Float[Tensor, "b 2 3"] | None = None
    motion: Sequence[Place] | None = None


def crop_of_record(record: Mapping[str, Any], box_ratio: float) -> Float[np.ndarray, "2 3"] | None:
    """The test crop that SMPLer-X cuts for a record; None where nothing of its box is in the image.

    Args:
        record: with its box and size.
        box_ratio: by which the box, fitted into the image and grown to 3:4, is multiplied.

    Returns:
        float64 (2, 3), upright image pixels -> pixels of the 384 x 512 crop, in its own ``corners``
        convention.
    """
    box = record["bbox_xywh"]
    if box is None:
        return None
    shown = network_box(box, record["width"], record["height"], box_ratio)
    if shown is None:
        return None
    x, y, w, h = shown.tolist()
    return crop_affine((x + w / 2, y + h / 2), (w, h), CROP_SIZE, convention="corners")


def predicted_meshes(
    found: Predicted, rows: Sequence[int], protocol: type[Protocol], bodies: BenchBodies
) -> tuple[Posed, tuple[str, ...]]:
    """The predicted meshes of some rows of a batch, and why some are none.

    Vertices are taken as they are; parameters are posed, by the neutral model unless the prediction names
    another, and of children with the kid template. A hand that a method does not predict is the mean hand, a
    face the neutral one.

    Args:
        found: of a batch.
        rows: B rows of it, all found.
        protocol: whose family is wanted.
        bodies: the models.

    Returns:
        Bodies with (B, V, 3) meshes, 0 where invalid, and B reasons, empty where valid.

    Raises:
        UsageError: if the predictions have nothing of the family, meshes of another, or vertices alone where
            joints are wanted.
        AssetError: for children without a kid template.
    """
    family, place = protocol.predicted, np.array(rows, np.int64)
    if found.vertices is not None:
        _check_family(found.vertices.shape[1], protocol)
        if protocol.truth.skeleton and found.joints3d is None:
            raise UsageError(
                f"{protocol.id} compares joints, too: the predictions have vertices alone; give {family} "
                "parameters, or the joints beside the vertices"
            )
        return _given(found, place, bodies)
    values = _parameters(found, family, place)
    reasons = _not_finite(values, len(rows))
    valid = torch.tensor([not reason for reason in reasons], dtype=torch.bool)
    if not bool(valid.any()):
        return Posed(torch.zeros((len(rows), VERTICES[family], 3), device=bodies.device)), reasons
    own = {name: value[valid].to(bodies.device) for name, value in values.items()}
    for name in ("left_hand_pose", "right_hand_pose") if family == "smplx" else ():
        if name not in own:
            own[name] = torch.from_numpy(neutral_part(name, family, bodies)).expand(int(valid.sum()), -1)
    if found.kid is not None and (weights := np.nan_to_num(found.kid[place[valid.numpy()]], nan=0.0)).any():
        own["kid"] = torch.from_numpy(weights).to(bodies.device)
    genders = [_gender(found, row) for row, reason in zip(rows, reasons, strict=True) if not reason]
    rule = replace(protocol.truth, family=family)
    posed = spread(pose_people(own, genders, rule, bodies), valid.to(bodies.device))
    return _within_reach(posed, reasons)


def _given(
    found: Predicted, place: npt.NDArray[np.int64], bodies: BenchBodies
) -> tuple[Posed, tuple[str, ...]]:
    """Meshes that were predicted as such, and joints where there are any."""
    reasons = [""] * len(place)
    parts = {"vertices": found.vertices, "joints3d": found.joints3d}
    tensors: dict[str, Tensor] = {}
    for name, values in parts.items():
        if values is None:
            continue
        points = torch.from_numpy(np.asarray(values)[place][..., :3]).float()
        finite = points.isfinite().all(-1).all(-1)
        for row in (~finite).nonzero()[:, 0].tolist():
            reasons[row] = reasons[row] or f"{name} not finite"
        tensors[name] = torch.where(finite[:, None, None], points, 0.0).to(bodies.device)
    return _within_reach(Posed(tensors["vertices"], tensors.get("joints3d")), tuple(reasons))


def _within_reach(posed: Posed, reasons: Sequence[str]) -> tuple[Posed, tuple[str, ...]]:
    """The bodies with 0 for those that float32 cannot measure, and why they are none.

    Numbers can be finite and what follows from them not: shapes of 1e30, a vertex at 1e25 m. Such an error
    is neither to be averaged nor to be taken for something that nobody can see.
    """
    usable = torch.ones(len(reasons), dtype=torch.bool, device=posed.vertices.device)
    for points in (posed.vertices, posed.joints):
        if points is not None:
            usable &= (points.abs() <= _FARTHEST).flatten(1).all(1)  # NaN is not
    if bool(usable.all()):
        return posed, tuple(reasons)
    found = [
        reason or ("" if kept else f"body not within {_FARTHEST:.0e} m")
        for reason, kept in zip(reasons, usable.tolist(), strict=True)
    ]
    parts = (posed.vertices, posed.joints, posed.rotations)
    vertices, joints, rotations = (
        None if part is None else part.where(usable.view(-1, *[1] * (part.ndim - 1)), 0.0) for part in parts
    )
    return Posed(posed.vertices if vertices is None else vertices, joints, rotations), tuple(found)


def _check_family(vertices: int, protocol: type[Protocol]) -> None:
    wanted = VERTICES[protocol.predicted]
    if vertices == wanted:
        return
    others = [family for family, count in VERTICES.items() if count == vertices]
    raise UsageError(
        f"{protocol.id} of {protocol.testset} measures {protocol.predicted} meshes of {wanted} vertices, the "
        f"predictions have {vertices}{f', which are of {others[0]}' if others else ''}"
    )


def _parameters(found: Predicted, family: Family, place: npt.NDArray[np.int64]) -> dict[str, Tensor]:
    """Parameters of the family by their names without it, (B, n) each.

    Raises:
        UsageError: if the predictions have no pose of that family.
    """
    given = found.smplx if family == "smplx" else found.smpl
    names = (*POSE_PARTS[family], "betas", "transl", "expression")
    plain = {name.removeprefix(f"{family}_"): value for name, value in given.items()}
    values = {name: torch.from_numpy(np.asarray(plain[name])[place]) for name in names if name in plain}
    lacking = [name for name in ("global_orient", "body_pose", "betas") if name not in values]
    if lacking:
        raise UsageError(
            f"the predictions have no {family}_{lacking[0]}, which this protocol measures; "
            f"they have {', '.join(sorted(given)) or f'no {family} parameters'}"
        )
    return {name: value.flatten(1) for name, value in values.items()}


def _not_finite(values: Mapping[str, Tensor], count: int) -> tuple[str, ...]:
    """Per row the first parameter that is NaN or infinite, or ""."""
    reasons = [""] * count
    for name, value in values.items():
        for row in (~value.isfinite().all(-1)).nonzero()[:, 0].tolist():
            reasons[row] = reasons[row] or f"{name} missing or not finite"
    return tuple(reasons)


def _gender(found: Predicted, row: int) -> Gender:
    given = None if found.gender is None else found.gender[row]
    return next((gender for gender in GENDERS if gender == given), "neutral")
