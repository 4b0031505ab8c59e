"""Every body-model file that circulates: its names, what it holds, who needs it and where it comes from.

Names are written as published; they are glob patterns, matched without regard to case to the *end* of a path,
the preferred form first. None of these files is shipped or fetched by hmtools: each has a licence that its
user accepts on the page named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from hmtools.bodies.model import FAMILIES, GENDERS, VERTICES, Family, Gender

__all__ = ["CATALOGUE", "FAMILY_TITLES", "KIND_TITLES", "Asset", "Kind", "model_key"]

Kind = Literal["model", "template", "ids", "regressor", "transfer", "parameters"]
FAMILY_TITLES: dict[Family, str] = {"smpl": "SMPL", "smplh": "SMPL-H", "smplx": "SMPL-X"}
KIND_TITLES: dict[Kind, str] = {
    "model": "body model",
    "template": "child template",
    "ids": "vertex indices",
    "regressor": "joint regressor",
    "transfer": "mesh transfer matrix",
    "parameters": "mean parameters",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One row of :data:`CATALOGUE`.

    Attributes:
        key: the name hmtools uses, such as ``smplx_neutral``.
        kind: what it is; ``model`` is read by ``load_model``, everything else by ``load_array``.
        family: whose mesh it belongs to; the target of a transfer matrix.
        gender: of a model, else None.
        names: glob patterns for the end of a path, the preferred one first.
        shape: of the array ``load_array`` returns; None for models.
        entries: keys under which a file may hold the array or, for ids and parameters, its pieces.
        locked_head: whether the file must lie in a folder of the locked-head release (same file names).
        what: one line on the content.
        needed_by: datasets (hmtools names) and models that cannot do without.
        page: where the owner publishes it.
        licence: the terms in a few words; the page has the text.
    """

    key: str
    kind: Kind
    family: Family
    gender: Gender | None = None
    names: tuple[str, ...]
    shape: tuple[int, ...] | None = None
    entries: tuple[str, ...] = ()
    locked_head: bool = False
    what: str
    needed_by: tuple[str, ...]
    page: str
    licence: str


_RESEARCH = "research only, after registration"
_SMPL_PAGE = "https://smpl.is.tue.mpg.de"
_SMPLX_PAGE = "https://smpl-x.is.tue.mpg.de"
_MODEL_PAGES: dict[Family, str] = {
    "smpl": _SMPL_PAGE,
    "smplh": "https://mano.is.tue.mpg.de",
    "smplx": _SMPLX_PAGE,
}
_AGORA_PAGE = "https://agora.is.tue.mpg.de"
_SPIN_PAGE = "https://github.com/nkolot/SPIN"
_OSX_PAGE = "https://github.com/IDEA-Research/OSX"
_WHAM_PAGE = "https://github.com/yohanshin/WHAM"
_HMR2_PAGE = "https://github.com/shubham-goel/4D-Humans"

# Sets whose labels are numbers of one model, and methods that predict with it.
_NEEDS: dict[tuple[Family, Gender], tuple[str, ...]] = {
    ("smpl", "neutral"): (
        "agora", "crowdpose", "insta_variety", "lspet", "mtp", "muco", "ochuman", "posetrack", "spec", "up3d",
        "hmr2", "wham",
    ),
    ("smpl", "male"): ("emdb", "pw3d", "ssp3d"),
    ("smpl", "female"): ("emdb", "pw3d", "ssp3d"),
    ("smplh", "neutral"): ("amass",),
    ("smplh", "male"): ("amass", "behave"),
    ("smplh", "female"): ("amass", "behave"),
    ("smplx", "neutral"): (
        "agora", "bedlam", "chi3d", "ehf", "fit3d", "gta_human2", "human36m", "humansc3d", "mpi_inf_3dhp",
        "mpii", "mscoco", "ubody", "smplerx",
    ),
    ("smplx", "male"): (
        "agora", "arctic", "egobody_egocentric", "egobody_kinect", "mtp", "prox", "renbody", "rich",
        "synbody",
    ),
    ("smplx", "female"): (
        "agora", "arctic", "egobody_egocentric", "egobody_kinect", "mtp", "prox", "renbody", "rich",
        "synbody",
    ),
}  # fmt: skip


