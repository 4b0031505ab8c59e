"""What ``hmtools doctor --cluster`` looks at: Slurm itself, and whether nodes agree with this host.

Every node answers the same question as before a job (:mod:`hmtools.engine.preflight`); on Slurm by a job of
its own that takes seconds, is given up when it does not start, and runs ``slurm.setup`` like any other.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hmtools.core.doctor import Finding
from hmtools.core.errors import UsageError, nearest
from hmtools.core.settings import Settings, SlurmSettings
from hmtools.engine.preflight import compare, mark, preflight_facts
from hmtools.engine.slurm_script import array_options, python_command

__all__ = ["MOST_NODES", "ClusterReport", "NodeAnswer", "examine_cluster"]

MOST_NODES = 4
"""Nodes of a partition that are asked; they are mostly alike."""

_ANSWER_S = 30.0  # of a command of Slurm
_NODE_S = 60.0  # of a node's job, from its submission on
_START_S = 20  # within which it has to start
_PREFIX = "hmtools-facts "  # set-up lines may print, too
_ASK = f"""
import json, sys
from pathlib import Path
from hmtools.engine.preflight import preflight_facts
print({_PREFIX!r} + json.dumps(preflight_facts(Path(sys.argv[1]))))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAnswer:
    """What one node said: its :func:`~hmtools.engine.preflight.preflight_facts`, and what is wrong there."""

    node: str
    facts: dict[str, Any] | None
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterReport:
    """What was found.

    Attributes:
        engine: slurm or ray.
        here: facts of this host, which nodes are compared with.
        findings: about the cluster as a whole.
        nodes: one answer for each node that was asked.
    """

    engine: str
    here: dict[str, Any]
    findings: list[Finding] = field(default_factory=list)
    nodes: list[NodeAnswer] = field(default_factory=list)

    @property
    def problems(self) -> list[tuple[str, str]]:
        """Everything that is wrong, with its remedy."""
        found = [(finding.problem, finding.remedy) for finding in self.findings if finding.problem]
        remedy = "give all nodes the same environment and folders, or leave these out"
        return found + [(problem, remedy) for node in self.nodes for problem in node.problems]


def examine_cluster(settings: Settings, out: Path) -> ClusterReport:
    """Ask the nodes of the cluster that ``settings.engine`` names.

    Args:
        settings: with ``slurm`` or ``ray`` as engine.
        out: folder that jobs would write to; where it is not there yet, the nearest one above it is tried.

    Raises:
        UsageError: for another engine, if this host cannot write to ``out``, or if a Ray cluster cannot be
            joined.
    """
    ask = {"slurm": _ask_slurm, "ray": _ask_ray}.get(settings.engine)
    if ask is None:
        raise UsageError(f"engine {settings.engine}: has no other nodes to ask; choose --engine slurm or ray")
    with _marked(out) as folder:
        report = ClusterReport(engine=settings.engine, here=preflight_facts(folder))
        for node, answer in ask(settings, folder, report.findings):
            report.nodes.append(_judge(node, answer, report.here, out))
    return report


@contextlib.contextmanager
def _marked(out: Path) -> Iterator[Path]:
    """A marked folder in ``out`` by which nodes show what they see; gone afterwards."""
    there = next(folder for folder in (out, *out.parents) if folder.is_dir())
    try:
        made = tempfile.TemporaryDirectory(prefix=".hmtools-doctor-", dir=there)
    except OSError as error:
        raise UsageError(
            f"cannot write to {there}: {error.strerror}; name a folder that jobs shall write to: --out"
        ) from error
    with made as name:
        folder = Path(name)
        folder.chmod(0o755)  # the nodes' side may be another user
        mark(folder)
        yield folder


def _judge(node: str, answer: dict[str, Any] | str, here: dict[str, Any], out: Path) -> NodeAnswer:
    if isinstance(answer, str):
        return NodeAnswer(node=node, facts=None, problems=(f"{node}: {answer}",))
    facts = answer | {"node": node, "out": str(out)}
    return NodeAnswer(node=node, facts=facts, problems=tuple(compare(here, facts)))


