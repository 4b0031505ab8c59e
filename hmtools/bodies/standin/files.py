"""The stand-in body as files: the names, keys, shapes and types of the official downloads, marked as ours.

Model files carry the key ``standin``. Index files and regressors cannot carry a mark; for those, and for the
whole folder, STANDIN.json lists every file with its checksum, and README.txt says it in words.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from hmtools.bodies.model import FAMILIES, GENDERS, JOINTS, VERTICES, Family
from hmtools.bodies.standin.build import build_person
from hmtools.bodies.standin.cache import FORMAT_VERSION, MARK_FILE, standin_hash
from hmtools.bodies.standin.correctives import corrective_directions
from hmtools.bodies.standin.expressions import expression_directions, face_share
from hmtools.bodies.standin.genders import child, gendered
from hmtools.bodies.standin.hands import hand_components, hand_mean
from hmtools.bodies.standin.landmarks import contour_landmarks, face_landmarks
from hmtools.bodies.standin.parts import body_vertex_ids, hand_vertex_ids, head_vertex_ids
from hmtools.bodies.standin.person import Person
from hmtools.bodies.standin.regressors import FEET, WHAM, joint_regressor, point_regressor
from hmtools.bodies.standin.shapes import shape_directions
from hmtools.bodies.standin.transfer import transfer_matrix
from hmtools.core.atomic import AtomicFile, write_bytes, write_json, write_text
from hmtools.humandata.conventions import CONVENTIONS

__all__ = ["MARK", "SHAPE_COUNTS", "write_standin"]

MARK = "hmtools stand-in body: not SMPL, not for results"
"""Value of the key ``standin`` in every model file."""

SHAPE_COUNTS: Mapping[Family, int] = {"smpl": 10, "smplh": 16, "smplx": 300}
"""Shape directions in a family's files."""

_EXPRESSION_COUNT = 100
_ROOT = np.uint32(4294967295)
_PICKLE_PROTOCOL = 2

_README = f"""{MARK}

Everything in this folder was made by the program hmtools. It has the names, keys and sizes of the files of
the body models SMPL, SMPL-H and SMPL-X, so that programs which need those can be run and tested without a
licence. It is a person made up by us, though: its shape, its joints, its betas and all its matrices are NOT
those of the real models. Numbers measured with these files say nothing about any method. Never mix them with
the real files.

smpl/ smplh/ smplx/   model files of three genders, child templates, joint regressors, lists of vertices
transfer/             matrices between the meshes of SMPL and SMPL-X
{MARK_FILE}          what made it, and a checksum of every file

The folder may be deleted; hmtools makes it again when it is needed.
"""

People = Mapping[Family, Person]


@dataclass(frozen=True, slots=True)
class _Extra:
    """An index or regressor file: where it goes, which meshes it needs, and how it is made of them."""

    path: str
    needs: tuple[Family, ...]
    make: Callable[[People], Any]


def _regressor(family: Family, names: Sequence[str]) -> Callable[[People], NDArray[np.float32]]:
    return lambda people: point_regressor(people[family], names).astype(np.float32)


_H36M = CONVENTIONS["h36m_mmpose"].names
_EXTRAS: tuple[_Extra, ...] = (
    _Extra("smplx/MANO_SMPLX_vertex_ids.pkl", ("smplx",), lambda p: hand_vertex_ids(p["smplx"])),
    _Extra("smplx/SMPL-X__FLAME_vertex_ids.npy", ("smplx",), lambda p: head_vertex_ids(p["smplx"])),
    _Extra("smplx/body_verts_smplx.npy", ("smplx",), lambda p: body_vertex_ids(p["smplx"])),
    _Extra("smplx/SMPLX_to_J14.pkl", ("smplx",), _regressor("smplx", CONVENTIONS["lsp_14"].names)),
    _Extra("smplx/J_regressor_h36m_smplx.npy", ("smplx",), _regressor("smplx", _H36M)),
    _Extra("smplx/smplx_kid_template.npy", ("smplx",), lambda p: child(p["smplx"]).vertices),
    _Extra("smpl/body_verts_smpl.npy", ("smpl",), lambda p: body_vertex_ids(p["smpl"])),
    _Extra("smpl/smpl_kid_template.npy", ("smpl",), lambda p: child(p["smpl"]).vertices),
    _Extra("smpl/J_regressor_h36m.npy", ("smpl",), _regressor("smpl", _H36M)),
    _Extra("smpl/J_regressor_extra.npy", ("smpl",), _regressor("smpl", CONVENTIONS["smpl_54"].names[45:])),
    _Extra("smpl/SMPL_to_J19.pkl", ("smpl",), _regressor("smpl", CONVENTIONS["smpl_24_j24"].names[:19])),
    _Extra("smpl/J_regressor_wham.npy", ("smpl",), _regressor("smpl", WHAM)),
    _Extra("smpl/J_regressor_feet.npy", ("smpl",), _regressor("smpl", FEET)),
    _Extra(
        "transfer/smpl2smplx_deftrafo_setup.pkl",
        ("smpl", "smplx"),
        lambda p: {"mtx": transfer_matrix(p["smpl"], p["smplx"])},
    ),
    _Extra(
        "transfer/smplx2smpl_deftrafo_setup.pkl",
        ("smpl", "smplx"),
        lambda p: {"mtx": transfer_matrix(p["smplx"], p["smpl"])},
    ),
)


