"""Test sets by the names people write: ``3DPW``, ``pw3d``, ``UBody-inter``, ``all``.

Names stand in the protocols (``Protocol.names``), so that a new file brings its own.
"""

from __future__ import annotations

from hmtools.bench.protocols.base import Protocol
from hmtools.bench.protocols.registry import all_protocols, get_protocol
from hmtools.core.errors import UsageError, nearest

__all__ = ["ALL_SETS", "chosen_protocols", "find_testset", "testset_names"]

ALL_SETS = "all"
"""The five test sets of the mean primary error."""

_MPE_ORDER = ("agora", "egobody", "ubody", "3dpw", "ehf")  # of the published table


def testset_names() -> dict[str, str]:
    """Test set as reports call it -> as people write it, by name."""
    return {kind.testset: kind.names[0] for kind in all_protocols() if kind.default}


def find_testset(name: str) -> str:
    """The test set that is meant.

    Args:
        name: in any case, with or without ``-``, ``_`` and blanks.

    Returns:
        Its name in reports, such as ``3dpw``.

    Raises:
        UsageError: if there is none of that name; with the nearest.
    """
    known = {_plain(word): kind.testset for kind in all_protocols() for word in (*kind.names, kind.testset)}
    if _plain(name) in known:
        return known[_plain(name)]
    written = [*testset_names().values(), ALL_SETS]
    close = nearest(_plain(name), known)
    raise UsageError(f"unknown test set {name!r}{close} (known: {', '.join(written)})")


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def chosen_protocols(name: str, protocol: str | None = None) -> list[type[Protocol]]:
    """The protocols that a command line asks for.

    Args:
        name: a test set as people write it, or ``all``: the five of MPE.
        protocol: an id, with or without version; None is the default of the set.

    Raises:
        UsageError: for an unknown name, or ``all`` with a protocol that MPE is not defined by.
    """
    if _plain(name) != ALL_SETS:
        return [get_protocol(find_testset(name), protocol)]
    five = {kind.testset: kind for kind in all_protocols() if kind.in_mpe}
    ids = sorted({kind.id for kind in five.values()})
    if protocol is not None and not any(protocol in (own, own.partition("@")[0]) for own in ids):
        raise UsageError(
            f"--testset all is the five sets of MPE, which {', '.join(ids)} defines; found --protocol "
            f"{protocol}. Name one test set for it"
        )
    return [five[testset] for testset in _MPE_ORDER if testset in five]
