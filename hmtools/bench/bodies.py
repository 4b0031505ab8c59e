"""The body models a benchmark poses with: those of the shards, told by their checksums, and never two kinds.

Truth, prediction and regressors must belong to one body. Miniatures are of the licence-free stand-in, data is
of licensed models; a vertex of one is no vertex of the other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmtools.convert.bodies import body_facts
from hmtools.core.errors import AssetError, UsageError
from hmtools.core.settings import Settings, load_settings
from hmtools.humandata.manifest import Manifest

if TYPE_CHECKING:
    from torch import Tensor

    from hmtools.bodies.mixed import BodyLayers
    from hmtools.bodies.model import Family, Gender

__all__ = ["BenchBodies", "Posed", "bodies_of", "check_prediction_body"]


@dataclass(frozen=True, slots=True, eq=False)
class Posed:
    """B bodies, float32 on the device that posed them.

    Attributes:
        vertices: (B, V, 3) metres, in the frame of ``transl``.
        joints: (B, K, 3) metres, all joints of the family's layer, its skeleton first; None unless asked for.
        rotations: (B, J, 3, 3) of the skeleton, from the rest pose to that frame; likewise.
    """

    vertices: Tensor
    joints: Tensor | None = None
    rotations: Tensor | None = None

    def select(self, rows: Sequence[int]) -> Posed:
        """The bodies at ``rows``, in that order; these very ones where that is all of them."""
        if list(rows) == list(range(len(self.vertices))):
            return self
        parts = (self.vertices, self.joints, self.rotations)
        vertices, joints, rotations = (None if part is None else part[list(rows)] for part in parts)
        return Posed(self.vertices if vertices is None else vertices, joints, rotations)


@dataclass(frozen=True, slots=True, eq=False)
class BenchBodies:
    """Body models of one kind on one device.

    Attributes:
        root: the folder they are in.
        standin: whether they are the stand-in.
        sha256: of all of them, as manifests have it.
        files: ``<family>_<gender>`` -> checksum of what the model holds.
        device: where they pose.
    """

    root: Path
    standin: bool
    sha256: str
    files: Mapping[str, str]
    device: str
    _layers: dict[str, BodyLayers]

    def layers(self, family: Family) -> BodyLayers:
        """The layers of a family, read once."""
        if family not in self._layers:
            from hmtools.bodies.mixed import BodyLayers

            self._layers[family] = BodyLayers(family, roots=(self.root,), device=self.device)
        return self._layers[family]

    def pose(
        self,
        family: Family,
        values: Mapping[str, Any],
        genders: Gender | Sequence[Gender] = "neutral",
        *,
        skeleton: bool = False,
    ) -> Posed:
        """Pose B bodies.

        Args:
            family: smpl or smplx.
            values: finite parameters by their record names without the family, (B, n) each; absolute hands.
            genders: of the models, one for all or one each.
            skeleton: whether joints and their rotations are wanted besides the mesh.
        """
        import torch

        from hmtools.bodies.params import BodyParams

        params = BodyParams(
            **{
                name: torch.as_tensor(value, dtype=torch.float32).to(self.device)
                for name, value in values.items()
            }
        )
        layers = self.layers(family)
        with torch.inference_mode():
            output = layers(params, genders, check=False)
            if output.vertices is None:
                raise AssetError(f"{self.root}: the {family} layer has no surface")
            if not skeleton:
                return Posed(output.vertices)
            from hmtools.bench.challenge import world_rotations

            layer = layers.layer("neutral")  # the chain of joints is the same for every gender
            chain = tuple(int(parent) for parent in layer.parents)
            turned = world_rotations(layer.rotations(params), chain)
            return Posed(output.vertices, output.joints, turned)

    def hand_means(self) -> Tensor:
        """(2, 45) mean left and right hand of the neutral SMPL-X model, radians, absolute.

        Raises:
            AssetError: if the model file has none.
        """
        import torch

        model = self.layers("smplx").layer("neutral").model
        if model.hand_mean is None:
            raise AssetError(f"{model.path}: has no mean hands; the release with hand PCA does")
        return torch.tensor(model.hand_mean, dtype=torch.float32, device=self.device)


def bodies_of(
    manifests: Sequence[Manifest],
    families: Collection[str],
    *,
    device: str = "cpu",
    settings: Settings | None = None,
) -> BenchBodies:
    """The body models for some shards: the stand-in for shards made with it, else the licensed ones.

    Args:
        manifests: of all splits that are measured together.
        families: that will be posed or regressed from.
        device: where they pose.
        settings: ``body_models`` is searched; default: loaded.

    Raises:
        UsageError: if the shards are of two kinds of bodies, or of other models than those found.
        AssetError: if a family has no model there.
    """
    settings = settings or load_settings()
    known = [facts for manifest in manifests if (facts := manifest.body_model) is not None]
    kinds = {bool(facts["standin"]) for facts in known}
    if len(kinds) > 1:
        raise UsageError(
            "the splits were converted with two kinds of bodies, the stand-in and licensed ones; convert "
            "them again with one"
        )
    standin = kinds.pop() if kinds else False
    root = _standin_root() if standin else settings.body_models
    found = body_facts(root, sorted(families))
    for family in sorted(families):
        if found is None or f"{family}_neutral" not in found["files"]:
            _raise_missing(root, family)
    if found is None:
        raise UsageError("a benchmark needs a body family")
    if found["standin"] and not standin:
        raise UsageError(
            f"body_models = {root} ({settings.origin('body_models')}) holds the stand-in body, the shards "
            "are of licensed models or of none yet; point body_models at those (`hmtools body list`)"
        )
    for facts in known:
        _check_files(facts["files"], found["files"], root)
    return BenchBodies(root, standin, found["sha256"], found["files"], device, {})


def _standin_root() -> Path:
    from hmtools.bodies.assets import standin_dir

    return standin_dir()


def _raise_missing(root: Path, family: str) -> None:
    from hmtools.bodies.assets import load_model

    load_model(family, "neutral", roots=(root,))  # type: ignore[arg-type] # raises, with where to get it
    raise AssetError(f"{root}: no neutral {family} model")


def _check_files(shards: Mapping[str, str], here: Mapping[str, str], root: Path) -> None:
    other = sorted(name for name, sha256 in shards.items() if here.get(name, sha256) != sha256)
    if other:
        raise UsageError(
            f"the shards were made with another {', '.join(other)} than {root} has "
            f"({shards[other[0]][:12]}, here {here[other[0]][:12]}); numbers of two bodies cannot be "
            "compared. Point body_models at the first ones, or convert the set again"
        )


def check_prediction_body(facts: Mapping[str, Any], bodies: BenchBodies) -> str:
    """Refuse predictions of another kind of body; returns a remark on what cannot be told, or "".

    Args:
        facts: of the predictions: ``standin`` and ``body_sha256``, where they say so.
        bodies: of the shards.

    Raises:
        UsageError: if one is of the stand-in and the other of licensed models.
    """
    standin = facts.get("standin")
    names = {True: "the stand-in body", False: "a licensed body"}
    if standin is not None and bool(standin) != bodies.standin:
        raise UsageError(
            f"the predictions are of {names[bool(standin)]}, the shards of {names[bodies.standin]}: their "
            "meshes cannot be compared. Predict and convert with the same body models"
        )
    sha256 = facts.get("body_sha256")
    if sha256 and sha256 not in {bodies.sha256, *bodies.files.values()}:
        return f"predicted with body {str(sha256)[:12]}, which is none of the shards' models"
    return ""
