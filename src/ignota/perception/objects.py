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
from jaxtyping import Bool, Float, Int32, UInt8
from scipy import ndimage

_LOWEST, _HIGHEST, _STEP = -1.5, 8.0, 0.5
"""Levels of the tree, in scales of the anomaly score above the threshold."""
_FAINTEST = -4.0
"""Scores are clipped to _FAINTEST.._HIGHEST, so that one pixel cannot decide."""
_CONTRAST, _SIZE = 2.0, 0.15
_RING = 4
"""Pixels around a set that it is compared with."""
_LARGEST = 0.5
"""A set that covers more of the image is its background."""
_RADIUS, _SMOOTH = 4, 1e-4
"""Of the filter that moves edges, chosen on training images with pasted things, see docs/objects.md."""


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
    for ids, statistics, corner in _levels(_clipped(z)):
        number = _number_at(ids, corner, inside)
        if number and all(_number_at(ids, corner, at) != number for at in outside):
            if not _fits(statistics[number], smallest, z.size):
                return None
            found = np.zeros(z.shape, bool)
            found[corner[0] : corner[0] + ids.shape[0], corner[1] : corner[1] + ids.shape[1]] = ids == number
            return found
    return None


def _number_at(ids: Int32[np.ndarray, "h w"], corner: tuple[int, int], at: tuple[int, int]) -> int:
    row, column = at[0] - corner[0], at[1] - corner[1]
    return int(ids[row, column]) if 0 <= row < ids.shape[0] and 0 <= column < ids.shape[1] else 0


def snapped(ids: Int32[np.ndarray, "H W"], image: UInt8[np.ndarray, "H W 3"]) -> Int32[np.ndarray, "H W"]:
    """The same objects with edges where the image has them.

    Each mask passes a guided filter with the grey image as guide; a pixel belongs to the object with the largest value
    above one half.
    """
    guide = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    found, most = np.zeros_like(ids), np.full(ids.shape, 0.5, np.float32)
    for i, window in enumerate(ndimage.find_objects(ids)):
        if window is None:
            continue
        near = tuple(slice(max(0, part.start - 3 * _RADIUS), part.stop + 3 * _RADIUS) for part in window)
        share = guided_filter((ids[near] == i + 1).astype(np.float32), guide[near], _RADIUS, _SMOOTH)
        won = share > most[near]
        found[near][won], most[near][won] = i + 1, share[won]
    return found


def guided_filter(
    values: Float[np.ndarray, "h w"], guide: Float[np.ndarray, "h w"], radius: int, smooth: float
) -> Float[np.ndarray, "h w"]:
    """q = mean(a) I + mean(b), where a = cov(I, p) / (var I + ε), b = mean p - a mean I, over squares of 2 r + 1.

    He, Sun and Tang, "Guided Image Filtering", TPAMI 2013. values: p; guide: I in 0..1; smooth: ε. Beyond the border
    the image is mirrored.
    """

    def mean(of: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.blur(of, (2 * radius + 1, 2 * radius + 1)))

    middle, level = mean(guide), mean(values)
    slope = (mean(guide * values) - middle * level) / (mean(guide * guide) - middle * middle + smooth)
    return mean(slope) * guide + mean(level - slope * middle)


def object_score(inside: float, around: float, share: float) -> float:
    """(m + 2 (m - r)) (10⁵ a)^0.15: how much a set stands out.

    m: mean anomaly inside. r: mean anomaly in a ring around it. a: share of the image. Contrast
    prefers the level at which the set ends where the object does. The size keeps a bright spot from standing for the
    object that it lies on.
    """
    return (inside + _CONTRAST * (inside - around)) * (1e5 * share) ** _SIZE


def _clipped(z: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    return np.clip(z, _FAINTEST, _HIGHEST).astype(np.float32)


def _levels(
    z: Float[np.ndarray, "H W"],
) -> Iterator[tuple[Int32[np.ndarray, "h w"], Int32[np.ndarray, "N 5"], tuple[int, int]]]:
    """Connected sets above each level, 8-neighbours, in the box of what is above it.

    Their numbers, 0 outside; OpenCV's statistics of each; row and column of the box's corner.
    """
    for level in np.arange(_LOWEST, _HIGHEST, _STEP):
        above = z > level
        rows, columns = np.flatnonzero(above.any(1)), np.flatnonzero(above.any(0))
        if not len(rows):
            return
        top, left = int(rows[0]), int(columns[0])
        part = above[top : rows[-1] + 1, left : columns[-1] + 1].astype(np.uint8)
        _, ids, statistics, _ = cv2.connectedComponentsWithStats(part, connectivity=8)
        yield ids, statistics, (top, left)


def _level_sets(z: Float[np.ndarray, "H W"], smallest: float) -> Iterator[_Set]:
    """Those that are neither specks nor background."""
    for ids, statistics, (top, left) in _levels(z):
        for i, (x, y, width, height, _) in enumerate(statistics):
            if i and _fits(statistics[i], smallest, z.size):
                own = ids[y : y + height, x : x + width] == i
                yield _described(z, own, (int(left + x), int(top + y), int(left + x + width), int(top + y + height)))


def _fits(row: Int32[np.ndarray, " 5"], smallest: float, size: int) -> bool:
    return bool(smallest * size <= row[cv2.CC_STAT_AREA] <= _LARGEST * size)


def _described(z: Float[np.ndarray, "H W"], own: Bool[np.ndarray, "h w"], box: tuple[int, int, int, int]) -> _Set:
    left, top, right, bottom = box
    x, y = max(0, left - _RING), max(0, top - _RING)
    values = z[y : bottom + _RING, x : right + _RING]
    crop = np.zeros(values.shape, bool)
    crop[top - y : bottom - y, left - x : right - x] = own
    ring = (cv2.dilate(crop.astype(np.uint8), np.ones((2 * _RING + 1, 2 * _RING + 1), np.uint8)) > 0) & ~crop
    inside = float(values[crop].mean(dtype=np.float64))
    around = float(values[ring].mean(dtype=np.float64)) if ring.any() else _FAINTEST
    return _Set(box, own, object_score(inside, around, int(own.sum()) / z.size))
