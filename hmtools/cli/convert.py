"""``hmtools convert``: a dataset's official download → shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hmtools.cli import complete
from hmtools.cli.engine_options import Address, Engine, UnitTimeout, Wait, Workers, engine_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hmtools.datasets.base import Source

__all__ = ["convert"]

_POLICIES = ("crop", "full", "none")


def convert(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET",
            help="Name of the dataset (`hmtools datasets` lists them), or `all`: every one below the root.",
            autocompletion=complete.convertible,
        ),
    ],
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The download; for `all`, the folder of all of them. [default: its folder below the setting "
            "raw_root; for `all`: raw_root]",
        ),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPLIT",
            help="Official split or role (train, val, test); repeatable. [default: every one that is there]",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where shards go. [default: the setting shards_root]"),
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(
            metavar="POLICY",
            help="crop, full or none. For `coco`: also the folder of your images. [default: crop for train, "
            "full for val and test]",
            autocompletion=complete.image_policies,
        ),
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Keep records whose source_index is a multiple of N. [default: the set's own]"
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="A choice of this dataset, see `hmtools datasets DATASET`; repeatable."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="At most N images of each split.")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="SEQUENCE", help="Only this sequence (name or glob); repeatable."),
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(metavar="FILE", help="For `coco`: your json file.")
    ] = None,
    convention: Annotated[
        str | None,
        typer.Option(
            metavar="CONVENTION",
            help="For `coco`: that of its keypoints.",
            autocompletion=complete.conventions,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="For `coco`: what to call your set.")
    ] = None,
    workers: Workers = None,
    engine: Engine = None,
    address: Address = None,
    unit_timeout: UnitTimeout = None,
    wait: Wait = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove what is there and start over.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="The first defect fails its unit.")] = False,
    strict_counts: Annotated[
        bool,
        typer.Option(
            "--strict-counts",
            help="Exit 1 unless there are as many people as the authors say, where they say it.",
        ),
    ] = False,
    allow_standin: Annotated[
        bool, typer.Option("--allow-standin", help="Accept the stand-in body for real data; marked so.")
    ] = False,
    break_lock: Annotated[
        bool, typer.Option("--break-lock", help="Take over from a writer that hangs.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Only list what the download misses, and where from; without --split, of all splits.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show units, people, disk and time.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Convert a dataset from its official download into Arrow + webdataset shards.

    Running the same command again continues where it stopped and retries what failed.

    \b
    Examples:
      hmtools convert mscoco --root /data/MSCOCO --split val2017
      hmtools convert mscoco --split val2017 --check
      hmtools convert all --root /data --split test
      hmtools convert mscoco --engine ray --address 10.0.0.1:6379
      hmtools convert mscoco --engine slurm
      hmtools convert coco --annotations a.json --images img --convention coco_17
    """  # noqa: D301 - \b keeps Typer from joining the lines
    settings = engine_settings(
        engine=engine, workers=workers, address=address, unit_timeout=unit_timeout, wait=wait
    )
    dataset = _official(dataset)
    if dataset == "all":
        from hmtools.cli.convert_all import convert_everything

        named = {
            "--option": option, "--only": only, "--annotations": annotations, "--convention": convention,
            "--name": name, "--every": every, "--dry-run": dry_run,
        }  # fmt: skip
        if wrong := [flag for flag, value in named.items() if value]:
            raise _usage(f"{wrong[0]}: says something about one dataset; give it with the dataset's name")
        choices: dict[str, Any] = {
            "out": out, "images": _images(dataset, images or [])[1], "limit": limit, "strict": strict,
            "allow_standin": allow_standin,
        }  # fmt: skip
        raise typer.Exit(
            convert_everything(
                root, split or [], choices, settings=settings, overwrite=overwrite, break_lock=break_lock,
                wait=wait, check=check, strict_counts=strict_counts, as_json=as_json,
            )
        )  # fmt: skip
    own = {"annotations": annotations, "convention": convention, "name": name}
    options = _options(
        dataset, option or [], {key: str(value) for key, value in own.items() if value is not None}
    )
    folder, policy = _images(dataset, images or [])
    arguments: dict[str, Any] = {
        "root": folder or root, "out": out, "splits": split or [], "options": options, "images": policy,
        "every": every, "limit": limit, "only": only or [], "strict": strict, "allow_standin": allow_standin,
    }  # fmt: skip
    looking = arguments | {"allow_standin": True}  # nothing is derived by looking
    if check:
        raise typer.Exit(_check(dataset, looking, as_json=as_json))
    if dry_run:
        _dry_run(dataset, looking, settings.workers, as_json=as_json)
        return
    from hmtools.cli.convert_report import announce, print_json, print_reports
    from hmtools.convert.run import convert as run

    reports = run(
        dataset, **arguments, settings=settings, overwrite=overwrite, break_lock=break_lock,
        progress=not as_json, wait=wait, started=None if as_json else announce,
    )  # fmt: skip
    print_json(reports) if as_json else print_reports(reports)
    other = strict_counts and any(report.other_count for report in reports)
    raise typer.Exit(max([int(other), *(report.exit_code for report in reports)]))


