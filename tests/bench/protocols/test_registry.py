from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from hmtools.bench.metrics import SMPLX_JOINTS
from hmtools.bench.protocols import registry
from hmtools.bench.protocols.base import WHOLE_BODY_56, Protocol
from hmtools.bench.protocols.registry import all_protocols, register
from hmtools.core.errors import UsageError
from hmtools.datasets.registry import get_dataset
from hmtools.humandata.reports import per_sample_schema

ALL = all_protocols()
NAMES = [f"{kind.testset} {kind.id}" for kind in ALL]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test registers is gone after it."""
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))


def variant(**changes: Any) -> type[Protocol]:
    return type("Variant", (ALL[0],), {"default": False, "id": "variant@1", **changes})


@pytest.mark.parametrize("kind", ALL, ids=NAMES)
def test_a_protocol_fits_its_dataset_and_the_tables(kind: type[Protocol]) -> None:
    splits = get_dataset(kind.dataset).splits
    assert set(kind.splits) <= set(splits)
    per_sample_schema(kind.metrics, kind.measure.joints if kind.measure else ())
    assert kind.primary in kind.metrics
    assert kind.source.split()[0] in (kind.__doc__ or "")
    lines = [line for line in (kind.__doc__ or "").splitlines() if line.strip().startswith("*")]
    assert "Source:" in (kind.__doc__ or "")
    assert len(lines) >= 4 or "All rules are those of" in (kind.__doc__ or "")


def test_every_test_set_has_one_default() -> None:
    for testset in {kind.testset for kind in ALL}:
        assert [kind.default for kind in ALL if kind.testset == testset].count(True) == 1


def test_the_joints_named_are_those_measured() -> None:
    assert WHOLE_BODY_56 == SMPLX_JOINTS


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "variant"}, r"must be a name and a version"),
        ({"primary": "pck50"}, r"'pck50' is none of mpjpe_body"),
        ({"id": ALL[0].id}, r"is taken by"),
        ({"measure": None}, r"needs a measure, or per_image, and not both"),
        ({"default": True}, r"has a default already"),
    ],
)
def test_what_is_wrong_with_a_declaration_is_said_with_its_file(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        register(variant(**changes))
    assert Path(__file__).name in str(caught.value)


def test_what_is_not_declared_is_named() -> None:
    with pytest.raises(UsageError, match=r"does not declare id, testset"):
        register(type("Empty", (Protocol,), {}))


@pytest.mark.usefixtures("alone")
def test_protocols_of_other_packages_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other_protocols.py").write_text(
        "from hmtools.bench.protocols.ehf import EhfSmplerX\n"
        "from hmtools.bench.protocols.registry import register\n"
        "register(type('Mine', (EhfSmplerX,), {'id': 'mine@2', 'default': False}))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("mine", "other_protocols:Mine", "hmtools.protocols")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == point.group else [])
    registry._discover.cache_clear()
    try:
        assert registry.get_protocol("ehf", "mine").id == "mine@2"
    finally:
        registry._discover.cache_clear()


def test_a_module_that_fails_to_import_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_protocols.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=r"broken_protocols fails to import: ZeroDivisionError"):
        registry._import("broken_protocols")
