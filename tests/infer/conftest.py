from __future__ import annotations

from pathlib import Path

import pytest

from hmtools.bodies.assets import load_model, standin_dir
from hmtools.infer.model import Model, with_body
from tests.bench.testset_shards import TestSets, shared_test_sets
from tests.infer.tiny_weights import write_tiny


@pytest.fixture(scope="session")
def test_sets(tmp_path_factory: pytest.TempPathFactory) -> TestSets:
    """Converted miniatures, shared by all processes of a run. Do not write to them."""
    return shared_test_sets(tmp_path_factory)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a tiny network. Do not write to them."""
    return write_tiny(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="session")
def model(tiny: Path) -> Model:
    """The tiny network with the stand-in body, on the CPU."""
    body = load_model("smplx", "neutral", roots=[standin_dir()])
    return with_body(tiny, body, device="cpu", name="tiny")
