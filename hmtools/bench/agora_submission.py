"""Predictions as AGORA's evaluation server takes them: a zip of pickles, written and checked.

One pickle per person, ``predictions/<image>_personId_<n>.pkl``: ``joints`` (J, 2), two-dimensional, in pixels
of the 3840 x 2160 image whatever image was the input; and ``params``, of the neutral model, each with a
leading 1, hands relative to the mean hand as the server's models want them. Hands, jaw, eyes and expression
that a method does not predict are neutral: the server takes no body without them. Source: the format
description of agora_evaluation. (SMPLer-X writes ``joints`` as (1, J, 2), which the check of the server
refuses, and in validation the number 0 for everybody.)
"""

from __future__ import annotations

import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from hmtools.bench.agora_format import check_submission
from hmtools.bench.joining import image_stem
from hmtools.bench.numpy1_pickle import dumps
from hmtools.bench.readers.agora import LABEL_SIZE
from hmtools.bodies.assets import load_model
from hmtools.core.atomic import AtomicFile
from hmtools.core.errors import AssetError, SchemaError, UsageError
from hmtools.humandata.keypoints import convention
from hmtools.humandata.keys import key_decode
from hmtools.humandata.predictions import (
    PREDICTED_FAMILIES,
    PREDICTION_COLUMNS,
    iter_predictions,
    open_table,
    prediction_facts,
    prediction_files,
)

__all__ = ["Submission", "write_submission"]

_LEAST_JOINTS = 24
_ORDER = {"smplx": "smplx_144", "smpl": "smpl_45"}
_COMPARED = {"smplx": 22, "smpl": 24}
_NEEDED = ("transl", "betas", "global_orient", "body_pose")
_HANDS = ("left_hand_pose", "right_hand_pose")
# What the server insists on and not every method predicts: no gaze, a mouth that is shut, no expression
_NEUTRAL = {"smplx": {"expression": 10, "jaw_pose": 3, "leye_pose": 3, "reye_pose": 3}, "smpl": {}}
_SHAPES = {"smpl": {"global_orient": (1, 1, 3), "body_pose": (1, 23, 3)}, "smplx": {}}
_SHOWN = 5


@dataclass(slots=True)
class Submission:
    """What was written.

    Attributes:
        path: the zip.
        family: smplx or smpl.
        people: pickles in it.
        images: images they are of.
        left_out: reason -> predictions that are not in it.
        examples: reason -> a few of them.
    """

    path: Path
    family: str
    people: int = 0
    images: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def leave_out(self, reason: str, name: str) -> None:
        """Count a prediction that the server could not use."""
        self.left_out[reason] += 1
        if len(self.examples[reason]) < _SHOWN:
            self.examples[reason].append(name)


def write_submission(
    path: Path, out: Path, hand_means: Float[np.ndarray, "2 45"] | None = None
) -> Submission:
    """Write predictions as a zip for AGORA's server, and check it by the server's rules.

    The number of a person is that of the record; without keys, people are counted within their image.

    Args:
        path: our predictions, a parquet file or a folder of them.
        out: the zip; it appears when it is whole and passes the check.
        hand_means: (2, 45) left and right mean hand of the neutral SMPL-X model, radians; default: of the
            one in body_models, where the predictions are of SMPL-X.

    Returns:
        What is in it, and what was left out (bodies that are not finite) and counted.

    Raises:
        UsageError: if the predictions are of the stand-in body, lack what the server needs, name one person
            twice, or are none.
        AssetError: if the neutral SMPL-X model is needed and missing, or the stand-in.
        SchemaError: if the zip does not pass the check: a defect of hmtools.
    """
    if prediction_facts(path)["standin"]:
        raise UsageError(f"{path}: predictions of the stand-in body; the server measures bodies of SMPL-X")
    family = _family(path)
    if family == "smplx" and hand_means is None:
        hand_means = _mean_hands()
    found = Submission(out, family)
    names: set[str] = set()
    with AtomicFile(out) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in _people(path, found, hand_means):
                if name in names:
                    raise UsageError(f"{path}: two predictions for {name}; the server takes one for a person")
                names.add(name)
                archive.writestr(_member(f"predictions/{name}.pkl"), dumps(content))
        if not names:
            left = ", ".join(f"{count} {reason}" for reason, count in found.left_out.items())
            raise UsageError(f"{path}: no prediction to send ({left or 'the table has no rows'})")
        file.flush()
        problems = check_submission(file.temporary)
        if problems:
            raise SchemaError(f"{path}: the zip breaks the server's rules: {'; '.join(problems[:_SHOWN])}")
    found.people, found.images = len(names), len({name.rpartition("_personId_")[0] for name in names})
    return found


def _mean_hands() -> Float[np.ndarray, "2 45"]:
    model = load_model("smplx", "neutral")
    if model.standin or model.hand_mean is None:
        raise AssetError(
            f"{model.path}: {'the stand-in body' if model.standin else 'a model without hand PCA'}; hands "
            "are sent relative to the mean hand of the licensed SMPL-X model. See `hmtools body list`"
        )
    return np.asarray(model.hand_mean, np.float32)


