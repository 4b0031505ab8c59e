"""The data of a training: a mixture of converted splits, and the batches of one process in their order.

    data = TrainData([TrainSource(path=Path("shards/agora/train"))], strategy="balance", seed=2023)
    for batch in loader(data, epoch=0, cursor=0, rank=0, world=1, batch=16, workers=4):
        targets, masks = maker(batch.to(device).inputs)

Which sample stands at a position of an epoch depends on nothing but the sets, the strategy and the seed. The
processes of a run take turns along those positions, so a run that is continued by another number of
processes reads on in the same order, and ``cursor``, the number of samples consumed, is all there is to save.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from hmtools.core.errors import HmtoolsError, UsageError
from hmtools.engine.worker import STOP_SIGNALS
from hmtools.train.batches import Batch
from hmtools.train.mixture import make_order
from hmtools.train.recipe import AugmentSpec
from hmtools.train.samples import BatchMaker
from hmtools.train.splits import TrainSource, check_bodies, open_split

__all__ = ["TrainData", "TrainSource", "loader", "positions_of"]

_AHEAD = 4  # batches that each worker makes in advance


class TrainData:
    """A mixture of training sets.

    Opening reads manifests and maps indices: seconds for hundreds of gigabytes. It pickles and forks safely.

    Args:
        sources: the sets; their order matters to ``balance-smplerx`` and to what a seed gives.
        strategy: of :data:`hmtools.train.mixture.STRATEGIES`.
        seed: of order and augmentation.
        epoch_size: samples of an epoch; default: the rows of all sets.
        augment: how crops vary; default: as published.
        block: for images on a network store, where reading neighbours is cheaper: see
            :func:`hmtools.train.mixture.make_order`.
        staging: folder on a disk of this node for copies of the indices; None: they are read in place.
        step: 2: only the pixels are made that SMPLer-X looks at; 1: all of a crop's.

    Attributes:
        splits: the open sets, in their order.
        order: what stands where.
        epoch_size: samples of an epoch.

    Raises:
        LayoutError: for a set that is not (completely) converted.
        UsageError: if there is no set, a set does not fit (its interval, query, images, bodies or window), or
            the strategy does not.
        SchemaError: for a damaged index.
    """

    def __init__(
        self,
        sources: Sequence[TrainSource],
        *,
        strategy: str = "balance",
        seed: int = 0,
        epoch_size: int | None = None,
        augment: AugmentSpec | None = None,
        block: bool = False,
        staging: Path | None = None,
        step: int = 2,
    ) -> None:
        if not sources:
            raise UsageError("expected one or more sets to train on, found none")
        self.augment, self.seed, self.step = augment or AugmentSpec(), seed, step
        self.splits = tuple(
            open_split(
                source,
                augment=self.augment,
                staging=staging,
                by_source_index=strategy == "balance-smplerx",
            )
            for source in sources
        )
        check_bodies(self.splits)
        self.order = make_order(
            strategy,
            [len(split) for split in self.splits],
            seed=seed,
            epoch_size=epoch_size,
            weights=[source.weight for source in sources] if strategy == "weights" else None,
            block=block,
        )

    @property
    def epoch_size(self) -> int:
        """Samples of an epoch."""
        return self.order.epoch_size

    def maker(self) -> BatchMaker:
        """What makes batches of any positions, in this process."""
        return BatchMaker(self.splits, self.order, self.augment, self.seed, self.step)


def positions_of(
    epoch_size: int, *, cursor: int, rank: int, world: int, batch: int, global_batch: int | None = None
) -> list[npt.NDArray[np.int64]]:
    """Positions of each batch of one process, from ``cursor`` to the end of the epoch.

    The processes take ``batch`` positions each, by rank; that makes a pass of ``world * batch`` consecutive
    positions, and ``global_batch`` is a whole number of passes. So the samples of a global batch are the same
    ones for any number of processes. What does not fill a global batch at the end of an epoch is dropped.

    Args:
        epoch_size: samples of an epoch.
        cursor: samples of it that are consumed, by all processes together.
        rank: of this process.
        world: number of processes.
        batch: samples of a process in one pass.
        global_batch: samples of a step of the optimiser; default: one pass.

    Returns:
        int64 arrays of ``batch`` positions.

    Raises:
        UsageError: if these numbers do not go together.
    """
    per_pass = world * batch
    step = per_pass if global_batch is None else global_batch
    if min(world, batch, step) < 1 or not 0 <= rank < world:
        raise UsageError(
            f"batch {batch} of rank {rank} of {world}: expected numbers from 1, and a rank below"
        )
    if step % per_pass:
        raise UsageError(f"a global batch of {step} is no multiple of {world} processes x {batch} samples")
    if cursor < 0 or cursor % step:
        raise UsageError(f"cursor {cursor}: expected a multiple of the global batch of {step}")
    if epoch_size < step:
        raise UsageError(f"an epoch of {epoch_size} samples is smaller than one global batch of {step}")
    end = epoch_size // step * step
    own = np.arange(rank * batch, (rank + 1) * batch, dtype=np.int64)
    return [start + own for start in range(cursor, end, per_pass)]


class _Batches(Dataset[Batch | HmtoolsError]):
    """The batches of one process by number. Errors travel as values: a DataLoader would garble them."""

    def __init__(self, data: TrainData, epoch: int, positions: Sequence[npt.NDArray[np.int64]]) -> None:
        self._data, self._epoch, self._positions = data, epoch, positions
        self._maker = data.maker()

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, number: int) -> Batch | HmtoolsError:
        try:
            return self._maker.make(self._epoch, self._positions[number])
        except HmtoolsError as error:
            return error


def _deaf(_: int) -> None:
    """Leave a stop, which many send to a whole group, to the process that trains: it still wants batches."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def loader(
    data: TrainData,
    *,
    epoch: int,
    cursor: int = 0,
    rank: int = 0,
    world: int = 1,
    batch: int,
    workers: int = 0,
    global_batch: int | None = None,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """The batches of one process, in order, from ``cursor`` to the end of an epoch.

    Args:
        data: the mixture; the same in every process.
        epoch: from 0.
        cursor: samples of the epoch that all processes together have consumed.
        rank: of this process.
        world: number of processes.
        batch: samples of each batch.
        workers: processes that make batches; 0: this one does. They do not change what is in a batch.
        global_batch: see :func:`positions_of`.
        pin_memory: hand batches over in pinned memory (for a GPU).

    Yields:
        Batches of ``batch`` samples, on the CPU; none when ``cursor`` is the end.

    Raises:
        UsageError: if the numbers do not go together.
        ImageError: for a damaged image, with its key, tar and what to do.
        SchemaError: for a missing or damaged tar or index.
    """
    positions = positions_of(
        data.epoch_size, cursor=cursor, rank=rank, world=world, batch=batch, global_batch=global_batch
    )
    made: DataLoader[Batch | HmtoolsError] = DataLoader(
        _Batches(data, epoch, positions),
        batch_size=None,
        shuffle=False,
        num_workers=workers,
        prefetch_factor=_AHEAD if workers else None,
        worker_init_fn=_deaf,
        pin_memory=pin_memory and torch.cuda.is_available(),
        # Its own: a loader would take a number from the generator that a resumed run has to find as it was.
        generator=torch.Generator(),
    )
    for found in made:
        if isinstance(found, HmtoolsError):
            raise found
        yield found
