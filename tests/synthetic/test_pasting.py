"""Cut-outs of the synthetic world in photographs: where they land and what they hide."""

from __future__ import annotations

import numpy as np
import pytest

from ignota.synthetic.pasting import CutOut, cut_outs, paste
from ignota.taxonomy import IGNORE_INDEX

RED = CutOut(np.full((30, 20, 3), (255, 0, 0), np.uint8), np.ones((30, 20), bool))


def test_things_are_cut_where_the_scene_is_unknown_and_the_same_each_time() -> None:
    things, again = cut_outs(3, 5), cut_outs(3, 5)
    assert len(things) == len(again) > 1
    for thing, other in zip(things, again, strict=True):
        assert thing.image.shape == (*thing.mask.shape, 3)
        assert thing.mask.sum() >= 400
        assert thing.mask.any(1)[[0, -1]].all() and thing.mask.any(0)[[0, -1]].all()  # no wider than it needs to be
        np.testing.assert_array_equal(thing.image, other.image)
    assert len(cut_outs(3, 6)) != len(things) or not np.array_equal(cut_outs(3, 6)[0].image, things[0].image)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_pasted_is_marked_and_nothing_else_changes(seed: int) -> None:
    image, label = np.full((90, 120, 3), 40, np.uint8), np.zeros((90, 120), np.uint8)
    label[:, 100:] = IGNORE_INDEX
    picture, target = paste(image, label, (RED,), 2, np.random.default_rng(seed))
    pasted = target == 1
    assert pasted.any()
    assert (picture[pasted] == (255, 0, 0)).all()
    assert (picture[~pasted] == 40).all()
    assert ((target == IGNORE_INDEX) == ((label == IGNORE_INDEX) & ~pasted)).all()
    assert not pasted[:29].any()  # below the horizon
    high = pasted.any(1).sum()
    assert 0.05 * 90 - 1 <= high <= 2 * 0.4 * 90 + 1
    assert (image == 40).all() and (label[:, :100] == 0).all()  # the originals stay


def test_holes_of_a_cut_out_show_what_is_behind() -> None:
    mask = np.zeros((30, 20), bool)
    mask[:, :10] = True
    half = CutOut(RED.image, mask)
    image, label = np.full((90, 120, 3), 40, np.uint8), np.zeros((90, 120), np.uint8)
    picture, target = paste(image, label, (half,), 1, np.random.default_rng(0))
    assert ((picture == (255, 0, 0)).all(2) == (target == 1)).all()
    rows, columns = np.nonzero(target == 1)
    wide = columns.max() - columns.min() + 1
    assert wide == pytest.approx(10 / 30 * (rows.max() - rows.min() + 1), abs=1.5)


def test_no_things_and_the_smallest_image() -> None:
    image, label = np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8)
    assert paste(image, label, (), 3, np.random.default_rng(0))[1].tolist() == [[0]]
    assert paste(image, label, (RED,), 3, np.random.default_rng(0))[1].tolist() == [[1]]
