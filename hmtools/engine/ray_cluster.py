"""Joining a Ray cluster, or starting one on this machine; what its nodes offer, and whether they fit."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hmtools.core.errors import UsageError
from hmtools.core.settings import RaySettings
from hmtools.engine.local import usable_cores
from hmtools.engine.preflight import mark, preflight_facts, require_equal
from hmtools.engine.worker import one_line

__all__ = ["Node", "ask_nodes", "check_nodes", "joined", "needs_of", "nodes_for"]

JOIN_TIMEOUT_S = 30.0
PREFLIGHT_TIMEOUT_S = 60.0
_OBJECT_STORE_BYTES = 200_000_000  # of our own cluster: only descriptions and counts go through it
_ENV_KEYS = ("env_vars", "py_executable")

log = logging.getLogger(__name__)


@contextlib.contextmanager
def joined(ray_settings: RaySettings, *, workers: int | None = None) -> Iterator[None]:
    """Join the cluster of the settings, or start one here, while the block runs.

    A Ray that this process has joined already is used as it is, and not left. A cluster of our own ends with
    the block, and with this process, also when that is killed.

    Args:
        ray_settings: ``address`` (None: start one) and ``runtime_env``.
        workers: processor slots of a cluster of our own; None = every usable core.

    Raises:
        UsageError: if the cluster cannot be joined within :data:`JOIN_TIMEOUT_S`, or the runtime environment
            asks for something else than variables and an interpreter.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {
        "log_to_driver": False,  # what units say is in their logs
        "configure_logging": False,
        "include_dashboard": False,
        "runtime_env": _runtime_env(ray_settings.runtime_env),
    }
    with _quiet():
        try:
            if ray_settings.address is None:
                _start(options, workers)
            else:
                _join(ray_settings.address, options)
        except BaseException:
            ray.shutdown()
            raise
    try:
        yield
    finally:
        with _quiet():
            ray.shutdown()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ray from changing how SIGTERM is handled here, and from writing over our output."""
    import ray

    # Its reports about workers that ended would go to our standard output, which may be JSON.
    ray._private.worker._worker_logs_enabled = False
    before, logger = signal.getsignal(signal.SIGTERM), logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGTERM, before)


def _runtime_env(wanted: Mapping[str, Any]) -> dict[str, Any]:
    if wrong := sorted(set(wanted) - set(_ENV_KEYS)):
        raise UsageError(
            f"ray.runtime_env: expected {' and '.join(_ENV_KEYS)} only, found {', '.join(wrong)}; whatever "
            "else units need has to be installed on every node"
        )
    return dict(wanted)


def _start(options: dict[str, Any], workers: int | None) -> None:
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        address="local",  # without it Ray would join whatever it finds
        num_cpus=workers or usable_cores(),
        object_store_memory=_OBJECT_STORE_BYTES,
        **options,
    )


def _join(address: str, options: dict[str, Any]) -> None:
    """Join the cluster at ``HOST:PORT``; Ray itself would try a wrong address for minutes."""
    import ray

    _require_listener(address)
    options = {key: value for key, value in options.items() if key != "include_dashboard"}
    failed: list[BaseException] = []

    def join() -> None:
        try:
            ray.init(address=address, **options)
        except BaseException as error:  # noqa: BLE001 - SystemExit, too; told by the main thread
            failed.append(error)

    # In a thread because nothing interrupts it: one that never comes back is left behind.
    thread = threading.Thread(target=join, name="hmtools-ray-join", daemon=True)
    thread.start()
    thread.join(JOIN_TIMEOUT_S)
    if thread.is_alive():
        raise UsageError(
            f"--address {address}: no answer from a Ray head within {JOIN_TIMEOUT_S:.0f} s. Something else "
            "may listen there, or the cluster asks for a token: export RAY_AUTH_MODE and RAY_AUTH_TOKEN as "
            "its nodes do"
        )
    if failed:
        raise UsageError(
            f"--address {address}: cannot join this Ray cluster: {one_line(failed[0])}. hmtools has to run "
            "on one of its nodes, with the same versions of Python and Ray"
        ) from failed[0]


def _require_listener(address: str) -> None:
    host, _, port = address.rpartition(":")
    if "/" in address or not host or not port.isdecimal():
        raise UsageError(
            f"--address {address}: expected HOST:PORT of the Ray head, as `ray start --head` printed it"
        )
    try:
        socket.create_connection((host, int(port)), timeout=5.0).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"--address {address}: no Ray head answers there ({one_line(error)}); check host and port, and "
            "that the cluster runs"
        ) from error


# Nodes.


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A living node: its Ray id, its host name, and how many units fit on it at once."""

    id: str
    host: str
    slots: int


