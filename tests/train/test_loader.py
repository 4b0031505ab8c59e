from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from hmtools.core.errors import UsageError
from hmtools.core.image import ImageError
from hmtools.engine.worker import STOP_SIGNALS
from hmtools.train.loader import TrainData, TrainSource, loader, positions_of
from tests.train.written_splits import write_boxes

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainData:
    folder = tmp_path_factory.mktemp("shards")
    sizes = {"bedlam": 7, "rich": 30, "mtp": 12}
    sources = [TrainSource(path=write_boxes(folder / name / "train", name, n)) for name, n in sizes.items()]
    return TrainData(sources, seed=4, epoch_size=64)


def keys(data: TrainData, **options: Any) -> list[str]:
    return [key for batch in loader(data, **{"epoch": 0, "batch": 4, **options}) for key in batch.keys]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(data: TrainData, workers: int) -> None:
    alone = list(loader(data, epoch=1, batch=8))
    together = list(loader(data, epoch=1, batch=8, workers=workers))
    assert len(alone) == len(together) == 8
    for one, other in zip(alone, together, strict=True):
        assert one.keys == other.keys
        for name in ("images", "numbers", "flags", "whole", "positions"):
            a, b = (torch.nan_to_num(getattr(batch, name).float(), nan=-7) for batch in (one, other))
            assert torch.equal(a, b), name


def test_any_number_of_processes_reads_the_same_global_batches(data: TrainData) -> None:
    """16 samples a step by 1, 2, 4 or 8 processes: the order within a step is that of one process, too."""
    alone = keys(data, batch=16)
    for world, batch in ((2, 8), (4, 4), (2, 4), (8, 2), (1, 2)):
        options = {"world": world, "batch": batch, "global_batch": 16}
        ranks = [list(loader(data, epoch=0, rank=r, **options)) for r in range(world)]  # type: ignore[arg-type]
        joined = [key for passes in zip(*ranks, strict=True) for one in passes for key in one.keys]
        assert joined == alone


def test_a_run_goes_on_where_it_was(data: TrainData) -> None:
    everything = keys(data, batch=8)
    for cursor in (0, 8, 40, 64):
        assert keys(data, batch=8, cursor=cursor) == everything[cursor:]
    # 16 steps by two processes, the rest by one
    halves = [keys(data, rank=r, world=2, batch=4) for r in range(2)]
    begun = [key for i in range(0, 16, 4) for half in halves for key in half[i : i + 4]]
    assert begun + keys(data, batch=8, cursor=32) == everything


def test_epochs_differ(data: TrainData) -> None:
    assert keys(data, epoch=0) != keys(data, epoch=1)


def test_loading_leaves_torch_s_generator_alone(data: TrainData) -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    keys(data)
    next(iter(loader(data, epoch=0, batch=4, workers=1)))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_stop_of_the_whole_group_leaves_workers_at_work(data: TrainData) -> None:
    before = {child.pid for child in multiprocessing.active_children()}
    batches = loader(data, epoch=0, batch=4, workers=1)
    found = [next(batches)]
    (worker,) = (child.pid for child in multiprocessing.active_children() if child.pid not in before)
    assert worker is not None
    for number in STOP_SIGNALS:
        os.kill(worker, number)
    found += batches
    assert len(found) == 16


def test_errors_of_workers_arrive_whole(tmp_path: Path) -> None:
    folder = write_boxes(tmp_path / "train", "bedlam", 1)
    tar = next(folder.glob("*.tar"))
    tar.write_bytes(bytes(tar.stat().st_size))
    data = TrainData([TrainSource(path=folder)])
    with pytest.raises(ImageError, match=r"bedlam/train/all/000000_0 at byte") as caught:
        list(loader(data, epoch=0, batch=1, workers=1))
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"rank": 2, "world": 2}, "a rank below"),
        ({"batch": 0}, "expected numbers from 1"),
        ({"world": 3, "global_batch": 16}, "no multiple of 3 processes x 4 samples"),
        ({"cursor": 6}, "a multiple of the global batch of 4"),
        ({"batch": 128}, "smaller than one global batch"),
    ],
)
def test_numbers_that_do_not_go_together(numbers: dict[str, int], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        positions_of(64, **{"cursor": 0, "rank": 0, "world": 1, "batch": 4, **numbers})


def test_the_rest_of_an_epoch_is_dropped() -> None:
    found = positions_of(60, cursor=16, rank=1, world=2, batch=4, global_batch=16)
    assert [positions.tolist() for positions in found] == [list(range(i, i + 4)) for i in (20, 28, 36, 44)]


def test_nothing_to_train_on() -> None:
    with pytest.raises(UsageError, match="one or more sets"):
        TrainData([])
