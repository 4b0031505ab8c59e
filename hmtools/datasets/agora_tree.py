"""Where the files of AGORA lie: the official tree, and that of OSX and SMPLer-X below ``data/``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

from hmtools.core.errors import LayoutError
from hmtools.datasets.agora_camera import LABEL_SIZE
from hmtools.datasets.base import Source

__all__ = [
    "NO_IMAGES",
    "SIZES",
    "AgoraFamily",
    "ImageFolder",
    "find",
    "find_dataframes",
    "fits",
    "folder_of",
    "image_folder",
    "image_folders",
    "images",
    "json_labels",
    "labels",
    "neutral_fits",
    "present",
]

AgoraFamily: TypeAlias = Literal["smplx", "smpl"]

SIZES = {"4k": LABEL_SIZE, "720p": (1280, 720)}
"""Value of the option ``resolution`` -> width and height, the larger first."""

NO_IMAGES = "images_missing"
"""Reason to leave out the people of a whole folder of images."""

_PAGE = "https://agora.is.tue.mpg.de (Downloads; registration)"
_BOX_PAGE = "https://github.com/IDEA-Research/OSX (AGORA, in its list of data sets)"
_ENDING = "_withjv.pkl"


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """A folder of images of one size: its path below the root, and width and height."""

    folder: str
    size: tuple[int, int]

    def path(self, image: str) -> str:
        """The file of an image, below the root.

        Args:
            image: its name at 3840 x 2160, with its ending.
        """
        name = PurePosixPath(image)
        small = "" if self.size == LABEL_SIZE else "_1280x720"
        # as text: a name that leaves the folder stays one, and is refused
        return f"{self.folder}/{name.with_name(name.stem + small + name.suffix)}"


def _homes(root: Path) -> tuple[Path, Path]:
    """Where the tree may lie: below ``data/`` in the layout of OSX and SMPLer-X, or in the root itself."""
    return root / "data", root


def labels(split: str, family: AgoraFamily) -> Source:
    """Dataframes of a split or the json made of them; for test the boxes."""
    if split == "test":
        return json_labels(split)
    kind = family.upper()
    paths = (f"{split}_{kind}/{kind}/*{_ENDING}", f"{kind}/{split}*{_ENDING}", f"AGORA_{split}.json")
    return Source(paths, f"{_PAGE}: {split}_{kind}.zip")


def json_labels(split: str) -> Source:
    """The json that OSX or Hand4Whole make of the dataframes; for test the boxes."""
    if split == "test":
        return Source(("AGORA_test_bbox.json",), _BOX_PAGE)
    return Source((f"AGORA_{split}.json", f"AGORA_{split}_SMPLX.json"), _BOX_PAGE)


def fits(family: AgoraFamily) -> Source:
    """The fits of all scans."""
    return Source((f"{family}_gt",), f"{_PAGE}: {family}_gt.zip")


def neutral_fits() -> Source:
    """Refits of all scans to the neutral SMPL-X."""
    return Source(("smplx_gt_neutral_gender",), f"{_PAGE}: smplx_gt_neutral_gender.zip", optional=True)


def image_folders(split: str) -> list[str]:
    """Folders of a split's images: of train there are ten."""
    return [f"train_{number}" for number in range(10)] if split == "train" else [split]


def images(folder: str, resolution: str) -> Source:
    """The images of a folder: of one size, or of either (``auto``), the larger first."""
    sizes = [SIZES[resolution]] if resolution in SIZES else list(SIZES.values())
    paths = tuple(f"{width}x{height}/{folder}" for width, height in sizes)
    return Source(paths, f"{_PAGE}: images of {folder}")


def find(source: Source, root: Path) -> Path | None:
    """What a source has below ``root``, or None."""
    other = Source(tuple(f"images_{path}" for path in source.paths), "")
    found = (one.find(home) for home in _homes(root) for one in (source, other))
    return next((path for path in found if path is not None), None)


def present(source: Source, root: Path) -> Path:
    """What a source has below ``root``.

    Raises:
        LayoutError: if that is nothing.
    """
    found = find(source, root)
    if found is None:
        raise LayoutError(f"AGORA: {root / ' or '.join(source.paths)} is missing, from {source.page}")
    return found


def image_folder(root: Path, found: Path) -> ImageFolder:
    """What units remember of a folder of images: a larger one may come between two runs."""
    (size,) = (size for size in SIZES.values() if found.parent.name.endswith(f"{size[0]}x{size[1]}"))
    return ImageFolder(found.relative_to(root).as_posix(), size)


def find_dataframes(root: Path, split: str, family: AgoraFamily) -> list[Path]:
    """The dataframes of a split, in the order of their numbers: of the first folder that has any."""
    kind = family.upper()
    folders = (f"{split}_{kind}/{kind}", f"{split}_{kind}", kind)
    for home, folder in product(_homes(root), folders):
        pattern = f"{split}*{_ENDING}" if folder == kind else f"*{_ENDING}"  # that one may hold both splits
        if found := [path for path in (home / folder).glob(pattern) if path.is_file()]:
            return sorted(found, key=_natural)
    return []


def _natural(path: Path) -> list[tuple[str, int]]:
    return [(text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d*)", path.name)]


def folder_of(dataframe: Path, split: str) -> str:
    """Folder of the images of a dataframe: training images lie in one for each."""
    return dataframe.name.removesuffix(_ENDING) if split == "train" else split
