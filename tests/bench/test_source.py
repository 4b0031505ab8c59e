from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from hmtools.bench.agora_submission import write_submission
from hmtools.bench.bodies import bodies_of
from hmtools.bench.pairs import predicted_meshes
from hmtools.bench.protocols.registry import get_protocol
from hmtools.bench.source import Predicted, PredictionSource, find_reader, open_predictions
from hmtools.bench.truth import target_meshes
from hmtools.core.errors import HmtoolsError, LayoutError, SchemaError, UsageError
from hmtools.humandata.predictions import PredictionSpec, PredictionWriter
from hmtools.shards.reader import Shards
from tests.bench.readers.people import body, result, submitted
from tests.bench.testset_shards import TestSets

PARAMETERS = PredictionSpec(("smplx",), joints2d="smplx_144")
MEANS = np.random.default_rng(1).normal(size=(2, 45)).astype(np.float32)


@pytest.fixture(scope="module")
def ehf(test_sets: TestSets) -> Shards:
    return test_sets["ehf"]


@pytest.fixture(scope="module")
def agora(test_sets: TestSets) -> Shards:
    return test_sets["agora"]


def keys_of(shards: Shards) -> list[str]:
    return [shards.row(row)["key"] for row in range(len(shards))]


def row(key: str, seed: int, **changes: Any) -> dict[str, Any]:
    return {"key": key} | {f"smplx_{name}": value.ravel() for name, value in body(seed).items()} | changes


def table(path: Path, people: list[dict[str, Any]], spec: PredictionSpec = PARAMETERS, **facts: Any) -> Path:
    with PredictionWriter(path, spec, {"model": "m", **facts}) as writer:
        writer.write(people)
    return path


def wrong(path: Path, shards: Shards, kind: type[HmtoolsError], error: str) -> None:
    with pytest.raises(kind, match=error):
        open_predictions(path, [shards], hand_means=lambda: MEANS).get(keys_of(shards))


def test_our_own_in_any_order(tmp_path: Path, ehf: Shards) -> None:
    keys = keys_of(ehf)
    order = [2, 0, 3]
    path = table(tmp_path / "p.parquet", [row(keys[i], i, gender="male") for i in order])
    source = open_predictions(path, [ehf])
    found = source.get(keys)
    assert found.found.tolist() == [True, False, True, True]
    assert found.vertices is None
    assert found.smpl == {}
    assert found.joints2d is None
    for i in order:
        assert np.array_equal(found.smplx["smplx_body_pose"][i], body(i)["body_pose"].ravel())
    assert np.isnan(found.smplx["smplx_body_pose"][1]).all()
    assert list(found.gender or ()) == ["male", None, "male", "male"]
    assert source.counts == {
        "joined": 3, "duplicates": 0, "extra": 0, "ambiguous": 0, "empty": 0, "invalid": 0,
    }  # fmt: skip
    assert source.facts["model"] == "m"
    alone = open_predictions(path)
    assert np.array_equal(alone.get(keys[2:3]).smplx["smplx_betas"], found.smplx["smplx_betas"][2:3])
    assert not open_predictions(path).get(["nobody"]).found.any()


def test_what_is_not_finite_is_found_and_counted_once(tmp_path: Path, ehf: Shards) -> None:
    keys = keys_of(ehf)
    people = [row(key, i) for i, key in enumerate(keys)]
    people[1]["smplx_betas"] = np.full(10, np.nan)
    people[2]["smplx_transl"] = np.array([0, np.inf, 0])
    people.append({"key": keys[3]})
    source = open_predictions(table(tmp_path / "p.parquet", people), [ehf])
    for _ in range(2):
        assert source.get(keys).found.all()
    assert source.counts["invalid"] == 2
    assert source.examples == {"empty": [keys[3]], "invalid": keys[1:3]}


