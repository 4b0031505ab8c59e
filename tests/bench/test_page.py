"""The page as a file: what it says, what it never does, equal bytes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from hmtools.bench.aggregate import figure_row, report_rows
from hmtools.bench.page import write_page
from hmtools.bench.results import read_runs
from hmtools.humandata.reports import write_report
from tests.bench.results import SETS, facts, sample_rows, write_run, write_samples

HOSTILE = "<script>document.body.dataset.owned=1</script>\"'><img src=x onerror=alert(1)>{{ 1 }}&amp;\u202e"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    levels = dict(zip(SETS, (69.5, 59.5, 54.5, 75.0, 56.8), strict=True))
    write_run(root / "a", levels, count=60)
    write_run(root / "b", {name: 0.9 * level for name, level in levels.items()}, seed=1, missing=3, model="b")
    write_run(root / "standin", {"ehf": 50.0}, count=30, model=HOSTILE, standin=True, rows="derived")
    return root


def page(folder: Path, out: Path, *names: str) -> str:
    write_page(read_runs([folder / name for name in names]), out / "page.html")
    return (out / "page.html").read_text(encoding="utf-8")


def text(html: str) -> str:
    body = re.sub(r"<(script|style)>.*?</\1>", "", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def test_two_models(folder: Path, tmp_path: Path) -> None:
    html = page(folder, tmp_path, "a", "b")
    said = text(html)
    assert "b against smplerx-h32" in said
    assert "better on 5, worse on 0, no clear difference on 0 of 5 test sets" in said
    for heading in ("AGORA", "EgoBody", "UBody", "3DPW", "EHF"):
        assert f"<h2>{heading}</h2>" in html
    for title in (
        "Distribution",
        "Cumulative",
        "Sample by sample",
        "By joint",
        "By occlusion",
        "By sequence",
    ):
        assert f"<h3>{title}</h3>" in html
    assert "r: published figure recalled, unconfirmed" in said
    assert '<td class="pub">82.6</td>' in html
    assert '<td class="pub">105.2<sup>r</sup></td>' in html
    assert "b better than smplerx-h32 by most" in said
    assert "<h3>Beside each other</h3>" in html
    assert "name the converted test sets with --shards" in said
    assert 'role="alert"' not in html
    # No difference where the means are of different sets of samples is taken unpaired.
    assert re.search(r'class="good">-\d', html)


def test_the_standin_is_warned_of_and_nothing_published_stands_beside_it(
    folder: Path, tmp_path: Path
) -> None:
    html = page(folder, tmp_path, "standin")
    assert html.count('role="alert"') == 2
    assert "<b>Stand-in body</b> Measured with the free stand-in mesh" in html
    assert 'class="pub"' not in html
    assert "<h3>Overview</h3>" in html  # a single model stands beside nothing
    assert "Sample by sample" not in html


def test_nothing_is_loaded_and_nothing_gets_in(folder: Path, tmp_path: Path) -> None:
    html = page(folder, tmp_path, "standin", "a")
    assert html.count("<script>") == 1
    assert "<img" not in html
    assert "{{ 1 }}" in html
    assert "default-src 'none'" in html
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", html)
    assert 'style="' not in html  # the policy would refuse it


def test_equal_results_give_equal_bytes(folder: Path, tmp_path: Path) -> None:
    first = page(folder, tmp_path, "a", "b")
    assert page(folder, tmp_path, "a", "b") == first
    assert str(folder) not in first


def test_two_protocols_of_a_set_are_told_apart(folder: Path, tmp_path: Path) -> None:
    """One of them is ranked by a figure over all samples: its charts show what samples have."""
    own = facts("agora", protocol="official@1", primary="nmve", model="b")
    people = [row | {"protocol": own.protocol} for row in sample_rows("agora", 60, level=80, seed=2)]
    table = write_samples(tmp_path / "b/official/per_sample.parquet", people)
    rows = [*report_rows(table, own), figure_row(own, "nmve", 123.4, unit="mm", n=60, n_missing=0)]
    write_report(table.with_name("report.parquet"), rows)
    shutil.copytree(folder / "b/agora", tmp_path / "b/agora")
    html = page(tmp_path, tmp_path, "b")
    assert "<h2>AGORA by official@1</h2>" in html
    assert "<h2>AGORA by smplerx@1</h2>" in html
    assert "<small>nmve · official@1</small>" in html
    assert html.count("<h3>Distribution</h3>") == 2


def test_a_report_without_its_samples(folder: Path, tmp_path: Path) -> None:
    for name in ("report.parquet",):
        (tmp_path / name).write_bytes((folder / "a/ehf" / name).read_bytes())
    said = text(page(tmp_path, tmp_path, "."))
    assert "No per_sample.parquet with this set beside the report of smplerx-h32" in said
    assert "PVE face" in said
