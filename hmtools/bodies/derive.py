"""Fills what follows from a body and its camera: joints in 3D and 2D, boxes, shape of the neutral model.

Everything is computed on the CPU in float64, in batches of the records' own order, and stored as float32, so
that the same records give the same bytes wherever they are derived. A cell that a source filled is never
touched, and a body that may not supervise (``valid_smplx`` false) gives nothing, unless the source has its
mesh: then joints are those of the mesh. Parameters that waited for the model (:mod:`hmtools.bodies.pending`)
are settled first.

Confidences are 1, or 0 where a joint is not known: fingers of a hand without pose, face landmarks without
jaw or expression, the jaw contour of a mesh without a pose, 2D points that no camera sees (behind it, or
beyond the fold of its lens).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from hmtools.bodies.layers import NATIVE_JOINTS, BodyLayer
from hmtools.bodies.mesh_joints import mesh_joints
from hmtools.bodies.mixed import BodyLayers
from hmtools.bodies.model import FAMILIES, VERTICES, Family, Gender
from hmtools.bodies.neutral import NeutralBetas
from hmtools.bodies.one_thread import one_thread
from hmtools.bodies.params import POSE_PARTS, BodyParams
from hmtools.bodies.pending import families_pending, settle
from hmtools.core.errors import AssetError
from hmtools.geometry.box import bbox_from_keypoints, clip_xywh, overlaps_image
from hmtools.geometry.projection import project
from hmtools.humandata.keypoints import part
from hmtools.humandata.record import Record

__all__ = ["BOX_PADDING", "Deriver", "derived_columns"]

BOX_PADDING: Mapping[str, float] = {
    "bbox_xywh": 1.2,
    "lhand_bbox_xywh": 1.0,
    "rhand_bbox_xywh": 1.0,
    "face_bbox_xywh": 1.0,
}
"""Derived box -> its size over the extent of its joints, as in the HumanData files SMPLer-X trains on."""

_BOX_PARTS = {"lhand_bbox_xywh": "left_hand", "rhand_bbox_xywh": "right_hand", "face_bbox_xywh": "head"}


def derived_columns(families: Sequence[str]) -> tuple[str, ...]:
    """Columns that need the model files of these families."""
    joints = [f"keypoints{d}_{f}" for f in ("smplx", "smpl") if f in families for d in ("2d", "3d")]
    return (*joints, *BOX_PADDING, "betas_neutral") if families else ()


@dataclass(frozen=True, slots=True, eq=False)
class _Posed:
    """Joints of some records: their family, (K, 3) metres each, and (K,) whether each joint is known."""

    family: Family
    record: Record
    joints: NDArray[np.float64]
    known: NDArray[np.bool_]


class Deriver:
    """Derives the columns of records; model files are read when the first body needs them.

    Args:
        roots: folders to look for model files in; the setting ``body_models`` by default.

    Attributes:
        batch: records that are posed at once; part of what decides the last bit of a result.
        needs: what was missing: asset -> the first line of the error about it. Bodies that need it stay
            underived.
    """

    batch = 256

    def __init__(self, roots: Sequence[Path] | None = None) -> None:
        self.needs: dict[str, str] = {}
        self._layers = {
            # Without their meshes: a process that derives three genders would hold half a gigabyte more.
            f: BodyLayers(f, roots=roots, dtype=torch.float64, surface=False)
            for f in FAMILIES
        }
        self._neutral = NeutralBetas(roots=roots)

    def fill(self, records: Sequence[Record]) -> None:
        """Fill the derived cells of normalised, finite records in place; cells that hold something stay."""
        for start in range(0, len(records), self.batch):
            batch = records[start : start + self.batch]
            for record in batch:
                self._settle(record)
            for posed in self._meshed(batch):
                _fill_joints(posed)
            for family in FAMILIES[::-1]:  # SMPL-X before SMPL: its joints make the boxes
                for posed in self._posed(family, [r for r in batch if _has_body(r, family)]):
                    _fill_joints(posed)
            self._fill_neutral([r for r in batch if r.betas_neutral is None])

    def _layer(self, family: Family, gender: Gender) -> BodyLayer | None:
        """The layer of a gender, or None once it is known to be missing."""
        key = f"{family}_{gender}"
        if key in self.needs:
            return None
        try:
            return self._layers[family].layer(gender)
        except AssetError as error:
            self.needs[key] = str(error).splitlines()[0]
            return None

    def _usable(self, record: Record, family: Family) -> BodyLayer | None:
        """The layer that can pose this very body: what one body lacks must not cost the others theirs."""
        layer = self._layer(family, _gender(record))
        if layer is None:
            return None
        if record.kid and not layer.has_kid:
            self.needs[f"{family}_kid_template"] = (
                f"this needs the kid template ({family}_kid_template.npy), which is not here."
            )
            return None
        most = {"betas": layer.num_betas, "expression": layer.num_expression}
        for name, components in most.items():
            found = len(_get(record, family, name)) if _get(record, family, name) is not None else 0
            if found > components:
                self.needs[f"{family}_{_gender(record)}_{name}"] = (
                    f"the data has {found} {name}, {layer.model.path.name} has {components}: use a model "
                    "file that has as many."
                )
                return None
        return layer

    def _settle(self, record: Record) -> None:
        for family in families_pending(record):
            if (layer := self._usable(record, family)) is not None:
                settle(record, family, layer.model, partial(_rest_pelvis, layer, record))

    def _meshed(self, records: Sequence[Record]) -> Iterator[_Posed]:
        """Bodies of which the source has the mesh and no parameters; one of SMPL's may be of two families."""
        for record in records:
            if record.mesh is None or len(record.mesh) != VERTICES["smplx"] or _has_body(record, "smplx"):
                continue
            if (layer := self._layer("smplx", _gender(record))) is not None:
                yield _Posed("smplx", record, *mesh_joints(layer.model, record.mesh))

    def _posed(self, family: Family, records: Sequence[Record]) -> Iterator[_Posed]:
        rows: dict[BodyLayer, list[Record]] = {}
        for record in records:
            if (layer := self._usable(record, family)) is not None:
                rows.setdefault(layer, []).append(record)
        for layer, own in rows.items():
            with torch.inference_mode(), one_thread():
                joints = layer(_params(family, own), vertices=False).joints.numpy()
            for record, points in zip(own, joints, strict=True):
                yield _Posed(family, record, points, _known(record, family, len(points)))

    def _fill_neutral(self, records: Sequence[Record]) -> None:
        for record in records:
            family = next((f for f in FAMILIES[::-1] if _get(record, f, "betas") is not None), None)
            if family is None or _gender(record) == "neutral" or record.kid:
                continue
            if record.valid_betas is False or getattr(record, f"valid_{family}", None) is False:
                continue
            if self._usable(record, family) is None or self._layer(family, "neutral") is None:
                continue
            fit = self._neutral.fit(family, _gender(record), _get(record, family, "betas"))
            record.betas_neutral = fit.betas.astype(np.float32)


