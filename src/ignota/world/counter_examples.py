"""Counter-examples: regions of a taught image that lie outside the mark, and so do not belong to the class."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ignota.structures import RegionSet

OUTSIDE = 0.1
"""A region is a counter-example where less than this share of it lies in the mark."""
MOST = 128
"""Counter-examples that are stored with one exemplar."""


def counter_regions(
    regions: RegionSet, marked: Bool[np.ndarray, "H W"], embeddings: Float[Tensor, "R F"], positive: Int[Tensor, " P"]
) -> Int[Tensor, " A"]:
    """Indices of the regions outside `marked` that stand for all of them, at most MOST.

    marked: all that the class is marked on in the image. positive: indices of the regions that lie in the mark.
    """
    inside = np.bincount(regions.ids[marked], minlength=regions.count + 1)[1:]
    outside = torch.from_numpy(np.flatnonzero((inside < OUTSIDE * regions.areas) & (regions.areas > 0)))
    outside = outside.to(embeddings.device)
    return outside[representatives(embeddings[outside], embeddings[positive], MOST)]


def representatives(vectors: Float[Tensor, "A F"], positive: Float[Tensor, "P F"], most: int) -> Int[Tensor, " S"]:
    """Indices of at most `most` unit vectors: half of them the nearest to `positive`, the others far from those chosen.

    The near ones draw the border of the class. The others are the farthest points of all that is left (Gonzalez,
    "Clustering to Minimize the Maximum Intercluster Distance", 1985), so that everything in the image has one near it.
    """
    if len(vectors) <= most:
        return torch.arange(len(vectors), device=vectors.device)
    near = (vectors @ positive.T).amax(1) if len(positive) else vectors.new_zeros(len(vectors))
    chosen = near.argsort(descending=True, stable=True)[: most // 2]
    likeness = (vectors @ vectors[chosen].T).amax(1)
    for _ in range(most - len(chosen)):
        farthest = likeness.argmin()
        chosen = torch.cat([chosen, farthest[None]])
        likeness = torch.maximum(likeness, vectors @ vectors[farthest])
    return chosen
