"""Near-duplicates: one region represents all that look the same, as in neighbouring frames."""

from __future__ import annotations

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
