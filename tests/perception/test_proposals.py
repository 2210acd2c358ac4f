from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from ignota.perception.proposals import (
    MetaChannelRegions,
    StrongestChannelRegions,
    UncertaintyRegions,
    edge_evidence,
    fill_gaps,
    fit_edge_thresholds,
    label_regions,
    mask_region,
    odd_side,
)
from ignota.structures import RegionSet


def street(height=20, width=28, seed=0):
    """Flat rectangles on a flat ground: strong edges, empty insides."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), 90, np.uint8)
    image[3:9, 4:13] = (220, 200, 40)
    image[11:18, 15:25] = (10, 220, 250)
    return image, torch.from_numpy(rng.normal(0, 3, (4, height // 4, width // 4)).astype(np.float32))


def slow_sobel(image):
    grey = image.astype(float) @ (0.299, 0.587, 0.114)
    height, width = grey.shape
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    out = np.zeros((height, width))
    for y, x in itertools.product(range(height), range(width)):
        gx = gy = 0.0
        for dy, dx in itertools.product((-1, 0, 1), (-1, 0, 1)):
            value = grey[min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)]
            gx += kernel[dy + 1, dx + 1] * value
            gy += kernel.T[dy + 1, dx + 1] * value
        out[y, x] = math.hypot(gx, gy)
    return out


def slow_uncertainty(logits, size):
    """1 - max softmax, then bilinear with half-pixel centres."""
    values = logits.numpy().astype(float)
    powers = np.exp(values - values.max(0))
    grid = 1 - (powers / powers.sum(0)).max(0)
    (h, w), (height, width) = grid.shape, size
    out = np.zeros(size)
    for y, x in itertools.product(range(height), range(width)):
        v = max((y + 0.5) * h / height - 0.5, 0.0)
        u = max((x + 0.5) * w / width - 0.5, 0.0)
        top, left = int(v), int(u)
        low, right = min(top + 1, h - 1), min(left + 1, w - 1)
        a, b = v - top, u - left
        upper = (1 - b) * grid[top, left] + b * grid[top, right]
        out[y, x] = (1 - a) * upper + a * ((1 - b) * grid[low, left] + b * grid[low, right])
    return out


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    """The same regions under any numbering; 0 is no region in both."""
    pairs = {(int(i), int(j)) for i, j in zip(a.ravel(), b.ravel(), strict=True)}
    return len({i for i, _ in pairs}) == len(pairs) == len({j for _, j in pairs}) and ((a == 0) == (b == 0)).all()


class TestUncertaintyRegions:
    def test_edge_evidence_against_loops(self):
        image, logits = street()
        sobel, uncertainty = edge_evidence(image, logits)
        np.testing.assert_allclose(sobel[0], slow_sobel(image), atol=1e-3)
        np.testing.assert_allclose(uncertainty[0], slow_uncertainty(logits, image.shape[:2]), atol=1e-5)

    @pytest.mark.parametrize(("alpha", "beta"), [(50.0, 0.5), (50.0, None), (None, 0.4)])
    def test_against_the_equation_pixel_by_pixel(self, alpha, beta):
        """Equation 2, then 4-connected components large enough. The specks that are filled have tests of their own."""
        image, logits = street()
        sobel, uncertainty = slow_sobel(image), slow_uncertainty(logits, image.shape[:2])
        edge = np.zeros(image.shape[:2], bool)
        for y, x in np.ndindex(edge.shape):
            strong = alpha is not None and sobel[y, x] >= alpha
            edge[y, x] = strong or (beta is not None and uncertainty[y, x] >= beta)
        smallest = 4 / edge.size
        found = UncertaintyRegions(alpha, beta, smallest)(image, logits)
        parts, count = ndimage.label(~edge)
        for i in range(1, count + 1):
            if (parts == i).sum() < 4:
                parts[parts == i] = 0
        inside = ~edge
        assert found.count == len(np.unique(parts[parts > 0])) >= 1
        assert same_partition(np.where(inside, found.ids, 0), parts)
        grown = (found.ids > 0) & edge  # only specks of at most 4 pixels join a region
        specks, number = ndimage.label(edge, np.ones((3, 3)))
        assert all((specks == i).sum() <= 4 for i in range(1, number + 1) if (grown & (specks == i)).any())

    def test_a_rectangle_is_one_region(self):
        image, logits = street()
        ids = UncertaintyRegions(50.0, None, 0.0)(image, logits * 0).ids
        assert len({ids[5, 7], ids[14, 20], ids[0, 0], 0}) == 4

    def test_whole_gives_every_pixel_a_region(self):
        image, logits = street()
        some, whole = (UncertaintyRegions(50.0, 0.5, 0.01, flag)(image, logits) for flag in (False, True))
        assert (some.ids == 0).any()
        assert (whole.ids > 0).all()
        assert whole.count == some.count
        assert (whole.ids[some.ids > 0] == some.ids[some.ids > 0]).all()

    def test_nothing_but_edges(self):
        image, logits = street()
        assert UncertaintyRegions(0.0, None, 0.01)(image, logits).count == 0
        assert UncertaintyRegions(0.0, None, 0.01, whole=True)(image, logits).ids.min() == 1


class TestFillGaps:
    @settings(max_examples=30, deadline=None)
    @given(arrays(np.int32, (9, 11), elements=st.sampled_from([0, 0, 0, 0, 1, 2, 3])))
    def test_every_pixel_gets_a_region_as_near_as_the_nearest(self, ids):
        """OpenCV's 5×5 mask measures steps of 1, 1.4 and 2.1969, almost as Euclid: near ties may fall either way."""
        filled = fill_gaps(RegionSet(ids, int(ids.max()))).ids
        assert filled.dtype == np.int32
        owned = np.argwhere(ids > 0)
        for y, x in np.ndindex(ids.shape):
            if ids[y, x] or len(owned) == 0:
                assert filled[y, x] == (ids[y, x] or 1)
                continue
            distance = np.hypot(owned[:, 0] - y, owned[:, 1] - x)
            mine = min(d for d, (v, u) in zip(distance, owned, strict=True) if ids[v, u] == filled[y, x])
            assert mine <= distance.min() * 1.05

    def test_no_region_becomes_one(self):
        filled = fill_gaps(RegionSet(np.zeros((3, 4), np.int32), 0))
        assert filled.count == 1
        assert (filled.ids == 1).all()

    def test_no_gap_changes_nothing(self):
        ids = np.arange(1, 13, dtype=np.int32).reshape(3, 4)
        assert (fill_gaps(RegionSet(ids, 12)).ids == ids).all()


