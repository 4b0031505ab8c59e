"""Columns that wait for a body model: what a source says about them, kept in the record until there is one.

Some numbers cannot be brought into the record's convention without the model they were made with: hands
relative to its mean hand or in its PCA basis, and the translation of a body that is given in the world (it
turns about its own pelvis, see :mod:`hmtools.bodies.camera`). A dataset hands them over here instead of
reading models itself; the column stays null and ``meta`` says ``{"pending": {column: {...}}}`` until
:class:`~hmtools.bodies.derive.Deriver` settles it: within the conversion when the model is there, else in
``hmtools derive``, which needs no raw data for it. Both ways give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any, cast

import numpy as np
from jaxtyping import Float

from hmtools.bodies.camera import transform_to_camera
from hmtools.bodies.hands import Side, absolute_hand, hand_from_pca
from hmtools.bodies.model import FAMILIES, BodyModel, Family
from hmtools.core.errors import SchemaError
from hmtools.geometry.arrays import ArrayLike
from hmtools.humandata.record import Record

__all__ = [
    "drop_pending",
    "families_pending",
    "hold_hand",
    "hold_hand_pca",
    "hold_in_world",
    "settle",
]

_KEY = "pending"
_HANDS: dict[str, Side] = {"left_hand_pose": "left", "right_hand_pose": "right"}
_SHAPES: dict[str, tuple[int | None, ...]] = {  # None: any length up to 45
    "relative": (45,),
    "pca": (None,),
    "pca_flat": (None,),
    "moved": (3,),
    "rotation": (3, 3),
}


def hold_hand(record: Record, family: Family, side: Side, relative: ArrayLike) -> None:
    """Let a hand wait for the model's mean hand.

    Args:
        record: gets ``<family>_<side>_hand_pose`` when it is settled.
        family: smplh or smplx.
        side: which hand.
        relative: (45,) axis-angle against the mean hand of the record's gender (``flat_hand_mean`` false),
            radians.

    Raises:
        ValueError: for another shape, or numbers that float32 cannot hold.
    """
    _hold(record, f"{family}_{side}_hand_pose", {"relative": relative})


def hold_hand_pca(
    record: Record, family: Family, side: Side, coefficients: ArrayLike, *, flat_hand_mean: bool
) -> None:
    """Let a hand in PCA coefficients wait for the model's components.

    Args:
        record: gets ``<family>_<side>_hand_pose`` when it is settled.
        family: smplh or smplx.
        side: which hand.
        coefficients: (C,) of the first C components of the model of the record's gender, C at most 45.
        flat_hand_mean: how the source ran its model: false adds the mean hand.

    Raises:
        ValueError: for another shape, or numbers that float32 cannot hold.
    """
    _hold(record, f"{family}_{side}_hand_pose", {"pca_flat" if flat_hand_mean else "pca": coefficients})


def hold_in_world(
    record: Record, family: Family, global_orient: ArrayLike, transl: ArrayLike, world_to_cam: ArrayLike
) -> None:
    """Turn a body into the camera frame and let its translation wait for the pelvis of its rest body.

    Gender, betas, kid weight and expression of the record decide where that pelvis is.

    Args:
        record: gets ``<family>_global_orient`` now and ``<family>_transl`` when it is settled.
        family: smpl, smplh or smplx.
        global_orient: (3,) axis-angle in the world, radians.
        transl: (3,) metres, world.
        world_to_cam: (3, 4) or (4, 4), ``x_cam = R x + t``, metres.

    Raises:
        GeometryError: if R is no rotation.
        ValueError: for numbers that float32 cannot hold, and angles too large to turn by.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # of huge angles, which are refused
        orient, moved = transform_to_camera(global_orient, transl, np.zeros(3), world_to_cam)
    rotation = np.asarray(world_to_cam, np.float64)[:3, :3]
    _hold(record, f"{family}_transl", {"moved": moved, "rotation": rotation})
    setattr(record, f"{family}_global_orient", orient)


def families_pending(record: Record) -> list[Family]:
    """Families whose model some column of the record waits for.

    Raises:
        SchemaError: if ``meta`` is not what a record may hold.
    """
    waiting = _waiting(record.meta)
    return [family for family in FAMILIES if any(name.startswith(f"{family}_") for name in waiting)]


