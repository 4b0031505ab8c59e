from __future__ import annotations

import json
import os
import pickle
import pickletools
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import smplx
import torch

from hmtools.bodies.model import FAMILIES, GENDERS, Family, Gender
from hmtools.bodies.standin import files
from hmtools.bodies.standin.cache import MARK_FILE, standin_dir, standin_hash
from hmtools.core.atomic import file_sha256
from tests.bodies.standin.from_files import model, person

VERTICES, FACES, JOINTS, SHAPES = "vertices", "faces", "joints", "shapes"
COUNTS: dict[Family, dict[str, int]] = {
    "smpl": {VERTICES: 6890, FACES: 13776, JOINTS: 24, SHAPES: 10},
    "smplh": {VERTICES: 6890, FACES: 13776, JOINTS: 52, SHAPES: 16},
    "smplx": {VERTICES: 10475, FACES: 20908, JOINTS: 55, SHAPES: 400},
}
EVERY: dict[str, tuple[tuple[str | int, ...], str]] = {
    "v_template": ((VERTICES, 3), "float32"),
    "weights": ((VERTICES, JOINTS), "float32"),
    "J_regressor": ((JOINTS, VERTICES), "float64"),
    "shapedirs": ((VERTICES, 3, SHAPES), "float32"),
    "posedirs": ((VERTICES, 3, "pose"), "float32"),
    "kintree_table": ((2, JOINTS), "uint32"),
    "f": ((FACES, 3), "uint32"),
}
HANDS: dict[str, tuple[tuple[str | int, ...], str]] = {
    "hands_meanl": ((45,), "float64"),
    "hands_meanr": ((45,), "float64"),
    "hands_componentsl": ((45, 45), "float64"),
    "hands_componentsr": ((45, 45), "float64"),
}
FACE: dict[str, tuple[tuple[str | int, ...], str]] = {
    "lmk_faces_idx": ((51,), "int64"),
    "lmk_bary_coords": ((51, 3), "float64"),
    "dynamic_lmk_faces_idx": ((79, 17), "int64"),
    "dynamic_lmk_bary_coords": ((79, 17, 3), "float64"),
}
ARRAYS: dict[Family, dict[str, tuple[tuple[str | int, ...], str]]] = {
    "smpl": EVERY,
    "smplh": EVERY | HANDS,
    "smplx": EVERY | HANDS | FACE,
}
TEXTS: dict[Family, set[str]] = {
    "smpl": {"bs_style", "bs_type", "standin"},
    "smplh": {"bs_style", "bs_type", "standin"},
    "smplx": {"standin"},
}
OTHERS: dict[str, tuple[tuple[int, ...], str]] = {
    "smplx/SMPL-X__FLAME_vertex_ids.npy": ((5023,), "int64"),
    "smplx/body_verts_smplx.npy": ((4010,), "int64"),
    "smplx/SMPLX_to_J14.pkl": ((14, 10475), "float32"),
    "smplx/J_regressor_h36m_smplx.npy": ((17, 10475), "float32"),
    "smplx/smplx_kid_template.npy": ((10475, 3), "float64"),
    "smpl/body_verts_smpl.npy": ((4010,), "int64"),
    "smpl/smpl_kid_template.npy": ((6890, 3), "float64"),
    "smpl/J_regressor_h36m.npy": ((17, 6890), "float32"),
    "smpl/J_regressor_extra.npy": ((9, 6890), "float32"),
    "smpl/SMPL_to_J19.pkl": ((19, 6890), "float32"),
    "smpl/J_regressor_wham.npy": ((31, 6890), "float32"),
    "smpl/J_regressor_feet.npy": ((4, 6890), "float32"),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("gender", GENDERS)
def test_model_files_have_the_official_entries(family: Family, gender: Gender) -> None:
    entries = model(family, gender)
    assert set(entries) == set(ARRAYS[family]) | TEXTS[family]
    counts = dict[str | int, int](COUNTS[family].items())
    counts["pose"] = 9 * (COUNTS[family][JOINTS] - 1)
    for key, (shape, dtype) in ARRAYS[family].items():
        assert entries[key].shape == tuple(counts.get(n, n) for n in shape), key
        assert entries[key].dtype == dtype, key
    assert entries["kintree_table"][0, 0] == 2**32 - 1
    assert str(entries["standin"]) == files.MARK
    assert entries["f"].max() == COUNTS[family][VERTICES] - 1
    assert np.abs(entries["weights"].sum(axis=1) - 1.0).max() < 1e-5


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_have_the_official_form(name: str) -> None:
    value = np.load(standin_dir() / name, allow_pickle=name.endswith(".pkl"))
    assert (value.shape, value.dtype) == OTHERS[name]
    assert np.isfinite(value).all()


def test_pickles_are_protocol_2_without_foreign_classes() -> None:
    allowed = {"numpy", "numpy._core.multiarray", "numpy.core.multiarray", "_codecs", "scipy.sparse._csc"}
    for path in sorted(standin_dir().rglob("*.pkl")):
        head = path.read_bytes()
        assert head[:2] == b"\x80\x02", path.name
        if len(head) < 2_000_000:
            modules = {str(arg).split()[0] for op, arg, _ in pickletools.genops(head) if op.name == "GLOBAL"}
            assert modules <= allowed, path.name


def create(family: Family, **options: Any) -> Any:
    return smplx.create(str(standin_dir()), model_type=family, use_pca=False, batch_size=2, **options)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("gender", GENDERS)
def test_the_smplx_package_reads_them(
    family: Family, gender: Gender, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"ext": "npz" if family == "smplx" else "pkl"}
    body = create(family, gender=gender, **options)
    assert body().joints.shape == (2, {"smpl": 45, "smplh": 73, "smplx": 127}[family], 3)
    printed = capsys.readouterr().out
    assert printed == "" or "with only 10 shape coefficients" in printed
    vertices = body(betas=torch.zeros(2, 10)).vertices[0].detach().numpy()
    if family == "smpl":
        assert np.abs(vertices - model(family, gender)["v_template"]).max() < 1e-6


def test_the_face_contour_follows_the_head() -> None:
    body = create("smplx", ext="npz", use_face_contour=True, flat_hand_mean=True)
    turn = torch.zeros(2, 63)
    turn[1, 3 * 11 + 1] = np.radians(30.0)  # the neck, to the left
    output = body(body_pose=turn)
    joints = output.joints.detach().numpy()
    assert joints.shape == (2, 144, 3)
    entries = model("smplx")
    for person_index, row in ((0, 0), (1, 39 + 30)):
        corners = entries["f"][entries["dynamic_lmk_faces_idx"][row]].astype(np.int64)
        vertices = output.vertices[person_index].detach().numpy()
        expected = np.einsum("nk,nkc->nc", entries["dynamic_lmk_bary_coords"][row], vertices[corners])
        assert np.abs(joints[person_index, 127:] - expected).max() < 1e-5


@pytest.mark.parametrize("family", ["smpl", "smplx"])
def test_the_smplx_package_makes_a_child(family: Family, capsys: pytest.CaptureFixture[str]) -> None:
    body = create(
        family,
        ext="npz" if family == "smplx" else "pkl",
        age="kid",
        kid_template_path=str(standin_dir() / family / f"{family}_kid_template.npy"),
    )
    capsys.readouterr()
    betas = torch.zeros(2, 11)
    betas[1, 10] = 1.0
    vertices = body(betas=betas).vertices.detach().numpy()
    assert np.ptp(vertices[0, :, 1]) == pytest.approx(1.70, abs=0.01)
    assert np.ptp(vertices[1, :, 1]) == pytest.approx(1.05, abs=0.01)


def test_the_mark_lists_every_file() -> None:
    out = standin_dir()
    mark = json.loads((out / MARK_FILE).read_text())
    assert mark["standin"] == files.MARK
    assert mark["generator"] == standin_hash()
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert set(mark["files"]) | {MARK_FILE} == found
    assert len(found) == 9 + len(OTHERS) + 1 + 2 + 2
    for name in (*OTHERS, "README.txt", "smpl/SMPL_MALE.pkl"):
        assert file_sha256(out / name) == mark["files"][name], name
    assert "licence" in (out / "README.txt").read_text()


def test_same_bytes_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "build_person", person)
    written = [files.write_standin(tmp_path / name, families=("smpl",)) for name in ("first", "second")]
    names = [
        [path.relative_to(tmp_path / name) for path in paths]
        for name, paths in zip(("first", "second"), written, strict=True)
    ]
    assert names[0] == names[1]
    assert names[0][-1] == Path(MARK_FILE)
    assert {str(name) for name in names[0]} >= {"smpl/SMPL_NEUTRAL.pkl", "smpl/SMPL_to_J19.pkl", "README.txt"}
    assert not any("transfer" in str(name) or "smplx" in str(name) for name in names[0])
    for name in names[0]:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name
    left_over = [path.name for path in tmp_path.rglob("*.tmp")]
    assert left_over == []


def test_a_wrong_person_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "build_person", lambda family: person("smplh"))
    with pytest.raises(RuntimeError, match="not"):
        files.write_standin(tmp_path, families=("smplx",))
    assert not (tmp_path / MARK_FILE).exists()


@pytest.mark.slow
def test_a_fresh_process_makes_the_same_in_a_minute(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from hmtools.bodies.standin.files import write_standin; "
        "write_standin(Path(sys.argv[1]))"
    )
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(tmp_path)],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert time.monotonic() - began < 60.0
    again = json.loads((tmp_path / MARK_FILE).read_text())
    assert again == json.loads((standin_dir() / MARK_FILE).read_text())
    assert pickle.loads((tmp_path / "smpl" / "SMPL_MALE.pkl").read_bytes())["standin"] == files.MARK
