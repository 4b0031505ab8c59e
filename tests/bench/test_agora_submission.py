from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.bench.agora_format import check_person, check_submission
from hmtools.bench.agora_submission import write_submission
from hmtools.bench.source import open_predictions
from hmtools.core.errors import AssetError, LayoutError, UsageError
from hmtools.humandata.predictions import PredictionSpec, PredictionWriter
from tests.bench.readers.people import body, rows

SPEC = PredictionSpec(("smplx",), joints2d="smplx_144")
MEANS = np.random.default_rng(1).normal(size=(2, 45)).astype(np.float32)


def person(number: int, image: str = "validation/x_1280x720.png", **changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    own = {f"smplx_{name}": value.ravel() for name, value in body(number).items()}
    joints = np.column_stack([rng.random((144, 2)) * (1280, 720), np.ones(144)])
    joints[0] = (1279, 719, 1)
    row = {"key": f"agora/validation/a/000000_{number}", "image_path": image, "joints2d": joints}
    return {**row, **own, "width": 1280, "height": 720, **changes}


def table(path: Path, people: list[dict[str, Any]], spec: PredictionSpec = SPEC, **facts: Any) -> Path:
    with PredictionWriter(path / "p.parquet", spec, {"model": "m", **facts}) as writer:
        writer.write(people)
    return path / "p.parquet"


def contents(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        return {name: pickle.loads(archive.read(name)) for name in archive.namelist()}


def test_what_is_sent(tmp_path: Path) -> None:
    people = [person(3), person(1), person(0, "validation/y.png", smplx_body_pose=np.full(63, np.nan))]
    out = tmp_path / "out.zip"
    found = write_submission(table(tmp_path, people), out, MEANS)
    sent = contents(out)
    assert list(sent) == ["predictions/x_personId_3.pkl", "predictions/x_personId_1.pkl"]
    assert (found.people, found.images, found.family) == (2, 1, "smplx")
    assert found.left_out == {"not finite": 1}
    assert found.examples == {"not finite": ["y_personId_0"]}
    own = sent["predictions/x_personId_3.pkl"]
    assert own["joints"].shape == (144, 2)
    assert np.allclose(own["joints"], people[0]["joints2d"][:, :2] * 3)
    assert own["params"]["body_pose"].shape == (1, 63)
    assert np.allclose(own["params"]["left_hand_pose"][0], people[0]["smplx_left_hand_pose"] - MEANS[0])
    assert np.allclose(own["params"]["right_hand_pose"][0], people[0]["smplx_right_hand_pose"] - MEANS[1])
    assert check_submission(out) == []
    again = tmp_path / "again.zip"
    write_submission(table(tmp_path, people), again, MEANS)
    assert again.read_bytes() == out.read_bytes()


def test_what_a_method_does_not_predict_is_neutral(tmp_path: Path) -> None:
    """SMPLer-X has no gaze; the server refuses a body without one."""
    parts = ("leye_pose", "reye_pose", "jaw_pose", "expression", "right_hand_pose")
    whole = person(0)
    people = [{name: cell for name, cell in whole.items() if name.removeprefix("smplx_") not in parts}]
    assert write_submission(table(tmp_path, people), tmp_path / "o.zip", MEANS).people == 1
    (sent,) = contents(tmp_path / "o.zip").values()
    for part in parts:
        assert sent["params"][part].shape == (1, whole[f"smplx_{part}"].size)
        assert not sent["params"][part].any()
    assert sent["params"]["left_hand_pose"].any()


def test_what_was_sent_is_read_back(tmp_path: Path) -> None:
    """With the joints where they were, and the hands absolute again."""
    people = [person(0), person(1)]
    write_submission(table(tmp_path, people), tmp_path / "out.zip", MEANS)
    truth = rows(("validation/x_1280x720.png", 2))
    from hmtools.bench import source
    from hmtools.bench.joining import join
    from hmtools.bench.readers.agora import AgoraReader

    reader = AgoraReader(tmp_path / "out.zip")
    opened = source._Source(tmp_path, reader, truth, join(reader.listed, truth), lambda: MEANS)
    found = opened.get(list(truth.key))
    assert np.allclose(found.joints2d[1], people[1]["joints2d"], atol=1e-3)  # type: ignore[index]
    for name in ("smplx_left_hand_pose", "smplx_body_pose", "smplx_expression"):
        assert np.allclose(found.smplx[name], [own[name] for own in people], atol=1e-6), name


def test_people_without_keys_are_counted_within_their_image(tmp_path: Path) -> None:
    people = [person(5, "a/x.png", key=None), person(6, "a/y.png", key=None), person(7, "a/x.png", key=None)]
    write_submission(table(tmp_path, people), tmp_path / "o.zip", MEANS)
    assert list(contents(tmp_path / "o.zip")) == [
        f"predictions/{name}.pkl" for name in ("x_personId_0", "y_personId_0", "x_personId_1")
    ]


def test_a_set_of_smpl_bodies(tmp_path: Path) -> None:
    spec = PredictionSpec(("smpl",), joints2d="smpl_45", widths=(("smpl_betas", 16),))
    own = {"smpl_global_orient": np.ones(3), "smpl_body_pose": np.ones(69), "smpl_transl": np.ones(3)}
    row = person(0) | own | {"smpl_betas": np.ones(16), "joints2d": np.ones((45, 3)), "gender": "male"}
    kept = {name: cell for name, cell in row.items() if not name.startswith("smplx_")}
    write_submission(table(tmp_path, [kept], spec), tmp_path / "o.zip")
    (sent,) = contents(tmp_path / "o.zip").values()
    assert sent["params"]["body_pose"].shape == (1, 23, 3)
    assert sent["params"]["global_orient"].shape == (1, 1, 3)
    assert (sent["num_betas"], sent["gender"]) == (16, "male")


@pytest.mark.parametrize(
    ("people", "error"),
    [
        ([person(0), person(0)], "two predictions for x_personId_0"),
        ([person(0, smplx_transl=np.full(3, np.inf))], "no prediction to send.*1 not finite"),
        ([person(0, width=1600, height=1200)], "16:9, found 1600 x 1200"),
        ([person(0, width=None)], "16:9"),
        ([person(0, image_path=None)], "without image_path"),
        ([], "no prediction to send"),
    ],
)
def test_what_cannot_be_sent(tmp_path: Path, people: list[dict[str, Any]], error: str) -> None:
    path = table(tmp_path, people)
    with pytest.raises(UsageError, match=error):
        write_submission(path, tmp_path / "o.zip", MEANS)
    assert [file.name for file in tmp_path.iterdir()] == ["p.parquet"]


def test_predictions_that_lack_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="stand-in"):
        write_submission(table(tmp_path, [person(0)], standin=True), tmp_path / "o.zip", MEANS)
    with pytest.raises(UsageError, match="joints2d missing"):
        write_submission(table(tmp_path, [], PredictionSpec(("smplx",))), tmp_path / "o.zip", MEANS)
    spec = PredictionSpec(("smplx",), joints2d="coco_17")
    with pytest.raises(UsageError, match=r"begin with the joints of the smplx model.*found coco_17"):
        write_submission(table(tmp_path, [], spec), tmp_path / "o.zip", MEANS)


def test_without_the_licensed_model_hands_cannot_be_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hmtools.bodies.assets import standin_dir

    monkeypatch.setenv("HMTOOLS_BODY_MODELS", str(standin_dir()))
    with pytest.raises(AssetError, match="stand-in body; hands are sent relative"):
        write_submission(table(tmp_path, [person(0)]), tmp_path / "o.zip")


def good(**changes: Any) -> dict[str, Any]:
    params = {name: value.reshape(1, -1) for name, value in body(0).items()}
    return {"joints": np.full((24, 2), 2000.0), "params": params} | changes


def test_the_rules_accept_all_forms() -> None:
    matrices = {"transl": (1, 3), "betas": (1, 10), "expression": (1, 10), "body_pose": (1, 21, 3, 3)}
    matrices |= {f"{side}_hand_pose": (1, 15, 3, 3) for side in ("left", "right")}
    matrices |= dict.fromkeys(("global_orient", "leye_pose", "reye_pose", "jaw_pose"), (1, 1, 3, 3))
    turned = {name: np.zeros(shape) for name, shape in matrices.items()}
    mesh = {
        "joints": np.zeros((127, 2)),
        "verts": np.zeros((10475, 3)),
        "allSmplJoints3d": np.zeros((127, 3)),
    }
    for content in (good(), good(params=turned, pose2rot=False), mesh, good(gender="male", kid_flag=False)):
        assert check_person(content) == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([1], "expected a dict"),
        (
            good(joints=np.zeros((1, 24, 2))),
            r"joints must have shape \(24, 2\) or more rows, found \(1, 24, 2\)",
        ),
        (good(joints=np.zeros((17, 2))), "joints must have shape"),
        (good(joints=[[0, 0]] * 24), "joints must be an array"),
        (good(joints=np.full((24, 2), np.nan)), "not finite"),
        ({"joints": np.zeros((24, 2))}, "expected params, or verts"),
        (good(params={"transl": np.zeros((1, 3))}), "lacks body_pose"),
        (good(params=good()["params"] | {"body_pose": np.zeros((1, 69))}), r"body_pose must have shape"),
        (good(params=good()["params"] | {"body_pose": np.zeros(63)}), r"found \(63,\)"),
        (good(params=good()["params"] | {"hand": np.zeros(3)}), "unknown hand"),
        (good(num_betas=16), r"shape \(1, 10\), num_betas is 16"),
        (good(num_betas=5), "10 to 299"),
        (good(gender="m"), "gender must be"),
        ({"joints": np.zeros((24, 2)), "verts": np.zeros((778, 3))}, "verts must have shape"),
    ],
)
def test_the_rules_name_what_is_wrong(content: Any, problem: str) -> None:
    import re

    found = "; ".join(check_person(content))
    assert re.search(problem, found), found


