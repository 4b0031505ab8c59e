"""Predictions of SMPLer-X, person by person, as rows of :mod:`hmtools.humandata.predictions`.

Every person is predicted alone: which others are in its batch, and in which order they come, changes nothing
but the last bits of its numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import Any, Literal, TypeAlias

import numpy as np
import torch

from hmtools.core.errors import UsageError
from hmtools.geometry.arrays import ArrayLike
from hmtools.geometry.box import sanitize_xywh
from hmtools.humandata.predictions import PredictionSpec
from hmtools.infer.crops import Crop, person_crop
from hmtools.models.smplerx.adapter import Predicted, predicted
from hmtools.models.smplerx.joint_sets import NATIVE
from hmtools.models.smplerx.model import SmplerX
from hmtools.shards.reader import Sample, Shards

__all__ = [
    "Precision",
    "predict",
    "predict_crops",
    "predicted_columns",
    "prediction_spec",
    "samples_of",
    "without_crop",
]

Precision: TypeAlias = Literal["fp32", "bf16"]

_IDENTITY = ("key", "dataset", "split", "image_path", "height", "width", "track_id", "frame")
_BODY = (
    "smplx_global_orient", "smplx_body_pose", "smplx_transl", "smplx_left_hand_pose",
    "smplx_right_hand_pose", "smplx_jaw_pose", "smplx_leye_pose", "smplx_reye_pose", "smplx_betas",
    "smplx_expression", "focal_length", "principal_point", "virtual_transl", "crop_affine",
)  # fmt: skip


def prediction_spec(*, vertices: int | None = None) -> PredictionSpec:
    """What tables of SMPLer-X's predictions store.

    Args:
        vertices: of the meshes that are to lie beside the table; None: none.
    """
    mesh = None if vertices is None else ("smplx", vertices)
    return PredictionSpec(bodies=("smplx",), joints2d=NATIVE, joints3d=NATIVE, mesh=mesh)


def samples_of(shards: Shards, rows: Iterable[int], *, threads: int = 1, ahead: int = 16) -> Iterator[Sample]:
    """Samples of some rows in their order, decoded in advance by threads.

    Args:
        shards: the split.
        rows: numbers of its rows.
        threads: how many decode.
        ahead: samples that may wait, which bounds memory.
    """
    read = ((record, shards.image_bytes(record)) for record in map(shards.row, rows))
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque(pool.submit(shards.decode, *found) for found in islice(read, ahead))
        while waiting:
            sample = waiting.popleft().result()
            waiting += [pool.submit(shards.decode, *found) for found in islice(read, 1)]
            yield sample


def predict(
    network: SmplerX,
    records: Iterable[Sample],
    device: str | torch.device,
    *,
    ratio: float | Callable[[Mapping[str, Any]], float],
    batch: int = 32,
    precision: Precision = "fp32",
    vertices: bool = False,
) -> Iterator[dict[str, Any]]:
    """Predict the people of records.

    Args:
        network: in eval mode, on ``device``.
        records: with their images; those without an image or without a box inside of it get no prediction.
        device: where the network is.
        ratio: padding of body boxes, or what tells it of a record.
        batch: people at once.
        precision: of the network's passes.
        vertices: whether rows shall have meshes.

    Yields:
        Rows for a :class:`~hmtools.humandata.predictions.PredictionWriter`, in the order of the records.

    Raises:
        UsageError: if the network is in training mode.
    """
    found = ((sample.record, _crop(sample, ratio)) for sample in records)
    shown = ((record, crop) for record, crop in found if crop is not None)
    while people := list(islice(shown, batch)):
        crops = [crop for _, crop in people]
        answer = predict_crops(network, crops, device, precision=precision, vertices=vertices)
        yield from _rows([record for record, _ in people], answer)


def without_crop(sample: Sample) -> str:
    """Why a record gets no prediction, or "": ``no_image``, ``no_box`` or ``box_outside_image``."""
    record = sample.record
    if sample.image is None:
        return "no_image"
    if record["bbox_xywh"] is None:
        return "no_box"
    inside = sanitize_xywh(record["bbox_xywh"][:4], record["width"], record["height"])
    return "box_outside_image" if inside is None else ""


def _crop(sample: Sample, ratio: float | Callable[[Mapping[str, Any]], float]) -> Crop | None:
    record = sample.record
    if sample.image is None or without_crop(sample):
        return None
    padding = ratio(record) if callable(ratio) else ratio
    size = (record["width"], record["height"])
    return person_crop(sample.image, record["bbox_xywh"], size, ratio=padding, stored=sample.affine)


def predict_crops(
    network: SmplerX,
    crops: Sequence[Crop],
    device: str | torch.device,
    *,
    precision: Precision = "fp32",
    vertices: bool = False,
) -> Predicted:
    """Predict B people at once.

    Args:
        network: in eval mode, on ``device``.
        crops: B of them, at least one.
        device: where the network is.
        precision: of the network's passes.
        vertices: whether meshes are wanted.

    Returns:
        The people, on ``device``.

    Raises:
        UsageError: without crops, or if the network has no body or is in training mode.
    """
    if not crops or network.body is None:
        raise UsageError("expected one or more crops, and a network with a body model")
    pixels = np.stack([crop.image for crop in crops]).transpose(0, 3, 1, 2)
    images = torch.from_numpy(np.ascontiguousarray(pixels)).to(device) / 255
    with _passes(precision, device):
        answer = network.predict(images, vertices=vertices)
    affines: ArrayLike = np.stack([crop.affine for crop in crops])
    return predicted(answer, affines, network.body.hand_means, image_size=network.image_size)


def _passes(precision: Precision, device: str | torch.device) -> AbstractContextManager[Any]:
    if precision == "bf16":
        return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)
    return _whole_float32()


@contextmanager
def _whole_float32() -> Iterator[None]:
    """No TF32 in convolutions: it is torch's default on GPUs, and its error depends on the batch."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def predicted_columns(answer: Predicted) -> dict[str, np.ndarray]:
    """The columns of B predictions as a table has them, float32 on the CPU, without those that say whose.

    Joints get a confidence of 1; ``vertices`` are there if they were asked for.
    """
    columns = {name: getattr(answer, name).float().cpu().numpy() for name in _BODY}
    for name in ("joints2d", "joints3d"):
        joints = getattr(answer, name).float().cpu().numpy()
        seen = np.ones((*joints.shape[:2], 1), np.float32)
        columns[name] = np.concatenate([joints, seen], axis=-1)
    if answer.vertices is not None:
        columns["vertices"] = answer.vertices.float().cpu().numpy()
    return columns


def _rows(records: Sequence[Mapping[str, Any]], answer: Predicted) -> Iterator[dict[str, Any]]:
    columns = predicted_columns(answer)
    for i, record in enumerate(records):
        about = {name: record.get(name) for name in _IDENTITY}
        yield {**about, "bbox_xywh": record["bbox_xywh"], "gender": "neutral"} | {
            name: values[i] for name, values in columns.items()
        }
