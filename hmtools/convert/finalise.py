"""Turns finished parts into a finished split: checks, index, tracks and, last, the manifest."""

from __future__ import annotations

import importlib.metadata
import platform
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hmtools import __version__
from hmtools.convert.unit import EXAMPLES, ConvertTask
from hmtools.core.errors import SchemaError
from hmtools.engine.job import Result
from hmtools.humandata.agreement import percentiles
from hmtools.humandata.manifest import Manifest, spec_json, write_manifest
from hmtools.humandata.schema import record_schema
from hmtools.shards.index import INDEX, TRACKS, IndexFacts, part_tables, write_index
from hmtools.shards.sidecar import MESH_SUFFIX

__all__ = ["SHAPING_PACKAGES", "finalise_split", "package_versions", "total_agreement"]

SHAPING_PACKAGES = ("numpy", "opencv-python", "pyarrow")
"""Packages whose version can change the bytes of a shard."""


def package_versions() -> dict[str, str]:
    """Versions of hmtools and of what shapes its bytes; a package that is absent is left out."""
    versions = {"hmtools": __version__}
    for name in SHAPING_PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # OpenCV comes in several distributions
    return versions


def finalise_split(
    task: ConvertTask, options: dict[str, Any], command: str, results: Sequence[Result]
) -> None:
    """Write ``index.arrow``, ``tracks.arrow`` and ``manifest.json`` of a split whose units are all done.

    Raises:
        SchemaError: if parts are missing or unknown ones lie around, or a key occurs in two units.
    """
    parts = _checked_parts(task.out, results)
    spec = task.dataset.spec(task.root, task.split)
    facts = write_index(task.out, parts, record_schema(spec))
    if facts.duplicates:
        listed = ", ".join(facts.duplicates[:5])
        raise SchemaError(
            f"{task.out}: {len(facts.duplicates)} keys occur in more than one unit ({listed}); "
            f"the plan of dataset {task.dataset.name} repeats frames, which is a bug in its file"
        )
    counts = _counts(task, results, facts)
    if counts["records"] != facts.rows:
        raise SchemaError(
            f"{task.out}: units report {counts['records']} records, the parts hold {facts.rows}"
        )
    write_manifest(
        task.out,
        Manifest(
            dataset=spec.dataset,
            split=task.split,
            role=task.dataset.role(task.split),
            card=task.dataset.card(),
            spec=spec_json(spec),
            converter={
                **package_versions(),
                "dataset": task.dataset.name,
                "python": platform.python_version(),
            },
            options=options,
            every=task.every,
            images=task.images,
            world=_world(task),
            body_model=task.bodies.facts if task.bodies else None,
            needs=_needs(results),
            counts=counts,
            rejected=_total(results, "rejected"),
            rejected_examples=[example for r in results for example in r.data["examples"]][:EXAMPLES],
            filtered=_total(results, "filtered"),
            health=_total(results, "health"),
            agreement=total_agreement(results),
            rows=task.dataset.rows(task.root, task.split),
            files=_files(task.out, results, facts),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=command,
        ),
    )


def _needs(results: Sequence[Result]) -> list[str]:
    """One line for each asset that a unit missed."""
    return sorted({f"{asset}: {why}" for result in results for asset, why in result.data["needs"].items()})


def _checked_parts(out: Path, results: Sequence[Result]) -> list[Path]:
    expected = {file.name for result in results for file in result.files if file.name.endswith(".arrow")}
    found = {path.name for path in (*part_tables(out), *out.glob(f"*{MESH_SUFFIX}"))}
    if expected != found:
        missing, extra = sorted(expected - found)[:5], sorted(found - expected)[:5]
        raise SchemaError(
            f"{out}: parts do not match the units that wrote them (missing {missing}, unknown {extra}); "
            "run the conversion again with --overwrite"
        )
    return [out / name for name in sorted(expected) if not name.endswith(MESH_SUFFIX)]


def _total(results: Sequence[Result], name: str) -> dict[str, int]:
    total: Counter[str] = Counter()
    for result in results:
        total.update(result.data[name])
    return dict(sorted(total.items()))


def total_agreement(results: Sequence[Result]) -> dict[str, dict[str, float]]:
    """Percentiles over all units of how far derived joints lie from annotated ones."""
    total: dict[str, Counter[int]] = {}
    for result in results:
        for name, bins in result.data["agreement"].items():
            total.setdefault(name, Counter()).update(dict(bins))
    return percentiles(total)


def _counts(task: ConvertTask, results: Sequence[Result], facts: IndexFacts) -> dict[str, int | None]:
    total: Counter[str] = Counter()
    for result in results:
        total.update(result.counts)
    official = task.dataset.official_counts.get(task.split, {})
    return {
        "records": total["records"],
        "images": total["images"],
        "rejected": total["rejected"],
        "filtered": total["filtered"],
        "units": len(results),
        "tracks": facts.tracks,
        "official_records": official.get("records"),
        "official_images": official.get("images"),
    }


def _world(task: ConvertTask) -> dict[str, Any]:
    world = task.dataset.world
    return {"scope": world.scope, "up": world.up, "metric": world.metric}


def _files(out: Path, results: Sequence[Result], facts: IndexFacts) -> list[dict[str, Any]]:
    parts = [
        {"name": file.name, "sha256": file.sha256, "nbytes": file.nbytes, "rows": file.rows}
        for result in results
        for file in result.files
    ]
    tables = ((INDEX, facts.index_sha256, facts.rows), (TRACKS, facts.tracks_sha256, facts.tracks))
    return parts + [
        {"name": name, "sha256": sha256, "nbytes": (out / name).stat().st_size, "rows": rows}
        for name, sha256, rows in tables
    ]
