"""What ``hmtools weights`` prints: pages for people, the same facts as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmtools.core.log import format_bytes
from hmtools.models.published_weights import LICENCES, MODEL_TITLES, PUBLISHED, PublishedWeights
from hmtools.models.weights_folder import Weights

if TYPE_CHECKING:
    from hmtools.models.checkpoint import Checkpoint

__all__ = ["check_facts", "check_page", "import_lines", "list_facts", "list_page"]

_HASH = 12


def list_facts(folder: Path, found: Sequence[Weights]) -> dict[str, Any]:
    """Every published row with what is here of it, and every other file."""
    there = _by_row(found)
    return {
        "searched": {"path": str(folder), "found": folder.is_dir()},
        "published": {name: _row_facts(row, there.get(name)) for name, row in PUBLISHED.items()},
        "others": [_file_facts(item) for item in found if item not in there.values()],
    }


def _by_row(found: Sequence[Weights]) -> dict[str, Weights]:
    """The first file of each published row."""
    there: dict[str, Weights] = {}
    for item in found:
        if item.published is not None:
            there.setdefault(item.published.name, item)
    return there


def _row_facts(row: PublishedWeights, item: Weights | None) -> dict[str, Any]:
    return {
        "model": row.model,
        "size": row.size,
        "decoder": row.decoder,
        "data": row.data,
        "datasets": list(row.datasets),
        "started_from": row.start,
        "figure": row.figure or None,
        "licence": row.licence.name,
        "commercial_use": row.licence.commercial_use,
        "page": row.licence.page,
        "looked_for": _looked_for(row),
        "file_verified": row.file_verified,
        "state": "missing" if item is None else _state(item),
        "file": None if item is None else _file_facts(item),
    }


def _looked_for(row: PublishedWeights) -> list[str]:
    return [f"{row.name}.safetensors", *([row.file] if row.file else [])]


def _state(item: Weights | None) -> str:
    return "-" if item is None else "imported" if item.imported else "found"


def _file_facts(item: Weights) -> dict[str, Any]:
    return {
        "name": item.name,
        "path": str(item.path),
        "bytes": item.path.stat().st_size,
        "imported": item.imported,
        "problem": item.problem or None,
        "card": dict(item.card) or None,
    }


def list_page(folder: Path, found: Sequence[Weights]) -> str:
    """A table per model, then the files that are here, then where was searched."""
    there = _by_row(found)
    lines: list[str] = []
    for model, title in MODEL_TITLES.items():
        licence = LICENCES[model]
        lines += [f"{title}  ({licence.name})", f"  {licence.page}"]
        rows = [row for row in PUBLISHED.values() if row.model == model]
        cells = [("name", "", "trained on", "published", "here")]
        cells += [(r.name, r.size, r.data, r.figure, _state(there.get(r.name))) for r in rows]
        lines += [
            f"  {name:21} {size:2} {data:27} {figure:12} {state}" for name, size, data, figure, state in cells
        ]
        lines += [""]
    if found:
        lines += ["here:"]
        for item in found:
            lines += [f"  {_short(item.path, folder)}", f"    {_told(item)}"]
        lines += [""]
    searched = f"{folder}" + ("" if folder.is_dir() else " (no such folder)")
    lines += [
        f"searched: {searched}  (setting checkpoints)",
        f"for NAME.safetensors, and for files called like {PUBLISHED['smplerx-h32'].file}.",
        "The names of published files are unverified, and do not matter:",
        "hmtools weights import FILE --name NAME   # its content tells what it is",
    ]
    return "\n".join(lines)


def _short(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _told(item: Weights) -> str:
    size = format_bytes(item.path.stat().st_size)
    if item.problem:
        return f"problem: {item.problem}"
    if item.imported:
        epoch = "" if item.card.get("epoch") is None else f", epoch {item.card['epoch']}"
        source = item.card["source"]
        return f"{item.name}, {size}{epoch}, from {source['file']}, sha256 {source['sha256'][:_HASH]}"
    if item.published:
        return f"{item.name} by its name, {size}, not imported"
    return f"{size}; what it is, 'hmtools weights check' tells"


def import_lines(target: Path, checkpoint: Checkpoint) -> list[str]:
    """What an import did."""
    left = f", left out: {_counted(checkpoint.left_out)}" if checkpoint.left_out else ""
    return [
        f"{checkpoint.path} -> {target}",
        f"{checkpoint.identity}, {checkpoint.parameters:,} parameters, "
        f"{format_bytes(target.stat().st_size)}{left}",
    ]


def _counted(names: Sequence[str]) -> str:
    """Groups of names with how many there are: ``optimizer, smplx_layer.* (12)``."""
    groups: dict[str, int] = {}
    for name in names:
        top, dot, _ = name.removeprefix("module.").partition(".")
        groups[f"{top}.*" if dot else top] = groups.get(f"{top}.*" if dot else top, 0) + 1
    return ", ".join(group if count == 1 else f"{group} ({count})" for group, count in groups.items())


def check_facts(path: Path) -> dict[str, Any]:
    """Read a file in full; what is wrong is under ``problems``, in words."""
    from hmtools.core.errors import CheckpointError, UnsafeFileError
    from hmtools.models.checkpoint import examine_checkpoint, non_finite
    from hmtools.models.weights_folder import published_row

    facts: dict[str, Any] = {"path": str(path), "bytes": path.stat().st_size, "problems": []}
    try:
        checkpoint, differences = examine_checkpoint(path, verify=True)
    except (CheckpointError, UnsafeFileError) as error:
        return facts | {"problems": [str(error)]}
    broken, row = non_finite(checkpoint.state), published_row(checkpoint)
    problems = [f"does not fit {checkpoint.identity}:\n{differences.text(None)}"] if differences else []
    problems += [f"NaN or infinite numbers in {', '.join(broken)}"] if broken else []
    return facts | {
        "what": str(checkpoint.identity),
        "model": checkpoint.model,
        "size": checkpoint.size,
        "decoder": checkpoint.decoder,
        "tensors": len(checkpoint.state),
        "parameters": checkpoint.parameters,
        "types": sorted({str(t.dtype).removeprefix("torch.") for t in checkpoint.state.values()}),
        "epoch": checkpoint.epoch,
        "sha256": checkpoint.sha256,
        "source": {"file": checkpoint.source, "sha256": checkpoint.source_sha256},
        "imported": bool(checkpoint.card),
        "published": row.name if row else None,
        "licence": row.licence.name if row else None,
        "left_out": list(checkpoint.left_out),
        "missing": list(differences.missing),
        "unexpected": list(differences.unexpected),
        "misshapen": [{"name": n, "shape": f, "expected": e} for n, f, e in differences.misshapen],
        "non_finite": list(broken),
        "problems": problems,
    }


def check_page(facts: Mapping[str, Any]) -> str:
    """:func:`check_facts` as lines."""
    rows = [("file", f"{facts['path']}  {format_bytes(facts['bytes'])}"), *_content_rows(facts)]
    lines = [f"{name:10} {value}" for name, value in rows]
    for number, problem in enumerate(facts["problems"], start=1):
        lines += ["", f"{number}. {problem}"]
    count = len(facts["problems"])
    return "\n".join([*lines, "", "ok" if not count else f"{count} problem{'' if count == 1 else 's'}"])


def _content_rows(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "what" not in facts:
        return []
    source, types = facts["source"], ", ".join(facts["types"])
    told = "the card" if facts["imported"] else "the name of the file"
    return [
        ("network", facts["what"]),
        ("weights", f"{facts['tensors']} tensors, {facts['parameters']:,} parameters, {types}"),
        ("epoch", "not in the file" if facts["epoch"] is None else str(facts["epoch"])),
        ("sha256", facts["sha256"]),
        ("source", f"{source['file']}, sha256 {source['sha256'][:_HASH]}"),
        ("published", f"{facts['published']}, by {told}" if facts["published"] else f"unknown to {told}"),
        ("licence", facts["licence"] or "unknown; see the page it is from"),
        ("left out", _counted(facts["left_out"]) or "nothing"),
    ]