def test_meshes_beside_a_table(tmp_path: Path, ehf: Shards) -> None:
    keys = keys_of(ehf)
    meshes = np.random.default_rng(0).random((4, 10475, 3)).astype(np.float32)
    spec = PredictionSpec(mesh=("smplx", 10475))
    (tmp_path / "p").mkdir()
    table(tmp_path / "p" / "a.parquet", [{"key": keys[i], "vertices": meshes[i]} for i in (3, 0)], spec)
    table(tmp_path / "p" / "b.parquet", [{"key": keys[2], "vertices": meshes[2]}, {"key": keys[1]}], spec)
    source = open_predictions(tmp_path / "p", [ehf])
    found = source.get(keys)
    assert found.found.tolist() == [True, False, True, True]
    assert found.vertices is not None
    assert np.array_equal(found.vertices[found.found], meshes[found.found])
    assert source.counts["empty"] == 1, "no mesh, no parameters"
    before = source.sha256
    table(tmp_path / "p" / "b.parquet", [{"key": keys[2], "vertices": meshes[1]}], spec)
    assert open_predictions(tmp_path / "p", [ehf]).sha256 != before


def test_meshes_for_some_bodies_are_not_used(tmp_path: Path, ehf: Shards) -> None:
    spec = PredictionSpec(("smplx",), mesh=("smplx", 10475))
    people = [row(key, 0) for key in keys_of(ehf)]
    people[0]["vertices"] = np.zeros((10475, 3))
    source = open_predictions(table(tmp_path / "p.parquet", people, spec), [ehf])
    assert source.get(keys_of(ehf)).vertices is None


def test_results_of_smplerx(tmp_path: Path, ehf: Shards) -> None:
    """Image by image; hands become absolute, the crop is that of the camera beside them."""
    for number in range(4):
        result(tmp_path, f"{number:05}_0", number, image=f"/home/me/EHF/{number + 1:02}_img.jpg")
    source = open_predictions(tmp_path, [ehf], hand_means=lambda: MEANS)
    found = source.get(keys_of(ehf))
    assert found.found.all()
    for number, key in enumerate(keys_of(ehf)):
        assert f"{number:06d}_" in key
        own = body(number)
        assert np.array_equal(found.smplx["smplx_body_pose"][number], own["body_pose"].ravel())
        assert np.allclose(
            found.smplx["smplx_left_hand_pose"][number], own["left_hand_pose"].ravel() + MEANS[0]
        )
        assert np.allclose(
            found.smplx["smplx_right_hand_pose"][number], own["right_hand_pose"].ravel() + MEANS[1]
        )
    assert found.virtual_transl is not None
    assert np.array_equal(found.virtual_transl, found.smplx["smplx_transl"])
    from hmtools.geometry.crop import crop_affine

    wanted = crop_affine((175, 150), (150, 200), (384, 512), convention="corners")
    assert np.allclose(found.crop_affine, wanted, atol=1e-4)  # type: ignore[arg-type]
    assert source.facts["model"] == tmp_path.name


def test_the_mean_hands_are_those_of_the_shards_body(tmp_path: Path, ehf: Shards) -> None:
    from hmtools.bench.bodies import bodies_of

    result(tmp_path, "00000_0", 0, image="01_img.png")
    found = open_predictions(tmp_path, [ehf]).get(keys_of(ehf)[:1])
    mean = bodies_of([ehf.manifest], {"smplx"}).hand_means()[0].numpy()
    assert np.allclose(found.smplx["smplx_left_hand_pose"][0], body(0)["left_hand_pose"].ravel() + mean)


def test_children_are_posed_with_their_template(tmp_path: Path, agora: Shards) -> None:
    """True parameters are the true meshes, in our tables and as AGORA's server takes them.

    Those of adults may be in files that are older than the column.
    """
    records = [agora.row(i) for i in range(len(agora))]
    assert len({bool(record["kid"]) for record in records}) == 2
    for record in records:
        own = {name: cell for name, cell in record.items() if name.startswith("smplx_")}
        own |= {name: own[name][:10] for name in ("smplx_betas", "smplx_expression")}
        own |= {name: record[name] for name in ("key", "gender", "kid", "image_path", "width", "height")}
        own["joints2d"] = np.full((144, 3), record["height"] - 1)
        name = record["key"].replace("/", "_")
        path = table(tmp_path / f"{name}.parquet", [own])
        if not record["kid"]:
            pq.write_table(pq.read_table(path).drop_columns(["kid"]), path)
    protocol = get_protocol("agora", "agora-official")
    bodies = bodies_of([agora.manifest], {"smplx"})
    rows = list(range(len(agora)))
    truth = target_meshes(agora, rows, protocol.truth, bodies).posed.vertices
    means = bodies.hand_means().numpy()
    write_submission(tmp_path, tmp_path / "sent.zip", means)
    for form in (tmp_path, tmp_path / "sent.zip"):
        found = open_predictions(form, [agora], hand_means=lambda: means).get(keys_of(agora))
        posed, reasons = predicted_meshes(found, rows, protocol, bodies)
        assert set(reasons) == {""}
        assert float((posed.vertices - truth).norm(dim=-1).max()) < 1e-3, form


