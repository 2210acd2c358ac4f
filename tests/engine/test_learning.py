"""On streets that are easy to learn, every incremental method does learn, and the paper's systems not less than pixels.

The streets are drawn here: flat colours with noise, known classes side by side, and three kinds of things that training
leaves void. A world is trained on them within a minute.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ignota.data.datasets import open_dataset
from ignota.engine.configuration import (
    ClosedSetConfig,
    DataConfig,
    EmbedderConfig,
    ExperimentConfig,
    FitConfig,
    MetaChannelConfig,
    MetricNetworkConfig,
    RegionEmbedderConfig,
    SegmenterConfig,
)
from ignota.engine.lessons import evaluate_incremental
from ignota.engine.stages import Stages
from ignota.world.labelling import METHODS
from ignota.world.metric_network import METRIC_METHODS
from ignota.world.model import OpenWorldModel

COLOURS = {
    0: (150, 190, 240), 1: (140, 90, 60), 2: (240, 240, 240), 3: (60, 60, 70), 4: (170, 150, 170), 5: (40, 120, 40),
    6: (240, 200, 40), 7: (90, 60, 120), 8: (220, 30, 30), 9: (250, 120, 220), 10: (20, 230, 230),
}  # fmt: skip
"""Of CamVid's ids; 8, 9 and 10 are car, pedestrian and bicyclist."""
SIZE = (96, 128)
EASY = ExperimentConfig(
    name="easy",
    size=96,
    data=DataConfig("camvid", "camvid:8+3"),
    segmenter=SegmenterConfig(decoder_channels=64),
    closed_set=ClosedSetConfig(steps=50, batch=4, crop=SIZE, scale=(1.0, 1.2), warmup=5, checkpoint_every=50),
    meta_channels=MetaChannelConfig(
        branches=("paper", "released", "dmlnet"), steps=60, batch=4, warmup=5, checkpoint_every=60
    ),
    region_embedder=RegionEmbedderConfig(steps=40, batch=4, checkpoint_every=40),
    metric_network=MetricNetworkConfig(steps=20, rate=0.5),
    embedder=EmbedderConfig(steps=20, batch=64, hidden=32, embedding=16),
    fit=FitConfig(magnify=1.5, coreset=400, reference=200, images=12, things=8, scores=()),
)


def street(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An image "H W 3" and its labels "H W" in CamVid's ids."""
    label = np.zeros(SIZE, np.uint8)
    horizon, x = int(rng.integers(34, 42)), int(rng.integers(0, 20))
    label[horizon - 20 : horizon + 12, x : x + 50] = 1
    label[horizon - 14 : horizon + 12, x + 60 : x + 100] = 5
    label[horizon + 12 :] = 3
    label[horizon + 6 : horizon + 12, : x + 60] = 7
    label[horizon + 12 : horizon + 20] = 4
    label[horizon - 22 : horizon + 14, x + 52 : x + 57] = 2
    label[horizon - 22 : horizon - 10, x + 48 : x + 61] = 6
    places = rng.permutation([20, 62, 104])
    for thing, across in zip((8, 9, 10), places.tolist(), strict=True):
        axes = {8: (16, 10), 9: (6, 13), 10: (11, 11)}[thing]
        centre = (across + int(rng.integers(-4, 5)), int(rng.integers(72, 82)))
        cv2.ellipse(label, centre, axes, 0, 0, 360, int(thing), -1)
    table = np.array([COLOURS[i] for i in range(11)], np.float64)
    noise = rng.normal(0, 12, (*SIZE, 3)) + rng.normal(0, 8, 3)
    return np.clip(table[label] + noise, 0, 255).astype(np.uint8), label


@pytest.fixture(scope="module")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Easy streets in the layout of CamVid."""
    root, rng = tmp_path_factory.mktemp("easy"), np.random.default_rng(0)
    for split, count in (("train", 24), ("val", 6)):
        (root / split).mkdir()
        (root / f"{split}annot").mkdir()
        for i in range(count):
            image, label = street(rng)
            cv2.imwrite(str(root / split / f"{i:02}.png"), image[:, :, ::-1])
            cv2.imwrite(str(root / f"{split}annot" / f"{i:02}.png"), label)
    return root


@pytest.fixture(scope="module")
def world(camvid: Path, tmp_path_factory: pytest.TempPathFactory) -> OpenWorldModel:
    torch.set_num_threads(1)
    train = open_dataset("camvid", camvid, "train")
    return Stages(EASY, train, tmp_path_factory.mktemp("stages"), torch.device("cpu"), quiet=True).world()


@pytest.mark.slow
def test_every_incremental_method_learns(world: OpenWorldModel, camvid: Path) -> None:
    train, val = open_dataset("camvid", camvid, "train"), open_dataset("camvid", camvid, "val")
    methods = [*METHODS, *METRIC_METHODS]
    found = evaluate_incremental(world, val, train, methods, 5)["methods"]
    novel = {name: figures["miou"]["novel"] for name, figures in found.items()}
    assert all(value > 0 for value in novel.values()), novel
    for name in ("raml_paper", "raml_released"):
        assert novel[name] >= novel["npm_frozen"], novel
        assert found[name]["old_after"] > 0.5, found[name]
