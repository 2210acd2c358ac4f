"""Boxes and clicks propose objects of a scene, coarser and finer ones; where there is none, what lies there."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ignota.perception.features import FeatureSpace
from ignota.perception.hierarchy import Hierarchy
from ignota.perception.marks import Box, Click, box_mask, boxed_objects, mark_mask
from ignota.perception.reading import RegionReading
from ignota.perception.scene import Scene, Tables, no_taught
from ignota.structures import Encoding, InputError, RegionSet
from ignota.taxonomy import ClassLabel, Taxonomy

GRID = (60, 90)
NONE = np.zeros((15, 20), np.uint16)
CORE, WHOLE, OTHER = np.s_[24:32, 20:30], np.s_[16:42, 10:40], np.s_[16:42, 48:72]


def masked(place: tuple[slice, slice], size: tuple[int, int] = GRID) -> NDArray[np.bool_]:
    mask = np.zeros(GRID, bool)
    mask[place] = True
    return np.kron(mask, np.ones((size[0] // GRID[0], size[1] // GRID[1]), bool))


@pytest.fixture
def scene() -> Scene:
    """A thing with a bright core, and a fainter one beside it; a bridge below the threshold joins them."""
    score = np.full(GRID, -3.8, np.float32)
    score[16:42, 10:72] = -1.2
    score[WHOLE], score[CORE], score[OTHER] = 4, 7.9, 1.2
    ids = np.ones(GRID, np.int32)
    ids[:, 45:] = 2
    image = np.full((*GRID, 3), 20, np.uint8)  # its edges are those of the things
    image[WHOLE], image[CORE], image[OTHER] = 120, 250, 180
    reading = RegionReading(Hierarchy((RegionSet(ids, 2),)), torch.zeros(2, 1), torch.zeros(2, 1))
    tables = Tables(GRID, np.zeros(GRID, np.uint8), torch.from_numpy(score), reading)
    space = FeatureSpace(
        ("decoder",), torch.zeros(1), torch.ones(1), torch.zeros(1, 1), torch.zeros(1, dtype=torch.uint8), 1
    )
    labels = Taxonomy("t", (ClassLabel(0, "road", (0, 0, 0)),))
    encoding = Encoding(image, GRID, torch.zeros(1, 15, 20), {})
    taught = no_taught(tables.regions, torch.device("cpu"))
    return Scene(encoding, labels, 1, tables, taught, 0.0, 1.0, space, cutoff=1.0)


def test_a_click_picks_the_object_and_a_click_beside_it_makes_it_finer(scene: Scene) -> None:
    first = mark_mask(Click(25, 28), scene, NONE)
    np.testing.assert_array_equal(first, masked(WHOLE))
    np.testing.assert_array_equal(first, scene.unknown[0].mask)
    finer = mark_mask(Click(25, 28, minus=[(12, 18)]), scene, NONE)
    np.testing.assert_array_equal(finer, masked(CORE))
    np.testing.assert_array_equal(mark_mask(Click(25, 28, minus=[(60, 28)]), scene, NONE), first)  # not of it anyway


def test_a_finer_object_is_part_of_the_object_and_free_of_what_is_ruled_out(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At snapped edges a set of the score reaches beyond the object's mask, or over the click that rules it out."""
    beyond = masked(np.s_[10:42, 15:40])
    monkeypatch.setattr("ignota.perception.marks._finer", lambda *_: beyond)
    finer = mark_mask(Click(25, 28, minus=[(12, 18)]), scene, NONE)
    np.testing.assert_array_equal(finer, beyond & masked(WHOLE))
    held = mark_mask(Click(25, 28, minus=[(30, 18)]), scene, NONE)  # of the click's own region: it stays
    np.testing.assert_array_equal(held, beyond & masked(WHOLE))
    wide = np.s_[16:42, 10:60]
    scene.tables.score[wide] = 4
    scene.encoding.image[wide] = 120
    scene.encoding.image[16:42, 60:72] = 20
    monkeypatch.setattr("ignota.perception.marks._finer", lambda *_: masked(wide))
    left = mark_mask(Click(25, 28, minus=[(55, 28)]), scene, NONE)
    assert left[28, 25] and not left[28, 55]


