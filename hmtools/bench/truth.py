"""From record rows to the meshes that predictions are compared with, batch by batch.

What the truth of a protocol is stands in its :class:`~hmtools.bench.protocols.base.TruthRule`: a mesh that
the set publishes, read from the sidecar of the shards, or the record's parameters, posed. float32, as the
published figures are; memory is that of one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool
from torch import Tensor

from hmtools.bench.bodies import BenchBodies, Posed
from hmtools.bench.protocols.base import TruthRule
from hmtools.bodies.model import VERTICES, Family, Gender
from hmtools.bodies.params import POSE_PARTS
from hmtools.core.errors import SchemaError, UsageError
from hmtools.shards.reader import Shards
from hmtools.shards.sidecar import MESH_SUFFIX

__all__ = [
    "NUM_BETAS",
    "Targets",
    "absent_fields",
    "needed_columns",
    "neutral_part",
    "pose_people",
    "require_fields",
    "spread",
    "target_meshes",
]

NUM_BETAS = 10
"""Shape and expression numbers that protocols use; longer vectors are cut."""

Row = Mapping[str, Any]
_HANDS = {"left_hand_pose": "valid_lhand", "right_hand_pose": "valid_rhand"}
_FACE = ("jaw_pose", "expression")
_EYES = ("leye_pose", "reye_pose")


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """The truth of B rows.

    Attributes:
        posed: vertices (B, V, 3), float32, metres, OpenCV camera frame; 0 where unknown. With a skeleton,
            where the rule wants one.
        known: (B,) whether there is a truth.
        reasons: B words on why there is none, empty where there is.
    """

    posed: Posed
    known: Bool[Tensor, " b"]
    reasons: tuple[str, ...]


def needed_columns(rule: TruthRule) -> tuple[str, ...]:
    """Columns that a target cannot do without; hands and faces may be missing."""
    if rule.source == "mesh":
        return ()
    return tuple(f"{rule.family}_{name}" for name in ("global_orient", "body_pose", "betas", "transl"))


def absent_fields(shards: Shards, rule: TruthRule) -> dict[str, int]:
    """What the truth needs and rows lack: column (or ``mesh``) -> rows without it."""
    manifest = shards.manifest
    if rule.source == "mesh":
        has_meshes = any(entry["name"].endswith(MESH_SUFFIX) for entry in manifest.files)
        return {} if has_meshes else {"mesh": len(shards)}
    table = shards.table
    found = {name: table.column(name).null_count for name in needed_columns(rule)}
    if rule.gender == "neutral":
        refit = _refit_rows(table)
        found["betas_neutral"] = int(np.count_nonzero(refit & ~_there(table.column("betas_neutral"))))
    return {name: count for name, count in found.items() if count}


def _there(column: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    there: np.ndarray[Any, np.dtype[np.bool_]] = column.is_valid().to_numpy()
    return there


def _refit_rows(table: pa.Table) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Rows whose own shape is of a gendered model: they need another for the neutral one."""
    column = table.column("gender")
    if pa.types.is_null(column.type):
        return np.zeros(len(table), np.bool_)
    words = np.array(column.cast(pa.string()).fill_null("neutral").to_pylist(), object)
    return np.asarray(words != "neutral", np.bool_)


def require_fields(shards: Shards, rule: TruthRule) -> None:
    """Check the shards before any work.

    Raises:
        UsageError: if they hold no such truth, or one that waits for body models.
    """
    absent = absent_fields(shards, rule)
    if not absent:
        return
    manifest, total = shards.manifest, len(shards)
    listed = ", ".join(f"{name} in {count} of {total} rows" for name, count in absent.items())
    if rule.source == "mesh":
        raise UsageError(
            f"{shards.path}: no meshes, which are the truth here; convert {manifest.dataset} "
            f"{manifest.split} again with hmtools of this version"
        )
    if rule.family not in manifest.spec["bodies"]:
        raise UsageError(
            f"{shards.path}: holds {'+'.join(manifest.spec['bodies']) or 'no'} bodies, the protocol needs "
            f"{rule.family}; convert {manifest.dataset} with --option body={rule.family}"
        )
    if manifest.body_model is None or manifest.needs or any(n == total for n in absent.values()):
        raise UsageError(
            f"{shards.path}: null: {listed}. They follow from body models: run `hmtools derive {shards.path}`"
        )


def target_meshes(shards: Shards, rows: Sequence[int], rule: TruthRule, bodies: BenchBodies) -> Targets:
    """The targets of some rows.

    Args:
        shards: the split.
        rows: B indices into it.
        rule: of the protocol.
        bodies: models that pose parameters; its device is where the targets are.

    Raises:
        SchemaError: if a mesh is of another body than the rule says.
    """
    if rule.source == "mesh":
        return _meshes(shards, rows, rule, bodies)
    records = [shards.row(row) for row in rows]
    reasons = tuple(_why_not(record, rule) for record in records)
    known = [not reason for reason in reasons]
    mask = torch.tensor(known, dtype=torch.bool, device=bodies.device)
    usable = [record for record, there in zip(records, known, strict=True) if there]
    if not usable:
        empty = torch.zeros((len(rows), VERTICES[rule.family], 3), device=bodies.device)
        return Targets(Posed(empty), mask, reasons)
    posed = pose_people(_columns(usable, rule, bodies), _genders(usable, rule), rule, bodies)
    return Targets(spread(posed, mask), mask, reasons)


