"""The stand-in person: surface, skeleton and skinning put together, vertices in the order the files need."""

from __future__ import annotations

from functools import cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from hmtools.bodies.model import VERTICES, Family
from hmtools.bodies.standin.anatomy import EYEBALL_RADIUS, landmarks, origin_shift, rest_skeleton
from hmtools.bodies.standin.density import DENSITIES, region_of, wanted_size
from hmtools.bodies.standin.eyes import EYEBALL_VERTICES, eyeball
from hmtools.bodies.standin.face_shape import eye_centre
from hmtools.bodies.standin.field import project
from hmtools.bodies.standin.mesh import Half, mirror
from hmtools.bodies.standin.person import Person
from hmtools.bodies.standin.remesh import flip_edges, relax
from hmtools.bodies.standin.simplify import simplify
from hmtools.bodies.standin.skin import bone_of, for_family, skinning_weights
from hmtools.bodies.standin.surface import FLOOR, extract, person_steps
from hmtools.humandata.conventions import SMPL_VERTEX_IDS, SMPLX_VERTEX_IDS

__all__ = ["build_person"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

_MIRROR = np.array([-1.0, 1.0, 1.0])
_SMOOTHING = 5  # rounds of flips, even spacing and projection after the count is reached
_LEFT_EYE, _RIGHT_EYE = 23, 24


@cache
def _half(mesh: str) -> Half:
    """Left half of the skin of ``smplx`` or ``smpl``, with its final number of vertices."""
    steps = person_steps(eyeball=mesh == "smpl")
    density = DENSITIES[mesh]
    size = wanted_size(density)
    half = simplify(Half(*extract(steps)), size, region_of, density.counts)
    for _ in range(_SMOOTHING):
        half = relax(flip_edges(half), size)
        half = Half(project(steps, half.vertices, FLOOR), half.faces)
    return flip_edges(half)


def _landmark_places(mesh: str) -> dict[str, Array]:
    """The 21 landmarks on the surface, floor frame."""
    steps = person_steps(eyeball=True)
    shift = origin_shift("smplx")
    places = {name: place - shift for name, place in landmarks("smplx").items()}
    names = [name for name in places if not name.startswith("right_")]
    moved = project(steps, np.stack([places[name] for name in names]), FLOOR, rounds=8)
    for name, place in zip(names, np.round(moved, 7), strict=True):
        places[name] = place
        if name.startswith("left_"):
            places[name.replace("left_", "right_")] = place * _MIRROR
    return places


def _nearest(vertices: Array, places: dict[str, Array]) -> dict[str, int]:
    """Vertex nearest to each place; mirrored for the right side, so that pairs stay pairs."""
    return {
        name: int(np.round(((vertices - place) ** 2).sum(1), 9).argmin()) for name, place in places.items()
    }


def _order(vertices: Array, bone: Indices, fixed: dict[int, int], slots: int) -> Indices:
    """New vertex order: ``fixed`` maps a place in the order to a vertex; the rest by joint, then by position.

    Returns:
        (slots,) old vertex for every new index.
    """
    order = np.full(slots, -1)
    order[list(fixed)] = list(fixed.values())
    key = np.round(vertices, 5)
    others = np.lexsort((key[:, 0], key[:, 2], key[:, 1], bone))
    order[order < 0] = others[~np.isin(others, list(fixed.values()))]
    return order


def _with_eyeballs(vertices: Array, faces: Indices, bone: Indices, weights: Array
                   ) -> tuple[Array, Indices, Indices, Array]:  # fmt: skip
    cup, cup_faces = eyeball(eye_centre(), EYEBALL_RADIUS)
    count = len(vertices)
    rigid = np.zeros((2 * EYEBALL_VERTICES, weights.shape[1]))
    rigid[:EYEBALL_VERTICES, _LEFT_EYE] = 1.0
    rigid[EYEBALL_VERTICES:, _RIGHT_EYE] = 1.0
    return (
        np.concatenate([vertices, cup, cup * _MIRROR]),
        np.concatenate([faces, cup_faces + count, cup_faces[:, ::-1] + count + EYEBALL_VERTICES]),
        np.concatenate([bone, np.repeat([_LEFT_EYE, _RIGHT_EYE], EYEBALL_VERTICES)]),
        np.concatenate([weights, rigid]),
    )


@cache
def build_person(family: Family) -> Person:
    """The stand-in in the T-pose; made once per process.

    Args:
        family: smplx has a surface of its own; smpl and smplh share one.

    Returns:
        Read-only arrays; counts are those of the family's real files, and the vertices that the smplx package
        picks as surface joints are where these joints are.
    """
    mesh = "smplx" if family == "smplx" else "smpl"
    half = _half(mesh)
    vertices, faces, _ = mirror(half.vertices, half.faces)
    skin_count = len(vertices)
    bone = bone_of(vertices)
    weights = skinning_weights(vertices, faces, bone)
    if family == "smplx":
        vertices, faces, bone, weights = _with_eyeballs(vertices, faces, bone, weights)
    places = _landmark_places(mesh)
    ids = SMPLX_VERTEX_IDS if family == "smplx" else SMPL_VERTEX_IDS
    chosen = _nearest(vertices, places)
    skin_fixed = {ids[name]: vertex for name, vertex in chosen.items() if vertex < skin_count}
    order = _order(vertices[:skin_count], bone[:skin_count], skin_fixed, skin_count)
    for start in range(skin_count, VERTICES[family], EYEBALL_VERTICES):
        own = slice(start, start + EYEBALL_VERTICES)
        fixed = {
            ids[n] - start: v - start for n, v in chosen.items() if start <= v < start + EYEBALL_VERTICES
        }
        order = np.concatenate([order, start + _order(vertices[own], bone[own], fixed, EYEBALL_VERTICES)])
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    shift = origin_shift(family)
    joints, parents = rest_skeleton(family)
    weights, bone = for_family(weights[order], bone[order], family)
    person = Person(
        family=family,
        vertices=vertices[order] + shift,
        faces=rank[faces],
        joints=joints,
        parents=parents,
        weights=weights,
        bone=bone,
        landmarks=MappingProxyType({name: place + shift for name, place in places.items()}),
    )
    for array in (person.vertices, person.faces, person.joints, person.parents, person.weights, person.bone):
        array.setflags(write=False)
    return person
