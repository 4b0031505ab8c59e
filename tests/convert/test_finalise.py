"""The end of a conversion: index, tracks and manifest say what the parts hold, or nothing is finished."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import hmtools
from hmtools.convert.finalise import SHAPING_PACKAGES, finalise_split, package_versions
from hmtools.convert.run import convert, make_plans
from hmtools.convert.unit import convert_unit
from hmtools.core.atomic import file_sha256
from hmtools.core.errors import SchemaError
from hmtools.datasets import coco
from hmtools.datasets.base import Dataset, Rejected
from hmtools.engine.job import Unit
from hmtools.humandata.record import Record
from hmtools.shards.reader import open_shards
from tests.convert.one_unit import Clip
from tests.datasets.coco_tree import (
    contents,
    image_row,
    manifest,
    person,
    records,
    run,
    write_picture,
    write_tree,
)

Register = Callable[[type[Dataset]], type[Dataset]]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five images of three people, two images a unit; a crowd, and a box outside."""
    monkeypatch.setattr(coco, "IMAGES_PER_UNIT", 2)
    images = [image_row(900 - i) for i in range(5)]
    people = [person(100 + i, 900 - i % 5) for i in range(15)]
    people[3] = person(103, 897, iscrowd=1)
    people[9] = person(109, 896, bbox=[400, 10, 20, 30])
    return write_tree(tmp_path / "MSCOCO", images, people)


def test_manifest(root: Path, tmp_path: Path) -> None:
    folder = run(root, tmp_path / "out", command="hmtools convert mscoco --here")
    found = manifest(folder)
    assert (found.dataset, found.split, found.role) == ("mscoco", "val2017", "val")
    assert found.counts == {
        "records": 13,
        "images": 5,
        "rejected": 1,
        "filtered": 1,
        "units": 3,
        "tracks": 0,
        "official_records": None,
        "official_images": 5000,
    }
    assert found.rejected == {"box_outside": 1}
    (example,) = found.rejected_examples
    assert example["source"] == "images/val2017/000000000896.jpg 109"
    assert found.filtered == {"crowd": 1}
    assert found.health["records"] == 13
    assert found.options == {
        "images": "full",
        "every": 1,
        "limit": None,
        "only": [],
        "labels": "auto",
        "bodies": "auto",
    }
    assert (found.every, found.images) == (1, "full")
    assert found.world == {"scope": "none", "up": "", "metric": False}
    assert found.card["licence"].startswith("COCO annotations CC BY 4.0")
    assert found.command == "hmtools convert mscoco --here"
    age = datetime.now(UTC) - datetime.fromisoformat(found.created)
    assert 0 <= age.total_seconds() < 60
    assert found.converter["hmtools"] == hmtools.__version__
    assert found.converter["numpy"] == version("numpy")
    assert found.converter["pyarrow"] == version("pyarrow")
    assert found.converter["dataset"] == "mscoco"
    assert found.schema_version == 1


def test_official_counts_of_train(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "coco", [image_row(1)], [person(1, 1)], split="train2017")
    counts = manifest(run(root, tmp_path / "out", split="train2017")).counts
    assert (counts["official_records"], counts["official_images"]) == (149_813, 118_287)


def test_files_are_listed_with_their_checksums(root: Path, tmp_path: Path) -> None:
    folder = run(root, tmp_path / "out")
    listed = {entry["name"]: entry for entry in manifest(folder).files}
    assert {name: entry["sha256"] for name, entry in listed.items()} == contents(folder)
    assert sorted(listed) == sorted(
        [f"mscoco-val2017-u0000{unit}-000.{kind}" for unit in range(3) for kind in ("tar", "arrow")]
        + ["index.arrow", "tracks.arrow"]
    )
    assert all(entry["nbytes"] == (folder / name).stat().st_size for name, entry in listed.items())
    rows = {name: entry["rows"] for name, entry in listed.items()}
    assert rows["index.arrow"] == 13
    assert rows["tracks.arrow"] == 0
    assert sum(count for name, count in rows.items() if name.endswith("000.arrow")) == 13


def test_index_is_the_parts_in_order(root: Path, tmp_path: Path) -> None:
    folder = run(root, tmp_path / "out")
    tables = [pa.ipc.open_file(path).read_all() for path in sorted(folder.glob("*-u*-???.arrow"))]
    index = pa.ipc.open_file(folder / "index.arrow").read_all()
    assert index.drop_columns("part_row").equals(pa.concat_tables(tables))
    assert index["part_row"].to_pylist() == [row for table in tables for row in range(len(table))]
    keys = [(row["sequence"], row["frame"], row["person"]) for row in records(folder)]
    assert keys == sorted(keys)


