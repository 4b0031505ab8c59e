"""Conversion with, without and with the wrong body models; deriving later gives the same tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.bodies.assets import standin_dir
from hmtools.bodies.derive import derived_columns
from hmtools.bodies.standin.cache import standin_hash
from hmtools.convert import derive as derive_module
from hmtools.convert.bodies import Bodies, body_facts, choose_bodies, deriver, merged_facts
from hmtools.convert.derive import derive_split
from hmtools.convert.validate import rebuild_index, validate_split
from hmtools.core.errors import AssetError, LayoutError, LockedError, UsageError
from hmtools.datasets.base import Dataset
from hmtools.humandata.manifest import read_manifest
from hmtools.shards.reader import open_shards
from tests.convert import acted_set
from tests.convert.acted_set import Acted, settings
from tests.datasets.coco_tree import run

COLUMNS = derived_columns(("smplx",))
FILES = ("neutral", "male", "female", "kid_template")


@pytest.fixture(autouse=True)
def _acted(own_settings: None, registered: Callable[[type[Dataset]], type[Dataset]]) -> None:
    registered(Acted)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return acted_set.write_tree(tmp_path / "raw")


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    folder = tmp_path / "no-models"
    folder.mkdir()
    return folder


def rows(folder: Path) -> list[dict[str, Any]]:
    shards = open_shards(folder)
    return [shards.row(index) for index in range(len(shards))]


def tables(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.arrow"))}


def boxed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the set boxes of its own, so that it can be converted without body models."""
    plain = acted_set.body
    monkeypatch.setattr(acted_set, "body", lambda seed: plain(seed) | {"bbox_xywh": (20, 10, 100, 120, 1)})


def test_joints_boxes_and_neutral_shapes_are_derived_on_the_way(
    golden: Path, root: Path, tmp_path: Path
) -> None:
    folder = run(root, tmp_path / "out", name="acted", split="train", settings=settings(golden))
    found = rows(folder)
    assert len(found) == 6
    assert all(row["keypoints2d_smplx"] is not None and row["bbox_xywh"] is not None for row in found)
    assert [row["betas_neutral"] is not None for row in found] == [True, False, False, False, True, False]
    manifest = read_manifest(folder)
    assert manifest.body_model == body_facts(golden, ("smplx",))
    assert manifest.body_model is not None
    assert manifest.body_model["family"] == "smplx"
    assert not manifest.body_model["standin"]
    assert set(manifest.body_model["files"]) == {f"smplx_{what}" for what in FILES}
    assert manifest.needs == manifest.derived == []
    assert validate_split(folder).ok


def test_without_models_people_without_a_box_are_rejected_and_why_is_said(
    root: Path, tmp_path: Path, empty: Path
) -> None:
    folder = run(root, tmp_path / "out", name="acted", split="train", settings=settings(empty))
    manifest = read_manifest(folder)
    assert manifest.rejected == {"no_box": 6}
    assert manifest.body_model is None
    assert [need.partition(":")[0] for need in manifest.needs] == [
        "smplx_female",
        "smplx_male",
        "smplx_neutral",
    ]


@pytest.mark.parametrize("images", ["crop", "full", "none"])
def test_deriving_later_gives_the_same_tables(
    golden: Path, root: Path, tmp_path: Path, empty: Path, monkeypatch: pytest.MonkeyPatch, images: str
) -> None:
    boxed(monkeypatch)
    options: dict[str, Any] = {"name": "acted", "split": "train", "images": images}
    at_once = run(root, tmp_path / "one", settings=settings(golden), **options)
    later = run(root, tmp_path / "two", settings=settings(empty), **options)
    assert all(row[name] is None for row in rows(later) for name in COLUMNS if name != "bbox_xywh")
    tars = {path.name: path.read_bytes() for path in later.glob("*.tar")}

    outcome = derive_split(later, workers=0, progress=False, settings=settings(golden))

    assert outcome.ok
    assert outcome.count("filled") == 6 * 2 + 2  # two arrays of joints; two gendered people
    if images == "none":  # tars hold the derived cells of the first, so offsets differ
        assert tables(later) == tables(at_once)
    place = ("offset", "nbytes", "shard")
    for one, other in zip(rows(at_once), rows(later), strict=True):
        for name, value in one.items():
            assert name in place or np.array_equal(value, other[name]), name
    assert tars == {path.name: path.read_bytes() for path in later.glob("*.tar")}
    manifest = read_manifest(later)
    assert manifest.body_model == body_facts(golden, ("smplx",))
    assert set(manifest.derived) == set(COLUMNS)
    assert manifest.needs == []
    assert validate_split(later).ok
    assert not list(later.glob(".derive*"))
    again = derive_split(later, workers=0, progress=False, settings=settings(golden))
    assert again.count("filled") == 0


