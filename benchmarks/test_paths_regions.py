"""Regions against loops over them: pooling, components, edges, Q; `make bench`."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from benchmarks.racing import OURS, Bar
from benchmarks.references import (
    components_by_compare,
    pool_by_index_add,
    pool_by_multiplication,
    uncertainty_by_region,
)
from skimage.filters import sobel
from skimage.measure import label, regionprops

from ignota.functional.edges import sobel_magnitude
from ignota.functional.pooling import region_pool
from ignota.functional.regions import candidate_regions
from ignota.functional.scores import uncertainty_intensity
from ignota.structures import RegionSet

CHANNELS, ROWS, COLUMNS = 256, 256, 512
LARGE = 1024, 2048
READ = "reading the features once"
LAYOUTS = {"last": "channels last, as the networks give them", "first": "channels first"}


def tiles(count: int, rows: int = ROWS, columns: int = COLUMNS) -> RegionSet:
    """A partition into about so many regions of one size."""
    across = math.ceil(math.sqrt(count * columns / rows))
    down = math.ceil(count / across)
    ids = (np.arange(rows) * down // rows)[:, None] * across + np.arange(columns) * across // columns
    return RegionSet((ids + 1).astype(np.int32), down * across)


def some_features(layout: str, device: str) -> torch.Tensor:
    values = torch.randn(CHANNELS, ROWS, COLUMNS, generator=torch.Generator().manual_seed(0)).to(device)
    return values if layout == "first" else values.permute(1, 2, 0).contiguous().permute(2, 0, 1)


def noise(shape: tuple[int, int], spread: float) -> np.ndarray:
    return cv2.GaussianBlur(np.random.default_rng(0).random(shape, np.float32), (0, 0), spread)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pooling_of_200_regions(race, device: str, layout: str) -> None:
    features, regions = some_features(layout, device), tiles(200)
    torch.testing.assert_close(region_pool(features, regions), pool_by_index_add(features, regions))
    race(
        f"pooling {layout}",
        f"pooling {CHANNELS}×{ROWS}×{COLUMNS} features over 200 regions, {LAYOUTS[layout]}",
        {
            OURS: lambda: region_pool(features, regions),
            READ: features.sum,
            "`index_add_`": lambda: pool_by_index_add(features, regions),
            "a multiplication per region": lambda: pool_by_multiplication(features, regions),
        },
        [Bar("a multiplication per region", OURS, least=300), Bar(OURS, READ, most=3)],
        device,
        READ,
    )


def test_pooling_of_10_to_10000_regions(race, device: str) -> None:
    features = some_features("last", device)
    sets = {count: tiles(count) for count in (10, 100, 1000, 10_000)}
    race(
        "pooling flat",
        f"the same, from 10 to 10,000 regions ({LAYOUTS['last']})",
        {
            OURS: lambda: region_pool(features, sets[10_000]),
            READ: features.sum,
            **{f"{count:,} regions": lambda s=regions: region_pool(features, s) for count, regions in sets.items()},
        },
        [Bar("10,000 regions", "10 regions", most=1.5)],
        device,
        READ,
        rounds=15,
    )


def test_components_with_their_sizes(race) -> None:
    values = noise(LARGE, 4)
    edges = np.abs(values - values.mean()) < 0.3 * values.std()
    smallest = 0.0005
    found = candidate_regions(edges, smallest, 0.0)
    np.testing.assert_array_equal(found.ids, components_by_compare(edges, smallest * edges.size).ids)
    race(
        "components",
        f"{found.count} regions between edges, their sizes, specks filled, at 2048×1024",
        {
            OURS: lambda: candidate_regions(edges, smallest),
            "a copy of the label map": found.ids.copy,
            "a compare per component": lambda: components_by_compare(edges, smallest * edges.size),
            "scikit-image": lambda: [p.area for p in regionprops(label(~edges, connectivity=1))],
        },
        [],
        floor="a copy of the label map",
        rounds=5,
    )


def test_edges(race, device: str) -> None:
    grey = (noise(LARGE, 2) * 255).astype(np.uint8)
    image = torch.from_numpy(np.stack([grey] * 3))[None].to(device)
    out = torch.empty(1, *LARGE, device=device)
    # Another normalisation, and other borders.
    reference = sobel(grey.astype(np.float32))[1:-1, 1:-1] * 4 * math.sqrt(2)
    np.testing.assert_allclose(sobel_magnitude(image)[0, 1:-1, 1:-1].cpu().numpy(), reference, atol=1e-3)
    race(
        "edges",
        "Sobel magnitude of an image of 2048×1024",
        {
            OURS: lambda: sobel_magnitude(image),
            "reading the image and writing the map": lambda: (image.amax(), out.zero_()),
            "scikit-image": lambda: sobel(grey.astype(np.float32)),
        },
        [],
        device,
        "reading the image and writing the map",
    )


def test_uncertainty_intensity(race, device: str) -> None:
    best, regions = torch.from_numpy(noise(LARGE, 3)).to(device), tiles(200, *LARGE)
    similarity = torch.linspace(-1, 1, regions.count, device=device)
    ours = uncertainty_intensity(best, similarity, regions, 0.5, "printed")
    torch.testing.assert_close(ours, uncertainty_by_region(best, similarity, regions, 0.5))
    target = torch.empty_like(best)
    race(
        "q",
        "Q of Eq. 5 at 2048×1024 over 200 regions",
        {
            OURS: lambda: uncertainty_intensity(best, similarity, regions, 0.5, "printed"),
            "a copy of the map": lambda: target.copy_(best),
            "a mask per region": lambda: uncertainty_by_region(best, similarity, regions, 0.5),
        },
        [],
        device,
        "a copy of the map",
    )
