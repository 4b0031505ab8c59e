"""Checks a converted split against its manifest, part by part and sample by sample.

Nothing is trusted: checksums, schema, keys, numbers, boxes, images and offsets are all read again.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from hmtools.bodies.pending import drop_pending
from hmtools.core.atomic import file_sha256
from hmtools.core.errors import HmtoolsError, SchemaError
from hmtools.core.image import ImageError, decode_rgb
from hmtools.humandata.checks import defect, number_defect
from hmtools.humandata.keys import key_decode
from hmtools.humandata.manifest import Manifest, file_facts, read_manifest, write_manifest
from hmtools.humandata.record import Record
from hmtools.humandata.schema import RecordSpec, index_schema, record_schema
from hmtools.humandata.table import normalise
from hmtools.shards.index import INDEX, TRACKS, IndexFacts, iter_batches, part_tables
from hmtools.shards.rebuild import TarSample, iter_samples, rebuild_tables
from hmtools.shards.rows import RowFile
from hmtools.shards.sidecar import MESH_SUFFIX, MeshFile, mesh_family

__all__ = ["Problem", "Validation", "rebuild_index", "validate_split"]

_Checked: TypeAlias = tuple[list["Problem"], int, int, int]  # of a part: problems, records, images, waiting
_MOST = 50  # problems that are listed of one part
_DERIVE_AGAIN = "hmtools derive: run it again, the tables were rebuilt from tars, which hold nothing derived"
# What reading raises on bytes that nobody wrote on purpose; found by damaging finished splits at random.
_DAMAGE = (HmtoolsError, OSError, ValueError, TypeError, LookupError, pa.ArrowException)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be: a word for the kind, where, and what was expected and found."""

    kind: str
    where: str
    detail: str


@dataclass(slots=True)
class Validation:
    """What :func:`validate_split` read and found; ``waiting`` boxes follow from bodies, once derived."""

    path: Path
    records: int = 0
    images: int = 0
    nbytes: int = 0
    waiting: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def validate_split(
    folder: Path, *, workers: int = 1, advance: Callable[[int], None] | None = None
) -> Validation:
    """Check one finished split.

    Args:
        folder: ``OUT/<dataset>/<split>``.
        workers: processes.
        advance: called with the records of each part when it is done.

    Raises:
        LayoutError: if there is no manifest.
        SchemaError: if the manifest is damaged.
    """
    manifest = read_manifest(folder)
    found = Validation(folder)
    found.problems += _check_files(folder, manifest)
    spec = manifest.record_spec()
    parts = part_tables(folder)
    rows = {entry["name"]: entry["rows"] for entry in manifest.files}
    for part, (problems, records, images, waiting) in zip(
        parts, _check_parts(parts, spec, manifest, workers), strict=True
    ):
        found.problems += problems
        found.waiting += waiting
        if records != rows.get(part.name, records):
            found.problems.append(
                Problem("count", part.name, f"manifest says {rows[part.name]} rows, found {records}")
            )
        found.records, found.images = found.records + records, found.images + images
        found.nbytes += part.stat().st_size
        if advance is not None:
            advance(records)
    for entry in manifest.files:
        if entry["name"].endswith(MESH_SUFFIX) and (folder / entry["name"]).is_file():
            owner = f"{entry['name'].removesuffix(MESH_SUFFIX)}.arrow"
            wrong = _check_meshes(folder / entry["name"], entry["rows"], rows.get(owner, 0), spec)
            found.problems += islice(wrong, _MOST)
    found.problems += _check_index(folder, parts, spec)
    expected = manifest.counts.get("records")
    if found.records != expected:
        found.problems.append(
            Problem("count", str(folder), f"manifest says {expected} records, found {found.records}")
        )
    return found


def _check_files(folder: Path, manifest: Manifest) -> Iterator[Problem]:
    listed = {entry["name"]: entry for entry in manifest.files}
    for name, entry in listed.items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            yield Problem("missing", name, "listed in the manifest, not in the folder")
        elif path.stat().st_size != entry["nbytes"]:
            yield Problem("size", name, f"manifest says {entry['nbytes']} bytes, found {path.stat().st_size}")
        elif file_sha256(path) != entry["sha256"]:
            yield Problem("sha256", name, "content differs from what was written")
    # Whoever reads `*.tar`, the part tables or the meshes would take these for part of the split; other
    # sidecars (<part>.<what>.arrow) are not listed.
    for path in sorted({*folder.glob("*.tar"), *part_tables(folder), *folder.glob(f"*{MESH_SUFFIX}")}):
        if path.name not in listed:
            yield Problem("unknown", path.name, "not listed in the manifest")


