"""A small data set with all that makes label maps hard: holes, hairlines, specks, void, values with gaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLASSES_TEXT = """\
classes:
  7: {name: road, colour: [128, 64, 128]}
  17: {name: pole, colour: [153, 153, 153]}
  20: {name: traffic sign, colour: [220, 220, 0]}
  26: {name: car, colour: [0, 0, 142]}
ignore: [255]
"""


def hard_label(height: int, width: int, seed: int) -> np.ndarray:
    """Rings in rings, hairlines, a chess board, noise, and void."""
    rng = np.random.default_rng(seed)
    label = np.full((height, width), 7, np.uint8)
    y, x = np.mgrid[:height, :width]
    radius = np.hypot(y - height / 2, x - width / 3)
    label[(radius < height / 2.2) & (radius > height / 5)] = 26
    label[radius < height / 9] = 20
    label[:, width - 4] = 17
    label[np.abs(y - x) == 6] = 17
    label[2:10, width - 20 : width - 8] = np.where(np.indices((8, 12)).sum(0) % 2, 17, 255)
    label[rng.random(label.shape) < 0.02] = 255
    label[rng.random(label.shape) < 0.01] = 20
    label[-1, -1], label[0, 0] = 26, 255
    return label


LABELS = {
    "wide": hard_label(37, 90, 1),
    "tall": hard_label(70, 41, 2),
    "plain": np.full((20, 30), 26, np.uint8),
    "void": np.full((24, 25), 255, np.uint8),
    "a 10 – ü": hard_label(48, 64, 3),
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data set in the form `folder`."""
    root = tmp_path / "data"
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for key, label in LABELS.items():
        image = rng.integers(0, 256, (*label.shape, 3), np.uint8)
        Image.fromarray(image).save(root / "images" / f"{key}.{'jpg' if key == 'wide' else 'png'}")
        Image.fromarray(label).save(root / "masks" / f"{key}.png")
    (root / "classes.yaml").write_text(CLASSES_TEXT, "utf-8")
    return root


@pytest.fixture
def labels() -> dict[str, np.ndarray]:
    """Its label pictures by key."""
    return LABELS
