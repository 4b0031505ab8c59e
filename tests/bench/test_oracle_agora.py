"""AGORA's own protocol on people whose labels are known: who is who, and what is counted against a method."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hmtools.bench.protocols.registry import get_protocol
from hmtools.synth import read_truth
from tests.bench.oracle import Oracle, Row, changed, mesh_row, oracle, people, values
from tests.bench.testset_shards import TestSets

OFFICIAL = get_protocol("agora", "agora-official")


@pytest.fixture(scope="module")
def agora(test_sets: TestSets) -> Oracle:
    return oracle(test_sets, "agora")


def scaled_f1(found: int, missed: int, extra: int) -> float:
    return round(found / (found + 0.5 * (missed + extra)), 2)


def swapped(truth: Oracle) -> list[Row]:
    """Everybody's prediction, with the numbers of the people of each image the other way round."""
    rows = truth.rows()
    by_image: dict[str, list[Row]] = {}
    for row in rows:
        by_image.setdefault(row["image_path"], []).append(row)
    assert any(len(own) > 1 for own in by_image.values())
    return [
        {**row, "key": other["key"]}
        for own in by_image.values()
        for row, other in zip(own, own[::-1], strict=True)
    ]


def test_numbers_of_people_do_not_matter_to_the_server(agora: Oracle, tmp_path: Path) -> None:
    """They are all that smplerx@1 goes by."""
    rows = swapped(agora)
    official = agora.bench(OFFICIAL, rows, tmp_path / "official")
    found = values(official)
    assert found.pop("f1") == 1
    assert set(found.values()) == {0.0}
    kids = values(official, "kids")
    assert kids.pop("f1") == 1
    assert set(kids.values()) == {0.0}
    by_number = people(agora.bench(get_protocol("agora"), rows, tmp_path / "smplerx"))
    wrong = {
        row["key"] for row, own in zip(rows, swapped_back(rows, agora), strict=True) if row["key"] != own
    }
    assert {key for key, person in by_number.items() if person["pve_all"] > 1} == wrong


def swapped_back(rows: list[Row], truth: Oracle) -> list[str]:
    """Whose each prediction really is."""
    return [
        next(
            key
            for key, person in truth.people.items()
            if np.array_equal(np.float32(person.vertices), row["vertices"])
        )
        for row in rows
    ]


def test_a_body_that_is_a_tenth_too_large(agora: Oracle, tmp_path: Path) -> None:
    """About the middle of the hips, to the rounding of the leader board; kids apart."""
    rows = [{**row, "joints3d": row["joints3d"] * (1.1, 1.1, 1.1, 1)} for row in agora.rows()]
    result = agora.bench(OFFICIAL, changed(rows, lambda mesh: 1.1 * mesh), tmp_path)
    errors: dict[bool, list[list[float]]] = {True: [], False: []}
    for person in agora.people.values():
        joints = person.columns["keypoints3d_original"][:, :3]
        away = np.linalg.norm(joints[:22] - joints[[1, 2]].mean(0), axis=1).mean()
        left = np.linalg.norm(joints[[20, *range(25, 40)]] - joints[20], axis=1).mean()
        errors[person.columns["kid"] is not None].append([100 * away, 100 * left])
    everybody, kids = np.mean([*errors[True], *errors[False]], axis=0), np.mean(errors[True], axis=0)
    for subset, expected in (("all", everybody), ("kids", kids)):
        found = values(result, subset)
        assert found["mpjpe_body"] == pytest.approx(expected[0], abs=0.051)
        assert found["mpjpe_lhand"] == pytest.approx(expected[1], abs=0.051)
        assert found["nmje_body"] == found["mpjpe_body"], "F1 is 1"
        full = found["pve_body"] + (found["pve_lhand"] + found["pve_rhand"] + found["pve_face"]) / 3
        assert found["pve_full"] == pytest.approx(full, abs=0.051)


def test_who_is_not_found_and_who_is_not_there(agora: Oracle, tmp_path: Path) -> None:
    """One lost, one found far away (a false positive and a miss), one too many, one of nobody."""
    rows = [{**row, "key": None} for row in changed(agora.rows(), lambda mesh: 1.1 * mesh)]
    lost, far = rows[0], rows[1]
    far["joints2d"] = np.add(far["joints2d"], (5000, 5000, 0))
    double = {**rows[2], "joints2d": np.add(rows[2]["joints2d"], (1, 1, 0))}
    result = agora.bench(OFFICIAL, [*rows[1:], double], tmp_path)
    count = len(agora.people)
    assert dict(result.statuses) == {"ok": count - 2, "missing": 2}
    assert values(result)["f1"] == scaled_f1(count - 2, 2, 2)
    missing = {row["image_path"] for row in people(result).values() if row["status"] == "missing"}
    assert missing == {lost["image_path"], far["image_path"]}
    left = [person["pve_lhand"] for person in people(result).values() if person["pve_lhand"] is not None]
    assert values(result)["pve_lhand"] == pytest.approx(np.sum(left) / count, abs=0.051), "a miss counts as 0"
    body = [person["pve_body"] for person in people(result).values() if person["pve_body"] is not None]
    assert values(result)["pve_body"] == pytest.approx(np.mean(body), abs=0.051), "it does not of the body"


def test_a_person_whom_the_release_marks_invalid_is_nobody(
    agora: Oracle, test_sets: TestSets, tmp_path: Path
) -> None:
    """Whoever finds it has found one too many; nobody who does not misses it."""
    invalid = [own for own in read_truth(test_sets.root / "raw/agora").people if own.rejected]
    rows = agora.rows() + [{**mesh_row("", own), "key": None} for own in invalid]
    result = agora.bench(OFFICIAL, rows, tmp_path)
    assert values(result)["f1"] == scaled_f1(len(agora.people), 0, len(invalid))
    assert values(result)["pve_body"] == 0
    assert values(result)["nmve_body"] == 0
