"""Component-level overlap of predicted and true anomalies (SegmentMeIfYouCan: Chan et al., NeurIPS 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8
from numpy.typing import NDArray

from ignota.taxonomy import IGNORE_INDEX


@dataclass(frozen=True)
class Overlaps:
    """What one image shows: sIoU of each true component and PPV of each predicted one, all in 0..1.

    pixels: of each true component.
    """

    siou: Float[np.ndarray, " G"]
    ppv: Float[np.ndarray, " P"]
    pixels: Integer[np.ndarray, " G"]


def component_overlaps(
    predicted: Bool[np.ndarray, "H W"], label: UInt8[np.ndarray, "H W"], smallest_predicted: int, smallest_true: int
) -> Overlaps:
    """sIoU(k) = |k ∩ K| / |(k ∪ K) \\ A| of each true component k and PPV(p) = |p ∩ truth| / |p| of each predicted p.

    K: all predicted components that touch k; A: their pixels on other true components, so that one prediction over
    two things is not punished for the other one. label: 0 normal, 1 anomaly, 255 void. Components are 8-connected.
    As the benchmark does: predictions on void are dropped before components are sought; then predicted components
    below `smallest_predicted` pixels are dropped, and true ones below `smallest_true` become void, with what is
    predicted on them.
    """
    truth, true_sizes = _components(label == 1)
    guess, guessed_sizes = _components(predicted & (label != IGNORE_INDEX))
    guess[guessed_sizes[guess] < smallest_predicted] = 0
    seen = (label != IGNORE_INDEX) & ((truth == 0) | (true_sizes[truth] >= smallest_true))
    return _overlaps(truth[seen].astype(np.int64), guess[seen].astype(np.int64))


def _components(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Number of each pixel's component, 0 outside, and the pixels of each number."""
    _, ids = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    return np.asarray(ids, np.int32), np.bincount(ids.ravel())


def _overlaps(truth: Integer[np.ndarray, " N"], guess: Integer[np.ndarray, " N"]) -> Overlaps:
    """From the component numbers of every pixel that counts: a table of pairs, and sums over its rows and columns."""
    width = int(guess.max(initial=0)) + 1
    codes, pixels = np.unique(truth * width + guess, return_counts=True)
    true, guessed = codes // width, codes % width
    rows = int(true.max(initial=0)) + 1
    area_true, area_guessed = np.bincount(true, pixels, rows), np.bincount(guessed, pixels, width)
    both = (true > 0) & (guessed > 0)
    k, p, shared = true[both], guessed[both], pixels[both]
    hit_true, hit_guessed = np.bincount(k, shared, rows), np.bincount(p, shared, width)
    # Of every component that touches k: its pixels less those on k (in k already) and those on others (A).
    beyond = np.bincount(k, area_guessed[p] - hit_guessed[p], rows)
    present_true = np.flatnonzero(area_true[1:]) + 1
    present_guessed = np.flatnonzero(area_guessed[1:]) + 1
    return Overlaps(
        hit_true[present_true] / (area_true + beyond)[present_true],
        hit_guessed[present_guessed] / area_guessed[present_guessed],
        area_true[present_true].astype(np.int64),
    )
