"""A metric space of regions: which taps D sees, D, and what it knows of the known classes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
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
