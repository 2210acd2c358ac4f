"""The upper end of the scores of known pixels, estimated from a sample that contains unknown pixels as well."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float
from scipy.special import gammainc, gammaincinv, gammaln, ndtr

POWER = 2.5
"""β of the known scores' body: a little flatter than a normal distribution, which has 2."""
TAIL = 0.35
"""ξ of the known scores' tail, which ends: a generalised Pareto distribution of shape -ξ beyond the upper quartile."""
SHARES = (0.0, *np.geomspace(0.005, 0.25, 16))
"""Of unknown scores, as far as they can be separated."""
PLACES = np.linspace(1.4, 4.0, 10)
"""Of their mean, in scales of the known scores above their median."""
WIDTHS = (0.3, 0.5, 0.8)
"""Of their standard deviation, in the same scales."""
PIXELS = 300
"""As how many independent ones the scores count: those of one region are alike."""
USUAL = 0.05
"""Mean of the share of unknown scores before any is seen, an exponential distribution."""
_QUARTILE, _TENTH, _BINS = 0.75, 0.9, 60


@dataclass(frozen=True)
class KnownTail:
    """threshold: what a share of the known scores exceeds. spread: standard deviation of the known scores, by their
    median and upper quartile. unknown: the estimated share of scores that are unknown."""

    threshold: float
    spread: float
    unknown: float


def known_tail(scores: Float[np.ndarray, " N"], target_fpr: float) -> KnownTail:
    """The threshold that `target_fpr` of the known scores exceeds, among scores of which some are unknown.

    Scores follow (1 - π) f₀ + π f₁. f₀ is a generalised normal distribution of power POWER through the known scores'
    median and upper quartile, which lie at (1 - π)/2 and 3 (1 - π)/4 of all scores (Huber's contamination: what is
    unknown lies above); f₁ is normal, higher up: of a grid, the most likely one for each π, by bins above the median.
    What is left of the observed distribution without π f₁ gives upper quartile and highest tenth of the known scores,
    from which a generalised Pareto tail of fixed shape leads on (Pickands 1975). The result is the mean over π by its
    posterior. Constants were chosen on CamVid's training images. Raises ValueError for no scores.
    """
    if not len(scores):
        raise ValueError("no score to set a threshold on")
    ordered = np.sort(scores.astype(np.float64))
    edges = np.concatenate([[-np.inf], np.linspace(np.quantile(ordered, 0.5), ordered[-1], _BINS), [np.inf]])
    below = np.concatenate([[0.0], np.searchsorted(ordered, edges[1:-1], side="right") / len(ordered), [1.0]])
    found = []
    for share in SHARES:
        median, quartile = np.quantile(ordered, [(1 - share) * 0.5, (1 - share) * _QUARTILE])
        scale = max(float(quartile - median) / _Z_QUARTILE, 1e-9)
        likelihood, above = _unknown((edges - median) / scale, below, share)
        left = np.maximum.accumulate(np.clip((below - share * above) / (1 - share), 0, 1))
        quartile, tenth = np.interp([_QUARTILE, _TENTH], left[1:-1], edges[1:-1])
        threshold = quartile + (tenth - quartile) * _steps(target_fpr)
        found.append((PIXELS * likelihood - share / USUAL, threshold, scale * _DEVIATION, share))
    chance, *columns = np.array(found).T
    weight = np.exp(chance - chance.max()) * np.gradient(SHARES)
    threshold, spread, unknown = (float(weight @ column / weight.sum()) for column in columns)
    return KnownTail(threshold, spread, unknown)


def _unknown(
    z: Float[np.ndarray, " E"], below: Float[np.ndarray, " E"], share: float
) -> tuple[float, Float[np.ndarray, " E"]]:
    """The mean log likelihood of the most likely f₁ at one π, and its distribution function at the edges z."""
    known, seen = np.diff(_body(z)), np.diff(below)
    best = -np.inf, np.zeros(len(z))
    for place, width in product(PLACES, WIDTHS) if share else ((0.0, 0.0),):
        above = ndtr((z - place) / width) if share else best[1]
        likelihood = float((seen * np.log((1 - share) * known + share * np.diff(above) + 1e-9)).sum())
        if likelihood > best[0]:
            best = likelihood, above
    return best


def _body(z: Float[np.ndarray, " E"]) -> Float[np.ndarray, " E"]:
    """Distribution function of the generalised normal distribution of power POWER."""
    half = gammainc(1 / POWER, np.abs(z) ** POWER) / 2
    return np.asarray(np.where(z > 0, 0.5 + half, 0.5 - half))


def _steps(share: float) -> float:
    """How far beyond the upper quartile the Pareto tail has `share` left, in steps from there to the highest tenth."""
    reach = [1 - (left / (1 - _QUARTILE)) ** TAIL for left in (share, 1 - _TENTH)]
    return float(reach[0] / reach[1])


_Z_QUARTILE = float(gammaincinv(1 / POWER, 2 * _QUARTILE - 1) ** (1 / POWER))
_DEVIATION = float(np.exp(gammaln(3 / POWER) - gammaln(1 / POWER)) ** 0.5)
