"""Which joints are joined by a line when a skeleton is drawn, and which joints make a part: tables of names.

Names are written without their suffix (``_extra``, ``_openpose``, ...) and ``*`` stands for ``left_`` or
``right_``; :func:`hmtools.humandata.keypoints.bones` and :func:`~hmtools.humandata.keypoints.part` resolve
them for every convention.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["FACE_LINES", "PARENTS", "PART_PATTERNS", "PART_RANGES", "SUFFIXES", "TORSO_WITHOUT_NECK"]

SUFFIXES: tuple[str, ...] = ("", "_extra", "_3dhp", "_pt", "_h36m", "_openpose")
"""Definitions a joint may come in, the one to prefer first. OpenPose is last: the sets that hold a second,
OpenPose skeleton beside their own keep the two apart."""

_BODY: dict[str, str] = {
    "pelvis": "",
    "spine": "pelvis",
    "spine_1": "pelvis",
    "spine_2": "spine_1 spine pelvis",
    "spine_3": "spine_2 spine pelvis",
    "spine_4": "spine_3",
    "thorax": "spine pelvis",
    "neck": "spine_4 spine_3 thorax spine pelvis",
    "head_bottom": "neck",
    "head": "neck head_bottom",
    "jaw": "head neck",
    "nose": "head neck head_bottom",
    "headtop": "head nose neck",
    "*eye": "nose head",
    "*ear": "*eye nose head",
    "*eyeball": "*eye head",
    "*collar": "spine_3 neck",
    "*clavicle": "spine_4 neck",
    "*shoulder": "*collar *clavicle thorax neck head_bottom head *ear",
    "*elbow": "*shoulder",
    "*wrist": "*elbow",
    "*hand": "*wrist",
    "*hand_root": "*wrist",
    "*hip": "pelvis neck *shoulder",
    "*knee": "*hip",
    "*ankle": "*knee",
    "*heel": "*ankle",
    "*foot": "*ankle",
    "*toe": "*foot *ankle",
    "*bigtoe": "*foot *ankle",
    "*smalltoe": "*bigtoe *foot *ankle",
}
_FINGERS = ("thumb", "index", "middle", "ring", "pinky")
_HAND: dict[str, str] = {
    **{f"*{f}_1": "*hand_root *wrist *hand" for f in _FINGERS},
    **{f"*{f}_2": f"*{f}_1 *hand_root *wrist *hand" for f in _FINGERS},
    **{f"*{f}_3": f"*{f}_2" for f in _FINGERS},
    **{f"*{f}": f"*{f}_3 *hand *wrist" for f in _FINGERS},
}


def _expand(table: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    # The third side is none: a hand whose side is not known.
    return {
        joint.replace("*", side): tuple(parents.replace("*", side).split())
        for joint, parents in table.items()
        for side in ("left_", "right_", "")
    }


PARENTS: Mapping[str, tuple[str, ...]] = MappingProxyType(_expand({**_BODY, **_HAND}))
"""Joint -> the joints its line may start from; the first one the convention has is taken."""

TORSO_WITHOUT_NECK: tuple[tuple[str, str], ...] = (
    ("left_shoulder", "right_shoulder"),
    ("left_hip", "right_hip"),
    ("left_shoulder", "left_hip"),
    ("right_shoulder", "right_hip"),
)
"""Lines added when nothing between the shoulders is annotated (COCO): the torso is drawn as a box."""

_LINES = (
    "right_contour_1 right_contour_2 right_contour_3 right_contour_4 right_contour_5 right_contour_6 "
    "right_contour_7 right_contour_8 contour_middle left_contour_8 left_contour_7 left_contour_6 "
    "left_contour_5 left_contour_4 left_contour_3 left_contour_2 left_contour_1",
    "right_eyebrow_1 right_eyebrow_2 right_eyebrow_3 right_eyebrow_4 right_eyebrow_5",
    "left_eyebrow_1 left_eyebrow_2 left_eyebrow_3 left_eyebrow_4 left_eyebrow_5",
    "nosebridge_1 nosebridge_2 nosebridge_3 nosebridge_4",
    "right_nose_2 right_nose_1 nose_middle left_nose_1 left_nose_2",
    "right_eye_1 right_eye_2 right_eye_3 right_eye_4 right_eye_5 right_eye_6 right_eye_1",
    "left_eye_1 left_eye_2 left_eye_3 left_eye_4 left_eye_5 left_eye_6 left_eye_1",
    "right_mouth_1 right_mouth_2 right_mouth_3 mouth_top left_mouth_3 left_mouth_2 left_mouth_1 "
    "left_mouth_5 left_mouth_4 mouth_bottom right_mouth_4 right_mouth_5 right_mouth_1",
    "right_lip_1 right_lip_2 lip_top left_lip_2 left_lip_1 left_lip_3 lip_bottom right_lip_3 right_lip_1",
)
FACE_LINES: tuple[tuple[str, ...], ...] = tuple(tuple(line.split()) for line in _LINES)
"""Lines through the face landmarks; one that ends where it began is closed."""

PART_PATTERNS: Mapping[str, str] = MappingProxyType(
    {
        "left_hand": r"left_(thumb|index|middle|ring|pinky)(_\d)?|gta_SKEL_L_Finger\d+",
        "right_hand": r"right_(thumb|index|middle|ring|pinky)(_\d)?|gta_SKEL_R_Finger\d+",
        "hand": r"((left|right)_)?(thumb|index|middle|ring|pinky)(_\d)?|gta_SKEL_[LR]_Finger\d+",
        "face": (
            r"((left|right)_)?(eyebrow|eye|nose|mouth|lip|contour)_(\d|top|bottom|middle)|nosebridge_\d"
            r"|gta_(FB|FACIAL)_\w+"
        ),
        # What a face box is drawn around: the face and the joints of the head.
        "head": r"head|jaw|nose|(left|right)_(eye|ear|eyeball)",
        "left_mcp": r"left_(index|middle|ring|pinky)_1",
        "right_mcp": r"right_(index|middle|ring|pinky)_1",
    }
)
"""Part -> pattern that a joint's name without suffix matches as a whole. Body is what is in no hand and no
face; wrists and hand roots are body; head means face as well."""

_137 = {
    "body": range(25),
    "left_hand": range(25, 45),
    "right_hand": range(45, 65),
    "hand": range(25, 65),
    "face": range(65, 137),
    "position_net": range(65),
}
PART_RANGES: Mapping[str, Mapping[str, range]] = MappingProxyType(
    {
        "smplerx_137": _137,
        "smplerx_137_published": _137,
        "smplerx_53": {
            "body": range(22),
            "left_hand": range(22, 37),
            "right_hand": range(37, 52),
            "hand": range(22, 52),
            "face": range(52, 53),
        },
    }
)
"""Parts that a convention defines by position: SMPLer-X counts jaw, head and the second eyes as face."""
