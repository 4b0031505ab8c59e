"""Every keypoint convention as plain tables of names, with the rules that join them.

Names are the vocabulary of HumanData (the 190 names of ``human_data_190``). A suffix says that the point is
defined differently from the SMPL skeleton joint of the same name, so the two are kept apart on purpose:
``_extra`` a regressor's or annotator's definition (LSP, MPII, H3.6M, COCO hips), ``_openpose`` OpenPose's,
``_3dhp`` a marker of MPI-INF-3DHP, ``_h36m`` a motion-capture joint of H3.6M, ``_pt`` PoseTrack. Equal names
are the same slot whatever the convention, e.g. ``left_knee`` of COCO and of SMPL.

This file is data; the functions that read it are in :mod:`hmtools.humandata.keypoints`. No convention holds a
name twice. Two of them, ``smplerx_137`` and ``osx_134``, have names of their own; ``keys`` ties those to the
vocabulary.

**The eyes of the 137 set, said once.** SMPLer-X's 137 joints hold the eyes twice: slots 22 and 23 (``L_Eye``,
``R_Eye``) and slots 67 and 68 (``Face_3``, ``Face_4``). The reference's body model fills 67 with the left eye
and 68 with the right one, its HumanData loader does it the other way round, so the network is compared with a
swapped target there. Right is the body model's order: the two sides of a loss must mean the same point, and
it is the one in which ``Face_3``/``Face_4`` follow ``L_Eye``/``R_Eye``. ``smplerx_137`` is that order. The
published gather, fault ``face_eyes`` in a recipe's ``reference_faults``, is the convention
``smplerx_137_published``: the same names with those two slots exchanged, to be named as the target instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hmtools.core.errors import UsageError, nearest

__all__ = [
    "CONVENTIONS",
    "EQUIVALENTS",
    "H36M_EVALUATION_14",
    "H36M_TO_LSP_14",
    "H36M_TO_LSP_17",
    "HAND_MCP",
    "SMPLX_VERTEX_IDS",
    "SMPL_49_FROM_SMPL_54",
    "SMPL_VERTEX_IDS",
    "Convention",
]


@dataclass(frozen=True, slots=True)
class Convention:
    """An ordered list of joints.

    Attributes:
        name: canonical name, as stored in a record's field metadata.
        names: joint names in order, no name twice.
        aliases: other names it is known by.
        comment: what a reader must know: origin, flags, traps.
        keys: per joint, the HumanData name under which it is matched with other conventions. The same as
            ``names`` unless the convention has names of its own; only there may a key occur twice.
    """

    name: str
    names: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    comment: str = ""
    keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.keys:
            object.__setattr__(self, "keys", self.names)

    @property
    def count(self) -> int:
        """Number of joints J."""
        return len(self.names)

    @property
    def own_names(self) -> bool:
        """True when the names are not those of the HumanData vocabulary."""
        return self.keys != self.names

    def index(self, name: str) -> int:
        """Position of a joint.

        Args:
            name: one of ``names``.

        Returns:
            0-based index.

        Raises:
            UsageError: the convention has no such joint.
        """
        if name not in self.names:
            raise UsageError(
                f"no joint {name!r} in keypoint convention {self.name!r}{nearest(name, self.names)}; "
                f"its {self.count} joints: {', '.join(self.names)}"
            )
        return self.names.index(name)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _each_side(text: str) -> tuple[str, ...]:
    """``*knee *ankle`` -> left_knee left_ankle right_knee right_ankle."""
    return tuple(name.replace("*", side) for side in ("left_", "right_") for name in text.split())


# Pieces that several conventions share.
_SMPL_22 = _names(
    """
    pelvis left_hip right_hip spine_1 left_knee right_knee spine_2 left_ankle right_ankle spine_3 left_foot
    right_foot neck left_collar right_collar head left_shoulder right_shoulder left_elbow right_elbow
    left_wrist right_wrist
    """
)
# SMPL-X and SMPL-H fingers: index, middle, pinky, ring, thumb - not thumb first.
_FINGERS_15 = """
    *index_1 *index_2 *index_3 *middle_1 *middle_2 *middle_3 *pinky_1 *pinky_2 *pinky_3
    *ring_1 *ring_2 *ring_3 *thumb_1 *thumb_2 *thumb_3
    """
_TIPS_5 = "*thumb *index *middle *ring *pinky"
# OpenPose, FreiHAND and COCO-WholeBody hands: thumb first, the tip closes each finger.
_FINGERS_20 = """
    *thumb_1 *thumb_2 *thumb_3 *thumb *index_1 *index_2 *index_3 *index *middle_1 *middle_2 *middle_3 *middle
    *ring_1 *ring_2 *ring_3 *ring *pinky_1 *pinky_2 *pinky_3 *pinky
    """
_FINGERS_30 = _each_side(_FINGERS_15)
_HANDS_40 = _each_side(_FINGERS_20)
_TIPS_10 = _each_side(_TIPS_5)
_FEET_6 = _each_side("*bigtoe *smalltoe *heel")
# Picked from the mesh by vertex; right before left as in the smplx package.
_HEAD_5 = _names("nose right_eye left_eye right_ear left_ear")
_PICKED_21 = (*_HEAD_5, *_FEET_6, *_TIPS_10)
_FACE_51 = _names(
    """
    right_eyebrow_1 right_eyebrow_2 right_eyebrow_3 right_eyebrow_4 right_eyebrow_5 left_eyebrow_5
    left_eyebrow_4 left_eyebrow_3 left_eyebrow_2 left_eyebrow_1 nosebridge_1 nosebridge_2 nosebridge_3
    nosebridge_4 right_nose_2 right_nose_1 nose_middle left_nose_1 left_nose_2 right_eye_1 right_eye_2
    right_eye_3 right_eye_4 right_eye_5 right_eye_6 left_eye_4 left_eye_3 left_eye_2 left_eye_1 left_eye_6
    left_eye_5 right_mouth_1 right_mouth_2 right_mouth_3 mouth_top left_mouth_3 left_mouth_2 left_mouth_1
    left_mouth_5 left_mouth_4 mouth_bottom right_mouth_4 right_mouth_5 right_lip_1 right_lip_2 lip_top
    left_lip_2 left_lip_1 left_lip_3 lip_bottom right_lip_3
    """
)
_CONTOUR_17 = _names(
    """
    right_contour_1 right_contour_2 right_contour_3 right_contour_4 right_contour_5 right_contour_6
    right_contour_7 right_contour_8 contour_middle left_contour_8 left_contour_7 left_contour_6
    left_contour_5 left_contour_4 left_contour_3 left_contour_2 left_contour_1
    """
)
# Rows of J_regressor_extra (9 x 6890).
_EXTRA_9 = _names(
    """
    right_hip_extra left_hip_extra neck_extra headtop pelvis_extra thorax_extra spine_extra jaw_extra
    head_extra
    """
)
_OPENPOSE_25 = _names(
    """
    nose_openpose neck_openpose right_shoulder_openpose right_elbow_openpose right_wrist_openpose
    left_shoulder_openpose left_elbow_openpose left_wrist_openpose pelvis_openpose right_hip_openpose
    right_knee_openpose right_ankle_openpose left_hip_openpose left_knee_openpose left_ankle_openpose
    right_eye_openpose left_eye_openpose right_ear_openpose left_ear_openpose left_bigtoe_openpose
    left_smalltoe_openpose left_heel_openpose right_bigtoe_openpose right_smalltoe_openpose
    right_heel_openpose
    """
)
_COCO_17 = _names(
    """
    nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist
    right_wrist left_hip_extra right_hip_extra left_knee right_knee left_ankle right_ankle
    """
)
_COCO_17_SMPL_HIPS = tuple(name.removesuffix("_extra") for name in _COCO_17)
_LSP_14 = _names(
    """
    right_ankle right_knee right_hip_extra left_hip_extra left_knee left_ankle right_wrist right_elbow
    right_shoulder left_shoulder left_elbow left_wrist neck_extra headtop
    """
)
_H36M_TRUNK_AND_ARMS = _names(
    """
    spine_extra neck_extra head_extra headtop left_shoulder left_elbow left_wrist right_shoulder right_elbow
    right_wrist
    """
)
_H36M_LEFT_LEG = _names("left_hip_extra left_knee left_ankle")
_H36M_RIGHT_LEG = _names("right_hip_extra right_knee right_ankle")
_MPI_INF_3DHP_28 = _names(
    """
    spine_3 spine_4_3dhp spine_2 spine_extra pelvis_extra neck_extra head_extra headtop left_clavicle_3dhp
    left_shoulder left_elbow left_wrist left_hand_3dhp right_clavicle_3dhp right_shoulder right_elbow
    right_wrist right_hand_3dhp left_hip_extra left_knee left_ankle left_foot left_toe_3dhp right_hip_extra
    right_knee right_ankle right_foot right_toe_3dhp
    """
)
# HybrIK reads these as SMPL joints; spine_extra and head_extra stay.
_HYBRIK_3DHP = {f"{name}_extra": name for name in ("pelvis", "neck", "left_hip", "right_hip")}
_MPI_INF_3DHP_17 = _names(
    """
    headtop neck_extra right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist
    right_hip_extra right_knee right_ankle left_hip_extra left_knee left_ankle pelvis_extra spine_extra
    head_extra
    """
)
_SMPL_24 = (*_SMPL_22, "left_hand", "right_hand")
_SMPL_45 = (*_SMPL_24, *_PICKED_21)
_SMPLX_127 = (
    *(*_SMPL_22, "jaw", "left_eyeball", "right_eyeball", *_FINGERS_30),
    *(*_PICKED_21, *_FACE_51),
)
_SMPLX_144 = (*_SMPLX_127, *_CONTOUR_17)
_J24 = (*_LSP_14, *_EXTRA_9[4:], *_names("nose left_eye right_eye left_ear right_ear"))
_GTA_100 = _names(
    """
    gta_head_top head neck gta_right_clavicle right_shoulder right_elbow right_wrist gta_left_clavicle
    left_shoulder left_elbow left_wrist spine_2 gta_spine1 spine_1 pelvis gta_spine4 right_hip right_knee
    right_ankle left_hip left_knee left_ankle gta_SKEL_ROOT gta_FB_R_Brow_Out_000 left_foot gta_MH_R_Elbow
    left_thumb_2 left_thumb_3 left_ring_2 left_ring_3 left_pinky_2 left_pinky_3 left_index_2 left_index_3
    left_middle_2 left_middle_3 gta_RB_L_ArmRoll gta_IK_R_Hand gta_RB_R_ThighRoll gta_FB_R_Lip_Corner_000
    gta_SKEL_Pelvis gta_IK_Head gta_MH_R_Knee gta_FB_LowerLipRoot_000 gta_FB_R_Lip_Top_000
    gta_FB_R_CheekBone_000 gta_FB_UpperLipRoot_000 gta_FB_L_Lip_Top_000 gta_FB_LowerLip_000 right_foot
    gta_FB_L_CheekBone_000 gta_MH_L_Elbow gta_RB_L_ThighRoll gta_PH_R_Foot left_eye gta_SKEL_L_Finger00
    left_index_1 left_middle_1 left_ring_1 left_pinky_1 right_eye gta_PH_R_Hand gta_FB_L_Lip_Corner_000
    gta_IK_R_Foot gta_RB_Neck_1 gta_IK_L_Hand gta_RB_R_ArmRoll gta_FB_Brow_Centre_000
    gta_FB_R_Lid_Upper_000 gta_RB_R_ForeArmRoll gta_FB_L_Lid_Upper_000 gta_MH_L_Knee gta_FB_Jaw_000
    gta_FB_L_Lip_Bot_000 gta_FB_Tongue_000 gta_FB_R_Lip_Bot_000 gta_IK_Root gta_PH_L_Foot
    gta_FB_L_Brow_Out_000 gta_SKEL_R_Finger00 right_index_1 right_middle_1 right_ring_1 right_pinky_1
    gta_PH_L_Hand gta_RB_L_ForeArmRoll gta_FB_UpperLip_000 right_thumb_2 right_thumb_3 right_ring_2
    right_ring_3 right_pinky_2 right_pinky_3 right_index_2 right_index_3 right_middle_2 right_middle_3
    gta_FACIAL_facialRoot gta_IK_L_Foot nose
    """
)

# Names of OSX and SMPLer-X = HumanData names. Hips, pelvis and neck are the body model's.
_OWN_BODY = dict(
    pair.split("=")
    for pair in _names(
        """
        Pelvis=pelvis L_Hip=left_hip R_Hip=right_hip L_Knee=left_knee R_Knee=right_knee L_Ankle=left_ankle
        R_Ankle=right_ankle Neck=neck L_Shoulder=left_shoulder R_Shoulder=right_shoulder L_Elbow=left_elbow
        R_Elbow=right_elbow L_Wrist=left_wrist R_Wrist=right_wrist L_Big_toe=left_bigtoe
        L_Small_toe=left_smalltoe L_Heel=left_heel R_Big_toe=right_bigtoe R_Small_toe=right_smalltoe
        R_Heel=right_heel L_Ear=left_ear R_Ear=right_ear L_Eye=left_eye R_Eye=right_eye Nose=nose
        """
    )
)
_OWN_FINGERS = _names(
    """
    *Thumb_1 *Thumb_2 *Thumb_3 *Thumb_4 *Index_1 *Index_2 *Index_3 *Index_4 *Middle_1 *Middle_2 *Middle_3
    *Middle_4 *Ring_1 *Ring_2 *Ring_3 *Ring_4 *Pinky_1 *Pinky_2 *Pinky_3 *Pinky_4
    """
)
_OWN_LEFT = tuple(name.replace("*", "L_") for name in _OWN_FINGERS)
_OWN_RIGHT = tuple(name.replace("*", "R_") for name in _OWN_FINGERS)
_OWN_HANDS = dict(zip((*_OWN_LEFT, *_OWN_RIGHT), _HANDS_40, strict=True))
_OWN_FACE = {
    f"Face_{i}": key
    for i, key in enumerate(("jaw", "head", "left_eye", "right_eye", *_FACE_51, *_CONTOUR_17), start=1)
}
_OWN_137 = {**_OWN_BODY, **_OWN_HANDS, **_OWN_FACE}
_OWN_137_PUBLISHED = {**_OWN_137, "Face_3": "right_eye", "Face_4": "left_eye"}
_OSX_134 = (
    *_names("Nose L_Eye R_Eye L_Ear R_Ear L_Shoulder R_Shoulder L_Elbow R_Elbow L_Wrist R_Wrist L_Hip R_Hip"),
    *_names("L_Knee R_Knee L_Ankle R_Ankle Pelvis L_Big_toe L_Small_toe L_Heel R_Big_toe R_Small_toe R_Heel"),
    *("L_Wrist_Hand", *_OWN_LEFT, "R_Wrist_Hand", *_OWN_RIGHT),
    *(f"Face_{i}" for i in (*range(56, 73), *range(5, 56))),
)
_OSX_KEYS = {**_OWN_137, "L_Wrist_Hand": "left_hand_root", "R_Wrist_Hand": "right_hand_root"}

_MANO = "*wrist " + _FINGERS_15 + _TIPS_5
_MANO_REORDER = "*wrist " + _FINGERS_20


def _hand(text: str, side: str) -> tuple[str, ...]:
    return _names(text.replace("*", side))


_TABLE = (
    Convention(
        "human_data_190",
        (
            *(*_SMPLX_144, *_EXTRA_9, *_OPENPOSE_25),
            *(
                "spine_4_3dhp",
                "left_clavicle_3dhp",
                "right_clavicle_3dhp",
                "left_hand_3dhp",
                "right_hand_3dhp",
            ),
            *("left_toe_3dhp", "right_toe_3dhp", "head_h36m", "headtop_h36m", "head_bottom_pt"),
            *("left_hand", "right_hand"),
        ),
        ("human_data",),
        "MMHuman3D's HumanData, the vocabulary itself. Its first 144 are smplx_144.",
    ),
    Convention(
        "smplerx_137",
        tuple(_OWN_137),
        ("smplerx",),
        "SMPLer-X's supervised joints: body 25, left hand 20, right hand 20, face 72. Face_3 and Face_4 are "
        "the left and the right eye.",
        tuple(_OWN_137.values()),
    ),
    Convention(
        "smplerx_137_published",
        tuple(_OWN_137_PUBLISHED),
        (),
        "smplerx_137 as the published HumanData loader gathers it (face_eyes): Face_3 is the right eye.",
        tuple(_OWN_137_PUBLISHED.values()),
    ),
    Convention(
        "smplerx_53",
        (*_SMPL_22, *_FINGERS_30, "jaw"),
        (),
        "Joints of SMPLer-X's 159 pose numbers, 3 each. Mirroring also negates y and z of each axis-angle.",
    ),
    Convention(
        "coco_17",
        _COCO_17,
        ("coco",),
        "MS COCO persons. Flags: 0 not labelled, 1 labelled but hidden, 2 visible. Of the COCO family only "
        "this one sends the annotated hips to *_hip_extra; COCO-WholeBody, PoseTrack, CrowdPose and Penn "
        "Action send theirs to the SMPL hips. Inconsistent, but the files in circulation are written so.",
    ),
    Convention(
        "coco_wholebody_133",
        (
            *(*_COCO_17_SMPL_HIPS, *_FEET_6, *_CONTOUR_17, *_FACE_51),
            *("left_hand_root", *_HANDS_40[:20], "right_hand_root", *_HANDS_40[20:]),
        ),
        ("coco_wholebody",),
        "COCO-WholeBody in the official order: body, feet, face, left hand, right hand. The hand roots have "
        "no HumanData name and are dropped there.",
    ),
    Convention(
        "osx_134",
        _OSX_134,
        (),
        "What OSX and SMPLer-X make of COCO-WholeBody: Pelvis is the mean of the hips, valid when both are. "
        "It joins the 137 set by its own names, so that set's second eyes stay empty.",
        tuple(_OSX_KEYS[name] for name in _OSX_134),
    ),
    Convention(
        "mpii_16",
        _names(
            """
            right_ankle right_knee right_hip_extra left_hip_extra left_knee left_ankle pelvis_extra
            thorax_extra neck_extra headtop right_wrist right_elbow right_shoulder left_shoulder left_elbow
            left_wrist
            """
        ),
        ("mpii",),
        "MPII Human Pose.",
    ),
    Convention(
        "h36m_17",
        ("pelvis_extra", *_H36M_LEFT_LEG, *_H36M_RIGHT_LEG, *_H36M_TRUNK_AND_ARMS),
        ("h36m",),
        "Human3.6M, left leg first. H36M_TO_LSP_14 selects from this order.",
    ),
    Convention(
        "h36m_mmpose",
        ("pelvis_extra", *_H36M_RIGHT_LEG, *_H36M_LEFT_LEG, *_H36M_TRUNK_AND_ARMS),
        (),
        "Human3.6M, right leg first: the parsed json files of OSX and NeuralAnnot. Taken for h36m_17 it "
        "swaps the legs and nothing else, which is hard to see.",
    ),
    Convention("mpi_inf_3dhp_28", _MPI_INF_3DHP_28, ("mpi_inf_3dhp",), "MPI-INF-3DHP training markers."),
    Convention(
        "mpi_inf_3dhp_28_hybrik",
        tuple(_HYBRIK_3DHP.get(name, name) for name in _MPI_INF_3DHP_28),
        ("hybrik_mpi_inf_3dhp",),
        "HybrIK's reading of the 28: pelvis, neck and hips count as SMPL joints.",
    ),
    Convention(
        "mpi_inf_3dhp_17",
        _MPI_INF_3DHP_17,
        ("mpi_inf_3dhp_test",),
        "MPI-INF-3DHP test set and MuPoTS-3D.",
    ),
    Convention(
        "muco_21",
        (*_MPI_INF_3DHP_17, "right_hand_3dhp", "left_hand_3dhp", "right_toe_3dhp", "left_toe_3dhp"),
        ("muco",),
        "MuCo-3DHP. No public table to HumanData exists; the first 17 are those of mpi_inf_3dhp_17.",
    ),
    Convention(
        "posetrack18_17",
        _names(
            """
            nose head_bottom_pt headtop left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow
            left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle
            """
        ),
        ("posetrack",),
        "PoseTrack18. The ears are never labelled.",
    ),
    Convention(
        "posetrack17_15",
        _names(
            """
            right_ankle right_knee right_hip left_hip left_knee left_ankle right_wrist right_elbow
            right_shoulder left_shoulder left_elbow left_wrist head_bottom_pt nose headtop
            """
        ),
        (),
        "PoseTrack17. Its own names for 12 and 14 are neck and head_top: the points PoseTrack18 calls "
        "head_bottom and head_top, so they get the names PoseTrack18 has.",
    ),
    Convention(
        "crowdpose_14",
        _names(
            """
            left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_hip right_hip
            left_knee right_knee left_ankle right_ankle head neck
            """
        ),
        ("crowdpose",),
        "CrowdPose. Its head is annotated near the top of the head yet counts as SMPL's head joint, and its "
        "neck as SMPL's: questionable, but the files in circulation are written so.",
    ),
    Convention(
        "ochuman_19",
        _names(
            """
            right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist right_hip_extra
            right_knee right_ankle left_hip_extra left_knee left_ankle head neck_extra right_ear left_ear nose
            right_eye left_eye
            """
        ),
        ("ochuman",),
        "OCHuman's own json. Flags: 0 missing, 1 visible, 2 hidden by oneself, 3 hidden by others. No table "
        "to HumanData exists elsewhere: hips and neck are annotated, hence _extra.",
    ),
    Convention("lsp_14", _LSP_14, ("lsp", "lspet_14", "lspet"), "Leeds Sports Pose and its extension."),
    Convention(
        "smpl_24",
        _SMPL_24,
        ("smpl",),
        "SMPL's skeleton. MMHuman3D calls this one smpl and gives the name smpl_24 to smpl_24_j24.",
    ),
    Convention(
        "smpl_24_j24",
        _J24,
        ("j24",),
        "SPIN's 24 ground-truth joints: LSP 14, five regressed, five of the face. MMHuman3D's smpl_24.",
    ),
    Convention(
        "smpl_45", _SMPL_45, (), "SMPL's skeleton and 21 picked vertices, as the smplx package returns them."
    ),
    Convention("smpl_54", (*_SMPL_45, *_EXTRA_9), (), "smpl_45 and the 9 rows of J_regressor_extra."),
    Convention("smpl_49", (*_OPENPOSE_25, *_J24), ("spin_49",), "SPIN's 49: openpose_25, then smpl_24_j24."),
    Convention(
        "hmr2_44",
        (*_OPENPOSE_25, *_J24[:19]),
        (),
        "4D-Humans: openpose_25, then the first 19 of smpl_24_j24. Its pelvis is joint 39.",
    ),
    Convention(
        "smplh_73",
        (*_SMPL_22, *_FINGERS_30, *_PICKED_21),
        ("smplh",),
        "SMPL-H as the smplx package returns it; the first 52 are the pose joints (AMASS: 156 = 52 x 3).",
    ),
    Convention(
        "smplx_144",
        _SMPLX_144,
        ("smplx",),
        "SMPL-X with face contour; the first 55 are the pose joints. The order inside a hand is index, "
        "middle, pinky, ring, thumb.",
    ),
    Convention("smplx_127", _SMPLX_127, ("agora_127", "agora"), "SMPL-X without face contour; AGORA's list."),
    Convention("mano_21", _hand(_MANO, ""), (), "One MANO hand whose side is not known; joins no other set."),
    Convention("mano_21_left", _hand(_MANO, "left_"), ("mano_left",), "MANO, left."),
    Convention("mano_21_right", _hand(_MANO, "right_"), ("mano_right",), "MANO, right."),
    Convention(
        "mano_21_reorder", _hand(_MANO_REORDER, ""), (), "mano_21 in the order of OpenPose and FreiHAND."
    ),
    Convention(
        "mano_21_left_reorder", _hand(_MANO_REORDER, "left_"), ("mano_left_reorder",), "The same, left."
    ),
    Convention(
        "mano_21_right_reorder", _hand(_MANO_REORDER, "right_"), ("mano_right_reorder",), "The same, right."
    ),
    Convention(
        "openpose_18",
        (*_OPENPOSE_25[:8], *_OPENPOSE_25[9:19]),
        (),
        "OpenPose's COCO body: openpose_25 without pelvis and feet.",
    ),
    Convention(
        "openpose_25",
        _OPENPOSE_25,
        (),
        "OpenPose BODY_25. None of it reaches the 137 set: no name is shared.",
    ),
    Convention(
        "openpose_118",
        (*_OPENPOSE_25, "left_wrist", *_HANDS_40[:20], "right_wrist", *_HANDS_40[20:], *_FACE_51),
        (),
        "openpose_25, two hands of 21, 51 face landmarks. The hands' roots are left_wrist and right_wrist.",
    ),
    Convention(
        "openpose_135",
        (
            *(*_COCO_17_SMPL_HIPS, "neck", "head", *_FEET_6, *_HANDS_40, *_CONTOUR_17, *_FACE_51),
            *("right_eyeball", "left_eyeball"),
        ),
        (),
        "COCO body with neck, head and feet, two hands of 20, face 68, pupils.",
    ),
    Convention(
        "openpose_137",
        (
            *(name.removesuffix("_openpose") for name in _OPENPOSE_25),
            *("left_wrist_openpose", *_HANDS_40[:20], "right_wrist_openpose", *_HANDS_40[20:], *_CONTOUR_17),
            *(name.replace("eyebrow", "eye_brow") for name in _FACE_51),
            *("right_eyeball_unused", "left_eyeball_unused"),
        ),
        (),
        "OpenPose's 25 + 21 + 21 + 70 (EHF). The ten eyebrows are spelled eye_brow and so join nothing: the "
        "files in circulation are written so.",
    ),
    Convention(
        "instavariety_25",
        _names(
            """
            right_heel_openpose right_knee_openpose right_hip_openpose left_hip_openpose left_knee_openpose
            left_heel_openpose right_wrist_openpose right_elbow_openpose right_shoulder_openpose
            left_shoulder_openpose left_elbow_openpose left_wrist_openpose neck_openpose headtop nose_openpose
            left_eye_openpose right_eye_openpose left_ear_openpose right_ear_openpose left_bigtoe_openpose
            right_bigtoe_openpose left_smalltoe_openpose right_smalltoe_openpose left_ankle_openpose
            right_ankle_openpose
            """
        ),
        ("instavariety",),
        "InstaVariety. headtop is never visible; none of it reaches the 137 set.",
    ),
    Convention(
        "pw3d_18",
        _names(
            """
            nose neck_extra right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist
            right_hip_extra right_knee right_ankle left_hip_extra left_knee left_ankle right_eye left_eye
            right_ear left_ear
            """
        ),
        ("pw3d",),
        "3DPW's poses2d.",
    ),
    Convention("gta_100", _GTA_100, ("gta",), "GTA-Human's game skeleton; gta_* have no HumanData name."),
    Convention(
        "penn_action_13",
        _names(
            """
            head left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_hip right_hip
            left_knee right_knee left_ankle right_ankle
            """
        ),
        ("penn_action",),
        "Penn Action.",
    ),
    Convention(
        "hybrik_29",
        _names(
            """
            pelvis left_hip right_hip spine_1 left_knee right_knee spine_2 left_ankle right_ankle spine_3
            left_foot right_foot neck left_collar right_collar jaw left_shoulder right_shoulder left_elbow
            right_elbow left_wrist right_wrist left_thumb right_thumb head left_middle right_middle
            left_bigtoe right_bigtoe
            """
        ),
        ("hybrik",),
        "HybrIK. Joint 15, SMPL's head, is called jaw here, and head is the vertex on top.",
    ),
)

CONVENTIONS: Mapping[str, Convention] = MappingProxyType({row.name: row for row in _TABLE})
"""Every convention by its canonical name."""

EQUIVALENTS: tuple[tuple[str, ...], ...] = (
    ("pelvis", "pelvis_openpose", "pelvis_extra"),
    ("left_hip", "left_hip_openpose", "left_hip_extra"),
    ("right_hip", "right_hip_openpose", "right_hip_extra"),
    ("neck", "neck_openpose", "neck_extra"),
    ("jaw", "jaw_extra"),
    ("head_extra", "head_h36m"),
    ("headtop", "headtop_h36m"),
    ("left_hand", "left_hand_3dhp"),
    ("right_hand", "right_hand_3dhp"),
    ("nose", "nose_openpose"),
    *(
        (name, f"{name}_openpose")
        for name in _each_side("*eye *ear *shoulder *elbow *wrist *knee *ankle *bigtoe *smalltoe *heel")
    ),
)
"""Names that stand in for one another in an approximate mapping, best first."""

HAND_MCP: tuple[int, ...] = (4, 8, 12, 16)
"""First joints of index, middle, ring and pinky inside the 20 joints of a hand, thumb first."""

H36M_EVALUATION_14: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8, 10, 11, 12, 13, 14, 15, 16)
"""Joints of h36m_mmpose (and, being symmetrical, of h36m_17) that Human3.6M errors are averaged over."""

H36M_TO_LSP_14: tuple[int, ...] = (6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10)
"""LSP joint k is joint ``H36M_TO_LSP_14[k]`` of h36m_17, the order with the **left** leg first; applied to
h36m_mmpose it would swap the legs."""

H36M_TO_LSP_17: tuple[int, ...] = (*H36M_TO_LSP_14, 0, 7, 9)
"""The same, continued by pelvis, spine and head."""

SMPL_49_FROM_SMPL_54: tuple[int, ...] = (
    *(24, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34),
    *(8, 5, 45, 46, 4, 7, 21, 19, 17, 16, 18, 20, 47, 48, 49, 50, 51, 52, 53, 24, 26, 25, 28, 27),
)
"""SPIN's gather of smpl_49 from smpl_54: OpenPose joints from the skeleton joints they come closest to."""

SMPL_VERTEX_IDS: Mapping[str, int] = MappingProxyType(
    dict(
        zip(
            _PICKED_21,
            (
                *(332, 6260, 2800, 4071, 583, 3216, 3226, 3387, 6617, 6624, 6787),
                *(2746, 2319, 2445, 2556, 2673, 6191, 5782, 5905, 6016, 6133),
            ),
            strict=True,
        )
    )
)
"""Vertex of the SMPL and SMPL-H mesh (6890) that stands for a surface joint; joints 24-44 of smpl_45."""

SMPLX_VERTEX_IDS: Mapping[str, int] = MappingProxyType(
    dict(
        zip(
            _PICKED_21,
            (
                *(9120, 9929, 9448, 616, 6, 5770, 5780, 8846, 8463, 8474, 8635),
                *(5361, 4933, 5058, 5169, 5286, 8079, 7669, 7794, 7905, 8022),
            ),
            strict=True,
        )
    )
)
"""Vertex of the SMPL-X mesh (10475) that stands for a surface joint; joints 55-75 of smplx_144."""
