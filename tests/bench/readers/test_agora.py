from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hmtools.bench.readers.agora import AgoraReader
from hmtools.core.errors import HmtoolsError, SchemaError, UnsafeFileError
from hmtools.geometry.rotation import axis_angle_to_matrix
from tests.bench.readers.people import body, submitted


def params(**changes: Any) -> dict[str, np.ndarray]:
    return {name: value.reshape(1, -1) for name, value in body(0).items()} | changes


def test_matrices_become_axis_angle(tmp_path: Path) -> None:
    """To matrices no mean can be added: their hands are absolute."""
    own = params()
    poses = [name for name in own if name.endswith(("_pose", "_orient"))]
    turned = {
        name: axis_angle_to_matrix(torch.from_numpy(own[name].reshape(1, -1, 3))).numpy() for name in poses
    }
    submitted(tmp_path, "x_personId_0", 0, params=own | turned, pose2rot=False)
    reader = AgoraReader(tmp_path)
    found = reader.read([0])
    assert not reader.relative_hands
    assert np.allclose(found["smplx_body_pose"], own["body_pose"], atol=1e-5)
    assert np.allclose(found["smplx_jaw_pose"], own["jaw_pose"], atol=1e-5)


def test_joints_with_a_leading_one_are_read(tmp_path: Path) -> None:
    """As SMPLer-X writes them; the server would not."""
    submitted(tmp_path, "x_personId_12", 0, joints=np.ones((1, 144, 2)))
    reader = AgoraReader(tmp_path)
    assert reader.read([0])["joints2d"].shape == (1, 144, 3)
    assert reader.relative_hands
    assert reader.listed.image == ["x"]
    assert reader.listed.person is not None
    assert reader.listed.person.tolist() == [12]


def test_smpl_bodies(tmp_path: Path) -> None:
    own = {"global_orient": np.ones((1, 1, 3)), "body_pose": np.ones((1, 23, 3)), "betas": np.ones((1, 10))}
    submitted(tmp_path, "x_personId_0", 0, params=own, gender="female")
    found = AgoraReader(tmp_path).read([0])
    assert found["smpl_body_pose"].shape == (1, 69)
    assert found["gender"] == ["female"]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"joints": np.ones((24, 3))}, r"joints: expected \(24 or more, 2\)"),
        ({"joints": None}, "joints: expected"),
        ({"joints": [[1, 2], 3]}, "joints: expected an array"),
        ({"params": [1]}, "params: expected a dict, found list"),
        ({"params": params(body_pose=np.ones((1, 69)))}, "body_pose: expected 63 numbers"),
        ({"params": params(betas=np.array(["a"]))}, "betas: expected an array of numbers"),
        ({"pose2rot": False}, r"global_orient: pose2rot is false: expected matrices .*found \(1, 3\)"),
        ({"kid_flag": True}, r"betas: with kid_flag expected num_betas \+ 1 = 10 \+ 1 numbers.*found 10"),
        ({"gender": "m"}, "gender: expected neutral"),
        ({"verts": np.ones((5, 2))}, r"verts: expected \(V, 3\)"),
        ({"verts": np.ones((778, 3))}, "a mesh of 778 vertices"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changes: dict[str, Any], error: str) -> None:
    submitted(tmp_path, "x_personId_0", 0, **changes)
    with pytest.raises(SchemaError, match=f"(?s)x_personId_0.*{error}"):
        AgoraReader(tmp_path).read([0])


def test_pickles_run_nothing(tmp_path: Path) -> None:
    (tmp_path / "x_personId_0.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(UnsafeFileError, match="system"):
        AgoraReader(tmp_path).read([0])
    (tmp_path / "x_personId_0.pkl").write_bytes(bytes(17 << 20))
    with pytest.raises(UnsafeFileError, match="17,825,792 bytes"):
        AgoraReader(tmp_path).read([0])


def test_a_zip_with_a_name_twice(tmp_path: Path) -> None:
    """Is a duplicate; nothing is unpacked to disk, whatever folder a member names."""
    submitted(tmp_path / "a", "x_personId_0", 0)
    data = (tmp_path / "a" / "x_personId_0.pkl").read_bytes()
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        for folder in ("predictions", "../../other", "__MACOSX/predictions"):
            archive.writestr(f"{folder}/x_personId_0.pkl", data)
    reader = AgoraReader(tmp_path / "z.zip")
    assert reader.listed.where == ["x_personId_0.pkl"] * 2
    assert set(reader.read([1])) == set(reader.read([0]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "z.zip"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(st.data())
def test_damaged_pickles_and_odd_contents_are_errors_of_ours(tmp_path: Path, data: st.DataObject) -> None:
    odd = st.recursive(
        st.none() | st.integers() | st.text(max_size=3) | st.floats() | st.booleans(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["transl", "a"]), inner),
        max_leaves=5,
    )
    names = st.sampled_from(
        ["joints", "params", "verts", "allSmplJoints3d", "gender", "kid_flag", "pose2rot"]
    )
    content = {"joints": np.ones((24, 2)), "params": params()} | data.draw(
        st.dictionaries(names, odd, max_size=3)
    )
    blob = bytearray(pickle.dumps(content))
    for place in data.draw(st.lists(st.integers(0, len(blob) - 1), max_size=2)):
        blob[place] = data.draw(st.integers(0, 255))
    (tmp_path / "x_personId_0.pkl").write_bytes(blob)
    try:
        found = AgoraReader(tmp_path).read([0])
    except HmtoolsError:
        return
    assert found["joints2d"].shape[0] == 1
