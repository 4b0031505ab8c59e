"""``hmtools weights``: released weights found, checked, and imported as safetensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from hmtools.cli.complete import weight_names

__all__ = ["SUBCOMMANDS", "weights"]

_JSON = typer.Option("--json", help="Print as JSON.")


def weights() -> None:
    """Find, import and check released weights of SMPLer-X and ViTPose.

    They are looked for in the folder of the setting checkpoints (variable HMTOOLS_CHECKPOINTS), six levels
    deep. hmtools fetches none: each comes from the page of its authors, on their terms. Files are read
    without running anything in them, and told by their content, whatever they are called.

    \b
    Examples:
      hmtools weights list
      hmtools weights import smpler_x_h32.pth.tar
      hmtools weights import vitpose.pth --name vitpose-h
      hmtools weights check smplerx-h32
    """  # noqa: D301 - \b keeps the lines of an example apart


def _list(as_json: Annotated[bool, _JSON] = False) -> None:
    """Show what was published, on what terms, and what of it is here.

    No file is opened: what is here is told by names of files and by the cards of imported ones.

    \b
    Examples:
      hmtools weights list
      hmtools weights list --json
    """  # noqa: D301
    import json

    from hmtools.cli.weights_report import list_facts, list_page
    from hmtools.models.weights_folder import weights_folder, weights_in

    folder = weights_folder()
    found = weights_in(folder)
    if as_json:
        typer.echo(json.dumps(list_facts(folder, found), indent=1))
    else:
        typer.echo(list_page(folder, found))


def _import(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Official file (.pth.tar, .pth), or safetensors.")
    ],
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the copy, such as smplerx-h32. [default: after the file]",
            autocompletion=weight_names,
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a copy that exists.")] = False,
) -> None:
    """Check a file and copy its network into the folder, as safetensors with a model card.

    The copy has neither the optimiser's state nor a body model; it is a third as large as most official
    files. The card, a JSON file beside it, names the source with its sha256, the licence, model, size, number
    of parameters and epoch. Give one of the names of 'hmtools weights list' to say which weights they are:
    content tells model and size, but not what a network was trained on.

    \b
    Examples:
      hmtools weights import smpler_x_h32.pth.tar
      hmtools weights import downloads/large.pth --name vitpose-l
    """  # noqa: D301
    from hmtools.cli.weights_report import import_lines
    from hmtools.models.weights_folder import import_weights

    target, checkpoint = import_weights(file, name=name, replace=force)
    typer.echo("\n".join(import_lines(target, checkpoint)))


def _check(
    which: Annotated[
        str,
        typer.Argument(
            metavar="FILE|NAME", help="A file, or the name of weights.", autocompletion=weight_names
        ),
    ],
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Read weights and compare every name and shape with the network.

    Exits with 1 when something is wrong: damaged, unsafe or of another network, names that are missing or
    too many, other shapes, NaN, bytes that are not those in the card; with 2 when there is no such file.

    \b
    Examples:
      hmtools weights check smpler_x_h32.pth.tar
      hmtools weights check smplerx-h32 --json
    """  # noqa: D301
    import json

    from hmtools.cli.weights_report import check_facts, check_page
    from hmtools.models.weights_folder import locate_weights

    facts = check_facts(locate_weights(which))
    typer.echo(json.dumps(facts, indent=1) if as_json else check_page(facts))
    raise typer.Exit(1 if facts["problems"] else 0)


SUBCOMMANDS: dict[str, Callable[..., Any]] = {"list": _list, "import": _import, "check": _check}
"""What follows ``hmtools weights``."""
