"""People are cut off below the hips, move smoothly, and are labelled with UBody's keys."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hmtools.synth.ubody_people import OFFICIAL_KEYS, Shown, film_people, fit_entry, upper_body_label
from hmtools.synth.ubody_videos import Video

WIDTH, HEIGHT = 160, 120
VIDEO = Video(scene="Speech", folder="X", fps=30, numbers=(1, 2, 3, 7, 20), pictures=9)


def film(**changes: Any) -> dict[int, list[Shown]]:
    return film_people((1, 2), VIDEO, 2, (WIDTH, HEIGHT), **{"meshes": 3, **changes})


@pytest.fixture(scope="module")
def filmed() -> dict[int, list[Shown]]:
    return film()


def label(shown: Shown, *quirks: str, seed: int = 0) -> dict[str, Any]:
    return upper_body_label(np.random.default_rng(seed), shown.figure, WIDTH, HEIGHT, quirks)


def test_annotated_pictures_that_exist(filmed: dict[int, list[Shown]]) -> None:
    assert {picture: len(people) for picture, people in filmed.items()} == {0: 2, 1: 2, 2: 2, 6: 2}
    meshes = [bool(len(shown.figure.view.vertices)) for people in filmed.values() for shown in people]
    assert meshes == [True] * 3 + [False] * 5


def test_close_ups(filmed: dict[int, list[Shown]]) -> None:
    for slot, shown in ((slot, shown) for people in filmed.values() for slot, shown in enumerate(people)):
        figure, points = shown.figure, shown.figure.points
        assert 0.05 * HEIGHT < figure.outline[:, 1].min() < 0.1 * HEIGHT
        assert figure.outline[:, 1].max() > HEIGHT
        assert (points[13:23, 1] > 0.75 * HEIGHT).all()  # knees, ankles, feet
        assert (points[23:91] > 0).all()  # the face is in the picture
        assert (points[23:91] < [WIDTH, HEIGHT]).all()
        assert points[5:7, 0].mean() == pytest.approx((slot + 0.5) / 2 * WIDTH)
        view = figure.view
        again = view.joints[:, :2] / view.joints[:, 2:] * figure.focal_length + figure.principal_point
        np.testing.assert_allclose(view.joints2d, again, atol=1e-9)
        # Points and outline were moved, joints seen anew through a camera of four digits.
        assert np.abs(points[5] - view.joints2d[16]).max() < 1e-3


def test_smooth(filmed: dict[int, list[Shown]]) -> None:
    for slot in range(2):
        first, second = (filmed[picture][slot] for picture in (0, 1))
        moved = np.abs(first.figure.points[:17] - second.figure.points[:17])
        assert 0 < moved.max() < 0.1 * HEIGHT
        assert (first.actor.betas == second.actor.betas).all()


def test_wide_betas() -> None:
    people = film(wide_betas=True, meshes=0)[0]
    assert people[0].actor.betas.max() > 3
    assert np.abs(people[1].actor.betas).max() < 3


def test_label_has_the_official_keys(filmed: dict[int, list[Shown]]) -> None:
    found = label(filmed[0][0])
    assert tuple(found)[:-2] == OFFICIAL_KEYS
    assert tuple(found)[-2:] == ("quirks", "rejected")
    sizes = {"keypoints": 51, "foot_kpts": 18, "face_kpts": 204, "lefthand_kpts": 63, "righthand_kpts": 63}
    assert {key: len(found[key]) for key in sizes} == sizes
    assert (found["iscrowd"], found["rejected"], found["num_keypoints"] > 0) == (0, None, True)
    assert {label(filmed[0][0], seed=seed)["valid_label"] for seed in range(9)} == {1, 2}


def test_points_outside_are_not_labelled(filmed: dict[int, list[Shown]]) -> None:
    for people in filmed.values():
        for shown in people:
            body = np.array(label(shown, "complete")["keypoints"]).reshape(17, 3)
            inside = (shown.figure.points[:17].round() >= 0).all(axis=1)
            inside &= (shown.figure.points[:17].round() <= [WIDTH - 1, HEIGHT - 1]).all(axis=1)
            assert ((body[:, 2] > 0) == inside).all()
            assert not body[15:, 2].any()  # nobody's ankles


def test_boxes(filmed: dict[int, list[Shown]]) -> None:
    shown = filmed[0][1]
    x, y, w, h = label(shown)["bbox"]
    assert (x >= 0, y >= 0, x + w <= WIDTH, y + h == pytest.approx(HEIGHT)) == (True,) * 4
    unclipped = label(shown, "partly_outside")["bbox"]
    assert unclipped[1] + unclipped[3] > HEIGHT + 1
    seen = 0
    for one in (one for people in filmed.values() for one in people):
        found = label(one)
        for side, at in (("lefthand", slice(91, 112)), ("righthand", slice(112, 133))):
            x, y, w, h = found[f"{side}_box"]
            assert (w * h > 0) == found[f"{side}_valid"]
            hand = np.array(found[f"{side}_kpts"]).reshape(21, 3)
            hand = hand[hand[:, 2] > 0, :2]
            if len(hand) == 21:
                seen += 1
                assert (hand > [x, y]).all()
                assert (hand < [x + w, y + h]).all()
                np.testing.assert_allclose(hand, one.figure.points[at], atol=1e-3)
            assert min(x, y) >= 0
            assert x + w <= WIDTH + 1e-9
            assert y + h <= HEIGHT + 1e-9
    assert seen


def test_oddities(filmed: dict[int, list[Shown]]) -> None:
    shown = filmed[0][0]
    assert label(shown, "unusable")["valid_label"] == 0
    crowd = label(shown, "crowd")
    assert (crowd["iscrowd"], crowd["num_keypoints"] > 0) == (1, True)
    assert "crowd" in crowd["rejected"]
    nothing = label(shown, "no_keypoints")
    assert (nothing["num_keypoints"], nothing["iscrowd"], sum(nothing["keypoints"])) == (0, 0, 0)
    kept = label(shown, "kept_box")
    assert kept["lefthand_valid"] is False
    assert kept["lefthand_box"][2] * kept["lefthand_box"][3] > 0
    assert not any(kept["lefthand_kpts"])


def test_fits_have_flags_only_when_asked(filmed: dict[int, list[Shown]]) -> None:
    shown = filmed[0][0]
    plain, flagged = (label(shown, *quirks) for quirks in ((), ("fit_flags", "invalid_face")))
    assert set(fit_entry(shown, plain)["smplx_param"]) == {
        *("root_pose", "body_pose", "lhand_pose", "rhand_pose", "jaw_pose", "shape", "expr", "trans")
    }
    entry = fit_entry(shown, flagged)
    assert entry["smplx_param"]["face_valid"] is False
    assert entry["smplx_param"]["lhand_valid"] is flagged["lefthand_valid"]
    assert entry["cam_param"]["focal"] == shown.figure.focal_length.tolist()
