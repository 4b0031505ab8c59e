"""Whose weights a set of tensors is, told by names and shapes, and what is wrong with them.

Names are ours: those of the published files without ``module.`` in front. Nothing here needs a network or
torch: a state is a mapping of names to shapes.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hmtools.core.errors import CheckpointError
from hmtools.models.published_weights import MODEL_TITLES, Decoder, Model
from hmtools.models.sizes import SIZES

__all__ = ["ENCODERS", "Differences", "Identity", "Shapes", "compare", "identify", "our_names"]

Shapes = Mapping[str, tuple[int, ...]]

ENCODERS: Mapping[Model, str] = MappingProxyType({"smplerx": "encoder.", "vitpose": "backbone."})
"""Model -> what the names of its ViT begin with."""

_SHOWN = 8
_RENAMED = {
    "backbone": "encoder",
    "body_rotation_net": "body_regressor",
    "hand_rotation_net": "hand_regressor",
}
_SMPLERX_HEADS = {
    "body_position_net", "body_regressor", "body_rotation_net", "box_net", "hand_roi_net",
    "hand_position_net", "hand_regressor", "hand_rotation_net", "face_regressor",
}  # fmt: skip
_BODY_MODEL = "smplx_layer."  # SMPLer-X removes it when saving; whoever kept it has its licence too
_VIT = {"pos_embed", "patch_embed", "blocks", "last_norm"}
# Part of a name -> whose it is: files that users try, with what they can do.
_STRANGERS = {
    ".mlp.experts.": "ViTPose++; hmtools.models.vitpose_plus takes plain ViTPose weights out of them",
    "smpl_head.": "HMR2.0",
    "motion_encoder.": "WHAM",
    "cls_token": "a ViT with a class token, such as MAE's pre-training; take a file of ViTPose",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What network a state is of.

    Attributes:
        model: SMPLer-X or ViTPose.
        size: name in :data:`~hmtools.models.sizes.SIZES`.
        decoder: of ViTPose; None for SMPLer-X and for a ViT without key-point head.
    """

    model: Model
    size: str
    decoder: Decoder | None = None

    def __str__(self) -> str:
        """Such as ``SMPLer-X, size h``."""
        if self.model == "smplerx":
            return f"{MODEL_TITLES[self.model]}, size {self.size}"
        head = f"{self.decoder} decoder" if self.decoder else "encoder only"
        return f"{MODEL_TITLES[self.model]}, size {self.size}, {head}"


