"""Training data: crops per second of one core, time and memory until the first batch, growth with the rows.

Speed: people 0.45 to 0.95 of the image tall, in photograph-like frames of 720p and 1080p. Ours reads their
stored crops (decode, one warp, all columns of the targets). It is compared with decoding the same crops and
nothing else, and with a loader as reference code has it: the whole frame by OpenCV, mirrored if need be,
warped and coloured in floating point at the full size of the crop, and the body model of the sample posed on
the CPU. One thread each.

Start: 33 sets with 4.5 million rows, from nothing but loaded modules to the first batch out of two workers.
Memory: what a worker holds of its own after reading all over 10,000 and over 1,000,000 rows.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import smplx
import torch
from _coco import photo
from _report import Figure, arguments, report, scratch

from hmtools.bodies.assets import standin_dir
from hmtools.core.atomic import AtomicFile, file_sha256
from hmtools.core.image import encode_jpeg
from hmtools.geometry.crop import crop_window, network_box
from hmtools.humandata.keys import key_encode
from hmtools.humandata.manifest import Manifest, spec_json, write_manifest
from hmtools.humandata.record import Record
from hmtools.humandata.schema import BATCH_ROWS, RecordSpec, index_schema, record_schema
from hmtools.humandata.table import normalise
from hmtools.shards.index import INDEX, iter_batches, part_tables, write_index
from hmtools.shards.writer import PartWriter
from hmtools.train.augment import CROP, augmentations, augmented_affine
from hmtools.train.loader import TrainData, TrainSource, loader
from hmtools.train.recipe import AugmentSpec

SIZES = {"720p": (1280, 720, 3.0), "1080p": (1920, 1080, 4.0)}  # and how often as fast as reference-style
_SETS, _SET_ROWS = 33, 136_364
_SPEC = RecordSpec("rich", "train", bodies=("smplx",))
_SLIM = RecordSpec("rich", "train", keypoints2d="coco_wholebody_133")
_BATCH = 16
_PICTURES = 8


def people(rng: np.random.Generator, count: int, size: tuple[int, int], spec: RecordSpec) -> list[Record]:
    """People somewhere in frames, every column of their bodies filled."""
    found = []
    for number in range(count):
        height = size[1] * rng.uniform(0.45, 0.95)
        width = height * rng.uniform(0.35, 0.6)
        corner = rng.uniform((0, 0), (size[0] - width, size[1] - height))
        record = Record(
            key=key_encode(spec.dataset, spec.split, "all", number, 0), dataset=spec.dataset,
            split=spec.split, sequence="all", frame=number, person=0, source_index=number,
            width=size[0], height=size[1], bbox_xywh=[*corner, width, height, 1.0], image_op="none",
            image_path=f"{number:06d}.jpg",
        )  # fmt: skip
        if spec.bodies:
            _fill(record, rng)
        else:
            record.keypoints2d_original = rng.uniform(0, 300, (133, 3))
        found.append(normalise(record, spec))
    return found


def _fill(record: Record, rng: np.random.Generator) -> None:
    sizes: dict[str, Any] = {
        **{"smplx_global_orient": 3, "smplx_body_pose": 63, "smplx_jaw_pose": 3, "smplx_transl": 3},
        **{"smplx_left_hand_pose": 45, "smplx_right_hand_pose": 45, "smplx_betas": 10},
        **{"smplx_expression": 10, "betas_neutral": 10, "focal_length": 2, "principal_point": 2},
        **{"keypoints2d_smplx": (144, 3), "keypoints3d_smplx": (144, 4)},
        **{f"{part}_bbox_xywh": 5 for part in ("lhand", "rhand", "face")},
    }
    record.gender = "neutral"
    for name, size in sizes.items():
        setattr(record, name, 0.3 * rng.normal(size=size))


def write_split(folder: Path, spec: RecordSpec, records: Sequence[Record], crops: Sequence[bytes]) -> Path:
    """A converted split of crops."""
    folder.mkdir(parents=True)
    with PartWriter(folder, spec, "u00000", full=False, images=True) as writer:
        for record, crop in zip(records, crops, strict=True):
            writer.add([record], crop, "jpg")
    write_index(folder, part_tables(folder), record_schema(spec))
    write_manifest(folder, _manifest(spec, folder, len(records)))
    return folder


def _manifest(spec: RecordSpec, folder: Path, rows: int) -> Manifest:
    index = folder / INDEX
    entry = {"name": INDEX, "sha256": file_sha256(index), "nbytes": index.stat().st_size, "rows": rows}
    return Manifest(
        dataset=spec.dataset, split=spec.split, role="train", card={}, spec=spec_json(spec), converter={},
        options={}, every=1, images="crop", world={}, counts={"records": rows}, rejected={},
        rejected_examples=[], filtered={}, health={}, files=[entry], created="", command="",
    )  # fmt: skip


def frames(folder: Path, size: tuple[int, int], count: int) -> tuple[Path, list[Path], list[Record]]:
    """Frames as a download has them, one person in each, and the split of their crops."""
    rng = np.random.default_rng(0)
    records = people(rng, count, size, _SPEC)
    files, crops = [], []
    (folder / "raw").mkdir(parents=True)
    pictures = [photo(rng, *size) for _ in range(_PICTURES)]
    for number, record in enumerate(records):
        files.append(folder / "raw" / str(record.image_path))
        data = pictures[number % _PICTURES]
        files[-1].write_bytes(data)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        window = crop_window(record.bbox_xywh[:4], *size, box_ratio=1.0)
        assert image is not None
        assert window is not None
        crop = image[window.y0 : window.y1, window.x0 : window.x1]
        stored = window.stored_size()
        if stored != (window.width, window.height):
            crop = cv2.resize(crop, stored, interpolation=cv2.INTER_AREA)
        record.image_affine = window.affine(stored).astype(np.float32)
        crops.append(encode_jpeg(np.asarray(crop, np.uint8)))
    return write_split(folder / "rich/train", _SPEC, records, crops), files, records


class ReferenceStyle:
    """One sample the way reference loaders make it."""

    def __init__(self, files: Sequence[Path], records: Sequence[Record]) -> None:
        self._files, self._records = files, records
        self._body = smplx.create(
            str(standin_dir()), model_type="smplx", use_pca=False, flat_hand_mean=True, use_face_contour=True
        )

    def __call__(self, number: int) -> Any:
        """Crop (3, 512, 384) and the joints of the body."""
        record = self._records[number]
        image = cv2.imread(str(self._files[number]), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        assert image is not None
        pixels = image[:, :, ::-1].copy().astype(np.float32)
        (varied,) = augmentations(AugmentSpec(), 0, 0, np.array([number]))
        box = network_box(record.bbox_xywh, record.width or 0, record.height or 0, 1.0)
        assert box is not None
        if varied.flip:
            pixels = pixels[:, ::-1]
            box[0] = pixels.shape[1] - 1 - box[0] - box[2]
        warped = cv2.warpAffine(pixels, augmented_affine(box, replace(varied, flip=False)), CROP)
        crop = np.clip(warped * np.asarray(varied.colour, np.float32), 0, 255)
        with torch.no_grad():
            values = {
                name: torch.from_numpy(np.array(getattr(record, f"smplx_{name}")))[None]
                for name in (
                    *("global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose"),
                    *("betas", "expression", "transl"),
                )
            }
            body = self._body(**values)
        return torch.from_numpy(crop.transpose(2, 0, 1) / 255), body.joints.numpy()


def rate(work: Callable[[int], Any], count: int, rounds: int) -> float:
    """Samples per second of processor time, the best of some rounds; one thread."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        for number in range(count):
            work(number)
        best = min(best, time.process_time() - began)
    return count / best


