"""Parameters that wait for a body model: converting with models, and without and deriving later, are one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from hmtools.bodies import assets
from hmtools.bodies.derive import derived_columns
from hmtools.bodies.hands import absolute_hand, relative_hand
from hmtools.bodies.mixed import BodyLayers
from hmtools.bodies.params import BodyParams
from hmtools.bodies.pending import hold_hand, hold_in_world
from hmtools.convert.derive import derive_split
from hmtools.convert.validate import rebuild_index, validate_split
from hmtools.core.errors import LayoutError
from hmtools.datasets.base import Dataset
from hmtools.engine.job import Unit
from hmtools.humandata.manifest import read_manifest
from hmtools.humandata.record import Record
from hmtools.shards.reader import open_shards
from tests.convert import acted_set
from tests.convert.acted_set import Acted, settings
from tests.datasets.coco_tree import image_row, person, run, write_tree
from tests.datasets.fit_json import entry, fit_values, write_fits

HANDS = ("smplx_left_hand_pose", "smplx_right_hand_pose")
WORLD_TO_CAM = np.hstack(
    [Rotation.from_rotvec([0.2, 2.5, 0.4]).as_matrix(), np.array([[0.2], [-0.1], [9.0]])]
)
PLACE = ("offset", "nbytes", "shard")


class InWorld(Acted):
    """The acted people, given in the world and with relative hands."""

    name = "in_world"

    def read(self, root: Path, unit: Unit) -> Iterator[Record]:
        """The same two people."""
        for record in super().read(root, unit):
            record.bbox_xywh = (20, 10, 100, 120, 1)
            orient, transl = record.smplx_global_orient, record.smplx_transl
            hold_hand(record, "smplx", "left", record.smplx_left_hand_pose)
            hold_hand(record, "smplx", "right", record.smplx_right_hand_pose)
            hold_in_world(record, "smplx", orient, transl, WORLD_TO_CAM)
            record.smplx_left_hand_pose = record.smplx_right_hand_pose = record.smplx_transl = None
            yield record


@pytest.fixture(autouse=True)
def _in_world(own_settings: None, registered: Callable[[type[Dataset]], type[Dataset]]) -> None:
    registered(InWorld)


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    (tmp_path / "no-models").mkdir()
    return tmp_path / "no-models"


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return acted_set.write_tree(tmp_path / "raw")


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Five people: 103 has no fit, that of 104 is damaged, the left hand of 102 is not valid."""
    people = [person(100 + i, 1 + i % 2) for i in range(5)]
    root = write_tree(tmp_path / "coco", [image_row(1), image_row(2)], people, split="train2017")
    fits = {100: entry(100), 101: entry(101), 102: entry(102, lhand_valid=False), 104: entry(104, trans=None)}
    write_fits(root / "annotations/MSCOCO_train_SMPLX_all_NeuralAnnot.json", fits)
    return root


def rows(folder: Path) -> list[dict[str, Any]]:
    shards = open_shards(folder)
    return [shards.row(index) for index in range(len(shards))]


def by_id(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["source_id"]: row for row in rows(folder)}


