from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from hmtools.core.errors import LayoutError, SchemaError, UsageError
from hmtools.humandata.schema import RecordSpec
from hmtools.train.loader import TrainData, TrainSource
from hmtools.train.recipe import AugmentSpec
from hmtools.train.splits import open_split
from tests.train.written_splits import boxed, coded, png, write_boxes, write_split

BODY = {
    "family": "smplx",
    "sha256": "a" * 64,
    "num_betas": 10,
    "standin": False,
    "files": {"neutral": "a" * 64},
}


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_boxes(tmp_path_factory.mktemp("shards") / "bedlam/train", "bedlam", 30, every=2)


def opened(path: Path, **options: Any) -> Any:
    return open_split(TrainSource(path=path, **options), augment=AugmentSpec())


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({}, range(30)),
        ({"every": 2}, range(30)),
        ({"every": 6}, range(0, 30, 6)),
        ({"query": "frame >= 20"}, range(20, 30)),
        ({"query": "frame < 3 or frame = 12", "every": 4}, (0, 12)),
    ],
)
def test_rows_that_count(split: Path, options: dict[str, Any], rows: Any) -> None:
    found = opened(split, **options)
    assert [found.row(i)["frame"] for i in range(len(found))] == list(rows)
    again = pickle.loads(pickle.dumps(found))
    assert again.row(len(found) - 1)["key"] == found.row(len(found) - 1)["key"]


def test_the_order_of_the_release(tmp_path: Path) -> None:
    people = [boxed(source_index=index) for index in (4, 0, 6, 2)]
    folder = write_split(tmp_path / "train", RecordSpec("bedlam", "train"), people, [png(coded())] * 4)
    found = open_split(TrainSource(path=folder), augment=AugmentSpec(), by_source_index=True)
    assert [found.row(i)["source_index"] for i in range(4)] == [0, 2, 4, 6]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"every": 3}, "an interval of 3 is no multiple"),
        ({"every": 0}, "an interval of 0 is no multiple"),
        ({"query": "frame > 99"}, "none of its 30 records is left by every 2, query 'frame > 99'"),
        ({"query": "fram > 9"}, "did you mean 'frame'"),
    ],
)
def test_what_does_not_fit_is_refused(split: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        opened(split, **options)


def test_splits_that_cannot_be_trained_on(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--images none; training needs crop"):
        opened(write_boxes(tmp_path / "a/train", "bedlam", 1, images="none"))
    with pytest.raises(UsageError, match="needs smpl bodies, its shards have no bodies"):
        opened(write_boxes(tmp_path / "b/train", "pw3d", 1))
    with pytest.raises(UsageError, match=r"no training set 'bedlm'; did you mean 'bedlam'"):
        opened(write_boxes(tmp_path / "c/train", "bedlm", 1))
    with pytest.raises(LayoutError):
        opened(tmp_path / "nowhere")
    agora = write_boxes(tmp_path / "d/train", "agora", 1, images="crop")
    with pytest.raises(UsageError, match=r"look at 2.*its stored crops hold 1\.9"):
        open_split(TrainSource(path=agora), augment=AugmentSpec(scale=0.7))
    agora.joinpath("index.arrow").write_bytes(b"ARROW1")
    with pytest.raises(SchemaError, match=r"index\.arrow: not a complete Arrow file"):
        opened(agora)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"files": {"neutral": "b" * 64}}, "another neutral .aaaaaaaaaaaa. than .*bbbbbbbbbbbb"),
        ({"standin": True, "files": {"male": "c" * 64}}, "made with the stand-in body"),
        ({"files": {"male": "c" * 64}}, None),
        (None, None),
    ],
)
def test_bodies_do_not_mix(tmp_path: Path, other: dict[str, Any] | None, said: str | None) -> None:
    manifests = [BODY, None if other is None else {**BODY, **other}]
    sources = [
        TrainSource(path=write_boxes(tmp_path / str(i) / "train", "bedlam", 1, body_model=body))
        for i, body in enumerate(manifests)
    ]
    if said is None:
        assert TrainData(sources).epoch_size == 2
    else:
        with pytest.raises(UsageError, match=said):
            TrainData(sources)
