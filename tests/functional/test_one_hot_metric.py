"""DMLNet's formulas against loops over pixels and classes."""

from __future__ import annotations

import math

import pytest
import torch

from ignota.functional.one_hot_metric import distance_sum, eds, metric_logits, mixed, mmsp, variance_loss, variance_sum

F = torch.randn(40, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
F[:5] = 3 * torch.eye(5, dtype=torch.float64)  # the centres themselves
F[5] = 40.0  # a sum of distances beyond the limit
LOGITS = metric_logits(F)


def distance(f: list[float], c: int) -> float:
    """‖f - 3 e_c‖²."""
    return sum((value - (3.0 if i == c else 0.0)) ** 2 for i, value in enumerate(f))


def stretched(values: list[float]) -> list[float]:
    return [(value - min(values)) / (max(values) - min(values)) for value in values]


SUMS = [sum(distance(f, c) for c in range(5)) for f in F.tolist()]


def likelihoods() -> list[float]:
    found = []
    for f in F.tolist():
        weights = [math.exp(-distance(f, c) + min(distance(f, k) for k in range(5))) for c in range(5)]
        found.append(max(weights) / sum(weights))
    return found


def test_logits_are_minus_the_squared_distances() -> None:
    expected = [[-distance(f, c) for c in range(5)] for f in F.tolist()]
    torch.testing.assert_close(metric_logits(F), torch.tensor(expected, dtype=torch.float64))
    assert metric_logits(F)[:5].diagonal().abs().max() < 1e-12
    maps = F.T.reshape(5, 8, 5)
    torch.testing.assert_close(metric_logits(maps, dim=0), LOGITS.T.reshape(5, 8, 5))


def test_variance_sum_leaves_void_out() -> None:
    f, label = F.T.reshape(1, 5, 8, 5), (torch.arange(40) % 6).reshape(1, 8, 5).byte()
    label[label == 5] = 255
    labelled = [(f, int(c)) for f, c in zip(F.tolist(), label.flatten(), strict=True) if c != 255]
    assert len(labelled) < 40
    assert float(variance_sum(f, label)) == pytest.approx(sum(distance(*one) for one in labelled))
    assert float(variance_sum(f, torch.full_like(label, 255))) == 0


def test_variance_loss_against_a_loop() -> None:
    label = torch.arange(40) % 5
    expected = sum(distance(f, int(c)) for f, c in zip(F.tolist(), label, strict=True)) / 40
    assert float(variance_loss(F, label)) == pytest.approx(expected)
    assert float(variance_loss(F[:5], torch.arange(5))) == pytest.approx(0)


def test_distance_sum_against_a_loop_and_largest_at_centres() -> None:
    assert distance_sum(LOGITS).tolist() == pytest.approx(SUMS)
    between = F[:5].mean(0, keepdim=True)
    assert float(distance_sum(metric_logits(between))) < float(distance_sum(LOGITS[:5]).min())


def test_eds_and_mmsp_against_loops() -> None:
    expected = [1 - value for value in stretched([min(s, 400.0) for s in SUMS])]
    assert eds(LOGITS).tolist() == pytest.approx(expected)
    assert expected[5] == 0
    assert mmsp(LOGITS).tolist() == pytest.approx([1 - value for value in stretched(likelihoods())])


def test_the_mix_against_a_loop() -> None:
    expected = []
    for s, m in zip(stretched([min(s, 400.0) for s in SUMS]), stretched(likelihoods()), strict=True):
        alpha = 1 / (1 + math.exp(50 * (s - 0.2)))
        expected.append(1 - (alpha * s + (1 - alpha) * m))
    assert mixed(LOGITS).tolist() == pytest.approx(expected)
    differing = (mixed(LOGITS) - mmsp(LOGITS)).abs() > 1e-3
    assert differing.any() and not differing.all()  # each of the two decides somewhere


def test_an_image_of_one_value_has_no_scale() -> None:
    flat = torch.ones(7, 5)
    for score in (eds, mmsp, mixed):
        assert score(metric_logits(flat)).tolist() == [1.0] * 7
