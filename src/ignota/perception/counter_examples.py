"""Counter-examples: regions of a taught image outside the mark, which do not belong to the class."""

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

    Half of them are the nearest to the class: they draw its border. The others lie far from those chosen, so that
    everything in the image has one near it. marked: all that the class is marked on in the image. positive: indices of
    the regions that lie in the mark.
    """
    inside = pixels_inside(regions, marked)
    outside = torch.from_numpy(np.flatnonzero((inside < OUTSIDE * regions.areas) & (regions.areas > 0)))
    outside = outside.to(embeddings.device)
    vectors = embeddings[outside]
    near = (vectors @ embeddings[positive].T).amax(1) if len(positive) else vectors.new_zeros(len(vectors))
    return outside[farthest_points(vectors, MOST, near.argsort(descending=True, stable=True)[: MOST // 2])]


def pixels_inside(regions: RegionSet, mask: Bool[np.ndarray, "H W"]) -> Int[np.ndarray, " R"]:
    """How many pixels of each region lie in the mask."""
    return np.bincount(regions.ids[mask], minlength=regions.count + 1)[1:]


def farthest_points(vectors: Float[Tensor, "N F"], most: int, first: Int[Tensor, " S"]) -> Int[Tensor, " M"]:
    """Indices of at most `most` unit vectors: `first`, then each time the one farthest from all that were chosen.

    Gonzalez, "Clustering to Minimize the Maximum Intercluster Distance", 1985: no vector is far from one of them.
    """
    if len(vectors) <= most:
        return torch.arange(len(vectors), device=vectors.device)
    chosen = torch.zeros(most, dtype=torch.long, device=vectors.device)
    chosen[: len(first)] = first
    similarity = (vectors @ vectors[first].T).amax(1) if len(first) else (vectors @ vectors.mean(0)).neg()
    for n in range(len(first), most):
        chosen[n] = similarity.argmin()
        similarity = torch.maximum(similarity, vectors @ vectors[chosen[n]])
    return chosen
