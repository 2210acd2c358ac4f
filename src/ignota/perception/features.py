"""The spaces in which regions are compared: the world's own, standardised network features, and metric spaces by D."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from ignota.functional.pooling import region_pool
from ignota.functional.prototypes import class_prototypes, known_similarity, unit_rows
from ignota.models.heads import RegionEmbedder
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


@dataclass(frozen=True)
class HeldOut:
    """Regions of held-out training images, used only to set margins and to count conflicts.

    vectors: "V F" raw, as pooled. label: "V" training ids. area: "V" how much known area each stands for.
    `strange`: "V" its anomaly in units of the score's scale, 0 at the threshold.
    """

    vectors: Float[Tensor, "V F"]
    label: Int[Tensor, " V"]
    area: Float[Tensor, " V"]
    strange: Float[Tensor, " V"]


@dataclass(frozen=True)
class TaughtRows:
    """Taught classes in the world's own space: what each is like, and what it is not.

    rows: "P F" unit vectors of the regions that the exemplars consist of and of each as a whole; owner: "P" the index
    of their class. against: "A F" counter-examples with their class "A". margin: "K", by how much a region must be
    nearer to the class than to what is not the class. shots: "K" how many exemplars.
    """

    rows: Float[Tensor, "P F"]
    owner: Int[Tensor, " P"]
    against: Float[Tensor, "A F"]
    against_owner: Int[Tensor, " A"]
    margin: Float[Tensor, " K"]
    shots: Int[Tensor, " K"]


@dataclass(frozen=True)
class FeatureSpace:
    """Region vectors of the taps one under the other, standardised by training pixels and of unit length.

    mean, std: "F" over labelled training pixels. known: "N F" unit vectors of such pixels, of class owner "N".
    neighbours: k of the nearest ones that count.
    """

    taps: tuple[str, ...]
    mean: Float[Tensor, " F"]
    std: Float[Tensor, " F"]
    known: Float[Tensor, "N F"]
    owner: UInt8[Tensor, " N"]
    neighbours: int

    def embed(self, pooled: Pooled) -> Float[Tensor, "R F"]:
        """Unit vectors of regions from their pooled taps."""
        return self.unit(torch.cat([pooled[tap].float() for tap in self.taps], dim=1))

    def unit(self, vectors: Float[Tensor, "R F"]) -> Float[Tensor, "R F"]:
        """Standardised and of unit length."""
        return F.normalize((vectors - self.mean) / self.std, dim=1)

    def nearest(self, embeddings: Float[Tensor, "R F"], without: int | None = None) -> Float[Tensor, "R k"]:
        """Cosines to the k nearest training pixels of known classes; without: a class that is left out."""
        return nearest_cosines(embeddings, self._rows(without), self.neighbours)

    def known_similarity(self, embeddings: Float[Tensor, "R F"], without: int | None = None) -> Float[Tensor, " R"]:
        """Mean cosine to the k nearest training pixels of known classes; without: a class that is left out."""
        return self.nearest(embeddings, without).mean(1)

    def class_similarity(self, embeddings: Float[Tensor, "R F"], without: int | None = None) -> Float[Tensor, " R"]:
        """Cosine to the nearest mean of a class's training pixels, as Equation 4 has it; -1 where there is none."""
        owner = self.owner.long()
        number = torch.bincount(owner) if without is None else torch.bincount(owner[owner != without])
        present = number.nonzero()[:, 0]
        return nearest_similarity(embeddings, self._means[present], 1)

    @cached_property
    def _means(self) -> Float[Tensor, "C F"]:
        owner = self.owner.long()
        return class_prototypes(self.known, owner, int(owner.max()) + 1 if len(owner) else 0)

    def vouched_similarity(
        self, embeddings: Float[Tensor, "R F"], sure: Bool[Tensor, " R"], nearest: Float[Tensor, "R k"]
    ) -> Float[Tensor, " R"]:
        """Mean cosine to the k nearest of training pixels and regions of the image that are `sure` to be known.

        No region counts as its own neighbour. nearest: what `nearest` says of the regions.
        """
        if nearest.shape[1] < self.neighbours:
            return nearest.mean(1)
        own = sure.nonzero()[:, 0]
        cosines = unit_rows(embeddings) @ unit_rows(embeddings[own]).T
        cosines[own, torch.arange(len(own), device=own.device)] = -torch.inf
        return torch.cat([nearest, cosines], 1).topk(self.neighbours, dim=1).values.mean(1)

    def _rows(self, without: int | None) -> Float[Tensor, "N F"]:
        return self.known if without is None else self.known[self.owner != without]

    def taught_similarity(self, embeddings: Float[Tensor, "R F"], taught: TaughtRows) -> Float[Tensor, "R K"]:
        """Mean cosine to the nearest of the exemplars' regions of each taught class; -1 for a class without any.

        As many regions count as there are exemplars, k at most: what one exemplar alone resembles may be chance.
        """
        best = owner_cosines(embeddings, taught.rows, taught.owner, len(taught.margin), self.neighbours)
        counted = torch.arange(self.neighbours, device=best.device) < taught.shots.clamp(min=1)[:, None]
        return _mean_of_present(torch.where(counted, best, -torch.inf))

    def excess(
        self,
        embeddings: Float[Tensor, "R F"],
        nearest: Float[Tensor, "R k"],
        surprise: Float[Tensor, " R"],
        taught: TaughtRows,
    ) -> Float[Tensor, "R K"]:
        """How much more a region is like each taught class than like what is not the class, in cosines.

        e_c = mean of the min(n_c, k) largest cos(f, P_c) - mean of the k largest cos(f, X ∪ A_c) + s / n_c, with the
        class's regions P_c, training pixels X (`nearest`: what `nearest` says of the regions), the class's
        counter-examples A_c and the number of its exemplars n_c. `surprise`: s, added where the region is
        unknown; it counts less the more exemplars a class has.
        """
        classes = len(taught.margin)
        against = owner_cosines(embeddings, taught.against, taught.against_owner, classes, self.neighbours)
        every = torch.cat([nearest[:, None].expand(-1, classes, -1), against], 2)
        other = _mean_of_present(every.topk(min(self.neighbours, every.shape[2]), dim=2).values)
        return self.taught_similarity(embeddings, taught) - other + surprise[:, None] / taught.shots.clamp(min=1)


