"""Occluders hide what they are said to hide, under every lens."""

from __future__ import annotations

import numpy as np
import pytest

from hmtools.core.errors import UsageError
from hmtools.synth.actors import make_actors, pose_actors
from hmtools.synth.cameras import LENSES, Camera, View, make_camera, see
from hmtools.synth.occluders import make_occluder, occlusion, visible

Scene = tuple[list[View], np.ndarray, Camera]


def scene(model: str = "pinhole", people: int = 1, depth: float = 0.0) -> Scene:
    """People before a camera; the second one ``depth`` metres behind the first, on the same line."""
    rng = np.random.default_rng(4)
    posed = pose_actors(make_actors(rng, people, 1, up="+y"))
    camera = make_camera(
        rng, 1, width=320, height=240, up=np.array([0.0, 1, 0]), front=np.array([0.0, 0, 1]),
        target=np.array([0.0, -0.3, 0]), distance=3.5, model=model,
    )  # fmt: skip
    views = []
    for number, person in enumerate(posed):
        middle = person.vertices[0].mean(axis=0)
        shift = np.array([-middle[0], 0, -depth * number])
        views.append(see(person.vertices[0] + shift, person.joints[0] + shift, camera))
    return views, posed[0].faces, camera


@pytest.mark.parametrize("model", LENSES)
def test_somebody_alone_is_hidden_by_nothing(model: str) -> None:
    views, faces, camera = scene(model)
    assert occlusion(views, faces, [], camera) == [0.0]
    (seen,) = visible(views, faces, [], camera)
    assert 0.3 < seen.mean() < 0.7  # the other half is behind oneself


@pytest.mark.parametrize("model", LENSES)
@pytest.mark.parametrize("seed", range(4))
def test_what_lies_behind_the_board_is_not_seen(model: str, seed: int) -> None:
    views, faces, camera = scene(model)
    board = make_occluder(np.random.default_rng(seed), views[0], camera, hidden=0.5)
    (seen,) = visible(views, faces, [board], camera)
    (alone,) = visible(views, faces, [], camera)
    rays = views[0].vertices[:, :2] / views[0].vertices[:, 2:]
    low, high = (
        board.vertices[:, :2].min(0) / board.vertices[0, 2],
        board.vertices[:, :2].max(0) / board.vertices[0, 2],
    )
    margin = 3 / camera.focal_length[0]  # pixels on the border may go either way
    behind = ((rays > low + margin) & (rays < high - margin)).all(axis=1)
    beside = ((rays < low - margin) | (rays > high + margin)).any(axis=1)
    assert not seen[behind].any()
    assert np.array_equal(seen[beside], alone[beside])
    (share,) = occlusion(views, faces, [board], camera)
    assert share == pytest.approx(1 - seen.sum() / alone.sum())
    assert 0.1 < share < 0.9


def test_a_board_before_everything_hides_everything() -> None:
    views, faces, camera = scene()
    board = make_occluder(np.random.default_rng(0), views[0], camera, hidden=1.0)
    assert occlusion(views, faces, [board], camera) == [1.0]


def test_people_hide_one_another() -> None:
    views, faces, camera = scene(people=2, depth=1.0)
    near, far = occlusion(views, faces, [], camera)
    assert near == 0
    assert far > 0.3


@pytest.mark.parametrize("hidden", [0.0, -0.1, 1.5])
def test_refuses_a_share_that_is_none(hidden: float) -> None:
    views, _, camera = scene()
    with pytest.raises(UsageError, match="hidden: expected a share"):
        make_occluder(np.random.default_rng(0), views[0], camera, hidden=hidden)
