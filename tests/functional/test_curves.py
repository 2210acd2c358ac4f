import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from ignota.functional.curves import (
    best_f1_threshold,
    binary_curve,
    curve_auroc,
    curve_average_precision,
    curve_fpr_at_tpr,
    curve_from_histogram,
    curve_metrics,
    curve_tpr_at_fpr,
    fpr_threshold,
    histogram,
    tpr_threshold,
)
from ignota.functional.numbers import score_key
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
    assert curve_average_precision(binary_curve(scores, labels)) == pytest.approx(expected, rel=1e-12)
    assert curve_auroc(binary_curve(scores, labels.astype(np.uint8))) == pytest.approx(
        sklearn.roc_auc_score(labels, scores), rel=1e-12
    )
    fpr, tpr, _ = sklearn.roc_curve(labels, scores, drop_intermediate=False)
    assert curve_fpr_at_tpr(binary_curve(scores, labels)) == pytest.approx(fpr[np.argmax(tpr >= 0.95)], rel=1e-12)


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
    found = curve_fpr_at_tpr(binary_curve(scores, labels), tpr, rule)
    assert found == pytest.approx(slow_fpr(scores, labels, tpr, rule))


def test_the_two_rules_differ():
    scores, labels = np.array([4.0, 3.0, 2.0, 1.0]), np.array([1, 0, 1, 0])
    curve = binary_curve(scores, labels)
    assert curve_fpr_at_tpr(curve, 0.6, "first") == 0.5
    assert curve_fpr_at_tpr(curve, 0.6, "nearest") == 0.5  # the threshold 3 is as near as 4, and lower
    assert curve_fpr_at_tpr(binary_curve(scores[[0, 2, 3]], labels[[0, 2, 3]]), 0.6, "nearest") == 0


@pytest.mark.parametrize("labels", [[], [0, 0], [1, 1]], ids=str)
def test_a_missing_kind_is_nan(labels):
    scores, marks = np.arange(len(labels), dtype=np.float32), np.array(labels, np.int64)
    assert all(map(math.isnan, curve_metrics(binary_curve(scores, marks)).values()))
    assert all(map(math.isnan, curve_metrics(curve_from_histogram(histogram(scores, marks))).values()))


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
    assert curve_average_precision(binary_curve(scores, labels)) == pytest.approx((1 + 1 + 3 / 4) / 3)
    binned = curve_from_histogram(histogram(scores, labels))
    assert binned.thresholds[0] == np.inf
    assert binned.thresholds[-1] == -np.inf
    assert not np.isnan(binned.thresholds).any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([np.exp, np.arctan, lambda s: 3 * s - 7, np.cbrt]))
def test_monotone_rescaling_changes_nothing(seed, rescale):
    scores, labels = draw(60, seed, np.float64)
    labels[:2] = False, True
    before, after = (curve_metrics(binary_curve(s, labels)) for s in (scores, rescale(scores)))
    assert before == after


@pytest.mark.parametrize("seed", range(4))
def test_tpr_at_fpr_and_thresholds_are_scikit_learn_s(seed):
    rng = np.random.default_rng(seed)
    labels = rng.random(400) < 0.2
    scores = np.round(rng.normal(size=400) + labels * rng.choice([0.5, 2.0]), 1)
    curve = binary_curve(scores, labels)
    fpr, tpr, thresholds = sklearn.roc_curve(labels, scores, drop_intermediate=False)
    for limit in (0.0, 0.05, 0.4):
        last = np.flatnonzero(fpr <= limit)[-1]
        assert curve_tpr_at_fpr(curve, limit) == pytest.approx(tpr[last])
        assert fpr_threshold(curve, limit) == thresholds[last]
    assert tpr_threshold(curve) == thresholds[np.argmax(tpr >= 0.95)]


def test_tpr_at_fpr_without_one_kind_or_below_any_score():
    alone = binary_curve(np.array([1.0]), np.array([1]))
    assert np.isnan([curve_tpr_at_fpr(alone), fpr_threshold(alone), tpr_threshold(alone)]).all()
    wrong = binary_curve(np.array([2.0, 1.0]), np.array([0, 1]))
    assert (curve_tpr_at_fpr(wrong), fpr_threshold(wrong)) == (0.0, math.inf)


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
