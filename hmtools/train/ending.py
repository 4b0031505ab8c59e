"""How a run stands when a process of it ends."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from hmtools.core.errors import CheckpointError
from hmtools.models.weight_cards import card_path
from hmtools.train.checkpoints import STATE, Checkpoints
from hmtools.train.run_folder import RunFolder

__all__ = ["Ending", "ending_of"]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process of a run ended.

    Attributes:
        step: steps that were taken, in all.
        steps: of the whole run.
        best: smallest validation figure, NaN without validation.
    """

    step: int
    steps: int
    best: float

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.step >= self.steps


def ending_of(run: RunFolder) -> Ending:
    """How a run stands, as its files tell it: the card of its last weights, else its newest checkpoint.

    Raises:
        CheckpointError: if there is neither.
    """
    if run.finished:
        card = json.loads(card_path(run.final).read_text(encoding="utf-8"))
        return Ending(card["step"], card["step"], float(card.get("best", math.nan)))
    newest = next(iter(Checkpoints(run.checkpoints).paths()), None)
    if newest is None:
        raise CheckpointError(f"{run.path}: the training ended without a checkpoint")
    facts = json.loads((newest / STATE).read_text(encoding="utf-8"))
    return Ending(facts["step"], facts["steps"], math.nan)
