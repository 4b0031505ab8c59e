"""The files that all views of EgoBody share: lists of recordings, calibrations, fits."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from hmtools.core.errors import CountedError, LayoutError
from hmtools.datasets.egobody_release import (
    Recording,
    calibration_paths,
    count_fits,
    fit_file,
    fit_folder,
    read_calibration,
    read_fit,
    read_recordings,
    rigid,
)
from tests.datasets.egobody_tree import OTHER, REC, fit, info, write_lists


class TestLists:
    def test_ragged_columns(self, tmp_path: Path) -> None:
        write_lists(tmp_path, {"train": ["b", "a", "c"], "val": ["d"]}, [info(name) for name in "dcba"])
        names = [[r.name for r in read_recordings(tmp_path, split)[0]] for split in ("train", "val")]
        assert names == [["a", "b", "c"], ["d"]], "sorted; empty cells are no recordings"

    def test_what_a_row_says(self, tmp_path: Path) -> None:
        write_lists(tmp_path, {"test": [REC]}, [info(OTHER), info(interactee="0 male", start=7, end=9)])
        assert read_recordings(tmp_path, "test") == (
            [
                Recording(
                    name=REC,
                    scene="seminar_g110",
                    interactee=0,
                    gender="male",
                    start=7,
                    end=9,
                    wearer_id="S02",
                    interactee_id="S01",
                )
            ],
            [],
        )

    def test_names_of_another_form_say_no_subjects(self, tmp_path: Path) -> None:
        write_lists(tmp_path, {"test": ["mine"]}, [info("mine")])
        ((found,), unknown) = read_recordings(tmp_path, "test")
        assert (found.wearer_id, found.interactee_id, unknown) == (None, None, [])

    def test_recordings_without_a_row(self, tmp_path: Path) -> None:
        write_lists(tmp_path, {"test": [REC, "x"]}, [info()])
        recordings, unknown = read_recordings(tmp_path, "test")
        assert ([r.name for r in recordings], unknown) == ([REC], ["x"])

    def test_windows_files_and_pandas_files(self, tmp_path: Path) -> None:
        write_lists(tmp_path, {}, [info()])
        (tmp_path / "data_splits.csv").write_bytes(f"\ufefftrain,val,test\r\n{REC},nan,\r\n".encode())
        assert [r.name for r in read_recordings(tmp_path, "train")[0]] == [REC]
        with pytest.raises(LayoutError, match=r"names of recordings in column 'val', found none"):
            read_recordings(tmp_path, "val")

    @pytest.mark.parametrize(
        ("row", "problem"),
        [
            (info(interactee="2 male"), "body_idx_fpv: expected 0 or 1 and a gender, found '2 male'"),
            (info(interactee="1 robot"), "found '1 robot'"),
            (info(interactee="1"), "not enough values"),
            ([*info()[:-1], "x"], "invalid literal"),
            (info()[:-1], "invalid literal"),
        ],
    )
    def test_broken_rows_are_named(self, tmp_path: Path, row: list[Any], problem: str) -> None:
        write_lists(tmp_path, {"train": [REC]}, [info(OTHER), row])
        with pytest.raises(LayoutError, match=rf"data_info_release\.csv line 3: .*{problem}"):
            read_recordings(tmp_path, "train")

    @pytest.mark.parametrize("name", ["../x", "a/b", "..", "a\\b"])
    def test_names_stay_inside(self, tmp_path: Path, name: str) -> None:
        write_lists(tmp_path, {"train": [name]}, [info(name)])
        with pytest.raises(LayoutError, match="expected names of recordings"):
            read_recordings(tmp_path, "train")

    @given(data=st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
    @settings(max_examples=60, deadline=None)
    def test_damage_is_an_error_that_names_the_file(
        self, tmp_path_factory: pytest.TempPathFactory, data: bytes
    ) -> None:
        root = tmp_path_factory.mktemp("lists")
        write_lists(root, {"train": [REC]}, [info()])
        for name in ("data_splits.csv", "data_info_release.csv"):
            sound = (root / name).read_bytes()
            (root / name).write_bytes(data)
            with pytest.raises(LayoutError, match=name):
                read_recordings(root, "train")
            (root / name).write_bytes(sound)


class TestCalibration:
    def test_both_places(self) -> None:
        assert calibration_paths("R", "holo_to_kinect12") == (
            "calibrations/R/cal_trans/holo_to_kinect12.json",
            "calibrations/R/holo_to_kinect12.json",
        )

    def test_is_read(self, tmp_path: Path) -> None:
        matrix = np.eye(4)
        matrix[:3] = np.column_stack([Rotation.from_rotvec([0.3, -1, 2]).as_matrix(), [1, -2, 3]])
        (tmp_path / "c.json").write_text(json.dumps({"trans": matrix.tolist()}))
        assert np.abs(read_calibration(tmp_path / "c.json") - matrix[:3]).max() < 1e-12

    @pytest.mark.parametrize(
        "data",
        ["", "[]", "{}", '{"trans": 1}', '{"trans": [[1, 2], [3]]}', '{"trans": null}',
         json.dumps({"trans": [[10**400, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]})],
    )  # fmt: skip
    def test_damaged(self, tmp_path: Path, data: str) -> None:
        (tmp_path / "c.json").write_text(data)
        with pytest.raises(LayoutError, match=r"c\.json: expected \{\"trans\": 4 x 4\}"):
            read_calibration(tmp_path / "c.json")

    @given(
        turn=st.tuples(*[st.floats(-3, 3)] * 3),
        noise=st.floats(-1e-4, 1e-4),
    )
    def test_rounding_is_taken_off(self, turn: tuple[float, ...], noise: float) -> None:
        exact = Rotation.from_rotvec(turn).as_matrix()
        matrix = np.eye(4)
        matrix[:3, :3] = exact
        matrix[0, 0] += noise
        found = rigid(matrix)[:, :3]
        assert np.abs(found @ found.T - np.eye(3)).max() < 1e-12
        assert np.abs(found - exact).max() <= abs(noise) + 1e-12

    @pytest.mark.parametrize(
        "matrix",
        [
            np.zeros((4, 4)),
            np.diag([1, 1, -1, 1]),
            np.diag([1, 1, 1.01, 1]),
            np.eye(4) + np.eye(4, k=-3),  # transposed: the translation stands in the last row
            np.full((4, 4), np.nan),
            np.eye(3),
            np.diag([1, 1, 1, 2]),
        ],
    )
    def test_what_is_no_motion(self, matrix: Any) -> None:
        with pytest.raises(ValueError, match=r"expected (a rotation and a translation|4 x 4)"):
            rigid(matrix)


class TestFit:
    def test_place(self) -> None:
        folder = fit_folder(Path("r"), "interactee", "val", REC, 1)
        wanted = f"r/smplx_interactee_val/{REC}/body_idx_1/results/frame_00042/000.pkl"
        assert fit_file(folder, 42).as_posix() == wanted
        assert fit_file(folder, 123456).parent.name == "frame_123456"

    @pytest.mark.parametrize("protocol", [2, 4])
    def test_parts(self, tmp_path: Path, protocol: int) -> None:
        given = fit(3, "male")
        (tmp_path / "000.pkl").write_bytes(pickle.dumps(given, protocol))
        found = read_fit(tmp_path / "000.pkl")
        assert found.gender == "male"
        assert {name: part.shape for name, part in found.parts.items()} == {
            name: (given[name].size,)
            for name in given
            if name not in ("gender", "pose_embedding", "camera_rotation", "camera_translation")
        }
        for name, part in found.parts.items():
            assert np.array_equal(part, given[name][0])

    def test_nothing_there(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        for path in (tmp_path / "none/000.pkl", tmp_path / "file/000.pkl"):
            with pytest.raises(FileNotFoundError):
                read_fit(path)

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "broken_fit: .*empty"),
            (pickle.dumps(fit(1))[:200], "broken_fit"),
            (pickle.dumps({}), "broken_fit: has no 'global_orient'"),
            (pickle.dumps([]), "broken_fit: expected a dictionary"),
            (pickle.dumps(fit(1, betas=np.zeros(11))), "broken_fit: betas: expected 10"),
            (pickle.dumps(fit(1, gender="nobody")), "broken_fit: gender: expected female, male, neutral"),
            (pickle.dumps(fit(1, gender=["male", "male"])), "broken_fit: gender"),
            (b"cos\nsystem\n(S'x'\ntR.", "unsafe_fit: .*system"),
        ],
    )
    def test_damaged(self, tmp_path: Path, data: bytes, reason: str) -> None:
        (tmp_path / "000.pkl").write_bytes(data)
        with pytest.raises(CountedError, match=reason):
            read_fit(tmp_path / "000.pkl")

    def test_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "000.pkl").mkdir()
        with pytest.raises(CountedError, match=r"broken_fit: .*is a folder"):
            read_fit(tmp_path / "000.pkl")

    def test_are_counted(self, tmp_path: Path) -> None:
        for name in ("frame_00001", "frame_00002", "notes"):
            (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "file").touch()
        assert [count_fits(tmp_path / name) for name in ("results", "none", "file/results")] == [2, 0, 0]
