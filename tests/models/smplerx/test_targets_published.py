"""Every set of the golden files, as the published loaders made its targets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hmtools.bodies.mixed import BodyLayers
from hmtools.models.smplerx.target_rules import REFERENCE_FAULTS
from hmtools.models.smplerx.target_types import Masks, Targets
from hmtools.models.smplerx.targets import TargetMaker
from tests.models.smplerx import published_sets as sets
from tests.models.smplerx.target_people import arrays, joined, row

Make = Callable[..., TargetMaker]

# Target -> the mask that says which of it counts.
MASKED = {
    **{"joint_img": "joint_trunc", "smplx_joint_img": "smplx_joint_trunc"},
    **{"joint_cam": "joint_valid", "smplx_joint_cam": "smplx_joint_valid"},
    **{
        "smplx_pose": "smplx_pose_valid",
        "smplx_shape": "smplx_shape_valid",
        "smplx_expr": "smplx_expr_valid",
    },
    **{
        f"{part}_bbox_{what}": f"{part}_bbox_valid"
        for part in ("lhand", "rhand", "face")
        for what in ("center", "size")
    },
}


@pytest.fixture
def smplx(golden: Path) -> BodyLayers:
    return BodyLayers("smplx", roots=[golden], surface=False)


@pytest.fixture
def make(golden: Path, smplx: BodyLayers) -> Make:
    """Makes the maker of some faults."""
    return lambda *faults, **options: TargetMaker(
        smplx, smpl=BodyLayers("smpl", roots=[golden]), reference_faults=faults, **options
    )


def _compare(found: tuple[Targets, Masks], wanted: dict[str, Any]) -> None:
    """Masks exactly, targets where they count: 1e-4, of depth in cells of 2 cm."""
    targets, masks = (row(values) for values in found)
    for name, mask in masks.items():
        expected = torch.tensor(wanted["is_3D" if name == "is_3d" else name]).float()
        assert torch.equal(mask, expected), name
    for name, mask_name in MASKED.items():
        mask = masks[mask_name]
        torch.testing.assert_close(
            targets[name] * mask, torch.tensor(wanted[name]) * mask, rtol=1e-5, atol=2e-5, msg=name
        )
    assert len(MASKED) == len(targets)


def _figures(file: str, prefix: str) -> dict[str, Any]:
    return {
        key.removeprefix(f"{prefix}/"): value
        for key, value in arrays(file).items()
        if key.startswith(f"{prefix}/")
    }


@pytest.mark.parametrize(
    ("name", "seed"),
    [*((name, 0) for name in sets.SETS), *((name, 2) for name in sets.SETS if name != "MSCOCO_nofit")],
)
def test_own_loaders_are_reproduced_with_their_faults(
    make: Make, smplx: BodyLayers, name: str, seed: int
) -> None:
    found = make(*REFERENCE_FAULTS)(sets.own_loader(name, seed, smplx))
    _compare(found, _figures("datasets.npz", f"{name}/train{seed}"))


@pytest.mark.parametrize("seed", [0, 2])
def test_pw3d_is_reproduced_with_its_faults(make: Make, seed: int) -> None:
    _compare(make(*REFERENCE_FAULTS)(sets.pw3d(seed)), _figures("datasets.npz", f"PW3D/train{seed}"))


@pytest.mark.parametrize("seed", [0, 2])
@pytest.mark.parametrize("name", ["AGORA_4k", "AGORA_720_kid"])
def test_agora_is_reproduced_without_any_fault(make: Make, smplx: BodyLayers, name: str, seed: int) -> None:
    _compare(make()(sets.agora(name, seed, smplx)), _figures("datasets.npz", f"{name}/train{seed}"))


@pytest.mark.parametrize(
    ("case", "file", "rule", "index"),
    [
        *(("plain", "toy_smplx", "humandata", i) for i in range(5)),
        *(("no3d", "toy_smplx_2d", "humandata", i) for i in range(2)),
        ("smpl", "toy_smpl", "humandata", 0),
        ("RenBody_like", "toy_smplx", "renbody", 0),
    ],
)
def test_humandata_is_reproduced_with_its_faults(
    make: Make, smplx: BodyLayers, case: str, file: str, rule: str, index: int
) -> None:
    boxes = arrays("humandata.npz")[f"{case}/bbox"]
    people = sets.humandata(file, rule, index, boxes, smplx)
    _compare(make(*REFERENCE_FAULTS)(people), _figures("humandata.npz", f"{case}/train{index}"))


def test_all_sets_make_one_batch(make: Make, smplx: BodyLayers) -> None:
    """One person at a time, or all at once: the same."""
    boxes = arrays("humandata.npz")["plain/bbox"]
    people = [
        *(sets.own_loader(name, 2, smplx) for name in ("MSCOCO", "UBody_Part", "Human36M")),
        sets.pw3d(2),
        sets.agora("AGORA_4k", 0, smplx),
        *(sets.humandata("toy_smplx", rule, 1, boxes, smplx) for rule in ("humandata", "renbody")),
        sets.humandata("toy_smpl", "humandata", 3, boxes, smplx),
    ]
    for maker in (make(), make(*REFERENCE_FAULTS)):
        whole = maker(joined(people))
        for i, own in enumerate(people):
            for one, many in zip(maker(own), whole, strict=True):
                for name, value in row(many, i).items():
                    torch.testing.assert_close(value, row(one)[name], rtol=1e-5, atol=1e-5, msg=name)
