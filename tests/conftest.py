"""For all tests: shapes and dtypes of signatures are checked at run time; real images; a tiny world, trained once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

from ignota.engine.configuration import (
    ClosedSetConfig,
    DataConfig,
    EmbedderConfig,
    ExperimentConfig,
    FitConfig,
    MetaChannelConfig,
    MetricNetworkConfig,
    SegmenterConfig,
)

_HOOK = install_import_hook(
    ["ignota.functional", "ignota.regions", "ignota.anomaly", "ignota.incremental"],
    "beartype.beartype",
)

torch.set_num_threads(2)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real street images; without it the test is skipped."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("IGNOTA_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}: set IGNOTA_DATA to their folder")
    return folder


TINY = ExperimentConfig(
    name="tiny",
    size=48,
    data=DataConfig("synthetic", "cityscapes:16+3", train_length=8, evaluate_length=2, height=48, width=96),
    segmenter=SegmenterConfig(weights="none", decoder_channels=32),
    closed_set=ClosedSetConfig(steps=4, batch=2, crop=(48, 64), warmup=1, checkpoint_every=4),
    metric_network=MetricNetworkConfig(steps=4),
    meta_channels=MetaChannelConfig(steps=2, batch=2, checkpoint_every=2),
    embedder=EmbedderConfig(steps=2, batch=16, hidden=16, embedding=8),
    fit=FitConfig(magnify=1.25, coreset=50, reference=50, images=6, held_out=0.34, target_fpr=0.5),
)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a world that hardly learnt anything; never changed by a test."""
    from ignota.data.synthetic.streets import SyntheticStreets
    from ignota.engine.stages import Stages
    from ignota.world import bundle

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tiny")
    data = TINY.data
    samples = SyntheticStreets("train", data.train_length, (data.height, data.width), 0)
    bundle.save(Stages(TINY, samples, folder, torch.device("cpu"), quiet=True).world(), folder / "world")
    return folder / "world"


@pytest.fixture(scope="session")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic Cityscapes in the size of the tiny world; never changed by a test."""
    from ignota.data.layouts import write_layout

    root = tmp_path_factory.mktemp("streets") / "cityscapes"
    return write_layout(root, "cityscapes", {"train": 8, "val": 2}, (48, 96))


@pytest.fixture
def small_scales() -> Iterator[None]:
    """DMLNet's five scales in the size of the tiny world: its own would take seconds an image."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ignota.engine.five_scales.SHORT_SIDES", (48, 56, 64, 72, 80))
        yield


@pytest.fixture(scope="session")
def tiny() -> ExperimentConfig:
    """The configuration of the tiny world."""
    return TINY
