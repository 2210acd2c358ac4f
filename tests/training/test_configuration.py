"""Every setting is read by some stage: an option that does nothing is a lie."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

import ignota.training
from ignota.training.configuration import ExperimentConfig, SegmenterConfig
from ignota.training.segmenters import build_segmenter
from ignota.training.settings import leaves

TRAINING = Path(next(iter(ignota.training.__path__)))
# The files whose business each group of settings is.
READERS = {
    "": "*.py",
    "data": "*.py",
    "segmenter": "segmenters.py",
    "closed_set": "segmenters.py",
    "metric_network": "*.py",
    "meta_channels": "*.py",
    "region_embedder": "region_embedder_run.py",
    "regions": "*.py",
    "embedder": "embedder*.py",
    "fit": "*.py",
    "incremental": "*.py",
}


@pytest.mark.parametrize("key", leaves())
def test_every_setting_is_read(key: str) -> None:
    group, _, name = key.rpartition(".")
    files = [path for path in TRAINING.glob(READERS[group]) if path.name != "configuration.py"]
    assert any(re.search(rf"\.{name}\b", path.read_text(encoding="utf-8")) for path in files), key


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ExperimentConfig().seed = 3  # type: ignore[misc]


def test_an_encoder_s_images_are_normalised_as_in_its_pretraining() -> None:
    lite = build_segmenter(SegmenterConfig(weights="none", decoder_channels=16), 3, 0)
    assert lite.preprocessing.mean == lite.preprocessing.std == (0.5, 0.5, 0.5)
    residual = build_segmenter(SegmenterConfig(encoder="resnet18", weights="none", decoder_channels=16), 3, 0)
    assert residual.preprocessing.mean == (0.485, 0.456, 0.406)
    assert residual.preprocessing.std == (0.229, 0.224, 0.225)
