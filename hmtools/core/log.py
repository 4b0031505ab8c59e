"""Logging set-up, progress with rate and ETA, and how sizes and times are written for people."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import rich.progress
    import rich.table

__all__ = [
    "Progress",
    "format_bytes",
    "format_count",
    "format_duration",
    "format_rate",
    "setup_logging",
    "show",
    "table",
]

_LINE_EVERY_S = 10.0
_PIPE_WIDTH = 160

log = logging.getLogger(__name__)


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what ``sys.stderr`` is at that moment: a progress bar replaces it to print above itself."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        pass


def setup_logging(verbosity: int = 0) -> None:
    """Send logging and warnings to standard error; calling it again changes the level.

    Args:
        verbosity: -1 warnings only, 0 information, 1 and more debug messages. Other libraries are heard from
            warnings on, whatever the verbosity.
    """
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, _StderrHandler)]:
        root.removeHandler(handler)
    handler = _StderrHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    root.addHandler(handler)
    level = {-1: logging.WARNING, 0: logging.INFO}.get(max(-1, verbosity), logging.DEBUG)
    logging.getLogger("hmtools").setLevel(level)
    logging.captureWarnings(True)


def format_bytes(count: float) -> str:
    """Return a size with a decimal unit, e.g. ``1.5 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 99.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def format_count(count: int, one: str, many: str = "") -> str:
    """Return how many there are of something, e.g. ``1 file``, ``5,000 files``; ``many`` is ``one`` + s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def format_duration(seconds: float) -> str:
    """Return a time in its two leading units, e.g. ``4.2 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"


def format_rate(rate: float) -> str:
    """Return how many there are in a second, two digits where they are few: ``310``, ``0.35``."""
    return f"{rate:.0f}" if rate >= 9.95 else f"{rate:.2g}"


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str = "") -> rich.table.Table:
    """Return a rich table; columns whose cells are all numbers are set to the right."""
    import rich.box
    import rich.table
    import rich.text

    made = rich.table.Table(title=title or None, box=rich.box.SIMPLE_HEAD, title_justify="left")
    for i, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[i], int | float) for row in rows)
        made.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        made.add_row(*(rich.text.Text("" if cell is None else str(cell)) for cell in row))
    return made


def show(*parts: Any) -> None:
    """Print tables and text to standard output; 160 columns wide into a file or pipe."""
    import rich.console

    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    rich.console.Console(width=width, highlight=False, markup=False).print(*parts)


class Progress:
    """Units done, records per second and time left.

    A bar on a terminal; elsewhere a line through logging about every ten seconds; nothing when not enabled
    or when there is nothing to do.

    Args:
        title: what is going on, e.g. the job's name.
        units: how many units there are to do.
        records: how many records are expected from them (0 = unknown: then units are the measure).
        enabled: whether to show anything.
        stream: where the bar goes, standard error by default.
        clock: seconds that never run backwards.
    """

    def __init__(
        self,
        title: str,
        *,
        units: int,
        records: int = 0,
        enabled: bool = True,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title = title
        self.units, self.units_done = units, 0
        self.expected, self.expected_done = records, 0
        self.records = 0
        self._enabled = enabled and units > 0
        self._stream = stream
        self._clock = clock
        self._began = self._shown = clock()
        self._bar: rich.progress.Progress | None = None

    def __enter__(self) -> Progress:
        stream = self._stream or sys.stderr
        if self._enabled and stream.isatty():
            self._bar = _bar(stream)
            self._bar.add_task(self.title, total=self.units, text="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._enabled:
            log.info("%s: %s in %s", self.title, self._counts(), format_duration(self._clock() - self._began))

    def advance(self, *, expected: int = 0, records: int = 0) -> None:
        """Count one more unit, of which ``expected`` records were expected and ``records`` came."""
        self.units_done += 1
        self.expected_done += expected
        self.records += records
        self.tick()

    def tick(self) -> None:
        """Show the state if it is time to; loops that wait call this."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self.units_done, text=self.summary())
        elif self._enabled and self._clock() - self._shown >= _LINE_EVERY_S:
            self._shown = self._clock()
            log.info("%s: %s", self.title, self.summary())

    @property
    def eta_s(self) -> float | None:
        """Seconds left at the speed so far; None before the first unit."""
        if not self.units_done:
            return None
        # Records measure better than units, but a unit may bring none, and a plan may not know its numbers.
        by_records = self.expected > 0 and self.expected_done > 0
        share = self.expected_done / self.expected if by_records else self.units_done / self.units
        return (self._clock() - self._began) * (1 / share - 1)

    def summary(self) -> str:
        """Return e.g. ``12/40 units, 6144 records, 310 records/s, 1 min 32 s left``."""
        eta = self.eta_s
        return self._counts() + (f", {format_duration(eta)} left" if eta is not None else "")

    def _counts(self) -> str:
        text = f"{self.units_done}/{self.units} units"
        seconds = self._clock() - self._began
        if self.records and seconds > 0:
            text += f", {self.records} records, {format_rate(self.records / seconds)} records/s"
        return text


def _bar(stream: TextIO) -> rich.progress.Progress:
    import rich.console
    import rich.progress

    # Short columns and no wrapping: a bar that needs two lines leaves its traces on the screen.
    column = rich.progress.TextColumn
    return rich.progress.Progress(
        column("{task.description}", markup=False),
        rich.progress.BarColumn(bar_width=24),
        column("{task.fields[text]}", markup=False),
        console=rich.console.Console(file=stream),
        transient=True,
    )
