"""The threshold of known scores is found though a part of the sample is unknown."""

from __future__ import annotations

import numpy as np
import pytest

from ignota.functional.contamination import MOVED, STEEPNESS, USUAL, contaminated_quantile, known_tail, prior_threshold


def sample(unknown: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    count = round(40000 * unknown)
    return rng.normal(1.0, 3.0, 40000 - count), rng.normal(30.0, 1.0, count)


@pytest.mark.parametrize("target", (0.01, 0.05))
def test_the_quantile_is_that_of_the_known_scores_alone(target: float) -> None:
    known, unknown = sample(USUAL)
    found = contaminated_quantile(np.concatenate([unknown, known]), target)
    assert found == pytest.approx(np.quantile(known, 1 - target), abs=0.01)
    assert (known > found).sum() == pytest.approx(target * len(known), abs=2)  # counted one by one
    assert np.quantile(np.concatenate([known, unknown]), 1 - target) > found + 2  # what takes all of them for known


def test_the_threshold_goes_a_part_of_the_way_from_the_prior() -> None:
    scores = np.concatenate(sample(0.02))
    own = contaminated_quantile(scores, 0.01)
    for prior in (own - 6, own, own + 6):
        found = known_tail(scores, 0.01, prior).threshold
        assert found == pytest.approx(prior + MOVED * (own - prior))


def test_a_prior_of_other_scores_moves_as_their_quantile_does() -> None:
    plain = np.concatenate(sample(0.05))
    prior = contaminated_quantile(plain, 0.01) + 2.0
    before = known_tail(plain, 0.01, prior)
    after = known_tail(plain - 1.5, 0.01, prior, plain)
    assert after.threshold == pytest.approx(before.threshold - 1.5)
    assert after.unknown == pytest.approx(before.unknown)


@pytest.mark.parametrize("unknown", (0.0, 0.02, 0.1, 0.2))
def test_the_share_of_unknowns_is_what_exceeds_the_target(unknown: float) -> None:
    known, other = sample(unknown)
    prior = float(np.quantile(known, 0.99))
    found = known_tail(np.concatenate([known, other]), 0.01, prior)
    assert found.unknown == pytest.approx(unknown, abs=0.05)
    above = sum(score > found.threshold for score in np.concatenate([known, other]).tolist()) / 40000
    assert found.unknown == pytest.approx(max(0.0, (above - 0.01) / 0.99))


def test_a_smaller_target_lies_higher() -> None:
    targets = (0.2, 0.1, 0.05, 0.01, 0.001)
    scores = np.concatenate(sample(0.05))
    thresholds = [known_tail(scores, t, prior_threshold(5.0, 1.0, 0.05, t)).threshold for t in targets]
    assert thresholds == sorted(thresholds)
    assert prior_threshold(5.0, 2.0, 0.05, 0.05) == 5.0
    exponential = np.random.default_rng(0).exponential(STEEPNESS * 2.0, 400000)  # of scale 2
    found = prior_threshold(float(np.quantile(exponential, 0.95)), 2.0, 0.05, 0.01)
    assert found == pytest.approx(np.quantile(exponential, 0.99), rel=0.02)


def test_no_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="no score"):
        known_tail(np.zeros(0), 0.05, 1.0)
