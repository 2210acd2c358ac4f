"""Small pictures of exemplars, stored to show what a class was taught from."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

_SIDE = 96
_MARGIN = 0.15
_DIM = 0.45


def thumbnail(image: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"]) -> bytes:
    """A square JPEG round the mask, what lies outside it dimmed; both on one grid, the mask not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    centre = (rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2
    half = max(8.0, (0.5 + _MARGIN) * max(rows[-1] - rows[0], columns[-1] - columns[0]))
    half = min(half, max(mask.shape) / 2)
    y0, y1 = int(max(0, centre[0] - half)), int(min(mask.shape[0], centre[0] + half + 1))
    x0, x1 = int(max(0, centre[1] - half)), int(min(mask.shape[1], centre[1] + half + 1))
    crop = image[y0:y1, x0:x1].astype(np.float32)
    crop *= np.where(mask[y0:y1, x0:x1], 1.0, _DIM)[:, :, None]
    scale = _SIDE / max(crop.shape[:2])
    size = max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale))
    small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    pixels = np.clip(np.rint(small), 0, 255).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])[1])