def test_a_changed_cell_is_still_seen_after_deriving(
    golden: Path, root: Path, tmp_path: Path, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxed(monkeypatch)
    folder = run(root, tmp_path / "out", name="acted", split="train", settings=settings(empty))
    plain = deriver(Bodies(golden, body_facts(golden, ("smplx",)))).fill

    def spoil(records: Any) -> None:
        plain(records)
        for record in records:
            record.smplx_transl = record.smplx_transl + np.float32(0.001)

    monkeypatch.setattr(
        derive_module, "deriver", lambda _: type("D", (), {"fill": staticmethod(spoil), "needs": {}})
    )
    derive_split(folder, workers=0, progress=False, settings=settings(golden))
    found = validate_split(folder)
    assert {problem.detail for problem in found.problems} == {"tar and table differ in smplx_transl"}


def test_rebuilding_from_tars_says_that_derived_cells_are_gone(
    golden: Path, root: Path, tmp_path: Path, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxed(monkeypatch)
    folder = run(root, tmp_path / "out", name="acted", split="train", settings=settings(empty))
    derive_split(folder, workers=0, progress=False, settings=settings(golden))
    rebuild_index(folder)
    manifest = read_manifest(folder)
    assert manifest.derived == []
    assert manifest.body_model is None
    assert "hmtools derive" in manifest.needs[0]
    assert validate_split(folder).ok
    assert derive_split(folder, workers=0, progress=False, settings=settings(golden)).count("filled") == 14
    assert read_manifest(folder).needs == []


@pytest.mark.parametrize("stop_at", range(1, 9))
def test_stopped_while_the_split_changes_it_is_unfinished_and_ends_when_run_again(
    golden: Path, root: Path, tmp_path: Path, empty: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    boxed(monkeypatch)
    folder = run(root, tmp_path / "out", name="acted", split="train", settings=settings(empty))
    reference = run(root, tmp_path / "ref", name="acted", split="train", settings=settings(empty))
    derive_split(reference, workers=0, progress=False, settings=settings(golden))
    left = [stop_at]

    def stopping(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise OSError("stopped by the test")
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name in ("AtomicFile", "write_index", "write_manifest"):
            patch.setattr(derive_module, name, stopping(getattr(derive_module, name)))
        try:
            done = derive_split(folder, workers=0, progress=False, settings=settings(golden)).ok
        except OSError:
            done = False
    assert left[0] <= 0
    assert not done
    if not (folder / "manifest.json").exists():
        with pytest.raises(LayoutError):
            read_manifest(folder)
    assert derive_split(folder, workers=0, progress=False, settings=settings(golden)).ok
    assert tables(folder) == tables(reference)
    assert validate_split(folder).ok
    assert not list(folder.glob(".derive*"))


def some_models(golden: Path, folder: Path, **files: str) -> Path:
    """A folder with the model file of each gender that is named, taken from another gender's if so named."""
    folder.mkdir(exist_ok=True)
    for gender, source in files.items():
        (folder / f"SMPLX_{gender.upper()}.npz").symlink_to(golden / f"smplx/SMPLX_{source.upper()}.npz")
    return folder


def test_models_that_come_later_fill_what_is_missing(
    golden: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxed(monkeypatch)
    models = some_models(golden, tmp_path / "models", neutral="neutral")
    folder = run(root, tmp_path / "out", name="acted", split="train", settings=settings(models))
    assert [row["keypoints3d_smplx"] is not None for row in rows(folder)] == [
        False,
        True,
        True,
        True,
        False,
        True,
    ]
    assert [need.partition(":")[0] for need in read_manifest(folder).needs] == ["smplx_female", "smplx_male"]

    some_models(golden, models, male="male", female="female")
    outcome = derive_split(folder, workers=0, progress=False, settings=settings(models))

    assert outcome.count("filled") == 2 * 3  # joints in 3D and 2D and neutral betas, of a man and a woman
    at_once = run(root, tmp_path / "whole", name="acted", split="train", settings=settings(models))
    for one, other in zip(rows(at_once), rows(folder), strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in COLUMNS)
    manifest = read_manifest(folder)
    assert manifest.needs == []
    assert manifest.body_model == read_manifest(at_once).body_model
    assert validate_split(folder).ok


def test_facts_merge_unless_a_model_changed() -> None:
    def facts(standin: bool = False, **files: str) -> dict[str, Any]:
        return {"family": "smplx", "sha256": "", "num_betas": 10, "standin": standin, "files": files}

    both = merged_facts(facts(smplx_male="a"), facts(smplx_neutral="b"))
    assert both is not None
    assert both["files"] == {"smplx_male": "a", "smplx_neutral": "b"}
    assert both == merged_facts(facts(smplx_neutral="b"), facts(smplx_male="a"))
    assert merged_facts(facts(smplx_male="a"), facts(smplx_male="b")) is None
    assert merged_facts(facts(smplx_male="a"), facts(standin=True, smplx_neutral="b")) is None
    assert merged_facts(None, facts(smplx_male="a")) == facts(smplx_male="a")


def test_cells_of_two_bodies_do_not_mix(golden: Path, root: Path, tmp_path: Path) -> None:
    folder = run(root, tmp_path / "out", name="acted", split="train", settings=settings(golden))
    other = some_models(golden, tmp_path / "other", male="female")
    with pytest.raises(UsageError, match="cells of two bodies do not mix"):
        derive_split(folder, workers=0, progress=False, settings=settings(other))


def test_deriving_needs_models_bodies_and_the_lease(
    golden: Path, root: Path, tmp_path: Path, empty: Path
) -> None:
    from hmtools.engine.lease import acquire

    folder = run(root, tmp_path / "out", name="acted", split="train", settings=settings(golden))
    with acquire(folder / ".job"), pytest.raises(LockedError):
        derive_split(folder, workers=0, progress=False, settings=settings(golden))
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"body_model": None}))
    with pytest.raises(AssetError, match=str(empty)):
        derive_split(folder, workers=0, progress=False, settings=settings(empty))
    manifest["spec"]["bodies"] = []
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match="acted has no body parameters"):
        derive_split(folder, workers=0, progress=False, settings=settings(golden))


def test_other_models_are_another_conversion(golden: Path, root: Path, tmp_path: Path, empty: Path) -> None:
    run(root, tmp_path / "out", name="acted", split="train", settings=settings(golden))
    with pytest.raises(
        UsageError, match=r"body_model \(finished .*`hmtools derive`\): \"smplx \w+\" -> \"none\""
    ):
        run(root, tmp_path / "out", name="acted", split="train", settings=settings(empty))


def miniature(root: Path, standin_sha256: str | None) -> Path:
    (root / ".hmtools-miniature.json").write_text(json.dumps({"standin_sha256": standin_sha256}))
    (root / ".hmtools-truth.json").touch()
    return root


def test_miniatures_always_get_the_standin(golden: Path, root: Path, tmp_path: Path) -> None:
    miniature(root, standin_hash())
    folder = run(root, tmp_path / "out", name="acted", split="train", settings=settings(golden))
    manifest = read_manifest(folder)
    assert manifest.body_model is not None
    assert manifest.body_model["standin"]
    assert manifest.body_words().startswith("STAND-IN body, not SMPL")
    # Later derivation stays with it, whatever the settings say.
    assert derive_split(folder, workers=0, progress=False, settings=settings(golden)).count("filled") == 0


def test_a_miniature_of_another_standin_is_refused(golden: Path, root: Path) -> None:
    with pytest.raises(UsageError, match="make the miniature again"):
        choose_bodies(miniature(root, "0" * 64), ("smplx",), settings(golden))


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff\x00"])
def test_a_damaged_marker_is_said_to_be_one(golden: Path, root: Path, text: bytes) -> None:
    (root / ".hmtools-miniature.json").write_bytes(text)
    with pytest.raises(LayoutError, match=r"hmtools-miniature\.json: damaged"):
        choose_bodies(root, ("smplx",), settings(golden))


def test_real_data_is_not_derived_with_the_standin_unless_asked(
    root: Path, tmp_path: Path, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxed(monkeypatch)
    standin = settings(standin_dir())
    with pytest.raises(UsageError, match=r"holds the stand-in body.*--allow-standin"):
        run(root, tmp_path / "out", name="acted", split="train", settings=standin)
    later = run(root, tmp_path / "later", name="acted", split="train", settings=settings(empty))
    with pytest.raises(UsageError, match=r"holds the stand-in body.*--allow-standin"):
        derive_split(later, workers=0, progress=False, settings=standin)
    folder = run(root, tmp_path / "out", name="acted", split="train", settings=standin, allow_standin=True)
    derive_split(later, workers=0, progress=False, settings=standin, allow_standin=True)
    for split in (folder, later):
        assert read_manifest(split).body_words().startswith("STAND-IN")


def test_an_unfinished_miniature_is_no_download(root: Path, tmp_path: Path, empty: Path) -> None:
    (miniature(root, standin_hash()) / ".hmtools-truth.json").unlink()
    with pytest.raises(LayoutError, match="unfinished miniature; delete it"):
        run(root, tmp_path / "out", name="acted", split="train", settings=settings(empty))


def test_sets_without_bodies_need_no_models(root: Path, empty: Path) -> None:
    assert choose_bodies(root, (), settings(empty)) is None
