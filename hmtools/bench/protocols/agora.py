"""AGORA (Patel et al., CVPR 2021): as SMPLer-X evaluates its validation set, and as its own server does."""

from __future__ import annotations

from hmtools.bench.measures import WHOLE_BODY
from hmtools.bench.protocols.base import PA_PVE, PVE, Protocol, TruthRule
from hmtools.bench.protocols.registry import register

__all__ = ["AgoraOfficial", "AgoraSmplerX"]


@register
class AgoraSmplerX(Protocol):
    """AGORA validation under SMPLer-X: every valid person, no matching.

    Source: SMPLer-X, ``--agora_benchmark agora_model_val``.

    * Rows: everybody of the validation split with ``is_valid``, interval 1, by their labelled box. (At 4K the
      reference also skips people whose prepared crop is missing.)
    * Truth: the published vertices of the gendered fits, children included.
    * Prediction: neutral SMPL-X.
    * PVE after the pelvises are brought together, by the neutral joint regressor on both meshes; **primary**.
      Hands, face and their Procrustes versions as on EHF; no joint errors.
    * A person without a prediction is left out of the means and counted.
    """

    id = "smplerx@1"
    testset = "agora"
    names = ("AGORA", "AGORA val", "AGORA validation")
    default = True
    title = "AGORA validation, SMPLer-X"
    source = "SMPLer-X (Cai et al., NeurIPS 2023 D&B)"
    dataset = "agora"
    splits = ("validation",)
    truth = TruthRule(source="mesh")
    box_ratio = 1.2 * 0.833  # of 720p images; at 4K the reference takes the whole prepared crop
    measure = WHOLE_BODY
    metrics = (*PVE, *PA_PVE)
    primary = "pve_all"
    in_mpe = True


@register
class AgoraOfficial(Protocol):
    """AGORA's leader board, computed on its validation set: people are matched by their joints.

    Source: AGORA (Patel et al., CVPR 2021), its evaluation code as described.

    * Rows: all images with somebody valid; occlusion from 0 to 90 per cent. People whom the release marks
      invalid are not in the shards: where a prediction fits one of them badly, the server may count one false
      positive more.
    * Matching, per image, at 3840 x 2160: the cost of a pair is the matrix 2-norm of the differences of its
      first 24 joints, the cheapest pair first; accepted where the boxes of those joints overlap by 0.1, a
      false positive otherwise. Whoever is left is a miss or a false positive.
    * Truth: the published vertices and 127 joints. Prediction: SMPL-X, of any gender.
    * Body: 22 joints and the vertices without head and hands, about the middle of the hips. Hands: wrist and
      15 joints, about the wrist. Face: neck and 51 landmarks, about the neck. No Procrustes.
    * MVE (here ``pve``) and MPJPE: body over the people found, **hands and face with misses as 0**. F1 to
      0.01; NMVE and NMJE are errors by F1; FB is body + (hands + face) / 3, of rounded values, to 0.1.
    * Children are a subset; their FB is divided by the F1 of everybody.
    * A person whom nobody is matched to is a miss, and enters by the rules above.
    """

    id = "agora-official@1"
    testset = "agora"
    names = ("AGORA",)
    title = "AGORA validation, leader board"
    source = "AGORA (Patel et al., CVPR 2021)"
    dataset = "agora"
    splits = ("validation",)
    truth = TruthRule(source="mesh", skeleton=True)
    metrics = (
        *("pve_body", "pve_lhand", "pve_rhand", "pve_face"),
        *("mpjpe_body", "mpjpe_lhand", "mpjpe_rhand", "mpjpe_face"),
    )
    primary = "pve_body"
    missing = "miss"
    per_image = True
