"""People of AGORA's scenes stand where Unreal's numbers say, and cameras see what they are asked to show."""

from __future__ import annotations

import numpy as np
import pytest

from hmtools.synth.agora_scene import FULL, RULES, Scan, Shot, lens, make_scans, take_shot


@pytest.fixture(scope="module")
def scans() -> list[Scan]:
    return make_scans(np.random.default_rng(2), 7, "trainset")


def shot(scans: list[Scan], word: str, **asked: object) -> Shot:
    return take_shot(np.random.default_rng(1), RULES[word], scans[:3], **asked)  # type: ignore[arg-type]


def test_lenses_are_square_and_scale_with_the_picture() -> None:
    for rule in RULES.values():
        focal, centre = lens(rule, *FULL)
        assert focal[0] == pytest.approx(focal[1])
        assert centre.tolist() == [1920, 1080]
        np.testing.assert_allclose(lens(rule, 1280, 720), np.array([focal, centre]) / 3)
    assert lens(RULES["hdri"], *FULL)[0][0] == pytest.approx(50 / 36 * 3840)


def test_scans_take_turns(scans: list[Scan]) -> None:
    found = [(scan.gender, scan.kid, scan.actors["smplx"].gender, scan.cuda) for scan in scans]
    assert found == [
        ("female", False, "female", False),
        ("male", False, "male", True),
        ("male", True, "male", False),
        ("female", True, "neutral", True),
        ("neutral", False, "neutral", False),
        ("female", False, "female", True),
        ("female", False, "female", False),
    ]
    assert len({scan.path for scan in scans}) == len(scans)
    for scan in scans:
        assert scan.actors["smpl"].gender == "neutral"
        for family, body in scan.bodies.items():
            actor = scan.actors[family]
            assert (actor.kid > 0) == scan.kid
            assert body.vertices[0, :, 1].min() == pytest.approx(0, abs=1e-9)
            assert np.linalg.norm(actor.transl[0] - body.joints[0, 0]) < 0.5  # the pelvis is not at transl
            assert np.ptp(body.vertices[0, :, 1]) > (1.1 if scan.kid else 1.3)
    assert np.abs(scans[0].actors["smplx"].betas - scans[6].actors["smplx"].betas).max() > 0.1


@pytest.mark.parametrize("word", RULES)
def test_only_an_own_camera_is_free(scans: list[Scan], word: str) -> None:
    made, rule = shot(scans, word), RULES[word]
    if rule.camera:
        assert (made.camera, made.yaw) == (rule.camera, rule.yaw)
    else:
        assert np.abs(made.camera).min() > 0
        assert made.yaw != 0
    floor = made.camera[2] if rule.camera is None else 0
    for person in made.people:
        assert abs(person.place[2] - floor) < 5
        assert person.valid
        for view in person.views.values():
            assert ((view.pixels > 0) & (view.pixels < FULL)).all(axis=1).mean() > 0.97


def test_boards_hide_and_edges_cut(scans: list[Scan]) -> None:
    for word in RULES:
        made = shot(scans, word, hidden={0: 0.98}, outside=[1])
        behind, cut, whole = made.people
        assert behind.occlusion > 90
        assert not behind.valid
        assert len(made.boards) == 1
        shown = [(person.views["smplx"].pixels[:, 0] > 0).mean() for person in (cut, whole)]
        assert 0.2 < shown[0] < 0.8
        assert shown[1] == 1
        assert cut.valid
        assert whole.valid


def test_an_image_of_nobody() -> None:
    assert take_shot(np.random.default_rng(0), RULES["ag2"], []).people == ()
