"""All 18 errors of SMPL-X meshes: batched against one person after another in NumPy, and their memory.

Meshes are the stand-in's template, scaled, moved 25 m away and disturbed; making them is not timed. One
thread, and a GPU if there is one.
"""

from __future__ import annotations

import ctypes
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _report import Figure, arguments, report
from numpy.typing import NDArray

from hmtools.bench.metrics import SMPLX_METRICS, measure_smplx
from hmtools.bench.parts import PART_ROWS, BodyParts
from hmtools.bodies.assets import load_model, standin_dir

Mesh = NDArray[np.float32]
BATCH = 200


def pairs(models: Path, count: int) -> Iterator[tuple[Mesh, Mesh]]:
    """Batches of predicted and true meshes, float32 metres."""
    rest = np.asarray(load_model("smplx", "neutral", roots=[models]).v_template, np.float32)
    rng = np.random.default_rng(0)
    for _ in range(count // BATCH):
        place = rng.normal(0, 0.3, (2, BATCH, 1, 3)).astype(np.float32) + np.array([0, 0, 25], np.float32)
        size = rng.uniform(0.9, 1.1, (2, BATCH, 1, 3)).astype(np.float32)
        noise = 0.02 * rng.standard_normal((BATCH, *rest.shape), dtype=np.float32)
        yield rest * size[0] + place[0] + noise, rest * size[1] + place[1]


class OneByOne:
    """The usual loop: every person alone, plain NumPy, float32."""

    def __init__(self, parts: BodyParts) -> None:
        used = parts.joints
        matrix = np.zeros((len(used), used.vertices), np.float32)
        matrix[:, used.ids.numpy()] = used.weights.numpy()
        self.roots = {"pelvis": matrix[0], "neck": matrix[1], "lwrist": matrix[16], "rwrist": matrix[37]}
        self.joints = {part: matrix[rows] for part, rows in PART_ROWS.items()}
        self.hands, self.face = parts.hands.numpy(), parts.face.numpy()

    def __call__(self, predicted: Mesh, target: Mesh) -> dict[str, float]:
        """The metrics of one person, millimetres."""
        apart = {name: row @ predicted - row @ target for name, row in self.roots.items()}
        groups = {
            "pve_all": (predicted, target, "pelvis"),
            "pve_lhand": (predicted[self.hands[0]], target[self.hands[0]], "lwrist"),
            "pve_rhand": (predicted[self.hands[1]], target[self.hands[1]], "rwrist"),
            "pve_face": (predicted[self.face], target[self.face], "neck"),
        }
        for name, part, root in (("mpjpe_body", "body", "pelvis"), ("mpjpe_lhand", "left_hand", "lwrist"),
                                 ("mpjpe_rhand", "right_hand", "rwrist")):  # fmt: skip
            groups[name] = (self.joints[part] @ predicted, self.joints[part] @ target, root)
        found = {}
        for name, (x, y, root) in groups.items():
            found[name] = 1000 * float(np.sqrt(((x - apart[root] - y) ** 2).sum(1)).mean())
            found["pa_" + name] = 1000 * float(np.sqrt(((self.aligned(x, y) - y) ** 2).sum(1)).mean())
        for name in ("pve", "pa_pve", "mpjpe", "pa_mpjpe"):
            found[name + "_hand"] = (found[name + "_lhand"] + found[name + "_rhand"]) / 2
        return found

    @staticmethod
    def aligned(x: Mesh, y: Mesh) -> Mesh:
        """``x`` after the best similarity to ``y``."""
        middle_x, middle_y = x.mean(0), y.mean(0)
        a, b = x - middle_x, y - middle_y
        u, singular, vt = np.linalg.svd(b.T @ a)
        signs = np.array([1, 1, np.sign(np.linalg.det(u @ vt))], np.float32)
        rotation = (u * signs) @ vt
        scale = (singular * signs).sum() / (a * a).sum()
        moved: Mesh = scale * a @ rotation.T + middle_y
        return moved


def resident() -> float:
    """Anonymous memory of this process, MB; 0 where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), 0.0)


def release() -> None:
    """Give freed memory back, where the C library can: it would hide what is taken next."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def growth(models: Path, run: Callable[[Mesh, Mesh], dict[str, Any]]) -> float:
    """Most memory on top of the meshes while five batches are measured, MB; looked at every millisecond."""
    most, over = 0.0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.001):
            most = max(most, resident() - before)

    for predicted, target in pairs(models, 5 * BATCH):
        release()
        before = resident()
        watcher = threading.Thread(target=watch)
        watcher.start()
        run(predicted, target)
        over.set()
        watcher.join()
        over.clear()
    return most


def timed(
    models: Path, count: int, run: Callable[[Mesh, Mesh], dict[str, Any]]
) -> tuple[float, NDArray[Any]]:
    """Seconds for ``count`` people, and their metrics."""
    seconds, found = [], []
    for predicted, target in pairs(models, count):
        began = time.perf_counter()
        values = run(predicted, target)
        seconds.append(time.perf_counter() - began)
        found.append(np.stack([np.asarray(values[name]) for name in SMPLX_METRICS], 1))
    # the first batch warms up; the middle one stands for all, other programs run here too
    return statistics.median(seconds[1:] or seconds) * count / BATCH, np.concatenate(found)


def batched(parts: BodyParts, device: str) -> Callable[[Mesh, Mesh], dict[str, Any]]:
    """:func:`measure_smplx` on ``device``, copies to and from it included."""
    moved = parts.to(device)

    def run(predicted: Mesh, target: Mesh) -> dict[str, Any]:
        x, y = (torch.as_tensor(mesh).to(device) for mesh in (predicted, target))
        return {name: value.cpu().numpy() for name, value in measure_smplx(x, y, moved).items()}

    return run


def looped(parts: BodyParts) -> Callable[[Mesh, Mesh], dict[str, Any]]:
    """The loop over the people of a batch."""
    one = OneByOne(parts)

    def run(predicted: Mesh, target: Mesh) -> dict[str, Any]:
        rows = [one(x, y) for x, y in zip(predicted, target, strict=True)]
        return {name: [row[name] for row in rows] for name in SMPLX_METRICS}

    return run


def main() -> int:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--meshes", type=int, default=2000, help="people, a multiple of 200 (default 2000)")
    parser.add_argument("--models", type=Path, help="folder of body models (default: the stand-in)")
    args = parser.parse_args()
    models = args.models or standin_dir()
    torch.set_num_threads(1)
    parts = BodyParts.load([models])
    figures = [Figure(name=f"memory on top of the meshes, batches of {BATCH}, cpu",
                      value=growth(models, batched(parts, "cpu")), unit="MB")]  # fmt: skip
    loop_time, expected = timed(models, args.meshes, looped(parts))
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        took, values = timed(models, args.meshes, batched(parts, device))
        apart = float(np.abs(values - expected).max())
        figures += [
            Figure(name=f"{args.meshes} people, {device} (baseline: NumPy loop)", baseline=loop_time,
                   value=took, unit="s", ratio=loop_time / took, target=">= 3", met=loop_time >= 3 * took),
            Figure(name=f"largest difference between the two, {device}", value=apart, unit="mm",
                   target="<= 0.05", met=apart <= 0.05),
        ]  # fmt: skip
    return report(figures, {"batch": BATCH, "threads": 1}, args.json)


if __name__ == "__main__":
    raise SystemExit(main())
