"""How a number of GPUs makes the global batch of a recipe.

The global batch and what a GPU takes in one pass (the micro-batch, which BatchNorm sees) are the recipe's.
How many passes are accumulated before a step depends on the number of GPUs. So a training has the same steps
wherever it runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from hmtools.core.errors import UsageError
from hmtools.train.recipe import BatchSpec

__all__ = ["BatchPlan", "plan_batch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """How a step is made.

    Attributes:
        gpus: processes that train, one per GPU (or on the CPU).
        micro_batch: records of one process in one pass.
        accumulation: passes of each process before a step.
        assumed: see :class:`~hmtools.train.recipe.BatchSpec`.
        unit: what people call one of them.
    """

    gpus: int
    micro_batch: int
    accumulation: int
    assumed: bool = False
    unit: str = "gpu"

    @property
    def global_batch(self) -> int:
        """Records of a step."""
        return self.gpus * self.micro_batch * self.accumulation

    def __str__(self) -> str:
        unit = self.unit if self.gpus == 1 else f"{self.unit}s"
        note = " (assumed: published is the batch of one gpu, not their number)" if self.assumed else ""
        made = f"{self.gpus} {unit} x {self.micro_batch} x accumulation {self.accumulation}"
        return f"global batch {self.global_batch} = {made}{note}"


def plan_batch(batch: BatchSpec, gpus: int | None = None, *, flag: str = "--gpus") -> BatchPlan:
    """Share the passes of a step among GPUs.

    Args:
        batch: of the recipe.
        gpus: how many; None: as many as a step has passes, so that nothing is accumulated.
        flag: what the user said their number with, ``--gpus`` or ``--procs``, for messages.

    Raises:
        UsageError: if the passes cannot be shared evenly, with the nearest numbers of GPUs that can.
    """
    passes = batch.global_batch // batch.micro_batch
    wanted = passes if gpus is None else gpus
    if wanted < 1 or passes % wanted:
        raise UsageError(_misfit(batch, passes, wanted, flag))
    return BatchPlan(
        gpus=wanted,
        micro_batch=batch.micro_batch,
        accumulation=passes // wanted,
        assumed=batch.assumed,
        unit=flag.strip("-").removesuffix("s"),
    )


def _misfit(batch: BatchSpec, passes: int, gpus: int, flag: str) -> str:
    fitting = [count for count in range(1, passes + 1) if passes % count == 0]
    below = [count for count in fitting if count < gpus][-1:]
    above = [count for count in fitting if count > gpus][:1]
    near = " or ".join(f"{flag} {count}" for count in (*below, *above))
    message = (
        f"{flag} {gpus}: the recipe's global batch of {batch.global_batch} is {passes} passes of "
        f"{batch.micro_batch} records, which {gpus} cannot share evenly; nearest: {near}"
    )
    if gpus > 0 and batch.global_batch % gpus == 0:
        smaller = batch.global_batch // gpus
        message += f" (or --set batch.micro_batch={smaller}: other statistics in BatchNorm than published)"
    return message
