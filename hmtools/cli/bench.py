"""``hmtools bench``: predictions against a test set, by a protocol that the report names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hmtools.cli.agora_submission import agora_submission
from hmtools.cli.bench_model import measured
from hmtools.cli.complete import model_words, protocol_ids, testset_words

if TYPE_CHECKING:
    from hmtools.bench.doctor import Diagnosis
    from hmtools.bench.protocols.base import Protocol
    from hmtools.bench.run import BenchResult
    from hmtools.core.log import Progress
    from hmtools.core.settings import Settings
    from hmtools.shards.reader import Shards

__all__ = ["RUNS_ALONE", "SUBCOMMANDS", "bench"]

RUNS_ALONE = True
"""``hmtools bench --testset ...`` is a command of its own, besides those that follow ``hmtools bench``."""


def bench(
    ctx: typer.Context,
    testset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="3DPW, EHF, AGORA, EgoBody, UBody ..., or all: the five of MPE.",
            autocompletion=testset_words,
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="File or folder: ours, SMPLer-X's, AGORA's, a generic npz; or a folder of one per set.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Weights or a training run: predicts first what is not there yet, into infer/MODEL below "
            "the setting runs_root. [default: --predictions, else the newest finished run, else official "
            "weights]",
            autocompletion=model_words,
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How it is measured. [default: smplerx@1, which MPE is defined by]",
            autocompletion=protocol_ids,
        ),
    ] = None,
    shards: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Converted sets. [default: the setting shards_root]")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the results. [default: bench/PREDICTIONS below the setting runs_root]",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="Where errors are computed: cpu, cuda, cuda:1.")
    ] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows of the report as JSON.")] = False,
) -> None:
    """Measure predictions on a test set and write per_sample.parquet and report.parquet.

    People without a prediction, and predictions that are not finite, are counted and listed, never averaged
    away. The report says where rows or bodies are not the official ones.

    \b
    Examples:
      hmtools bench --testset 3DPW --predictions runs/infer/h32
      hmtools bench --testset all --model runs/train/smplerx-h32 --device cuda
      hmtools bench --testset 3DPW --protocol spin --predictions smpl.parquet
      hmtools bench doctor shards/ehf/test
      hmtools bench agora-submission runs/infer/h32 --out h32.zip
    """  # noqa: D301 - \b keeps the lines of an example apart
    if ctx.invoked_subcommand is not None:
        return
    from hmtools.bench.run import mean_primary_error
    from hmtools.bench.testsets import chosen_protocols
    from hmtools.core.errors import UsageError
    from hmtools.core.settings import load_settings

    if testset is None:
        raise UsageError("say what to measure on: --testset 3DPW, EHF, AGORA, EgoBody, UBody or all")
    settings = load_settings()
    chosen = chosen_protocols(testset, protocol)
    _check_device(device)
    found = _open(chosen, settings.shards_root if shards is None else shards)
    path = measured(predictions, model, testset, found, settings, quiet=as_json)
    folder = out or settings.runs_root / "bench" / _stem(path)
    results = _run(found, path, folder, device, settings, quiet=as_json)
    if len(chosen) > 1:  # of those that there are: a partial mean
        mean_primary_error(results, folder)
    _tell(results, folder, as_json=as_json)


def _stem(path: Path) -> str:
    return path.resolve().name.partition(".")[0] or "predictions"


def _check_device(device: str) -> None:
    import torch

    from hmtools.core.errors import UsageError
    from hmtools.infer.model import devices_here

    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {device}: not usable here ({reason}); take {devices_here()}") from error


Opened = list[tuple["type[Protocol]", "list[Shards]"]]


def _open(chosen: Sequence[type[Protocol]], root: Path) -> Opened:
    """The shards of each set; of several, those that are not there are left out with a word."""
    from hmtools.bench.run import open_testset
    from hmtools.core.errors import LayoutError

    found: Opened = []
    missing: list[str] = []
    for kind in chosen:
        try:
            found.append((kind, open_testset(kind, root)))
        except LayoutError as error:
            missing.append(str(error))
    if not found:
        raise LayoutError("\n".join(missing))
    for line in missing:
        typer.echo(f"left out: {line}", err=True)
    return found


def _run(
    found: Opened, path: Path, out: Path, device: str, settings: Settings, *, quiet: bool
) -> list[BenchResult]:
    from hmtools.bench import run
    from hmtools.bench.source import open_predictions
    from hmtools.core.errors import LayoutError, UsageError
    from hmtools.core.log import Progress

    results, unread = [], []
    for kind, splits in found:
        try:
            people = sum(len(run.chosen_rows(own, kind)) for own in splits)
            source = open_predictions(_own(path, kind, found), splits)
        except (LayoutError, UsageError) as error:
            if len(found) == 1:
                raise
            unread.append(str(error))  # MPE of the others is a partial one
            continue
        batches = -(-people // run.BATCH)
        with Progress(f"bench {kind.testset}", units=batches, records=people, enabled=not quiet) as bar:
            place = out / _folder(kind)
            results.append(
                run.bench(
                    splits, source, kind, place, device=device, settings=settings, advance=_advancing(bar)
                )
            )
    if not results:
        raise UsageError("\n".join(unread))
    for line in unread:
        typer.echo(f"left out: {line}", err=True)
    return results


def _own(path: Path, kind: type[Protocol], among: Opened) -> Path:
    """Predictions of one set: ``<set>/`` or ``<set>.parquet`` in a folder of several, else all of them."""
    own = _places(path, kind)
    split = path / kind.dataset / kind.splits[0]
    if len(kind.splits) == 1 and split.is_dir():
        return split
    apart = any(place.exists() for other, _ in among for place in _places(path, other))
    return next((place for place in own if place.exists()), own[0] if apart else path)


def _places(path: Path, kind: type[Protocol]) -> list[Path]:
    return [path / f"{name}{end}" for name in (kind.testset, kind.dataset) for end in ("", ".parquet")]


def _advancing(bar: Progress) -> Callable[[int], None]:
    return lambda done: bar.advance(expected=done, records=done)


def _folder(kind: type[Protocol]) -> str:
    """Below the folder of the results: the test set, and the protocol where it is not the usual one."""
    return kind.testset if kind.default else f"{kind.testset}-{kind.id.partition('@')[0]}"


def _tell(results: Sequence[BenchResult], out: Path, *, as_json: bool) -> None:
    import json

    from hmtools.cli.report import report

    if as_json:
        typer.echo(json.dumps([dict(row) for result in results for row in result.rows], indent=1))
        return
    report([out])
    for result in results:
        counted = ", ".join(f"{count:,} {status}" for status, count in sorted(result.statuses.items()))
        typer.echo(f"{result.facts.testset} by {result.facts.protocol}: {counted}")
    if kept := _kept(out, [result.report.parent.name for result in results]):
        typer.echo(f"{out}: holds what earlier runs measured as well: {', '.join(kept)}", err=True)
    typer.echo(f"{out}: tables of people and figures; `hmtools report {out} --out page.html` shows them")


def _kept(out: Path, done: Sequence[str]) -> list[str]:
    """Results in a folder that are not of this run: a report of the folder joins them to those that are."""
    from hmtools.bench.published import MPE

    there = sorted(path.parent.name for path in out.glob("*/report.parquet"))
    return [name for name in there if name not in (*done, MPE)]


def _doctor(
    shards: Annotated[Path, typer.Argument(metavar="SHARDS", help="OUT, OUT/DATASET or OUT/DATASET/SPLIT.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Say whether converted test shards are the official set: OK, or what differs.

    Checked: counts, sampling interval, rows, images, defects, health, missing fields, body models. Exits with
    1 when anything differs.

    \b
    Examples:
      hmtools bench doctor shards
      hmtools bench doctor shards/egobody_egocentric/test --json
    """  # noqa: D301
    from hmtools.bench.doctor import diagnose_all
    from hmtools.core.errors import LayoutError, UsageError
    from hmtools.humandata.manifest import read_manifest
    from hmtools.shards.reader import Shards, find_splits

    folders = find_splits(shards)
    if not folders:
        read_manifest(shards)  # raises, with what is there instead
        raise LayoutError(f"{shards}: no converted split")
    found = []
    for folder in folders:
        try:
            found += diagnose_all(Shards(folder))
        except UsageError:  # no test set; among others that is none of their business
            if len(folders) == 1:
                raise
    if not found:
        raise UsageError(f"{shards}: {len(folders)} splits, and no protocol tests on any of them")
    _tell_json(found) if as_json else _tell_differences(found)
    raise typer.Exit(0 if all(own.ok for own in found) else 1)


def _tell_json(found: Sequence[Diagnosis]) -> None:
    import json

    facts = [
        {
            **{"path": str(own.path), "testset": own.testset, "protocol": own.protocol, "ok": own.ok},
            **{"rows": own.rows, "differences": [str(one) for one in own.differences]},
            "unchecked": list(own.unchecked),
        }
        for own in found
    ]
    typer.echo(json.dumps(facts, indent=1))


def _tell_differences(found: Sequence[Diagnosis]) -> None:
    for own in found:
        typer.echo(f"{own.path}: {own.testset} by {own.protocol}: {'OK' if own.ok else 'differs'}")
        for line in (*map(str, own.differences), *own.unchecked):
            typer.echo(f"  {line}")


SUBCOMMANDS: dict[str, Callable[..., Any]] = {"doctor": _doctor, "agora-submission": agora_submission}
"""What follows ``hmtools bench``."""
