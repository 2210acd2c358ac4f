"""Regions at several scales, fine to coarse, so that small things keep their own region and large ones stay whole."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from skimage.segmentation import felzenszwalb
from torch import Tensor

from ignota.functional.regions import paint, region_mean
from ignota.structures import RegionSet

SCALES = (30.0, 200.0)
"""Chosen on held-out training images by docs/make_regions.py, see LOG."""
_SIDE = 270
"""Short side of the grid that regions are sought on: their scales mean the same whatever the working size."""
_GRADIENT = 0.04
"""Mean gradient that every image is brought to, so that one scale serves a dull road and a sunlit one."""
_SMALLEST = 20
_BLUR = 0.8


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


def image_hierarchy(image: UInt8[np.ndarray, "H W 3"], scales: tuple[float, ...] = SCALES) -> Hierarchy:
    """Graph-based regions of the image alone at each of `scales`, on the image's grid.

    Felzenszwalb and Huttenlocher, "Efficient Graph-Based Image Segmentation", IJCV 2004. No network is asked, so
    nothing that a closed set takes for something known can tear an unknown thing apart.
    """
    height, width = image.shape[:2]
    shrink = min(1.0, _SIDE / min(height, width))
    grid = max(1, round(height * shrink)), max(1, round(width * shrink))
    small = cv2.resize(image, grid[::-1], interpolation=cv2.INTER_AREA) if shrink < 1 else image
    pixels = small.astype(np.float32) / 255
    pixels *= _GRADIENT / max(mean_gradient(pixels), 1e-3)
    with ThreadPoolExecutor(max(1, min(len(scales), torch.get_num_threads()))) as workers:
        return Hierarchy(tuple(workers.map(lambda scale: _level(pixels, scale, (height, width)), scales)))


def mean_gradient(image: Float[np.ndarray, "H W 3"]) -> float:
    """Mean absolute difference between neighbours, down plus across, after a little blur."""
    blurred = cv2.GaussianBlur(image, (0, 0), _BLUR)
    steps = (np.abs(np.diff(blurred, axis=axis)) for axis in (0, 1))
    return sum((float(step.mean()) for step in steps if step.size), 0.0)


def _level(pixels: Float[np.ndarray, "h w 3"], scale: float, size: tuple[int, int]) -> RegionSet:
    found = felzenszwalb(pixels, scale=scale, sigma=_BLUR, min_size=_SMALLEST)
    ids = found.astype(np.int32) + 1  # numbered without gaps, and none is lost on a grid that is finer
    if found.shape != size:
        ids = np.asarray(cv2.resize(ids, size[::-1], interpolation=cv2.INTER_NEAREST))
    return RegionSet(ids, int(found.max()) + 1)
