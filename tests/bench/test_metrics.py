"""Errors of meshes: published figures, a second implementation, and what must not change them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hmtools.bench.metrics import (
    LSP_HIPS,
    SMPLX_JOINTS,
    SMPLX_METRICS,
    auc,
    joint_errors_14,
    joint_errors_smplx,
    measure_14,
    measure_smplx,
    mpjpe,
    pa_mpjpe,
    pck,
)
from hmtools.bench.parts import PART_ROWS, BodyParts, load_lsp_14, load_pw3d_14
from hmtools.bench.visibility import Visible, visible
from hmtools.bodies.assets import load_array
from hmtools.core.errors import UsageError
from hmtools.geometry.rotation import axis_angle_to_matrix
from tests.bench.reference import Golden, measure_one, pa_residual

SETS = ("EHF", "AGORA", "HumanDataset", "UBody")
PUBLISHED = {
    **{f"{pa}mpvpe_{part}": f"{pa}pve_{part}" for pa in ("", "pa_") for part in ("all", "hand", "face")},
    **{f"{pa}mpvpe_{s}_hand": f"{pa}pve_{s}hand" for pa in ("", "pa_") for s in "lr"},
    **{f"pa_mpjpe_{s}_hand": f"pa_mpjpe_{s}hand" for s in "lr"},
    **{f"pa_mpjpe_{part}": f"pa_mpjpe_{part}" for part in ("body", "hand")},
}
FLOAT32 = {"EHF": 0.015, "AGORA": 0.015, "HumanDataset": 0.015, "UBody": 0.036}
COUNTS = {"EHF": 14, "AGORA": 10, "HumanDataset": 14, "UBody": 8}


@pytest.fixture(scope="module")
def figures(golden: Path) -> Golden:
    return Golden(golden)


@pytest.fixture(scope="module")
def parts(golden: Path) -> BodyParts:
    return BodyParts.load([golden])


@pytest.fixture(scope="module")
def meshes(figures: Golden) -> dict[str, tuple[Tensor, Tensor]]:
    """Set -> predicted and true meshes; UBody's truth stands where the prediction does."""
    return {
        name: (
            figures.mesh(k, "pred", "cam_trans"),
            figures.mesh(k, "gt", "cam_trans" if k == 3 else "gt_transl"),
        )
        for k, name in enumerate(SETS)
    }


@pytest.fixture(scope="module")
def seen(figures: Golden, parts: BodyParts, meshes: dict[str, tuple[Tensor, Tensor]]) -> Visible:
    whole = np.tile(np.eye(3), (12, 1, 1))
    whole[:, :2] = figures.arrays["UBody/bb2img_trans"]
    crop = torch.as_tensor(np.linalg.inv(whole)[:, :2].astype(np.float32))
    height, width = (torch.full((12,), int(n)) for n in figures.arrays["UBody/image_hw"])
    return visible(meshes["UBody"][1], parts, crop, height, width)


def test_ubody_sees_the_points_that_the_reference_sees(
    figures: Golden, parts: BodyParts, seen: Visible
) -> None:
    hands = seen.vertices[:, parts.hands]
    found = {"vertices": seen.vertices, "lhand": hands[:, 0], "rhand": hands[:, 1]}
    found["face"] = seen.vertices[:, parts.face]
    for name, mask in found.items():
        assert mask.sum(1).tolist() == figures.arrays[f"UBody/valid_{name}"].tolist()


@pytest.mark.parametrize("name", SETS)
def test_the_published_figures(
    name: str, figures: Golden, parts: BodyParts, meshes: dict[str, tuple[Tensor, Tensor]], seen: Visible
) -> None:
    found = measure_smplx(*meshes[name], parts, seen if name == "UBody" else None)
    compared = 0
    for key, ours in PUBLISHED.items():
        expected = figures.arrays.get(f"{name}/{key}_f64")
        if expected is not None:
            values = found[ours].numpy()
            # Lists of the reference leave out people of whom nothing is seen.
            values = values if len(expected) == 12 else values[~np.isnan(values)]
            np.testing.assert_allclose(values, expected, rtol=0, atol=FLOAT32[name])
            compared += 1
    assert compared == COUNTS[name]


