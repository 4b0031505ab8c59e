"""The exception tree.

::

    HmtoolsError
    ├── UsageError       a wrong argument, setting, option or query                  exit 2
    ├── LayoutError      files or folders are not where the layout says              exit 2
    ├── SchemaError      a record, shard or manifest breaks the schema               exit 1
    ├── CountedError     an image or mesh that is rejected and counted by reason     exit 1
    ├── GeometryError    numbers without an answer: an empty box, a point behind   exit 1
    ├── AssetError       a body model or auxiliary file is missing or wrong          exit 2
    ├── UnsafeFileError  a pickle, tar or image that is refused for safety           exit 1
    ├── RecipeError      a recipe that does not resolve                              exit 2
    ├── CheckpointError  weights that do not fit                                     exit 2
    ├── LockedError      another writer holds the job                                exit 2
    └── UnitError        a unit of a job failed                                      exit 1

A message says what was expected, what was found and where, and what to do next. Bad *data* is a counted
rejection, bad *use* raises one of these, bugs propagate as they are.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "AssetError",
    "CheckpointError",
    "CountedError",
    "GeometryError",
    "HmtoolsError",
    "LayoutError",
    "LockedError",
    "RecipeError",
    "SchemaError",
    "UnitError",
    "UnsafeFileError",
    "UsageError",
    "nearest",
]


class HmtoolsError(Exception):
    """Base of every error hmtools raises on purpose; ``exit_code`` is what the command line ends with."""

    exit_code = 1


class UsageError(HmtoolsError):
    """A wrong argument, setting, option or query."""

    exit_code = 2


class LayoutError(HmtoolsError):
    """Files or folders are not where the layout says they are."""

    exit_code = 2


class SchemaError(HmtoolsError):
    """A record, shard, index or manifest breaks the published schema."""


class GeometryError(HmtoolsError):
    """Numbers that have no answer: a zero-area box, a point behind the camera, points that all coincide."""


class AssetError(HmtoolsError):
    """A body model or auxiliary file is missing, of the wrong kind or damaged."""

    exit_code = 2


class UnsafeFileError(HmtoolsError):
    """A file that is refused because reading it could do harm (pickle global, tar path, image size)."""


class RecipeError(HmtoolsError):
    """A recipe that does not exist or does not resolve."""

    exit_code = 2


class CheckpointError(HmtoolsError):
    """Weights that do not fit the model."""

    exit_code = 2


class CountedError(HmtoolsError):
    """Bad data of one person or image: ``reason`` is what it is counted under, ``detail`` what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)  # as they are, so that the error survives pickling
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class LockedError(HmtoolsError):
    """Another live writer holds the job's lease."""

    exit_code = 2


class UnitError(HmtoolsError):
    """A unit of a job failed; the message holds the unit and the path of its log."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint such as ``; did you mean 'bbox_xywh'?`` (empty when nothing is near)."""
    close = difflib.get_close_matches(name, list(known), n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
