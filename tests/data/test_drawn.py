"""Drawn scenes as a data set: each is drawn once, whoever asks for it."""

from __future__ import annotations

import multiprocessing
import pickle

import numpy as np
import pytest

from ignota.data import drawn
from ignota.data.drawn import DrawnImages
from ignota.synthetic import SyntheticStreets

SIZE = (32, 48)


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the scenes that this process has drawn."""
    seen: list[int] = []
    draw = SyntheticStreets.__getitem__

    def counted(self: SyntheticStreets, index: int) -> object:
        seen.append(index)
        return draw(self, index)

    monkeypatch.setattr(SyntheticStreets, "__getitem__", counted)
    return seen


@pytest.mark.parametrize("split", ["train", "anomaly"])
def test_a_scene_is_drawn_once_and_stays_the_same(split: str, draws: list[int]) -> None:
    images = DrawnImages(split, 3, SIZE, 5)
    first, again = images[1], images[-2]
    assert draws == [1]
    assert first.key == again.key == images.keys[1]
    assert np.array_equal(first.image, again.image) and np.array_equal(first.label, again.label)
    first.image[:] = 0
    again.image[:] = 0
    assert images[1].image.any()
    assert np.array_equal(images.load_label(1), images[1].label) and draws == [1]


def test_no_scene_beyond_the_last(draws: list[int]) -> None:
    images = DrawnImages("train", 2, SIZE)
    with pytest.raises(IndexError, match="no scene 2"):
        images[2]
    assert len([images[i] for i in range(-2, 2)]) == 4 and sorted(draws) == [0, 1, 2]


def test_a_forked_process_shares_what_it_draws(draws: list[int]) -> None:
    images = DrawnImages("val", 2, SIZE)
    child = multiprocessing.get_context("fork").Process(target=lambda: images[0])
    child.start()
    child.join(60)
    assert child.exitcode == 0
    images[0]
    assert draws == []


def test_large_sets_keep_nothing(draws: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn, "_KEPT", 32 * 48 * 4 * 2 - 1)
    images = DrawnImages("val", 2, SIZE)
    assert np.array_equal(images[0].image, images[0].image)
    assert draws == [0, 0]


def test_a_pickled_set_draws_for_itself() -> None:
    images = DrawnImages("val", 2, SIZE, 3)
    copy = pickle.loads(pickle.dumps(images))
    assert np.array_equal(copy[1].image, images[1].image)
