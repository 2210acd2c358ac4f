"""How well whole anomalies are found, each counted once whatever its size: sIoU, PPV and mean F1.

Chan et al., "SegmentMeIfYouCan: A Benchmark for Anomaly Segmentation", NeurIPS 2021 data sets and benchmarks. True
components are counted by size as well, as Laskar et al., "A Dataset for Semantic Segmentation in the Presence of
Unknowns" (ISSU), CVPR 2025, do; the limits are those of COCO.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer, UInt8
from numpy.typing import NDArray

from ignota.functional.components import component_overlaps
from ignota.metrics.anomaly import check_label
from ignota.metrics.exact import ExactSum

F1_THRESHOLDS = np.linspace(0.25, 0.75, 11)
"""τ: a true component counts as found at sIoU ≥ τ, a predicted one as false at PPV < τ."""
SIZES_OF_TRUE = ("small", "medium", "large")
SIZE_LIMITS = (32**2, 96**2)
"""Pixels of the labels from which a true component is medium, and large."""


@dataclass(frozen=True)
class Sizes:
    """The smallest predicted and true components that count, in pixels of the labels."""

    predicted: int
    true: int


ANOMALY_TRACK = Sizes(500, 100)
OBSTACLE_TRACK = Sizes(50, 10)
_OBSTACLES = ("road_obstacle_21", "lost_and_found", "fishyscapes_lost_and_found")


def track_sizes(dataset: str) -> Sizes:
    """The benchmark's limits for a data set: small ones for obstacles on the road, else those of RoadAnomaly21."""
    return OBSTACLE_TRACK if dataset in _OBSTACLES else ANOMALY_TRACK


def by_size(pixels: Integer[np.ndarray, " G"]) -> Bool[np.ndarray, "3 G"]:
    """Which true components are small, medium and large."""
    return np.arange(len(SIZES_OF_TRUE))[:, None] == np.searchsorted(SIZE_LIMITS, pixels, side="right")


def _counts(*shape: int) -> NDArray[np.int64]:
    return np.zeros((*shape, len(F1_THRESHOLDS)), np.int64)


@dataclass
class ComponentMetrics:
    """Sums over components, so that states which saw different images add up: `merge` equals one that saw them all.

    true, siou, found: of true components by size, found at each τ. predicted, ppv, false: of predicted ones.
    """

    sizes: Sizes
    true: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(SIZES_OF_TRUE), np.int64))
    predicted: int = 0
    siou: tuple[ExactSum, ...] = (ExactSum(),) * len(SIZES_OF_TRUE)
    ppv: ExactSum = field(default_factory=ExactSum)
    found: NDArray[np.int64] = field(default_factory=lambda: _counts(len(SIZES_OF_TRUE)))
    false: NDArray[np.int64] = field(default_factory=_counts)

    def update(self, key: str, predicted: Bool[np.ndarray, "H W"], label: UInt8[np.ndarray, "H W"]) -> None:
        """Adds one image: what is taken for an anomaly, and the label, 0 normal, 1 anomaly, 255 void; key names it.

        Raises ValueError for maps of different shapes and InputError for other label values.
        """
        if predicted.shape != label.shape:
            raise ValueError(f"prediction of {key} is {predicted.shape}, its label {label.shape}; make them one size")
        check_label(key, label)
        seen = component_overlaps(predicted, label, self.sizes.predicted, self.sizes.true)
        sizes = by_size(seen.pixels)
        self.true = self.true + sizes.sum(1)
        self.predicted += len(seen.ppv)
        self.siou = tuple(total.plus(seen.siou[own].tolist()) for total, own in zip(self.siou, sizes, strict=True))
        self.ppv = self.ppv.plus(seen.ppv.tolist())
        self.found = self.found + sizes.astype(np.int64) @ (seen.siou[:, None] >= F1_THRESHOLDS)
        self.false = self.false + (seen.ppv < F1_THRESHOLDS[:, None]).sum(1)

    def merge(self, other: ComponentMetrics) -> None:
        """Adds what another state saw. Raises ValueError where that one counts components of other sizes."""
        if other.sizes != self.sizes:
            raise ValueError(f"cannot merge components counted by {other.sizes} into {self.sizes}")
        for name in ("true", "predicted", "ppv", "found", "false"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.siou = tuple(ours + theirs for ours, theirs in zip(self.siou, other.siou, strict=True))

    def compute(self) -> dict[str, Any]:
        """{"siou", "ppv", "f1", "true", "predicted", "by_size": {"small": {"siou", "recall", "true"}, …}}: means over
        all components of the set, fractions in 0..1, and how many components there are. f1 is the mean over τ of
        2 TP / (2 TP + FN + FP), recall that of TP / (TP + FN). What has no value is None."""
        true, found = int(self.true.sum()), self.found.sum(0)
        pairs = found + true + self.false  # 2 TP + FN + FP, as TP + FN are all true components
        return {
            "siou": sum(self.siou, ExactSum()).value / true if true else None,
            "ppv": self.ppv.value / self.predicted if self.predicted else None,
            "f1": float((2 * found / pairs).mean()) if (pairs > 0).all() else None,
            "true": true,
            "predicted": self.predicted,
            "by_size": {name: self._of_size(i) for i, name in enumerate(SIZES_OF_TRUE)},
        }

    def _of_size(self, i: int) -> dict[str, float | int | None]:
        true = int(self.true[i])
        if not true:
            return {"siou": None, "recall": None, "true": 0}
        return {"siou": self.siou[i].value / true, "recall": float(self.found[i].mean() / true), "true": true}
