"""Images and videos to predictions: how well stages overlap, memory against length, drawing people.

Overlap: a 720p video with one person, a model that takes a fixed time per person and no processor, as one on
a GPU does. The wall time of all is compared with that of the slowest stage alone; the baseline is the sum of
the stages, one after the other. Memory: the peak of RssAnon of a fresh process, at 60 and at 1200 frames.
Drawing: overlays of the stand-in body over the same video. On a GPU, ``--model`` is measured end to end.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _report import Figure, arguments, report, scratch

from hmtools.bodies.assets import body_hash, load_model, standin_dir
from hmtools.core.settings import load_settings
from hmtools.infer.crops import Crop, person_crop
from hmtools.infer.media import Skips, Span, find_media, frames_of
from hmtools.infer.parts import PartedWriter
from hmtools.infer.pipeline import MediaOptions, run_media
from hmtools.infer.predict import prediction_spec
from hmtools.models.smplerx.adapter import Predicted
from hmtools.models.smplerx.joint_sets import NATIVE
from hmtools.synth.video_file import write_video

WIDTH, HEIGHT = 1280, 720
BOX = [500.0, 60.0, 280.0, 600.0]
_ZEROS = {"left_hand_pose": 45, "right_hand_pose": 45, "betas": 10, "expression": 10} | dict.fromkeys(
    ("global_orient", "transl", "jaw_pose", "leye_pose", "reye_pose"), 3
)


class SlowModel:
    """Takes a fixed time for each person, in which the processor is free; sees one who stands upright.

    Args:
        delay: seconds for a person.
    """

    device = "cpu"

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.facts: dict[str, Any] = {"model": "fixed-delay"}

    def predict(self, crops: Sequence[Crop]) -> Predicted:
        """Nobody looks at the crops."""
        time.sleep(self.delay * len(crops))
        count = len(crops)
        body = {f"smplx_{name}": torch.zeros(count, size) for name, size in _ZEROS.items()}
        body["smplx_body_pose"] = torch.zeros(count, 63)
        body["smplx_global_orient"][:, 0] = torch.pi  # bodies are made with y up
        body["smplx_transl"] += torch.tensor([0.0, 0.25, 4.5])
        return Predicted(
            **body,
            focal_length=torch.full((count, 2), 1500.0),
            principal_point=torch.tensor([[WIDTH / 2, HEIGHT / 2]]).repeat(count, 1),
            virtual_transl=body["smplx_transl"],
            crop_affine=torch.from_numpy(np.stack([crop.affine for crop in crops])).float(),
            joints2d=torch.zeros(count, 144, 2),
            joints3d=torch.zeros(count, 144, 3),
            convention=NATIVE,
            vertices=None,
        )


def pictures(count: int) -> Iterator[Any]:
    """Something that moves, with some texture."""
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
    still = noise.repeat(8, axis=0).repeat(8, axis=1)
    return (np.roll(still, 4 * number, axis=1) for number in range(count))


def make(folder: Path, frames: int) -> tuple[Path, MediaOptions]:
    """A video and the box of its person."""
    video, boxes = folder / f"{frames}.mp4", folder / f"{frames}.json"
    write_video(video, pictures(frames), 30, codec="h264")
    boxes.write_text(json.dumps([{"frame": number, "bbox_xywh": BOX} for number in range(frames)]))
    return video, MediaOptions(boxes=boxes, overwrite=True)


def seconds(work: Callable[[], object]) -> float:
    """How long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def stages(video: Path, frames: int, model: SlowModel, out: Path) -> dict[str, float]:
    """Seconds that each stage takes alone."""
    media = find_media([video])

    def decode() -> None:
        for _ in frames_of(media.media, Span(), Skips()):
            pass

    image = next(iter(frames_of(media.media, Span(), Skips()))).image
    crop = person_crop(image, BOX, (WIDTH, HEIGHT))
    assert crop is not None
    answer = SlowModel(0).predict([crop])
    row = {name: getattr(answer, name)[0] for name in ("smplx_body_pose", "smplx_transl", "focal_length")}

    def write() -> None:
        writer = PartedWriter(out, prediction_spec(), {"model": "m"}, overwrite=True)
        rows = [{**row, "joints2d": np.zeros((144, 3)), "joints3d": np.zeros((144, 4))}] * frames
        writer.write(rows)
        writer.finish({})

    return {
        "decode": seconds(decode),
        "crop": seconds(lambda: [person_crop(image, BOX, (WIDTH, HEIGHT)) for _ in range(frames)]),
        "predict": seconds(lambda: [model.predict([crop] * 8) for _ in range(frames // 8)]),
        "write": seconds(write),
    }


def overlap(folder: Path, frames: int, delay: float, repeat: int) -> list[Figure]:
    """Everything at once against the slowest stage."""
    video, options = make(folder, frames)
    model = SlowModel(delay)
    run_media([video], SlowModel(0), folder / "warm", options)
    alone = stages(video, frames, model, folder / "stages")
    wall = min(seconds(lambda: run_media([video], model, folder / "all", options)) for _ in range(repeat))
    slowest = max(alone, key=lambda name: alone[name])
    ratio = wall / alone[slowest]
    found = [
        Figure(name=f"{name} alone, {frames} frames", value=took, unit="s") for name, took in alone.items()
    ]
    name = f"all stages, ratio to {slowest} alone (baseline: one after the other)"
    whole = Figure(
        name=name,
        value=wall,
        unit="s",
        baseline=sum(alone.values()),
        ratio=ratio,
        target="<= 1.15",
        met=ratio <= 1.15,
    )
    return [*found, whole]


def anonymous_mb() -> float:
    """Memory of this process that no file backs, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("RssAnon"))) / 1024


def watched(video: Path, boxes: Path, out: Path) -> float:
    """Peak of this process while it predicts, MB."""
    peak, done = 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, anonymous_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run_media([video], SlowModel(0.005), out, MediaOptions(boxes=boxes))
    finally:
        done.set()
        watcher.join()
    return peak


def memory(folder: Path, counts: tuple[int, int]) -> list[Figure]:
    """Growth with the length of a video."""
    peaks = []
    for frames in counts:
        video, options = make(folder, frames)
        command = [
            sys.executable,
            __file__,
            "--watched",
            str(video),
            str(options.boxes),
            str(folder / f"m{frames}"),
        ]
        peaks.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    growth = peaks[1] - peaks[0]
    name = f"peak RssAnon, {counts[1]} frames (baseline: {counts[0]}), growth in ratio"
    target = "+ <= 50 MB"
    return [
        Figure(
            name=name,
            value=peaks[1],
            unit="MB",
            baseline=peaks[0],
            ratio=growth,
            target=target,
            met=growth <= 50,
        )
    ]


def drawing(folder: Path, frames: int) -> list[Figure]:
    """Frames per second of overlays."""
    from hmtools.infer.render import render_predictions

    video, options = make(folder, frames)
    model = SlowModel(0)
    body = load_model("smplx", "neutral", roots=(standin_dir(),))
    model.facts |= {"body_sha256": body_hash(body), "standin": True}
    summary = run_media([video], model, folder / "drawn", options)
    settings = load_settings({"body_models": str(standin_dir())})
    took = seconds(
        lambda: render_predictions(
            summary.path, "overlay", folder / "overlay.mp4", media=folder, settings=settings
        )
    )
    speed = frames / took
    return [
        Figure(
            name="overlay video, 720p, one person",
            value=speed,
            unit="frames/s",
            target=">= 5",
            met=speed >= 5,
        )
    ]


def on_gpu(folder: Path, name: str | None, frames: int) -> list[Figure]:
    """A video end to end with a real network."""
    if name is None or not torch.cuda.is_available():
        print("end to end on a GPU: not run: no GPU" if name else "end to end on a GPU: not run: no --model")
        return []
    from hmtools.infer.model import load_model as load_network

    video, options = make(folder, frames)
    model = load_network(name, device="cuda", precision="bf16", allow_standin=True)
    run_media([video], model, folder / "gpu", options)
    took = seconds(lambda: run_media([video], model, folder / "gpu", options))
    return [
        Figure(name=f"{name}, {torch.cuda.get_device_name()}, 720p", value=frames / took, unit="frames/s")
    ]


def main() -> int:
    """Measure, print, write."""
    parser = arguments(__doc__)
    parser.add_argument("--frames", type=int, default=320, help="of the video for overlap and drawing")
    parser.add_argument("--delay", type=float, default=0.02, help="seconds that the model takes for a person")
    parser.add_argument("--repeat", type=int, default=3, help="best of so many runs")
    parser.add_argument("--lengths", type=int, nargs=2, default=(60, 1200), help="frames, for memory")
    parser.add_argument("--model", help="weights that are measured on a GPU")
    parser.add_argument("--watched", nargs=3, type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.watched:
        print(watched(*args.watched))
        return 0
    torch.set_num_threads(1)
    with scratch() as folder:
        figures = [
            *overlap(folder, args.frames, args.delay, args.repeat),
            *memory(folder, tuple(args.lengths)),
            *drawing(folder, args.frames),
            *on_gpu(folder, args.model, args.frames),
        ]
    return report(figures, {"frames": args.frames, "delay_s": args.delay}, args.json)


if __name__ == "__main__":
    sys.exit(main())
