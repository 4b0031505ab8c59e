"""UBody (Lin et al., CVPR 2023), as OSX and SMPLer-X evaluate it: what the image shows of the body counts."""

from __future__ import annotations

from hmtools.bench.measures import VISIBLE_BODY
from hmtools.bench.protocols.base import Protocol, TruthRule
from hmtools.bench.protocols.registry import register

__all__ = ["UBodyInterSmplerX", "UBodyIntraSmplerX"]

_SOURCE = "OSX (Lin et al., CVPR 2023); SMPLer-X (Cai et al., NeurIPS 2023 D&B)"
_TRUTH = TruthRule(max_beta=3.0, straight_eyes=True, unseen_neutral=True)
_RATIO = 1.25
_METRICS = (
    *("pve_all", "pve_hand", "pve_face", "pa_pve_all", "pa_pve_hand", "pa_pve_face"),
    *("pa_mpjpe_body", "pa_mpjpe_hand"),
)


@register
class UBodyIntraSmplerX(Protocol):
    """UBody under OSX and SMPLer-X: videos of ``intra_scene_test_list``, every hundredth annotation.

    Source: OSX and SMPLer-X, evaluation of their UBody loader.

    * Rows: annotations are counted from 1 within each scene, before any filter; every 100th is kept. Crowds,
      unusable labels, people without a fit and empty boxes are left out.
    * Truth: the neutral SMPL-X model on the fit and its translation, eyes straight; a hand or face marked
      invalid is the mean hand or the neutral face; a shape with any number beyond 3 becomes the mean shape.
    * Prediction: neutral SMPL-X.
    * Visible: a vertex or joint of the truth counts if the test camera sees it strictly inside the original
      image. The test camera is that of the network's crop (body box x 1.25, focal length 5000 on 192 x 256),
      the crop of the prediction where it says which, else that of the record's box.
    * Alignments (pelvis, wrists, neck, Procrustes) use **all** points; only means are over visible ones.
    * PVE, **primary**; hands: mean of the hands that show anything, people with neither are left out of it;
      face likewise. A body of which nothing is visible has no error and is excluded (the reference makes the
      whole mean NaN).
    * A person without a prediction is left out of the means and counted.
    """

    id = "smplerx@1"
    testset = "ubody"
    names = ("UBody", "UBody intra", "UBody intra scene", "UBody intra test")
    default = True
    title = "UBody (intra-scene), SMPLer-X"
    source = _SOURCE
    dataset = "ubody"
    splits = ("intra_test",)
    every = 100
    truth = _TRUTH
    box_ratio = _RATIO
    test_camera = True
    measure = VISIBLE_BODY
    metrics = _METRICS
    primary = "pve_all"
    in_mpe = True


@register
class UBodyInterSmplerX(Protocol):
    """UBody's other split under the same rules: scenes of ``inter_scene_test_list``, never trained on.

    Source: OSX. All rules are those of :class:`UBodyIntraSmplerX`; it is not part of MPE.
    """

    id = "smplerx@1"
    testset = "ubody_inter"
    names = ("UBody inter", "UBody inter scene", "UBody inter test")
    default = True
    title = "UBody (inter-scene), SMPLer-X"
    source = _SOURCE
    dataset = "ubody"
    splits = ("inter_test",)
    every = 100
    truth = _TRUTH
    box_ratio = _RATIO
    test_camera = True
    measure = VISIBLE_BODY
    metrics = _METRICS
    primary = "pve_all"
