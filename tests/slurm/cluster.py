"""A real Slurm cluster on the loopback: two nodes hm1 and hm2, partitions ``main`` and ``urgent``.

``cluster.sh`` brings it up and takes it down; here is what tests ask of it. ``urgent`` preempts ``main``: its
jobs are told, end after GraceTime (20 s; a test may ``scontrol update partitionname=main gracetime=``) and
are requeued. Both nodes are this machine, so host names are equal: tell them apart by ``SLURMD_NODENAME``.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

__all__ = ["Slurm", "cluster", "skip_unless_possible"]

SCRIPT = Path(__file__).with_name("cluster.sh")
PORTS = 21  # of one cluster
ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT")

Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """A cluster that is up; ``env`` is what its clients need (the fixtures also set it here)."""

    folder: Path
    accounting: bool
    env: Mapping[str, str] = field(repr=False)
    partition: str = "main"
    urgent: str = "urgent"
    nodes: tuple[str, ...] = ("hm1", "hm2")
    cpus_per_node: int = 4

    def run(self, *command: str | Path, timeout: float = 30, check: bool = True) -> str:
        """Run a command as a client; return what it printed. With ``check``, it has to succeed."""
        done = subprocess.run(
            command, env=self.env, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def sbatch(self, script: str, *options: str) -> str:
        """Submit the text of a shell script; return the job's id."""
        done = subprocess.run(
            ["sbatch", "--parsable", "--output=/dev/null", *options],
            input=f"#!/bin/bash\n{script}\n", env=self.env, capture_output=True, text=True, timeout=30,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def squeue(self, job: str = "") -> dict[str, str]:
        """The state of every job and array task that waits or runs: ``{"7_1": "RUNNING"}``."""
        of = [f"--jobs={job}"] if job else []
        lines = self.run("squeue", "--noheader", "--array", "--format=%i %T", *of, check=False).splitlines()
        return dict(line.split(maxsplit=1) for line in lines)

    def state(self, job: str) -> str:
        """The state of a job or array task (``7_1``), also minutes after its end, without accounting too."""
        text = self.run("scontrol", "show", "job", "--oneliner", job, check=False)
        return next((word[len("JobState=") :] for word in text.split() if word.startswith("JobState=")), "")

    def sacct(self, job: str, *fields: str) -> list[dict[str, str]]:
        """Rows of the accounting of one job, every restart of it included, without steps."""
        fields = fields or ("JobID", "State", "NodeList", "ExitCode")
        text = self.run(
            "sacct", "-D", "-X", "--noheader", "--parsable2", f"--jobs={job}", f"--format={','.join(fields)}"
        )
        return [dict(zip(fields, line.split("|"), strict=True)) for line in text.splitlines()]

    def wait_until(self, condition: Callable[[], Found], timeout: float = 30, what: str = "") -> Found:
        """Ask until the answer is true, and return it; too late is a failure that shows the queue."""
        end = time.monotonic() + timeout
        while not (found := condition()):
            if time.monotonic() > end:
                queue = self.run("squeue", check=False)
                pytest.fail(f"not within {timeout:.0f} s: {what or condition}\n{queue}")
            time.sleep(0.1)
        return found

    def wait_for_end(self, *jobs: str, timeout: float = 60) -> list[str]:
        """Wait until jobs have ended; return their states."""

        def states() -> list[str]:
            found = [self.state(job) for job in jobs]
            return found if all(state in ENDED for state in found) else []

        return self.wait_until(states, timeout, f"the end of {', '.join(jobs)}") if jobs else []

    def empty(self) -> None:
        """Cancel every job, and wait until no node is busy any more."""
        self.run("scancel", "--quiet", "--user=root", check=False)
        busy = ("sinfo", "--noheader", "--Node", "--partition=main", "--format=%t")
        self.wait_until(lambda: set(self.run(*busy).split()) == {"idle"}, 30, "idle nodes")


def skip_unless_possible(*, accounting: bool = True) -> None:
    """Skip the test where no cluster can be started; installs Debian packages in a container without them."""
    if os.geteuid() != 0:
        pytest.skip("needs root: slurmd runs jobs as any user")
    if shutil.which("apt-get") is None or shutil.which("dpkg-query") is None:
        pytest.skip("needs Debian or Ubuntu: tests/slurm/cluster.sh uses their packages of Slurm")
    done = subprocess.run(
        [SCRIPT, "install", *([] if accounting else ["none"])], capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr.strip() or "no message").splitlines()[-1]
        pytest.skip(f"the packages of Slurm are not there and cannot be installed: {said}")


@contextlib.contextmanager
def cluster(*, accounting: bool = True) -> Iterator[Slurm]:
    """A cluster of our own, beside any other; gone afterwards, also when this process is killed.

    It lives as long as the pipe to ``cluster.sh hold`` is open, and that script runs in a session of its own:
    neither Ctrl-C nor SIGKILL keeps it from cleaning up.
    """
    skip_unless_possible(accounting=accounting)
    # Not below pytest's folders: paths of sockets are 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="hm-slurm-", dir="/tmp"))
    command: list[str | Path] = [
        SCRIPT,
        "hold",
        folder,
        str(_free_ports()),
        *([] if accounting else ["none"]),
    ]
    pipe = subprocess.PIPE
    holder = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stderr is not None
    try:
        if holder.stdout.readline() != "ready\n":
            pytest.fail(f"no Slurm cluster:\n{holder.stderr.read()}")
        environment = dict(os.environ, SLURM_CONF=str(folder / "etc" / "slurm.conf"))
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        with pytest.MonkeyPatch.context() as patch:
            for name in ("SLURM_CONF", "PATH"):
                patch.setenv(name, environment[name])
            yield Slurm(folder=folder, accounting=accounting, env=environment)
    finally:
        holder.communicate()  # closes its standard input


def _free_ports() -> int:
    """The first of a block of ports nobody uses, below those that systems and Ray hand out."""
    for first in random.Random(os.getpid()).sample(range(20_000, 32_000, PORTS + 4), 100):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + PORTS):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
        return first
    pytest.skip(f"found no {PORTS} free ports in a row")
