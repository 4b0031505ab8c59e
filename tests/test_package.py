"""The rules every module keeps: imports without side effects, sizes, names, documentation, no left-overs.

Each test lists all offenders as ``file:line: what is wrong``.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "hmtools"
MODULES = sorted(PACKAGE.rglob("*.py"))

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
LONG_TABLES = {"hmtools/humandata/conventions.py"}  # tables of joint names and indices: data, not code
NAMELESS = {"utils", "util", "helpers", "helper", "common", "misc"}
HEAVY = {"torch", "ray", "pyarrow", "numpy", "cv2"}
# Put together here so that this file does not hold what it looks for.
MACHINE_PATHS = [
    "/" + place for place in ("work/", "tmp/bash_jobs", "root/", "opt/wheels", "opt/pypi", "farm/")
]
LEFT_OVERS = ["TO" + "DO", "FIX" + "ME", "X" * 3]

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef

# Runs in a fresh interpreter: imports every module, then says what else happened
# happened. The signals are INT, USR1, USR2 and TERM.
IMPORT_ALL = """
import importlib, json, logging, os, pkgutil, signal, sys, threading, traceback
from pathlib import Path

def state():
    return {
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "handlers of the root logger": [repr(handler) for handler in logging.getLogger().handlers],
        "level of the root logger": logging.getLogger().level,
        "signal handlers": [repr(signal.getsignal(s)) for s in (2, 10, 12, 15)],
        "HMTOOLS_* variables": sorted(name for name in os.environ if name.startswith("HMTOOLS_")),
        "working directory": os.getcwd(),
        "files in the working and home directory": sorted(map(str, Path.cwd().parent.rglob("*"))),
    }

import hmtools
before, failed, names = state(), [], []

def visit(package):
    for info in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        names.append(info.name)
        try:
            module = importlib.import_module(info.name)
        except Exception:
            failed.append(info.name + ": " + traceback.format_exc(limit=-1).strip())
        else:
            if info.ispkg:
                visit(module)

