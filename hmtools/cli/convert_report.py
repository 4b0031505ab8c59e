"""What ``hmtools convert`` says when it starts and when it ends."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hmtools.convert.run import Plan, SplitReport

__all__ = [
    "HEADINGS",
    "announce",
    "is_already_done",
    "print_details",
    "print_json",
    "print_reports",
    "report_row",
    "reports_json",
]

HEADINGS = ["split", "state", "records", "official", "images", "rejected", "left out", "size", "time"]
"""Of the table that ends a conversion."""

_EXAMPLES = 10
_MANY = 0.05  # share of rejected people that deserves a remark


def announce(plan: Plan) -> None:
    """Say on standard error what is about to be converted, with every choice that was made for the user."""
    task = plan.task
    keypoints = task.dataset.spec(task.root, task.split).keypoints2d
    facts = [f"{len(plan.units)} units", f"labels {keypoints}" if keypoints else "", f"images {task.images}"]
    facts += [
        f"every {task.every}" if task.every > 1 else "",
        f"limit {plan.options['limit']}" * bool(task.take),
    ]
    if task.bodies is not None and task.bodies.facts is not None:
        facts.append("STAND-IN body, not SMPL" if task.bodies.facts["standin"] else "joints derived")
    typer.echo(f"{plan.name}: {', '.join(fact for fact in facts if fact)} → {task.out}", err=True)


def print_json(reports: Sequence[SplitReport]) -> None:
    """Print the reports as one JSON object, split by split."""
    typer.echo(json.dumps(reports_json(reports), indent=1))


def reports_json(reports: Sequence[SplitReport]) -> dict[str, dict[str, Any]]:
    """Split -> what ``--json`` says about it."""
    return {
        report.plan.name: {
            "out": str(report.plan.task.out),
            "ok": report.exit_code == 0 and not report.outcome.submitted,
            "interrupted": report.outcome.interrupted,
            "submitted": list(report.outcome.submitted),
            "records": report.outcome.count("records"),
            "official_records": report.official_records,
            "images": report.outcome.count("images"),
            "official_images": report.official_images,
            "rejected": _reasons(report, "rejected"),
            "filtered": _reasons(report, "filtered"),
            "failed": report.outcome.failed,
            "seconds": round(report.outcome.seconds, 3),
        }
        for report in reports
    }


def print_reports(reports: Sequence[SplitReport]) -> None:
    """Print one table, then what there is to know about each split."""
    from hmtools.core.log import show, table

    show(table(HEADINGS, [report_row(report) for report in reports]))
    for report in reports:
        print_details(report)


def report_row(report: SplitReport) -> list[object]:
    """The line of one split in the table under :data:`HEADINGS`."""
    from hmtools.core.log import format_bytes, format_duration

    outcome = report.outcome
    size = sum(file.nbytes for result in outcome.results for file in result.files)
    counts = [outcome.count(name) for name in ("records", "images", "rejected", "filtered")]
    official = "" if report.official_records is None else report.official_records
    return [
        report.plan.name, _state(report), counts[0], official, *counts[1:], format_bytes(size),
        format_duration(outcome.seconds),
    ]  # fmt: skip


def _state(report: SplitReport) -> str:
    outcome = report.outcome
    if outcome.submitted:
        return "submitted"
    if outcome.interrupted:
        return "stopped"
    if outcome.failed:
        return f"units failed: {len(outcome.failed)}"
    if report.empty:
        return "nothing stored"
    return "already done" if is_already_done(report) else "done"


def is_already_done(report: SplitReport) -> bool:
    """Whether an earlier run converted all of it."""
    return report.outcome.ok and report.outcome.skipped == len(report.plan.units)


def _reasons(report: SplitReport, name: str) -> dict[str, int]:
    total: Counter[str] = Counter()
    for result in report.outcome.results:
        total.update(result.data[name])
    return dict(total.most_common())


def print_details(report: SplitReport, *, examples: bool = True) -> None:
    """What there is to know about one split: reasons, examples, needs, failures, counts, where it lies.

    Args:
        report: of the split.
        examples: list rejections, too.
    """
    outcome, name = report.outcome, report.plan.name
    for title, kind in (("rejected", "rejected"), ("left out by rules and options", "filtered")):
        if reasons := _reasons(report, kind):
            listed = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
            typer.echo(f"{name}: {title}: {listed}")
    if examples:
        _print_rejections(report)
    _print_needs(report)
    for unit, reason in outcome.failed.items():
        typer.echo(f"  {unit} failed: {reason}\n    log: {_logs(report) / f'{unit}.log'}")
    if outcome.submitted:
        ids = " ".join(map(str, outcome.submitted))
        typer.echo(f"{name}: Slurm jobs {ids}; follow: hmtools jobs {report.plan.task.out} --follow")
    elif outcome.failed or outcome.interrupted:
        typer.echo("Run the same command again to continue; finished units are kept.")
    elif report.empty:
        typer.echo(
            f"{name}: nothing could be stored. Check the folder and the convention, then use --overwrite."
        )
    else:
        _print_counts(report)
        typer.echo(f"{name}: {report.plan.task.out}")


def _print_counts(report: SplitReport) -> None:
    """How a split that is done compares with what its authors say; nothing when it is just that."""
    name, found = report.plan.name, report.outcome.count("records")
    if report.other_count:
        typer.echo(
            f"{name}: {found:,} people, the authors say {report.official_records:,}: is the download whole, "
            "and of their version?"
        )
    elif report.official_records is None and report.official_images is not None:
        typer.echo(
            f"{name}: {found:,} people; no official number of people; officially "
            f"{report.official_images:,} images, including those without people"
        )


def _print_needs(report: SplitReport) -> None:
    needs = {asset: why for result in report.outcome.results for asset, why in result.data["needs"].items()}
    for why in needs.values():
        typer.echo(f"  not derived: {why}")
    if needs:
        typer.echo(
            "  Joints and boxes that follow from these bodies are null. `hmtools body list` says where the "
            f"files come from; then run `hmtools derive {report.plan.task.out}`."
        )


def _logs(report: SplitReport) -> Path:
    return report.plan.task.out / ".job" / "logs"


def _print_rejections(report: SplitReport) -> None:
    rejected, records = report.outcome.count("rejected"), report.outcome.count("records")
    examples = [example for result in report.outcome.results for example in result.data["examples"]]
    for example in examples[:_EXAMPLES]:
        typer.echo(f"  {example['reason']}: {example['source']} {example['detail']}".rstrip())
    if rejected > _EXAMPLES:
        typer.echo(f"  … and {rejected - _EXAMPLES} more, all of them in {_logs(report)}")
    if rejected > _MANY * (records + rejected):
        typer.echo(f"  {rejected} of {records + rejected} people are lost to defects: is the download whole?")
    if any(reason.startswith("image_") for reason in _reasons(report, "rejected")):
        typer.echo("  Once damaged or missing images are repaired, convert again with --overwrite.")