def _check_parts(
    parts: Sequence[Path], spec: RecordSpec, manifest: Manifest, workers: int
) -> Iterator[_Checked]:
    full, derived = manifest.images == "full", frozenset(manifest.derived)
    waits = manifest.health.get("box_to_come", 0) > 0  # at conversion; rebuilt tables wait once more
    arguments = [(part, spec, full, derived, waits) for part in parts]
    if workers <= 1 or len(parts) <= 1:
        yield from (_check_part(argument) for argument in arguments)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(parts)), mp_context=context) as pool:
        yield from pool.map(_check_part, arguments)


def _check_part(argument: tuple[Path, RecordSpec, bool, frozenset[str], bool]) -> _Checked:
    """Problems of one part, its records, its images, and boxes that wait for body models."""
    part, spec, full, derived, waits = argument
    problems: list[Problem] = []
    try:
        for _ in _sound_batches(part):  # before RowFile, which takes a batch for what it says it is
            pass
        rows = RowFile(part)
        if not rows.schema.equals(record_schema(spec), check_metadata=True):
            return [Problem("schema", part.name, "table schema is not that of the manifest's spec")], 0, 0, 0
        records = [Record(**rows.row(index)) for index in range(len(rows))]
        waiting = 0
        for record in records:
            to_come = waits and record.bbox_xywh is None and record.valid_smplx is not False
            problems += _check_record(record, spec, boxed=not to_come)
            # what has joints and still no box lies outside its image: derivation drops no row
            waiting += to_come and record.keypoints3d_smplx is None
        images = 0
        if any(record.shard is not None for record in records):
            by_place = _by_place(records)
            for sample in iter_samples(part.with_suffix(".tar")):
                images += 1
                people = by_place.pop(sample.offset, [])
                problems += _check_sample(sample, people, part, spec, full, derived)
            for lost in by_place.values():
                problems.append(
                    Problem("offset", str(lost[0].key), f"no sample at byte {lost[0].offset} of its shard")
                )
    except _DAMAGE as error:
        problems.append(Problem("unreadable", part.name, str(error)))
        return problems[:_MOST], 0, 0, 0
    return problems[:_MOST], len(records), images, waiting


