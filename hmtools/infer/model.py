"""A trained network with its body model, ready to predict: ``hmtools.load_model(name)(images, boxes)``."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from hmtools import __version__
from hmtools.bodies.assets import body_hash, standin_dir
from hmtools.bodies.assets import load_model as load_body
from hmtools.bodies.layers import BodyLayer
from hmtools.bodies.model import BodyModel
from hmtools.core.errors import AssetError, CheckpointError, UsageError
from hmtools.core.settings import Settings, load_settings
from hmtools.geometry.arrays import ArrayLike
from hmtools.infer.crops import FREE_RATIO, Crop, person_crop
from hmtools.infer.people import COLUMNS, PredictedPeople, people_of
from hmtools.infer.predict import Precision, predict_crops, predicted_columns
from hmtools.models.checkpoint import Checkpoint, read_checkpoint
from hmtools.models.sizes import SIZES
from hmtools.models.smplerx.adapter import Predicted
from hmtools.models.smplerx.model import SmplerX
from hmtools.models.weights_folder import locate_weights, weights_in

__all__ = [
    "Model",
    "chosen_device",
    "devices_here",
    "find_weights",
    "free_body",
    "load_model",
    "model_name",
    "with_body",
]

BATCH = 32
"""People at once where nobody says: 75 MB of crops."""
_RUN_FILES = ("final.safetensors", "best.safetensors")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """SMPLer-X with weights and a body, in eval mode.

    Attributes:
        name: what predictions call it.
        network: on ``device``.
        device: such as ``cpu`` or ``cuda:1``.
        precision: ``fp32``, or ``bf16``: passes under autocast; rotations and bodies stay in float32.
        weights: the file.
        facts: what predictions say of themselves: ``model``, ``checkpoint_sha256`` (of the file that was
            published or trained, whatever format it is kept in), ``body_sha256``, ``standin``, ``versions``.
    """

    name: str
    network: SmplerX
    device: str
    precision: Precision
    weights: Path
    facts: Mapping[str, Any]

    @property
    def vertex_count(self) -> int:
        """Vertices of its meshes."""
        if self.network.body is None:
            raise UsageError(f"{self.name}: was made without a body model")
        return len(self.network.body.layer.model.v_template)

    def predict(self, crops: Sequence[Crop], *, vertices: bool = False) -> Predicted:
        """Predict B people who are cut out already, in one pass.

        Args:
            crops: at least one, see :func:`hmtools.infer.crops.person_crop`.
            vertices: whether meshes are wanted.

        Returns:
            Tensors on the device of the model.
        """
        return predict_crops(self.network, crops, self.device, precision=self.precision, vertices=vertices)

    def __call__(
        self,
        images: Sequence[UInt8[np.ndarray, "h w 3"]],
        boxes: Sequence[ArrayLike] | None = None,
        *,
        ratio: float = FREE_RATIO,
        vertices: bool = False,
        batch: int = BATCH,
    ) -> PredictedPeople:
        """Predict the people of images.

        Every person is predicted alone: who else is in the call changes nothing but the last bits.

        Args:
            images: each (H, W, 3) uint8 RGB, upright; sizes may differ.
            boxes: for every image its people's boxes, (n, 4) or (n, 5): x, y of the top left corner, width,
                height, and a confidence that is passed on; pixels, centres at integers. One box may be (4,).
                None: one person fills each image.
            ratio: padding of the boxes: 1.25 as in SMPLer-X's demo.
            vertices: whether meshes are wanted.
            batch: people in one pass.

        Returns:
            All people, image by image.

        Raises:
            UsageError: for images or boxes of another kind, or not as many of both.

        Example::

            model = hmtools.load_model("smplerx-h32", device="cuda")
            people = model([image], [[[120, 80, 200, 420]]])
            people.smplx_body_pose.shape  # (1, 63)
        """
        if batch < 1:
            raise UsageError(f"batch: expected 1 or more, found {batch}")
        numbers, placed = people_of(images, boxes)
        columns: dict[str, Any] = {
            name: np.full((len(placed), *shape), np.nan, np.float32) for name, shape in COLUMNS.items()
        }
        if vertices:
            columns["vertices"] = np.full((len(placed), self.vertex_count, 3), np.nan, np.float32)
        found = np.zeros(len(placed), bool)
        for start in range(0, len(placed), batch):
            rows, crops = [], []
            for row in range(start, min(start + batch, len(placed))):
                image = images[int(numbers[row])]
                size = (image.shape[1], image.shape[0])
                crop = person_crop(image, placed[row], size, ratio=ratio)
                if crop is not None:
                    rows.append(row)
                    crops.append(crop)
            if crops:
                found[rows] = True
                for name, values in predicted_columns(self.predict(crops, vertices=vertices)).items():
                    columns[name][rows] = values
        return PredictedPeople(image=numbers, bbox_xywh=placed, found=found, **columns)


def load_model(
    name_or_path: str | Path,
    *,
    device: str = "auto",
    precision: Precision = "fp32",
    allow_standin: bool = False,
    settings: Settings | None = None,
) -> Model:
    """Load a network for images of your own; its body is that of the setting ``body_models``.

    Args:
        name_or_path: weights in the checkpoints folder (``hmtools weights list``), a file of weights, or the
            folder of a training run (its final weights, else its best).
        device: ``cpu``, ``cuda``, ``cuda:1``; auto: a GPU where there is one.
        precision: ``fp32``, or ``bf16``: faster on a GPU, and less exact.
        allow_standin: take the licence-free stand-in body, which is not SMPL-X: its meshes and joints are
            those of another body.
        settings: default: loaded.

    Raises:
        CheckpointError: for weights that are not there, damaged, or of another network.
        AssetError: without a neutral SMPL-X model.
        UsageError: for a device that is not there, and for the stand-in body unless allowed.
    """
    settings = settings or load_settings()
    weights = find_weights(name_or_path, settings)
    body = free_body(settings, allow_standin=allow_standin)
    return with_body(weights, body, device=device, precision=precision, settings=settings)


def find_weights(name_or_path: str | Path, settings: Settings) -> Path:
    """The file of weights that is meant, see :func:`load_model`.

    Raises:
        CheckpointError: if there is none.
    """
    folder = Path(name_or_path)
    if not folder.is_dir():
        return locate_weights(name_or_path, settings.checkpoints)
    for name in _RUN_FILES:
        if (folder / name).is_file():
            return folder / name
    run = (folder / "recipe.json").is_file()
    raise CheckpointError(
        f"{folder}: "
        + ("this training run has no weights yet" if run else "no folder of a training run")
        + f"; expected {' or '.join(_RUN_FILES)} in it. Or name weights: a file, or one that "
        "`hmtools weights list` has"
    )


def model_name(weights: Path, settings: Settings) -> str:
    """What predictions of some weights are called, a plain file name.

    Weights of the checkpoints folder have a name there; those of a training run that of its folder, with
    ``-best`` unless they are the final ones; others that of their file.
    """
    if weights.name in _RUN_FILES and (weights.parent / "recipe.json").is_file():
        run = weights.resolve().parent.name
        return run if weights.name == _RUN_FILES[0] else f"{run}-best"
    there = weights.resolve()
    named = {item.path.resolve(): item.name for item in weights_in(settings.checkpoints)}
    return named.get(there) or there.name.partition(".")[0] or "model"


def free_body(settings: Settings, *, allow_standin: bool = False) -> BodyModel:
    """The neutral SMPL-X model for people of no dataset.

    Raises:
        AssetError: if there is none; with ``allow_standin`` the stand-in is made then.
        UsageError: if it is the stand-in, and that is not allowed.
    """
    roots: tuple[Path, ...] = (settings.body_models,)
    try:
        body = load_body("smplx", "neutral", roots=roots)
    except AssetError:
        if not allow_standin:
            raise
        body = load_body("smplx", "neutral", roots=(standin_dir(),))
    if body.standin and not allow_standin:
        raise UsageError(
            f"body_models = {settings.body_models} ({settings.origin('body_models')}) holds the stand-in "
            "body: its shapes and joints are not those of SMPL-X. Point body_models at the licensed files "
            "(`hmtools body list` says where to get them), or say --allow-standin (in Python: "
            "allow_standin=True)"
        )
    return body


def with_body(
    weights: Path,
    body: BodyModel,
    *,
    device: str = "auto",
    precision: Precision = "fp32",
    settings: Settings | None = None,
    name: str | None = None,
) -> Model:
    """A network with weights of a file and a body of the caller's choice.

    Args:
        weights: the file.
        body: neutral SMPL-X.
        device: as in :func:`load_model`.
        precision: likewise.
        settings: default: loaded.
        name: what predictions call it; default: :func:`model_name`.

    Raises:
        CheckpointError, UsageError: as :func:`load_model`.
    """
    where = chosen_device(device)
    checkpoint = read_checkpoint(weights)
    if checkpoint.model != "smplerx":
        raise CheckpointError(
            f"{weights}: holds {checkpoint.identity}, which predicts no bodies; expected SMPLer-X"
        )
    name = name or model_name(weights, settings or load_settings())
    facts = {
        "model": name,
        "checkpoint_sha256": checkpoint.source_sha256,
        "body_sha256": body_hash(body),
        "standin": body.standin,
        "versions": {
            "hmtools": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
    }
    return Model(
        name=name,
        network=_network(checkpoint, body).to(where),
        device=where,
        precision=precision,
        weights=weights,
        facts=facts,
    )


def _network(checkpoint: Checkpoint, body: BodyModel) -> SmplerX:
    """The network in eval mode. Its numbers stay in the file's pages until it moves to a GPU."""
    layer = BodyLayer(body)
    with torch.device("meta"):  # drawing weights that are not used takes longer than all the rest
        network = SmplerX(SIZES[checkpoint.size], layer)
    state = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in checkpoint.state.items()
    }
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


def chosen_device(wanted: str) -> str:
    """``cpu``, ``cuda:0`` and so on; ``auto`` is a GPU where there is one.

    Raises:
        UsageError: if it is not there.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=wanted)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"device {wanted}: not usable here ({reason}); take {devices_here()}") from error
    return wanted


def devices_here() -> str:
    """The devices of this machine in words: ``cpu``, or ``cpu or cuda:0 or cuda:1``."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return " or ".join(["cpu", *(f"cuda:{number}" for number in range(count))])
