"""Names of files become ours, and tell model, size and decoder."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from hmtools.core.errors import CheckpointError
from hmtools.models.checkpoint import expected_state
from hmtools.models.published_weights import Decoder
from hmtools.models.weight_names import Identity, compare, identify, our_names

GOLDEN = Path(__file__).parents[1] / "golden"
SIZES = ("s", "b", "l", "h")
DECODERS: tuple[Decoder, ...] = ("classic", "simple")
PARAMETERS = {"s": 32_008_024, "b": 102_939_928, "l": 326_654_872, "h": 661_827_096}
ENTRIES = {"s": 223, "b": 223, "l": 367, "h": 463}


def official(folder: str, variant: str) -> dict[str, tuple[int, ...]]:
    content = json.loads((GOLDEN / folder / "keys.json").read_text())
    return {name: tuple(shape) for name, (shape, _) in content[variant].items()}


def ours(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    mapped, left_out = our_names(shapes)
    assert left_out == ()
    return {name: shapes[theirs] for theirs, name in mapped.items()}


@pytest.mark.parametrize("size", SIZES)
def test_official_names_of_smplerx_are_those_of_the_network_both_ways(size: str) -> None:
    theirs = official("smplerx", size)
    mapped = ours(theirs)
    expected = expected_state("smplerx", size)
    assert mapped == dict(expected)
    assert {f"module.{name}": shape for name, shape in expected.items()} == theirs
    assert len(mapped) == ENTRIES[size]
    numbers = (math.prod(s) for n, s in mapped.items() if "running_" not in n and "num_batches" not in n)
    assert sum(numbers) == PARAMETERS[size]
    assert identify(mapped) == Identity(model="smplerx", size=size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("decoder", DECODERS)
def test_official_names_of_vitpose_are_those_of_the_network(size: str, decoder: Decoder) -> None:
    theirs = official("vitpose", f"vitpose_{size}_{decoder}")
    assert ours(theirs) == theirs == dict(expected_state("vitpose", size, decoder))
    assert identify(theirs) == Identity(model="vitpose", size=size, decoder=decoder)


def test_a_vit_alone_is_the_backbone_of_vitpose() -> None:
    theirs = official("vitpose", "vitpose_h_simple")
    alone = {n.removeprefix("backbone."): s for n, s in theirs.items() if n.startswith("backbone.")}
    mapped = ours(alone)
    assert mapped == dict(expected_state("vitpose", "h"))
    assert str(identify(mapped)) == "ViTPose, size h, encoder only"


def test_old_names_and_the_body_model() -> None:
    names = ["backbone.pos_embed", "module.body_rotation_net.x", "hand_rotation_net.y", "box_net.z"]
    mapped, left_out = our_names([*names, "module.smplx_layer.v_template"])
    assert list(mapped.values()) == ["encoder.pos_embed", "body_regressor.x", "hand_regressor.y", "box_net.z"]
    assert left_out == ("module.smplx_layer.v_template",)


def test_two_names_that_become_one_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"'box_net.a' and 'module.box_net.a' are both 'box_net.a'"):
        our_names(["box_net.a", "module.box_net.a"])


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ({"backbone.blocks.0.mlp.experts.0.weight": (1,)}, r"ViTPose\+\+"),
        ({"backbone.pos_embed": (1, 193, 1280), "smpl_head.x": (1,)}, "HMR2.0"),
        ({"motion_encoder.x": (1,)}, "WHAM"),
        ({"backbone.cls_token": (1, 1, 768), "backbone.pos_embed": (1, 197, 768)}, "class token"),
        ({"layer1.a": (1,), "layer1.b": (1,), "fc.a": (1,)}, r"unknown network: layer1 \(2\), fc \(1\)"),
        ({"backbone.pos_embed": (1, 193, 384), "backbone.blocks.10.x": (1,)}, "width 384 and depth 11"),
        ({"box_net.x": (1,)}, "width unknown and depth 0"),
    ],
)
def test_other_networks_are_named(shapes: dict[str, tuple[int, ...]], expected: str) -> None:
    with pytest.raises(CheckpointError, match=expected):
        identify(shapes)


def test_a_head_of_neither_decoder_is_refused() -> None:
    shapes = {n: s for n, s in expected_state("vitpose", "s", "classic").items() if "deconv" not in n}
    with pytest.raises(
        CheckpointError, match=r"found neither: keypoint_head.final_layer.weight has shape \(17, 256, 1, 1\)"
    ):
        identify(shapes)


def test_differences_are_listed_with_the_nearest_name() -> None:
    expected = {"a.norm.weight": (2,), "a.norm.bias": (2,), "a.fc": (3, 2)}
    found = {"a.norm.weights": (2,), "a.norm.bias": (2,), "a.fc": (2, 3)}
    differences = compare(found, expected)
    assert differences
    assert differences.text() == (
        "  1 missing:\n    a.norm.weight (nearest: a.norm.weights)\n"
        "  1 unexpected:\n    a.norm.weights (nearest: a.norm.weight)\n"
        "  1 of another shape:\n    a.fc: (2, 3), expected (3, 2)"
    )
    assert not compare(expected, expected)


def test_long_lists_are_cut_and_counted() -> None:
    differences = compare({}, {f"name{i}": (1,) for i in range(10)})
    assert "10 missing" in differences.text()
    assert differences.text().endswith("name7\n    ... and 2 more")
    assert differences.text(None).endswith("name9")
