"""Meshes of one body family on the vertices of another, by the transfer matrices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hmtools.bodies import assets
from hmtools.bodies.model import VERTICES, Family

__all__ = ["MeshTransfer"]


class MeshTransfer:
    """Where the vertices of one family lie on a mesh of another; SMPL and SMPL-H share one mesh.

    Args:
        source: family of the meshes.
        target: family whose vertices are wanted.
        roots: folders to look for the matrix in; the setting ``body_models`` by default. A matrix of SMPL
            serves SMPL-H too when there is none of its own.
        device: where the meshes are.

    Raises:
        AssetError: if there is no transfer matrix between two different meshes.
    """

    def __init__(
        self,
        source: Family,
        target: Family,
        *,
        roots: Sequence[Path] | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self._vertices: Tensor | None = None
        if VERTICES[source] == VERTICES[target]:
            return
        key = f"{source}_to_{target}"
        if assets.find(key, roots=roots) is None:
            key = key.replace("smplh", "smpl")
        # The official files hold as many columns again, for offsets along normals: none here.
        matrix = assets.load_array(key, roots=roots).tocsr()[:, : VERTICES[source]]
        counts = np.diff(matrix.indptr)
        rows = np.repeat(np.arange(len(counts)), counts)
        columns = np.arange(matrix.nnz) - matrix.indptr[rows]
        vertices = np.zeros((len(counts), counts.max(initial=1)), np.int64)
        shares = np.zeros(vertices.shape, np.float64)
        vertices[rows, columns], shares[rows, columns] = matrix.indices, matrix.data
        self._vertices = torch.as_tensor(vertices, device=device)
        self._shares = torch.as_tensor(shares, device=device)

    def __call__(self, mesh: Float[Tensor, "b v 3"]) -> Float[Tensor, "b w 3"]:
        """Vertices of the source as vertices of the target, in the same unit and frame."""
        if self._vertices is None:
            return mesh
        moved = mesh.new_zeros(len(mesh), len(self._vertices), 3)
        for vertex, share in zip(self._vertices.T, self._shares.T.to(mesh.dtype), strict=True):
            moved = moved + mesh[:, vertex] * share[:, None]
        return moved
