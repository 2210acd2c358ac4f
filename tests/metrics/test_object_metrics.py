"""Metrics of whole objects against counts by sets of pixels, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ignota.errors import InputError
from ignota.metrics.objects import ObjectMetrics

NONE = {"true": 0, "covered": None, "found": None}


def slowly(objects: np.ndarray, label: np.ndarray, smallest: int) -> tuple[int, int, int, int, int]:
    """listed, false, true, covered, found."""
    void = {tuple(at) for at in np.argwhere(label == 255)}
    anomalous = {tuple(at) for at in np.argwhere(label == 1)}
    everything, listed, false = [], [], 0
    for number in set(objects.ravel().tolist()) - {0}:
        pixels = {tuple(at) for at in np.argwhere(objects == number)}
        counted = pixels - void
        everything.append(counted)
        if 2 * len(counted) > len(pixels):
            listed.append(counted)
            false += 4 * len(counted & anomalous) < len(counted)
    ids, count = ndimage.label(label == 1, np.ones((3, 3)))
    truths = [{tuple(at) for at in np.argwhere(ids == i)} for i in range(1, count + 1)]
    truths = [one for one in truths if len(one) >= smallest]
    covered = sum(any(2 * len(one & other) >= len(one | other) for other in everything) for one in truths)
    found = sum(any(4 * len(one & other) >= len(one) for other in everything) for one in truths)
    return len(listed), false, len(truths), covered, found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 100_000), st.integers(1, 6))
def test_counts_are_those_of_sets_of_pixels(seed: int, smallest: int) -> None:
    rng = np.random.default_rng(seed)
    objects = np.kron(rng.integers(0, 5, (3, 4)) * (rng.random((3, 4)) < 0.6), np.ones((3, 3), int))
    label = np.kron(rng.choice([0, 1, 255], (4, 4), p=[0.5, 0.3, 0.2]), np.ones((3, 3), int))[:9, :12].astype(np.uint8)
    metrics = ObjectMetrics(smallest)
    metrics.update("a", objects, label)
    counts = [int(each.sum()) for each in (metrics.true, metrics.covered, metrics.found)]
    found = (metrics.listed, metrics.false, *counts)
    assert found == slowly(objects, label, smallest)


def test_figures_are_means_over_images_and_shares_of_true_objects() -> None:
    label, objects = np.zeros((10, 20), np.uint8), np.zeros((10, 20), np.int32)
    label[2:6, 2:6] = label[2:6, 12:16] = 1
    objects[2:6, 2:7], objects[8:, :4] = 1, 2  # one covered, one missed, one false
    metrics = ObjectMetrics(4)
    metrics.update("a", objects, label)
    metrics.update("b", np.zeros_like(objects), np.zeros_like(label))
    assert metrics.compute() == {
        "images": 2, "listed_per_image": 1.0, "false_per_image": 0.5, "true": 2, "covered": 0.5, "found": 0.5,
        "by_size": {"small": {"true": 2, "covered": 0.5, "found": 0.5}, "medium": NONE, "large": NONE},
    }  # fmt: skip
    assert ObjectMetrics(4).compute()["covered"] is None


def test_true_objects_are_counted_by_their_size() -> None:
    label = np.zeros((140, 200), np.uint8)
    label[:96, :96], label[:32, 100:132], label[100:131, :33] = 1, 1, 1  # 96², 32² and 31 × 33 pixels
    metrics = ObjectMetrics(4)
    metrics.update("a", np.where(label == 1, 1, 0) * (np.arange(200) > 97), label)
    found = {name: (each["true"], each["covered"]) for name, each in metrics.compute()["by_size"].items()}
    assert found == {"small": (1, 0), "medium": (1, 1), "large": (1, 0)}


def test_other_labels_and_shapes_are_refused() -> None:
    with pytest.raises(InputError):
        ObjectMetrics(1).update("a", np.zeros((2, 2), np.int32), np.full((2, 2), 7, np.uint8))
    with pytest.raises(ValueError, match="shape"):
        ObjectMetrics(1).update("a", np.zeros((2, 3), np.int32), np.zeros((2, 2), np.uint8))