# Ray.


def _ask_ray(
    settings: Settings, out: Path, findings: list[Finding]
) -> Iterator[tuple[str, dict[str, Any] | str]]:
    from hmtools.engine.ray_cluster import ask_nodes, joined, nodes_for

    with joined(settings.ray):
        nodes = nodes_for({})
        where = settings.ray.address or "started on this machine, because ray.address is not set"
        findings.append(Finding(topic="ray", name="cluster", value=f"{where}; {len(nodes)} nodes"))
        hosts = [node.host for node in nodes]
        for node, answer in ask_nodes(nodes, out):
            name = node.host if hosts.count(node.host) == 1 else f"{node.host}/{node.id[:6]}"
            yield name, "left the cluster" if answer is None else answer


# Slurm.


def _ask_slurm(
    settings: Settings, out: Path, findings: list[Finding]
) -> Iterator[tuple[str, dict[str, Any] | str]]:
    site = _site()
    if site is None:
        findings.append(
            Finding(
                topic="slurm", name="version", value="no answer",
                problem="Slurm does not answer here: `scontrol show config` "
                + ("fails" if shutil.which("scontrol") else "is not there"),
                remedy="run this on a login node of the cluster, or choose --engine ray",
            )
        )  # fmt: skip
        return
    slurm = settings.slurm
    idle, about = _partition(slurm.partition)
    findings += [
        Finding(topic="slurm", name="version", value=site.get("SLURM_VERSION", "?")),
        Finding(topic="slurm", name="cluster", value=site.get("ClusterName", "?")),
        about,
        _array_size(slurm, site),
        _accounting(),
    ]
    if about.problem and not idle:
        return
    options = _options(slurm, out)
    if why := _refusal(options):
        findings.append(
            Finding(
                topic="slurm", name="submission", value="refused", problem=f"Slurm refuses our jobs: {why}",
                remedy="`hmtools config` lists slurm.partition, account, qos and gres, and where each is set",
            )
        )  # fmt: skip
        return
    yield from _ask_each(idle[:MOST_NODES], options, slurm, out)


def _say(*command: str) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_ANSWER_S, env=_environment()
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def _environment() -> dict[str, str]:
    """Without the allocation that we may run in: srun would start a step of that."""
    kept = ("SLURM_CONF", "SLURM_CLUSTERS")
    return {
        name: value
        for name, value in os.environ.items()
        if name in kept or not name.startswith(("SLURM_", "SLURMD_"))
    }


def _site() -> dict[str, str] | None:
    """The controller's configuration, None = no answer."""
    said = _say("scontrol", "show", "config")
    found = dict(re.findall(r"^(\w+)\s*= ?(.*)$", said.stdout if said else "", re.MULTILINE))
    return found if said is not None and said.returncode == 0 and found else None


def _partition(wanted: str | None) -> tuple[list[str], Finding]:
    """Idle nodes of the partition that jobs go to, and what there is to say about it."""
    said = _say("sinfo", "--noheader", "--Node", "--format=%P %N %t %a")
    rows = [line.split() for line in said.stdout.splitlines()] if said else []
    names = sorted({row[0].rstrip("*") for row in rows})
    default = next((row[0].rstrip("*") for row in rows if row[0].endswith("*")), None)
    chosen = wanted or default or ""
    mine = [row for row in rows if row[0].rstrip("*") == chosen]
    idle = [node for _, node, state, up in mine if state == "idle" and up == "up"]
    value = ", ".join(f"{name} (default)" if name == default else name for name in names) or "none"
    problem = remedy = ""
    if not chosen:
        problem, remedy = "no partition is set, and the site has no default", "set slurm.partition"
    elif not mine:
        problem = f"there is no partition {chosen}{nearest(chosen, names)}"
        remedy = "set slurm.partition to one of those listed"
    elif not idle:
        states = ", ".join(sorted({f"{node} {state}" for _, node, state, _ in mine})[:MOST_NODES])
        problem = f"no node of partition {chosen} is idle, none was asked ({states})"
        remedy = "look again when one is, or set slurm.partition to another"
    return idle, Finding(topic="slurm", name="partitions", value=value, problem=problem, remedy=remedy)


