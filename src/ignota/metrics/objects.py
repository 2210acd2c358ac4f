"""How well unknown objects are found whole: false ones per image, and true ones covered by one of them.

A true object is a connected component of the anomalous pixels. A listed object is false where less than a quarter of it
lies on anomalous pixels. A true object is covered where one listed object has an IoU of at least one half with it, and
found where one listed object holds a quarter of it. Void pixels are left out; a listed object that is half void or more
counts neither as listed nor as false, yet it may cover or find.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer, UInt8
from scipy import ndimage

from ignota.metrics.anomaly import check_label
from ignota.taxonomy import IGNORE_INDEX

_EIGHT = np.ones((3, 3), bool)
ON_ANOMALY, COVERED, FOUND, COUNTED = 0.25, 0.5, 0.25, 0.5


@dataclass
class ObjectMetrics:
    """Counts over images. smallest: pixels of a true object that counts."""

    smallest: int
    images: int = 0
    listed: int = 0
    false: int = 0
    true: int = 0
    covered: int = 0
    found: int = 0

    def update(self, key: str, objects: Integer[np.ndarray, "H W"], label: UInt8[np.ndarray, "H W"]) -> None:
        """Adds one image. objects: 0 outside, else the number of an object; label: 0 normal, 1 anomaly, 255 void.

        Raises ValueError for maps of different shapes and InputError for other label values.
        """
        if objects.shape != label.shape:
            raise ValueError(f"objects {objects.shape} and label {label.shape} differ in shape")
        check_label(key, label)
        truth, _ = ndimage.label(label == 1, _EIGHT)
        pairs = _contingency(truth, objects, label != IGNORE_INDEX)
        listed, false = listed_and_false(objects, label)
        large = pairs.sum(1)[1:] >= self.smallest
        shared, sizes, seen = pairs[1:, 1:][large], pairs.sum(1)[1:][large], pairs.sum(0)[1:]
        iou = shared / np.maximum(sizes[:, None] + seen - shared, 1)
        self.images += 1
        self.listed += int(listed.sum())
        self.false += int(false.sum())
        self.true += int(large.sum())
        self.covered += int((iou.max(1, initial=0) >= COVERED).sum())
        self.found += int((shared.max(1, initial=0) >= FOUND * sizes).sum())

    def compute(self) -> dict[str, Any]:
        """{"images", "listed_per_image", "false_per_image", "true", "covered", "found"}; the last two are shares of the
        true objects, None where there is none."""
        images, true = max(1, self.images), self.true
        return {
            "images": self.images,
            "listed_per_image": self.listed / images,
            "false_per_image": self.false / images,
            "true": true,
            "covered": self.covered / true if true else None,
            "found": self.found / true if true else None,
        }


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


def _contingency(
    truth: Integer[np.ndarray, "H W"], objects: Integer[np.ndarray, "H W"], counted: np.ndarray
) -> Integer[np.ndarray, "T P"]:
    """Pixels of each pair of a true and a listed object, 0 being none."""
    rows, columns = int(truth.max()) + 1, int(objects.max()) + 1
    pairs = truth.astype(np.int64) * columns + objects
    return np.bincount(pairs[counted], minlength=rows * columns).reshape(rows, columns)
