"""Groups of unknown regions: their statistics, their rank, and the few regions that represent each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from ignota.discovery.clusters import Grouping, group_rows, halves
from ignota.discovery.region_table import RegionTable
from ignota.discovery.representatives import cover
from ignota.functional.numbers import evenly_spaced
from ignota.perception.features import FeatureSpace, TaughtRows, owner_similarity

MOST_EXEMPLARS = 12
_WORTH = 0.02
"""A further exemplar is suggested while it adds this share of what the first one covers."""
_MOST_TARGETS = 2_000
_AT_ONCE = 512
_NEAREST = 3


@dataclass(frozen=True)
class Group:
    """Unknown regions that look alike.

    key: "1", "2", … by rank, "1a" for a part. rows: regions, those that show most of the group first. images: how many
    different ones. compactness: mean cosine of its regions to their mean. `strangeness`: mean anomaly by area, 0..1.
    rank: the key of the order. nearest: known classes with their similarity, the nearest first. exemplars: how many of
    `rows` are suggested to teach it. parts: what a split makes of it, two or none.
    """

    key: str
    rows: tuple[int, ...]
    images: int
    compactness: float
    strangeness: float
    rank: float
    nearest: tuple[tuple[str, float], ...]
    exemplars: int
    parts: tuple[Group, ...] = ()


def find_groups(
    found: RegionTable, space: FeatureSpace, names: Sequence[str], how: Grouping
) -> tuple[tuple[Group, ...], tuple[int, ...]]:
    """All groups, the best first, and the regions that are in none; names: of the known classes."""
    labels = group_rows(found.vectors, found.shares, how)
    likeness = class_likeness(found.vectors, space, len(names))
    drafts = [
        _described(found, np.flatnonzero(labels == number), likeness, names)
        for number in range(int(labels.max(initial=-1)) + 1)
    ]
    ranked = sorted(drafts, key=lambda group: (-group.rank, found.place(group.rows[0]), group.rows))
    groups = tuple(
        _with_parts(found, dataclasses.replace(group, key=str(number)), likeness, names, how)
        for number, group in enumerate(ranked, start=1)
    )
    return groups, tuple(np.flatnonzero(labels < 0).tolist())


def class_likeness(vectors: Float[np.ndarray, "R F"], space: FeatureSpace, classes: int) -> Float[np.ndarray, "R C"]:
    """Mean cosine of each region to the nearest training pixels of each known class."""
    rows = [np.empty((0, classes), np.float32)]
    with torch.inference_mode():
        for start in range(0, len(vectors), _AT_ONCE):
            some = torch.from_numpy(vectors[start : start + _AT_ONCE]).to(space.known.device)
            rows.append(
                owner_similarity(some, space.known, space.owner.long(), classes, space.neighbours).cpu().numpy()
            )
    return np.concatenate(rows)


def taught_likeness(
    vectors: Float[np.ndarray, "R F"], space: FeatureSpace, taught: TaughtRows | None
) -> Float[np.ndarray, " R"] | None:
    """The same to the exemplars of the nearest taught class; None where nothing is taught."""
    if taught is None:
        return None
    rows = [np.empty(0, np.float32)]
    with torch.inference_mode():
        for start in range(0, len(vectors), _AT_ONCE):
            some = torch.from_numpy(vectors[start : start + _AT_ONCE]).to(taught.rows.device)
            each = space.taught_similarity(some, taught)
            rows.append(each.amax(1).cpu().numpy())
    return np.concatenate(rows)


def worth(images: int, compactness: float, strangeness: float) -> float:
    """What groups are ranked by: log₂(1 + images) · compactness · anomaly.

    A group that many images show is worth more than one that a single image shows often; twice as many images weigh
    as much as a little more compactness.
    """
    return float(np.log2(1 + images) * max(compactness, 0.0) * strangeness)


def spread_out(
    vectors: Float[np.ndarray, "R F"], weights: Float[np.ndarray, " R"], most: int
) -> tuple[tuple[int, ...], int]:
    """`most` rows that show all the others best, the best first, and how many of them are worth showing.

    weights: how much each row wants to be shown.
    """
    some = evenly_spaced(len(vectors), _MOST_TARGETS)
    found = cover(np.maximum(vectors[some] @ vectors[some].T, 0), weights[some], most)
    enough = sum(gain >= _WORTH * found.gains[0] for gain in found.gains[:MOST_EXEMPLARS])
    return tuple(int(some[i]) for i in found.chosen), max(1, enough)


def _described(
    found: RegionTable, rows: Int[np.ndarray, " R"], likeness: Float[np.ndarray, "N C"], names: Sequence[str]
) -> Group:
    vectors, area = found.vectors[rows], found.areas[rows].astype(np.float64)
    centre = vectors.mean(0)
    compactness = float(np.linalg.norm(centre))  # = mean cosine to the unit mean
    strangeness = float((found.scores[rows] * area).sum() / area.sum())
    images = len({found.place(int(row)) for row in rows})
    order = np.lexsort((rows, -(vectors @ centre)))
    first, exemplars = spread_out(vectors, np.sqrt(found.shares[rows]), 2 * MOST_EXEMPLARS)
    rest = [int(i) for i in order if int(i) not in set(first)]
    mean = likeness[rows].mean(0)
    nearest = tuple((names[i], float(mean[i])) for i in np.argsort(-mean, kind="stable")[:_NEAREST])
    return Group(
        "", tuple(int(rows[i]) for i in (*first, *rest)), images, compactness, strangeness,
        worth(images, compactness, strangeness), nearest, min(exemplars, len(rows)),
    )  # fmt: skip


def _with_parts(
    found: RegionTable, group: Group, likeness: Float[np.ndarray, "N C"], names: Sequence[str], how: Grouping
) -> Group:
    rows = np.sort(np.array(group.rows))
    if len(rows) < 2 * how.smallest:
        return group
    half = halves(found.vectors[rows], how.seed)
    if half.max() == 0:
        return group
    parts = [_described(found, rows[half == number], likeness, names) for number in (0, 1)]
    named = (dataclasses.replace(part, key=group.key + letter) for part, letter in zip(parts, "ab", strict=True))
    return dataclasses.replace(group, parts=tuple(named))
