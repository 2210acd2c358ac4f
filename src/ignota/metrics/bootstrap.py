"""The uncertainty of a difference between two anomaly scores: a paired bootstrap over images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int64, UInt8
from numpy.typing import NDArray
from scipy import sparse

from ignota.functional.numbers import BIN_BITS, score_key
from ignota.metrics.anomaly import ANOMALY, check_label, check_score
from ignota.structures import InputError
from ignota.taxonomy import IGNORE_INDEX

COARSE_BITS = 16
"""Of the order-preserving key: sign, exponent and 7 bits of mantissa, which is bfloat16's resolution."""

_CELLS_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class Interval:
    """Mean of a bootstrapped quantity and the limits between which its middle 95 % lie."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class ImageHistogram:
    """The scores of one image by bin; only bins in use. bins: "U" rising; counts: "2 U", normal, then anomalous."""

    bins: NDArray[np.uint16]
    counts: NDArray[np.uint32]


def image_histogram(score: Float[np.ndarray, "H W"], label: UInt8[np.ndarray, "H W"]) -> ImageHistogram:
    """Counts of the normal and anomalous pixels of an image by the top 16 bits of their score's key; void left out."""
    seen = label != IGNORE_INDEX
    code = (score_key(score[seen]) >> np.uint32(BIN_BITS - COARSE_BITS)).astype(np.int64)
    code += (label[seen] == ANOMALY).astype(np.int64) << COARSE_BITS
    counts = np.bincount(code, minlength=2 << COARSE_BITS).reshape(2, 1 << COARSE_BITS)
    used = np.flatnonzero(counts.any(0))
    return ImageHistogram(used.astype(np.uint16), counts[:, used].astype(np.uint32))


def pooled(first: ImageHistogram, second: ImageHistogram) -> ImageHistogram:
    """The histogram of the pixels of both."""
    bins = np.union1d(first.bins, second.bins)
    counts = np.zeros((2, len(bins)), np.uint32)
    for one in (first, second):
        counts[:, np.searchsorted(bins, one.bins)] += one.counts
    return ImageHistogram(bins, counts)


@dataclass
class ImageHistograms:
    """The histograms of several scores, image by image: some ten kilobytes for an image and score."""

    by_key: dict[str, dict[str, ImageHistogram]] = field(default_factory=dict)

    def update(self, key: str, scores: Mapping[str, Float[np.ndarray, "H W"]], label: UInt8[np.ndarray, "H W"]) -> None:
        """Adds one image. Raises ValueError for NaN, a wrong shape or an image seen before, InputError for labels
        other than 0, 1 and 255."""
        if key in self.by_key:
            raise ValueError(f"image {key!r} was added before; give every image a key of its own")
        check_label(key, label)
        for name, score in scores.items():
            check_score(key, name, score, label)
        self.by_key[key] = {name: image_histogram(score, label) for name, score in scores.items()}

    def merge(self, other: ImageHistograms) -> None:
        """Adds the images of another state. Raises ValueError where both saw the same one."""
        twice = sorted(self.by_key.keys() & other.by_key.keys())
        if twice:
            raise ValueError(f"image {twice[0]!r} is in both states ({len(twice)} in all); each may be in one")
        self.by_key.update(other.by_key)

    def fold(self, key: str, other: ImageHistograms) -> None:
        """Adds the images of another state to one entry, so that however many images take the room of a few."""
        for added in other.by_key.values():
            held = self.by_key.get(key)
            self.by_key[key] = added if held is None else {name: pooled(held[name], added[name]) for name in held}

    def of(self, name: str) -> list[ImageHistogram]:
        """One score's histograms, by image key, so that their order does not depend on how the work was shared out."""
        missing = [key for key, scores in self.by_key.items() if name not in scores]
        if missing:
            raise InputError(
                f"no score {name!r} for image {missing[0]!r}; there are: {', '.join(self.by_key[missing[0]])}"
            )
        return [self.by_key[key][name] for key in sorted(self.by_key)]


def paired_bootstrap(
    histograms: ImageHistograms, first: str, second: str, draws: int = 1000, seed: int = 0
) -> Interval:
    """By how much the pooled AUPR of score `first` exceeds that of `second`, were other images of the kind drawn.

    Each draw takes as many images as there are, with replacement, the same ones for both scores. Draws without an
    anomalous pixel are left out. An interval that excludes 0 means the difference is not chance (95 %). Scores that
    differ by less than bfloat16's resolution count as equal. Raises InputError where there is nothing to draw from.
    """
    if draws < 1:
        raise InputError(f"paired_bootstrap: draws={draws} is no number of draws; use 1 or more")
    pair = histograms.of(first), histograms.of(second)
    images = len(pair[0])
    if not any(one.counts[1].any() for one in pair[0]):
        raise InputError(f"no anomalous pixel in {images} images; choose a data set or split that has anomalies")
    weights = drawn_weights(images, draws, seed)
    return interval(weighted_aupr(pair[0], weights) - weighted_aupr(pair[1], weights))


def drawn_weights(images: int, draws: int, seed: int) -> Int64[np.ndarray, "draws images"]:
    """How often each image is in each draw of as many images as there are, with replacement."""
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1.0 / images), size=draws)


