from __future__ import annotations

import numpy as np

from hmtools.infer.outputs.pictures import Picture, of_size, resized
from hmtools.infer.outputs.views import BACKGROUND, Person, four_sides, framing, over_picture, turned
from hmtools.viz.mesh import Camera, Mesh
from hmtools.viz.shade import render
from tests.viz.meshes import sphere

UNIT, FACES = sphere(16, 24)
RED, GREEN = (250, 60, 60), (60, 250, 60)


def ball(x: float, z: float, radius: float, colour: tuple[int, int, int], **camera: list[float]) -> Person:
    return Person(
        vertices=UNIT * radius + [x, 0, z],
        focal_length=np.array(camera.get("focal", [400.0, 400.0])),
        principal_point=np.array(camera.get("centre", [80.0, 60.0])),
        colour=colour,
    )


def camera_of(person: Person) -> Camera:
    return Camera(
        focal_length=person.focal_length, principal_point=person.principal_point, width=160, height=120
    )


def covered(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Where a picture shows the hue of a colour."""
    main = int(np.argmax(colour))
    others = image[..., [c for c in range(3) if c != main]].max(axis=-1).astype(int)
    return np.asarray(image[..., main] > others + 30)


def test_everybody_is_where_their_own_camera_sees_them() -> None:
    people = [
        ball(-0.5, 5, 0.4, RED),
        ball(1.0, 60, 3.0, GREEN, focal=[3000.0, 2400.0], centre=[60.0, 70.0]),
    ]
    black = Picture(np.zeros((120, 160, 3), np.uint8), np.eye(2, 3))
    shown = over_picture(black, people, FACES)
    for person in people[::-1]:
        mesh = Mesh(vertices=person.vertices, faces=FACES)
        alone = render([mesh], camera_of(person)).mask
        seen = covered(shown, person.colour)
        assert (seen & alone).sum() / (seen | alone).sum() > (0.9 if person is people[0] else 0.6)
    front = over_picture(black, [people[1], ball(0, 7, 0.2, RED)], FACES)
    assert covered(front, RED).sum() > 300, "7 m at 400 px is nearer than 60 m at 3000 px"
    behind = over_picture(black, [people[1], ball(0, 9, 0.2, RED)], FACES)
    assert not covered(behind, RED).any(), "and 9 m is not"


def test_half_a_turn_shows_the_back_in_place() -> None:
    """A ball on the right of two small ones, one of them nearer."""
    body = np.concatenate([UNIT * 0.4, UNIT * 0.2, UNIT * 0.2])
    body += np.repeat([[0.3, 0, 5], [-0.4, 0, 4.1], [-0.4, 0, 5.9]], len(UNIT), axis=0)
    faces = np.concatenate([FACES, FACES + len(UNIT), FACES + 2 * len(UNIT)])
    person = Person(
        vertices=body, focal_length=np.full(2, 400.0), principal_point=np.array([80.0, 60.0]), colour=RED
    )
    affine = framing(np.array([30.0, 10.0, 180.0, 110.0]), 128)
    masks = {
        degrees: (turned([person], faces, degrees, affine, 128) != BACKGROUND).any(axis=-1)
        for degrees in (0, 180, 90, -90)
    }
    middle = {degrees: mask.sum(axis=0).argmax() for degrees, mask in masks.items()}
    assert middle[0] > middle[180] + 5, "what is on the right is on the left from behind"
    widths = {degrees: np.ptp(np.nonzero(mask)[1]) for degrees, mask in masks.items()}
    assert widths[90] > widths[0] + 3, "its depth is seen from the side"
    tiles = four_sides([person], faces, affine, 128)
    assert tiles.shape == (256, 256, 3)
    np.testing.assert_array_equal((tiles[40:128, 128:] != BACKGROUND).any(axis=-1), masks[180][40:])
    np.testing.assert_array_equal((tiles[168:, :128] != BACKGROUND).any(axis=-1), masks[-90][40:])


def test_left_is_seen_from_the_left() -> None:
    """A nose towards the camera points right for who stands on the left of the picture."""
    body = np.concatenate([UNIT * 0.5, UNIT * 0.2])
    body += np.repeat([[0, 0, 5], [0, 0, 4.1]], len(UNIT), axis=0)
    person = Person(
        vertices=body, focal_length=np.full(2, 400.0), principal_point=np.array([80.0, 60.0]), colour=RED
    )
    faces = np.concatenate([FACES, FACES + len(UNIT)])
    picture = turned([person], faces, -90, framing(np.array([0.0, 0, 160, 120]), 128), 128)
    columns = (picture != BACKGROUND).any(axis=-1).sum(axis=0)
    used = np.flatnonzero(columns)
    assert columns[used[-8:]].max() < columns[used[:8]].max()


def test_pictures_shrink_with_their_pixels() -> None:
    image = np.zeros((60, 100, 3), np.uint8)
    image[20:40, 50:70] = 255
    small = resized(Picture(image, np.array([[1.0, 0, -5], [0, 1, 0]])), 50)
    assert small.image.shape == (30, 50, 3)
    corner = small.affine @ [54.5, 19.5, 1]  # the upper left corner of the white square, 5 px to the right
    np.testing.assert_allclose(corner, [24.5, 9.5], atol=1e-9)
    assert small.image[10:20, 25:35].min() == 255
    fitted = of_size(Picture(image, np.eye(2, 3)), (30, 200, 3))
    assert fitted.image.shape == (30, 200, 3)
    assert not fitted.image[:, 50:].any()
