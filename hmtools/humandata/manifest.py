"""``manifest.json``: what a finished split is, where it came from, and how healthy it is.

It is written last: a folder without one is unfinished. Only the manifest holds versions, times and checksums,
so that shards themselves are equal wherever and whenever they are made.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hmtools.core.atomic import file_sha256, write_json
from hmtools.core.errors import LayoutError, SchemaError
from hmtools.humandata.schema import SCHEMA_VERSION, RecordSpec

__all__ = ["MANIFEST", "Manifest", "file_facts", "read_manifest", "spec_json", "write_manifest"]

MANIFEST = "manifest.json"


@dataclass(kw_only=True)
class Manifest:
    """The manifest of one split; every field is written, unknown ones are refused on reading.

    Attributes:
        schema_version: of the record schema.
        dataset: name of the set.
        split: official name of the part of it that lies here.
        role: what the split is for: train, val or test.
        card: title, homepage, licence, commercial use and citation of the set.
        spec: what the tables store: ``keypoints2d``, ``keypoints3d``, ``bodies``, ``widths``.
        converter: name and version of the converter, versions of the packages that shape the bytes.
        options: everything that changes bytes: images, every, limit, only, the set's own options.
        every: sampling interval kept at conversion (``source_index % every == 0``).
        images: ``crop``, ``full`` or ``none``.
        world: what the world frame is: scope, up, metric.
        body_model: family, sha256, num_betas, standin of the body model used, and ``files`` with the checksum
            of each gender's; or None.
        needs: assets that were missing; the derived columns of bodies that need them are null.
        derived: columns that ``hmtools derive`` filled after the conversion: in the tables, not in the tars.
        counts: records, images, units, tracks found; ``official`` count where the card knows one.
        rejected: defects, counted by reason.
        rejected_examples: the first ten of them: reason, source and detail.
        filtered: persons left out by the set's own rules, by reason.
        health: counts of what to know before training, see ``humandata.checks``.
        agreement: distances of derived from annotated joints, ``<column>_<unit>`` -> joints, p50, p95, p99.
        rows: ``official`` where persons and boxes are the published ones (also boxes that the set's published
            rule makes of its bodies), ``derived`` where others were made.
        files: one entry per part, index and tracks file: name, sha256, nbytes, rows.
        created: UTC time of the conversion, ISO 8601.
        command: the command that made it.
    """

    schema_version: int = SCHEMA_VERSION
    dataset: str
    split: str
    role: str
    card: dict[str, Any]
    spec: dict[str, Any]
    converter: dict[str, str]
    options: dict[str, Any]
    every: int
    images: str
    world: dict[str, Any]
    body_model: dict[str, Any] | None = None
    needs: list[str] = field(default_factory=list)
    derived: list[str] = field(default_factory=list)
    counts: dict[str, int | None]
    rejected: dict[str, int]
    rejected_examples: list[dict[str, str]]
    filtered: dict[str, int]
    health: dict[str, int]
    files: list[dict[str, Any]]
    created: str
    command: str
    rows: str = "official"
    agreement: dict[str, dict[str, float]] = field(default_factory=dict)

    def body_words(self) -> str:
        """The body models behind the derived columns in a few words; the stand-in always says so."""
        if self.body_model is None:
            return "none"
        name = f"{self.body_model['family']} {self.body_model['sha256'][:12]}"
        return f"STAND-IN body, not SMPL ({name})" if self.body_model["standin"] else name

    def record_spec(self) -> RecordSpec:
        """What the tables of this split store."""
        return RecordSpec(
            self.dataset,
            self.split,
            self.spec["keypoints2d"],
            self.spec["keypoints3d"],
            tuple(self.spec["bodies"]),
            tuple((name, int(width)) for name, width in self.spec["widths"].items()),
        )


def spec_json(spec: RecordSpec) -> dict[str, Any]:
    """The ``spec`` entry of a manifest."""
    return {
        "keypoints2d": spec.keypoints2d,
        "keypoints3d": spec.keypoints3d,
        "bodies": list(spec.bodies),
        "widths": dict(spec.widths),
    }


def file_facts(path: Path) -> dict[str, Any]:
    """``sha256`` and ``nbytes`` of a file, as ``files`` lists them."""
    return {"sha256": file_sha256(path), "nbytes": path.stat().st_size}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``folder/manifest.json`` atomically."""
    write_json(folder / MANIFEST, asdict(manifest))


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a finished split.

    Raises:
        LayoutError: if ``folder`` holds none: not a split, or an unfinished one.
        SchemaError: if it is damaged or of another schema version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise LayoutError(_no_manifest(folder))
    try:
        values = json.loads(path.read_text())
        version = values.get("schema_version")
        if version != SCHEMA_VERSION:
            newer = isinstance(version, int) and version > SCHEMA_VERSION
            advice = "update hmtools" if newer else "convert the set again"
            raise SchemaError(
                f"{path}: schema version {version}, this hmtools reads {SCHEMA_VERSION}; {advice}"
            )
        manifest = Manifest(**values)
        manifest.record_spec()
        return manifest
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise SchemaError(
            f"{path}: damaged manifest ({type(error).__name__}: {error}); convert the set again"
        ) from error


def _no_manifest(folder: Path) -> str:
    if not folder.exists():
        return f"{folder}: no such folder; expected a converted split (OUT/<dataset>/<split>)"
    if (folder / ".job").is_dir():
        return (
            f"{folder}: unfinished conversion (no {MANIFEST}); see `hmtools jobs {folder}` and run it again"
        )
    below = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}")) or sorted(
        path.parent for path in folder.glob(f"*/*/{MANIFEST}")
    )
    if below:
        listed = "\n  ".join(str(path) for path in below[:20])
        return f"{folder}: holds several splits, name one of them:\n  {listed}"
    return f"{folder}: no {MANIFEST} here or two levels below; expected a converted split"
