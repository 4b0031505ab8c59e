"""``hmtools config``: every setting with its value and where it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hmtools.core.settings import Settings

__all__ = ["config"]


def config(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print as JSON, with what each setting is for.")
    ] = False,
) -> None:
    """Show every setting, its value and where it comes from.

    A flag of a command beats the environment variable HMTOOLS_NAME, which beats the nearest hmtools.toml in
    this folder or above, which beats the user's hmtools.toml, which beats the default. Unknown names and
    values of the wrong type are errors.

    \b
    Examples:
      hmtools config
      HMTOOLS_SLURM_PARTITION=gpu hmtools config --json
    """  # noqa: D301 - \b keeps the lines of an example apart
    from hmtools.core.settings import load_settings, settings_files

    settings, files = load_settings(), settings_files()
    typer.echo(json.dumps(_facts(settings, files), indent=1) if as_json else _page(settings, files))


def _facts(settings: Settings, files: list[Path]) -> dict[str, Any]:
    from hmtools.core.settings import SETTINGS

    return {
        "files": [{"path": str(path), "found": path.is_file()} for path in files],
        "settings": {
            row.name: {
                "value": _plain(settings.get(row.name)),
                "origin": settings.origin(row.name),
                "variable": row.env,
                "help": row.help,
            }
            for row in SETTINGS.values()
        },
    }


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _page(settings: Settings, files: list[Path]) -> str:
    """Aligned columns, no boxed table: paths stay whole, and ``grep`` finds a setting on one line."""
    from hmtools.core.settings import SETTINGS

    rows = [("setting", "value", "from")]
    rows += [(name, _shown(settings.get(name)), settings.origin(name)) for name in SETTINGS]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"{name:{widths[0]}}  {value:{widths[1]}}  {origin}" for name, value, origin in rows]
    read = [f"  {path}" + ("" if path.is_file() else " (not there)") for path in files]
    return "\n".join([*lines, "", "files, the first wins:", *read])


def _shown(value: Any) -> str:
    if value is None or value == () or value == {}:
        return "-"
    return json.dumps(value) if isinstance(value, tuple | dict) else str(value)
