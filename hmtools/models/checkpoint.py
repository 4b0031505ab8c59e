"""Checkpoints of SMPLer-X and ViTPose: official files or ours, told by content, fitted name by name.

:func:`read_checkpoint` takes any file of weights and returns them under our names, having compared every name
and shape with the network that they are of. :func:`load_into` and :func:`load_encoder` put them into networks
and report what they did. Nothing is ever skipped in silence.

::

    checkpoint = read_checkpoint(Path("smpler_x_h32.pth.tar"))
    report = load_into(network, checkpoint)
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from hmtools.core.atomic import file_sha256
from hmtools.core.errors import CheckpointError, HmtoolsError
from hmtools.models.published_weights import Decoder, Model
from hmtools.models.sizes import size_named
from hmtools.models.weight_cards import read_card
from hmtools.models.weight_files import open_weights
from hmtools.models.weight_names import ENCODERS, Differences, Identity, Shapes, compare, identify, our_names

__all__ = [
    "Checkpoint",
    "LoadReport",
    "examine_checkpoint",
    "expected_state",
    "load_encoder",
    "load_into",
    "non_finite",
    "read_checkpoint",
]

_COUNTERS = "num_batches_tracked"
_STATISTICS = ("running_mean", "running_var", _COUNTERS)  # of BatchNorm: no parameters
_ENCODER_EXTRA = "task_tokens"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """Weights and where they are from.

    Attributes:
        path: the file they were read from.
        identity: model, size and decoder, told by the weights themselves.
        state: name of the network -> tensor on the CPU. The numbers may still lie in the file.
        sha256: of the file.
        source: name of the file that was published or trained; the file itself unless it was imported.
        source_sha256: its sha256, which identifies the weights whatever format they are kept in.
        epoch: epochs counted by whoever trained them, or None when the file does not say.
        card: the model card beside the file; empty without one.
        left_out: what else the file holds, by name, and is not used: optimiser, other heads, body model.
    """

    path: Path
    identity: Identity
    state: dict[str, Tensor]
    sha256: str
    source: str
    source_sha256: str
    epoch: int | None
    card: Mapping[str, Any]
    left_out: tuple[str, ...]

    @property
    def model(self) -> Model:
        """The network: ``smplerx`` or ``vitpose``."""
        return self.identity.model

    @property
    def size(self) -> str:
        """Name in :data:`~hmtools.models.sizes.SIZES`."""
        return self.identity.size

    @property
    def decoder(self) -> Decoder | None:
        """``classic`` or ``simple`` for ViTPose, else None."""
        return self.identity.decoder

    @property
    def parameters(self) -> int:
        """How many trained numbers; BatchNorm's running statistics are not among them."""
        return sum(t.numel() for name, t in self.state.items() if not name.endswith(_STATISTICS))


@functools.cache
def expected_state(model: Model, size: str, decoder: Decoder | None = None) -> Shapes:
    """Names and shapes of the weights of a network, found by building it without memory.

    Args:
        model: the network.
        size: name in :data:`~hmtools.models.sizes.SIZES`.
        decoder: of ViTPose; None for its ViT alone.

    Raises:
        UsageError: for a size that does not exist.
    """
    from hmtools.models.vit import ViT

    network: nn.Module
    prefix = ""
    with torch.device("meta"):
        if model == "smplerx":
            from hmtools.models.smplerx.model import SmplerX

            network = SmplerX(size_named(size), None)
        elif decoder is None:
            network, prefix = ViT(size_named(size)), ENCODERS[model]
        else:
            from hmtools.models.vitpose import ViTPose

            network = ViTPose(size_named(size), decoder=decoder)
    return MappingProxyType({f"{prefix}{name}": tuple(t.shape) for name, t in network.state_dict().items()})


def read_checkpoint(path: str | Path, *, verify: bool = False) -> Checkpoint:
    """Read weights of SMPLer-X or ViTPose: official files, or ours with their model card.

    Names of official files become ours: ``module.`` goes, old names of encoder and regressors change. What a
    file holds besides the network (optimiser, body model, heads of other tasks) is left out and listed.

    Args:
        path: the file; its name does not matter.
        verify: read the whole file and compare it with the sha256 in its card or the checksums inside.
            Files without card are always read whole for their sha256.

    Raises:
        CheckpointError: for a file that is absent, damaged or of another network, and for weights that lack
            a name, have one too many or are of another shape.
        UnsafeFileError: for a file that could run code.
    """
    checkpoint, differences = examine_checkpoint(path, verify=verify)
    if differences:
        raise CheckpointError(
            f"{path}: looks like {checkpoint.identity}, but does not fit it:\n{differences.text()}\n"
            f"  'hmtools weights check {path}' lists everything"
        )
    return checkpoint


def examine_checkpoint(path: str | Path, *, verify: bool = False) -> tuple[Checkpoint, Differences]:
    """:func:`read_checkpoint`, with the differences from the network returned instead of raised."""
    path = Path(path)
    file = open_weights(path, verify=verify)
    card = read_card(path) if file.kind == "safetensors" else {}
    try:
        mapped, left_out = our_names(file.state)
        state = {ours: file.state[name] for name, ours in mapped.items()}
        identity = identify(_shapes(state))
        expected = expected_state(identity.model, identity.size, identity.decoder)
        if identity.model == "vitpose":  # files for several tasks hold the heads of all
            left_out += tuple(name for name in state if name not in expected)
            state = {name: tensor for name, tensor in state.items() if name in expected}
        _check_types(state)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    sha256, source = _provenance(path, card, verify)
    epoch = card.get("epoch") if card else file.epoch
    checkpoint = Checkpoint(
        path=path,
        identity=identity,
        state=state,
        sha256=sha256,
        source=str(source["file"]),
        source_sha256=str(source["sha256"]),
        epoch=epoch,
        card=MappingProxyType(card),
        left_out=(*file.beside, *sorted(left_out)),
    )
    return checkpoint, compare(_shapes(state), expected)


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _check_types(state: Mapping[str, Tensor]) -> None:
    for name, tensor in state.items():
        wanted = "an integer" if name.endswith(_COUNTERS) else "floats"
        if tensor.is_floating_point() == name.endswith(_COUNTERS):
            raise CheckpointError(f"{name}: expected {wanted}, found {tensor.dtype}")


