"""Groups of similar region vectors, as a pure function of the vectors, without labels or networks.

HDBSCAN: Campello, Moulavi and Sander, "Density-Based Clustering Based on Hierarchical Density Estimates", PAKDD 2013.
Mini-batch k-means: Sculley, "Web-Scale K-Means Clustering", WWW 2010.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage

from ignota.discovery.representatives import representatives
from ignota.functional.numbers import evenly_spaced

_FITTED_ON = 20_000
"""The projection is fitted on this many rows at most."""
_CELL = 2_000
"""Above `most_exact` rows, near-duplicates are sought in cells of about this many rows."""
_MOST_GROUPS = 1_000


@dataclass(frozen=True)
class Grouping:
    """How regions become groups; all values were chosen on two training sequences of CamVid, see docs/discover.md.

    dimensions: of the projection. likeness: cosine from which two regions are near-duplicates. smallest: fewest regions
    of a group that are no near-duplicates. neighbours: HDBSCAN's `min_samples`. join: cosine distance of centres below
    which dense spots become one group. absorb: cosine to a group's centre from which a region outside all dense spots
    joins it. most_exact: number of rows above which mini-batch k-means takes HDBSCAN's place, whose time grows with the
    square of it.
    """

    dimensions: int = 32
    likeness: float = 0.95
    smallest: int = 5
    neighbours: int = 2
    join: float = 0.3
    absorb: float = 0.8
    most_exact: int = 50_000
    seed: int = 0


def group_rows(
    vectors: Float[np.ndarray, "R F"], weights: Float[np.ndarray, " R"], how: Grouping
) -> Int[np.ndarray, " R"]:
    """The group of each row, 0 being the one with most rows; -1 for a row that is alone.

    weights: which of several near-duplicates stands for them, the heaviest; no further influence. The order of the rows
    is none: they are brought into one of their own first.
    """
    if len(vectors) < max(2, how.smallest):
        return np.full(len(vectors), -1)
    order = np.lexsort((*vectors.T[:3], -np.asarray(weights)))
    points = project(vectors[order], how.dimensions)
    few = len(points) <= how.most_exact
    owner = representatives(points, how.likeness) if few else _representatives_by_cell(points, how)
    kept = np.flatnonzero(owner == np.arange(len(owner)))
    spots = _dense_spots(points[kept], how) if len(kept) <= how.most_exact else _cells(points[kept], how)
    joined = absorb(points[kept], join(points[kept], spots, how.join), how.absorb)
    sparse = np.full(len(points), -1)
    sparse[kept] = joined
    labels = np.empty(len(points), np.int64)
    labels[order] = by_size(sparse[owner])
    return labels


def project(vectors: Float[np.ndarray, "R F"], dimensions: int) -> Float[np.ndarray, "R D"]:
    """Principal components, of unit length again; fitted on rows evenly spread where there are very many."""
    from sklearn.decomposition import PCA

    some = vectors[evenly_spaced(len(vectors), _FITTED_ON)]
    fitted = PCA(min(dimensions, *some.shape), svd_solver="covariance_eigh").fit(some)
    points = np.asarray(fitted.transform(vectors), np.float32)
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    return np.asarray(points / np.maximum(lengths, 1e-12))


def join(points: Float[np.ndarray, "R D"], labels: Int[np.ndarray, " R"], distance: float) -> Int[np.ndarray, " R"]:
    """Groups whose centres lie within `distance` (cosine, average linkage) become one; -1 stays -1."""
    if labels.max(initial=-1) < 1 or distance <= 0:
        return labels
    tree = linkage(centres(points, labels).astype(np.float64), "average", metric="cosine")
    return np.where(labels < 0, -1, fcluster(np.maximum(tree, 0), distance, "distance")[labels] - 1)


def absorb(points: Float[np.ndarray, "R D"], labels: Int[np.ndarray, " R"], likeness: float) -> Int[np.ndarray, " R"]:
    """Rows of no group join the one whose centre is nearest, if their cosine to it is at least `likeness`."""
    if labels.max(initial=-1) < 0:
        return labels
    cosine = points @ centres(points, labels).T
    return np.where((labels < 0) & (cosine.max(1) >= likeness), cosine.argmax(1), labels)


def centres(points: Float[np.ndarray, "R D"], labels: Int[np.ndarray, " R"]) -> Float[np.ndarray, "K D"]:
    """Unit mean vectors of groups 0..K-1; rows of -1 count for none."""
    inside = labels >= 0
    total = np.zeros((int(labels.max(initial=-1)) + 1, points.shape[1]))
    np.add.at(total, labels[inside], points[inside])
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12), np.float32)


def by_size(labels: Int[np.ndarray, " R"]) -> Int[np.ndarray, " R"]:
    """The same groups numbered 0, 1, … from the one with most rows; ties by their first row."""
    present, first, counts = np.unique(labels, return_index=True, return_counts=True)
    groups = present >= 0
    order = np.lexsort((first[groups], -counts[groups]))
    table = np.full(int(labels.max(initial=-1)) + 2, -1)
    table[present[groups][order]] = np.arange(groups.sum())
    return table[labels]


def halves(points: Float[np.ndarray, "R D"], seed: int) -> Int[np.ndarray, " R"]:
    """0 or 1 for each row: the two parts into which k-means cuts a group; all 0 where it has no two."""
    from sklearn.cluster import KMeans

    if len(np.unique(points, axis=0)) < 2:
        return np.zeros(len(points), np.int64)
    return by_size(KMeans(2, n_init=4, random_state=seed).fit_predict(points).astype(np.int64))


def _dense_spots(points: Float[np.ndarray, "R D"], how: Grouping) -> Int[np.ndarray, " R"]:
    from sklearn.cluster import HDBSCAN

    if len(points) < max(how.smallest, how.neighbours + 1):
        return np.full(len(points), -1)
    found = HDBSCAN(
        min_cluster_size=how.smallest, min_samples=how.neighbours, cluster_selection_method="leaf", copy=True
    )
    return np.asarray(found.fit_predict(points), np.int64)


def _cells(points: Float[np.ndarray, "R D"], how: Grouping, count: int | None = None) -> Int[np.ndarray, " R"]:
    from sklearn.cluster import MiniBatchKMeans

    count = min(_MOST_GROUPS, round(len(points) ** 0.5)) if count is None else count
    found = MiniBatchKMeans(count, batch_size=4096, n_init=1, random_state=how.seed)
    return np.asarray(found.fit_predict(points), np.int64)


def _representatives_by_cell(points: Float[np.ndarray, "R D"], how: Grouping) -> Int[np.ndarray, " R"]:
    cells = _cells(points, how, max(2, len(points) // _CELL))
    owner = np.arange(len(points))
    for cell in np.unique(cells):
        inside = np.flatnonzero(cells == cell)
        owner[inside] = inside[representatives(points[inside], how.likeness)]
    return owner
