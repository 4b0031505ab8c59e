from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from hmtools.bench.acceleration import acceleration_error
from hmtools.bench.bodies import BenchBodies, Posed, bodies_of
from hmtools.bench.measures import CHALLENGE_24, MOVING_14, VISIBLE_BODY
from hmtools.bench.metrics import LSP_HIPS, measure_14
from hmtools.bench.pairs import Pairs, Place
from hmtools.bench.parts import load_lsp_14, load_pw3d_14
from hmtools.bench.protocols.registry import get_protocol
from hmtools.bench.run import _spans, bench
from hmtools.bench.truth import target_meshes
from hmtools.core.errors import UsageError
from tests.bench.testset_shards import FromTruth, TestSets, predicted


@pytest.fixture(scope="module")
def bodies(test_sets: TestSets) -> BenchBodies:
    return bodies_of([test_sets["pw3d"].manifest], {"smpl", "smplx"})


def walk(bodies: BenchBodies, places: list[Place], seed: int) -> Posed:
    """One SMPL body that is somewhere else in every frame."""
    rng = np.random.default_rng(seed)
    moves = torch.from_numpy(rng.normal(0, 0.1, (max(p.place for p in places) + 1, 3))).float()
    rest = torch.tensor(np.array(bodies.layers("smpl").layer("neutral").model.v_template)).float()
    turns = torch.stack([rest * (1 + moves[place.place, 0]) + moves[place.place] for place in places])
    return Posed(turns)


def pairs(bodies: BenchBodies, places: list[Place], rows: slice) -> Pairs:
    ours, theirs = (walk(bodies, places, seed).vertices[rows] for seed in (1, 2))
    return Pairs(predicted=Posed(ours), target=Posed(theirs), records=[{}] * len(ours), bodies=bodies,
                 motion=places[rows])  # fmt: skip


def test_acceleration_runs_along_tracks_and_stops_at_gaps(bodies: BenchBodies) -> None:
    places = [*(Place(0, n, 30.0) for n in (0, 1, 2, 3, 5, 6, 7)), *(Place(1, n, 15.0) for n in (0, 1, 2))]
    found = MOVING_14.compare(pairs(bodies, places, slice(None)))["accel_error"]
    there = found.isfinite().tolist()
    assert there == [False, True, True, False, False, True, False, False, True, False]
    regressor = load_lsp_14("smpl", (bodies.root,))
    local = []
    for seed in (1, 2):
        joints = regressor(walk(bodies, places, seed).vertices)
        local.append(joints[:, 1:] - joints[:, list(LSP_HIPS)].mean(1, keepdim=True))
    last = acceleration_error(local[0][7:], local[1][7:], torch.arange(3), 15.0)
    assert found[8] == pytest.approx(float(last[1]), rel=1e-5)


def test_batches_see_their_neighbours_in_time(bodies: BenchBodies) -> None:
    """However long the batches, the same numbers: every span brings a row before and after it."""
    places = [Place(0, n, 30.0) for n in range(7)]

    class Rows:
        path, manifest = "", SimpleNamespace(counts={"records": 7})
        tracks = pa.table({"rows": [list(range(7))], "fps": [30.0], "step": [1]})

        def __len__(self) -> int:
            return 7

    whole = MOVING_14.compare(pairs(bodies, places, slice(None)))["accel_error"]
    shards: Any = Rows()
    for size in (1, 3, 7):
        joined = []
        for span in _spans(shards, np.arange(7), get_protocol("3dpw", "wham"), size):
            assert span.motion is not None
            assert [place.place for place in span.motion] == list(span.numbers)
            part = pairs(bodies, places, slice(span.numbers[0], span.numbers[-1] + 1))
            joined += MOVING_14.compare(part)["accel_error"][span.first : span.last].tolist()
        np.testing.assert_allclose(joined, whole.numpy(), rtol=1e-4)


def test_skeletons_of_two_families_are_compared_on_3dpw(
    bodies: BenchBodies, test_sets: TestSets, tmp_path: Path
) -> None:
    shards, protocol = test_sets["pw3d"], get_protocol("3dpw")
    rest = torch.tensor(np.array(bodies.layers("smplx").layer("neutral").model.v_template)).float()[None]

    class AtRest(FromTruth):
        def get(self, keys: Any) -> Any:
            return predicted(np.ones(len(keys), bool), vertices=rest.expand(len(keys), -1, -1).numpy())

    found = bench([shards], AtRest(shards, protocol), protocol, tmp_path)
    rows = list(range(len(shards)))
    target = target_meshes(shards, rows, protocol.truth, bodies).posed.vertices
    expected = measure_14(rest.expand(len(rows), -1, -1), target, load_pw3d_14((bodies.root,)))
    values = {row["metric"]: row["value"] for row in found.rows if row["subset"] == "all"}
    assert values == {
        name: pytest.approx(float(expected[name].mean()), rel=1e-5) for name in protocol.metrics
    }


def test_what_a_measure_lacks_is_said(bodies: BenchBodies) -> None:
    still = pairs(bodies, [Place(0, 0, 30.0)], slice(None))
    for measure, words in ((VISIBLE_BODY, "test camera"), (CHALLENGE_24, "skeleton")):
        with pytest.raises(UsageError, match=words):
            measure.compare(still)
