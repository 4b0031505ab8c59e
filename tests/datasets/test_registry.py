"""Datasets are found by listing a folder and entry points; a bad one is an error that names its file."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hmtools.core.errors import UsageError
from hmtools.datasets import registry
from hmtools.datasets.base import Dataset
from hmtools.datasets.mscoco import MsCoco
from hmtools.datasets.registry import all_datasets, get_dataset, register
from hmtools.train.sets import TRAIN_SETS

DECLARED = {
    "name": "toy",
    "title": "Toy",
    "homepage": "https://example.org",
    "licence": "CC0",
    "commercial_use": True,
    "citation": "nobody",
    "layout": "TOY/",
    "splits": {"all": "train"},
}
MODULE = """
from hmtools.datasets.base import Dataset
from hmtools.datasets.registry import register


@register
class {kind}(Dataset):
    name, title, homepage, licence = "{name}", "Toy", "https://example.org", "CC0"
    commercial_use, citation, layout, splits = True, "nobody", "TOY/", {{"all": "train"}}
"""


def declare(kind: str = "Toy", **changes: object | None) -> type[Dataset]:
    cells = {name: value for name, value in (DECLARED | changes).items() if value is not None}
    return type(kind, (Dataset,), {"__module__": __name__, **cells})


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is forgotten, and the next look lists modules again."""
    all_datasets()
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    yield
    registry._discover.cache_clear()


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the import path whose module ``toy_plugin`` is an entry point."""
    point = importlib.metadata.EntryPoint("toy", "toy_plugin:Toy", "hmtools.datasets")
    monkeypatch.setattr(
        registry, "entry_points", lambda *, group: [point] if group == "hmtools.datasets" else []
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "toy_plugin", raising=False)
    registry._discover.cache_clear()
    return tmp_path / "toy_plugin.py"


def test_modules_of_the_folder_are_found() -> None:
    found = all_datasets()
    assert found["mscoco"] is MsCoco
    assert {"coco", "mscoco"} <= set(found)
    assert list(found) == sorted(found)
    assert get_dataset("mscoco") is MsCoco


def test_unknown_name() -> None:
    with pytest.raises(
        UsageError, match=r"unknown dataset 'mscocoo'; did you mean 'mscoco'.*`hmtools datasets`"
    ):
        get_dataset("mscocoo")


@pytest.mark.parametrize(
    ("typed", "name"),
    [("AGORA", "agora"), ("3DPW", "pw3d"), ("EgoBody", "egobody_egocentric"), ("coco-2017", "mscoco"),
     ("COCO", "coco"), ("EgoBody egocentric", "egobody_egocentric")],
)  # fmt: skip
def test_any_case_and_other_names_are_the_same_set(typed: str, name: str) -> None:
    assert get_dataset(typed) is all_datasets()[name]


def test_an_unknown_name_is_told_all_there_are() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'coco2017'.*known: agora, coco, .*, ubody; see"):
        get_dataset("coco2018")


def test_a_known_set_without_a_converter() -> None:
    for name in ("bedlam", "GTA-Human2"):
        with pytest.raises(UsageError, match=rf"^{name}: no converter in this version \(it converts agora, "):
            get_dataset(name)
    for name in {*TRAIN_SETS} - {*all_datasets()}:
        with pytest.raises(UsageError, match="no converter in this version"):
            get_dataset(name)


def test_a_name_beats_the_alias_of_another() -> None:
    kind = register(declare(aliases=("AGORA", "Toy World")))
    assert get_dataset("toyworld") is kind
    assert get_dataset("Agora") is all_datasets()["agora"]


def test_entry_points_are_found(plugin: Path) -> None:
    plugin.write_text(MODULE.format(kind="Toy", name="toy"))
    assert get_dataset("toy").title == "Toy"


@pytest.mark.parametrize("text", ["import no_such_module_anywhere", "1 / 0", "not python"])
def test_a_module_that_does_not_import_is_named(plugin: Path, text: str) -> None:
    plugin.write_text(text)
    for _ in range(2):  # the second look must not believe that the first one worked
        with pytest.raises(UsageError, match=r"dataset module toy_plugin fails to import: .*Error"):
            all_datasets()


def test_a_name_that_is_taken(plugin: Path) -> None:
    plugin.write_text(MODULE.format(kind="Other", name="mscoco"))
    with pytest.raises(UsageError, match=r"toy_plugin\.py: dataset name 'mscoco' is taken by .*mscoco\.py"):
        all_datasets()


@pytest.mark.parametrize("missing", [name for name in DECLARED if name != "splits"])
def test_an_incomplete_declaration(missing: str) -> None:
    with pytest.raises(UsageError, match=rf"test_registry\.py: dataset Toy does not declare {missing}$"):
        register(declare("Toy", **{missing: None}))


def test_every_gap_of_a_declaration_is_listed() -> None:
    with pytest.raises(UsageError, match="does not declare title, licence, splits"):
        register(declare(title=None, licence=None, splits=None))


@pytest.mark.parametrize("name", ["Toy", "to-y", "to y", "", "_", "toy/"])
def test_names(name: str) -> None:
    with pytest.raises(UsageError, match="must be lower-case letters, digits and _"):
        register(declare(name=name))


def test_roles() -> None:
    with pytest.raises(UsageError, match="roles are train, val, test; found dev, training"):
        register(declare(splits={"a": "training", "b": "dev", "c": "val"}))


def test_registering_the_same_class_again_is_fine() -> None:
    """A module may be imported anew."""
    kind = register(declare())
    assert register(declare()) is not kind
    assert register(kind) is get_dataset("toy")
