from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ignota.functional import pooling as module
from ignota.functional.pooling import overlap, region_pool
from ignota.structures import RegionSet


def some_regions(height=13, width=17, count=5, seed=0) -> RegionSet:
    rng = np.random.default_rng(seed)
    return RegionSet(rng.integers(0, count + 1, (height, width)).astype(np.int32), count)


def slow_pool(features: np.ndarray, regions: RegionSet) -> np.ndarray:
    """Eq. 3 pixel by pixel: mean of the cell's feature over each region."""
    height, width = regions.ids.shape
    rows: list[list[np.ndarray]] = [[] for _ in range(regions.count)]
    for y, x in itertools.product(range(height), range(width)):
        if regions.ids[y, x]:
            cell = features[:, y * features.shape[1] // height, x * features.shape[2] // width]
            rows[regions.ids[y, x] - 1].append(cell)
    return np.stack([np.mean(row, 0) for row in rows])


@pytest.fixture(params=["in one go", "piece by piece"])
def pieces(request, monkeypatch):
    if request.param == "piece by piece":
        monkeypatch.setattr(module, "_TILE", 3)
        monkeypatch.setattr(module, "_LONGEST", {"cpu": 2, "cuda": 2})


def laid_out(features: torch.Tensor, layout: str) -> torch.Tensor:
    """The same features in other places of the memory."""
    if layout == "channels last":
        return features.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    if layout == "cropped":
        wide = features.new_full((features.shape[1], features.shape[2] + 3, features.shape[0]), torch.nan)
        wide[:, : features.shape[2]] = features.permute(1, 2, 0)
        return wide.permute(2, 0, 1)[:, :, : features.shape[2]]
    if layout == "every other":
        wide = features.new_full((*features.shape, 2), torch.nan)
        wide[..., 0] = features
        return wide[..., 0]
    return features


DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")),
]


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-5), (torch.float64, 1e-12), (torch.bfloat16, 1e-5)])
@pytest.mark.parametrize("grid", [(13, 17), (4, 5), (1, 1), (20, 40)])
@pytest.mark.parametrize("layout", ["channels first", "channels last", "cropped", "every other"])
@pytest.mark.parametrize("device", DEVICES)
def test_pooling_equals_the_loops(device, layout, grid, dtype, rtol):
    regions = some_regions()
    features = (torch.randn(6, *grid, generator=torch.Generator().manual_seed(2)) + 100).to(dtype)
    mean = slow_pool(features.double().numpy(), regions)
    features = laid_out(features.to(device), layout)
    pooled = region_pool(features, regions).cpu()
    assert pooled.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    np.testing.assert_allclose(pooled.double().numpy(), mean, rtol=rtol)


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("grid", [(3, 4), (6, 7)])
def test_pooling_is_differentiable(grid):
    regions = some_regions(6, 7, 3)
    features = torch.randn(
        2, *grid, generator=torch.Generator().manual_seed(3), dtype=torch.float64, requires_grad=True
    )
    assert torch.autograd.gradcheck(lambda f: region_pool(f, regions), features)


@pytest.mark.usefixtures("pieces")
def test_autocast_keeps_full_precision():
    features = torch.randn(6, 4, 5, generator=torch.Generator().manual_seed(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = region_pool(features, some_regions())
    torch.testing.assert_close(mixed, region_pool(features, some_regions()))


@pytest.mark.parametrize("layout", ["channels first", "channels last"])
def test_no_region_gives_no_row(layout):
    empty, features = RegionSet(np.zeros((4, 6), np.int32), 0), laid_out(torch.ones(5, 2, 3), layout).requires_grad_()
    assert region_pool(features, empty).shape == (0, 5)
    region_pool(features, empty).sum().backward()
    assert features.grad is not None and not features.grad.any()


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("layout", ["channels first", "channels last"])
def test_a_region_without_pixels_is_zero_and_takes_nothing_from_others(layout):
    ids = np.zeros((4, 6), np.int32)
    ids[1, 2], ids[3] = 2, 4
    pooled = region_pool(laid_out(torch.arange(48.0).view(2, 4, 6), layout), RegionSet(ids, 5))
    assert pooled.tolist() == [[0, 0], [8, 32], [0, 0], [20.5, 44.5], [0, 0]]


def test_every_pixel_of_a_region_is_counted_once_even_where_a_cell_is_larger():
    ids = np.ones((64, 64), np.int32)
    ids[63, 63], ids[0, 40] = 2, 0
    pairs = overlap(ids, 3, (2, 2))
    assert np.bincount(pairs.region, weights=pairs.pixels, minlength=3).tolist() == [64 * 64 - 2, 1, 0]
    assert pairs.pixels[pairs.start[1] : pairs.start[2]].tolist() == [1023]  # the pixel of no region lies in cell 1
    assert pairs.region[pairs.start[3] :].tolist() in ([0, 1], [1, 0])


def test_a_large_region_keeps_its_precision():
    """Added up one after the other in float32, a million numbers near 1000 would be off by parts in ten thousand."""
    features = torch.rand(2, 1000, 1000, generator=torch.Generator().manual_seed(5)) + 1000
    regions = RegionSet(np.ones((1000, 1000), np.int32), 1)
    for layout in ("channels first", "channels last"):
        found = region_pool(laid_out(features, layout), regions).double()
        torch.testing.assert_close(found, features.double().mean((1, 2))[None], rtol=2e-6, atol=0)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(5)), st.integers(0, 100))
def test_relabelling_regions_permutes_rows(order, seed):
    regions = some_regions(seed=seed)
    table = np.array([0, *(i + 1 for i in order)], np.int32)
    renamed = RegionSet(table[regions.ids], 5)
    features = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(region_pool(features, renamed)[list(order)], region_pool(features, regions))
