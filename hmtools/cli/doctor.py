"""``hmtools doctor``: what is wrong with this machine, and the remedy."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hmtools.cli.engine_options import Address, Engine, engine_settings

if TYPE_CHECKING:
    from hmtools.core.doctor import Finding
    from hmtools.engine.doctor_cluster import ClusterReport

__all__ = ["doctor"]

_COLUMNS = ("node", "hmtools", "python", "torch", "GPUs", "output folder", "clock", "")


def doctor(
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Look at the nodes of the cluster instead: do they agree?")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="With --cluster: what nodes have to see. [default: the setting shards_root]",
        ),
    ] = None,
    engine: Engine = None,
    address: Address = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every finding as JSON.")] = False,
) -> None:
    """Check Python, packages, OpenCV, GPUs, memory, limits and the folders of the settings.

    Changes nothing. Each problem comes with its remedy; exits with 1 when there is any. With --cluster, the
    nodes that would run jobs are compared with this host (on Slurm by a short job on each of at most four
    idle nodes), and it exits with 2 when a job would be refused.

    \b
    Examples:
      hmtools doctor
      hmtools doctor --json
      hmtools doctor --cluster --engine slurm
      hmtools doctor --cluster --engine ray --address 10.0.0.1:6379
    """  # noqa: D301 - \b keeps the lines of an example apart
    from dataclasses import asdict

    from hmtools import __version__
    from hmtools.core.doctor import examine
    from hmtools.core.errors import UsageError

    if cluster:
        raise typer.Exit(_cluster(out, engine, address, as_json=as_json))
    if out is not None or engine is not None or address is not None:
        raise UsageError("--out, --engine, --address: only with --cluster")
    findings = examine(__version__)
    problems = [finding for finding in findings if finding.problem]
    if as_json:
        facts = {"findings": [asdict(finding) for finding in findings], "problems": len(problems)}
        typer.echo(json.dumps(facts, indent=1))
    else:
        told = [(finding.problem, finding.remedy) for finding in problems]
        typer.echo("\n".join([*_topics(findings), *_problems(told)]))
    raise typer.Exit(1 if problems else 0)


def _cluster(out: Path | None, engine: str | None, address: str | None, *, as_json: bool) -> int:
    from dataclasses import asdict

    from hmtools.core.log import show, table
    from hmtools.engine.doctor_cluster import examine_cluster

    settings = engine_settings(engine=engine, address=address)
    report = examine_cluster(settings, (out or settings.shards_root).absolute())
    if as_json:
        facts = asdict(report) | {"problems": len(report.problems)}
        typer.echo(json.dumps(facts, indent=1))
    else:
        typer.echo("\n".join(_topics(report.findings)))
        show(table(_COLUMNS, _rows(report)))
        typer.echo("\n".join(_problems(report.problems)).lstrip())
    return 2 if report.problems else 0


def _rows(report: ClusterReport) -> list[list[str]]:
    here = report.here
    asked = [(node.node, node.facts, node.problems) for node in report.nodes]
    rows = []
    for name, facts, problems in [(f"{here['node']} (here)", here, ()), *asked]:
        if facts is None:
            rows.append([name, *[""] * 6, "no answer"])
            continue
        ahead = facts["clock_ahead"] - here["clock_ahead"]
        versions = [str(facts[key]) for key in ("hmtools", "python", "torch", "gpus")]
        state = f"{len(problems)} problems" if problems else "fine"
        rows.append([name, *versions, facts["trouble"] or "writable", f"{ahead:+.1f} s", state])
    return rows


def _topics(findings: list[Finding]) -> list[str]:
    topics: dict[str, list[str]] = {}
    for finding in findings:
        alone = finding.name in ("version", "platform", "cv2", "devices", finding.topic)
        topics.setdefault(finding.topic, []).append(
            finding.value if alone else f"{finding.name} {finding.value}"
        )
    lines = []
    for topic, values in topics.items():
        if topic == "settings":  # paths are long
            lines += [f"{topic if i == 0 else '':10}{value}" for i, value in enumerate(values)]
        else:
            lines += _folded(topic, ", ".join(values))
    return lines


def _problems(problems: list[tuple[str, str]]) -> list[str]:
    lines = []
    for number, (problem, remedy) in enumerate(problems, start=1):
        lines += ["", f"{number}. {problem}", f"   remedy: {remedy}"]
    return [*lines, "", f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"]


def _folded(topic: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, 100, initial_indent=f"{topic:10}", subsequent_indent=" " * 10, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
