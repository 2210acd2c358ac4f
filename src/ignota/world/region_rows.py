"""Unknown regions as rows: box, mask as COCO RLE, area, score, nearest known class, embedding."""

from __future__ import annotations

from typing import Any

from ignota.formats.rle import encode_rle
from ignota.world.scene import Scene, region_vectors


def region_rows(scene: Scene) -> list[dict[str, Any]]:
    """One row for each unknown region, the largest first; boxes as left, top, right, bottom in pixels."""
    embeddings = region_vectors(scene.encoding, scene.space, (region.mask for region in scene.unknown))
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
