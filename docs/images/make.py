"""Make the pictures of the README anew: two pages that ``hmtools demo`` left, and a frame of a video."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import cv2

FRAME = 6  # of the video
QUALITY = 85


def main() -> None:
    """Write sheet.webp, overlay.webp and report.webp beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path, nargs="?", default=Path("demo"), help="what hmtools demo made")
    parser.add_argument("--video", type=Path, help="predictions over pictures [default: the demo's]")
    parser.add_argument("--browser", default="chromium", help="chromium, google-chrome, or the path of one")
    arguments = parser.parse_args()
    demo: Path = arguments.demo
    write("sheet", page(demo / "contact_sheet_mscoco_train2017.html", (1100, 900), arguments.browser))
    write("report", page(demo / "report.html", (1100, 1060), arguments.browser))
    with av.open(str(arguments.video or demo / "runs/video/overlay.mp4")) as video:
        frames = [frame.to_ndarray(format="bgr24") for frame in video.decode(video=0)]
    write("overlay", frames[min(FRAME, len(frames) - 1)])


def page(path: Path, size: tuple[int, int], browser: str) -> cv2.typing.MatLike:
    """The top of a page, ``size`` pixels wide and high."""
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "page.png"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        window = [f"--window-size={size[0]},{size[1]}", f"--screenshot={shot}"]
        command = [browser, *options, *window, path.resolve(strict=True).as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        picture = cv2.imread(str(shot))
    if picture is None:
        sys.exit(f"{browser} made no picture of {path}; try another --browser")
    return picture


def write(name: str, image: cv2.typing.MatLike) -> None:
    """Write a picture as WebP."""
    path = Path(__file__).with_name(f"{name}.webp")
    cv2.imwrite(str(path), image, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    size = path.stat().st_size / 1000
    sys.stdout.write(f"{path}: {image.shape[1]} x {image.shape[0]}, {size:.0f} kB\n")


if __name__ == "__main__":
    main()
