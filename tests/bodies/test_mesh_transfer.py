"""Transfer of meshes against the matrix itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hmtools.bodies.assets import load_array, standin_dir
from hmtools.bodies.mesh_transfer import MeshTransfer
from hmtools.bodies.model import VERTICES, Family
from hmtools.core.errors import AssetError


@pytest.mark.parametrize(
    ("source", "target", "key"),
    [
        ("smpl", "smplx", "smpl_to_smplx"),
        ("smplx", "smpl", "smplx_to_smpl"),
        ("smplh", "smplx", "smpl_to_smplx"),  # one mesh: SMPL's matrix serves
        ("smplx", "smplh", "smplx_to_smpl"),
    ],
)
def test_is_the_product_with_the_matrix(source: Family, target: Family, key: str) -> None:
    roots = (standin_dir(),)
    mesh = np.random.default_rng(0).normal(size=(2, VERTICES[source], 3))
    matrix = load_array(key, roots=roots)[:, : VERTICES[source]]
    moved = MeshTransfer(source, target, roots=roots)(torch.as_tensor(mesh))
    assert moved.shape == (2, VERTICES[target], 3)
    for row in range(2):
        assert np.allclose(moved[row], matrix @ mesh[row], atol=1e-12)


@pytest.mark.parametrize("pair", [("smpl", "smpl"), ("smpl", "smplh"), ("smplh", "smpl"), ("smplx", "smplx")])
def test_one_mesh_needs_no_matrix(tmp_path: Path, pair: tuple[Family, Family]) -> None:
    mesh = torch.rand(1, VERTICES[pair[0]], 3)
    assert torch.equal(MeshTransfer(*pair, roots=(tmp_path,))(mesh), mesh)


def test_a_missing_matrix_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="smpl2smplx"):
        MeshTransfer("smplh", "smplx", roots=(tmp_path,))
