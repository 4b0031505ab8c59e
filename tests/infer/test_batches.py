"""Batches: full ones, what is left, and how they grow and shrink on a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hmtools.infer.batches import CPU_BATCH, GPU_BATCHES, BatchSize, Person, predicted_rows
from hmtools.infer.crops import Crop
from tests.infer.free_media import FakeModel


def people(count: int) -> list[Person]:
    image = np.zeros((8, 6, 3), np.float32)
    affine = np.array([[1.0, 0, 0], [0, 1, 0]])
    return [Person(about={"frame": number}, crop=Crop(image, affine)) for number in range(count)]


def run(count: int, model: FakeModel, given: int | None = None) -> list[int]:
    size = BatchSize(model.device, given)
    rows = [row for batch in predicted_rows(iter(people(count)), model, size) for row in batch]
    assert all(row["smplx_body_pose"].shape == (63,) for row in rows)
    return [row["frame"] for row in rows]


def test_sizes() -> None:
    model = FakeModel()
    assert run(7, model, 3) == list(range(7))
    assert model.batches == [3, 3, 1]
    assert run(0, model) == []
    assert BatchSize("cpu").now == CPU_BATCH


def test_on_a_gpu_they_grow_until_memory_ends() -> None:
    def memory(count: int) -> None:
        if count > 40:
            raise torch.OutOfMemoryError(f"{count} people")

    free = FakeModel(device="cuda:0")
    assert run(400, free) == list(range(400))
    assert free.batches == [16, 32, 64, 128, 128, 32]
    assert max(free.batches) == GPU_BATCHES[1]
    tight = FakeModel(memory, device="cuda:0")
    assert run(150, tight) == list(range(150)), "nobody is lost when one batch was too large"
    assert tight.batches == [16, 32, 32, 32, 32, 6]


def test_no_memory_for_one() -> None:
    def memory(count: int) -> None:
        raise torch.OutOfMemoryError(f"{count} people")

    with pytest.raises(torch.OutOfMemoryError, match="1 people"):
        run(5, FakeModel(memory), 4)
