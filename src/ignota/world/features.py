"""The space in which a world compares regions by itself: their features as the networks give them, standardised."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from ignota.functional.prototypes import class_prototypes, unit_rows
from ignota.world.spaces import Pooled


@dataclass(frozen=True)
class HeldOut:
    """Regions of training images that were kept from everything else, to set margins on and to tell thefts by.

    vectors: "V F" raw, as pooled. label: "V" training ids. area: "V" how much known area each stands for. strange: "V"
    its anomaly in units of the score's scale, 0 at the threshold.
    """

    vectors: Float[Tensor, "V F"]
    label: Int[Tensor, " V"]
    area: Float[Tensor, " V"]
    strange: Float[Tensor, " V"]


@dataclass(frozen=True)
class TaughtRows:
    """Taught classes in the world's own space: the regions that the exemplars consist of, and each as a whole.

    rows: "P F" unit vectors with their owner "P", the index of the class; whole: "P" whether a row is an exemplar's
    whole mask. margin: "K", by how much a region must be nearer to the class than to the known ones; less than 0 where
    even what is nearer to these hardly ever is one of them, as with a single exemplar. shots: "K" how many exemplars.
    """

    rows: Float[Tensor, "P F"]
    owner: Int[Tensor, " P"]
    whole: Bool[Tensor, " P"]
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
        """Mean cosine to the k nearest of the exemplars' regions of each taught class."""
        return owner_similarity(embeddings, taught.rows, taught.owner, len(taught.margin), self.neighbours)

    def taught_likeness(
        self, embeddings: Float[Tensor, "R F"], taught: TaughtRows, pieces: Float[Tensor, "R K"] | None = None
    ) -> Float[Tensor, "R K"]:
        """Half the same (`pieces`, where it is at hand), half the cosine to the nearest exemplar as a whole."""
        pieces = self.taught_similarity(embeddings, taught) if pieces is None else pieces
        whole = owner_similarity(
            embeddings, taught.rows[taught.whole], taught.owner[taught.whole], len(taught.margin), 1
        )
        return (pieces + whole) / 2

    def excess(
        self,
        embeddings: Float[Tensor, "R F"],
        nearest: Float[Tensor, " R"],
        surprise: Float[Tensor, " R"],
        likeness: Float[Tensor, "R K"],
        shots: Int[Tensor, " K"],
    ) -> Float[Tensor, "R K"]:
        """How much more a region is like each taught class than like known ones, in cosines.

        Its regions stand against training pixels (`nearest`: their similarity), its exemplars as a whole against the
        means of known classes. likeness: `taught_likeness`. surprise: what is added where the region is strange to the
        known classes anyway, an n-th of it for n exemplars (`shots`): the more of a class was seen, the less must be
        guessed.
        """
        known = (nearest + self.class_similarity(embeddings)) / 2
        return likeness - known[:, None] + surprise[:, None] / shots.clamp(min=1)


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
