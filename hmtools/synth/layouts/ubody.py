"""UBody in miniature: two scenes of videos with people cut off below the hips, and annotations by image.

All splits are over the same files: an annotation is in one of the ``intra`` splits and in one of the
``inter`` splits. Where the oddities are (annotated frames of a video are numbered from 0; persons count
through them; oddities come again every 40):

==============================  ==============================================================================
ConductMusic/Symphony_Trim1     frame 0: the file name begins with a slash; person 0: the left hand is invalid
                                but has a box; person 1: ``valid_label`` is 0
ConductMusic/Symphony_Trim2     another piece of the same recording; the first person's shape goes beyond 3;
                                person 1: no fit
ConductMusic/Podium             25 pictures a second, so re-timing shows some twice; person 0: labelled
                                throughout; person 1: a crowd region; person 2: the left hand is invalid but
                                has a box; person 3: ``valid_label`` is 0
Speech/2019/Lectern_Trim1       deeper folder; person 0: the fit has flags of its own; person 1: no labelled
                                body point; the last frame is beyond the video's end (from two frames on)
Speech/Debate_Trim2             60 pictures a second, so re-timing leaves some out; frame 0: the file name
                                begins with a slash; person 0: no fit; person 1: the face is invalid, the
                                visibility of face and hands a fraction; person 2: the box is not clipped
==============================  ==============================================================================

Nobody trains or tests on people without a usable label or without a fit: they are left out. Every sixth
frame of a video is not annotated. Annotations of a scene stand in no order of videos, frames or ids; image
ids are the same numbers in both scenes, annotation ids are not. Each file of fits has one entry of nobody.
The lists name test videos without ``_Trim``, and one that neither scene has; one of them is an array of
objects. Fits have no flags, as a rule: those of the annotation count.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from hmtools.core.atomic import write_bytes
from hmtools.synth.coco_labels import PARTS, write_coco
from hmtools.synth.geometry_image import FIGURE_BLUE, encode, encode_png
from hmtools.synth.layouts import Layout, Request
from hmtools.synth.scene import paint
from hmtools.synth.truth import MESHES, ImageTruth, PersonTruth, write_truth
from hmtools.synth.ubody_people import OFFICIAL_KEYS, Shown, film_people, fit_entry, upper_body_label
from hmtools.synth.ubody_videos import FPS, SCENES, TEST_LISTS, Video, plan_videos
from hmtools.synth.video_file import write_video

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LAYOUT"]

_EVERY = 40
_SLASH = ("Symphony_Trim1", "Debate_Trim2")
_WIDE = "Symphony_Trim2"
_QUIRKS: Mapping[str, Mapping[int, tuple[str, ...]]] = {
    "Symphony_Trim1": {0: ("kept_box",), 1: ("unusable",)},
    "Symphony_Trim2": {1: ("without_fit",)},
    "Podium": {0: ("complete",), 1: ("crowd",), 2: ("kept_box",), 3: ("unusable",)},
    "2019/Lectern_Trim1": {0: ("fit_flags",), 1: ("no_keypoints",)},
    "Debate_Trim2": {
        0: ("without_fit",),
        1: ("invalid_face", "fractional_visibility"),
        2: ("partly_outside",),
    },
}
_BEYOND = "its frame is beyond the end of the video"
_NO_FIT = "no fit"
_UNUSABLE = "unusable (valid_label is 0)"
_NOBODY = "a fit without annotation"
_OTHER_PICTURES = 25  # added to the positions' frame where videos must not be read
_PARTS = {"lhand": "lefthand", "rhand": "righthand", "face": "face"}  # column -> the annotation's word
_CONSTANT: Mapping[str, Any] = {
    "fps": float(FPS),
    "image_op": "none",
    **dict.fromkeys(("distortion", "world_to_cam", "keypoints3d_original", "kid")),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Row:
    """One annotation of a scene, still without ids and place in the list; ``number`` counts from 1."""

    video: Video
    number: int
    label: dict[str, Any]
    shown: Shown

    @property
    def image(self) -> tuple[str, int]:
        """What tells images apart within a scene."""
        return self.video.folder, self.number

    @property
    def fitted(self) -> bool:
        """Whether the file of fits has an entry."""
        return not {"without_fit", "no_keypoints"} & set(self.label["quirks"])


def _write(request: Request) -> None:
    # Encoded videos have even sides.
    request = replace(request, width=request.width // 2 * 2, height=request.height // 2 * 2)
    videos = plan_videos(request.frames)
    images: list[ImageTruth] = []
    people: list[PersonTruth] = []
    _write_lists(request)
    for scene in SCENES:
        mine = [video for video in videos if video.scene == scene]
        meshes = max(0, MESHES - sum(person.vertices is not None for person in people))
        rows = [row for video in mine for row in _film(request, video, meshes)]
        found = _annotate(request, scene, mine, rows)
        images += found[0]
        people += found[1]
    order = request.splits.index
    images.sort(key=lambda image: order(image.split))
    people.sort(key=lambda person: order(person.split))
    write_truth(request.root, LAYOUT.name, request.seed, images, people)


def _seeds(request: Request, scene: str, *purpose: int) -> tuple[int, ...]:
    return (request.seed, SCENES.index(scene), *purpose)


def _write_lists(request: Request) -> None:
    (request.root / "splits").mkdir()
    for kind, names in TEST_LISTS.items():
        file = io.BytesIO()
        np.save(file, np.array(names, object if kind == "inter" else str), allow_pickle=kind == "inter")
        write_bytes(request.root / f"splits/{kind}_scene_test_list.npy", file.getvalue())


def _film(request: Request, video: Video, meshes: int) -> list[_Row]:
    """Write the pictures of one video; return its annotations, image by image."""
    seeds = _seeds(request, video.scene, *video.folder.encode())
    size = request.width, request.height
    filmed = film_people(
        seeds,
        video,
        request.people,
        size,
        meshes=request.people * len(video.numbers) if request.render else meshes,
        wide_betas=video.folder == _WIDE,
    )
    if request.variant != "images":
        shift = _OTHER_PICTURES if request.variant == "both" else 0
        pictures = (
            _picture(request, filmed.get(picture, []), picture + shift) for picture in range(video.pictures)
        )
        _folder(request, video.file)
        write_video(request.root / video.file, pictures, video.fps, lossless=not request.render)
    if request.variant != "videos":
        _folder(request, _png(video, 1))
        for frame, picture in enumerate(video.retimed):
            pixels = _picture(request, filmed.get(picture, []), frame)
            write_bytes(request.root / _png(video, frame + 1), encode_png(pixels))
    rows = []
    for image, number in enumerate(video.numbers):
        # The picture that does not exist would have shown the same people.
        picture = video.retimed[number - 1] if number <= len(video.retimed) else max(filmed)
        for slot, shown in enumerate(filmed[picture]):
            quirks = _QUIRKS[video.folder].get((image * request.people + slot) % _EVERY, ())
            rng = np.random.default_rng([*seeds, 2, number, slot])
            label = upper_body_label(rng, shown.figure, *size, quirks)
            rows.append(_Row(video=video, number=number, label=label, shown=shown))
    return rows


def _folder(request: Request, file: str) -> None:
    (request.root / file).parent.mkdir(parents=True, exist_ok=True)


def _picture(request: Request, people: Sequence[Shown], frame: int) -> NDArray[np.uint8]:
    figures = [shown.figure for shown in people]
    if request.render:
        from hmtools.synth.picture import paint_people

        wall = _wall(request.seed, request.width, request.height)
        return paint_people(
            wall, [(f.view.vertices, f.faces, f.focal_length, f.principal_point) for f in figures]
        )
    pixels = encode(request.width, request.height, frame)
    plane = pixels[..., 2].copy()
    paint(plane, figures, FIGURE_BLUE)
    pixels[..., 2] = plane
    return pixels


@lru_cache(maxsize=1)
def _wall(seed: int, width: int, height: int) -> NDArray[np.uint8]:
    """Behind everybody, in all videos: not to be written to."""
    from hmtools.synth.picture import backdrop

    return backdrop(np.random.default_rng(seed), width, height)


def _png(video: Video, number: int) -> str:
    return f"images/{video.scene}/{video.folder}/{number:06d}.png"


def _annotate(
    request: Request, scene: str, videos: Sequence[Video], rows: list[_Row]
) -> tuple[list[ImageTruth], list[PersonTruth]]:
    """Write the scene's two files; return the truth of its images and people, split by split."""
    rng = np.random.default_rng(_seeds(request, scene, 0))
    rows = [rows[at] for at in rng.permutation(len(rows))]
    numbered = [(video, number) for video in videos for number in video.numbers]
    keys = [(video.folder, number) for video, number in numbered]
    image_ids = dict(zip(keys, _ids(request, len(keys)), strict=True))
    ids = 2 * rng.choice(max(9000, 4 * len(rows)), len(rows) + 1, replace=False) + SCENES.index(scene)
    for row, own in zip(rows, ids[1:].tolist(), strict=True):
        row.label["id"], row.label["image_id"] = own, image_ids[row.image]
    _write_scene(request, scene, numbered, image_ids, rows, int(ids[0]))
    images: list[ImageTruth] = []
    people: list[PersonTruth] = []
    for split in request.splits:
        own_rows = [(at, row) for at, row in enumerate(rows) if split in row.video.splits]
        for video, number in numbered:
            if split in video.splits:
                count = sum(row.image == (video.folder, number) for _, row in own_rows)
                source_id = str(image_ids[video.folder, number])
                images.append(_image_truth(request, split, video, number, source_id, count))
                request.advance()
        people += _people(request, split, own_rows)
        if own_rows:
            people.append(_nobody(request, split, own_rows[0][1], int(ids[0])))
    return images, people


