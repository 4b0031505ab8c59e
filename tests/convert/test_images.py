"""Frames of videos on their way into shards: one pass, the right pixels, and counted rejections."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from hmtools.convert import images
from hmtools.convert.estimate import estimate, missing_images
from hmtools.convert.images import ImageLoader
from hmtools.convert.run import Plan
from hmtools.convert.unit import ConvertTask
from hmtools.core.errors import UnitError
from hmtools.core.image import ImageError, decode_bgr
from hmtools.datasets.base import Dataset, Rejected
from hmtools.datasets.video import VideoReader
from hmtools.engine.job import Unit
from hmtools.humandata.record import Record
from tests.convert.one_unit import Clip, go, stored
from tests.datasets.video_clips import SIZE, moving, patch_matrix, places, write


class Film(Clip):
    """Two people a frame; frame k of the labels is frame 2 k of the video."""

    name = "film"
    video = False
    units: ClassVar[tuple[range, ...]] = (range(5), range(5, 9))
    file = "videos/walk.mp4"

    def read(self, root: Path, unit: Unit) -> Iterator[Record | Rejected]:
        for record in super().read(root, unit):
            assert isinstance(record, Record)
            record.image_path, record.video_frame = self.file, 2 * (record.frame or 0)
            record.width, record.height = SIZE
            yield record


class Tracked(Film):
    """The same, as a set whose tracks must have no gaps."""

    video = True


def film(root: Path, count: int = 18, **options: Any) -> Path:
    (root / "videos").mkdir(parents=True)
    write(root / Film.file, count, 25, **options)
    return root


def convert(root: Path, out: Path, dataset: Dataset | None = None, **options: Any) -> Any:
    return go(root, out, dataset=dataset or Film(), **options)


def test_full_frames_are_png_with_the_pixels_of_the_frame(tmp_path: Path) -> None:
    results, rows = convert(film(tmp_path / "root"), tmp_path / "out", images="full")
    assert [result.counts["images"] for result in results] == [5, 4]
    assert [(row["frame"], row["video_frame"]) for row in rows[::2]] == [(k, 2 * k) for k in range(9)]
    for row in rows:
        data = stored(tmp_path / "out", row)
        assert data.startswith(b"\x89PNG")
        assert np.array_equal(decode_bgr(data), moving(row["video_frame"])[..., ::-1])


def test_crops(tmp_path: Path) -> None:
    _, rows = convert(film(tmp_path / "root"), tmp_path / "out", images="crop")
    assert len(rows) == 18
    for row in rows:
        crop = decode_bgr(stored(tmp_path / "out", row)).astype(int)
        left, top = (0, 0) if row["image_affine"] is None else -row["image_affine"][:, 2].astype(int)
        shown = moving(row["video_frame"])[top:, left:, ::-1][: crop.shape[0], : crop.shape[1]]
        assert np.abs(crop - shown).mean() < 6


def test_one_reader_a_unit_and_one_decode_a_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, seen = film(tmp_path / "root"), []

    class Watched(VideoReader):
        def __init__(self, path: Path) -> None:
            seen.append("open")
            super().__init__(path)

        def frame(self, index: int) -> Any:
            seen.append(str(index))
            return super().frame(index)

        def close(self) -> None:
            seen.append("close")
            super().close()

    monkeypatch.setattr(images, "VideoReader", Watched)
    convert(root, tmp_path / "out")
    assert " ".join(seen) == "open 0 2 4 6 8 close open 10 12 14 16 close"


def test_two_files(tmp_path: Path) -> None:
    root = film(tmp_path / "root", 3)
    write(root / "b.mp4", 3, 25, codec="h264")
    with ImageLoader(Film(), root) as loader:
        for name, index in ((Film.file, 1), ("b.mp4", 2), ("b.mp4", 0), (Film.file, 2)):
            record = Record(image_path=name, video_frame=index, width=SIZE[0], height=SIZE[1])
            assert np.array_equal(loader.load(record)[2], moving(index)[..., ::-1])
    with pytest.raises(ImageError, match="unsafe_path"), ImageLoader(Film(), root) as loader:
        loader.load(Record(image_path="../b.mp4", video_frame=0))


def _damage(root: Path) -> None:
    path = root / Film.file
    begin, size = places(path)[5]
    data = bytearray(path.read_bytes())
    data[begin : begin + size] = b"\xff" * size
    path.write_bytes(data)


SPOILED: dict[str, tuple[Any, str]] = {
    "missing": (lambda root: (root / Film.file).unlink(), "video_missing"),
    "a page of text": (lambda root: (root / Film.file).write_text("<html>404</html>"), "video_broken"),
    "a playlist": (lambda root: (root / Film.file).write_text("#EXTM3U\n#EXTINF:1,\na.ts\n"), "video_broken"),
    "too short": (lambda root: write(root / Film.file, 5, 25), "frame_missing"),
    "damaged": (_damage, "frame_corrupt"),
    "turned": (lambda root: patch_matrix(root / Film.file, 0, 1, -1, 0), "image_size_mismatch"),
}


@pytest.mark.parametrize("what", SPOILED)
def test_rejections_are_counted(tmp_path: Path, what: str) -> None:
    spoil, reason = SPOILED[what]
    root = film(tmp_path / "root")
    spoil(root)
    results, rows = convert(root, tmp_path / "out")
    rejected = sum(result.data["rejected"].get(reason, 0) for result in results)
    assert rejected > 0
    assert len(rows) + rejected == 18
    assert all(set(result.data["rejected"]) <= {reason} for result in results)
    assert str(root) not in str([result.data["examples"] for result in results])
    with pytest.raises(UnitError, match=rf"{reason}: {Film.file} .*\(--strict\)"):
        convert(root, tmp_path / "strict", strict=True)


def test_tracks_keep_their_rows(tmp_path: Path) -> None:
    root = film(tmp_path / "root", 7)
    _, rows = convert(root, tmp_path / "out", Tracked())
    assert [row["shard"] is None for row in rows[::2]] == [False] * 4 + [True] * 5
    assert rows[-1]["meta"] == '{"image_rejected":"frame_missing","note":"x"}'


def test_estimate_and_check(tmp_path: Path) -> None:
    root, dataset = film(tmp_path / "root"), Film()
    task = ConvertTask(dataset=dataset, root=root, split="val2017", out=tmp_path / "out", images="full")
    units = [replace(unit, expected=2 * unit.images) for unit in dataset.plan(root, "val2017")]
    plan = Plan(task=task, units=units, options={})
    found = estimate(plan, workers=1)
    assert (found.people, found.images, found.sampled) == (18, 9, 4)
    assert found.nbytes > 9 * 1000
    assert missing_images(plan) == (1, [])
    (root / Film.file).unlink()
    assert missing_images(plan) == (1, [Film.file])
