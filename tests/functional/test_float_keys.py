import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ignota.functional.float_keys import BINS, key_score, ordered_key, score_key

floats = st.floats(width=32, allow_nan=False)


@settings(max_examples=30, deadline=None)
@given(arrays(np.float32, st.integers(2, 40), elements=floats))
def test_bins_keep_the_order(scores):
    bins = score_key(scores)
    ranked = bins[np.argsort(scores)].astype(np.int64)
    assert (np.diff(ranked) >= 0).all()
    assert bins.max() < BINS


def test_double_scores_beyond_single_range_keep_the_order():
    scores = np.array([1e300, 1.0, -1e300])
    assert (np.diff(score_key(scores).astype(np.int64)) < 0).all()


@settings(max_examples=30, deadline=None)
@given(arrays(np.float32, st.integers(1, 40), elements=floats))
def test_a_key_tells_its_score(scores):
    np.testing.assert_array_equal(key_score(ordered_key(scores)), scores)