def _hands(person: Person) -> dict[str, NDArray[np.float64]]:
    mean, components = hand_mean(person), hand_components(person)
    return {
        **{"hands_meanl": mean[0], "hands_meanr": mean[1]},
        **{"hands_componentsl": components[0], "hands_componentsr": components[1]},
    }


def _face(neutral: Person) -> dict[str, NDArray[Any]]:
    faces, weights = face_landmarks(neutral)
    contour_faces, contour_weights = contour_landmarks(neutral)
    return {
        **{"lmk_faces_idx": faces, "lmk_bary_coords": weights},
        **{"dynamic_lmk_faces_idx": contour_faces, "dynamic_lmk_bary_coords": contour_weights},
    }


def _model(person: Person, expressions: NDArray[np.float64] | None) -> dict[str, Any]:
    """The entries that every family has, for one gender."""
    shapes = shape_directions(person, SHAPE_COUNTS[person.family])
    still = None
    if person.family == "smplx":
        still = 1.0 - face_share(person)
        shapes = np.concatenate([shapes, expressions], axis=2) if expressions is not None else shapes
    parents = np.where(person.parents < 0, _ROOT, person.parents).astype(np.uint32)
    regressor = joint_regressor(person, still)
    return {
        "v_template": person.vertices.astype(np.float32),
        "weights": person.weights.astype(np.float32),
        "J_regressor": regressor if person.family == "smplx" else sp.csc_matrix(regressor),
        "shapedirs": shapes.astype(np.float32),
        "posedirs": corrective_directions(person).astype(np.float32),
        "kintree_table": np.stack([parents, np.arange(len(parents), dtype=np.uint32)]),
        "f": person.faces.astype(np.uint32),
    }


def _save(path: Path, value: Any) -> str:
    """Write one file by its suffix; return its sha256."""
    if path.suffix == ".npz":
        with AtomicFile(path) as file:
            np.savez(file, **value)  # zip members are dated 1980: the same bytes every time
        return file.sha256
    if path.suffix == ".pkl":
        return write_bytes(path, pickle.dumps(value, protocol=_PICKLE_PROTOCOL))
    buffer = io.BytesIO()
    np.save(buffer, value)
    return write_bytes(path, buffer.getvalue())


def _write_models(out: Path, neutral: Person) -> dict[str, str]:
    """Write a family's three model files; return relative path -> sha256."""
    family = neutral.family
    only_smplx: dict[str, Any] = (
        _face(neutral) if family == "smplx" else {"bs_style": "lbs", "bs_type": "lrotmin"}
    )
    expressions = expression_directions(neutral, _EXPRESSION_COUNT) if family == "smplx" else None
    hands = {} if family == "smpl" else _hands(neutral)
    sums = {}
    for gender in GENDERS:
        model = _model(gendered(neutral, gender), expressions)
        suffix = "npz" if family == "smplx" else "pkl"
        name = f"{family}/{family.upper()}_{gender.upper()}.{suffix}"
        sums[name] = _save(out / name, {**model, **hands, **only_smplx, "standin": MARK})
    return sums


def _person(family: Family) -> Person:
    person = build_person(family)
    found = (person.family, len(person.vertices), len(person.joints))
    wanted = (family, VERTICES[family], JOINTS[family])
    if found != wanted:
        raise RuntimeError(f"the stand-in person is {found}, not {wanted}: a bug of hmtools")
    return person


def write_standin(out: Path, *, families: Sequence[Family] = FAMILIES) -> list[Path]:
    """Write the stand-in body: models, index files, regressors, templates of children, transfer matrices.

    The same call writes the same bytes. Files appear one by one, each whole; STANDIN.json comes last.

    Args:
        out: folder to write to; made if it is not there. Files of the same names are replaced.
        families: families to write. Files that need two families (transfer) are written when both are named.

    Returns:
        Every file written, STANDIN.json last.
    """
    people = {family: _person(family) for family in families}
    extras = [extra for extra in _EXTRAS if set(extra.needs) <= set(people)]
    folders = {*people, *(extra.path.split("/")[0] for extra in extras)}
    for folder in sorted(folders):
        (out / folder).mkdir(parents=True, exist_ok=True)
    sums: dict[str, str] = {}
    for person in people.values():
        sums |= _write_models(out, person)
    for extra in extras:
        sums[extra.path] = _save(out / extra.path, extra.make(people))
    sums["README.txt"] = write_text(out / "README.txt", _README)
    mark = {"standin": MARK, "format": FORMAT_VERSION, "generator": standin_hash(), "files": sums}
    write_json(out / MARK_FILE, mark)
    return [*(out / name for name in sums), out / MARK_FILE]
