"""What training does with each set: one row of data per set, no code.

The rows follow SMPLer-X's training (Cai et al., "SMPLer-X: Scaling up expressive human pose and shape
estimation", 2023): the padding of boxes, which joints supervise, and the rule of the targets
(:data:`hmtools.models.smplerx.target_rules.RULES`). A row exists for a set whether or not this version has a
converter for it. Sets of your own train like the sets that come as HumanData files, with the ``box_ratio``
that their converter declares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hmtools.core.errors import UsageError, nearest
from hmtools.datasets.registry import all_datasets
from hmtools.humandata.record import FAMILIES
from hmtools.models.smplerx.target_rules import RULES, TargetRule

__all__ = ["PADDED", "TRAIN_SETS", "TrainSet", "train_set"]

PADDED = 1.2 * 0.833
"""Padding of boxes that are 1.2 times a person already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSet:
    """How one set is trained on.

    Attributes:
        published: what SMPLer-X calls it.
        rule: how its targets are made.
        box_ratio: padding of ``bbox_xywh`` once it is grown to 3:4; the converter's
            :attr:`~hmtools.datasets.base.Dataset.box_ratio` says what stored crops leave room for.
        keypoints2d: where the annotated 2D joints come from: the first column ``keypoints2d_<name>`` that a
            person has.
        keypoints3d: likewise ``keypoints3d_<name>``; none: the set has no metric joints.
        body: family of the fits; a person's SMPL-X body comes first, then SMPL, then SMPL-H.
        kids: some people are children, posed with the kid template.
    """

    published: str
    rule: TargetRule
    box_ratio: float
    keypoints2d: tuple[str, ...]
    keypoints3d: tuple[str, ...]
    body: str
    kids: bool = False

    def __post_init__(self) -> None:
        if self.body not in FAMILIES:
            raise UsageError(f"{self.published}: body {self.body!r}, expected one of {', '.join(FAMILIES)}")


# A joint of a body fits the body better than an annotator's click: published HumanData files have these.
_OF_THE_BODY = ("smplx", "smpl", "original")
# Files of 2022 hold the annotation itself. It has no pelvis to measure depth from, so 3D is the body's.
_ANNOTATED = ("original", "smplx", "smpl")


def _humandata(
    published: str, *, body: str = "smplx", annotated: bool = False, rule: str = "humandata"
) -> TrainSet:
    return TrainSet(
        published=published,
        rule=RULES[rule],
        box_ratio=PADDED,
        keypoints2d=_ANNOTATED if annotated else _OF_THE_BODY,
        keypoints3d=_OF_THE_BODY,
        body=body,
    )


def _own(
    published: str,
    rule: str,
    *,
    box_ratio: float = 1.2,
    solid: bool = False,
    body: str = "smplx",
    kids: bool = False,
) -> TrainSet:
    return TrainSet(
        published=published,
        rule=RULES[rule],
        box_ratio=box_ratio,
        keypoints2d=("original",),
        keypoints3d=("original",) if solid else (),
        body=body,
        kids=kids,
    )


TRAIN_SETS: Mapping[str, TrainSet] = MappingProxyType(
    {
        # with loaders of their own
        "mscoco": _own("MSCOCO", "mscoco"),
        # Published on 4K crops that are 1.25 times the joints' extent, or on 720p frames with this padding.
        "agora": _own("AGORA", "agora", box_ratio=PADDED, solid=True, kids=True),
        "ubody": _own("UBody", "ubody", box_ratio=1.25),
        "pw3d": _own("PW3D", "pw3d", body="smpl"),
        "mpii": _own("MPII", "mpii"),
        "human36m": _own("Human36M", "human36m"),
        # HumanData files
        "bedlam": _humandata("BEDLAM"),
        "spec": _humandata("SPEC", body="smpl", annotated=True),
        "gta_human2": _humandata("GTA_Human2"),
        "synbody": _humandata("SynBody"),
        "posetrack": _humandata("PoseTrack", body="smpl", annotated=True),
        "egobody_egocentric": _humandata("EgoBody_Egocentric"),
        "prox": _humandata("PROX"),
        "crowdpose": _humandata("CrowdPose", body="smpl", annotated=True),
        "egobody_kinect": _humandata("EgoBody_Kinect"),
        "mpi_inf_3dhp": _humandata("MPI_INF_3DHP", body="smpl", annotated=True),
        "rich": _humandata("RICH"),
        "muco": _humandata("MuCo", body="smpl", annotated=True),
        "insta_variety": _humandata("InstaVariety", body="smpl", annotated=True),
        "behave": _humandata("Behave", body="smplh", annotated=True),
        "up3d": _humandata("UP3D", body="smpl", annotated=True),
        "arctic": _humandata("ARCTIC"),
        "ochuman": _humandata("OCHuman", body="smpl", annotated=True),
        "chi3d": _humandata("CHI3D"),
        "renbody_hires": _humandata("RenBody_HiRes", rule="renbody"),
        "mtp": _humandata("MTP"),
        "humansc3d": _humandata("HumanSC3D"),
        "renbody": _humandata("RenBody", rule="renbody"),
        "fit3d": _humandata("FIT3D"),
        "talkshow": _humandata("Talkshow", rule="talkshow"),
        "ssp3d": _humandata("SSP3D", body="smpl"),
        "lspet": _humandata("LSPET", body="smpl", annotated=True),
    }
)
"""Name of a dataset -> how it is trained on."""


def train_set(dataset: str) -> TrainSet:
    """The row of a dataset; one that follows from its class where the table has none.

    Raises:
        UsageError: if there is neither.
    """
    if dataset in TRAIN_SETS:
        return TRAIN_SETS[dataset]
    known = all_datasets()
    if dataset not in known:
        names = sorted({*TRAIN_SETS, *known})
        raise UsageError(
            f"no training set {dataset!r}{nearest(dataset, names)}; there are {', '.join(names)}"
        )
    return TrainSet(
        published=known[dataset].title,
        rule=RULES["humandata"],
        box_ratio=known[dataset].box_ratio,
        keypoints2d=_OF_THE_BODY,
        keypoints3d=_OF_THE_BODY,
        body="smplx",
    )
