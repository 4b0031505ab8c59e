"""3DPW in miniature: sequences of one or two people before a moving camera, in pickles of Python 2.

A split has two sequences that share its images: a portrait one with as many people as asked, and a landscape
one with a single person. Where the oddities are (images of a sequence are numbered from 0; they come again
every 40):

==========================  ==================================================================================
portrait, first person      ``betas`` holds 300 numbers, of which the first ten made the body
portrait, image 1           ``campose_valid`` is 0 for the last person, who must be left out
landscape, image 0          ``poses2d`` of the person is all zero: nothing was detected
landscape, image 1          the json does not list the person (variants with a json)
==========================  ==================================================================================

``poses`` and ``trans`` have one row per image; ``poses_60Hz`` and
``trans_60Hz`` are longer and begin earlier, ``img_frame_ids`` tells the rows of the images. 2D points are
3 x 18, missing ones zero. Clothes and textures are there, a handful of numbers each, partly in arrays of
objects.

The json of the variants has ids that are no positions, people in reverse order, boxes of its own, and
parameters in the camera frame: they are not moved by a formula but solved for on the posed body. Its fits
in SMPL-X have neither hands nor a face, which is why nothing is said of fingers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hmtools.core.atomic import write_bytes
from hmtools.synth.actors import pose_actors
from hmtools.synth.cameras import View, see
from hmtools.synth.geometry_image import FIGURE_BLUE, MIN_SIDE, encode, encode_jpeg
from hmtools.synth.layouts import Layout, Request
from hmtools.synth.pw3d_json import Listed, list_people, write_listed
from hmtools.synth.pw3d_sequence import FPS, Filmed, film, grown, images_of, write_pickle
from hmtools.synth.truth import MESHES, ImageTruth, PersonTruth, write_truth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hmtools.bodies.model import Gender

    Seen = tuple[View, NDArray[np.int64]]  # a person, and the faces of their mesh

__all__ = ["LAYOUT"]

_EVERY = 40
_NO_CAMERA, _NO_POINTS, _NOT_LISTED = (0, 1), (1, 0), (1, 1)  # sequence of the split, image modulo _EVERY
_NAMES = "courtyard_talking", "street_walking"
_GENDERS: Sequence[Sequence[Gender]] = (("male", "female"), ("female",))
_SPLITS = ("train", "validation", "test")
_BOX = 1.2


def _write(request: Request) -> None:
    images: list[ImageTruth] = []
    people: list[PersonTruth] = []
    (request.root / "imageFiles").mkdir()
    for split in request.splits:
        (request.root / "sequenceFiles" / split).mkdir(parents=True)
        ids = np.random.default_rng(_seeds(request, split, 9)).permutation(1000 + 9 * request.frames).tolist()
        listed = []
        for number in range(min(2, request.frames)):
            filmed = _filmed(request, split, number)
            (request.root / "imageFiles" / filmed.name).mkdir()
            own = None if request.variant == "official" else _listed(request, split, number, filmed, ids)
            listed += [own] if own else []
            for frame in range(len(filmed.rows)):
                views = _views(filmed, frame)
                images.append(_image(request, split, filmed, frame, views))
                found = _people(filmed, images[-1], views, own)
                if own and request.variant == "neuralannot":
                    found = _refitted(found, own, frame)
                kept = len(people) < MESHES  # the truth keeps no more meshes: nor does memory
                people += found if kept else [replace(person, vertices=None) for person in found]
                request.advance()
        if listed:
            write_listed(request.root, split, listed)
    write_truth(request.root, LAYOUT.name, request.seed, images, people)


def _seeds(request: Request, split: str, *purpose: int) -> tuple[int, ...]:
    """Independent of which other splits are made, so that a split is always the same."""
    return (request.seed, _SPLITS.index(split), *purpose)


def _filmed(request: Request, split: str, number: int) -> Filmed:
    """Film one of the split's two sequences and write its pickle."""
    short, long = sorted((request.width, request.height))
    if short == long:  # neither portrait nor landscape
        short = max(MIN_SIDE, round(0.75 * long))
    length = (request.frames + 1 - number) // 2
    genders = _GENDERS[number][: request.people]
    seeds = _seeds(request, split, number)
    name = f"{_NAMES[number]}_{_SPLITS.index(split):02d}"
    filmed = film(seeds, name, genders, length, (long, short) if number else (short, long))
    filmed.valid[-1, _odd(_NO_CAMERA, number, length)] = 0
    filmed.points[:, _odd(_NO_POINTS, number, length)] = 0
    path = request.root / "sequenceFiles" / split / f"{name}.pkl"
    write_pickle(path, filmed, seeds, long_betas=number == 0)
    return filmed


def _odd(place: tuple[int, int], number: int, length: int) -> NDArray[np.int64]:
    """Images of a sequence that have an oddity."""
    frames = np.arange(length) % _EVERY == place[1]
    return np.flatnonzero(frames & (number == place[0]))


def _listed(request: Request, split: str, number: int, filmed: Filmed, ids: list[int]) -> Listed:
    there = filmed.valid > 0
    there[:, _odd(_NOT_LISTED, number, len(filmed.rows))] = False
    return list_people(_seeds(request, split, number, 3), ids, filmed, there)


def _views(filmed: Filmed, frame: int) -> list[Seen]:
    posed = pose_actors([images_of(actor, slice(frame, frame + 1)) for actor in filmed.actors])
    return [(see(p.vertices[0], p.joints[0], filmed.camera, frame), p.faces) for p in posed]