def _official(name: str) -> str:
    """The name of the set that is meant, or ``all``, in any case."""
    from hmtools.datasets.registry import get_dataset

    return "all" if name.lower() == "all" else get_dataset(name).name


def _usage(message: str) -> Exception:
    from hmtools.core.errors import UsageError

    return UsageError(message)


def _options(dataset: str, pairs: Sequence[str], own: dict[str, str]) -> dict[str, str]:
    from hmtools.core.errors import UsageError

    if own and dataset != "coco":
        flags = " ".join(f"--{name}" for name in own)
        raise UsageError(f"{flags}: only for `hmtools convert coco`, which reads your own files")
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--option {pair!r}: expected NAME=VALUE")
        options[key] = value
    return options | own


def _images(dataset: str, values: Sequence[str]) -> tuple[Path | None, str | None]:
    """``--images`` says the policy and, for your own data, also the folder."""
    from hmtools.core.errors import UsageError

    policies = [value for value in values if value in _POLICIES]
    folders = [value for value in values if value not in _POLICIES]
    if folders and dataset != "coco":
        raise UsageError(f"--images: expected {' | '.join(_POLICIES)}, found {folders[0]!r}")
    if len(policies) > 1 or len(folders) > 1:
        raise UsageError(f"--images {' '.join(values)}: at most one policy and, for coco, one folder")
    if dataset == "coco" and not folders:
        raise UsageError("convert coco needs --images DIR, the folder that images[].file_name counts from")
    return (Path(folders[0]) if folders else None), (policies[0] if policies else None)


def _check(dataset: str, arguments: dict[str, Any], *, as_json: bool) -> int:
    """List every missing path with its page, and look for a sample of the images; 2 if any is missing."""
    from hmtools.convert.run import resolve_root, wanted_splits
    from hmtools.core.settings import load_settings
    from hmtools.datasets.registry import get_dataset

    chosen = get_dataset(dataset)(arguments["options"])
    root = resolve_root(chosen, arguments["root"], load_settings())
    named = arguments["splits"] or (["train"] if dataset == "coco" else [])
    gaps = {split: chosen.missing(root, split) for split in wanted_splits(chosen, named)}
    lost = {split: _lost(dataset, arguments, split) for split, missing in gaps.items() if not missing}
    if as_json:
        found = {
            split: [{"paths": list(gap.paths), "page": gap.page} for gap in missing]
            for split, missing in gaps.items()
        }
        images = {split: {"checked": checked, "missing": names} for split, (checked, names) in lost.items()}
        typer.echo(json.dumps({"root": str(root), "missing": found, "images": images}, indent=1))
    else:
        typer.echo(f"{chosen.title} below {root}")
        for split, missing in gaps.items():
            typer.echo(
                f"  {split}: " + (f"{len(missing)} missing" if missing else _images_found(*lost[split]))
            )
            for gap in missing:
                typer.echo(f"    {' or '.join(gap.paths)}\n        from {gap.page}")
        if any(gaps.values()):
            typer.echo(f"\n{chosen.layout_help()}")
            if not named:
                typer.echo(_without_split(gaps))
    return 2 if any(gaps.values()) or any(names for _, names in lost.values()) else 0


def _without_split(gaps: Mapping[str, Sequence[Source]]) -> str:
    """All splits were looked for, of which a conversion takes those that are there."""
    complete = [split for split, missing in gaps.items() if not missing]
    converted = f"would convert {', '.join(complete)}" if complete else "has nothing to convert yet"
    return f"\nWithout --split, --check looks for every split; the same command without --check {converted}."


def _lost(dataset: str, arguments: dict[str, Any], split: str) -> tuple[int, list[str]]:
    from hmtools.convert.estimate import missing_images
    from hmtools.convert.run import make_plans

    (plan,) = make_plans(dataset, **{**arguments, "splits": [split]})
    return missing_images(plan)


def _images_found(checked: int, lost: list[str]) -> str:
    if not lost:
        return f"complete, {checked} images looked for and found"
    return f"{len(lost)} of {checked} images that were looked for are missing, first: {', '.join(lost[:3])}"


def _dry_run(dataset: str, arguments: dict[str, Any], workers: int | None, *, as_json: bool) -> None:
    from dataclasses import asdict

    from hmtools.convert.estimate import estimate
    from hmtools.convert.run import make_plans
    from hmtools.core.log import format_bytes, format_duration, show, table
    from hmtools.engine.local import usable_cores

    count = usable_cores() if workers is None else workers
    found = [(plan, estimate(plan, count)) for plan in make_plans(dataset, **arguments)]
    if as_json:
        typer.echo(json.dumps({plan.name: asdict(cost) for plan, cost in found}, indent=1))
        return
    rows = [
        [plan.name, e.units, e.people, e.images, format_bytes(e.nbytes), format_bytes(e.free_bytes),
         format_duration(e.seconds)]
        for plan, e in found
    ]  # fmt: skip
    headings = ["split", "units", "people", "images", "disk", "free", f"time, {count} workers"]
    show(table(headings, rows))
    typer.echo("Nothing was written. Disk and time are extrapolated from a few images.")
    if any(cost.nbytes > cost.free_bytes for _, cost in found):
        typer.echo("The disk is too small: free some space, or choose another --out.", err=True)
        raise typer.Exit(1)
