"""The ways to run the network: precision, compilers, export, determinism, recomputing. All say the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from hmtools.bodies.layers import BodyLayer
from hmtools.models.sizes import SIZES
from hmtools.models.smplerx.joint_sets import POSE_PARTS
from hmtools.models.smplerx.model import SmplerX
from hmtools.models.smplerx.outputs import Forward
from tests.models.smplerx import networks
from tests.models.smplerx.training import crops, gradients, loss

BFLOAT16 = {  # largest difference from float32; the hand maps of these weights are sharpened 30 times
    "body_joints": 0.15,  # cells: 16 pixels of the network image, or an eighth of the body's 2 m of depth
    "left_hand_joints": 2.0,
    "right_hand_joints": 2.0,
    "box_centers": 0.1,
    "box_sizes": 0.15,
    "boxes_xyxy": 3.0,  # pixels
    "betas": 0.05,
    "expression": 0.05,
    "transl": 0.3,  # metres, of up to 40
}
BFLOAT16_POSE = {"root": 0.03, "body": 0.05, "left_hand": 0.6, "right_hand": 0.6, "jaw": 0.03}  # radians
WITHOUT_ORDER = {  # gradients that, on a GPU, depend on the order in which threads end
    "aten::grid_sampler_2d_backward",
    "aten::grid_sampler_3d_backward",
    "aten::_adaptive_avg_pool2d_backward",
    "aten::upsample_bilinear2d_backward",
    "aten::upsample_linear1d_backward",
    "aten::reflection_pad2d_backward",
    "aten::replication_pad2d_backward",
    "aten::max_pool3d_with_indices_backward",
    "aten::cumsum",
    "aten::put_",
}


def numbers(forward: Forward) -> dict[str, Tensor]:
    names = [item.name for item in fields(forward) if item.name != "raw"]
    return {name: getattr(forward, name) for name in names if getattr(forward, name) is not None}


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def layer(golden: Path) -> BodyLayer:
    return networks.body_layer(golden)


@pytest.fixture(scope="module", params=["tiny", pytest.param("s", marks=pytest.mark.slow)])
def net(request: pytest.FixtureRequest, layer: BodyLayer) -> SmplerX:
    return networks.network(request.param, layer, 1, posed=True)


@pytest.fixture(scope="module")
def tiny(layer: BodyLayer) -> SmplerX:
    return networks.network("tiny", layer, 1, posed=True)


def test_bfloat16_agrees_with_float32(net: SmplerX) -> None:
    with torch.no_grad():
        exact = net(crops())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = net(crops())
    for name, tolerance in BFLOAT16.items():
        apart = (getattr(rough, name) - getattr(exact, name)).abs().max().item()
        assert 0 < apart < tolerance, name
    for part, tolerance in BFLOAT16_POSE.items():
        columns = POSE_PARTS[part]
        assert (rough.pose - exact.pose)[:, columns].abs().max() < tolerance, part
    for name, value in numbers(rough).items():
        assert value.dtype == torch.float32, name


def test_bfloat16_trains_in_the_same_direction(net: SmplerX) -> None:
    exact = loss(net, crops())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = loss(net, crops())
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(exact.item(), rel=0.01)
    found, expected = gradients(net, rough), gradients(net, exact)
    assert set(found) == set(expected)
    for name, gradient in found.items():
        assert gradient.isfinite().all(), name
        assert gradient.dtype == torch.float32, name
    one, other = (torch.cat([g.flatten() for g in side.values()]) for side in (found, expected))
    assert nn.functional.cosine_similarity(one, other, dim=0) > 0.98


@pytest.mark.slow
@pytest.mark.parametrize("way", ["aot_eager", "inductor", "export"], ids=["graph", "code", "export"])
def test_compiled_and_exported_agree_with_the_plain_one(way: str, golden: Path) -> None:
    """One graph; as machine code; for any batch."""
    command = [sys.executable, "-m", "tests.models.smplerx.compiling", way, str(golden)]
    ran = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_deterministic_runs_are_equal(net: SmplerX) -> None:
    runs = []
    with deterministic():
        for _ in range(2):
            total = loss(net, crops(2))
            runs.append((total.detach(), gradients(net, total)))
    assert torch.equal(runs[0][0], runs[1][0])
    for name, gradient in runs[0][1].items():
        assert torch.equal(gradient, runs[1][1][name]), name


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Names of all operations, also those of the backward pass."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.add(func.name().partition(".")[0])
        return func(*args, **(kwargs or {}))


def test_no_gradient_depends_on_the_order_of_threads(tiny: SmplerX) -> None:
    with _Recorder() as recorder:
        gradients(tiny, loss(tiny, crops(2)))
    assert "aten::convolution_backward" in recorder.seen
    assert not recorder.seen & WITHOUT_ORDER


@pytest.mark.parametrize("size", ["tiny", pytest.param("s", marks=pytest.mark.slow)])
@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bfloat16"])
def test_recomputing_gives_the_same_gradients(size: str, autocast: bool, layer: BodyLayer) -> None:
    found = []
    for checkpoint in (False, True):
        net = SmplerX(replace(SIZES[size], drop_path=0.3), layer, checkpoint=checkpoint).train()
        net.load_state_dict(networks.weights.fill(net.state_dict(), seed=1))
        torch.manual_seed(0)  # the samples that stochastic depth drops
        with torch.autocast("cpu", dtype=torch.bfloat16) if autocast else nullcontext():
            total = loss(net, crops())
        found.append(gradients(net, total))
    assert set(found[0]) == set(found[1])
    for name, gradient in found[0].items():
        assert torch.equal(gradient, found[1][name]), name


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("weights", ["new", "zero"])
@pytest.mark.parametrize("crop", ["black", "white", "noise"])
def test_gradients_are_finite_everywhere(crop: str, weights: str, training: bool, layer: BodyLayer) -> None:
    torch.manual_seed(0)
    net = SmplerX(SIZES["tiny"], layer).train(training)
    if weights == "zero":  # all heads say nothing: six zeros are no rotation, boxes have no area
        for head in net.heads():
            for parameter in head.parameters():
                nn.init.zeros_(parameter)
    image = {"black": torch.zeros_like, "white": torch.ones_like, "noise": torch.rand_like}[crop](crops())
    total = loss(net, image)
    assert total.isfinite()
    for name, gradient in gradients(net, total).items():
        assert gradient.isfinite().all(), name
