"""The threshold of known scores is found though a part of the sample is unknown."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gennorm

from ignota.functional.contamination import POWER, _steps, known_tail


def sample(unknown: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    count = round(40000 * unknown)
    known = gennorm.rvs(POWER, 1.0, 3.0, size=40000 - count, random_state=rng)
    return known, rng.normal(9.0, 1.2, count)


@pytest.mark.parametrize("unknown", (0.0, 0.02, 0.05, 0.1, 0.2))
@pytest.mark.parametrize("target", (0.01, 0.05))
def test_the_false_positive_rate_is_met_whatever_share_is_unknown(unknown: float, target: float) -> None:
    known, other = sample(unknown)
    found = known_tail(np.concatenate([known, other]), target)
    assert 0.6 * target < (known > found.threshold).mean() < 1.7 * target
    assert found.unknown == pytest.approx(unknown, abs=0.02)
    assert found.spread == pytest.approx(known.std(), rel=0.1)
    plain = np.quantile(np.concatenate([known, other]), 1 - target)
    assert unknown < target or (known > plain).mean() < 0.7 * target  # what assumes no unknowns finds few of them


def test_it_follows_shift_and_scale_and_the_order_of_scores_does_not_matter() -> None:
    scores = np.concatenate(sample(0.1))
    one = known_tail(scores, 0.01)
    other = known_tail(3 * scores[::-1] - 5, 0.01)
    assert other.threshold == pytest.approx(3 * one.threshold - 5, rel=1e-6)
    assert (other.unknown, other.spread) == pytest.approx((one.unknown, 3 * one.spread))


def test_a_lower_target_lies_higher() -> None:
    scores = np.concatenate(sample(0.05))
    thresholds = [known_tail(scores, target).threshold for target in (0.2, 0.1, 0.05, 0.01, 0.001)]
    assert thresholds == sorted(thresholds)
    assert (_steps(0.25), _steps(0.1)) == (0.0, 1.0)


def test_scores_without_spread_and_no_scores() -> None:
    assert known_tail(np.full(100, 2.0), 0.05).threshold == pytest.approx(2.0)
    with pytest.raises(ValueError, match="no score"):
        known_tail(np.zeros(0), 0.05)
