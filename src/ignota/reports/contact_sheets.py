"""Contact sheets: small square pictures of regions side by side, for people who are to say what they are."""

from __future__ import annotations

import io
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

TILE = 96
_GAP = 4
_COLUMNS = 8
_PAPER = 244


def contact_sheet(tiles: Sequence[bytes], columns: int = _COLUMNS) -> UInt8[np.ndarray, "H W 3"]:
    """Tiles, JPEGs of at most `TILE` pixels a side, row by row on light paper, RGB; raises ValueError for none."""
    if not tiles:
        raise ValueError("a contact sheet shows one tile at least")
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    step = TILE + _GAP
    sheet = np.full((rows * step + _GAP, columns * step + _GAP, 3), _PAPER, np.uint8)
    for number, tile in enumerate(tiles):
        picture = np.asarray(Image.open(io.BytesIO(tile)).convert("RGB"))
        height, width = picture.shape[:2]
        top = _GAP + number // columns * step + (TILE - height) // 2
        left = _GAP + number % columns * step + (TILE - width) // 2
        sheet[top : top + height, left : left + width] = picture
    return sheet


def missing_tile() -> bytes:
    """What stands for a region whose image is gone."""
    tile = np.full((TILE, TILE, 3), 200, np.uint8)
    cv2.putText(
        tile, "?", (TILE // 2 - 11, TILE // 2 + 12), cv2.FONT_HERSHEY_SIMPLEX, 1.1, (90, 90, 90), 2, cv2.LINE_AA
    )
    return bytes(cv2.imencode(".jpg", tile)[1])
