"""What a recipe says: everything that decides the outcome of a training, resolved and frozen.

A recipe is written as an mmengine configuration file (:mod:`hmtools.train.recipe_files` reads it) and becomes
a :class:`Recipe` at once. From there on nothing looks at configuration files: the run folder holds the
resolved recipe as JSON (:func:`write_recipe`, :func:`read_recipe`). Where a training runs, on how many GPUs
and in which folder, is no part of it: the global batch is, and ``hmtools train --gpus`` finds the
accumulation that gives it (:mod:`hmtools.train.batch_plan`).

The defaults are those of the published training of SMPLer-X (Cai et al. 2023) as far as it says something.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from hmtools.core.atomic import write_json
from hmtools.core.errors import RecipeError, nearest
from hmtools.models.sizes import SIZES
from hmtools.models.smplerx.target_rules import REFERENCE_FAULTS as TARGET_FAULTS
from hmtools.train.typed_values import Count, NotNegative, Share, Whole, read_dataclass

__all__ = [
    "RANDOM",
    "RECIPE_FORMAT",
    "REFERENCE_FAULTS",
    "AugmentSpec",
    "BatchSpec",
    "DataSpec",
    "LossSpec",
    "ModelSpec",
    "OptimSpec",
    "Recipe",
    "RunSpec",
    "SetSpec",
    "Strategy",
    "ValidateSpec",
    "read_recipe",
    "recipe_json",
    "resolve",
    "write_recipe",
]

RECIPE_FORMAT = "hmtools-recipe-1"
"""What a resolved recipe says under ``format``."""

RANDOM = "random"
"""``model.init`` of a training that starts from random weights."""

REFERENCE_FAULTS: tuple[str, ...] = (*TARGET_FAULTS, "balance_fixed", "agora_person_zero")
"""Faults of the published code that a recipe may switch on, for comparisons.

