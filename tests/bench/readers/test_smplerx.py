from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hmtools.bench.readers.smplerx import SmplerxReader
from hmtools.core.errors import AssetError, HmtoolsError, LayoutError, SchemaError, UnsafeFileError
from tests.bench.readers.people import result


def test_the_folder_and_its_order(tmp_path: Path) -> None:
    for name in ("00010_0", "00002_1", "100000_0"):
        result(tmp_path, name, 0)
    (tmp_path / "smplx" / "notes.npz").write_bytes(b"")
    for path in (tmp_path, tmp_path / "smplx"):
        reader = SmplerxReader(path)
        assert reader.listed.where == ["00002_1.npz", "00010_0.npz", "100000_0.npz"]
        assert reader.listed.image == ["000002", "000010", "100000"]
        assert reader.listed.person is None, "an id says nothing about who it is"
        assert np.isnan(reader.read([0])["crop_affine"]).all()
    before = SmplerxReader(tmp_path).sha256()
    result(tmp_path, "00010_0", 1)
    assert SmplerxReader(tmp_path).sha256() != before


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", AssetError),
        ("[]", SchemaError),
        ('{"img_path": 3}', SchemaError),
        ('{"img_path": "a", "focal": [1], "princpt": [1, 2]}', SchemaError),
        ('{"img_path": "a", "focal": ["x", 1], "princpt": [1, 2]}', SchemaError),
    ],
)
def test_what_is_wrong_beside_a_person(tmp_path: Path, text: str, error: type[HmtoolsError]) -> None:
    result(tmp_path, "00000_0", 0)
    (tmp_path / "meta" / "00000_0.json").write_text(text)
    with pytest.raises(error, match="00000_0"):
        SmplerxReader(tmp_path).read([0])


def test_what_is_wrong_with_a_person(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="no smplx/<frame>_<id>"):
        SmplerxReader(tmp_path)
    result(tmp_path, "00000_0", 0, body_pose=np.zeros((23, 3)))
    with pytest.raises(SchemaError, match="body_pose: expected 63 numbers"):
        SmplerxReader(tmp_path).read([0])
    result(tmp_path, "00000_0", 0, body_pose=np.array([object()] * 63))
    with pytest.raises(UnsafeFileError, match="body_pose"):
        SmplerxReader(tmp_path).read([0])
    np.savez(tmp_path / "smplx" / "00000_0.npz", a=np.zeros(3))
    with pytest.raises(SchemaError, match="no SMPL-X parameters, found a"):
        SmplerxReader(tmp_path).read([0])
    np.savez(tmp_path / "smplx" / "00000_0.npz", a=np.zeros(1 << 20))
    with pytest.raises(UnsafeFileError, match="unpacks to"):
        SmplerxReader(tmp_path).read([0])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(st.data())
def test_damaged_files_are_errors_of_ours(tmp_path: Path, data: st.DataObject) -> None:
    result(tmp_path, "00000_0", 0)
    file = tmp_path / "smplx" / "00000_0.npz"
    blob = bytearray(file.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(blob) - 1), min_size=1, max_size=3)):
        blob[place] = data.draw(st.integers(0, 255))
    file.write_bytes(blob[: data.draw(st.integers(0, len(blob)))] if data.draw(st.booleans()) else blob)
    keys = st.sampled_from(["img_path", "focal", "princpt"])
    values = st.none() | st.text(max_size=2) | st.lists(st.floats() | st.none(), max_size=3)
    meta = data.draw(st.dictionaries(keys, values))
    (tmp_path / "meta" / "00000_0.json").write_text(json.dumps(meta))
    with contextlib.suppress(HmtoolsError):
        assert SmplerxReader(tmp_path).read([0])["crop_affine"].shape == (1, 2, 3)
