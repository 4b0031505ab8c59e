"""The pages in docs/datasets are what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hmtools.core.errors import UsageError
from hmtools.datasets.pages import pages, write_pages
from hmtools.datasets.registry import all_datasets

DOCS = Path(__file__).parents[2] / "docs/datasets"


def test_the_pages_are_up_to_date(tmp_path: Path) -> None:
    written = {path.name: path.read_text() for path in write_pages(tmp_path)}
    stored = {path.name: path.read_text() for path in DOCS.iterdir()}
    assert written.keys() == stored.keys()
    stale = [name for name in written if written[name] != stored[name]]
    assert not stale, "run `python -m hmtools.datasets.pages docs/datasets`"


@pytest.mark.parametrize("name", all_datasets())
def test_a_page_has_everything_a_user_must_know(name: str) -> None:
    page, kind = pages()[f"{name}.md"], all_datasets()[name]
    for wanted in (
        kind.title,
        kind.homepage,
        kind.licence,
        kind.layout.strip("\n"),
        *kind.splits,
        *kind.options,
    ):
        assert wanted in page
    assert "| source field |" in page
    assert not re.search(r":\w+:`|``(?!`)", page.replace("```", "")), "markup of docstrings is left"


def test_tables_are_whole() -> None:
    for name, page in pages().items():
        cells = [line.replace("\\|", "").count("|") for line in page.splitlines() if line.startswith("|")]
        assert min(cells, default=0) > 2, name


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        write_pages(tmp_path / "none")
