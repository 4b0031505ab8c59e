"""Run a protocol: stream its rows, compare each person, write ``per_sample.parquet`` and ``report.parquet``.

Memory is that of one batch of meshes, whatever the size of the set. What becomes of every person is written
down: ``ok``, ``missing`` (no prediction), ``invalid`` (its numbers are not finite) or ``excluded`` (by the
protocol, or because there is no truth), with the reason.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hmtools.bench.aggregate import RunFacts, mpe_row, report_rows
from hmtools.bench.bodies import bodies_of, check_prediction_body
from hmtools.bench.compare import Comparison, Span
from hmtools.bench.doctor import Diagnosis, diagnose
from hmtools.bench.image_comparison import ImageComparison
from hmtools.bench.pairs import Place
from hmtools.bench.predicted_on import other_shards
from hmtools.bench.protocols.base import Protocol
from hmtools.bench.published import MPE
from hmtools.bench.results import PER_SAMPLE, REPORT
from hmtools.bench.source import PredictionSource
from hmtools.bench.truth import require_fields
from hmtools.core.errors import LayoutError, UsageError
from hmtools.core.settings import Settings
from hmtools.humandata.manifest import MANIFEST, read_manifest
from hmtools.humandata.reports import SampleWriter, write_report
from hmtools.shards.reader import Shards

__all__ = ["BATCH", "BenchResult", "bench", "chosen_rows", "mean_primary_error", "open_testset"]

log = logging.getLogger(__name__)

BATCH = 64
"""People compared at once: 8 MB of SMPL-X meshes, and as much again of what they are compared with."""

_MISSING = {"left out": "left out of the means", "miss": "misses"}
_IGNORED = {
    "duplicates": "another one is of the same person",
    "extra": "of nobody in the test set",
    "ambiguous": "of an image with several people, without saying which",
    "empty": "without a body",
}
_ELSEWHERE = "predicted on other shards than these"  # without their folders: reports are given away
_NEIGHBOURS = 1  # frames before and after a row that metrics of motion look at


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """What one run found and wrote.

    Attributes:
        per_sample: table of people.
        report: table of figures.
        facts: of the run.
        rows: of the report.
        statuses: status -> people.
        notes: remarks for people, one per line.
    """

    per_sample: Path
    report: Path
    facts: RunFacts
    rows: tuple[Mapping[str, Any], ...]
    statuses: Mapping[str, int]
    notes: tuple[str, ...]


def open_testset(protocol: type[Protocol], root: Path) -> list[Shards]:
    """The shards a protocol runs on, below OUT, OUT/<dataset>, or the one split itself.

    Raises:
        LayoutError: naming the splits that are not there and the command that makes them.
    """
    found, missing = [], []
    for split in protocol.splits:
        places = [root / protocol.dataset / split, root / split, root]
        own = [place for place in places if _is_split(place, protocol.dataset, split)]
        if own:
            found.append(Shards(own[0]))
        else:
            missing.append(split)
    if missing:
        wanted = " ".join(f"--split {split}" for split in missing)
        named = f"{' and '.join(missing)} split{'s' * (len(missing) > 1)}"
        raise LayoutError(
            f"{protocol.names[0]} ({named}): not converted, or not finished, below {root}; run `hmtools "
            f"convert {protocol.dataset} {wanted}`, or say where it is with --shards"
        )
    return found


def _is_split(place: Path, dataset: str, split: str) -> bool:
    if not (place / MANIFEST).is_file():
        return False
    manifest = read_manifest(place)
    return (manifest.dataset, manifest.split) == (dataset, split)


def chosen_rows(shards: Shards, protocol: type[Protocol]) -> npt.NDArray[np.int64]:
    """Rows of a split that a protocol compares, in order; its interval counts ``source_index``.

    Raises:
        UsageError: if the shards were sampled so that these rows are not all there, or none is.
    """
    every = shards.manifest.every
    if protocol.every % every:
        raise UsageError(
            f"{shards.path}: converted with --every {every}, {protocol.id} of {protocol.testset} needs every "
            f"{protocol.every}th row; convert again with --every {protocol.every}"
        )
    rows = np.arange(len(shards), dtype=np.int64)
    if protocol.every > 1:
        column = shards.table.column("source_index")
        if column.null_count:
            raise UsageError(
                f"{shards.path}: {column.null_count} rows have no source_index, which the interval "
                f"{protocol.every} counts; convert again"
            )
        rows = rows[column.to_numpy() % protocol.every == 0]
    if not len(rows):
        raise UsageError(
            f"{shards.path}: no row to compare: of {len(shards)} records none is one of every "
            f"{protocol.every} (source_index)"
        )
    return rows


def bench(
    shards: Sequence[Shards],
    source: PredictionSource,
    protocol: type[Protocol],
    out: Path,
    *,
    device: str = "cpu",
    batch: int = BATCH,
    settings: Settings | None = None,
    advance: Callable[[int], None] | None = None,
) -> BenchResult:
    """Compare predictions with a test set.

    Args:
        shards: its splits, in the protocol's order, see :func:`open_testset`.
        source: the predictions.
        protocol: what is compared, and how.
        out: folder that gets ``per_sample.parquet`` and ``report.parquet``; replaced where they exist.
        device: where bodies are posed and errors computed.
        batch: people at once.
        settings: ``body_models`` is searched for what poses; default: loaded.
        advance: called with the number of people done.

    Raises:
        UsageError: if there is nothing to compare, the shards lack what the protocol needs, or predictions
            and shards are of different bodies.
        LayoutError: if ``out`` cannot be made.
    """
    for own in shards:
        require_fields(own, protocol.truth)
    rows = [chosen_rows(own, protocol) for own in shards]
    families = {protocol.body, protocol.predicted, protocol.truth.family}
    bodies = bodies_of([own.manifest for own in shards], families, device=device, settings=settings)
    remark = check_prediction_body(source.facts, bodies)
    elsewhere = other_shards(source.facts.get("predicted_on", ()), shards)
    if elsewhere:
        log.warning("%s", elsewhere)
    _make_folder(out)
    comparison = (ImageComparison if protocol.per_image else Comparison)(protocol, source, bodies)
    joints = protocol.measure.joints if protocol.measure else ()
    with SampleWriter(out / PER_SAMPLE, protocol.metrics, joints) as writer:
        for own, chosen in zip(shards, rows, strict=True):
            for span in _spans(own, chosen, protocol, batch):
                writer.write(comparison.rows(own, span))
                if advance is not None:
                    advance(span.last - span.first)
    diagnoses = [diagnose(own, protocol) for own in shards]
    notes = [*_notes(diagnoses, source, comparison), *([remark] if remark else [])]
    notes += [_ELSEWHERE] if elsewhere else []
    facts = RunFacts(
        protocol=protocol.id,
        testset=protocol.testset,
        split="+".join(own.manifest.split for own in shards),
        primary=protocol.primary,
        standin=bodies.standin,
        rows="official" if all(own.rows == "official" for own in diagnoses) else "derived",
        image_mode="+".join(dict.fromkeys(own.manifest.images for own in shards)),
        model=str(source.facts.get("model") or ""),
        predictions_sha256=source.sha256,
        shards_sha256=_shards_sha256(shards),
        note="; ".join(notes),
    )
    found = report_rows(out / PER_SAMPLE, facts)
    if isinstance(comparison, ImageComparison):
        scores = comparison.figures(facts)
        scored = {(row["subset"], row["metric"]) for row in scores}  # by the protocol's own rule of misses
        found = [*scores, *(row for row in found if (row["subset"], row["metric"]) not in scored)]
    write_report(out / REPORT, found)
    return BenchResult(
        per_sample=out / PER_SAMPLE,
        report=out / REPORT,
        facts=facts,
        rows=tuple(found),
        statuses=dict(comparison.statuses),
        notes=tuple(notes),
    )


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LayoutError(
            f"cannot write results to {out}: {error.strerror or error}; name another folder with --out"
        ) from error


def mean_primary_error(results: Sequence[BenchResult], out: Path) -> Mapping[str, Any] | None:
    """Write the MPE of several sets to ``out/mpe/report.parquet``.

    Args:
        results: of one model, by protocols of MPE; fewer than five give a partial one.
        out: the folder whose sub-folders hold the reports of the sets.

    Returns:
        The row, or None where no set counts.

    Raises:
        UsageError: if the results are of several models or bodies.
    """
    row = mpe_row([row for result in results for row in result.rows])
    if row is not None:
        folder = out / MPE
        folder.mkdir(parents=True, exist_ok=True)
        write_report(folder / REPORT, [row])
    return row


def _spans(
    shards: Shards, rows: npt.NDArray[np.int64], protocol: type[Protocol], size: int
) -> Iterator[Span]:
    """The rows in batches; over tracks each with the rows before and after it."""
    if protocol.per_image:
        paths = [shards.row(row)["image_path"] for row in rows.tolist()]
        cuts = [i for i in range(1, len(rows)) if paths[i] != paths[i - 1]]
        for part in np.split(rows, cuts):
            yield Span(part.tolist(), 0, len(part))
        return
    if not protocol.over_tracks:
        for start in range(0, len(rows), size):
            part = rows[start : start + size].tolist()
            yield Span(part, 0, len(part))
        return
    ordered, places = _along_tracks(shards, rows)
    for start in range(0, len(ordered), size):
        first, end = max(0, start - _NEIGHBOURS), min(len(ordered), start + size)
        last = min(len(ordered), end + _NEIGHBOURS)
        yield Span(ordered[first:last], start - first, end - first, places[first:last])


def _along_tracks(shards: Shards, rows: npt.NDArray[np.int64]) -> tuple[list[int], list[Place]]:
    """Rows person by person in order of time, those of no track last, and where in its track each is."""
    if len(shards) != shards.manifest.counts["records"]:
        raise UsageError(f"{shards.path}: tracks are of the whole split, this is a selection of its rows")
    wanted = set(rows.tolist())
    ordered: list[int] = []
    places: list[Place] = []
    tracks = shards.tracks
    columns = [tracks.column(name).to_pylist() for name in ("rows", "fps", "step")]
    for number, (own, fps, step) in enumerate(zip(*columns, strict=True)):
        for place, row in enumerate(own):
            if row in wanted:
                ordered.append(row)
                places.append(Place(number, place, fps / step))
    lone = sorted(wanted - set(ordered))
    return [*ordered, *lone], [*places, *(Place(-1 - row, 0, 1.0) for row in lone)]


def _notes(
    diagnoses: Sequence[Diagnosis], source: PredictionSource, comparison: Comparison | ImageComparison
) -> list[str]:
    """What a reader of the report must know."""
    found = list(dict.fromkeys(own.note for own in diagnoses if own.note))
    total = sum(comparison.statuses.values())
    for status, words in (
        ("missing", "have no prediction"),
        ("invalid", "have a prediction that is not finite"),
    ):
        if count := comparison.statuses[status]:
            found.append(f"{count} of {total} people {words}: {_MISSING[comparison.protocol.missing]}")
    for name, words in _IGNORED.items():
        if count := source.counts.get(name, 0):
            found.append(f"{count} predictions ignored: {words}")
    if comparison.own_crops:
        found.append(
            f"test crop of {comparison.own_crops} people from the record's box: the prediction names none"
        )
    return found


def _shards_sha256(shards: Sequence[Shards]) -> str:
    """Of the names and checksums of tables and meshes."""
    lines = [
        f"{own.manifest.split} {entry['name']} {entry['sha256']}"
        for own in shards
        for entry in own.manifest.files
        if entry["name"].endswith(".arrow")
    ]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
