"""The folder of weights (setting ``checkpoints``): what lies there, and how a file comes to lie there.

An imported file is ``NAME.safetensors``, without the optimiser, and ``NAME.json``, its model card: what
network it is, what it was made from, on what terms. The body model is never part of it.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmtools.core.atomic import write_json
from hmtools.core.errors import CheckpointError, UsageError, nearest
from hmtools.core.settings import load_settings
from hmtools.models.published_weights import PUBLISHED, PublishedWeights, published_by_file
from hmtools.models.weight_cards import card_path, model_card, read_card

if TYPE_CHECKING:
    from hmtools.models.checkpoint import Checkpoint

__all__ = ["Weights", "import_weights", "locate_weights", "published_row", "weights_folder", "weights_in"]

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ENDINGS = (".safetensors", ".pth.tar", ".pth", ".pt", ".ckpt")
_DEPTH = 6
_OURS = ".safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A file of weights in a folder, as far as its name and its card tell; it is not opened.

    Attributes:
        name: what it is found by: of the published row it is, else its file name without ending.
        path: the file.
        published: the row of the table, or None.
        card: its model card, empty for files that were not imported.
        problem: what is wrong with the card, or an empty string.
    """

    name: str
    path: Path
    published: PublishedWeights | None = None
    card: Mapping[str, Any]
    problem: str = ""

    @property
    def imported(self) -> bool:
        """Whether it is safetensors with a model card."""
        return bool(self.card)


def weights_folder() -> Path:
    """The folder that is searched and imported into: the setting ``checkpoints``."""
    return load_settings().checkpoints


def weights_in(folder: Path) -> list[Weights]:
    """Every file of weights in a folder, six levels deep, by path; a folder that does not exist holds none.

    Of two files that are the same published weights, the imported one comes first.
    """
    found = [_weights(path) for path in _files(folder)]
    return sorted(found, key=lambda item: (not item.imported, str(item.path)))


def _files(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder, followlinks=True):
        depth = len(Path(here).relative_to(folder).parts)
        folders[:] = sorted(n for n in folders if not n.startswith(".")) if depth < _DEPTH else []
        for name in sorted(names):
            if name.lower().endswith(_ENDINGS) and not name.startswith("."):
                yield Path(here, name)


def _weights(path: Path) -> Weights:
    card, problem = {}, ""
    if path.name.endswith(_OURS):
        try:
            card = read_card(path)
        except CheckpointError as error:
            problem = str(error)
    row = PUBLISHED.get(str(card.get("published"))) if card else published_by_file(path.name)
    name = _stem(path) if row is None or card else row.name
    return Weights(name=name, path=path, published=row, card=card, problem=problem)


def _stem(path: Path) -> str:
    ending = next((e for e in _ENDINGS if path.name.lower().endswith(e)), "")
    return path.name[: len(path.name) - len(ending)]


def locate_weights(name: str | Path, folder: Path | None = None) -> Path:
    """Find weights by path or by name.

    Args:
        name: a file; or the name of imported or published weights, such as ``smplerx-h32``.
        folder: where names are looked for (default: :func:`weights_folder`).

    Raises:
        CheckpointError: when there is no such file; it says where was looked and, for published weights,
            from which page they come.
    """
    if Path(name).is_file():
        return Path(name)
    folder = weights_folder() if folder is None else folder
    found = weights_in(folder)
    for item in found:
        if item.name == str(name) or (item.published and item.published.name == str(name)):
            return item.path
    searched = f"{folder}" + ("" if folder.is_dir() else " (no such folder)")
    row = PUBLISHED.get(str(name))
    if row is None:
        hint = nearest(str(name), {*PUBLISHED, *(item.name for item in found)})
        raise CheckpointError(
            f"there is no file {str(name)!r}, and no weights of this name in {searched}{hint}; "
            "'hmtools weights list' shows all"
        )
    wanted = f"{name}{_OURS}" + (f" or {row.file}" if row.file else "")
    raise CheckpointError(
        f"the weights {name} are not here.\n"
        f"  looked for  {wanted}\n"
        f"  in          {searched}\n"
        f"  get them at {row.licence.page} ({row.licence.name})\n"
        f"  then        hmtools weights import FILE --name {name}"
    )


