import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ignota.functional import curves as module
from ignota.functional.curves import (
    add_scores,
    binary_curve,
    curve_from_histogram,
    curve_metrics,
    empty_histogram,
    histogram,
)
from ignota.functional.numbers import BINS, score_key
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
@pytest.mark.parametrize("seed", range(4))
def test_binned_metrics_are_near_the_exact_ones(seed, dtype):
    rng = np.random.default_rng(seed)
    labels = rng.random(3000) < 0.1
    scores = (rng.normal(size=3000) + labels).astype(dtype)
    scores[:100] = scores[0]
    exact = curve_metrics(binary_curve(scores, labels))
    assert curve_metrics(curve_from_histogram(histogram(scores, labels))) == pytest.approx(exact, abs=2e-3)


def test_binned_metrics_are_exact_where_every_score_has_its_bin():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 200, 400).astype(np.float32), rng.random(400) < 0.3
    exact = binary_curve(scores, labels)
    binned = curve_from_histogram(histogram(scores, labels))
    np.testing.assert_array_equal(binned.true_positives, exact.true_positives)
    np.testing.assert_array_equal(binned.thresholds, exact.thresholds)
    assert curve_metrics(binned) == curve_metrics(exact)


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
