from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from ignota.functional.regions import (
    candidate_regions,
    drop_block,
    mask_regions,
    paint,
    region_areas,
    region_majority,
    region_mean,
)
from ignota.structures import InputError, RegionSet

FOUR = [(0, 1), (1, 0), (0, -1), (-1, 0)]
EIGHT = [*FOUR, (1, 1), (1, -1), (-1, 1), (-1, -1)]
masks = arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def flood(mask: np.ndarray, steps: list[tuple[int, int]]) -> list[set[tuple[int, int]]]:
    """Connected parts of a mask by flood fill, in raster order of their first pixel."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    parts = []
    while left:
        part, queue = set(), [min(left)]
        while queue:
            pixel = queue.pop()
            if pixel in left:
                left.discard(pixel)
                part.add(pixel)
                queue += [(pixel[0] + dy, pixel[1] + dx) for dy, dx in steps]
        parts.append(part)
    return parts


def slow_candidates(edges: np.ndarray, min_area: float) -> set[frozenset]:
    parts = flood(~edges, FOUR)
    grown = [set(part) for part in parts]
    for group in flood(edges, EIGHT):
        around = {(y + dy, x + dx) for y, x in group for dy, dx in EIGHT}
        touched = [i for i, part in enumerate(parts) if part & around]
        if len(touched) == 1 and len(group) <= min_area * edges.size:
            grown[touched[0]] |= group
    return {frozenset(part) for part in grown if len(part) >= min_area * edges.size}


def as_sets(regions: RegionSet) -> set[frozenset]:
    return {frozenset(map(tuple, np.argwhere(regions.ids == i + 1).tolist())) for i in range(regions.count)}


def some_regions(height=13, width=17, count=5, seed=0) -> RegionSet:
    rng = np.random.default_rng(seed)
    return RegionSet(rng.integers(0, count + 1, (height, width)).astype(np.int32), count)


def picture(text: str) -> np.ndarray:
    return np.array([[letter == "#" for letter in line] for line in text.split()])


# --- finding regions


@settings(max_examples=30, deadline=None)
@given(masks, st.sampled_from([0.0, 0.02, 0.05, 0.2]))
def test_candidates_equal_flood_fill(edges, min_area):
    found = candidate_regions(edges, min_area)
    assert as_sets(found) == slow_candidates(edges, min_area)
    assert set(np.unique(found.ids)) - {0} == set(range(1, found.count + 1))


def test_a_diagonal_contour_separates():
    found = candidate_regions(torch.eye(8, dtype=torch.bool), 0.1)
    assert found.count == 2
    assert found.ids[0, 7] != found.ids[7, 0]


def test_a_closed_contour_is_never_filled_but_a_speck_is():
    edges = picture(
        """
        ............
        .#..........
        ............
        .....###....
        .....#.#....
        .....###....
        ............
        """
    )
    found = candidate_regions(edges, 8 / edges.size)
    assert found.count == 1  # the object of one pixel is too small, yet does not melt into the surroundings
    assert found.ids[1, 1] == 1
    assert not found.ids[3:6, 5:8].any()


@pytest.mark.parametrize("value", [True, False])
def test_all_edge_and_no_edge(value):
    found = candidate_regions(np.full((4, 5), value), 0.0)
    assert found.count == (not value)
    assert (found.ids == (not value)).all()


def test_max_speck_is_apart_from_min_area():
    edges = picture("..... .##.. .....")
    assert candidate_regions(edges, 0.0).ids[1, 1] == 0
    assert candidate_regions(edges, 0.0, max_speck=0.2).ids.all()
    assert candidate_regions(edges, 0.2, max_speck=0.0).ids[1, 1] == 0


@settings(max_examples=30, deadline=None)
@given(masks, st.sampled_from([0.0, 0.05, 0.2]), st.booleans())
def test_mask_regions_equal_flood_fill(mask, min_area, fill):
    solid = ndimage.binary_fill_holes(mask) if fill else mask
    expected = {frozenset(part) for part in flood(solid, EIGHT) if len(part) >= min_area * mask.size}
    assert as_sets(mask_regions(mask, min_area, fill_holes=fill)) == expected


def test_closing_bridges_a_gap_and_grows_no_edge():
    mask = picture("##.## ##.## ..... .....")
    assert mask_regions(mask, 0.0).count == 2
    closed = mask_regions(torch.from_numpy(mask), 0.0, closing=3)
    assert closed.count == 1
    np.testing.assert_array_equal(closed.ids > 0, picture("##### ##### ..... ....."))


@pytest.mark.parametrize("value", [True, False])
def test_full_and_empty_masks(value):
    assert mask_regions(np.full((4, 5), value), 0.1, closing=5).count == value


def test_bad_masks_are_refused():
    with pytest.raises(InputError, match="fraction"):
        candidate_regions(np.zeros((3, 3), bool), 250.0)
    with pytest.raises(InputError, match="closing=0"):
        mask_regions(np.zeros((3, 3), bool), 0.1, closing=0)
    with pytest.raises(InputError, match="not empty"):
        mask_regions(np.zeros((0, 3), bool), 0.1)


# --- reading values over regions


def test_no_region_gives_no_row():
    empty = RegionSet(np.zeros((4, 6), np.int32), 0)
    assert region_mean(torch.ones(4, 6), empty).shape == (0,)
    assert region_areas(empty).shape == (0,)
    assert (paint(torch.zeros(0), empty, -1.0) == -1).all()
    assert [x.shape for x in region_majority(np.zeros((4, 6), np.uint8), empty, 3)] == [(0,), (0,)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_region_mean_areas_and_paint_equal_the_loops(dtype):
    regions = some_regions()
    scores = torch.randn(13, 17, generator=torch.Generator().manual_seed(4)).to(dtype)
    means = region_mean(scores, regions)
    assert means.dtype == dtype
    for i in range(regions.count):
        inside = torch.from_numpy(regions.ids == i + 1)
        torch.testing.assert_close(means[i], scores[inside].double().mean().to(dtype))
        assert region_areas(regions)[i] == inside.sum()
        assert (paint(means, regions, 9.0)[inside] == means[i]).all()
    assert (paint(means, regions, 9.0)[torch.from_numpy(regions.ids == 0)] == 9).all()


def test_region_mean_and_paint_are_differentiable():
    regions = some_regions(4, 5, 2)
    scores = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(5), requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: paint(region_mean(s, regions), regions, 0.0), scores)


def test_majority_ignores_void():
    regions = RegionSet(np.array([[1, 1, 1, 1], [2, 2, 3, 0], [4, 4, 4, 4]], np.int32), 4)
    labels = np.array([[2, 2, 0, 255], [255, 255, 1, 0], [1, 0, 0, 1]], np.uint8)
    label, purity = region_majority(torch.from_numpy(labels), regions, 3)
    assert label.tolist() == [2, 255, 1, 0]
    torch.testing.assert_close(purity, torch.tensor([2 / 3, 0.0, 1.0, 0.5]))


def test_majority_refuses_labels_that_are_no_class():
    regions = RegionSet(np.ones((1, 2), np.int32), 1)
    with pytest.raises(InputError, match=r"classes are 0\.\.2"):
        region_majority(np.array([[0, 3]]), regions, 3)


@pytest.mark.parametrize("block", [1, 3, 5])
def test_against_a_loop(block: int) -> None:
    masks = torch.rand(4, 11, 13, generator=torch.Generator().manual_seed(0)) < 0.7
    found = drop_block(masks, block, 0.3, torch.Generator().manual_seed(5))
    centres = torch.rand(masks.shape, generator=torch.Generator().manual_seed(5)) < 0.3 / block**2
    expected, reach = masks.clone(), block // 2
    for r, y, x in centres.nonzero().tolist():
        expected[r, max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1] = False
    assert torch.equal(found, expected)
    assert 0 < found.sum() < masks.sum()


def test_about_the_share_is_dropped() -> None:
    masks = torch.ones(20, 60, 60, dtype=torch.bool)
    kept = drop_block(masks, 3, 0.3, torch.Generator().manual_seed(0)).float().mean()
    assert 0.7 < kept < 0.77  # squares overlap


def test_a_mask_that_would_vanish_stays() -> None:
    masks = torch.zeros(50, 5, 5, dtype=torch.bool)
    masks[:, 2, 2] = True
    found = drop_block(masks, 3, 1.0, torch.Generator().manual_seed(0))
    assert torch.equal(found, masks)


@pytest.mark.parametrize(("block", "share"), [(2, 0.3), (0, 0.3), (3, 1.5), (3, -0.1)])
def test_impossible_settings_are_refused(block: int, share: float) -> None:
    with pytest.raises(InputError, match="drop_block"):
        drop_block(torch.ones(1, 3, 3, dtype=torch.bool), block, share, torch.Generator())
