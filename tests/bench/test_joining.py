from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmtools.bench.joining import ShardRows, image_stem, join
from hmtools.bench.readers.base import Listed
from hmtools.core.errors import UsageError
from tests.bench.readers.people import rows
from tests.bench.testset_shards import TestSets


def listed(*images: str, person: list[int] | None = None) -> Listed:
    numbers = None if person is None else np.array(person)
    return Listed(where=list(images), image=list(images), person=numbers)


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("a/b/c.d.png", "c.d"),
        ("C:\\data\\01_img.JPG", "01_img"),
        ("ag_val_5_15_00000_1280x720.png", "ag_val_5_15_00000"),
        ("ag_val_5.15", "ag_val_5.15"),
    ],
)
def test_stems(path: str, stem: str) -> None:
    assert image_stem(path) == stem


def test_keys_name_rows() -> None:
    """In any order; twice counts once, of nobody counts as extra, without a body as missing."""
    truth = rows(("a", 2), ("b", 1))
    keys = ["b/0", "a/1", "b/0", "c/0", "a/0"]
    found = join(Listed(where=keys, key=keys, empty=np.array([0, 0, 0, 0, 1], bool)), truth)
    assert found.place == {"b/0": 0, "a/1": 1}
    assert found.counts == {"joined": 2, "duplicates": 1, "extra": 1, "ambiguous": 0, "empty": 1}
    assert found.examples == {"duplicates": ["b/0"], "extra": ["c/0"], "empty": ["a/0"]}
    assert dict(found.in_image) == {"b": [0, 2], "a": [1]}
    assert join(Listed(where=keys, key=keys), None).counts["extra"] == 0


def test_an_image_and_a_number_name_a_person() -> None:
    truth = rows(("validation/x_1280x720.png", 2), ("validation/y_1280x720.png", 2))
    found = join(listed("x", "x", "y", "y", person=[1, 0, 1, 7]), truth)
    assert found.place == {
        "validation/x_1280x720.png/1": 0,
        "validation/x_1280x720.png/0": 1,
        "validation/y_1280x720.png/1": 2,
    }
    assert found.counts["extra"] == 1
    assert found.in_image["validation/y_1280x720.png"] == [2, 3]


def test_an_image_alone_names_its_only_person() -> None:
    truth = rows(("one.png", 1), ("two.png", 2), ("three.png", 1))
    found = join(listed("/data/one.jpg", "two", "three", "three", "four"), truth)
    assert found.place == {"one.png/0": 0}
    assert found.counts["ambiguous"] == 3, "of two people, or two predictions"
    assert found.counts["extra"] == 1


def test_folders_decide_between_frames_of_the_same_name() -> None:
    truth = rows(("imageFiles/walk/image_00000.jpg", 1), ("imageFiles/run/image_00000.jpg", 1), moving=True)
    found = join(listed("/home/me/run/image_00000.jpg", "image_00000.jpg", "/x/jump/image_00000.jpg"), truth)
    assert found.place == {"imageFiles/run/image_00000.jpg/0": 0}
    assert found.counts["ambiguous"] == 1
    assert found.counts["extra"] == 1


def test_a_frame_of_another_sequence_is_extra_though_its_name_is_alone() -> None:
    truth = rows(("imageFiles/walk/image_00000.jpg", 1), moving=True)
    with pytest.raises(UsageError, match="none of 1 predictions is of these shards"):
        join(listed("imageFiles/run/image_00000.jpg"), truth)


def test_source_index_names_a_row() -> None:
    index = np.array([101, 7, 100])
    found = join(Listed(where=["a", "b", "c"], source_index=index), rows(("x", 2)))
    assert found.place == {"x/1": 0, "x/0": 2}
    assert found.counts["extra"] == 1
    both = replace(rows(("x", 2)), source_index=[5, 5])
    with pytest.raises(UsageError, match="none of 1"):
        join(Listed(where=["a"], source_index=np.array([5])), both)


def test_everybody_with_number_zero_is_a_known_fault() -> None:
    """Of SMPLer-X on AGORA's validation. The official protocol, which matches, may go on."""
    truth = rows(("x.png", 3), ("y.png", 2), ("z.png", 1))
    found = join(listed("x", "y", "z", person=[0, 0, 0]), truth)
    assert "person number 0" in found.fault
    assert found.in_image["x.png"] == [0]
    assert not join(listed("x", "y", "z", person=[1, 0, 0]), truth).fault


@pytest.mark.parametrize(
    ("there", "truth", "error"),
    [
        (listed(), rows(("x", 1)), "no predictions"),
        (listed("q"), rows(("x", 1)), r"none of 1 .*found q; the shards have x/0, x"),
        (listed("x"), None, "without record keys .*shards are needed"),
        (Listed(where=["a"], key=["a"], empty=np.array([True])), None, "all 1 rows are without a body"),
    ],
)
def test_nothing_to_join_is_an_error(there: Listed, truth: ShardRows | None, error: str) -> None:
    with pytest.raises(UsageError, match=error):
        join(there, truth)


def test_only_ambiguous_predictions_may_be_asked_for_by_image() -> None:
    found = join(listed("x", "x"), rows(("x", 2)))
    assert "do not say of whom" in found.fault
    assert found.in_image["x"] == [0, 1]


@given(st.lists(st.sampled_from(["a/0", "a/1", "b/0", "zz", None]), min_size=1, max_size=12))
def test_every_prediction_is_counted_once(keys: list[str | None]) -> None:
    truth = rows(("a", 2), ("b", 1))
    try:
        found = join(Listed(where=[str(key) for key in keys], key=keys), truth)
    except UsageError:
        assert not {"a/0", "a/1", "b/0"} & set(keys)
        return
    assert sum(found.counts.values()) == len(keys)
    assert {keys[number] for number in found.place.values()} == set(found.place)


def test_rows_of_shards(test_sets: TestSets) -> None:
    shards = test_sets["agora"]
    found = ShardRows.of([shards])
    first = shards.row(0)
    assert len(found.key) == len(shards)
    assert (found.key[0], found.image_path[0]) == (first["key"], first["image_path"])
    assert found.size[first["image_path"]] == (first["width"], first["height"])
    assert not any(found.moving)
    assert all(ShardRows.of([test_sets["pw3d"]]).moving)
    names = [shards.row(row)["source_id"] for row in range(len(shards))]
    images, numbers = zip(*(name.rsplit("_personId_", 1) for name in names), strict=True)
    joined = join(listed(*images, person=[int(number) for number in numbers]), found)
    assert joined.place == {key: number for number, key in enumerate(found.key)}
