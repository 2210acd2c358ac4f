"""The slow references give what the package gives, or nothing could be said by racing against them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix as sklearn_confusion

from benchmarks import references as slow
from ignota.functional.confusion import confusion_matrix
from ignota.functional.curves import binary_curve, curve_metrics
from ignota.functional.meta_channels import PAPER, overall_loss, select_channels
from ignota.functional.pooling import region_pool
from ignota.functional.regions import candidate_regions
from ignota.functional.scores import uncertainty_intensity
from ignota.structures import RegionSet


@pytest.fixture
def regions() -> RegionSet:
    ids = np.random.default_rng(0).integers(0, 6, (9, 12)).astype(np.int32)
    return RegionSet(ids, 5)


def drawn(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_pooling(regions: RegionSet) -> None:
    features = drawn(4, 9, 12)
    expected = region_pool(features, regions)
    torch.testing.assert_close(slow.pool_by_multiplication(features, regions), expected)
    torch.testing.assert_close(slow.pool_by_index_add(features, regions), expected)


def test_components() -> None:
    edges = np.random.default_rng(1).random((20, 30)) < 0.4
    found, expected = slow.components_by_compare(edges, 6), candidate_regions(edges, 0.01, 0.0)
    assert found.count == expected.count > 1
    np.testing.assert_array_equal(found.ids, expected.ids)


def test_uncertainty(regions: RegionSet) -> None:
    best, similarity = drawn(9, 12) - 0.5, drawn(5)
    expected = uncertainty_intensity(best, similarity, regions, 0.3, "printed")
    torch.testing.assert_close(slow.uncertainty_by_region(best, similarity, regions, 0.3), expected)


def test_losses() -> None:
    channels, image, zero = drawn(2, 5, 30, 40), drawn(2, 3, 30, 40), torch.zeros(())
    expected = overall_loss(zero, channels, image, torch.zeros(2, 30, 40, dtype=torch.long), 3, PAPER)["total"]
    torch.testing.assert_close(slow.losses_by_loops(channels, image, 3), expected)
    assert slow.split_by_channel(channels, 3) != 0


def test_selection() -> None:
    channels, masks = drawn(2, 6, 8, 8) * torch.linspace(0.3, 1.2, 6)[:, None, None], drawn(2, 8, 8) > 0.3
    expected = select_channels(channels, masks)
    assert slow.select_by_loops(channels, masks, 0.1).equal(expected)
    assert 0 < expected.sum() < 6


def test_confusion() -> None:
    rng = np.random.default_rng(0)
    target, prediction = rng.choice([0, 1, 2, 255], (5, 7)), rng.integers(0, 3, (5, 7))
    found = slow.confusion_by_rows(torch.from_numpy(target), torch.from_numpy(prediction), 3)
    expected = confusion_matrix(torch.from_numpy(target), torch.from_numpy(prediction), 3)
    np.testing.assert_array_equal(found, expected[:, :3].numpy())
    seen = target != 255
    np.testing.assert_array_equal(found, sklearn_confusion(target[seen], prediction[seen]))


def test_metrics() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(400) < 0.3
    scores = (rng.standard_normal(400) + labels).astype(np.float32)
    assert slow.metrics_by_three_sorts(scores, labels) == pytest.approx(curve_metrics(binary_curve(scores, labels)))


def test_novel_labels() -> None:
    union = torch.zeros(4, 6, dtype=torch.bool)
    union[0, :2] = union[3, 4:] = True
    features = torch.zeros(2, 4, 6)
    features[0, 0], features[1, 3] = 1, 1
    logits = torch.zeros(3, 4, 6)
    logits[1] = 1
    prototypes = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    found = slow.novel_labels_by_region(logits, union, features, lambda v: v, prototypes, 0.5, 0.0, (8, 12))
    expected = torch.ones(8, 12, dtype=torch.int64)
    expected[6:, 8:] = 3  # nearest to the first new class; the other region is like none
    assert found.equal(expected)
