"""The HoloLens files of an EgoBody recording: the camera of each frame, and what OpenPose found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from hmtools.core.errors import AssetError, LayoutError, UnsafeFileError
from hmtools.datasets.egobody_hololens import find_view, read_detections, read_pv
from tests.datasets.egobody_tree import DATE, REC, keypoints, write_detections, write_recording, write_tree

HEAD = "953.5, 512.25, 1920, 1080\n"


def pv(folder: Path, text: str) -> Path:
    path = folder / "a_pv.txt"
    path.write_text(text)
    return path


def line(timestamp: int, matrix: np.ndarray, fx: float = 1450.5, fy: float = 1449.0) -> str:
    return ",".join(map(str, [timestamp, fx, fy, *matrix.ravel().tolist()])) + "\n"


class TestCamera:
    def test_header(self, tmp_path: Path) -> None:
        camera = read_pv(pv(tmp_path, HEAD))
        assert (camera.width, camera.height, len(camera.lines)) == (1920, 1080, 0)
        assert camera.principal_point.tolist() == [953.5, 512.25]

    def test_each_frame_has_its_own_focal_length(self, tmp_path: Path) -> None:
        lines = [line(1, np.eye(4), 1450, 1449), line(2, np.eye(4), 1460, 1459)]
        camera = read_pv(pv(tmp_path, HEAD + "".join(lines)))
        assert camera.at(1).focal_length.tolist() == [1450, 1449]
        assert camera.at(2).focal_length.tolist() == [1460, 1459]

    @given(turn=st.tuples(*[st.floats(-3, 3)] * 3), place=st.tuples(*[st.floats(-9, 9)] * 3))
    @settings(max_examples=40, deadline=None)
    def test_axes(
        self, tmp_path_factory: pytest.TempPathFactory, turn: tuple[float, ...], place: tuple[float, ...]
    ) -> None:
        """A point 1 m right, 2 m up and 3 m ahead of an OpenGL camera is (1, -2, 3) for OpenCV."""
        back = np.eye(4)
        back[:3] = np.column_stack([Rotation.from_rotvec(turn).as_matrix(), place])
        world = back @ [1, 2, -3, 1]
        path = pv(tmp_path_factory.mktemp("pv"), HEAD + line(7, back))
        assert np.abs(read_pv(path).at(7).world_to_cam @ world - [1, -2, 3]).max() < 1e-9

    def test_a_timestamp_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(KeyError, match="5"):
            read_pv(pv(tmp_path, HEAD + line(7, np.eye(4)) + "\n \nx,1,2\n")).at(5)

    @pytest.mark.parametrize(
        "text",
        [
            line(7, np.zeros((4, 4))),
            line(7, np.full((4, 4), np.nan)),
            line(7, np.diag([1, 1, -1, 1])),
            line(7, np.eye(4), fx=0),
            line(7, np.eye(4), fy=float("nan")),
            line(7, np.eye(4))[:-12],
            "7",
            "7,a,b",
            line(7, np.eye(4)).rstrip() + ",1",
            line(7, np.diag([1e300, 1, 1, 1])),
            line(7, np.eye(4) + 1e300 * np.eye(4, k=3)),
            line(7, np.eye(4), fx=1e300),
        ],
    )
    def test_unusable_frames(self, tmp_path: Path, text: str) -> None:
        camera = read_pv(pv(tmp_path, HEAD + text))
        with pytest.raises(ValueError, match=r"expected|could not convert"):
            camera.at(7)

    @pytest.mark.parametrize(
        "head",
        [
            "",
            "\n",
            "1, 2, 3",
            "1,2,0,4",
            "1,2,3.5,4",
            "a,b,c,d",
            "1,2,inf,4",
            "nan,2,3,4",
            "1,2,1e30,4",
            "1e300,2,3,4",
        ],
    )
    def test_broken_header(self, tmp_path: Path, head: str) -> None:
        with pytest.raises(LayoutError, match=r"a_pv\.txt: expected `cx, cy, width, height`"):
            read_pv(pv(tmp_path, head))


class TestDetections:
    def test_sorted_by_frame_then_time(self, tmp_path: Path) -> None:
        names = ["x/PV/30_frame_00002.jpg", "x/PV/20_frame_00010.jpg", "odd", "x/PV/10_frame_00002.jpg"]
        write_detections(tmp_path, names, np.stack([keypoints(n) for n in (1, 2, 3, 4)]))
        found = read_detections(tmp_path / "keypoints.npz")
        assert found.images == ("odd", names[3], names[0], names[1])
        assert found.frames.tolist() == [-1, 2, 2, 10]
        assert found.timestamps.tolist() == [-1, 10, 30, 20]
        assert np.array_equal(found.keypoints[:, 0, 0], [keypoints(n)[0, 0] for n in (3, 4, 1, 2)])

    def test_nobody_detected(self, tmp_path: Path) -> None:
        write_detections(tmp_path, [], np.zeros((0, 25, 3)), imgname=np.zeros(0, str))
        assert read_detections(tmp_path / "keypoints.npz").images == ()

    @pytest.mark.parametrize(
        "name", ["PV/1_frame_1.png", "PV/_frame_1.jpg", "PV/1_frame_-1.jpg", "1_frame_1.jpg"]
    )
    def test_other_names(self, tmp_path: Path, name: str) -> None:
        write_detections(tmp_path, [name], np.zeros((1, 25, 3)))
        assert read_detections(tmp_path / "keypoints.npz").frames.tolist() == [-1]

    def test_damaged(self, tmp_path: Path) -> None:
        path = tmp_path / "keypoints.npz"
        path.write_bytes(b"PK\x03\x04")
        with pytest.raises(AssetError, match=r"keypoints\.npz"):
            read_detections(path)
        write_detections(tmp_path, ["a"], np.zeros((1, 25, 3)), imgname=np.array([Path("/")], object))
        with pytest.raises(UnsafeFileError, match="keypoints"):
            read_detections(path)
        np.savez(path, other=np.zeros(1))
        with pytest.raises(AssetError, match=r"found other \(1,\) float64"):
            read_detections(path)


class TestFiles:
    def test_complete(self, tmp_path: Path) -> None:
        files, missing = find_view(write_tree(tmp_path), REC)
        assert missing == []
        assert files is not None
        assert files.pv.name == f"{DATE}_pv.txt"

    def test_an_empty_folder_beside_the_full_one(self, tmp_path: Path) -> None:
        root = write_tree(tmp_path)
        (root / f"egocentric_color/{REC}/2021-01-01-000000").mkdir()
        files, _ = find_view(root, REC)
        assert files is not None
        assert files.folder.name == DATE

    @pytest.mark.parametrize("lost", ["keypoints.npz", "_pv.txt", "holo_to_kinect12.json"])
    def test_what_is_missing(self, tmp_path: Path, lost: str) -> None:
        write_recording(tmp_path)
        for path in [*tmp_path.rglob(f"*{lost}")]:
            path.unlink()
        files, missing = find_view(tmp_path, REC)
        assert files is None
        assert any(lost in name for name in missing)
