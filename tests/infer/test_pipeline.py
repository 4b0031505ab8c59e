"""Media to predictions: who is where in the table, what is skipped, and what is left when it goes wrong."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from hmtools.core.atomic import AtomicFile
from hmtools.core.errors import LayoutError, UnitError, UsageError
from hmtools.core.image import ImageError, decode_rgb, encode_png
from hmtools.humandata.predictions import prediction_facts
from hmtools.infer import parts
from hmtools.infer.detectors import whole
from hmtools.infer.detectors.base import Detections
from hmtools.infer.media import Span
from hmtools.infer.model import Model
from hmtools.infer.pipeline import MediaOptions, Summary, run_media
from tests.datasets.video_clips import places, write
from tests.infer.free_media import FakeModel, exif_jpeg

SIZE = (320, 240)


def picture(*people: tuple[tuple[int, int, int, int], int]) -> np.ndarray[Any, Any]:
    """Black, with grey people: box and brightness."""
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    for (x, y, w, h), grey in people:
        image[y : y + h, x : x + w] = grey
    return image


def boxes(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text(json.dumps(list(rows)))
    return path


def table(out: Path, *names: str) -> list[tuple[Any, ...]]:
    columns = pq.read_table(out / "predictions.parquet").select(names).to_pydict()
    return list(zip(*columns.values(), strict=True))


@pytest.fixture(autouse=True)
def no_thread_stays() -> Any:
    yield
    left = [thread.name for thread in threading.enumerate()]
    assert not {"decode", "detect", "crop", "predict"} & set(left)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    two = picture(((40, 40, 60, 120), 90), ((200, 60, 50, 150), 180))
    (folder / "1.png").write_bytes(encode_png(two))
    (folder / "2.png").write_bytes(encode_png(picture(((100, 20, 90, 200), 250))))
    (folder / "3.png").write_bytes(encode_png(picture()))
    return folder


@pytest.fixture
def given(tmp_path: Path) -> Path:
    return boxes(
        tmp_path / "boxes.json",
        {"source": "1.png", "bbox_xywh": [40, 40, 60, 120], "score": 0.5},
        {"source": "1.png", "bbox_xywh": [200, 60, 50, 150]},
        {"source": "2.png", "bbox_xywh": [100, 20, 90, 200]},
    )


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_rows_are_of_the_people(tmp_path: Path, photos: Path, given: Path, batch: int) -> None:
    out = tmp_path / "out"
    summary = run_media([photos], FakeModel(), out, MediaOptions(boxes=given, batch=batch))
    found = table(out, "source", "frame", "track_id", "image_path", "width", "height", "score", "bbox_xywh")
    assert [row[:6] for row in found] == [
        ("1.png", 0, None, "1.png", *SIZE),
        ("1.png", 0, None, "1.png", *SIZE),
        ("2.png", 0, None, "2.png", *SIZE),
    ]
    assert [row[6:] for row in found] == [
        (1.0, [200, 60, 50, 150, 1]),  # the larger one first
        (0.5, [40, 40, 60, 120, 0.5]),
        (1.0, [100, 20, 90, 200, 1]),
    ]
    assert [transl[0] for (transl,) in table(out, "smplx_transl")] == pytest.approx([180, 90, 250], abs=1)
    assert (summary.frames, summary.empty_frames, summary.people, summary.unread) == (3, 1, 3, 0)
    assert json.loads((out / "summary.json").read_text())["people"] == 3
    facts = prediction_facts(out)
    assert (facts["model"], facts["detector"], facts["media_root"]) == ("fake", "given", str(photos))
    assert not (out / "partial").exists()


def test_numbers_do_not_depend_on_batches(tmp_path: Path, photos: Path, given: Path) -> None:
    for batch in (1, 3):
        run_media([photos], FakeModel(), tmp_path / f"{batch}", MediaOptions(boxes=given, batch=batch))
    one, other = ((tmp_path / name / "predictions.parquet").read_bytes() for name in ("1", "3"))
    assert one == other


def test_batches_span_frames_and_sources(tmp_path: Path, photos: Path, given: Path) -> None:
    model = FakeModel()
    run_media([photos], model, tmp_path / "out", MediaOptions(boxes=given, batch=3))
    assert model.batches == [3]


def test_a_real_network_says_the_same_as_when_it_is_called(
    tmp_path: Path, photos: Path, given: Path, model: Model
) -> None:
    run_media([photos], model, tmp_path / "out", MediaOptions(boxes=given))
    images = [decode_rgb((photos / name).read_bytes()) for name in ("1.png", "2.png")]
    people = model(images, [[[200, 60, 50, 150], [40, 40, 60, 120]], [[100, 20, 90, 200]]])
    for name in ("smplx_body_pose", "smplx_transl", "focal_length", "joints2d"):
        found = np.array([cell for (cell,) in table(tmp_path / "out", name)], np.float32)
        np.testing.assert_allclose(found, getattr(people, name), rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.real
def test_real_photographs_and_videos(tmp_path: Path) -> None:
    samples = os.environ.get("HMTOOLS_SAMPLES")
    if samples is None:
        pytest.skip("HMTOOLS_SAMPLES is not set (folder that holds images/ and videos/)")
    inputs = [Path(samples) / "images", Path(samples) / "videos"]
    options = MediaOptions(detector="whole", span=Span(stride=50))
    summary = run_media(inputs, FakeModel(), tmp_path / "out", options)
    assert not summary.skipped
    sources = {source for (source,) in table(tmp_path / "out", "source")}
    assert len(sources) == summary.sources
    assert {"images/demo_image_1.jpg", "videos/tennis.mp4"} <= sources


def test_the_biggest_only(tmp_path: Path, photos: Path, given: Path) -> None:
    run_media([photos], FakeModel(), tmp_path / "out", MediaOptions(boxes=given, biggest=True))
    assert [row[0][0] for row in table(tmp_path / "out", "bbox_xywh")] == [200, 100]


class TestVideos:
    def walk(self, path: Path, frames: list[int]) -> Path:
        """Boxes of one person who walks to the right, and of one who stands."""
        size = {"bbox_xywh": [60, 4, 20, 50]}
        walker = [{"frame": i, "bbox_xywh": [2 + 1.5 * i, 4, 16, 50]} for i in frames]
        return boxes(path, *walker, *[{"frame": i} | size for i in range(36)])

    def test_people_are_followed(self, tmp_path: Path) -> None:
        video = write(tmp_path / "a.mp4", count=36)
        seen = [i for i in range(36) if not 8 <= i < 18]
        options = MediaOptions(boxes=self.walk(tmp_path / "b.json", seen))
        run_media([video], FakeModel(), tmp_path / "out", options)
        rows = table(tmp_path / "out", "frame", "track_id", "bbox_xywh")
        of = {track: [f for f, t, _ in rows if t == track] for _, track, _ in rows}
        forgetful = MediaOptions(boxes=options.boxes, max_lost=9)
        run_media([video], FakeModel(), tmp_path / "again", forgetful)
        assert len({track for (track,) in table(tmp_path / "again", "track_id")}) == 3
        standing = next(t for _, t, box in rows if box[2] == 20)
        assert of == {standing: list(range(36)), next(t for t in of if t != standing): seen}

    def test_spans(self, tmp_path: Path) -> None:
        video = write(tmp_path / "a.mp4", count=36)
        options = MediaOptions(span=Span(start=3, end=20, stride=6), detector="whole", track=False)
        run_media([video], FakeModel(), tmp_path / "out", options)
        assert table(tmp_path / "out", "frame", "track_id") == [(3, None), (9, None), (15, None)]
        assert prediction_facts(tmp_path / "out")["fps"] == {"a.mp4": 25}

    def test_ids_of_the_file_are_kept(self, tmp_path: Path) -> None:
        video = write(tmp_path / "a.mp4", count=3)
        rows: list[dict[str, Any]] = [
            {"frame": 0, "bbox_xywh": [0, 0, 30, 60], "track_id": "anna"},
            {"frame": 2, "bbox_xywh": [0, 0, 20, 50], "track_id": "anna"},
            {"frame": 2, "bbox_xywh": [40, 0, 30, 60], "track_id": "bert"},
        ]
        run_media([video], FakeModel(), tmp_path / "o", MediaOptions(boxes=boxes(tmp_path / "b.json", *rows)))
        assert table(tmp_path / "o", "frame", "track_id") == [
            (0, "anna"),
            (2, "bert"),
            (2, "anna"),
        ]

    def test_people_walk_on_while_frames_cannot_be_read(self, tmp_path: Path) -> None:
        folder = tmp_path / "frames"
        folder.mkdir()
        for number in range(30):
            broken = 10 <= number < 20
            (folder / f"{number}.png").write_bytes(b"" if broken else encode_png(picture()))
        rows = [{"frame": i, "bbox_xywh": [8 * i, 20, 16, 60]} for i in range(30)]
        options = MediaOptions(sequences=True, boxes=boxes(tmp_path / "b.json", *rows))
        summary = run_media([folder], FakeModel(), tmp_path / "out", options)
        assert summary.skipped == {"image_empty": 10}
        found = table(tmp_path / "out", "source", "frame", "track_id", "image_path")
        assert found[-1] == (".", 29, "0", "29.png")
        assert {row[2] for row in found} == {"0"}

    def test_damage_in_the_middle_keeps_the_rest_and_the_id(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.mp4", count=36, key_every=12, codec="h264", lossless=False)
        begin, size = places(path)[14]
        data = bytearray(path.read_bytes())
        data[begin : begin + size] = b"\xff" * size
        path.write_bytes(data)
        summary = run_media([path], FakeModel(), tmp_path / "out", MediaOptions(detector="whole"))
        lost = summary.skipped["frame_corrupt"]
        assert summary.people == summary.frames == 36 - lost
        assert {track for (track,) in table(tmp_path / "out", "track_id")} == {"0"}


class TestBadInput:
    def run(self, inputs: list[Path], out: Path, **options: Any) -> Summary:
        return run_media(inputs, FakeModel(), out, MediaOptions(**{"detector": "whole"} | options))

    def test_what_cannot_be_read_is_counted(self, tmp_path: Path, photos: Path) -> None:
        (photos / "0.png").write_bytes(b"")
        (photos / "4.mp4").write_bytes(b"\0" * 100)
        summary = self.run([photos], tmp_path / "out")
        assert (summary.sources, summary.unread, summary.people) == (5, 2, 3)
        assert summary.skipped == {"image_empty": 1, "video_broken": 1}
        assert json.loads((tmp_path / "out" / "summary.json").read_text())["skipped"] == summary.skipped

    def test_nothing_can_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(b"no image")
        with pytest.raises(ImageError, match=r"none of 1 inputs could be read; a\.jpg: image_unreadable"):
            self.run([tmp_path / "a.jpg"], tmp_path / "out")
        assert not list((tmp_path / "out").iterdir())

    def test_nobody_is_there(self, tmp_path: Path, photos: Path, caplog: pytest.LogCaptureFixture) -> None:
        rows = [{"source": "1.png", "frame": 7, "bbox_xywh": [0, 0, 5, 5]}]
        path = boxes(tmp_path / "b.json", *rows)
        summary = self.run([photos], tmp_path / "out", detector="given", boxes=path)
        assert (summary.people, summary.empty_frames) == (0, 3)
        assert table(tmp_path / "out", "frame") == []
        assert "nobody was found in 3 frames" in caplog.text

    def test_people_below_the_minimum_are_told(
        self, tmp_path: Path, photos: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A picture of 320 x 240 has hardly anybody of 50 x 150 pixels."""
        found = [[10, 20, 34, 118, 0.9], [100, 20, 30, 100, 0.3]]
        monkeypatch.setattr(whole.Whole, "trusted", False)
        monkeypatch.setattr(whole.Whole, "detect", lambda self, frame: Detections(np.array(found, float)))
        summary = self.run([photos], tmp_path / "none")
        assert (summary.people, summary.skipped) == (0, {"box_below_min_size": 6})
        (note,) = json.loads((tmp_path / "none" / "summary.json").read_text())["notes"]
        assert note == summary.notes[0]
        assert note.startswith("nobody is left: 6 boxes are narrower than 50 or lower than 150 pixels")
        assert "such as 1.png frame 0: 34 x 118 pixels; a smaller min_size (--min-size)" in note
        assert note in caplog.text
        assert "nobody was found" not in caplog.text, "they were"
        summary = self.run([photos], tmp_path / "one", min_size=(34, 118))
        assert (summary.people, summary.notes[0][:8]) == (3, "3 boxes ")
        assert prediction_facts(tmp_path / "one")["min_size"] == [34, 118]
        assert not self.run([photos], tmp_path / "all", min_size=(0, 0)).notes

    def test_odd_boxes_are_counted(self, tmp_path: Path, photos: Path) -> None:
        odd: dict[str, list[list[float]]] = {
            "box_too_small": [[5, 5, 1, 1], [5, 5, 1, 100]],
            "box_outside": [[400, 10, 50, 100], [-90, 10, 50, 100]],
            "box_empty": [[5, 5, -20, 100]],
            "box_not_finite": [[5, float("nan"), 20, 100]],
        }
        rows = [{"source": "2.png", "bbox_xywh": box} for own in odd.values() for box in own]
        path = boxes(tmp_path / "b.json", {"source": "2.png", "bbox_xywh": [100, 20, 90, 200]}, *rows)
        summary = self.run([photos], tmp_path / "out", detector="given", boxes=path)
        # the image shifts a box in that begins left of it: SMPLer-X's rule
        assert summary.people + sum(summary.skipped.values()) == 1 + len(rows)
        assert set(summary.skipped) == set(odd)

    def test_two_hundred_people(self, tmp_path: Path, photos: Path) -> None:
        rows = [{"source": "1.png", "bbox_xywh": [i, i % 90, 20, 60]} for i in range(200)]
        model = FakeModel()
        path = boxes(tmp_path / "b.json", *rows)
        summary = run_media([photos / "1.png"], model, tmp_path / "out", MediaOptions(boxes=path))
        assert (summary.people, max(model.batches)) == (200, 8)

    def test_photographs_are_seen_upright(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(exif_jpeg(picture(), 6))
        self.run([tmp_path / "a.jpg"], tmp_path / "out")
        assert table(tmp_path / "out", "width", "height") == [SIZE[::-1]]

    def test_options_and_paths(self, tmp_path: Path, photos: Path) -> None:
        with pytest.raises(UsageError, match="batch: expected"):
            MediaOptions(batch=0)
        with pytest.raises(UsageError, match="ratio: expected"):
            MediaOptions(ratio=0)
        odd: list[dict[str, Any]] = [
            {"confidence": 1.5}, {"min_size": (-1, 0)}, {"max_lost": -1}, {"person_class": -1},
        ]  # fmt: skip
        for wish in odd:
            with pytest.raises(UsageError, match=f"{next(iter(wish))}: expected"):
                MediaOptions(**wish)
        with pytest.raises(UsageError, match="did you mean 'whole'"):
            self.run([photos], tmp_path / "out", detector="hole")
        with pytest.raises(LayoutError, match="nowhere"):
            self.run([tmp_path / "nowhere"], tmp_path / "out")
        assert not (tmp_path / "out").exists(), "nothing is begun before all is known"


class TestStops:
    @pytest.fixture
    def video(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(parts, "_ROWS", 8)
        return write(tmp_path / "a.mp4", count=60)

    def kept(self, out: Path) -> int:
        assert not (out / "predictions.parquet").exists()
        assert not (out / "summary.json").exists()
        assert not list(out.rglob("*.tmp"))
        return sum(pq.read_table(path).num_rows for path in (out / "partial").glob("*.parquet"))

    @pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
    def test_what_was_predicted_stays(self, tmp_path: Path, video: Path, error: type[BaseException]) -> None:
        def stop(count: int) -> None:
            if len(model.batches) == 7:
                raise error("in the middle")

        model, options = FakeModel(stop), MediaOptions(detector="whole", batch=4)
        with pytest.raises(error, match="in the middle"):
            run_media([video], model, tmp_path / "out", options)
        assert self.kept(tmp_path / "out") == 28
        with pytest.raises(UsageError, match="--overwrite"):
            run_media([video], FakeModel(), tmp_path / "out", options)
        again = MediaOptions(detector="whole", overwrite=True)
        assert run_media([video], FakeModel(), tmp_path / "out", again).people == 60

    def test_the_disk_is_full(self, tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        commit, done = AtomicFile.commit, []

        def full(self: AtomicFile) -> None:
            done.append(self.path)
            if len(done) > 3:
                self.discard()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            commit(self)

        monkeypatch.setattr(AtomicFile, "commit", full)
        with pytest.raises(UnitError, match=r"No space left on device; 24 rows are kept in .*partial"):
            run_media([video], FakeModel(), tmp_path / "out", MediaOptions(detector="whole", batch=4))
        assert self.kept(tmp_path / "out") == 24
