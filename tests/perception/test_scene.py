"""A scene reads its tables: thresholds, regions and sizes, against slow loops."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from ignota.data.images import write_png16
from ignota.perception.features import FeatureSpace
from ignota.perception.hierarchy import Hierarchy
from ignota.perception.reading import RegionReading
from ignota.perception.scene import LEVELS, Scene, Tables, Taught, levels, limit_of
from ignota.structures import Encoding, InputError, RegionSet
from ignota.taxonomy import UNKNOWN_INDEX, ClassLabel, Taxonomy

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
        np.testing.assert_allclose(dataclasses.replace(one, tables=tables).anomaly, anomaly, atol=0.5001 / LEVELS)


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


def near_levels(of: np.ndarray) -> list[float]:
    """Thresholds that fall on levels, between them, and next to both in the last bit."""
    found = []
    for level in np.unique(of).tolist():
        for value in (level / LEVELS, (level - 0.5) / LEVELS, (level + 0.5) / LEVELS):
            found += [np.nextafter(value, -1), value, np.nextafter(value, 2)]
    return [float(value) for value in found]


@pytest.mark.parametrize("size", [(6, 8), (13, 9)])
def test_labels_regions_and_the_stored_map_agree_at_every_threshold(size: tuple[int, int], tmp_path: Path) -> None:
    one = scene(size)
    write_png16(tmp_path / "a.png", one.anomaly)
    stored = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(stored, one.levels)
    for threshold in near_levels(stored):
        unknown = stored > limit_of(threshold)
        np.testing.assert_array_equal(one.labels_with_unknown(threshold) == UNKNOWN_INDEX, unknown)
        np.testing.assert_array_equal(
            np.logical_or.reduce([r.mask for r in one.unknown_at(threshold)] or [unknown]), unknown
        )
        for region in one.unknown_at(threshold):
            assert region.score == stored[region.mask].sum(dtype=np.int64) / region.area / LEVELS


def test_a_limit_is_the_largest_level_that_does_not_exceed_the_threshold() -> None:
    for threshold in (0.0, 1.0, 0.5, *near_levels(np.random.default_rng(0).integers(0, LEVELS + 1, 300))):
        product = Fraction(threshold * LEVELS)  # rounded once, as the page does
        assert limit_of(threshold) == product.numerator // product.denominator
    assert (limit_of(0.5), limit_of(-7.0), limit_of(np.inf)) == (32767, -LEVELS, LEVELS)


def test_levels_round_and_only_scores_beyond_the_threshold_exceed_the_middle() -> None:
    raw = np.float32(np.random.default_rng(1).normal(2, 3, (40, 50)))
    raw[0, :3] = 2, np.nextafter(np.float32(2), np.float32(3)), 2.001
    found = levels(raw, 2.0, 0.7)
    exact = 65535 / (1 + np.exp(-(raw.astype(np.float64) - 2) / 0.7))
    assert found.dtype == np.uint16 and np.abs(found - exact).max() < 0.52
    assert found[0, 0] == limit_of(0.5) < found[0, 2]
    assert (found[raw <= 2] <= limit_of(0.5)).all() and (found[raw > 2.001] > limit_of(0.5)).all()
    assert levels(np.float32([-np.inf, -1e30, 1e30, np.inf]), 2.0, 1e-12).tolist() == [0, 0, LEVELS, LEVELS]


def test_a_score_that_is_not_a_number_is_refused() -> None:
    raw = np.zeros((4, 5), np.float32)
    raw[3, 4] = np.nan
    with pytest.raises(InputError, match="not a number"):
        levels(raw, 0.0, 1.0)


@pytest.mark.parametrize("size", [(12, 16), (3, 4), (1, 1), (6, 8)])
def test_everything_is_given_on_the_original_image(size: tuple[int, int]) -> None:
    one = scene(size)
    assert one.labels.shape == one.anomaly.shape == one.labels_with_unknown().shape == size
    assert set(np.unique(one.labels)) <= {0, 1, 2}
    assert all(region.mask.shape == size for region in one.unknown)