Those of targets are described with :data:`hmtools.models.smplerx.target_rules.ReferenceFault`.
``balance_fixed``: the mixture ``balance`` is ``balance-smplerx``, where a set that is longer than its share
shows the same rows in every epoch. ``agora_person_zero``: in AGORA's validation all people of an image are
number 0, so that only the last of them is looked at.
"""

Strategy = Literal["concat", "balance", "balance-smplerx", "weights"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """The network and what it starts from.

    Attributes:
        family: which network.
        size: of its encoder, a name of :data:`~hmtools.models.sizes.SIZES`.
        init: weights to start from: a name as ``hmtools weights list`` shows it (those of ViTPose fill the
            encoder, those of SMPLer-X the whole network), the path of a file, or ``random``.
        activation_checkpointing: recompute the encoder's blocks in the backward pass to save memory.
    """

    family: Literal["smplerx"] = "smplerx"
    size: str
    init: str
    activation_checkpointing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSpec:
    """One training or validation set: a converted split and which of its rows.

    Attributes:
        dataset: name of the set, as in ``hmtools datasets``.
        split: its official split.
        every: keeps rows whose ``source_index`` is a multiple of it; a multiple of the shards' own ``every``.
        weight: share of the set in an epoch, relative to the others'; only for the strategy ``weights``.
        query: keeps the rows it chooses (:mod:`hmtools.shards.query`); empty: all.
        options: of the dataset, that its shards are to be converted with.
        people: how many people the split has before ``every``, as SMPLer-X's authors count, or None; the
            plan of a training says so until the set is converted.
    """

    dataset: str
    split: str
    every: Count = 1
    weight: NotNegative = 1.0
    query: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    people: Whole | None = None

    @property
    def name(self) -> str:
        """``dataset/split``: the folder of its shards below ``shards_root``."""
        return f"{self.dataset}/{self.split}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSpec:
    """What is trained on, and how an epoch is drawn from it.

    Attributes:
        sets: the training sets; their order matters for ``balance-smplerx`` only.
        strategy: ``concat``: every row once. ``balance``: every set fills the same share of the epoch, with a
            fresh order each time. ``balance-smplerx``: as published. ``weights``: shares by ``weight``.
        epoch_size: records of an epoch; None: as many as the sets have together. Always so for ``concat``.
    """

    sets: tuple[SetSpec, ...] = field(metadata={"rows": "dataset"})
    strategy: Strategy = "balance"
    epoch_size: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentSpec:
    """How crops vary; ``scale`` and ``rotation`` are spreads of normal draws, cut at 1 and 2 of them.

    Attributes:
        scale: of the box's size, a share of it.
        rotation: degrees.
        rotation_probability: how often a crop is rotated.
        colour: factor of each colour, uniform in 1 -/+ it.
        flip_probability: how often a crop is mirrored.
    """

    scale: NotNegative = 0.25
    rotation: NotNegative = 30.0
    rotation_probability: Share = 0.6
    colour: Share = 0.2
    flip_probability: Share = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSpec:
    """Weights of the losses.

    The fields and defaults of :class:`hmtools.models.smplerx.losses.LossWeights`, without loading torch.
    """

    smplx_pose: NotNegative = 10.0
    smplx_orient: NotNegative = 0.0
    smplx_shape: NotNegative = 1.0
    smplx_expr: NotNegative = 1.0
    joint_cam: NotNegative = 100.0
    smplx_joint_cam: NotNegative = 100.0
    bbox: NotNegative = 1.0
    joint_proj: NotNegative = 1.0
    joint_img: NotNegative = 1.0
    smplx_joint_img: NotNegative = 1.0
    supervise_root: bool = True
    camera_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimSpec:
    """Adam (0.9, 0.999, 1e-8, no weight decay) and its learning rate, step by step; a step is a global batch.

    Attributes:
        lr: learning rate at the start, or after the warm-up; it does not depend on the number of GPUs.
        end_lr: at the end of the last epoch.
        schedule: ``cosine`` from ``lr`` to ``end_lr``, or ``constant``.
        warmup_steps: steps over which it rises from 0 in a straight line.
        clip_norm: largest norm of the gradient; None: it is not clipped.
        ema: decay of the moving average of the weights; None: there is none.
    """

    lr: NotNegative
    end_lr: NotNegative = 1e-6
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_steps: Whole = 0
    clip_norm: NotNegative | None = None
    ema: Share | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSpec:
    """How many records make a step.

    Attributes:
        global_batch: over all GPUs and accumulated passes.
        micro_batch: of one GPU in one pass; BatchNorm sees that many, with ``sync_bn`` those of all GPUs.
        assumed: ``global_batch`` is not published: it follows from ``micro_batch`` and 16 GPUs, the number of
            the one run whose GPUs are.
    """

    global_batch: Count
    micro_batch: Count
    assumed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateSpec:
    """What is looked at during training, and which checkpoint is the best.

    Attributes:
        sets: converted splits; none: nothing is validated.
        every: steps between validations; the last step is always validated.
        limit: at most so many records of each set, spread over it evenly; None: all.
        metric: of :mod:`hmtools.bench`, or ``primary``: that which each set is ranked by; the weights where
            its mean over the sets is smallest are kept.
    """

    sets: tuple[SetSpec, ...] = field(default=(), metadata={"rows": "dataset"})
    every: Count = 5000
    limit: Count | None = 2000
    metric: str = "primary"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """How long, how exact, and what is kept.

    Attributes:
        epochs: of ``data.epoch_size`` records.
        max_steps: stops after so many steps, however long the epochs; the schedule ends there too.
        seed: of random weights, of the mixture and of augmentation.
        precision: of the network's passes; weights, optimiser and losses are float32.
        sync_bn: BatchNorm over all GPUs.
        compile: pass the network through torch.compile.
        parallel: where several GPUs train, ``ddp``: each has the whole network; ``fsdp``: each has a piece of
            weights, gradients, moments and average, which costs time and saves memory. The outcome differs in
            last bits at most, so a run may go on the other way.
        checkpoint_every: steps between checkpoints; the last step always makes one.
        keep_checkpoints: how many of the newest stay, besides the last of each epoch.
        log_every: steps between lines of the log.
    """

    epochs: Count
    max_steps: Count | None = None
    seed: Whole = 2023
    precision: Literal["bf16", "fp32"] = "bf16"
    sync_bn: bool = True
    compile: bool = False
    parallel: Literal["ddp", "fsdp"] = "ddp"
    checkpoint_every: Count = 1000
    keep_checkpoints: Count = 3
    log_every: Count = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A resolved recipe; make one with :func:`hmtools.train.recipe_files.load_training`.

    Attributes:
        name: as it was asked for, such as ``smplerx/h32``.
        title: one line for people.
        model: the network and what it starts from.
        data: what is trained on.
        augment: how crops vary.
        loss: weights of the losses.
        optim: optimiser and learning rate.
        batch: how many records make a step.
        validate: what is looked at during training.
        run: how long, how exact, what is kept.
        max_beta: a fit with a larger beta (absolute) has the mean shape as its target; as published.
        reference_faults: those of :data:`REFERENCE_FAULTS` that are reproduced.
    """

    name: str
    title: str = ""
    model: ModelSpec
    data: DataSpec
    augment: AugmentSpec = AugmentSpec()
    loss: LossSpec = LossSpec()
    optim: OptimSpec
    batch: BatchSpec
    validate: ValidateSpec = ValidateSpec()
    run: RunSpec
    max_beta: NotNegative = 3.0
    reference_faults: tuple[str, ...] = ()


