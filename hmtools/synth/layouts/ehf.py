"""EHF in miniature: one subject, one picture and one registered mesh per frame.

Where the oddities are (frames are numbered from 0; they come again every 40):

=======  =============================================================================================
frame 0  the jpg shows another frame's number than the png: the png counts
frame 1  no ``NN_2Djnt.json``; the mesh is an ascii PLY
frame 2  a third of the person lies beyond the left edge
frame 3  ``people`` is empty in ``NN_2Djnt.json``; the mesh is a big-endian PLY
frame 4  no png, the jpg alone
frame 5  a second, false detection after the subject's
frame 6  the body box is empty and the frame must be left out (``osx`` only: the official tree has no boxes)
=======  =============================================================================================

``NN_align.ply`` holds float32 vertices in the scanner's world (y up, metres) and what is proven is what they
say: the joints are the neutral model's regressor times these vertices, up to 13 mm from the joints that posed
them. The jaw contour is NaN in the truth: it depends on the pose of the neck, which a mesh does not tell.
``NN_scan.obj`` is a handful of the vertices in another order. Pictures have the camera of the dataset, scaled
to their size and written to ``EHF_camera.txt``, one ``name: numbers`` per line::

    rotation: x y z                 axis-angle, world to camera
    translation: x y z              metres
    focal: f                        pixels, both axes
    principal_point: x y            pixels
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from hmtools.core.atomic import write_bytes, write_json, write_text
from hmtools.core.errors import UsageError
from hmtools.humandata.record import columns
from hmtools.synth.actors import Actor, make_actors, pose_actor
from hmtools.synth.cameras import Camera, View, see
from hmtools.synth.geometry_image import FIGURE_BLUE, FRAME_MODULUS, encode, encode_jpeg, encode_png
from hmtools.synth.layouts import Layout, Request
from hmtools.synth.openpose_labels import PARTS, detect, draw, openpose_points, people_json
from hmtools.synth.ply_file import PlyFormat, write_ply
from hmtools.synth.truth import ImageTruth, PersonTruth, write_truth

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hmtools.bodies.model import BodyModel

    Array = NDArray[np.float64]
    Pixels = NDArray[np.uint8]

__all__ = ["LAYOUT"]

_EVERY = 40
_QUIRKS: Mapping[int, tuple[str, ...]] = {
    0: ("jpg_differs",),
    1: ("no_openpose", "ascii_ply"),
    2: ("partly_outside",),
    3: ("nobody_detected", "big_endian_ply"),
    4: ("jpg_only",),
    5: ("false_detection",),
    6: ("empty_box",),
}
_WIDTH, _HEIGHT = 1600, 1200
_ROTATION = (-2.98747896, 0.01172457, -0.05704687)  # the published calibration of the 1600 x 1200 pictures
_TRANSLATION = (-0.03609917, 0.43416458, 2.37101226)
_FOCAL, _CENTRE = 1498.224, (790.263706, 578.90334)
_FPS = 0.6  # stills: far enough apart for poses of their own
_FORMS: Mapping[str, PlyFormat] = {"ascii_ply": "ascii", "big_endian_ply": "binary_big_endian"}
_BOXES = {"lhand_bbox_xywh": "lefthand", "rhand_bbox_xywh": "righthand", "face_bbox_xywh": "face"}
_PART_OF = {"lefthand": "hand_left", "righthand": "hand_right", "face": "face"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Frame:
    """One frame: what the files hold, and the camera's view of exactly that."""

    number: int
    name: str
    quirks: tuple[str, ...]
    world: NDArray[np.float32]
    view: View
    detections: tuple[Array, ...]
    labels: Mapping[str, Sequence[float]]


def _write(request: Request) -> None:
    from hmtools.bodies.assets import load_model, standin_dir

    below = "data/" if request.variant == "osx" else ""
    folder = request.root / below
    folder.mkdir(exist_ok=True)
    model = load_model("smplx", "neutral", roots=(standin_dir(),))
    camera = _camera(request.width, request.height)
    _write_camera(folder / "EHF_camera.txt", camera)
    (actor,) = make_actors(_rng(request), 1, request.frames, genders=("neutral",), up="+y", fps=_FPS)
    images, people, labels = [], [], []
    for number in range(request.frames):
        frame = _frame(request, number, actor, camera, model)
        file = below + _write_pictures(request, folder, frame, camera, model)
        _write_meshes(folder, frame, model)
        if "no_openpose" not in frame.quirks:
            write_text(folder / f"{frame.name}_2Djnt.json", json.dumps(people_json(frame.detections)))
        images.append(_image_truth(request, frame, file))
        people.append(_person_truth(request, frame, file, camera))
        labels.append(frame.labels)
        request.advance()
    if request.variant == "osx":
        _write_boxes(request, folder / "EHF.json", images, labels)
    write_truth(request.root, LAYOUT.name, request.seed, images, people)


