"""What this machine has, and what stands in the way: the checks behind ``hmtools doctor``.

Nothing heavy is imported here: versions come from package metadata, and what may crash on import (OpenCV
without its system libraries, torch with a broken driver) is tried in a process of its own.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hmtools.core.errors import UsageError
from hmtools.core.log import format_bytes
from hmtools.core.settings import SETTINGS, Settings, load_settings

__all__ = ["PACKAGES", "Finding", "examine", "missing_libraries", "opencv_findings"]

PACKAGES = (
    "torch", "numpy", "scipy", "ray", "pyarrow", "webdataset", "smplx", "mmengine", "h5py", "av",
    "safetensors", "tensorboardX", "typer", "rich", "submitit", "fsspec", "jinja2", "jaxtyping",
)  # fmt: skip
"""The base dependencies (a test compares them with the package's metadata)."""

OPENCV = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
"""Distributions that all install into the one folder ``cv2``."""

DEBIAN_PACKAGES = {
    "libGL.so.1": "libgl1",
    "libGLX.so.0": "libglx0",
    "libGLdispatch.so.0": "libglvnd0",
    "libOpenGL.so.0": "libopengl0",
    "libEGL.so.1": "libegl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgobject-2.0.so.0": "libglib2.0-0",
    "libX11.so.6": "libx11-6",
    "libXau.so.6": "libxau6",
    "libXdmcp.so.6": "libxdmcp6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
    "libSM.so.6": "libsm6",
    "libICE.so.6": "libice6",
    "libxcb.so.1": "libxcb1",
    "libxcb-shm.so.0": "libxcb-shm0",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libstdc++.so.6": "libstdc++6",
    "libgcc_s.so.1": "libgcc-s1",
    "libgomp.so.1": "libgomp1",
    "libz.so.1": "zlib1g",
}
"""Shared libraries that OpenCV wheels expect of the system, and the Debian or Ubuntu package of each."""

_GB = 10**9
_MIN_FREE_DISK = 5 * _GB
_MIN_MEMORY = 2 * _GB
_MIN_SHM = 1 * _GB
_MIN_OPEN_FILES = 1024
_PROBE_SECONDS = 120

_GPU_PROBE = """
import json, torch
cuda = torch.cuda
found = [cuda.get_device_properties(i) for i in range(cuda.device_count())]
devices = [(device.name, device.total_memory) for device in found]
print(json.dumps({"build": torch.version.cuda or torch.version.hip, "devices": devices}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fact about this machine; with ``problem`` also what is wrong, and the ``remedy``."""

    topic: str
    name: str
    value: str
    problem: str = ""
    remedy: str = ""


def examine(version: str) -> list[Finding]:
    """Look at everything; nothing is changed, and no check stops another.

    Args:
        version: of hmtools itself (given, because core imports nothing above it).
    """
    return [
        *_python(version),
        *_packages(),
        *opencv_findings(),
        *_gpus(),
        *_memory(),
        *_limits(),
        *_settings(),
    ]


def _python(version: str) -> Iterator[Finding]:
    folder = Path(__file__).parents[1]
    yield Finding(topic="hmtools", name="version", value=f"{version} ({folder})")
    yield Finding(topic="python", name="version", value=f"{platform.python_version()} ({sys.executable})")
    yield Finding(topic="system", name="platform", value=f"{platform.platform()}, {os.cpu_count()} cores")


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _packages() -> Iterator[Finding]:
    for name in PACKAGES:
        version = _version(name)
        problem = "" if version else f"{name} is not installed"
        yield Finding(
            topic="packages", name=name, value=version or "missing", problem=problem,
            remedy=f"pip install {name}" if problem else "",
        )  # fmt: skip


def _run(command: Sequence[str]) -> tuple[int, str, str]:
    """Run a command: its exit status, output and errors; one that hangs or is not there counts as failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, "", str(error)
    return done.returncode, done.stdout, done.stderr


# --- OpenCV --------------------------------------------------------------------------------------------


def opencv_findings(python: str = sys.executable) -> Iterator[Finding]:
    """Import ``cv2`` in a process of its own, and look for several OpenCVs in one folder.

    Args:
        python: the interpreter to try it with.
    """
    versions = {name: version for name in OPENCV if (version := _version(name))}
    code, out, err = _run([python, "-P", "-c", "import cv2; print(cv2.__version__)"])
    missing = [] if code == 0 else missing_libraries(err, _ldd_cv2())
    value = ", ".join(f"{name} {version}" for name, version in versions.items()) or "no distribution found"
    if code == 0:
        yield Finding(topic="opencv", name="cv2", value=f"{out.strip()} imports ({value})")
    elif missing:
        packages = " ".join(sorted({DEBIAN_PACKAGES.get(name, f"<package of {name}>") for name in missing}))
        yield Finding(
            topic="opencv", name="cv2", value=value,
            problem=f"`import cv2` fails, the system lacks {', '.join(missing)}",
            remedy=f"apt-get install -y --no-install-recommends {packages}  (Debian, Ubuntu; without root: "
            f"{_reinstall([*versions], 'opencv-python-headless')})",
        )  # fmt: skip
    else:
        reason = err.strip().splitlines()[-1] if err.strip() else f"exit status {code}"
        yield Finding(
            topic="opencv", name="cv2", value=value, problem=f"`import cv2` fails: {reason}",
            remedy=_reinstall([*versions], next(iter(versions), OPENCV[0])),
        )  # fmt: skip
    if len(versions) > 1:
        keep = "opencv-python-headless" if missing else next(iter(versions))
        yield Finding(
            topic="opencv", name="distributions", value=str(len(versions)),
            problem=f"{', '.join(versions)} are installed into the same folder cv2, and overwrite each other",
            remedy=f"keep one: {_reinstall([*versions], keep)}",
        )  # fmt: skip


def _reinstall(installed: list[str], keep: str) -> str:
    """All go and one comes back: uninstalling one of two takes files of the other with it."""
    remove = f"pip uninstall -y {' '.join(installed)} && " if installed else ""
    return f"{remove}pip install --no-deps {keep}"


def missing_libraries(error: str, ldd: str = "") -> list[str]:
    """Return the shared libraries that are missing.

    Args:
        error: what the failed import said; the loader names the first missing library only.
        ldd: output of ``ldd`` for the extension module, which names all.
    """
    named = re.findall(r"(\S+\.so[.\d]*): cannot open shared object file", error)
    return sorted({*named, *re.findall(r"(\S+\.so[.\d]*) => not found", ldd)})


def _ldd_cv2() -> str:
    spec = importlib.util.find_spec("cv2")
    folders = (spec.submodule_search_locations if spec else None) or []
    modules = [str(path) for folder in folders for path in sorted(Path(folder).glob("*.so"))]
    return _run(["ldd", *modules])[1] if modules else ""


# --- GPUs, memory, limits ------------------------------------------------------------------------------


def _gpus(dev: Path = Path("/dev")) -> Iterator[Finding]:
    """Torch is only started (seconds, hundreds of megabytes) where the system shows a GPU."""
    if not any(next(dev.glob(pattern), None) for pattern in ("nvidia[0-9]*", "kfd", "dxg")):
        yield Finding(topic="gpu", name="devices", value="none")
        return
    code, out, err = _run([sys.executable, "-P", "-c", _GPU_PROBE])
    problem = remedy = ""
    found: dict[str, object] = {}
    if code:
        reason = err.strip().splitlines()[-1] if err.strip() else f"exit status {code}"
        problem, remedy = f"torch cannot look for GPUs: {reason}", "pip install --force-reinstall torch"
    else:
        found = json.loads(out)
        problem, remedy = _gpu_problem(found)
    devices = found.get("devices")
    shown = [f"{name} {format_bytes(size)}" for name, size in devices] if isinstance(devices, list) else []
    yield Finding(
        topic="gpu", name="devices", value=", ".join(shown) or "none visible to torch", problem=problem,
        remedy=remedy,
    )  # fmt: skip


def _gpu_problem(found: dict[str, object]) -> tuple[str, str]:
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if found["devices"] or hidden in ("", "-1"):  # hidden on purpose is no problem
        return "", ""
    if not found["build"]:
        return (
            "this machine has a GPU, but the installed torch is a CPU build",
            "install torch for your driver as https://pytorch.org/get-started/locally says",
        )
    among = f" among CUDA_VISIBLE_DEVICES={hidden}" if hidden else ""
    return (
        f"this machine has a GPU, but torch (built for {found['build']}) sees none{among}",
        "compare with nvidia-smi: the driver may be older than torch needs, or the device is not in this job",
    )


def _memory(
    meminfo: Path = Path("/proc/meminfo"), limit: Path = Path("/sys/fs/cgroup/memory.max")
) -> Iterator[Finding]:
    if not meminfo.is_file():
        return  # not Linux
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB", meminfo.read_text(), re.MULTILINE))
    total, free = int(found["MemTotal"]) * 1024, int(found.get("MemAvailable") or found["MemFree"]) * 1024
    value = f"{format_bytes(total)}, {format_bytes(free)} available"
    text = limit.read_text().strip() if limit.is_file() else "max"
    if text.isdecimal() and int(text) < total:
        free = min(free, int(text))
        value += f", this container may use {format_bytes(int(text))}"
    low = free < _MIN_MEMORY
    yield Finding(
        topic="memory", name="memory", value=value,
        problem=f"only {format_bytes(free)} of memory left, each worker takes about 0.5 GB" if low else "",
        remedy="close other programs, or convert with fewer --workers" if low else "",
    )  # fmt: skip


def _limits(shm: Path = Path("/dev/shm")) -> Iterator[Finding]:  # noqa: S108 - measured, not written to
    import resource  # not on Windows, where the rest of the package still imports

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = soft < _MIN_OPEN_FILES
    yield Finding(
        topic="limits", name="open files", value=f"{soft} (up to {hard})",
        problem=f"only {soft} files may be open at once, workers keep shards open" if low else "",
        remedy=f"ulimit -n {min(hard, 4096)}" if low else "",
    )  # fmt: skip
    if shm.is_dir():
        size = shutil.disk_usage(shm).total
        low = size < _MIN_SHM
        yield Finding(
            topic="limits", name=str(shm), value=format_bytes(size),
            problem=f"{shm} has {format_bytes(size)}; data loader workers and Ray pass arrays through it"
            if low else "",
            remedy="docker run --shm-size=8g (or --ipc=host)" if low else "",
        )  # fmt: skip


# --- settings ------------------------------------------------------------------------------------------


def _settings() -> Iterator[Finding]:
    try:
        settings = load_settings()
    except UsageError as error:
        yield Finding(
            topic="settings", name="settings", value="not readable", problem=str(error),
            remedy="correct the place it names; `hmtools config` shows what is in force then",
        )  # fmt: skip
        return
    for name in ("raw_root", "body_models", "checkpoints"):
        yield _input_folder(settings, name)
    for name in ("shards_root", "runs_root"):
        yield _output_folder(settings, name)
    if settings.engine == "slurm" and shutil.which("sbatch") is None:
        yield Finding(
            topic="settings", name="engine", value="slurm",
            problem=f"the engine is slurm ({settings.origin('engine')}), but there is no sbatch here",
            remedy="run this on a login node of the cluster, or set engine = \"local\"",
        )  # fmt: skip


def _input_folder(settings: Settings, name: str) -> Finding:
    """A folder that is read: it may be absent, unless somebody said that it is there."""
    path, origin = settings.get(name), settings.origin(name)
    said = not path.is_dir() and origin != "default"
    return Finding(
        topic="settings", name=name, value=str(path) if path.is_dir() else f"{path} (not there)",
        problem=f"{name} is {path} ({origin}), and there is no such folder" if said else "",
        remedy=f"correct {name}, or mount the disk" if said else "",
    )  # fmt: skip


def _output_folder(settings: Settings, name: str) -> Finding:
    """A folder that is written: it, or what it will be made in, needs a writable disk with room."""
    path: Path = settings.get(name)
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    state = "" if there == path else "not there yet, "
    problem, remedy = _unwritable(there), "give yourself the right to write there"
    if not problem and free < _MIN_FREE_DISK:
        problem, remedy = f"only {format_bytes(free)} are free", "make room"
    return Finding(
        topic="settings",
        name=name,
        value=f"{path} ({state}{format_bytes(free)} free)",
        problem=f"{name} is {path} ({settings.origin(name)}): {problem}" if problem else "",
        remedy=f"{remedy}, or set {name} to another place ({SETTINGS[name].env})" if problem else "",
    )


def _unwritable(folder: Path) -> str:
    """Try it: permission bits say little on network disks."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror})"
