"""The truth file reads back typed, and what is no truth file is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hmtools.core.errors import LayoutError, SchemaError
from hmtools.synth import make_miniature
from hmtools.synth.truth import TRUTH, read_truth


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("truth")
    make_miniature("mscoco", folder, frames=2, people=1, seed=4, size=(100, 80))
    return folder


def test_types(root: Path) -> None:
    truth = read_truth(root)
    assert (truth.layout, truth.seed, len(truth.images), len(truth.people)) == ("mscoco", 4, 2, 2)
    person = truth.people[0]
    assert person.keypoints2d.shape == (133, 3)
    assert person.keypoints2d.dtype == np.float64
    assert isinstance(person.bbox_xywh, tuple)
    assert isinstance(person.quirks, tuple)


def test_folder_without_truth(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"no finished miniature.*hmtools synth"):
        read_truth(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "list", "renamed"])
def test_damaged_truth(root: Path, tmp_path: Path, damage: str) -> None:
    text = (root / TRUTH).read_text()
    if damage == "cut":
        text = text[:-20]
    elif damage == "list":
        text = json.dumps([1, 2])
    else:
        text = text.replace('"bbox_xywh"', '"box"', 1)
    (tmp_path / TRUTH).write_text(text)
    with pytest.raises(SchemaError, match="make the miniature again"):
        read_truth(tmp_path)
