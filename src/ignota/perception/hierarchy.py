"""Regions at several scales, fine to coarse, so small objects keep a region and large ones stay whole."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from pydantic import ConfigDict, Field
from skimage.segmentation import felzenszwalb
from torch import Tensor

from ignota.functional.regions import paint, region_mean
from ignota.structures import RegionSet

Scale = Annotated[float, Field(gt=0, le=1e5)]


@dataclass(frozen=True)
class RegionSettings:
    """The numbers that decide which regions an image has.

    scales: of Felzenszwalb's method, the finest first; chosen on held-out images by experiments/region_scales.py, see
    LOG. side: short side in pixels of the grid that regions are computed on, so that scales mean the same at every
    working size. gradient: mean gradient that every image is brought to, so that one scale serves dull and sunlit
    images. smallest: pixels of the smallest region on that grid. blur: standard deviation in its pixels.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    scales: Annotated[tuple[Scale, ...], Field(min_length=1, max_length=8)] = (30.0, 200.0)
    side: Annotated[int, Field(ge=16, le=2048)] = 270
    gradient: Annotated[float, Field(ge=1e-4, le=10)] = 0.04
    smallest: Annotated[int, Field(ge=1, le=100_000)] = 20
    blur: Annotated[float, Field(ge=0.1, le=20)] = 0.8


@dataclass(frozen=True)
class Hierarchy:
    """Partitions of one image, the finest first; every pixel lies in one region of each."""

    levels: tuple[RegionSet, ...]

    @property
    def finest(self) -> RegionSet:
        return self.levels[0]

    def smooth(self, values: Float[Tensor, "H W"]) -> Float[Tensor, "H W"]:
        """The mean of a pixel's value and of its region's means on all L levels: (v + Σ_l mean_l v) / (1 + L)."""
        means = (paint(region_mean(values, level), level, 0.0) for level in self.levels)
        return torch.stack([values, *means]).mean(0)

    def blend(self, values: Float[Tensor, "R K"]) -> Float[Tensor, "R K"]:
        """`smooth` for values that are constant on the finest regions, averaged over these again."""
        total = 2 * values  # as pixels and as the finest level
        for overlap in self._overlaps:
            share = overlap.to(values)
            means = (share.T @ values) / share.sum(0)[:, None].clamp(min=1)
            total = total + (share @ means) / share.sum(1, keepdim=True).clamp(min=1)
        return total / (1 + len(self.levels))

    @cached_property
    def _overlaps(self) -> tuple[Float[Tensor, "R S"], ...]:
        """For each coarser level, how many pixels each finest region shares with each of its regions."""
        fine = self.finest
        first = fine.ids.ravel().astype(np.int64) - 1
        return tuple(
            torch.from_numpy(
                np.bincount(first * level.count + level.ids.ravel() - 1, minlength=fine.count * level.count)
            )
            .view(fine.count, level.count)
            .float()
            for level in self.levels[1:]
        )


def image_hierarchy(image: UInt8[np.ndarray, "H W 3"], settings: RegionSettings | None = None) -> Hierarchy:
    """Graph-based regions of the image alone at each scale of `settings`, on the image's grid.

    Felzenszwalb and Huttenlocher, "Efficient Graph-Based Image Segmentation", IJCV 2004. No network is asked, so
    nothing that a closed set takes for something known can tear an unknown thing apart.
    """
    height, width = image.shape[:2]
    settings = RegionSettings() if settings is None else settings
    shrink = min(1.0, settings.side / min(height, width))
    grid = max(1, round(height * shrink)), max(1, round(width * shrink))
    small = cv2.resize(image, grid[::-1], interpolation=cv2.INTER_AREA) if shrink < 1 else image
    pixels = small.astype(np.float32) / 255
    pixels *= settings.gradient / max(mean_gradient(pixels, settings.blur), 1e-3)
    with ThreadPoolExecutor(max(1, min(len(settings.scales), torch.get_num_threads()))) as workers:
        levels = workers.map(lambda scale: _level(pixels, scale, settings, (height, width)), settings.scales)
        return Hierarchy(tuple(levels))


def mean_gradient(image: Float[np.ndarray, "H W 3"], blur: float) -> float:
    """Mean absolute difference between neighbours, down plus across, after a little blur."""
    blurred = cv2.GaussianBlur(image, (0, 0), blur)
    steps = (np.abs(np.diff(blurred, axis=axis)) for axis in (0, 1))
    return sum((float(step.mean()) for step in steps if step.size), 0.0)


def _level(
    pixels: Float[np.ndarray, "h w 3"], scale: float, settings: RegionSettings, size: tuple[int, int]
) -> RegionSet:
    found = felzenszwalb(pixels, scale=scale, sigma=settings.blur, min_size=settings.smallest)
    ids = found.astype(np.int32) + 1  # numbered without gaps, and none is lost on a grid that is finer
    if found.shape != size:
        ids = np.asarray(cv2.resize(ids, size[::-1], interpolation=cv2.INTER_NEAREST))
    return RegionSet(ids, int(found.max()) + 1)
