"""Reads binary glTF, checks what the specification asks of every file, and plays animated skins."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

__all__ = ["Glb"]

_TYPES = {5126: "<f4", 5125: "<u4", 5123: "<u2", 5121: "u1"}
_WIDTHS = {"SCALAR": (), "VEC2": (2,), "VEC3": (3,), "VEC4": (4,), "MAT4": (4, 4)}


class Glb:
    """A file; ``described`` is its JSON."""

    def __init__(self, data: bytes) -> None:
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        size, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON"
        assert size % 4 == 0
        self.described: dict[str, Any] = json.loads(data[20 : 20 + size])
        binary, kind = struct.unpack_from("<I4s", data, 20 + size)
        assert kind == b"BIN\0"
        self._binary = data[28 + size :]
        assert binary == len(self._binary) == self.described["buffers"][0]["byteLength"]
        assert binary % 4 == 0
        for number, accessor in enumerate(self.described["accessors"]):
            values = self.array(number)
            if "min" in accessor:
                np.testing.assert_array_equal(np.atleast_1d(values.min(axis=0)), accessor["min"])
                np.testing.assert_array_equal(np.atleast_1d(values.max(axis=0)), accessor["max"])

    def array(self, accessor: int) -> np.ndarray[Any, Any]:
        """The numbers of an accessor; matrices as rows."""
        about = self.described["accessors"][accessor]
        view = self.described["bufferViews"][about["bufferView"]]
        kind, shape = np.dtype(_TYPES[about["componentType"]]), _WIDTHS[about["type"]]
        assert view["byteOffset"] % 4 == 0
        assert view["byteLength"] == kind.itemsize * about["count"] * int(np.prod(shape))
        part = self._binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        found = np.frombuffer(part, kind).reshape(-1, *shape)
        return found.transpose(0, 2, 1) if len(shape) == 2 else found

    def times(self) -> np.ndarray[Any, Any]:
        """Seconds of the clip's keys."""
        return self.array(self.described["animations"][0]["samplers"][0]["input"])

    def played(self, key: int | None) -> np.ndarray[Any, Any]:
        """Vertices at a key of the clip, or as the nodes stand without it: what a viewer shows."""
        nodes = [dict(node) for node in self.described["nodes"]]
        clip = self.described["animations"][0]
        for channel in clip["channels"] if key is not None else ():
            keys = self.array(clip["samplers"][channel["sampler"]]["output"])
            nodes[channel["target"]["node"]][channel["target"]["path"]] = keys[key]
        place = {root: self._local(nodes[root]) for root in self.described["scenes"][0]["nodes"]}
        waiting = list(place)
        while waiting:
            node = waiting.pop()
            for child in nodes[node].get("children", ()):
                place[child] = place[node] @ self._local(nodes[child])
                waiting.append(child)
        skin = self.described["skins"][0]
        bind = self.array(skin["inverseBindMatrices"])
        moved = np.stack([place[joint] for joint in skin["joints"]]) @ bind
        attributes = self.described["meshes"][0]["primitives"][0]["attributes"]
        joints, weights = self.array(attributes["JOINTS_0"]), self.array(attributes["WEIGHTS_0"])
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
        points = self.array(attributes["POSITION"])
        blended = np.einsum("vk,vkij->vij", weights, moved[joints])
        found: np.ndarray[Any, Any] = np.einsum("vij,vj->vi", blended[:, :3, :3], points) + blended[:, :3, 3]
        return found

    @staticmethod
    def _local(node: dict[str, Any]) -> np.ndarray[Any, Any]:
        found = np.eye(4)
        if "rotation" in node:
            found[:3, :3] = Rotation.from_quat(node["rotation"]).as_matrix()
        found[:3, 3] = node.get("translation", [0, 0, 0])
        return found