def import_weights(
    source: Path, *, name: str | None = None, folder: Path | None = None, replace: bool = False
) -> tuple[Path, Checkpoint]:
    """Convert a file of weights into the folder: safetensors and a model card.

    Only the network is kept. Memory stays small where torch can map the file, i.e. for all but files of
    before torch 1.6, which are read whole.

    Args:
        source: official file, or any that :func:`~hmtools.models.checkpoint.read_checkpoint` takes.
        name: of the copy. By default the name of the published weights that ``source`` is called like, else
            its own name without ending. The name of published weights must fit what the file holds.
        folder: where to (default: :func:`weights_folder`); it is made when it is not there.
        replace: whether an existing copy may be replaced.

    Returns:
        The new file, and what was read.

    Raises:
        CheckpointError, UnsafeFileError: as for ``read_checkpoint``, and for NaN or infinite numbers.
        UsageError: for a name that cannot be one or that is taken.
    """
    from hmtools.models.checkpoint import non_finite, read_checkpoint
    from hmtools.models.weight_files import write_safetensors

    folder = weights_folder() if folder is None else folder
    chosen = _chosen_name(source, name)
    target = folder / f"{chosen}{_OURS}"
    taken = [path for path in (target, card_path(target)) if path.exists()]
    if target.exists() and source.exists() and target.samefile(source):
        raise UsageError(f"{source}: is imported already; 'hmtools weights check {chosen}' checks it")
    if taken and not replace:
        raise UsageError(f"{taken[0]}: exists; --force replaces it, --name gives the copy another name")
    if source.is_file():  # else what is said next is that there is none
        log.info("reading %s, every byte of it", source)
    checkpoint = read_checkpoint(source, verify=True)
    row = _published(checkpoint, chosen)
    broken = non_finite(checkpoint.state)
    if broken:
        raise CheckpointError(
            f"{source}: NaN or infinite numbers in {', '.join(broken[:3])} ({len(broken)} tensors)"
        )
    folder.mkdir(parents=True, exist_ok=True)
    # A stop after this leaves weights without a card, never with a wrong one.
    card_path(target).unlink(missing_ok=True)
    sha256 = write_safetensors(target, checkpoint.state)
    write_json(card_path(target), model_card(checkpoint, target, sha256, row))
    return target, checkpoint


def _chosen_name(source: Path, name: str | None) -> str:
    row = published_by_file(source.name)
    chosen = name or (_stem(source) if row is None else row.name)
    if not _NAME.fullmatch(chosen):
        raise UsageError(
            f"the name {chosen!r} cannot be a file name: letters, digits, '.', '_' and '-', please (--name)"
        )
    return chosen


def _published(checkpoint: Checkpoint, chosen: str) -> PublishedWeights | None:
    """The row that weights are: by the name they are given, or else by :func:`published_row`."""
    row = PUBLISHED.get(chosen)
    if row is not None and not _fits(checkpoint, row):
        raise CheckpointError(
            f"{checkpoint.path}: the name {row.name} is that of published weights, but the file holds "
            f"{checkpoint.identity}; --name gives it another name"
        )
    return row or published_row(checkpoint)


def published_row(checkpoint: Checkpoint) -> PublishedWeights | None:
    """The row that weights are, by their card or the name of their file, if they fit it."""
    row = PUBLISHED.get(str(checkpoint.card.get("published"))) or published_by_file(checkpoint.source)
    return row if row is not None and _fits(checkpoint, row) else None


def _fits(checkpoint: Checkpoint, row: PublishedWeights) -> bool:
    decoder = row.decoder or checkpoint.decoder
    return (checkpoint.model, checkpoint.size, checkpoint.decoder) == (row.model, row.size, decoder)
