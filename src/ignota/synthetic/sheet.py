"""An overview of many scenes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ignota.synthetic.scene import SyntheticScene, draw_scene
from ignota.taxonomy import CITYSCAPES

_UNKNOWN = np.array((255, 64, 160), np.float32)


def contact_sheet(
    seeds: Sequence[int],
    columns: int = 6,
    size: tuple[int, int] = (128, 256),
    anomalies: int | None = 0,
    show: Literal["image", "label", "anomaly"] = "image",
    gap: int = 4,
) -> NDArray[np.uint8]:
    """Scenes in rows of `columns` on white, "H W 3" uint8: as images, labels, or with anomalies tinted."""
    height, width = size
    rows = -(-len(seeds) // columns)
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    for k, seed in enumerate(seeds):
        top, left = gap + (k // columns) * (height + gap), gap + (k % columns) * (width + gap)
        tile = _tile(draw_scene(seed, height, width, anomalies), show)
        sheet[top : top + height, left : left + width] = tile
    return sheet


def _tile(scene: SyntheticScene, show: str) -> NDArray[np.uint8]:
    if show == "label":
        return CITYSCAPES.palette()[scene.label]
    if show == "anomaly":
        grey = scene.image.mean(2, keepdims=True) * 0.55 + 60.0
        mixed = np.where(scene.anomaly[..., None] == 1, 0.35 * scene.image + 0.65 * _UNKNOWN, grey)
        return mixed.clip(0, 255).astype(np.uint8)
    return scene.image
