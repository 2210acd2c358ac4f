"""Unknown regions of an image for discovery: unknown pixels, cut along edges of the image.

What the recipe `light` calls one unknown region often holds several objects, a car and the van beside it; a group of
such regions would be called nothing. Regions of middle size, from the image alone, cut them apart; the coarsest ones
still hide pedestrians. The recipe `full` finds objects, which stay whole.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Int
from scipy import ndimage

from ignota.perception.hierarchy import RegionSettings, image_hierarchy
from ignota.perception.scene import SMALLEST_REGION, Scene
from ignota.structures import RegionSet
from ignota.world.region_rows import region_rows

SMALLEST = 16
"""Pixels of the smallest region: nothing can be learnt of less."""
_CUT = 100.0
"""Scale of the regions that cut: between those that the score is averaged over."""


def cut_regions(unknown: Bool[np.ndarray, "H W"], regions: Int[np.ndarray, "H W"], smallest: int) -> RegionSet:
    """Components of the unknown pixels inside each region, of at least `smallest` pixels, in reading order."""
    ids, count = np.zeros(unknown.shape, np.int32), 0
    cut = np.where(unknown, regions, 0)
    for number, window in enumerate(ndimage.find_objects(cut), start=1):
        if window is None:
            continue
        inside = (cut[window] == number).astype(np.uint8)
        _, parts, statistics, _ = cv2.connectedComponentsWithStats(inside, connectivity=8, ltype=cv2.CV_32S)
        kept = statistics[:, cv2.CC_STAT_AREA] >= smallest
        kept[0] = False
        table = np.where(kept, np.cumsum(kept) + count, 0).astype(np.int32)
        ids[window] += table[parts]
        count += int(kept.sum())
    return RegionSet(ids, count)


def cut_region_rows(scene: Scene) -> list[dict[str, Any]]:
    """One row for each cut region, in the form of `region_rows`; under the recipe `full` for each unknown object."""
    if scene.whole_objects:
        return region_rows(scene)
    size = scene.tables.size
    hierarchy = image_hierarchy(scene.encoding.image, RegionSettings((_CUT,)))
    regions = cv2.resize(hierarchy.finest.ids, size[::-1], interpolation=cv2.INTER_NEAREST)
    smallest = max(SMALLEST, round(SMALLEST_REGION * size[0] * size[1]))
    cut = cut_regions(scene.unknown_mask(), regions, smallest)
    return region_rows(scene, [scene.region(cut.ids == number) for number in range(1, cut.count + 1)])
