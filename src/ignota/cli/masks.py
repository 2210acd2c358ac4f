"""Examples from the command line: an image and a mask picture of the same size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from ignota.data.files import one_line
from ignota.data.images import read_image, read_label
from ignota.structures import InputError

_JPEG = b"\xff\xd8"


def read_example(image_path: Path, mask_path: Path) -> tuple[UInt8[np.ndarray, "H W 3"], Bool[np.ndarray, "H W"]]:
    """An image and its mask; raises InputError for pictures that cannot be read, sizes that differ, empty masks."""
    image, mask = read_image(image_path), read_mask(mask_path)
    if mask.shape != image.shape[:2]:
        sizes = f"{mask.shape[1]}×{mask.shape[0]}, its image {one_line(image_path)} {image.shape[1]}×{image.shape[0]}"
        raise InputError(f"the mask {one_line(mask_path)} is {sizes}: draw it on the same image")
    if not mask.any():
        raise InputError(f"the mask {one_line(mask_path)} is empty: paint the thing in any value but zero")
    return image, mask


def read_mask(path: Path) -> Bool[np.ndarray, "H W"]:
    """Where a picture is not zero: stored values of indexed and grey ones, any channel of colour ones.

    JPEG is refused, as its noise is not zero either.
    """
    try:
        return np.asarray(read_label(path) != 0)
    except InputError:
        if not path.is_file() or path.read_bytes()[:2] == _JPEG:
            raise
    return np.asarray(read_image(path).any(axis=2))
