"""EgoBody's view from the HoloLens in miniature: two recordings of a split, one moving camera each.

Where the oddities are (images are numbered through a recording; a recording has each oddity once):

=================  =======================================================================================
first recording    the interactee is body 1, female; the calibrations lie in ``cal_trans/``; the lines of
                   ``_pv.txt`` are in no order
... image 1        its frame lies before ``start_frame``
... image 3        ``smplx_interactee`` has no body
... image 4        all 16 numbers of the pose are 0
... image 6        nobody was detected: ``keypoints.npz`` has no row
second recording   the interactee is body 0, male; the calibrations lie in the recording's folder; the first
                   line of ``_pv.txt`` belongs to no image and has blanks after the commas, as the others do;
                   the rows of ``keypoints.npz`` are in no order
... image 0        a third of the person lies beyond the left edge
... image 1        ``_pv.txt`` has no line with its timestamp
... image 4        its frame lies after ``end_frame``
... on top         a row of ``keypoints.npz`` whose image is missing (from two images on)
=================  =======================================================================================

In both, four frame numbers are missing where the third row of a recording would be: bodies were fitted for
them, but the camera has no picture. ``val`` has a first recording only, so columns of ``data_splits.csv``
differ in length. Focal lengths change from frame to frame, and the wearer of the camera has bodies of their
own in ``smplx_camera_wearer_*``. Everything is posed in the master Kinect's frame with the numbers of the
files; the truth moves vertices by inverses of the matrices as they stand in the files. The jaw contour is NaN
in it: which points of the head it is depends on the frame in which the body is posed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hmtools.synth.cameras import Camera, View, look_at, see
from hmtools.synth.egobody_headset import Glance, Headset, write_detections, write_poses
from hmtools.synth.egobody_release import (
    RECORDINGS,
    SPLITS,
    Person,
    Recording,
    make_people,
    write_body,
    write_calibrations,
    write_lists,
)
from hmtools.synth.geometry_image import FIGURE_BLUE, encode, encode_jpeg
from hmtools.synth.layouts import Layout, Request
from hmtools.synth.openpose_labels import PARTS, detect, openpose_points
from hmtools.synth.truth import MESHES, ImageTruth, PersonTruth, write_truth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["LAYOUT"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What the first or the second recording of a split is like."""

    interactee: int
    start: int
    calibrations: str  # folder below the recording's
    quirks: Mapping[int, str]  # number of the image -> oddity
    separator: str  # of _pv.txt
    in_order: bool  # lines of _pv.txt, after one of no image; otherwise rows of keypoints.npz
    missing: int | None = None  # number of the row without an image


_KINDS = (
    _Kind(
        interactee=1,
        start=1187,
        calibrations="cal_trans",
        quirks={1: "before_start", 3: "no_body", 4: "singular_pose", 6: "undetected"},
        separator=",",
        in_order=False,
    ),
    _Kind(
        interactee=0,
        start=523,
        calibrations="",
        quirks={0: "partly_outside", 1: "no_pv_line", 4: "after_end"},
        missing=2,
        separator=", ",
        in_order=True,
    ),
)
_REJECTED = {
    "before_start": "the frame lies before start_frame",
    "after_end": "the frame lies after end_frame",
    "no_body": "smplx_interactee has no body of this frame",
    "singular_pose": "the camera's pose is singular",
    "no_pv_line": "the camera's poses have no line with this timestamp",
    "no_image": "the image is missing",
}
_OUT_OF_RANGE = ("before_start", "after_end")
_UP = np.array([0.0, 1.0, 0.0])  # of the room, which begins on the floor below the Kinect
_KINECT = np.array([0.0, 1.7, 0.0])
_PLACES = np.array([[-1.3, 0.95, 2.7], [1.75, 0.95, 3.0]])  # pelvis of interactee and wearer in the room
_HEAD = np.array([0.0, 0.65, 0.0])  # above the pelvis
_FPS = 30.0
_TICKS = 333_333  # from frame to frame, in 100 ns
_GAP = 4  # frames without a picture before the third row
_LEAD = 10  # frames of the motion before start_frame
_OUTSIDE = 0.34  # of the person's width
_CONTOUR = 127  # first of the 17 points of the jaw's contour, which end smplx_144


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shot:
    """One moment that ``keypoints.npz`` or a picture has."""

    frame: int
    timestamp: int
    quirk: str
    file: str
    skipped: int  # frames right before it that have a body but no picture


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Take:
    """One recording with its people; metres, frame of the master Kinect."""

    kind: _Kind
    recording: Recording
    shots: tuple[_Shot, ...]
    folder: str  # of keypoints.npz, below the root
    people: tuple[Person, Person]  # interactee and wearer
    headset: Headset

    def moment(self, frame: int) -> int:
        """Index into the actors' frames."""
        return frame - self.kind.start + _LEAD


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Seen:
    """One shot: the camera's view of the interactee as the files have them."""

    shot: _Shot
    glance: Glance
    camera: Camera
    view: View
    faces: NDArray[np.int64]
    points: NDArray[np.float32]  # (25, 3) detected


