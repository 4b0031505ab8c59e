"""Compare a batch of rows with their predictions: what becomes of each person, and the errors of those ok."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmtools.bench.bodies import BenchBodies
from hmtools.bench.pairs import Pairs, Place, crop_of_record, predicted_meshes
from hmtools.bench.protocols.base import Protocol
from hmtools.bench.source import Predicted, PredictionSource
from hmtools.bench.truth import target_meshes
from hmtools.humandata.reports import JOINT_ERRORS
from hmtools.shards.reader import Shards

__all__ = ["Comparison", "Span", "identity"]

_IDENTITY = (
    *("dataset", "split", "key", "image_path", "sequence", "frame", "person"),
    *("bbox_xywh", "occlusion"),
)


@dataclass(frozen=True, slots=True)
class Span:
    """Some rows of a split.

    Attributes:
        numbers: indices into it.
        first: the first of them that is written; those before are neighbours in time.
        last: end of those that are written.
        motion: where in which track each is, or None.
    """

    numbers: Sequence[int]
    first: int
    last: int
    motion: Sequence[Place] | None = None


@dataclass(slots=True)
class _Batch:
    """Rows that are being compared, and what is known of each so far ("" = ok)."""

    records: list[dict[str, Any]]
    status: list[str]
    note: list[str]
    crops: list[Any] = field(default_factory=list)

    def settle(self, row: int, status: str, note: str = "") -> None:
        """Give a row its status; the first one stays."""
        if not self.status[row]:
            self.status[row], self.note[row] = status, note

    def open_rows(self) -> list[int]:
        """Rows without a status yet."""
        return [row for row, status in enumerate(self.status) if not status]


@dataclass(slots=True)
class Comparison:
    """Compares batches by one protocol, and counts what becomes of people.

    Attributes:
        protocol: what is compared, and how.
        source: the predictions.
        bodies: models that pose truth and predictions.
        statuses: status -> people, so far.
        own_crops: people whose test crop is that of the record's box, as the prediction names none.
    """

    protocol: type[Protocol]
    source: PredictionSource
    bodies: BenchBodies
    statuses: Counter[str] = field(default_factory=Counter)
    own_crops: int = 0

    def rows(self, shards: Shards, span: Span) -> list[dict[str, Any]]:
        """Rows of ``per_sample`` for some rows of a split.

        Args:
            shards: the split.
            span: which of its rows.
        """
        count = len(span.numbers)
        batch = _Batch([shards.row(n) for n in span.numbers], [""] * count, [""] * count)
        self._leave_out(batch)
        found = self.source.get([record["key"] for record in batch.records])
        for row in batch.open_rows():
            if not bool(found.found[row]):
                batch.settle(row, "missing")
        errors = self._errors(shards, span, batch, found) if batch.open_rows() else {}
        for row in batch.open_rows():
            batch.settle(row, "ok")
        self.statuses.update(batch.status[span.first : span.last])
        return [_cells(self.protocol, batch, errors, row) for row in range(span.first, span.last)]

    def _leave_out(self, batch: _Batch) -> None:
        """People whom the protocol does not test: nothing of their box is in the image."""
        protocol = self.protocol
        for row, record in enumerate(batch.records):
            crop = crop_of_record(record, protocol.box_ratio) if protocol.box_ratio else None
            batch.crops.append(crop)
            if protocol.box_ratio and crop is None:
                batch.settle(row, "excluded", "nothing of the body box is in the image")
            if protocol.seen and record["keypoints2d_original"] is None:
                batch.settle(row, "excluded", "no 2D keypoint")

    def _errors(self, shards: Shards, span: Span, batch: _Batch, found: Predicted) -> dict[str, np.ndarray]:
        """Errors of the people that both sides have, NaN for the others; settles who has none."""
        rows = batch.open_rows()
        numbers = [span.numbers[row] for row in rows]
        targets = target_meshes(shards, numbers, self.protocol.truth, self.bodies)
        for row, reason in zip(rows, targets.reasons, strict=True):
            if reason:
                batch.settle(row, "excluded", reason)
        predicted, reasons = predicted_meshes(found, rows, self.protocol, self.bodies)
        for row, reason in zip(rows, reasons, strict=True):
            if reason:
                batch.settle(row, "invalid", reason)
        kept = [place for place, row in enumerate(rows) if not batch.status[row]]
        if not kept:
            return {}
        chosen = [rows[place] for place in kept]
        pairs = Pairs(
            predicted=predicted.select(kept),
            target=targets.posed.select(kept),
            records=[batch.records[row] for row in chosen],
            bodies=self.bodies,
            crop_affine=self._crops(batch, found, chosen) if self.protocol.test_camera else None,
            motion=None if span.motion is None else [span.motion[row] for row in chosen],
        )
        return self._measured(pairs, batch, chosen)

    def _measured(self, pairs: Pairs, batch: _Batch, rows: Sequence[int]) -> dict[str, np.ndarray]:
        wanted = {*self.protocol.metrics, JOINT_ERRORS}
        with torch.inference_mode():
            measured = self.protocol.measure.compare(pairs) if self.protocol.measure else {}
            values = {name: value for name, value in measured.items() if name in wanted}
        errors = {}
        for name, value in values.items():
            own = value.float().cpu().numpy()
            errors[name] = np.full((len(batch.records), *own.shape[1:]), np.nan, np.float32)
            errors[name][list(rows)] = own
        for row in rows:
            if np.isnan(errors[self.protocol.primary][row]):
                unseen = self.protocol.test_camera  # nothing else leaves a finite body without an error
                batch.settle(
                    row,
                    "excluded" if unseen else "invalid",
                    "nothing of the body is visible" if unseen else "error not finite",
                )
        return errors

    def _crops(self, batch: _Batch, found: Predicted, rows: Sequence[int]) -> Tensor:
        """(B, 2, 3) test crops: of the prediction where it says which, else of the record's box."""
        crops = []
        for row in rows:
            given = None if found.crop_affine is None else np.asarray(found.crop_affine[row], np.float64)
            if given is None or not np.isfinite(given).all():
                self.own_crops += 1
                given = batch.crops[row]
            crops.append(given)
        return torch.tensor(np.stack(crops), dtype=torch.float32, device=self.bodies.device)


def _cells(
    protocol: type[Protocol], batch: _Batch, errors: Mapping[str, np.ndarray], row: int
) -> dict[str, Any]:
    status = batch.status[row]
    cells = identity(protocol, batch.records[row]) | {"status": status, "note": batch.note[row] or None}
    if status == "ok":
        cells |= {name: values[row] for name, values in errors.items()}
    return cells


def identity(protocol: type[Protocol], record: Mapping[str, Any]) -> dict[str, Any]:
    """The cells of ``per_sample`` that say who it is."""
    own = {name: record[name] for name in _IDENTITY}
    return {"protocol": protocol.id, "testset": protocol.testset, **own}
