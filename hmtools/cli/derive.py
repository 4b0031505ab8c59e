"""``hmtools derive``: fill what needs body models in splits that were converted without them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hmtools.cli.engine_options import Address, Engine, UnitTimeout, Workers, engine_settings
from hmtools.cli.shards_argument import ShardsArgument, existing_folder

__all__ = ["derive"]


def derive(
    shards: ShardsArgument,
    workers: Workers = None,
    engine: Engine = None,
    address: Address = None,
    unit_timeout: UnitTimeout = None,
    allow_standin: Annotated[
        bool, typer.Option("--allow-standin", help="Accept the stand-in body for real data; marked so.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Fill joints, boxes and neutral shapes that follow from body parameters.

    A conversion does this itself where it finds the body models. Tables, index and manifest change; tars, and
    cells that hold something, do not.

    \b
    Examples:
      hmtools derive shards
      hmtools derive agora/train --workers 8
    """  # noqa: D301 - \b keeps Typer from joining the lines
    from hmtools.convert.derive import derive_split
    from hmtools.core.errors import LayoutError
    from hmtools.engine.launch import EngineChoice, engine_session
    from hmtools.humandata.manifest import read_manifest
    from hmtools.shards.reader import find_splits, find_unfinished

    settings = engine_settings(engine=engine, workers=workers, address=address, unit_timeout=unit_timeout)
    shards = existing_folder(shards)
    folders = find_splits(shards)
    stopped = [folder for folder in find_unfinished(shards) if any(folder.glob(".derive-*/manifest.json"))]
    if not folders and not stopped:
        read_manifest(shards)  # raises, with what is there instead
        raise LayoutError(f"{shards}: no converted split")
    found, code = {}, 0
    with engine_session(EngineChoice.of(settings)):
        for folder in [*folders, *stopped]:
            if folder not in stopped and not read_manifest(folder).spec["bodies"] and len(folders) > 1:
                continue  # sets without bodies among others
            outcome = derive_split(
                folder, settings=settings, allow_standin=allow_standin, progress=not as_json
            )
            code = max(code, outcome.exit_code)
            found[str(folder)] = {"records": outcome.count("records"), "filled": outcome.count("filled"),
                                  "failed": outcome.failed, "interrupted": outcome.interrupted,
                                  "submitted": list(outcome.submitted)}  # fmt: skip
            if not as_json:
                _report(folder, found[str(folder)])
            if outcome.interrupted:
                break
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    raise typer.Exit(code)


def _report(folder: Path, facts: dict[str, object]) -> None:
    from hmtools.humandata.manifest import read_manifest

    if facts["submitted"]:
        typer.echo(f"{folder}: not done; run the same command again when its Slurm jobs are over")
        return
    if facts["failed"] or facts["interrupted"]:
        typer.echo(f"{folder}: not done; run the same command again to continue")
        return
    manifest = read_manifest(folder)
    body = manifest.body_model or {}
    standin = " (stand-in body, not SMPL)" if body.get("standin") else ""
    typer.echo(f"{folder}: {facts['filled']} cells of {facts['records']} records filled{standin}")
    for line in manifest.needs:
        typer.echo(f"  missing {line}")