def test_a_split_in_which_nobody_is_left(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "coco", [image_row(1)], [person(1, 1, iscrowd=1)])
    folder = run(root, tmp_path / "out")
    assert manifest(folder).counts["records"] == 0
    assert manifest(folder).filtered == {"crowd": 1}
    shards = open_shards(folder)
    assert len(shards) == 0
    assert shards.tracks.num_rows == 0


def test_examples_are_the_first_ten_in_plan_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco, "IMAGES_PER_UNIT", 2)
    images = [image_row(number) for number in range(1, 9)]
    people = [person(100 + i, 1 + i % 8, bbox=[0, 0, 0, 0]) for i in range(24)]
    found = manifest(run(write_tree(tmp_path / "coco", images, people), tmp_path / "out"))
    assert found.rejected == {"box_empty": 24}
    wanted = [100 + i for frame in range(4) for i in (frame, frame + 8, frame + 16)][:10]
    assert [int(example["source"].split()[1]) for example in found.rejected_examples] == wanted


def test_versions_are_of_what_shapes_bytes() -> None:
    assert set(package_versions()) <= {"hmtools", *SHAPING_PACKAGES}
    assert {"hmtools", "numpy", "pyarrow"} <= set(package_versions())


class TestNoTraceOfWhereAndWhen:
    @pytest.mark.parametrize("images", ["full", "crop", "none"])
    def test_bytes(self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: str) -> None:
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + 400 * 86_400)
        later = contents(run(root, tmp_path / "later", images=images))
        monkeypatch.setattr(time, "time", now)
        folder = run(root, tmp_path / "out", images=images)
        assert contents(folder) == later, "the time of writing is nowhere"
        for path in folder.iterdir():
            if path.is_file() and path.name != "manifest.json":
                data = path.read_bytes()
                traces = (str(tmp_path), socket.gethostname(), hmtools.__version__, version("pyarrow"))
                for trace in traces:
                    assert trace.encode() not in data, f"{trace} in {path.name}"


class TestRefusals:
    """Whatever is wrong, the split stays unfinished: no manifest."""

    def finalise(self, root: Path, out: Path, *, spoil: Callable[[Path], object], lie: int = 0) -> Path:
        (plan,) = make_plans("mscoco", root=root, out=out)
        folder = plan.task.out
        folder.mkdir(parents=True)
        results = [convert_unit(plan.task, unit) for unit in plan.units]
        spoil(folder)
        if lie:
            counts = results[1].counts | {"records": results[1].counts["records"] + lie}
            results[1] = replace(results[1], counts=counts)
        finalise_split(plan.task, plan.options, "", results)
        return folder

    def test_all_well(self, root: Path, tmp_path: Path) -> None:
        folder = self.finalise(root, tmp_path / "out", spoil=lambda folder: None)
        assert (folder / "manifest.json").is_file()

    def test_missing_part(self, root: Path, tmp_path: Path) -> None:
        def spoil(folder: Path) -> None:
            (folder / "mscoco-val2017-u00001-000.arrow").unlink()

        with pytest.raises(SchemaError, match=r"parts do not match .*missing \['mscoco-val2017-u00001-000"):
            self.finalise(root, tmp_path / "out", spoil=spoil)
        assert not list(tmp_path.rglob("manifest.json"))

    def test_unknown_part(self, root: Path, tmp_path: Path) -> None:
        def spoil(folder: Path) -> None:
            (folder / "mscoco-val2017-u00007-000.arrow").write_bytes(b"")

        with pytest.raises(SchemaError, match=r"unknown \['mscoco-val2017-u00007-000\.arrow'\].*--overwrite"):
            self.finalise(root, tmp_path / "out", spoil=spoil)
        assert not list(tmp_path.rglob("manifest.json"))

    def test_other_counts_than_the_parts_hold(self, root: Path, tmp_path: Path) -> None:
        with pytest.raises(SchemaError, match="units report 12 records, the parts hold 13"):
            self.finalise(root, tmp_path / "out", spoil=lambda folder: None, lie=-1)
        assert not list(tmp_path.rglob("manifest.json"))

    def test_part_of_another_schema(self, root: Path, tmp_path: Path) -> None:
        def spoil(folder: Path) -> None:
            path = folder / "mscoco-val2017-u00001-000.arrow"
            table = pa.ipc.open_file(path).read_all().drop_columns("fps")
            with pa.ipc.new_file(path, table.schema) as writer:
                writer.write_table(table)

        with pytest.raises(SchemaError, match="schema differs"):
            self.finalise(root, tmp_path / "out", spoil=spoil)
        assert not list(tmp_path.rglob("manifest.json"))

    def test_key_in_two_units(self, tmp_path: Path, registered: Register) -> None:
        class Repeats(Clip):
            name = "repeats"
            units = (range(3), range(2, 5))

        registered(Repeats)
        for frame in range(5):
            write_picture(tmp_path / f"raw/walk/{frame}.jpg")
        with pytest.raises(
            SchemaError, match=r"2 keys occur in more than one unit \(repeats/val2017/walk/000002_0"
        ):
            convert("repeats", root=tmp_path / "raw", out=tmp_path / "out", workers=0, progress=False)
        folder = tmp_path / "out/repeats/val2017"
        assert not (folder / "manifest.json").exists()
        assert json.loads((folder / ".job/failed/finalise.json").read_text())["reason"].startswith(
            "SchemaError"
        )


