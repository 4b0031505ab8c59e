"""The folder of weights: imports are small, whole and described; files are found by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from hmtools import __version__
from hmtools.core.atomic import file_sha256
from hmtools.core.errors import CheckpointError, UsageError
from hmtools.models import published_weights, weights_folder
from hmtools.models.checkpoint import read_checkpoint
from hmtools.models.published_weights import PUBLISHED
from hmtools.models.weights_folder import import_weights, locate_weights, weights_in
from tests.models.weight_samples import smplerx_file, state_of, vitpose_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


def test_an_import_is_the_network_alone_with_its_card(tmp_path: Path, folder: Path) -> None:
    state = state_of("smplerx")
    body = {"smplx_layer.v_template": torch.ones(30000)}
    source = smplerx_file(tmp_path / "best.pth.tar", state | body, old=True, trained=None)
    target, _ = import_weights(source, folder=folder)
    assert target == folder / "best.safetensors"
    assert sorted(path.name for path in folder.iterdir()) == ["best.json", "best.safetensors"]
    assert target.stat().st_size < source.stat().st_size / 2.5
    assert b"v_template" not in target.read_bytes()
    checkpoint = read_checkpoint(target, verify=True)
    assert all(torch.equal(checkpoint.state[name], tensor) for name, tensor in state.items())
    assert (checkpoint.source_sha256, checkpoint.epoch) == (file_sha256(source), 9)
    assert json.loads((folder / "best.json").read_text()) == {
        "format": "hmtools-weights-1",
        "model": "smplerx",
        "title": "SMPLer-X",
        "size": "tiny",
        "decoder": None,
        "parameters": checkpoint.parameters,
        "tensors": len(state),
        "types": ["float32", "int64"],
        "epoch": 9,
        "published": None,
        "datasets": None,
        "started_from": None,
        "licence": None,
        "commercial_use": None,
        "page": None,
        "left_out": ["optimizer", "module.smplx_layer.v_template"],
        "source": {"file": "best.pth.tar", "sha256": file_sha256(source), "bytes": source.stat().st_size},
        "weights": {
            "file": "best.safetensors",
            "sha256": file_sha256(target),
            "bytes": target.stat().st_size,
        },
        "hmtools": __version__,
    }


def test_the_same_file_gives_the_same_bytes_and_imports_can_be_imported(tmp_path: Path, folder: Path) -> None:
    source = vitpose_file(tmp_path / "x.pth", state_of("vitpose", "classic"))
    first, _ = import_weights(source, folder=folder)
    again, _ = import_weights(source, folder=tmp_path / "other")
    assert first.read_bytes() == again.read_bytes()
    assert first.with_suffix(".json").read_bytes() == again.with_suffix(".json").read_bytes()
    third, _ = import_weights(first, name="copy", folder=tmp_path / "third")
    assert third.read_bytes() == first.read_bytes()
    card, copied = (json.loads(path.with_suffix(".json").read_text()) for path in (first, third))
    assert copied == card | {"weights": card["weights"] | {"file": "copy.safetensors"}}


@pytest.fixture
def tiny_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two published rows that a tiny network fits; the module-level tables are replaced for the test."""
    import dataclasses

    rows = {
        name: dataclasses.replace(PUBLISHED[name], size="tiny")
        for name in ("smplerx-h32", "vitpose-h-simple")
    }
    for module in (published_weights, weights_folder):
        monkeypatch.setattr(module, "PUBLISHED", dict(PUBLISHED) | rows)


@pytest.mark.usefixtures("tiny_rows")
def test_published_weights_are_named_after_their_file_and_carry_their_licence(
    tmp_path: Path, folder: Path
) -> None:
    source = smplerx_file(tmp_path / "smpler_x_h32.pth.tar", state_of("smplerx"))
    target, _ = import_weights(source, folder=folder)
    assert target.name == "smplerx-h32.safetensors"
    card = json.loads(target.with_suffix(".json").read_text())
    assert (card["published"], card["licence"]) == ("smplerx-h32", "S-Lab License, non-commercial")
    assert (card["commercial_use"], len(card["datasets"])) == (False, 32)
    named, _ = import_weights(source, name="mine", folder=folder)
    assert json.loads(named.with_suffix(".json").read_text())["published"] == "smplerx-h32"
    vitpose = vitpose_file(tmp_path / "a.pth", state_of("vitpose", "simple"))
    named, _ = import_weights(vitpose, name="vitpose-h-simple", folder=folder)
    card = json.loads(named.with_suffix(".json").read_text())
    assert (card["published"], card["licence"], card["decoder"]) == (
        "vitpose-h-simple",
        "Apache-2.0",
        "simple",
    )


