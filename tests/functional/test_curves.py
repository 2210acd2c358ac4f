import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sklearn

from ignota.functional.curves import (
    BINS,
    auroc,
    average_precision,
    best_f1_threshold,
    binary_curve,
    curve_from_histogram,
    curve_metrics,
    fpr_at_tpr,
    histogram,
    metrics_from_histogram,
    score_key,
)
from ignota.structures import InputError


def draw(n: int = 500, seed: int = 0, dtype: type = np.float32, levels: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping scores with many ties."""
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.2
    scores = np.round((rng.normal(size=n) + labels) * levels / 6) / levels
    return scores.astype(dtype), labels


def slow_points(scores: np.ndarray, labels: np.ndarray) -> list[tuple[int, int]]:
    """True and false positives at each threshold, falling."""
    points = []
    for threshold in sorted(set(scores.tolist()), reverse=True):
        taken = [bool(label) for score, label in zip(scores, labels, strict=True) if score >= threshold]
        points.append((sum(taken), len(taken) - sum(taken)))
    return points


def slow_fpr(scores: np.ndarray, labels: np.ndarray, tpr: float, rule: str) -> float:
    points = slow_points(scores, labels)
    positives, negatives = points[-1]
    if rule == "first":
        return next(fp for tp, fp in points if tp / positives >= tpr) / negatives
    full = next(i for i, (tp, _) in enumerate(points) if tp == positives)
    return min(reversed(points[: full + 1]), key=lambda point: abs(point[0] / positives - tpr))[1] / negatives


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_scikit_learn(dtype, seed):
    scores, labels = draw(seed=seed, dtype=dtype)
    expected = sklearn.average_precision_score(labels, scores)
    assert average_precision(scores, labels) == pytest.approx(expected, rel=1e-12)
    assert auroc(scores, labels.astype(np.uint8)) == pytest.approx(sklearn.roc_auc_score(labels, scores), rel=1e-12)
    fpr, tpr, _ = sklearn.roc_curve(labels, scores, drop_intermediate=False)
    assert fpr_at_tpr(scores, labels) == pytest.approx(fpr[np.argmax(tpr >= 0.95)], rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_curve_equals_the_loops(dtype):
    scores, labels = draw(80, dtype=dtype)
    curve = binary_curve(scores.reshape(8, 10), labels.reshape(8, 10))
    assert list(zip(curve.true_positives, curve.false_positives, strict=True)) == slow_points(scores, labels)
    assert curve.thresholds.tolist() == sorted(set(scores.tolist()), reverse=True)


@pytest.mark.parametrize("rule", ["first", "nearest"])
@pytest.mark.parametrize("tpr", [0.3, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_fpr_rules_equal_the_loops(rule, tpr, seed):
    scores, labels = draw(60, seed)
    assert fpr_at_tpr(scores, labels, tpr, rule) == pytest.approx(slow_fpr(scores, labels, tpr, rule))


def test_the_two_rules_differ():
    scores, labels = np.array([4.0, 3.0, 2.0, 1.0]), np.array([1, 0, 1, 0])
    assert fpr_at_tpr(scores, labels, 0.6, "first") == 0.5
    assert fpr_at_tpr(scores, labels, 0.6, "nearest") == 0.5  # the threshold 3 is as near as 4, and lower
    assert fpr_at_tpr(scores[[0, 2, 3]], labels[[0, 2, 3]], 0.6, "nearest") == 0


@pytest.mark.parametrize("labels", [[], [0, 0], [1, 1]], ids=str)
def test_a_missing_kind_is_nan(labels):
    scores, marks = np.arange(len(labels), dtype=np.float32), np.array(labels, np.int64)
    assert all(map(math.isnan, curve_metrics(binary_curve(scores, marks)).values()))
    assert math.isnan(metrics_from_histogram(histogram(scores, marks)).aupr.value)


@pytest.mark.parametrize("function", [binary_curve, histogram])
def test_hostile_input_is_refused(function):
    with pytest.raises(InputError, match="1 NaN of 2"):
        function(np.array([0, np.nan], np.float32), np.array([0, 1]))
    with pytest.raises(InputError, match="labels hold 255"):
        function(np.zeros(2, np.float32), np.array([0, 255], np.uint8))
    with pytest.raises(InputError, match="NaN"):
        score_key(np.array([np.nan]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_infinities_and_negative_zero(dtype):
    scores = np.array([np.inf, 0.0, -0.0, -np.inf, 1e-45, -1e-45], dtype)
    labels = np.array([1, 0, 1, 0, 1, 0])
    curve = binary_curve(scores, labels)
    tiny = float(np.float32(1e-45)) if dtype == np.float32 else 1e-45
    assert curve.thresholds.tolist() == [np.inf, tiny, 0, -tiny, -np.inf]
    assert average_precision(scores, labels) == pytest.approx((1 + 1 + 3 / 4) / 3)
    binned = curve_from_histogram(histogram(scores, labels))
    assert binned.thresholds[0] == np.inf
    assert binned.thresholds[-1] == -np.inf
    assert not np.isnan(binned.thresholds).any()


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


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([np.exp, np.arctan, lambda s: 3 * s - 7, np.cbrt]))
def test_monotone_rescaling_changes_nothing(seed, rescale):
    scores, labels = draw(60, seed, np.float64)
    labels[:2] = False, True
    before, after = (curve_metrics(binary_curve(s, labels)) for s in (scores, rescale(scores)))
    assert before == after


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 50))
def test_histograms_of_parts_add_up(seed, cut):
    scores, labels = draw(50, seed)
    parts = histogram(scores[:cut], labels[:cut]) + histogram(scores[cut:], labels[cut:])
    np.testing.assert_array_equal(parts, histogram(scores, labels))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spread", [1.0, 1e-4])
@pytest.mark.parametrize("seed", range(4))
def test_exact_metrics_lie_within_the_bounds(seed, spread, dtype):
    rng = np.random.default_rng(seed)
    labels = rng.random(3000) < 0.1
    scores = (5 + spread * (rng.normal(size=3000) + labels)).astype(dtype)  # a small spread fills few bins
    scores[:100] = scores[0]
    exact = curve_metrics(binary_curve(scores, labels))
    found = metrics_from_histogram(histogram(scores, labels))
    for name, value in exact.items():
        bounded = getattr(found, name)
        assert bounded.lower <= value <= bounded.upper
        assert 0 <= bounded.lower <= bounded.value <= bounded.upper <= 1
        if spread == 1:
            assert bounded.upper - bounded.lower < 0.02


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.booleans()), min_size=2, max_size=12))
def test_bounds_hold_for_every_order_and_tie_within_a_bin(pixels):
    labels = np.array([label for *_, label in pixels])
    labels[:2] = False, True
    bins, within = np.array([(coarse, fine) for coarse, fine, _ in pixels]).T
    scores = (1 + bins + within * 1e-5).astype(np.float32)  # `within` moves a score inside its bin
    exact = curve_metrics(binary_curve(scores, labels))
    found = metrics_from_histogram(histogram(scores, labels))
    assert len(np.unique(score_key(scores))) == len(np.unique(bins))
    for name, value in exact.items():
        assert getattr(found, name).lower - 1e-12 <= value <= getattr(found, name).upper + 1e-12


def test_binned_metrics_are_exact_where_every_score_has_its_bin():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 200, 400).astype(np.float32), rng.random(400) < 0.3
    exact = binary_curve(scores, labels)
    binned = curve_from_histogram(histogram(scores, labels))
    np.testing.assert_array_equal(binned.true_positives, exact.true_positives)
    np.testing.assert_array_equal(binned.thresholds, exact.thresholds)
    assert metrics_from_histogram(histogram(scores, labels)).aupr.value == curve_metrics(exact)["aupr"]


@pytest.mark.parametrize("seed", range(4))
def test_the_best_f1_is_scikit_learn_s(seed):
    rng = np.random.default_rng(seed)
    truth = rng.random(300) < 0.3
    score = np.round(rng.normal(size=300) + truth, 1)  # many ties
    precision, recall, _ = sklearn.precision_recall_curve(truth, score)
    best = np.nanmax(2 * precision * recall / np.maximum(precision + recall, 1e-12))
    found = best_f1_threshold(binary_curve(score, truth))
    assert sklearn.f1_score(truth, score >= found) == pytest.approx(best)
    assert sklearn.f1_score(truth, score > found) < best
    assert math.isnan(best_f1_threshold(binary_curve(score, np.zeros(300))))
