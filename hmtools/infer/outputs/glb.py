"""The container of glTF 2.0 in its binary form: one JSON chunk that describes, one chunk of arrays.

Written after the glTF 2.0 specification (Khronos Group, 2021): section 3.6 (buffers, views, accessors), 3.7.2
(meshes), 3.7.3 (skins), 3.11 (animations), 4.4 (GLB layout).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

__all__ = ["GlbFile"]

_COMPONENTS = {"f4": 5126, "u4": 5125, "u2": 5123, "u1": 5121}
_SHAPES = {(): "SCALAR", (2,): "VEC2", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}
_VERTICES, _INDICES = 34962, 34963
_SKIN_COLOUR = [0.65, 0.74, 0.86, 1.0]


class GlbFile:
    """Collects arrays and what refers to them, then gives the bytes of a ``.glb``."""

    def __init__(self) -> None:
        self._arrays: list[bytes] = []
        self._size = 0
        self._accessors: list[dict[str, Any]] = []
        self._views: list[dict[str, Any]] = []
        self._meshes: list[dict[str, Any]] = []

    def add(self, values: NDArray[Any], kind: str, *, target: int | None = None, bounds: bool = False) -> int:
        """Append an array; the number of its accessor.

        Args:
            values: (n,), (n, 3), (n, 4) or (n, 4, 4); matrices as columns, as glTF has them.
            kind: f4, u4, u2 or u1, how it is stored.
            target: of the buffer view: vertices or indices of a mesh.
            bounds: whether minimum and maximum are said, which positions and times must.
        """
        stored = np.ascontiguousarray(values, np.dtype(kind).newbyteorder("<"))
        data = stored.tobytes()
        view: dict[str, Any] = {"buffer": 0, "byteOffset": self._size, "byteLength": len(data)}
        self._views.append(view if target is None else {**view, "target": target})
        accessor: dict[str, Any] = {
            "bufferView": len(self._views) - 1,
            "componentType": _COMPONENTS[kind],
            "count": len(stored),
            "type": _SHAPES[stored.shape[1:]],
        }
        if bounds:
            low, high = stored.min(axis=0), stored.max(axis=0)
            accessor |= {"min": np.atleast_1d(low).tolist(), "max": np.atleast_1d(high).tolist()}
        self._accessors.append(accessor)
        padded = data + bytes(-len(data) % 4)
        self._arrays.append(padded)
        self._size += len(padded)
        return len(self._accessors) - 1

    def mesh(
        self,
        positions: Float[np.ndarray, "v 3"],
        normals: Float[np.ndarray, "v 3"],
        faces: Int[np.ndarray, "f 3"],
        skin: tuple[Int[np.ndarray, "v 4"], Float[np.ndarray, "v 4"]] | None = None,
    ) -> int:
        """Append a mesh of one material; its number.

        Args:
            positions: (V, 3) metres, y up.
            normals: (V, 3), of length 1 (0 where a vertex has no face, which becomes +y).
            faces: (F, 3) outward by the right-hand rule.
            skin: joints (V, 4) and weights (V, 4) that sum to 1.
        """
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        unit = np.where(length > 0.5, normals / np.maximum(length, 1e-12), [0.0, 1.0, 0.0])
        attributes = {
            "POSITION": self.add(positions, "f4", target=_VERTICES, bounds=True),
            "NORMAL": self.add(unit, "f4", target=_VERTICES),
        }
        if skin is not None:
            attributes["JOINTS_0"] = self.add(skin[0], "u1", target=_VERTICES)
            attributes["WEIGHTS_0"] = self.add(skin[1], "f4", target=_VERTICES)
        indices = self.add(faces.reshape(-1), "u2" if len(positions) < 65535 else "u4", target=_INDICES)
        primitive = {"attributes": attributes, "indices": indices, "material": 0, "mode": 4}
        self._meshes.append({"name": "body", "primitives": [primitive]})
        return len(self._meshes) - 1

    def content(
        self, nodes: Sequence[dict[str, Any]], roots: Sequence[int], **more: Sequence[dict[str, Any]]
    ) -> bytes:
        """The bytes of the file.

        Args:
            nodes: of the scene, as glTF has them.
            roots: numbers of those that have no parent.
            more: ``skins``, ``animations``.
        """
        surface = {"baseColorFactor": _SKIN_COLOUR, "metallicFactor": 0.0, "roughnessFactor": 0.8}
        described = {
            "asset": {"version": "2.0", "generator": "hmtools"},
            "scene": 0,
            "scenes": [{"nodes": list(roots)}],
            "nodes": list(nodes),
            "meshes": self._meshes,
            "materials": [{"name": "body", "pbrMetallicRoughness": surface}],
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": self._size}],
            **{name: list(value) for name, value in more.items()},
        }
        text = json.dumps(described, separators=(",", ":"), allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text
        chunks += struct.pack("<I4s", self._size, b"BIN\0") + b"".join(self._arrays)
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
