"""Are these shards the official test set? What a protocol expects of them against what they are.

A benchmark runs on any shards that hold what it needs; that they are not the official set is stamped into
the report, where such rows stand beside no published figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hmtools.bench.protocols.base import Protocol
from hmtools.bench.protocols.registry import all_protocols
from hmtools.bench.truth import absent_fields
from hmtools.core.errors import UsageError, nearest
from hmtools.humandata.manifest import Manifest
from hmtools.shards.reader import Shards

__all__ = ["Diagnosis", "Difference", "diagnose", "diagnose_all", "protocols_for"]

_HEALTH = {
    "betas_norm_over_15": "absurd shapes (norm above 15)",
    "camera_not_orthonormal": "cameras that are no rotation",
    "box_to_come": "boxes that wait for body models",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as the protocol expects.

    Attributes:
        what: in a word or two.
        expected: by the protocol.
        found: in the shards.
        changes_rows: whether other people or other truths are compared than in the official set.
        remedy: what to do, or "".
    """

    what: str
    expected: str
    found: str
    changes_rows: bool = True
    remedy: str = ""

    def __str__(self) -> str:
        advice = f"; {self.remedy}" if self.remedy else ""
        return f"{self.what}: expected {self.expected}, found {self.found}{advice}"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a protocol makes of one split.

    Attributes:
        path: the split.
        protocol: its id.
        testset: as reports call it.
        differences: from the official set; none means OK.
        unchecked: what nobody has published, so that it cannot be compared.
    """

    path: Path
    protocol: str
    testset: str
    differences: tuple[Difference, ...]
    unchecked: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the shards are the official set, as far as can be told."""
        return not self.differences

    @property
    def rows(self) -> str:
        """``official`` or ``derived``, as the report has it."""
        return "derived" if any(one.changes_rows for one in self.differences) else "official"

    @property
    def note(self) -> str:
        """The differences that change results, for the report; "" when there are none."""
        own = [f"{d.what}: {d.found} instead of {d.expected}" for d in self.differences if d.changes_rows]
        return f"not the official set ({'; '.join(own)})" if own else ""


def protocols_for(manifest: Manifest) -> list[type[Protocol]]:
    """The protocols that a split is a test set of.

    Raises:
        UsageError: if there is none, with the splits that there are.
    """
    own = [k for k in all_protocols() if k.dataset == manifest.dataset and manifest.split in k.splits]
    if own:
        return own
    tested = {f"{kind.dataset}/{split}" for kind in all_protocols() for split in kind.splits}
    name = f"{manifest.dataset}/{manifest.split}"
    raise UsageError(
        f"{name} is the test set of no protocol{nearest(name, tested)} (there are: "
        f"{', '.join(sorted(tested))})"
    )


def diagnose_all(shards: Shards) -> list[Diagnosis]:
    """What every protocol of a split makes of it.

    Raises:
        UsageError: if no protocol tests on that split.
    """
    return [diagnose(shards, protocol) for protocol in protocols_for(shards.manifest)]


def diagnose(shards: Shards, protocol: type[Protocol]) -> Diagnosis:
    """Compare a split with what a protocol expects; reads the manifest and null counts, no rows."""
    differences = [found for check in _CHECKS for found in check(shards, protocol)]
    unchecked = []
    if not protocol.counts:
        unchecked.append(f"nobody states how many people {protocol.title} has; found {len(shards)}")
    return Diagnosis(shards.path, protocol.id, protocol.testset, tuple(differences), tuple(unchecked))


def _counts(shards: Shards, protocol: type[Protocol]) -> Iterator[Difference]:
    manifest = shards.manifest
    whole = manifest.every == 1 and len(protocol.splits) == 1
    for name, stated in protocol.counts.items() if whole else ():
        found = manifest.counts.get(name)
        if found != stated:
            yield Difference(name, f"{stated:,}", f"{found or 0:,}")
    if lost := sum(manifest.rejected.values()):
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(manifest.rejected.items()))
        remedy = "repair the download and convert again with --overwrite"
        yield Difference("people lost to defects", "0", f"{lost:,} ({reasons})", remedy=remedy)
    for option in ("limit", "only"):
        if manifest.options.get(option):
            yield Difference(f"--{option}", "none", str(manifest.options[option]))


def _interval(shards: Shards, protocol: type[Protocol]) -> Iterator[Difference]:
    every = shards.manifest.every
    if protocol.every % every:
        yield Difference(
            "every",
            f"a divisor of {protocol.every}",
            str(every),
            remedy=f"convert again with --every {protocol.every}",
        )


def _origin(shards: Shards, protocol: type[Protocol]) -> Iterator[Difference]:
    found = shards.manifest.rows
    if found != protocol.rows:
        remedy = (
            "put the published list of rows beside the download and convert again"
            if protocol.rows == "official"
            else "convert again without the published list of rows: this protocol takes everybody"
        )
        yield Difference("rows", protocol.rows, found, remedy=remedy)


def _images(shards: Shards, protocol: type[Protocol]) -> Iterator[Difference]:
    if shards.manifest.images != "full":
        remedy = "predictions made from them differ from those of whole frames"
        yield Difference("images", "full", shards.manifest.images, changes_rows=False, remedy=remedy)


def _health(shards: Shards, protocol: type[Protocol]) -> Iterator[Difference]:
    for name, what in _HEALTH.items():
        if count := shards.manifest.health.get(name, 0):
            remedy = f"run `hmtools derive {shards.path}`" if name == "box_to_come" else ""
            yield Difference(what, "0", f"{count:,}", remedy=remedy)


def _fields(shards: Shards, protocol: type[Protocol]) -> Iterator[Difference]:
    manifest = shards.manifest
    remedy = f"run `hmtools derive {shards.path}`"
    if protocol.body not in manifest.spec["bodies"]:
        remedy = f"convert again with --option body={protocol.body}"
        found = "+".join(manifest.spec["bodies"]) or "none"
        yield Difference("bodies", protocol.body, found, remedy=remedy)
        return
    for name, count in absent_fields(shards, protocol.truth).items():
        yield Difference(name, "in every row", f"null in {count:,} of {len(shards):,}", remedy=remedy)
    for need in manifest.needs:
        yield Difference("body models", "all", f"missing {need}", remedy=remedy)


def _body(shards: Shards, protocol: type[Protocol]) -> Iterator[Difference]:
    body = shards.manifest.body_model
    if body is not None and body["standin"]:
        yield Difference("body", "licensed", "the stand-in")


_CHECKS: tuple[Callable[[Shards, type[Protocol]], Iterator[Difference]], ...] = (
    *(_counts, _interval, _origin, _images, _health, _fields, _body),
)
