from __future__ import annotations

from pathlib import Path

import numpy as np

from hmtools.infer.outputs.export import export_predictions
from tests.infer.outputs.predicted import person, write_table


def test_a_file_holds_what_the_table_has(tmp_path: Path) -> None:
    rows = [
        person(1, frame=5, kid=0.5),
        person(2, frame=2, smplx_jaw_pose=None, bbox_xywh=None, gender="female"),
    ]
    path = write_table(tmp_path / "p.parquet", rows)
    done = export_predictions(path, "tracks", tmp_path / "out")
    assert [file.name for file in done.files] == ["clip_1.npz"]
    with np.load(done.files[0], allow_pickle=False) as file:
        found = dict(file)
    assert found["frame_ids"].tolist() == [2, 5]
    assert found["pose"].shape == (2, 165)
    assert found["pose"].dtype == np.float32
    body, hand = (rows[1][name].astype(np.float32) for name in ("smplx_body_pose", "smplx_right_hand_pose"))
    np.testing.assert_array_equal(found["pose"][0, 3:66], body)
    np.testing.assert_array_equal(found["pose"][0, 120:], hand)
    assert np.isnan(found["pose"][0, 66:69]).all(), "missing is NaN"
    np.testing.assert_array_equal(found["pose"][1, 66:69], np.array([0.2, 0, 0], np.float32))
    np.testing.assert_allclose(found["trans"][1], rows[0]["smplx_transl"], rtol=1e-6)
    assert found["image_size"].tolist() == [[320, 240]] * 2
    assert np.isnan(found["bbox_xywh"][0]).all()
    assert [str(found[n]) for n in ("source", "track_id", "gender", "model_type")] == [
        *("clip.mp4", "1", "female", "smplx")
    ]
    np.testing.assert_array_equal(found["kid"], [np.nan, 0.5])
    assert "score" not in found
    assert "keys" not in found
