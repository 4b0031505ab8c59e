"""Bodies of predictions: the very model that they were predicted with, and people posed with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hmtools.bodies import assets
from hmtools.bodies.mixed import BodyLayers
from hmtools.bodies.model import Family, Gender
from hmtools.bodies.params import POSE_PARTS, BodyParams
from hmtools.core.errors import SchemaError, UsageError
from hmtools.core.settings import Settings, load_settings
from hmtools.humandata.predictions import (
    PREDICTED_FAMILIES,
    iter_predictions,
    prediction_facts,
    prediction_files,
)

__all__ = [
    "bodies_of_predictions",
    "body_columns",
    "family_of",
    "genders_of",
    "is_whole",
    "parameters",
    "rest_pelvis",
    "shape_of",
    "vertices_of",
]

_NEEDED = ("global_orient", "body_pose", "transl")
_KID = "kid"
_AT_ONCE = 32  # bodies: 32 meshes and what they are made of are 60 MB


def family_of(path: Path) -> Family:
    """The body family of a table: smplx where it has both.

    Raises:
        LayoutError: if there is no table.
        SchemaError: if it has no bodies.
    """
    names = [f"{family}_body_pose" for family in PREDICTED_FAMILIES]
    for file in prediction_files(path):
        for batch in iter_predictions(file, names):
            for family, name in zip(PREDICTED_FAMILIES, names, strict=True):
                if batch[name] is not None:
                    return family  # type: ignore[return-value] # of PREDICTED_FAMILIES
    raise SchemaError(
        f"{path}: no body parameters (smplx_body_pose or smpl_body_pose); expected predictions of bodies"
    )


def body_columns(family: Family) -> tuple[str, ...]:
    """Columns of the table that make a body of a family."""
    names = [*POSE_PARTS[family], "betas", "transl", *(["expression"] if family == "smplx" else [])]
    return (*(f"{family}_{name}" for name in names), "gender", _KID)


def bodies_of_predictions(path: Path, family: Family, settings: Settings | None = None) -> BodyLayers:
    """The body models that predictions are of: the stand-in where they say so, else the licensed ones.

    Args:
        path: the table; its facts ``standin`` and ``body_sha256`` count.
        family: to pose.
        settings: ``body_models`` is searched; default: loaded.

    Raises:
        AssetError: if there is no such model.
        UsageError: if the model found is another than that of the predictions.
    """
    settings = settings or load_settings()
    facts = prediction_facts(path)
    root = assets.standin_dir() if facts["standin"] else settings.body_models
    model = assets.load_model(family, "neutral", roots=(root,))
    if model.standin and not facts["standin"]:
        raise UsageError(
            f"body_models = {root} ({settings.origin('body_models')}) holds the stand-in body, {path} is of "
            "a licensed one; point body_models at that (`hmtools body list` says where to get it)"
        )
    sha256 = facts["body_sha256"]
    if sha256 and sha256 != assets.body_hash(model) and sha256 not in _others(root, family):
        raise UsageError(
            f"{path}: predicted with body {str(sha256)[:12]}, {root} has {assets.body_hash(model)[:12]}: the "
            "same numbers are another person there. Point body_models at the first one, or predict again"
        )
    return BodyLayers(family, roots=(root,))


def _others(root: Path, family: Family) -> set[str]:
    """Checksums of all models of a family, and the one of them together."""
    from hmtools.convert.bodies import body_facts

    found = body_facts(root, [family])
    return set() if found is None else {found["sha256"], *found["files"].values()}


def is_whole(columns: Mapping[str, Any], family: Family, count: int) -> NDArray[np.bool_]:
    """(P,) which people have a finite pose and place; what else they lack is neutral."""
    found = np.ones(count, bool)
    for name in _NEEDED:
        values = columns[f"{family}_{name}"]
        found &= False if values is None else np.isfinite(values).all(axis=1)
    return found


def genders_of(columns: Mapping[str, Any], count: int) -> list[Gender]:
    """The model each person's numbers belong to; neutral where the table does not say."""
    said = columns["gender"]
    return ["neutral"] * count if said is None else [gender or "neutral" for gender in said]


def parameters(columns: Mapping[str, Any], family: Family) -> dict[str, NDArray[np.float32]]:
    """Parameters by their names without the family, (P, n) float32, zeros where the table has null.

    ``kid`` (P,), the weight of the kid template, is always there: 0 is an adult.
    """
    found = {}
    for column in body_columns(family):
        values = columns[column]
        if column != "gender" and values is not None:
            found[column.removeprefix(f"{family}_")] = np.nan_to_num(values, nan=0.0)
    count = len(next(iter(found.values()), ()))
    return {_KID: np.zeros(count, np.float32), **found}


def vertices_of(
    bodies: BodyLayers, values: Mapping[str, NDArray[np.float32]], genders: Sequence[Gender]
) -> NDArray[np.float32]:
    """Meshes of P people.

    Args:
        bodies: of their family.
        values: :func:`parameters` of people who are whole.
        genders: P of them.

    Returns:
        (P, V, 3) metres, camera frame.

    Raises:
        AssetError: for children without a kid template.
    """
    meshes = []
    for part in _parts(len(genders)):
        params = BodyParams.of(_own({name: value[part] for name, value in values.items()}))
        with torch.inference_mode():
            mesh = bodies(params, genders[part]).vertices
        if mesh is not None:
            meshes.append(mesh.numpy())
    return np.concatenate(meshes)


def rest_pelvis(
    bodies: BodyLayers, values: Mapping[str, NDArray[np.float32]], genders: Sequence[Gender]
) -> NDArray[np.float64]:
    """(P, 3) metres: pelvis of each shaped rest body, what the root turns about."""
    shape = shape_of(values)
    if not shape:
        shape = {"betas": np.zeros((len(genders), 1), np.float32)}
    with torch.inference_mode():
        found = np.empty((len(genders), 3))
        for gender in dict.fromkeys(genders):
            rows = [i for i, own in enumerate(genders) if own == gender]
            params = BodyParams.of({name: value[rows] for name, value in shape.items()})
            found[rows] = bodies.layer(gender).rest_pelvis(params).numpy()
    return found


def shape_of(values: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Those of :func:`parameters` that make the rest body: betas, expression, and ``kid`` of children."""
    return _own({name: values[name] for name in ("betas", "expression", _KID) if name in values})


def _own(values: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """The parameters, without weights of the kid template if all are 0: adults need no such file."""
    adults = _KID in values and not values[_KID].any()
    return {name: value for name, value in values.items() if name != _KID or not adults}


def _parts(count: int) -> Iterator[slice]:
    return (slice(begin, begin + _AT_ONCE) for begin in range(0, count, _AT_ONCE))
