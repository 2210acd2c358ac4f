"""A colour for a new class that is easy to distinguish from all others."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
from jaxtyping import Float, UInt8
from skimage.color import deltaE_ciede2000, rgb2lab

from ignota.taxonomy import UNKNOWN_COLOUR, VOID_COLOUR

_STEPS = (0, 51, 102, 153, 204, 255)
_LIGHTNESS = (40.0, 92.0)
_CHROMA = 38.0
"""Lightness and least chroma of a candidate, so that it shows on dark and on bright photographs alike."""


def distinct_colour(taken: Iterable[tuple[int, int, int]]) -> tuple[int, int, int]:
    """The candidate whose nearest taken colour is farthest away in CIELAB (CIEDE2000), as R, G, B in 0..255.

    Candidates are strong colours of a 6×6×6 grid in sRGB. Those of unknown and of void count as taken. When all
    candidates are taken, colours repeat.
    """
    used = np.array([*taken, UNKNOWN_COLOUR, VOID_COLOUR], np.uint8).reshape(-1, 3)
    colours, places = _candidates()
    apart = deltaE_ciede2000(places[:, None], rgb2lab(used / 255)[None]).min(1)
    red, green, blue = colours[int(apart.argmax())].tolist()
    return red, green, blue


@cache
def _candidates() -> tuple[UInt8[np.ndarray, "N 3"], Float[np.ndarray, "N 3"]]:
    grid = np.stack(np.meshgrid(_STEPS, _STEPS, _STEPS, indexing="ij"), -1).reshape(-1, 3).astype(np.uint8)
    places = rgb2lab(grid / 255)
    lightness, chroma = places[:, 0], np.hypot(places[:, 1], places[:, 2])
    kept = (lightness >= _LIGHTNESS[0]) & (lightness <= _LIGHTNESS[1]) & (chroma >= _CHROMA)
    return grid[kept], places[kept]