def settle(
    record: Record, family: Family, model: BodyModel, rest_pelvis: Callable[[], Float[np.ndarray, 3]]
) -> None:
    """Fill the columns of one family that wait for its model, all or none.

    Args:
        record: normalised; its ``meta`` loses what is settled. A column that holds something keeps it.
        family: smpl, smplh or smplx.
        model: of the record's gender.
        rest_pelvis: gives the pelvis of the record's shaped rest body, (3,) metres.

    Raises:
        AssetError: if the model has no hands.
        UsageError: if a hand has more PCA coefficients than the model has components.
        SchemaError: if ``meta`` is not what a record may hold.
    """
    found = {}
    for column, held in _waiting(record.meta).items():
        if not column.startswith(f"{family}_"):
            continue
        part = column.removeprefix(f"{family}_")
        if part in _HANDS and "relative" in held:
            found[column] = absolute_hand(_array(record, held, "relative"), model, _HANDS[part])
        elif part in _HANDS and held.keys() & {"pca", "pca_flat"}:
            kind = "pca" if "pca" in held else "pca_flat"
            found[column] = hand_from_pca(
                _array(record, held, kind), model, _HANDS[part], flat_hand_mean=kind == "pca_flat"
            )
        elif part == "transl":
            turned = _array(record, held, "rotation") - np.eye(3)
            found[column] = _array(record, held, "moved") + turned @ np.asarray(rest_pelvis(), np.float64)
        else:
            raise SchemaError(f"{record.key}: meta.{_KEY} names {column}, which never waits for a body model")
    for column, value in found.items():
        if getattr(record, column) is None:
            setattr(record, column, value.astype(np.float32))
    record.meta = drop_pending(record.meta, found)


def drop_pending(meta: str | None, columns: Collection[str]) -> str | None:
    """``meta`` of a record for which these columns do not wait any more.

    Raises:
        SchemaError: if ``meta`` is not what a record may hold.
    """
    waiting = _waiting(meta)
    if not waiting.keys() & set(columns):
        return meta
    values = json.loads(meta or "{}")
    values[_KEY] = {name: held for name, held in waiting.items() if name not in columns}
    if not values[_KEY]:
        del values[_KEY]
    return _text(values) if values else None


def _hold(record: Record, column: str, values: dict[str, ArrayLike]) -> None:
    arrays = {name: np.asarray(value, np.float64) for name, value in values.items()}
    for name, array in arrays.items():
        with np.errstate(over="ignore"):
            finite = bool(np.isfinite(array.astype(np.float32)).all())
        if not _fits(array, name) or not finite:
            raise ValueError(
                f"{column}: expected {_shape_words(name)} finite numbers, found shape {array.shape}"
                + ("" if finite else " and NaN or numbers beyond float32")
            )
    held = {name: array.tolist() for name, array in arrays.items()}
    meta = json.loads(record.meta or "{}")
    record.meta = _text({**meta, _KEY: {**meta.get(_KEY, {}), column: held}})


def _waiting(meta: str | None) -> dict[str, dict[str, Any]]:
    if meta is None or f'"{_KEY}"' not in meta:  # nearly all: no need to parse them
        return {}
    try:
        waiting = json.loads(meta).get(_KEY, {})
        if isinstance(waiting, dict) and all(isinstance(held, dict) for held in waiting.values()):
            return cast(dict[str, dict[str, Any]], waiting)
    except (ValueError, AttributeError, RecursionError) as error:
        raise SchemaError(f"meta: expected a JSON object, found {meta!r:.80} ({error})") from error
    raise SchemaError(f"meta.{_KEY}: expected columns with their numbers, found {waiting!r:.80}")


def _array(record: Record, held: dict[str, Any], name: str) -> np.ndarray:
    try:
        array = np.array(held[name], np.float64)
    except (KeyError, TypeError, ValueError):
        array = np.zeros(0)
    if not _fits(array, name) or not np.isfinite(array).all():
        raise SchemaError(
            f"{record.key}: meta.{_KEY} expected {name} as {_shape_words(name)} finite numbers, "
            f"found {held.get(name)!r:.80}; convert again"
        )
    return array


def _fits(array: np.ndarray, name: str) -> bool:
    shape = _SHAPES[name]
    return len(shape) == array.ndim and all(
        found == size if size else 0 < found <= 45 for found, size in zip(array.shape, shape, strict=True)
    )


def _shape_words(name: str) -> str:
    shape = _SHAPES[name]
    return "1 to 45" if shape == (None,) else f"{shape}"


def _text(values: dict[str, Any]) -> str:
    return json.dumps(values, separators=(",", ":"), sort_keys=True)
