"""One pass over the images gives the same component figures as two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from ignota.evaluation import component_reading as module
from ignota.evaluation.component_reading import ComponentReading, component_reading, to_size
from ignota.metrics.anomaly import AnomalyMetrics
from ignota.metrics.components import ComponentMetrics, Sizes
from ignota.structures import InputError

SIZES = Sizes(2, 2)


def image(seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    label = np.kron(rng.random((3, 4)) < 0.3, np.ones((8, 8))).astype(np.uint8)
    label[0] = 255
    raw = {name: (rng.normal(size=(12, 16)) + label[::2, ::2] * 2).astype(np.float32) for name in ("other", "good")}
    return raw, {name: to_size(value, label.shape) for name, value in raw.items()}, label


def filled(reading: ComponentReading) -> AnomalyMetrics:
    metrics = AnomalyMetrics()
    for i in range(4):
        raw, maps, label = image(i)
        reading.update(f"{i}", raw, maps, label)
        metrics.update(f"{i}", maps, label)
    return metrics


def test_both_thresholds_against_two_passes() -> None:
    with component_reading(SIZES, {"good": 0.7}) as reading:
        metrics = filled(reading)
        found = reading.compute({name: metrics.curve(name) for name in ("other", "good")})
    assert all(set(each) == {"component"} for each in found.values())  # no class is labelled
    found = {name: each["component"] for name, each in found.items()}
    assert set(found["good"]) == {"oracle", "fixed"}
    assert set(found["other"]) == {"oracle"}
    assert found["good"]["fixed"]["threshold"] == 0.7
    for name, kind in (("good", "oracle"), ("good", "fixed"), ("other", "oracle")):
        again = ComponentMetrics(SIZES)
        for i in range(4):
            _, maps, label = image(i)
            again.update(f"{i}", maps[name] >= found[name][kind]["threshold"], label)
        assert {k: v for k, v in found[name][kind].items() if k != "threshold"} == again.compute()


def test_the_oracle_has_the_best_pixel_f1_by_scikit_learn() -> None:
    with component_reading(SIZES, {}) as reading:
        metrics = filled(reading)
        found = reading.compute({name: metrics.curve(name) for name in ("good", "other")})
    threshold = found["good"]["component"]["oracle"]
    pairs = [image(i) for i in range(4)]
    truth = np.concatenate([label[label != 255] for _, _, label in pairs])
    score = np.concatenate([maps["good"][label != 255] for _, maps, label in pairs])
    precision, recall, _ = precision_recall_curve(truth, score)
    best = (2 * precision * recall / (precision + recall)).max()
    guess = score >= threshold["threshold"]
    f1 = 2 * (guess & (truth == 1)).sum() / (guess.sum() + truth.sum())
    assert f1 == pytest.approx(best, abs=2e-3)


def with_classes(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """True known classes 0..2, 254 unknown and 255 void; and the closed set's."""
    _, _, label = image(seed)
    rng = np.random.default_rng(seed + 50)
    truth = np.kron(rng.integers(0, 3, (3, 4)), np.ones((8, 8), int)).astype(np.uint8)
    closed = np.where(rng.random(truth.shape) < 0.7, truth, rng.integers(0, 4, truth.shape)).astype(np.uint8)
    return np.where(label == 1, 254, np.where(label == 255, 255, truth)).astype(np.uint8), closed


def slow_open_miou(score: str, threshold: float | None) -> float:
    """By sets of pixels; None: the closed set on known pixels."""
    truths, guesses = {c: set() for c in range(4)}, {c: set() for c in range(4)}
    for i in range(4):
        (truth, closed), maps = with_classes(i), image(i)[1]
        for at in np.ndindex(truth.shape):
            if truth[at] == 255 or (threshold is None and truth[at] == 254):
                continue
            if truth[at] != 254:
                truths[int(truth[at])].add((i, *at))
            if threshold is None or maps[score][at] < threshold:
                guesses[int(closed[at])].add((i, *at))
    pairs = [(truths[c], guesses[c]) for c in range(4) if truths[c] | guesses[c]]
    return sum(len(a & b) / len(a | b) for a, b in pairs) / len(pairs)