def tables(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.arrow"))}


def same(one: Path, other: Path) -> None:
    for first, second in zip(rows(one), rows(other), strict=True):
        for name, value in first.items():
            assert name in PLACE or np.array_equal(value, second[name]), name


def convert(name: str, root: Path, out: Path, models: Path, **options: Any) -> Path:
    split = {"mscoco": "train2017", "in_world": "train"}[name]
    return run(root, out, name=name, split=split, settings=settings(models), **options)


@pytest.mark.parametrize("images", ["crop", "full", "none"])
@pytest.mark.parametrize("name", ["mscoco", "in_world"])
def test_deriving_later_gives_what_converting_with_models_gives(
    golden: Path, tmp_path: Path, empty: Path, request: pytest.FixtureRequest, name: str, images: str
) -> None:
    root: Path = request.getfixturevalue({"mscoco": "coco", "in_world": "world"}[name])
    waiting = HANDS if name == "mscoco" else (*HANDS, "smplx_transl")
    at_once = convert(name, root, tmp_path / "one", golden, images=images)
    later = convert(name, root, tmp_path / "two", empty, images=images)
    assert all(row[column] is None for row in rows(later) for column in waiting)
    assert any("pending" in (row["meta"] or "") for row in rows(later))
    assert {need.partition(":")[0] for need in read_manifest(later).needs} >= {"smplx_neutral"}
    assert validate_split(later).ok
    tars = {path.name: path.read_bytes() for path in later.glob("*.tar")}

    assert derive_split(later, workers=0, progress=False, settings=settings(golden)).ok

    same(at_once, later)
    if images == "none":  # tars hold the cells of the first, so offsets differ
        assert tables(later) == tables(at_once)
    assert not any("pending" in (row["meta"] or "") for row in rows(later))
    assert any(row[column] is not None for row in rows(later) for column in waiting)
    assert tars == {path.name: path.read_bytes() for path in later.glob("*.tar")}
    manifest = read_manifest(later)
    assert set(manifest.derived) == {*derived_columns(("smplx",)), *waiting}
    assert manifest.needs == []
    assert validate_split(later).ok
    assert validate_split(at_once).ok
    assert derive_split(later, workers=0, progress=False, settings=settings(golden)).count("filled") == 0
    assert set(read_manifest(later).derived) == set(manifest.derived)


def test_a_body_in_the_world_is_where_the_camera_sees_it(golden: Path, world: Path, tmp_path: Path) -> None:
    folder = convert("in_world", world, tmp_path / "out", golden)
    layers = BodyLayers("smplx", roots=(golden,), dtype=torch.float64)

    def joints(values: dict[str, Any], gender: Any) -> np.ndarray[Any, Any]:
        params = BodyParams.of({n: np.array(v)[None] for n, v in values.items()}, dtype=torch.float64)
        with torch.no_grad():
            found: np.ndarray[Any, Any] = layers(params, gender, vertices=False).joints[0, :127].numpy()
            return found

    for index, row in enumerate(rows(folder)):
        source = acted_set.body(10 * (index // 2) + index % 2)
        source = {name.removeprefix("smplx_"): value for name, value in source.items()}
        model = assets.load_model("smplx", row["gender"], roots=(golden,))
        for side in ("left", "right"):
            source[f"{side}_hand_pose"] = absolute_hand(source[f"{side}_hand_pose"], model, side)
        stored = {n.removeprefix("smplx_"): v for n, v in row.items() if n.startswith("smplx_")}
        wanted = joints(source, row["gender"]) @ WORLD_TO_CAM[:, :3].T + WORLD_TO_CAM[:, 3]
        np.testing.assert_allclose(joints(stored, row["gender"]), wanted, atol=1e-5)


def test_fits_with_models(golden: Path, coco: Path, tmp_path: Path) -> None:
    folder = convert("mscoco", coco, tmp_path / "out", golden)
    found = by_id(folder)
    model = assets.load_model("smplx", "neutral", roots=(golden,))
    for number in (100, 101, 102):
        row = found[str(number)]
        for name, side in zip(HANDS, ("left", "right"), strict=True):
            relative = fit_values(number)[f"{side[0]}hand_pose"]
            np.testing.assert_allclose(relative_hand(row[name], model, side), relative, atol=1e-6)  # type: ignore[arg-type]
        assert row["keypoints3d_smplx"] is not None
        assert (row["keypoints2d_smplx"][:25, 2] == 1).all()
        fingers = row["keypoints3d_smplx"][25:40, 3]
        assert (fingers == (number != 102)).all(), "a hand that may not supervise has no joints"
        assert json.loads(row["meta"])["ann_id"] == number
    for number in (103, 104):
        row = found[str(number)]
        assert row["valid_smplx"] is False
        assert row["keypoints2d_original"] is not None
        filled = {name for name, value in row.items() if "smplx" in name and value is not None}
        assert filled == {"valid_smplx"}
    manifest = read_manifest(folder)
    assert manifest.counts["records"] == 5
    assert manifest.rejected == {"broken_fit": 1}
    assert manifest.rejected_examples[0]["source"] == "MSCOCO_train_SMPLX_all_NeuralAnnot.json 104"
    assert manifest.body_model is not None


def test_strict_stops_at_a_damaged_fit(golden: Path, coco: Path, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="broken_fit"):
        convert("mscoco", coco, tmp_path / "out", golden, strict=True)


def test_a_model_of_one_gender_settles_its_own(
    golden: Path, world: Path, tmp_path: Path, empty: Path
) -> None:
    folder = convert("in_world", world, tmp_path / "out", empty)
    (tmp_path / "one").mkdir()
    (tmp_path / "one/SMPLX_NEUTRAL.npz").symlink_to(golden / "smplx/SMPLX_NEUTRAL.npz")
    derive_split(folder, workers=0, progress=False, settings=settings(tmp_path / "one"))
    for row in rows(folder):
        neutral = row["gender"] == "neutral"
        assert (row["smplx_transl"] is not None) == neutral
        assert ("pending" in (row["meta"] or "")) != neutral
    assert [need.partition(":")[0] for need in read_manifest(folder).needs] == ["smplx_female", "smplx_male"]
    assert validate_split(folder).ok


def test_rebuilding_from_tars_brings_back_what_waited(
    golden: Path, world: Path, tmp_path: Path, empty: Path
) -> None:
    folder = convert("in_world", world, tmp_path / "out", empty)
    before = tables(folder)
    derive_split(folder, workers=0, progress=False, settings=settings(golden))
    after = tables(folder)
    assert after != before
    rebuild_index(folder)
    assert tables(folder) == before
    assert validate_split(folder).ok
    derive_split(folder, workers=0, progress=False, settings=settings(golden))
    assert tables(folder) == after


@pytest.mark.parametrize("spoil", ["meta", "forgotten", "hand"])
def test_validate_sees_meta_that_is_neither(
    golden: Path, coco: Path, tmp_path: Path, empty: Path, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    """Another meta than what is left after deriving, or one that still waits for a column that is filled."""
    from hmtools.convert import derive as derive_module
    from hmtools.convert.bodies import Bodies, body_facts, deriver

    folder = convert("mscoco", coco, tmp_path / "out", empty)
    plain = deriver(Bodies(golden, body_facts(golden, ("smplx",)))).fill

    def spoilt(records: list[Record]) -> None:
        before = [record.meta for record in records]
        plain(records)
        for record, meta in zip(records, before, strict=True):
            if spoil == "meta":
                record.meta = (record.meta or "").replace('"image_id":', '"image_id":9')
            elif spoil == "forgotten":
                record.meta = meta
            elif record.smplx_right_hand_pose is not None:
                record.smplx_right_hand_pose = None

    kind = type("D", (), {"fill": staticmethod(spoilt), "needs": {}})
    monkeypatch.setattr(derive_module, "deriver", lambda _: kind)
    derive_split(folder, workers=0, progress=False, settings=settings(golden))
    problems = {problem.detail for problem in validate_split(folder).problems}
    assert problems == {"tar and table differ in meta"}


def test_fits_of_other_people_stop_before_any_work(golden: Path, coco: Path, tmp_path: Path) -> None:
    write_fits(coco / "annotations/MSCOCO_train_SMPLX_all_NeuralAnnot.json", {1: entry(1)})
    with pytest.raises(LayoutError, match="none of its 1 fits"):
        convert("mscoco", coco, tmp_path / "out", golden)
    convert("mscoco", coco, tmp_path / "out", golden, options={"bodies": "none"})


def test_converting_without_fits_needs_no_models(coco: Path, tmp_path: Path, empty: Path) -> None:
    folder = convert("mscoco", coco, tmp_path / "out", empty, options={"bodies": "none"})
    manifest = read_manifest(folder)
    assert (manifest.spec["bodies"], manifest.needs, manifest.rejected) == ([], [], {})
    assert manifest.options["bodies"] == "none"
