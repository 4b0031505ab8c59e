"""What each node of a cluster must agree on with the driver before it runs units.

A node whose versions differ may write other bytes, one that does not see the output folder writes nowhere.
The driver calls :func:`mark` once, every node :func:`preflight_facts`, and :func:`require_equal` compares::

    mark(job.out)
    here = preflight_facts(job.out)
    require_equal(here, [facts, ...])  # of the nodes, in any form that keeps JSON
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import logging
import os
import platform
import socket
import sys
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hmtools.core import atomic
from hmtools.core.errors import UsageError

__all__ = ["MAX_SKEW_S", "compare", "mark", "preflight_facts", "require_equal"]

MAX_SKEW_S = 60.0
"""How far clocks may be apart: leases are judged by time, and their heartbeat comes every 30 s."""

_MARK = Path(".job") / "preflight"
_PACKAGES = ("torch", "numpy", "pyarrow", "opencv-python")
_EQUAL = ("python", "machine", "hmtools", *_PACKAGES)
_BETTER_EQUAL = {"code": "sources of hmtools", "vectors": "processor instructions"}

log = logging.getLogger(__name__)


def mark(out: Path) -> None:
    """Leave a mark in the job's folder by which a node shows that it sees the same folder."""
    (out / _MARK).parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(out / _MARK, uuid.uuid4().hex)


def preflight_facts(out: Path) -> dict[str, Any]:
    """Look at this node: who it is, what is installed, what it can do with the job's folder, its clock.

    Never raises for what it finds: a fact then says what is wrong, and :func:`compare` reports it.

    Returns:
        A value that JSON can hold: ``node``, ``python``, ``machine``, ``hmtools``, ``code`` (digest of the
        package's sources), versions of what decides bytes ("" = not installed), ``vectors`` (instruction set
        that numerics libraries choose by), ``gpus`` (how many), ``out``, ``seen`` (the mark found there),
        ``trouble`` (why it cannot be written, "" = it can), ``clock`` (seconds since the epoch) and
        ``clock_ahead`` (seconds that this node's clock is ahead of the file system's).
    """
    trouble, ahead = _try_to_write(out)
    return {
        "node": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),  # several may share one machine
        "python": platform.python_version(),
        "machine": platform.machine(),
        "hmtools": sys.modules[
            "hmtools"
        ].__version__,  # importing it would say that we use what it re-exports
        "code": _code_digest(),
        **{name: _version(name) for name in _PACKAGES},
        "vectors": _vectors(),
        "gpus": _gpus(),
        "out": str(out),
        "seen": _read(out / _MARK),
        "trouble": trouble,
        "clock": time.time(),
        "clock_ahead": ahead,
    }


def compare(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """Return what keeps the node ``there`` from working for the driver ``here``, one line each, [] = nothing.

    Sources that differ under one version number, and another instruction set, are only warned about.
    """
    node = there["node"]
    problems = [
        f"{node}: {name} {there.get(name) or 'is not installed'}, expected {here[name] or 'none'} as on "
        f"{here['node']}"
        for name in _EQUAL
        if there.get(name) != here[name]
    ]
    if there["trouble"]:
        problems.append(f"{node}: cannot write to {there['out']}: {there['trouble']}")
    if there["seen"] != here["seen"]:
        problems.append(
            f"{node}: {there['out']} is not the folder that {here['node']} sees under that name; it must lie "
            "on a file system that all nodes share"
        )
    skew = there["clock_ahead"] - here["clock_ahead"]
    if abs(skew) > MAX_SKEW_S:
        problems.append(
            f"{node}: its clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} that of "
            f"{here['node']}, allowed are {MAX_SKEW_S:.0f} s; set the time (NTP)"
        )
    for name, title in _BETTER_EQUAL.items():
        if there[name] != here[name]:
            log.warning(
                "%s: %s %s, on %s %s: its results may differ",
                node,
                title,
                there[name],
                here["node"],
                here[name],
            )
    return problems


def require_equal(here: Mapping[str, Any], nodes: Iterable[Mapping[str, Any]]) -> None:
    """Return if every node can work for the driver.

    Raises:
        UsageError: with all that is wrong, node by node.
    """
    problems = [line for there in nodes for line in compare(here, there)]
    if problems:
        raise UsageError(
            "these nodes cannot run the job's units:\n  "
            + "\n  ".join(dict.fromkeys(problems))
            + "\nGive all nodes the same environment and output folder, or leave these nodes out."
        )


def _try_to_write(out: Path) -> tuple[str, float]:
    """Write a file into the job's folder; return why not ("" = it worked) and our clock minus its stamp."""
    path = out / f".preflight.{socket.gethostname()}.{os.getpid()}.tmp"  # a name that is swept if we die
    try:
        path.write_bytes(b"x")
        ahead = time.time() - path.stat().st_mtime
        path.unlink()
    except OSError as error:
        return str(error.strerror or error), 0.0
    return "", round(ahead, 3)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


@functools.cache
def _code_digest() -> str:
    """Digest of our own sources: two checkouts may carry the same version number."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _vectors() -> str:
    flags = next((x for x in _read(Path("/proc/cpuinfo")).splitlines() if x.startswith("flags")), "").split()
    return next((name for name in ("avx512f", "avx2") if name in flags), "baseline")


def _gpus() -> int:
    folder = Path("/proc/driver/nvidia/gpus")
    return len(list(folder.iterdir())) if folder.is_dir() else 0
