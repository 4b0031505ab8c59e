"""Makes AGORA's miniature, and reads its data frames person by person."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hmtools.core.safe_pickle import load_pickle
from hmtools.synth import PersonTruth, Truth, make_miniature

__all__ = ["FRAMES", "PEOPLE", "Row", "make", "name_of", "people", "rows", "tree"]

FRAMES, PEOPLE = 7, 2


class Row(NamedTuple):
    """One person of a data frame."""

    frame: str
    position: int
    person: int
    cells: dict[str, Any]


def make(root: Path, **changes: Any) -> Path:
    splits = ("train", "validation", "test")
    arguments = {"frames": FRAMES, "people": PEOPLE, "seed": 3, "size": (160, 120), "splits": splits}
    make_miniature("agora", root, **{**arguments, **changes})
    return root


def rows(root: Path, split: str, family: str = "SMPLX") -> Iterator[Row]:
    for path in sorted((root / f"{split}_{family}" / family).iterdir()):
        table = load_pickle(path).columns
        for position in range(len(table["imgPath"])):
            cells = {name: column[position] for name, column in table.items()}
            for person in range(len(cells["X"])):
                own = {n: c[person] if isinstance(c, list) else c for n, c in cells.items()}
                yield Row(path.name.removesuffix("_withjv.pkl"), position, person, own)


def name_of(row: Row) -> str:
    return f"{row.cells['imgPath'].removesuffix('.png')}_personId_{row.person}"


def people(truth: Truth, split: str) -> dict[str, PersonTruth]:
    return {person.source_id: person for person in truth.people if person.split == split}


def tree(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
