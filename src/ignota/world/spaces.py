"""A metric space of regions: which taps D sees, D, and what it knows of the known classes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ignota.functional.prototypes import known_similarity, unit_rows
from ignota.functional.regions import region_pool
from ignota.models.embedder import RegionEmbedder
from ignota.structures import Encoding, RegionSet

Pooled = dict[str, Tensor]
"""Region vectors by tap, {tap: "R F"}."""


def pool_taps(encoding: Encoding, regions: RegionSet, taps: Iterable[str]) -> Pooled:
    """Mean features of each region, every tap at its own stride (the inner part of Equation 3)."""
    return {tap: region_pool(encoding.features[tap], regions) for tap in taps}


@dataclass(frozen=True)
class MetricSpace:
    """D with the evidence of known classes in its space.

    prototypes: "C D", Equation 4. reference: "N D" unit embeddings of training regions, against which nearest
    neighbours are sought. calibration: "V D" unit embeddings of other training images' regions, on which the margin of
    a new class is set; calibration_area: their shares of the image.
    """

    taps: tuple[str, ...]
    embedder: RegionEmbedder
    prototypes: Float[Tensor, "C D"]
    reference: Float[Tensor, "N D"]
    calibration: Float[Tensor, "V D"]
    calibration_area: Float[Tensor, " V"]

    def embed(self, pooled: Pooled) -> Float[Tensor, "R D"]:
        """Unit embeddings of regions from their pooled taps."""
        with torch.inference_mode():
            return self.embedder(torch.cat([pooled[tap].float() for tap in self.taps], dim=1))

    def known_similarity(self, embeddings: Float[Tensor, "R D"]) -> Float[Tensor, " R"]:
        """P of Equation 4: cosine to the nearest prototype of a known class."""
        return known_similarity(embeddings, self.prototypes)

    def reference_similarity(self, embeddings: Float[Tensor, "R D"], k: int = 3) -> Float[Tensor, " R"]:
        """Mean cosine to the k nearest training regions: finer than prototypes where a class has many looks."""
        return nearest_similarity(embeddings, self.reference, k)


def nearest_similarity(
    embeddings: Float[Tensor, "R D"], reference: Float[Tensor, "N D"], k: int
) -> Float[Tensor, " R"]:
    """Mean of the k largest cosines to the rows of `reference`; -1 where it has no row."""
    if len(reference) == 0:
        return embeddings.new_full((len(embeddings),), -1.0)
    cosines = unit_rows(embeddings) @ unit_rows(reference).T
    return cosines.topk(min(k, len(reference)), dim=1).values.mean(1)


def owner_similarity(
    embeddings: Float[Tensor, "R D"], reference: Float[Tensor, "P D"], owner: Int[Tensor, " P"], classes: int, k: int
) -> Float[Tensor, "R K"]:
    """Mean of the k largest cosines to the rows that each class owns (as many as it has, if fewer); -1 for none."""
    cosines = unit_rows(embeddings) @ unit_rows(reference).T
    belongs = owner[:, None] == torch.arange(classes, device=owner.device)
    masked = torch.where(belongs.T[None], cosines[:, None], -torch.inf)
    best = masked.topk(min(k, len(reference)), dim=2).values if len(reference) else masked
    counted = best.isfinite()
    total = torch.where(counted, best, 0).sum(2)
    number = counted.sum(2)
    return torch.where(number > 0, total / number.clamp(min=1), -1.0)