visit(hmtools)
after = state()
changed = [f"{k}: {before[k]} became {after[k]}" for k in before if before[k] != after[k]]
sys.stderr.write(json.dumps({"names": names, "failed": failed, "changed": changed}))
"""


def fresh_python(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in an interpreter of its own, with this checkout's package and an empty home."""
    home = cwd / "home"
    home.mkdir()
    (cwd / "here").mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HMTOOLS_", "XDG_", "COV_"))}
    environment |= {"PYTHONPATH": str(ROOT), "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd / "here",
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def line_count(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def counted_lines(function: Function) -> int:
    """Lines of a function without its docstring, and without its signature where that is a table of options.

    The parameters of a command, each ``Annotated`` with its help, are such a table.
    """
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    first = function.body[0]
    arguments = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    if any("Annotated" in ast.dump(a.annotation) for a in arguments if a.annotation):
        lines -= first.lineno - function.lineno
    if ast.get_docstring(function, clean=False) is not None:
        assert first.end_lineno is not None
        lines -= first.end_lineno - first.lineno + 1
    return lines


def decorators(node: Definition) -> set[str]:
    """Last part of each decorator's name, as ``setter`` for ``@x.setter``."""
    names = [d.func if isinstance(d, ast.Call) else d for d in node.decorator_list]
    return {n.attr if isinstance(n, ast.Attribute) else getattr(n, "id", "") for n in names}


def public_definitions(node: ast.Module | ast.ClassDef, inside: str = "") -> Iterator[tuple[str, Definition]]:
    """Public functions, classes and methods, also those under a module-level ``if`` or ``try``."""
    pending: list[ast.AST] = list(node.body)
    while pending:
        child = pending.pop(0)
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if child.name.startswith("_") or decorators(child) & {"overload", "setter", "deleter"}:
                continue
            yield inside + child.name, child
            if isinstance(child, ast.ClassDef):
                yield from public_definitions(child, f"{inside}{child.name}.")
        elif isinstance(child, ast.If | ast.Try | ast.With):
            pending.extend(ast.iter_child_nodes(child))


def repository_files() -> list[Path]:
    """What git tracks or would track; in a copy without git, everything but hidden and generated folders."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0 and listed.stdout:
        return [p for name in listed.stdout.decode().split("\0") if name and (p := ROOT / name).is_file()]
    skipped = {".venv", ".git", "demo", "build", "dist", "__pycache__"}
    return [
        p
        for p in ROOT.rglob("*")
        if p.is_file() and not any(s in skipped or s.endswith("_cache") for s in p.relative_to(ROOT).parts)
    ]


def report(offenders: list[str]) -> str:
    return f"{len(offenders)} found:\n" + "\n".join(offenders)


def test_every_module_imports_without_side_effects(tmp_path: Path) -> None:
    """Nothing printed, no files, threads, log handlers or signal handlers; a failing module is named."""
    done = fresh_python(IMPORT_ALL, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "", f"importing printed: {done.stdout!r}"
    said, _, answer = done.stderr.rpartition('{"names"')
    result = json.loads('{"names"' + answer)
    assert said == "", f"importing wrote to stderr: {said!r}"
    assert result["failed"] == [], "\n".join(result["failed"])
    assert result["changed"] == [], "\n".join(result["changed"])
    modules = {relative(p)[:-3].replace("/", ".").removesuffix(".__init__") for p in MODULES}
    missed = sorted(modules - {"hmtools", *result["names"]})
    assert not missed, f"not importable from their package, an __init__.py is missing: {missed}"


@pytest.mark.parametrize("module", ["hmtools", "hmtools.cli.app"])
def test_heavy_libraries_load_only_when_needed(module: str, tmp_path: Path) -> None:
    done = fresh_python(f"import sys, {module}; print(*sys.modules)", tmp_path)
    assert done.returncode == 0, done.stderr
    loaded = HEAVY & set(done.stdout.split())
    assert not loaded, f"`import {module}` loads {sorted(loaded)}; see which with python -X importtime"


def test_files_are_short() -> None:
    files = [
        p for folder in ("hmtools", "tests", "benchmarks") for p in sorted((ROOT / folder).rglob("*.py"))
    ]
    long = [
        f"{relative(p)}: {n} lines, at most {MAX_FILE_LINES}"
        for p in files
        if (n := line_count(p)) > MAX_FILE_LINES and relative(p) not in LONG_TABLES
    ]
    assert not long, report(long)


def test_exempt_tables_exist() -> None:
    gone = [name for name in LONG_TABLES if not (ROOT / name).is_file()]
    assert not gone, f"take {gone} off LONG_TABLES"


def test_functions_are_short() -> None:
    long = [
        f"{relative(p)}:{f.lineno}: {f.name}: {n} lines, at most {MAX_FUNCTION_LINES}"
        for p in MODULES
        for f in functions(p)
        if (n := counted_lines(f)) > MAX_FUNCTION_LINES
    ]
    assert not long, report(long)


def test_modules_are_named_for_what_they_hold() -> None:
    named = [p for p in [*MODULES, *(d for d in PACKAGE.rglob("*") if d.is_dir())] if p.stem in NAMELESS]
    assert not named, report([f"{relative(p)}: says nothing about its content" for p in named])


def test_modules_have_a_docstring_and_list_their_public_names() -> None:
    bad = []
    for path in MODULES:
        module = tree(path)
        assigned = {
            target.id
            for node in module.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        }
        if not ast.get_docstring(module):
            bad.append(f"{relative(path)}:1: no module docstring")
        if path.name not in {"__init__.py", "__main__.py"} and "__all__" not in assigned:
            bad.append(f"{relative(path)}:1: no __all__")
    assert not bad, report(bad)


def test_public_names_are_documented() -> None:
    bare = [
        f"{relative(p)}:{node.lineno}: {name} has no docstring"
        for p in MODULES
        for name, node in public_definitions(tree(p))
        if not ast.get_docstring(node)
    ]
    assert not bare, report(bare)


def test_no_print_and_no_bare_except() -> None:
    bad = []
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                bad.append(f"{relative(path)}:{node.lineno}: print in the library")
            if isinstance(node, ast.ExceptHandler) and node.type is None:
                bad.append(f"{relative(path)}:{node.lineno}: bare except")
    assert not bad, report(bad)


def test_no_left_overs() -> None:
    pattern = re.compile(rf"\b({'|'.join(LEFT_OVERS)})\b")
    bad = [
        f"{relative(p)}:{number}: {found[0]}"
        for p in sorted(PACKAGE.rglob("*"))
        if p.is_file() and p.suffix != ".pyc"
        for number, line in enumerate(p.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if (found := pattern.search(line))
    ]
    assert not bad, report(bad)


def test_no_path_of_one_machine() -> None:
    pattern = re.compile(r"(?<![\w.~-])(" + "|".join(map(re.escape, MACHINE_PATHS)) + ")")
    bad = [
        f"{relative(p)}:{number}: {found[0]}"
        for p in repository_files()
        for number, line in enumerate(p.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if (found := pattern.search(line))
    ]
    assert not bad, report(bad)
