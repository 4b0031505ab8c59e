"""Mesh sidecars: what was written is what every reader gets, by the row of the part and of the split."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hmtools.bodies.model import VERTICES
from hmtools.core.atomic import file_sha256
from hmtools.core.errors import SchemaError
from hmtools.humandata.manifest import MANIFEST, read_manifest, write_manifest
from hmtools.humandata.record import Record
from hmtools.humandata.schema import MESH_BATCH_ROWS, RecordSpec, mesh_schema
from hmtools.shards import writer as writer_module
from hmtools.shards.index import part_tables
from hmtools.shards.reader import Shards
from hmtools.shards.rows import RowFile
from hmtools.shards.sidecar import (
    MESH_SUFFIX,
    MeshFile,
    MeshWriter,
    mesh_array,
    mesh_family,
    mesh_path,
    open_meshes,
)
from hmtools.shards.writer import PartWriter

RecordMaker = Callable[..., Record]
SplitMaker = Callable[..., Path]
V = 5
SPEC = RecordSpec("mini", "val", bodies=("smplx", "smpl"))


@pytest.fixture(autouse=True)
def _small_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies of a few vertices, so that thousands of meshes cost nothing."""
    monkeypatch.setitem(VERTICES, "smplx", V)
    monkeypatch.setitem(VERTICES, "smpl", 4)


def mesh(number: int, vertices: int = V) -> np.ndarray:
    return np.random.default_rng(1000 + number).normal(size=(vertices, 3)).astype(np.float32)


def write(folder: Path, rows: Sequence[int], vertices: int = V) -> Path:
    writer = MeshWriter(folder / "mini-val-u00000-000.arrow", SPEC, vertices)
    for row in rows:
        writer.add(row, mesh(row, vertices))
    return folder / writer.commit().name


