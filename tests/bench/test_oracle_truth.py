"""True bodies as predictions have no error in any metric; known changes have the known one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hmtools.bench.protocols.base import Protocol
from hmtools.bench.protocols.registry import get_protocol
from hmtools.bodies.assets import standin_dir
from tests.bench import oracle as known
from tests.bench.oracle import Oracle, Row, changed, model_of, oracle, people, pose_fit, values
from tests.bench.reference import measure_one
from tests.bench.testset_shards import TestSets, sampled

SETS = {"ehf": "ehf", "agora": "agora", "egobody": "egobody_egocentric", "ubody": "ubody"}
ZERO = 1e-3
"""Millimetres that float32 is worth where a similarity is fitted, or parameters are posed."""


@pytest.fixture(scope="module")
def ehf(test_sets: TestSets) -> Oracle:
    return oracle(test_sets, "ehf")


def protocol_of(testset: str) -> type[Protocol]:
    return sampled(get_protocol(testset)) if testset == "ubody" else get_protocol(testset)


def neutral_shape(gender: str, betas: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least squares of the neutral rest mesh, free to move, to the gendered one; float64."""
    own, neutral = model_of("smplx", gender), model_of("smplx")
    rest = own.v_template + own.shapedirs[..., :10] @ betas - neutral.v_template
    shape = np.asarray(neutral.shapedirs, np.float64)[..., :10]
    shape = (shape - shape.mean(0)).reshape(-1, 10)
    found: NDArray[np.float64] = np.linalg.lstsq(shape, (rest - rest.mean(0)).ravel(), rcond=None)[0]
    return found


def egobody_rows(truth: Oracle) -> list[Row]:
    """The fit of each person in the shape that the neutral model has for it."""
    rows = []
    for key, person in truth.people.items():
        own = {
            name.removeprefix("smplx_"): value
            for name, value in person.columns.items()
            if name.startswith("smplx_")
        }
        gender = person.columns["gender"]
        found = pose_fit("smplx", gender, own, person.vertices)
        found["betas"] = neutral_shape(gender, own["betas"])
        rows.append({"key": key, **{f"smplx_{name}": value for name, value in found.items()}})
    return rows


def ubody_rows(truth: Oracle, test_sets: TestSets) -> list[Row]:
    fits = known.ubody_fits(test_sets)
    return [
        {"key": key} | {f"smplx_{name}": value for name, value in fits[person.source_id].items()}
        for key, person in truth.people.items()
    ]


def true_rows(testset: str, truth: Oracle, test_sets: TestSets) -> list[Row]:
    if testset == "egobody":
        return egobody_rows(truth)
    return ubody_rows(truth, test_sets) if testset == "ubody" else truth.rows()


@pytest.mark.parametrize("testset", SETS)
def test_true_bodies_have_no_error(testset: str, test_sets: TestSets, tmp_path: Path) -> None:
    truth, protocol = oracle(test_sets, SETS[testset]), protocol_of(testset)
    result = truth.bench(protocol, true_rows(testset, truth, test_sets)[::-1], tmp_path)
    assert dict(result.statuses) == {"ok": len(truth.people)}
    assert set(people(result)) == set(truth.people)
    found = values(result)
    assert set(found) == set(protocol.metrics)
    assert {name: value for name, value in found.items() if not abs(value) < ZERO} == {}
    for person in people(result).values():
        assert np.nanmax(person["joint_errors"]) < ZERO
    assert (result.facts.standin, result.facts.rows, result.facts.model) == (True, "derived", "oracle")


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        pytest.param(lambda mesh: np.add(mesh, (0.25, -0.5, 3)), "pve", id="a shift is no error"),
        pytest.param(lambda mesh: np.add(1.3 * mesh, (0.25, 0, 0)), "pa_", id="nor is a size for PA"),
        pytest.param(lambda mesh: 1.3 * mesh[:, [1, 2, 0]], "pa_", id="nor a turn"),
    ],
)
def test_what_alignment_forgives(change: object, kept: str, ehf: Oracle, tmp_path: Path) -> None:
    result = ehf.bench(get_protocol("ehf"), changed(ehf.rows(), change), tmp_path)  # type: ignore[arg-type]
    small = {name for name, value in values(result).items() if value < 2 * ZERO}
    everything = set(get_protocol("ehf").metrics)
    assert small == (everything if kept == "pve" else {name for name in everything if name.startswith(kept)})


def test_a_size_that_is_wrong_by_a_tenth(ehf: Oracle, tmp_path: Path) -> None:
    """Every point is away from its root by a tenth of its distance to it."""
    result = ehf.bench(get_protocol("ehf"), changed(ehf.rows(), lambda mesh: 1.1 * mesh), tmp_path)
    skeleton = np.asarray(model_of("smplx").joint_regressor.toarray(), np.float64)
    for key, person in people(result).items():
        mesh = np.asarray(ehf.people[key].vertices, np.float64)
        away = np.linalg.norm(mesh - skeleton[0] @ mesh, axis=1)
        assert person["pve_all"] == pytest.approx(100 * away.mean(), abs=ZERO)
        assert person["pa_pve_all"] == pytest.approx(0, abs=ZERO)


def test_a_mirrored_body_stays_wrong(ehf: Oracle, tmp_path: Path) -> None:
    """Procrustes turns, and never mirrors."""
    result = ehf.bench(get_protocol("ehf"), changed(ehf.rows(), lambda mesh: mesh * (-1, 1, 1)), tmp_path)
    for key, person in people(result).items():
        mesh = np.asarray(ehf.people[key].vertices, np.float64)
        expected = measure_one(mesh * (-1, 1, 1), mesh, standin_dir())
        assert person["pa_pve_all"] == pytest.approx(expected["pa_pve_all"], abs=ZERO)
        assert person["pa_pve_all"] > 5


@pytest.mark.parametrize("joint", [3, 15, 19])
def test_one_joint_turned_by_a_known_angle(joint: int, test_sets: TestSets, tmp_path: Path) -> None:
    """A spine, an elbow and the head turned by 0.4 rad: all metrics as in float64, person by person."""
    truth = oracle(test_sets, "egobody_egocentric")
    rows = egobody_rows(truth)
    expected = {}
    for row in rows:
        mine = {name.removeprefix("smplx_"): np.array(value) for name, value in row.items() if name != "key"}
        for eye in ("leye_pose", "reye_pose"):
            mine[eye] = np.zeros(3)
        mesh = known.posed("smplx", "neutral", mine)
        mine["body_pose"].reshape(-1, 3)[joint - 1, 2] += 0.4
        row["smplx_body_pose"] = mine["body_pose"]
        files = standin_dir()
        expected[row["key"]] = measure_one(known.posed("smplx", "neutral", mine), mesh, files)
    result = truth.bench(get_protocol("egobody"), rows, tmp_path)
    for key, person in people(result).items():
        assert person["pve_all"] > 5
        for metric in get_protocol("egobody").metrics:
            assert person[metric] == pytest.approx(expected[key][metric], abs=2e-3), metric
    for metric, value in values(result).items():
        assert value == pytest.approx(np.mean([own[metric] for own in expected.values()]), abs=2e-3)
