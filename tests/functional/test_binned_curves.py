import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ignota.functional import binned_curves as module
from ignota.functional.binned_curves import (
    add_fine_scores,
    add_scores,
    critical_bins,
    curve_from_histogram,
    empty_fine,
    empty_histogram,
    histogram,
    metrics_from_histogram,
)
from ignota.functional.curves import binary_curve, curve_metrics
from ignota.functional.float_keys import BINS, score_key
from ignota.structures import InputError


def draw(n: int = 500, seed: int = 0, dtype: type = np.float32, levels: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping scores with many ties."""
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.2
    scores = np.round((rng.normal(size=n) + labels) * levels / 6) / levels
    return scores.astype(dtype), labels


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


DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_tensors_on_any_device_count_as_arrays_do(dtype, device, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 7)
    scores, labels = draw(100)
    scores[:4] = 0.0, -0.0, np.inf, -np.inf
    values = torch.from_numpy(scores).to(dtype)
    expected = np.zeros((2, BINS), np.int64)
    for bin_, label in zip(score_key(values.float().numpy()), labels, strict=True):
        expected[int(label), bin_] += 1
    counts = empty_histogram(device)
    add_scores(counts, values.to(device), torch.from_numpy(labels).to(device))
    np.testing.assert_array_equal(counts.cpu().numpy(), expected)


def test_arrays_that_may_not_be_written_are_counted():
    scores, labels = draw(20)
    scores.flags.writeable = labels.flags.writeable = False
    assert histogram(scores, labels).sum() == 20


def test_infinities_count_but_no_nan_among_them():
    with pytest.raises(InputError, match="1 NaN of 3"):
        histogram(np.array([np.inf, -np.inf, np.nan], np.float32), np.zeros(3, np.uint8))
    assert histogram(np.array([np.inf, -np.inf], np.float32), np.zeros(2, np.uint8)).sum() == 2


def narrow(seed: int, n: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """Scores that fill a handful of bins."""
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.1
    return (5 + 3e-3 * (rng.normal(size=n) + labels)).astype(np.float32), labels


def second_pass(scores: np.ndarray, labels: np.ndarray, most: int) -> tuple[np.ndarray, module.FineHistogram]:
    """Pixels in two parts, as images come."""
    hist = histogram(scores, labels)
    fine = empty_fine(critical_bins(hist, most))
    for part in (slice(0, 1000), slice(1000, None)):
        add_fine_scores(fine, scores[part], labels[part])
    return hist, fine


@pytest.mark.parametrize("seed", range(4))
def test_a_second_pass_over_all_bins_is_exact(seed):
    scores, labels = narrow(seed)
    hist, fine = second_pass(scores, labels, 10_000)
    found, exact = metrics_from_histogram(hist, fine), curve_metrics(binary_curve(scores, labels))
    for name, value in exact.items():
        bounded = getattr(found, name)
        assert (bounded.lower, bounded.value, bounded.upper) == pytest.approx((value,) * 3, abs=1e-12)
    once = metrics_from_histogram(hist)
    assert once.aupr.upper - once.aupr.lower > 0.01  # there was something to resolve


@pytest.mark.parametrize("most", [1, 2, 4])
@pytest.mark.parametrize("seed", range(4))
def test_a_second_pass_over_some_bins_narrows_the_bounds_and_keeps_them_true(seed, most):
    scores, labels = narrow(seed)
    hist, fine = second_pass(scores, labels, most)
    assert len(fine.bins) == most
    before, after = metrics_from_histogram(hist), metrics_from_histogram(hist, fine)
    exact = curve_metrics(binary_curve(scores, labels))
    for name, value in exact.items():
        wide, tight = getattr(before, name), getattr(after, name)
        assert tight.lower - 1e-12 <= value <= tight.upper + 1e-12
        assert tight.upper - tight.lower <= wide.upper - wide.lower + 1e-12
    assert after.fpr95.lower == after.fpr95.value == after.fpr95.upper == exact["fpr95"]
    assert before.fpr95.lower < before.fpr95.upper
    assert after.auroc.upper - after.auroc.lower < before.auroc.upper - before.auroc.lower or most == 1


def test_ties_across_the_kinds_are_exact_once_they_are_resolved():
    rng = np.random.default_rng(0)
    labels = rng.random(400) < 0.3
    scores = (1 + rng.integers(0, 4, 400) * 1e-5 + labels * 2e-5).astype(np.float32)  # six values in one bin
    hist = histogram(scores, labels)
    fine = empty_fine(critical_bins(hist))
    add_fine_scores(fine, scores, labels)
    found, exact = metrics_from_histogram(hist, fine), curve_metrics(binary_curve(scores, labels))
    for name, value in exact.items():
        bounded = getattr(found, name)
        assert (bounded.lower, bounded.value, bounded.upper) == pytest.approx((value,) * 3, abs=1e-12)


def test_a_second_pass_over_other_pixels_is_refused():
    scores, labels = narrow(0)
    hist, fine = second_pass(scores, labels, 2)
    add_fine_scores(fine, scores, labels)
    with pytest.raises(InputError, match="saw other pixels"):
        metrics_from_histogram(hist, fine)


def test_nothing_is_critical_without_both_kinds():
    assert len(critical_bins(histogram(np.zeros(3, np.float32), np.zeros(3, np.uint8)))) == 0
    assert len(critical_bins(histogram(np.zeros(0, np.float32), np.zeros(0, np.uint8)))) == 0
