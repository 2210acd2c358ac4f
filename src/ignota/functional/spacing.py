"""Evenly spaced positions."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int


def evenly_spaced(count: int, most: int) -> Int[np.ndarray, " N"]:
    """At most `most` of the indices 0..count-1, ascending, the first and the last among them; all if there are few."""
    return np.linspace(0, count - 1, min(most, count)).round().astype(np.int64)
