"""Pickles that try to run something when they are read; ``canary`` is the file they would make."""

from __future__ import annotations

import operator
import os
import pickle
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["ATTACKS", "Call", "attack"]


class Call:
    """Pickled as a call of ``function``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


ATTACKS = (
    "system", "eval", "popen", "open", "getter", "among the keys", "in an object array", "chumpy that calls",
    "chumpy with a state that calls", "torch", "dotted", "joblib",
)  # fmt: skip


def attack(name: str, canary: Path) -> bytes:
    """The pickle of one of :data:`ATTACKS`."""
    system = Call(os.system, f"touch {canary}")
    calls: dict[str, Any] = {
        "system": system,
        "eval": Call(eval, f"open({str(canary)!r}, 'w')"),
        "popen": Call(subprocess.Popen, ["touch", str(canary)]),
        "open": Call(open, str(canary), "w"),
        "getter": operator.attrgetter("system"),
        "among the keys": {"v_template": np.zeros(3), "f": system},
        "in an object array": np.array([system], dtype=object),
    }
    if name in calls:
        return pickle.dumps(calls[name], 2)
    text = b"U" + bytes([len(f"touch {canary}") % 256]) + f"touch {canary}".encode()[:255]
    run = b"cposix\nsystem\n(" + text + b"tR"
    return {
        "chumpy that calls": b"\x80\x02cchumpy.ch\nsystem\n(" + text + b"tR.",
        "chumpy with a state that calls": b"\x80\x02cchumpy.ch\nCh\n)\x81}(U\x01x" + run + b"ub.",
        "torch": b"\x80\x02ctorch\nload\n(tR.",
        "dotted": b"\x80\x04\x8c\x05numpy\x8c\x10testing.measure2\x93.",
        "joblib": b"\x80\x02cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81.",
    }[name]
