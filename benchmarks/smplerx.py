"""A pass of SMPLer-X on the processor, beside the same network with attention written out.

Weights are new and the body is the stand-in: neither changes how long a pass takes. Each measurement has a
process of its own, with one thread; the two builds take turns, and the best pass of each counts. Memory is
the peak of the resident set of such a process.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import Any

import torch
from _report import Figure, arguments, report

from hmtools.bodies.assets import load_model, standin_dir
from hmtools.bodies.layers import BodyLayer
from hmtools.models.sizes import SIZES
from hmtools.models.smplerx.model import SmplerX

BUILDS = ("eager", "sdpa")
SPEED, MEMORY = 0.95, 1.0
_NOISE = 0.01  # the resident set of one and the same program differs by that much from run to run


def measure(build: str, size: str, batch: int, times: int) -> dict[str, float]:
    """Seconds of the best pass, and the peak of this process's memory, MB."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    body = BodyLayer(load_model("smplx", "neutral", roots=(standin_dir(),)), surface=False)
    net = SmplerX(SIZES[size], body, attention=build).eval()  # type: ignore[arg-type]
    crops = torch.rand(batch, 3, *net.crop_size)
    found = []
    with torch.inference_mode():
        for _ in range(times + 1):
            began = time.perf_counter()
            net(crops)
            found.append(time.perf_counter() - began)
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": min(found[1:]), "megabytes": peak_kb / 1000}


def apart(build: str, args: Any) -> dict[str, float]:
    """:func:`measure` in a fresh process."""
    options = [f"--{name}={getattr(args, name)}" for name in ("size", "batch", "times")]
    command = [sys.executable, __file__, "--measure", build, *options]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return found


def figures(args: Any) -> list[Figure]:
    """Both builds, in turns."""
    rounds = [{build: apart(build, args) for build in BUILDS} for _ in range(args.rounds)]
    best = {
        (build, name): min(found[build][name] for found in rounds)
        for build in BUILDS
        for name in ("seconds", "megabytes")
    }
    speed = best["eager", "seconds"] / best["sdpa", "seconds"]
    memory = best["sdpa", "megabytes"] / best["eager", "megabytes"]
    what = f"SMPLer-X {args.size.upper()}, {args.batch} crops, 1 thread"
    return [
        Figure(
            name=f"{what} (baseline: attention written out)",
            baseline=best["eager", "seconds"],
            value=best["sdpa", "seconds"],
            unit="s",
            ratio=speed,
            target=f">= {SPEED}",
            met=speed >= SPEED,
        ),
        Figure(
            name="peak memory of the process (baseline: attention written out)",
            baseline=best["eager", "megabytes"],
            value=best["sdpa", "megabytes"],
            unit="MB",
            ratio=memory,
            target=f"<= {MEMORY:g}, {_NOISE:.0%} noise",
            met=memory <= MEMORY + _NOISE,
        ),
    ]


def main() -> int:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--size", choices=sorted(SIZES), default="b", help="of the network (default b)")
    parser.add_argument(
        "--batch",
        type=int,
        default=16,
        help="crops a pass (default 16; with few, what attention takes drowns in the noise of the process)",
    )
    parser.add_argument("--times", type=int, default=1, help="timed passes per process (default 1)")
    parser.add_argument("--rounds", type=int, default=2, help="processes per build (default 2)")
    parser.add_argument("--measure", choices=BUILDS, help="measure one build in this process, as JSON")
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.measure, args.size, args.batch, args.times)))
        return 0
    settings = {name: getattr(args, name) for name in ("size", "batch", "times", "rounds")}
    return report(figures(args), {**settings, "torch": torch.__version__}, args.json)


if __name__ == "__main__":
    raise SystemExit(main())