def resolve(values: Mapping[str, Any], *, where: str) -> Recipe:
    """Turn the values of a recipe file, or of a resolved recipe, into a :class:`Recipe`.

    In files the sets are a table by name, ``data.sets = dict(bedlam=dict(split="training", every=5), ...)``,
    of which ``data.use`` lists those that are trained on. A row's ``dataset`` is its name unless it says
    otherwise.

    Args:
        values: plain dicts, lists, numbers and text.
        where: what messages begin with: the recipe's path or name.

    Raises:
        RecipeError: listing every unknown key (with the nearest one), value of a wrong type, missing value
            and contradiction.
    """
    problems: list[str] = []
    plain = dict(values) | {"data": _listed_sets(values.get("data"), problems)}
    recipe = read_dataclass(Recipe, plain, "", problems)
    if recipe is not None and not problems:
        if "balance_fixed" in recipe.reference_faults and recipe.data.strategy == "balance":
            recipe = replace(recipe, data=replace(recipe.data, strategy="balance-smplerx"))
        problems += _contradictions(recipe)
    if problems or recipe is None:
        raise RecipeError("\n".join(f"{where}: {problem}" for problem in problems))
    return recipe


def _listed_sets(data: Any, problems: list[str]) -> Any:
    """``data`` with the sets in use as a list: what a resolved recipe holds."""
    if not isinstance(data, Mapping) or not isinstance(data.get("sets"), Mapping):
        return data
    table, rest = data["sets"], {key: value for key, value in data.items() if key not in ("sets", "use")}
    use = data.get("use", list(table))
    if not isinstance(use, list | tuple):
        problems.append(f"data.use: expected a list of names of data.sets, found {use!r}")
        use = []
    rows = []
    for label in use:
        if label not in table:
            problems.append(f"data.use: there is no row {label!r} in data.sets{nearest(str(label), table)}")
        elif not isinstance(table[label], Mapping):
            problems.append(f"data.sets.{label}: expected a table, found {table[label]!r}")
        else:
            rows.append({"dataset": label, **table[label]})
    return {**rest, "sets": rows}


def _contradictions(recipe: Recipe) -> Iterator[str]:
    """What cannot be, although every value has its type."""
    data, batch, names = recipe.data, recipe.batch, [row.name for row in recipe.data.sets]
    if recipe.model.size not in SIZES:
        yield f"model.size: expected one of {', '.join(SIZES)}, found {recipe.model.size!r}"
    elif SIZES[recipe.model.size].from_scratch and batch.micro_batch == 1:
        yield f"batch.micro_batch: size {recipe.model.size} normalises over a pass; take 2 people or more"
    for fault in recipe.reference_faults:
        if fault not in REFERENCE_FAULTS:
            known = ", ".join(REFERENCE_FAULTS)
            yield f"reference_faults: unknown {fault!r}{nearest(fault, REFERENCE_FAULTS)} (known: {known})"
    if not names:
        yield "data.sets: a training needs at least one set"
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"data.sets: {name} is there more than once"
    if data.strategy != "weights" and any(row.weight != 1 for row in data.sets):
        yield f"data.sets: weights are there, but data.strategy is {data.strategy!r}; set it to 'weights'"
    for row in data.sets:
        if row.weight == 0:
            yield f"data.sets: {row.name} has weight 0; leave it out"
    if batch.global_batch % batch.micro_batch:
        yield f"batch.global_batch: {batch.global_batch} is no multiple of micro_batch, {batch.micro_batch}"


def recipe_json(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON values; :func:`resolve` takes them back."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(recipe)))
    return {"format": RECIPE_FORMAT, **values}


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Write a resolved recipe as JSON, atomically."""
    write_json(path, recipe_json(recipe))


def read_recipe(path: Path) -> Recipe:
    """Read a resolved recipe; nothing is executed.

    Raises:
        RecipeError: for a file that is not there, no JSON, of another format, or that does not resolve.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path}: cannot be read as a resolved recipe: {error}") from error
    found = values.pop("format", None) if isinstance(values, dict) else None
    if found != RECIPE_FORMAT:
        raise RecipeError(f"{path}: expected a resolved recipe of format {RECIPE_FORMAT}, found {found!r}")
    return resolve(values, where=str(path))