def test_pickles_of_agora(tmp_path: Path, agora: Shards) -> None:
    names = [agora.row(i)["source_id"] for i in range(len(agora))]
    for i, name in enumerate(names):
        submitted(tmp_path / "predictions", name, i, mesh=10475)
    source = open_predictions(tmp_path, [agora])
    found = source.get(keys_of(agora))
    assert found.found.all()
    assert found.vertices is not None
    first = np.random.default_rng(3)
    joints = (first.random((24, 2)) * (3840, 2160)).astype(np.float32)
    assert np.array_equal(found.vertices[3], first.random((10475, 3)).astype(np.float32))
    size = [agora.row(3)[name] for name in ("width", "height")]
    assert np.allclose(found.joints2d[3, :, :2], joints * np.array(size) / (3840, 2160))  # type: ignore[index]
    image = agora.row(0)["image_path"]
    here = [i for i in range(len(agora)) if agora.row(i)["image_path"] == image]
    people = source.in_image(image, (3840, 2160))
    assert len(people.found) == len(here)
    assert people.found.all()
    assert not len(source.in_image("nowhere").found)
    archive = Path(shutil.make_archive(str(tmp_path / "sent"), "zip", tmp_path, "predictions"))
    zipped = open_predictions(archive, [agora]).get(keys_of(agora))
    assert np.array_equal(zipped.vertices, found.vertices)  # type: ignore[arg-type]


def test_persons_of_smplerx_all_called_zero(tmp_path: Path, agora: Shards) -> None:
    for name in {agora.row(i)["source_id"].rpartition("_")[0] for i in range(len(agora))}:
        submitted(tmp_path, f"{name}_0", 0, mesh=10475)
    wrong(tmp_path, agora, UsageError, "person number 0")
    people = open_predictions(tmp_path, [agora]).in_image(agora.row(0)["image_path"])
    assert people.found.tolist() == [True]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_of_anybody(tmp_path: Path, ehf: Shards, save: Any) -> None:
    keys = keys_of(ehf)
    pose, joints = np.random.default_rng(0).random((4, 63)), np.ones((4, 5, 2))
    own = {"smplx_body_pose": pose, "joints2d": joints, "gender": np.array(["male"] * 4), "kid": np.arange(4)}
    save(tmp_path / "p.npz", key=np.array(keys[::-1]), model=np.array("mine"), **own)
    source = open_predictions(tmp_path / "p.npz", [ehf])
    found = source.get(keys)
    assert np.allclose(found.smplx["smplx_body_pose"], pose[::-1])
    assert found.joints2d is not None
    assert found.joints2d.shape == (4, 5, 3)
    assert list(found.gender or ()) == ["male"] * 4
    assert found.kid is not None
    assert found.kid.tolist() == [3, 2, 1, 0]
    assert source.facts["model"] == "mine"
    (tmp_path / "parts").mkdir()
    for part in (0, 1):
        image = np.array([f"{2 * part + i + 1:02}_img.png" for i in (0, 1)])
        vertices = np.full((2, 6890, 3), np.linspace(0, 1, 6890)[:, None]) + part
        save(tmp_path / "parts" / f"{part}.npz", image_path=image, person=np.zeros(2, int), vertices=vertices)
    parts = open_predictions(tmp_path / "parts", [ehf]).get(keys)
    assert parts.vertices is not None
    assert np.allclose(parts.vertices[:, 0, 0], [0, 0, 1, 1])


