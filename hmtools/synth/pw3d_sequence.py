"""Sequences of 3DPW: people who move in a world, the camera that walks with them, and the pickle of both.

The world is y up with its origin some metres away on the floor, so that a camera's R alone, or the pelvis
forgotten, puts nobody where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hmtools.core.atomic import write_bytes
from hmtools.synth.actors import Actor, make_actors, pose_actors
from hmtools.synth.cameras import Camera, make_camera
from hmtools.synth.python2_pickle import python2_pickle

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hmtools.bodies.model import Gender

    Array = NDArray[np.float64]

__all__ = ["FPS", "Filmed", "film", "grown", "images_of", "write_pickle"]

FPS = 30
"""Images per second of every sequence."""

_DENSE_FPS = 60
_FIRST_DENSE = 3  # row of the 60 Hz arrays that belongs to image 0
_CAMERA_FPS = 6.0  # the camera hurries: a few images must show that it moves
_PLACE = np.array([2.4, 1.2, -1.7])  # metres, of the people in the world; its floor is at y = 0
_NEAREST = 1.5  # metres, of a camera from the middle of the people
_MANY_BETAS = 300
_POINTS = (24, 12, 17, 19, 21, 16, 18, 20, 2, 5, 8, 1, 4, 7, 25, 26, 27, 28)
"""Rows of smpl_45 in the order of poses2d: nose, neck, right and left arm, right and left leg, eyes, ears."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Filmed:
    """One sequence of P people and N images.

    Attributes:
        name: as its pickle is called.
        dense: the people at 60 Hz in SMPL, in the world.
        actors: the same people in the N images.
        rows: (N,) rows of the images among the dense ones.
        camera: of the N images.
        joints: (P, N, 45, 3) metres, world.
        near: the same in the camera frame.
        pixels: (P, N, 45, 2) where they are in the images.
        points: (P, N, 3, 18) as in ``poses2d``: x, y, confidence, zeros where nothing was detected.
        valid: (P, N) 0 or 1, as in ``campose_valid``.
    """

    name: str
    dense: Sequence[Actor]
    actors: Sequence[Actor]
    rows: NDArray[np.int64]
    camera: Camera
    joints: Array
    near: Array
    pixels: Array
    points: Array
    valid: NDArray[np.int64]


def film(
    seeds: Sequence[int], name: str, genders: Sequence[Gender], length: int, size: tuple[int, int]
) -> Filmed:
    """Film a sequence in which everything is valid and detected.

    Args:
        seeds: source of everything random.
        name: of the sequence.
        genders: of its people, one each.
        length: images.
        size: width and height of the images in pixels.
    """
    rng = np.random.default_rng([*seeds, 0])
    rows = _FIRST_DENSE + _DENSE_FPS // FPS * np.arange(length, dtype=np.int64)
    drawn = make_actors(rng, len(genders), int(rows[-1]) + 4, family="smpl", genders=genders, fps=_DENSE_FPS)
    dense = [_settled(rng, actor) for actor in drawn]
    actors = [images_of(actor, rows) for actor in dense]
    joints = np.stack([posed.joints for posed in pose_actors(actors, vertices=False)])
    camera, near, pixels = _camera([*seeds, 1], joints, *size)
    return Filmed(
        name=name,
        dense=dense,
        actors=actors,
        rows=rows,
        camera=camera,
        joints=joints,
        near=near,
        pixels=pixels,
        points=_detected(rng, pixels),
        valid=np.ones((len(genders), length), np.int64),
    )


def images_of(actor: Actor, rows: Any) -> Actor:
    """The actor in some of the frames; ``rows`` is an index array or a slice."""
    pose = {name: values[rows] for name, values in actor.pose.items()}
    return replace(actor, pose=pose, expression=actor.expression[rows], transl=actor.transl[rows])


def grown(points: Array, by: float) -> tuple[Array, Array]:
    """Smallest and largest corner of the extent of points (..., K, 2), grown about its centre."""
    low, high = points.min(axis=-2), points.max(axis=-2)
    margin = (by - 1) / 2 * (high - low)
    return low - margin, high + margin


