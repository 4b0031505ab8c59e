"""``hmtools body``: body-model files found, checked, cleaned, and the licence-free stand-in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from hmtools.cli.complete import model_formats

__all__ = ["SUBCOMMANDS", "body"]

_FOLDER = typer.Argument(
    metavar="FOLDER", help="Where to look. [default: the setting body_models]", show_default=False
)
_JSON = typer.Option("--json", help="Print as JSON.")


def body() -> None:
    """Find, check and clean body-model files, or make a free stand-in.

    SMPL, SMPL-H and SMPL-X files and the regressors, templates and index files around them are looked for in
    the folder of the setting body_models (variable HMTOOLS_BODY_MODELS), six levels deep; it may be a
    checkout of SMPLer-X. They are read without running anything in them; chumpy is not needed.

    \b
    Examples:
      hmtools body list
      hmtools body check body_models
      hmtools body convert SMPL_python_v.1.1.0 --out body_models
      hmtools body standin --out standin
    """  # noqa: D301 - \b keeps the lines of an example apart


def _list(
    folder: Annotated[Path | None, _FOLDER] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Show what is there and where to get the rest.

    Versions are told by content and file name; the sha256 identifies a file. When several files fit, the one
    that is taken is shown: npz before pkl, the newest version first.

    \b
    Examples:
      hmtools body list
      hmtools body list SMPLer-X --json
    """  # noqa: D301
    import json

    from hmtools.bodies.assets import check, find_all
    from hmtools.cli.body_report import catalogue_facts, catalogue_page

    roots = _roots(folder)
    found = find_all(roots)
    states = {item.asset.key: check(item.asset, item.path) for item in found}
    if as_json:
        typer.echo(json.dumps(catalogue_facts(roots, found, states), indent=1))
    else:
        catalogue_page(roots, found, states, named=folder is not None)


def _check(
    folder: Annotated[Path | None, _FOLDER] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Read and check every file that is there.

    Exits with 1 when one has a problem. Checked: counts of vertices, joints and faces, finite numbers,
    metres, weights and regressor rows that sum to 1, the joint tree, index ranges. Files that would not be
    taken, because a better one is there, are checked too.

    \b
    Examples:
      hmtools body check
      hmtools body check body_models --json
    """  # noqa: D301
    import json

    from hmtools.bodies.assets import check, find_all
    from hmtools.cli.body_report import check_page, status_facts
    from hmtools.core.errors import LayoutError

    roots = _roots(folder)
    found = find_all(roots)
    if not found:
        where = ", ".join(map(str, roots))
        raise LayoutError(
            f"{where}: no body-model files at or below it; 'hmtools body list' says what is missing"
        )
    states = [check(item.asset, path) for item in found for path in (item.path, *item.others)]
    problems = sum(state.problem is not None for state in states)
    if as_json:
        typer.echo(json.dumps({"files": [status_facts(s) for s in states], "problems": problems}, indent=1))
    else:
        check_page(roots, states)
    raise typer.Exit(1 if problems else 0)


def _convert(
    source: Annotated[
        Path, typer.Argument(metavar="PATH", help="A file, or a folder of files, with their usual names.")
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the copies go.")],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="How models are written: npz or pkl.",
            autocompletion=model_formats,
        ),
    ] = "npz",
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
) -> None:
    """Write clean copies of plain arrays.

    The same numbers without chumpy, SciPy or pickled objects. FOLDER gets the names and folders of the smplx
    package, which reads SMPL-H and SMPL-X from it: smplx.create(FOLDER, model_type="smplx", ext="npz"). It
    reads SMPL from pickles only: --format pkl writes models as pickles of plain arrays. hmtools reads both.
    Keys that hold no arrays are left out and named.

    \b
    Examples:
      hmtools body convert basicmodel_f_lbs_10_207_0_v1.1.0.pkl --out body_models
      hmtools body convert SMPLer-X --out body_models
      hmtools body convert smpl/models --out for_smplx --format pkl
    """  # noqa: D301
    from hmtools.bodies.clean import clean_file, plan_clean
    from hmtools.core.errors import HmtoolsError, UsageError

    if form not in ("npz", "pkl"):
        raise UsageError(f"--format must be npz or pkl, found {form!r}")
    plan, failed = plan_clean(source, out, form, force=force), 0  # type: ignore[arg-type] # checked above
    for found, target in plan:
        try:
            made = clean_file(found, target)
        except HmtoolsError as error:
            if len(plan) == 1:
                raise
            failed += 1
            typer.echo(f"hmtools: {error}", err=True)
            continue
        left = f"  (left out: {', '.join(made.dropped)})" if made.dropped else ""
        typer.echo(f"{made.source} -> {made.target}{left}")
        for other in found.others:
            typer.echo(f"{other}: passed over, {found.path.name} is taken for {found.asset.key}")
    raise typer.Exit(1 if failed else 0)


def _standin(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where it goes; new or empty.")],
) -> None:
    """Write a free stand-in body.

    Every file of the SMPL family, made by hmtools: a plausible person with the official file names, keys,
    shapes and counts, to try commands with. It is not SMPL: whatever is made with it is marked as stand-in
    and not comparable with published results. It is made once, in the user's cache (half a minute, 0.5 GB),
    and copied from there.

    \b
    Examples:
      hmtools body standin --out standin
      HMTOOLS_BODY_MODELS=standin hmtools body list
    """  # noqa: D301
    from hmtools.bodies.assets import copy_standin

    copy_standin(out)
    typer.echo(f"wrote the stand-in body to {out}\nHMTOOLS_BODY_MODELS={out} hmtools body list   # shows it")


def _roots(folder: Path | None) -> tuple[Path, ...]:
    from hmtools.bodies.search import search_roots
    from hmtools.core.errors import LayoutError

    if folder is not None and not folder.is_dir():
        raise LayoutError(f"{folder}: no such folder")
    return search_roots() if folder is None else (folder,)


SUBCOMMANDS: dict[str, Callable[..., Any]] = {
    "list": _list,
    "check": _check,
    "convert": _convert,
    "standin": _standin,
}
"""What follows ``hmtools body``."""
