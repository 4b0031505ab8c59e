"""AGORA's own protocol: an image at a time, who is who told by joints, and the scores of the leader board.

Other protocols know whose each prediction is; this one finds out, so that the number a detector gave a person
does not matter, and predictions of nobody count against a method.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hmtools.bench.aggregate import ALL, RunFacts, figure_row
from hmtools.bench.agora_matching import (
    AGORA_METRICS,
    Counts,
    agora_errors,
    agora_scores,
    match_people,
    valid_people,
)
from hmtools.bench.bodies import BenchBodies, Posed
from hmtools.bench.compare import Span, identity
from hmtools.bench.pairs import predicted_meshes
from hmtools.bench.parts import AgoraParts
from hmtools.bench.protocols.base import Protocol
from hmtools.bench.source import Predicted, PredictionSource
from hmtools.bench.truth import target_meshes
from hmtools.core.errors import UsageError
from hmtools.shards.reader import Shards

__all__ = ["KIDS", "LABEL_WIDTH", "ImageComparison"]

KIDS = "kids"
"""Subset of children."""
LABEL_WIDTH = 3840
"""Pixels across the image that people are matched in."""
_JOINTS = 127


@dataclass(frozen=True, slots=True)
class _Found:
    """A matched person: errors by metric, and whether it is a child."""

    errors: Mapping[str, float]
    kid: bool


@dataclass
class ImageComparison:
    """Compares the people of one image after the other, and scores them all in the end.

    Attributes:
        protocol: agora-official.
        source: the predictions.
        bodies: models that pose predictions.
        statuses: status -> people, so far.
        false_positives: predictions that are nobody's, so far.
        own_crops: always 0.
    """

    protocol: type[Protocol]
    source: PredictionSource
    bodies: BenchBodies
    statuses: Counter[str] = field(default_factory=Counter)
    false_positives: int = 0
    own_crops: int = 0
    _matched: list[_Found] = field(default_factory=list)
    _missed: Counter[bool] = field(default_factory=Counter)

    @cached_property
    def _parts(self) -> AgoraParts:
        return AgoraParts.load("smplx", (self.bodies.root,), self.bodies.device)

    def rows(self, shards: Shards, span: Span) -> list[dict[str, Any]]:
        """Rows of ``per_sample`` for the people of one image, all of ``span``."""
        records = [shards.row(number) for number in span.numbers]
        size = (int(records[0]["width"]), int(records[0]["height"]))
        found = self.source.in_image(records[0]["image_path"], size)
        targets = target_meshes(shards, span.numbers, self.protocol.truth, self.bodies)
        shares = [np.nan if r["occlusion"] is None else r["occlusion"] for r in records]
        percent = np.round(100 * np.array(shares, np.float64), 3)  # float32 0.9 is a little more
        valid = valid_people(percent, targets.known.cpu().numpy())
        errors = self._matched_errors(records, found, targets.posed, valid, LABEL_WIDTH / size[0])
        return [self._settle(record, bool(valid[row]), errors.get(row)) for row, record in enumerate(records)]

    def _matched_errors(
        self,
        records: Sequence[Mapping[str, Any]],
        found: Predicted,
        targets: Posed,
        valid: npt.NDArray[np.bool_],
        scale: float,
    ) -> dict[int, dict[str, float]]:
        """Row of each person found -> errors; counts predictions that are nobody's."""
        count = len(found.found)
        if not count:
            return {}
        if found.joints2d is None:
            raise UsageError(
                f"{self.protocol.id} tells people by their joints in the image; the predictions have no "
                "joints2d"
            )
        posed, reasons = predicted_meshes(found, range(count), self.protocol, self.bodies)
        usable = [number for number, reason in enumerate(reasons) if not reason]
        ours = np.asarray(found.joints2d, np.float64)[usable, :, :2] * scale
        theirs = np.stack([_joints(record, "keypoints2d_original")[:, :2] for record in records]) * scale
        match = match_people(ours, theirs, valid)
        self.false_positives += count - len(match.predicted)
        chosen = [usable[number] for number in match.predicted]
        return self._errors(records, targets, posed, chosen, match.target.tolist())

    def figures(self, facts: RunFacts) -> list[dict[str, Any]]:
        """The scores of the leader board, of everybody and of children; misses count as it counts them."""
        everybody = _scores(self._matched, self._missed.total(), self.false_positives)
        found = _figures(facts, ALL, everybody, len(self._matched), self._missed.total())
        kids = [person for person in self._matched if person.kid]
        if kids or self._missed[True]:
            scores = _scores(kids, self._missed[True], self.false_positives, everybody["f1"])
            found += _figures(facts, KIDS, scores, len(kids), self._missed[True])
        return found

    def _errors(
        self,
        records: Sequence[Mapping[str, Any]],
        target: Posed,
        predicted: Posed,
        ours: Sequence[int],
        theirs: Sequence[int],
    ) -> dict[int, dict[str, float]]:
        """Row of the true person -> errors of the match."""
        if not ours or predicted.joints is None:
            return {}
        joints = np.stack([_joints(records[row], "keypoints3d_original")[:, :3] for row in theirs])
        values = agora_errors(
            predicted.vertices[list(ours)],
            target.vertices[list(theirs)],
            predicted.joints[list(ours)],
            torch.from_numpy(joints).float().to(self.bodies.device),
            self._parts,
        )
        table = {name: value.cpu().tolist() for name, value in values.items()}
        return {row: {name: table[name][place] for name in table} for place, row in enumerate(theirs)}

    def _settle(
        self, record: Mapping[str, Any], valid: bool, errors: Mapping[str, float] | None
    ) -> dict[str, Any]:
        """The row of a true person, who is counted."""
        kid = record["kid"] is not None
        cells = {**identity(self.protocol, record), "subset": KIDS if kid else None}
        if not valid:
            status, cells["note"] = "excluded", "not to be found: occlusion beyond 90 per cent, or no truth"
        elif errors is None:
            status, cells["note"] = "missing", "nobody is matched to this person"
            self._missed[kid] += 1
        else:
            status = "ok"
            cells |= errors
            self._matched.append(_Found(errors, kid))
        self.statuses[status] += 1
        return {**cells, "status": status}


def _joints(record: Mapping[str, Any], column: str) -> np.ndarray:
    found = record[column]
    if found is None or len(found) < _JOINTS:
        raise UsageError(f"{record['key']}: no {column} of {_JOINTS} joints; convert AGORA's dataframes")
    return np.asarray(found)


def _scores(
    matched: Sequence[_Found], missed: int, false_positives: int, full_f1: float | None = None
) -> dict[str, float]:
    errors = {name: np.array([person.errors[name] for person in matched]) for name in AGORA_METRICS}
    counts = Counts(matched=len(matched), missed=missed, false_positives=false_positives)
    return agora_scores(errors, counts, full_f1=full_f1)


def _figures(
    facts: RunFacts, subset: str, scores: Mapping[str, float], n: int, missing: int
) -> list[dict[str, Any]]:
    return [
        figure_row(
            facts,
            metric,
            None if np.isnan(value) else value,
            unit="" if metric == "f1" else "mm",
            n=n,
            n_missing=missing,
            subset=subset,
        )
        for metric, value in scores.items()
    ]
