"""How fast the parts are that everything else waits for: `make bench`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ignota.functional.curves import binary_curve, curve_metrics
from ignota.functional.meta_channels import overlap_loss
from ignota.functional.pooling import region_pool
from ignota.functional.regions import candidate_regions
from ignota.synthetic.scene import draw_scene

SCENES_A_SECOND = 20


@pytest.fixture(autouse=True)
def one_core() -> Iterator[None]:
    """All figures are for one core."""
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    yield
    torch.set_num_threads(threads[0])
    cv2.setNumThreads(threads[1])


@pytest.fixture(scope="module")
def edges() -> NDArray[np.bool_]:
    """About as many edges as a street image of CamVid's size has."""
    noise = cv2.GaussianBlur(np.random.default_rng(0).random((540, 720)), (0, 0), 4)
    return np.abs(noise - noise.mean()) < 0.3 * noise.std()


def test_synthetic_scenes(benchmark) -> None:
    seeds = itertools.count()
    benchmark.pedantic(lambda: draw_scene(next(seeds), 256, 512, 0), rounds=60, warmup_rounds=5)
    assert benchmark.stats.stats.median < 1 / SCENES_A_SECOND


def test_regions_between_edges(benchmark, edges: NDArray[np.bool_]) -> None:
    assert benchmark(candidate_regions, edges, 0.0005).count > 20


def test_pooling_of_every_region_at_once(benchmark, edges: NDArray[np.bool_]) -> None:
    found, features = candidate_regions(edges, 0.0005), torch.randn(256, 135, 180)
    assert benchmark(region_pool, features, found).shape == (found.count, 256)


def test_overlap_of_all_pairs_of_channels(benchmark) -> None:
    channels = torch.rand(2, 20, 135, 180)
    assert benchmark(overlap_loss, channels).isfinite()


def test_anomaly_metrics_of_a_million_pixels(benchmark) -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=1 << 20).astype(np.float32), rng.random(1 << 20) < 0.05
    assert 0 < benchmark(lambda: curve_metrics(binary_curve(scores, labels)))["auroc"] < 1
