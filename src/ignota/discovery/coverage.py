"""Selects few items that represent many: greedy facility location.

f(S) = Σ_t w_t max(b_t, max_{s ∈ S} k(s, t)) is monotone and submodular, so the greedy choice reaches 1 - 1/e of the
best (Nemhauser, Wolsey and Fisher, "An Analysis of Approximations for Maximizing Submodular Set Functions", 1978).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Coverage:
    """chosen: candidates in the order of choice. gains: what each added to f."""

    chosen: tuple[int, ...]
    gains: tuple[float, ...]


def cover(
    likeness: Float[np.ndarray, "S T"],
    weights: Float[np.ndarray, " T"],
    count: int,
    base: Float[np.ndarray, " T"] | None = None,
) -> Coverage:
    """Chooses `count` candidates (rows) one by one, each by what it adds to the cover of the targets (columns).

    base: how well each target is covered beforehand, 0 by default. Ties go to the first row. Ends early where all are
    chosen.
    """
    best = np.zeros(likeness.shape[1]) if base is None else np.array(base, np.float64)
    left = np.ones(len(likeness), bool)
    chosen: list[int] = []
    gains: list[float] = []
    for _ in range(min(count, len(likeness))):
        gain = np.where(left, np.maximum(likeness - best, 0) @ weights, -1.0)
        winner = int(gain.argmax())
        left[winner] = False
        chosen.append(winner)
        gains.append(float(gain[winner]))
        best = np.maximum(best, likeness[winner])
    return Coverage(tuple(chosen), tuple(gains))
