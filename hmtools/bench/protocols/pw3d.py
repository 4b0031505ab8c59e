"""3DPW (von Marcard et al., ECCV 2018). Four protocols are in use; their numbers are not comparable."""

from __future__ import annotations

from hmtools.bench.measures import CHALLENGE_24, LSP_14, MOVING_14, SKELETON_14
from hmtools.bench.protocols.base import Protocol, TruthRule
from hmtools.bench.protocols.registry import register

__all__ = ["Pw3dChallenge", "Pw3dSmplerX", "Pw3dSpin", "Pw3dWham"]

_GENDERED = TruthRule(family="smpl", gender="own")


@register
class Pw3dSmplerX(Protocol):
    """3DPW under SMPLer-X: 14 joints of the skeletons of two body models.

    Source: SMPLer-X and OSX, evaluation of their PW3D loader; SMPLest-X, caption of the MPE table.

    * Rows: the people of ``3DPW_test.json`` of earlier whole-body projects, interval 1. Without that file the
      shards hold everybody whose camera is valid: their rows are ``derived``.
    * Truth: SMPL of the person's gender on pose, shape and translation; every shape as it is.
    * Prediction: neutral SMPL-X.
    * Joints: rows 1, 2, 4, 5, 7, 8, 12, 15-21 (hips, knees, ankles, neck, head, shoulders, elbows, wrists) of
      the **neutral** SMPL regressor on the true mesh, and of the neutral SMPL-X regressor on the predicted
      one. Not the regressor of LSP or Human3.6M that other papers use.
    * MPJPE after the pelvises (row 0 of each) are brought together, **primary**; PA-MPJPE on the 14 joints.
    * A person without a prediction is left out of the means and counted.
    """

    id = "smplerx@1"
    testset = "3dpw"
    names = ("3DPW", "PW3D", "3DPW test")
    default = True
    title = "3DPW, SMPLer-X"
    source = "SMPLer-X (Cai et al., NeurIPS 2023 D&B)"
    dataset = "pw3d"
    splits = ("test",)
    body = "smpl"
    truth = _GENDERED
    box_ratio = 1.2
    measure = SKELETON_14
    metrics = ("mpjpe_body", "pa_mpjpe_body")
    primary = "mpjpe_body"
    in_mpe = True


@register
class Pw3dSpin(Protocol):
    """3DPW as SPIN evaluates it, and HMR2.0 and most work on SMPL after it.

    Source: SPIN (Kolotouros et al., ICCV 2019).

    * Rows: everybody of the test split whose camera is valid, interval 1 (35515 people by SPIN's own list).
    * Truth: SMPL of the person's gender. Prediction: neutral SMPL.
    * Joints: rows 6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10 of ``J_regressor_h36m`` on both meshes.
    * MPJPE after the pelvises (row 0 of that regressor) are brought together; PA-MPJPE on the 14 joints.
    * A person without a prediction is left out of the means and counted.
    """

    id = "spin@1"
    testset = "3dpw"
    names = ("3DPW",)
    title = "3DPW, common SMPL protocol (SPIN, HMR2.0)"
    source = "SPIN (Kolotouros et al., ICCV 2019)"
    dataset = "pw3d"
    splits = ("test",)
    rows = "derived"
    counts = {"records": 35_515}  # noqa: RUF012 - a declaration, never changed
    body = "smpl"
    predicted = "smpl"
    truth = _GENDERED
    measure = LSP_14
    metrics = ("mpjpe_body", "pa_mpjpe_body")
    primary = "mpjpe_body"


@register
class Pw3dWham(Protocol):
    """3DPW as WHAM evaluates videos: about the middle of the hips, with vertices and acceleration.

    Source: WHAM (Shin et al., CVPR 2024).

    * Rows, truth, prediction and joints: those of :class:`Pw3dSpin`.
    * Root: the middle of the two hips of the 14 joints; it moves the vertices as well.
    * MPJPE, PA-MPJPE, PVE, and the acceleration error: length of the second difference of the error of the 14
      joints about their root, x 30^2, over frames that have both neighbours.
    * A person without a prediction is left out of the means and counted; so are the accelerations beside.
    """

    id = "wham@1"
    testset = "3dpw"
    names = ("3DPW",)
    title = "3DPW, WHAM"
    source = "WHAM (Shin et al., CVPR 2024)"
    dataset = "pw3d"
    splits = ("test",)
    rows = "derived"
    counts = {"records": 35_515}  # noqa: RUF012 - a declaration, never changed
    body = "smpl"
    predicted = "smpl"
    truth = _GENDERED
    measure = MOVING_14
    metrics = ("mpjpe_body", "pa_mpjpe_body", "pve_all", "accel_error")
    primary = "mpjpe_body"
    over_tracks = True


@register
class Pw3dChallenge(Protocol):
    """The 3DPW challenge: SMPL's own joints and their turns, over all sixty sequences.

    Source: 3DPW challenge, its published evaluation.

    * Rows: train, validation and test; people with a valid camera and at least one 2D keypoint.
    * Truth: the 24 joints of the person's SMPL body and their rotations in the camera frame.
    * Prediction: SMPL parameters (vertices alone have no rotations).
    * MPJPE once joints 0 coincide, **primary**; PA-MPJPE with scale. PCK at 50 mm and AUC of 0 to 200 mm on
      hips, knees, ankles, shoulders, elbows, wrists, after that shift. Orientation: mean angle between the
      turns of pelvis, hips, knees, shoulders, elbows.
    * A person without a prediction is left out of the means and counted.
    """

    id = "3dpw-official@1"
    testset = "3dpw"
    names = ("3DPW",)
    title = "3DPW challenge"
    source = "3DPW challenge (von Marcard et al., ECCV 2018)"
    dataset = "pw3d"
    splits = ("train", "validation", "test")
    rows = "derived"
    seen = True
    body = "smpl"
    predicted = "smpl"
    truth = TruthRule(family="smpl", gender="own", skeleton=True)
    measure = CHALLENGE_24
    metrics = ("mpjpe_body", "pa_mpjpe_body", "pck50", "auc", "orientation")
    primary = "mpjpe_body"
