"""UBody with extracted images: instead of the videos, or beside videos that show something else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

import hmtools
from hmtools.convert.run import convert
from hmtools.datasets import ubody_frames, ubody_people
from hmtools.shards.reader import Shards
from hmtools.synth import make_miniature, read_truth
from tests.round_trip.compare import mismatches

TREES = ("images", "both")
SPLITS = ("inter_test", "inter_train")


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Variant of the tree -> its miniature."""
    base = tmp_path_factory.mktemp("ubody")
    for variant in TREES:
        make_miniature("ubody", base / variant, 5, 2, 5, (160, 120), SPLITS, variant=variant)
    return {variant: base / variant for variant in TREES}


def converted(
    root: Path, out: Path, options: Mapping[str, str], images: str | None = None
) -> dict[str, Shards]:
    reports = convert(
        "ubody", root=root, out=out, splits=SPLITS, every=1, options=options, images=images, workers=0,
        progress=False,
    )  # fmt: skip
    assert all(report.outcome.ok for report in reports), [report.outcome.failed for report in reports]
    return {report.plan.task.split: hmtools.open(report.plan.task.out) for report in reports}


@pytest.mark.parametrize("frames", ["auto", "images"])
@pytest.mark.parametrize("variant", TREES)
def test_images_win(worlds: dict[str, Path], variant: str, frames: str, tmp_path: Path) -> None:
    found = converted(worlds[variant], tmp_path, {"frames": frames})
    assert mismatches(worlds[variant], found) == []
    truth = read_truth(worlds[variant])
    for split, shards in found.items():
        left_out = sum(person.rejected is not None for person in truth.people if person.split == split)
        manifest = shards.manifest
        assert sum(manifest.rejected.values()) + sum(manifest.filtered.values()) == left_out
        assert set(manifest.rejected) <= {"image_missing"}, "frames that extracting did not reach"


def test_videos_that_win_would_be_seen(
    worlds: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = converted(worlds["both"], tmp_path / "option", {"frames": "videos"}, "none")
    assert mismatches(worlds["both"], found, pixels=False) != []
    monkeypatch.setattr(ubody_frames, "_holds_something", lambda folder: False)
    found = converted(worlds["both"], tmp_path / "mutation", {}, "none")
    assert mismatches(worlds["both"], found, pixels=False) != []


def test_a_slash_that_is_kept_would_be_seen(
    worlds: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``images/<Scene>`` and a name that begins with a slash must be joined as one path."""
    monkeypatch.setattr(
        ubody_people, "_path", lambda scene, video: lambda name: str(Path("images", scene) / name)
    )
    found = converted(worlds["images"], tmp_path, {}, "none")
    assert mismatches(worlds["images"], found, pixels=False) != []