def model_key(family: Family, gender: Gender) -> str:
    """The key of a body model: ``("smplx", "male")`` -> ``"smplx_male"``."""
    return f"{family}_{gender}"


def _model_names(family: Family, gender: Gender) -> tuple[str, ...]:
    stem = f"{family}_{gender}".upper()
    if family == "smpl":  # as downloaded: basicModel_f_lbs_10_207_0_v1.0.0.pkl, basicmodel_m_..._v1.1.0.pkl
        letter = "neutral" if gender == "neutral" else gender[0]
        return f"{stem}.npz", f"{stem}.pkl", f"basicModel_{letter}_lbs_10_207_0_v*.pkl"
    # smplh/male/model.npz is how AMASS has it.
    return f"{stem}.npz", f"{stem}.pkl", f"{family}*/{gender}/model.npz", f"{family}*/{gender}/model.pkl"


def _models() -> Iterator[Asset]:
    for family in FAMILIES:
        for gender in GENDERS:
            yield Asset(
                key=model_key(family, gender),
                kind="model",
                family=family,
                gender=gender,
                names=_model_names(family, gender),
                what=f"{FAMILY_TITLES[family]} model, {gender}",
                needed_by=_NEEDS[family, gender],
                page=_MODEL_PAGES[family],
                licence=_RESEARCH,
            )
    for gender in GENDERS:
        stem = f"SMPLX_{gender.upper()}"
        yield Asset(
            key=f"smplx_{gender}_lockedhead",
            kind="model",
            family="smplx",
            gender=gender,
            locked_head=True,
            names=(f"{stem}.npz", f"{stem}.pkl", f"{stem}_*.npz", f"{stem}_*.pkl"),
            what=f"SMPL-X model, {gender}, locked head",
            needed_by=("bedlam (16 betas)",),
            page=_SMPLX_PAGE,
            licence=_RESEARCH,
        )
    yield Asset(
        key="smplx_neutral_2020",
        kind="model",
        family="smplx",
        gender="neutral",
        names=("SMPLX_NEUTRAL_2020.npz", "SMPLX_NEUTRAL_2020.pkl"),
        what="SMPL-X model, neutral, release of 2020",
        needed_by=("talkshow",),
        page=_SMPLX_PAGE,
        licence=_RESEARCH,
    )


def _templates() -> Iterator[Asset]:
    for family in ("smplx", "smpl"):
        yield Asset(
            key=f"{family}_kid_template", kind="template", family=family,
            names=(f"{family}_kid_template.npy",), shape=(VERTICES[family], 3),
            what="child body that the 11th shape number blends to",
            needed_by=("agora (children)",), page=_AGORA_PAGE, licence=_RESEARCH,
        )  # fmt: skip


def _ids() -> Iterator[Asset]:
    yield Asset(
        key="mano_smplx_vertex_ids", kind="ids", family="smplx",
        names=("MANO_SMPLX_vertex_ids.npz", "MANO_SMPLX_vertex_ids.pkl"),
        shape=(2, 778), entries=("left_hand", "right_hand"),
        what="SMPL-X vertices of the left and right hand",
        needed_by=("agora", "ehf", "egobody_egocentric", "egobody_kinect", "ubody"), page=_SMPLX_PAGE,
        licence=_RESEARCH,
    )  # fmt: skip
    yield Asset(
        key="smplx_flame_vertex_ids", kind="ids", family="smplx", names=("SMPL-X__FLAME_vertex_ids.npy",),
        shape=(5023,), what="SMPL-X vertices of the head",
        needed_by=("agora", "ehf", "egobody_egocentric", "egobody_kinect", "ubody"), page=_SMPLX_PAGE,
        licence=_RESEARCH,
    )  # fmt: skip
    for family in ("smplx", "smpl"):
        yield Asset(
            key=f"body_verts_{family}", kind="ids", family=family, names=(f"body_verts_{family}.npy",),
            shape=(4010,), what="vertices of the body without head and hands", needed_by=("agora",),
            page="https://github.com/pixelite1201/agora_evaluation", licence=_RESEARCH,
        )  # fmt: skip


