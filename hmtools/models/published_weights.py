"""Weights that circulate for SMPLer-X and ViTPose: what they are, where they come from, on what terms.

None of these files is shipped or fetched by hmtools. What a file is, is told by its content
(:mod:`hmtools.models.checkpoint`); its name serves to find it, and to tell apart what content cannot: the
data it was trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

__all__ = [
    "LICENCES",
    "MODEL_TITLES",
    "PUBLISHED",
    "Decoder",
    "Licence",
    "Model",
    "PublishedWeights",
    "published_by_file",
]

Model = Literal["smplerx", "vitpose"]
Decoder = Literal["classic", "simple"]

MODEL_TITLES: Mapping[str, str] = MappingProxyType({"smplerx": "SMPLer-X", "vitpose": "ViTPose"})


@dataclass(frozen=True, slots=True)
class Licence:
    """Terms of the weights of one model.

    Attributes:
        name: in a few words; the page has the text.
        page: where the owner publishes code and links to the weights.
        commercial_use: whether the licence allows it. What a network was trained on has terms of its own.
    """

    name: str
    page: str
    commercial_use: bool


LICENCES: Mapping[str, Licence] = MappingProxyType(
    {
        "smplerx": Licence("S-Lab License, non-commercial", "https://github.com/caizhongang/SMPLer-X", False),
        "vitpose": Licence("Apache-2.0", "https://github.com/ViTAE-Transformer/ViTPose", True),
    }
)
"""Model -> terms of its published weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedWeights:
    """One row of :data:`PUBLISHED`.

    Attributes:
        name: what hmtools calls it, such as ``smplerx-h32``.
        model: the network.
        size: name in :data:`~hmtools.models.sizes.SIZES`.
        decoder: of ViTPose; None for SMPLer-X, and where only the file can tell.
        file: its name where it is published, or None where that is not known.
        file_verified: whether that name was seen; otherwise it follows the names of the published configs.
        data: the training sets in a few words.
        datasets: the same by name, SMPLer-X's as hmtools names them; of a fine-tune, those of the tuning.
        start: name of the row a fine-tune started from.
        figure: what its authors report for it, or an empty string.
    """

    name: str
    model: Model
    size: str
    decoder: Decoder | None = None
    file: str | None = None
    file_verified: bool = False
    data: str
    datasets: tuple[str, ...]
    start: str | None = None
    figure: str = ""

    @property
    def licence(self) -> Licence:
        """Terms of these weights."""
        return LICENCES[self.model]


# SMPLer-X: each group adds to those before it.
_GROUPS = {
    "5": ("mscoco", "agora", "bedlam", "spec", "gta_human2"),
    "10": ("synbody", "posetrack", "egobody_egocentric", "prox", "crowdpose"),
    "20": (
        "ubody", "pw3d", "egobody_kinect", "mpi_inf_3dhp", "rich", "muco", "insta_variety", "behave", "up3d",
        "arctic",
    ),
    "32": (
        "mpii", "human36m", "ochuman", "chi3d", "renbody_hires", "mtp", "humansc3d", "renbody", "fit3d",
        "talkshow", "ssp3d", "lspet",
    ),
}  # fmt: skip
_FINE_TUNES = {
    "agora": ("agora", "gta_human2", "bedlam", "synbody", "spec"),
    "egobody": ("mscoco", "egobody_egocentric", "egobody_kinect", "bedlam", "prox"),
    "ubody": ("ubody", "mscoco", "egobody_egocentric", "posetrack", "talkshow"),
    "3dpw": ("pw3d", "gta_human2", "egobody_kinect", "insta_variety", "humansc3d"),
    "arctic": ("mscoco", "arctic", "bedlam", "egobody_egocentric", "posetrack"),
    "renbody": ("renbody_hires", "renbody", "bedlam", "synbody", "chi3d"),
}
_MPE = {"s": "82.6", "b": "74.3", "l": "66.2", "h": "63.0"}  # on AGORA, EgoBody, UBody, 3DPW and EHF, mm
# ViTPose: AP on COCO val2017 with the flip test, by decoder, training data and size.
_AP: tuple[tuple[Decoder, str, tuple[str, ...], dict[str, str]], ...] = (
    ("classic", "", ("coco",), {"s": "73.8", "b": "75.8", "l": "78.3", "h": "79.1"}),
    ("simple", "-simple", ("coco",), {"s": "73.5", "b": "75.5", "l": "78.2", "h": "78.9"}),
    ("classic", "-3sets", ("coco", "aic", "mpii"), {"b": "77.1", "l": "78.7", "h": "79.5"}),
    (
        "classic",
        "-4sets",
        ("coco", "aic", "mpii", "crowdpose"),
        {"b": "77.5", "l": "79.1", "h": "79.8"},
    ),
)


def _smplerx() -> Iterator[PublishedWeights]:
    data: tuple[str, ...] = ()
    for count, added in _GROUPS.items():
        data += added
        for size, mpe in _MPE.items():
            yield PublishedWeights(
                name=f"smplerx-{size}{count}", model="smplerx", size=size,
                file=f"smpler_x_{size}{count}.pth.tar", data=f"{count} datasets", datasets=data,
                figure=f"MPE {mpe} mm" if count == "32" else "",
            )  # fmt: skip
    yield PublishedWeights(
        name="smplerx-h32-updated", model="smplerx", size="h", data="32 datasets, updated file",
        datasets=data, figure="MPE 59.7 mm",
    )  # fmt: skip
    for target, tuned in _FINE_TUNES.items():
        yield PublishedWeights(
            name=f"smplerx-h-ft-{target}", model="smplerx", size="h", data=f"32, then tuned for {target}",
            datasets=tuned, start="smplerx-h32",
        )  # fmt: skip


def _vitpose() -> Iterator[PublishedWeights]:
    for decoder, suffix, data, figures in _AP:
        for size, figure in figures.items():
            # The published configuration of S simple is a copy of the classic one: its file may be either.
            unsure = (decoder, size) == ("simple", "s")
            yield PublishedWeights(
                name=f"vitpose-{size}{suffix}", model="vitpose", size=size,
                decoder=None if unsure else decoder, data="+".join(data), datasets=data,
                figure=f"AP {figure}",
            )  # fmt: skip


PUBLISHED: Mapping[str, PublishedWeights] = MappingProxyType(
    {row.name: row for row in (*_smplerx(), *_vitpose())}
)
"""Name -> weights that were published, in the order users see."""


def published_by_file(name: str) -> PublishedWeights | None:
    """The row whose file has this name (without folders; case does not matter), or None."""
    return next((row for row in PUBLISHED.values() if row.file and row.file == name.lower()), None)
