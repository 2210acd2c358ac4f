"""Pictures as data URIs, small enough that a report with many can be mailed."""

from __future__ import annotations

import base64
import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ignota.data.images import resize_image

MAX_WIDTH = 640
JPEG_QUALITY = 88

_PALETTE_COLOURS = 256


def picture_uri(
    picture: UInt8[np.ndarray, "H W 3"], max_width: int = MAX_WIDTH, quality: int = JPEG_QUALITY
) -> tuple[str, tuple[int, int]]:
    """(data URI, (height, width)) of an RGB picture scaled down to at most `max_width`.

    Flat pictures, such as label maps, become indexed PNGs with crisp edges; all others JPEGs. A picture of few colours
    that is noise, which PNG cannot shrink, becomes a JPEG as well. Raises ValueError for anything but "H W 3" uint8.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or picture.size == 0:
        raise ValueError(f"a picture in a report is 'H W 3' uint8 and not empty, not {picture.shape} {picture.dtype}")
    height, width = picture.shape[:2]
    size = (max(1, round(height * max_width / width)), max_width) if width > max_width else (height, width)
    photo = _jpeg(resize_image(picture, size), quality)
    flat = _indexed_png(picture, size)
    if flat is not None and len(flat) <= 2 * len(photo):
        return f"data:image/png;base64,{base64.b64encode(flat).decode()}", size
    return f"data:image/jpeg;base64,{base64.b64encode(photo).decode()}", size


def _jpeg(picture: UInt8[np.ndarray, "H W 3"], quality: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def _indexed_png(picture: UInt8[np.ndarray, "H W 3"], size: tuple[int, int]) -> bytes | None:
    """The picture scaled by nearest neighbour as an indexed PNG; None where it has more than 256 colours."""
    rows, columns = (
        (2 * np.arange(few) + 1) * many // (2 * few) for few, many in zip(size, picture.shape, strict=False)
    )
    small = picture[rows[:, None], columns].astype(np.int32)
    packed = (small[..., 0] << 16) | (small[..., 1] << 8) | small[..., 2]
    colours, index = np.unique(packed, return_inverse=True)
    if len(colours) > _PALETTE_COLOURS:
        return None
    flat = Image.fromarray(index.reshape(size).astype(np.uint8))
    flat.putpalette(np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1).astype(np.uint8).tobytes())
    stream = io.BytesIO()
    flat.save(stream, "PNG", optimize=True)
    return stream.getvalue()
