"""Checkpoints: official files and ours become networks, whole and by name, or an error that says why not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hmtools.core.atomic import file_sha256
from hmtools.core.errors import CheckpointError, UnsafeFileError, UsageError
from hmtools.models.checkpoint import (
    examine_checkpoint,
    expected_state,
    load_encoder,
    load_into,
    non_finite,
    read_checkpoint,
)
from hmtools.models.published_weights import Decoder
from hmtools.models.sizes import SIZES
from hmtools.models.smplerx.model import TASK_TOKENS, SmplerX
from hmtools.models.vit import ViT
from hmtools.models.vitpose import ViTPose
from hmtools.models.weight_files import write_safetensors
from tests.models.weight_samples import Attack, smplerx_file, state_of, vitpose_file

TINY = SIZES["tiny"]
DECODERS: tuple[Decoder, ...] = ("classic", "simple")


def holds(network: torch.nn.Module, state: dict[str, Tensor]) -> bool:
    there = network.state_dict()
    return set(there) == set(state) and all(torch.equal(there[n], t) for n, t in state.items())


@pytest.mark.parametrize("old", [False, True])
def test_an_official_smplerx_file_becomes_the_network(tmp_path: Path, old: bool) -> None:
    state = state_of("smplerx")
    body = {"smplx_layer.v_template": torch.ones(3)}
    path = smplerx_file(tmp_path / "smpler_x_s32.pth.tar", state | body, old=old)
    checkpoint = read_checkpoint(path)
    assert (checkpoint.model, checkpoint.size, checkpoint.decoder) == ("smplerx", "tiny", None)
    assert (checkpoint.epoch, checkpoint.source) == (9, "smpler_x_s32.pth.tar")
    assert checkpoint.sha256 == checkpoint.source_sha256 == file_sha256(path)
    assert checkpoint.left_out == ("optimizer", "module.smplx_layer.v_template")
    network = SmplerX(TINY, None)
    assert checkpoint.parameters == sum(p.numel() for p in network.parameters())
    report = load_into(network, checkpoint)
    assert holds(network, state)
    assert str(report) == f"{len(state)} loaded"


@pytest.mark.parametrize("decoder", DECODERS)
def test_an_official_vitpose_file_becomes_the_network(tmp_path: Path, decoder: Decoder) -> None:
    state = state_of("vitpose", decoder)
    others = {"associate_keypoint_heads.0.final_layer.bias": torch.ones(17)}
    checkpoint = read_checkpoint(vitpose_file(tmp_path / "x.pth", state | others))
    assert (checkpoint.model, checkpoint.size, checkpoint.decoder) == ("vitpose", "tiny", decoder)
    assert checkpoint.epoch == 210
    assert checkpoint.left_out == ("meta", *others)
    network = ViTPose(TINY, decoder=decoder)
    load_into(network, checkpoint)
    assert holds(network, state)


def test_expected_state_needs_no_memory_and_knows_its_sizes() -> None:
    assert expected_state("smplerx", "h")["encoder.pos_embed"] == (1, 193, 1280)
    assert not any(name.startswith("body.") for name in expected_state("smplerx", "h"))
    alone = {f"backbone.{name}" for name in ViT(TINY).state_dict()}
    assert set(expected_state("vitpose", "tiny")) == alone
    with pytest.raises(UsageError, match="unknown size 'g'"):
        expected_state("vitpose", "g")


# --- files that do not fit -----------------------------------------------------------------------------


def without(name: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda state: {n: t for n, t in state.items() if n != name}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (without("box_net.deconv.0.weight"), r"1 missing:\n    box_net.deconv.0.weight$"),
        (
            lambda s: without("encoder.last_norm.bias")(s) | {"encoder.last_norms.bias": torch.ones(48)},
            r"1 missing:\n    encoder.last_norm.bias \(nearest: encoder.last_norms.bias\)",
        ),
        (lambda s: s | {"extra.weight": torch.ones(2)}, r"1 unexpected:\n    extra.weight$"),
        (
            lambda s: s | {"encoder.pos_embed": torch.ones(1, 257, 48)},
            r"1 of another shape:\n    encoder.pos_embed: \(1, 257, 48\), expected \(1, 193, 48\)",
        ),
    ],
)
def test_differences_from_the_network_are_listed(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], expected: str
) -> None:
    path = smplerx_file(tmp_path / "x.pth.tar", change(state_of("smplerx")))
    with pytest.raises(CheckpointError, match=re.compile(expected, re.MULTILINE)) as error:
        read_checkpoint(path)
    assert f"{path}: looks like SMPLer-X, size tiny, but does not fit it" in str(error.value)
    assert examine_checkpoint(path)[1]


def test_types_of_numbers_are_checked(tmp_path: Path) -> None:
    state = state_of("smplerx")
    name = "box_net.deconv.1.num_batches_tracked"
    path = smplerx_file(tmp_path / "x.pth", state | {name: torch.tensor(1.0)})
    with pytest.raises(CheckpointError, match=rf"x.pth: {name}: expected an integer, found torch.float32"):
        read_checkpoint(path)
    path = smplerx_file(tmp_path / "y.pth", state | {"encoder.last_norm.bias": torch.ones(48).int()})
    with pytest.raises(CheckpointError, match=r"encoder\.last_norm\.bias: expected floats"):
        read_checkpoint(path)


def test_vitpose_must_not_lack_a_name(tmp_path: Path) -> None:
    state = without("keypoint_head.final_layer.bias")(state_of("vitpose", "simple"))
    with pytest.raises(CheckpointError, match=r"1 missing:\n    keypoint_head.final_layer.bias"):
        read_checkpoint(vitpose_file(tmp_path / "x.pth", state))


def test_files_with_code_and_broken_files_are_refused(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    torch.save({"network": state_of("smplerx"), "optimizer": Attack(canary)}, tmp_path / "evil.pth.tar")
    with pytest.raises(UnsafeFileError, match="asks for"):
        read_checkpoint(tmp_path / "evil.pth.tar")
    assert not canary.exists()
    path = smplerx_file(tmp_path / "x.pth.tar", state_of("smplerx"))
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(CheckpointError, match="it is cut short"):
        read_checkpoint(path)


# --- into networks -------------------------------------------------------------------------------------


def test_another_network_is_refused_and_left_alone(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(smplerx_file(tmp_path / "x.pth.tar", state_of("smplerx")))
    wider = ViTPose(SIZES["s"])
    before = {name: tensor.clone() for name, tensor in wider.state_dict().items()}
    with pytest.raises(
        CheckpointError, match=r"SMPLer-X, size tiny, does not fit this ViTPose of size s"
    ) as error:
        load_into(wider, checkpoint)
    assert f"{len(before)} missing" in str(error.value)
    assert holds(wider, before)
    with torch.device("meta"):
        empty = SmplerX(TINY, None)
    with pytest.raises(CheckpointError, match="on the meta device and has no memory"):
        load_into(empty, checkpoint)


def test_numbers_are_converted_and_the_file_is_not_touched(tmp_path: Path) -> None:
    state = {n: t.half() if t.is_floating_point() else t for n, t in state_of("vitpose", "simple").items()}
    path = vitpose_file(tmp_path / "x.pth", state)
    checkpoint, network, sha256 = read_checkpoint(path), ViTPose(TINY, decoder="simple"), file_sha256(path)
    load_into(network, checkpoint)
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert holds(network, {n: t.float() for n, t in state.items()})
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert file_sha256(path) == sha256
    assert torch.equal(checkpoint.state["backbone.pos_embed"], state["backbone.pos_embed"])


def test_smplerx_starts_from_vitpose(tmp_path: Path) -> None:
    state = state_of("vitpose", "classic")
    checkpoint = read_checkpoint(vitpose_file(tmp_path / "x.pth", state))
    network = SmplerX(TINY, None)
    tokens = network.encoder.task_tokens.detach().clone()
    report = load_encoder(network.encoder, checkpoint)
    encoder = {n.removeprefix("backbone."): t for n, t in state.items() if n.startswith("backbone.")}
    assert holds(network.encoder, encoder | {"task_tokens": tokens})
    assert set(report.loaded) == set(encoder)
    assert report.kept == ("task_tokens",)
    assert set(report.dropped) == {name for name in state if name.startswith("keypoint_head.")}
    assert str(report) == "29 loaded; 1 kept as initialised: task_tokens; 14 dropped: keypoint_head.*"


def test_a_vit_starts_from_smplerx_without_its_task_tokens(tmp_path: Path) -> None:
    state = state_of("smplerx")
    checkpoint = read_checkpoint(smplerx_file(tmp_path / "x.pth.tar", state))
    with_tokens, without_tokens = ViT(TINY, task_tokens=TASK_TOKENS), ViT(TINY)
    assert load_encoder(with_tokens, checkpoint).kept == ()
    assert torch.equal(with_tokens.task_tokens, state["encoder.task_tokens"])
    report = load_encoder(without_tokens, checkpoint)
    assert "encoder.task_tokens" in report.dropped
    assert torch.equal(without_tokens.pos_embed, state["encoder.pos_embed"])


def test_an_encoder_of_another_size_is_refused(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(vitpose_file(tmp_path / "x.pth", state_of("vitpose", "simple")))
    with pytest.raises(CheckpointError, match=r"the encoder of ViTPose, size tiny, .* this ViT of size s:"):
        load_encoder(ViT(SIZES["s"]), checkpoint)
    with pytest.raises(CheckpointError, match=r"pos_embed: \(1, 193, 48\), expected \(1, 13, 48\)"):
        load_encoder(ViT(TINY, image_size=(64, 48)), checkpoint)


def test_non_finite_numbers_are_named() -> None:
    state = {"a": torch.ones(2), "b": torch.tensor([1, float("nan")]), "c": torch.tensor(float("inf"))}
    assert non_finite(state | {"d": torch.tensor(3)}) == ("b", "c")


# --- ours, with a card ---------------------------------------------------------------------------------


def card_of(path: Path) -> dict[str, object]:
    facts = {"file": path.name, "sha256": file_sha256(path), "bytes": path.stat().st_size}
    source = {"file": "smpler_x_h32.pth.tar", "sha256": "ab" * 32, "bytes": 7}
    return {"format": "hmtools-weights-1", "epoch": 3, "weights": facts, "source": source}


def test_a_card_tells_the_source_and_is_compared(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    write_safetensors(path, state_of("smplerx"))
    alone = read_checkpoint(path)
    assert (alone.source, alone.epoch, dict(alone.card)) == ("mine.safetensors", None, {})
    card = card_of(path)
    (tmp_path / "mine.json").write_text(json.dumps(card))
    checkpoint = read_checkpoint(path, verify=True)
    assert (checkpoint.source, checkpoint.source_sha256) == ("smpler_x_h32.pth.tar", "ab" * 32)
    assert (checkpoint.sha256, checkpoint.epoch) == (file_sha256(path), 3)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"\x01")
    assert read_checkpoint(path).card
    with pytest.raises(CheckpointError, match=r"mine.safetensors: does not belong to the card beside it"):
        read_checkpoint(path, verify=True)
    write_safetensors(path, state_of("vitpose", "simple"))
    with pytest.raises(CheckpointError, match="does not belong to the card"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "cannot be read as the card of mine.safetensors"),
        ('{"format": "hmtools-weights-2"}', "of format hmtools-weights-1, found hmtools-weights-2"),
        ('{"format": "hmtools-weights-1"}', "without its entries"),
        ('{"format": "hmtools-weights-1", "weights": {}, "source": 3}', "without its entries"),
        (
            '{"format": "hmtools-weights-1", "weights": {"file": "a", "sha256": 3, "bytes": 4}}',
            "without its entries",
        ),
    ],
)
def test_damaged_cards_are_named(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "mine.safetensors"
    write_safetensors(path, state_of("vitpose", "simple"))
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(CheckpointError, match=expected) as error:
        read_checkpoint(path)
    assert "mine.json" in str(error.value)


def test_json_files_of_others_are_no_cards(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(path, state_of("vitpose", "simple"))
    for text in ('{"architectures": ["ViT"]}', "[1]"):
        (tmp_path / "model.json").write_text(text)
        assert read_checkpoint(path).source == "model.safetensors"