def test_further_clicks_add_what_they_reach(scene: Scene) -> None:
    both = mark_mask(Click(25, 28, plus=[(60, 28)]), scene, NONE)
    np.testing.assert_array_equal(both, masked(WHOLE) | masked(OTHER))
    with_core = mark_mask(Click(25, 28, plus=[(60, 28)], minus=[(12, 18)]), scene, NONE)
    np.testing.assert_array_equal(with_core, masked(CORE) | masked(OTHER))
    region = mark_mask(Click(25, 28, plus=[(2, 2)]), scene, NONE)  # where nothing is unknown
    np.testing.assert_array_equal(region, scene.regions.ids == 1)


def test_an_object_that_no_finer_one_is_in_loses_the_region_that_is_ruled_out(scene: Scene) -> None:
    wide = np.s_[16:42, 10:60]
    scene.tables.score[wide] = 4
    scene.encoding.image[wide] = 120
    scene.encoding.image[16:42, 60:72] = 20
    left = mark_mask(Click(25, 28, minus=[(55, 28)]), scene, NONE)
    np.testing.assert_array_equal(left, masked(np.s_[16:42, 10:45]))
    kept = mark_mask(Click(25, 28, minus=[(30, 30), (55, 28)]), scene, NONE)  # of the region of the click itself
    np.testing.assert_array_equal(kept, left)


def test_a_box_picks_the_objects_that_are_mostly_inside(scene: Scene) -> None:
    for box, places in (
        (Box(9, 15, 42, 43), [WHOLE]),
        (Box(46, 15, 74, 43), [OTHER]),
        (Box(9, 15, 30, 43), [np.s_[16:42, 10:30]]),
        (Box(9, 15, 74, 43), [WHOLE, OTHER]),
    ):
        wanted = np.logical_or.reduce([masked(place) for place in places])
        np.testing.assert_array_equal(boxed_objects(box, scene), wanted)
        found, inside = mark_mask(box, scene, NONE), np.zeros(GRID, bool)
        inside[int(box.top) : int(box.bottom), int(box.left) : int(box.right)] = True
        assert found[wanted].all() and not found[~inside].any()
    for box in (Box(2, 46, 30, 58), Box(30, 10, 47, 58)):  # nothing there, less than half of the object
        assert boxed_objects(box, scene) is None
        np.testing.assert_array_equal(mark_mask(box, scene, NONE), box_mask(box, scene.encoding.image, GRID))


def test_where_no_object_is_the_unknown_pixels_are_picked(scene: Scene) -> None:
    bare = dataclasses.replace(scene, cutoff=None)
    np.testing.assert_array_equal(mark_mask(Click(25, 28), bare, NONE), masked(WHOLE))
    faint = dataclasses.replace(scene, cutoff=1e6)
    np.testing.assert_array_equal(mark_mask(Click(60, 28), faint, NONE), masked(OTHER))
    with pytest.raises(InputError, match="choose one of region"):
        mark_mask(Click(2, 2), scene, NONE)
    box = Box(9, 15, 42, 43)
    np.testing.assert_array_equal(mark_mask(box, bare, NONE), box_mask(box, scene.encoding.image, GRID))


@pytest.mark.parametrize("mark", [Click(90, 5), Click(25, 28, plus=[(25, 60)]), Click(25, 28, minus=[(-1, 5)])])
def test_clicks_outside_the_image_are_refused(scene: Scene, mark: Click) -> None:
    with pytest.raises(InputError, match="outside the image"):
        mark_mask(mark, scene, NONE)


def test_on_a_larger_image_clicks_are_in_its_pixels(scene: Scene) -> None:
    size = (2 * GRID[0], 2 * GRID[1])
    large = dataclasses.replace(scene, tables=dataclasses.replace(scene.tables, size=size))
    for mark, place in ((Click(50, 56), WHOLE), (Click(50, 56, minus=[(24, 36)]), CORE)):
        found = mark_mask(mark, large, NONE)
        assert found.shape == size
        both, either = found & masked(place, size), found | masked(place, size)
        assert both.sum() > 0.97 * either.sum()
    boxed = boxed_objects(Box(18, 30, 84, 86), large)
    assert boxed is not None and (boxed ^ masked(WHOLE, size)).sum() < 0.03 * boxed.sum()
