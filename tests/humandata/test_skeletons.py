from __future__ import annotations

import pytest

from hmtools.humandata.conventions import CONVENTIONS, HAND_MCP
from hmtools.humandata.keypoints import bones, convention, flip_permutation, mapping, part

any_convention = pytest.mark.parametrize("name", sorted(CONVENTIONS))


@any_convention
def test_parts_split_a_convention(name: str) -> None:
    parts = [part(name, which) for which in ("body", "left_hand", "right_hand", "face")]
    joined = sorted(i for indices in parts for i in indices)
    if name not in ("mano_21", "mano_21_reorder"):
        assert joined == list(range(convention(name).count))
        assert part(name, "hand") == (*sorted(parts[1] + parts[2]),)
    assert set(part(name, "left_mcp")) <= set(parts[1])
    swapped = flip_permutation(name)
    if not name.startswith("mano"):
        assert sorted(swapped[list(parts[1])]) == sorted(parts[2])
        assert sorted(swapped[list(parts[3])]) == sorted(parts[3])


def test_part_sets_in_figures() -> None:
    assert part("smplx_144", "head") == (15, *range(22, 25), *range(55, 60), *range(76, 144))
    assert part("smplx_144", "left_hand") == (*range(25, 40), *range(66, 71))
    assert part("smplx_144", "right_hand") == (*range(40, 55), *range(71, 76))
    assert part("agora", "body") == (*range(25), *range(55, 66))
    assert part("agora", "face") == tuple(range(76, 127))
    assert part("smplerx_137", "face") == tuple(range(65, 137))
    assert part("smplerx_137", "position_net") == tuple(range(65))
    assert part("smplerx_53", "right_hand") == tuple(range(37, 52))
    assert part("smplerx_137", "left_mcp") == tuple(25 + i for i in HAND_MCP)
    assert part("smplerx_137", "right_mcp") == tuple(45 + i for i in HAND_MCP)
    assert part("coco_17", "left_hand") == () == part("coco_17", "face")
    assert part("coco_17", "head") == (0, 1, 2, 3, 4)
    assert part("mano_21_reorder", "hand") == tuple(range(1, 21))
    assert len(part("coco_wholebody_133", "left_hand")) == 20
    # SMPLer-X's hands and landmarks are SMPL-X's; its body and face share the rest differently.
    to = mapping("smplx_144", "smplerx_137")
    assert sorted(to.src[25:45]) == list(part("smplx_144", "left_hand"))
    assert to.src[69:].tolist() == list(part("smplx_144", "face"))


def _figures(joints: int, lines: tuple[tuple[int, int], ...]) -> list[set[int]]:
    figures = [{i} for i in range(joints)]
    for a, b in lines:
        first, second = (next(f for f in figures if i in f) for i in (a, b))
        if first is not second:
            first |= second
            figures.remove(second)
    return figures


@any_convention
def test_body_and_hands_are_one_figure_and_face_lines_whole(name: str) -> None:
    row, lines = convention(name), bones(name)
    assert len({frozenset(line) for line in lines}) == len(lines)
    assert all(0 <= i < row.count for line in lines for i in line)
    landmarks = set(part(name, "face"))
    if name.startswith("smplerx"):
        landmarks -= {65, 66, 67, 68, 52}
    hidden = {67, 68} if name.startswith("smplerx_137") else set()
    helpers = {i for i, key in enumerate(row.keys) if key.startswith("gta_")}
    figures = [f for f in _figures(row.count, lines) if not f <= hidden | helpers]
    body = set(range(row.count)) - landmarks - hidden - helpers
    assert [f for f in figures if f & body] == [body]
    if landmarks - helpers:
        sizes = sorted(len(f) for f in figures if f <= landmarks)
        assert sizes == [4, 5, 5, 5, 6, 6, 8, 12, 17][: 9 if len(landmarks) == 68 else 8]


@any_convention
def test_a_mirrored_skeleton_has_the_same_lines(name: str) -> None:
    order = flip_permutation(name)
    lines = {frozenset(line) for line in bones(name)}
    assert {frozenset(int(order[i]) for i in line) for line in bones(name)} == lines


def test_skeletons_look_as_people_know_them() -> None:
    def named(name: str) -> set[frozenset[str]]:
        names = convention(name).names
        return {frozenset((names[a], names[b])) for a, b in bones(name)}

    coco = named("coco_17")
    for line in (
        ("left_shoulder", "right_shoulder"),
        ("left_hip_extra", "right_hip_extra"),
        ("left_shoulder", "left_hip_extra"),
        ("left_hip_extra", "left_knee"),
        ("nose", "left_eye"),
    ):
        assert frozenset(line) in coco
    smpl = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
    assert set(bones("smpl_24")) == {(parent, i) for i, parent in enumerate(smpl) if i}
    assert set(bones("smplx_144")) >= {(20, 25), (25, 26), (26, 27), (27, 67), (20, 37), (39, 66), (9, 12)}
    assert {frozenset(line) for line in bones("openpose_25")} == {
        frozenset(line)
        for line in (
            *(
                (0, 1),
                (1, 2),
                (2, 3),
                (3, 4),
                (1, 5),
                (5, 6),
                (6, 7),
                (1, 8),
                (8, 9),
                (9, 10),
                (10, 11),
                (8, 12),
            ),
            *(
                (12, 13),
                (13, 14),
                (0, 15),
                (15, 17),
                (0, 16),
                (16, 18),
                (14, 19),
                (19, 20),
                (14, 21),
                (11, 22),
            ),
            *((22, 23), (11, 24)),
        )
    }
    assert frozenset(("head_extra", "headtop")) in named("h36m_17")
    # Two skeletons in one set are kept apart: knees hang on hips of their own kind.
    assert set(bones("openpose_25")) <= set(bones("smpl_49"))
    assert frozenset(("left_hip_openpose", "left_knee_openpose")) in named("smpl_49")
    assert frozenset(("left_hip_extra", "left_knee")) in named("smpl_49")
    # Eyebrows are drawn however they are spelled, and eyes are closed loops.
    assert frozenset(("right_eye_brow_1", "right_eye_brow_2")) in named("openpose_137")
    assert frozenset(("left_eye_6", "left_eye_1")) in named("smplx_144")
    assert frozenset(("left_wrist", "left_hand_root")) in named("coco_wholebody_133")
