"""The scene of one image: tables over regions, read again without any network when the world changes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int32, UInt8, UInt16
from scipy import ndimage
from torch import Tensor

from ignota.data.images import resize_label
from ignota.functional.regions import paint
from ignota.perception.features import FeatureSpace, pool_masks
from ignota.perception.objects import find_objects, snapped
from ignota.perception.reading import RegionReading
from ignota.structures import Encoding, InputError, RegionSet
from ignota.taxonomy import UNKNOWN_INDEX, Taxonomy

SMALLEST_REGION = 0.0003
"""Unknown regions below this share of the image are not listed; their pixels stay unknown."""
LEVELS = 65535
"""An anomaly of 1 as an integer: what is stored, sent and compared with a threshold."""
_BLOCK = 1 << 18
"""Pixels that are squashed at a time: what is made of them stays in the cache."""


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
    """`ignota.Region`: a connected component that belongs to no class, or a region that the user picked.

    crop: "h w" its mask inside the box. size: (H, W) of the original image. box: left, top, right, bottom. score: mean
    anomaly in 0..1. nearest: the class that it most often takes. area: pixels. given: how it was picked. It remembers
    its image, so `learn` takes it alone.
    """

    crop: Bool[np.ndarray, "h w"]
    size: tuple[int, int]
    box: tuple[int, int, int, int]
    score: float
    area: int
    nearest: str
    encoding: Encoding = field(repr=False, compare=False)
    space: FeatureSpace = field(repr=False, compare=False)
    given: str = "region"

    def __repr__(self) -> str:
        left, top, right, bottom = self.box
        return (
            f"Region({right - left}×{bottom - top} at ({left}, {top}), score {self.score:.2f}, nearest {self.nearest})"
        )

    @property
    def mask(self) -> Bool[np.ndarray, "H W"]:
        """The mask on the original image, made again at each call: many regions of a large image would fill memory."""
        left, top, right, bottom = self.box
        whole = np.zeros(self.size, bool)
        whole[top:bottom, left:right] = self.crop
        return whole

    @cached_property
    def embedding(self) -> Float[np.ndarray, " F"]:
        """The unit vector of the region in the world's own space, float32."""
        return region_vectors(self.encoding, self.space, [self.mask])[0]


