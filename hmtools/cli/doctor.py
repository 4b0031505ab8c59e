"""``hmtools doctor``: what is wrong with this machine, and the remedy."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hmtools.core.doctor import Finding

__all__ = ["doctor"]


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print every finding as JSON.")] = False,
) -> None:
    """Check Python, packages, OpenCV, GPUs, memory, limits and the folders of the settings.

    Changes nothing. Each problem comes with its remedy; exits with 1 when there is any.

    \b
    Examples:
      hmtools doctor
      hmtools doctor --json
    """  # noqa: D301 - \b keeps the lines of an example apart
    from dataclasses import asdict

    from hmtools import __version__
    from hmtools.core.doctor import examine

    findings = examine(__version__)
    problems = [finding for finding in findings if finding.problem]
    if as_json:
        facts = {"findings": [asdict(finding) for finding in findings], "problems": len(problems)}
        typer.echo(json.dumps(facts, indent=1))
    else:
        typer.echo(_page(findings, problems))
    raise typer.Exit(1 if problems else 0)


def _page(findings: list[Finding], problems: list[Finding]) -> str:
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
    for number, finding in enumerate(problems, start=1):
        lines += ["", f"{number}. {finding.problem}", f"   remedy: {finding.remedy}"]
    return "\n".join([*lines, "", f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"])


def _folded(topic: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, 100, initial_indent=f"{topic:10}", subsequent_indent=" " * 10, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
