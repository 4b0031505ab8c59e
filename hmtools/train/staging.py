"""Copies of indices on the disk of a node: rows are read at random, which a network store is slow at.

A copy is named by its checksum, so it is never stale, runs share it, and one process of a node makes it while
the others wait.
"""

from __future__ import annotations

import fcntl
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hmtools.core.atomic import AtomicFile
from hmtools.core.errors import SchemaError
from hmtools.humandata.manifest import Manifest
from hmtools.shards.index import INDEX

__all__ = ["staged"]

log = logging.getLogger(__name__)

_PIECE = 8 << 20
_SPARE = 1 << 30  # bytes that must stay free on the node's disk


def staged(path: Path, manifest: Manifest, folder: Path) -> Path:
    """The index of a split as a file of this node.

    Args:
        path: folder of the split.
        manifest: of the split, which holds the checksum of the index.
        folder: on a local disk; made when it is not there. Processes of one node may share it.

    Returns:
        The copy; the index itself, with a warning, where the disk has no room for a copy or refuses it.

    Raises:
        SchemaError: if what was read is not what the manifest describes, even when read again.
    """
    facts = next((entry for entry in manifest.files if entry["name"] == INDEX), None)
    if facts is None:
        raise SchemaError(f"{path}: its manifest does not list {INDEX}; run `hmtools validate {path}`")
    try:
        return _shared_copy(path / INDEX, facts, folder)
    except OSError as error:  # a quota, somebody else's folder; an index that is wrong its reader tells
        log.warning("%s holds no copy of %s (%s): it is read in place", folder, path / INDEX, error)
        return path / INDEX


def _shared_copy(index: Path, facts: Mapping[str, Any], folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = folder / f"{facts['sha256']}.arrow"
    # A local disk: its locks can be relied on, and the kernel drops those of a process that dies.
    with (folder / f".{facts['sha256'][:16]}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.is_file() and target.stat().st_size == facts["nbytes"]:
            return target
        if shutil.disk_usage(folder).free < facts["nbytes"] + _SPARE:
            log.warning(
                "%s has no room for %s (%d bytes): it is read in place", folder, index, facts["nbytes"]
            )
            return index
        if _copy(index, target, facts["sha256"]) or _copy(index, target, facts["sha256"]):
            return target
    raise SchemaError(
        f"{index}: its checksum is not the one in the manifest; copy the split again, or make a new "
        f"index with `hmtools validate {index.parent} --rebuild-index`"
    )


def _copy(source: Path, target: Path, sha256: str) -> bool:
    """Copy a file; whether its checksum is the expected one. Otherwise there is no copy."""
    file = AtomicFile(target)
    with source.open("rb") as original:
        while piece := original.read(_PIECE):
            file.write(piece)
    if file.sha256 != sha256:
        file.discard()
        return False
    file.commit()
    return True
