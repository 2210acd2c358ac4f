"""Unknown objects against a slow tree of level sets, and what they are for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from ignota.perception.objects import find_objects, guided_filter, object_score, snapped
from ignota.perception.scene import enlarged

EIGHT = np.ones((3, 3), bool)


def level_sets(z: NDArray[np.float32], smallest: float) -> Iterator[tuple[float, NDArray[np.bool_]]]:
    z = np.clip(z, -4, 8)
    for level in np.arange(-1.5, 8, 0.5):
        ids, count = ndimage.label(z > level, EIGHT)
        for i in range(1, count + 1):
            mask = ids == i
            if smallest * z.size <= mask.sum() <= 0.5 * z.size:
                ring = ndimage.binary_dilation(mask, np.ones((9, 9), bool)) & ~mask
                around = z[ring].astype(np.float64).mean() if ring.any() else -4.0
                yield object_score(z[mask].astype(np.float64).mean(), around, mask.sum() / z.size), mask


def slowly(z: NDArray[np.float32], cutoff: float, smallest: float) -> list[tuple[float, NDArray[np.bool_]]]:
    taken: list[tuple[float, NDArray[np.bool_]]] = []
    for score, mask in sorted(level_sets(z, smallest), key=lambda pair: -pair[0]):
        if score > cutoff and not any((mask & other).any() for _, other in taken):
            taken.append((score, mask))
    return taken


def blobs(seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(40, 50)), 3)
    return np.asarray(noise / noise.std() * 3, np.float32)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(-5, 20))
def test_objects_are_those_of_the_slow_tree(seed: int, cutoff: float) -> None:
    z = blobs(seed)
    found, expected = find_objects(z, cutoff, 0.002), slowly(z, cutoff, 0.002)
    np.testing.assert_allclose(found.scores, [score for score, _ in expected], rtol=1e-6)
    for i, (_, mask) in enumerate(expected):
        np.testing.assert_array_equal(found.ids == i + 1, mask)


def slow_guided_filter(p: NDArray, guide: NDArray, radius: int, smooth: float) -> NDArray[np.float64]:
    """Window by window: the line that fits the values over each, then the mean of all lines at a pixel."""

    def windows(of: NDArray) -> NDArray:
        whole = np.pad(of.astype(np.float64), radius, mode="reflect")
        side = (2 * radius + 1, 2 * radius + 1)
        return np.lib.stride_tricks.sliding_window_view(whole, side).reshape(*of.shape, -1)

    values, seen = windows(p), windows(guide)
    slope = np.array([
        [np.cov(i, v, bias=True)[0, 1] / (i.var() + smooth) for i, v in zip(*rows, strict=True)]
        for rows in zip(seen, values, strict=True)
    ])  # fmt: skip
    offset = values.mean(-1) - slope * seen.mean(-1)
    return windows(slope).mean(-1) * guide + windows(offset).mean(-1)


def test_the_guided_filter_is_that_of_lines_fitted_window_by_window() -> None:
    rng = np.random.default_rng(2)
    values, guide = (rng.random((12, 15)).astype(np.float32) for _ in range(2))
    found = guided_filter(values, guide, 2, 1e-2)
    np.testing.assert_allclose(found, slow_guided_filter(values, guide, 2, 1e-2), atol=1e-4)


def test_objects_end_where_the_image_has_an_edge() -> None:
    image = np.full((60, 80, 3), 90, np.uint8)
    image[20:40, 20:40], image[20:40, 50:70] = 200, 20  # two things
    ids = np.zeros((60, 80), np.int32)
    ids[18:41, 22:43], ids[22:42, 48:68] = 1, 3  # two pixels off; the second object has no pixel
    noise = np.random.default_rng(0).integers(-3, 4, image.shape)
    found = snapped(ids, np.clip(image + noise, 0, 255).astype(np.uint8))
    truth = np.zeros_like(ids)
    truth[20:40, 20:40], truth[20:40, 50:70] = 1, 3
    assert set(np.unique(found)) == {0, 1, 3}
    for number in (1, 3):
        real = truth == number
        before, after = ((mask & real).sum() / (mask | real).sum() for mask in (ids == number, found == number))
        assert after > before + 0.12
    flat = np.full_like(image, 128)
    assert (snapped(ids, flat) != ids).mean() < 0.03  # nothing to hold on to: corners become round


def test_scores_fall_and_no_object_overlaps_another() -> None:
    found = find_objects(blobs(3), 0.0, 0.002)
    assert (np.diff(found.scores) <= 0).all()
    assert set(np.unique(found.ids)) == set(range(len(found.scores) + 1))


def test_neighbours_that_one_threshold_melts_are_two_objects() -> None:
    z = np.full((60, 90), -3, np.float32)
    z[20:40, 5:30] = z[20:40, 60:85] = 6
    z[20:40, 30:60] = 0.3  # a bridge above the threshold
    assert ndimage.label(z > 0, EIGHT)[1] == 1
    assert len(find_objects(z, 0.0, 0.0003).scores) == 2


def test_a_faint_object_that_one_threshold_splinters_is_whole() -> None:
    z = np.full((60, 90), -3.5, np.float32)
    z[20:40, 15:60] = -0.3
    z[24:30, 20:28] = z[30:36, 45:52] = 0.4
    assert ndimage.label(z > 0, EIGHT)[1] == 2
    found = find_objects(z, 0.0, 0.0003)
    assert (found.ids == 1).sum() == 20 * 45


def test_a_background_that_is_all_unknown_is_no_object() -> None:
    assert len(find_objects(np.full((30, 30), 5, np.float32), -np.inf, 0.0).scores) == 0


@pytest.mark.parametrize("size", [(40, 50), (80, 100), (57, 101), (20, 25)])
def test_objects_keep_place_and_size_on_another_grid(size: tuple[int, int]) -> None:
    ids = np.zeros((40, 50), np.int32)
    ids[5:15, 5:20], ids[22:35, 30:50] = 1, 2
    large = enlarged(ids, size)
    assert large.shape == size
    for i in (1, 2):
        share = (large == i).mean() / (ids == i).mean()
        assert share == pytest.approx(1, abs=0.2)
        centre = np.divide(ndimage.center_of_mass(large == i), (size[0] / 40, size[1] / 50))
        np.testing.assert_allclose(centre, ndimage.center_of_mass(ids == i), atol=1)
