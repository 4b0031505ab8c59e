"""Predictions of any form, asked for by the keys of records.

====================  =========================================================================
form                  whose they are
====================  =========================================================================
our parquet           ``key``; without keys the image, where it has one person
SMPLer-X results      the image, where it has one person (:mod:`hmtools.bench.readers.smplerx`)
AGORA pickles, zip    image and person number (:mod:`hmtools.bench.readers.agora`)
npz of anybody        ``key``, ``source_index``, or image and person (``readers.arrays``)
====================  =========================================================================

Opening reads names and a few bodies, to see that kind and units are right; numbers are read when asked for,
and only a few row groups are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from hmtools.bench.joining import Joined, ShardRows, join
from hmtools.bench.readers.agora import AgoraReader, pickle_files
from hmtools.bench.readers.arrays import ArrayReader
from hmtools.bench.readers.base import ReadColumns, Reader
from hmtools.bench.readers.smplerx import SmplerxReader, result_files
from hmtools.bench.readers.table import TableReader
from hmtools.bench.units import check_units
from hmtools.core.errors import LayoutError, UsageError
from hmtools.humandata.predictions import tables_in
from hmtools.shards.reader import Shards

__all__ = ["Predicted", "PredictionSource", "find_reader", "open_predictions"]

_PROBED = 32
_SHOWN = 20
_MODEL = ("gender", "kid")  # what the parameters are of
_FORMS = (
    "a parquet file or a folder of them, a result folder of SMPLer-X (smplx/<frame>_<id>.npz), AGORA's "
    "<image>_personId_<n>.pkl in a folder or zip, or an npz with keys"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predicted:
    """What was predicted for B people; float32, metres, radians, OpenCV camera frame, absolute hands.

    Rows that are not ``found`` are NaN; so is what a method did not predict for a row.

    Attributes:
        found: (B,) whether there is a prediction.
        vertices: (B, V, 3) meshes; None if the predictions are parameters.
        smplx: record column (``smplx_body_pose`` ...) -> (B, n).
        smpl: the same of SMPL.
        virtual_transl: (B, 3) translation in the virtual camera of the crop.
        crop_affine: (B, 2, 3) pixels of the upright image to pixels of the crop.
        joints2d: (B, J, 3) x, y, confidence, pixels of the upright image.
        joints3d: (B, J, 4) x, y, z, confidence.
        gender: B genders of the models, None where not stated; None if nowhere stated.
        kid: (B,) weight of the kid template, NaN for adults; None if all are.
    """

    found: Bool[np.ndarray, " b"]
    vertices: Float[np.ndarray, "b v 3"] | None
    smplx: Mapping[str, Float[np.ndarray, "b n"]]
    smpl: Mapping[str, Float[np.ndarray, "b n"]]
    virtual_transl: Float[np.ndarray, "b 3"] | None
    crop_affine: Float[np.ndarray, "b 2 3"] | None
    joints2d: Float[np.ndarray, "b j 3"] | None
    joints3d: Float[np.ndarray, "b j 4"] | None
    gender: Sequence[str | None] | None
    kid: Float[np.ndarray, " b"] | None = None


class PredictionSource(Protocol):
    """Predictions by the keys of records.

    Attributes:
        facts: what the predictions say of themselves, see :data:`hmtools.humandata.predictions.FACTS`.
    """

    facts: Mapping[str, Any]

    def get(self, keys: Sequence[str]) -> Predicted:
        """The predictions for some records, in that order.

        Raises:
            UsageError: if numbers of people cannot be relied on.
            SchemaError, AssetError, UnsafeFileError: for files that are of another kind, damaged or refused.
        """

    def in_image(self, image_path: str, size: tuple[int, int] | None = None) -> Predicted:
        """All predictions for an image, whoever they are; needs the shards."""

    @property
    def counts(self) -> Mapping[str, int]:
        """How many predictions are what.

        ``joined``, ``duplicates``, ``extra``, ``ambiguous``, ``empty``; and ``invalid``, with NaN or infinite
        numbers of a body, among those asked for so far.
        """

    @property
    def examples(self) -> Mapping[str, Sequence[str]]:
        """The same names -> a few predictions of each."""

    @property
    def sha256(self) -> str:
        """Hex digest of the predictions; reads every byte of them."""


def open_predictions(
    path: Path,
    shards: Sequence[Shards] | None = None,
    *,
    hand_means: Callable[[], Any] | None = None,
) -> PredictionSource:
    """Open predictions of any form.

    Args:
        path: file or folder.
        shards: the test set, all its rows. Without, only predictions with record keys can be read, and
            those of other records are not counted as ``extra``.
        hand_means: gives (2, 45) left and right mean hand of the SMPL-X model, radians, for forms whose
            hands are relative to it; default: that of the neutral model the shards belong to.

    Raises:
        LayoutError: if there is nothing at the path that is known.
        UsageError: if there are no predictions, none is of these shards, or several forms lie together.
        SchemaError: for a wrong number of vertices, predictions of several models, wrong units.
        AssetError, UnsafeFileError: for files that are damaged or refused.
    """
    reader = find_reader(path)
    rows = None if shards is None else ShardRows.of(shards)
    means = hand_means or (None if shards is None else lambda: _hand_means(shards))
    source = _Source(path, reader, rows, join(reader.listed, rows), means)
    source.probe()
    return source


def find_reader(path: Path) -> Reader:
    """The reader for a file or folder, told by its name and what is in it.

    Raises:
        LayoutError: if there is nothing that is known.
        UsageError: if several forms lie together.
    """
    if path.is_file():
        kinds: dict[str, Callable[[Path], Reader]] = {
            ".parquet": TableReader,
            ".zip": AgoraReader,
            ".npz": ArrayReader,
        }
        if path.suffix.lower() not in kinds:
            raise LayoutError(f"{path}: no form of predictions is called *{path.suffix}; expected {_FORMS}")
        return kinds[path.suffix.lower()](path)
    if not path.is_dir():
        raise LayoutError(f"{path}: no such file or folder; expected {_FORMS}")
    results, plain = result_files(path), sorted(path.glob("*.npz"))
    found: dict[str, Any] = {
        "parquet files": TableReader if tables_in(path) else None,
        "results of SMPLer-X": SmplerxReader if results else None,
        "pickles of AGORA": AgoraReader if pickle_files(path) else None,
        "npz files": ArrayReader if set(plain) - set(results) else None,
    }
    there = {name: kind for name, kind in found.items() if kind is not None}
    if not there:
        raise LayoutError(f"{path}: no predictions in it; expected {_FORMS}")
    if len(there) > 1:
        raise UsageError(f"{path}: several forms of predictions together: {', '.join(there)}; name one")
    chosen: Reader = next(iter(there.values()))(path)
    return chosen


def _hand_means(shards: Sequence[Shards]) -> Any:
    from hmtools.bench.bodies import bodies_of

    return bodies_of([own.manifest for own in shards], {"smplx"}).hand_means()


class _Source:
    """Predictions that were joined with rows."""

    def __init__(
        self,
        path: Path,
        reader: Reader,
        rows: ShardRows | None,
        joined: Joined,
        means: Callable[[], Any] | None,
    ) -> None:
        self.facts = reader.facts
        self._path, self._reader, self._rows, self._joined, self._means = path, reader, rows, joined, means
        self._hands: NDArray[np.float32] | None = None
        self._image_of = dict(zip(rows.key, rows.image_path, strict=True)) if rows is not None else {}
        self._invalid: set[int] = set()
        self._sha256 = ""

    def probe(self) -> None:
        """Read a few bodies, evenly spread, and check their kind and units."""
        numbers = sorted(self._joined.place.values()) or sorted(
            number for those in self._joined.in_image.values() for number in those
        )
        step = max(1, len(numbers) // _PROBED)
        columns = self._reader.read(numbers[::step][:_PROBED])
        if not _bodies(columns):
            raise UsageError(f"{self._path}: the predictions have no body: no vertices and no parameters")
        check_units(columns, str(self._path))

    def get(self, keys: Sequence[str]) -> Predicted:
        """See :class:`PredictionSource`."""
        if self._joined.fault:
            raise UsageError(f"{self._path}: {self._joined.fault}")
        numbers = [self._joined.place.get(key, -1) for key in keys]
        sizes = None
        if self._rows is not None and self._reader.joints2d_size is not None:
            sizes = [self._rows.size.get(self._image_of.get(key, "")) for key in keys]
        return self._predicted(numbers, sizes)

    def in_image(self, image_path: str, size: tuple[int, int] | None = None) -> Predicted:
        """See :class:`PredictionSource`."""
        if self._rows is None:
            raise UsageError(f"{self._path}: open predictions with the shards to ask for images")
        numbers = self._joined.in_image.get(image_path, [])
        return self._predicted(numbers, [size or self._rows.size.get(image_path)] * len(numbers))

    def _predicted(self, numbers: Sequence[int], sizes: Sequence[tuple[int, int] | None] | None) -> Predicted:
        there = [place for place, number in enumerate(numbers) if number >= 0]
        columns = self._reader.read([numbers[place] for place in there])
        self._note_invalid(columns, [numbers[place] for place in there])
        self._add_hand_means(columns)
        if sizes is not None and "joints2d" in columns:
            _resize(columns["joints2d"], [sizes[place] for place in there], self._reader.joints2d_size)
        found = np.zeros(len(numbers), bool)
        found[there] = True
        spread = {name: _spread(values, there, len(numbers)) for name, values in columns.items()}
        return Predicted(
            found=found,
            smplx={name: spread[name] for name in spread if name.startswith("smplx_")},
            smpl={name: spread[name] for name in spread if name.startswith("smpl_")},
            **{
                name: spread.get(name)
                for name in (*("vertices", "virtual_transl", "crop_affine", "joints2d", "joints3d"), *_MODEL)
            },
        )

    def _note_invalid(self, columns: ReadColumns, numbers: Sequence[int]) -> None:
        for name in _bodies(columns):
            values = columns[name]
            broken = ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
            self._invalid.update(numbers[place] for place in np.flatnonzero(broken).tolist())

    def _add_hand_means(self, columns: ReadColumns) -> None:
        names = [f"smplx_{side}_hand_pose" for side in ("left", "right")]
        if not self._reader.relative_hands or not any(name in columns for name in names):
            return
        if self._hands is None:
            if self._means is None:
                raise UsageError(
                    f"{self._path}: its hands are relative to the mean hand: hand_means or shards are needed"
                )
            self._hands = np.asarray(self._means(), np.float32)
        for name, mean in zip(names, self._hands, strict=True):
            if name in columns:
                columns[name] = columns[name] + mean

    @property
    def counts(self) -> Mapping[str, int]:
        """See :class:`PredictionSource`."""
        return {**self._joined.counts, "invalid": len(self._invalid)}

    @property
    def examples(self) -> Mapping[str, Sequence[str]]:
        """See :class:`PredictionSource`."""
        where = self._reader.listed.where
        broken = [where[number] for number in sorted(self._invalid)[:_SHOWN]]
        return {**self._joined.examples, **({"invalid": broken} if broken else {})}

    @property
    def sha256(self) -> str:
        """See :class:`PredictionSource`."""
        if not self._sha256:
            self._sha256 = self._reader.sha256()
        return self._sha256


def _bodies(columns: ReadColumns) -> list[str]:
    return [name for name in columns if name == "vertices" or name.startswith(("smplx_", "smpl_"))]


def _spread(values: Any, places: Sequence[int], count: int) -> Any:
    """Values of the rows that are there, among all; NaN or None elsewhere."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        found = np.full((count, *values.shape[1:]), np.nan, np.float32)
        found[list(places)] = values
        return found
    texts: list[str | None] = [None] * count
    for place, value in zip(places, values, strict=True):
        texts[place] = value
    return texts


def _resize(
    joints: NDArray[np.float32],
    sizes: Sequence[tuple[int, int] | None],
    given: tuple[int, int] | None,
) -> None:
    """Bring joints to the pixels of the record's image, in place, as AGORA brings its labels there: x1/3."""
    if given is None:
        return
    for row, size in enumerate(sizes):
        if size is not None and size != given:
            joints[row, :, 0] *= size[0] / given[0]
            joints[row, :, 1] *= size[1] / given[1]
