"""Pictures and videos of predictions, from their table alone: nothing is inferred again."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hmtools.bench.predicted_on import other_shards, predicted_on
from hmtools.bodies.mixed import BodyLayers
from hmtools.core.atomic import write_bytes
from hmtools.core.errors import CountedError, LayoutError, UsageError, nearest
from hmtools.core.image import encode_jpeg, encode_png
from hmtools.core.settings import Settings
from hmtools.humandata.predictions import prediction_facts
from hmtools.infer.media import Skips
from hmtools.infer.outputs.bodies import (
    bodies_of_predictions,
    body_columns,
    family_of,
    genders_of,
    is_whole,
    parameters,
    vertices_of,
)
from hmtools.infer.outputs.export import DEFAULT_FPS, frame_rate
from hmtools.infer.outputs.pictures import (
    PICTURE_COLUMNS,
    MediaPictures,
    Picture,
    Pictures,
    ShardPictures,
    of_size,
    resized,
)
from hmtools.infer.outputs.scenes import Frame, PeopleIndex, Scene, frames, scan
from hmtools.infer.outputs.video import VideoFile
from hmtools.infer.outputs.views import Person, four_sides, framing, over_picture, turned
from hmtools.infer.stages import ahead
from hmtools.viz.mesh import predicted_colour

__all__ = ["VIEWS", "RenderOptions", "Rendering", "render_predictions"]

VIEWS: Mapping[str, str] = {
    "overlay": "people over their pictures",
    "side": "people from their side, on a plain ground",
    "multiview": "front, back, left and right as one picture of 2 x 2",
}
"""View -> what it is."""

log = logging.getLogger(__name__)

_CAMERA = ("focal_length", "principal_point")
_SIZES = {"side": 720, "multiview": 1024}
_POSED_AT_ONCE, _WAITING = 16, 4  # people; frames between two stages
_STILLS: Mapping[str, Callable[[Any], bytes]] = {
    ".png": encode_png,
    ".jpg": encode_jpeg,
    ".jpeg": encode_jpeg,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderOptions:
    """How to draw.

    Attributes:
        size: longer side of the pictures, pixels; None: that of the picture (overlay), 720 (side), 1024
            (multiview, all four together).
        fps: frames of the source a second; None: as the video, the shards or the table say, else 30.
        biggest: only the person of each scene whose boxes cover most.

    Raises:
        UsageError: for a size or rate that is none.
    """

    size: int | None = None
    fps: float | None = None
    biggest: bool = False

    def __post_init__(self) -> None:
        if self.size is not None and not 16 <= self.size <= 8192:
            raise UsageError(f"--size: expected 16 to 8192 pixels, got {self.size}")
        if self.fps is not None and not (np.isfinite(self.fps) and 0 < self.fps <= 1000):
            raise UsageError(f"--fps: expected frames a second above 0, at most 1000, got {self.fps}")


@dataclass(slots=True)
class Rendering:
    """What became of a table.

    Attributes:
        files: written, in this order.
        frames: drawn.
        skips: what was left out, counted by reason.
    """

    files: list[Path] = field(default_factory=list)
    frames: int = 0
    skips: Skips = field(default_factory=Skips)


@dataclass(frozen=True, slots=True, eq=False)
class _Shot:
    """A frame to draw: its people, cells by which its picture is found, and rows of the table it has."""

    scene: Scene
    number: int
    people: tuple[Person, ...] = ()
    row: Mapping[str, Any] = field(default_factory=dict)
    rows: int = 0


class _Drawn(NamedTuple):
    scene: Scene
    number: int
    rows: int
    image: NDArray[np.uint8]


def render_predictions(
    path: Path,
    view: str,
    out: Path,
    *,
    media: Path | None = None,
    shards: Path | None = None,
    options: RenderOptions | None = None,
    settings: Settings | None = None,
    advance: Callable[[int], None] = lambda rows: None,
) -> Rendering:
    """Draw a table of predictions: a video for each scene that moves, a picture for each that does not.

    Files are whole or absent. Pictures that cannot be found or read are counted and left out.

    Args:
        path: table, or folder of tables.
        view: a key of :data:`VIEWS`.
        out: folder, made if need be; or, for a table of one scene, a file: ``.mp4``, ``.png``, ``.jpg``.
        media: the folder that the sources are below, or the only one of them; None: sources are paths.
        shards: converted shards that the keys are of; in place of ``media``.
        options: how; default: :class:`RenderOptions`.
        settings: where body models are looked for; default: loaded.
        advance: told how many more rows of the table are done.

    Raises:
        UsageError: for an unknown view, ``media`` and ``shards`` at once, pictures of shards without either,
            a file for several scenes, and tables without rows or of another body.
        LayoutError: if there is no table, or nothing at all could be drawn.
        SchemaError: for a table without bodies.
        AssetError: for bodies whose model is not here.
        OSError: as the file system raises it, a full disk above all; files finished before stay.
    """
    if view not in VIEWS:
        raise UsageError(f"expected a view of {', '.join(VIEWS)}; found {view!r}{nearest(view, VIEWS)}")
    if media is not None and shards is not None:
        raise UsageError("--media and --shards: the pictures are in one of them; give one")
    options = options or RenderOptions()
    index, family = scan(path), family_of(path)
    targets = _targets(index, view, out)
    pictures = _pictures(path, view, index, media, shards)
    bodies = bodies_of_predictions(path, family, settings)
    kept = index.biggest() if options.biggest else None
    facts, done = prediction_facts(path), Rendering()
    work = _Work(view, options, index, bodies, pictures, facts, done, kept, index.windows(kept))
    with ExitStack() as stack:
        images = stack.enter_context(_Closing(ahead(work.drawn(), _WAITING, "draw")))
        work.write(images.items, targets, advance)
    if not work.done.files:
        skips = work.done.skips
        more = sum(skips.counts.values()) - 1
        why = skips.examples[0] if skips.examples else "nobody with a body and a camera"
        raise LayoutError(f"{path}: nothing could be drawn: {why}{f' (and {more:,} more)' * (more > 0)}")
    return work.done


def _pictures(path: Path, view: str, index: PeopleIndex, media: Path | None, shards: Path | None) -> Pictures:
    """Where the pictures are; a word of warning if the shards are others than those predicted on."""
    made_on = predicted_on(path)
    if shards is not None:
        found = ShardPictures(shards)
        if remark := other_shards(made_on, found.splits):
            log.warning("%s", remark)
        return found
    if made_on and media is None and view == "overlay":
        folders = [str(said.get("shards")) for said in made_on]
        raise UsageError(f"{path}: these were predicted on shards: add --shards {_together(folders)}")
    return MediaPictures(media, index)


def _together(folders: Sequence[str]) -> str:
    return shlex.quote(folders[0] if len(folders) == 1 else os.path.commonpath(folders))


@dataclass(frozen=True, slots=True)
class _Closing:
    """Ends the threads behind a generator with the block."""

    items: Generator[Any, None, None]

    def __enter__(self) -> _Closing:
        return self

    def __exit__(self, *_: object) -> None:
        self.items.close()


def _targets(index: PeopleIndex, view: str, out: Path) -> dict[Scene, Path]:
    """The file of each scene."""
    suffix = out.suffix.lower()
    if suffix not in (".mp4", *_STILLS):
        out.mkdir(parents=True, exist_ok=True)
        return {scene: out / f"{scene.label}_{view}{_suffix(scene)}" for scene in index.scenes}
    if len(index.scenes) > 1:
        raise UsageError(f"--out {out}: is one file, the table has {len(index.scenes)} scenes; name a folder")
    (scene,) = index.scenes
    if (suffix == ".mp4") != (len(scene.frames) > 1):
        wanted = ".mp4" if len(scene.frames) > 1 else ".png or .jpg"
        raise UsageError(f"--out {out}: {scene.name} has {len(scene.frames)} frames; expected {wanted}")
    out.parent.mkdir(parents=True, exist_ok=True)
    return {scene: out}


def _suffix(scene: Scene) -> str:
    if len(scene.frames) > 1:
        return ".mp4"
    return ".jpg" if scene.name.lower().endswith((".jpg", ".jpeg")) else ".png"


@dataclass(frozen=True, slots=True)
class _Work:
    """One rendering under way."""

    view: str
    options: RenderOptions
    index: PeopleIndex
    bodies: BodyLayers
    pictures: Pictures
    facts: Mapping[str, Any]
    done: Rendering
    kept: NDArray[np.bool_] | None
    windows: Mapping[Scene, NDArray[np.float64]]

    def shots(self) -> Generator[_Shot, None, None]:
        """Frames with their people posed, those of a video without people among them."""
        last: _Shot | None = None
        for shot in self._posed():
            same = last is not None and last.scene is shot.scene
            if same and last is not None and self.view == "overlay" and self.pictures.goes_on(shot.scene):
                step = shot.scene.step
                for number in range(last.number + step, shot.number, step):
                    yield _Shot(shot.scene, number)
            yield shot
            last = shot

    def _posed(self) -> Generator[_Shot, None, None]:
        family = self.bodies.family
        names = (*dict.fromkeys((*PICTURE_COLUMNS, *_CAMERA, *body_columns(family))),)
        waiting: list[Frame] = []
        for frame in frames(self.index, names, self.kept):
            waiting.append(frame)
            if sum(len(each.people) for each in waiting) >= _POSED_AT_ONCE:
                yield from self._pose(waiting)
                waiting = []
        yield from self._pose(waiting)

    def _pose(self, waiting: list[Frame]) -> Generator[_Shot, None, None]:
        """The people of several frames at once, which takes less than one after the other."""
        family, whole = self.bodies.family, []
        for frame in waiting:
            columns, count = frame.columns, len(frame.people)
            posed = is_whole(columns, family, count)
            seen = np.ones(count, bool)
            for name in _CAMERA:
                seen &= False if columns[name] is None else np.isfinite(columns[name]).all(axis=1)
            self._lost(frame, "no_body", int((~posed).sum()))
            self._lost(frame, "no_camera", int((posed & ~seen).sum()))
            whole.append(np.flatnonzero(posed & seen))
        meshes = self._meshes(waiting, whole)
        for frame, rows in zip(waiting, whole, strict=True):
            focal, centre = (frame.columns[name] for name in _CAMERA)
            people = tuple(
                Person(
                    vertices=next(meshes),
                    focal_length=focal[row].astype(np.float64),
                    principal_point=centre[row].astype(np.float64),
                    colour=predicted_colour(int(frame.people[row])),
                )
                for row in rows
            )
            cells = {n: None if frame.columns[n] is None else frame.columns[n][0] for n in PICTURE_COLUMNS}
            yield _Shot(frame.scene, frame.number, people, cells, len(frame.people))

    def _meshes(
        self, waiting: list[Frame], whole: list[NDArray[np.int64]]
    ) -> Generator[NDArray[np.float32], None, None]:
        values, genders = [], []
        for frame, rows in zip(waiting, whole, strict=True):
            if len(rows):
                columns = {n: None if v is None else v[rows] for n, v in frame.columns.items()}
                values.append(parameters(columns, self.bodies.family))
                genders += genders_of(columns, len(rows))
        if values:
            joined = {name: np.concatenate([own[name] for own in values]) for name in values[0]}
            yield from vertices_of(self.bodies, joined, genders)

    def _lost(self, frame: Frame, reason: str, count: int) -> None:
        for _ in range(count):
            self.done.skips.add(reason, f"{frame.scene.name} frame {frame.number}")

    def drawn(self) -> Generator[_Drawn, None, None]:
        """Pictures in the order in which they are written."""
        faces = np.asarray(self.bodies.layer("neutral").model.faces)
        for shot in ahead(self.shots(), _WAITING, "pose"):
            try:
                yield _Drawn(shot.scene, shot.number, shot.rows, self._draw(shot, faces))
            except CountedError as error:
                self.done.skips.add(error.reason, f"{shot.scene.name} frame {shot.number}", error.detail)

    def _draw(self, shot: _Shot, faces: NDArray[np.int64]) -> NDArray[np.uint8]:
        if self.view == "overlay":
            found = resized(self.pictures.picture(shot.scene, shot.number, shot.row), self.options.size)
            return over_picture(found, shot.people, faces)
        size = self.options.size or _SIZES[self.view]
        size -= size % 4  # two halves, each even
        window = self.windows[shot.scene] if shot.scene in self.windows else _whole_image(shot)
        if self.view == "side":
            return turned(shot.people, faces, 90, framing(window, size), size)
        return four_sides(shot.people, faces, framing(window, size // 2), size // 2)

    def write(
        self,
        images: Generator[_Drawn, None, None],
        targets: Mapping[Scene, Path],
        advance: Callable[[int], None],
    ) -> None:
        """Write what was drawn, scene by scene."""
        scene: Scene | None = None
        with ExitStack() as stack:
            for own, number, rows, image in images:
                if own is not scene:
                    stack.close()  # the video of the scene before is whole now
                    scene, video, first, shape = own, None, number, image.shape
                    if len(own.frames) > 1:
                        stack.callback(self.done.files.append, targets[own])  # after the video has its name
                        video = stack.enter_context(VideoFile(targets[own], self._rate(own) / own.step))
                if video is None:
                    write_bytes(targets[own], _STILLS[targets[own].suffix.lower()](image))
                    self.done.files.append(targets[own])
                else:
                    fitting = of_size(Picture(image, np.eye(2, 3)), shape).image
                    video.write(fitting, self._time(own, number, first))
                self.done.frames += 1
                advance(rows)

    def _rate(self, scene: Scene) -> float:
        """Frames of the source a second."""
        said = self.options.fps or self.pictures.rate(scene) or frame_rate(self.facts, scene)
        return said or DEFAULT_FPS

    def _time(self, scene: Scene, number: int, first: int) -> float:
        """Seconds after the first frame: the source's own, unless a rate is asked for."""
        if self.options.fps is None:
            times = self.pictures.time(scene, first), self.pictures.time(scene, number)
            if times[0] is not None and times[1] is not None:
                return times[1] - times[0]
        return (number - first) / self._rate(scene)


def _whole_image(shot: _Shot) -> NDArray[np.float64]:
    """The image's corners, from the middle of its camera: for tables without boxes."""
    if not shot.people:
        return np.array([0.0, 0.0, 1.0, 1.0])
    return np.concatenate([np.zeros(2), 2 * shot.people[0].principal_point + 1])
