"""The command line as a whole: its help, how errors end, and what it costs to start."""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import re
import resource
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

import hmtools
from hmtools.cli.app import COMMANDS, app
from hmtools.core.errors import LockedError, UnitError, UsageError

ROOT = Path(hmtools.__file__).parents[1]
NAMES = {name: module for rows in COMMANDS.values() for name, (module, _) in rows.items()}
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("HMTOOLS_")} | {
    "PYTHONPATH": str(ROOT)
}

# A command of our own in the real command line, in a process of its own.
WITH_COMMAND = """
import sys, types
from hmtools.cli import app
module = types.ModuleType("extra")
exec({body!r}, module.__dict__)
sys.modules["extra"] = module
app.COMMANDS["Test"] = {{"extra": ("extra", "A test.")}}
sys.argv = ["hmtools", "extra"]
app.main()
"""


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """The command line sets logging up for a process that is its own; this one is not."""
    root, level = list(logging.getLogger().handlers), logging.getLogger("hmtools").level
    yield
    logging.getLogger().handlers[:] = root
    logging.getLogger("hmtools").setLevel(level)
    logging.captureWarnings(False)


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments, prog_name="hmtools")


def python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
        timeout=60,
        **options,
    )


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], Any]:
    """Make a function the command ``hmtools extra`` and run it."""

    def run(function: Callable[..., Any], *arguments: str) -> Any:
        module = types.ModuleType("extra")
        module.extra = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "extra", module)
        monkeypatch.setitem(COMMANDS, "Test", {"extra": ("extra", "A test.")})
        return invoke("extra", *arguments)

    return run


# --- help ----------------------------------------------------------------------------------------------


def test_help_names_every_command_under_its_heading() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    for heading, rows in COMMANDS.items():
        section = result.stdout.split(f"\n{heading}:\n")[1].split("\n\n")[0]
        assert [line.split()[0] for line in section.splitlines()] == list(rows)
    assert invoke("-h").stdout == result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help_with_an_example(name: str) -> None:
    module = importlib.import_module(NAMES[name])
    own = [
        f
        for f, v in vars(module).items()
        if inspect.isfunction(v) and v.__module__ == module.__name__ and f[0] != "_"
    ]
    assert own == [name], "one public function, named like the command"
    result = invoke(name, "--help")
    assert result.exit_code == 0, result.output
    assert re.search(rf"^  Examples?:\n    .*hmtools {name}\b", result.stdout, re.MULTILINE), result.stdout
    assert invoke(name, "-h").stdout == result.stdout


def test_help_imports_no_command_and_nothing_heavy() -> None:
    code = """
import sys
from hmtools.cli.app import main
sys.argv = ["hmtools", "--help"]
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""
    done = python("-c", code)
    loaded = set(done.stderr.split())
    assert not loaded & {"torch", "ray", "pyarrow", "numpy", "cv2", "rich", *NAMES.values()}


def test_help_is_fast() -> None:
    """CPU time, which a busy machine does not stretch; the best of a few runs."""
    best = 9.0
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert python("-m", "hmtools", "--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if best < 0.3:
            return
    pytest.fail(f"hmtools --help takes {best:.2f} s, at most 0.3 s")


def test_version_and_module() -> None:
    assert invoke("--version").stdout == f"hmtools {hmtools.__version__}\n"
    done = python("-m", "hmtools", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"hmtools {hmtools.__version__}\n", "")


def test_square_brackets_in_help_stay(command: Any) -> None:
    def extra(box: Annotated[str, typer.Option(help="A box [x, y, w, h].")] = "") -> None:
        """Take [x, y]."""

    result = command(extra, "--help")
    assert "[x, y, w, h]" in result.stdout
    assert "Take [x, y]." in result.stdout


def test_completion_knows_commands_and_their_options() -> None:
    def complete(words: str) -> str:
        environment = ENVIRONMENT | {
            "_HMTOOLS_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        }
        code = "from hmtools.cli.app import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
        ).stdout

    assert complete("hmtools con").split() == ["convert", "config"]
    assert "--json" in complete("hmtools config --").split()


# --- how it ends ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [UsageError, UnitError, LockedError])
def test_errors_of_ours_are_one_message_and_their_exit_code(command: Any, error: Any) -> None:
    def extra() -> None:
        """Fail."""
        raise error("x.toml: expected this, found that")

    result = command(extra)
    assert result.exit_code == error.exit_code
    assert result.stderr == "hmtools: x.toml: expected this, found that\n"
    assert result.stdout == ""


def test_the_debug_variable_adds_the_traceback(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def extra() -> None:
        """Fail."""
        raise UsageError("found that")

    monkeypatch.setenv("HMTOOLS_DEBUG", "0")
    assert "Traceback" not in command(extra).stderr
    monkeypatch.setenv("HMTOOLS_DEBUG", "1")
    result = command(extra)
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.endswith("hmtools: found that\n")


def test_what_the_system_denies_is_a_message(command: Any, tmp_path: Path) -> None:
    def extra() -> None:
        """Fail."""
        (tmp_path / "none").read_text()

    result = command(extra)
    assert result.exit_code == 1
    assert re.fullmatch(
        r"hmtools: \[Errno 2\] No such file.*none' \(HMTOOLS_DEBUG=1 shows where\)\n", result.stderr
    )


def test_a_bug_shows_its_traceback_without_values_of_variables() -> None:
    done = python(
        "-c", WITH_COMMAND.format(body="def extra():\n    secret = 'my' + 'password'\n    return 1 / 0")
    )
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "mypassword" not in done.stderr
    assert "╭" not in done.stderr


def test_exit_codes_of_commands_pass(command: Any) -> None:
    def extra(code: int) -> None:
        """End."""
        raise typer.Exit(code)

    assert command(extra, "1").exit_code == 1
    assert command(extra, "0").exit_code == 0


def test_interruption_ends_with_130(command: Any) -> None:
    def extra() -> None:
        """Stop."""
        raise KeyboardInterrupt

    result = command(extra)
    assert (result.exit_code, result.stderr) == (130, "hmtools: stopped\n")


def test_a_real_interruption_ends_with_130() -> None:
    # A job of a shell's background ignores the interrupt, and so do its children unless they say otherwise.
    body = (
        "import signal, time\n"
        "def extra():\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(30)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_COMMAND.format(body=body)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "hmtools: stopped\n")


@pytest.mark.parametrize("lines", [1, 100_000])  # within one buffer, and far beyond it
def test_a_reader_that_goes_away_is_no_error_message(lines: int) -> None:
    body = f"import typer\ndef extra():\n    for i in range({lines}): typer.echo('a line of output')"
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_COMMAND.format(body=body)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait(timeout=30) in (0, 1)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["inspectt"], "Did you mean 'inspect'?"),
        (["config", "--jsn"], "--jsn"),
        (["config", "unexpected"], "unexpected"),
        (["jobs"], "Missing argument"),
    ],
)
def test_wrong_use_ends_with_2(arguments: list[str], expected: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert "Usage: hmtools" in result.stderr


@pytest.mark.parametrize(
    ("flags", "level"), [([], logging.INFO), (["-v"], logging.DEBUG), (["--verbose"], logging.DEBUG)]
)
def test_verbose_shows_more(
    command: Any, flags: list[str], level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def extra() -> None:
        """Log."""
        logging.getLogger("hmtools.test").debug("details")
        typer.echo(logging.getLogger("hmtools").getEffectiveLevel())

    command(extra)
    result = invoke(*flags, "extra")
    assert result.stdout == f"{level}\n"
    assert ("details" in result.stderr) == (level == logging.DEBUG)
