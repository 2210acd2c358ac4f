import itertools

import cv2
import numpy as np
import pytest

from ignota.reports.pictures import (
    NO_REGION_COLOUR,
    channels_picture,
    colour_labels,
    heat_map,
    label_tags,
    outline,
    overlay,
    region_colours,
    region_picture,
)
from ignota.taxonomy import CAMVID, UNKNOWN_COLOUR

PALETTE = CAMVID.palette()


def disc(height=60, width=80, centre=(30, 40), radius=15) -> np.ndarray:
    return cv2.circle(np.zeros((height, width), np.uint8), centre[::-1], radius, 1, -1) > 0


def test_every_pixel_takes_its_label_colour():
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    picture = colour_labels(labels, PALETTE)
    assert picture.shape == (3, 4, 3) and picture.dtype == np.uint8
    for y, x in itertools.product(range(3), range(4)):
        assert tuple(picture[y, x]) == tuple(PALETTE[labels[y, x]])


def test_heat_grows_brighter_with_anomaly_and_clips():
    heat = heat_map(np.linspace(-0.5, 1.5, 101, dtype=np.float32)[None])
    light = cv2.cvtColor(heat, cv2.COLOR_RGB2LAB)[0, :, 0].astype(int)
    assert (np.diff(light) >= -1).all() and light[-1] - light[0] > 200
    np.testing.assert_array_equal(heat[0, 0], heat[0, 25])
    np.testing.assert_array_equal(heat[0, -1], heat[0, 75])


def test_heat_lies_over_the_grey_image():
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    anomaly = np.full((4, 5), 0.4, np.float32)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    expected = 0.25 * grey + 0.75 * heat_map(anomaly)
    np.testing.assert_allclose(heat_map(anomaly, image, 0.75), expected, atol=1)
    np.testing.assert_array_equal(heat_map(anomaly, image, 0.0), np.repeat(grey, 3, axis=2))


def test_heat_refuses_nan():
    with pytest.raises(ValueError, match="NaN"):
        heat_map(np.array([[np.nan]], np.float32))


def test_outline_is_the_rim_inside_the_mask():
    mask = np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    rim = np.zeros((9, 9), bool)
    rim[2:7, 2:7] = True
    rim[3:6, 3:6] = False
    np.testing.assert_array_equal(outline(mask), rim)
    assert outline(mask, 2).sum() == 24
    assert not outline(np.ones((5, 5), bool)).any()
    assert not outline(np.zeros((5, 5), bool)).any()


def test_overlay_blends_and_outlines_the_unknown():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    labels = np.full((60, 80), 3, np.uint8)
    plain = overlay(image, labels, PALETTE, 0.5)
    np.testing.assert_allclose(plain, 0.5 * image + 0.5 * colour_labels(labels, PALETTE), atol=1)
    mask = disc()
    shown = overlay(image, labels, PALETTE, 0.5, mask)
    assert (shown[outline(mask)] == UNKNOWN_COLOUR).all()
    inner, outer = outline(mask, 4), cv2.dilate(mask.astype(np.uint8), np.ones((5, 5))) > 0
    np.testing.assert_array_equal(shown[mask & ~inner], plain[mask & ~inner])
    np.testing.assert_array_equal(shown[~outer], plain[~outer])
    np.testing.assert_array_equal(overlay(image, labels, PALETTE, 0.5, np.zeros_like(mask)), plain)


def test_a_name_tag_sits_in_its_region_and_leaves_the_picture_alone():
    picture = np.full((120, 200, 3), 128, np.uint8)
    regions = np.zeros((120, 200), np.int32)
    regions[20:60, 100:180] = 5
    regions[100:, :3] = 2
    tagged = label_tags(picture, regions, {5: "car", 9: "absent"})
    y, x = np.nonzero((tagged != picture).any(2))
    assert 100 <= x.mean() < 180 and 20 <= y.mean() < 60
    assert (picture == 128).all()
    corner = label_tags(picture, regions, {2: "straßen-\nschild"})
    assert corner.shape == picture.shape and (corner != picture).any()
    np.testing.assert_array_equal(label_tags(picture, regions * 0, {1: "x"}), picture)


def test_a_tag_larger_than_the_picture_is_cut():
    picture = np.zeros((6, 8, 3), np.uint8)
    assert label_tags(picture, np.ones((6, 8), np.int32), {1: "a very long name"}).shape == (6, 8, 3)


def test_regions_have_colours_of_their_own_that_depend_on_the_id_alone():
    colours = region_colours(200)
    assert tuple(colours[0]) == NO_REGION_COLOUR
    assert len(np.unique(colours[:61], axis=0)) == 61
    near = np.abs(np.diff(colours.astype(int), axis=0)).sum(1)
    assert near.min() > 60
    np.testing.assert_array_equal(region_colours(7), colours[:8])
    ids = np.array([[0, 3], [7, 3]], np.int32)
    np.testing.assert_array_equal(region_picture(ids), colours[ids])
    assert region_picture(np.zeros((0, 4), np.int32)).shape == (0, 4, 3)
    with pytest.raises(ValueError, match="start at 0"):
        region_picture(np.array([[-1]]))


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (3, 2, 2), (4, 2, 2), (5, 2, 3)])
def test_meta_channels_lie_in_a_grid(count, rows, columns):
    channels = np.stack([np.full((30, 40), number / 10, np.float32) for number in range(count)])
    picture = channels_picture(channels, gap=4)
    assert picture.shape == (rows * 34 - 4, columns * 44 - 4, 3)
    for number in range(count):
        row, column = divmod(number, columns)
        corner = picture[row * 34 + 29, column * 44 + 39]
        assert corner.tolist() == [round(number / 10 * 255)] * 3
    if count < rows * columns:
        assert (picture[-1, -1] == 255).all()