def test_bad_predictions_are_named(tmp_path: Path, ehf: Shards) -> None:
    keys = keys_of(ehf)

    def npz(**arrays: Any) -> Path:
        np.savez(tmp_path / "p.npz", **arrays)
        return tmp_path / "p.npz"

    four = np.array(keys)
    mesh = np.random.default_rng(0).random((4, 10475, 3))
    wrong(npz(key=four, vertices=mesh * 1000), ehf, SchemaError, "millimetres")
    wrong(npz(key=four, vertices=mesh * 100), ehf, SchemaError, "centimetres")
    wrong(npz(key=four, vertices=mesh[:, :9000]), ehf, SchemaError, "9000 vertices.*10475.*6890")
    wrong(npz(key=four, vertices=mesh[:3]), ehf, SchemaError, r"vertices: expected numbers \(4, any, 3\)")
    wrong(npz(key=four[:0], vertices=mesh[:0]), ehf, UsageError, "no predictions")
    wrong(npz(key=np.array(["a/b/c/000000_0"]), vertices=mesh[:1]), ehf, UsageError, "none of 1 .*a/b/c")
    wrong(npz(vertices=mesh), ehf, SchemaError, "whose.*key, source_index, image_path")
    wrong(npz(key=four), ehf, SchemaError, "no body")
    wrong(npz(key=four, smplx_bodypose=mesh[:, :63, 0]), ehf, SchemaError, "did you mean 'smplx_body_pose'")
    wrong(npz(key=four.astype(object), vertices=mesh), ehf, SchemaError, "objects")
    wrong(npz(key=np.arange(4), vertices=mesh), ehf, SchemaError, "key: expected text")
    wrong(table(tmp_path / "e.parquet", []), ehf, UsageError, "no predictions")
    wrong(table(tmp_path / "e.parquet", [{"key": keys[0]}]), ehf, UsageError, "without a body")
    (tmp_path / "p.npz").write_bytes((tmp_path / "p.npz").read_bytes()[:-30])
    wrong(tmp_path / "p.npz", ehf, HmtoolsError, "damaged")


def test_predictions_of_several_models(tmp_path: Path, ehf: Shards, agora: Shards) -> None:
    keys = keys_of(ehf)
    (tmp_path / "t").mkdir()
    table(tmp_path / "t" / "a.parquet", [row(keys[0], 0)])
    table(tmp_path / "t" / "b.parquet", [row(keys[1], 0)], body_sha256="ab")
    wrong(tmp_path / "t", ehf, SchemaError, "body_sha256 is None in a.parquet and 'ab' in b.parquet")
    other = PredictionSpec(("smpl",))
    table(tmp_path / "t" / "b.parquet", [{"key": keys[1], "smpl_betas": np.ones(10)}], other)
    wrong(tmp_path / "t", ehf, SchemaError, "list of columns")
    names = [agora.row(i)["source_id"] for i in range(2)]
    submitted(tmp_path / "m", names[0], 0, mesh=10475)
    submitted(tmp_path / "m", names[1], 0, mesh=6890)
    wrong(tmp_path / "m", agora, SchemaError, "the body is (smplx|smpl) in .* and (smplx|smpl) in ")
    submitted(tmp_path / "m", names[1], 0)
    wrong(tmp_path / "m", agora, SchemaError, "different kinds together")
    result(tmp_path / "r", "00000_0", 0, image="01_img.png")
    result(tmp_path / "r", "00001_0", 0, image="02_img.png", betas=np.zeros((1, 20)))
    wrong(tmp_path / "r", ehf, SchemaError, "betas 10.*00000_0.*betas 20.*00001_0")


def test_what_is_no_form_of_predictions(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="no such file or folder"):
        find_reader(tmp_path / "nowhere")
    with pytest.raises(LayoutError, match="no predictions in it; expected a parquet"):
        find_reader(tmp_path)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(LayoutError, match=r"called \*\.txt"):
        find_reader(tmp_path / "a.txt")
    (tmp_path / "a.zip").write_text("")
    with pytest.raises(LayoutError, match="no zip"):
        find_reader(tmp_path / "a.zip")
    submitted(tmp_path, "x_personId_0", 0)
    table(tmp_path / "p.parquet", [])
    with pytest.raises(UsageError, match=r"several forms .*parquet files, pickles of AGORA"):
        find_reader(tmp_path)


def test_a_source_is_what_benchmarks_want(tmp_path: Path, ehf: Shards) -> None:
    source: PredictionSource = open_predictions(
        table(tmp_path / "p.parquet", [row(keys_of(ehf)[0], 0)]), [ehf]
    )
    found = source.get([])
    assert isinstance(found, Predicted)
    assert not len(found.found)
    with pytest.raises(UsageError, match="with the shards"):
        open_predictions(tmp_path / "p.parquet").in_image("a")
