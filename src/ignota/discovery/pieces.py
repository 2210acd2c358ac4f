"""Unknown pieces of an image, as discovery compares them: unknown pixels, cut where the image itself has an edge.

What a world calls one unknown region often holds several things, a car and the van beside it; a group of such regions
would be called nothing. Regions of middle size, from the image alone, cut them apart; the coarsest ones still hide
pedestrians.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Int
from scipy import ndimage

from ignota.formats.rle import encode_rle
from ignota.regions.hierarchy import RegionSettings, image_hierarchy
from ignota.structures import RegionSet
from ignota.world.scene import SMALLEST_REGION, Scene, mean_anomaly, region_vectors

SMALLEST = 16
"""Pixels of the smallest piece: nothing can be learnt of less."""
_CUT = 100.0
"""Scale of the regions that cut: between those that the score is averaged over."""


def unknown_pieces(unknown: Bool[np.ndarray, "H W"], regions: Int[np.ndarray, "H W"], smallest: int) -> RegionSet:
    """Connected pieces of the unknown pixels inside each region, of at least `smallest` pixels, in reading order."""
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


def piece_rows(scene: Scene) -> list[dict[str, Any]]:
    """One row for each unknown piece in the form of `segment`: box, mask, area, score, nearest, embedding."""
    size = scene.tables.size
    cut = image_hierarchy(scene.encoding.image, RegionSettings((_CUT,))).finest
    regions = cv2.resize(cut.ids, size[::-1], interpolation=cv2.INTER_NEAREST)
    pieces = unknown_pieces(scene.unknown_mask(), regions, max(SMALLEST, round(SMALLEST_REGION * size[0] * size[1])))
    numbers = range(1, pieces.count + 1)
    rows = [_row(scene, pieces.ids == number) for number in numbers]
    vectors = region_vectors(scene.encoding, scene.space, (pieces.ids == number for number in numbers))
    for row, embedding in zip(rows, vectors, strict=True):
        row["embedding"] = [float(str(value)) for value in embedding]
    return rows


def _row(scene: Scene, mask: Bool[np.ndarray, "H W"]) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    window = np.s_[box[1] : box[3], box[0] : box[2]]
    here = mask[window]
    label = int(np.bincount(scene.labels[window][here]).argmax())
    return {
        "box": list(box),
        "area": int(here.sum()),
        "score": mean_anomaly(scene.levels[window][here]),
        "nearest": scene.taxonomy.classes[label].name,
        "rle": encode_rle(mask),
    }
