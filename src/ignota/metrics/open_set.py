"""How well known classes are segmented by a method that may also say "unknown": open-mIoU.

Laskar et al., "A Dataset for Semantic Segmentation in the Presence of Unknowns" (ISSU), CVPR 2025. Pixels above a
threshold of the anomaly score become one more class; the mean IoU is that of the known classes, so that both a known
pixel called unknown and an unknown pixel called known are errors.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from ignota.taxonomy import IGNORE_INDEX, UNKNOWN_INDEX

_VALUES = 256


@dataclass
class OpenSetMetrics:
    """Pixels by true and predicted class: known ones from 0, 254 unknown; void does not count."""

    table: Int64[np.ndarray, "256 256"] = field(default_factory=lambda: np.zeros((_VALUES, _VALUES), np.int64))

    def update(
        self,
        truth: UInt8[np.ndarray, "H W"],
        closed: UInt8[np.ndarray, "H W"],
        unknown: Bool[np.ndarray, "H W"] | None = None,
    ) -> None:
        """Adds one image. truth: known classes, 254 unknown, 255 void; closed: the closed set's labels; unknown: where
        the method says so. Without it unknown pixels are void: the mIoU is that of the closed set."""
        guess = closed if unknown is None else np.where(unknown, np.uint8(UNKNOWN_INDEX), closed)
        seen = truth != IGNORE_INDEX
        if unknown is None:
            seen &= truth != UNKNOWN_INDEX
        codes = truth[seen].astype(np.int32) * _VALUES + guess[seen]
        self.table = self.table + np.bincount(codes, minlength=self.table.size).reshape(self.table.shape)

    def compute(self) -> float | None:
        """The mean IoU in 0..1 over known classes that are in the labels or predicted (ISSU counts absent ones as 0);
        None where there is none."""
        hits = self.table.diagonal()
        union = (self.table.sum(0) + self.table.sum(1) - hits)[:UNKNOWN_INDEX]
        present = union > 0
        return float((hits[:UNKNOWN_INDEX][present] / union[present]).mean()) if present.any() else None
