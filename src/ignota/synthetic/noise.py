"""Noise that is drawn once and then cropped, so a texture costs one copy."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

_SIDE = 512
_SEED = 20220715


@cache
def noise_tile(blur: float) -> NDArray[np.float32]:
    """A seamless tile "512 512" float32 of noise with standard deviation 1, smooth over about `blur` pixels."""
    white = np.random.Generator(np.random.PCG64(_SEED + int(blur * 8))).standard_normal((_SIDE, _SIDE))
    margin = min(int(blur * 4) + 1, _SIDE)
    wide = np.pad(white, margin, mode="wrap")
    smooth = cv2.GaussianBlur(wide, (0, 0), blur) if blur > 0 else wide
    window = np.asarray(smooth)[margin:-margin, margin:-margin]
    tile = np.ascontiguousarray((window - window.mean()) / window.std(), np.float32)
    tile.setflags(write=False)
    return tile


@cache
def cloud_tile() -> NDArray[np.float32]:
    """Fractal noise "512 512": octaves of `noise_tile`, standard deviation about 1."""
    tile = 0.62 * noise_tile(40.0) + 0.45 * noise_tile(16.0) + 0.28 * noise_tile(6.0) + 0.15 * noise_tile(2.0)
    return np.ascontiguousarray(tile, np.float32)


def cut(tile: NDArray[np.float32], rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """A random window "height width" of the endlessly repeated tile."""
    top, left = int(rng.integers(_SIDE)), int(rng.integers(_SIDE))
    if top + height <= _SIDE and left + width <= _SIDE:
        return tile[top : top + height, left : left + width]
    rows = np.arange(top, top + height) % _SIDE
    columns = np.arange(left, left + width) % _SIDE
    return np.take(np.take(tile, rows, 0), columns, 1)
