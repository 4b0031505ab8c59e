"""The number of threads is one inside and as before outside, whatever happens inside."""

from __future__ import annotations

import pytest
import torch

from hmtools.bodies.one_thread import one_thread


@pytest.mark.parametrize("fails", [False, True])
def test_threads_come_back(fails: bool) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError) if fails else one_thread(), one_thread():
            assert torch.get_num_threads() == 1
            assert 1 / (0 if fails else 1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
