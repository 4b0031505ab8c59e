"""What a protocol is: a declaration of which rows of which test set are compared, with what truth, and how.

A number without its protocol says little: 3DPW alone has four that are in use and disagree by centimetres.
Each is a class in a module beside this one that reads like the protocol's description; adding a protocol is
adding one file. The loop that runs them is :mod:`hmtools.bench.run`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from hmtools.humandata.keypoints import convention

if TYPE_CHECKING:
    from hmtools.bench.pairs import Pairs

__all__ = [
    "LSP_14",
    "PA_MPJPE",
    "PA_PVE",
    "PVE",
    "SKELETON_14",
    "WHOLE_BODY_56",
    "Measure",
    "Protocol",
    "TruthRule",
]

PVE = ("pve_all", "pve_lhand", "pve_rhand", "pve_hand", "pve_face")
"""Vertex errors of the whole body and its parts."""
PA_PVE = tuple(f"pa_{name}" for name in PVE)
"""The same after a Procrustes alignment of each."""
PA_MPJPE = ("pa_mpjpe_body", "pa_mpjpe_lhand", "pa_mpjpe_rhand", "pa_mpjpe_hand")
"""Joint errors after a Procrustes alignment: 14 of the body, 21 of each hand."""

LSP_14 = convention("lsp_14").names
"""Joints of ``SMPLX_to_J14`` and of the common 3DPW protocol."""
_FINGERS = ("thumb", "index", "middle", "ring", "pinky")
_HAND = ("hand_wrist", *(f"{finger}_{joint}" for finger in _FINGERS for joint in (1, 2, 3, "tip")))
WHOLE_BODY_56 = (*LSP_14, *(f"{side}_{joint}" for side in ("left", "right") for joint in _HAND))
"""Joints of body and hands that SMPLer-X measures of SMPL-X meshes."""
SKELETON_14 = tuple(convention("smpl_24").names[row] for row in (1, 2, 4, 5, 7, 8, 12, *range(15, 22)))
"""Joints of the skeletons that SMPLer-X measures on 3DPW."""


@dataclass(frozen=True, slots=True)
class Measure:
    """How people are compared.

    Attributes:
        compare: B predicted and true people -> column of ``per_sample`` -> (B,) tensor, NaN where it is not
            defined; and ``joint_errors`` -> (B, J).
        joints: names of those J joints, or none.
    """

    compare: Callable[[Pairs], Mapping[str, Any]]
    joints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthRule:
    """What the target mesh of a record is.

    Attributes:
        family: whose topology the target has: ``smplx`` or ``smpl``.
        source: ``mesh``: the one the set publishes, in the mesh sidecar. ``parameters``: the record's,
            posed.
        gender: of the model that poses parameters. ``neutral``: the neutral model with ``betas_neutral``
            where the record's own shape belongs to another; ``own``: the record's.
        max_beta: a shape with any number beyond it counts as broken and becomes the mean shape (all zeros),
            as SMPLer-X does with labels; None keeps every shape.
        straight_eyes: eyes look straight ahead, of targets and of predictions, as SMPLer-X has no gaze.
        skeleton: joints are compared besides the mesh: posed from parameters, or predicted beside vertices.
        unseen_neutral: a hand or face marked invalid, or missing, is the mean hand or the neutral face.
    """

    family: Literal["smplx", "smpl"] = "smplx"
    source: Literal["mesh", "parameters"] = "parameters"
    gender: Literal["neutral", "own"] = "neutral"
    max_beta: float | None = None
    straight_eyes: bool = False
    skeleton: bool = False
    unseen_neutral: bool = False


class Protocol:
    """Base of every protocol; subclasses declare the class variables, and have no other code.

    Attributes:
        id: name and version. Published figures are shown beside results of the same id only; whatever changes
            a number is a new version.
        testset: as reports call it.
        names: what people write for the set, in any case and with or without ``-``, ``_`` and blanks.
        default: whether this is what a bare name of the set means.
        title: for people, one line.
        source: where the protocol is defined.
        dataset: whose shards.
        splits: official split names, in order; sets that join several are run over all.
        every: rows whose ``source_index`` it divides are compared.
        rows: whether the people are those of a published list (``official``) or all that the release has
            (``derived``), as manifests have it.
        seen: people without any 2D keypoint are excluded.
        counts: ``records`` and ``images`` of the whole split as its authors or users state them; empty where
            nobody did.
        body: body family the shards must hold.
        truth: what the target is.
        predicted: family of the prediction.
        box_ratio: of the network's crop: the body box is fitted into the image, grown to 3:4 and multiplied
            by it. People of whose box nothing is left in the image are excluded. None: boxes play no part.
        test_camera: whether the measure wants the camera of that crop, to tell what is visible.
        measure: how people are compared; None where ``per_image``.
        metrics: columns of ``per_sample`` that this protocol defines; the others stay null.
        primary: the one the set is ranked by.
        missing: what becomes of people without a prediction. ``left out``: of every mean, and counted.
            ``miss``: by the protocol's own rule of misses.
        per_image: people of an image are matched to its predictions as AGORA does
            (:mod:`hmtools.bench.image_comparison`).
        over_tracks: rows come person by person in order of time, as metrics of motion need.
        in_mpe: whether the primary error enters MPE.
    """

    id: ClassVar[str]
    testset: ClassVar[str]
    names: ClassVar[tuple[str, ...]]
    default: ClassVar[bool] = False
    title: ClassVar[str]
    source: ClassVar[str]
    dataset: ClassVar[str]
    splits: ClassVar[tuple[str, ...]]
    every: ClassVar[int] = 1
    rows: ClassVar[Literal["official", "derived"]] = "official"
    seen: ClassVar[bool] = False
    counts: ClassVar[Mapping[str, int]] = {}
    body: ClassVar[Literal["smplx", "smpl"]] = "smplx"
    truth: ClassVar[TruthRule]
    predicted: ClassVar[Literal["smplx", "smpl"]] = "smplx"
    box_ratio: ClassVar[float | None] = None
    test_camera: ClassVar[bool] = False
    measure: ClassVar[Measure | None] = None
    metrics: ClassVar[tuple[str, ...]]
    primary: ClassVar[str]
    missing: ClassVar[Literal["left out", "miss"]] = "left out"
    per_image: ClassVar[bool] = False
    over_tracks: ClassVar[bool] = False
    in_mpe: ClassVar[bool] = False