def _ids(request: Request, count: int) -> list[int]:
    """Image ids, neither dense nor sorted; those of both scenes begin alike."""
    rng = np.random.default_rng((request.seed, len(SCENES)))
    found: list[int] = (1 + rng.permutation(max(400, 4 * request.frames)))[:count].tolist()
    return found


def _write_scene(
    request: Request,
    scene: str,
    numbered: Sequence[tuple[Video, int]],
    image_ids: Mapping[tuple[str, int], int],
    rows: Sequence[_Row],
    nobody: int,
) -> None:
    images = [
        {
            "id": image_ids[video.folder, number],
            "file_name": f"{_slash(video, number)}{video.folder}/{number:06d}.png",
            "height": request.height,
            "width": request.width,
        }
        for video, number in reversed(numbered)
    ]
    labels = [{key: row.label[key] for key in OFFICIAL_KEYS} for row in rows]
    entries = [(row.label["id"], fit_entry(row.shown, row.label)) for row in rows if row.fitted]
    if entries:
        entries.insert(len(entries) // 2, (nobody, entries[0][1]))
    folder = request.root / "annotations" / scene
    folder.mkdir(parents=True)
    texts = [[json.dumps(value) for value in values] for values in (images, labels)]
    write_coco(folder / "keypoint_annotation.json", 2026, *texts)
    fits = ",\n".join(f'"{number}": {json.dumps(fit)}' for number, fit in reversed(entries))
    write_bytes(folder / "smplx_annotation.json", f"{{{fits}}}\n".encode())


def _slash(video: Video, number: int) -> str:
    return "/" if video.folder in _SLASH and video.numbers.index(number) % _EVERY == 0 else ""


def _image_truth(
    request: Request, split: str, video: Video, number: int, source_id: str, people: int
) -> ImageTruth:
    frame = number - 1
    if request.variant == "videos" and frame < len(video.retimed):
        frame = video.retimed[frame]
    return ImageTruth(
        split=split,
        file=video.file if request.variant == "videos" else _png(video, number),
        source_id=source_id,
        frame=frame,
        width=request.width,
        height=request.height,
        colour=not request.render,
        people=people,
    )


def _people(request: Request, split: str, rows: Sequence[tuple[int, _Row]]) -> Iterator[PersonTruth]:
    """Truth of one scene's people of a split, in the order of the file; rows come with their place in it."""
    seen: dict[tuple[str, int], int] = {}
    for place, row in rows:
        label, video, number = row.label, row.video, row.number
        person = seen[row.image] = seen.get(row.image, -1) + 1
        exists = number <= len(video.retimed)
        filmed = request.variant == "videos"
        file = video.file if filmed else _png(video, number)
        columns = {
            **_CONSTANT,
            "sequence": f"{video.scene}/{video.folder}",
            "frame": number - 1,
            "source_frame": f"{number:06d}",
            "source_index": place + 1,
            "person": person,
            "image_path": file,
            "video_frame": video.retimed[number - 1] if filmed and exists else None,
            "width": request.width,
            "height": request.height,
            **_label_columns(label),
            **_body_columns(row),
        }
        truth = PersonTruth(
            split=split,
            file=file,
            source_id=str(label["id"]),
            columns=columns,
            rejected=_left_out(row, exists),
            quirks=(*label["quirks"], *([] if exists else ["beyond_the_end"])),
        )
        yield _with_body(truth, row) if row.fitted and label["valid_label"] else truth


def _left_out(row: _Row, exists: bool) -> str | None:
    """Why nobody trains or tests on a person, or None."""
    if row.label["rejected"]:
        return str(row.label["rejected"])
    if not row.label["valid_label"]:
        return _UNUSABLE
    if not row.fitted:
        return _NO_FIT
    return None if exists else _BEYOND


def _nobody(request: Request, split: str, neighbour: _Row, number: int) -> PersonTruth:
    """The fit that has no annotation, which every split of the scene is left without."""
    file = neighbour.video.file if request.variant == "videos" else _png(neighbour.video, neighbour.number)
    quirks = ("fit_of_nobody",)
    return PersonTruth(
        split=split, file=file, source_id=str(number), columns={}, rejected=_NOBODY, quirks=quirks
    )


def _label_columns(label: Mapping[str, Any]) -> dict[str, Any]:
    names = ("keypoints", *(f"{part}_kpts" for part in PARTS))
    points = np.concatenate([np.array(label[name], np.float64).reshape(-1, 3) for name in names])
    points[:, 2] = points[:, 2] > 0
    columns: dict[str, Any] = {"bbox_xywh": [*label["bbox"], 1.0], "keypoints2d_original": points}
    for part, name in _PARTS.items():
        box, valid = label[f"{name}_box"], bool(label[f"{name}_valid"])
        columns[f"{part}_bbox_xywh"] = [*box, float(valid)] if box[2] * box[3] > 0 else None
        columns[f"valid_{part}"] = valid
    return columns


def _body_columns(row: _Row) -> dict[str, Any]:
    if not row.fitted or not row.label["valid_label"]:
        return {}  # of somebody who is left out
    actor, figure = row.shown.actor, row.shown.figure
    return {
        "gender": "neutral",
        "focal_length": figure.focal_length,
        "principal_point": figure.principal_point,
        "camera_model": "pinhole",
        "camera_kind": "virtual",
        "smplx_betas": actor.betas,
        "smplx_expression": actor.expression[0],
        "smplx_leye_pose": None,
        "smplx_reye_pose": None,
        "valid_smplx": True,
        "valid_betas": True,  # betas beyond 3 are what trainers leave out, not what converters do
    }


def _with_body(truth: PersonTruth, row: _Row) -> PersonTruth:
    view = row.shown.figure.view
    vertices = view.vertices.astype(np.float32) if len(view.vertices) else None
    return replace(truth, family="smplx", joints=view.joints, vertices=vertices)


_SPLITS = tuple(f"{kind}_{part}" for kind in ("intra", "inter") for part in ("train", "test"))

LAYOUT = Layout(
    name="ubody",
    title="UBody (OSX)",
    splits=_SPLITS,
    default_splits=_SPLITS,
    variants=("videos", "images", "both"),
    write=_write,
    people=(1, 4),
)
"""UBody. The variant ``videos`` has the tree as it is downloaded, ``images`` the frames that ffmpeg extracts
instead of the videos, ``both`` those frames beside videos that show something else."""
