"""``validate``: every way in which a finished split can be wrong is found and named; a sound one is not."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from hmtools.convert.validate import Problem, rebuild_index, validate_split
from hmtools.core.errors import LayoutError, SchemaError
from hmtools.core.image import encode_jpeg
from hmtools.humandata.manifest import read_manifest
from hmtools.humandata.record import Record
from hmtools.humandata.schema import record_schema
from hmtools.shards.index import part_tables, write_index
from tests.convert.spoiling import FIRST, SECOND, edit_manifest, edit_rows, kinds, member, put, reseal, spoil
from tests.datasets.coco_tree import (
    contents,
    image_row,
    person,
    picture,
    run,
    write_tree,
)


class TestSound:
    @pytest.mark.parametrize(("images", "stored"), [("crop", 8), ("full", 4), ("none", 0)])
    def test_ok(self, root: Path, tmp_path: Path, images: str, stored: int) -> None:
        folder = run(root, tmp_path / "out", images=images)
        found = validate_split(folder)
        assert found.problems == []
        assert found.ok
        assert (found.path, found.records, found.images) == (folder, 8, stored)

    def test_in_processes(self, crops: Path) -> None:
        seen: list[int] = []
        found = validate_split(crops, workers=2, advance=seen.append)
        assert (found.ok, found.records, seen) == (True, 8, [4, 4])
        spoil(crops / f"{SECOND}.tar", member(crops, SECOND, "npz")[0])
        assert kinds(validate_split(crops, workers=2)) == {"sha256", "sample"}

    def test_empty(self, tmp_path: Path) -> None:
        root = write_tree(tmp_path / "coco", [image_row(1)], [person(1, 1, iscrowd=1)])
        found = validate_split(run(root, tmp_path / "out"))
        assert (found.ok, found.records) == (True, 0)

    def test_what_else_lies_in_the_folder_does_not_matter(self, crops: Path) -> None:
        (crops / "notes.txt").write_text("mine")
        (crops / f"{FIRST}.features-a1b2.arrow").write_text("a sidecar")
        assert validate_split(crops).ok

    @pytest.mark.real
    def test_real_excerpt(self, samples: Path, tmp_path: Path) -> None:
        for images in ("crop", "full", "none"):
            found = validate_split(run(samples / "mscoco", tmp_path / images, images=images))
            assert found.problems == []
            assert found.records == 12


class TestFiles:
    def test_bytes_that_changed(self, crops: Path) -> None:
        for name in contents(crops):
            data = (crops / name).read_bytes()
            spoil(crops / name, len(data) // 2)
            problems = validate_split(crops).problems
            assert Problem("sha256", name, "content differs from what was written") in problems
            (crops / name).write_bytes(data)
        assert validate_split(crops).ok

    def test_files_that_end_early(self, crops: Path) -> None:
        for name in contents(crops):
            data = (crops / name).read_bytes()
            (crops / name).write_bytes(data[:-7])
            found = validate_split(crops)
            detail = f"manifest says {len(data)} bytes, found {len(data) - 7}"
            assert Problem("size", name, detail) in found.problems
            assert len(found.problems) > 1, "and cannot be read"
            (crops / name).write_bytes(data)
        assert validate_split(crops).ok

    def test_files_that_are_gone(self, crops: Path) -> None:
        for name in contents(crops):
            data = (crops / name).read_bytes()
            (crops / name).unlink()
            assert (
                Problem("missing", name, "listed in the manifest, not in the folder")
                in validate_split(crops).problems
            )
            (crops / name).write_bytes(data)
        assert validate_split(crops).ok

    def test_files_without_a_byte(self, crops: Path) -> None:
        for name in contents(crops):
            data = (crops / name).read_bytes()
            (crops / name).write_bytes(b"")
            assert "size" in kinds(validate_split(crops))
            (crops / name).write_bytes(data)

    def test_parts_nobody_knows(self, crops: Path) -> None:
        for kind in ("tar", "arrow"):
            shutil.copy(crops / f"{FIRST}.{kind}", crops / f"mscoco-val2017-u00007-000.{kind}")
        found = validate_split(crops)
        unknown = {problem.where for problem in found.problems if problem.kind == "unknown"}
        assert unknown == {"mscoco-val2017-u00007-000.tar", "mscoco-val2017-u00007-000.arrow"}
        assert "count" in kinds(found)

    def test_a_tar_nobody_knows(self, crops: Path) -> None:
        """Plain webdataset reads every tar of the folder."""
        shutil.copy(crops / f"{FIRST}.tar", crops / "copy.tar")
        assert validate_split(crops).problems == [
            Problem("unknown", "copy.tar", "not listed in the manifest")
        ]

    def test_names_that_leave_the_folder(self, crops: Path) -> None:
        (crops.parent / "elsewhere").write_text("x")
        edit_manifest(crops, lambda values: values["files"][0].update(name="../elsewhere"))
        assert "missing" in kinds(validate_split(crops))


class TestManifest:
    def test_records(self, crops: Path) -> None:
        edit_manifest(crops, lambda values: values["counts"].update(records=9))
        assert validate_split(crops).problems == [
            Problem("count", str(crops), "manifest says 9 records, found 8")
        ]

    def test_rows_of_a_part(self, crops: Path) -> None:
        edit_manifest(crops, lambda values: values["files"][1].update(rows=3))
        assert validate_split(crops).problems == [
            Problem("count", f"{FIRST}.arrow", "manifest says 3 rows, found 4")
        ]

    def test_another_convention(self, crops: Path) -> None:
        edit_manifest(crops, lambda values: values["spec"].update(keypoints2d="coco_17"))
        assert {"schema", "index", "count"} <= kinds(validate_split(crops))

    def test_no_manifest(self, crops: Path) -> None:
        (crops / "manifest.json").unlink()
        with pytest.raises(LayoutError, match="unfinished conversion"):
            validate_split(crops)
        with pytest.raises(LayoutError):
            rebuild_index(crops)

    def test_damaged_manifest(self, crops: Path) -> None:
        (crops / "manifest.json").write_text("{")
        with pytest.raises(SchemaError, match="damaged manifest"):
            validate_split(crops)


class TestTables:
    """Checksums fit, so the writer must have been wrong."""

    @pytest.mark.parametrize(
        ("column", "value", "kind"),
        [
            ("key", "mscoco/val2017/val2017/000001_7", "key"),
            ("key", "no key", "record"),
            ("person", 5, "key"),
            ("frame", 3, "key"),
            ("sequence", "train2017", "key"),
            ("bbox_xywh", [500.0, 1.0, 10.0, 10.0, 1.0], "record"),
            ("bbox_xywh", [10.0, 1.0, float("nan"), 10.0, 1.0], "record"),
            ("bbox_xywh", None, "record"),
            ("width", 0, "record"),
            ("bbox_xywh", [11.0, 8.0, 40.0, 60.0, 1.0], "content"),
            ("source_id", "another", "content"),
            ("keypoints2d_original", None, "content"),
            ("nbytes", 17, "content"),
            ("shard", f"{SECOND}.tar", "content"),
            ("offset", 513, "offset"),
            ("width", 20, "image"),
        ],
    )  # fmt: skip
    def test_cells(self, crops: Path, column: str, value: Any, kind: str) -> None:
        edit_rows(crops, FIRST, lambda rows: put(rows[0], **{column: value}))
        assert kind in kinds(validate_split(crops))

    def test_an_offset_where_nothing_lies(self, crops: Path) -> None:
        edit_rows(crops, FIRST, lambda rows: put(rows[0], offset=513))
        details = [problem.detail for problem in validate_split(crops).problems if problem.kind == "offset"]
        assert details == ["1 people in the tar, 0 rows point at it", "no sample at byte 513 of its shard"]

    def test_offsets_of_two_people_swapped(self, crops: Path) -> None:
        def swap(rows: list[Record]) -> None:
            rows[0].offset, rows[1].offset = rows[1].offset, rows[0].offset

        edit_rows(crops, FIRST, swap)
        found = validate_split(crops)
        assert kinds(found) == {"content"}
        assert len(found.problems) == 2
        assert all("differ in key" in problem.detail for problem in found.problems)

    def test_two_people_at_one_place(self, crops: Path) -> None:
        edit_rows(crops, FIRST, lambda rows: put(rows[0], offset=rows[1].offset))
        assert {"offset", "content"} <= kinds(validate_split(crops))

    def test_a_person_that_the_frame_does_not_have(self, full: Path) -> None:
        edit_rows(full, FIRST, lambda rows: rows.pop(0))
        assert {"offset", "count"} <= kinds(validate_split(full))

    def test_rows_without_an_image(self, crops: Path) -> None:
        edit_rows(crops, FIRST, lambda rows: put(rows[0], shard=None, offset=None, nbytes=None))
        assert "offset" in kinds(validate_split(crops)), "a sample that no row points at"

    def test_duplicate_key(self, crops: Path) -> None:
        keys = pa.ipc.open_file(crops / f"{FIRST}.arrow").read_all()["key"].to_pylist()
        edit_rows(crops, SECOND, lambda rows: put(rows[0], key=keys[0]))
        found = validate_split(crops)
        assert Problem("duplicate_key", keys[0], "occurs twice") in found.problems

    def test_problems_of_one_part_are_listed_up_to_fifty(self, tmp_path: Path) -> None:
        root = write_tree(tmp_path / "coco", [image_row(1)], [person(i, 1) for i in range(60)])
        folder = run(root, tmp_path / "out", images="none")
        edit_rows(folder, FIRST, lambda rows: [put(row, width=0) for row in rows])
        assert len(validate_split(folder).problems) == 50


class TestIndex:
    def test_rows_in_another_order(self, crops: Path) -> None:
        path = crops / "index.arrow"
        table = pa.ipc.open_file(path).read_all()
        rows = table.to_pylist()
        with pa.ipc.new_file(path, table.schema) as writer:
            for part in (rows[4:], rows[:4]):
                writer.write_table(pa.Table.from_pylist(part, schema=table.schema))
        reseal(crops)
        found = validate_split(crops)
        assert kinds(found) == {"index"}
        assert f"differs from {FIRST}.arrow" in found.problems[0].detail

    @pytest.mark.parametrize("parts", [1, 3])
    def test_too_few_or_too_many_rows(self, crops: Path, parts: int) -> None:
        tables = part_tables(crops)
        schema = record_schema(read_manifest(crops).record_spec())
        write_index(crops, [*tables, *tables][:parts], schema)
        reseal(crops)
        assert kinds(validate_split(crops)) == {"index"}

    def test_a_table_that_changed_behind_it(self, crops: Path) -> None:
        edit_rows(crops, SECOND, lambda rows: put(rows[2], source_id="another"), index=False)
        assert kinds(validate_split(crops)) == {"index", "content"}

    @pytest.mark.parametrize("name", ["index.arrow", "tracks.arrow"])
    def test_no_arrow_file(self, crops: Path, name: str) -> None:
        (crops / name).write_text("<html>")
        reseal(crops)
        assert kinds(validate_split(crops)) == {"index"}


class TestTars:
    def test_image(self, full: Path) -> None:
        spoil(full / f"{FIRST}.tar", member(full, FIRST, "jpg")[0], length=2)
        reseal(full)
        assert kinds(validate_split(full)) == {"image"}

    @pytest.mark.parametrize("ending", ["npz", "json"])
    def test_numbers_and_text(self, crops: Path, ending: str) -> None:
        spoil(crops / f"{FIRST}.tar", member(crops, FIRST, ending)[0])
        reseal(crops)
        assert kinds(validate_split(crops)) == {"sample"}

    def test_a_letter_of_the_text(self, crops: Path) -> None:
        path = crops / f"{FIRST}.tar"
        path.write_bytes(path.read_bytes().replace(b'"source_id":"100"', b'"source_id":"101"'))
        reseal(crops)
        found = validate_split(crops)
        assert kinds(found) == {"content"}
        assert "tar and table differ in source_id" in found.problems[0].detail

    @pytest.mark.parametrize(("images", "size"), [("full", (95, 80)), ("crop", (97, 80)), ("crop", (96, 81))])
    def test_an_image_of_another_size(
        self, root: Path, tmp_path: Path, images: str, size: tuple[int, int]
    ) -> None:
        folder = run(root, tmp_path / "out", images=images)
        place, length = member(folder, FIRST, "jpg")
        other = encode_jpeg(picture(*size), 30)
        assert len(other) < length
        path = folder / f"{FIRST}.tar"
        data = bytearray(path.read_bytes())
        data[place : place + length] = other + bytes(length - len(other))  # what follows the end is not read
        path.write_bytes(data)
        reseal(folder)
        assert kinds(validate_split(folder)) == {"image"}

    def test_a_member_that_leaves_the_folder(self, crops: Path) -> None:
        import io
        import tarfile

        with tarfile.open(crops / f"{FIRST}.tar", "w") as archive:
            info = tarfile.TarInfo("../evil.jpg")
            info.size = 4
            archive.addfile(info, io.BytesIO(b"evil"))
        reseal(crops)
        found = validate_split(crops)
        assert "unreadable" in kinds(found)
        assert "'../evil.jpg' is not a plain file inside the archive" in str(found.problems)
        assert not (crops.parent / "evil.jpg").exists()


@pytest.mark.parametrize("sealed", [False, True])
def test_damage_anywhere_is_a_finding_and_never_a_crash(crops: Path, sealed: bool) -> None:
    """Seeded; with checksums made to fit, so that everything behind them has to cope too."""
    chance = random.Random(11)
    before = (crops / "manifest.json").read_bytes()
    for name in [*contents(crops)] * 4:
        data = (crops / name).read_bytes()
        spoil(crops / name, chance.randrange(len(data) - 8), length=chance.choice((1, 8)))
        if sealed:
            reseal(crops)
            validate_split(crops)  # what hits padding, or a pixel, cannot be seen
        else:
            assert "sha256" in kinds(validate_split(crops))
        (crops / name).write_bytes(data)
        (crops / "manifest.json").write_bytes(before)
    assert validate_split(crops).ok


def test_problems_come_in_the_order_of_the_files(crops: Path) -> None:
    for part in (SECOND, FIRST):
        spoil(crops / f"{part}.tar", member(crops, part, "npz")[0])

    def where() -> Iterator[str]:
        return (problem.where for problem in validate_split(crops).problems if problem.kind == "sha256")

    assert list(where()) == [f"{FIRST}.tar", f"{SECOND}.tar"]
