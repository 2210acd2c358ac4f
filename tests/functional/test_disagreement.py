"""Predictive entropy and mutual information against loops."""

from __future__ import annotations

import math

import pytest
import torch

from ignota.functional.disagreement import mutual_information, predictive_entropy

LOGITS = torch.randn(4, 9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3


def entropy(p: list[float]) -> float:
    return -sum(value * math.log(value) for value in p) / math.log(len(p))


def predictions(pixel: int) -> list[list[float]]:
    found = []
    for member in LOGITS[:, pixel].tolist():
        weights = [math.exp(value) for value in member]
        found.append([weight / sum(weights) for weight in weights])
    return found


@pytest.mark.parametrize("pixel", range(9))
def test_against_loops(pixel: int) -> None:
    each = predictions(pixel)
    mean = [sum(p[c] for p in each) / len(each) for c in range(3)]
    assert float(predictive_entropy(LOGITS)[pixel]) == pytest.approx(entropy(mean))
    expected = entropy(mean) - sum(map(entropy, each)) / len(each)
    assert float(mutual_information(LOGITS)[pixel]) == pytest.approx(expected)
    assert expected > 0


def test_no_information_where_all_agree_and_all_of_it_where_each_is_sure_of_another() -> None:
    same = LOGITS[:1].expand(4, 9, 3)
    assert mutual_information(same).abs().max() < 1e-12
    assert predictive_entropy(same).min() > 0
    torch.testing.assert_close(mutual_information(torch.eye(3)[:, None] * 200), torch.ones(1))