def _image(request: Request, split: str, filmed: Filmed, frame: int, views: Sequence[Seen]) -> ImageTruth:
    """Write one jpg."""
    camera = filmed.camera
    if request.render:
        from hmtools.synth.picture import backdrop, paint_people

        wall = backdrop(np.random.default_rng(request.seed), camera.width, camera.height)
        lens = camera.focal_length, camera.principal_point
        pixels = paint_people(wall, [(view.vertices, faces, *lens) for view, faces in views])
    else:
        pixels = encode(camera.width, camera.height, frame)
        pixels[..., 2] = _silhouettes(pixels[..., 2].copy(), views)
    file = f"imageFiles/{filmed.name}/image_{frame:05d}.jpg"
    write_bytes(request.root / file, encode_jpeg(pixels))
    return ImageTruth(
        split=split,
        file=file,
        source_id=f"{filmed.name}/image_{frame:05d}",
        frame=frame,
        width=camera.width,
        height=camera.height,
        colour=not request.render,
        people=len(views),
    )


def _silhouettes(plane: NDArray[np.uint8], views: Sequence[Seen]) -> NDArray[np.uint8]:
    import cv2

    for view, faces in views:
        for triangle in np.rint(view.pixels[faces]).astype(np.int32):
            cv2.fillConvexPoly(plane, triangle, FIGURE_BLUE)
    return plane


def _people(
    filmed: Filmed, image: ImageTruth, views: Sequence[Seen], listed: Listed | None
) -> list[PersonTruth]:
    """The people of one image, in SMPL."""
    frame, camera = image.frame, filmed.camera
    found = []
    for person, (view, _) in enumerate(views):
        actor, points = filmed.actors[person], filmed.points[person, frame].T
        low, high = grown(view.joints2d[:24], _BOX)
        columns: dict[str, Any] = {
            **_CONSTANT,
            "sequence": filmed.name,
            "frame": frame,
            "source_frame": f"image_{frame:05d}",
            "person": person,
            "track_id": f"{filmed.name}_{person}",
            "image_path": image.file,
            "width": image.width,
            "height": image.height,
            "bbox_xywh": [*low.tolist(), *(high - low).tolist(), 1.0],
            "keypoints2d_original": points if points.any() else None,
            "keypoints3d_original": np.column_stack([view.joints[:24], np.ones(24)]),
            "focal_length": camera.focal_length,
            "principal_point": camera.principal_point,
            "world_to_cam": camera.world_to_cam[frame, :3],
            "gender": actor.gender,
            "smpl_body_pose": actor.pose["body_pose"][frame],
            "smpl_betas": actor.betas,
            "valid_smpl": True,
        }
        truth = PersonTruth(
            split=image.split,
            file=image.file,
            source_id=f"{filmed.name}/image_{frame:05d}_{person}",
            columns=columns,
            family="smpl",
            joints=view.joints,
            vertices=view.vertices.astype(np.float32),
            rejected=None if filmed.valid[person, frame] else "campose_valid is 0: the camera is wrong",
            quirks=_quirks(filmed, frame, person),
        )
        found.append(truth if listed is None else _as_listed(truth, listed, frame, person))
    return found


def _quirks(filmed: Filmed, frame: int, person: int) -> tuple[str, ...]:
    found = {
        "long_betas": person == 0 and filmed.name.startswith(_NAMES[0]),
        "no_camera": not filmed.valid[person, frame],
        "no_points": not filmed.points[person, frame].any(),
    }
    return tuple(name for name, there in found.items() if there)


def _as_listed(truth: PersonTruth, listed: Listed, frame: int, person: int) -> PersonTruth:
    """The person under the name and with the box that the json has."""
    row = listed.annotations.get((frame, person))
    if row is None:
        why = truth.rejected or "the json does not list the person"
        return replace(truth, rejected=why, quirks=(*truth.quirks, "not_listed"))
    columns = {**truth.columns, "bbox_xywh": [*row["bbox"], 1.0]}
    return replace(truth, source_id=str(row["id"]), columns=columns)


def _refitted(people: Sequence[PersonTruth], listed: Listed, frame: int) -> list[PersonTruth]:
    """The people of one image as SMPL-X bodies, of whose fingers nothing is known."""
    actors = [images_of(actor, slice(frame, frame + 1)) for actor in listed.fitted]
    found = []
    for truth, actor, posed in zip(people, actors, pose_actors(actors), strict=True):
        columns = {name: value for name, value in truth.columns.items() if "smpl" not in name}
        columns |= {**_NO_HANDS, "gender": "neutral", "valid_smplx": True}
        columns |= {"smplx_body_pose": actor.pose["body_pose"][0], "smplx_betas": actor.betas}
        joints = posed.joints[0].copy()
        joints[25:55] = np.nan
        vertices = posed.vertices[0].astype(np.float32)
        found.append(replace(truth, columns=columns, family="smplx", joints=joints, vertices=vertices))
    return found


_CONSTANT: Mapping[str, Any] = {
    "fps": float(FPS),
    "image_op": "none",
    "camera_model": "pinhole",
    "camera_kind": "real",
    **dict.fromkeys(("distortion", "video_frame", "kid")),
}
"""Columns that are the same in every record."""
_HANDS = ("smplx_left_hand_pose", "smplx_right_hand_pose")
_NO_HANDS = dict.fromkeys(
    (*_HANDS, "smplx_jaw_pose", "smplx_leye_pose", "smplx_reye_pose", "smplx_expression")
)

LAYOUT = Layout(
    name="pw3d",
    title="3DPW (3D Poses in the Wild)",
    splits=_SPLITS,
    default_splits=_SPLITS,
    variants=("official", "osx", "neuralannot"),
    write=_write,
    people=(1, 2),
)
"""3DPW. The variant ``osx`` has the json of persons and boxes, and the SMPL-X fits, beside the official
folders; ``neuralannot`` is the same tree, of which a conversion to SMPL-X is expected instead of to SMPL."""
