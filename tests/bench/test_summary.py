"""The table of results: order, what is best, what may stand beside it, what the marks say."""

from __future__ import annotations

from pathlib import Path

from hmtools.bench.results import Run, read_runs
from hmtools.bench.summary import is_lower_better, number, remarks, summarise
from tests.bench.results import SETS, write_run


def runs_of(tmp_path: Path, missing: int = 0) -> list[Run]:
    write_run(tmp_path / "a", dict.fromkeys(SETS, 60.0), count=8)
    write_run(tmp_path / "b", {"ehf": 50.0, "3dpw": 70.0}, count=8, seed=1, model="b", missing=missing)
    return read_runs([tmp_path / "a", tmp_path / "b"])


def test_lines_are_ordered_and_the_best_is_marked(tmp_path: Path) -> None:
    summary = summarise(runs_of(tmp_path))
    primary = [line for line in summary.lines if line.primary]
    assert [line.testset for line in primary] == ["MPE", "AGORA", "EgoBody", "UBody", "3DPW", "EHF"]
    for line in primary:
        best = [cell is not None and cell.best for cell in line.cells]
        # The means of both runs are over different numbers of sets: neither is the better one.
        assert best == {"EHF": [False, True], "3DPW": [True, False]}.get(line.testset, [False, False])
    assert summary.published == ("S32", "B32", "L32", "H32", "H32*")
    assert [f.value if f else None for f in primary[-1].published] == [74.1, 67.3, 62.4, 56.8, None]
    assert remarks(summary) == [
        "r: published figure recalled, unconfirmed",
        "H32*: the updated weights",
        "MPE, b: partial (2/5): without AGORA, EgoBody, UBody",
    ]


def test_a_run_that_leaves_people_out_is_not_best(tmp_path: Path) -> None:
    summary = summarise(runs_of(tmp_path, missing=2))
    line = next(line for line in summary.lines if line.primary and line.testset == "EHF")
    assert line.n == "8 / 5"
    assert [cell and cell.best for cell in line.cells] == [False, False]
    assert line.cells[1] is not None
    assert line.cells[1].marks == ("m",)
    assert "EHF, b: 3 samples have no usable prediction" in remarks(summary)


def test_a_mean_over_sets_with_people_left_out_is_not_best(tmp_path: Path) -> None:
    """As many are missing in each: nobody knows whether they are the same. The remark is said once."""
    for model, level in (("a", 60.0), ("b", 50.0)):
        write_run(tmp_path / model, dict.fromkeys(SETS, level), count=8, model=model, missing=2)
    summary = summarise(read_runs([tmp_path / "a", tmp_path / "b"]))
    line = next(line for line in summary.lines if line.testset == "MPE")
    assert [cell and cell.best for cell in line.cells] == [False, False]
    assert "EHF, a, b: 3 samples have no usable prediction" in remarks(summary)


def test_nothing_published_beside_the_standin(tmp_path: Path) -> None:
    write_run(tmp_path, dict.fromkeys(SETS, 60.0), count=4, standin=True)
    summary = summarise(read_runs([tmp_path]))
    assert summary.standin
    assert summary.published == ()
    assert "s: measured with the stand-in body" in remarks(summary)


def test_a_note_of_several_sets_is_said_once_and_a_single_run_is_not_named(tmp_path: Path) -> None:
    write_run(tmp_path, dict.fromkeys(("agora", "ehf"), 60.0), count=4, note="not the official set")
    assert "AGORA, EHF: not the official set" in remarks(summarise(read_runs([tmp_path])))


def test_numbers() -> None:
    assert [number(12.345, "mm"), number(0.8765, ""), number(None, "mm")] == ["12.3", "0.876", "-"]
    assert [is_lower_better(name) for name in ("pve_all", "pck50", "f1", "nmve", "mpe")] == [
        True, False, False, True, True,
    ]  # fmt: skip
