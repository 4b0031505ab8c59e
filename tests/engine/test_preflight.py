"""What nodes have to agree on, and how it is said when they do not."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

import hmtools
from hmtools.core.errors import UsageError
from hmtools.engine.preflight import compare, mark, preflight_facts, require_equal


@pytest.fixture
def facts(out: Path) -> dict[str, Any]:
    mark(out)
    return preflight_facts(out)


def test_facts_of_this_node(out: Path, facts: dict[str, Any]) -> None:
    assert facts["node"] == socket.gethostname()
    assert facts["hmtools"] == hmtools.__version__
    assert (facts["trouble"], facts["out"], len(facts["seen"])) == ("", str(out), 32)
    assert abs(facts["clock_ahead"]) < 5
    assert json.loads(json.dumps(facts)) == facts
    assert [path.name for path in out.iterdir()] == [".job"]
    assert compare(facts, preflight_facts(out)) == []
    require_equal(facts, [facts] * 3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"torch": "2.5"}, "far: torch 2.5, expected "),
        ({"opencv-python": ""}, "far: opencv-python is not installed, expected "),
        ({"trouble": "Permission denied"}, "far: cannot write to .*out: Permission denied"),
        ({"seen": ""}, "far: .*out is not the folder that .* sees under that name"),
        ({"clock_ahead": 75.0}, "far: its clock is 75 s ahead of that of"),
        ({"clock_ahead": -75.0}, "far: its clock is 75 s behind that of"),
    ],
)
def test_what_differs_is_said(facts: dict[str, Any], changes: dict[str, Any], said: str) -> None:
    there = facts | {"node": "far"} | changes
    with pytest.raises(UsageError, match=said) as caught:
        require_equal(facts, [facts, there])
    assert len(compare(facts, there)) == 1
    assert "leave these nodes out" in str(caught.value)


def test_everything_is_said_at_once(facts: dict[str, Any]) -> None:
    nodes = [facts | {"node": name, "python": "3.99.0", "numpy": "1"} for name in ("n1", "n2", "n2")]
    with pytest.raises(UsageError) as caught:
        require_equal(facts, nodes)
    assert str(caught.value).count("expected") == 4


def test_other_processors_and_sources_only_warn(
    facts: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert compare(facts, facts | {"node": "old", "vectors": "baseline", "code": "0"}) == []
    assert "old: processor instructions baseline, on " in caplog.text
    assert "old: sources of hmtools 0, on " in caplog.text


def test_folders_that_cannot_be_written(out: Path, facts: dict[str, Any]) -> None:
    assert preflight_facts(out / "absent")["trouble"] == "No such file or directory"
    assert preflight_facts(out / "absent")["seen"] == ""
    disk = out / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root")
    try:
        assert preflight_facts(disk)["trouble"] == "Read-only file system"
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_clock_is_compared_with_that_of_the_files(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 90)
    mark(out)
    assert 80 < preflight_facts(out)["clock_ahead"] < 100