class TestFitEdgeThresholds:
    def test_each_marks_the_share(self):
        images = [street(40, 56, seed) for seed in range(5)]
        noise = np.random.default_rng(0)
        images = [(noise.integers(0, 256, i.shape, dtype=np.uint8), logits) for i, logits in images]
        alpha, beta = fit_edge_thresholds(images, 0.3)
        evidence = [edge_evidence(*pair) for pair in images]
        assert torch.cat([s.flatten() for s, _ in evidence]).ge(alpha).double().mean() == pytest.approx(0.3, abs=0.03)
        assert torch.cat([u.flatten() for _, u in evidence]).ge(beta).double().mean() == pytest.approx(0.3, abs=0.03)

    def test_against_a_sorted_list(self):
        noise = np.random.default_rng(1)
        images = [(noise.integers(0, 256, (21, 29, 3), dtype=np.uint8), street()[1]) for _ in range(2)]
        alpha, _ = fit_edge_thresholds(images, 0.25)
        values = sorted(v for image, _ in images for v in slow_sobel(image).ravel()[::7])
        place = 0.75 * (len(values) - 1)
        low = math.floor(place)
        assert alpha == pytest.approx(values[low] + (place - low) * (values[low + 1] - values[low]), abs=1e-2)

    def test_no_image(self):
        with pytest.raises(ValueError, match="no image"):
            fit_edge_thresholds([], 0.2)


class TestLabelRegions:
    @settings(max_examples=30, deadline=None)
    @given(arrays(np.uint8, (7, 9), elements=st.sampled_from([0, 1, 4, 255])), st.sampled_from([0.0, 0.05, 0.2]))
    def test_against_scipy(self, label, min_area):
        found = label_regions(label, min_area)
        expected, count = np.zeros(label.shape, int), 0
        for value in (0, 1, 4):
            parts, number = ndimage.label(label == value, np.ones((3, 3)))
            for i in range(1, number + 1):
                if (parts == i).sum() >= min_area * label.size:
                    count += 1
                    expected[parts == i] = count
        assert found.count == count
        assert same_partition(found.ids, expected)
        assert sorted(np.unique(found.ids[found.ids > 0])) == list(range(1, count + 1))

    def test_only_void(self):
        found = label_regions(np.full((4, 5), 255, np.uint8), 0.0)
        assert found.count == 0
        assert not found.ids.any()


