"""Component overlaps against cases counted by hand and a slow reference that knows nothing but sets of pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ignota.functional.components import component_overlaps

VOID = 255


def picture(*rows: str) -> tuple[np.ndarray, np.ndarray]:
    """Label and prediction of a drawing: . normal, t truth, p prediction, b both, v void, w void that is predicted."""
    cells = np.array([list(row) for row in rows])
    label = np.where(np.isin(cells, ["t", "b"]), 1, np.where(np.isin(cells, ["v", "w"]), VOID, 0)).astype(np.uint8)
    return np.isin(cells, ["p", "b", "w"]), label


def flood(mask: np.ndarray) -> list[set[tuple[int, int]]]:
    """8-connected components as sets of pixels."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    found = []
    while left:
        wave = [left.pop()]
        part = set(wave)
        while wave:
            y, x = wave.pop()
            for near in [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]:
                if near in left:
                    left.remove(near)
                    part.add(near)
                    wave.append(near)
        found.append(part)
    return found


def reference(predicted: np.ndarray, label: np.ndarray, least: int, least_true: int) -> tuple[list, list]:
    """The definition of the benchmark, set by set."""
    truths, void = flood(label == 1), {tuple(p) for p in np.argwhere(label == VOID).tolist()}
    guesses = [guess for guess in flood(predicted & (label != VOID)) if len(guess) >= least]
    for small in [truth for truth in truths if len(truth) < least_true]:
        void |= small
    truths = [truth for truth in truths if len(truth) >= least_true]
    guesses = [guess - void for guess in guesses if guess - void]
    siou = []
    for k in truths:
        touching = set().union(*[guess for guess in guesses if guess & k])
        others = set().union(*[other for other in truths if other is not k])
        siou.append(len(k & touching) / len((k | touching) - (touching & others)))
    every = set().union(*truths)
    return sorted(siou), sorted(len(guess & every) / len(guess) for guess in guesses)


def test_counted_by_hand() -> None:
    drawing = picture(
        "tbb....",
        "tbb.ppp",
        ".......",
        "vwwbt..",
    )
    found = component_overlaps(*drawing, 1, 1)
    # Upper left: 4 of 6 found. Lower: one of two, what is predicted on void counts for nothing.
    assert sorted(found.siou) == pytest.approx([1 / 2, 4 / 6])
    assert sorted(found.ppv) == pytest.approx([0, 1, 1])


def test_one_prediction_over_two_things_is_not_punished_for_the_other() -> None:
    found = component_overlaps(*picture("bbppbbbt"), 1, 1)
    # First: 2 / (2 + 2 between them). Second: 3 / (4 + 2); each one's pixels are taken from the other's union.
    assert sorted(found.siou) == pytest.approx([2 / 4, 3 / 6])
    assert found.ppv == pytest.approx([5 / 7])


def test_diagonal_neighbours_are_one_component() -> None:
    found = component_overlaps(*picture("b..", ".b.", "..t"), 1, 1)
    assert found.siou == pytest.approx([2 / 3])
    assert found.ppv == pytest.approx([1])


def test_small_predictions_vanish_and_small_truths_become_void() -> None:
    drawing = picture("tt.b.pp.bbb")
    everything, no_small_guess = component_overlaps(*drawing, 1, 1), component_overlaps(*drawing, 2, 1)
    assert (len(everything.siou), len(everything.ppv)) == (3, 3)
    assert sorted(no_small_guess.siou) == [0, 0, 1]
    assert sorted(no_small_guess.ppv) == [0, 1]
    no_small_truth = component_overlaps(*drawing, 1, 2)
    assert sorted(no_small_truth.siou) == [0, 1]
    assert sorted(no_small_truth.ppv) == [0, 1]  # the prediction on the small one lies on void now, no false alarm
    exactly = component_overlaps(*drawing, 3, 3)
    assert (exactly.siou.tolist(), exactly.ppv.tolist()) == ([1.0], [1.0])


def test_a_prediction_is_measured_before_small_truths_become_void() -> None:
    found = component_overlaps(*picture("bpp"), 3, 2)
    assert found.siou.size == 0
    assert found.ppv.tolist() == [0]  # three pixels when measured, two of them left


def test_nothing_there_and_nothing_predicted() -> None:
    blank, all_void = np.zeros((3, 4), np.uint8), np.full((3, 4), VOID, np.uint8)
    for label in (blank, all_void):
        for predicted in (np.zeros((3, 4), bool), label == VOID):
            found = component_overlaps(predicted, label, 1, 1)
            assert (found.siou.size, found.ppv.size) == (0, 0)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.2, 0.4, 0.6]), st.integers(1, 5), st.integers(1, 5))
def test_against_sets_of_pixels(seed: int, density: float, least: int, least_true: int) -> None:
    rng = np.random.default_rng(seed)
    label = (rng.random((9, 12)) < density).astype(np.uint8)
    label[rng.random((9, 12)) < 0.15] = VOID
    predicted = rng.random((9, 12)) < density
    found = component_overlaps(predicted, label, least, least_true)
    siou, ppv = reference(predicted, label, least, least_true)
    assert sorted(found.siou) == pytest.approx(siou)
    assert sorted(found.ppv) == pytest.approx(ppv)