def _rng(request: Request, *purpose: int) -> np.random.Generator:
    return np.random.default_rng([request.seed, *purpose])


def _camera(width: int, height: int) -> Camera:
    """The dataset's camera for a smaller or larger picture; one of another shape shows more at its sides."""
    scale = min(width / _WIDTH, height / _HEIGHT)
    border = (np.array([width, height]) - scale * np.array([_WIDTH, _HEIGHT])) / 2
    # Pixel centres are integers, so it is the corners at -0.5 that stay in place.
    centre = np.round((np.array(_CENTRE) + 0.5) * scale - 0.5 + border, 9)
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(_ROTATION).as_matrix()
    matrix[:3, 3] = _TRANSLATION
    return Camera(
        model="pinhole",
        focal_length=np.round(np.full(2, _FOCAL * scale), 9),
        principal_point=centre,
        distortion=np.zeros(0),
        width=width,
        height=height,
        world_to_cam=matrix[None],
    )


def _write_camera(path: Path, camera: Camera) -> None:
    rows = {
        "rotation": _ROTATION,
        "translation": _TRANSLATION,
        "focal": camera.focal_length[:1].tolist(),
        "principal_point": camera.principal_point.tolist(),
    }
    lines = (f"{name}: {' '.join(map(repr, numbers))}\n" for name, numbers in rows.items())
    write_text(path, "".join(lines))


def _frame(request: Request, number: int, actor: Actor, camera: Camera, model: BodyModel) -> _Frame:
    quirks = _QUIRKS.get(number % _EVERY, ())
    if request.variant != "osx":
        quirks = tuple(quirk for quirk in quirks if quirk != "empty_box")
    rng = _rng(request, 1, number)
    posed = pose_actor(_still(actor, number))
    to_world = _place(rng, posed.vertices[0], camera, outside=0.34 if "partly_outside" in quirks else 0.0)
    world = _moved(posed.vertices[0], to_world).astype(np.float32)
    contour = _moved(posed.joints[0, 127:], to_world)
    joints = np.concatenate([_mesh_joints(model, world.astype(np.float64)), contour])
    view = see(world.astype(np.float64), joints, camera, 0)
    points = openpose_points(view.joints2d)
    found = [detect(rng, points, camera.width, camera.height, 0.001 * camera.height)]
    if "false_detection" in quirks:
        aside = 0.6 * points + 0.2 * np.array([camera.width, camera.height])
        found.append(detect(rng, aside, camera.width, camera.height, 0.001 * camera.height))
    return _Frame(
        number=number,
        name=f"{number + 1:02d}",
        quirks=quirks,
        world=world,
        view=view,
        detections=() if "nobody_detected" in quirks else tuple(found),
        labels=_labels(view.pixels, points, camera, empty="empty_box" in quirks),
    )


def _still(actor: Actor, number: int) -> Actor:
    one = slice(number, number + 1)
    pose = {name: values[one] for name, values in actor.pose.items()}
    return replace(actor, pose=pose, expression=actor.expression[one], transl=actor.transl[one])


def _place(rng: np.random.Generator, vertices: Array, camera: Camera, *, outside: float) -> Array:
    """(4, 4) movement, without a turn, of an upright body to where it fills the picture.

    Args:
        rng: source of size and place.
        vertices: (V, 3) metres, y up.
        camera: the camera.
        outside: part of the body's width beyond the left edge of the picture.
    """
    matrix, focal = camera.world_to_cam[0], camera.focal_length
    size = np.array([camera.width, camera.height])
    fill, aside = rng.uniform(0.76, 0.86), rng.uniform(-0.03, 0.03, 2) * size
    start = _moved(vertices, matrix)
    step = np.eye(4)
    step[2, 3] = 3.0 - start[:, 2].mean()
    for _ in range(6):  # nearer parts look larger: each round leaves a tenth of the error
        points = _moved(start, step)
        pixels = focal * points[:, :2] / points[:, 2:] + camera.principal_point
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        centre = (size - 1) / 2 + aside
        if outside:
            centre[0] = (0.5 - outside) * (high - low)[0]
        depth = points[:, 2].mean()
        step[:2, 3] += (centre - (low + high) / 2) * depth / focal
        step[2, 3] += depth * (((high - low) / (fill * size)).max() - 1)
    found: Array = np.linalg.inv(matrix) @ step @ matrix
    return found


