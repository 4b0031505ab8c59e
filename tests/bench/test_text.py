"""Markdown, CSV and LaTeX to the letter."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from hmtools.bench.aggregate import figure_row
from hmtools.bench.results import Run
from hmtools.bench.summary import summarise
from hmtools.bench.text import as_csv, as_latex, as_markdown, escape_latex, escape_markdown
from hmtools.humandata.reports import report_schema
from tests.bench.results import facts


def run(label: str, value: float, n_missing: int = 0, **changes: Any) -> Run:
    own = facts("ehf", model=label, **changes)
    rows = [
        figure_row(
            own, "pve_all", value, unit="mm", n=100, n_missing=n_missing, ci95=(value - 1, value + 1.25)
        ),
        figure_row(own, "f1", 0.5, unit="", n=100, n_missing=n_missing),
        figure_row(own, "pve_all", 9.0, unit="mm", n=3, n_missing=0, subset="kids"),
    ]
    path = Path("report.parquet")
    return Run(label=label, model=label, path=path, rows=tuple(rows), samples={}, sources=(path,))


def test_markdown() -> None:
    table = as_markdown(summarise([run("mine_v|2", 60.04), run("b", 62.5)]))
    assert table == (
        "| test set | protocol | metric | unit | n | mine\\_v\\|2 | b | S32 | B32 | L32 | H32 |\n"
        "|---|---|---|---|---:|---:|---:|---:|---:|---:|---:|\n"
        "| EHF | smplerx@1 | PVE | mm | 100 | **60.0** \\[59.0, 61.3\\] | 62.5 \\[61.5, 63.8\\] "
        "| 74.1 ^r | 67.3 ^r | 62.4 ^r | 56.8 ^r |\n"
        "| EHF | smplerx@1 | f1 |  | 100 | 0.500 | 0.500 |  |  |  |  |\n"
        "\n"
        "- \\[a, b\\]: 95 % interval of the mean\n"
        "- r: published figure recalled, unconfirmed\n"
    )


def test_latex() -> None:
    """A paper's table: models below each other, test sets beside each other, published models above."""
    runs = [run("mine_v&2", 60.04, rows="derived"), run("50% {x}", 62.5, 7)]
    table = as_latex(summarise(runs))
    assert table == (
        "\\begin{table}\n\\centering\n\\begin{tabular}{lr}\n\\toprule\n"
        "Model & EHF \\\\\n & PVE \\\\\n\\midrule\n"
        "S32 & 74.1$^{r}$ \\\\\nB32 & 67.3$^{r}$ \\\\\nL32 & 62.4$^{r}$ \\\\\nH32 & 56.8$^{r}$ \\\\\n"
        "\\midrule\n"
        "mine\\_v\\&2 & 60.0$^{d}$ \\\\\n50\\% \\{x\\} & 62.5$^{m}$ \\\\\n"
        "\\bottomrule\n\\end{tabular}\n"
        "\\caption{Primary metric of each test set in mm, lower is better. Protocol smplerx@1. "
        "Above the rule: published figures of the same protocol. "
        "d: rows are not the official set. m: samples without a usable "
        "prediction, left out of the mean unless the protocol says otherwise. r: published figure recalled, "
        "unconfirmed. EHF, 50\\% \\{x\\}: 7 samples have no usable prediction.}\n\\end{table}\n"
    )


def test_latex_has_the_mean_last_and_tells_protocols_apart() -> None:
    ours, other = (facts("agora", protocol=name) for name in ("smplerx@1", "official@1"))
    mean = replace(ours, testset="mpe", split="all", primary="mpe")
    rows = [
        figure_row(mean, "mpe", 65.0, unit="mm", n=50, n_missing=0),
        figure_row(ours, "pve_all", 70.0, unit="mm", n=50, n_missing=0),
        figure_row(ours, "pa_pve_all", 40.0, unit="mm", n=50, n_missing=0),
        figure_row(other, "pve_all", 80.0, unit="mm", n=50, n_missing=0),
    ]
    path = Path("report.parquet")
    lines = as_latex(
        summarise([Run(label="a", model="a", path=path, rows=tuple(rows), samples={}, sources=(path,))])
    ).splitlines()
    assert lines[4:7] == [
        r"Model & AGORA & AGORA & MPE \\",
        r" & PVE & PVE &  \\",
        r" & official@1, validation & smplerx@1, validation & smplerx@1, all \\",
    ]
    assert r"a & 80.0 & 70.0 & 65.0 \\" in lines
    assert "MPE: mean of the test sets." in lines[-2]


def test_the_standin_is_said_first() -> None:
    summary = summarise([run("a", 60.0, standin=True)])
    assert as_markdown(summary).startswith("**STAND-IN BODY. Measured with the free stand-in mesh")
    assert as_latex(summary).startswith("% STAND-IN BODY.")
    assert "caption{STAND-IN BODY." in as_latex(summary)


def test_csv_has_every_row_in_full() -> None:
    first = replace(run("a", 60.0), label='a, "quoted"')
    table = list(csv.DictReader(io.StringIO(as_csv([first, run("b", 1 / 3)]))))
    assert list(table[0]) == ["run", *report_schema().names]
    assert [(row["run"], row["metric"], row["subset"]) for row in table[:3]] == [
        ('a, "quoted"', "pve_all", "all"),
        ('a, "quoted"', "f1", "all"),
        ('a, "quoted"', "pve_all", "kids"),
    ]
    assert float(table[3]["value"]) == 1 / 3
    assert (table[0]["primary"], table[0]["standin"], table[1]["ci95_low"]) == ("true", "false", "")


def test_escapes() -> None:
    assert escape_latex("a\\b{$&#%_^~<>|\nc") == (
        r"a\textbackslash{}b\{\$\&\#\%\_\textasciicircum{}\textasciitilde{}\textless{}\textgreater{}"
        r"\textbar{} c"
    )
    assert escape_markdown("a|b*c_d\n<e>") == r"a\|b\*c\_d \<e\>"
