"""Body fits in NeuralAnnot's json: found by annotation id, read one at a time, written into records.

A release is one object of objects, up to a gigabyte of it: ``{"<annotation id>": {"smplx_param": {...},
"cam_param": {...}}}``; some have ``smpl_param``, some no wrapper and no camera. Angles are axis-angle in
radians, lengths metres. Numbers may stand in further lists of one element. Hands are relative to the mean
hand (``flat_hand_mean`` false) and need the model to become absolute: :mod:`hmtools.bodies.pending`. The
model is always the neutral one.

The camera is a pinhole of each person's own in pixels of the full image, made from a crop: what it projects
is right, the depth it gives is not metric. The body is in its frame already.

Datasets that have such a file plan it with :func:`plan_fits` and read it with :func:`read_fits`; where fits
are found some other way, :func:`parse_fit` and :func:`put_fit` do for one.
"""

from __future__ import annotations

import json
import os
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from hmtools.bodies.pending import hold_hand
from hmtools.core.errors import LayoutError
from hmtools.core.json_stream import iter_elements, read_element
from hmtools.datasets.base import Rejected, json_text
from hmtools.datasets.coco_values import numbers
from hmtools.engine.job import Unit
from hmtools.humandata.record import Record

__all__ = ["Fit", "FitUnit", "parse_fit", "plan_fits", "put_fit", "read_fits", "without_fit"]

FitFamily: TypeAlias = Literal["smplx", "smpl"]
Table: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"
Vector: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"

