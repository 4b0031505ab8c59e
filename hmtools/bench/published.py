"""Published figures, by protocol id: what a result may be compared with, and nothing else.

A figure stands beside a result only when both follow the same protocol (``smplerx@1`` is not
``agora-official@1``) on the official rows with a licensed body: everything else would compare two different
measurements. Where a figure was not read at its source it carries a mark, and every table repeats it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MPE", "MPE_SETS", "PUBLISHED", "RECALLED", "TITLES", "Figure", "figures", "published_value"]

MPE = "mpe"
"""Test set and metric of the mean primary error."""

MPE_SETS: tuple[str, ...] = ("agora", "egobody", "ubody", "3dpw", "ehf")
"""The five sets of the mean primary error of SMPLer-X, in the order of its table."""

TITLES: dict[str, str] = {
    "agora": "AGORA",
    "egobody": "EgoBody",
    "ubody": "UBody",
    "3dpw": "3DPW",
    "ehf": "EHF",
    MPE: "MPE",
}
"""Test set -> its name as people write it."""

RECALLED = "recalled, unconfirmed"
"""Mark of a figure that was not read at its source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One published number.

    Attributes:
        protocol: id of the protocol it was measured by.
        testset: name of the test set, or :data:`MPE`.
        metric: as in the report table.
        model: name of the weights, such as ``smplerx-h32``.
        title: the same in a column heading.
        value: in the unit of the metric.
        recalled: whether it waits to be confirmed at its source.
        source: who says so.
    """

    protocol: str
    testset: str
    metric: str
    model: str
    title: str
    value: float
    recalled: bool
    source: str


_SMPLERX = "smplerx@1"
_COLUMNS: tuple[tuple[str, str], ...] = (
    ("smplerx-s32", "S32"),
    ("smplerx-b32", "B32"),
    ("smplerx-l32", "L32"),
    ("smplerx-h32", "H32"),
    ("smplerx-h32-updated", "H32*"),
)
_README = "SMPLer-X README"
_PAPER = "SMPLer-X paper, table of the benchmarks"
# Test set, metric, one value per column (None: not published), whether it is only recalled, source.
_ROWS: tuple[tuple[str, str, tuple[float | None, ...], bool, str], ...] = (
    (MPE, MPE, (82.6, 74.3, 66.2, 63.0, 59.7), False, _README),
    ("agora", "pve_all", (105.2, 88.0, 74.2, 69.5, None), True, _PAPER),
    ("egobody", "pve_all", (82.5, 72.7, 62.2, 59.5, None), True, _PAPER),
    ("ubody", "pve_all", (68.1, 63.3, 57.3, 54.5, None), True, _PAPER),
    ("3dpw", "mpjpe_body", (83.2, 80.3, 75.2, 75.0, None), True, _PAPER),
    ("ehf", "pve_all", (74.1, 67.3, 62.4, 56.8, None), True, _PAPER),
)

PUBLISHED: tuple[Figure, ...] = tuple(
    Figure(
        protocol=_SMPLERX,
        testset=testset,
        metric=metric,
        model=model,
        title=title,
        value=value,
        recalled=recalled,
        source=source,
    )
    for testset, metric, values, recalled, source in _ROWS
    for (model, title), value in zip(_COLUMNS, values, strict=True)
    if value is not None
)
"""Every published figure known here."""


def figures(protocol: str, testset: str, metric: str) -> tuple[Figure, ...]:
    """The published figures of one row of a table, in the order of the models' sizes.

    Args:
        protocol: full id; figures of another protocol never match.
        testset: name of the test set, or :data:`MPE`.
        metric: as in the report table.
    """
    asked = (protocol, testset, metric)
    return tuple(figure for figure in PUBLISHED if (figure.protocol, figure.testset, figure.metric) == asked)


def published_value(
    protocol: str, testset: str, metric: str, model: str, *, rows: str, standin: bool
) -> float | None:
    """What is published for these very weights, None where nothing may be compared.

    Args:
        protocol: full id.
        testset: name of the test set, or :data:`MPE`.
        metric: as in the report table.
        model: name of the weights.
        rows: ``official`` or ``derived``.
        standin: whether a stand-in body was measured.
    """
    if standin or rows != "official":
        return None
    return next((f.value for f in figures(protocol, testset, metric) if f.model == model), None)
