"""Part tables, index and tracks from the tars alone: the tars hold everything that the tables say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from hmtools.core.atomic import AtomicFile
from hmtools.core.errors import LayoutError, SchemaError, UnsafeFileError
from hmtools.humandata.record import Record
from hmtools.humandata.schema import BATCH_ROWS, RecordSpec, record_schema
from hmtools.humandata.table import normalise, to_batch
from hmtools.shards.index import IndexFacts, write_index
from hmtools.shards.sample import decode_sample
from hmtools.shards.tar import iter_members

__all__ = ["IMAGE_EXTENSIONS", "TarSample", "iter_samples", "rebuild_tables"]

IMAGE_EXTENSIONS = ("jpg", "png")


class TarSample:
    """One sample of a tar: its name, where its image lies, and its members."""

    __slots__ = ("extension", "image", "name", "numbers", "offset", "text")

    def __init__(self, name: str, extension: str, offset: int, image: bytes) -> None:
        self.name, self.extension, self.offset, self.image = name, extension, offset, image
        self.numbers, self.text = b"", b""

    def records(self, shard: str) -> list[Record]:
        """The people of the sample with the place of their image."""
        people = decode_sample(self.numbers, self.text, self.name)
        for record in people:
            record.shard, record.offset, record.nbytes = shard, self.offset, len(self.image)
        return people


def iter_samples(tar: Path) -> Iterator[TarSample]:
    """The samples of a tar in order: image, npz, json.

    Raises:
        SchemaError: for a damaged tar or members that do not form samples.
        UnsafeFileError: for members that are not plain files inside it.
    """
    sample: TarSample | None = None
    for name, offset, data in iter_members(tar):
        stem, _, extension = name.rpartition(".")
        if extension in IMAGE_EXTENSIONS and sample is None:
            sample = TarSample(stem, extension, offset, data)
        elif sample is not None and stem == sample.name and extension == "npz" and not sample.numbers:
            sample.numbers = data
        elif sample is not None and stem == sample.name and extension == "json" and sample.numbers:
            sample.text = data
            yield sample
            sample = None
        else:
            raise SchemaError(
                f"{tar}: unexpected member {name!r}; expected image, npz, json of one sample in turn"
            )
    if sample is not None:
        raise SchemaError(f"{tar}: ends inside sample {sample.name!r}")


def rebuild_tables(folder: Path, spec: RecordSpec, rows: Mapping[str, int] | None = None) -> IndexFacts:
    """Write every part table, the index and the tracks of ``folder`` again from its tars.

    Args:
        folder: folder of the split.
        spec: what it stores.
        rows: tar → records that its part must have; a table that would lose some stays as it is.

    Raises:
        LayoutError: if there is no tar.
        SchemaError: if a tar is damaged, or holds another number of records than ``rows`` says.
        UnsafeFileError: for members that are not plain files inside a tar, and for pickles.
    """
    tars = sorted(folder.glob("*-u*-???.tar"))
    if not tars:
        raise LayoutError(
            f"{folder}: no tars to rebuild from (converted with --images none?); convert it again"
        )
    for tar in tars:
        _rebuild_part(tar, spec, (rows or {}).get(tar.name))
    return write_index(folder, [tar.with_suffix(".arrow") for tar in tars], record_schema(spec))


def _rebuild_part(tar: Path, spec: RecordSpec, expected: int | None) -> None:
    pending: list[Record] = []
    found = 0
    target, schema = tar.with_suffix(".arrow"), record_schema(spec)
    with AtomicFile(target) as file, pa.ipc.new_file(file, schema) as table:
        for sample in iter_samples(tar):
            people = _people(tar, sample, spec)
            pending, found = pending + people, found + len(people)
            while len(pending) >= BATCH_ROWS:
                table.write_batch(to_batch(pending[:BATCH_ROWS], spec))
                del pending[:BATCH_ROWS]
        if pending:
            table.write_batch(to_batch(pending, spec))
        if expected not in (None, found):
            raise SchemaError(
                f"{tar}: holds {found} records, the manifest says {expected}; rows without an image are in "
                "no tar: convert the split again"
            )


def _people(tar: Path, sample: TarSample, spec: RecordSpec) -> list[Record]:
    try:
        return [normalise(record, spec) for record in sample.records(tar.name)]
    except (SchemaError, UnsafeFileError) as error:
        raise type(error)(f"{tar}: in sample {sample.name}: {error}") from error