class TestVideo:
    def test_tracks_have_no_gap_where_an_image_is_rejected(
        self, tmp_path: Path, registered: Register
    ) -> None:
        registered(Clip)
        for frame in range(5):
            write_picture(tmp_path / f"raw/walk/{frame}.jpg")
        (tmp_path / "raw/walk/1.jpg").write_bytes(b"")
        folder = run(tmp_path / "raw", tmp_path / "out", name="clip")
        found = manifest(folder)
        assert found.rejected == {"image_empty": 2}
        assert (found.counts["records"], found.counts["tracks"], found.counts["images"]) == (10, 2, 4)
        tracks = open_shards(folder).tracks.to_pylist()
        assert [(t["track_id"], t["segment"], t["frames"], t["step"]) for t in tracks] == [
            ("person 0", 0, [0, 1, 2, 3, 4], 1),
            ("person 1", 0, [0, 1, 2, 3, 4], 1),
        ]
        assert [t["rows"] for t in tracks] == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]
        assert tracks[0]["fps"] == pytest.approx(29.97)
        sample = open_shards(folder)[2]
        assert sample.image is None
        assert json.loads(sample.record["meta"]) == {"image_rejected": "image_empty"}

    def test_tracks_of_a_sampled_set_carry_the_step(self, tmp_path: Path, registered: Register) -> None:
        class Whole(Clip):
            name = "whole"
            units = (range(9),)

            def read(self, root: Path, unit: Unit) -> Iterator[Record | Rejected]:
                for found in super().read(root, unit):
                    if isinstance(found, Record):
                        found.source_index = found.frame
                        if found.frame != 6 or found.person:
                            yield found

        registered(Whole)
        folder = run(tmp_path, tmp_path / "out", name="whole", images="none", every=2)
        tracks = open_shards(folder).tracks.to_pylist()
        assert [(t["track_id"], t["segment"], t["frames"], t["step"]) for t in tracks] == [
            ("person 0", 0, [0, 2, 4], 2),
            ("person 0", 1, [8], 2),
            ("person 1", 0, [0, 2, 4, 6, 8], 2),
        ]
        assert manifest(folder).every == 2


def test_fps_and_numbers_are_the_same_in_tar_and_table(tmp_path: Path, registered: Register) -> None:
    """29.97 is no float32: what is read from either has to be the same number."""
    from hmtools.convert.validate import validate_split

    registered(Clip)
    for frame in range(5):
        write_picture(tmp_path / f"raw/walk/{frame}.jpg")
    folder = run(tmp_path / "raw", tmp_path / "out", name="clip", images="crop")
    assert validate_split(folder).problems == []
    assert records(folder)[0]["fps"] == np.float32(29.97)


def test_finalising_again_gives_the_same_bytes(root: Path, tmp_path: Path) -> None:
    folder = run(root, tmp_path / "out")
    before = contents(folder)
    (folder / ".job/finalised.json").unlink()
    (folder / "index.arrow").write_bytes(b"damaged")
    assert run(root, tmp_path / "out") == folder
    assert contents(folder) == before
    assert file_sha256(folder / "index.arrow") == before["index.arrow"]
