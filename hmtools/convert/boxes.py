"""Sets whose boxes follow from their bodies: what cannot be cropped while the body models are not there."""

from __future__ import annotations

from collections.abc import Sequence

from hmtools.convert.unit import ConvertTask
from hmtools.core.errors import AssetError
from hmtools.core.settings import Settings

__all__ = ["boxes_error", "lacks_boxes"]


def lacks_boxes(task: ConvertTask) -> bool:
    """Whether nobody of a split could be cropped; they would be rejected one by one."""
    crops = task.images == "crop" and task.dataset.boxes_from_bodies
    return crops and not (task.bodies and task.bodies.facts)


def boxes_error(tasks: Sequence[ConvertTask], settings: Settings) -> AssetError:
    """What to say of splits that lack boxes, with what helps."""
    names = ", ".join(f"{task.dataset.stored_as}/{task.split}" for task in tasks)
    return AssetError(
        f"{names}: boxes follow from bodies, and body_models = {settings.body_models} "
        f"({settings.origin('body_models')}) holds no model to make them with, so nothing can be cropped. "
        "`hmtools body list` says where the files come from; or convert with --images full (or none) now, "
        "and run `hmtools derive` when they are there"
    )