def _moved(points: Array, matrix: Array) -> Array:
    found: Array = points @ matrix[:3, :3].T + matrix[:3, 3]
    return found


def _mesh_joints(model: BodyModel, vertices: Array) -> Array:
    """(127, 3) of smplx_144's joints that a mesh determines: 55 regressed, 21 vertices, 51 landmarks."""
    from hmtools.humandata.keypoints import SMPLX_VERTEX_IDS

    if model.landmark_faces is None or model.landmark_bary is None:
        raise UsageError(f"{model.path} has no face landmarks; make the stand-in body again")
    corners = vertices[model.faces[model.landmark_faces]]
    marks = np.einsum("lcx,lc->lx", corners, np.asarray(model.landmark_bary, np.float64))
    return np.concatenate(
        [model.joint_regressor @ vertices, vertices[list(SMPLX_VERTEX_IDS.values())], marks]
    )


def _labels(pixels: Array, points: Array, camera: Camera, *, empty: bool) -> dict[str, list[float]]:
    """Boxes of EHF.json, xywh; zeros for what the picture does not show."""
    found = {"body_bbox": [0.0] * 4 if empty else _box(pixels, camera, 1.0)}
    for name, part in _PART_OF.items():
        found[f"{name}_bbox"] = _box(points[PARTS[part]], camera, 1.3)
    return {name: [round(number, 3) for number in box] for name, box in found.items()}


def _box(points: Array, camera: Camera, grow: float) -> list[float]:
    """Extent of points, times ``grow`` about its centre, cut at the picture's edges; zeros when outside."""
    low, high = points.min(axis=0), points.max(axis=0)
    margin = (grow - 1) / 2 * (high - low)
    low = np.maximum(low - margin, -0.5)
    high = np.minimum(high + margin, np.array([camera.width, camera.height]) - 0.5)
    return [0.0] * 4 if (high <= low).any() else [*low.tolist(), *(high - low).tolist()]


def _write_pictures(request: Request, folder: Path, frame: _Frame, camera: Camera, model: BodyModel) -> str:
    """Write png, jpg and the picture of the detections; return the name of the one that counts."""
    shape = _silhouette(frame.view.pixels, model.faces, camera)

    @cache
    def drawn(number: int) -> Pixels:
        if request.render:
            from hmtools.synth.picture import backdrop, paint_people

            wall = backdrop(_rng(request, 2, number), camera.width, camera.height)
            person = frame.view.vertices, model.faces, camera.focal_length, camera.principal_point
            return paint_people(wall, [person])
        image = encode(camera.width, camera.height, number)
        image[..., 2][shape] = FIGURE_BLUE
        return image

    other = frame.number + ("jpg_differs" in frame.quirks) * FRAME_MODULUS // 2
    names = {"jpg": f"{frame.name}_img.jpg", "png": f"{frame.name}_img.png"}
    write_bytes(folder / names["jpg"], encode_jpeg(drawn(other)))
    if "jpg_only" not in frame.quirks:
        write_bytes(folder / names["png"], encode_png(drawn(frame.number)))
    if "no_openpose" not in frame.quirks:
        picture = drawn(frame.number).copy()
        draw(picture, frame.detections)
        write_bytes(folder / f"{frame.name}_2Djnt.png", encode_png(picture))
    return names["jpg" if "jpg_only" in frame.quirks else "png"]


def _silhouette(pixels: Array, faces: NDArray[np.int64], camera: Camera) -> NDArray[np.bool_]:
    import cv2

    mask = np.zeros((camera.height, camera.width), np.uint8)
    for triangle in np.rint(16 * pixels[faces]).astype(np.int32):
        cv2.fillConvexPoly(mask, triangle, 1, shift=4)
    return mask > 0


