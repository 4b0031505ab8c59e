"""A test set from the command line: EHF of two models, measured, compared, written as a page and as texts."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from hmtools.cli.app import app
from tests.bench.oracle import FACTS, Oracle, changed, model_of, oracle, write
from tests.bench.testset_shards import TestSets


@pytest.fixture(scope="module")
def ehf(test_sets: TestSets) -> Oracle:
    return oracle(test_sets, "ehf")


@pytest.fixture(scope="module")
def folder(ehf: Oracle, test_sets: TestSets, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Results of a model that is right, and of one that makes everybody a tenth too large; one is lost."""
    root = tmp_path_factory.mktemp("oracle")
    large = changed(ehf.rows()[1:], lambda mesh: 1.1 * mesh)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("XDG_CONFIG_HOME", str(root))
        for name, rows in (("right", ehf.rows()), ("large", large)):
            write(root / f"{name}.parquet", rows, {**FACTS, "model": name})
            arguments = ("--testset", "EHF", "--predictions", f"{name}.parquet", "--out", f"bench/{name}")
            told(("bench", *arguments, "--shards", str(test_sets.root / "shards")))
        yield root


def told(arguments: tuple[str, ...], code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output + result.stderr
    return result.stdout


def expected(ehf: Oracle) -> float:
    """Mean error of those whom the second model found."""
    pelvis = np.asarray(model_of("smplx").joint_regressor.toarray(), np.float64)[0]
    meshes = [np.asarray(own.vertices, np.float64) for own in list(ehf.people.values())[1:]]
    return float(np.mean([100 * np.linalg.norm(mesh - pelvis @ mesh, axis=1).mean() for mesh in meshes]))


def test_the_tables(ehf: Oracle, folder: Path) -> None:
    report = pq.read_table(folder / "bench/large/ehf/report.parquet").to_pylist()
    (row,) = [own for own in report if own["primary"] and own["subset"] == "all"]
    assert row["value"] == pytest.approx(expected(ehf), abs=1e-3)
    assert (row["n"], row["n_missing"], row["model"]) == (len(ehf.people) - 1, 1, "large")
    assert (row["standin"], row["rows"], row["published"]) == (True, "derived", None)
    people = pq.read_table(folder / "bench/large/ehf/per_sample.parquet").to_pylist()
    assert [own["status"] for own in people] == ["missing", *["ok"] * (len(people) - 1)]


def test_the_texts(ehf: Oracle, folder: Path) -> None:
    value = f"{expected(ehf):.1f}"
    words = {
        form: told(("report", "bench/right", "bench/large", "--format", form)) for form in ("md", "latex")
    }
    row = next(line for line in words["md"].splitlines() if "EHF" in line and "PVE" in line)
    assert re.search(rf"\b0\.0\b.*\b{re.escape(value)}\b", row)
    for model, found in (("right", "0.0"), ("large", value)):  # a row each, EHF the one column
        assert re.search(rf"^{model} & {re.escape(found)}\b", words["latex"], re.MULTILINE)
    for text in words.values():
        assert "STAND-IN" in text
        assert "H32" not in text, "nothing published stands beside the stand-in"
    rows = list(
        csv.DictReader(io.StringIO(told(("report", "bench/right", "bench/large", "--format", "csv"))))
    )
    (large,) = [
        own for own in rows if (own["model"], own["metric"], own["subset"]) == ("large", "pve_all", "all")
    ]
    assert float(large["value"]) == pytest.approx(expected(ehf), abs=1e-3)


def test_the_page(folder: Path, test_sets: TestSets) -> None:
    shards = str(test_sets.root / "shards")
    drawn = ("--shards", shards, "--predictions", "right.parquet", "--predictions", "large.parquet")
    told(("report", "bench/right", "bench/large", "--out", "page.html", *drawn))
    page = (folder / "page.html").read_text()
    assert "right is better" in page or "large is worse" in page
    assert "Stand-in body" in page
    for title in ("By joint", "By joint, left hand", "By joint, right hand"):
        assert f">{title}<" in page
    assert "1 samples only in right" in page
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']+""", page), "it needs nothing from elsewhere"


def test_what_else_lies_in_the_folder_is_said(folder: Path, test_sets: TestSets) -> None:
    (folder / "bench/again").mkdir()
    shutil.copytree(folder / "bench/right/ehf", folder / "bench/again/ehf-other")
    shards = str(test_sets.root / "shards")
    arguments = ["bench", "--testset", "EHF", "--predictions", "large.parquet", "--shards", shards]
    result = CliRunner().invoke(app, [*arguments, "--out", "bench/again"])
    assert "holds what earlier runs measured as well: ehf-other" in result.stderr
    found = json.loads(told((*arguments, "--json", "--out", "other")))
    assert {row["model"] for row in found} == {"large"}