# family -> field -> the parts it is made of and how many numbers each has
_FIELDS: Mapping[FitFamily, Mapping[str, Mapping[str, int]]] = {
    "smplx": {
        "root_pose": {"global_orient": 3},
        "body_pose": {"body_pose": 63},
        "shape": {"betas": 10},
        "trans": {"transl": 3},
        "lhand_pose": {"left_hand_pose": 45},
        "rhand_pose": {"right_hand_pose": 45},
        "jaw_pose": {"jaw_pose": 3},
        "expr": {"expression": 10},
    },
    "smpl": {
        "pose": {"global_orient": 3, "body_pose": 69},
        "shape": {"betas": 10},
        "trans": {"transl": 3},
    },
}
_OPTIONAL = {"lhand_pose", "rhand_pose", "jaw_pose", "expr"}  # files of the body alone lack them
_FLAGS = ("lhand", "rhand", "face")
_ID = re.compile(r"0|-?[1-9]\d{0,17}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """One fitted body, in the frame the file has it in.

    Attributes:
        family: smplx or smpl, of the neutral model.
        parts: part of the record's column -> numbers, float64; hands (45,) are **relative** to the mean hand.
        valid: ``lhand``, ``rhand``, ``face`` -> whether it may supervise; those that the file flags.
        focal_length: fx, fy in pixels of the full image, or None without a camera.
        principal_point: cx, cy, likewise.
    """

    family: FitFamily
    parts: Mapping[str, Vector]
    valid: Mapping[str, bool]
    focal_length: Vector | None = None
    principal_point: Vector | None = None


@dataclass(frozen=True, slots=True)
class FitUnit:
    """Payload of a unit: that of its people, and byte ranges of their fits.

    ``fits`` rows: annotation id, start, end, earlier entries of the same id. ``strays`` are names of fits
    that belong to no person of the split.
    """

    people: Any
    fits: Table
    strays: tuple[str, ...] = ()


def plan_fits(
    file: Path, units: Sequence[Unit], ids: Sequence[Table], elsewhere: Sequence[Table] = ()
) -> list[Unit]:
    """Scan a file of fits once and give each unit those of its people.

    Args:
        file: NeuralAnnot's json.
        units: planned from the annotations.
        ids: of each unit the annotation ids of its people, (N,).
        elsewhere: ids of people in no unit (of another split), whose fits belong to somebody all the same.

    Returns:
        The units with a :class:`FitUnit` around their payload; fits of nobody stand in the first.

    Raises:
        LayoutError: if the file is not JSON, or none of its fits is of anybody.
    """
    fits, strays = _scan(file)
    everybody = np.concatenate([np.zeros(0, np.int64), *ids, *elsewhere])
    known = np.isin(fits[:, 0], everybody)
    if not known.any():
        raise LayoutError(
            f"{file}: none of its {len(fits) + len(strays)} fits has the id of a person in the annotations; "
            'expected {"<annotation id>": {"smplx_param": ..., "cam_param": ...}} of the same release'
        )
    strays += [str(number) for number in fits[~known, 0].tolist()]
    planned = [
        replace(unit, payload=FitUnit(unit.payload, _of(fits, np.unique(own))))
        for unit, own in zip(units, ids, strict=True)
    ]
    return [replace(planned[0], payload=replace(planned[0].payload, strays=tuple(strays))), *planned[1:]]


def _of(fits: Table, ids: Table) -> Table:
    """The fits of some ids; both are sorted."""
    place = np.minimum(np.searchsorted(fits[:, 0], ids), len(fits) - 1)
    own: Table = fits[place[fits[place, 0] == ids]]
    return own


def _scan(file: Path) -> tuple[Table, list[str]]:
    """Fits (id, start, end, earlier ones of the same id) by id, and names that are no id."""
    found, strays = array("q"), []
    for element in iter_elements(file):
        if _ID.fullmatch(element.key):
            found.extend((int(element.key), element.start, element.end))
        else:
            strays.append(element.key)
    rows = np.array(found, np.int64).reshape(-1, 3)
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    _, first, counts = np.unique(rows[:, 0], return_index=True, return_counts=True)
    # Of entries with one name the last counts, as everywhere in JSON.
    return np.column_stack([rows[first + counts - 1], counts - 1]), strays


def read_fits(
    file: Path, unit: FitUnit, people: Iterable[Record | Rejected], family: FitFamily = "smplx"
) -> Iterator[Record | Rejected]:
    """Add their fits to the people of a unit, told apart by ``source_id``.

    A person whose fit is damaged is kept without, as one that has none: a :class:`Rejected` before it counts
    the fit, and ``meta`` says ``fit_rejected``.

    Args:
        file: the one that was planned.
        unit: payload made by :func:`plan_fits`.
        people: what reading the annotations gives.
        family: of the file.
    """
    for name in unit.strays:
        yield Rejected("fit_without_person", f"{file.name} {name}", by_rule=True)
    places = {str(row[0]): row[1:] for row in unit.fits.tolist()}
    descriptor = os.open(file, os.O_RDONLY)
    try:
        for found in people:
            if isinstance(found, Record):
                yield from _add(found, places.get(found.source_id or ""), descriptor, file.name, family)
            yield found
    finally:
        os.close(descriptor)


def _add(
    record: Record, place: Sequence[int] | None, descriptor: int, file: str, family: FitFamily
) -> Iterator[Rejected]:
    if place is None:
        without_fit(record, family)
        return
    where, (start, end, repeats) = f"{file} {record.source_id}", place
    if repeats:
        yield Rejected("duplicate_fit", where, f"its id occurs {repeats + 1} times; the last one counts")
    try:
        put_fit(record, parse_fit(read_element(descriptor, start, end), family))
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        problem = f"has no {error}" if isinstance(error, KeyError) else str(error)
        yield Rejected("broken_fit", where, problem)
        without_fit(record, family)
        record.meta = json_text({**json.loads(record.meta or "{}"), "fit_rejected": "broken_fit"})


def parse_fit(entry: Any, family: FitFamily) -> Fit:
    """One entry of the file, checked.

    Args:
        entry: ``{"<family>_param": {...}, "cam_param": {...}}``, or the parameters themselves, which have no
            camera.
        family: which model it is of.

    Raises:
        KeyError: for a field that is missing.
        TypeError, ValueError, OverflowError: for one that does not hold the numbers it should.
    """
    entry = _object(entry, "fit")
    wrapped = f"{family}_param" in entry
    values = _object(entry[f"{family}_param"], f"{family}_param") if wrapped else entry
    parts: dict[str, Vector] = {}
    for field, sizes in _FIELDS[family].items():
        if field in _OPTIONAL and field not in values:
            continue
        found, at = _vector(values, field, sum(sizes.values())), 0
        for part, size in sizes.items():
            parts[part] = found[at : at + size]
            at += size
    valid = {name: _flag(values, f"{name}_valid") for name in _FLAGS if f"{name}_valid" in values}
    if not wrapped:
        return Fit(family=family, parts=parts, valid=valid)
    camera = _object(entry["cam_param"], "cam_param")
    focal, centre = _vector(camera, "focal", 2), _vector(camera, "princpt", 2)
    if not (focal > 0).all():
        raise ValueError(f"focal: expected lengths above 0, found {focal.tolist()}")
    return Fit(family=family, parts=parts, valid=valid, focal_length=focal, principal_point=centre)


def put_fit(record: Record, fit: Fit) -> None:
    """Write a fit into a record; hands wait for the model.

    Flags that the fit lacks stay what they are in the record. A translation in a person's own camera may not
    supervise: its depth follows from an assumed focal length.
    """
    for part, values in fit.parts.items():
        if part == "left_hand_pose":
            hold_hand(record, fit.family, "left", values)
        elif part == "right_hand_pose":
            hold_hand(record, fit.family, "right", values)
        else:
            setattr(record, f"{fit.family}_{part}", values)
    record.gender = "neutral"
    _set_validity(record, fit.family, valid=True)
    for name, valid in fit.valid.items():
        setattr(record, f"valid_{name}", valid)
    if fit.focal_length is not None:
        record.focal_length, record.principal_point = fit.focal_length, fit.principal_point
        record.camera_model, record.camera_kind = "pinhole", "virtual"
        record.valid_transl = False


def without_fit(record: Record, family: FitFamily) -> None:
    """Mark a person that has annotations but no fit: nothing of the body may supervise."""
    _set_validity(record, family, valid=False)


def _set_validity(record: Record, family: FitFamily, *, valid: bool) -> None:
    for name in (family, "betas", "global_orient", "transl"):
        setattr(record, f"valid_{name}", valid)


def _object(value: Any, name: str) -> Mapping[str, Any]:
    while isinstance(value, list) and len(value) == 1:
        (value,) = value
    if not isinstance(value, dict):
        raise TypeError(f"{name}: expected an object, found {value!r:.40}")
    return value


def _flat(value: Any) -> list[Any]:
    """The numbers of nested lists, in order."""
    values = [value]
    while any(isinstance(item, list) for item in values):
        values = [one for item in values for one in (item if isinstance(item, list) else [item])]
    return values


def _vector(values: Mapping[str, Any], name: str, count: int) -> Vector:
    try:
        found = np.array(numbers(_flat(values[name]), count))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error
    with np.errstate(over="ignore"):
        if not np.isfinite(found.astype(np.float32)).all():
            raise ValueError(f"{name}: NaN, infinite or beyond float32")
    return found


def _flag(values: Mapping[str, Any], name: str) -> bool:
    """True or false, or 1 or 0 in any spelling of a number; text such as "false" would count as true."""
    found = _flat(values[name])
    if len(found) != 1 or not isinstance(found[0], int | float) or found[0] not in (0, 1):
        raise TypeError(f"{name}: expected true or false, found {values[name]!r:.40}")
    return bool(found[0])
