"""Converted splits as training reads them: which rows count, and what must fit together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hmtools.core.errors import SchemaError, UsageError
from hmtools.datasets.registry import all_datasets
from hmtools.humandata.keypoints import KeypointMap, mapping
from hmtools.humandata.manifest import Manifest, read_manifest
from hmtools.humandata.schema import column_conventions
from hmtools.shards.index import INDEX
from hmtools.shards.query import evaluate, fields_of, parse
from hmtools.shards.rows import RowFile
from hmtools.train.augment import check_window
from hmtools.train.recipe import AugmentSpec
from hmtools.train.sets import TrainSet, train_set
from hmtools.train.staging import staged

__all__ = ["TrainSource", "TrainSplit", "check_bodies", "open_split"]

_TARGET = "smplerx_137"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSource:
    """A converted split to train on.

    Attributes:
        path: its folder, with ``manifest.json`` and ``index.arrow``.
        every: keeps rows whose ``source_index`` is a multiple of it; a multiple of the shards' own, which is
            what None means.
        weight: share in an epoch, for the strategy ``weights``.
        query: keeps the rows it chooses; empty: all.
        kind: how it is trained on; default: the row of its dataset in
            :data:`hmtools.train.sets.TRAIN_SETS`.
    """

    path: Path
    every: int | None = None
    weight: float = 1.0
    query: str = ""
    kind: TrainSet | None = None


class TrainSplit:
    """The rows of a split that are trained on. Pickles and forks safely.

    Args:
        path: folder of the split.
        index: its index, or the copy of it that lies nearer.
        manifest: of the split.
        kind: how it is trained on.
        kept: int (N,) rows of the index that count, in their order; None: all.

    Raises:
        SchemaError: if the index is damaged, or not of the manifest.
    """

    def __init__(
        self,
        path: Path,
        index: Path,
        manifest: Manifest,
        kind: TrainSet,
        kept: npt.NDArray[np.int32] | None = None,
    ) -> None:
        self.path, self.manifest, self.kind = path, manifest, kind
        self._index, self._kept = index, kept
        self.families = frozenset(manifest.spec["bodies"])
        self._rows_of_index = len(self._rows)
        self._tars: set[str] = set()
        conventions = column_conventions(manifest.record_spec())
        self._maps = {
            dimension: tuple(
                (column, mapping(conventions[column], _TARGET))
                for name in names
                if (column := f"keypoints{dimension}_{name}") in conventions
            )
            for dimension, names in (("2d", kind.keypoints2d), ("3d", kind.keypoints3d))
        }

    @cached_property
    def _rows(self) -> RowFile:
        return RowFile(self._index)

    @property
    def name(self) -> str:
        """``dataset/split``."""
        return f"{self.manifest.dataset}/{self.manifest.split}"

    def __len__(self) -> int:
        return self._rows_of_index if self._kept is None else len(self._kept)

    def row(self, number: int) -> dict[str, Any]:
        """All columns of one of the rows that count, as :meth:`hmtools.shards.rows.RowFile.row`."""
        return self._rows.row(number if self._kept is None else int(self._kept[number]))

    def tar(self, shard: str) -> str:
        """The name of a tar of this split.

        Raises:
            SchemaError: if the index names something else, which could lie anywhere.
        """
        if shard not in self._tars:
            if Path(shard).name != shard or not shard.endswith(".tar"):
                raise SchemaError(f"{self._index}: shard {shard!r} is not the plain name of a tar; refused")
            self._tars.add(shard)
        return shard

    def joint_maps(self, dimension: str) -> Sequence[tuple[str, KeypointMap]]:
        """Columns of annotated joints, ``2d`` or ``3d``, best first, and where their joints go."""
        return self._maps[dimension]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_rows"}


def open_split(
    source: TrainSource,
    *,
    augment: AugmentSpec,
    staging: Path | None = None,
    by_source_index: bool = False,
) -> TrainSplit:
    """Open a split and find the rows that count.

    Args:
        source: what to open.
        augment: how crops will vary.
        staging: folder on a disk of this node, for a copy of the index; None: the index is read in place.
        by_source_index: in the order of the release (``balance-smplerx``), not of the index.

    Raises:
        LayoutError: if there is no finished split.
        UsageError: for an interval or a query that does not fit, a split without images, or one whose crops
            are too narrow.
        SchemaError: if the index is damaged.
    """
    manifest = read_manifest(source.path)
    kind = source.kind or train_set(manifest.dataset)
    _check(source, manifest, kind, augment)
    index = source.path / INDEX if staging is None else staged(source.path, manifest, staging)
    kept = _kept(index, source, manifest, by_source_index=by_source_index)
    split = TrainSplit(source.path, index, manifest, kind, kept)
    if not len(split):
        asked = f"every {source.every or manifest.every}, query {source.query!r}"
        raise UsageError(
            f"{source.path}: none of its {manifest.counts['records']} records is left by {asked}"
        )
    return split


def _check(source: TrainSource, manifest: Manifest, kind: TrainSet, augment: AugmentSpec) -> None:
    if manifest.images == "none":
        raise UsageError(f"{source.path}: was converted with --images none; training needs crop (or full)")
    if kind.rule.joints2d != "labels" and kind.body not in manifest.spec["bodies"]:
        found = ", ".join(manifest.spec["bodies"]) or "no"
        raise UsageError(
            f"{source.path}: training on {manifest.dataset} needs {kind.body} bodies, its shards have "
            f"{found} bodies; convert it with the option that keeps them, see `hmtools datasets "
            f"{manifest.dataset}`"
        )
    every = manifest.every if source.every is None else source.every
    if every < 1 or every % manifest.every:
        raise UsageError(
            f"{source.path}: its shards keep every {manifest.every}th record, an interval of {every} is no "
            f"multiple of that; convert it with --every {max(every, 1)}"
        )
    dataset = all_datasets().get(manifest.dataset)
    if manifest.images == "crop" and dataset is not None:
        check_window(augment, kind.box_ratio, dataset.box_ratio, str(source.path))


def _kept(
    index: Path, source: TrainSource, manifest: Manifest, *, by_source_index: bool
) -> npt.NDArray[np.int32] | None:
    """The rows that an interval and a query leave; only the columns that they look at are read."""
    import pyarrow as pa

    terms = [f"({source.query})"] if source.query else []
    if source.every not in (None, manifest.every):
        terms.append(f"every={source.every}")
    if not terms and not by_source_index:
        return None
    query = parse(" and ".join(terms)) if terms else None
    names = {"source_index"} | (fields_of(query) if query else set())
    try:
        with pa.memory_map(str(index)) as file:
            schema = pa.ipc.open_file(file).schema
            if query is not None:
                evaluate(query, schema.empty_table())  # what it says of a wrong field names all columns
            places = [schema.get_field_index(name) for name in sorted(names & set(schema.names))]
            options = pa.ipc.IpcReadOptions(included_fields=places)
            table = pa.ipc.open_file(file, options=options).read_all()
    except (OSError, pa.ArrowException) as error:
        raise SchemaError(
            f"{index}: not a complete Arrow file ({error}); copy or convert it again"
        ) from error
    rows = np.arange(len(table)) if query is None else np.flatnonzero(evaluate(query, table))
    if by_source_index:
        column = table.column("source_index").fill_null(-1).to_numpy()
        rows = rows[np.argsort(column[rows], kind="stable")]
    return rows.astype(np.int32)


def check_bodies(splits: Sequence[TrainSplit]) -> None:
    """Refuse shards whose derived joints come from different body models.

    Raises:
        UsageError: naming two splits that do not go together.
    """
    seen: dict[str, tuple[str, TrainSplit]] = {}
    first: dict[bool, TrainSplit] = {}
    for split in splits:
        body = split.manifest.body_model
        if body is None:
            continue
        first.setdefault(bool(body["standin"]), split)
        for name, sha256 in body["files"].items():
            other, where = seen.setdefault(name, (sha256, split))
            if other != sha256:
                raise UsageError(
                    f"{where.path} was converted with another {name} ({other[:12]}) than {split.path} "
                    f"({sha256[:12]}): their joints do not mix. Convert one of them again"
                )
    if len(first) == 2:
        raise UsageError(
            f"{first[True].path} was made with the stand-in body, {first[False].path} with a licensed one: "
            "their joints do not mix. Convert the first again, or leave it out"
        )