def speeds(folder: Path, name: str, count: int, rounds: int) -> list[Figure]:
    """Ours against decoding alone, and against reference-style."""
    width, height, wanted = SIZES[name]
    split, files, records = frames(folder / name, (width, height), count)
    data = TrainData([TrainSource(path=split)], strategy="concat")
    maker = data.maker()
    rows = [data.splits[0].row(i) for i in range(count)]
    tar = (split / rows[0]["shard"]).read_bytes()
    crops = [np.frombuffer(tar, np.uint8, row["nbytes"], row["offset"]) for row in rows]
    decoded = rate(lambda i: cv2.imdecode(crops[i], cv2.IMREAD_COLOR), count, rounds)
    batches = np.arange(count).reshape(-1, _BATCH)
    ours = _BATCH * rate(lambda i: maker.make(0, batches[i]), len(batches), rounds)
    reference = rate(ReferenceStyle(files, records), count, rounds)
    unit = "images/s"

    def figure(against: str, baseline: float, target: float) -> Figure:
        ratio = ours / baseline
        return Figure(
            name=f"{name}: loader, one core (baseline: {against})", baseline=baseline, value=ours, unit=unit,
            ratio=ratio, target=f">= {target:g}", met=ratio >= target,
        )  # fmt: skip

    return [
        figure("decoding the same crops", decoded, 0.5),
        figure("reference-style loader", reference, wanted),
    ]


def grown(template: Path, folder: Path, rows: int) -> Path:
    """A split of ``rows`` records: those of the template, whose images it uses, over and over."""
    folder.mkdir(parents=True)
    batch = next(iter_batches(template / INDEX))
    spec = _SLIM
    schema = index_schema(record_schema(spec))
    with AtomicFile(folder / INDEX) as file, pa.ipc.new_file(file, schema) as writer:
        for start in range(0, rows, BATCH_ROWS):
            numbers = range(start, start + BATCH_ROWS)
            unique = {
                "key": pa.array([key_encode(spec.dataset, spec.split, "all", n, 0) for n in numbers]),
                "frame": pa.array(numbers, pa.int32()),
                "source_index": pa.array(numbers, pa.int64()),
                "image_path": pa.array([f"{n:06d}.jpg" for n in numbers]),
            }
            columns = [unique.get(name, batch.column(name)) for name in schema.names]
            whole = pa.RecordBatch.from_arrays(columns, schema=schema)
            writer.write_batch(whole.slice(0, rows - start))
    for tar in template.glob("*.tar"):
        os.link(tar, folder / tar.name)
    write_manifest(folder, _manifest(spec, folder, rows))
    return folder