def test_open_miou_at_four_thresholds() -> None:
    with component_reading(SIZES, {"good": 0.7}) as reading:
        metrics = AnomalyMetrics()
        for i in range(4):
            raw, maps, label = image(i)
            reading.update(f"{i}", raw, maps, label, np.stack(with_classes(i)))
            metrics.update(f"{i}", maps, label)
        curves = {name: metrics.curve(name) for name in ("other", "good")}
        found = reading.compute(curves)
    assert set(found["other"]["open_miou"]) == {"closed", "tpr95", "fpr5", "best_f1"}
    pixels = [(image(i)[1]["good"], image(i)[2]) for i in range(4)]
    score, truth = (np.concatenate([pair[n][pair[1] != 255] for pair in pixels]) for n in (0, 1))
    fpr, tpr, thresholds = roc_curve(truth, score, drop_intermediate=False)
    expected = {
        "closed": None,
        "tpr95": thresholds[np.argmax(tpr >= 0.95)],
        "fpr5": thresholds[np.flatnonzero(fpr <= 0.05)[-1]],
        "best_f1": found["good"]["component"]["oracle"]["threshold"],
        "fixed": 0.7,
    }
    for kind, threshold in expected.items():
        value = slow_open_miou("good", threshold)
        assert found["good"]["open_miou"][kind] == pytest.approx(value, abs=2e-3), kind
    assert found["good"]["open_miou"]["fixed"] == pytest.approx(slow_open_miou("good", 0.7), abs=1e-12)


def test_components_of_its_own_take_the_place_of_the_fixed_threshold() -> None:
    masks = [np.random.default_rng(i).random((24, 32)) < 0.3 for i in range(4)]
    with component_reading(SIZES, {"good": 0.7, "other": 0.7}) as reading:
        again = {"good": ComponentMetrics(SIZES), "other": ComponentMetrics(SIZES)}
        for i, mask in enumerate(masks):
            raw, maps, label = image(i)
            reading.update(f"{i}", raw, maps, label, None, {"good": mask})
            again["good"].update(f"{i}", mask, label)
            again["other"].update(f"{i}", maps["other"] >= 0.7, label)
        for name, state in again.items():
            assert reading.fixed[name].compute() == state.compute()


def test_without_room_on_disk_the_fixed_threshold_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 5000)  # two images
    reading = ComponentReading(SIZES, {"good": 0.7}, tmp_path)
    metrics = filled(reading)
    assert list(tmp_path.iterdir()) == []
    found = reading.compute({name: metrics.curve(name) for name in ("good", "other")})
    assert set(found["good"]) == {"component"} and set(found["good"]["component"]) == {"fixed"}
    assert found["other"] == {"component": {}}


def test_the_limit_is_that_of_all_parts_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 5000)  # two images
    parts = []
    for i in range(3):
        (tmp_path / f"{i}").mkdir()
        parts.append(ComponentReading(SIZES, {"good": 0.7}, tmp_path / f"{i}"))
        parts[i].update("a", *image(i))
    parts[0].merge(parts[1])
    assert parts[0].maps is not None and len(parts[0].maps) == 2
    parts[0].merge(parts[2])
    assert parts[0].maps is None and parts[0].bytes > 5000


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.np, "save", full)
    with pytest.raises(InputError, match=r"No space left on device.*free space there"):
        filled(ComponentReading(SIZES, {"good": 0.7}, tmp_path))


def test_the_folder_is_gone_afterwards() -> None:
    with component_reading(SIZES, {}) as reading:
        filled(reading)
        folder = reading._folder
        assert len(list(folder.iterdir())) == 8
    assert not folder.exists()
