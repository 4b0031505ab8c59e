"""Meshes through a whole conversion: stored, finished, checked, derived from, and kept when tables change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

from hmtools.bodies.assets import load_model
from hmtools.bodies.mesh_joints import mesh_joints
from hmtools.bodies.model import VERTICES
from hmtools.convert import derive as derive_module
from hmtools.convert.derive import derive_split
from hmtools.convert.estimate import estimate
from hmtools.convert.finalise import finalise_split
from hmtools.convert.run import convert, make_plans
from hmtools.convert.unit import convert_unit
from hmtools.convert.validate import Problem, rebuild_index, validate_split
from hmtools.core.atomic import file_sha256
from hmtools.core.errors import SchemaError
from hmtools.datasets.base import Dataset, Rejected, Source
from hmtools.engine.job import Unit
from hmtools.humandata.manifest import read_manifest
from hmtools.humandata.record import Record
from hmtools.humandata.schema import RecordSpec, mesh_schema
from hmtools.humandata.table import fixed_size_lists
from hmtools.shards.reader import open_shards
from hmtools.shards.sidecar import MESH_SUFFIX
from tests.convert.acted_set import settings
from tests.convert.spoiling import edit_manifest, kinds, reseal
from tests.datasets.coco_tree import contents, picture, write_picture

V = 6
SIDECARS = [f"meshed-test-u0000{unit}-000{MESH_SUFFIX}" for unit in (0, 2)]


def mesh(frame: int, person: int) -> Any:
    """Units of two frames: in the first each person has a mesh, in the second none, in the third some."""
    if frame in (2, 3) or (frame == 4 and person == 0):
        return None
    return np.random.default_rng([frame, person]).normal(size=(V, 3))


class Meshed(Dataset):
    """Two people in each of six frames."""

    name = "meshed"
    title = homepage = licence = citation = layout = "-"
    commercial_use = True
    splits: ClassVar[dict[str, str]] = {"test": "test"}

    def sources(self, split: str) -> Sequence[Source]:
        return []

    def spec(self, root: Path, split: str) -> RecordSpec:
        return RecordSpec(self.name, split, bodies=("smplx",))

    def plan(self, root: Path, split: str) -> list[Unit]:
        return [
            Unit(index=i, name=f"u{i}", payload=(2 * i, 2 * i + 1), expected=4, images=2) for i in range(3)
        ]

    def read(self, root: Path, unit: Unit) -> Iterator[Record | Rejected]:
        for frame in unit.payload:
            for person in range(2):
                yield Record(
                    sequence="s", frame=frame, person=person, image_path=f"{frame}.png", image_op="none",
                    width=96, height=80, bbox_xywh=[10 + 5 * person, 8, 30, 50, 1],
                    mesh=self.mesh(frame, person),
                )  # fmt: skip

    def mesh(self, frame: int, person: int) -> Any:
        return mesh(frame, person)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registered: Callable[..., Any]) -> Path:
    monkeypatch.setitem(VERTICES, "smplx", V)
    registered(Meshed)
    for frame in range(6):
        (tmp_path / "raw").mkdir(exist_ok=True)
        write_picture(tmp_path / f"raw/{frame}.png", picture())
    return tmp_path / "raw"


def run(name: str, root: Path, out: Path, **options: Any) -> Path:
    (report,) = convert(name, root=root, out=out, **({"workers": 0, "progress": False} | options))
    assert report.outcome.ok, report.outcome.failed
    return Path(report.plan.task.out)


@pytest.fixture
def split(root: Path, tmp_path: Path) -> Path:
    return run("meshed", root, tmp_path / "out")


def meshes(folder: Path) -> list[bool]:
    """Whether each row has the mesh that it should have, or none if it should have none."""
    shards = open_shards(folder)
    found = []
    for index in range(len(shards)):
        row, stored = shards.row(index), shards.mesh(index)
        wanted = mesh(row["frame"], row["person"])
        if stored is None or wanted is None:
            found.append(stored is wanted is None)
        else:
            found.append(np.array_equal(stored, wanted.astype(np.float32)))
    return found


@pytest.mark.parametrize("images", ["full", "crop", "none"])
@pytest.mark.parametrize("workers", [0, 2])
def test_stored_and_sound(root: Path, tmp_path: Path, images: str, workers: int, split: Path) -> None:
    folder = run("meshed", root, tmp_path / "other", images=images)
    assert meshes(folder) == [True] * 12
    assert validate_split(folder, workers=workers).problems == []
    assert sorted(path.name for path in folder.glob(f"*{MESH_SUFFIX}")) == SIDECARS
    for name in SIDECARS:
        assert (folder / name).read_bytes() == (split / name).read_bytes(), "whatever the images are"
    listed = {entry["name"]: entry["rows"] for entry in read_manifest(folder).files}
    assert [listed[name] for name in SIDECARS] == [4, 3]


def test_people_left_out_take_their_mesh_with_them(root: Path, tmp_path: Path) -> None:
    (root / "0.png").write_bytes(b"damaged")
    folder = run("meshed", root, tmp_path / "out", only=["s"])
    assert read_manifest(folder).rejected == {"image_unreadable": 2}
    assert meshes(folder) == [True] * 10


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_numbers_that_are_none(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    def spoiled(self: Meshed, frame: int, person: int) -> Any:
        found = mesh(frame, person)
        if (frame, person) == (1, 1):
            found[3, 2] = value
        return found

    monkeypatch.setattr(Meshed, "mesh", spoiled)
    folder = run("meshed", root, tmp_path / "out")
    assert read_manifest(folder).rejected == {"not_finite:mesh": 1}
    assert meshes(folder) == [True] * 11


def test_a_mesh_of_another_body_fails_the_unit(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Meshed, "mesh", lambda self, frame, person: np.zeros((V + 1, 3)))
    (report,) = convert("meshed", root=root, out=tmp_path / "out", workers=0, progress=False)
    assert "7 vertices" in next(iter(report.outcome.failed.values()))


def test_an_estimate_counts_meshes_once(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERTICES, "smplx", 50_000)
    monkeypatch.setattr(Meshed, "mesh", lambda self, frame, person: np.zeros((50_000, 3)))
    (plan,) = make_plans("meshed", root=root, out=tmp_path / "out")
    assert estimate(plan, 1).nbytes == pytest.approx(12 * 600_000, rel=0.1)


class TestFinalise:
    def finalise(self, root: Path, out: Path, spoil: Callable[[Path], object]) -> None:
        (plan,) = make_plans("meshed", root=root, out=out)
        plan.task.out.mkdir(parents=True)
        results = [convert_unit(plan.task, unit) for unit in plan.units]
        spoil(plan.task.out)
        finalise_split(plan.task, plan.options, "", results)

    def test_missing(self, root: Path, tmp_path: Path) -> None:
        with pytest.raises(SchemaError, match=r"missing \['meshed-test-u00002-000\.mesh\.arrow'\]"):
            self.finalise(root, tmp_path / "out", lambda folder: (folder / SIDECARS[1]).unlink())

    def test_unknown(self, root: Path, tmp_path: Path) -> None:
        other = f"meshed-test-u00001-000{MESH_SUFFIX}"
        with pytest.raises(SchemaError, match=rf"unknown \['{other}'\]"):
            self.finalise(root, tmp_path / "out", lambda folder: (folder / other).write_bytes(b""))

    def test_other_sidecars_do_not_matter(self, root: Path, tmp_path: Path) -> None:
        other = "meshed-test-u00001-000.features-a1.arrow"
        self.finalise(root, tmp_path / "out", lambda folder: (folder / other).write_bytes(b""))


def rewrite(path: Path, rows: Sequence[int], values: Any, schema: pa.Schema | None = None) -> None:
    """Put another sidecar in the place of one."""
    schema = schema or mesh_schema("smplx", values.shape[1])
    columns = [pa.array(rows, pa.int32()), fixed_size_lists(values.astype(np.float32))]
    with pa.ipc.new_file(str(path), schema) as file:
        file.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))


class TestValidate:
    def test_bytes_that_changed(self, split: Path) -> None:
        for name in SIDECARS:
            data = bytearray((split / name).read_bytes())
            data[len(data) // 2] ^= 1
            (split / name).write_bytes(data)
            problem = Problem("sha256", name, "content differs from what was written")
            assert problem in validate_split(split).problems
            data[len(data) // 2] ^= 1
            (split / name).write_bytes(data)
        assert validate_split(split).ok

    def test_gone(self, split: Path) -> None:
        (split / SIDECARS[0]).unlink()
        assert validate_split(split).problems == [
            Problem("missing", SIDECARS[0], "listed in the manifest, not in the folder")
        ]

    def test_unknown(self, split: Path) -> None:
        other = f"meshed-test-u00001-000{MESH_SUFFIX}"
        (split / other).write_bytes((split / SIDECARS[0]).read_bytes())
        assert validate_split(split).problems == [Problem("unknown", other, "not listed in the manifest")]

    @pytest.mark.parametrize(
        ("rows", "values", "problem"),
        [
            ([0, 1, 2, 3], "ok", None),
            ([0, 1, 2], "ok", Problem("count", SIDECARS[0], "manifest says 4 rows, found 3")),
            ([0, 1, 2, 4], "ok", Problem("mesh", SIDECARS[0], "has row 4, its part has 4 rows")),
            ([0, 1, 2, 3], "nan", Problem("mesh", SIDECARS[0], "vertices of row 2 are not finite")),
            ([0, 1, 1, 3], "ok", "does not ascend"),
            ([-1, 1, 2, 3], "ok", "does not ascend from 0 on"),
            ([0, 1, 2, 3], "other", "a mesh of 7 vertices"),
            ([0, 1, 2, 3], "family", Problem("mesh", SIDECARS[0], "meshes of smpl, the set has ('smplx',)")),
        ],
    )
    def test_written_wrong(self, split: Path, rows: list[int], values: str, problem: Any) -> None:
        numbers = np.zeros((len(rows), V + (values == "other"), 3))
        if values == "nan":
            numbers[2, 1, 1] = np.nan
        rewrite(split / SIDECARS[0], rows, numbers, mesh_schema("smpl", V) if values == "family" else None)
        reseal(split)
        found = validate_split(split)
        if isinstance(problem, str):
            assert [p.kind for p in found.problems] == ["unreadable"]
            assert problem in found.problems[0].detail
        else:
            assert found.problems == ([] if problem is None else [problem])

    def test_no_sidecar_at_all(self, split: Path) -> None:
        for data in (b"", b"no arrow", (split / SIDECARS[0]).read_bytes()[:-20]):
            (split / SIDECARS[0]).write_bytes(data)
            reseal(split)
            assert kinds(validate_split(split)) == {"unreadable"}

    def test_one_of_no_part(self, split: Path) -> None:
        """Its part is not listed: no row is its own."""
        part = SIDECARS[0].replace(MESH_SUFFIX, ".arrow")
        edit_manifest(
            split, lambda values: values.update(files=[f for f in values["files"] if f["name"] != part])
        )
        found = [problem for problem in validate_split(split).problems if problem.where == SIDECARS[0]]
        assert found[0] == Problem("mesh", SIDECARS[0], "has row 0, its part has 0 rows")


class TestRebuild:
    def test_meshes_stay(self, split: Path) -> None:
        before = contents(split)
        for path in split.glob("*-000.arrow"):
            path.write_bytes(b"")
        rebuild_index(split)
        assert contents(split) == before
        assert validate_split(split).ok
        assert meshes(split) == [True] * 12

    @pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(b"x")])
    def test_a_damaged_sidecar_is_not_sealed(self, split: Path, spoil: Callable[[Path], object]) -> None:
        spoil(split / SIDECARS[1])
        with pytest.raises(SchemaError, match="missing or not what was written"):
            rebuild_index(split)


class TestDerive:
    """On EHF, whose meshes are all there is: with models at once, or later."""

    @pytest.fixture
    def ehf(self, tmp_path: Path) -> Path:
        from tests.datasets.ehf_tree import write_tree

        return write_tree(tmp_path / "EHF", (1, 2))

    def check(self, folder: Path, golden: Path) -> None:
        shards = open_shards(folder)
        model = load_model("smplx", "neutral", roots=(golden,))
        for index in range(len(shards)):
            row, stored = shards.row(index), shards.mesh(index)
            assert stored is not None
            joints, known = mesh_joints(model, stored)
            assert np.array_equal(
                row["keypoints3d_smplx"], np.column_stack([joints, known]).astype(np.float32)
            )
            assert row["keypoints2d_smplx"][:127, 2].all()
            assert not row["keypoints2d_smplx"][127:].any()
            assert row["lhand_bbox_xywh"] is None, "the body has a box of the set's own"
            assert row["smplx_global_orient"] is None

    def test_later_gives_what_at_once_gives(
        self, ehf: Path, golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(derive_module, "BATCH_ROWS", 1)  # every row but the first begins a batch
        at_once = run("ehf", ehf, tmp_path / "once", settings=settings(golden))
        self.check(at_once, golden)
        none = tmp_path / "none"
        none.mkdir()
        later = run("ehf", ehf, tmp_path / "later", settings=settings(none))
        sidecar = next(later.glob(f"*{MESH_SUFFIX}"))
        before = file_sha256(sidecar), sidecar.stat().st_mtime_ns
        assert open_shards(later).row(0)["keypoints3d_smplx"] is None
        outcome = derive_split(later, workers=0, progress=False, settings=settings(golden))
        assert outcome.ok
        assert outcome.count("filled") == 2 * 2  # joints in 3D and 2D
        self.check(later, golden)
        assert (file_sha256(sidecar), sidecar.stat().st_mtime_ns) == before
        for folder in (at_once, later):
            assert validate_split(folder).problems == []
        one, other = open_shards(at_once), open_shards(later)
        for index in range(2):
            for name, cell in one.row(index).items():
                if name not in ("shard", "offset", "nbytes"):
                    assert np.array_equal(cell, other.row(index)[name]), name
        rebuild_index(later)
        assert open_shards(later).row(0)["keypoints3d_smplx"] is None
        assert np.array_equal(open_shards(later).mesh(1), one.mesh(1))  # type: ignore[arg-type]
        assert derive_split(later, workers=0, progress=False, settings=settings(golden)).ok
        self.check(later, golden)

    def test_a_sidecar_that_is_gone(self, ehf: Path, golden: Path, tmp_path: Path) -> None:
        none = tmp_path / "none"
        none.mkdir()
        folder = run("ehf", ehf, tmp_path / "out", settings=settings(none))
        next(folder.glob(f"*{MESH_SUFFIX}")).unlink()
        with pytest.raises(SchemaError, match=r"ehf-test-u00000-000\.mesh\.arrow.*copy it again"):
            derive_split(folder, workers=0, progress=False, settings=settings(golden))
        assert read_manifest(folder).derived == []
