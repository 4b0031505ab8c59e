from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.core.errors import SchemaError, UsageError
from hmtools.humandata.keys import key_encode
from hmtools.humandata.parquet import ROW_GROUP
from hmtools.infer.outputs.scenes import count_rows, frames, scan, tracks
from tests.infer.outputs.predicted import write_table


def row(source: str | None, frame: int | None, track: str | None, **more: Any) -> dict[str, Any]:
    return {"source": source, "frame": frame, "track_id": track, **more}


def test_people_and_frames_of_an_interleaved_table(tmp_path: Path) -> None:
    """Two videos row by row, more rows than a batch: tracks and frames come whole and in order."""
    count = ROW_GROUP + 50
    rows = [
        row(name, frame, track, score=frame + 0.5 * (track == "b"))
        for frame in range(count // 4)
        for name in ("x/one.mp4", "x/two.mp4")
        for track in ("a", "b")
    ]
    rows.append(row("x/one.mp4", 1000, "late"))
    index = scan(write_table(tmp_path / "p.parquet", rows))
    assert count_rows(tmp_path) == len(rows)
    assert [scene.label for scene in index.scenes] == ["one", "two"]
    found = {track.label: track for track in tracks(index, ["score"])}
    assert list(found)[-1] == "one_late"
    assert set(found) == {"one_a", "one_b", "two_a", "two_b", "one_late"}
    for label in ("one_a", "two_b"):
        assert found[label].frames.tolist() == list(range(count // 4))
        np.testing.assert_array_equal(found[label].columns["score"] % 1, 0.5 * label.endswith("b"))
        np.testing.assert_array_equal(np.floor(found[label].columns["score"]), found[label].frames)
    assert np.isnan(found["one_late"].columns["score"]).all()
    shown = list(frames(index, ["score"]))
    order = [(frame.scene.label, frame.number) for frame in shown]
    assert order == sorted(order)
    assert len(order) == 2 * (count // 4) + 1
    assert all(len(frame.people) == 2 for frame in shown[:-1] if frame.number < 1000)
    assert shown[3].labels == ("one_a", "one_b")


def test_records_are_sequences_or_single_images(tmp_path: Path) -> None:
    moving = [
        {"key": key_encode("pw3d", "test", "walk.1", frame, 0), "track_id": "walk.1_0"} for frame in (4, 2)
    ]
    still = [{"key": key_encode("agora", "validation", "v", 7, person)} for person in (3, 5)]
    index = scan(write_table(tmp_path / "p.parquet", [*moving, *still, {"key": "my own"}]))
    assert [scene.name for scene in index.scenes] == [
        "pw3d/test/walk.1",
        "agora/validation/v/000007",
        "my own",
    ]
    assert [label for _, label, _ in index.people] == ["walk.1_0", "000007_3", "000007_5", "my_own_0"]
    (walk, *_) = tracks(index, ["key"])
    assert walk.frames.tolist() == [2, 4], "sorted by time, whatever the order of the rows"
    assert walk.scene.step == 2
    assert walk.columns["key"][0].endswith("000002_0")


def test_names_never_meet(tmp_path: Path) -> None:
    sources = ["a/clip.mp4", "b/clip.mp4", "B/Clip.mov", "../etc/../.", "c d?.mp4", "a/clip.mp4_1", "é.jpg"]
    index = scan(write_table(tmp_path / "p.parquet", [row(name, 0, "1/2") for name in sources]))
    labels = [scene.label for scene in index.scenes] + [label for _, label, _ in index.people]
    for names in (labels[: len(sources)], labels[len(sources) :]):
        assert len({name.casefold() for name in names}) == len(sources)
    assert not any("/" in name or name.startswith(".") or "?" in name for name in labels)
    assert labels[0] == "a_clip.mp4"


def test_the_biggest_is_one_person_per_scene(tmp_path: Path) -> None:
    def box(side: float) -> list[float]:
        return [10, 20, side, side, 1]

    rows = [
        row("v.mp4", 0, "near", bbox_xywh=box(50)),
        row("v.mp4", 0, "once", bbox_xywh=box(60)),
        row("v.mp4", 1, "near", bbox_xywh=box(50)),
        row("i.jpg", 0, None),
        row("i.jpg", 0, None, bbox_xywh=box(5)),
        row("j.jpg", 0, None),
    ]
    index = scan(write_table(tmp_path / "p.parquet", rows))
    kept = index.biggest()
    assert kept.tolist() == [True, False, True, False, True, True]
    windows = index.windows(kept)
    assert [windows[s].tolist() for s in index.scenes[:2]] == [[10, 20, 60, 70], [10, 20, 15, 25]]
    assert index.scenes[2] not in windows
    assert [track.label for track in tracks(index, ["score"], kept)] == ["v_near", "i_1", "j_0"]
    assert sum(len(frame.people) for frame in frames(index, ["score"], kept)) == 4


def test_tables_that_say_too_little_or_too_much(tmp_path: Path) -> None:
    twice = write_table(tmp_path / "p.parquet", [row("v.mp4", 3, "1"), row("v.mp4", 3, "1")])
    with pytest.raises(SchemaError, match="two rows of frame 3"):
        list(tracks(scan(twice), ["score"]))
    nobody = write_table(tmp_path / "n.parquet", [row("v.mp4", 0, "1"), row(None, 1, "1")])
    with pytest.raises(SchemaError, match="row 1 has neither key nor source"):
        scan(nobody)
    with pytest.raises(UsageError, match="no rows"):
        scan(write_table(tmp_path / "e.parquet", []))
    with pytest.raises(SchemaError, match="without key, source and image_path"):
        scan(write_table(tmp_path / "u.parquet", [row(None, 0, "1")]))
