"""Tables of samples and results as a benchmark writes them, from a seeded generator of errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hmtools.bench.aggregate import RunFacts, report_rows
from hmtools.humandata.reports import SampleWriter, write_report

JOINTS = ("r_ankle", "r_knee", "r_hip", "l_hip", "l_knee", "l_ankle", "r_wrist", "r_elbow", "r_shoulder",
          "l_shoulder", "l_elbow", "l_wrist", "neck", "head_top")  # fmt: skip
# Test set -> (dataset, split, primary metric, sequences, whether occlusion is known).
SETS = {
    "agora": ("agora", "validation", "pve_all", 1, True),
    "egobody": ("egobody_egocentric", "test", "pve_all", 18, False),
    "ubody": ("ubody", "intra_test", "pve_all", 12, False),
    "3dpw": ("pw3d", "test", "mpjpe_body", 37, False),
    "ehf": ("ehf", "test", "pve_all", 1, False),
}
PVE = (
    "pve_all",
    "pve_lhand",
    "pve_rhand",
    "pve_hand",
    "pve_face",
    "pa_pve_all",
    "pa_pve_hand",
    "pa_pve_face",
)
_SCALES = {"lhand": 0.6, "rhand": 0.6, "hand": 0.6, "face": 0.5, "all": 1.0, "body": 1.0}


def facts(testset: str = "ehf", **changes: Any) -> RunFacts:
    """Of an official run with a licensed body."""
    _, split, primary, _, _ = SETS[testset]
    values: dict[str, Any] = {
        "protocol": "smplerx@1",
        "testset": testset,
        "split": split,
        "primary": primary,
        "standin": False,
        "rows": "official",
        "image_mode": "full",
        "model": "smplerx-h32",
        "predictions_sha256": "ab" * 32,
        "shards_sha256": "cd" * 32,
    }
    return RunFacts(**{**values, **changes})


def sample_rows(
    testset: str, count: int, *, level: float, seed: int, missing: int = 0
) -> list[dict[str, Any]]:
    """People of a test set: how hard they are is the same for every ``level`` and ``seed``.

    Args:
        testset: of :data:`SETS`.
        count: how many.
        level: median error, mm.
        seed: of what a model adds to how hard a person is.
        missing: how many have no prediction; half as many more are invalid.
    """
    dataset, split, primary, sequences, occluded = SETS[testset]
    shared, own = np.random.default_rng(len(testset) + count), np.random.default_rng(seed)
    sequence = np.sort(shared.integers(0, sequences, count))
    share = shared.uniform(0, 0.9, count) if occluded else np.full(count, np.nan)
    side = np.exp(shared.normal(5.4, 0.6, count))
    hard = shared.normal(0, 0.33, count) + 0.12 * shared.normal(0, 1, sequences)[sequence]
    hard += np.nan_to_num(share) * 0.7 - 0.15 * np.log(side / 220)
    error = level * np.exp(hard + own.normal(0, 0.22, count))
    rows = []
    for i in range(count):
        name = f"seq_{sequence[i]:02d}"
        rows.append(
            {
                "protocol": "smplerx@1",
                "testset": testset,
                "dataset": dataset,
                "split": split,
                "key": f"{dataset}/{split}/{name}/{i:06d}_0",
                "image_path": f"images/{name}/{i:06d}.jpg",
                "sequence": name,
                "frame": i,
                "person": 0,
                "bbox_xywh": [100.0, 50.0, side[i] / 2, side[i], 1.0],
                "occlusion": share[i] if occluded else None,
                "status": "ok",
                **_errors(primary, float(error[i]), own, with_hands=testset != "ubody" or i % 3 != 0),
            }
        )
    for i, row in enumerate(rows[: missing + missing // 2]):
        row["status"] = "missing" if i < missing else "invalid"
        for name in (*PVE, "mpjpe_body", "pa_mpjpe_body", "joint_errors"):
            row.pop(name, None)
    return rows


def _errors(primary: str, error: float, rng: np.random.Generator, *, with_hands: bool) -> dict[str, Any]:
    joints = error * np.exp(rng.normal(0, 0.2, len(JOINTS))) * np.linspace(1.3, 0.7, len(JOINTS))
    if primary == "mpjpe_body":
        return {"mpjpe_body": error, "pa_mpjpe_body": 0.65 * error, "joint_errors": joints}
    found: dict[str, Any] = {"joint_errors": joints}
    for name in PVE:
        part = name.rpartition("_")[2]
        if with_hands or "hand" not in part:
            found[name] = error * _SCALES[part] * (0.6 if name.startswith("pa_") else 1.0)
    return found


def write_samples(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """``per_sample.parquet`` of one test set."""
    metrics = PVE if "mpjpe_body" not in rows[-1] else ("mpjpe_body", "pa_mpjpe_body")
    path.parent.mkdir(parents=True, exist_ok=True)
    with SampleWriter(path, metrics, JOINTS) as file:
        file.write(rows)
    return path


def write_run(
    folder: Path,
    levels: dict[str, float],
    *,
    seed: int = 0,
    count: int = 60,
    missing: int = 0,
    **changes: Any,
) -> Path:
    """A folder of results, one folder per test set; ``levels`` are the median errors."""
    for testset, level in levels.items():
        rows = sample_rows(testset, count, level=level, seed=seed, missing=missing)
        per_sample = write_samples(folder / testset / "per_sample.parquet", rows)
        write_report(folder / testset / "report.parquet", report_rows(per_sample, facts(testset, **changes)))
    return folder
