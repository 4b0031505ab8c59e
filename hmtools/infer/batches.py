"""People of any frames, predicted many at a time."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import torch

from hmtools.infer.crops import Crop
from hmtools.infer.predict import predicted_columns
from hmtools.models.smplerx.adapter import Predicted

__all__ = ["CPU_BATCH", "GPU_BATCHES", "BatchSize", "CropModel", "Person", "predicted_rows"]

log = logging.getLogger(__name__)

CPU_BATCH = 8
"""People at once on a CPU, where more are not faster."""
GPU_BATCHES = (16, 128)
"""People at once on a GPU, at first and at most: 128 crops are 300 MB of memory."""


class CropModel(Protocol):
    """What is asked of a model here; :class:`hmtools.infer.model.Model` is one."""

    @property
    def device(self) -> str:
        """Where it runs, such as ``cpu`` or ``cuda:0``."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What predictions say of it."""

    def predict(self, crops: Sequence[Crop]) -> Predicted:
        """The people of one or more crops."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Person:
    """One person who is to be predicted.

    Attributes:
        about: the columns of the row that say who and where.
        crop: what the network sees.
    """

    about: Mapping[str, Any]
    crop: Crop


class BatchSize:
    """How many people a model takes at once.

    Where nobody says, it grows on a GPU as long as memory allows.

    Args:
        device: of the model.
        given: by the user; None: chosen.
    """

    def __init__(self, device: str, given: int | None = None) -> None:
        grows = given is None and device.startswith("cuda")
        self.now = given or (GPU_BATCHES[0] if grows else CPU_BATCH)
        self.most = GPU_BATCHES[1] if grows else self.now

    def fitted(self) -> None:
        """A full batch went well: the next one may be larger."""
        self.now = min(2 * self.now, self.most)

    def too_large(self, tried: int) -> bool:
        """Memory did not suffice for ``tried`` people: True if fewer can be."""
        self.now = self.most = max(1, tried // 2)
        log.warning("no memory for %d people at once, %d are tried from now on", tried, self.now)
        return tried > 1


def predicted_rows(
    people: Iterator[Person], model: CropModel, size: BatchSize
) -> Generator[list[dict[str, Any]], None, None]:
    """Predict people, whatever frames they are of.

    Args:
        people: in the order of the rows.
        model: predicts them.
        size: of batches.

    Yields:
        Rows of a table of predictions, batch by batch.

    Raises:
        torch.OutOfMemoryError: if memory does not suffice for one person.
    """
    waiting: list[Person] = []
    while True:
        waiting += islice(people, max(0, size.now - len(waiting)))
        if not waiting:
            return
        batch = waiting[: size.now]
        try:
            answer = model.predict([person.crop for person in batch])
        except torch.OutOfMemoryError:
            if not size.too_large(len(batch)):
                raise
            continue
        if len(batch) == size.now:
            size.fitted()
        waiting = waiting[len(batch) :]
        columns = predicted_columns(answer)
        yield [
            {**person.about, **{name: values[i] for name, values in columns.items()}}
            for i, person in enumerate(batch)
        ]
