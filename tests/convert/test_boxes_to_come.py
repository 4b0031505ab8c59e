"""Sets whose boxes follow from their bodies: what happens while the body models are not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hmtools
from hmtools.bodies.assets import standin_dir
from hmtools.convert.derive import derive_split
from hmtools.convert.everything import convert_all
from hmtools.convert.run import convert
from hmtools.convert.validate import rebuild_index, validate_split
from hmtools.core.errors import AssetError
from hmtools.core.settings import load_settings
from hmtools.shards.summary import summarise
from hmtools.synth import MARKER, make_miniature
from tests.convert.spoiling import edit_manifest, edit_rows, kinds, put


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature that passes for a real download."""
    root = tmp_path_factory.mktemp("raw") / "EgoBody"
    make_miniature("egobody_egocentric", root, frames=4, people=1, seed=2, size=(160, 120), splits=("test",))
    (root / MARKER).unlink()
    return root


def run(world: Path, out: Path, **options: Any) -> Any:
    settings = load_settings({"body_models": str(out / "none")})
    chosen: dict[str, Any] = {"workers": 0, "progress": False, "settings": settings, "splits": ["test"]}
    chosen |= options
    return convert("egobody_egocentric", root=world, out=out, **chosen)


def test_crops_are_refused_before_any_work(world: Path, tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="nothing can be cropped") as caught:
        run(world, tmp_path, images="crop")
    assert "hmtools derive" in str(caught.value)
    assert not (tmp_path / "egobody_egocentric").exists()


def test_splits_that_nobody_named_do_not_keep_the_others_waiting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "raw/EgoBody"
    make_miniature("egobody_egocentric", root, 3, 1, 2, (160, 120), ("train", "val"))
    (root / MARKER).unlink()
    with caplog.at_level("WARNING"):
        (report,) = run(root, tmp_path / "a", splits=())
    assert report.plan.task.split == "val"
    assert "egobody_egocentric/train: boxes follow from bodies" in caplog.text
    with pytest.raises(AssetError, match="egobody_egocentric/train: boxes"):
        run(root, tmp_path / "b", splits=("train", "val"))
    assert not (tmp_path / "b").exists()

    settings = load_settings({"body_models": str(tmp_path / "none")})
    found = {
        one.found.name: one
        for one in convert_all(
            root.parent, settings=settings, choices={"out": tmp_path / "c"}, workers=0, progress=False
        )
    }["egobody_egocentric"]
    assert [report.plan.task.split for report in found.reports] == ["val"]
    assert "egobody_egocentric/train: boxes follow" in found.error
    assert found.exit_code == 1


def test_full_frames_wait_for_derive(world: Path, tmp_path: Path) -> None:
    (report,) = run(world, tmp_path)
    assert report.outcome.count("records") > 0
    assert "no_box" not in report.outcome.results[0].data["rejected"]
    folder = report.plan.task.out
    shards = hmtools.open(folder)
    assert all(shards.row(i)["bbox_xywh"] is None for i in range(len(shards)))
    assert shards.manifest.health["box_to_come"] == len(shards)
    assert any("smplx" in need for need in shards.manifest.needs)
    assert summarise(folder)["box_long_side_px"] == {}
    found = validate_split(folder)
    assert (found.problems, found.waiting) == ([], len(shards))

    settings = load_settings({"body_models": str(standin_dir())})
    derived = derive_split(folder, workers=0, allow_standin=True, progress=False, settings=settings)
    assert derived.ok
    shards = hmtools.open(folder)
    assert all(np.asarray(shards.row(i)["bbox_xywh"])[2:].min() > 0 for i in range(len(shards)))
    assert "pending" not in json.dumps([json.loads(shards.row(i)["meta"]) for i in range(len(shards))])
    assert shards.manifest.agreement["keypoints2d_smplx_px"]["p50"] < 5
    found = validate_split(folder)
    assert (found.problems, found.waiting) == ([], 0)
    rebuild_index(folder)
    found = validate_split(folder)
    assert (found.problems, found.waiting) == ([], len(shards))


def test_a_box_that_waits_for_nothing_is_missing(world: Path, tmp_path: Path) -> None:
    """It was made at conversion, or its body is not one to make it of."""
    (report,) = run(world, tmp_path)
    folder = report.plan.task.out
    part = next(folder.glob("*-u*-???.arrow")).stem
    edit_rows(folder, part, lambda rows: put(rows[0], valid_smplx=False))
    assert "record" in kinds(validate_split(folder))
    edit_manifest(folder, lambda manifest: manifest["health"].update(box_to_come=0))
    assert sum(problem.detail == "no_box" for problem in validate_split(folder).problems) > 1