@pytest.mark.parametrize("name", ["AGORA", "UBody"])
def test_the_same_in_double_precision_one_by_one(
    name: str, golden: Path, parts: BodyParts, meshes: dict[str, tuple[Tensor, Tensor]], seen: Visible
) -> None:
    predicted, target = meshes[name]
    masked = name == "UBody"
    found = measure_smplx(predicted, target, parts, seen if masked else None)
    assert tuple(found) == SMPLX_METRICS
    for i in (0, 3, 7, 11):
        mask = {
            "vertices": seen.vertices[i],
            "body": seen.body[i],
            "left": seen.hands[i, 0],
            "right": seen.hands[i, 1],
        }
        expected = measure_one(
            predicted[i].numpy(), target[i].numpy(), golden,
            {part: points.numpy() for part, points in mask.items()} if masked else None,
        )  # fmt: skip
        assert set(expected) == set(found)
        for metric, value in expected.items():
            np.testing.assert_allclose(found[metric][i].numpy(), value, rtol=0, atol=1e-3, err_msg=metric)


def test_3dpw_as_published(golden: Path, figures: Golden) -> None:
    predicted, target = figures.mesh(4, "pred", "cam_trans"), figures.smpl(4)
    regressors = load_pw3d_14([golden])
    found = measure_14(predicted, target, regressors)
    for name, values in found.items():
        np.testing.assert_allclose(values, figures.arrays[f"PW3D/{name}_f64"], rtol=0, atol=0.015)
    joints = joint_errors_14(predicted, target, regressors)
    torch.testing.assert_close(joints.mean(1), found["mpjpe_body"])
    assert set(found) == {"mpjpe_body", "pa_mpjpe_body"}, "no vertices to compare in two families"


@pytest.mark.parametrize("root", [(0,), LSP_HIPS])
def test_3dpw_as_others_measure_it(golden: Path, figures: Golden, root: tuple[int, ...]) -> None:
    target = figures.smpl(4)
    predicted = target + 0.05 * torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
    regressor = load_lsp_14("smpl", [golden])
    found = measure_14(predicted, target, (regressor, regressor), root=root)
    rows = np.asarray(load_array("j_regressor_h36m", roots=[golden]), np.float64)
    # The file of the tests has the right leg first: rows 1 and 4 are the hips all the same.
    order = [3, 2, 1, 4, 5, 6, 16, 15, 14, 11, 12, 13, 8, 10]
    for i in (0, 5):
        x, y = predicted[i].double().numpy(), target[i].double().numpy()
        base = [rows[0] @ m if root == (0,) else (rows[1] + rows[4]) @ m / 2 for m in (x, y)]
        a, b = rows[order] @ x, rows[order] @ y
        expected = {
            "mpjpe_body": np.linalg.norm(a - base[0] - (b - base[1]), axis=1).mean(),
            "pa_mpjpe_body": pa_residual(a, b).mean(),
            "pve_all": np.linalg.norm(x - base[0] - (y - base[1]), axis=1).mean(),
        }
        assert set(found) == set(expected)
        for name, value in expected.items():
            assert abs(float(found[name][i]) - 1000 * value) < 1e-3, name


def test_joint_errors_are_what_the_means_are_of(
    parts: BodyParts, meshes: dict[str, tuple[Tensor, Tensor]]
) -> None:
    found = measure_smplx(*meshes["EHF"], parts)
    joints = joint_errors_smplx(*meshes["EHF"], parts)
    assert joints.shape[1] == len(SMPLX_JOINTS) == len(set(SMPLX_JOINTS))
    for rows, name in ((slice(0, 14), "body"), (slice(14, 35), "lhand"), (slice(35, 56), "rhand")):
        torch.testing.assert_close(joints[:, rows].mean(1), found[f"mpjpe_{name}"], rtol=0, atol=1e-3)
    assert not joints[:, [14, 35]].any(), "the wrists are the roots of the hands"


