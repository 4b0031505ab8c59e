"""Plain ViTPose weights out of a ViTPose++ file.

ViTPose++ trains one ViT for several tasks. The second layer of each MLP is split: most of its outputs are
common, the last ones are those of the task's expert. For one task, common rows followed by the expert's rows
are the layer of a plain ViT, and the task's head is the head: a plain ViTPose, without any approximation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from hmtools.core.errors import CheckpointError, UsageError, nearest
from hmtools.models.checkpoint import expected_state
from hmtools.models.weight_names import compare, identify

__all__ = ["TASKS", "Task", "plain_state"]

_HEAD = "keypoint_head."
_FINAL = f"{_HEAD}final_layer."
_EXPERT = ".mlp.experts."


@dataclass(frozen=True, slots=True)
class Task:
    """One of the tasks of a ViTPose++ file.

    Attributes:
        expert: index of its expert.
        head: what the names of its head begin with.
        joints: rows of its last layer that are used; heads can hold more.
    """

    expert: int
    head: str
    joints: int


TASKS: Mapping[str, Task] = MappingProxyType(
    {
        "coco": Task(0, _HEAD, 17),
        "aic": Task(1, "associate_keypoint_heads.0.", 14),
        "mpii": Task(2, "associate_keypoint_heads.1.", 16),
        "ap10k": Task(3, "associate_keypoint_heads.2.", 17),
        "apt36k": Task(4, "associate_keypoint_heads.3.", 17),
        "wholebody": Task(5, "associate_keypoint_heads.4.", 133),
    }
)
"""Name -> task, in the order of the experts."""


def plain_state(state: Mapping[str, Tensor], task: str = "coco") -> dict[str, Tensor]:
    """Weights of a plain ViTPose for one task of a ViTPose++ file.

    Args:
        state: name -> tensor, as in the file (without ``module.``).
        task: a name of :data:`TASKS`.

    Returns:
        Name -> tensor, names of :class:`~hmtools.models.vitpose.ViTPose`. Other experts and heads are left
        out. Tensors that need no change are those of ``state``.

    Raises:
        UsageError: for an unknown task.
        CheckpointError: for a file that is not of ViTPose++, or lacks something of that task, or holds a
            tensor of another shape; the message lists all of it.
    """
    if task not in TASKS:
        raise UsageError(f"unknown task {task!r}{nearest(task, TASKS)}; known: {', '.join(TASKS)}")
    if not any(_EXPERT in name for name in state):
        raise CheckpointError(
            "expected weights of ViTPose++ (names with '.mlp.experts.'), found none of them"
        )
    chosen = TASKS[task]
    plain = {n: t for n, t in state.items() if n.startswith("backbone.") and _EXPERT not in n}
    for name in [name for name in plain if re.search(r"\.mlp\.fc2\.(weight|bias)$", name)]:
        expert = state.get(name.replace(".mlp.fc2.", f"{_EXPERT}{chosen.expert}."))
        # without its expert the layer stays too short, and is reported so
        if expert is not None and expert.shape[1:] == plain[name].shape[1:]:
            plain[name] = torch.cat([plain[name], expert])
    head = {_HEAD + n.removeprefix(chosen.head): t for n, t in state.items() if n.startswith(chosen.head)}
    plain |= {n: t[: chosen.joints] if n.startswith(_FINAL) else t for n, t in head.items()}
    _check(plain, task)
    return plain


def _check(plain: Mapping[str, Tensor], task: str) -> None:
    found = {name: tuple(tensor.shape) for name, tensor in plain.items()}
    identity = identify(found)
    if identity.decoder is None:
        raise CheckpointError(f"the file has no head for {task}: expected names with {TASKS[task].head!r}")
    joints = TASKS[task].joints
    expected = {
        name: (joints, *shape[1:]) if name.startswith(_FINAL) else shape
        for name, shape in expected_state(identity.model, identity.size, identity.decoder).items()
    }
    if differences := compare(found, expected):
        raise CheckpointError(
            f"ViTPose++ for {task} looks like {identity}, but does not fit it:\n{differences.text()}"
        )
