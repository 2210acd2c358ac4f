"""Component metrics over several images: sums, mean F1, merging."""

from __future__ import annotations

import numpy as np
import pytest

from ignota.functional.components import component_overlaps
from ignota.metrics.components import ANOMALY_TRACK, OBSTACLE_TRACK, ComponentMetrics, Sizes, track_sizes
from ignota.structures import InputError

NONE = {name: {"siou": None, "recall": None, "true": 0} for name in ("small", "medium", "large")}


def images(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    found = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        label = np.kron(rng.random((5, 6)) < 0.2, np.ones((4, 4))).astype(np.uint8)
        predicted = (label == 1) & (rng.random(label.shape) < 0.8) | (rng.random(label.shape) < 0.03)
        label[rng.random(label.shape) < 0.05] = 255
        found.append((predicted, label))
    return found


def state_of(pairs: list[tuple[np.ndarray, np.ndarray]], sizes: Sizes) -> ComponentMetrics:
    state = ComponentMetrics(sizes)
    for i, pair in enumerate(pairs):
        state.update(f"image{i}", *pair)
    return state


def test_means_are_over_the_components_of_all_images() -> None:
    sizes = Sizes(3, 4)
    siou: list[float] = []
    ppv: list[float] = []
    for predicted, label in images(6):
        found = component_overlaps(predicted, label, 3, 4)
        siou += found.siou.tolist()
        ppv += found.ppv.tolist()
    f1 = []
    for step in range(11):
        level = 0.25 + 0.05 * step
        hits = sum(value >= level for value in siou)
        misses, alarms = len(siou) - hits, sum(value < level for value in ppv)
        f1.append(2 * hits / (2 * hits + misses + alarms))
    found = state_of(images(6), sizes).compute()
    assert found["siou"] == pytest.approx(np.mean(siou))
    assert found["ppv"] == pytest.approx(np.mean(ppv))
    assert found["f1"] == pytest.approx(np.mean(f1))
    assert found["by_size"]["small"]["siou"] == pytest.approx(np.mean(siou))
    assert (found["true"], found["predicted"]) == (len(siou), len(ppv))
    assert 0.1 < found["f1"] < 0.95


def test_states_add_up() -> None:
    whole, first, second = (state_of(part, Sizes(2, 2)) for part in (images(5), images(5)[:2], images(5)[2:]))
    first.merge(second)
    assert first.compute() == whole.compute()
    with pytest.raises(ValueError, match="cannot merge"):
        first.merge(ComponentMetrics(Sizes(1, 1)))


def test_f1_by_hand() -> None:
    state = ComponentMetrics(Sizes(1, 1))
    # one thing with sIoU 1/2, one false alarm: found at the six levels up to .5, F1 there 2 / (2 + 0 + 1)
    state.update("a", np.array([[1, 0, 0, 0, 1]], bool), np.array([[1, 1, 0, 0, 0]], np.uint8))
    assert state.compute() == {
        "siou": 0.5,
        "ppv": 0.5,
        "f1": pytest.approx(6 / 11 * 2 / 3),
        "true": 1,
        "predicted": 2,
        "by_size": NONE | {"small": {"siou": 0.5, "recall": pytest.approx(6 / 11), "true": 1}},
    }


def test_exactly_at_a_threshold_a_prediction_is_no_false_alarm() -> None:
    state = ComponentMetrics(Sizes(1, 1))
    state.update("a", np.array([[0, 1, 1]], bool), np.array([[1, 1, 0]], np.uint8))  # PPV 1/2, sIoU 1/3
    assert state.false.tolist() == [0] * 6 + [1] * 5
    assert state.found.sum(0).tolist() == [1] * 2 + [0] * 9


def test_without_components_there_is_no_value() -> None:
    state = ComponentMetrics(ANOMALY_TRACK)
    empty = {"siou": None, "ppv": None, "f1": None, "true": 0, "predicted": 0, "by_size": NONE}
    assert state.compute() == empty
    state.update("a", np.zeros((30, 40), bool), np.zeros((30, 40), np.uint8))
    assert state.compute() == empty
    state.update("b", np.zeros((30, 40), bool), np.ones((30, 40), np.uint8))
    missed = NONE | {"medium": {"siou": 0, "recall": 0, "true": 1}}  # 30 × 40 pixels
    assert state.compute() == empty | {"siou": 0, "f1": 0, "true": 1, "by_size": missed}


def test_components_are_small_medium_and_large_by_their_own_pixels() -> None:
    state, sides = ComponentMetrics(Sizes(1, 1)), (31, 32, 95, 96, 120)
    recalls: dict[str, list[float]] = {"small": [], "medium": [], "large": []}
    for i, side in enumerate(sides):
        label, predicted = np.zeros((130, 130), np.uint8), np.zeros((130, 130), bool)
        label[:side, :side] = 1
        predicted[: side // 2, :side] = True  # sIoU about one half
        state.update(f"{i}", predicted, label)
        share = (side // 2) / side
        recalls["small" if side * side < 1024 else "medium" if side * side < 9216 else "large"].append(
            sum(share >= 0.25 + 0.05 * step - 1e-12 for step in range(11)) / 11
        )
    found = state.compute()["by_size"]
    assert {name: each["true"] for name, each in found.items()} == {"small": 1, "medium": 2, "large": 2}
    assert {name: each["recall"] for name, each in found.items()} == {
        name: pytest.approx(np.mean(values)) for name, values in recalls.items()
    }


def test_wrong_input_is_refused_and_leaves_no_trace() -> None:
    state = ComponentMetrics(ANOMALY_TRACK)
    with pytest.raises(InputError, match="label of x holds 7"):
        state.update("x", np.zeros((2, 2), bool), np.full((2, 2), 7, np.uint8))
    with pytest.raises(ValueError, match="make them one size"):
        state.update("x", np.zeros((2, 3), bool), np.zeros((2, 2), np.uint8))
    assert state.compute()["true"] == 0


def test_limits_of_the_tracks() -> None:
    assert track_sizes("road_obstacle_21") == OBSTACLE_TRACK == Sizes(50, 10)
    assert track_sizes("road_anomaly_21") == track_sizes("folder") == ANOMALY_TRACK == Sizes(500, 100)
