"""A small world that is trained on the spot, and street images of the size of a camera's."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from ignota.data.synthetic.streets import SyntheticStreets
from ignota.engine.configuration import (
    ClosedSetConfig,
    DataConfig,
    EmbedderConfig,
    ExperimentConfig,
    FitConfig,
    MetaChannelConfig,
    SegmenterConfig,
)
from ignota.engine.stages import Stages
from ignota.world import bundle

CONFIGURATION = ExperimentConfig(
    name="server",
    size=540,
    data=DataConfig("synthetic", "cityscapes:16+3", train_length=8, evaluate_length=2, height=96, width=192),
    segmenter=SegmenterConfig(weights="none", decoder_channels=32),
    closed_set=ClosedSetConfig(steps=4, batch=2, crop=(64, 96), warmup=1, checkpoint_every=4),
    meta_channels=MetaChannelConfig(steps=2, batch=2, checkpoint_every=2),
    embedder=EmbedderConfig(steps=2, batch=16, hidden=16, embedding=8),
    fit=FitConfig(coreset=50, reference=50, images=6, held_out=0.34),
)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world on disk; never changed by a benchmark."""
    data = CONFIGURATION.data
    samples = SyntheticStreets("train", data.train_length, (data.height, data.width), 0)
    folder = tmp_path_factory.mktemp("server")
    bundle.save(Stages(CONFIGURATION, samples, folder, torch.device("cpu"), quiet=True).world(), folder / "world")
    return folder / "world"


@pytest.fixture(scope="session")
def images() -> Iterator[bytes]:
    """JPEG files, each another one."""
    street = SyntheticStreets("anomaly", 1, (720, 1280), 0)[0].image

    def files() -> Iterator[bytes]:
        for n in itertools.count():
            stream = io.BytesIO()
            picture = street.copy()
            picture[0, :, 0] = n
            Image.fromarray(picture).save(stream, "JPEG", quality=95)
            yield stream.getvalue()

    return files()
