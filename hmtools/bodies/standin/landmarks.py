"""Face landmarks of the stand-in: 51 fixed points and the contour of jaw and cheeks for every head yaw.

**Sign of the yaw, said once.** Row i of the contour tables is what the smplx package reads for a head turned
by -i degrees about y (to the person's right) for i up to 39, and by i - 39 degrees (to its left) from 40 on.
The head is seen from the front: from +z, with y up. A head turned to its left shows its right cheek; on the
left, the far side, the contour moves in to the silhouette. The package measures the turn of the whole chain
from the root to the neck, so in a camera frame with y down, where the root holds half a turn about x, it
reads the row of the opposite turn.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from hmtools.bodies.standin.anatomy import joint_names
from hmtools.bodies.standin.expressions import face_anchors
from hmtools.bodies.standin.person import Person
from hmtools.humandata.conventions import CONVENTIONS

__all__ = ["CONTOUR_ROWS", "contour_landmarks", "contour_yaw_deg", "face_landmarks", "head_faces"]

CONTOUR_ROWS = 79
"""Rows of the contour tables: 0 to 39 degrees to the right, then 1 to 39 to the left."""

# Left half of the face: landmark without side -> anchor, x from the plane of symmetry, y from the anchor (m).
_LEFT_FACE: dict[str, tuple[str, float, float]] = {
    **{"eyebrow_1": ("eye", 0.0520, 0.0125), "eyebrow_2": ("eye", 0.0445, 0.0180)},
    **{"eyebrow_3": ("eye", 0.0345, 0.0205), "eyebrow_4": ("eye", 0.0245, 0.0200)},
    **{"eyebrow_5": ("eye", 0.0145, 0.0165)},
    **{"nose_1": ("nose", 0.0065, -0.0105), "nose_2": ("nose", 0.0130, -0.0070)},
    **{"eye_1": ("eye", 0.0445, 0.0000), "eye_2": ("eye", 0.0375, 0.0058), "eye_3": ("eye", 0.0260, 0.0058)},
    **{
        "eye_4": ("eye", 0.0185, -0.0010),
        "eye_5": ("eye", 0.0260, -0.0062),
        "eye_6": ("eye", 0.0375, -0.0062),
    },
    **{"mouth_1": ("mouth", 0.0245, 0.0000), "mouth_2": ("mouth", 0.0160, 0.0075)},
    **{"mouth_3": ("mouth", 0.0070, 0.0098), "mouth_4": ("mouth", 0.0080, -0.0115)},
    **{"mouth_5": ("mouth", 0.0165, -0.0090)},
    **{
        "lip_1": ("mouth", 0.0205, 0.0000),
        "lip_2": ("mouth", 0.0090, 0.0025),
        "lip_3": ("mouth", 0.0090, -0.0025),
    },
}
_MIDDLE_FACE: dict[str, tuple[str, float]] = {
    **{"nosebridge_1": ("eye", 0.0040), "nosebridge_2": ("eye", -0.0100), "nosebridge_3": ("nose", 0.0150)},
    **{"nosebridge_4": ("nose", 0.0020), "nose_middle": ("nose", -0.0120), "mouth_top": ("mouth", 0.0088)},
    **{"mouth_bottom": ("mouth", -0.0122), "lip_top": ("mouth", 0.0025), "lip_bottom": ("mouth", -0.0025)},
}

# Contour, ear to chin, of the left side: azimuth from the front and elevation, degrees, seen from the head's
# middle; the last one is the chin itself.
_CONTOUR: tuple[tuple[float, float], ...] = (
    *((82.0, 22.0), (80.0, 6.0), (77.0, -9.0), (72.0, -22.0), (64.0, -29.0)),
    *((52.0, -35.0), (36.0, -41.0), (18.0, -45.0), (0.0, -46.5)),
)
_AZIMUTH_STEP_DEG = 1.0
_EDGE = 1e-9  # lines in the plane of symmetry run along edges; rounding must not let them slip between faces


def head_faces(person: Person) -> Int[np.ndarray, " faces"]:
    """Faces of the skin of head, jaw and neck: no eyeballs, nothing that is mostly trunk."""
    names = joint_names(person.family)
    allowed = person.weights[:, [names.index(n) for n in ("head", "jaw", "neck") if n in names]].sum(axis=1)
    return np.flatnonzero(np.all(allowed[person.faces] > 0.5, axis=1))


def _cast(
    origins: NDArray[np.float64], directions: NDArray[np.float64], corners: NDArray[np.float64], last: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """First or last hit of each ray with triangles (F, 3, 3): row of the triangle, weights, distance."""
    edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    face = np.zeros(len(origins), dtype=np.int64)
    weights, reach = np.zeros((len(origins), 3)), np.zeros(len(origins))
    for i, (origin, direction) in enumerate(zip(origins, directions, strict=True)):
        across = np.cross(direction, edge2)
        volume = np.sum(edge1 * across, axis=1)
        volume = np.where(np.abs(volume) < 1e-16, np.inf, volume)
        start = origin - corners[:, 0]
        u = np.sum(start * across, axis=1) / volume
        turned = np.cross(start, edge1)
        v = turned @ direction / volume
        t = np.sum(edge2 * turned, axis=1) / volume
        hit = np.flatnonzero((np.minimum(u, v) >= -_EDGE) & (u + v <= 1 + _EDGE) & (t > 0))
        if not len(hit):
            raise RuntimeError(f"a line through the stand-in's head at {origin} misses it: a bug of hmtools")
        best = hit[np.argmax(t[hit]) if last else np.argmin(t[hit])]
        inside = np.clip([1 - u[best] - v[best], u[best], v[best]], 0.0, 1.0)
        face[i], weights[i], reach[i] = best, inside / inside.sum(), t[best]
    return face, weights, reach


def _face_targets(person: Person) -> NDArray[np.float64]:
    """(51, 2): x and y of each landmark in the person's frame."""
    at = face_anchors(person)
    rows = []
    for name in CONVENTIONS["smplx_144"].names[76:127]:
        side, _, plain = name.partition("_")
        if name in _MIDDLE_FACE:
            anchor, up = _MIDDLE_FACE[name]
            rows.append((0.0, at[anchor][1] + up))
        else:
            anchor, out, up = _LEFT_FACE[plain]
            rows.append((out if side == "left" else -out, at[anchor][1] + up))
    return np.array(rows)