def spread(posed: Posed, rows: Bool[Tensor, " b"]) -> Posed:
    """Bodies of the rows that are true, in a batch that has all rows; 0 in the others."""
    if bool(rows.all()):
        return posed

    def wide(values: Tensor | None) -> Tensor | None:
        if values is None:
            return None
        found = values.new_zeros((len(rows), *values.shape[1:]))
        found[rows] = values
        return found

    vertices = wide(posed.vertices)
    return Posed(posed.vertices if vertices is None else vertices, wide(posed.joints), wide(posed.rotations))


def _meshes(shards: Shards, rows: Sequence[int], rule: TruthRule, bodies: BenchBodies) -> Targets:
    count = VERTICES[rule.family]
    vertices = np.zeros((len(rows), count, 3), np.float32)
    reasons = []
    for place, row in enumerate(rows):
        mesh = shards.mesh(row)
        if mesh is not None and mesh.shape != (count, 3):
            raise SchemaError(
                f"{shards.path} row {row}: a mesh of {len(mesh)} vertices, expected the {count} of "
                f"{rule.family}; convert the set with --option body={rule.family}"
            )
        if mesh is None or not np.isfinite(mesh).all():
            reasons.append("no mesh" if mesh is None else "mesh not finite")
            continue
        vertices[place] = mesh
        reasons.append("")
    known = torch.tensor([not reason for reason in reasons], dtype=torch.bool, device=bodies.device)
    return Targets(Posed(torch.from_numpy(vertices).to(bodies.device)), known, tuple(reasons))


def _why_not(record: Row, rule: TruthRule) -> str:
    """Why a record has no target, or ""."""
    for name in needed_columns(rule):
        if record[name] is None:
            return f"no {name}"
        if not np.isfinite(record[name]).all():
            return f"{name} not finite"
    if rule.gender == "neutral" and (record["gender"] or "neutral") != "neutral":
        betas = record["betas_neutral"]
        if betas is None or not np.isfinite(betas).all():
            return "no betas_neutral"
    return ""


def _genders(records: Sequence[Row], rule: TruthRule) -> list[Gender]:
    if rule.gender == "neutral":
        return ["neutral"] * len(records)
    return [record["gender"] or "neutral" for record in records]


def _columns(records: Sequence[Row], rule: TruthRule, bodies: BenchBodies) -> dict[str, np.ndarray]:
    """Parameters by name, (B, n) float32; what is not known is neutral."""
    family = rule.family
    found = {"betas": np.stack([_betas(record, rule) for record in records])}
    for name in (*POSE_PARTS[family], "transl", *(["expression"] if family == "smplx" else [])):
        valid = _validity(name, rule)
        neutral = neutral_part(name, family, bodies)
        cells = [record[f"{family}_{name}"] if valid(record) else None for record in records]
        rows = [neutral if cell is None else np.asarray(cell)[: len(neutral)] for cell in cells]
        if any(len(row) != len(neutral) for row in rows):
            rows = [np.pad(row, (0, len(neutral) - len(row))) for row in rows]
        found[name] = np.stack(rows).astype(np.float32)
    if rule.gender == "own" and any(record["kid"] for record in records):
        found["kid"] = np.array([record["kid"] or 0.0 for record in records], np.float32)
    return found


def neutral_part(name: str, family: Family, bodies: BenchBodies) -> np.ndarray:
    """What stands for a part of a body that is not known: (n,) the mean hand, else zeros."""
    if name in _HANDS:
        mean: np.ndarray = bodies.hand_means()[list(_HANDS).index(name)].cpu().numpy()
        return mean
    if name in ("betas", "expression"):
        return np.zeros(NUM_BETAS, np.float32)
    return np.zeros(3 if name == "transl" else 3 * POSE_PARTS[family][name], np.float32)


def _validity(name: str, rule: TruthRule) -> Callable[[Row], bool]:
    """Whether a record's own numbers of a part count."""
    if name in _HANDS and rule.unseen_neutral:
        return lambda record: record[_HANDS[name]] is not False
    if name in _FACE and rule.unseen_neutral:  # both or neither
        face = [f"smplx_{part}" for part in _FACE]
        return lambda record: (
            record["valid_face"] is not False and all(record[part] is not None for part in face)
        )
    return lambda record: True


def _betas(record: Row, rule: TruthRule) -> np.ndarray:
    own = record[f"{rule.family}_betas"]
    if rule.gender == "neutral" and record["betas_neutral"] is not None:
        own = record["betas_neutral"]
    betas = np.zeros(NUM_BETAS, np.float32)
    cut = np.asarray(own, np.float32)[:NUM_BETAS]
    betas[: len(cut)] = cut
    if rule.max_beta is not None and (np.abs(betas) > rule.max_beta).any():
        betas[:] = 0
    return betas


def pose_people(
    values: Mapping[str, Any], genders: Sequence[Gender], rule: TruthRule, bodies: BenchBodies
) -> Posed:
    """Pose bodies as a protocol does, targets and predictions alike; metres, camera frame.

    Args:
        values: finite parameters by their record names without the family, (B, n); absolute hands.
        genders: B of them, of the models.
        rule: its family, and whether eyes are straight and skeletons wanted.
        bodies: the models.
    """
    used = {name: value for name, value in values.items() if not (rule.straight_eyes and name in _EYES)}
    chosen = genders[0] if len(set(genders)) == 1 else list(genders)
    return bodies.pose(rule.family, used, chosen, skeleton=rule.skeleton)