def interval(values: Float[np.ndarray, " draws"]) -> Interval:
    """Mean and middle 95 % of what was drawn; draws without a value (NaN) are left out.

    Raises InputError where none has one.
    """
    kept = values[~np.isnan(values)]
    if not kept.size:
        raise InputError(f"no draw of {len(values)} holds an anomalous pixel; take more draws")
    low, high = np.quantile(kept, (0.025, 0.975))
    return Interval(float(kept.mean()), float(low), float(high))


def weighted_aupr(
    histograms: Sequence[ImageHistogram], weights: Int64[np.ndarray, "draws images"]
) -> Float[np.ndarray, " draws"]:
    """Pooled AUPR, Σ (R_n - R_{n-1}) P_n over bins, with each image counted as often as its weight says.

    NaN for a draw without anomalous pixels. Only bins with an anomalous pixel somewhere make a step; the normal
    pixels of other bins are added to the next such bin below, which changes nothing.
    """
    normal, anomalous = _by_step(histograms)
    out = np.empty(len(weights))
    at_once = max(1, _CELLS_AT_ONCE // max(1, anomalous.shape[0]))
    for start in range(0, len(weights), at_once):
        chosen = weights[start : start + at_once].T.astype(np.float64)
        step = anomalous @ chosen
        hits = np.cumsum(step, axis=0)
        alarms = np.cumsum(normal @ chosen, axis=0)
        alarms += hits
        total = hits[-1].copy()
        hits /= np.maximum(alarms, 1.0)
        area = np.einsum("sd,sd->d", step, hits)
        out[start : start + at_once] = np.divide(area, total, out=np.full_like(area, np.nan), where=total > 0)
    return out


def weighted_fpr95(
    histograms: Sequence[ImageHistogram], weights: Int64[np.ndarray, "draws images"]
) -> Float[np.ndarray, " draws"]:
    """Pooled FPR at the first threshold with TPR ≥ 0.95, with each image counted as often as its weight says.

    NaN for a draw without anomalous or without normal pixels. Recall rises only at bins with an anomalous pixel.
    """
    normal, anomalous = _by_step(histograms)
    every = np.array([one.counts[0].sum() for one in histograms], np.float64)
    out = np.full(len(weights), np.nan)
    at_once = max(1, _CELLS_AT_ONCE // max(1, anomalous.shape[0]))
    for start in range(0, len(weights), at_once):
        chosen = weights[start : start + at_once].T.astype(np.float64)
        hits, alarms = np.cumsum(anomalous @ chosen, axis=0), np.cumsum(normal @ chosen, axis=0)
        reached = np.argmax(hits >= 0.95 * hits[-1], axis=0)
        false = np.take_along_axis(alarms, reached[None], axis=0)[0]
        total = every @ chosen
        defined = (hits[-1] > 0) & (total > 0)
        out[start : start + at_once][defined] = false[defined] / total[defined]
    return out


def weighted_auroc(
    histograms: Sequence[ImageHistogram], weights: Int64[np.ndarray, "draws images"]
) -> Float[np.ndarray, " draws"]:
    """Pooled AUROC, the chance that an anomalous pixel outranks a normal one, equal bins half; images by weight.

    NaN for a draw without anomalous or without normal pixels. Below an anomalous pixel's bin are all normal pixels but
    those down to its step; of these the ones in the very bin count half.
    """
    (normal, anomalous), (equal, _) = _by_step(histograms), _by_step(histograms, equal=True)
    every = np.array([one.counts[0].sum() for one in histograms], np.float64)
    out = np.full(len(weights), np.nan)
    at_once = max(1, _CELLS_AT_ONCE // max(1, anomalous.shape[0]))
    for start in range(0, len(weights), at_once):
        chosen = weights[start : start + at_once].T.astype(np.float64)
        step, total = anomalous @ chosen, every @ chosen
        below = total - np.cumsum(normal @ chosen, axis=0) + (equal @ chosen) / 2
        pairs = step.sum(0) * total
        area = np.einsum("sd,sd->d", step, below)
        out[start : start + at_once] = np.divide(area, pairs, out=np.full_like(area, np.nan), where=pairs > 0)
    return out


def _by_step(histograms: Sequence[ImageHistogram], equal: bool = False) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Normal and anomalous pixels of each image by step, "steps images", from the highest bin down.

    equal: of the normal ones, those alone that share their bin with an anomalous pixel.
    """
    bins = np.concatenate([one.bins for one in histograms])
    counts = np.concatenate([one.counts for one in histograms], axis=1).astype(np.float64)
    image = np.repeat(np.arange(len(histograms)), [one.bins.size for one in histograms])
    steps = np.unique(bins[counts[1] > 0])
    step = len(steps) - np.searchsorted(steps, bins, side="right")  # bins below every anomalous pixel: len(steps)
    kept = np.isin(bins, steps) if equal else step < len(steps)
    place = (step[kept], image[kept])
    shape = (len(steps), len(histograms))
    normal, anomalous = (sparse.csr_array((row[kept], place), shape=shape) for row in counts)
    return normal, anomalous