def _sound_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The record batches of a file, after checking that lengths, offsets and texts make sense.

    Raises:
        SchemaError: if the file is not complete.
        ArrowInvalid: if a batch is damaged.
    """
    for batch in iter_batches(path):
        batch.validate(full=True)
        yield batch


def _by_place(records: Sequence[Record]) -> dict[int, list[Record]]:
    places: dict[int, list[Record]] = {}
    for record in records:
        if record.offset is not None:
            places.setdefault(record.offset, []).append(record)
    return places


def _check_record(record: Record, spec: RecordSpec, *, boxed: bool) -> Iterator[Problem]:
    where = str(record.key)
    try:
        key = key_decode(where)
        named = (record.dataset, record.split, record.sequence, record.frame, record.person)
        if (key.dataset, key.split, key.sequence, key.frame, key.person) != named:
            yield Problem("key", where, f"columns say {named}")
        whole = normalise(record, spec)
        if problem := defect(whole) if boxed else number_defect(whole):
            yield Problem("record", where, problem)
    except HmtoolsError as error:
        yield Problem("record", where, str(error))


def _check_sample(
    sample: TarSample,
    rows: Sequence[Record],
    part: Path,
    spec: RecordSpec,
    full: bool,
    derived: frozenset[str],
) -> Iterator[Problem]:
    try:
        people = [normalise(record, spec) for record in sample.records(part.with_suffix(".tar").name)]
        if len(people) != len(rows):
            yield Problem(
                "offset", sample.name, f"{len(people)} people in the tar, {len(rows)} rows point at it"
            )
        for person, row in zip(people, rows, strict=False):
            if differing := _differences(person, row, derived):
                yield Problem("content", str(row.key), f"tar and table differ in {', '.join(differing)}")
        image = decode_rgb(sample.image)
        for row in rows:
            if problem := _misfit(image.shape[1], image.shape[0], row, full):
                yield Problem("image", str(row.key), problem)
    except ImageError as error:
        yield Problem("image", sample.name, str(error))
    except HmtoolsError as error:
        yield Problem("sample", sample.name, str(error))


def _differences(tar: Record, row: Record, derived: frozenset[str]) -> list[str]:
    """Columns in which they differ; `hmtools derive` fills some in the table and leaves the tar alone."""
    empty = {name for name in derived if getattr(tar, name) is None}
    filled = [name for name in empty if getattr(row, name) is not None]
    tar = replace(tar, meta=drop_pending(tar.meta, filled))
    names = [name for name in Record.__dataclass_fields__ if name not in empty]
    return [name for name in names if not _equal(getattr(tar, name), getattr(row, name))]


def _equal(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, other))
    return bool(one == other)


def _misfit(width: int, height: int, row: Record, full: bool) -> str:
    """Why a stored image cannot be the one a row describes ('' when it can)."""
    turned = full and row.image_op in ("rot90cw", "rot90ccw")
    upright = (row.height, row.width) if turned else (row.width, row.height)
    if full and (width, height) != upright:
        return f"stored {width}x{height}, the row says {upright[0]}x{upright[1]}"
    if not full and (width > (row.width or 0) or height > (row.height or 0)):
        return f"crop of {width}x{height} is larger than its image, {row.width}x{row.height}"
    return ""


def _check_meshes(path: Path, expected: int, part_rows: int, spec: RecordSpec) -> Iterator[Problem]:
    """Problems of a sidecar that should hold ``expected`` meshes for a part of ``part_rows`` rows."""
    try:
        for _ in _sound_batches(path):
            pass
        meshes = MeshFile(path)
        if meshes.family != mesh_family(spec, meshes.vertices):
            yield Problem("mesh", path.name, f"meshes of {meshes.family}, the set has {spec.bodies}")
        if len(meshes) != expected:
            yield Problem("count", path.name, f"manifest says {expected} rows, found {len(meshes)}")
        for row in meshes.part_rows.tolist():
            mesh = meshes.mesh(row)
            if row >= part_rows:
                yield Problem("mesh", path.name, f"has row {row}, its part has {part_rows} rows")
            elif mesh is None or not np.isfinite(mesh).all():
                yield Problem("mesh", path.name, f"vertices of row {row} are not finite")
    except _DAMAGE as error:
        yield Problem("unreadable", path.name, str(error))


def _check_index(folder: Path, parts: Sequence[Path], spec: RecordSpec) -> Iterator[Problem]:
    """The index must be the parts one after another, with unique keys."""
    try:
        index = _sound_batches(folder / INDEX)
        keys: set[str] = set()
        for part in parts:
            part_row = 0
            for batch in _sound_batches(part):
                entry = next(index, None)
                if entry is None or not entry.schema.equals(index_schema(record_schema(spec))):
                    yield Problem(
                        "index", INDEX, f"does not hold the rows of {part.name} from row {part_row}"
                    )
                    return
                numbers = entry.column("part_row").to_pylist()
                same = all(a.equals(b) for a, b in zip(entry.columns, batch.columns, strict=False))
                if not same or numbers != list(range(part_row, part_row + len(batch))):
                    yield Problem("index", INDEX, f"differs from {part.name} after row {part_row}")
                part_row += len(batch)
                for key in batch.column("key").to_pylist():
                    if key in keys:
                        yield Problem("duplicate_key", key, "occurs twice")
                    keys.add(key)
        if next(index, None) is not None:
            yield Problem("index", INDEX, "has more rows than the parts")
        for _ in _sound_batches(folder / TRACKS):
            pass
    except _DAMAGE as error:
        yield Problem("index", INDEX, str(error))


def rebuild_index(folder: Path) -> IndexFacts:
    """Write part tables, index and tracks again from the tars, and their checksums into the manifest.

    What `hmtools derive` filled is in no tar: its columns are null again, and the manifest says so in
    ``needs``.

    Raises:
        LayoutError: if the manifest is missing, or the split was converted without images.
        SchemaError: if a tar or mesh sidecar is missing or not what was written, a tar unknown, or there are
            rows without an image, which no tar holds. No table is touched that would lose rows.
    """
    manifest = read_manifest(folder)
    kept = {e["name"]: e for e in manifest.files if e["name"].endswith((".tar", MESH_SUFFIX))}
    tars = {name: entry for name, entry in kept.items() if name.endswith(".tar")}
    for path in sorted(folder.glob("*-u*-???.tar")):
        if path.name not in tars:
            raise SchemaError(f"{path}: not listed in the manifest; move it away, then rebuild the index")
    for name, entry in kept.items():  # meshes are in no tar, and keep their rows
        if not (folder / name).is_file() or file_sha256(folder / name) != entry["sha256"]:
            raise SchemaError(
                f"{folder / name}: missing or not what was written; copy it again, then rebuild the index"
            )
    rows = {name: int(entry["rows"]) for name, entry in tars.items()}
    facts = rebuild_tables(folder, manifest.record_spec(), rows)
    files = [
        entry if entry["name"] in kept else {**entry, **file_facts(folder / entry["name"])}
        for entry in manifest.files
    ]
    if manifest.derived:
        manifest = replace(manifest, derived=[], body_model=None, needs=[_DERIVE_AGAIN])
    write_manifest(folder, replace(manifest, files=files))
    return facts
