from __future__ import annotations

from pathlib import Path

import pytest

from hmtools.bodies.layers import BodyLayer
from tests.models.smplerx import networks


@pytest.fixture
def body(golden: Path) -> BodyLayer:
    """The body model of the golden figures."""
    return networks.body_layer(golden)