def face_landmarks(person: Person) -> tuple[Int[np.ndarray, 51], Float[np.ndarray, "51 3"]]:
    """The 51 fixed landmarks: where lines from the front first meet the skin of the face.

    Args:
        person: the neutral SMPL-X person; the result serves every gender, for the mesh is the same.

    Returns:
        Faces of the mesh and barycentric coordinates, in the order of smplx_144, joints 76 to 126.
    """
    allowed = head_faces(person)
    places = _face_targets(person)
    origins = np.column_stack([places, np.full(len(places), person.joints[:, 2].max() - 1.0)])
    forward = np.broadcast_to([0.0, 0.0, 1.0], origins.shape)
    # from behind to the front, so the last hit is the one that a viewer in front sees first
    face, weights, _ = _cast(origins, forward, person.vertices[person.faces[allowed]], last=True)
    return allowed[face], weights


def contour_yaw_deg() -> Float[np.ndarray, 79]:
    """Head yaw of each row of the contour tables, degrees about y, positive to the person's left."""
    rows = np.arange(CONTOUR_ROWS)
    return np.where(rows <= 39, -rows, rows - 39).astype(np.float64)


def contour_landmarks(person: Person) -> tuple[Int[np.ndarray, "79 17"], Float[np.ndarray, "79 17 3"]]:
    """The jaw contour for every head yaw, right ear over the chin to the left ear.

    On the far side each point is the outermost one, as the viewer sees it, among those at its elevation
    between the front and its place in a frontal view; on the near side it stays where it is then.

    Args:
        person: the neutral SMPL-X person.

    Returns:
        Faces of the mesh and barycentric coordinates, in the order of smplx_144, joints 127 to 143.
    """
    allowed = head_faces(person)
    corners = person.vertices[person.faces[allowed]]
    at = face_anchors(person)
    middle = np.array([0.0, at["mouth"][1] + 0.012, at["eye"][2] - 0.065])
    order = [(-1.0, k) for k in range(8)] + [(1.0, k) for k in range(8, -1, -1)]
    faces = np.empty((CONTOUR_ROWS, 17), dtype=np.int64)
    weights = np.empty((CONTOUR_ROWS, 17, 3))
    yaw = np.radians(contour_yaw_deg())
    for column, (side, k) in enumerate(order):
        azimuth = np.radians(np.append(np.arange(0.0, _CONTOUR[k][0], _AZIMUTH_STEP_DEG), _CONTOUR[k][0]))
        up = np.radians(_CONTOUR[k][1])
        rays = np.stack(
            [
                side * np.cos(up) * np.sin(azimuth),
                np.full_like(azimuth, np.sin(up)),
                np.cos(up) * np.cos(azimuth),
            ],
            axis=1,
        )
        face, bary, reach = _cast(np.broadcast_to(middle, rays.shape), rays, corners, last=False)
        points = rays * reach[:, None]
        # seen from +z after a turn by yaw about y, the horizontal coordinate is x cos + z sin
        outward = side * (np.outer(np.cos(yaw), points[:, 0]) + np.outer(np.sin(yaw), points[:, 2]))
        far = side * yaw > 0
        pick = np.where(far, np.argmax(outward, axis=1), len(azimuth) - 1)
        faces[:, column], weights[:, column] = allowed[face[pick]], bary[pick]
    return faces, weights
