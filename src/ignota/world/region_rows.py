"""Unknown regions as rows: box, mask as COCO RLE, area, score, nearest known class, embedding."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from ignota.formats.rle import encode_rle
from ignota.structures import RegionSet
from ignota.world.model import OpenWorldModel
from ignota.world.scene import Scene, resize_mask
from ignota.world.spaces import pool_taps


def region_rows(world: OpenWorldModel, scene: Scene) -> list[dict[str, Any]]:
    """One row for each unknown region, the largest first; boxes as left, top, right, bottom in pixels."""
    embeddings = region_embeddings(world, scene)
    return [
        {
            "box": list(region.box),
            "area": region.area,
            "score": region.score,
            "nearest": region.nearest,
            "rle": encode_rle(region.mask),
            # the shortest decimals that give the same float32 back
            "embedding": [float(str(value)) for value in embedding],
        }
        for region, embedding in zip(scene.unknown, embeddings, strict=True)
    ]


def region_embeddings(world: OpenWorldModel, scene: Scene) -> Float[np.ndarray, "R D"]:
    """Unit embeddings of the unknown regions in the world's own space, as `learn` would take them."""
    height, width = scene.encoding.image.shape[:2]
    ids = np.zeros((height, width), np.int32)
    for number, region in enumerate(scene.unknown, start=1):
        mask = resize_mask(region.mask, (height, width))
        if not mask.any():  # thinner than the working grid: the cell under the middle of its pixels
            rows, columns = np.nonzero(region.mask)
            middle = len(rows) // 2
            y, x = rows[middle] * height // region.mask.shape[0], columns[middle] * width // region.mask.shape[1]
            mask[y, x] = True
        ids[mask] = number
    space = world.known.space
    pooled = pool_taps(scene.encoding, RegionSet(ids, len(scene.unknown)), space.taps)
    return np.asarray(space.embed(pooled).float().cpu().numpy())
