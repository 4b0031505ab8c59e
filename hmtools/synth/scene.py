"""People of a still image: stand-in bodies, each in front of a virtual pinhole of their own.

A person stands upright in the frame of an OpenCV camera and faces it, so their left side has the larger x.
Pixels are those of the upright image, centres at integers. The points of a figure come in the order of the
133 COCO-WholeBody keypoints: body 17, feet 6, face 68, left hand 21, right hand 21.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from hmtools.humandata.keypoints import bones, convention
from hmtools.synth.cameras import Camera, View, see

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hmtools.synth.actors import Posed

    Points = NDArray[np.float64]

__all__ = ["BODY", "FACE", "FEET", "LEFT_HAND", "RIGHT_HAND", "Figure", "make_figure", "paint"]

BODY, FEET, FACE = slice(0, 17), slice(17, 23), slice(23, 91)
LEFT_HAND, RIGHT_HAND = slice(91, 112), slice(112, 133)

_CROP = np.array([192.0, 256.0])  # width and height of the crops that the fits were made on, pixels
_CROP_FOCAL = 5000.0  # focal length in them, pixels
_CROP_MARGIN = 1.25  # a crop's height over the box's, once the box is grown to 3:4
_STEPS = 3  # of placing: each leaves a few hundredths of the error
_DIGITS = 6  # of a translation in metres, as a file has them

_FLESH = {
    **{"head": 0.09, "eyeball": 0.085, "neck": 0.05, "collar": 0.06, "shoulder": 0.06, "spine": 0.12},
    **{"elbow": 0.045, "wrist": 0.035, "pelvis": 0.13, "hip": 0.08, "knee": 0.06, "ankle": 0.045},
    **{"foot": 0.04, "heel": 0.03},
}
"""Joint -> metres of flesh around it, for people whose surface is not made."""
_THIN = 0.012  # metres around fingers, toes and points of the face


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Figure:
    """One person in one image.

    Attributes:
        points: (133, 2) whole-body keypoints, pixels.
        outline: (M, 2) convex outline of the body, pixels; it may leave the image.
        transl: (3,) metres: how far the posed body was moved.
        focal_length: (2,) pixels, of the person's own pinhole in the whole image.
        principal_point: (2,) pixels.
        view: joints, and vertices if there are any, in metres in the camera frame and in pixels.
        faces: (F, 3) triangles of the vertices.
    """

    points: Points
    outline: Points
    transl: Points
    focal_length: Points
    principal_point: Points
    view: View
    faces: NDArray[np.int64]


def make_figure(
    rng: np.random.Generator,
    posed: Posed,
    width: int,
    height: int,
    *,
    slot: int = 0,
    slots: int = 1,
    overhang: float = 0.0,
) -> Figure:
    """Place one posed person in an image.

    Args:
        rng: source of size and place.
        posed: an SMPL-X body without translation, upright in the camera frame; its first frame is taken.
        width: image width in pixels.
        height: image height in pixels.
        slot: which of ``slots`` equal columns of the image the person stands in.
        slots: number of people who share the image; more than three get smaller.
        overhang: part of the person's width that lies beyond the left image edge, 0 to 1; at 0 the whole
            figure is inside the image.

    Returns:
        The figure; the same state of ``rng`` gives the same figure.
    """
    vertices, joints = posed.vertices[0], posed.joints[0]
    cloud = vertices if len(vertices) else _fleshed(joints)
    stretch = np.array([1.0, rng.uniform(0.98, 1.02)])  # the two focal lengths of a fit differ a little
    metres = np.ptp(cloud[:, :2], axis=0) * stretch
    room = np.array([width, height], dtype=np.float64)
    wanted = rng.uniform(0.5, 0.88) * height * min(1.0, (3 / slots) ** 0.5)
    size = metres * min(wanted / metres[1], *(0.9 * room / metres))
    column = (slot + 0.5 + rng.uniform(-0.2, 0.2)) / slots * width
    centre = np.array([column, rng.uniform(0.4, 0.65) * height])
    margin = 0.04 * room
    corner = np.clip(centre - size / 2, margin, room - 1 - margin - size)
    if overhang:
        corner[0] = -overhang * size[0]
    camera = _camera(rng, corner, size, stretch, width, height)
    transl = _place(cloud, corner, size, camera)
    view = see(vertices + transl, joints + transl, camera)
    outline = _hull(see(cloud[:0], cloud + transl, camera).joints2d)
    return Figure(
        points=view.joints2d[_whole_body()],
        outline=outline,
        transl=transl,
        focal_length=camera.focal_length,
        principal_point=camera.principal_point,
        view=view,
        faces=posed.faces,
    )


def paint(plane: NDArray[np.uint8], figures: Iterable[Figure], level: int) -> None:
    """Draw figures into one image channel, in place: their surface, or limbs where there is none.

    Args:
        plane: (H, W) uint8, C-contiguous.
        figures: the people, back to front.
        level: the value that their pixels get.
    """
    import cv2

    for figure in figures:
        if not len(figure.view.vertices):
            _paint_limbs(plane, figure, level)
            continue
        corners = figure.view.pixels[figure.faces]
        along, across = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        front = along[:, 0] * across[:, 1] < along[:, 1] * across[:, 0]  # these alone cover the silhouette
        for triangle in np.rint(corners[front]).astype(np.int32):
            cv2.fillConvexPoly(plane, triangle, level)


def _paint_limbs(plane: NDArray[np.uint8], figure: Figure, level: int) -> None:
    import cv2

    view, flesh = figure.view, _thickness()
    scale = float((figure.focal_length / view.joints[0, 2]).mean())  # pixels per metre
    pixels = np.rint(view.joints2d).astype(np.int32).tolist()
    cv2.fillConvexPoly(plane, cv2.convexHull(np.rint(figure.points[FACE]).astype(np.int32)), level)
    for pixel, metres in zip(pixels, flesh.tolist(), strict=True):
        cv2.circle(plane, pixel, max(1, int(metres * scale)), level, -1)
    for first, second in bones("smplx_144"):
        thick = max(1, int(2 * scale * min(flesh[first], flesh[second])))
        cv2.line(plane, pixels[first], pixels[second], level, thick)


@cache
def _whole_body() -> NDArray[np.int64]:
    """(133,) rows of smplx_144; a hand's root is the wrist."""
    names, joints = convention("coco_wholebody_133").names, convention("smplx_144")
    return np.array([joints.index(name.replace("_hand_root", "_wrist")) for name in names])


