from __future__ import annotations

import pickle

import numpy as np
import smplx.vertex_ids

from hmtools.bodies.standin.anatomy import joint_names
from hmtools.bodies.standin.cache import standin_dir
from hmtools.bodies.standin.correctives import share_beyond
from hmtools.bodies.standin.parts import body_vertex_ids, hand_vertex_ids, head_vertex_ids
from tests.bodies.standin.from_files import person, vertex_ids


def test_hands() -> None:
    ids = pickle.loads((standin_dir() / "smplx" / "MANO_SMPLX_vertex_ids.pkl").read_bytes())
    assert list(ids) == ["left_hand", "right_hand"]
    share, names = share_beyond(person("smplx")), joint_names("smplx")
    for side in ("left", "right"):
        hand = ids[f"{side}_hand"]
        assert hand.shape == (778,)
        assert len(set(hand.tolist())) == 778
        beyond = share[:, names.index(f"{side}_wrist")]
        assert np.mean(beyond[hand] > 0.5) > 0.95
        assert beyond[np.setdiff1d(np.arange(10475), hand)].max() < 0.8
        for finger, place in smplx.vertex_ids.vertex_ids["mano"].items():
            assert hand[place] == vertex_ids("smplx")[f"{side}_{finger}"]


def test_head() -> None:
    ids = np.load(standin_dir() / "smplx" / "SMPL-X__FLAME_vertex_ids.npy")
    assert ids.shape == (5023,)
    assert len(set(ids.tolist())) == 5023
    names, who = joint_names("smplx"), person("smplx")
    skull = who.weights[:, [names.index(n) for n in ("head", "jaw", "left_eyeball", "right_eyeball")]].sum(
        axis=1
    )
    assert set(np.flatnonzero(skull > 0.99).tolist()) <= set(ids.tolist())
    assert who.vertices[ids, 1].min() > who.joints[names.index("neck"), 1] - 0.02
    for point in ("nose", "left_ear", "right_eye"):
        assert vertex_ids("smplx")[point] in ids


def test_body() -> None:
    for family in ("smpl", "smplx"):
        ids = np.load(standin_dir() / family / f"body_verts_{family}.npy")
        assert ids.shape == (4010,)
        assert len(set(ids.tolist())) == 4010
    hands = hand_vertex_ids(person("smplx"))
    assert not np.isin(ids, np.concatenate(list(hands.values()))).any()
    assert np.isin(ids, head_vertex_ids(person("smplx"))).sum() < 200  # the neck
    assert np.array_equal(ids, body_vertex_ids(person("smplx")))
    parts = np.concatenate([ids, head_vertex_ids(person("smplx")), *hands.values()])
    assert len(np.unique(parts)) == 10475
