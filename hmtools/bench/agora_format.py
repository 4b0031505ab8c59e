"""The rules that AGORA's server has for a file of predictions, checked before it is sent.

Source: the format description and the format check of agora_evaluation.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from hmtools.bench.readers.agora import LABEL_SIZE, NAME
from hmtools.core.errors import AssetError, LayoutError, UnsafeFileError
from hmtools.core.safe_pickle import load_pickle

__all__ = ["check_person", "check_submission"]

_FOLDER = "predictions"
_MAX_BYTES = 16 << 20
_LEAST = {"smplx": (10475, 127), "smpl": (6890, 24)}  # vertices, 3D joints at least
_JOINTS = 24
# name -> shape after the leading 1, with axis-angle and with matrices; None: any number
_SHAPES: dict[str, dict[str, tuple[tuple[int | None, ...], tuple[int | None, ...]]]] = {
    "smplx": {
        "transl": ((3,), (3,)),
        "betas": ((None,), (None,)),
        "expression": ((10,), (10,)),
        "global_orient": ((3,), (1, 3, 3)),
        "body_pose": ((63,), (21, 3, 3)),
        "left_hand_pose": ((45,), (15, 3, 3)),
        "right_hand_pose": ((45,), (15, 3, 3)),
        "leye_pose": ((3,), (1, 3, 3)),
        "reye_pose": ((3,), (1, 3, 3)),
        "jaw_pose": ((3,), (1, 3, 3)),
    },
    "smpl": {
        "transl": ((3,), (3,)),
        "betas": ((None,), (None,)),
        "global_orient": ((1, 3), (1, 3, 3)),
        "body_pose": ((23, 3), (23, 3, 3)),
    },
}
_SMALL = (1280, 720)
_ENOUGH = 5  # people, before their joints say anything about the size of the image


def check_submission(path: Path) -> list[str]:
    """What the server would refuse in a zip, or count wrongly; empty if nothing.

    Args:
        path: the zip.

    Raises:
        LayoutError: if it is no zip.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise LayoutError(f"{path}: no zip that can be read ({error})") from error
    with archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        names = Counter(member.filename for member in members)
        problems = [f"{name}: {count} times in the zip" for name, count in names.items() if count > 1]
        problems += [] if members else ["no file in the zip"]
        farthest, families = np.zeros(2), set()
        for member in members:
            found, content = _open_member(archive, member)
            problems += [f"{member.filename}: {problem}" for problem in found]
            if content is not None:
                families.add("smplx" if _family(content) == "smplx" else "smpl")
                farthest = np.maximum(farthest, np.max(content["joints"], axis=0, initial=0))
    if len(families) > 1:
        problems.append("people of SMPL and of SMPL-X together; the server measures one of them")
    if len(members) >= _ENOUGH and not problems and (farthest <= _SMALL).all():
        problems.append(
            f"no joint is beyond {_SMALL[0]} x {_SMALL[1]}: joints must be in pixels of {LABEL_SIZE[0]} x "
            f"{LABEL_SIZE[1]}"
        )
    return problems


def _open_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> tuple[list[str], Mapping[str, Any] | None]:
    """Problems of a file, and its content where there are none."""
    path = PurePosixPath(member.filename)
    if path.parts[:-1] != (_FOLDER,) or not NAME.fullmatch(path.name):
        return [f"expected {_FOLDER}/<image>_personId_<n>.pkl"], None
    if member.file_size > _MAX_BYTES:
        return [f"{member.file_size:,} bytes, a person has less than {_MAX_BYTES:,}"], None
    try:
        data = archive.read(member)
        content = load_pickle(data)
    except (AssetError, UnsafeFileError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        return [str(error)], None
    problems = check_person(content)
    if _names_numpy2(data):
        problems.append("pickled by NumPy 2: the server has NumPy 1, which lacks numpy._core")
    return problems, content if not problems else None


def check_person(content: Any) -> list[str]:
    """What is wrong with the content of a person's pickle; empty if nothing."""
    if not isinstance(content, Mapping):
        return [f"expected a dict, found {type(content).__name__}"]
    problems = _array("joints", content.get("joints"), (_JOINTS, 2), at_least=True)
    if "verts" in content:
        vertices, joints = _LEAST[_family(content)]
        problems += _array("verts", content["verts"], (vertices, 3))
        problems += _array("allSmplJoints3d", content.get("allSmplJoints3d"), (joints, 3), at_least=True)
        return problems
    if not isinstance(content.get("params"), Mapping):
        return [*problems, "expected params, or verts and allSmplJoints3d"]
    return problems + _check_params(content)


def _family(content: Mapping[str, Any]) -> str:
    if "verts" in content:
        return "smpl" if np.shape(content["verts"])[:1] == (_LEAST["smpl"][0],) else "smplx"
    params = content.get("params", {})
    return "smplx" if "left_hand_pose" in params or "expression" in params else "smpl"


def _check_params(content: Mapping[str, Any]) -> list[str]:
    params, matrices = content["params"], content.get("pose2rot", True) is False
    problems = []
    shapes = _SHAPES[_family(content)]
    for name, (angles, turned) in shapes.items():
        if name not in params:
            problems.append(f"params lacks {name}")
        else:
            problems += _array(f"params.{name}", params[name], (1, *(turned if matrices else angles)))
    problems += [f"params has an unknown {name}" for name in params if name not in shapes]
    betas = content.get("num_betas", 10)
    if not isinstance(betas, int) or not 10 <= betas <= 299:
        problems.append(f"num_betas must be 10 to 299, found {betas!r}")
    elif np.shape(params.get("betas")) not in ((1, betas), (1, betas + bool(content.get("kid_flag")))):
        problems.append(f"params.betas has shape {np.shape(params.get('betas'))}, num_betas is {betas}")
    if content.get("gender", "neutral") not in ("neutral", "male", "female"):
        problems.append(f"gender must be neutral, male or female, found {content['gender']!r}")
    return problems


def _array(name: str, value: Any, shape: tuple[int | None, ...], *, at_least: bool = False) -> list[str]:
    """Problems of an array; with ``at_least`` the first axis may be longer."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        return [f"{name} must be an array of numbers, found {type(value).__name__}"]
    wanted = (max(value.shape[0], shape[0] or 0), *shape[1:]) if at_least and value.ndim else shape
    if value.ndim != len(wanted) or any(w not in (None, s) for w, s in zip(wanted, value.shape, strict=True)):
        more = " or more rows" if at_least else ""
        return [f"{name} must have shape {shape}{more}, found {value.shape}"]
    return [] if np.isfinite(value).all() else [f"{name} has numbers that are not finite"]


def _names_numpy2(data: bytes) -> bool:
    return any(
        isinstance(argument, str) and argument.startswith("numpy._core")
        for _, argument, _ in pickletools.genops(data)
    )
