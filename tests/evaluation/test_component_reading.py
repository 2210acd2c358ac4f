"""One pass over the images gives the same component figures as two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve

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
        threshold = reading.compute({name: metrics.curve(name) for name in ("good", "other")})["good"]["oracle"]
    pairs = [image(i) for i in range(4)]
    truth = np.concatenate([label[label != 255] for _, _, label in pairs])
    score = np.concatenate([maps["good"][label != 255] for _, maps, label in pairs])
    precision, recall, _ = precision_recall_curve(truth, score)
    best = (2 * precision * recall / (precision + recall)).max()
    guess = score >= threshold["threshold"]
    f1 = 2 * (guess & (truth == 1)).sum() / (guess.sum() + truth.sum())
    assert f1 == pytest.approx(best, abs=2e-3)


def test_without_room_on_disk_the_fixed_threshold_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 5000)  # two images
    reading = ComponentReading(SIZES, {"good": 0.7}, tmp_path)
    metrics = filled(reading)
    assert list(tmp_path.iterdir()) == []
    found = reading.compute({name: metrics.curve(name) for name in ("good", "other")})
    assert set(found["good"]) == {"fixed"}
    assert found["other"] == {}


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
