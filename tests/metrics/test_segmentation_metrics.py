import itertools
import json

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, jaccard_score

from ignota.metrics.segmentation import SegmentationMetrics
from ignota.structures import InputError
from ignota.taxonomy import CAMVID

WORLD = CAMVID.subset([0, 3, 8, 9, 10], "toy")  # sky, road | car, pedestrian, bicyclist
KNOWN = 2
UNKNOWN, VOID = 254, 255


def maps(seed: int, shape=(7, 9)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.choice([0, 1, 2, 3, 4, VOID], shape).astype(np.uint8)
    return label, np.where(rng.random(shape) < 0.6, label, rng.choice([0, 1, 2, 3, UNKNOWN], shape)).astype(np.uint8)


def state_of(*pairs) -> SegmentationMetrics:
    state = SegmentationMetrics(WORLD, KNOWN)
    for label, prediction in pairs:
        state.update(label, prediction)
    return state


def slow_iou(label, prediction, class_id) -> float | None:
    hits = union = 0
    for truth, guess in zip(label.ravel(), prediction.ravel(), strict=True):
        if truth != VOID:
            hits += truth == guess == class_id
            union += class_id in (truth, guess)
    return hits / union if union else None


def test_each_iou_agrees_with_the_slow_count_and_scikit_learn():
    label, prediction = maps(0)
    found = state_of((label, prediction)).compute()
    seen = label != VOID
    theirs = jaccard_score(label[seen], prediction[seen], labels=range(5), average=None)
    for class_id, name in enumerate(WORLD.names):
        assert found["iou"][name] == pytest.approx(slow_iou(label, prediction, class_id))
        assert found["iou"][name] == pytest.approx(theirs[class_id])
    assert found["pixel_accuracy"] == pytest.approx(accuracy_score(label[seen], prediction[seen]))


def test_means_are_over_old_and_novel_classes():
    label, prediction = maps(1)
    values = [slow_iou(label, prediction, class_id) for class_id in range(5)]
    old, novel = np.mean(values[:2]), np.mean(values[2:])
    miou = state_of((label, prediction)).compute()["miou"]
    expected = {"all": np.mean(values), "novel": novel, "old": old, "harmonic": 2 * old * novel / (old + novel)}
    assert miou == pytest.approx(expected)


def test_stolen_counts_known_pixels_that_a_novel_class_took():
    label, prediction = maps(2)
    stolen = state_of((label, prediction)).stolen()
    assert list(stolen) == ["car", "pedestrian", "bicyclist"]
    for (k, known), (n, novel) in itertools.product([(0, "sky"), (1, "road")], enumerate(stolen, start=2)):
        assert stolen[novel][known] == ((label == k) & (prediction == n)).sum()


def test_old_without_novel_pixels_sees_theft_alone():
    label, prediction = maps(3)
    rest = np.where(label >= KNOWN, VOID, label).astype(np.uint8)
    expected = np.mean([slow_iou(rest, prediction, class_id) for class_id in range(KNOWN)])
    state = state_of((label, prediction))
    assert state.old_without_novel_pixels == pytest.approx(expected)
    before = state.confusion.clone()
    mistaken = np.where(label >= KNOWN, 0, label).astype(np.uint8)  # every novel pixel is taken for sky
    assert state_of((label, mistaken)).old_without_novel_pixels == 1
    assert (state.confusion == before).all()


@given(st.lists(st.integers(0, 10_000), max_size=5), st.integers(0, 5))
@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # seeds do not shrink
def test_merged_states_equal_one_that_saw_all(seeds, cut):
    pairs = [maps(seed, (3, 4)) for seed in seeds]
    left, right, whole = state_of(*pairs[:cut]), state_of(*pairs[cut:]), state_of(*pairs)
    left.merge(right)
    assert (left.confusion == whole.confusion).all()
    assert left.compute() == whole.compute()


def test_what_has_no_value_is_none_and_all_is_json():
    empty = SegmentationMetrics(WORLD, KNOWN)
    found = empty.compute()
    assert set(found["miou"].values()) == {None} and set(found["iou"].values()) == {None}
    assert found["pixel_accuracy"] is None and empty.old_without_novel_pixels is None
    road = np.ones((2, 2), np.uint8)
    state = state_of((road, road))
    found = state.compute()
    assert found["iou"] == {"sky": None, "road": 1.0, "car": None, "pedestrian": None, "bicyclist": None}
    assert found["miou"] == {"all": 1.0, "novel": None, "old": 1.0, "harmonic": None}
    json.dumps([found, state.stolen(), state.old_without_novel_pixels], allow_nan=False)


def test_a_world_that_learnt_nothing_has_no_novel_mean():
    state = SegmentationMetrics(WORLD, len(WORLD))
    state.update(*maps(4))
    assert state.compute()["miou"]["novel"] is None and state.stolen() == {}


def test_wrong_input_is_refused():
    state = SegmentationMetrics(WORLD, KNOWN)
    with pytest.raises((ValueError, TypeError)):  # a TypeError where shapes are checked while testing
        state.update(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))
    with pytest.raises(InputError, match="labels run to 9"):
        state.update(np.full((2, 2), 9, np.uint8), np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match="known classes"):
        SegmentationMetrics(WORLD, 6)
    with pytest.raises(ValueError, match="cannot merge"):
        state.merge(SegmentationMetrics(WORLD, 3))
    assert state.confusion.sum() == 0
