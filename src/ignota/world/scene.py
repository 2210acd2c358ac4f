"""One image as a world sees it: tables over regions, read again without any network when the world changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from ignota.data.images import resize_label
from ignota.functional.regions import paint
from ignota.regions.proposals import mask_region
from ignota.structures import Encoding, RegionSet
from ignota.taxonomy import UNKNOWN_INDEX, Taxonomy
from ignota.world.features import FeatureSpace
from ignota.world.reading import RegionReading
from ignota.world.spaces import pool_taps

SMALLEST_REGION = 0.0003
"""Unknown regions below this share of the image are not listed; their pixels stay unknown."""


@dataclass(frozen=True)
class Tables:
    """What stays of an image when its features are dropped: enough to label it again after the world was taught.

    size: (H, W) of the original. closed: "H W" the closed set's labels on the working grid. score: "H W" the anomaly
    score before anything was taught. reading: its regions on the same grid and what their features say.
    """

    size: tuple[int, int]
    closed: UInt8[np.ndarray, "H W"]
    score: Float[Tensor, "H W"]
    reading: RegionReading

    @property
    def regions(self) -> RegionSet:
        """The finest regions."""
        return self.reading.hierarchy.finest

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays; those of the embeddings and of the region maps are most of them."""
        reading = self.reading
        maps = sum(level.ids.nbytes for level in reading.hierarchy.levels)
        return self.closed.nbytes + maps + sum(t.nbytes for t in (self.score, reading.embeddings, reading.nearest))


@dataclass(frozen=True)
class Taught:
    """What taught classes make of the regions of an image.

    novel: "R" the index of the taught class, -1 for none. level: "R" the score that is left where there is one.
    """

    novel: Int[Tensor, " R"]
    level: Float[Tensor, " R"]


@dataclass(frozen=True)
class UnknownRegion:
    """A connected piece of the image that belongs to no class, or one that somebody picked.

    mask: "H W" on the original image. box: left, top, right, bottom. score: mean anomaly in 0..1. nearest: the class
    that it most often takes. area: pixels. given: how it was picked. It remembers its image, so `learn` takes it alone.
    """

    mask: Bool[np.ndarray, "H W"]
    box: tuple[int, int, int, int]
    score: float
    area: int
    nearest: str
    encoding: Encoding = field(repr=False, compare=False)
    space: FeatureSpace = field(repr=False, compare=False)
    given: str = "region"

    @cached_property
    def embedding(self) -> Float[np.ndarray, " F"]:
        """The unit vector of the region in the world's own space, float32."""
        working = resize_mask(self.mask, (self.encoding.image.shape[0], self.encoding.image.shape[1]))
        if not working.any():
            working[tuple(np.argwhere(self.mask).mean(0).astype(int) * working.shape // np.array(self.mask.shape))] = (
                True
            )
        pooled = pool_taps(self.encoding, mask_region(working), self.space.taps)
        return np.asarray(self.space.embed(pooled)[0].cpu().numpy(), np.float32)


@dataclass(frozen=True)
class Scene:
    """Labels, anomaly and unknown regions of one image.

    tables: of the image, before the world was taught; taught: what its classes make of them. threshold and scale turn
    scores into 0..1 with the threshold at one half.
    """

    encoding: Encoding
    taxonomy: Taxonomy
    num_known: int
    tables: Tables
    taught: Taught
    threshold: float
    scale: float
    space: FeatureSpace

    @property
    def regions(self) -> RegionSet:
        return self.tables.regions

    @cached_property
    def learnt_something(self) -> bool:
        """Whether any region bears a taught class."""
        return bool((self.taught.novel >= 0).any())

    @cached_property
    def score(self) -> Float[Tensor, "H W"]:
        """The raw score on the working grid; in regions of a taught class never more than their level."""
        raw = self.tables.score
        if not self.learnt_something:
            return raw
        level = torch.where(self.taught.novel >= 0, self.taught.level.to(raw.dtype), torch.inf)
        return torch.minimum(raw, paint(level, self.regions, torch.inf))

    @cached_property
    def labels(self) -> UInt8[np.ndarray, "H W"]:
        """World ids on the original image: known classes, then taught ones."""
        return resize_label(self.working_labels, self.tables.size)

    @cached_property
    def anomaly(self) -> Float[np.ndarray, "H W"]:
        """Anomaly in 0..1 on the original image, one half at the threshold."""
        raw = self.score.cpu().numpy()
        size = self.tables.size
        if raw.shape != size:
            raw = cv2.resize(raw, size[::-1], interpolation=cv2.INTER_LINEAR)
        return squash(raw, self.threshold, self.scale)

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
        kept = [i for i in order if i != 0 and statistics[i, cv2.CC_STAT_AREA] >= SMALLEST_REGION * mask.size]
        return tuple(self._unknown_region(ids, statistics, int(i)) for i in kept)

    def region(self, mask: Bool[np.ndarray, "H W"], given: str = "mask") -> UnknownRegion:
        """A mask on the original image as a region of this scene; it must not be empty."""
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        return self._described(mask, box, given)

    def _unknown_region(self, ids: np.ndarray, statistics: np.ndarray, i: int) -> UnknownRegion:
        x, y, width, height = (int(v) for v in statistics[i][:4])
        window = np.s_[y : y + height, x : x + width]
        mask = np.zeros(ids.shape, bool)
        mask[window] = ids[window] == i
        return self._described(mask, (x, y, x + width, y + height), "region")

    def _described(self, mask: Bool[np.ndarray, "H W"], box: tuple[int, int, int, int], given: str) -> UnknownRegion:
        window = np.s_[box[1] : box[3], box[0] : box[2]]
        here = mask[window]
        label = int(np.bincount(self.labels[window][here], minlength=1).argmax())
        score = float(self.anomaly[window][here].mean())
        name = self.taxonomy.classes[label].name
        return UnknownRegion(mask, box, score, int(here.sum()), name, self.encoding, self.space, given)

    @cached_property
    def working_labels(self) -> UInt8[np.ndarray, "H W"]:
        """World ids on the working grid."""
        if not self.learnt_something:
            return self.tables.closed
        taught = paint(self.taught.novel, self.regions, -1.0).cpu().numpy()
        return np.where(taught >= 0, (taught + self.num_known).astype(np.uint8), self.tables.closed)


def squash(raw: Float[np.ndarray, ...], threshold: float, scale: float) -> Float[np.ndarray, ...]:
    """Raw scores to 0..1, one half at the threshold."""
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-(raw - threshold) / max(scale, 1e-9))), np.float32)


def resize_mask(mask: Bool[np.ndarray, "H W"], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """By area, so that a thin object does not vanish where the grid is coarser."""
    if mask.shape == size:
        return mask
    return np.asarray(cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA) >= 0.5)


def no_taught(regions: RegionSet, device: torch.device) -> Taught:
    """No region has a taught class."""
    novel = torch.full((regions.count,), -1, dtype=torch.int64, device=device)
    return Taught(novel, torch.zeros(regions.count, device=device))
