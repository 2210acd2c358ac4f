"""The evidence of taught classes: a pure function of the exemplar rows, so forgetting costs nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ignota.functional.numbers import area_quantile
from ignota.functional.prototypes import class_prototypes
from ignota.incremental.methods import by_margin
from ignota.perception.features import FeatureSpace, HeldOut, Pooled, TaughtRows
from ignota.perception.known import KnownEvidence, Recipe
from ignota.structures import RegionSet
from ignota.taxonomy import Taxonomy

_SAME = 0.9995
"""Cosine beyond which two vectors are one region: counter-examples are stored in half precision."""
OUTSIDE = 0.1
"""A region is a counter-example where less than this share of it lies in the mark."""
MOST = 128
"""Counter-examples that are stored with one exemplar."""


@dataclass(frozen=True)
class Exemplar:
    """One labelled example of a class, as numbers alone.

    whole: the mask's pooled taps, {tap: "1 F"}, and those of branches that read it, {"paper/decoder": "1 F"}; empty for
    an example that only says what the class is not. parts: those of the regions inside it, {tap: "P F"}. shares:
    Equation 13's ratio of each meta channel of the same branches, {"paper/channels": "M"}. against: counter-examples,
    regions that do not belong to the class, {tap: "A F"}; empty where it was taught before these were stored.
    """

    name: str
    whole: Pooled
    parts: Pooled
    shares: dict[str, Float[Tensor, " M"]]
    against: Pooled = field(default_factory=dict)


@dataclass(frozen=True)
class NovelEvidence:
    """Taught classes in order of teaching.

    taught: None where there are none. means: "K F" mean decoder features, for NPM.
    """

    names: tuple[str, ...]
    taught: TaughtRows | None
    means: Float[Tensor, "K F"]


def novel_evidence(known: KnownEvidence, exemplars: Sequence[Exemplar]) -> NovelEvidence:
    """Rows and margins of all taught classes; exemplars: by class, the oldest of each first.

    The order within a class matters only where a region is an example in one and a counter-example in another.
    """
    names = tuple(dict.fromkeys(exemplar.name for exemplar in exemplars if exemplar.whole))
    if not names:
        return NovelEvidence((), None, known.means[:0])
    index = {name: i for i, name in enumerate(names)}
    device = known.means.device
    shown = [exemplar for exemplar in exemplars if exemplar.whole]
    owner = torch.tensor([index[exemplar.name] for exemplar in shown], device=device)
    decoder = torch.cat([exemplar.whole["decoder"] for exemplar in shown]).float().to(device)
    means = class_prototypes(decoder, owner, len(names))
    return NovelEvidence(names, _taught_rows(known, exemplars, names), means)


def _taught_rows(known: KnownEvidence, exemplars: Sequence[Exemplar], names: Sequence[str]) -> TaughtRows:
    """The regions of each class, its counter-examples, and the margins that held-out regions ask for."""
    each = [class_rows(known.space, [e for e in exemplars if e.name == name], known.means.device) for name in names]
    rows, against = [one for one, _ in each], [other for _, other in each]
    shots = torch.tensor([sum(bool(e.whole) for e in exemplars if e.name == name) for name in names])
    shots, none = shots.to(known.means.device), torch.zeros(len(names), device=known.means.device)
    taught = TaughtRows(torch.cat(rows), _owner(rows), torch.cat(against), _owner(against), none, shots)
    held = held_out_excess(known, taught).T
    margin = [
        _margin(held[c], counter_excess(known.space, rows[c], against[c], int(shots[c])), known.held_out, known.recipe)
        for c in range(len(names))
    ]
    return dataclasses.replace(taught, margin=torch.stack(margin))


def class_rows(
    space: FeatureSpace, exemplars: Sequence[Exemplar], device: torch.device
) -> tuple[Float[Tensor, "P F"], Float[Tensor, "A F"]]:
    """Unit vectors of what a class is like and of what it is not like, from its exemplars, the oldest first.

    Where both hold the same region, what was said on purpose counts: an example stands against what another example's
    surroundings say, and a negative mark stands against the examples before it.
    """
    rows = against = space.mean.new_zeros(0, len(space.mean))
    for exemplar in exemplars:
        beside = space.embed(_on(exemplar.against, device)) if exemplar.against else against[:0]
        if exemplar.whole:
            own = torch.cat([space.embed(_on(pooled, device)) for pooled in (exemplar.parts, exemplar.whole)])
            rows = torch.cat([rows, own])
        else:
            rows = rows[~_contained(rows, beside)]
        against = torch.cat([against, beside])
    return rows, against[~_contained(against, rows)]


def _contained(vectors: Float[Tensor, "N F"], other: Float[Tensor, "M F"]) -> Bool[Tensor, " N"]:
    """Which unit vectors are among the others, up to the precision in which they are stored."""
    if len(vectors) == 0 or len(other) == 0:
        return torch.zeros(len(vectors), dtype=torch.bool, device=vectors.device)
    return (vectors @ other.T).amax(1) > _SAME


def _owner(rows: Sequence[Tensor]) -> Int[Tensor, " P"]:
    return torch.cat([torch.full((len(some),), c, device=some.device) for c, some in enumerate(rows)])


def counter_excess(
    space: FeatureSpace, rows: Float[Tensor, "P F"], against: Float[Tensor, "A F"], shots: int
) -> Float[Tensor, " A"]:
    """How much each counter-example of a class resembles the class, if it were not known as one: what its like on
    another image of the same camera will look like."""
    if len(against) == 0 or len(rows) == 0:
        return against.new_zeros(0)
    others = against @ against.T
    others.fill_diagonal_(-torch.inf)
    every, k = torch.cat([space.nearest(against), others], 1), space.neighbours
    like = (against @ rows.T).topk(min(max(shots, 1), k, len(rows)), dim=1).values.mean(1)
    return like - every.topk(min(k, every.shape[1] - 1), dim=1).values.mean(1)


def _margin(
    excess: Float[Tensor, " V"], counter: Float[Tensor, " A"], held_out: HeldOut, recipe: Recipe
) -> Float[Tensor, ""]:
    """The smallest margin from `recipe.lowest_margin` on at which the class keeps off what it is not.

    It claims no more than `recipe.steal_counter` of its counter-examples, `recipe.steal` of the known area of held-out
    images, and `recipe.steal_class` of any known class there.
    """
    margin = area_quantile(excess, held_out.area, 1 - recipe.steal).clamp(min=recipe.lowest_margin)
    if len(counter):
        margin = torch.maximum(margin, torch.quantile(counter, 1 - recipe.steal_counter))
    for c in held_out.label.unique():
        own = held_out.label == c
        margin = torch.maximum(margin, area_quantile(excess[own], held_out.area[own], 1 - recipe.steal_class))
    return margin


def held_out_excess(known: KnownEvidence, taught: TaughtRows) -> Float[Tensor, "V K"]:
    """How much held-out regions of known classes resemble each taught class beyond what they should."""
    held, nearest = known.held
    surprise = known.recipe.surprised(known.held_out.strange.float())
    return known.space.excess(held, nearest, surprise, taught)


def assigned_class(
    excess: Float[Tensor, "R K"], similarity: Float[Tensor, "R K"], margin: Float[Tensor, " K"], lowest: float
) -> Int[Tensor, " R"]:
    """The taught class of each region, -1 for none: the largest lead over its margin, see `by_margin`.

    A region whose similarity to a class is below `lowest` does not belong to it.
    """
    return by_margin(torch.where(similarity < lowest, -torch.inf, excess), margin)


def _on(pooled: Pooled, device: torch.device) -> Pooled:
    return {tap: value.to(device) for tap, value in pooled.items()}


@dataclass(frozen=True)
class TaughtClass:
    """A taught class: its key in the store, name, colour, number of exemplars; those that say what it is not are not
    counted."""

    key: int
    name: str
    colour: tuple[int, int, int]
    exemplars: int


@dataclass(frozen=True)
class Snapshot:
    """state: of the store. taught: in order of teaching. exemplars: by class, then by age. classes: known classes, then
    taught ones, numbered by world id. novel: evidence of the taught classes, in the same order. known: the fitted
    evidence on the camera that the store is calibrated for, if any."""

    state: int
    taught: tuple[TaughtClass, ...]
    exemplars: tuple[Exemplar, ...]
    classes: Taxonomy
    novel: NovelEvidence
    known: KnownEvidence


def nothing_taught(taxonomy: Taxonomy, known: KnownEvidence) -> Snapshot:
    """The snapshot of a world that knows its known classes alone."""
    return Snapshot(0, (), (), taxonomy, novel_evidence(known, ()), known)


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
