from __future__ import annotations

import gc
import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

import hmtools
from hmtools.core.errors import LayoutError, SchemaError, UsageError
from hmtools.core.image import ImageError, decode_rgb
from hmtools.geometry.crop import apply_affine
from hmtools.humandata.record import Record, columns
from hmtools.shards import reader as reader_module
from hmtools.shards.reader import Shards

RecordMaker = Callable[..., Record]
ImageMaker = Callable[[int], npt.NDArray[np.uint8]]
Descriptors = Callable[[], dict[str, str]]


@pytest.fixture(scope="module")
def frames(make_record: RecordMaker) -> Sequence[Sequence[Record]]:
    """Seven frames of two people with a track each; all ways to store a frame."""
    operations = ["none", "rot90cw", "rot90ccw", "hflip", "rot90cw", "none", "rot90ccw"]
    return [
        [make_record(frame, person, image_op=operation, track_id=f"t{person}") for person in range(2)]
        for frame, operation in enumerate(operations)
    ]


@pytest.fixture(scope="module")
def crop(
    tmp_path_factory: pytest.TempPathFactory,
    make_split: Callable[..., Path],
    frames: Sequence[Sequence[Record]],
) -> Path:
    return make_split(tmp_path_factory.mktemp("crop"), frames, units=3)


@pytest.fixture(scope="module")
def full(
    tmp_path_factory: pytest.TempPathFactory,
    make_split: Callable[..., Path],
    frames: Sequence[Sequence[Record]],
) -> Path:
    return make_split(tmp_path_factory.mktemp("full"), frames, images="full", units=2)


@pytest.fixture
def copied(tmp_path: Path, crop: Path) -> Path:
    """The crop split, to be damaged."""
    shutil.copytree(crop, tmp_path / "copied")
    return tmp_path / "copied"


