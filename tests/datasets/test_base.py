"""What every dataset shares: options, the layout check before any work, paths that stay in the download."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmtools.core.errors import LayoutError, UnsafeFileError, UsageError
from hmtools.datasets.base import Dataset, Option, Rejected, Source, json_text, safe_path
from hmtools.engine.job import Unit
from hmtools.humandata.record import Record
from hmtools.humandata.schema import RecordSpec

PAGE = "https://example.org/download"


class Toy(Dataset):
    """A declaration with two splits, three sources each."""

    name = "toy"
    title = "Toy people"
    homepage = "https://example.org/toy"
    licence = "CC0"
    commercial_use = True
    citation = "nobody"
    layout = "\nTOY/\n  left/  right/\n"
    splits = {"first": "train", "second": "test"}  # noqa: RUF012 - as datasets write it
    options = {  # noqa: RUF012
        "size": Option("small", "which size", ("small", "large")),
        "free": Option("", "any text"),
    }

    def sources(self, split: str) -> Sequence[Source]:
        return [
            Source((f"{split}.json", f"labels/{split}.json"), PAGE),
            Source((f"images/{split}",), f"{PAGE}#images"),
            Source((f"extra/{split}.txt",), f"{PAGE}#extra", optional=True),
        ]

    def spec(self, root: Path, split: str) -> RecordSpec:
        return RecordSpec(self.stored_as, split)

    def plan(self, root: Path, split: str) -> list[Unit]:
        return []

    def read(self, root: Path, unit: Unit) -> Iterator[Record | Rejected]:
        yield from ()


def complete(root: Path, split: str) -> None:
    (root / f"images/{split}").mkdir(parents=True)
    (root / f"images/{split}/1.jpg").touch()
    (root / "labels").mkdir(exist_ok=True)
    (root / f"labels/{split}.json").write_text("{}")


class TestOptions:
    def test_defaults_and_choices(self) -> None:
        assert Toy().chosen == {"size": "small", "free": ""}
        assert Toy({"size": "large", "free": "any = thing"}).chosen == {
            "size": "large",
            "free": "any = thing",
        }

    def test_an_instance_pickles_with_its_choices(self) -> None:
        assert pickle.loads(pickle.dumps(Toy({"size": "large"}))).chosen["size"] == "large"

    def test_choices_do_not_leak_into_others(self) -> None:
        Toy({"size": "large"})
        assert Toy().chosen["size"] == "small"

    def test_unknown_option(self) -> None:
        with pytest.raises(
            UsageError, match=r"toy has no option 'sizes' \(known: size, free\); did you mean 'size'"
        ):
            Toy({"sizes": "large"})

    def test_unknown_value(self) -> None:
        with pytest.raises(UsageError, match=r"toy option size: expected small \| large, found 'huge'"):
            Toy({"size": "huge"})


class TestLayout:
    def test_complete(self, tmp_path: Path) -> None:
        complete(tmp_path, "first")
        dataset = Toy()
        assert dataset.found_splits(tmp_path) == ["first"]
        dataset.require(tmp_path, ["first"])
        assert dataset.missing(tmp_path, "first") == []
        assert len(dataset.missing(tmp_path, "second")) == 2, "what is optional is never missing"

    def test_every_gap_of_every_split_is_named_once(self, tmp_path: Path) -> None:
        with pytest.raises(LayoutError) as caught:
            Toy().require(tmp_path, ["first", "second", "first"])
        text = str(caught.value)
        for split in ("first", "second"):
            assert text.count(f"{tmp_path}/{split}.json or labels/{split}.json\n      from {PAGE}\n") == 1
            assert text.count(f"{tmp_path}/images/{split}\n      from {PAGE}#images\n") == 1
        assert "extra" not in text
        assert "TOY/\n  left/  right/" in text
        assert "https://example.org/toy" in text
        assert caught.value.exit_code == 2

    def test_a_root_that_is_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        for root in (tmp_path / "none", tmp_path / "file"):
            with pytest.raises(LayoutError, match=f"{root.name}: no such folder") as caught:
                Toy().require(root, ["first"])
            assert f"{root}/images/first\n      from {PAGE}#images" in str(caught.value)

    def test_first_path_that_exists_is_used(self, tmp_path: Path) -> None:
        complete(tmp_path, "first")
        source = Toy().sources("first")[0]
        assert source.find(tmp_path) == tmp_path / "labels/first.json"
        (tmp_path / "first.json").write_text("{}")
        assert source.find(tmp_path) == tmp_path / "first.json"
        assert source.find(tmp_path / "labels/none") is None

    def test_an_empty_folder_is_not_there(self, tmp_path: Path) -> None:
        """Unpacking can leave one beside the full one."""
        source = Source(("one", "other"), PAGE)
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
        assert source.find(tmp_path) is None
        (tmp_path / "other/1.jpg").touch()
        assert source.find(tmp_path) == tmp_path / "other"
        (tmp_path / "one/1.jpg").touch()
        assert source.find(tmp_path) == tmp_path / "one"

    def test_inputs_are_files(self, tmp_path: Path) -> None:
        complete(tmp_path, "first")
        (tmp_path / "extra").mkdir()
        (tmp_path / "extra/first.txt").write_text("x")
        assert Toy().inputs(tmp_path, "first") == [
            tmp_path / "labels/first.json",
            tmp_path / "extra/first.txt",
        ]


def test_declaration() -> None:
    dataset = Toy()
    assert (dataset.role("first"), dataset.role("second")) == ("train", "test")
    assert dataset.stored_as == "toy"
    assert dataset.card() == {
        "title": "Toy people",
        "homepage": "https://example.org/toy",
        "licence": "CC0",
        "commercial_use": True,
        "citation": "nobody",
    }


@pytest.mark.parametrize("method", ["sources", "spec", "plan", "read"])
def test_what_a_dataset_must_define(tmp_path: Path, method: str) -> None:
    arguments = ("first",) if method == "sources" else (tmp_path, "first")
    with pytest.raises(NotImplementedError, match=f"Dataset.{method}"):
        getattr(Dataset(), method)(*arguments)


class TestSafePath:
    @pytest.mark.parametrize("name", ["a.jpg", "a/b.jpg", "a..b/..c/d..", "./a", "a b/ü.jpg", "...", "~/x"])
    def test_inside(self, name: str) -> None:
        assert safe_path(Path("/data"), name) == Path("/data") / name

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a/..",
            "..",
            "\\x",
            "a\\..\\x",
            "//x",
            "a\0b",
            "..\\x",
            "./../x",
        ],
    )
    def test_outside(self, name: str) -> None:
        with pytest.raises(UnsafeFileError, match="leaves the download's folder /data; refused"):
            safe_path(Path("/data"), name)

    @given(st.text(st.sampled_from("ab./\\~\0 "), max_size=12))
    def test_what_is_accepted_stays_inside(self, name: str) -> None:
        try:
            found = safe_path(Path("/data/set"), name)
        except UnsafeFileError:
            return
        depth = 0
        for part in found.relative_to("/data/set").parts:
            depth += -1 if part == ".." else 1
            assert depth > 0

    def test_image_bytes(self, tmp_path: Path) -> None:
        (tmp_path / "root").mkdir()
        (tmp_path / "root/a.jpg").write_bytes(b"pixels")
        (tmp_path / "secret").write_bytes(b"secret")
        assert Toy().image_bytes(tmp_path / "root", "a.jpg") == b"pixels"
        with pytest.raises(FileNotFoundError):
            Toy().image_bytes(tmp_path / "root", "b.jpg")
        with pytest.raises(UnsafeFileError):
            Toy().image_bytes(tmp_path / "root", "../secret")

    def test_has_image(self, tmp_path: Path) -> None:
        (tmp_path / "root/folder").mkdir(parents=True)
        (tmp_path / "root/a.jpg").write_bytes(b"pixels")
        (tmp_path / "secret").write_bytes(b"secret")
        assert Toy().has_image(tmp_path / "root", "a.jpg")
        assert not Toy().has_image(tmp_path / "root", "b.jpg")
        assert not Toy().has_image(tmp_path / "root", "folder")
        with pytest.raises(UnsafeFileError):
            Toy().has_image(tmp_path / "root", "../secret")


def test_json_text_is_compact_and_sorted() -> None:
    text = json_text({"b": [1, 2], "a": "ü"})
    assert text == '{"a":"\\u00fc","b":[1,2]}'
    assert json.loads(text) == {"a": "ü", "b": [1, 2]}


def test_the_folder_below_raw_root(tmp_path: Path) -> None:
    class Named(Toy):
        folders = ("TOY", "toy")

    assert Named.folder_below(tmp_path) is None
    (tmp_path / "TOY").mkdir()
    assert Named.folder_below(tmp_path) == tmp_path / "TOY", "to say what it misses"
    (tmp_path / "toy/left").mkdir(parents=True)
    assert Named.folder_below(tmp_path) == tmp_path / "toy"
    (tmp_path / "TOY/left").mkdir()
    assert Named.folder_below(tmp_path) == tmp_path / "TOY"
    assert Toy.folder_below(tmp_path) == tmp_path / "toy"
