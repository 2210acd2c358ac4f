"""Evenly spaced indices."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ignota.functional.numbers import BINS, area_quantile, evenly_spaced, key_score, ordered_key, score_key

floats = st.floats(width=32, allow_nan=False)


@given(st.integers(0, 3000), st.integers(0, 400))
def test_indices_are_distinct_and_their_steps_differ_by_one_at_most(count: int, most: int) -> None:
    found = evenly_spaced(count, most)
    assert len(found) == min(count, most)
    steps = np.diff(found)
    assert not len(steps) or (steps.min() >= 1 and steps.max() - steps.min() <= 1)
    if len(found) > 1:
        assert (found[0], found[-1]) == (0, count - 1)


def test_few_are_all_of_them() -> None:
    assert evenly_spaced(4, 9).tolist() == [0, 1, 2, 3]
    assert evenly_spaced(1, 1).tolist() == [0]


@settings(max_examples=30, deadline=None)
@given(arrays(np.float32, st.integers(2, 40), elements=floats))
def test_bins_keep_the_order(scores):
    bins = score_key(scores)
    ranked = bins[np.argsort(scores)].astype(np.int64)
    assert (np.diff(ranked) >= 0).all()
    assert bins.max() < BINS


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(1, 9)), min_size=1, max_size=12), st.floats(0.05, 1))
def test_a_quantile_by_area_is_that_of_single_pixels(pairs: list[tuple[int, int]], share: float) -> None:
    values, areas = torch.tensor(pairs, dtype=torch.float64).T
    found = float(area_quantile(values, areas, share))
    pixels = torch.repeat_interleave(values, areas.long())
    assert (pixels <= found).double().mean() >= share - 1e-9
    assert (pixels < found).double().mean() < share + 1e-9


def test_double_scores_beyond_single_range_keep_the_order():
    scores = np.array([1e300, 1.0, -1e300])
    assert (np.diff(score_key(scores).astype(np.int64)) < 0).all()


@settings(max_examples=30, deadline=None)
@given(arrays(np.float32, st.integers(1, 40), elements=floats))
def test_a_key_tells_its_score(scores):
    np.testing.assert_array_equal(key_score(ordered_key(scores)), scores)