def test_a_published_name_must_fit_the_content(tmp_path: Path, folder: Path) -> None:
    source = smplerx_file(tmp_path / "smpler_x_h32.pth.tar", state_of("smplerx"))
    with pytest.raises(
        CheckpointError, match="that of published weights, but the file holds SMPLer-X, size tiny"
    ):
        import_weights(source, folder=folder)
    target, _ = import_weights(source, name="tiny", folder=folder)
    assert json.loads(target.with_suffix(".json").read_text())["published"] is None
    assert len(list(folder.iterdir())) == 2


def test_names_that_are_taken_or_impossible(tmp_path: Path, folder: Path) -> None:
    source = vitpose_file(tmp_path / "x.pth", state_of("vitpose", "simple"))
    for name in ("../up", ".hidden", "a/b", "a b"):
        with pytest.raises(UsageError, match="cannot be a file name"):
            import_weights(source, name=name, folder=folder)
    target, _ = import_weights(source, folder=folder)
    with pytest.raises(UsageError, match=r"x\.safetensors: exists; --force replaces it"):
        import_weights(source, folder=folder)
    with pytest.raises(UsageError, match="is imported already"):
        import_weights(target, folder=folder, replace=True)
    source.unlink()
    with pytest.raises(CheckpointError, match="no such file"):
        import_weights(source, folder=folder, replace=True)
    vitpose_file(source, state_of("vitpose", "simple", seed=1))
    import_weights(source, folder=folder, replace=True)
    assert read_checkpoint(target, verify=True).source_sha256 == file_sha256(source)


def test_nothing_is_left_of_an_import_that_fails(tmp_path: Path, folder: Path) -> None:
    state = state_of("vitpose", "simple")
    state["backbone.last_norm.bias"][3] = float("nan")
    source = vitpose_file(tmp_path / "x.pth", state)
    with pytest.raises(CheckpointError, match=r"NaN or infinite numbers in backbone\.last_norm\.bias"):
        import_weights(source, folder=folder)
    assert not folder.exists()


def test_a_stop_between_weights_and_card_leaves_no_wrong_card(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = vitpose_file(tmp_path / "x.pth", state_of("vitpose", "simple"))
    import_weights(source, folder=folder)
    vitpose_file(source, state_of("vitpose", "simple", seed=1))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hmtools.models.weights_folder.write_json", full)
    with pytest.raises(OSError, match="No space left"):
        import_weights(source, folder=folder, replace=True)
    assert [path.name for path in folder.iterdir()] == ["x.safetensors"]
    assert read_checkpoint(folder / "x.safetensors").source == "x.safetensors"


def test_files_are_found_by_name_imported_ones_first(tmp_path: Path, folder: Path) -> None:
    assert weights_in(folder) == []
    (folder / "sub/.hidden").mkdir(parents=True)
    official = folder / "sub/SMPLER_X_L32.pth.tar"
    for path in (official, folder / "sub/.hidden/x.pth", folder / "notes.txt", folder / "other.pth"):
        path.write_bytes(b"not read")
    found = {item.name: item for item in weights_in(folder)}
    assert set(found) == {"smplerx-l32", "other"}
    assert found["smplerx-l32"].published is PUBLISHED["smplerx-l32"]
    assert not found["smplerx-l32"].imported
    assert locate_weights("smplerx-l32", folder) == official
    assert locate_weights(official, folder) == official
    source = vitpose_file(tmp_path / "other.pth", state_of("vitpose", "simple"))
    import_weights(source, folder=folder)
    assert locate_weights("other", folder) == folder / "other.safetensors"
    (folder / "other.json").write_text("{")
    assert "cannot be read" in {item.name: item for item in weights_in(folder)}["other"].problem


def test_what_is_not_there_is_told_with_its_page(folder: Path) -> None:
    with pytest.raises(CheckpointError) as error:
        locate_weights("smplerx-h32", folder)
    for part in (
        "the weights smplerx-h32 are not here",
        "looked for  smplerx-h32.safetensors or smpler_x_h32.pth.tar",
        f"in          {folder} (no such folder)",
        "https://github.com/caizhongang/SMPLer-X (S-Lab License, non-commercial)",
        "hmtools weights import FILE --name smplerx-h32",
    ):
        assert part in str(error.value)
    with pytest.raises(CheckpointError, match=r"no weights of this name .*; did you mean 'smplerx-h32'"):
        locate_weights("smplerx_h32", folder)
