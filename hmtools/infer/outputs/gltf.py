"""A person over time as one animated ``.glb``: mesh, skeleton, skin and one clip.

A skin is small (0.6 MB and 0.9 KB a frame for SMPL-X, where a mesh per frame takes 126 KB) and every program
that plays glTF plays it. What a skin cannot say is left out: pose-dependent corrections of the surface, the
expression's change over time (its mean is in the mesh) and all but the four largest weights of a vertex.
Joints are where the body model puts them, for the mean shape of the track.

Frame: metres, y up, the camera at the origin looking along -z, where glTF's own cameras look; the model's
rest pose is y up and faces +z, which is glTF's as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from hmtools.bodies.layers import NATIVE_JOINTS
from hmtools.bodies.mixed import BodyLayers
from hmtools.bodies.params import BodyParams
from hmtools.humandata.keypoints import convention
from hmtools.infer.outputs.bodies import genders_of, parameters, rest_pelvis, shape_of
from hmtools.infer.outputs.glb import GlbFile
from hmtools.infer.outputs.scenes import Track
from hmtools.infer.outputs.tracks import full_pose
from hmtools.viz.mesh import vertex_normals

__all__ = ["animated_glb", "strongest_weights"]

_FLIP = np.diag([1.0, -1.0, -1.0])  # camera frame to y up: half a turn about x
_STILL = 1e-7

Floats = NDArray[np.float64]


def animated_glb(track: Track, bodies: BodyLayers, fps: float) -> bytes:
    """The file of a person.

    Args:
        track: with the columns of its body, all rows whole; at least one.
        bodies: of its family.
        fps: frames of the source a second; gaps are bridged by what plays the file.
    """
    count, family = len(track.frames), bodies.family
    values, genders = parameters(track.columns, family), genders_of(track.columns, count)
    layer = bodies.layer(genders[0])
    shape: dict[str, Any] = {name: value.mean(axis=0)[None] for name, value in shape_of(values).items()}
    with torch.inference_mode():
        params = BodyParams.of(shape or {"betas": np.zeros((1, 1), np.float32)})
        rest: Floats = layer.rest_vertices(params)[0].numpy().astype(np.float64)
        joints: Floats = layer.joints(params)[0].numpy().astype(np.float64)
    faces = np.asarray(layer.model.faces)
    file = GlbFile()
    skin = strongest_weights(np.asarray(layer.model.weights, np.float64))
    mesh = file.mesh(rest, vertex_normals(rest, faces), faces, skin)
    turns = _turns(np.nan_to_num(full_pose(track.columns, family, count)).reshape(count, -1, 3))
    places = (rest_pelvis(bodies, values, genders) + values["transl"]) @ _FLIP.T
    names = convention(NATIVE_JOINTS[family]).names[: len(joints)]
    nodes = _nodes(names, [int(parent) for parent in layer.model.parents], joints, turns, places, mesh)
    bind = np.tile(np.eye(4), (len(joints), 1, 1))
    bind[:, 3, :3] = -joints  # as columns: the last row of the array is the translation
    skeleton = {
        "inverseBindMatrices": file.add(bind, "f4"),
        "joints": list(range(1, len(joints) + 1)),
        "skeleton": 1,
        "name": "skeleton",
    }
    clip = _clip(file, (track.frames - track.frames[0]) / fps, turns, places)
    return file.content(nodes, [0, 1], skins=[skeleton], animations=[{"name": track.label, **clip}])


def strongest_weights(weights: Floats) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The four joints that move each vertex most.

    Args:
        weights: (V, J), rows sum to 1.

    Returns:
        (V, 4) joints, 0 where fewer than four move it, and (V, 4) float32 weights that sum to 1.
    """
    joints = np.argsort(-weights, axis=1, kind="stable")[:, :4]
    kept = np.take_along_axis(weights, joints, axis=1)
    kept = np.where(kept > 1e-6, kept, 0.0)
    kept /= kept.sum(axis=1, keepdims=True)
    return np.where(kept > 0, joints, 0).astype(np.uint8), kept.astype(np.float32)


def _turns(pose: NDArray[np.float32]) -> Floats:
    """(T, J, 4) unit quaternions x, y, z, w of poses (T, J, 3), the root's in the frame of glTF.

    A quaternion and its negative are one rotation; between neighbours the nearer of the two is taken, or
    what plays the file would go the long way round.
    """
    count, joints, _ = pose.shape
    rotation = Rotation.from_rotvec(pose.reshape(-1, 3).astype(np.float64))
    found: Floats = rotation.as_quat().reshape(count, joints, 4)
    found[:, 0] = (
        Rotation.from_matrix(_FLIP) * Rotation.from_rotvec(pose[:, 0].astype(np.float64))
    ).as_quat()
    back = np.einsum("tjc,tjc->tj", found[1:], found[:-1]) < 0
    sign = np.cumprod(np.where(back, -1.0, 1.0), axis=0)
    found[1:] *= sign[..., None]
    return found


def _nodes(
    names: Any, parents: list[int], joints: Floats, turns: Floats, places: Floats, mesh: int
) -> list[dict[str, Any]]:
    """The mesh, then the joints as the first frame has them: programs that play nothing show that."""
    nodes: list[dict[str, Any]] = [{"name": "body", "mesh": mesh, "skin": 0}]
    for joint, parent in enumerate(parents):
        bone = places[0] if parent < 0 else joints[joint] - joints[parent]
        node = {"name": names[joint], "translation": bone.tolist(), "rotation": turns[0, joint].tolist()}
        children = [child + 1 for child, own in enumerate(parents) if own == joint and child != joint]
        nodes.append({**node, "children": children} if children else node)
    return nodes


def _clip(file: GlbFile, times: Floats, turns: Floats, places: Floats) -> dict[str, Any]:
    """Samplers and channels; joints that never move have none."""
    clock = file.add(times, "f4", bounds=True)
    samplers, channels = [], []
    tracks = [(1, "translation", places)]
    tracks += [
        (joint + 1, "rotation", turns[:, joint])
        for joint in range(turns.shape[1])
        if np.ptp(turns[:, joint], axis=0).max() > _STILL
    ]
    for node, path, keys in tracks:
        samplers.append({"input": clock, "output": file.add(keys, "f4"), "interpolation": "LINEAR"})
        channels.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": path}})
    return {"samplers": samplers, "channels": channels}