def _array_size(slurm: SlurmSettings, site: dict[str, str]) -> Finding:
    """Tasks are numbered from 0, and the largest number is below MaxArraySize."""
    text = site.get("MaxArraySize", "")
    low = text.isdecimal() and slurm.max_array > int(text)
    return Finding(
        topic="slurm", name="MaxArraySize", value=f"{text or '?'} (slurm.max_array {slurm.max_array})",
        problem=f"slurm.max_array is {slurm.max_array}, but this site takes {text} tasks" if low else "",
        remedy=f"set slurm.max_array to {text} or less" if low else "",
    )  # fmt: skip


def _accounting() -> Finding:
    said = _say("sacct", "--allocations", "--noheader", "--starttime=now-1minute")
    there = said is not None and said.returncode == 0
    without = "not there: how a task died is known only for some minutes after its end"
    return Finding(topic="slurm", name="sacct", value="answers" if there else without)


def _options(slurm: SlurmSettings, out: Path) -> list[str]:
    """Options of srun and sbatch, as jobs have them."""
    wanted = array_options(slurm, {}, out, "hmtools-doctor", None)
    named = ("job_name", "partition", "account", "qos", "gres")
    given = [f"--{name.replace('_', '-')}={wanted[name]}" for name in named if wanted[name]]
    return [*given, "--ntasks=1", "--cpus-per-task=1", "--time=5"]


def _refusal(options: Sequence[str]) -> str:
    """Why Slurm would not take a job ("" = it would)."""
    said = _say("sbatch", "--test-only", *options, "--wrap=true")
    if said is None:
        return "no answer from sbatch"
    lines = [line for line in said.stderr.splitlines() if line.strip()]
    return lines[-1].removeprefix("sbatch: ") if said.returncode and lines else ""


def _ask_each(
    nodes: Sequence[str], options: Sequence[str], slurm: SlurmSettings, out: Path
) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Ask nodes at the same time, by a job each."""
    container = array_options(slurm, {}, out, "hmtools-doctor", None)["srun_args"]
    setup = [] if container else slurm.setup  # it is meant for the outside of a container
    python = python_command(slurm.container, out, sys.executable)
    script = "\n".join([*setup, f"{python} -c {shlex.quote(_ASK)} {shlex.quote(str(out))}"])
    command = ["srun", *options, *container, "--nodes=1", f"--immediate={_START_S}", "--quiet"]
    asked = {
        node: subprocess.Popen(
            [*command, f"--nodelist={node}", "bash", "-c", script], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment(),
        )
        for node in nodes
    }  # fmt: skip
    try:
        for node, process in asked.items():
            yield node, _heard(process)
    finally:
        for process in asked.values():
            if process.poll() is None:
                process.terminate()  # srun cancels its job
                process.communicate()


def _heard(process: subprocess.Popen[str]) -> dict[str, Any] | str:
    """Facts of a node, or why there are none."""
    try:
        said, errors = process.communicate(timeout=_NODE_S)
    except subprocess.TimeoutExpired:
        return f"no answer within {_NODE_S:.0f} s"
    for line in said.splitlines():
        if line.startswith(_PREFIX):
            facts: dict[str, Any] = json.loads(line.removeprefix(_PREFIX))
            return facts
    lines = [line.strip()[:300] for line in errors.splitlines() if line.strip()]
    if own := [line for line in lines if not line.startswith("srun: ")]:
        return f"cannot run hmtools: {own[-1]}"
    return f"its job did not run: {lines[-1] if lines else 'srun said nothing'}"