def needs_of(resources: Mapping[str, float]) -> dict[str, float]:
    """What Ray sets aside for a unit, by its names: ``{"gpu": 1}`` becomes ``{"CPU": 1, "GPU": 1}``."""
    names = {"cpu": "CPU", "gpu": "GPU"}
    return {"CPU": 1.0} | {names.get(name, name): float(count) for name, count in resources.items()}


def nodes_for(needs: Mapping[str, float]) -> list[Node]:
    """The nodes that are alive and large enough for one unit at least."""
    import ray

    wanted = {name: count for name, count in needs.items() if count > 0}
    found = []
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        has = node["Resources"]
        slots = min((int(has.get(name, 0.0) / count) for name, count in wanted.items()), default=1)
        if node["Alive"] and slots:
            found.append(Node(id=node["NodeID"], host=node["NodeManagerHostname"], slots=slots))
    return found


def check_nodes(out: Path, needs: Mapping[str, float]) -> None:
    """Look at every node that may run units.

    Raises:
        UsageError: if there is none, or one of them cannot run the job: see :mod:`hmtools.engine.preflight`.
    """
    import ray

    nodes = nodes_for(needs)
    if not nodes:
        raise UsageError(
            f"no node of the Ray cluster has what one unit takes ({_words(needs)}); in all it has "
            f"{_words(ray.cluster_resources())}"  # type: ignore[no-untyped-call]
        )
    mark(out)
    facts, problems = [], []
    for node, answer in ask_nodes(nodes, out):
        if isinstance(answer, str):
            problems.append(f"{node.host} {answer}")
        elif answer is not None:
            facts.append(answer)
    if problems:
        raise UsageError("these nodes of the Ray cluster cannot run units:\n  " + "\n  ".join(problems))
    if not facts:
        raise UsageError("every node of the Ray cluster was lost; start it again")
    require_equal(preflight_facts(out), facts)


def ask_nodes(nodes: Sequence[Node], out: Path) -> Iterator[tuple[Node, dict[str, Any] | str | None]]:
    """Ask nodes for their :func:`preflight_facts`; yield those, what is wrong, or None for a lost node.

    Args:
        nodes: of the cluster that was joined.
        out: folder to look at, which :func:`~hmtools.engine.preflight.mark` has marked.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    look = ray.remote(preflight_facts)
    asked = {
        look.options(
            num_cpus=0, max_retries=1, scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)
        ).remote(out): node
        for node in nodes
    }
    began = time.time()
    answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=PREFLIGHT_TIMEOUT_S)
    for ref in silent:
        yield asked[ref], f"did not answer within {time.time() - began:.0f} s"
    for ref in answered:
        try:
            yield asked[ref], ray.get(ref)
        except ray.exceptions.RayTaskError as error:
            yield asked[ref], f"cannot run hmtools: {_cause(error)}"
        except ray.exceptions.RayError as error:  # lost nodes stay listed for a while
            log.warning("%s left the Ray cluster: %s", asked[ref].host, one_line(error))
            yield asked[ref], None


def _cause(error: Exception) -> str:
    """The last line of Ray's remote traceback says what happened."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1].strip()[:300]


def _words(resources: Mapping[str, float]) -> str:
    hidden = ("node:", "memory", "object_store")
    shown = {name: count for name, count in resources.items() if not name.startswith(hidden)}
    return ", ".join(f"{name} {count:g}" for name, count in sorted(shown.items())) or "nothing"