def _get(record: Record, family: str, name: str) -> Any:
    return getattr(record, f"{family}_{name}", None)


def _gender(record: Record) -> Gender:
    return cast(Gender, record.gender or "neutral")  # the schema allows no other word


def _has_body(record: Record, family: Family) -> bool:
    needed = ("global_orient", "body_pose", "betas", "transl")
    valid = getattr(record, f"valid_{family}", None)
    return valid is not False and all(_get(record, family, name) is not None for name in needed)


def _params(family: Family, records: Sequence[Record]) -> BodyParams:
    names = [*POSE_PARTS[family], "betas", "transl"] + (["expression"] if family == "smplx" else [])
    values: dict[str, Any] = {}
    for name in names:
        cells = [_get(record, family, name) for record in records]
        width = next((len(cell) for cell in cells if cell is not None), 0)
        if width:
            values[name] = np.stack([np.zeros(width) if c is None else c for c in cells]).astype(np.float64)
    if any(record.kid for record in records):
        values["kid"] = np.array([record.kid or 0.0 for record in records])
    return BodyParams.of(values, dtype=torch.float64)


def _rest_pelvis(layer: BodyLayer, record: Record) -> NDArray[np.float64]:
    """One body at a time: the last bit of a translation must not depend on who else is in the batch."""
    with torch.inference_mode(), one_thread():
        pelvis: NDArray[np.float64] = layer.rest_pelvis(_params(layer.family, [record]))[0].numpy()
        return pelvis


@cache
def _part_rows(convention: str, name: str) -> NDArray[np.int64]:
    return np.array(part(convention, name), np.int64)


def _known(record: Record, family: Family, count: int) -> NDArray[np.bool_]:
    """Which joints the record really says something about."""
    known = np.ones(count, bool)
    if family == "smpl":
        return known
    native = NATIVE_JOINTS[family]
    for side, valid in (("left", record.valid_lhand), ("right", record.valid_rhand)):
        if _get(record, family, f"{side}_hand_pose") is None or valid is False:
            known[_part_rows(native, f"{side}_hand")] = False
    if family == "smplx":
        nothing = record.smplx_jaw_pose is None and record.smplx_expression is None
        if nothing or record.valid_face is False:
            known[76:] = False
    return known


def _fill_joints(posed: _Posed) -> None:
    record, joints = posed.record, posed.joints
    confidence = posed.known.astype(np.float64)[:, None]
    names = {d: f"keypoints{d}_{posed.family}" for d in ("3d", "2d")}
    if posed.family != "smplh" and getattr(record, names["3d"]) is None:
        setattr(record, names["3d"], np.hstack([joints, confidence]).astype(np.float32))
    if record.focal_length is None or record.principal_point is None:
        return
    pixels = project(
        joints,
        np.asarray(record.focal_length, np.float64),
        np.asarray(record.principal_point, np.float64),
        record.camera_model or "pinhole",
        record.distortion,
        behind="nan",
    )
    seen = posed.known & np.isfinite(pixels).all(-1)
    points = np.hstack([np.where(seen[:, None], pixels, 0.0), seen[:, None]])
    if posed.family != "smplh" and getattr(record, names["2d"]) is None:
        setattr(record, names["2d"], points.astype(np.float32))
    _fill_boxes(record, NATIVE_JOINTS[posed.family], points)


def _fill_boxes(record: Record, native: str, points: NDArray[np.float64]) -> None:
    """All four boxes, or none: a set with body boxes of its own has said which hands and faces it can see."""
    if record.bbox_xywh is not None:
        return
    for name, padding in BOX_PADDING.items():
        if getattr(record, name) is not None or (name in _BOX_PARTS and native == "smpl_45"):
            continue
        own = points if name not in _BOX_PARTS else points[_part_rows(native, _BOX_PARTS[name])]
        box = bbox_from_keypoints(own, padding=padding)[:4]
        width, height = record.width or 0, record.height or 0
        if np.isfinite(box).all() and overlaps_image(box, width, height):
            setattr(record, name, np.array([*clip_xywh(box, width, height), 1.0], np.float32))