@dataclass(frozen=True)
class Scene:
    """Labels, anomaly and unknown regions of one image.

    tables: of the image, before the world was taught; taught: what its classes make of them. threshold and scale turn
    scores into 0..1 with the threshold at one half. cutoff: what the score of an object must exceed; None: unknown
    regions are connected pixels.
    """

    encoding: Encoding
    taxonomy: Taxonomy
    num_known: int
    tables: Tables
    taught: Taught
    threshold: float
    scale: float
    space: FeatureSpace
    cutoff: float | None = None

    def __repr__(self) -> str:
        height, width = self.tables.size
        return f"Scene({width}×{height}, {len(self.unknown)} unknown, {len(self.taxonomy)} classes)"

    @property
    def regions(self) -> RegionSet:
        """The finest regions, on the working grid."""
        return self.tables.regions

    @property
    def whole_objects(self) -> bool:
        """Whether unknown regions are objects: whether an objectness network saw the image."""
        return self.encoding.objectness is not None

    @cached_property
    def learnt_something(self) -> bool:
        """Whether any region is assigned a taught class."""
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
    def levels(self) -> UInt16[np.ndarray, "H W"]:
        """Anomaly in 0..65535 on the original image: every threshold is compared with these integers."""
        size = self.tables.size
        if tuple(self.score.shape) == size:
            return self.working_levels
        raw = cv2.resize(self.score.cpu().numpy(), size[::-1], interpolation=cv2.INTER_LINEAR)
        return levels(raw, self.threshold, self.scale)

    @cached_property
    def working_levels(self) -> UInt16[np.ndarray, "H W"]:
        """The same on the working grid."""
        return levels(self.score.cpu().numpy(), self.threshold, self.scale)

    @cached_property
    def anomaly(self) -> Float[np.ndarray, "H W"]:
        """Anomaly in 0..1 on the original image, one half at the threshold, in steps of 1/65535."""
        return np.asarray(self.levels / np.float32(LEVELS), np.float32)

    def unknown_mask(self, threshold: float = 0.5) -> Bool[np.ndarray, "H W"]:
        """Where the anomaly exceeds `threshold`, on the original image."""
        return np.asarray(self.levels > limit_of(threshold))

    def labels_with_unknown(self, threshold: float = 0.5) -> UInt8[np.ndarray, "H W"]:
        """Labels with 254 where the anomaly exceeds `threshold`; no network runs."""
        return np.where(self.unknown_mask(threshold), np.uint8(UNKNOWN_INDEX), self.labels)

    @cached_property
    def unknown(self) -> tuple[UnknownRegion, ...]:
        """Unknown objects at the world's threshold, the most anomalous first."""
        return self.unknown_at(0.5)

    def unknown_at(self, threshold: float) -> tuple[UnknownRegion, ...]:
        """Unknown objects where an anomaly of `threshold` counts as unknown, the most anomalous first.

        Worlds without a cutoff for objects list connected pixels above the threshold instead.
        """
        ids = self.object_ids(threshold)
        boxes = ((i + 1, window) for i, window in enumerate(ndimage.find_objects(ids)) if window is not None)
        return tuple(self._unknown_region(ids, i, window) for i, window in boxes)

    def object_ids(self, threshold: float = 0.5) -> Int32[np.ndarray, "H W"]:
        """Unknown objects on the original image: 0 outside, else 1..N in the order of `unknown_at`."""
        return self._objects if threshold == 0.5 else self._object_ids(threshold)

    @cached_property
    def _objects(self) -> Int32[np.ndarray, "H W"]:
        """At the world's own threshold: asked for by list, picture and page."""
        return self._object_ids(0.5)

    def _object_ids(self, threshold: float) -> Int32[np.ndarray, "H W"]:
        if self.cutoff is None:
            return _components(self.unknown_mask(threshold))
        limit = self.score_at(threshold)
        found = working_objects(self.score, self.encoding.image, limit, self.scale, self.cutoff)
        return enlarged(found, self.tables.size)

    def score_at(self, threshold: float) -> float:
        """The raw score of an anomaly in 0..1."""
        share = min(max(threshold, 1e-6), 1 - 1e-6)
        return self.threshold + self.scale * math.log(share / (1 - share))

    def region(self, mask: Bool[np.ndarray, "H W"], given: str = "mask") -> UnknownRegion:
        """A mask on the original image as a region of this scene; it must not be empty."""
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        return self._described(mask[box[1] : box[3], box[0] : box[2]].copy(), box, given)

    def _unknown_region(self, ids: Int32[np.ndarray, "H W"], i: int, window: tuple[slice, slice]) -> UnknownRegion:
        rows, columns = window
        return self._described(ids[window] == i, (columns.start, rows.start, columns.stop, rows.stop), "region")

    def _described(self, crop: Bool[np.ndarray, "h w"], box: tuple[int, int, int, int], given: str) -> UnknownRegion:
        window = np.s_[box[1] : box[3], box[0] : box[2]]
        label = int(np.bincount(self.labels[window][crop], minlength=1).argmax())
        name, score = self.taxonomy.classes[label].name, mean_anomaly(self.levels[window][crop])
        size, area = self.tables.size, int(crop.sum())
        return UnknownRegion(crop, size, box, score, area, name, self.encoding, self.space, given)

    @cached_property
    def working_labels(self) -> UInt8[np.ndarray, "H W"]:
        """World ids on the working grid."""
        if not self.learnt_something:
            return self.tables.closed
        taught = paint(self.taught.novel, self.regions, -1.0).cpu().numpy()
        return np.where(taught >= 0, (taught + self.num_known).astype(np.uint8), self.tables.closed)


def _components(mask: Bool[np.ndarray, "H W"]) -> Int32[np.ndarray, "H W"]:
    """Connected pixels, 8-neighbours, numbered by area, the largest first; specks are left out."""
    _, ids, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    areas = statistics[:, cv2.CC_STAT_AREA]
    order = [i for i in np.argsort(-areas, kind="stable") if i != 0 and areas[i] >= SMALLEST_REGION * mask.size]
    table = np.zeros(len(areas), np.int32)
    table[order] = np.arange(1, len(order) + 1)
    return np.asarray(table[ids])


def working_objects(
    score: Float[Tensor, "H W"], image: UInt8[np.ndarray, "H W 3"], threshold: float, scale: float, cutoff: float
) -> Int32[np.ndarray, "H W"]:
    """Unknown objects on the working grid: 0 outside, else 1..N, the most anomalous first."""
    return snapped(find_objects(scaled(score, threshold, scale), cutoff, SMALLEST_REGION).ids, image)


