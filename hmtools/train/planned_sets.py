"""One set of a recipe, as far as can be told from its manifest: is it converted, and how large is it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from hmtools.core.errors import LayoutError, SchemaError
from hmtools.datasets.base import Dataset
from hmtools.datasets.registry import all_datasets
from hmtools.humandata.manifest import MANIFEST, Manifest, read_manifest
from hmtools.train.recipe import SetSpec

__all__ = ["PlannedSet", "State", "has_converter", "look_at"]

State = Literal["converted", "not converted", "no converter", "unreadable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSet:
    """A set of a recipe and what there is of it.

    Attributes:
        spec: the recipe's row.
        state: whether its shards are there; ``no converter``: this version of hmtools cannot make them.
        people: how many it has, at interval ``counted_every``; None: nobody says.
        counted_every: the interval at which ``people`` were counted: 1, or that of the shards.
        source: who says so: ``shards``, ``official`` (the authors of the set) or ``SMPLer-X`` (their count).
        problem: how the row contradicts its shards or its dataset; empty: it does not.
        per_epoch: how many records of it an epoch has; None: not drawn from, or not known.
    """

    spec: SetSpec
    state: State
    people: int | None = None
    counted_every: int = 1
    source: Literal["shards", "official", "SMPLer-X", ""] = ""
    problem: str = ""
    per_epoch: int | None = None

    @property
    def there(self) -> bool:
        """Whether it has shards that can be read."""
        return self.state == "converted"

    @property
    def kept(self) -> int | None:
        """How many people the interval leaves; the query, if there is one, is not asked."""
        return None if self.people is None else self.people * self.counted_every // self.spec.every

    def drawn(self, per_epoch: int | None) -> PlannedSet:
        """The same with its share of an epoch."""
        return replace(self, per_epoch=per_epoch)

    def convert_command(self, out: Path | None = None) -> str:
        """The command that makes its shards; empty where there is none."""
        if self.there or not has_converter(self.spec):
            return ""
        kind = all_datasets()[self.spec.dataset]
        words = ["hmtools", "convert", self.spec.dataset, "--split", self.spec.split]
        for name, value in self.spec.options.items():
            words += ["--option", f"{name}={value}"]
        if self.spec.every % _usual_interval(kind, self.spec.split):
            words += ["--every", str(self.spec.every)]
        if self.state == "unreadable":
            words.append("--overwrite")
        return shlex.join([*words, *(["--out", str(out)] if out else [])])


def has_converter(spec: SetSpec) -> bool:
    """Whether this version of hmtools can convert a set of a recipe."""
    kind = all_datasets().get(spec.dataset)
    return kind is not None and spec.split in kind.splits


def look_at(spec: SetSpec, shards: Path) -> PlannedSet:
    """Look for the shards of a set.

    Args:
        spec: the recipe's row.
        shards: folder of converted sets.
    """
    folder, kind = shards / spec.dataset / spec.split, all_datasets().get(spec.dataset)
    if (folder / MANIFEST).is_file():
        try:
            return _converted(spec, read_manifest(folder))
        except SchemaError as error:
            return PlannedSet(spec=spec, state="unreadable", problem=str(error))
        except LayoutError:
            pass  # it went away just now
    if kind is None:
        return PlannedSet(spec=spec, state="no converter", **_stated(spec))
    wrong = "" if spec.split in kind.splits else f"its splits are {', '.join(kind.splits)}"
    official = kind.official_counts.get(spec.split, {}).get("records")
    if official is None:
        return PlannedSet(spec=spec, state="not converted", problem=wrong, **_stated(spec))
    return PlannedSet(
        spec=spec,
        state="not converted",
        people=official,
        counted_every=_usual_interval(kind, spec.split),
        source="official",
    )


def _usual_interval(kind: type[Dataset], split: str) -> int:
    return kind.every.get(kind.splits[split], 1)


def _stated(spec: SetSpec) -> dict[str, Any]:
    return {} if spec.people is None else {"people": spec.people, "source": "SMPLer-X"}


def _converted(spec: SetSpec, manifest: Manifest) -> PlannedSet:
    return PlannedSet(
        spec=spec,
        state="converted",
        people=manifest.counts["records"],
        counted_every=manifest.every,
        source="shards",
        problem="; ".join(_contradictions(spec, manifest)),
    )


def _contradictions(spec: SetSpec, manifest: Manifest) -> Iterator[str]:
    """How shards differ from what the recipe asks for."""
    if spec.every % manifest.every:
        yield (
            f"the recipe keeps every {spec.every}, its shards hold every {manifest.every}: convert it again "
            f"with --every {spec.every} --overwrite, or take a multiple of {manifest.every}"
        )
    for name, value in spec.options.items():
        found = manifest.options.get(name)
        if found != value:
            yield f"the recipe wants it converted with {name}={value}, its shards have {name}={found}"
    if not manifest.counts["records"]:
        yield "its shards hold nobody"