def test_a_known_shift_and_scale(parts: BodyParts, meshes: dict[str, tuple[Tensor, Tensor]]) -> None:
    """A scale about any point is one about the root once roots coincide; PA takes it away."""
    target = meshes["EHF"][1][:2]
    found = measure_smplx(1.1 * target + torch.tensor([3.0, -2.0, 9.0]), target, parts)
    joints = parts.joints(target)
    expected = {"pve_all": 100 * (target - joints[:, :1]).norm(dim=-1).mean(1)}
    expected["pve_face"] = 100 * (target[:, parts.face] - joints[:, 1:2]).norm(dim=-1).mean(1)
    rows = PART_ROWS["left_hand"]
    expected["mpjpe_lhand"] = 100 * (joints[:, rows] - joints[:, rows][:, :1]).norm(dim=-1).mean(1)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=2e-3)
    assert all(float(found[name].max()) < 2e-3 for name in SMPLX_METRICS if name.startswith("pa_"))


def test_nothing_but_zero_for_the_truth_itself(
    parts: BodyParts, meshes: dict[str, tuple[Tensor, Tensor]]
) -> None:
    target = meshes["HumanDataset"][1]
    found = measure_smplx(target, target, parts)
    assert all(float(values.max()) < 1e-3 for values in found.values())
    assert all(float(values.max()) == 0 for name, values in found.items() if not name.startswith("pa_"))


numbers = st.floats(-1, 1)


@settings(max_examples=8, deadline=None)
@given(st.tuples(numbers, numbers, numbers), st.floats(0.5, 2), st.tuples(numbers, numbers, numbers))
def test_pa_knows_no_similarity_and_the_rest_no_translation(
    parts: BodyParts,
    meshes: dict[str, tuple[Tensor, Tensor]],
    turn: tuple[float, float, float],
    scale: float,
    shift: tuple[float, float, float],
) -> None:
    predicted, target = (mesh[:2] - torch.tensor([0, 0, 20.0]) for mesh in meshes["AGORA"])
    before = measure_smplx(predicted, target, parts)
    rotation = axis_angle_to_matrix(3 * torch.tensor(turn))
    for pa, moved in (
        ("pa_", scale * predicted @ rotation.T + torch.tensor(shift)),
        ("", predicted + torch.tensor(shift)),
    ):
        after = measure_smplx(moved, target, parts)
        for name in SMPLX_METRICS:
            if name.startswith("pa_") >= (pa == "pa_"):
                torch.testing.assert_close(after[name], before[name], rtol=0, atol=0.01)
    both = measure_smplx(predicted @ rotation.T, target @ rotation.T, parts)
    for name in SMPLX_METRICS:
        torch.testing.assert_close(both[name], before[name], rtol=0, atol=0.01)


def test_people_do_not_know_each_other(parts: BodyParts, meshes: dict[str, tuple[Tensor, Tensor]]) -> None:
    """Order and size of batches do not count, and a broken body breaks no other."""
    predicted, target = (torch.cat([mesh, mesh]) for mesh in meshes["EHF"])  # more than one inner batch
    found = measure_smplx(predicted, target, parts)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    permuted = measure_smplx(predicted[order], target[order], parts)
    broken = predicted.clone()
    broken[1, 7, 2], broken[4, 10474, 0], broken[20, 5000] = torch.nan, torch.inf, -torch.inf
    rest = measure_smplx(broken, target, parts)
    bad = torch.zeros(24, dtype=torch.bool)
    bad[[1, 4, 20]] = True
    for name in SMPLX_METRICS:
        torch.testing.assert_close(permuted[name], found[name][order], rtol=0, atol=1e-4)
        assert rest[name].isnan().tolist() == bad.tolist(), name
        torch.testing.assert_close(rest[name][~bad], found[name][~bad], rtol=0, atol=1e-4)
    assert all(len(values) == 0 for values in measure_smplx(predicted[:0], target[:0], parts).values())