# key, family, rows, file names, what, who, page
_REGRESSORS: tuple[tuple[str, Family, int, tuple[str, ...], str, tuple[str, ...], str], ...] = (
    ("smplx_to_j14", "smplx", 14, ("SMPLX_to_J14.npz", "SMPLX_to_J14.pkl"),
     "14 joints in LSP order", ("agora", "ehf", "ubody"), "https://expose.is.tue.mpg.de"),
    ("j_regressor_h36m", "smpl", 17, ("J_regressor_h36m.npy",),
     "17 Human3.6M joints", ("pw3d", "spec", "hmr2", "wham"), _SPIN_PAGE),
    ("j_regressor_h36m_correct", "smpl", 17, ("J_regressor_h36m_correct.npy",),
     "17 Human3.6M joints, in OSX's order", ("human36m (SMPL)",), _OSX_PAGE),
    ("j_regressor_h36m_smplx", "smplx", 17, ("J_regressor_h36m_smplx.npy",),
     "17 Human3.6M joints", ("human36m",), _OSX_PAGE),
    ("j_regressor_extra", "smpl", 9, ("J_regressor_extra.npy",),
     "9 joints of LSP, MPII and Human3.6M", ("smpl_54",), _SPIN_PAGE),
    ("smpl_to_j19", "smpl", 19, ("SMPL_to_J19.npz", "SMPL_to_J19.pkl"),
     "19 joints of LSP, MPII and Human3.6M", ("hmr2",), _HMR2_PAGE),
    ("j_regressor_wham", "smpl", 31, ("J_regressor_wham.npy",),
     "17 COCO and 14 common joints", ("wham",), _WHAM_PAGE),
    ("j_regressor_feet", "smpl", 4, ("J_regressor_feet.npy",),
     "heel and toe of both feet", ("wham",), _WHAM_PAGE),
)  # fmt: skip


def _regressors() -> Iterator[Asset]:
    for key, family, rows, names, what, needed_by, page in _REGRESSORS:
        yield Asset(
            key=key, kind="regressor", family=family, names=names, shape=(rows, VERTICES[family]),
            entries=("J_regressor",), what=what, needed_by=needed_by, page=page, licence="as on its page",
        )  # fmt: skip


def _transfers() -> Iterator[Asset]:
    for source in FAMILIES:
        for target in FAMILIES:
            if source == target:
                continue
            stem, asked = f"{source}2{target}", (source, target) == ("smplx", "smpl")
            forms = ("_deftrafo_setup", "_def_transfer", "")
            yield Asset(
                key=f"{source}_to_{target}", kind="transfer", family=target,
                names=tuple(f"{stem}{form}.{suffix}" for suffix in ("npz", "pkl") for form in forms),
                shape=(VERTICES[target], VERTICES[source]), entries=("mtx", "matrix"),
                what=f"{FAMILY_TITLES[target]} vertices from {FAMILY_TITLES[source]} vertices",
                needed_by=("rich (wham)", "conversion") if asked else ("conversion",),
                page=_SMPLX_PAGE, licence=_RESEARCH,
            )  # fmt: skip


def _parameters() -> Iterator[Asset]:
    yield Asset(
        key="smpl_mean_params", kind="parameters", family="smpl",
        names=("smpl_mean_params.npz",), shape=(157,), entries=("pose", "shape", "cam"),
        what="mean pose (6D, 144), shape (10) and camera (3)",
        needed_by=("hmr2", "wham"), page=_SPIN_PAGE, licence="as on its page",
    )  # fmt: skip


CATALOGUE: dict[str, Asset] = {
    row.key: row
    for rows in (_models, _templates, _ids, _regressors, _transfers, _parameters)
    for row in rows()
}
"""Every asset by its key, in the order users see."""
