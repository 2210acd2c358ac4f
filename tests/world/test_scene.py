"""A scene reads its tables: thresholds, regions and sizes, against slow loops."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy import ndimage

from ignota.regions.hierarchy import Hierarchy
from ignota.structures import Encoding, RegionSet
from ignota.taxonomy import UNKNOWN_INDEX, ClassLabel, Taxonomy
from ignota.world.features import FeatureSpace
from ignota.world.reading import RegionReading
from ignota.world.scene import Scene, Tables, Taught

TAXONOMY = Taxonomy("t", tuple(ClassLabel(i, name, (i, i, i)) for i, name in enumerate(("road", "sky", "crate"))))


def scene(size: tuple[int, int] = (6, 8), level: float = 99.0) -> Scene:
    score = torch.tensor(np.random.default_rng(0).normal(size=(6, 8)), dtype=torch.float32)
    score[1:3, 1:4] += 9
    score[4:, 6:] += 9
    ids = np.zeros((6, 8), np.int32)
    ids[1:3, 1:4], ids[3:, :] = 1, 2
    closed = np.zeros((6, 8), np.uint8)
    closed[:2] = 1
    image = np.zeros((6, 8, 3), np.uint8)
    encoding = Encoding(image, size, torch.zeros(2, 3, 4), {})
    ids += 1
    reading = RegionReading(Hierarchy((RegionSet(ids, 3),)), torch.zeros(3, 1), torch.zeros(3, 1))
    space = FeatureSpace(
        ("decoder",), torch.zeros(1), torch.ones(1), torch.zeros(1, 1), torch.zeros(1, dtype=torch.uint8), 1
    )
    taught = Taught(torch.tensor([-1, 0, -1]), torch.tensor([0.0, level, 0.0]))
    return Scene(encoding, TAXONOMY, 2, Tables(size, closed, score, reading), taught, 4.0, 0.5, space)


def test_labels_are_the_closed_set_s_with_taught_classes_over_them() -> None:
    expected = scene().tables.closed.copy()
    expected[1:3, 1:4] = 2
    np.testing.assert_array_equal(scene().labels, expected)


def test_anomaly_is_one_half_at_the_threshold() -> None:
    one = scene()
    np.testing.assert_array_equal(one.anomaly > 0.5, one.score.numpy() > 4)
    assert one.anomaly.dtype == np.float32
    assert (one.anomaly >= 0).all() and (one.anomaly <= 1).all()
    for value, anomaly in ((4.0, 0.5), (-1e9, 0.0)):
        tables = dataclasses.replace(one.tables, score=torch.full((6, 8), value))
        assert (dataclasses.replace(one, tables=tables).anomaly == anomaly).all()


def test_a_taught_class_leaves_no_more_anomaly_than_its_level() -> None:
    raw, found = scene().tables.score, scene(level=-3.0).score
    taught = torch.from_numpy(scene().regions.ids == 2)
    assert (found[taught] == -3.0).all()
    assert torch.equal(found[~taught], raw[~taught])
    assert torch.equal(scene(level=99.0).score, raw)


def test_unknown_regions_equal_the_loops_largest_first() -> None:
    one = scene()
    parts, count = ndimage.label(one.anomaly > 0.5, structure=np.ones((3, 3)))
    found = one.unknown
    assert len(found) == count == 2
    assert [region.area for region in found] == [6, 4]
    for region in found:
        ys, xs = np.nonzero(region.mask)
        assert region.box == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        assert region.area == region.mask.sum()
        assert len(np.unique(parts[region.mask])) == 1
        assert region.score == pytest.approx(float(one.anomaly[region.mask].mean()))
        labels = one.labels[region.mask]
        assert region.nearest == TAXONOMY.classes[np.bincount(labels).argmax()].name
    assert one.unknown_at(1.0) == ()
    assert one.unknown_at(-1.0)[0].area == 48


def test_a_new_threshold_only_reads_the_tables() -> None:
    one = scene()
    for threshold in (0.1, 0.5, 0.9):
        labels = one.labels_with_unknown(threshold)
        np.testing.assert_array_equal(labels == UNKNOWN_INDEX, one.anomaly > threshold)


@pytest.mark.parametrize("size", [(12, 16), (3, 4), (1, 1), (6, 8)])
def test_everything_is_given_on_the_original_image(size: tuple[int, int]) -> None:
    one = scene(size)
    assert one.labels.shape == one.anomaly.shape == one.labels_with_unknown().shape == size
    assert set(np.unique(one.labels)) <= {0, 1, 2}
    assert all(region.mask.shape == size for region in one.unknown)