def write_pickle(path: Path, filmed: Filmed, seeds: Sequence[int], *, long_betas: bool) -> None:
    """Write the sequence in the words of the release.

    Args:
        path: the file.
        filmed: the sequence.
        seeds: source of clothes and textures, which mean nothing.
        long_betas: the first person's ``betas`` have 300 numbers, though ten made the body.
    """
    rng = np.random.default_rng([*seeds, 2])
    count, length = filmed.valid.shape
    matrix = np.diag([*filmed.camera.focal_length, 1.0])
    matrix[:2, 2] = filmed.camera.principal_point
    shapes = [actor.betas for actor in filmed.actors]
    if long_betas:
        shapes[0] = np.concatenate([shapes[0], rng.normal(0, 1, _MANY_BETAS - len(shapes[0]))])
    clothes, textures = np.empty(count, object), np.empty(count, object)
    for person in range(count):
        clothes[person] = rng.normal(0, 0.5, (12, 3))
        textures[person] = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    content = {
        "sequence": filmed.name,
        "genders": [actor.gender[0] for actor in filmed.actors],
        "betas": shapes,
        "betas_clothed": [rng.normal(0, 1, 10) for _ in shapes],
        "v_template_clothed": clothes,
        "texture_maps": textures,
        "poses": [_pose(actor) for actor in filmed.actors],
        "trans": [actor.transl for actor in filmed.actors],
        "poses_60Hz": [_pose(actor) for actor in filmed.dense],
        "trans_60Hz": [actor.transl for actor in filmed.dense],
        "img_frame_ids": filmed.rows,
        "jointPositions": [joints[:, :24].reshape(length, 72) for joints in filmed.joints],
        "poses2d": list(filmed.points),
        "cam_poses": filmed.camera.world_to_cam,
        "cam_intrinsics": matrix,
        "campose_valid": list(filmed.valid),
    }
    write_bytes(path, python2_pickle(content))


def _settled(rng: np.random.Generator, actor: Actor) -> Actor:
    """The actor where the people are; SMPL's last two joints, the hands, turn a little as well."""
    body = actor.pose["body_pose"].copy()
    body[:, 63:] = rng.uniform(-0.2, 0.2, 6)
    return replace(actor, pose={**actor.pose, "body_pose": body}, transl=actor.transl + _PLACE)


def _camera(seeds: Sequence[int], joints: Array, width: int, height: int) -> tuple[Camera, Array, Array]:
    """The nearest of ever more distant cameras whose pictures hold everybody's box.

    Returns:
        The camera; the joints (P, N, 45, 3) in its frame; their pixels (P, N, 45, 2).
    """
    distance = _NEAREST
    while True:
        rng = np.random.default_rng(seeds)
        angle = rng.uniform(-0.6, 0.6)
        camera = make_camera(
            rng,
            joints.shape[1],
            width=width,
            height=height,
            up=np.array([0.0, 1.0, 0.0]),
            front=np.array([np.sin(angle), 0.0, np.cos(angle)]),
            target=joints[:, :, 0].mean(axis=(0, 1)),
            distance=distance,
            moving=True,
            fps=_CAMERA_FPS,
        )
        turned = np.einsum("nij,pnkj->pnki", camera.world_to_cam[:, :3, :3], joints)
        near = turned + camera.world_to_cam[:, None, :3, 3]
        if near[..., 2].min() > 0.5:
            pixels = camera.focal_length * near[..., :2] / near[..., 2:] + camera.principal_point
            low, high = grown(pixels[..., :24, :], 1.2)
            # Boxes of that size exist and stay whole, so that clipping them changes nothing.
            if (low > 1).all() and (high < np.array([width, height]) - 2).all():
                return camera, near, pixels
        distance *= 1.08


def _detected(rng: np.random.Generator, pixels: Array) -> Array:
    """(P, N, 3, 18) of joints (P, N, 45, 2), as a detector finds them."""
    places = pixels[:, :, list(_POINTS)]
    shape = places.shape[:3]
    moved = np.moveaxis(places + rng.normal(0, 0.2, places.shape), -1, 0)
    found = np.stack([*moved, rng.uniform(0.2, 0.95, shape)], axis=2)
    # Never the first six: with fewer than that the release has no points at all.
    gone = (rng.uniform(0, 1, shape) < 0.15) & (np.arange(len(_POINTS)) >= 6)
    return np.where(gone[:, :, None], 0.0, found.round(4))


def _pose(actor: Actor) -> Array:
    return np.concatenate([actor.pose["global_orient"], actor.pose["body_pose"]], axis=1)
