"""Training SMPLer-X on one GPU: images per second with its loader, the time it waits for data, memory.

Whole steps as ``hmtools train`` takes them: reading crops, targets, both passes, Adam; no validation and no
checkpoint. The data is a synthetic miniature of MS COCO, read again and again, so it comes from memory.
Nothing is run without a GPU.
"""

from __future__ import annotations

import os
import statistics
from pathlib import Path
from typing import Any

import torch
from _report import Figure, arguments, report, scratch

from hmtools.convert.run import convert
from hmtools.synth import make_miniature
from hmtools.train.log import read_log
from hmtools.train.recipe_files import load_training
from hmtools.train.run_folder import RunFolder, RunOptions
from hmtools.train.worker import run_worker

WAIT_GOAL = 0.05
_WARM = 8  # steps left out: the first ones find kernels and fill the loader
_SET = ("mscoco", "train2017")


def miniature(folder: Path, images: int) -> Path:
    """Converted people to train on."""
    name, split = _SET
    make_miniature(name, folder / "raw", images, 2, 1, (640, 480), (split,))
    convert(name, root=folder / "raw", out=folder / "shards", splits=(split,), progress=False)
    return folder / "shards"


def measure(size: str, batch: int, shards: Path, out: Path, args: Any) -> list[dict[str, Any]]:
    """Train for some steps; the log of those that count."""
    dataset, split = _SET
    changes = [
        f"model.size={size}", "model.init=random", "data.strategy=balance", "data.epoch_size=1000000",
        f"data.sets=[{{'dataset': {dataset!r}, 'split': {split!r}}}]", "validate.sets=[]",
        f"batch.global_batch={batch}", f"batch.micro_batch={batch}", f"run.max_steps={args.steps + _WARM}",
        "run.checkpoint_every=1000000", "run.log_every=1", f"run.precision={args.precision}",
        f"run.compile={args.compile}",
    ]  # fmt: skip
    run = RunFolder(out)
    options = RunOptions(shards=str(shards), sets=("/".join(_SET),), workers=args.workers, device="cuda")
    run.prepare(load_training("smplerx/tiny/demo", changes), options)
    torch.cuda.reset_peak_memory_stats()
    run_worker(run.path)
    return read_log(run.log)[_WARM:]


def figures(args: Any) -> list[Figure]:
    """Every size and batch."""
    found: list[Figure] = []
    with scratch() as folder:
        shards = miniature(folder, args.images)
        for size, batch in args.cases:
            rows = measure(size, batch, shards, folder / f"{size}-{batch}", args)
            images, wait = (
                statistics.median(row[name] for row in rows) for name in ("images_per_s", "data_wait")
            )
            name = f"SMPLer-X {size.upper()}, batch {batch}"
            found += [
                Figure(name=name, value=images, unit="images/s"),
                Figure(
                    name="its wait for data", value=wait, unit="share", target=f"< {WAIT_GOAL:g}",
                    met=wait < WAIT_GOAL,
                ),
                Figure(name="its memory", value=max(row["memory_gb"] for row in rows), unit="GB"),
            ]  # fmt: skip
    return found


def _case(text: str) -> tuple[str, int]:
    size, _, batch = text.partition(":")
    return size, int(batch)


def main() -> int:
    """Measure and report."""
    cores = len(os.sched_getaffinity(0))
    parser = arguments(__doc__)
    parser.add_argument(
        "--cases", type=_case, nargs="+", metavar="SIZE:BATCH", default=[("b", 32), ("h", 16)],
        help="default: b:32 h:16, the published batches of a GPU",
    )  # fmt: skip
    parser.add_argument("--steps", type=int, default=40, help="that are measured (default 40)")
    parser.add_argument("--images", type=int, default=200, help="of the miniature (default 200)")
    parser.add_argument("--workers", type=int, default=min(8, cores - 1), help="that make batches")
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--compile", action="store_true", help="pass the network through torch.compile")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("not run: no GPU")
        return 0
    settings = {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        **{name: getattr(args, name) for name in ("steps", "workers", "precision", "compile")},
    }
    return report(figures(args), settings, args.json)


if __name__ == "__main__":
    raise SystemExit(main())
