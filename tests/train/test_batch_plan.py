"""The global batch of a recipe on any number of GPUs."""

from __future__ import annotations

import pytest

from hmtools.core.errors import UsageError
from hmtools.train.batch_plan import plan_batch
from hmtools.train.recipe import BatchSpec

H = BatchSpec(global_batch=256, micro_batch=16)


@pytest.mark.parametrize(("gpus", "accumulation"), [(16, 1), (8, 2), (4, 4), (2, 8), (1, 16)])
def test_gpus_change_the_accumulation_only(gpus: int, accumulation: int) -> None:
    plan = plan_batch(H, gpus)
    assert (plan.micro_batch, plan.accumulation, plan.global_batch) == (16, accumulation, 256)


def test_words() -> None:
    assert str(plan_batch(H, 16)) == "global batch 256 = 16 gpus x 16 x accumulation 1"
    assert str(plan_batch(H)) == str(plan_batch(H, 16))
    assert str(plan_batch(H, 1)) == "global batch 256 = 1 gpu x 16 x accumulation 16"
    assumed = plan_batch(BatchSpec(global_batch=512, micro_batch=32, assumed=True), 8)
    assert str(assumed) == (
        "global batch 512 = 8 gpus x 32 x accumulation 2 "
        "(assumed: published is the batch of one gpu, not their number)"
    )


@pytest.mark.parametrize(
    ("gpus", "nearest"),
    [
        (12, "--gpus 8 or --gpus 16"),
        (3, "--gpus 2 or --gpus 4"),
        (32, "--gpus 16 (or --set batch.micro_batch=8:"),
        (100, "--gpus 16"),
        (0, "--gpus 1"),
        (-2, "--gpus 1"),
    ],
)
def test_gpus_that_do_not_fit(gpus: int, nearest: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan_batch(H, gpus)
    assert caught.value.exit_code == 2
    said = str(caught.value)
    assert said.startswith(
        f"--gpus {gpus}: the recipe's global batch of 256 is 16 passes of 16 records, which "
    )
    assert f"nearest: {nearest}" in said
    if "micro_batch" not in nearest:
        assert said.endswith(nearest)


def test_processes_on_the_cpu_are_called_so() -> None:
    assert str(plan_batch(H, 2, flag="--procs")) == "global batch 256 = 2 procs x 16 x accumulation 8"
    with pytest.raises(UsageError, match=r"--procs 3: .*nearest: --procs 2 or --procs 4"):
        plan_batch(H, 3, flag="--procs")
