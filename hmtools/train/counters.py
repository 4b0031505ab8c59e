"""Random numbers that are a pure function of a few counters, and permutations that no memory holds.

Every number here follows from (seed, what it is for, epoch, index) and from nothing else: not from who asks,
in which order, or how often. So a sample is augmented alike on any rank, in any worker, after any restart,
and the order of an epoch of millions needs no list.

The mixer is the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014, constants of Stafford's variant 13). Permutations are balanced Feistel networks over
the next power of four, walked until they come back into range (Black and Rogaway, "Ciphers with arbitrary
finite domains", CT-RSA 2002).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["normals", "permuted", "stream", "uniforms"]

Words = npt.NDArray[np.uint64]

_STEP = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: neighbouring counters end up far apart
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = (np.uint64(shift) for shift in (30, 27, 31, 11))
_ONE = np.uint64(1)
_TURNS = np.arange(1, 7, dtype=np.uint64) * _STEP  # rounds: four pass for random, two more cost little


def _mixed(words: Words) -> Words:
    words = (words ^ (words >> _S30)) * _FIRST
    words = (words ^ (words >> _S27)) * _SECOND
    return words ^ (words >> _S31)


def stream(seed: int, *counters: int | npt.NDArray[np.int64]) -> Words:
    """A word for each combination of counters, from which numbers are drawn.

    Args:
        seed: of the run.
        counters: what tells this stream from others, whole numbers or int64 arrays that broadcast.

    Returns:
        uint64 of the counters' common shape, at least one-dimensional.
    """
    found = _mixed(np.atleast_1d(np.asarray(seed & (2**64 - 1), np.uint64)) + _STEP)
    for counter in counters:
        found = _mixed((found + _STEP) ^ _mixed(np.atleast_1d(np.asarray(counter, np.int64)).view(np.uint64)))
    return found


def uniforms(keys: Words, count: int) -> npt.NDArray[np.float64]:
    """Numbers in [0, 1): ``count`` of each stream.

    Args:
        keys: (N,) from :func:`stream`.
        count: how many.

    Returns:
        float64 (N, count).
    """
    steps = np.arange(1, count + 1, dtype=np.uint64) * _STEP
    return (_mixed(keys[:, None] + steps) >> _S11).astype(np.float64) * 2.0**-53


def normals(pairs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Standard normal numbers from pairs of uniform ones (Box and Muller, 1958).

    Args:
        pairs: (..., 2) in [0, 1).

    Returns:
        float64 (...).
    """
    radius = np.sqrt(-2 * np.log1p(-pairs[..., 0]))
    return np.asarray(radius * np.cos(2 * np.pi * pairs[..., 1]))


def permuted(index: npt.NDArray[np.int64], size: npt.NDArray[np.int64], keys: Words) -> npt.NDArray[np.int64]:
    """Where a random permutation of ``size`` things puts the thing at ``index``.

    Args:
        index: (N,), each within 0 ... size - 1.
        size: (N,) number of things of each one's permutation, at least 1.
        keys: (N,) from :func:`stream`; equal keys and sizes are one and the same permutation.

    Returns:
        int64 (N,).
    """
    width = np.ceil(np.log2(np.maximum(size, 2)) / 2).astype(np.uint64)
    found = _scattered(index.astype(np.uint64), width, keys)
    limit = size.astype(np.uint64)
    while (outside := found >= limit).any():
        found[outside] = _scattered(found[outside], width[outside], keys[outside])
    return found.astype(np.int64)


def _scattered(index: Words, width: Words, keys: Words) -> Words:
    """A permutation of the numbers of twice ``width`` bits."""
    mask = (_ONE << width) - _ONE
    left, right = index >> width, index & mask
    for turn in _TURNS:
        left, right = right, left ^ (_mixed((keys + turn) ^ right) & mask)
    return (left << width) | right
