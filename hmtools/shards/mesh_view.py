"""The body of a record as a mesh over its picture, for contact sheets.

Bodies are posed with the very model that the manifest names, told by its checksum: the parameters of one body
drawn with another look wrong for no fault of theirs. Without it, people are shown without their mesh.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hmtools.core.errors import HmtoolsError
from hmtools.core.settings import load_settings
from hmtools.humandata.manifest import Manifest
from hmtools.shards.reader import Shards
from hmtools.viz.page import Tile

if TYPE_CHECKING:
    from hmtools.bodies.layers import BodyLayer
    from hmtools.bodies.model import Family, Gender

__all__ = ["with_mesh"]

_FAMILIES: tuple[Family, ...] = ("smplx", "smplh", "smpl")


def with_mesh(tile: Tile, shards: Shards, row: int, *, colour: tuple[int, int, int] | None = None) -> Tile:
    """The tile with the body of row ``row`` drawn into its image; the same tile where there is none to draw.

    Args:
        tile: already cut to what it shows.
        shards: where the record comes from.
        row: its index in ``shards``.
        colour: RGB of the body; by default that of the person's number in the image.
    """
    record = shards.row(row)
    if tile.image is None or record["focal_length"] is None or record["principal_point"] is None:
        return tile
    found = _vertices(shards, row, record)
    if found is None:
        known = any(record.get(f"{family}_transl") is not None for family in _FAMILIES)
        if not known and shards.mesh(row) is None:
            return tile
        return replace(tile, caption={**tile.caption, "mesh": "not drawn: its body model is not at hand"})
    from hmtools.viz.mesh import Camera, Mesh, person_colour
    from hmtools.viz.mesh_overlay import overlay_mesh
    from hmtools.viz.shade import render

    vertices, faces, family = found
    height, width = tile.image.shape[:2]
    camera = Camera(
        focal_length=record["focal_length"],
        principal_point=record["principal_point"],
        model=record["camera_model"] or "pinhole",
        distortion=record["distortion"],
        width=width,
        height=height,
        affine=tile.affine,
    )
    mesh = Mesh(vertices=vertices, faces=faces, colour=colour or person_colour(record["person"] or 0))
    drawn = overlay_mesh(tile.image, render([mesh], camera, supersampling=2))
    standin = (shards.manifest.body_model or {}).get("standin", False)
    return replace(
        tile, image=drawn, caption={**tile.caption, "mesh": f"{family}, stand-in" if standin else family}
    )


def _vertices(shards: Shards, row: int, record: dict[str, Any]) -> tuple[Any, Any, Family] | None:
    """Vertices in the camera frame, faces and family of a record's body."""
    manifest = shards.manifest
    for family in _FAMILIES:
        if record.get(f"{family}_transl") is None or record.get(f"{family}_betas") is None:
            continue
        layer = _layer(manifest, family, record["gender"] or "neutral")
        if layer is not None:
            return _posed(layer, family, record), layer.model.faces, family
    vertices = shards.mesh(row)
    layer = None if vertices is None else _layer(manifest, "smplx", "neutral")
    if vertices is None or layer is None:
        return None
    return np.asarray(vertices, np.float64), layer.model.faces, "smplx"


def _layer(manifest: Manifest, family: Family, gender: Gender) -> BodyLayer | None:
    facts = manifest.body_model
    if facts is None or f"{family}_{gender}" not in facts["files"]:
        return None
    return _load(bool(facts["standin"]), family, gender, facts["files"][f"{family}_{gender}"])


@cache
def _load(standin: bool, family: Family, gender: Gender, checksum: str) -> BodyLayer | None:
    from hmtools.bodies import assets
    from hmtools.bodies.layers import BodyLayer

    try:
        root: Path = assets.standin_dir() if standin else load_settings().body_models
        model = assets.load_model(family, gender, roots=(root,))
        kid = None
        if family != "smplh" and assets.find(f"{family}_kid_template", roots=(root,)) is not None:
            kid = assets.load_array(f"{family}_kid_template", roots=(root,))
    except HmtoolsError:
        return None  # a page without meshes beats no page
    return BodyLayer(model, kid_template=kid) if assets.body_hash(model) == checksum else None


def _posed(layer: BodyLayer, family: Family, record: dict[str, Any]) -> Any:
    import torch

    from hmtools.bodies.params import POSE_PARTS, BodyParams

    names = [*POSE_PARTS[family], "betas", "transl", *(["expression"] if family == "smplx" else [])]
    cells = {name: record[f"{family}_{name}"] for name in names}
    values = {name: np.array(cell)[None] for name, cell in cells.items() if cell is not None}
    if record["kid"]:
        values["kid"] = np.array([record["kid"]])
    with torch.inference_mode():
        mesh: Any = layer(BodyParams.of(values)).vertices
    return mesh[0].numpy().astype(np.float64)
