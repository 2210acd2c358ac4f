"""Near-duplicates, groups and coverage against slow oracles; nothing may depend on the order of the rows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ignota.discovery.clusters import Grouping, absorb, by_size, centres, group_rows, halves, join, project
from ignota.discovery.representatives import cover, representatives

SEEDS = st.integers(0, 2**32 - 1)


def unit(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def blobs(seed: int, count: int = 4, each: int = 30, features: int = 24, spread: float = 0.05) -> NDArray[np.float32]:
    """`count` tight bunches of `each` directions, one after the other."""
    rng = np.random.default_rng(seed)
    middles = np.linalg.qr(rng.normal(size=(features, count)))[0].T
    return unit(np.repeat(middles, each, 0) + spread * rng.normal(size=(count * each, features)))


def partition(labels: NDArray[np.int64]) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == number).tolist()) for number in np.unique(labels[labels >= 0])}


def slow_representatives(vectors: NDArray[np.float32], likeness: float) -> list[int]:
    kept: list[int] = []
    owner = []
    for i, row in enumerate(vectors):
        like = [j for j in kept if float(vectors[j] @ row) >= likeness]
        owner.append(like[0] if like else i)
        kept += [] if like else [i]
    return owner


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(0, 40), st.floats(0.2, 0.95))
def test_representatives_are_the_first_that_are_like_enough(seed: int, count: int, likeness: float) -> None:
    vectors = unit(np.random.default_rng(seed).normal(size=(count, 3)) + 1e-9)
    assert representatives(vectors, likeness).tolist() == slow_representatives(vectors, likeness)


def test_representatives_hold_across_blocks() -> None:
    vectors = unit(np.random.default_rng(0).normal(size=(1100, 3)))
    assert representatives(vectors, 0.9).tolist() == slow_representatives(vectors, 0.9)


def test_copies_of_a_region_make_no_group() -> None:
    one = np.repeat(blobs(1, count=1, each=1), 50, 0)
    rest = blobs(2, count=3, each=30)
    labels = group_rows(np.concatenate([rest, one]), np.ones(140), Grouping())
    assert labels[-50:].max() == labels[-50:].min()  # one stands for all
    assert (labels[90:] == -1).all() or (labels[:90] == labels[90]).any()
    assert len(partition(labels[:90])) == 3


@settings(max_examples=8, deadline=None)
@given(SEEDS)
def test_groups_do_not_depend_on_the_order_of_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, weights = blobs(seed % 1000), rng.random(120)
    order = rng.permutation(120)
    labels, shuffled = group_rows(vectors, weights, Grouping()), group_rows(vectors[order], weights[order], Grouping())
    assert (shuffled == labels[order]).all()
    assert (labels == group_rows(vectors, weights, Grouping())).all()


@pytest.mark.parametrize("most_exact", [10_000, 40])
def test_bunches_are_found(most_exact: int) -> None:
    vectors = blobs(3, count=5, each=40)
    labels = group_rows(vectors, np.ones(200), Grouping(most_exact=most_exact))
    inside = labels >= 0
    truth = np.repeat(np.arange(5), 40)
    assert inside.mean() > 0.9
    assert len(partition(labels)) == 5
    assert all(len(set(truth[list(group)])) == 1 for group in partition(labels))


def test_scattered_rows_are_alone() -> None:
    far = np.eye(24, dtype=np.float32)[:12]
    assert (group_rows(far, np.ones(12), Grouping()) == -1).all()


@pytest.mark.parametrize("count", [0, 1, 4])
def test_too_few_rows_make_no_group(count: int) -> None:
    assert group_rows(blobs(0, 1, max(count, 1))[:count], np.ones(count), Grouping()).tolist() == [-1] * count


def test_the_largest_group_is_the_first() -> None:
    assert by_size(np.array([4, 2, 2, -1, 7, 7, 2])).tolist() == [2, 0, 0, -1, 1, 1, 0]
    assert by_size(np.array([-1, -1])).tolist() == [-1, -1]


def test_projection_keeps_cosines_where_it_can() -> None:
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 40))
    flat = unit(np.concatenate([flat, -flat]))  # of mean zero
    points = project(flat, 3)
    np.testing.assert_allclose(points @ points.T, flat @ flat.T, atol=1e-4)


def test_near_centres_are_joined() -> None:
    points = unit(np.array([[1, 0], [1, 0.1], [1, 0.2], [0, 1.0], [-1, 0.3]]))
    labels = np.array([0, 0, 1, 2, -1])
    joined = join(points, labels, 0.1)
    assert joined[0] == joined[1] == joined[2] != joined[3]
    assert joined[4] == -1
    assert (join(points, labels, 0.0) == labels).all()


def test_rows_near_a_centre_are_absorbed() -> None:
    points = unit(np.array([[1, 0], [1, 0.05], [1, 0.3], [0, 1.0]]))
    assert absorb(points, np.array([0, 0, -1, -1]), 0.9).tolist() == [0, 0, 0, -1]
    np.testing.assert_allclose(centres(points, np.array([0, -1, -1, 1])), points[[0, 3]], atol=1e-6)


def test_halves_part_two_bunches() -> None:
    parts = halves(blobs(5, count=2, each=10), 0)
    assert sorted(np.bincount(parts)) == [10, 10] and len(set(parts[:10])) == 1
    assert (halves(np.ones((4, 2), np.float32), 0) == 0).all()


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 5), st.integers(1, 6))
def test_greedy_cover_takes_the_best_next_one(seed: int, candidates: int, targets: int) -> None:
    rng = np.random.default_rng(seed)
    likeness, weights, base = rng.random((candidates, targets)), rng.random(targets), rng.random(targets) / 2
    found = cover(likeness, weights, candidates + 1, base)
    assert sorted(found.chosen) == list(range(candidates))

    def covered(chosen: tuple[int, ...]) -> float:
        best = np.max([base, *likeness[list(chosen)]], axis=0)
        return float(best @ weights)

    for i, (each, gain) in enumerate(zip(found.chosen, found.gains, strict=True)):
        before = covered(found.chosen[:i])
        others = [
            covered((*found.chosen[:i], other)) - before for other in range(candidates) if other not in found.chosen[:i]
        ]
        assert gain == pytest.approx(covered((*found.chosen[:i], each)) - before)
        assert gain == pytest.approx(max(others))
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(found.gains))


def test_greedy_cover_is_near_the_best_set() -> None:
    rng = np.random.default_rng(4)
    likeness, weights = rng.random((9, 12)), rng.random(12)
    greedy = cover(likeness, weights, 3)
    best = max(float(likeness[list(three)].max(0) @ weights) for three in itertools.combinations(range(9), 3))
    assert sum(greedy.gains) >= (1 - 1 / np.e) * best
