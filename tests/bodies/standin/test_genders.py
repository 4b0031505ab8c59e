from __future__ import annotations

import numpy as np
import pytest

from hmtools.bodies.model import FAMILIES, Family
from hmtools.bodies.standin.anatomy import STATURE, joint_names
from hmtools.bodies.standin.cache import standin_dir
from hmtools.bodies.standin.genders import child, gendered, stature
from tests.bodies.standin.from_files import Array, flipped, model, person, regressor


def at(family: Family, places: Array) -> dict[str, Array]:
    return dict(zip(joint_names(family), places, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_statures(family: Family) -> None:
    assert stature(person(family).vertices) == pytest.approx(STATURE, abs=0.005)
    assert stature(person(family, "male").vertices) == pytest.approx(1.77, abs=1e-5)
    assert stature(person(family, "female").vertices) == pytest.approx(1.64, abs=1e-5)


def breadth(gender: str, joint: str) -> float:
    places = at("smplx", person("smplx", "male" if gender == "male" else "female").joints)
    return float(places[f"left_{joint}"][0] - places[f"right_{joint}"][0])


def test_men_are_wide_above_and_women_below() -> None:
    above = {g: breadth(g, "shoulder") for g in ("male", "female")}
    below = {g: breadth(g, "hip") for g in ("male", "female")}
    assert above["male"] / 1.77 > 1.04 * above["female"] / 1.64
    assert below["female"] / 1.64 > 1.04 * below["male"] / 1.77


@pytest.mark.parametrize("family", FAMILIES)
def test_mesh_and_skinning_are_shared(family: Family) -> None:
    for key in ("f", "weights", "kintree_table"):
        assert np.array_equal(model(family, "male")[key], model(family)[key])
        assert np.array_equal(model(family, "female")[key], model(family)[key])
    for gender in ("male", "female"):
        who = person(family, "male" if gender == "male" else "female")
        assert flipped(person(family).vertices, who.vertices, who.faces) == 0


def kid(family: Family) -> Array:
    return np.asarray(np.load(standin_dir() / family / f"{family}_kid_template.npy"))


@pytest.mark.parametrize("family", ["smpl", "smplx"])
def test_a_child_is_small_with_a_large_head_and_short_legs(family: Family) -> None:
    vertices = kid(family)
    assert stature(vertices) == pytest.approx(1.05, abs=0.001)
    assert flipped(person(family).vertices, vertices, person(family).faces) == 0
    small, grown = at(family, regressor(family) @ vertices), at(family, person(family).joints)
    factor = 1.05 / stature(person(family).vertices)

    def ratio(first: str, second: str) -> float:
        child_size = float(np.linalg.norm(small[first] - small[second]))
        return child_size / float(np.linalg.norm(grown[first] - grown[second])) / factor

    assert ratio("left_hip", "left_knee") < 0.97
    assert ratio("left_knee", "left_ankle") < 0.97
    head = [
        np.ptp(v[v[:, 1] > j["head"][1]][:, 0])
        for v, j in ((vertices, small), (person(family).vertices, grown))
    ]
    assert head[0] / head[1] > 1.3 * factor


@pytest.mark.parametrize("family", ["smpl", "smplx"])
def test_the_joint_regressor_fits_the_child(family: Family) -> None:
    young = child(person(family))
    miss = np.linalg.norm(regressor(family) @ young.vertices - young.joints, axis=1)
    assert miss.max() < 0.006


def test_neutral_is_itself() -> None:
    assert gendered(person("smpl"), "neutral") is person("smpl")
