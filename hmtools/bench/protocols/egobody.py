"""EgoBody, EgoSet (Zhang et al., ECCV 2022), as SMPLer-X evaluates it."""

from __future__ import annotations

from hmtools.bench.measures import WHOLE_BODY
from hmtools.bench.protocols.base import PA_MPJPE, PA_PVE, PVE, Protocol, TruthRule
from hmtools.bench.protocols.registry import register

__all__ = ["EgoBodySmplerX"]


@register
class EgoBodySmplerX(Protocol):
    """EgoBody's EgoSet under SMPLer-X: every frame in which the interactee was detected.

    Source: SMPLer-X, the evaluation that its HumanData sets share, with its prepared test file
    (``egobody_egocentric_test_..._fix_betas``); counts of the EgoBody release.

    * Rows: the official test split, interval 1, all 62155 frames of EgoSet with the interactee.
    * Truth: the **neutral** SMPL-X model on root, body, hands, jaw and expression of the gendered fit, eyes
      straight, and ``betas_neutral``: the shape refitted to the neutral model. The authors' refit is not
      published; ours is the least-squares one (:mod:`hmtools.bodies.neutral`). A shape with any number
      beyond 3 becomes the mean shape.
    * Prediction: neutral SMPL-X.
    * PVE after the pelvises are brought together, **primary**; hands, face, Procrustes versions and PA-MPJPE
      as on EHF.
    * No visibility mask: what the headset cannot see of the person counts as well.
    * A frame without a prediction is left out of the means and counted.
    """

    id = "smplerx@1"
    testset = "egobody"
    names = ("EgoBody", "EgoSet", "EgoBody EgoSet", "EgoBody egocentric", "EgoBody test")
    default = True
    title = "EgoBody (EgoSet), SMPLer-X"
    source = "SMPLer-X (Cai et al., NeurIPS 2023 D&B)"
    dataset = "egobody_egocentric"
    splits = ("test",)
    counts = {"images": 62_155, "records": 62_155}  # noqa: RUF012 - a declaration, never changed
    truth = TruthRule(max_beta=3.0, straight_eyes=True, unseen_neutral=True)
    box_ratio = 1.2 * 0.833  # their boxes carry 1.2 already
    measure = WHOLE_BODY
    metrics = (*PVE, *PA_PVE, *PA_MPJPE)
    primary = "pve_all"
    in_mpe = True