def nearest_similarity(
    embeddings: Float[Tensor, "R D"], reference: Float[Tensor, "N D"], k: int
) -> Float[Tensor, " R"]:
    """Mean of the k largest cosines to the rows of `reference`; -1 where it has no row."""
    return nearest_cosines(embeddings, reference, k).mean(1)


def nearest_cosines(embeddings: Float[Tensor, "R D"], reference: Float[Tensor, "N D"], k: int) -> Float[Tensor, "R k"]:
    """The k largest cosines to the rows of `reference`, or as many as it has; a single -1 where it has no row."""
    if len(reference) == 0:
        return embeddings.new_full((len(embeddings), 1), -1.0)
    cosines = unit_rows(embeddings) @ unit_rows(reference).T
    return cosines.topk(min(k, len(reference)), dim=1).values


def owner_cosines(
    embeddings: Float[Tensor, "R D"], reference: Float[Tensor, "P D"], owner: Int[Tensor, " P"], classes: int, k: int
) -> Float[Tensor, "R K k"]:
    """The k largest cosines to the rows that each class owns, the largest first; -inf where it owns fewer."""
    found = embeddings.new_full((len(embeddings), classes, k), -torch.inf)
    units = unit_rows(embeddings)
    for c in range(classes):
        cosines = units @ unit_rows(reference[owner == c]).T
        number = min(k, cosines.shape[1])
        found[:, c, :number] = cosines.topk(number, dim=1).values
    return found


def owner_similarity(
    embeddings: Float[Tensor, "R D"], reference: Float[Tensor, "P D"], owner: Int[Tensor, " P"], classes: int, k: int
) -> Float[Tensor, "R K"]:
    """Mean of the k largest cosines to the rows that each class owns (as many as it has, if fewer); -1 for none."""
    return _mean_of_present(owner_cosines(embeddings, reference, owner, classes, k))


def _mean_of_present(cosines: Float[Tensor, "R K k"]) -> Float[Tensor, "R K"]:
    """The mean of those that are not -inf; -1 where all are."""
    present = cosines.isfinite()
    number = present.sum(2)
    return torch.where(number > 0, torch.where(present, cosines, 0).sum(2) / number.clamp(min=1), -1.0)