def _provenance(path: Path, card: Mapping[str, Any], verify: bool) -> tuple[str, Mapping[str, Any]]:
    """The file's sha256, and name and sha256 of what it was made from."""
    if not card:
        sha256 = file_sha256(path)
        return sha256, {"file": path.name, "sha256": sha256}
    weights, size = card["weights"], path.stat().st_size
    sha256 = file_sha256(path) if verify else weights["sha256"]
    if (size, sha256) != (weights["bytes"], weights["sha256"]):
        raise CheckpointError(
            f"{path}: does not belong to the card beside it: expected {weights['bytes']} bytes with sha256 "
            f"{weights['sha256'][:12]}, found {size} and {sha256[:12]}; import it again with --force"
        )
    return sha256, card["source"]


def non_finite(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Names of tensors that hold NaN or infinity: of a training that diverged, or a damaged file."""
    return tuple(
        name
        for name, tensor in state.items()
        if tensor.is_floating_point()
        and tensor.numel()
        # One pass without a mask: ten times as fast as torch.isfinite, and NaN is passed on.
        and not all(bool(torch.isfinite(end)) for end in torch.aminmax(tensor))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What loading did, by the names of the network or, for ``dropped``, of the checkpoint.

    Attributes:
        loaded: now hold numbers of the checkpoint.
        kept: were left as they were, because the checkpoint has no such name.
        dropped: of the checkpoint, not wanted by the network.
    """

    loaded: tuple[str, ...]
    kept: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Such as ``148 loaded; 1 kept as initialised: task_tokens; 14 dropped: keypoint_head.*``."""
        parts = [f"{len(self.loaded)} loaded"]
        if self.kept:
            parts.append(f"{len(self.kept)} kept as initialised: {', '.join(_groups(self.kept))}")
        if self.dropped:
            parts.append(f"{len(self.dropped)} dropped: {', '.join(_groups(self.dropped))}")
        return "; ".join(parts)


def _groups(names: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys(f"{n.partition('.')[0]}.*" if "." in n else n for n in names))


def load_into(network: nn.Module, checkpoint: Checkpoint) -> LoadReport:
    """Put a checkpoint into its network: every name, every shape, nothing else.

    Numbers are copied, and converted to the types of the network.

    Args:
        network: SMPLer-X or ViTPose of the checkpoint's size, with or without body model.
        checkpoint: weights.

    Raises:
        CheckpointError: if one name is missing, unexpected or of another shape; nothing is changed then.
    """
    return _load(network, checkpoint, checkpoint.state, str(checkpoint.identity), ())


def load_encoder(encoder: nn.Module, checkpoint: Checkpoint) -> LoadReport:
    """Start a ViT from the one in a checkpoint, as SMPLer-X starts from ViTPose.

    Heads of the checkpoint are dropped. Task tokens stay as they were initialised where the checkpoint has
    none, and are dropped where the encoder has none.

    Args:
        encoder: a ViT, such as ``SmplerX.encoder``.
        checkpoint: of ViTPose or SMPLer-X, of the same size.

    Raises:
        CheckpointError: for another size or image size; nothing is changed then.
    """
    prefix = ENCODERS[checkpoint.model]
    found = {n.removeprefix(prefix): t for n, t in checkpoint.state.items() if n.startswith(prefix)}
    extra = {_ENCODER_EXTRA} & (found.keys() ^ encoder.state_dict().keys())
    dropped = [n for n in checkpoint.state if n.removeprefix(prefix) not in found]
    dropped += [f"{prefix}{name}" for name in extra if found.pop(name, None) is not None]
    kept = tuple(extra & encoder.state_dict().keys())
    report = _load(encoder, checkpoint, found, f"the encoder of {checkpoint.identity}", kept)
    return LoadReport(loaded=report.loaded, kept=kept, dropped=tuple(dropped))


def _load(
    network: nn.Module, checkpoint: Checkpoint, state: Mapping[str, Tensor], what: str, kept: tuple[str, ...]
) -> LoadReport:
    there = {name: tensor for name, tensor in network.state_dict().items() if name not in kept}
    differences = compare(_shapes(state), _shapes(there))
    if differences:
        raise CheckpointError(
            f"{checkpoint.path}: {what}, does not fit this {type(network).__name__}{_is_of(network)}:\n"
            f"{differences.text()}"
        )
    if any(tensor.is_meta for tensor in there.values()):
        raise CheckpointError(
            f"this {type(network).__name__} is on the meta device and has no memory for weights"
        )
    network.load_state_dict(dict(state), strict=not kept)
    return LoadReport(loaded=tuple(there), kept=kept)


def _is_of(network: nn.Module) -> str:
    """``, which is of size l`` for a network of another size than the checkpoint's, if that can be told."""
    shapes = _shapes(network.state_dict())
    for names in (shapes, {f"backbone.{name}": shape for name, shape in shapes.items()}):
        try:
            return f" of size {identify(names).size}"
        except HmtoolsError:
            continue
    return ""
