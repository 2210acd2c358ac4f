"""Unknown objects of an image: the most salient parts of the tree of its level sets, none inside another.

A threshold alone cuts a faint object into splinters and melts neighbours of a strong one. The level sets of the anomaly
at several thresholds form a tree: a connected set at one level lies inside one at the level below. Of each branch of
the tree the set with the largest score is an object, whatever level it lies at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int32

_LOWEST, _HIGHEST, _STEP = -1.5, 8.0, 0.5
"""Levels of the tree, in scales of the anomaly score above the threshold."""
_FAINTEST = -4.0
"""Scores are clipped to _FAINTEST.._HIGHEST, so that one pixel cannot decide."""
_CONTRAST, _SIZE = 2.0, 0.15
_RING = 4
"""Pixels around a set that it is compared with."""
_LARGEST = 0.5
"""A set that covers more of the image is its background."""


@dataclass(frozen=True)
class Objects:
    """ids: "H W", 0 outside, else 1..N in descending order of score. scores: " N" as `object_score`."""

    ids: Int32[np.ndarray, "H W"]
    scores: Float[np.ndarray, " N"]


@dataclass(frozen=True)
class _Set:
    """A connected level set: its mask inside the box left, top, right, bottom."""

    box: tuple[int, int, int, int]
    crop: Bool[np.ndarray, "h w"]
    score: float

    @property
    def window(self) -> tuple[slice, slice]:
        left, top, right, bottom = self.box
        return slice(top, bottom), slice(left, right)


def find_objects(z: Float[np.ndarray, "H W"], cutoff: float, smallest: float) -> Objects:
    """Objects whose `object_score` exceeds the cutoff.

    z: anomaly in scales above the threshold. smallest: share of the image that an object covers at least. The best set
    is taken first; sets that overlap one that is taken are inside it or contain it, and are left out.
    """
    z = _clipped(z)
    ids, scores = np.zeros(z.shape, np.int32), list[float]()
    found = [each for each in _level_sets(z, smallest) if each.score > cutoff]
    for each in sorted(found, key=lambda one: -one.score):
        inside = ids[each.window]
        if not inside[each.crop].any():
            scores.append(each.score)
            inside[each.crop] = len(scores)
    return Objects(ids, np.asarray(scores, np.float64))


def finer_set(
    z: Float[np.ndarray, "H W"], smallest: float, inside: tuple[int, int], outside: Sequence[tuple[int, int]]
) -> Bool[np.ndarray, "H W"] | None:
    """The largest level set with the pixel `inside` (row, column) and without all of `outside`; None for none."""
    for ids, statistics in _levels(_clipped(z)):
        number = int(ids[inside])
        if number and all(ids[at] != number for at in outside):
            return ids == number if _fits(statistics[number], smallest, z.size) else None
    return None


def object_score(inside: float, around: float, share: float) -> float:
    """(m + 2 (m - r)) (10⁵ a)^0.15: how much a set stands out.

    m: mean anomaly inside. r: mean anomaly in a ring around it. a: share of the image. Contrast
    prefers the level at which the set ends where the object does. The size keeps a bright spot from standing for the
    object that it lies on.
    """
    return (inside + _CONTRAST * (inside - around)) * (1e5 * share) ** _SIZE


def _clipped(z: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    return np.clip(z, _FAINTEST, _HIGHEST).astype(np.float32)


def _levels(z: Float[np.ndarray, "H W"]) -> Iterator[tuple[Int32[np.ndarray, "H W"], Int32[np.ndarray, "N 5"]]]:
    """Connected sets above each level, 8-neighbours: their numbers, 0 outside, and OpenCV's statistics of each."""
    for level in np.arange(_LOWEST, _HIGHEST, _STEP):
        _, ids, statistics, _ = cv2.connectedComponentsWithStats((z > level).astype(np.uint8), connectivity=8)
        yield ids, statistics


def _level_sets(z: Float[np.ndarray, "H W"], smallest: float) -> Iterator[_Set]:
    """Those that are neither specks nor background."""
    for ids, statistics in _levels(z):
        for i, row in enumerate(statistics):
            if i and _fits(row, smallest, z.size):
                yield _described(z, ids, i, row)


def _fits(row: Int32[np.ndarray, " 5"], smallest: float, size: int) -> bool:
    return bool(smallest * size <= row[cv2.CC_STAT_AREA] <= _LARGEST * size)


def _described(
    z: Float[np.ndarray, "H W"], ids: Int32[np.ndarray, "H W"], i: int, row: Int32[np.ndarray, " 5"]
) -> _Set:
    x, y, width, height, area = (int(value) for value in row)
    box = (x, y, x + width, y + height)
    left, top, right, bottom = box
    x, y = max(0, left - _RING), max(0, top - _RING)
    window = np.s_[y : bottom + _RING, x : right + _RING]
    crop, values = ids[window] == i, z[window]
    ring = (cv2.dilate(crop.astype(np.uint8), np.ones((2 * _RING + 1, 2 * _RING + 1), np.uint8)) > 0) & ~crop
    inside = float(values[crop].mean(dtype=np.float64))
    around = float(values[ring].mean(dtype=np.float64)) if ring.any() else _FAINTEST
    own = crop[top - y : bottom - y, left - x : right - x]
    return _Set(box, own, object_score(inside, around, area / z.size))
