from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from hmtools.core.errors import GeometryError, UsageError
from hmtools.geometry.arrays import floats, namespace, refuse


def test_arrays_become_float64_and_tensors_stay_what_they_are() -> None:
    assert floats([[1, 2]]).dtype == np.float64
    assert floats(np.ones(3, np.float32)).dtype == np.float64
    half = torch.ones(3, dtype=torch.float16, requires_grad=True)
    assert floats(half) is half
    assert floats((1, 2.5), half).dtype == torch.float16
    assert floats(torch.ones(2), np.ones(2)).dtype == np.float64
    assert namespace(half) is torch
    assert namespace([1.0]) is np
    with pytest.raises(UsageError, match=r"torch\.int64"):
        floats([0.5], torch.arange(3))


def test_refusals_count_and_name_the_first() -> None:
    bad = np.zeros((2, 3), bool)
    refuse(bad, "are wrong")
    bad[1, 0] = bad[1, 2] = True
    for found in (bad, torch.tensor(bad)):
        with pytest.raises(GeometryError, match=r"^2 of 6 are wrong; the first is at index \(1, 0\)$"):
            refuse(found, "are wrong")
    with pytest.raises(GeometryError, match=r"^1 of 1 are wrong; .* \(\)$"):
        refuse(torch.tensor(True), "are wrong")


def test_arrays_do_not_bring_torch_in() -> None:
    modules = ("arrays", "box", "camera", "crop", "flip", "projection")
    code = "import sys, " + ", ".join(f"hmtools.geometry.{name}" for name in modules)
    subprocess.run([sys.executable, "-c", f"{code}; sys.exit('torch' in sys.modules)"], check=True)
