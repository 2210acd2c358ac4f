"""Unknown regions as rows: box, mask as COCO RLE, area, score, nearest known class, embedding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ignota.formats.rle import encode_rle
from ignota.perception.scene import Scene, UnknownRegion, region_vectors


def region_rows(scene: Scene, regions: Sequence[UnknownRegion] | None = None) -> list[dict[str, Any]]:
    """One row for each region, by default the unknown ones; boxes as left, top, right, bottom in pixels."""
    regions = scene.unknown if regions is None else regions
    embeddings = region_vectors(scene.encoding, scene.space, (region.mask for region in regions))
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
        for region, embedding in zip(regions, embeddings, strict=True)
    ]
