"""A metric space of regions: the taps that D sees, D, and its prototypes of the known classes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ignota.functional.pooling import region_pool
from ignota.functional.prototypes import known_similarity
from ignota.models.embedder import RegionEmbedder
from ignota.structures import Encoding, RegionSet

Pooled = dict[str, Tensor]
"""Region vectors by tap, {tap: "R F"}."""


def pool_taps(encoding: Encoding, regions: RegionSet, taps: Iterable[str]) -> Pooled:
    """Mean features of each region, every tap at its own stride (the inner part of Equation 3)."""
    return {tap: region_pool(encoding.features[tap], regions) for tap in taps}


def pool_masks(encoding: Encoding, masks: Iterable[Bool[np.ndarray, "h w"]], taps: Iterable[str]) -> Pooled:
    """The same for masks on the working grid, one row a mask, whatever the others are: they may overlap."""
    taps, number = tuple(taps), 0
    maps = [np.zeros((encoding.image.shape[0], encoding.image.shape[1]), np.int32)]
    for number, mask in enumerate(masks, start=1):
        free = next((ids for ids in maps if not ids[mask].any()), None)
        if free is None:
            maps.append(free := np.zeros_like(maps[0]))
        free[mask] = number
    pooled = [pool_taps(encoding, RegionSet(ids, number), taps) for ids in maps]
    return {tap: torch.stack([rows[tap] for rows in pooled]).sum(0) for tap in taps}  # zeros where a map has no pixel


@dataclass(frozen=True)
class MetricSpace:
    """D with the prototypes of the known classes in its space, "C D", Equation 4."""

    taps: tuple[str, ...]
    embedder: RegionEmbedder
    prototypes: Float[Tensor, "C D"]

    def embed(self, pooled: Pooled) -> Float[Tensor, "R D"]:
        """Unit embeddings of regions from their pooled taps."""
        with torch.inference_mode():
            return self.embedder(torch.cat([pooled[tap].float() for tap in self.taps], dim=1))

    def known_similarity(self, embeddings: Float[Tensor, "R D"]) -> Float[Tensor, " R"]:
        """P of Equation 4: cosine to the nearest prototype of a known class."""
        return known_similarity(embeddings, self.prototypes)
