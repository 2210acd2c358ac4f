"""How well known and learnt classes are segmented, pooled over a data set."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from ignota.functional.confusion import confusion_matrix, harmonic_mean, iou, mean_iou, stolen_pixels
from ignota.taxonomy import Taxonomy


@dataclass
class SegmentationMetrics:
    """One confusion matrix over all images, read as RAML does (Section 4.2, Table 2).

    taxonomy: the world's classes by world id, known ones first. known: C, how many of them are known ("old"); the
    others, K, were learnt ("novel"). States that saw different images add up: `merge` equals one that saw them all.
    """

    taxonomy: Taxonomy
    known: int
    confusion: Int64[Tensor, "classes classes+1"] = field(init=False)

    def __post_init__(self) -> None:
        classes = len(self.taxonomy)
        if not 1 <= self.known <= classes:
            raise ValueError(
                f"{self.known} known classes in {self.taxonomy.name}, which has {classes}; use 1..{classes}"
            )
        self.confusion = torch.zeros(classes, classes + 1, dtype=torch.int64)

    def update(self, label: UInt8[np.ndarray, "H W"], prediction: UInt8[np.ndarray, "H W"]) -> None:
        """Adds one image: label in world ids, 255 void, which does not count; prediction the same and 254 unknown.

        A pixel predicted unknown, or void, is an error of its true class. Raises ValueError for maps of different
        shapes and InputError for a label that is no class.
        """
        if label.shape != prediction.shape:
            raise ValueError(
                f"a label of {label.shape} pixels and a prediction of {prediction.shape}; make them one size"
            )
        truth, guess = (torch.from_numpy(np.ascontiguousarray(a)) for a in (label, prediction))
        self.confusion = self.confusion + confusion_matrix(truth, guess, len(self.taxonomy))

    def merge(self, other: SegmentationMetrics) -> None:
        """Adds what another state saw. Raises ValueError where that one has other classes."""
        if (self.taxonomy.names, self.known) != (other.taxonomy.names, other.known):
            raise ValueError(
                f"cannot merge {other.known} known of {other.taxonomy.names} into {self.known} of {self.taxonomy.names}"
            )
        self.confusion = self.confusion + other.confusion

    def compute(self) -> dict[str, Any]:
        """{"miou": {"all", "novel", "old", "harmonic"}, "iou": {CLASS: value}, "pixel_accuracy"}, fractions in 0..1.

        The mean leaves out classes that are neither in the labels nor predicted; what has no value is None.
        """
        old, novel = (mean_iou(self.confusion, ids) for ids in (self._old, self._novel))
        miou = {"all": mean_iou(self.confusion), "novel": novel, "old": old, "harmonic": harmonic_mean(old, novel)}
        hits, pixels = int(self.confusion.diagonal().sum()), int(self.confusion.sum())
        return {
            "miou": {name: _or_none(value) for name, value in miou.items()},
            "iou": {
                name: _or_none(v) for name, v in zip(self.taxonomy.names, iou(self.confusion).tolist(), strict=True)
            },
            "pixel_accuracy": hits / pixels if pixels else None,
        }

    def stolen(self) -> dict[str, dict[str, int]]:
        """{NOVEL: {KNOWN: pixels}}: the pixels of each known class that each novel class took."""
        names = self.taxonomy.names
        table = stolen_pixels(self.confusion, self._old, self._novel).tolist()
        return {
            names[class_id]: dict(zip(names[: self.known], row, strict=True))
            for class_id, row in zip(self._novel, table, strict=True)
        }

    @property
    def old_without_novel_pixels(self) -> float | None:
        """mIoU over the known classes on pixels that truly belong to one, so only conflicts lower it.

        Comparable before and after learning: before it, novel pixels are always labelled as known classes.
        """
        confusion = self.confusion.clone()
        confusion[self.known :] = 0
        return _or_none(mean_iou(confusion, self._old))

    @property
    def _old(self) -> range:
        return range(self.known)

    @property
    def _novel(self) -> range:
        return range(self.known, len(self.taxonomy))


def _or_none(value: float) -> float | None:
    """NaN is no JSON."""
    return None if math.isnan(value) else value
