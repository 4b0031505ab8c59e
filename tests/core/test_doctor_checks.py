"""Each check, on machines made of files: what is wrong is found, and the remedy is the right one."""

from __future__ import annotations

import os
import re
import resource
import shutil
import sys
import tomllib
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from hmtools.core import doctor
from hmtools.core.doctor import Finding, examine, missing_libraries, opencv_findings

ROOT = Path(doctor.__file__).parents[2]
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("HMTOOLS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Callable[[tuple[int, str, str]], None]:
    """Replace what a command answers: (exit status, output, errors)."""

    def answer(result: tuple[int, str, str]) -> None:
        monkeypatch.setattr(doctor, "_run", lambda command: ("ldd" not in command and result) or (0, "", ""))

    return answer


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace which distributions are installed."""

    def these(**versions: str) -> None:
        found = {name.replace("_", "-"): version for name, version in versions.items()}
        monkeypatch.setattr(doctor, "_version", found.get)

    return these


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_every_problem_has_a_remedy_and_no_other_finding_has() -> None:
    findings = examine("1.2.3")
    assert findings[0].value.startswith("1.2.3 (")
    assert all(bool(finding.problem) == bool(finding.remedy) for finding in findings)
    assert all(finding.value for finding in findings)


def test_the_packages_are_the_base_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert tuple(re.split(r"[\[<>=~]", row)[0] for row in project["dependencies"]) == doctor.PACKAGES


def test_a_missing_package_is_named(installed: Callable[..., None]) -> None:
    installed(torch="2.13.0")
    found = by_name(list(doctor._packages()))
    assert (found["torch"].value, found["torch"].problem) == ("2.13.0", "")
    assert found["smplx"].problem == "smplx is not installed"
    assert found["smplx"].remedy == "pip install smplx"


# --- OpenCV --------------------------------------------------------------------------------------------

NO_GL = "Traceback ...\nImportError: libGL.so.1: cannot open shared object file: No such file or directory\n"


def test_opencv_here_imports() -> None:
    found = next(opencv_findings())
    assert "imports" in found.value or found.problem


def test_a_missing_system_library_is_named_with_its_package(
    runs: Callable[..., None], installed: Callable[..., None]
) -> None:
    installed(opencv_python="5.0")
    runs((1, "", NO_GL))
    (found,) = opencv_findings()
    assert found.problem == "`import cv2` fails, the system lacks libGL.so.1"
    assert found.remedy.startswith("apt-get install -y --no-install-recommends libgl1  (")
    assert "pip uninstall -y opencv-python && pip install --no-deps opencv-python-headless" in found.remedy


def test_all_missing_libraries_are_found_at_once() -> None:
    ldd = (
        "\tlibGL.so.1 => not found\n\tlibgthread-2.0.so.0 => not found\n\tlibc.so.6 => /lib/libc.so.6 (0x1)\n"
    )
    assert missing_libraries(NO_GL, ldd) == ["libGL.so.1", "libgthread-2.0.so.0"]
    assert missing_libraries("ImportError: numpy.core.multiarray failed to import") == []
    for library in ("libGL.so.1", "libgthread-2.0.so.0", "libglib-2.0.so.0", "libxcb.so.1", "libSM.so.6"):
        assert doctor.DEBIAN_PACKAGES[library]


def test_an_unknown_library_is_still_named(runs: Callable[..., None], installed: Callable[..., None]) -> None:
    installed(opencv_python="5.0")
    runs((1, "", "ImportError: libodd.so.7: cannot open shared object file: No such file or directory"))
    (found,) = opencv_findings()
    assert "libodd.so.7" in found.problem
    assert "<package of libodd.so.7>" in found.remedy


def test_another_failure_of_the_import(runs: Callable[..., None], installed: Callable[..., None]) -> None:
    installed(opencv_python_headless="5.0")
    runs((1, "", "Traceback\nImportError: numpy.core.multiarray failed to import\n"))
    (found,) = opencv_findings()
    assert found.problem == "`import cv2` fails: ImportError: numpy.core.multiarray failed to import"
    assert (
        found.remedy
        == "pip uninstall -y opencv-python-headless && pip install --no-deps opencv-python-headless"
    )
    runs((-11, "", ""))
    assert next(opencv_findings()).problem == "`import cv2` fails: exit status -11"


def test_no_opencv_at_all(runs: Callable[..., None], installed: Callable[..., None]) -> None:
    installed()
    runs((1, "", "ModuleNotFoundError: No module named 'cv2'"))
    (found,) = opencv_findings()
    assert (found.value, found.remedy) == ("no distribution found", "pip install --no-deps opencv-python")


def test_two_opencvs_in_one_folder(runs: Callable[..., None], installed: Callable[..., None]) -> None:
    installed(opencv_python="5.0", opencv_python_headless="5.0")
    runs((0, "5.0.0\n", ""))
    first, second = opencv_findings()
    assert not first.problem
    assert "opencv-python, opencv-python-headless are installed into the same folder cv2" in second.problem
    remove, _, install = second.remedy.partition(" && ")
    assert remove == "keep one: pip uninstall -y opencv-python opencv-python-headless"
    assert install == "pip install --no-deps opencv-python"
    runs((1, "", NO_GL))
    assert [*opencv_findings()][1].remedy.endswith("pip install --no-deps opencv-python-headless")


def test_distributions_are_found_by_their_metadata(
    runs: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("opencv_python", "opencv_contrib_python"):
        folder = tmp_path / "site" / f"{name}-5.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 5.0\n"
        )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    runs((0, "5.0.0", ""))
    assert "opencv-contrib-python" in [*opencv_findings()][1].problem


def test_a_python_that_hangs_or_is_missing_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "No such file" in next(opencv_findings(python="/no/such/python")).problem
    monkeypatch.setattr(doctor, "_PROBE_SECONDS", 0.01)
    code, _, error = doctor._run([sys.executable, "-c", "import time; time.sleep(5)"])
    assert code == 1
    assert "timed out" in error


def test_the_libraries_of_this_cv2_are_listed() -> None:
    text = doctor._ldd_cv2()
    assert text == "" or "libc" in text


# --- GPUs ----------------------------------------------------------------------------------------------


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /dev with one GPU in it."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidia0").touch()
    return tmp_path / "dev"


def test_without_a_gpu_torch_is_not_even_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_run", lambda command: pytest.fail("torch was started"))
    (found,) = doctor._gpus(tmp_path)
    assert (found.value, found.problem) == ("none", "")


def test_gpus_are_named(gpu: Path, runs: Callable[..., None]) -> None:
    runs((0, '{"build": "12.8", "devices": [["NVIDIA H200", 150000000000], ["NVIDIA L4", 24000000000]]}', ""))
    (found,) = doctor._gpus(gpu)
    assert (found.value, found.problem) == ("NVIDIA H200 150 GB, NVIDIA L4 24.0 GB", "")


def test_a_gpu_that_torch_cannot_use(
    gpu: Path, runs: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs((0, '{"build": null, "devices": []}', ""))
    (found,) = doctor._gpus(gpu)
    assert "CPU build" in found.problem
    assert "pytorch.org" in found.remedy
    runs((0, '{"build": "12.8", "devices": []}', ""))
    assert "torch (built for 12.8) sees none" in next(doctor._gpus(gpu)).problem
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert next(doctor._gpus(gpu)).problem.endswith("among CUDA_VISIBLE_DEVICES=7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # hidden on purpose
    assert next(doctor._gpus(gpu)).problem == ""
    runs((1, "", "Traceback\nOSError: libcudart.so.12: cannot open\n"))
    assert (
        next(doctor._gpus(gpu)).problem == "torch cannot look for GPUs: OSError: libcudart.so.12: cannot open"
    )
    runs((-6, "", ""))
    assert next(doctor._gpus(gpu)).problem == "torch cannot look for GPUs: exit status -6"


def test_the_gpu_probe_runs_with_this_torch(gpu: Path) -> None:
    found = next(doctor._gpus(gpu))
    assert "cannot look" not in found.problem


# --- memory, limits ------------------------------------------------------------------------------------


def test_memory(tmp_path: Path) -> None:
    info, limit = tmp_path / "meminfo", tmp_path / "memory.max"
    info.write_text("MemTotal:       24000000 kB\nMemFree:  1 kB\nMemAvailable:   20000000 kB\n")
    (found,) = doctor._memory(info, limit)
    assert (found.value, found.problem) == ("24.6 GB, 20.5 GB available", "")
    limit.write_text("max\n")
    assert next(doctor._memory(info, limit)).value == found.value
    limit.write_text("1500000000\n")
    (found,) = doctor._memory(info, limit)
    assert found.value.endswith("this container may use 1.5 GB")
    assert "only 1.5 GB of memory left" in found.problem
    info.write_text("MemTotal:       24000000 kB\nMemFree:  1000 kB\n")
    assert "only 1.0 MB of memory" in next(doctor._memory(info, tmp_path / "none")).problem
    assert [*doctor._memory(tmp_path / "none", limit)] == []


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 2048))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(64_000_000, 0, 64_000_000))
    files, shm = doctor._limits(tmp_path)
    assert "only 256 files" in files.problem
    assert files.remedy == "ulimit -n 2048"
    assert "has 64.0 MB" in shm.problem
    assert "--shm-size" in shm.remedy
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 4096))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(8 * 10**9, 0, 0))
    assert [finding.problem for finding in doctor._limits(tmp_path)] == ["", ""]
    assert len([*doctor._limits(tmp_path / "none")]) == 1


# --- settings ------------------------------------------------------------------------------------------


def test_defaults_that_are_not_there_are_no_problem(no_settings: Path) -> None:
    findings = list(doctor._settings())
    assert [finding.problem for finding in findings] == [""] * 5
    assert by_name(findings)["raw_root"].value == f"{no_settings / 'raw'} (not there)"
    (no_settings / "raw").mkdir()
    assert by_name(list(doctor._settings()))["raw_root"].value == str(no_settings / "raw")
    assert "not there yet" in by_name(findings)["shards_root"].value


def test_a_configured_folder_that_is_not_there_is_one(
    no_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HMTOOLS_RAW_ROOT", "/no/such/disk")
    monkeypatch.setenv("HMTOOLS_SHARDS_ROOT", str(no_settings / "new" / "shards"))  # will be made
    found = by_name(list(doctor._settings()))
    assert (
        "raw_root is /no/such/disk (HMTOOLS_RAW_ROOT), and there is no such folder"
        in found["raw_root"].problem
    )
    assert not found["shards_root"].problem


def test_a_folder_that_cannot_be_written(no_settings: Path) -> None:
    (no_settings / "shards").write_text("a file, not a folder")
    found = by_name(list(doctor._settings()))["shards_root"]
    assert "cannot be written (Not a directory)" in found.problem
    assert found.remedy.startswith("give yourself the right")
    assert "HMTOOLS_SHARDS_ROOT" in found.remedy


def test_trying_to_write_leaves_nothing(no_settings: Path) -> None:
    (no_settings / "shards").mkdir()
    assert doctor._unwritable(no_settings / "shards") == ""
    assert list((no_settings / "shards").iterdir()) == []


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 10**12, 10**9))
    found = by_name(list(doctor._settings()))["runs_root"]
    assert "only 1.0 GB are free" in found.problem
    assert found.remedy.startswith("make room, or set runs_root to another place (HMTOOLS_RUNS_ROOT")


def test_settings_that_cannot_be_read_are_one_problem(no_settings: Path) -> None:
    (no_settings / "hmtools.toml").write_text("raw_rot = 1")
    (found,) = doctor._settings()
    assert "did you mean 'raw_root'" in found.problem


def test_slurm_without_sbatch(no_settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HMTOOLS_ENGINE", "slurm")
    monkeypatch.setenv("PATH", str(no_settings))
    assert "there is no sbatch here" in by_name(list(doctor._settings()))["engine"].problem
    (no_settings / "sbatch").write_text("#!/bin/sh\n")
    (no_settings / "sbatch").chmod(0o755)
    assert "engine" not in by_name(list(doctor._settings()))
