"""The truth file reads back typed, and what is no truth file is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.core.errors import LayoutError, SchemaError
from hmtools.synth import make_miniature
from hmtools.synth.truth import BODIES, MESHES, TRUTH, ImageTruth, PersonTruth, read_truth, write_truth


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("truth")
    make_miniature("mscoco", folder, frames=2, people=1, seed=4, size=(100, 80), splits=("train2017",))
    return folder


def person(number: int, **changes: Any) -> PersonTruth:
    given: dict[str, Any] = {"split": "val", "file": "a.jpg", "source_id": str(number), "columns": {}}
    return PersonTruth(**given | changes)


def test_types(root: Path) -> None:
    truth = read_truth(root)
    assert (truth.layout, truth.seed, len(truth.images), len(truth.people)) == ("mscoco", 4, 2, 2)
    found = truth.people[0]
    assert found.columns["keypoints2d_original"].shape == (133, 3)
    assert found.columns["keypoints2d_original"].dtype == np.float64
    assert found.columns["fps"] is None
    assert isinstance(found.quirks, tuple)
    assert found.joints is not None
    assert found.joints.dtype == np.float64
    assert found.vertices is not None
    assert found.vertices.dtype == np.float32


def test_everything_comes_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [ImageTruth(split="val", file="a.jpg", source_id="7", frame=3, width=64, height=65, people=3)]
    people = [
        person(0, rejected="too small", quirks=("a", "b")),
        person(
            1,
            family="smpl",
            joints=rng.random((45, 3)),
            vertices=rng.random((6890, 3)).astype(np.float32),
            columns={"bbox_xywh": np.arange(5.0), "fps": None, "valid_smplx": True, "sequence": "s", "n": 3},
        ),
        person(2, family="smplx", joints=rng.random((144, 3))),
        person(3, family="smpl", joints=rng.random((45, 3))),
    ]
    write_truth(tmp_path, "mini", 5, images, people)
    truth = read_truth(tmp_path)
    assert (truth.layout, truth.seed, truth.images) == ("mini", 5, tuple(images))
    for mine, read in zip(people, truth.people, strict=True):
        assert (mine.source_id, mine.family, mine.rejected, mine.quirks) == (
            *(read.source_id, read.family, read.rejected, read.quirks),
        )
        np.testing.assert_equal(read.joints, mine.joints)
        np.testing.assert_equal(read.vertices, mine.vertices)
        np.testing.assert_equal(dict(read.columns), dict(mine.columns))


def test_vertices_of_the_first_are_kept(tmp_path: Path) -> None:
    body = {"joints": np.zeros((45, 3)), "vertices": np.zeros((4, 3), np.float32)}
    people = [person(0), *(person(n, family="smpl", **body) for n in range(1, MESHES + 4))]
    write_truth(tmp_path, "mini", 0, [], people)
    read = read_truth(tmp_path).people
    assert [one.vertices is not None for one in read] == [False, *[True] * MESHES, *[False] * 3]
    assert all(one.joints is not None for one in read[1:])


def test_same_truth_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_truth(tmp_path / name, "mini", 0, [], [person(0, family="smpl", joints=np.eye(3))])
    for file in (TRUTH, BODIES):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_body_needs_a_family(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="person 1 of the truth has joints but no body family"):
        write_truth(tmp_path, "mini", 0, [], [person(0), person(1, joints=np.zeros((45, 3)))])


@pytest.mark.parametrize("missing", [TRUTH, BODIES])
def test_folder_without_truth(root: Path, tmp_path: Path, missing: str) -> None:
    with pytest.raises(LayoutError, match=r"no finished miniature.*hmtools synth"):
        read_truth(tmp_path)
    shutil.copytree(root, tmp_path / "copy")
    (tmp_path / "copy" / missing).unlink()
    with pytest.raises(LayoutError, match=r"no finished miniature.*hmtools synth"):
        read_truth(tmp_path / "copy")


@pytest.mark.parametrize("damage", ["cut", "list", "renamed", "columns", "cut bodies", "other bodies"])
def test_damaged_truth(root: Path, tmp_path: Path, damage: str) -> None:
    text, bodies = (root / TRUTH).read_text(), (root / BODIES).read_bytes()
    if damage == "cut":
        text = text[:-20]
    elif damage == "list":
        text = json.dumps([1, 2])
    elif damage == "renamed":
        text = text.replace('"source_id"', '"id"')
    elif damage == "columns":
        text = text.replace('"columns": {', '"columns": [], "more": {', 1)
    elif damage == "cut bodies":
        bodies = bodies[: len(bodies) // 2]
    (tmp_path / TRUTH).write_text(text)
    (tmp_path / BODIES).write_bytes(bodies)
    if damage == "other bodies":
        none: dict[str, Any] = {"smplx.joints": np.zeros((0, 3)), "smplx.joints.people": np.zeros(0, int)}
        np.savez(tmp_path / "other.npz", **none)
        (tmp_path / "other.npz").rename(tmp_path / BODIES)
    with pytest.raises(SchemaError, match="make the miniature again"):
        read_truth(tmp_path)
