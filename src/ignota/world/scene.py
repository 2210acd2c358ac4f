"""One image as a world sees it: tables over regions, read again without any network when the world changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from ignota.data.images import resize_label
from ignota.functional.regions import paint
from ignota.structures import Encoding, RegionSet
from ignota.taxonomy import UNKNOWN_INDEX, Taxonomy

_SMALLEST = 0.0003
"""Unknown regions below this share of the image are not listed; their pixels stay unknown."""


@dataclass(frozen=True)
class UnknownRegion:
    """A connected piece of the image that belongs to no class.

    mask: "H W" on the original image. box: left, top, right, bottom. score: mean anomaly in 0..1. nearest: the known
    class that it most often takes. area: pixels.
    """

    mask: Bool[np.ndarray, "H W"]
    box: tuple[int, int, int, int]
    score: float
    area: int
    nearest: str


@dataclass(frozen=True)
class Scene:
    """Labels, anomaly and unknown regions of one image.

    closed: "H W" the closed set's labels on the working grid. score: "H W" the raw anomaly score. regions with their
    taught class `novel` "R" (-1: none), on the same grid. threshold and scale turn scores into 0..1 with the threshold
    at one half.
    """

    encoding: Encoding
    taxonomy: Taxonomy
    num_known: int
    closed: UInt8[np.ndarray, "H W"]
    score: Float[Tensor, "H W"]
    regions: RegionSet
    novel: Tensor
    threshold: float
    scale: float

    @cached_property
    def labels(self) -> UInt8[np.ndarray, "H W"]:
        """World ids on the original image: known classes, then taught ones."""
        return resize_label(self.working_labels, self.encoding.size)

    @cached_property
    def anomaly(self) -> Float[np.ndarray, "H W"]:
        """Anomaly in 0..1 on the original image, one half at the threshold."""
        raw = self.score.cpu().numpy()
        size = self.encoding.size
        if raw.shape != size:
            raw = cv2.resize(raw, size[::-1], interpolation=cv2.INTER_LINEAR)
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-(raw - self.threshold) / max(self.scale, 1e-9))), np.float32)

    def labels_with_unknown(self, threshold: float = 0.5) -> UInt8[np.ndarray, "H W"]:
        """Labels with 254 where the anomaly exceeds `threshold`; no network runs."""
        return np.where(self.anomaly > threshold, np.uint8(UNKNOWN_INDEX), self.labels)

    @cached_property
    def unknown(self) -> tuple[UnknownRegion, ...]:
        """Unknown regions at the world's threshold, the largest first."""
        return self.unknown_at(0.5)

    def unknown_at(self, threshold: float) -> tuple[UnknownRegion, ...]:
        """Connected regions whose anomaly exceeds `threshold`."""
        mask = (self.anomaly > threshold).astype(np.uint8)
        _, ids, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_32S)
        order = np.argsort(-statistics[:, cv2.CC_STAT_AREA], kind="stable")
        kept = [i for i in order if i != 0 and statistics[i, cv2.CC_STAT_AREA] >= _SMALLEST * mask.size]
        return tuple(self._unknown_region(ids, statistics, int(i)) for i in kept)

    def _unknown_region(self, ids: np.ndarray, statistics: np.ndarray, i: int) -> UnknownRegion:
        x, y, width, height, area = (int(v) for v in statistics[i])
        window = np.s_[y : y + height, x : x + width]
        mask = np.zeros(ids.shape, bool)
        mask[window] = ids[window] == i
        here = mask[window]
        label = int(np.bincount(self.labels[window][here], minlength=1).argmax())
        score = float(self.anomaly[window][here].mean())
        return UnknownRegion(mask, (x, y, x + width, y + height), score, area, self.taxonomy.classes[label].name)

    @property
    def working_labels(self) -> UInt8[np.ndarray, "H W"]:
        """World ids on the working grid."""
        taught = paint(self.novel, self.regions, -1.0).cpu().numpy()
        return np.where(taught >= 0, (taught + self.num_known).astype(np.uint8), self.closed)


def empty_novel(regions: RegionSet, device: torch.device) -> Tensor:
    """No region has a taught class."""
    return torch.full((regions.count,), -1, dtype=torch.int64, device=device)
