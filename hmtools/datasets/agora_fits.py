"""Files that AGORA's labels name: the fits of scans, and their refits to the neutral model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import numpy as np

from hmtools.core.errors import AssetError, CountedError, UnsafeFileError
from hmtools.core.safe_pickle import load_pickle
from hmtools.datasets.base import safe_path
from hmtools.datasets.body_dict import body_parts

__all__ = ["Refits", "find_fit", "named_file", "read_fit"]

log = logging.getLogger(__name__)

Array: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"

_KEPT = 4096  # a scan is seen in many images


def find_fit(folder: Path, name: str) -> Path:
    """The pickle of a fit below ``folder``.

    Args:
        folder: ``smplx_gt`` or the like.
        name: as labelled: ``<set>/<scan>.obj`` with or without such a folder before it.

    Raises:
        CountedError: as :func:`named_file`.
    """
    path = PurePosixPath(name.replace("\\", "/")).with_suffix(".pkl")
    inside = path.parts[1:] if path.parts[0].endswith("_gt") else path.parts
    return named_file(folder, "/".join(inside))


def named_file(folder: Path, name: str) -> Path:
    """A file that labels name, below ``folder``.

    Raises:
        CountedError: ``unsafe_path`` for a name that leaves it.
    """
    try:
        return safe_path(folder, name)
    except UnsafeFileError as error:
        raise CountedError("unsafe_path", str(error)) from error


def read_fit(path: Path) -> Mapping[str, Any]:
    """Parameters of a body, as unpickled.

    Raises:
        CountedError: ``fit_missing``, ``fit_damaged``, or ``unsafe_fit`` for a pickle that asks for more than
            data.
    """
    where = "/".join(path.parts[-3:])
    try:
        if not path.is_file():
            raise CountedError("fit_missing", f"{where}: no such file")
        found = load_pickle(path)
    except UnsafeFileError as error:
        raise CountedError("unsafe_fit", str(error)) from error
    except AssetError as error:
        raise CountedError("fit_damaged", str(error)) from error
    except OSError as error:  # of a name that is too long, say
        raise CountedError("fit_missing", f"{where[:200]}: {error.strerror}") from error
    if not isinstance(found, dict):
        raise CountedError("fit_damaged", f"{path.name}: expected a dictionary, found {type(found).__name__}")
    return found


class Refits:
    """Refits to the neutral SMPL-X. They may be missing: what cannot be read is said once, and derived.

    Args:
        folder: ``smplx_gt_neutral_gender``, or None.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._warned = False
        self._read = lru_cache(maxsize=_KEPT)(self._betas)

    def betas(self, name: str, *, kid: bool) -> Array | None:
        """(10,) shape of the neutral model; None without a refit, and of children, who have another template.

        Args:
            name: of the fit, as labelled.
            kid: whether it is a child.

        Raises:
            CountedError: as :func:`named_file`.
        """
        return None if kid or self.folder is None else self._read(find_fit(self.folder, name))

    def _betas(self, path: Path) -> Array | None:
        try:
            found = body_parts(read_fit(path), {"betas": (10, 11)})["betas"][:10]
            if not (np.abs(found) < np.finfo(np.float32).max).all():
                raise ValueError("betas: expected finite numbers")
            return found
        except (CountedError, KeyError, TypeError, ValueError) as error:
            if getattr(error, "reason", "") != "fit_missing":
                self._warn(path, f"has no {error}" if isinstance(error, KeyError) else str(error))
            return None

    def _warn(self, path: Path, problem: str) -> None:
        if not self._warned:
            log.warning(
                "%s cannot be used (%s): betas_neutral of its people is left to derivation; more such files "
                "of this unit are not named",
                *(path, problem),
            )
        self._warned = True
