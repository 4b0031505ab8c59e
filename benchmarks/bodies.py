"""Body layers against the ``smplx`` package, joints alone against the mesh, and records derived per second.

Runs on the stand-in body (made once in the user's cache) or on ``--models``; one thread, and a GPU if there
is one.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import smplx
import torch
from _report import Figure, arguments, report

from hmtools.bodies.assets import load_model, standin_dir
from hmtools.bodies.derive import Deriver
from hmtools.bodies.layers import BodyLayer
from hmtools.bodies.params import POSE_PARTS, BodyParams
from hmtools.humandata.record import Record

BATCH = 64


def seconds(run: Callable[[], Any], times: int, *, gpu: bool) -> float:
    """Median wall time of ``run``, the first two calls left out."""
    found = []
    for _ in range(times + 2):
        began = time.perf_counter()
        run()
        if gpu:
            torch.cuda.synchronize()
        found.append(time.perf_counter() - began)
    return statistics.median(found[2:])


def bodies(device: str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Random SMPL-X parameters."""
    rng = torch.Generator().manual_seed(0)
    values = {n: 0.4 * torch.randn(BATCH, 3 * c, generator=rng) for n, c in POSE_PARTS["smplx"].items()}
    values |= {n: torch.randn(BATCH, 10, generator=rng) for n in ("betas", "expression")}
    return {n: v.to(device, dtype) for n, v in (values | {"transl": torch.zeros(BATCH, 3)}).items()}


def layer_figures(models: Path, times: int, device: str) -> list[Figure]:
    """One forward pass: the package, our mesh, our joints alone."""
    gpu = device == "cuda"
    package = smplx.create(
        str(models),
        model_type="smplx",
        use_pca=False,
        flat_hand_mean=True,
        use_face_contour=True,
        batch_size=BATCH,
    ).to(device)
    ours = BodyLayer(load_model("smplx", "neutral", roots=(models,))).to(device)
    values = bodies(device, torch.float32)
    params = BodyParams(**values)
    with torch.inference_mode():
        theirs = seconds(lambda: package(**values), times, gpu=gpu)
        mesh = seconds(lambda: ours(params), times, gpu=gpu)
        joints = seconds(lambda: ours(params, vertices=False), times, gpu=gpu)
    where = f"SMPL-X, {BATCH} bodies, {device}"
    return [
        Figure(name=f"mesh and joints, {where} (baseline: smplx package)", baseline=theirs, value=mesh,
               unit="s", ratio=theirs / mesh, target=">= 1" if device == "cpu" else "", met=mesh <= theirs),
        Figure(name=f"joints alone, {where} (baseline: our mesh)", baseline=mesh, value=joints, unit="s",
               ratio=mesh / joints, target=">= 3" if device == "cpu" else "", met=mesh >= 3 * joints),
    ]  # fmt: skip


def derive_figure(models: Path, times: int) -> Figure:
    """Records filled per second, as a conversion does it."""
    values = {f"smplx_{n}": v.numpy() for n, v in bodies("cpu", torch.float32).items()}

    def people() -> list[Record]:
        camera = {
            "focal_length": np.array([900, 900], np.float32),
            "principal_point": np.array([500, 400], np.float32),
        }
        same: dict[str, Any] = {**camera, "width": 1000, "height": 800, "gender": "neutral"}
        rows = [Record(**{n: v[i] for n, v in values.items()}, **same) for i in range(BATCH)]
        for row in rows:
            row.smplx_transl = np.array([0, 0, 5], np.float32)
        return rows

    derive = Deriver((models,))
    took = seconds(lambda: derive.fill([person for _ in range(4) for person in people()]), times, gpu=False)
    return Figure(name="records derived per second (1 thread)", value=4 * BATCH / took, unit="1/s")


def main() -> int:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--times", type=int, default=10, help="passes per figure (default 10)")
    parser.add_argument("--models", type=Path, help="folder of body models (default: the stand-in)")
    args = parser.parse_args()
    models = args.models or standin_dir()
    torch.set_num_threads(1)
    figures = layer_figures(models, args.times, "cpu")
    if torch.cuda.is_available():
        figures += layer_figures(models, args.times, "cuda")
    return report([*figures, derive_figure(models, args.times)], {"passes": args.times}, args.json)


if __name__ == "__main__":
    raise SystemExit(main())
