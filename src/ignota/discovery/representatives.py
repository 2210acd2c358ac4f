"""Selects few items that represent many: one of near-duplicates, and greedy facility location.

f(S) = Σ_t w_t max(b_t, max_{s ∈ S} k(s, t)) is monotone and submodular, so the greedy choice reaches 1 - 1/e of the
best (Nemhauser, Wolsey and Fisher, "An Analysis of Approximations for Maximizing Submodular Set Functions", 1978).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

_BLOCK = 512


def representatives(vectors: Float[np.ndarray, "R D"], likeness: float) -> Int[np.ndarray, " R"]:
    """For each row the row that stands for it: the first one, in the order given, whose cosine is at least `likeness`.

    A row that no earlier representative is like stands for itself. vectors: of unit length. Rows are taken in blocks,
    so the work is one matrix product against the representatives found so far.
    """
    owner = np.arange(len(vectors))
    kept = np.empty(len(vectors), np.int64)
    count = 0
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        before = block @ vectors[kept[:count]].T if count else np.empty((len(block), 0))
        found = _first(before >= likeness)
        within = block @ block.T >= likeness
        fresh = np.zeros(len(block), bool)
        for i in range(len(block)):
            like = within[i] & fresh
            if found[i] >= 0:
                owner[start + i] = kept[found[i]]
            elif like.any():
                owner[start + i] = start + like.argmax()
            else:
                fresh[i] = True
        new = start + np.flatnonzero(fresh)
        kept[count : count + len(new)] = new
        count += len(new)
    return owner


def _first(table: np.ndarray) -> Int[np.ndarray, " R"]:
    """The first column that is true in each row, -1 for none."""
    if table.shape[1] == 0:
        return np.full(len(table), -1)
    return np.where(table.any(1), table.argmax(1), -1)


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
