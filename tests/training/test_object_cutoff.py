"""The cutoff of unknown objects, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ignota.metrics.components import ComponentMetrics
from ignota.perception.objects import find_objects
from ignota.taxonomy import IGNORE_INDEX
from ignota.training.object_cutoff import CUTOFFS, SMALLEST, add_components, best_cutoff, false_scores, object_cutoff


def test_objects_on_things_and_in_void_are_not_false() -> None:
    z = np.full((60, 120), -4, np.float32)
    target = np.zeros((60, 120), np.uint8)
    for left, height in ((5, 6), (45, 4), (85, 2)):
        z[20:40, left : left + 20] = height
    assert len(false_scores(z, target)) == 3
    target[20:40, 5:13] = 1  # two fifths of the first
    target[15:45, 40:70] = IGNORE_INDEX
    (left,) = false_scores(z, target)
    assert left == false_scores(np.where(np.arange(120) > 80, z, -4).astype(np.float32), np.zeros_like(target))[0]
    target[20:40, 5:13] = 0
    target[20:40, 5:8] = 1  # a seventh
    assert len(false_scores(z, target)) == 2


def test_the_cutoff_leaves_two_false_objects_an_image() -> None:
    scores = [np.array([9.0, 1.0, 4.0]), np.array([3.0, 2.0, 5.0, 0.5]), np.zeros(0)]
    cutoff = object_cutoff(scores)
    assert cutoff == 0.5  # six of seven exceed it: two an image of three
    assert sum((one > cutoff).sum() for one in scores) == 6
    assert object_cutoff([np.array([9.0, 8.0])]) == 0.0
    assert object_cutoff([]) == 0.0


def test_the_cutoff_of_components_has_the_best_f1() -> None:
    z = np.full((60, 200), -4, np.float32)
    for left, height in ((10, 6.0), (70, 4.0), (130, 1.0)):
        z[20:40, left : left + 20] = height
    target = np.zeros((60, 200), np.uint8)
    target[20:40, 10:30] = target[20:40, 70:90] = 1
    image = np.where(z > -4, 200, 30).astype(np.uint8)[..., None].repeat(3, 2)  # edges are where they are
    scores = find_objects(z, 0.0, 0.0003).scores
    assert len(scores) == 3
    cutoffs = (0.0, float(scores[1:].mean()), float(scores[:2].mean()))  # three, two and one object
    components = {cutoff: ComponentMetrics(SMALLEST) for cutoff in cutoffs}
    add_components(components, z, image, target)
    assert [state.predicted for state in components.values()] == [3, 2, 1]
    assert [state.compute()["f1"] for state in components.values()] == pytest.approx([4 / 5, 1, 2 / 3])
    assert best_cutoff(components) == cutoffs[1]
    assert best_cutoff({cutoff: ComponentMetrics(SMALLEST) for cutoff in CUTOFFS}) is None