def template_split(folder: Path) -> Path:
    """256 people of 640x480 frames."""
    rng = np.random.default_rng(0)
    records = people(rng, BATCH_ROWS, (640, 480), _SLIM)
    crops = [photo(rng, 300, 300) for _ in range(8)]
    for record in records:
        record.image_affine = np.array([[1, 0, -100], [0, 1, -100]], np.float32)
    return write_split(folder, _SLIM, records, [crops[i % 8] for i in range(BATCH_ROWS)])


def measure(task: str, folders: Sequence[Path]) -> dict[str, float]:
    """What is measured in a process of its own."""
    sources = [TrainSource(path=folder) for folder in folders]
    if task == "start":
        began = time.perf_counter()
        data = TrainData(sources, seed=1, epoch_size=4_500_000)
        opened = time.perf_counter() - began
        batches = loader(data, epoch=0, batch=_BATCH, workers=2)
        first = next(batches)
        total = time.perf_counter() - began
        assert len(first) == _BATCH
        memory = sum(_proportional_mb(pid) for pid in _family())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        return {"opened_s": opened, "first_batch_s": total, "memory_mb": memory, "peak_mb": peak}
    data = TrainData(sources, seed=1)
    batches = loader(data, epoch=0, batch=64, workers=1)
    for _ in range(150):  # 9600 rows all over the index: every batch of a million rows was touched
        next(batches)
    return {"worker_mb": _status_mb(_family()[1], "RssAnon")}


def _family() -> list[int]:
    return [os.getpid(), *(child.pid or 0 for child in multiprocessing.active_children())]


def _status_mb(pid: int, field: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1e3


def _proportional_mb(pid: int) -> float:
    """What a process holds, its share of what it has together with others."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1e3


def in_own_process(task: str, folders: Sequence[Path], file: Path) -> dict[str, float]:
    """Run :func:`measure` in a fresh interpreter."""
    subprocess.run(
        [sys.executable, __file__, "--measure", task, "--json", str(file), *map(str, folders)], check=True
    )
    found: dict[str, float] = json.loads(file.read_text())
    return found


def starts(folder: Path, rounds: int) -> list[Figure]:
    """33 sets to the first batch; the sets share one file, which costs what 33 would once they are cached."""
    template = template_split(folder / "template/train")
    first = grown(template, folder / "set0/train", _SET_ROWS)
    folders = [first]
    for number in range(1, _SETS):
        folders.append(folder / f"set{number}/train")
        folders[-1].mkdir(parents=True)
        for path in first.iterdir():
            os.link(path, folders[-1] / path.name)
    found = [in_own_process("start", folders, folder / "found.json") for _ in range(rounds)]
    best = min(found, key=lambda one: one["first_batch_s"])
    name = f"{_SETS} sets, {_SETS * _SET_ROWS:,} rows"
    return [
        Figure(name=f"{name}: opened", value=best["opened_s"], unit="s"),
        Figure(name=f"{name}: first batch", value=best["first_batch_s"], unit="s", target="< 1",
               met=best["first_batch_s"] < 1),
        Figure(name=f"{name}: memory with 2 workers", value=best["memory_mb"], unit="MB", target="< 1000",
               met=best["memory_mb"] < 1000),
        Figure(name=f"{name}: peak of the main process", value=best["peak_mb"], unit="MB"),
    ]  # fmt: skip


def growth(folder: Path, sizes: Sequence[int]) -> list[Figure]:
    """Anonymous memory of a worker over few and over many rows."""
    template = template_split(folder / "template/train")
    small, large = (
        in_own_process("grow", [grown(template, folder / f"{rows}/train", rows)], folder / "found.json")
        for rows in sizes
    )
    added = large["worker_mb"] - small["worker_mb"]
    name = f"RssAnon of a worker, {sizes[0]:,} to {sizes[1]:,} rows, growth in ratio"
    return [
        Figure(name=name, baseline=small["worker_mb"], value=large["worker_mb"], unit="MB", ratio=added,
               target="< +20", met=added < 20)
    ]  # fmt: skip


def main() -> int:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--images", type=int, default=64, help="of each size, a multiple of 16")
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("folders", type=Path, nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    if args.measure:
        args.json.write_text(json.dumps(measure(args.measure, args.folders)))
        return 0
    figures: list[Figure] = []
    with scratch() as folder:
        for name in SIZES:
            figures += speeds(folder, name, args.images, args.rounds)
        figures += starts(folder / "start", args.rounds)
        figures += growth(folder / "growth", (10_000, 1_000_000))
    return report(figures, {"images": args.images, "rounds": args.rounds}, args.json)


if __name__ == "__main__":
    sys.exit(main())
