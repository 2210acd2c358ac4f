"""Centre, spread and threshold of every score on held-out training images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ignota.scores.score import LEVEL
from ignota.storage import bundle
from ignota.synthetic import SyntheticStreets
from ignota.taxonomy import ClassSplit
from ignota.training.held_out import calibrate_scores, level
from ignota.training.stream import TrainingImages

CPU = torch.device("cpu")


def test_a_share_exceeds_the_threshold() -> None:
    values = torch.from_numpy(np.random.default_rng(0).normal(3, 2, 10_000)).float()
    centre, spread, threshold = level(values, 0.05, CPU).tolist()
    assert (centre, spread) == (pytest.approx(3, abs=0.1), pytest.approx(2, abs=0.1))
    assert float((values > threshold).float().mean()) == pytest.approx(0.05, abs=1e-3)
    assert level(torch.full((9,), 4.0), 0.05, CPU).tolist() == [4, pytest.approx(1e-6), 4]
    assert level(torch.zeros(0), 0.05, CPU).tolist() == [0, 1, 0]


def test_void_and_novel_pixels_do_not_count(trained: Path) -> None:
    world = bundle.load(trained)
    streets, lut = SyntheticStreets("train", 3, (48, 96), 0), ClassSplit.parse("cityscapes:16+3").training_lut()
    ticks: list[int] = []
    data = TrainingImages(streets, range(3), lut, 0)
    found = calibrate_scores(world.networks, world.known, data, lambda: ticks.append(1))
    assert len(ticks) == 3
    values = []
    for i in range(3):
        encoding = world.encode(streets[i].image)
        label = lut[streets[i].label]
        values.append(world.scores(encoding, ("energy",))["energy"][torch.from_numpy(label != 255)])
    joined = torch.cat(values)
    every = sum(int((lut[streets[i].label] != 255).sum()) for i in range(3))
    centre, spread, threshold = found.states["energy"][LEVEL].tolist()
    assert every == len(joined) < 3 * 48 * 96
    assert centre == pytest.approx(float(joined.mean()), abs=0.03 * float(joined.std()))
    assert spread == pytest.approx(float(joined.std()), rel=0.05)
    assert float((joined > threshold).float().mean()) == pytest.approx(world.known.recipe.target_fpr, abs=0.01)


def test_a_world_keeps_them(trained: Path) -> None:
    world = bundle.load(trained)
    names = set(world.known.recipe.scores())
    assert {"mahalanobis", "vim", "react", "knn", "msp"} <= names
    assert "knn_decoder" not in names
    for name in names:
        _, spread, threshold = world.known.states[name][LEVEL].tolist()
        assert spread > 0
        assert np.isfinite(threshold)
