"""Conversion of video sequences: memory over 300 sequences of 3DPW's kind, time beside copying the images.

The sequences are made: two people each, all arrays of the sequence files with the sizes of the release (300
betas, clothed templates, a texture), in its pickles of protocol 2. Memory is the peak of RssAnon of one
process that converts without images, at a tenth of the sequences and at all of them. Time is that of
full-size frames (1080x1920) with all that a conversion does to them (labels, header and pixels checked, tar,
npz, json, Arrow, checksums, fsync), against reading the same files and writing them to synced files.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from _coco import photo
from _report import Figure, arguments, report, scratch

from hmtools.convert.run import convert

PEOPLE, WIDTH, HEIGHT = 2, 1080, 1920
_GROWTH_MB = 40.0


def recording(name: str, frames: int) -> dict[str, Any]:
    """What ``<name>.pkl`` holds: people side by side, 4 m before a camera that walks past them."""
    rng = np.random.default_rng(len(name))
    cameras = np.tile(np.diag([1.0, -1.0, -1.0, 1.0]), (frames, 1, 1))
    cameras[:, :3, 3] = np.stack(
        [0.001 * np.arange(frames), np.full(frames, 1.0), np.full(frames, 4.0)], axis=1
    )
    joints = [rng.uniform([-1, 0.2, -0.2], [1, 1.6, 0.2], (24, 3)) for _ in range(PEOPLE)]
    for person in joints:
        person[[7, 8, 15], 1] = 0.05, 0.05, 1.75  # ankles and head: upright
    dense = 2 * frames + 4
    each = range(PEOPLE)
    return {
        "sequence": name,
        "genders": ["m", "f"],
        "betas": [rng.normal(size=300) for _ in each],
        "betas_clothed": [rng.normal(size=10) for _ in each],
        "v_template_clothed": [rng.normal(size=(6890, 3)) for _ in each],
        "texture_maps": [np.zeros((512, 512, 3), np.uint8) for _ in each],
        "poses": [rng.uniform(-0.3, 0.3, (frames, 72)) for _ in each],
        "trans": [np.tile([0.3 * person, 1.0, 0.0], (frames, 1)) for person in each],
        "poses_60Hz": [rng.uniform(-0.3, 0.3, (dense, 72)) for _ in each],
        "trans_60Hz": [np.zeros((dense, 3)) for _ in each],
        "img_frame_ids": 2 * np.arange(frames) + 2,
        "jointPositions": [np.tile(joints[person].reshape(1, 72), (frames, 1)) for person in each],
        "poses2d": [rng.uniform(1, 1000, (frames, 3, 18)) for _ in each],
        "cam_poses": cameras,
        "cam_intrinsics": np.array([[1960.0, 0, WIDTH / 2], [0, 1960.0, HEIGHT / 2], [0, 0, 1]]),
        "campose_valid": [np.ones(frames, np.int64) for _ in each],
    }


def make_pw3d(root: Path, sequences: int, frames: int, pictures: list[bytes]) -> None:
    """A test split; the pictures come again and again, as links to the same files."""
    root.mkdir(parents=True)
    for number, data in enumerate(pictures):
        (root / f"{number}.jpg").write_bytes(data)
    labels = root / "sequenceFiles/test"
    labels.mkdir(parents=True)
    for number in range(sequences):
        name = f"sequence_{number:03d}"
        (labels / f"{name}.pkl").write_bytes(pickle.dumps(recording(name, frames), protocol=2))
        folder = root / "imageFiles" / name
        folder.mkdir(parents=True)
        for frame in range(frames):
            os.link(root / f"{frame % len(pictures)}.jpg", folder / f"image_{frame:05d}.jpg")


def anonymous_mb() -> float:
    """Memory of this process that no file backs, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("RssAnon"))) / 1024


def convert_watched(root: Path, out: Path) -> dict[str, float]:
    """Convert without images in this process; records, seconds and the peak of its memory."""
    peak, done = 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, anonymous_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    try:
        (split,) = convert("pw3d", root=root, out=out, images="none", workers=0, progress=False)
    finally:
        done.set()
        watcher.join()
    records = split.outcome.count("records")
    return {"records": records, "seconds": time.perf_counter() - start, "peak_mb": peak}


def watched(root: Path, out: Path) -> dict[str, float]:
    """The same in a fresh process."""
    command = [sys.executable, __file__, "--watched", str(root), str(out)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(run.stdout)
    return found


def copy(root: Path, out: Path) -> float:
    """Seconds to copy every picture into a synced file of its own."""
    out.mkdir()
    start = time.perf_counter()
    for number, source in enumerate(sorted((root / "imageFiles").rglob("*.jpg"))):
        with (out / f"{number}.jpg").open("wb") as file:
            file.write(source.read_bytes())
            os.fsync(file.fileno())
    return time.perf_counter() - start


def memory(folder: Path, sequences: int, frames: int) -> list[Figure]:
    """Peak memory at a tenth of the sequences and at all of them."""
    small = cv2.imencode(".jpg", np.full((HEIGHT, WIDTH, 3), 127, np.uint8))[1].tobytes()
    found = []
    for count in (max(1, sequences // 10), sequences):
        root = folder / f"raw{count}"
        make_pw3d(root, count, frames, [small])
        found.append(watched(root, folder / f"out{count}"))
    few, all_ = found
    growth = all_["peak_mb"] - few["peak_mb"]
    return [
        Figure(
            name=f"peak RssAnon, {sequences} sequences (baseline: a tenth of them)",
            value=all_["peak_mb"], unit="MB", baseline=few["peak_mb"], ratio=all_["peak_mb"] / few["peak_mb"],
            target=f"< + {_GROWTH_MB:g} MB", met=growth < _GROWTH_MB,
        ),
        Figure(name="records without images", value=all_["records"] / all_["seconds"], unit="1/s"),
    ]  # fmt: skip


def speed(folder: Path, frames: int) -> Figure:
    """Seconds per 1000 records of full frames, one person in each two records, against copying the frames."""
    root = folder / "speed"
    make_pw3d(root, 1, frames, [photo(np.random.default_rng(seed), WIDTH, HEIGHT) for seed in range(8)])
    convert("pw3d", root=root, out=folder / "warm", images="none", workers=0, progress=False)
    start = time.perf_counter()
    (split,) = convert("pw3d", root=root, out=folder / "full", workers=0, progress=False)
    seconds = time.perf_counter() - start
    thousand = 1000 / split.outcome.count("records")
    bare = copy(root, folder / "copy")
    return Figure(
        name="1000 records with full 1080x1920 frames, 2 people each (baseline: copying the frames)",
        value=seconds * thousand, unit="s", baseline=bare * thousand, ratio=seconds / bare,
    )  # fmt: skip


def main() -> int:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--sequences", type=int, default=300)
    parser.add_argument("--frames", type=int, default=100, help="frames of a sequence")
    parser.add_argument("--full", type=int, default=200, help="frames that are timed")
    parser.add_argument("--watched", nargs=2, type=Path, help="for the script itself: ROOT OUT")
    options = parser.parse_args()
    if options.watched:
        print(json.dumps(convert_watched(*options.watched)))
        return 0
    with scratch() as folder:
        figures = [*memory(folder, options.sequences, options.frames), speed(folder, options.full)]
    return report(figures, {"sequences": options.sequences, "frames": options.frames}, options.json)


if __name__ == "__main__":
    sys.exit(main())
