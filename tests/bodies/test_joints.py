"""Joint sets: order, names and regressors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hmtools.bodies.joints import JOINT_SETS, JointSets
from hmtools.bodies.layers import BodyOutput
from hmtools.bodies.mixed import BodyLayers
from hmtools.bodies.model import FAMILIES, Family
from hmtools.core.errors import AssetError, UsageError
from hmtools.humandata.keypoints import CONVENTIONS, convention
from tests.bodies.bodies import random_body

ALL = [(family, name) for family in FAMILIES for name in JOINT_SETS[family]]


@pytest.fixture(scope="module")
def outputs(golden: Path) -> dict[Family, BodyOutput]:
    with torch.no_grad():
        return {
            family: BodyLayers(family, roots=(golden,), dtype=torch.float64)(random_body(family, 2))
            for family in FAMILIES
        }


@pytest.mark.parametrize(("family", "name"), ALL)
def test_every_set_has_its_conventions_joints(
    golden: Path, outputs: dict[Family, BodyOutput], family: Family, name: str
) -> None:
    found = JointSets(family, roots=(golden,))(outputs[family], name)
    count = convention(name).count if name in CONVENTIONS else 14
    assert found.shape == (2, count, 3)
    assert torch.isfinite(found).all()


BY_NAME = [
    ("smpl", "smpl_24"), ("smpl", "smpl_45"), ("smpl", "smpl_54"), ("smpl", "coco_17"), ("smpl", "lsp_14"),
    ("smplh", "smplh_73"), ("smplh", "coco_17"),
    ("smplx", "smplx_144"), ("smplx", "smplx_127"), ("smplx", "smplerx_137"), ("smplx", "coco_17"),
]  # fmt: skip


@pytest.mark.parametrize(("family", "name"), BY_NAME)
def test_joints_of_the_body_are_found_by_name(
    golden: Path, outputs: dict[Family, BodyOutput], family: Family, name: str
) -> None:
    """Whatever a set and the family's own joints share by name is the same point."""
    found = JointSets(family, roots=(golden,))(outputs[family], name)
    own = convention(outputs[family].convention).keys
    shared = 0
    for row, key in enumerate(convention(name).keys):
        if key in own and row < 65:  # the second eyes of the 137 set come behind
            assert torch.equal(found[:, row], outputs[family].joints[:, own.index(key)]), key
            shared += 1
    assert shared > 5


def test_hips_of_coco(golden: Path, outputs: dict[Family, BodyOutput]) -> None:
    left, right = (convention("coco_17").names.index(f"{side}_hip_extra") for side in ("left", "right"))
    smplx = JointSets("smplx", roots=(golden,))(outputs["smplx"], "coco_17")
    assert torch.equal(smplx[:, [left, right]], outputs["smplx"].joints[:, [1, 2]])  # the skeleton's
    smpl = JointSets("smpl", roots=(golden,))(outputs["smpl"], "coco_17")
    rows = np.load(golden / "smpl/J_regressor_extra.npy")
    vertices = outputs["smpl"].vertices
    assert vertices is not None
    assert np.allclose(
        smpl[:, [right, left]], rows[:2] @ vertices.numpy()
    )  # right hip comes first in the file


def test_h36m_orders_differ_in_the_legs_only(golden: Path, outputs: dict[Family, BodyOutput]) -> None:
    sets = JointSets("smpl", roots=(golden,))
    rows, left_first = sets(outputs["smpl"], "h36m_mmpose"), sets(outputs["smpl"], "h36m_17")
    vertices = outputs["smpl"].vertices
    assert vertices is not None
    assert np.allclose(rows, np.load(golden / "smpl/J_regressor_h36m.npy") @ vertices.numpy())
    order = [0, 4, 5, 6, 1, 2, 3, *range(7, 17)]
    assert torch.equal(left_first, rows[:, order])
    assert torch.equal(
        sets(outputs["smpl"], "h36m_14"), rows[:, [1, 2, 3, 4, 5, 6, 8, 10, 11, 12, 13, 14, 15, 16]]
    )


@pytest.mark.parametrize("file", ["smpl/J_regressor_h36m.npy"])
def test_the_leg_a_regressor_begins_with_is_seen_on_the_mesh(
    golden: Path, outputs: dict[Family, BodyOutput], tmp_path: Path, file: str
) -> None:
    rows = np.load(golden / file)
    (tmp_path / "SMPL_NEUTRAL.pkl").symlink_to(golden / "smpl/SMPL_NEUTRAL.pkl")
    np.save(tmp_path / "J_regressor_h36m.npy", rows[[0, 4, 5, 6, 1, 2, 3, *range(7, 17)]])
    for name in ("h36m_17", "h36m_mmpose", "h36m_14"):
        one = JointSets("smpl", roots=(golden,))(outputs["smpl"], name)
        other = JointSets("smpl", roots=(tmp_path,))(outputs["smpl"], name)
        assert torch.equal(one, other), name


def test_spin_49_is_the_published_gather(golden: Path, outputs: dict[Family, BodyOutput]) -> None:
    sets = JointSets("smpl", roots=(golden,))
    whole, spin = sets(outputs["smpl"], "smpl_54"), sets(outputs["smpl"], "smpl_49")
    assert torch.equal(spin[:, 8], whole[:, 0])  # openpose pelvis
    assert torch.equal(spin[:, 27], whole[:, 45])  # right hip of LSP
    assert torch.equal(spin[:, 37], whole[:, 47])  # neck of LSP


def test_regressed_sets_need_the_mesh(golden: Path) -> None:
    layers, sets = BodyLayers("smpl", roots=(golden,)), JointSets("smpl", roots=(golden,))
    output = layers(random_body("smpl", 1, dtype=torch.float32), vertices=False)
    assert sets.needs_vertices("h36m_17")
    assert not sets.needs_vertices("smpl_24")
    with pytest.raises(UsageError, match=r"h36m_17 of smpl .* vertices=True"):
        sets(output, "h36m_17")


def test_unknown_set_lists_the_known_ones(outputs: dict[Family, BodyOutput]) -> None:
    with pytest.raises(UsageError, match=r"smplh has no joint set 'smpl_24'.*smplh_73"):
        JointSets("smplh")(outputs["smplh"], "smpl_24")


def test_missing_regressor_names_its_file(tmp_path: Path, outputs: dict[Family, BodyOutput]) -> None:
    with pytest.raises(AssetError, match=r"(?i)smplx_to_j14"):
        JointSets("smplx", roots=(tmp_path,))(outputs["smplx"], "lsp_14")


def test_sets_that_are_regressed_whole_are_a_matrix(golden: Path, outputs: dict[Family, BodyOutput]) -> None:
    cases: list[tuple[Family, str]] = [("smpl", "h36m_17"), ("smplx", "h36m_14"), ("smplx", "lsp_14")]
    for family, name in cases:
        sets = JointSets(family, roots=(golden,))
        vertices = outputs[family].vertices
        assert vertices is not None
        torch.testing.assert_close(sets.matrix(name).double() @ vertices, sets(outputs[family], name))
    for name in ("smpl_24", "smpl_54"):
        with pytest.raises(UsageError, match="not regressed from the mesh alone"):
            JointSets("smpl", roots=(golden,)).matrix(name)
