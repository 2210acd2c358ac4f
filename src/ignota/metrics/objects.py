"""How well unknown objects are found whole: false ones per image, and true ones covered by one of them.

A true object is a connected component of the anomalous pixels. A listed object is false where less than a quarter of it
lies on anomalous pixels. A true object is covered where one listed object has an IoU of at least one half with it, and
found where one listed object holds a quarter of it. Void pixels are left out; a listed object that is half void or more
counts neither as listed nor as false, yet it may cover or find.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, Integer, UInt8
from scipy import ndimage

from ignota.metrics.anomaly import check_label
from ignota.metrics.components import SIZES_OF_TRUE, by_size
from ignota.taxonomy import IGNORE_INDEX

_EIGHT = np.ones((3, 3), bool)
ON_ANOMALY, COVERED, FOUND, COUNTED = 0.25, 0.5, 0.25, 0.5


def _none() -> Int64[np.ndarray, " 3"]:
    return np.zeros(len(SIZES_OF_TRUE), np.int64)


@dataclass
class ObjectMetrics:
    """Counts over images. smallest: pixels of a true object that counts. true, covered, found: by size of the true."""

    smallest: int
    images: int = 0
    listed: int = 0
    false: int = 0
    true: Int64[np.ndarray, " 3"] = field(default_factory=_none)
    covered: Int64[np.ndarray, " 3"] = field(default_factory=_none)
    found: Int64[np.ndarray, " 3"] = field(default_factory=_none)

    def update(self, key: str, objects: Integer[np.ndarray, "H W"], label: UInt8[np.ndarray, "H W"]) -> None:
        """Adds one image. objects: 0 outside, else the number of an object; label: 0 normal, 1 anomaly, 255 void.

        Raises ValueError for maps of different shapes and InputError for other label values.
        """
        if objects.shape != label.shape:
            raise ValueError(f"objects {objects.shape} and label {label.shape} differ in shape")
        check_label(key, label)
        pairs = contingency(true_objects(label), objects, label != IGNORE_INDEX)
        listed, false = listed_and_false(objects, label)
        large = pairs.sum(1)[1:] >= self.smallest
        shared, sizes, seen = pairs[1:, 1:][large], pairs.sum(1)[1:][large], pairs.sum(0)[1:]
        iou = shared / np.maximum(sizes[:, None] + seen - shared, 1)
        covered, found = iou.max(1, initial=0) >= COVERED, shared.max(1, initial=0) >= FOUND * sizes
        self.images += 1
        self.listed += int(listed.sum())
        self.false += int(false.sum())
        bands = by_size(sizes).astype(np.int64)
        self.true, self.covered, self.found = (
            count + bands @ each
            for count, each in ((self.true, np.ones_like(sizes)), (self.covered, covered), (self.found, found))
        )

    def compute(self) -> dict[str, Any]:
        """{"images", "listed_per_image", "false_per_image", "true", "covered", "found", "by_size": {"small": {"true",
        "covered", "found"}, …}}; covered and found are shares of the true objects, None where there is none."""
        images = max(1, self.images)
        return {
            "images": self.images,
            "listed_per_image": self.listed / images,
            "false_per_image": self.false / images,
            **self._shares(slice(None)),
            "by_size": {name: self._shares(slice(i, i + 1)) for i, name in enumerate(SIZES_OF_TRUE)},
        }

    def _shares(self, sizes: slice) -> dict[str, float | int | None]:
        true, covered, found = (int(count[sizes].sum()) for count in (self.true, self.covered, self.found))
        return {
            "true": true,
            "covered": covered / true if true else None,
            "found": found / true if true else None,
        }


def true_objects(label: UInt8[np.ndarray, "H W"]) -> Integer[np.ndarray, "H W"]:
    """Connected anomalous pixels, 8 neighbours, numbered from 1; 0 elsewhere."""
    return np.asarray(ndimage.label(label == 1, _EIGHT)[0])


def listed_and_false(
    objects: Integer[np.ndarray, "H W"], label: UInt8[np.ndarray, "H W"]
) -> tuple[Bool[np.ndarray, " N"], Bool[np.ndarray, " N"]]:
    """Which of the objects 1..N count as listed, and which of these are false."""
    numbers = objects.ravel()
    whole, seen, on = (
        np.bincount(numbers, weights=weights, minlength=int(objects.max()) + 1)[1:]
        for weights in (None, (label != IGNORE_INDEX).ravel(), (label == 1).ravel())
    )
    listed = seen > COUNTED * whole
    return listed, listed & (on < ON_ANOMALY * seen)


def contingency(
    truth: Integer[np.ndarray, "H W"], objects: Integer[np.ndarray, "H W"], counted: np.ndarray
) -> Integer[np.ndarray, "T P"]:
    """Pixels of each pair of a true and a listed object, 0 being none."""
    rows, columns = int(truth.max()) + 1, int(objects.max()) + 1
    pairs = truth.astype(np.int64) * columns + objects
    return np.bincount(pairs[counted], minlength=rows * columns).reshape(rows, columns)