@cache
def _thickness() -> Points:
    """(144,) metres of flesh around each joint of smplx_144."""

    def of(name: str) -> float:
        word = name.removeprefix("left_").removeprefix("right_").partition("_")[0]
        return _FLESH.get(word, _THIN)

    return np.array([of(name) for name in convention("smplx_144").names])


def _fleshed(joints: Points) -> Points:
    """(8 K, 3) points around joints (K, 3), in the plane of the image."""
    angles = np.arange(8) * np.pi / 4
    circle = np.stack([np.cos(angles), np.sin(angles), np.zeros(8)], axis=1)
    cloud: Points = (joints[:, None] + _thickness()[:, None, None] * circle).reshape(-1, 3)
    return cloud


def _camera(
    rng: np.random.Generator, corner: Points, size: Points, stretch: Points, width: int, height: int
) -> Camera:
    """A pinhole as fits on crops have it, carried over to the whole image.

    Its focal length belongs to a crop around the person, so a person is tens of metres away whatever their
    size, and nobody's depth can be compared with anybody else's.
    """
    scale = _CROP_MARGIN * max(size / _CROP)
    focal = _CROP_FOCAL * scale * stretch
    centre = corner + size / 2 + rng.uniform(-0.04, 0.04, 2) * size
    return Camera(
        model="pinhole",
        focal_length=focal.round(4),
        principal_point=centre.round(4),
        distortion=np.zeros(0),
        width=width,
        height=height,
        world_to_cam=np.eye(4)[None],
    )


def _place(cloud: Points, corner: Points, size: Points, camera: Camera) -> Points:
    """(3,) translation with which points fill the box at ``corner`` of ``size`` in the wider direction."""
    focal, centre = camera.focal_length, camera.principal_point
    metres = np.ptp(cloud[:, :2], axis=0)
    transl = np.array([0.0, 0.0, (focal * metres / size).max()])

    def shown() -> Points:
        moved = cloud + transl
        pixels: Points = focal * moved[:, :2] / moved[:, 2:] + centre
        return pixels

    for _ in range(_STEPS):
        transl[2] *= (np.ptp(shown(), axis=0) / size).max()
        transl[:2] += (corner - shown().min(axis=0)) * transl[2] / focal
    return transl.round(_DIGITS)


def _hull(pixels: Points) -> Points:
    import cv2

    found: Points = cv2.convexHull(pixels.astype(np.float32))[:, 0].astype(np.float64)
    return found