class TestFile:
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.sets(st.integers(0, 9_999), min_size=1, max_size=100))
    def test_round_trip(self, tmp_path: Path, rows: set[int]) -> None:
        found = MeshFile(write(tmp_path, sorted(rows)))
        assert (found.family, found.vertices, len(found)) == ("smplx", V, len(rows))
        assert found.part_rows.tolist() == sorted(rows)
        for row in {*rows, *(row + 1 for row in rows), *(row - 1 for row in rows), 0, 10_000}:
            got = found.mesh(row)
            if row in rows:
                assert got is not None
                assert got.dtype == np.float32
                assert np.array_equal(got, mesh(row))
            else:
                assert got is None

    def test_batches_are_small_and_the_file_is_mapped(self, tmp_path: Path) -> None:
        path = write(tmp_path, range(70))
        reader = pa.ipc.open_file(str(path))
        sizes = [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)]
        assert sizes == [MESH_BATCH_ROWS, MESH_BATCH_ROWS, 6]
        assert MESH_BATCH_ROWS == 32
        view = MeshFile(path).mesh(69)
        assert view is not None
        assert not view.flags.writeable
        assert not view.flags.owndata
        assert np.array_equal(view, mesh(69)), "also when nothing else holds the file"

    def test_size(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the module's docstring says of SMPL-X."""
        monkeypatch.setitem(VERTICES, "smplx", 10475)
        path = write(tmp_path, range(64), 10475)
        assert path.stat().st_size / 64 == pytest.approx(125_700, rel=1e-3)

    def test_the_schema_says_family_unit_and_frame(self, tmp_path: Path) -> None:
        schema = pa.ipc.open_file(str(write(tmp_path, [3], 4))).schema
        assert schema.equals(mesh_schema("smpl", 4), check_metadata=True)
        field = schema.field("vertices")
        assert field.metadata[b"family"] == b"smpl"
        assert field.metadata[b"unit"] == b"m"
        assert field.metadata[b"frame"].startswith(b"OpenCV camera")
        assert field.type == pa.list_(pa.list_(pa.float32(), 3), 4)
        assert schema.field("part_row").type == pa.int32()

    def test_names(self) -> None:
        part = Path("out/v1.0-u/ehf-v1.0-u00012-003.arrow")
        assert mesh_path(part) == Path("out/v1.0-u/ehf-v1.0-u00012-003.mesh.arrow")
        assert open_meshes(part) is None

    def test_one_topology_a_file(self, tmp_path: Path) -> None:
        writer = MeshWriter(tmp_path / "a.arrow", SPEC, V)
        writer.add(0, mesh(0))
        with pytest.raises(SchemaError, match="meshes of 5 and of 4 vertices"):
            writer.add(1, mesh(1, 4))
        writer.discard()
        assert list(tmp_path.iterdir()) == []
        writer.discard()

    @pytest.mark.parametrize(
        ("rows", "words"), [([3, 3], "does not ascend"), ([4, 3], "does not ascend"), ([-1, 3], "from 0 on")]
    )
    def test_rows_must_ascend(self, tmp_path: Path, rows: list[int], words: str) -> None:
        with pytest.raises(SchemaError, match=words):
            MeshFile(write(tmp_path, rows))

    def test_what_is_no_sidecar(self, tmp_path: Path) -> None:
        path = write(tmp_path, [1, 2])
        whole = path.read_bytes()
        for data in (b"", b"text", whole[:-9], whole[: len(whole) // 2]):
            path.write_bytes(data)
            with pytest.raises(SchemaError):
                MeshFile(path)
        columns = {"part_row": pa.array([1], pa.int32()), "vertices": pa.array([1.0])}
        other = {"part_row": columns["part_row"], "meshes": columns["vertices"]}
        unit = pa.ipc.open_file(pa.py_buffer(whole)).read_all()
        field = unit.schema.field("vertices")
        silent = unit.cast(unit.schema.set(1, field.with_metadata({"family": "smplx"})))
        for table in (pa.table(columns), pa.table(other), silent):
            with pa.ipc.new_file(str(path), table.schema) as file:
                file.write_table(table)
            with pytest.raises(SchemaError, match="not a mesh sidecar"):
                MeshFile(path)
        path.unlink()
        with pytest.raises(SchemaError):
            MeshFile(path)


class TestArray:
    def test_family_is_the_first_of_the_set_with_as_many_vertices(self, monkeypatch: Any) -> None:
        assert mesh_family(SPEC, V) == "smplx"
        assert mesh_family(SPEC, 4) == "smpl"
        monkeypatch.setitem(VERTICES, "smplh", 4)
        assert mesh_family(RecordSpec("mini", "val", bodies=("smplh", "smpl")), 4) == "smplh"
        with pytest.raises(SchemaError, match="a mesh of 6 vertices; its RecordSpec allows smpl 4, smplx 5"):
            mesh_family(SPEC, 6)
        with pytest.raises(SchemaError, match="allows no body"):
            mesh_family(RecordSpec("mini", "val"), V)

    def test_stored_form(self) -> None:
        double = mesh(1).astype(np.float64)[:, ::-1]
        found = mesh_array(double, SPEC)
        assert found.dtype == np.float32
        assert found.flags.c_contiguous
        assert np.array_equal(found, double.astype(np.float32))
        assert np.isinf(mesh_array(double * 1e300, SPEC)).any()

    @pytest.mark.parametrize("shape", [(V,), (V, 4), (1, V, 3), (3, V), (0, 3)])
    def test_shapes(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(SchemaError):
            mesh_array(np.zeros(shape), SPEC)


@pytest.fixture
def meshed(make_split: SplitMaker, make_record: RecordMaker, tmp_path: Path) -> Callable[..., Path]:
    """``(images, units) -> folder`` of a split of 12 people in 8 frames, some of them with a mesh."""

    def make(images: str = "full", units: int = 3) -> Path:
        frames = []
        for frame in range(8):
            people = [make_record(frame, person) for person in range(1 + frame % 2)]
            for person in people:
                person.mesh = wanted(frame, person.person or 0)
            frames.append(people)
        return make_split(tmp_path / images / str(units), frames, images=images, units=units)

    return make


def wanted(frame: int, person: int) -> np.ndarray | None:
    """People 1 and those of the first five frames have a mesh: of three units, the last has but one."""
    return mesh(10 * frame + person) if frame < 5 or person == 1 else None


def same(found: np.ndarray | None, frame: int, person: int) -> bool:
    expected = wanted(frame, person)
    return found is None if expected is None else found is not None and np.array_equal(found, expected)


def all_right(shards: Shards) -> bool:
    rows = [shards.row(number) for number in range(len(shards))]
    return all(same(shards.mesh(i), row["frame"], row["person"]) for i, row in enumerate(rows))


@pytest.mark.parametrize("images", ["full", "crop", "none"])
@pytest.mark.parametrize("units", [1, 3])
def test_every_row_has_its_own_mesh(meshed: Callable[..., Path], images: str, units: int) -> None:
    shards = Shards(meshed(images, units))
    assert len(shards) == 12
    assert all_right(shards)
    last = shards.row(-2)
    assert same(shards.mesh(-2), last["frame"], last["person"])
    chosen = shards.select("person = 1 or frame = 2")
    assert 0 < len(chosen) < 12
    assert all_right(chosen)
    for outside in (12, -13):
        with pytest.raises(IndexError):
            shards.mesh(outside)
    with pytest.raises(TypeError):
        shards.mesh(1.5)  # type: ignore[arg-type]


def _exit_with(shards: Shards) -> None:
    raise SystemExit(0 if all_right(shards) else 1)


def test_pickles_and_forks(meshed: Callable[..., Path]) -> None:
    shards = Shards(meshed())
    assert all_right(shards)
    again = pickle.loads(pickle.dumps(shards))
    assert all_right(again)
    child = multiprocessing.get_context("fork").Process(target=_exit_with, args=(shards,))
    child.start()
    child.join()
    assert child.exitcode == 0


def test_sidecars_open_only_when_asked(meshed: Callable[..., Path]) -> None:
    folder = meshed()
    for path in folder.glob(f"*{MESH_SUFFIX}"):
        path.write_bytes(b"damaged")
    shards = Shards(folder)
    assert shards[0].record["frame"] == 0
    with pytest.raises(SchemaError, match="not a complete Arrow file"):
        shards.mesh(0)


def test_a_listed_sidecar_that_is_gone_is_an_error(meshed: Callable[..., Path]) -> None:
    folder = meshed()
    next(iter(sorted(folder.glob(f"*{MESH_SUFFIX}")))).unlink()
    with pytest.raises(SchemaError, match=r"u00000-000\.mesh\.arrow"):
        Shards(folder).mesh(0)


def test_only_listed_sidecars_count(meshed: Callable[..., Path]) -> None:
    folder = meshed()
    manifest = read_manifest(folder)
    manifest.files = [entry for entry in manifest.files if not entry["name"].endswith(MESH_SUFFIX)]
    write_manifest(folder, manifest)
    assert Shards(folder).mesh(0) is None


def test_a_manifest_of_fewer_rows_than_the_index(meshed: Callable[..., Path]) -> None:
    folder = meshed()
    manifest = read_manifest(folder)
    for entry in manifest.files:
        entry["rows"] = 1
    write_manifest(folder, manifest)
    with pytest.raises(SchemaError, match=rf"{MANIFEST}: lists parts of 3 rows, the index has row 7"):
        Shards(folder).mesh(7)


class TestWriter:
    def test_files(self, meshed: Callable[..., Path]) -> None:
        folder = meshed()
        listed = {entry["name"]: entry for entry in read_manifest(folder).files}
        sidecars = sorted(folder.glob(f"*{MESH_SUFFIX}"))
        assert [path.name for path in sidecars] == [f"mini-val-u0000{u}-000.mesh.arrow" for u in range(3)]
        rows = 0
        for path in sidecars:
            entry = listed[path.name]
            assert entry["sha256"] == file_sha256(path)
            assert entry["nbytes"] == path.stat().st_size
            assert entry["rows"] == len(MeshFile(path))
            rows += entry["rows"]
        assert rows == sum(wanted(f, p) is not None for f in range(8) for p in range(1 + f % 2))
        assert [path.name for path in part_tables(folder)] == [
            f"mini-val-u0000{u}-000.arrow" for u in range(3)
        ]

    def test_tables_and_tars_are_those_of_records_without_a_mesh(
        self, tmp_path: Path, spec: RecordSpec, make_record: RecordMaker
    ) -> None:
        for name in ("with", "without"):
            (tmp_path / name).mkdir()
            with PartWriter(tmp_path / name, spec, "u00000", full=True) as writer:
                person = make_record(1)
                writer.add([replace(person, mesh=mesh(1) if name == "with" else None)], b"\xff" * 99, "jpg")
        with_mesh, without = (sorted((tmp_path / name).iterdir()) for name in ("with", "without"))
        assert len(with_mesh) == 3
        for path in without:
            assert path.read_bytes() == (tmp_path / "with" / path.name).read_bytes()

    def test_rows_begin_anew_in_every_part(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: RecordSpec, make_record: RecordMaker
    ) -> None:
        monkeypatch.setattr(writer_module, "MAX_PART_RECORDS", 3)
        with PartWriter(tmp_path, spec, "u00000", full=True, images=False) as writer:
            for frame in range(8):
                record = make_record(frame)
                record.mesh = mesh(frame) if frame not in (0, 3, 4, 5) else None
                writer.add([record], None, "")
        rows = {path.name: MeshFile(path).part_rows.tolist() for path in tmp_path.glob(f"*{MESH_SUFFIX}")}
        assert rows == {"mini-val-u00000-000.mesh.arrow": [1, 2], "mini-val-u00000-002.mesh.arrow": [0, 1]}
        meshes = open_meshes(tmp_path / "mini-val-u00000-002.arrow")
        found = None if meshes is None else meshes.mesh(1)
        assert found is not None
        assert np.array_equal(found, mesh(7))
        assert RowFile(tmp_path / "mini-val-u00000-002.arrow").row(1)["frame"] == 7
        assert [asdict(file)["rows"] for file in writer.files if file.name.endswith(MESH_SUFFIX)] == [2, 2]

    def test_nothing_is_left_of_a_unit_that_fails(
        self, tmp_path: Path, spec: RecordSpec, make_record: RecordMaker
    ) -> None:
        writer = PartWriter(tmp_path, spec, "u0", full=True)  # kept, so that no collector tidies up

        def unit() -> None:
            with writer:
                record = make_record(0)
                record.mesh = mesh(0)
                writer.add([record], b"\xff", "jpg")
                raise RuntimeError("disk")

        with pytest.raises(RuntimeError, match="disk"):
            unit()
        assert list(tmp_path.iterdir()) == []

    def test_a_mesh_of_no_family_is_a_bug_of_the_set(
        self, tmp_path: Path, spec: RecordSpec, make_record: RecordMaker
    ) -> None:
        record = make_record(0)
        record.mesh = mesh(0, V + 1)
        with (
            pytest.raises(SchemaError, match="6 vertices"),
            PartWriter(tmp_path, spec, "u0", full=True) as writer,
        ):
            writer.add([record], b"\xff", "jpg")
        assert list(tmp_path.iterdir()) == []
