"""Validation: predictions of the weights at hand, measured by the benchmarks' own code.

Each process predicts its share of the rows, the first one measures. A set with a default protocol is measured
by it; any other set with SMPL-X fits by its vertex errors (:func:`protocol_for`). Figures of a part of a set
(``validate.limit``) compare checkpoints, and nothing else.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from hmtools.bench.measures import WHOLE_BODY
from hmtools.bench.protocols.base import PA_PVE, PVE, Protocol, TruthRule
from hmtools.bench.protocols.registry import all_protocols
from hmtools.bench.run import BenchResult, bench, chosen_rows
from hmtools.bench.source import open_predictions
from hmtools.bench.truth import require_fields
from hmtools.core.errors import UsageError
from hmtools.humandata.predictions import PredictionWriter
from hmtools.infer.predict import predict, prediction_spec, samples_of
from hmtools.models.smplerx.model import SmplerX
from hmtools.shards.query import select_rows
from hmtools.shards.reader import Shards
from hmtools.train.recipe import Recipe, SetSpec
from hmtools.train.run_folder import RunOptions
from hmtools.train.sets import train_set
from hmtools.train.world import World

__all__ = ["PRIMARY", "protocol_for", "require_measurable", "validate", "validated_rows", "validation_sets"]

PRIMARY = "primary"
"""The metric that each set is ranked by: that of its protocol."""

_THREADS = 4  # that decode images while the device predicts

_Rows: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int64]]


def validation_sets(recipe: Recipe, options: RunOptions) -> list[tuple[SetSpec, Shards]]:
    """The converted splits that a run is validated on, in the recipe's order."""
    used = [row for row in recipe.validate.sets if row.name in options.validation]
    return [(row, Shards(Path(options.shards) / row.name)) for row in used]


def require_measurable(recipe: Recipe, sets: Sequence[tuple[SetSpec, Shards]]) -> None:
    """Check validation sets before anything is trained: a validation is thousands of steps away.

    Raises:
        UsageError: for a set without the bodies it would be measured against, without any of its rows, or
            without the recipe's metric.
    """
    for spec, shards in sets:
        protocol = protocol_for(spec, recipe)
        validated_rows(spec, shards, recipe)
        try:
            require_fields(shards, protocol.truth)
        except UsageError as error:
            raise UsageError(f"{error}; or leave {spec.name} out of validate.sets") from error
        known = dict.fromkeys((protocol.primary, *protocol.metrics))
        if _metric(recipe, protocol) not in known:
            raise UsageError(
                f"validate.metric: {spec.name} has no {recipe.validate.metric}; it has {', '.join(known)}"
            )


def protocol_for(spec: SetSpec, recipe: Recipe) -> type[Protocol]:
    """How a validation set is measured: the default protocol of its split, else vertex errors of its fits."""
    for protocol in all_protocols():
        if protocol.default and (protocol.dataset, protocol.splits) == (spec.dataset, (spec.split,)):
            return protocol
    declared = {
        "id": "validation@1",
        "testset": spec.dataset,
        "names": (spec.dataset,),
        "title": f"{spec.name}, vertices against its SMPL-X fits",
        "source": "hmtools, for training only",
        "dataset": spec.dataset,
        "splits": (spec.split,),
        "every": spec.every,
        "truth": TruthRule(max_beta=recipe.max_beta, straight_eyes=True, unseen_neutral=True),
        "measure": WHOLE_BODY,
        "metrics": (*PVE, *PA_PVE),
        "primary": "pve_all",
    }
    return type("Validation", (Protocol,), declared)


def validate(
    network: SmplerX, recipe: Recipe, sets: Sequence[tuple[SetSpec, Shards]], folder: Path, world: World
) -> dict[str, float]:
    """Measure the network on validation sets; every process of the world does this side by side.

    Args:
        network: on the device of the world; in eval mode afterwards.
        recipe: limit, metric, precision.
        sets: converted splits.
        folder: gets predictions and reports, a folder per set; replaced where it exists.
        world: the processes.

    Returns:
        ``<dataset>/<metric>`` -> figure, and ``mean``: that of ``recipe.validate.metric`` over the sets,
        infinite where nobody of a set could be measured. Empty in all processes but the first.
    """
    network.eval()
    figures: dict[str, float] = {}
    ranked = []
    for spec, shards in sets:
        protocol, out = protocol_for(spec, recipe), folder / spec.name.replace("/", "-")
        part = Shards(shards.path, _spread(validated_rows(spec, shards, recipe), recipe.validate.limit))
        if world.first:
            shutil.rmtree(out, ignore_errors=True)
            (out / "predictions").mkdir(parents=True)
        world.barrier()
        _predict(network, recipe, spec, part, out / "predictions", world)
        world.barrier()
        if world.first:
            found = bench(
                [part], open_predictions(out / "predictions"), protocol, out, device=str(world.device)
            )
            own = _figures(found)
            figures |= {f"{spec.dataset}/{name}": value for name, value in own.items()}
            ranked.append(own.get(_metric(recipe, protocol), math.inf))
    return {**figures, "mean": float(np.mean(ranked))} if ranked else {}


def _metric(recipe: Recipe, protocol: type[Protocol]) -> str:
    return protocol.primary if recipe.validate.metric == PRIMARY else recipe.validate.metric


def validated_rows(spec: SetSpec, shards: Shards, recipe: Recipe) -> _Rows:
    """The rows of a set that its protocol compares, of those that the recipe chooses.

    Raises:
        UsageError: if none is left.
    """
    protocol = protocol_for(spec, recipe)
    rows = chosen_rows(shards, protocol)
    if spec.dataset == "agora" and "agora_person_zero" in recipe.reference_faults:
        rows = _last_of_images(shards, rows)
    if spec.query:
        rows = rows[np.isin(rows, select_rows(spec.query, shards.table))]
        if not len(rows):
            raise UsageError(f"{shards.path}: the query {spec.query!r} leaves nobody to validate on")
    return rows


def _last_of_images(shards: Shards, rows: _Rows) -> _Rows:
    """Of each image the last row: all are number 0 there, and write over each other's predictions."""
    images = shards.table.column("image_path").take(rows).to_pylist()
    return np.array(sorted(dict(zip(images, rows.tolist(), strict=True)).values()), np.int64)


def _spread(rows: _Rows, limit: int | None) -> _Rows:
    """At most ``limit`` rows, evenly spread."""
    if limit is None or len(rows) <= limit:
        return rows
    return rows[np.linspace(0, len(rows) - 1, limit).round().astype(np.int64)]


def _predict(
    network: SmplerX, recipe: Recipe, spec: SetSpec, part: Shards, folder: Path, world: World
) -> None:
    """Predict every ``world.size``-th row, from ours on."""
    facts = {"model": recipe.name, "standin": bool((part.manifest.body_model or {}).get("standin"))}
    with PredictionWriter(folder / f"part-{world.rank:04d}.parquet", prediction_spec(), facts) as writer:
        samples = samples_of(part, range(world.rank, len(part), world.size), threads=_THREADS)
        rows = predict(
            network, samples, world.device, ratio=train_set(spec.dataset).box_ratio,
            precision=recipe.run.precision,
        )  # fmt: skip
        for row in rows:
            writer.write([row])


def _figures(result: BenchResult) -> dict[str, float]:
    """Metric -> its mean over the whole set; without those that nobody has."""
    return {
        str(row["metric"]): float(row["value"])
        for row in result.rows
        if row["subset"] in (None, "", "all") and row["value"] is not None
    }