def _write(request: Request) -> None:
    takes = [take for split in request.splits for take in _takes(request, split)]
    write_lists(request.root, [take.recording for take in takes])
    images: list[ImageTruth] = []
    people: list[PersonTruth] = []
    for take in takes:
        (request.root / take.folder / "PV").mkdir(parents=True)
        glances, detections = [], []
        for shot in take.shots:
            seen = _see(request, take, shot)
            if shot.quirk != "no_image":
                (request.root / shot.file).write_bytes(encode_jpeg(_picture(request, take, seen)))
                images.append(_image_truth(request, take, shot))
                request.advance()
            if shot.quirk != "undetected":
                people.append(_person_truth(take, seen, mesh=len(people) < MESHES))
                detections.append((shot.file, seen.points))
            glances += [] if shot.quirk == "no_pv_line" else [seen.glance]
        _write_headset(request, take, glances, detections)
    write_truth(request.root, LAYOUT.name, request.seed, images, people)


def _rng(request: Request, split: str, *purpose: int) -> np.random.Generator:
    """Independent of which other splits are made, so that a split is always the same."""
    return np.random.default_rng([request.seed, SPLITS.index(split), *purpose])


def _takes(request: Request, split: str) -> Iterator[_Take]:
    names = RECORDINGS[split]
    for number, (name, scene) in enumerate(names):
        if (count := -(-(request.frames - number) // len(names))) > 0:
            yield _take(request, split, number, name, scene, count)


def _take(request: Request, split: str, number: int, name: str, scene: str, count: int) -> _Take:
    kind, rng = _KINDS[number], _rng(request, split, 0, number)
    day, (minute, second) = name[10:18], rng.integers(10, 60, 2)
    folder = f"egocentric_color/{name}/{day[:4]}-{day[4:6]}-{day[6:]}-14{minute}{second}"
    shots = tuple(_shots(kind, count, folder, 133_500_000_000_000_000 + int(rng.integers(10**15))))
    end = max(shot.frame for shot in shots if shot.quirk not in _OUT_OF_RANGE)
    recording = Recording(
        name=name, scene=scene, split=split, interactee=kind.interactee, start=kind.start, end=end
    )
    kinect = look_at(_KINECT, np.array([rng.uniform(-0.3, 0.3), 0.8, 2.9]), _UP)  # the room's points to its
    spread = rng.uniform(-0.1, 0.1, (2, 3)) * [1, 0, 1]
    calibrations = request.root / "calibrations" / name / kind.calibrations
    size = np.array([request.width, request.height])
    headset = Headset(
        eye=kinect[:3, :3] @ (_PLACES[1] + spread[1] + _HEAD) + kinect[:3, 3],
        up=kinect[:3, :3] @ _UP,
        holo_to_kinect=write_calibrations(calibrations, rng, scene, kinect),
        principal_point=np.round((size - 1) / 2 + rng.uniform(-0.02, 0.02, 2) * size, 4),
        width=request.width,
        height=request.height,
        phase=float(rng.uniform(0, 6)),
    )
    moments = shots[-1].frame - kind.start + _LEAD + 1
    people = make_people(rng, recording, _PLACES + spread, kinect, moments, _FPS)
    return _Take(kind=kind, recording=recording, shots=shots, folder=folder, people=people, headset=headset)


def _shots(kind: _Kind, count: int, folder: str, first: int) -> Iterator[_Shot]:
    """Rows and pictures of a recording by frame; ``first`` is the timestamp of ``start_frame``."""
    quirks = [kind.quirks.get(number, "") for number in range(count)]
    if kind.missing is not None and count >= kind.missing:
        quirks.insert(kind.missing, "no_image")
    rows, last = [], kind.start - 1
    for number, quirk in enumerate(quirks):
        skipped = _GAP * (number == 2)
        last += (quirk not in _OUT_OF_RANGE) + skipped
        rows.append((last, quirk, skipped))
    beyond = {"before_start": kind.start - 2, "after_end": last + 2}
    for frame, quirk, skipped in sorted((beyond.get(row[1], row[0]), *row[1:]) for row in rows):
        timestamp = first + (frame - kind.start) * _TICKS + 977 * frame % 4001
        file = f"{folder}/PV/{timestamp}_frame_{frame:05d}.jpg"
        yield _Shot(frame=frame, timestamp=timestamp, quirk=quirk, file=file, skipped=skipped)


def _see(request: Request, take: _Take, shot: _Shot) -> _Seen:
    """Pose the interactee, write the bodies, point the camera."""
    moment, person = take.moment(shot.frame), take.people[0]
    posed = person.pose(moment)
    rest = posed.joints[0, 0]
    _write_bodies(request, take, shot, rest)
    transl = person.transl(moment, rest).astype(np.float64)
    vertices, joints = posed.vertices[0] + transl, posed.joints[0] + transl
    outside = _OUTSIDE if shot.quirk == "partly_outside" else 0.0
    glance = take.headset.look(vertices, moment / _FPS, shot.timestamp, outside=outside)
    camera = take.headset.camera(glance)
    view = see(vertices, joints, camera)
    rng = _rng(request, take.recording.split, 1, take.kind.start, shot.frame)
    points = detect(rng, openpose_points(view.joints2d), camera.width, camera.height, 0.002 * camera.height)
    if shot.quirk == "singular_pose":
        glance = replace(glance, cam_to_world=np.zeros((4, 4)))
    return _Seen(
        shot=shot,
        glance=glance,
        camera=camera,
        view=view,
        faces=posed.faces,
        points=points[PARTS["pose"]].astype(np.float32),
    )


def _write_bodies(request: Request, take: _Take, shot: _Shot, rest: Array) -> None:
    """Write both people's bodies of a shot and of the frames skipped before it."""
    for frame in range(shot.frame - shot.skipped, shot.frame + 1):
        for person in take.people:
            if person is take.people[0] and frame == shot.frame and shot.quirk == "no_body":
                continue
            # Where exactly the wearer stands is nobody's business: the interactee's pelvis is near enough.
            write_body(request.root, take.recording, person, frame, take.moment(frame), rest)


def _picture(request: Request, take: _Take, seen: _Seen) -> NDArray[np.uint8]:
    camera, view = seen.camera, seen.view
    if request.render:
        from hmtools.synth.picture import backdrop, paint_people

        wall = backdrop(_rng(request, take.recording.split, 2, take.kind.start), camera.width, camera.height)
        person = view.vertices, seen.faces, camera.focal_length, camera.principal_point
        return paint_people(wall, [person])
    image = encode(camera.width, camera.height, seen.shot.frame)
    blue = image[..., 2].copy()
    _paint(blue, view.pixels[seen.faces])
    image[..., 2] = blue
    return image


def _paint(plane: NDArray[np.uint8], corners: Array) -> None:
    """Fill the triangles (F, 3, 2) that face the camera, which alone cover the silhouette."""
    import cv2

    along, across = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    front = along[:, 0] * across[:, 1] < along[:, 1] * across[:, 0]
    for triangle in np.rint(16 * corners[front]).astype(np.int32):
        cv2.fillConvexPoly(plane, triangle, FIGURE_BLUE, shift=4)


def _write_headset(
    request: Request, take: _Take, glances: list[Glance], detections: list[tuple[str, NDArray[np.float32]]]
) -> None:
    folder = request.root / take.folder
    person, timestamp = take.people[0], take.shots[0].timestamp - 90 * _TICKS
    # Elsewhere the odd ones backwards, then the even ones: in no order, however few there are.
    if take.kind.in_order:
        glances = [take.headset.look(person.pelvis[None] + 0.5, 0.0, timestamp), *glances]
        detections = [*detections[1::2][::-1], *detections[::2]]
    else:
        glances = [*glances[1::2][::-1], *glances[::2]]
    path = folder / f"{folder.name}_pv.txt"
    write_poses(path, take.headset, glances, separator=take.kind.separator)
    pictures = [shot.file for shot in take.shots if shot.quirk != "no_image"]
    write_detections(folder, detections, person.actor.gender, pictures)


def _image_truth(request: Request, take: _Take, shot: _Shot) -> ImageTruth:
    return ImageTruth(
        split=take.recording.split,
        file=shot.file,
        source_id=f"{shot.timestamp}",
        frame=shot.frame,
        width=request.width,
        height=request.height,
        colour=not request.render,
        people=int(shot.quirk != "undetected"),
    )


def _person_truth(take: _Take, seen: _Seen, *, mesh: bool) -> PersonTruth:
    shot, camera, recording = seen.shot, seen.camera, take.recording
    columns = {
        "sequence": recording.name,
        "frame": shot.frame,
        "source_frame": f"{shot.frame:05d}",
        "image_path": shot.file,
        **_CONSTANT,
    }
    truth = PersonTruth(
        split=recording.split,
        file=shot.file,
        source_id=f"{recording.name}/frame_{shot.frame:05d}",
        columns=columns,
        rejected=_REJECTED.get(shot.quirk),
        quirks=(shot.quirk,) if shot.quirk else (),
    )
    if truth.rejected:
        return truth
    actor, moment = take.people[0].actor, take.moment(shot.frame)
    pose = {name: values[moment] for name, values in actor.pose.items() if name != "global_orient"}
    found = {
        "width": camera.width,
        "height": camera.height,
        "keypoints2d_original": seen.points.astype(np.float64),
        "bbox_xywh": _box(seen.view.joints2d[:_CONTOUR], camera),
        "focal_length": camera.focal_length,
        "principal_point": camera.principal_point,
        "world_to_cam": seen.glance.world_to_cam()[:3],
        "gender": actor.gender,
        "smplx_betas": actor.betas,
        "smplx_expression": actor.expression[moment],
        **{f"smplx_{name}": values for name, values in pose.items()},
    }
    body = seen.view.vertices.astype(np.float32) if mesh else None
    joints = seen.view.joints.copy()
    joints[_CONTOUR:] = np.nan
    return replace(truth, columns={**columns, **found}, family="smplx", joints=joints, vertices=body)


def _box(points: Array, camera: Camera) -> list[float]:
    """Extent of points, times 1.2 about its centre, cut at the picture's edges."""
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.1 * (high - low)
    low = np.maximum(low - margin, -0.5)
    high = np.minimum(high + margin, np.array([camera.width, camera.height]) - 0.5)
    return [*low.tolist(), *(high - low).tolist(), 1.0]


_CONSTANT = {
    "person": 0,
    "fps": _FPS,
    "track_id": "interactee",
    "image_op": "none",
    "camera_model": "pinhole",
    "camera_kind": "real",
    "valid_smplx": True,
    **dict.fromkeys(("video_frame", "kid", "distortion", "keypoints3d_original")),
}
"""Columns that are the same in every record."""

LAYOUT = Layout(
    name="egobody_egocentric",
    title="EgoBody, the view of the HoloLens",
    splits=SPLITS,
    default_splits=SPLITS,
    variants=("usual",),
    write=_write,
    people=(1, 1),
)
"""EgoBody's egocentric set; ``val`` has one recording, the others have two."""
