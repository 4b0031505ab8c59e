"""People of UBody: close-ups of speakers, cut off somewhere below the hips, and what is said of them.

Labels are plain dictionaries with the official keys, plus two of ours that the writer of a file takes out
again: ``quirks`` and ``rejected``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from hmtools.synth.actors import Actor, make_actors, pose_actors
from hmtools.synth.cameras import Camera, see
from hmtools.synth.coco_labels import person_label
from hmtools.synth.neural_annot_labels import as_written, fit_label, standin_hand_mean
from hmtools.synth.pw3d_sequence import images_of
from hmtools.synth.scene import Figure, make_figure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hmtools.synth.ubody_videos import Video

__all__ = ["OFFICIAL_KEYS", "Shown", "film_people", "fit_entry", "upper_body_label"]

OFFICIAL_KEYS = (
    *("id", "image_id", "bbox", "iscrowd", "num_keypoints", "valid_label", "keypoints", "foot_kpts"),
    *("face_kpts", "lefthand_kpts", "righthand_kpts", "face_box", "lefthand_box", "righthand_box"),
    *("face_valid", "lefthand_valid", "righthand_valid"),
)
"""Keys of an annotation, in the order of the file."""

_SIDES = {"lhand": "lefthand", "rhand": "righthand", "face": "face"}  # the fit's word -> the annotation's
_HIPS, _SHOULDERS = slice(11, 13), slice(5, 7)  # among the 133 points
_HAND_MARGIN = 1.5  # stored boxes of hands are that much larger than hands
_OUTSIDE = 0.1  # over the picture's sides, of boxes that are not clipped
_WIDE = 3.4  # a beta that no trainer believes
_BLOCK = 16  # people that are posed at once


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shown:
    """One person in one picture of a video.

    Attributes:
        actor: the body in that picture alone, as a file can describe it.
        figure: where it is; without vertices when nobody asks for them.
    """

    actor: Actor
    figure: Figure


def film_people(
    seeds: Sequence[int],
    video: Video,
    people: int,
    size: tuple[int, int],
    *,
    meshes: int,
    wide_betas: bool = False,
) -> dict[int, list[Shown]]:
    """Everybody in the annotated pictures of a video; they move smoothly and stay where they are.

    Args:
        seeds: source of everything random.
        video: its frames beyond the end show nobody.
        people: how many.
        size: width and height of the pictures, pixels.
        meshes: people that get a surface, in the order of the pictures; the others have joints alone.
        wide_betas: the first person's shape goes beyond 3.

    Returns:
        Picture -> its people.
    """
    rng = np.random.default_rng([*seeds, 0])
    actors = [
        as_written(actor, standin_hand_mean())
        for actor in make_actors(rng, people, video.pictures, up="-y", fps=video.fps)
    ]
    if wide_betas and actors:
        betas = np.where(np.arange(len(actors[0].betas)) == 1, _WIDE, actors[0].betas)
        actors[0] = replace(actors[0], betas=betas)
    cuts = rng.uniform(0.0, 0.25, people)  # below the hips, over what is above them
    retimed = video.retimed
    pictures = sorted({retimed[number - 1] for number in video.numbers if number <= len(retimed)})
    wanted = [(picture, slot) for picture in pictures for slot in range(people)]
    found: dict[int, list[Shown]] = {picture: [] for picture in pictures}
    for start, stop, vertices in _blocks(len(wanted), meshes):
        block = wanted[start:stop]
        alone = [images_of(actors[slot], slice(picture, picture + 1)) for picture, slot in block]
        posed = pose_actors(alone, vertices=vertices)
        for (picture, slot), actor, body in zip(block, alone, posed, strict=True):
            place = np.random.default_rng([*seeds, 1, picture, slot])
            figure = make_figure(place, body, *size, slot=slot, slots=people)
            figure = _close_up(figure, (slot + 0.5) / people, float(cuts[slot]), *size)
            found[picture].append(Shown(actor=actor, figure=figure))
    return found


def _blocks(people: int, meshes: int) -> list[tuple[int, int, bool]]:
    """First and last one of people who are posed together, and whether they get a surface."""
    bounds = [*range(0, min(people, meshes), _BLOCK), *range(min(people, meshes), people, _BLOCK), people]
    return [(low, high, low < meshes) for low, high in pairwise(bounds)]


def _close_up(figure: Figure, column: float, cut: float, width: int, height: int) -> Figure:
    """The figure seen so that the image's lower edge cuts it below the hips.

    A larger and shifted picture is the same body behind another pinhole.

    Args:
        figure: all of it in the image.
        column: where the shoulders are, over the width.
        cut: how far below the hips the edge lies, over what is above the hips.
        width: of the image, pixels.
        height: of the image, pixels.
    """
    top, hips = figure.outline[:, 1].min(), figure.points[_HIPS, 1].mean()
    head = 0.07 * height
    scale = (height - head) / ((1 + cut) * (hips - top))
    shoulders = figure.points[_SHOULDERS, 0].mean()
    shift = np.array([column * width - scale * shoulders, head - scale * top])
    camera = Camera(
        model="pinhole",
        focal_length=(scale * figure.focal_length).round(4),
        principal_point=(scale * figure.principal_point + shift).round(4),
        distortion=np.zeros(0),
        width=width,
        height=height,
        world_to_cam=np.eye(4)[None],
    )
    return replace(
        figure,
        points=scale * figure.points + shift,
        outline=scale * figure.outline + shift,
        focal_length=camera.focal_length,
        principal_point=camera.principal_point,
        view=see(figure.view.vertices, figure.view.joints, camera),
    )


def upper_body_label(
    rng: np.random.Generator, figure: Figure, width: int, height: int, quirks: Sequence[str]
) -> dict[str, Any]:
    """Annotate one figure.

    Args:
        rng: decides what is labelled and how well.
        figure: the person.
        width: of the image, pixels.
        height: of the image, pixels.
        quirks: any of ``crowd``, ``no_keypoints``, ``unusable`` (``valid_label`` is 0), ``kept_box`` (the
            left hand is invalid but has a box), and those of
            :func:`~hmtools.synth.coco_labels.person_label`.

    Returns:
        The label, all but its two ids.
    """
    label = person_label(rng, figure, width, height, quirks, complete="complete" in quirks)
    label["iscrowd"] = int("crowd" in quirks)
    label["valid_label"] = 0 if "unusable" in quirks else int(rng.integers(1, 3))
    room = np.array([[0, 0], [width, height]])
    for side in ("lefthand", "righthand"):
        label[f"{side}_box"] = _cut(label[f"{side}_box"], _HAND_MARGIN, room)
    if "partly_outside" in quirks:
        # All of the body would be twice the box of the frame before.
        label["bbox"] = _cut(label["bbox"], 1.0, room + _OUTSIDE * np.outer([-1, 1], room[1]))
    if "kept_box" in quirks:
        x, y, w, h = label["bbox"]
        box = np.array([x + 0.05 * w, y + 0.5 * h, 0.2 * w, 0.25 * h])  # of nothing in particular
        label |= {"lefthand_valid": False, "lefthand_kpts": [0.0] * 63, "lefthand_box": box.round(2).tolist()}
    kept = {key: label[key] for key in (*OFFICIAL_KEYS[2:], "quirks", "rejected")}
    return {**dict.fromkeys(OFFICIAL_KEYS), **kept}


def _cut(box: Sequence[float], grow: float, room: NDArray[Any]) -> list[float]:
    """A box about the same centre, ``grow`` times as large, cut at two corners; none stays none."""
    if not box[2] * box[3] > 0:
        return list(box)
    corner, size = np.array(box[:2]), np.array(box[2:])
    margin = (grow - 1) / 2 * size
    low = (corner - margin).clip(*room).round(2)
    return [*low.tolist(), *((corner + size + margin).clip(*room) - low).round(2).tolist()]


def fit_entry(shown: Shown, label: dict[str, Any]) -> dict[str, Any]:
    """What the file of fits has under the id of an annotation.

    Args:
        shown: the person.
        label: their annotation; with the quirk ``fit_flags`` the fit repeats its flags.
    """
    flags = {part: label[f"{name}_valid"] for part, name in _SIDES.items()}
    valid = flags if "fit_flags" in label["quirks"] else None
    return fit_label(shown.actor, shown.figure, standin_hand_mean(), valid, ())
