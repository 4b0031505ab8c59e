"""Validation: predictions of the weights at hand, measured by the benchmarks' own code.

Each process predicts its share of the rows, the first one measures. A set with a default protocol is measured
by it; any other set with SMPL-X fits by its vertex errors (:func:`protocol_for`). Figures of a part of a set
(``validate.limit``) compare checkpoints, and nothing else.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hmtools.bench.measures import WHOLE_BODY
from hmtools.bench.protocols.base import PA_PVE, PVE, Protocol, TruthRule
from hmtools.bench.protocols.registry import all_protocols
from hmtools.bench.run import BenchResult, bench, chosen_rows
from hmtools.bench.source import open_predictions
from hmtools.core.errors import UsageError
from hmtools.humandata.predictions import PredictionWriter
from hmtools.infer.predict import predict, prediction_spec, samples_of
from hmtools.models.smplerx.model import SmplerX
from hmtools.shards.reader import Shards
from hmtools.train.recipe import Recipe, SetSpec
from hmtools.train.sets import train_set
from hmtools.train.world import World

__all__ = ["PRIMARY", "protocol_for", "validate"]

PRIMARY = "primary"
"""The metric that each set is ranked by: that of its protocol."""

_THREADS = 4  # that decode images while the device predicts


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
        ``<dataset>/<metric>`` -> figure, and ``mean``: that of ``recipe.validate.metric`` over the sets.
        Empty in all processes but the first.

    Raises:
        UsageError: for a metric that a set does not have.
    """
    network.eval()
    figures: dict[str, float] = {}
    ranked = []
    for spec, shards in sets:
        protocol, out = protocol_for(spec, recipe), folder / spec.name.replace("/", "-")
        part = Shards(shards.path, _spread(chosen_rows(shards, protocol), recipe.validate.limit))
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
            metric = protocol.primary if recipe.validate.metric == PRIMARY else recipe.validate.metric
            if metric not in own:
                raise UsageError(f"validate.metric: {spec.name} has no {metric}; it has {', '.join(own)}")
            ranked.append(own[metric])
    return {**figures, "mean": float(np.mean(ranked))} if ranked else {}


def _spread(
    rows: np.ndarray[tuple[int], np.dtype[np.int64]], limit: int | None
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
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
    """Metric -> its mean over the whole set."""
    return {
        str(row["metric"]): float(row["value"]) for row in result.rows if row["subset"] in (None, "", "all")
    }
