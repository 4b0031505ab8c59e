"""EHF (Pavlakos et al., CVPR 2019), as OSX and SMPLer-X evaluate it."""

from __future__ import annotations

from hmtools.bench.measures import WHOLE_BODY
from hmtools.bench.protocols.base import PA_MPJPE, PA_PVE, PVE, Protocol, TruthRule
from hmtools.bench.protocols.registry import register

__all__ = ["EhfSmplerX"]


@register
class EhfSmplerX(Protocol):
    """EHF under SMPLer-X: every frame against its registered mesh.

    Source: SMPLer-X and OSX, evaluation of their EHF loader; SMPLest-X, caption of the MPE table.

    * Rows: all 100 frames, interval 1; nobody is skipped unless the body box is empty.
    * Truth: the SMPL-X mesh registered to the scan, in the camera frame. There are no parameters.
    * Prediction: neutral SMPL-X.
    * PVE: mean distance of all 10475 vertices, pelvises together (row 0 of the neutral joint regressor on
      both meshes), mm. **Primary.**
    * Hands: their 778 vertices, wrists together (rows 20, 21); the hand figure is the mean of both. Face: its
      5023 vertices, necks together (row 12).
    * PA: similarity Procrustes on exactly the points that are measured. PA-MPJPE: 14 joints of the body, 21
      of each hand.
    * No visibility mask. The figure of the set is the plain mean over frames.
    * A frame without a prediction is left out of the means and counted.
    """

    id = "smplerx@1"
    testset = "ehf"
    names = ("EHF",)
    default = True
    title = "EHF, SMPLer-X"
    source = "SMPLer-X (Cai et al., NeurIPS 2023 D&B); OSX (Lin et al., CVPR 2023)"
    dataset = "ehf"
    splits = ("test",)
    counts = {"images": 100, "records": 100}  # noqa: RUF012 - a declaration, never changed
    truth = TruthRule(source="mesh")
    box_ratio = 1.2
    measure = WHOLE_BODY
    metrics = (*PVE, *PA_PVE, *PA_MPJPE)
    primary = "pve_all"
    in_mpe = True
