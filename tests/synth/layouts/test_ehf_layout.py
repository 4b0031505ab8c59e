"""The miniature has EHF's files and oddities, and a truth that agrees with what the files say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hmtools.core.errors import UsageError
from hmtools.synth import PersonTruth, Truth, make_miniature, read_truth
from hmtools.synth.geometry_image import FIGURE_BLUE, decode_affine, decode_frame, encode
from hmtools.synth.layouts import Layout
from hmtools.synth.layouts.ehf import LAYOUT

FRAMES, SIZE = 7, (160, 120)
# The published calibration, in full: R as a matrix, t in metres, f and c in pixels of 1600 x 1200.
CARD_ROTATION = [[0.99924, -0.00488, 0.03855], [-0.01072, -0.98820, 0.15277], [0.03735, -0.15306, -0.98751]]
CARD_TRANSLATION = [-0.03609917, 0.43416458, 2.37101226]


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("flat") / "EHF"
    make_miniature("ehf", root, frames=FRAMES, people=1, seed=3, size=SIZE)
    return root


@pytest.fixture(scope="module")
def osx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("osx") / "EHF"
    make_miniature("ehf", root, frames=FRAMES, people=1, seed=3, size=SIZE, variant="osx")
    return root


def read_camera(path: Path) -> tuple[Any, Any, float, Any]:
    """R (3, 3), t (3,), f, c (2,) from the text alone."""
    numbers = {
        line.split(":")[0]: np.array(line.split(":")[1].split(), float)
        for line in path.read_text().splitlines()
    }
    rotation = cv2.Rodrigues(numbers["rotation"])[0]
    return rotation, numbers["translation"], float(numbers["focal"][0]), numbers["principal_point"]


def read_ply(path: Path) -> tuple[str, Any, Any]:
    """Format, (V, 3) float32 vertices and (F, 3) faces."""
    header, body = path.read_bytes().split(b"end_header\n")
    words = [line.split() for line in header.decode().splitlines()]
    assert words[0] == ["ply"]
    assert [row[-1] for row in words if row[0] == "property"] == ["x", "y", "z", "vertex_indices"]
    (form,) = [row[1] for row in words if row[0] == "format"]
    vertices, faces = (int(row[2]) for row in words if row[0] == "element")
    if form == "ascii":
        rows = body.decode().splitlines()
        assert len(rows) == vertices + faces
        corners = np.loadtxt(rows[vertices:], dtype=np.int64)
        return form, np.loadtxt(rows[:vertices], dtype=np.float32), corners[:, 1:]
    order = {"binary_little_endian": "<", "binary_big_endian": ">"}[form]
    points = np.frombuffer(body, f"{order}f4", 3 * vertices).reshape(-1, 3)
    table = np.frombuffer(body[12 * vertices :], np.dtype([("n", "u1"), ("corners", f"{order}i4", 3)]))
    assert len(table) == faces
    assert set(table["n"]) == {3}
    return form, points.astype(np.float32), table["corners"].astype(np.int64)


def openpose(path: Path) -> list[Any]:
    """(137, 3) of every detection, in the order body, left hand, right hand, face."""
    keys = [f"{part}_keypoints_2d" for part in ("pose", "hand_left", "hand_right", "face")]
    people = json.loads(path.read_text())["people"]
    return [np.concatenate([np.reshape(person[key], (-1, 3)) for key in keys]) for person in people]


def pixels(points: Any, person: PersonTruth) -> Any:
    points = np.asarray(points, float)
    return points[:, :2] / points[:, 2:] * person.columns["focal_length"] + person.columns["principal_point"]


def frames(root: Path) -> Iterator[tuple[Path, PersonTruth]]:
    for person in read_truth(root).people:
        yield (root / person.file).parent, person


def picture(path: Path) -> Any:
    return cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)


def tree(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_names(flat: Path) -> None:
    names = {path.name for path in flat.iterdir() if not path.name.startswith(".")}
    expected = {"EHF_camera.txt"}
    for number in range(1, FRAMES + 1):
        kinds = {"img.jpg", "img.png", "scan.obj", "align.ply", "2Djnt.json", "2Djnt.png"}
        kinds -= {2: {"2Djnt.json", "2Djnt.png"}, 5: {"img.png"}}.get(number, set())
        expected |= {f"{number:02d}_{kind}" for kind in kinds}
    assert names == expected


def test_osx_has_the_same_files_in_data(flat: Path, osx: Path) -> None:
    mine = {name.removeprefix("data/"): digest for name, digest in tree(osx).items() if name[0] != "."}
    official = {name: digest for name, digest in tree(flat).items() if name[0] != "."}
    del mine["EHF.json"]
    assert mine == official


def test_the_meshes_lie_in_the_world(flat: Path) -> None:
    forms = []
    for folder, person in frames(flat):
        form, world, faces = read_ply(folder / f"{person.source_id}_align.ply")
        forms.append(form)
        rotation, translation, _, _ = read_camera(folder / "EHF_camera.txt")
        assert person.vertices is not None
        assert world.shape == (10475, 3)
        assert faces.shape == (20908, 3)
        assert faces.max() == 10474
        np.testing.assert_allclose(
            world.astype(float) @ rotation.T + translation, person.vertices, rtol=0, atol=1e-6
        )
        np.testing.assert_allclose(
            person.columns["world_to_cam"], np.column_stack([rotation, translation]), rtol=0, atol=1e-12
        )
        head, feet = world[world[:, 1].argmax()], world[world[:, 1].argmin()]
        assert head[1] - feet[1] > 1.0  # y is up in the world ...
        assert (
            pixels(person.vertices, person)[world[:, 1].argmax(), 1] < 0.5 * SIZE[1]
        )  # ... and in the image
    assert forms == [
        *("binary_little_endian", "ascii", "binary_little_endian", "binary_big_endian"),
        *["binary_little_endian"] * 3,
    ]


def test_the_camera_is_the_published_one(tmp_path: Path, flat: Path) -> None:
    make_miniature("ehf", tmp_path, frames=1, people=1, seed=0, size=(1600, 1200))
    rotation, translation, focal, centre = read_camera(tmp_path / "EHF_camera.txt")
    np.testing.assert_allclose(rotation, CARD_ROTATION, rtol=0, atol=1e-5)
    assert translation.tolist() == CARD_TRANSLATION
    assert (focal, *centre) == (1498.224, 790.263706, 578.90334)
    _, _, small, near = read_camera(flat / "EHF_camera.txt")
    assert small == pytest.approx(focal / 10)
    # Scaled about the corner at -0.5: the same ray meets the same place of the smaller picture.
    np.testing.assert_allclose((near + 0.5) * 10, centre + 0.5, atol=1e-6)
    (person,) = read_truth(tmp_path).people
    np.testing.assert_array_equal(person.columns["focal_length"], [focal, focal])


def test_pictures(flat: Path) -> None:
    width, height = SIZE
    for folder, person in frames(flat):
        number, only_jpg = person.columns["frame"], "jpg_only" in person.quirks
        image = picture(flat / person.file)
        assert image.shape == (height, width, 3)
        assert person.file == f"{person.source_id}_img.{'jpg' if only_jpg else 'png'}"
        expected = encode(width, height, number)
        jpg = picture(folder / f"{person.source_id}_img.jpg").astype(int)
        differs = abs(int(jpg[-8:, -8:, 2].mean()) - int(expected[0, 0, 2])) > 30
        assert differs == ("jpg_differs" in person.quirks)
        assert np.abs(jpg[..., :2] - expected[..., :2]).mean() < 4  # positions stay
        if only_jpg:
            np.testing.assert_allclose(decode_affine(image, width, height), np.eye(2, 3), atol=0.05)
            assert decode_frame(image, width, height) == number
        else:  # nothing is lost
            np.testing.assert_array_equal(image[..., :2], expected[..., :2])
            ground = image[..., 2] != FIGURE_BLUE
            np.testing.assert_array_equal(image[ground], expected[ground])


def test_the_silhouette_is_the_mesh(flat: Path) -> None:
    for _, person in frames(flat):
        if "jpg_only" in person.quirks:
            continue
        painted = picture(flat / person.file)[..., 2] == FIGURE_BLUE
        places = np.rint(pixels(person.vertices, person)).astype(int)
        shown = places[((places >= 0) & (places < SIZE)).all(axis=1)]
        near = cv2.dilate(painted.astype(np.uint8), np.ones((3, 3), np.uint8))
        assert near[shown[:, 1], shown[:, 0]].all()
        assert painted[shown[:, 1], shown[:, 0]].mean() > 0.97
        hull = cv2.fillConvexPoly(np.zeros_like(near), cv2.convexHull(places.astype(np.int32)), 1)
        assert not (painted & (cv2.dilate(hull, np.ones((5, 5), np.uint8)) == 0)).any()
        assert 0.25 < painted.sum() / hull.sum() < 0.9


def test_scans_are_no_meshes(flat: Path) -> None:
    for folder, person in frames(flat):
        lines = (folder / f"{person.source_id}_scan.obj").read_text().splitlines()
        scan = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)
        _, world, _ = read_ply(folder / f"{person.source_id}_align.ply")
        assert len(scan) < 100
        distance = np.linalg.norm(scan[:, None] - world[None], axis=2)
        assert distance.min(axis=1).max() < 1e-6
        rows = distance.argmin(axis=1)
        assert (np.diff(rows) < 0).any()


def test_detections(flat: Path) -> None:
    found, close = {}, []
    for folder, person in frames(flat):
        path = folder / f"{person.source_id}_2Djnt.json"
        points = person.columns["keypoints2d_original"]
        if "no_openpose" in person.quirks:
            assert not path.exists()
            assert points is None
            continue
        people = openpose(path)
        found[person.source_id] = len(people)
        if not people:
            assert points is None
            continue
        np.testing.assert_array_equal(points, people[0])
        seen = points[:, 2] > 0
        assert not points[~seen].any()
        assert (points[seen, 2] < 1).all()
        assert len(np.unique(points[seen, 2])) > 20
        assert 0.6 < seen.mean() < 1 or "partly_outside" in person.quirks
        assert person.joints is not None
        # nose, wrists, hips, big toes of smplx_144 and of the 137
        mine, theirs = [0, 4, 7, 9, 12, 19, 22], [55, 21, 20, 2, 1, 60, 63]
        gap = np.linalg.norm(points[mine, :2] - pixels(person.joints, person)[theirs], axis=1)
        close += gap[seen[mine]].tolist()
        # hands: knuckle of the left index finger; face: tip of the nose
        for own, other in ((30, 25), (97, 89)):
            if seen[own]:
                close.append(np.hypot(*(points[own, :2] - pixels(person.joints, person)[other])))
    assert found == {"01": 1, "03": 1, "04": 0, "05": 1, "06": 2, "07": 1}
    assert max(close) < 5 * 0.001 * SIZE[1]
    assert len(close) > 35


def test_joints_are_those_of_the_mesh(flat: Path) -> None:
    from hmtools.bodies.assets import load_model, standin_dir

    model = load_model("smplx", "neutral", roots=[standin_dir()])
    for _, person in frames(flat):
        assert person.joints is not None
        assert person.vertices is not None
        regressed = model.joint_regressor @ person.vertices.astype(float)
        np.testing.assert_allclose(person.joints[:55], regressed, rtol=0, atol=1e-6)
        np.testing.assert_allclose(person.joints[55], person.vertices[9120], rtol=0, atol=1e-6)
        np.testing.assert_allclose(person.joints[66], person.vertices[5361], rtol=0, atol=1e-6)
        lips = np.linalg.norm(person.joints[76:127] - person.joints[15], axis=1)
        assert ((lips > 0.02) & (lips < 0.25)).all()
        assert np.isnan(person.joints[127:]).all()
        assert person.joints.shape == (144, 3)


def test_columns(flat: Path) -> None:
    for number, (_, person) in enumerate(frames(flat)):
        columns = person.columns
        assert [columns[name] for name in ("frame", "source_frame", "sequence", "person")] == [
            *(number, f"{number + 1:02d}", "test", 0)
        ]
        assert (columns["gender"], columns["valid_smplx"]) == ("neutral", False)
        assert (columns["camera_model"], columns["camera_kind"]) == ("pinhole", "real")
        assert {name for name in columns if name.startswith("smplx_")} >= {"smplx_body_pose", "smplx_betas"}
        assert all(columns[name] is None for name in columns if name.startswith("smplx_"))
        assert (columns["width"], columns["height"]) == SIZE
        assert person.rejected is None


def test_images_of_the_truth(flat: Path, osx: Path) -> None:
    for root in (flat, osx):
        truth = read_truth(root)
        assert truth.layout == "ehf"
        assert [image.frame for image in truth.images] == list(range(FRAMES))
        for image, person in zip(truth.images, truth.people, strict=True):
            assert (image.file, image.source_id, image.people) == (person.file, person.source_id, 1)
            assert person.columns["image_path"] == person.file
            assert (root / image.file).is_file()
            assert (image.width, image.height, image.image_op, image.orientation) == (*SIZE, "none", 1)


def edges(person: PersonTruth, grow: float) -> Any:
    """x1, y1, x2, y2 of the mesh, grown, inside the picture."""
    places = pixels(person.vertices, person)
    centre, half = (places.max(0) + places.min(0)) / 2, (places.max(0) - places.min(0)) / 2 * grow
    return np.concatenate([np.maximum(centre - half, -0.5), np.minimum(centre + half, np.array(SIZE) - 0.5)])


def test_body_boxes(flat: Path, osx: Path) -> None:
    for root, grow in ((flat, 1.2), (osx, 1.0)):
        for _, person in frames(root):
            box = person.columns["bbox_xywh"]
            if person.rejected:
                assert box is None
                continue
            assert box[4] == 1
            np.testing.assert_allclose([*box[:2], *(box[:2] + box[2:4])], edges(person, grow), atol=2e-3)


def test_one_person_is_partly_outside(flat: Path) -> None:
    share = {}
    for _, person in frames(flat):
        places = pixels(person.vertices, person)
        share[person.source_id] = -places[:, 0].min() / np.ptp(places[:, 0])
        assert ((places[:, 1] > 0) & (places[:, 1] < SIZE[1] - 1)).all()
        assert (places[:, 0] < SIZE[0] - 1).all()
    assert share.pop("03") == pytest.approx(0.34, abs=0.02)
    assert max(share.values()) < 0


def test_boxes_of_osx(osx: Path) -> None:
    data = json.loads((osx / "data/EHF.json").read_text())
    images = {row["id"]: row for row in data["images"]}
    boxes = {row["image_id"]: row for row in data["annotations"]}
    assert len(images) == len(boxes) == len({row["id"] for row in boxes.values()}) == FRAMES
    assert [row["image_id"] for row in data["annotations"]] != list(images)
    named = []
    for (number, row), (folder, person) in zip(images.items(), frames(osx), strict=True):
        assert (row["width"], row["height"]) == SIZE
        assert (folder / row["file_name"]).is_file()
        assert row["file_name"].split("_")[0] == person.source_id
        named.append(row["file_name"].rpartition(".")[2])
        assert person.file.startswith("data/")
        for column, key in (("bbox", "body"), ("lhand_bbox", "lefthand"), ("rhand_bbox", "righthand")):
            box, expected = boxes[number][f"{key}_bbox"], person.columns[f"{column}_xywh"]
            if expected is None:
                assert box == [0, 0, 0, 0]
            else:
                np.testing.assert_array_equal(expected, [*box, 1])
    assert named == [
        "jpg",
        "png",
        "jpg",
        "png",
        "jpg",
        "png",
        "jpg",
    ]  # though a png counts where there is one
    rejected = [person.source_id for person in read_truth(osx).people if person.rejected]
    assert rejected == ["07"]


def test_same_arguments_same_bytes(tmp_path: Path, flat: Path) -> None:
    make_miniature("ehf", tmp_path / "more", frames=3, people=1, seed=3, size=SIZE)
    make_miniature("ehf", tmp_path / "other", frames=1, people=1, seed=4, size=SIZE)
    first, again, other = tree(flat), tree(tmp_path / "more"), tree(tmp_path / "other")
    # A frame does not depend on how many come after it.
    assert {name: first[name] for name in again if name[0] != "."} == {
        name: digest for name, digest in again.items() if name[0] != "."
    }
    assert other["01_align.ply"] != first["01_align.ply"]
    assert other["01_2Djnt.json"] != first["01_2Djnt.json"]


@pytest.mark.parametrize("size", [(64, 64), (96, 256), (400, 120)])
def test_pictures_of_any_shape(tmp_path: Path, size: tuple[int, int]) -> None:
    make_miniature("ehf", tmp_path, frames=1, people=1, seed=1, size=size)
    truth: Truth = read_truth(tmp_path)
    places = pixels(truth.people[0].vertices, truth.people[0])
    assert ((places > 0) & (places < np.array(size) - 1)).all()
    assert (np.ptp(places, axis=0) / size).max() > 0.75


@pytest.mark.parametrize("people", [0, 2])
def test_one_subject(tmp_path: Path, people: int) -> None:
    with pytest.raises(UsageError, match=rf"people must be 1, got {people}"):
        make_miniature("ehf", tmp_path, frames=1, people=people, seed=0)


def test_what_can_be_made() -> None:
    assert LAYOUT.name == "ehf"
    assert isinstance(LAYOUT, Layout)
    assert (LAYOUT.splits, LAYOUT.default_splits) == (("test",), ("test",))
    assert LAYOUT.variants == ("flat", "osx")
    with pytest.raises(UsageError, match="train"):
        make_miniature("ehf", Path("unused"), frames=1, people=1, seed=0, splits=["train"])