class TestMetaChannelRegions:
    def channels(self):
        values = torch.zeros(3, 10, 12)
        values[0, 1:5, 1:5] = 0.9
        values[0, 2:4, 2:4] = 0.1  # a hole
        values[1, 6:9, 7:11] = 0.5  # exactly at the threshold
        values[2, 0, 11] = 1.0  # a speck
        return values

    def test_union_of_the_selected_with_holes_filled(self):
        found = MetaChannelRegions(0.03)(self.channels(), torch.tensor([True, True, True]), (10, 12))
        expected = np.zeros((10, 12), np.int32)
        expected[1:5, 1:5], expected[6:9, 7:11] = 1, 2
        assert found.count == 2
        assert (found.ids == expected).all()

    def test_channels_that_are_not_selected_do_not_count(self):
        found = MetaChannelRegions(0.0)(self.channels(), torch.tensor([False, True, False]), (10, 12))
        assert found.count == 1
        assert not found.ids[:5].any()

    def test_holes_stay_where_they_are_not_filled(self):
        selected = torch.tensor([True, False, False])
        assert MetaChannelRegions(0.0, fill_holes=False)(self.channels(), selected, (10, 12)).ids[2, 2] == 0
        assert (
            MetaChannelRegions(0.0, fill_holes=False, closing=3 / 10)(self.channels(), selected, (10, 12)).ids[2, 2]
            == 1
        )

    def test_resized_by_nearest_neighbour(self):
        small = MetaChannelRegions(0.0)(self.channels(), torch.ones(3, dtype=torch.bool), (10, 12))
        large = MetaChannelRegions(0.0)(self.channels(), torch.ones(3, dtype=torch.bool), (20, 36))
        assert (large.ids == np.repeat(np.repeat(small.ids, 2, 0), 3, 1)).all()
        assert large.count == small.count

    def test_nothing_selected(self):
        found = MetaChannelRegions(0.0)(self.channels(), torch.zeros(3, dtype=torch.bool), (5, 6))
        assert found.count == 0
        assert found.ids.shape == (5, 6)


class TestStrongestChannelRegions:
    def test_against_a_loop(self):
        """Where Σ C ≥ ½, the cells of each strongest channel, 8-connected, without those that an opening removes."""
        generator = torch.Generator().manual_seed(3)
        coarse = torch.rand(1, 3, 4, 5, generator=generator)
        channels = F.interpolate(coarse, size=(24, 30), mode="bilinear")[0] * 0.6
        found = StrongestChannelRegions(0.01)(channels, torch.zeros(3, dtype=torch.bool), (24, 30))
        expected, count = np.zeros((24, 30), np.int32), 0
        for channel in range(3):
            mask = ((channels.sum(0) >= 0.5) & (channels.argmax(0) == channel)).numpy()
            opened = ndimage.binary_opening(np.pad(mask, 2, mode="edge"), np.ones((3, 3)))[2:-2, 2:-2]
            parts, number = ndimage.label(opened, np.ones((3, 3)))
            for i in range(1, number + 1):
                if (parts == i).sum() >= 0.01 * mask.size:
                    count += 1
                    expected[parts == i] = count
        assert count > 2
        assert found.count == count
        assert same_partition(found.ids, expected)

    def test_things_that_touch_stay_apart(self):
        channels = torch.zeros(2, 8, 12)
        channels[0, 2:6, 1:6], channels[1, 2:6, 6:11] = 0.9, 0.8
        apart = StrongestChannelRegions(0.0)(channels, torch.ones(2, dtype=torch.bool), (8, 12))
        joined = MetaChannelRegions(0.0)(channels, torch.ones(2, dtype=torch.bool), (8, 12))
        assert (apart.count, joined.count) == (2, 1)


@pytest.mark.parametrize(("share", "height", "side"), [(5 / 256, 256, 5), (5 / 256, 180, 3), (5 / 256, 512, 9),
                                                       (5 / 256, 20, 1)])  # fmt: skip
def test_the_closing_grows_with_the_grid(share: float, height: int, side: int):
    assert odd_side(share, height) == side


def test_mask_region_is_the_mask():
    mask = np.eye(4, dtype=bool)
    assert (mask_region(mask).ids == np.eye(4)).all()
    assert mask_region(mask).count == 1
