"""Identities for people that a release knows frame by frame only: boxes that overlap are one person.

Identities made here depend on the boxes of a video alone: not on which people are kept, which frames are
sampled, or how the work is cut, as long as a video is never cut.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

__all__ = ["OVERLAP", "link_boxes"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

OVERLAP = 0.5
"""Intersection over union from which two boxes of neighbouring frames are one person."""


def link_boxes(frames: Ints, boxes_xywh: Floats, overlap: float = OVERLAP) -> Ints:
    """Number the people of a video.

    In every frame the pair of boxes that overlaps most is linked first, then the next of those left, as long
    as they overlap by ``overlap``. A person who is not in the frame right before is another one: without
    looking at pixels nobody knows what happened between.

    Args:
        frames: (N,) frame numbers, ascending; several boxes may be of one frame.
        boxes_xywh: (N, 4) x, y, w, h in pixels; one without area, or that is not finite, is linked to none.
        overlap: intersection over union that is enough, above 0 to 1.

    Returns:
        (N,) int64 numbers of people, from 0, in the order in which they first appear.
    """
    people = np.empty(len(frames), np.int64)
    cuts = [0, *(np.flatnonzero(np.diff(frames)) + 1).tolist(), len(frames)]
    made, before = 0, slice(0, 0)
    for start, end in pairwise(cuts if len(frames) else []):
        follows = before.stop > 0 and frames[start] == frames[before.start] + 1
        links = _links(boxes_xywh[before], boxes_xywh[start:end], overlap) if follows else {}
        for place in range(end - start):
            if place in links:
                people[start + place] = people[before.start + links[place]]
            else:
                people[start + place] = made
                made += 1
        before = slice(start, end)
    return people


def _links(before: Floats, now: Floats, overlap: float) -> dict[int, int]:
    """Place in ``now`` -> place in ``before``."""
    shares = _overlaps(before, now)
    links: dict[int, int] = {}
    # Equal shares are linked in the order of the file, so that the result is one on every machine.
    for pair in np.argsort(-shares, axis=None, kind="stable"):
        old, new = divmod(int(pair), len(now))
        if not shares[old, new] >= overlap:
            break
        if new not in links and old not in links.values():
            links[new] = old
    return links


def _overlaps(first: Floats, second: Floats) -> Floats:
    """(A, 4), (B, 4) -> (A, B) intersection over union, 0 where a box has no area or is not finite."""
    a, b = first[:, None], second[None]
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        sides = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:]) - np.maximum(
            a[..., :2], b[..., :2]
        )
        shared = np.prod(np.maximum(sides, 0), axis=-1)
        share = shared / (np.prod(a[..., 2:], axis=-1) + np.prod(b[..., 2:], axis=-1) - shared)
    sound = np.isfinite(share) & (a[..., 2:] > 0).all(axis=-1) & (b[..., 2:] > 0).all(axis=-1)
    return np.where(sound, share, 0.0)
