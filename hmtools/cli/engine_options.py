"""The options that say where units run, shared by every command that runs a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hmtools.core.settings import Settings

__all__ = ["Address", "Engine", "UnitTimeout", "Wait", "Workers", "engine_settings"]


def _engines(incomplete: str) -> list[str]:
    from hmtools.core.settings import ENGINES

    return [name for name in ENGINES if name.startswith(incomplete)]


Workers = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Units of work at once; 0: in this process, to debug. [default: the setting workers, else every "
        "core (Ray, Slurm: all that fits)]",
    ),
]
Engine = Annotated[
    str | None,
    typer.Option(
        metavar="ENGINE",
        help="Where the work runs: local, ray or slurm. [default: the setting engine]",
        autocompletion=_engines,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="The Ray cluster to join. [default: the setting ray.address, else one is started]",
    ),
]
Wait = Annotated[
    bool,
    typer.Option("--wait", help="With Slurm: stay until the job is over. Ctrl-C leaves it running."),
]
UnitTimeout = Annotated[
    int | None,
    typer.Option(
        metavar="SECONDS",
        help="Time after which a unit of work counts as failed. [default: the setting unit_timeout]",
    ),
]


def engine_settings(
    *,
    engine: str | None = None,
    workers: int | None = None,
    address: str | None = None,
    unit_timeout: int | None = None,
    wait: bool = False,
) -> Settings:
    """All settings, with what the command line says about the engine on top.

    Raises:
        UsageError: for wrong values, for ``--address`` with another engine than Ray, and for ``--wait`` with
            another than Slurm.
    """
    from hmtools.core.errors import UsageError
    from hmtools.core.settings import load_settings

    flags: dict[str, Any] = {
        "engine": engine,
        "workers": workers,
        "ray.address": address,
        "unit_timeout": unit_timeout,
    }
    settings = load_settings(flags)
    if address is not None and settings.engine != "ray":
        raise UsageError(f"--address {address}: only with --engine ray, not with {settings.engine}")
    if wait and settings.engine != "slurm":
        raise UsageError(f"--wait: only with --engine slurm; {settings.engine} waits in any case")
    return settings