def test_nobody_in_one_place_is_a_good_prediction(
    parts: BodyParts, meshes: dict[str, tuple[Tensor, Tensor]]
) -> None:
    target = meshes["EHF"][1][:1]
    found = measure_smplx(target[:, :1].expand_as(target).clone(), target, parts)
    apart = target - target.mean(1, keepdim=True)
    torch.testing.assert_close(found["pa_pve_all"], 1000 * apart.norm(dim=-1).mean(1), rtol=0, atol=1e-3)
    assert float(found["pa_mpjpe_body"]) > 100


def test_a_hand_that_is_not_seen_leaves_the_other(
    parts: BodyParts, meshes: dict[str, tuple[Tensor, Tensor]]
) -> None:
    predicted, target = (mesh[:1] for mesh in meshes["EHF"])
    mask = Visible(torch.ones(1, 10475).bool(), torch.ones(1, 14).bool(), torch.ones(1, 2, 21).bool())
    mask.vertices[:, parts.hands[0]] = False
    mask.hands[:, 0], mask.body[:] = False, False
    found = measure_smplx(predicted, target, parts, mask)
    for name in ("pve", "pa_pve", "mpjpe", "pa_mpjpe"):
        assert found[f"{name}_lhand"].isnan()
        assert found[f"{name}_hand"] == found[f"{name}_rhand"]
    assert found["mpjpe_body"].isnan()
    assert found["pve_all"].isfinite()


def test_what_does_not_fit_is_refused(parts: BodyParts, meshes: dict[str, tuple[Tensor, Tensor]]) -> None:
    predicted, target = meshes["EHF"]
    with pytest.raises(UsageError, match=r"\(B, 10475, 3\), found \(12, 6890, 3\)"):
        measure_smplx(predicted[:, :6890], target[:, :6890], parts)
    with pytest.raises(UsageError, match="one prediction for each"):
        measure_smplx(predicted[:3], target, parts)


def test_joints_that_do_not_count() -> None:
    rng = torch.Generator().manual_seed(2)
    x, y = (torch.randn(3, 9, 3, generator=rng) for _ in range(2))
    counted = torch.rand(3, 9, generator=rng) < 0.5
    counted[2] = False
    whole = torch.stack([mpjpe(x, y, x[:, 0], y[:, 0]), pa_mpjpe(x, y)])
    some = torch.stack([mpjpe(x, y, x[:, 0], y[:, 0], counted), pa_mpjpe(x, y, counted)])
    assert some[:, 2].isnan().all()
    others = torch.stack([mpjpe(x, y, x[:, 0], y[:, 0], ~counted), pa_mpjpe(x, y, ~counted)])
    share = counted.sum(1) / 9
    torch.testing.assert_close((some.nan_to_num() * share + others * (1 - share)), whole)


def test_pck_and_auc() -> None:
    errors = torch.tensor([[0.0, 50.0, 50.1, 300.0], [200.0, 200.0, 100.0, 0.0], [0.0, 1.0, 2.0, torch.nan]])
    np.testing.assert_allclose(pck(errors), [50, 25, np.nan])
    np.testing.assert_allclose(auc(errors), [100 * (1 + 0.75 + 0.7495) / 4, 100 * 1.5 / 4, np.nan], rtol=1e-6)
    steps = torch.linspace(0, 200, 2001)
    curve = torch.stack([pck(errors[:2], float(step)) for step in steps])
    np.testing.assert_allclose(auc(errors[:2]), curve.mean(0), atol=0.05)
