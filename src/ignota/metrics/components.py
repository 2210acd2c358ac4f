"""How well whole anomalies are found, each counted once whatever its size: sIoU, PPV and mean F1.

Chan et al., "SegmentMeIfYouCan: A Benchmark for Anomaly Segmentation", NeurIPS 2021 data sets and benchmarks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from numpy.typing import NDArray

from ignota.functional.components import component_overlaps
from ignota.metrics.anomaly import check_label
from ignota.metrics.exact import ExactSum

F1_THRESHOLDS = np.linspace(0.25, 0.75, 11)
"""τ: a true component counts as found at sIoU ≥ τ, a predicted one as false at PPV < τ."""


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


def _counts() -> NDArray[np.int64]:
    return np.zeros(len(F1_THRESHOLDS), np.int64)


@dataclass
class ComponentMetrics:
    """Sums over components, so that states which saw different images add up: `merge` equals one that saw them all."""

    sizes: Sizes
    true: int = 0
    predicted: int = 0
    siou: ExactSum = field(default_factory=ExactSum)
    ppv: ExactSum = field(default_factory=ExactSum)
    found: NDArray[np.int64] = field(default_factory=_counts)
    false: NDArray[np.int64] = field(default_factory=_counts)

    def update(self, key: str, predicted: Bool[np.ndarray, "H W"], label: UInt8[np.ndarray, "H W"]) -> None:
        """Adds one image: what is taken for an anomaly, and the label, 0 normal, 1 anomaly, 255 void; key names it.

        Raises ValueError for maps of different shapes and InputError for other label values.
        """
        if predicted.shape != label.shape:
            raise ValueError(f"prediction of {key} is {predicted.shape}, its label {label.shape}; make them one size")
        check_label(key, label)
        seen = component_overlaps(predicted, label, self.sizes.predicted, self.sizes.true)
        self.true += len(seen.siou)
        self.predicted += len(seen.ppv)
        self.siou = self.siou.plus(seen.siou.tolist())
        self.ppv = self.ppv.plus(seen.ppv.tolist())
        self.found = self.found + (seen.siou >= F1_THRESHOLDS[:, None]).sum(1)
        self.false = self.false + (seen.ppv < F1_THRESHOLDS[:, None]).sum(1)

    def merge(self, other: ComponentMetrics) -> None:
        """Adds what another state saw. Raises ValueError where that one counts components of other sizes."""
        if other.sizes != self.sizes:
            raise ValueError(f"cannot merge components counted by {other.sizes} into {self.sizes}")
        for name in ("true", "predicted", "siou", "ppv", "found", "false"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def compute(self) -> dict[str, Any]:
        """{"siou", "ppv", "f1", "true", "predicted"}: means over all components of the set, fractions in 0..1, and how
        many components there are. f1 is the mean over τ of 2 TP / (2 TP + FN + FP). What has no value is None."""
        pairs = self.found + self.true + self.false  # 2 TP + FN + FP, as TP + FN are all true components
        return {
            "siou": self.siou.value / self.true if self.true else None,
            "ppv": self.ppv.value / self.predicted if self.predicted else None,
            "f1": float((2 * self.found / pairs).mean()) if (pairs > 0).all() else None,
            "true": self.true,
            "predicted": self.predicted,
        }
