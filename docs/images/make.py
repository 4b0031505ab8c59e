"""Make the pictures of the README anew from what ``hmtools demo`` left: its page and a frame of its video."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import cv2

WINDOW = (1100, 1800)  # pixels of the page
FRAME = 12  # of the video
QUALITY = 85


def main() -> None:
    """Write report.webp and overlay.webp beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path, nargs="?", default=Path("demo"), help="what hmtools demo made")
    parser.add_argument("--browser", default="chromium", help="chromium, google-chrome, or the path of one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "page.png"
        page = (arguments.demo / "report.html").resolve(strict=True)
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        size = f"--window-size={WINDOW[0]},{WINDOW[1]}"
        command = [arguments.browser, *options, size, f"--screenshot={shot}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        picture = cv2.imread(str(shot))
    if picture is None:
        sys.exit(f"{arguments.browser} made no picture of {page}; try another --browser")
    write("report", picture)
    with av.open(str(arguments.demo / "runs/video/overlay.mp4")) as video:
        frames = [frame.to_ndarray(format="bgr24") for frame in video.decode(video=0)]
    write("overlay", frames[min(FRAME, len(frames) - 1)])


def write(name: str, image: cv2.typing.MatLike) -> None:
    """Write a picture as WebP."""
    path = Path(__file__).with_name(f"{name}.webp")
    cv2.imwrite(str(path), image, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    size = path.stat().st_size / 1000
    sys.stdout.write(f"{path}: {image.shape[1]} x {image.shape[0]}, {size:.0f} kB\n")


if __name__ == "__main__":
    main()
