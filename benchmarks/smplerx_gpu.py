"""Passes of SMPLer-X on a GPU: images per second, use of the machine, memory; nothing is run without a GPU.

Two ways to run the same network: float32 with attention written out and no compiler (and no TF32), and
bfloat16 with fused attention and ``torch.compile``. Crops lie on the GPU already. Weights are new and the
body is the stand-in: neither changes how long a pass takes.

**Use of the machine** (MFU) = images per second x floating-point operations per image / the most the GPU does
in dense bfloat16 (or float32). Operations are those of matrix products and convolutions, as torch counts
them, of the pass with attention written out.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from _report import Figure, arguments, report
from torch.utils.flop_counter import FlopCounterMode

from hmtools.bodies.assets import load_model, standin_dir
from hmtools.bodies.layers import BodyLayer
from hmtools.models.sizes import SIZES
from hmtools.models.smplerx.model import SmplerX

PEAK_FLOPS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        # part of the device's name -> dense bfloat16, float32 outside of tensor cores; the first that fits
        "H200": (989.5e12, 66.9e12),
        "H100 PCIe": (756.0e12, 51.2e12),
        "H100": (989.5e12, 66.9e12),
        "A100": (312.0e12, 19.5e12),
        "L40S": (362.0e12, 91.6e12),
        "RTX 4090": (165.2e12, 82.6e12),
    }
)
GOAL_DEVICE, GOAL_IMAGES, GOAL_MFU = "H200", 1500.0, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to run the network: its name, and what distinguishes it."""

    name: str
    attention: str
    bfloat16: bool
    compiled: bool


WAYS = (
    Way(name="float32, attention written out", attention="eager", bfloat16=False, compiled=False),
    Way(name="bfloat16, fused attention, compiled", attention="sdpa", bfloat16=True, compiled=True),
)


def seconds(run: Callable[[], Any], times: int) -> float:
    """Median wall time of ``run`` on the GPU, the first three left out: they compile and find kernels."""
    found = []
    for _ in range(times + 3):
        torch.cuda.synchronize()
        began = time.perf_counter()
        run()
        torch.cuda.synchronize()
        found.append(time.perf_counter() - began)
    return statistics.median(found[3:])


def operations(size: str, body: BodyLayer, device: str) -> float:
    """Floating-point operations of one image; the model itself is not kept."""
    net = SmplerX(SIZES[size], body, attention="eager").eval().to(device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.rand(1, 3, *net.crop_size, device=device))
    return float(counter.get_total_flops())


def peak_flops(device_name: str, *, bfloat16: bool) -> float | None:
    """The most this GPU does; None for one that is not in the table."""
    for part, (half, single) in PEAK_FLOPS.items():
        if part in device_name:
            return half if bfloat16 else single
    return None


def measure(way: Way, size: str, body: BodyLayer, batch: int, args: Any) -> tuple[float, float]:
    """Images per second, and the peak of allocated memory, GB."""
    torch.compiler.reset()
    torch.manual_seed(0)
    net = SmplerX(SIZES[size], body, attention=way.attention).eval().cuda()  # type: ignore[arg-type]
    crops = torch.rand(batch, 3, *net.crop_size, device="cuda")
    call = torch.compile(net, mode=args.mode, dynamic=False) if way.compiled else net
    torch.cuda.reset_peak_memory_stats()
    precision = torch.autocast("cuda", dtype=torch.bfloat16) if way.bfloat16 else nullcontext()
    with torch.no_grad(), precision:
        took = seconds(lambda: call(crops), args.times)
    return batch / took, torch.cuda.max_memory_allocated() / 1e9


def figures(args: Any) -> list[Figure]:
    """Every batch size, both ways."""
    device = torch.cuda.get_device_name()
    body = BodyLayer(load_model("smplx", "neutral", roots=(standin_dir(),)), surface=False)
    flops = operations(args.size, body, "cuda")
    found = [Figure(name="operations of one image", value=flops / 1e9, unit="GFLOP")]
    for batch in args.batches:
        before: tuple[float, float] | None = None
        for way in WAYS:
            images, memory = measure(way, args.size, body, batch, args)
            found += _three(f"{way.name}, batch {batch}", device, way, (images, memory), before, flops)
            before = images, memory
    return found


def _three(
    name: str,
    device: str,
    way: Way,
    measured: tuple[float, float],
    before: tuple[float, float] | None,
    flops: float,
) -> list[Figure]:
    images, memory = measured
    goal = way.bfloat16 and GOAL_DEVICE in device and name.endswith(" 128")
    peak = peak_flops(device, bfloat16=way.bfloat16)
    found = [
        Figure(
            name=name,
            value=images,
            unit="images/s",
            baseline=before[0] if before else None,
            ratio=images / before[0] if before else None,
            target=f">= {GOAL_IMAGES:g}" if goal else "",
            met=images >= GOAL_IMAGES if goal else None,
        ),
        Figure(
            name="its memory",
            value=memory,
            unit="GB",
            baseline=before[1] if before else None,
            ratio=memory / before[1] if before else None,
        ),
    ]
    if peak is not None:
        use = images * flops / peak
        target, met = (f">= {GOAL_MFU:g}", use >= GOAL_MFU) if goal else ("", None)
        found.append(Figure(name="its use of the machine", value=use, unit="MFU", target=target, met=met))
    return found


def main() -> int:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--size", choices=sorted(SIZES), default="h", help="of the network (default h)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32, 128], help="default: 1 32 128")
    parser.add_argument("--times", type=int, default=20, help="passes per figure (default 20)")
    parser.add_argument("--mode", default="default", help="of torch.compile (default: default)")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("not run: no GPU")
        return 0
    settings = {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        **{name: getattr(args, name) for name in ("size", "times", "mode")},
    }
    return report(figures(args), settings, args.json)


if __name__ == "__main__":
    raise SystemExit(main())
