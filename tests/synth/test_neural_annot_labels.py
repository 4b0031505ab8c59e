"""Entries of a fit file have the official keys, say exactly what was posed, and nest when asked to."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pytest

from hmtools.synth.actors import Actor, make_actors, pose_actor
from hmtools.synth.neural_annot_labels import as_written, fit_label
from hmtools.synth.scene import Figure, make_figure

MEAN = np.random.default_rng(0).normal(0, 0.3, (2, 45))
LENGTHS = {
    **{"root_pose": 3, "body_pose": 63, "lhand_pose": 45, "rhand_pose": 45, "jaw_pose": 3, "shape": 10},
    **{"expr": 10, "trans": 3},
}


@cache
def person() -> tuple[Actor, Figure]:
    rng = np.random.default_rng(1)
    (drawn,) = make_actors(rng, 1, 1, up="-y")
    actor = as_written(drawn, MEAN)
    return actor, make_figure(rng, pose_actor(actor, vertices=False), 200, 300)


def label(*quirks: str, valid: dict[str, bool] | None = None) -> dict[str, Any]:
    actor, figure = person()
    made: dict[str, Any] = json.loads(json.dumps(fit_label(actor, figure, MEAN, valid, quirks)))
    return made


@pytest.mark.parametrize("quirks", [(), ("nested_lists",)])
def test_keys_and_lengths(quirks: tuple[str, ...]) -> None:
    made = label(*quirks)
    assert list(made) == ["smplx_param", "cam_param"]
    for values, lengths in (
        (made["smplx_param"], LENGTHS),
        (made["cam_param"], {"focal": 2, "princpt": 2}),
    ):
        assert set(values) == set(lengths)
        for key, length in lengths.items():
            shape = (1, length) if quirks else (length,)
            assert np.array(values[key]).shape == shape, key


def test_flags_are_there_when_given() -> None:
    given = {"lhand": True, "rhand": False, "face": True}
    found = label("nested_lists", valid=given)["smplx_param"]
    assert {key: value for key, value in found.items() if key not in LENGTHS} == {
        f"{part}_valid": flag for part, flag in given.items()
    }


def test_the_file_says_what_was_posed() -> None:
    actor, figure = person()
    found = label()["smplx_param"]
    np.testing.assert_allclose(np.array(found["lhand_pose"]) + MEAN[0], actor.pose["left_hand_pose"][0])
    np.testing.assert_allclose(np.array(found["rhand_pose"]) + MEAN[1], actor.pose["right_hand_pose"][0])
    for key, mine in (("root_pose", "global_orient"), ("body_pose", "body_pose"), ("jaw_pose", "jaw_pose")):
        assert found[key] == actor.pose[mine][0].tolist()
    assert found["shape"] == actor.betas.tolist()
    assert found["expr"] == actor.expression[0].tolist()
    assert found["trans"] == figure.transl.tolist()
    assert max(len(str(abs(value))) for value in found["lhand_pose"]) <= 9  # no digits of no meaning


def test_what_a_file_cannot_say_is_gone() -> None:
    (drawn,) = make_actors(np.random.default_rng(1), 1, 1, up="-y")
    actor = as_written(drawn, MEAN)
    assert set(actor.pose) == set(drawn.pose) - {"leye_pose", "reye_pose"}
    assert not actor.transl.any()
    for name, value in actor.pose.items():
        np.testing.assert_allclose(value, drawn.pose[name], atol=1e-7)
    again = as_written(actor, MEAN)
    for name, value in actor.pose.items():
        np.testing.assert_array_equal(again.pose[name], value)
