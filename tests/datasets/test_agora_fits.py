"""Fits that AGORA's labels name: what is counted of broken ones, and refits that nobody depends on."""

from __future__ import annotations

import logging
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.core.errors import CountedError
from hmtools.datasets.agora_fits import Refits, find_fit, named_file, read_fit
from tests.datasets.agora_tree import fit, kept, left_out, read, write_fit, write_json, write_tree

UNSAFE = b"cposix\nsystem\n(S'true'\ntR."
NEUTRAL = "smplx_gt_neutral_gender"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "AGORA")


@pytest.mark.parametrize("name", ["smplx_gt/set/scan.obj", "set/scan.obj", "smplx_gt\\set\\scan.pkl"])
def test_names(tmp_path: Path, name: str) -> None:
    assert find_fit(tmp_path, name) == tmp_path / "set/scan.pkl"


def test_names_that_leave_the_folder(tmp_path: Path) -> None:
    for name in ("../x.pkl", "/etc/passwd"):
        with pytest.raises(CountedError, match="unsafe_path"):
            named_file(tmp_path, name)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "fit_missing"), (b"", "fit_damaged"), (b"\x80\x04]\x94.", "fit_damaged"), (UNSAFE, "unsafe_fit")],
)
def test_what_cannot_be_read_is_counted(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "smplx_gt/set/scan.pkl"
    path.parent.mkdir(parents=True)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CountedError) as caught:
        read_fit(path)
    assert caught.value.reason == reason
    if reason == "fit_missing":
        assert caught.value.detail == "smplx_gt/set/scan.pkl: no such file"


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(CountedError, match="fit_missing"):
        read_fit(tmp_path / ("x" * 5000))


def test_one_unsafe_fit_costs_its_person_alone(tree: Path) -> None:
    (tree / "smplx_gt/set_bfh/scan_0.pkl").write_bytes(UNSAFE)
    found = read(tree)
    assert len(kept(found)) == 2
    (reason, detail), _ = left_out(found)
    assert reason == "unsafe_fit"
    assert "posix.system" in detail


class TestRefits:
    def test_shape(self, tree: Path) -> None:
        write_fit(tree, 0, folder=NEUTRAL, betas=np.arange(11.0)[None])
        refits = Refits(tree / NEUTRAL)
        found = refits.betas("smplx_gt/set_bfh/scan_0.obj", kid=False)
        np.testing.assert_array_equal(np.asarray(found), np.arange(10.0))
        assert refits.betas("smplx_gt/set_bfh/scan_0.obj", kid=True) is None
        assert Refits(None).betas("smplx_gt/set_bfh/scan_0.obj", kid=False) is None

    @pytest.mark.parametrize(
        "content",
        [b"x", UNSAFE, pickle.dumps({}), pickle.dumps(fit(0, betas=np.full((1, 10), np.nan))),
         pickle.dumps(fit(0, betas=np.full((1, 10), 1e300))), pickle.dumps(fit(0, betas=np.zeros((2, 10))))],
    )  # fmt: skip
    @pytest.mark.parametrize("json", [False, True])
    def test_a_damaged_one_costs_nobody(
        self, tree: Path, caplog: pytest.LogCaptureFixture, content: bytes, json: bool
    ) -> None:
        shutil.copytree(tree / "smplx_gt", tree / NEUTRAL)
        for path in (tree / NEUTRAL).rglob("*.pkl"):
            path.write_bytes(content)
        if json:
            write_json(tree)
        with caplog.at_level(logging.WARNING):
            found = read(tree, "validation" if json else "train")
        people: list[Any] = kept(found)
        assert len(people) == (2 if json else 3)
        assert all(person.betas_neutral is None for person in people)
        assert caplog.text.count("left to derivation") == 1, "once for a unit"

    def test_a_missing_one_is_ordinary(self, tree: Path, caplog: pytest.LogCaptureFixture) -> None:
        write_fit(tree, 9, folder=NEUTRAL)
        with caplog.at_level(logging.WARNING):
            assert len(kept(read(tree))) == 3
        assert not caplog.text
