"""Average precision of unknown objects, class-agnostic: are the true ones found whole, and ranked before false ones?

Nekrasov et al., "OoDIS: Anomaly Instance Segmentation Benchmark", 2024, by the rules of Cityscapes' instances. A listed
object is right at overlap t where its IoU with a true object exceeds t, void pixels counting as its own. It is left out
where it is not right and more than the share t of it lies on void or on true objects that are too small to count.
Listed objects do not overlap, so at t ≥ ½ one of them at most is right about a true object. True objects are connected
components of the label here, which has no instances.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8

from ignota.functional.curves import binary_curve
from ignota.metrics.anomaly import check_label
from ignota.metrics.objects import contingency, true_objects
from ignota.taxonomy import IGNORE_INDEX

OVERLAPS = np.arange(50, 100, 5) / 100
SMALLEST = 10
"""Pixels of a true object that counts."""


@dataclass
class InstanceMetrics:
    """Listed objects of all images with their scores; right, left_out: at each overlap."""

    true: int = 0
    scores: list[Float[np.ndarray, " P"]] = field(default_factory=list)
    right: list[Bool[np.ndarray, "T P"]] = field(default_factory=list)
    left_out: list[Bool[np.ndarray, "T P"]] = field(default_factory=list)

    def update(
        self,
        key: str,
        objects: Integer[np.ndarray, "H W"],
        scores: Float[np.ndarray, " N"],
        label: UInt8[np.ndarray, "H W"],
    ) -> None:
        """Adds one image. objects: 0 outside, else the number of an object, whose score is scores[number - 1]; label: 0
        normal, 1 anomaly, 255 void.

        Raises ValueError for maps of different shapes and for an object without a score, InputError for other label
        values.
        """
        if objects.shape != label.shape or int(objects.max(initial=0)) > len(scores):
            raise ValueError(f"objects {objects.shape}, label {label.shape}, {len(scores)} scores: they do not fit")
        check_label(key, label)
        pairs = contingency(true_objects(label), objects, np.ones(label.shape, bool))
        present = np.flatnonzero(pairs.sum(0)[1:])
        shared, pixels = pairs[1:, 1 + present], pairs.sum(0)[1 + present]
        void = np.bincount(objects[label == IGNORE_INDEX], minlength=pairs.shape[1])[1 + present]
        sizes = pairs.sum(1)[1:]
        large = sizes >= SMALLEST
        iou = (shared / np.maximum(sizes[:, None] + pixels - shared, 1))[large].max(0, initial=0)
        ignored = (void + shared[~large].sum(0)) / np.maximum(pixels, 1)
        right = iou > OVERLAPS[:, None]
        self.true += int(large.sum())
        self.scores.append(np.asarray(scores, np.float64)[present])
        self.right.append(right)
        self.left_out.append(~right & (ignored > OVERLAPS[:, None]))

    def compute(self) -> dict[str, float | None]:
        """{"ap", "ap50"} in 0..1: the mean over all overlaps, and that at ½; None where there is no true object."""
        if not self.true:
            return {"ap": None, "ap50": None}
        each = [self.average_precision(t) for t in range(len(OVERLAPS))]
        return {"ap": float(np.mean(each)), "ap50": each[0]}

    def average_precision(self, overlap: int) -> float:
        """The area under precision over recall at OVERLAPS[overlap], by trapezoids from precision 1 at recall 0."""
        kept = ~np.concatenate([left[overlap] for left in self.left_out])
        right = np.concatenate([one[overlap] for one in self.right])[kept]
        curve = binary_curve(np.concatenate(self.scores)[kept], right)
        hits, misses = curve.true_positives, curve.false_positives
        recall = np.concatenate([[0.0], hits / self.true])
        precision = np.concatenate([[1.0], hits / (hits + misses)])
        return float(np.trapezoid(precision, recall))