def assert_coded(image: npt.NDArray[np.uint8], affine: npt.ArrayLike, frame: int, slack: float) -> None:
    """Colours must say where in the upright image a pixel came from, as ``affine`` (upright → image) says."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:64, :96]
    points = apply_affine(affine, np.stack([x, y], axis=-1)).round().astype(int)
    inside = ((points >= 0) & (points < [width, height])).all(axis=-1)
    assert inside.sum() == width * height  # every pixel comes from the upright image
    found = image[points[inside][:, 1], points[inside][:, 0]].astype(float)
    expected = np.stack([x[inside], y[inside], np.full(inside.sum(), 40 * frame % 256)], axis=-1)
    assert np.abs(found - expected).max() <= slack


def test_a_split_is_a_sequence(crop: Path, frames: Sequence[Sequence[Record]]) -> None:
    shards = hmtools.open(crop)
    keys = [person.key for people in frames for person in people]
    assert len(shards) == 14
    assert [shards[index].record["key"] for index in range(14)] == keys
    assert [sample.record["key"] for sample in shards] == keys
    assert [shards.row(index)["key"] for index in range(-14, 0)] == keys
    assert shards[-1].record["key"] == keys[-1]
    assert shards[np.int64(3)].record["key"] == keys[3]
    assert repr(shards) == "<Shards mini/val: 14 records, images crop>"


@pytest.mark.parametrize("index", [14, -15, 10**12])
def test_there_is_nothing_outside(crop: Path, index: int) -> None:
    with pytest.raises(IndexError, match=f"row {index} of 14"):
        hmtools.open(crop)[index]


@pytest.mark.parametrize("index", [slice(0, 3), "key", 1.0, None, (0, 1)])
def test_only_whole_numbers_index(crop: Path, index: Any) -> None:
    with pytest.raises(TypeError, match=r"whole number, not .*select"):
        hmtools.open(crop)[index]


def test_records_are_what_was_written(crop: Path, frames: Sequence[Sequence[Record]]) -> None:
    shards = hmtools.open(crop)
    for index, person in enumerate(person for people in frames for person in people):
        row = shards.row(index)
        assert set(row) == {column.name for column in columns()} | {"part_row"}
        for column in columns():
            if column.name in ("image_affine", "shard", "offset", "nbytes"):
                continue  # what the split has made of its image
            expected = getattr(person, column.name)
            if column.cell == "f32" and expected is not None:
                expected = np.float32(expected)
            np.testing.assert_equal(row[column.name], expected, column.name)


def test_crops(crop: Path) -> None:
    shards = hmtools.open(crop)
    for sample in shards:
        assert sample.image is not None
        assert sample.image.shape == (40, 48, 3)
        assert sample.image.dtype == np.uint8
        np.testing.assert_array_equal(sample.affine, sample.record["image_affine"])
        assert_coded(sample.image, sample.affine, sample.record["frame"], slack=2)  # JPEG


def test_full_frames_come_back_upright(full: Path, upright_image: ImageMaker) -> None:
    shards = hmtools.open(full)
    for sample in shards:
        frame = sample.record["frame"]
        assert sample.image is not None
        assert sample.image.shape == (64, 96, 3)
        assert sample.image.flags.c_contiguous
        np.testing.assert_allclose(sample.affine, np.eye(2, 3), atol=1e-9)
        assert_coded(sample.image, sample.affine, frame, slack=2 if frame % 2 else 0)
        if frame % 2 == 0:  # PNG
            np.testing.assert_array_equal(sample.image, upright_image(frame))


def test_the_stored_affine_says_how_the_file_has_it(full: Path) -> None:
    shards = hmtools.open(full)
    for index in range(len(shards)):
        row = shards.row(index)
        data = shards.image_bytes(row)
        assert data is not None
        turned = row["image_op"] in ("rot90cw", "rot90ccw")
        assert decode_rgb(data).shape == ((96, 64, 3) if turned else (64, 96, 3))
        assert (row["image_affine"] is None) == (row["image_op"] == "none")
        affine = np.eye(2, 3) if row["image_affine"] is None else row["image_affine"]
        assert_coded(decode_rgb(data), affine, row["frame"], slack=2)


def test_without_images(
    tmp_path: Path, make_split: Callable[..., Path], frames: Sequence[Sequence[Record]]
) -> None:
    shards = hmtools.open(make_split(tmp_path, [[person] for person in frames[0]], images="none"))
    assert [sample.image for sample in shards] == [None, None]
    assert len(shards) == 2


def test_rows_without_an_image(
    tmp_path: Path, make_split: Callable[..., Path], make_record: RecordMaker
) -> None:
    shards = hmtools.open(make_split(tmp_path, [[make_record(frame)] for frame in range(4)], lost=[1, 2]))
    assert [sample.image is None for sample in shards] == [False, True, True, False]
    assert [sample.record["frame"] for sample in shards] == [0, 1, 2, 3]
    np.testing.assert_array_equal(shards[1].affine, np.eye(2, 3))


def test_select(crop: Path) -> None:
    shards = hmtools.open(crop)
    some = shards.select("frame >= 2 and person = 1")
    assert [sample.record["frame"] for sample in some] == [2, 3, 4, 5, 6]
    assert {sample.record["person"] for sample in some} == {1}
    fewer = some.select("frame != 3").select("frame < 6")
    assert [fewer.row(index)["frame"] for index in range(len(fewer))] == [2, 4, 5]
    assert fewer.row(-1)["frame"] == 5
    with pytest.raises(IndexError, match="row 3 of 3"):
        fewer[3]
    assert len(shards.select("frame > 99")) == 0
    assert len(shards) == 14
    for name in ("frame", "key"):
        assert fewer.table.column(name).to_pylist() == [fewer.row(index)[name] for index in range(3)]
    with pytest.raises(UsageError, match="frme"):
        some.select("frme = 1")


needs_proc = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")


def addresses(column: pa.ChunkedArray) -> list[int]:
    found = [buffer for chunk in column.chunks for buffer in chunk.buffers()]
    return [buffer.address for buffer in found if buffer is not None and buffer.size]


@needs_proc
def test_the_table_is_a_view_of_the_file(crop: Path) -> None:
    shards = hmtools.open(crop)
    before = pa.total_allocated_bytes()
    table = shards.table
    assert pa.total_allocated_bytes() - before < 10_000
    spans = [
        tuple(int(end, 16) for end in line.split()[0].split("-"))
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith(str(crop / "index.arrow"))
    ]
    places = [place for name in ("key", "bbox_xywh", "pose_valid") for place in addresses(table.column(name))]
    assert len(places) > 9
    assert all(any(start <= place < end for start, end in spans) for place in places)
    assert table.column("key").to_pylist() == [sample.record["key"] for sample in shards]


def test_tracks_number_the_whole_split(crop: Path) -> None:
    shards = hmtools.open(crop)
    for found in (shards.tracks, shards.select("person = 1").tracks):
        rows = found.to_pylist()
        assert [(row["track_id"], row["rows"]) for row in rows] == [
            ("t0", list(range(0, 14, 2))),
            ("t1", list(range(1, 14, 2))),
        ]
        for row in rows:
            assert [shards.row(index)["frame"] for index in row["rows"]] == row["frames"]


def test_pickling_keeps_the_selection_and_no_handle(crop: Path) -> None:
    shards = hmtools.open(crop).select("person = 1")
    shards[0]
    text = pickle.dumps(shards)
    assert len(text) < 2000
    again = pickle.loads(text)
    assert isinstance(again, Shards)
    assert [sample.record["key"] for sample in again] == [sample.record["key"] for sample in shards]


def digest(shards: Shards, order: Sequence[int]) -> list[tuple[str, int]]:
    """What identifies every image that is read: key and sum of pixels."""
    return [(sample.record["key"], int(sample.image.sum())) for sample in (shards[i] for i in order)]  # type: ignore[union-attr]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_reads_while_its_parent_reads(
    full: Path,
) -> None:
    shards = hmtools.open(full)
    order = list(range(len(shards)))
    expected = digest(shards, order)
    context = multiprocessing.get_context("fork")
    parent_end, child_end = context.Pipe()

    def child() -> None:
        for _ in range(20):
            child_end.send(digest(shards, order))
        shards.close()
        child_end.send([])

    process = context.Process(target=child, daemon=True)
    process.start()
    for _ in range(20):
        assert digest(shards, order[::-1]) == expected[::-1]
        assert parent_end.recv() == expected
    assert parent_end.recv() == []
    process.join(30)
    assert process.exitcode == 0
    assert digest(shards, order) == expected  # the child closed its own handles, not ours
    parent_end.close()
    child_end.close()


@needs_proc
def test_at_most_64_tars_are_open(
    tmp_path: Path,
    make_split: Callable[..., Path],
    make_record: RecordMaker,
    monkeypatch: pytest.MonkeyPatch,
    open_descriptors: Descriptors,
) -> None:
    assert reader_module._HANDLES == 64
    monkeypatch.setattr(reader_module, "_HANDLES", 3)
    folder = make_split(tmp_path, [[make_record(frame)] for frame in range(6)], units=6)
    names = [f"mini-val-u{unit:05d}-000.tar" for unit in range(6)]

    def tars() -> list[str]:
        opened = (Path(target) for target in open_descriptors().values())
        return sorted(path.name for path in opened if path.parent == folder and path.suffix == ".tar")

    shards = hmtools.open(folder)
    for index in (0, 1, 2):
        shards[index]
    assert tars() == names[:3]
    shards[0]  # used last: tar 1 has to go first
    shards[3]
    assert tars() == [names[0], *names[2:4]]
    for index in (5, 4, 3, 2, 1, 0):
        assert shards[index].record["frame"] == index
        assert len(tars()) == 3
    shards.close()
    assert tars() == []
    assert shards[5].image is not None  # opens again
    assert tars() == names[5:]
    del shards
    gc.collect()
    assert tars() == []


def test_a_missing_tar(copied: Path) -> None:
    (copied / "mini-val-u00001-000.tar").unlink()
    shards = hmtools.open(copied)
    assert shards[0].image is not None
    with pytest.raises(SchemaError, match=r"u00001-000\.tar: missing.*copy it again"):
        shards[5]
    assert shards.row(5)["frame"] == 2


def test_a_short_tar(copied: Path) -> None:
    shards = hmtools.open(copied)
    row = shards.row(1)
    os.truncate(copied / row["shard"], row["offset"] + row["nbytes"] - 1)
    assert shards[0].image is not None
    with pytest.raises(SchemaError, match=f"{row['shard']}.*{row['key']}.*hmtools validate"):
        shards[1]


def test_a_damaged_image(copied: Path) -> None:
    shards = hmtools.open(copied)
    row = shards.row(1)
    with (copied / row["shard"]).open("r+b") as file:
        file.seek(row["offset"])
        file.write(bytes(row["nbytes"]))
    with pytest.raises(ImageError, match=f"{row['key']}.*{row['shard']}.*hmtools validate"):
        shards[1]


@pytest.mark.parametrize("shard", ["../evil.tar", "/etc/passwd", "..", "", "a/b.tar", "manifest.json"])
def test_an_index_that_leads_elsewhere(copied: Path, shard: str) -> None:
    (copied.parent / "evil.tar").write_bytes(b"secret" * 1000)
    path = copied / "index.arrow"
    table = pa.ipc.open_file(path.read_bytes()).read_all()
    where = table.schema.get_field_index("shard")
    table = table.set_column(where, table.schema.field(where), pa.array([shard] * len(table)))
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(SchemaError, match="is not the plain name of a tar; refused"):
        hmtools.open(copied)[0]


@pytest.mark.parametrize("name", ["index.arrow", "tracks.arrow"])
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_damaged_tables(copied: Path, name: str, damage: str) -> None:
    if damage == "missing":
        (copied / name).unlink()
    else:
        os.truncate(copied / name, 300)
    shards = hmtools.open(copied)
    with pytest.raises(SchemaError, match=rf"{name}: not a complete Arrow file .*again"):
        _ = shards.tracks if name == "tracks.arrow" else len(shards)


def test_a_damaged_manifest(copied: Path) -> None:
    values = json.loads((copied / "manifest.json").read_text())
    for text in ("{", "[]", json.dumps(values | {"schema_version": 2}), json.dumps(values | {"new": 1})):
        (copied / "manifest.json").write_text(text)
        with pytest.raises(SchemaError, match=r"manifest\.json"):
            hmtools.open(copied)


@needs_proc
def test_a_reader_that_was_never_used_ends_quietly(crop: Path, open_descriptors: Descriptors) -> None:
    before = set(open_descriptors().values())
    assert hmtools.open(crop).manifest.images == "crop"  # nothing else was opened
    with pytest.raises(LayoutError):
        Shards(crop.parent)
    gc.collect()
    assert set(open_descriptors().values()) <= before


def test_nothing_is_left_to_complain_about_at_exit(crop: Path) -> None:
    code = f"import hmtools; shards = hmtools.open({str(crop)!r}); print(shards[0].image.shape)"
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "(40, 48, 3)\n", "")
