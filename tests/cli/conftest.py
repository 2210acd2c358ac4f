"""A tiny world, trained once, and pictures to show it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ignota.cli import main
from ignota.engine.configuration import (
    ClosedSetConfig,
    DataConfig,
    EmbedderConfig,
    ExperimentConfig,
    FitConfig,
    MetaChannelConfig,
    SegmenterConfig,
)

TINY = ExperimentConfig(
    name="tiny",
    size=48,
    data=DataConfig("synthetic", "cityscapes:16+3", train_length=8, evaluate_length=2, height=48, width=96),
    segmenter=SegmenterConfig(weights="none", decoder_channels=32),
    closed_set=ClosedSetConfig(steps=4, batch=2, crop=(48, 64), warmup=1, checkpoint_every=4),
    meta_channels=MetaChannelConfig(steps=2, batch=2, checkpoint_every=2),
    embedder=EmbedderConfig(steps=2, batch=16, hidden=16, embedding=8, checkpoint_every=2),
    fit=FitConfig(coreset=50, reference=50, images=6, held_out=0.34),
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


@pytest.fixture
def world(trained: Path, tmp_path: Path) -> Path:
    """A copy of the tiny world that a test may spoil."""
    return Path(shutil.copytree(trained, tmp_path / "my-world"))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A synthetic street."""
    from ignota.data.synthetic.streets import SyntheticStreets

    path = tmp_path / "photo.png"
    Image.fromarray(SyntheticStreets("anomaly", 1, (48, 96), 3)[0].image).save(path)
    return path


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    """A box in the size of the photo."""
    path = tmp_path / "mask.png"
    pixels = np.zeros((48, 96), np.uint8)
    pixels[20:40, 30:60] = 255
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
    """Runs a call that must end with 2, one line on standard error and no file changed; returns the line."""

    def call(*words: object, code: int = 2) -> str:
        before = listing(tmp_path)
        capsys.readouterr()
        assert main([str(word) for word in words]) == code
        error = capsys.readouterr().err
        assert error.count("\n") == 1, error
        assert error.startswith("ignota: ")
        assert "Traceback" not in error
        assert listing(tmp_path) == before
        return error

    yield call


def listing(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its content; SQLite's journals come and go."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if not path.name.endswith(("-wal", "-shm"))
    }


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes every write fail with "no space left" after some that succeed."""

    def fill(after: int) -> None:
        left = [after]

        def sync(_: int) -> None:
            if left[0] == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            left[0] -= 1

        monkeypatch.setattr(os, "fsync", sync)

    return fill


@pytest.fixture(scope="session")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic Cityscapes in the size of the tiny world; never changed by a test."""
    root = tmp_path_factory.mktemp("streets") / "cityscapes"
    call = ["data", "synthesize", str(root), "--layout", "cityscapes", "--size", "48x96", "--quiet"]
    assert main([*call, "--train", "8", "--val", "2"]) == 0
    return root


@pytest.fixture(scope="session")
def tiny() -> ExperimentConfig:
    """The configuration of the tiny world."""
    return TINY
