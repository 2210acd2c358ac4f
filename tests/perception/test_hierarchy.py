"""Regions of several scales: what they cover, and the two averages over them, against slow loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ignota.perception.hierarchy import Hierarchy, RegionSettings, image_hierarchy, mean_gradient
from ignota.structures import RegionSet


def partition(rng: np.random.Generator, size: tuple[int, int], count: int) -> RegionSet:
    ids = rng.integers(1, count + 1, size).astype(np.int32)
    ids.flat[:count] = np.arange(1, count + 1)
    return RegionSet(ids, count)


def street(height: int, width: int) -> NDArray[np.uint8]:
    """Two flat halves with a bright box on them."""
    image = np.full((height, width, 3), 90, np.uint8)
    image[height // 2 :] = 130
    image[height // 3 : 2 * height // 3, width // 4 : width // 2] = (250, 40, 40)
    return image


@pytest.mark.parametrize("size", [(60, 90), (300, 420)])
def test_the_same_regions_on_any_number_of_threads(size: tuple[int, int]) -> None:
    """And numbered without a gap, on the grid they are sought on as well as enlarged."""
    image, threads = street(*size), torch.get_num_threads()
    image = np.asarray(image + np.random.default_rng(0).integers(0, 30, image.shape), np.uint8)
    found = []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            found.append(image_hierarchy(image))
    finally:
        torch.set_num_threads(threads)
    for one, other in zip(found[0].levels, found[1].levels, strict=True):
        assert np.array_equal(one.ids, other.ids) and one.count == other.count
        assert np.array_equal(np.unique(one.ids), np.arange(1, one.count + 1))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_smooth_and_blend_against_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    levels = tuple(partition(rng, (5, 7), count) for count in (6, 4, 2))
    hierarchy = Hierarchy(levels)
    values = torch.from_numpy(rng.normal(size=(5, 7)))
    smooth = hierarchy.smooth(values)
    for y, x in np.ndindex(5, 7):
        means = [values[torch.from_numpy(level.ids == level.ids[y, x])].mean() for level in levels]
        assert float(smooth[y, x]) == pytest.approx(float(values[y, x] + sum(means)) / 4, abs=1e-6)
    table = torch.from_numpy(rng.normal(size=(6, 2)))
    blended = hierarchy.blend(table)
    for k in range(2):
        painted = table[:, k][torch.from_numpy(levels[0].ids).long() - 1]
        expected = hierarchy.smooth(painted)
        for r in range(6):
            inside = torch.from_numpy(levels[0].ids == r + 1)
            assert float(blended[r, k]) == pytest.approx(float(expected[inside].mean()), abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_stays_what_it_is(dtype: torch.dtype) -> None:
    hierarchy = Hierarchy(tuple(partition(np.random.default_rng(0), (4, 6), count) for count in (5, 3)))
    found = hierarchy.smooth(torch.full((4, 6), 2.5, dtype=dtype))
    assert found.dtype == dtype
    torch.testing.assert_close(found, torch.full((4, 6), 2.5, dtype=dtype))
    torch.testing.assert_close(
        hierarchy.blend(torch.full((5, 3), -1.5, dtype=dtype)), torch.full((5, 3), -1.5).to(dtype)
    )
    assert hierarchy.blend(torch.zeros(5, 0, dtype=dtype)).shape == (5, 0)


@pytest.mark.parametrize("size", [(60, 80), (300, 400), (1, 1), (3, 500), (271, 270)])
def test_every_pixel_lies_in_one_region_of_each_level(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    found = image_hierarchy(rng.integers(0, 256, (*size, 3)).astype(np.uint8))
    assert len(found.levels) == 2
    for level in found.levels:
        assert level.ids.shape == size
        assert set(np.unique(level.ids)) == set(range(1, level.count + 1))


def test_a_box_is_one_region_and_coarser_levels_have_fewer() -> None:
    image = street(200, 300)
    noise = np.random.default_rng(0).normal(0, 3, image.shape)
    found = image_hierarchy(np.clip(image + noise, 0, 255).astype(np.uint8))
    counts = [level.count for level in found.levels]
    assert counts == sorted(counts, reverse=True)
    box = found.levels[-1].ids[80:120, 85:140]
    values, number = np.unique(box, return_counts=True)
    assert number.max() > 0.95 * box.size
    outside = np.ones((200, 300), bool)
    outside[64:136, 72:153] = False
    assert not (found.levels[-1].ids[outside] == values[number.argmax()]).any()


def test_contrast_and_size_hardly_matter() -> None:
    rng = np.random.default_rng(1)
    image = np.clip(street(270, 360) + rng.normal(0, 10, (270, 360, 3)), 0, 255).astype(np.uint8)
    dull = (image * 0.4 + 60).astype(np.uint8)
    large = np.repeat(np.repeat(image, 2, 0), 2, 1)
    bright, low, high = (
        [level.count for level in image_hierarchy(one, RegionSettings((30.0, 100.0))).levels]
        for one in (image, dull, large)
    )
    assert high == bright  # the same picture at twice the size
    assert low == pytest.approx(bright, rel=0.4)


def test_mean_gradient() -> None:
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32)[None, :, None] / 100, (30, 40, 3)).copy()
    assert mean_gradient(ramp, 0.8) == pytest.approx(0.01, rel=0.05)
    assert mean_gradient(np.zeros((1, 1, 3), np.float32), 0.8) == 0
