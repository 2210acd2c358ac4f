"""Which images to label next: those whose unknown regions represent the most of what is still unknown.

Greedy facility location over the unknown regions of all images. A region's weight grows with its anomaly, its area, its
nearness to known classes and the rarity of its group. What taught exemplars already show counts as covered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from ignota.discovery.clusters import Grouping, group_rows
from ignota.discovery.region_table import RegionTable
from ignota.discovery.representatives import cover

_MOST_TARGETS = 4_000
_AT_ONCE = 4_096


@dataclass(frozen=True)
class Weighing:
    """What makes a region worth covering; set beforehand by reasoning, not tuned on any data.

    area: power of its share of the image. rare: power of its group's total weight that is divided by, 0 for none, 1 for
    groups that all weigh the same. border: how much more a region counts that known classes are near to. sharp: power
    of the cosine at which one region stands for another.
    """

    area: float = 0.5
    rare: float = 0.5
    border: float = 0.5
    sharp: float = 4.0


@dataclass(frozen=True)
class Suggestion:
    """An image to be labelled. place: its path and frame. gain: share of all that is unknown that it adds to what the
    images before it cover, 0..1. rows: its regions, those that count most first. groups: those they belong to."""

    place: tuple[str, int]
    name: str
    gain: float
    rows: tuple[int, ...]
    groups: tuple[int, ...]


def suggest_images(
    found: RegionTable,
    known: Float[np.ndarray, " R"],
    taught: Float[np.ndarray, " R"] | None,
    count: int,
    how: Grouping,
    weighing: Weighing,
) -> tuple[Suggestion, ...]:
    """The `count` images to label first, in order of gain.

    known: cosine of each region to the nearest known class. taught: the same to what was taught; None for nothing.
    The order of the rows is of no influence: they are brought into one of their own first.
    """
    if len(found) == 0:
        return ()
    order = sorted(range(len(found)), key=lambda row: (found.place(row), found.counts[row]))
    found, known, taught = found.only(order), known[order], None if taught is None else taught[order]
    labels = group_rows(found.vectors, found.shares, how)
    weights = region_weights(found.scores, found.shares, known, labels, weighing)
    places = sorted({found.place(row) for row in range(len(found))})
    number = {place: i for i, place in enumerate(places)}
    owner = np.array([number[found.place(row)] for row in range(len(found))])
    targets = target_rows(weights, found.vectors)
    base = None if taught is None else np.maximum(taught[targets], 0) ** weighing.sharp
    likeness = image_likeness(found.vectors, owner, len(places), found.vectors[targets]) ** weighing.sharp
    chosen = cover(likeness, weights[targets] / max(weights[targets].sum(), 1e-12), count, base)
    made = (
        _suggestion(found, places[image], gain, np.flatnonzero(owner == image), weights, labels)
        for image, gain in zip(chosen.chosen, chosen.gains, strict=True)
    )
    return tuple(replace(each, rows=tuple(order[row] for row in each.rows)) for each in made)


def region_weights(
    scores: Float[np.ndarray, " R"],
    shares: Float[np.ndarray, " R"],
    known: Float[np.ndarray, " R"],
    labels: Int[np.ndarray, " R"],
    weighing: Weighing,
) -> Float[np.ndarray, " R"]:
    """w = score · share^area · (1 + border · known), divided by its group's total weight to the power `rare`.

    Regions of no group count as groups of their own kind together.
    """
    weights = scores * shares**weighing.area * (1 + weighing.border * np.clip(known, 0, 1))
    if not weights.any():
        return weights
    total = np.bincount(labels + 1, weights, int(labels.max(initial=-1)) + 2)
    return np.asarray(weights / np.maximum(total, 1e-12)[labels + 1] ** weighing.rare)


def image_likeness(
    vectors: Float[np.ndarray, "R F"], owner: Int[np.ndarray, " R"], images: int, targets: Float[np.ndarray, "T F"]
) -> Float[np.ndarray, "I T"]:
    """For each image and target the largest cosine of one of the image's regions, at least 0."""
    best = np.zeros((images, len(targets)), np.float32)
    for start in range(0, len(vectors), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        np.maximum.at(best, owner[some], vectors[some] @ targets.T)
    return best


def target_rows(weights: Float[np.ndarray, " R"], vectors: Float[np.ndarray, "R F"]) -> Int[np.ndarray, " T"]:
    """The rows that are to be covered: all, or the heaviest where there are very many."""
    order = np.lexsort((*vectors.T[:2], -weights))
    return np.sort(order[:_MOST_TARGETS])


def _suggestion(
    found: RegionTable,
    place: tuple[str, int],
    gain: float,
    rows: Sequence[int] | Int[np.ndarray, " N"],
    weights: Float[np.ndarray, " R"],
    labels: Int[np.ndarray, " R"],
) -> Suggestion:
    ordered = sorted((int(row) for row in rows), key=lambda row: (-weights[row], row))
    groups = dict.fromkeys(int(labels[row]) + 1 for row in ordered if labels[row] >= 0)
    return Suggestion(place, found.names[ordered[0]], gain, tuple(ordered), tuple(groups))