def _member(name: str) -> zipfile.ZipInfo:
    """A member whose date is always the same, so that the same predictions make the same zip."""
    member = zipfile.ZipInfo(name)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o644 << 16
    return member


def _family(path: Path) -> str:
    """The body that all files have, after a look at their joints."""
    families = set()
    for file in prediction_files(path):
        schema = open_table(file).schema_arrow
        there = {name for name in schema.names if str(schema.field(name).type) != "null"}
        family = next((own for own in PREDICTED_FAMILIES if f"{own}_global_orient" in there), None)
        lacking = [] if family is None else [f"{family}_{name}" for name in _NEEDED]
        lacking = [name for name in [*lacking, "joints2d", "image_path"] if name not in there]
        if family is None or lacking:
            raise UsageError(f"{file}: the server needs a body and its joints; {', '.join(lacking)} missing")
        stated = (schema.field("joints2d").metadata or {}).get(b"convention", b"").decode()
        wanted = convention(_ORDER[family]).names[: _COMPARED[family]]
        if not stated or convention(stated).names[: _COMPARED[family]] != wanted:
            raise UsageError(
                f"{file}: joints2d must begin with the joints of the {family} model, as {_ORDER[family]} "
                f"does; found {stated or 'no convention'}"
            )
        families.add(family)
    if len(families) > 1:
        raise UsageError(f"{path}: predictions of two bodies together: {', '.join(sorted(families))}")
    return families.pop()


def _people(
    path: Path, found: Submission, hand_means: Float[np.ndarray, "2 45"] | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and content of every pickle."""
    parameters = [c.name for c in PREDICTION_COLUMNS if c.name.startswith(f"{found.family}_")]
    others = ["key", "image_path", "width", "height", "gender", "kid", "joints2d"]
    counted: Counter[str] = Counter()
    for batch in iter_predictions(path, [*others, *parameters]):
        filled = {name: column for name, column in batch.items() if column is not None}
        for row in range(len(next(iter(filled.values()), ()))):
            cells = {name: column[row] for name, column in filled.items()}
            stem = _stem(cells, path)
            key = cells.get("key")
            number = counted[stem] if key is None else key_decode(key).person
            counted[stem] += 1
            name = f"{stem}_personId_{number}"
            content = _content(cells, found, name, hand_means)
            if content is not None:
                yield name, content


def _stem(cells: dict[str, Any], path: Path) -> str:
    if not cells.get("image_path"):
        raise UsageError(f"{path}: a row without image_path ({cells.get('key')}): whose image is it?")
    return image_stem(cells["image_path"])


def _content(
    cells: dict[str, Any], found: Submission, name: str, hand_means: Float[np.ndarray, "2 45"] | None
) -> dict[str, Any] | None:
    """What a pickle holds; None for a prediction that is left out and counted."""
    family = found.family
    given = {
        column.removeprefix(f"{family}_"): np.asarray(cell, np.float32)
        for column, cell in cells.items()
        if column.startswith(f"{family}_")
    }
    joints = cells.get("joints2d")
    if joints is None or any(part not in given for part in _NEEDED):
        found.leave_out("without a body or joints", name)
        return None
    numbers = [joints[:, :2], *given.values()]
    if not all(np.isfinite(values).all() for values in numbers):
        found.leave_out("not finite", name)
        return None
    width, height = cells.get("width", -1), cells.get("height", -1)
    if width <= 0 or height <= 0 or width * LABEL_SIZE[1] != height * LABEL_SIZE[0]:
        raise UsageError(
            f"{name}: joints are sent in pixels of 3840 x 2160; expected width and height of the image they "
            f"are in, 16:9, found {width} x {height}"
        )
    given |= {part: np.zeros(n, np.float32) for part, n in _NEUTRAL[family].items() if part not in given}
    means = () if hand_means is None or family != "smplx" else tuple(hand_means)
    for part, mean in zip(_HANDS, means, strict=False):
        absolute = given.get(part, mean)  # a hand that is not predicted is the mean hand
        given[part] = np.asarray(absolute, np.float32) - np.asarray(mean, np.float32)
    content: dict[str, Any] = {
        "joints": np.asarray(joints[:, :2] * (LABEL_SIZE[0] / width), np.float32),
        "params": {
            part: values.reshape(_SHAPES[family].get(part, (1, -1))) for part, values in given.items()
        },
    }
    if cells.get("gender") not in (None, "neutral"):
        content["gender"] = cells["gender"]
    if len(given["betas"]) != 10:
        content["num_betas"] = len(given["betas"])
    if kid := float(np.nan_to_num(cells.get("kid", 0.0), nan=0.0)):  # one number more than num_betas
        content["kid_flag"] = True
        content["params"]["betas"] = np.append(given["betas"], np.float32(kid))[None]
    return content