def test_the_rules_for_the_zip(tmp_path: Path) -> None:
    def problems(*members: tuple[str, bytes]) -> str:
        with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
            for name, data in members:
                archive.writestr(name, data)
        return "; ".join(check_submission(tmp_path / "z.zip"))

    ours = pickle.dumps(good(), protocol=3).replace(b"numpy._core", b"numpy.core")
    assert problems(("predictions/x_personId_0.pkl", ours)) == ""
    assert "no file" in problems()
    assert "expected predictions/<image>" in problems(("x_personId_0.pkl", ours))
    assert "expected predictions/<image>" in problems(("predictions/x_0.pkl", ours))
    assert "pickled by NumPy 2" in problems(("predictions/x_personId_0.pkl", pickle.dumps(good())))
    assert "asks for" in problems(("predictions/x_personId_0.pkl", b"cos\nsystem\n(S'true'\ntR.")).replace(
        "refused", "asks for"
    )
    with pytest.warns(UserWarning, match="Duplicate name"):
        assert "2 times" in problems(*[("predictions/x_personId_0.pkl", ours)] * 2)
    small = pickle.dumps(good(joints=np.full((24, 2), 700.0)), protocol=3).replace(
        b"numpy._core", b"numpy.core"
    )
    many = problems(*[(f"predictions/x_personId_{number}.pkl", small) for number in range(5)])
    assert "no joint is beyond 1280 x 720" in many
    (tmp_path / "z.zip").write_bytes(b"PK")
    with pytest.raises(LayoutError, match="no zip"):
        check_submission(tmp_path / "z.zip")


def test_a_submission_is_a_source(tmp_path: Path) -> None:
    write_submission(table(tmp_path, [person(0)]), tmp_path / "o.zip", MEANS)
    with pytest.raises(UsageError, match="shards are needed"):
        open_predictions(tmp_path / "o.zip")
