"""Records to crops and targets, all the way, as the published loaders made them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from hmtools.bodies.mixed import BodyLayers
from hmtools.geometry.crop import network_box
from hmtools.humandata.record import Record
from hmtools.models.smplerx.target_body import mean_hands
from hmtools.models.smplerx.target_input import TargetInput
from hmtools.models.smplerx.target_rules import REFERENCE_FAULTS
from hmtools.models.smplerx.targets import TargetMaker
from hmtools.train import samples
from hmtools.train.augment import Augmentation
from hmtools.train.batches import Batch
from hmtools.train.recipe import AugmentSpec
from hmtools.train.samples import BatchMaker
from hmtools.train.sets import PADDED, TRAIN_SETS, TrainSet
from hmtools.train.splits import TrainSource, open_split
from tests.models.smplerx import published_sets as sets
from tests.models.smplerx.target_people import arrays
from tests.train import published_people as people
from tests.train.published_draws import published

Seeds = list[int]


class InOrder:
    """Row i at position i."""

    epoch_size = 100

    def draw(self, epoch: int, positions: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], ...]:
        return np.zeros_like(positions), positions

    def substitute(self, epoch: int, position: int, attempt: int) -> tuple[int, int]:
        raise AssertionError("every row can be used")


@pytest.fixture(scope="module")
def smplx(golden: Path) -> BodyLayers:
    return BodyLayers("smplx", roots=[golden], surface=False)


@pytest.fixture(scope="module")
def maker(golden: Path, smplx: BodyLayers) -> TargetMaker:
    return TargetMaker(smplx, smpl=BodyLayers("smpl", roots=[golden]), reference_faults=REFERENCE_FAULTS)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Batch]:
    """Writes records as a split and reads them with the draws of some seeds."""

    def make(kind: TrainSet, records: list[Record], names: list[str], seeds: Seeds, step: int = 1) -> Batch:
        def drawn(spec: AugmentSpec, seed: int, epoch: int, positions: object) -> list[Augmentation]:
            return [published(own) for own in seeds]

        monkeypatch.setattr(samples, "augmentations", drawn)
        source = TrainSource(path=people.split_of(tmp_path / str(step), records, names), kind=kind)
        split = open_split(source, augment=AugmentSpec())
        return BatchMaker([split], InOrder(), AugmentSpec(), 0, step).make(0, np.arange(len(records)))  # type: ignore[arg-type]

    return make


@pytest.mark.parametrize(
    ("case", "file", "kind", "rows"),
    [
        ("plain", "toy_smplx", "synbody", range(5)),
        ("no3d", "toy_smplx_2d", "crowdpose", range(2)),
        ("smpl", "toy_smpl", "spec", range(1)),
        ("RenBody_like", "toy_smplx", "renbody", range(1)),
        ("camera", "toy_smplx", "gta_human2", range(1)),
    ],
)
def test_humandata_sets(
    made: Callable[..., Batch],
    maker: TargetMaker,
    smplx: BodyLayers,
    case: str,
    file: str,
    kind: str,
    rows: range,
) -> None:
    boxes = arrays(f"{file}.npz")["bbox_xywh"]
    expected = arrays("humandata.npz")[f"{case}/bbox"]
    for raw, box in zip(boxes, expected, strict=False):
        found = network_box(raw, 320, 240, PADDED)
        assert found is not None
        np.testing.assert_allclose(found, box, rtol=1e-5, atol=1e-4)
    assert network_box(boxes[5], 320, 240, PADDED) is None  # dropped
    records = [
        people.record_of(sets.humandata(file, "humandata", i, expected, smplx), boxes[i]) for i in rows
    ]
    batch = made(TRAIN_SETS[kind], records, [str(i) for i in rows], list(rows))
    targets, masks = maker(batch.inputs)
    for i in rows:
        wanted = people.figures("humandata.npz", f"{case}/train{i}")
        people.compare(targets, masks, i, wanted)
        if case == "plain":  # the figures hold no others; the images are the same
            people.same_pixels(batch.images[i], wanted)
    half = made(TRAIN_SETS[kind], records, [str(i) for i in rows], list(rows), step=2)
    torch.testing.assert_close(half.images, batch.images[..., ::2, ::2], rtol=0, atol=2e-5)
    assert torch.equal(half.crops()[..., ::2, ::2], half.images)
    assert half.crops().shape == batch.images.shape


def test_hands_of_bedlam(made: Callable[..., Batch], maker: TargetMaker, smplx: BodyLayers) -> None:
    """Its published file holds absolute hands, as every record does."""
    boxes, raw = arrays("humandata.npz"), arrays("toy_smplx.npz")["bbox_xywh"]
    record = people.record_of(sets.humandata("toy_smplx", "humandata", 0, boxes["plain/bbox"], smplx), raw[0])
    relative = arrays("toy_smplx.npz")["smplx"].item()
    absolute = replace(
        record,
        smplx_left_hand_pose=relative["left_hand_pose"][0].ravel(),
        smplx_right_hand_pose=relative["right_hand_pose"][0].ravel(),
    )
    upright = [0]  # seed 0 neither mirrors nor turns
    bedlam, _ = maker(made(TRAIN_SETS["bedlam"], [absolute], ["0"], upright).inputs)
    # The mean hand that was taken off is written into the published loader; here it is the body model's.
    for part, side, own in zip((slice(66, 111), slice(111, 156)), "lr", mean_hands(smplx), strict=True):
        published_mean = arrays("preprocess.npz")[f"joints/bedlam_hands_mean{side}"].ravel()
        expected = boxes[f"BEDLAM/param0_{side}hand_pose"].ravel() + published_mean
        np.testing.assert_allclose((bedlam.smplx_pose[0, part] + own).numpy(), expected, atol=1e-5)


def test_talkshow(made: Callable[..., Batch], maker: TargetMaker, smplx: BodyLayers) -> None:
    boxes, raw = arrays("humandata.npz"), arrays("toy_smplx.npz")["bbox_xywh"]
    record = people.record_of(sets.humandata("toy_smplx", "humandata", 0, boxes["plain/bbox"], smplx), raw[0])
    targets, _ = maker(made(TRAIN_SETS["talkshow"], [record], ["0"], [0]).inputs)
    for part, wanted in ((slice(66, 111), "lhand"), (slice(111, 156), "rhand"), (slice(3, 66), "body")):
        found = targets.smplx_pose[0, part].numpy()
        np.testing.assert_allclose(found, boxes[f"Talkshow/param0_{wanted}_pose"].ravel(), atol=1e-5)


OWN = {
    "MSCOCO": "mscoco",
    "MSCOCO_nofit": "mscoco",
    "UBody_Part": "ubody",
    "MPII": "mpii",
    "Human36M": "human36m",
    "PW3D": "pw3d",
    "AGORA_4k": "agora",
    "AGORA_720_kid": "agora",
}


def _own_person(name: str, smplx: BodyLayers) -> TargetInput:
    if name == "PW3D":
        return sets.pw3d(0)
    return sets.agora(name, 0, smplx) if "AGORA" in name else sets.own_loader(name, 0, smplx)


@pytest.mark.parametrize("name", OWN)
def test_sets_with_loaders_of_their_own(
    made: Callable[..., Batch],
    maker: TargetMaker,
    smplx: BodyLayers,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    box = arrays("datasets.npz")[f"{name}/in.bbox"].astype(np.float64)
    monkeypatch.setattr(samples, "network_box", lambda *_: box)  # the figures have it grown and padded
    record = people.record_of(_own_person(name, smplx), [10, 10, 50, 50])
    seeds = [0] if name == "MSCOCO_nofit" else [0, 2]
    batch = made(TRAIN_SETS[OWN[name]], [record] * len(seeds), ["datasets"] * len(seeds), seeds)
    targets, masks = maker(batch.inputs)
    for row, seed in enumerate(seeds):
        wanted = people.figures("datasets.npz", f"{name}/train{seed}")
        people.compare(targets, masks, row, wanted)
        if "AGORA_4k" not in name:  # its image is a crop that the figures do not hold
            people.same_pixels(batch.images[row], wanted)