def our_names(names: Iterable[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Map the names of a file to ours.

    Args:
        names: as in the file, with or without ``module.`` in front, of any version of SMPLer-X or ViTPose.

    Returns:
        Name in the file -> our name, and the names left out because they are the body model's.

    Raises:
        CheckpointError: when two names become one.
    """
    bare = {name: name.removeprefix("module.") for name in names}
    tops = {name.partition(".")[0] for name in bare.values()}
    body = tuple(name for name, ours in bare.items() if ours.startswith(_BODY_MODEL))
    if tops & _SMPLERX_HEADS:
        rename: Callable[[str], str] = _smplerx_name
    elif "pos_embed" in tops and tops <= _VIT | {"cls_token"}:
        rename = ENCODERS["vitpose"].__add__  # a ViT on its own, as HMR2.0 takes it
    else:
        rename = str
    mapped = {name: rename(ours) for name, ours in bare.items() if name not in body}
    twice = [name for name, count in Counter(mapped.values()).items() if count > 1]
    if twice:
        those = " and ".join(repr(name) for name, ours in mapped.items() if ours == twice[0])
        raise CheckpointError(f"{those} are both {twice[0]!r}: the file holds two networks")
    return mapped, body


def _smplerx_name(name: str) -> str:
    top, dot, rest = name.partition(".")
    return _RENAMED.get(top, top) + dot + rest


def identify(shapes: Shapes) -> Identity:
    """Tell model, size and decoder of a state.

    Args:
        shapes: our names -> shapes.

    Raises:
        CheckpointError: for weights of another network or of a size that was not published; the message
            says what was found.
    """
    stranger = next((what for part, what in _STRANGERS.items() if any(part in name for name in shapes)), None)
    if stranger:
        raise CheckpointError(f"expected weights of SMPLer-X or ViTPose, found those of {stranger}")
    tops = Counter(name.partition(".")[0] for name in shapes)
    if set(tops) & _SMPLERX_HEADS:
        return Identity(model="smplerx", size=_size(shapes, ENCODERS["smplerx"]))
    if "backbone" in tops:
        size = _size(shapes, ENCODERS["vitpose"])
        return Identity(model="vitpose", size=size, decoder=_decoder(shapes))
    found = ", ".join(f"{name} ({count})" for name, count in tops.most_common(_SHOWN))
    raise CheckpointError(f"expected weights of SMPLer-X or ViTPose, found an unknown network: {found}")


def _size(shapes: Shapes, prefix: str) -> str:
    position = shapes.get(f"{prefix}pos_embed", ())
    blocks = {
        int(m[1]) for name in shapes if (m := re.match(rf"{re.escape(prefix)}blocks\.(\d{{1,4}})\.", name))
    }
    width, depth = position[-1] if position else 0, max(blocks, default=-1) + 1
    for size in SIZES.values():
        if (size.width, size.depth) == (width, depth):
            return size.name
    known = ", ".join(f"{size.name}: {size.width} and {size.depth}" for size in SIZES.values())
    raise CheckpointError(
        f"expected a ViT of one of the sizes (width and depth: {known}), found width {width or 'unknown'} "
        f"and depth {depth}"
    )


def _decoder(shapes: Shapes) -> Decoder | None:
    if not any(name.startswith("keypoint_head.") for name in shapes):
        return None
    if "keypoint_head.deconv_layers.0.weight" in shapes:
        return "classic"
    final = shapes.get("keypoint_head.final_layer.weight", ())
    if final[2:] == (3, 3):
        return "simple"
    raise CheckpointError(
        "expected ViTPose's classic decoder (deconv_layers) or its simple one (a final layer of 3 x 3), "
        f"found neither: keypoint_head.final_layer.weight has shape {final or 'none'}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """How a state differs from what a network expects.

    Attributes:
        missing: names the network has and the state lacks.
        unexpected: names the state has and the network lacks.
        misshapen: (name, shape in the state, shape expected).
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.misshapen)

    def text(self, shown: int | None = _SHOWN) -> str:
        """The lists in words, each cut to ``shown`` names (None: whole), with the nearest other names."""
        rows: tuple[tuple[str, list[str]], ...] = (
            ("missing", [f"{name}{_near(name, self.unexpected)}" for name in self.missing[:shown]]),
            ("unexpected", [f"{name}{_near(name, self.missing)}" for name in self.unexpected[:shown]]),
            ("of another shape", [f"{n}: {f}, expected {e}" for n, f, e in self.misshapen[:shown]]),
        )
        counts = (len(self.missing), len(self.unexpected), len(self.misshapen))
        lines = []
        for (what, names), count in zip(rows, counts, strict=True):
            if count:
                lines += [f"  {count} {what}:", *(f"    {name}" for name in names)]
                lines += [f"    ... and {count - len(names)} more"] if count > len(names) else []
        return "\n".join(lines)


def _near(name: str, others: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, others, n=1, cutoff=0.8)
    return f" (nearest: {close[0]})" if close else ""


def compare(found: Shapes, expected: Shapes) -> Differences:
    """Compare names and shapes."""
    return Differences(
        missing=tuple(name for name in expected if name not in found),
        unexpected=tuple(name for name in found if name not in expected),
        misshapen=tuple(
            (name, tuple(found[name]), tuple(shape))
            for name, shape in expected.items()
            if name in found and tuple(found[name]) != tuple(shape)
        ),
    )
