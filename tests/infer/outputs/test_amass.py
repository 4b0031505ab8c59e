"""Motions in AMASS's form, proven by posing them again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from hmtools.bodies.params import BodyParams
from hmtools.infer.outputs.amass import Z_UP
from hmtools.infer.outputs.bodies import genders_of, parameters, vertices_of
from hmtools.infer.outputs.export import export_predictions
from tests.infer.outputs.predicted import person, standin_bodies, track_of, write_table


def test_the_body_of_the_file_is_the_one_that_was_seen(tmp_path: Path) -> None:
    betas = person(0)["smplx_betas"]
    rows = [person(i, frame=4 * i, smplx_betas=betas, kid=0.6) for i in range(3)]
    path = write_table(tmp_path / "p.parquet", rows)
    (file,) = export_predictions(path, "amass", tmp_path, fps=60).files
    assert file.name == "clip_1_stageii.npz"
    found = dict(np.load(file, allow_pickle=False))
    assert float(found["mocap_frame_rate"]) == 15, "every fourth of 60"
    assert (found["poses"].shape, found["betas"].shape, found["pose_hand"].shape) == (
        (3, 165),
        (16,),
        (3, 90),
    )
    assert str(found["surface_model_type"]) == "smplx"
    np.testing.assert_array_equal(found["poses"][:, 66:75], np.hstack([found["pose_jaw"], found["pose_eye"]]))
    bodies, track = standin_bodies(path), track_of(path)
    values = parameters(track.columns, "smplx")
    seen = vertices_of(bodies, values, genders_of(track.columns, 3)) @ Z_UP[:, :3].T
    again = BodyParams.of(
        {
            **{"global_orient": found["root_orient"], "body_pose": found["pose_body"]},
            **{"left_hand_pose": found["pose_hand"][:, :45], "right_hand_pose": found["pose_hand"][:, 45:]},
            **{"jaw_pose": found["pose_jaw"], "betas": np.tile(found["betas"][:10], (3, 1))},
            **{"transl": found["trans"], "kid": np.full(3, found["kid"])},
        }
    )
    with torch.inference_mode():
        posed = bodies(again).vertices
    assert posed is not None
    np.testing.assert_allclose(posed.numpy(), seen, atol=2e-5)
    height = np.ptp(posed.numpy()[0], axis=0)
    assert height[2] == height.max(), "z is up"


def test_gaps_end_a_motion_and_the_pelvis_stays(tmp_path: Path) -> None:
    """Shapes differ from frame to frame: one file has their mean, its pelvis is where each of them was."""
    rows = [person(i, frame=frame) for i, frame in enumerate([0, 1, 2, 7, 8, 9])]
    rows[4]["smplx_transl"] = [np.nan, 0, 0]
    path = write_table(tmp_path / "p.parquet", rows)
    done = export_predictions(path, "amass", tmp_path)
    assert [file.name for file in done.files] == [f"clip_1_f{frame:06d}_stageii.npz" for frame in (0, 7, 9)]
    assert done.left_out == {"no finite pose and place": 1}
    assert "30 assumed" in done.notes[0]
    found = dict(np.load(done.files[0]))
    bodies, track = standin_bodies(path), track_of(path)
    values = parameters(track.columns, "smplx")

    def pelvis(betas: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return bodies.rest_pelvis(BodyParams.of({"betas": betas}), "neutral").numpy()

    seen = (pelvis(values["betas"]) + values["transl"])[:3] @ Z_UP[:, :3].T
    np.testing.assert_allclose(pelvis(found["betas"][None, :10]) + found["trans"], seen, atol=1e-5)