def scaled(score: Float[Tensor, "H W"], threshold: float, scale: float) -> Float[np.ndarray, "H W"]:
    """Anomaly in scales above the threshold."""
    return np.asarray((score.cpu().numpy() - threshold) / max(scale, 1e-9))


def enlarged(ids: Int32[np.ndarray, "h w"], size: tuple[int, int]) -> Int32[np.ndarray, "H W"]:
    """Numbered objects on a grid of another size, with smooth edges."""
    if ids.shape == size:
        return ids
    found = np.zeros(size, np.int32)
    for i, window in enumerate(ndimage.find_objects(ids)):
        if window is None:
            continue
        near = [slice(max(0, part.start - 1), part.stop + 1) for part in window]
        mask = (ids[near[0], near[1]] == i + 1).astype(np.float32)
        ends = [(part.start, part.start + n) for part, n in zip(near, mask.shape, strict=True)]
        to = [
            slice(*(round(end * full / own) for end in pair))
            for pair, full, own in zip(ends, size, ids.shape, strict=True)
        ]
        target = found[to[0], to[1]]
        if target.size:
            target[cv2.resize(mask, target.shape[::-1], interpolation=cv2.INTER_LINEAR) > 0.5] = i + 1
    return found


def levels(raw: Float[np.ndarray, "*S"], threshold: float, scale: float) -> UInt16[np.ndarray, "*S"]:
    """Raw scores as integers: round(65535 / (1 + exp(-(raw - threshold) / scale))).

    Halves are rounded down: a score at the threshold, which gives one half, does not exceed `limit_of(0.5)`. Raises
    InputError for NaN.
    """
    flat = np.ascontiguousarray(raw, np.float32).reshape(-1)
    found = np.empty(flat.shape, np.uint16)
    for start in range(0, flat.size, _BLOCK):
        with np.errstate(over="ignore"):
            part = 1 / (1 + np.exp(-(flat[start : start + _BLOCK] - threshold) / max(scale, 1e-9)))
        if np.isnan(part).any():
            raise InputError("the anomaly of this image is not a number: the world or the image is damaged")
        found[start : start + _BLOCK] = np.ceil(part * np.float32(LEVELS) - np.float32(0.5))
    return found.reshape(raw.shape)


def limit_of(threshold: float) -> int:
    """The integer that a level must exceed for an anomaly in 0..1 beyond `threshold`; `limitOf` of the page."""
    return math.floor(min(max(threshold, -1.0), 1.0) * LEVELS)


def mean_anomaly(of: UInt16[np.ndarray, " N"]) -> float:
    """The mean of levels as an anomaly in 0..1."""
    return float(of.mean(dtype=np.float64)) / LEVELS


def resize_mask(mask: Bool[np.ndarray, "H W"], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """By area, so that a thin object does not vanish where the grid is coarser."""
    if mask.shape == size:
        return mask
    return np.asarray(cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA) >= 0.5)


def working_mask(mask: Bool[np.ndarray, "H W"], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """`resize_mask`, and for one thinner than the grid the cell under the middle one of its pixels in reading order."""
    working = resize_mask(mask, size)
    if not working.any():
        rows, columns = np.nonzero(mask)
        middle = len(rows) // 2
        working[rows[middle] * size[0] // mask.shape[0], columns[middle] * size[1] // mask.shape[1]] = True
    return working


def region_vectors(
    encoding: Encoding, space: FeatureSpace, masks: Iterable[Bool[np.ndarray, "H W"]]
) -> Float[np.ndarray, "R F"]:
    """Unit vectors, float32, of regions in the world's own space, as `learn` takes them, from masks on the original.

    No mask may be empty. A region's vector does not depend on the others.
    """
    size = (encoding.image.shape[0], encoding.image.shape[1])
    pooled = pool_masks(encoding, (working_mask(mask, size) for mask in masks), space.taps)
    return np.asarray(space.embed(pooled).cpu().numpy(), np.float32)


def no_taught(regions: RegionSet, device: torch.device) -> Taught:
    """No region has a taught class."""
    novel = torch.full((regions.count,), -1, dtype=torch.int64, device=device)
    return Taught(novel, torch.zeros(regions.count, device=device))
