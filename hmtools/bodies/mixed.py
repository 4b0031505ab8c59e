"""A family of body models as one layer: batches may mix genders and kids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmtools.bodies import assets
from hmtools.bodies.layers import BodyLayer, BodyOutput
from hmtools.bodies.model import GENDERS, Family, Gender
from hmtools.bodies.params import BodyParams
from hmtools.core.errors import UsageError, nearest

__all__ = ["BodyLayers"]


class BodyLayers:
    """The layers of one family, each read when the first body of its gender comes.

    Args:
        family: smpl, smplh or smplx.
        roots: folders to look for model files in; the setting ``body_models`` by default.
        dtype: float type of all arithmetic.
        device: where the layers live.
        surface: whether meshes will be wanted; without, layers are small and give joints alone.
    """

    def __init__(
        self,
        family: Family,
        *,
        roots: Sequence[Path] | None = None,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        surface: bool = True,
    ) -> None:
        self.family: Family = family
        self._roots = roots
        self._dtype, self._device, self._surface = dtype, device, surface
        self._layers: dict[Gender, BodyLayer] = {}

    def layer(self, gender: Gender) -> BodyLayer:
        """The layer of one gender, with the kid template where that file is there.

        Raises:
            AssetError: if there is no model file for it, saying where it was looked for.
            UsageError: if there is no such gender.
        """
        if gender not in GENDERS:
            raise UsageError(
                f"gender: expected {', '.join(GENDERS)}, found {gender!r}{nearest(gender, GENDERS)}"
            )
        if gender not in self._layers:
            model = assets.load_model(self.family, gender, roots=self._roots)
            kid_file = f"{self.family}_kid_template"
            found = self.family != "smplh" and assets.find(kid_file, roots=self._roots) is not None
            kid = np.asarray(assets.load_array(kid_file, roots=self._roots)) if found else None
            self._layers[gender] = BodyLayer(
                model, kid_template=kid, dtype=self._dtype, surface=self._surface
            ).to(self._device)
        return self._layers[gender]

    def __call__(
        self,
        params: BodyParams,
        genders: Gender | Sequence[Gender] = "neutral",
        *,
        vertices: bool = True,
        check: bool = True,
    ) -> BodyOutput:
        """Pose a batch of bodies, each with the model of its gender.

        Args:
            params: B bodies.
            genders: one for all, or B of them; the gender of the model the numbers belong to (AGORA fits
                girls with the neutral model).
            vertices: whether the mesh is wanted, see :class:`~hmtools.bodies.layers.BodyLayer`.
            check: refuse NaN and infinity; on a GPU this waits for the queue, training leaves it out.

        Returns:
            Joints and mesh in the order of ``params``.

        Raises:
            GeometryError: for NaN or infinity, naming field and row.
            UsageError, AssetError: as the layer does.
        """
        if check:
            params.check(self.family)
        if isinstance(genders, str):
            return self._pose(params, genders, vertices)
        if params.batch() not in (1, len(genders)):
            raise UsageError(f"expected one gender for each of {params.batch()} bodies, found {len(genders)}")
        rows = {g: [i for i, own in enumerate(genders) if own == g] for g in dict.fromkeys(genders)}
        if len(rows) == 1 and params.batch() == len(genders):
            return self._pose(params, next(iter(rows)), vertices)
        parts = [self._pose(_one_each(params.select(at), len(at)), g, vertices) for g, at in rows.items()]
        order = torch.as_tensor(
            np.argsort(np.concatenate(list(rows.values()))), device=parts[0].joints.device
        )

        def joined(name: str) -> Any:
            values = [getattr(part, name) for part in parts]
            if values[0] is None:
                return None
            each = zip(values, rows.values(), strict=True)
            return torch.cat([value.expand(len(at), -1, *value.shape[2:]) for value, at in each])[order]

        return BodyOutput(
            joints=joined("joints"),
            vertices=joined("vertices"),
            rest_pelvis=joined("rest_pelvis"),
            convention=parts[0].convention,
        )

    def rest_pelvis(self, params: BodyParams, genders: Gender | Sequence[Gender] = "neutral") -> Tensor:
        """Pelvis of each shaped rest body, (B, 3) metres: what the root turns about."""
        names = [genders] * params.batch() if isinstance(genders, str) else list(genders)
        rest = [self.layer(g).rest_pelvis(_one_each(params.select([i]), 1)) for i, g in enumerate(names)]
        return torch.cat(rest)

    def _pose(self, params: BodyParams, gender: Gender, vertices: bool) -> BodyOutput:
        output: BodyOutput = self.layer(gender)(params, vertices=vertices)
        return output


def _one_each(params: BodyParams, count: int) -> BodyParams:
    """``params`` with every field spelled out for ``count`` bodies."""
    return replace(params, **{k: v.expand(count, *v.shape[1:]) for k, v in params.given().items()})