def _write_meshes(folder: Path, frame: _Frame, model: BodyModel) -> None:
    forms = [_FORMS[quirk] for quirk in frame.quirks if quirk in _FORMS]
    write_ply(folder / f"{frame.name}_align.ply", frame.world, model.faces, *forms)
    order = np.random.default_rng(frame.number).permutation(len(frame.world))[:60]
    rows = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in frame.world[order].tolist()]
    rows += [f"f {first} {first + 1} {first + 2}" for first in range(1, 59, 3)]
    write_text(folder / f"{frame.name}_scan.obj", "\n".join(rows) + "\n")


def _image_truth(request: Request, frame: _Frame, file: str) -> ImageTruth:
    return ImageTruth(
        split="test",
        file=file,
        source_id=frame.name,
        frame=frame.number,
        width=request.width,
        height=request.height,
        colour=not request.render,
        people=1,
    )


def _person_truth(request: Request, frame: _Frame, file: str, camera: Camera) -> PersonTruth:
    undetected = bool({"no_openpose", "nobody_detected"} & set(frame.quirks))
    joints = frame.view.joints.copy()
    joints[127:] = np.nan
    return PersonTruth(
        split="test",
        file=file,
        source_id=frame.name,
        columns={
            **_CONSTANT,
            "frame": frame.number,
            "source_frame": frame.name,
            "image_path": file,
            "width": request.width,
            "height": request.height,
            "keypoints2d_original": None if undetected else frame.detections[0],
            **dict(_boxes(request, frame, camera)),
            "focal_length": camera.focal_length,
            "principal_point": camera.principal_point,
            "world_to_cam": camera.world_to_cam[0, :3],
        },
        family="smplx",
        joints=joints,
        vertices=frame.view.vertices.astype(np.float32),
        rejected="the body box is empty" if "empty_box" in frame.quirks else None,
        quirks=frame.quirks,
    )


def _boxes(request: Request, frame: _Frame, camera: Camera) -> Iterator[tuple[str, list[float] | None]]:
    """Boxes of the record; what stands in no file is made of the mesh (body) or not said here (parts)."""
    if request.variant != "osx":
        yield "bbox_xywh", [*_box(frame.view.pixels, camera, 1.2), 1.0]
        return
    for column, name in {"bbox_xywh": "body", **_BOXES}.items():
        box = frame.labels[f"{name}_bbox"]
        yield column, [*box, 1.0] if box[2] * box[3] > 0 else None


def _write_boxes(
    request: Request,
    path: Path,
    images: Sequence[ImageTruth],
    labels: Sequence[Mapping[str, Sequence[float]]],
) -> None:
    """Write EHF.json: ids that are no positions, annotations in another order than their images."""
    rng = _rng(request, 2)
    image_ids, ids = (rng.permutation(1000 + 3 * len(images))[: len(images)].tolist() for _ in range(2))
    rows = [
        {
            "id": image_ids[number],
            # Every other one names the jpg, of which the png beside it is the lossless copy.
            "file_name": f"{image.source_id}_img.jpg" if number % 2 == 0 else image.file.rpartition("/")[2],
            "height": image.height,
            "width": image.width,
        }
        for number, image in enumerate(images)
    ]
    boxes = [
        {"id": ids[number], "image_id": image_ids[number], **labels[number]}
        for number in rng.permutation(len(images)).tolist()
    ]
    write_json(path, {"images": rows, "annotations": boxes})


_CONSTANT = {
    "sequence": "test",
    "person": 0,
    "image_op": "none",
    "camera_model": "pinhole",
    "camera_kind": "real",
    "distortion": None,
    "gender": "neutral",
    "valid_smplx": False,
    **dict.fromkeys(("fps", "track_id", "video_frame", "kid", "betas_neutral")),
    **dict.fromkeys(column.name for column in columns() if column.name.startswith("smplx_")),
}
"""Columns that are the same in every record: a mesh has no parameters."""

LAYOUT = Layout(
    name="ehf",
    title="EHF (Expressive Hands and Faces)",
    splits=("test",),
    default_splits=("test",),
    variants=("flat", "osx"),
    write=_write,
    people=(1, 1),
)
"""EHF; the variant ``osx`` keeps the files in ``data/`` with boxes in ``EHF.json``."""
