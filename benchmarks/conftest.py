"""What benchmarks share: races and their record, a small world that is trained on the spot, street images."""

from __future__ import annotations

import datetime
import io
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from benchmarks.racing import OURS, Bar, Outcome, Run, bandwidth, judged, machine, run_race
from PIL import Image

from ignota.heap import keep_freed_memory
from ignota.storage import bundle
from ignota.synthetic.streets import SyntheticStreets
from ignota.training.configuration import (
    ClosedSetConfig,
    DataConfig,
    EmbedderConfig,
    ExperimentConfig,
    FitConfig,
    MetaChannelConfig,
    SegmenterConfig,
)
from ignota.training.stages import Stages

RECORD = pytest.StashKey[list[Outcome]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("races")
    group.addoption("--record", type=Path, help="a JSON file that takes up what races find, for experiments.render")
    group.addoption("--threads", type=int, default=min(2, os.cpu_count() or 1), help="CPU threads of races")
    group.addoption("--full", action="store_true", help="races of their full size: minutes each, some gigabytes")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RECORD] = []
    keep_freed_memory()  # as every command


def pytest_sessionfinish(session: pytest.Session) -> None:
    path, found = session.config.getoption("--record"), session.config.stash[RECORD]
    if path is None or not found:
        return
    held = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    here = machine()
    outcomes = held["outcomes"] if held.get("machine") == here else {}
    moved = {device: bandwidth(device) for device in sorted({outcome.device for outcome in found})}
    for outcome in found:
        row = vars(outcome) | {"bandwidth": moved[outcome.device]}
        outcomes[f"{outcome.name} {outcome.device} {outcome.threads}"] = row
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    whole = {"machine": here, "date": date, "outcomes": dict(sorted(outcomes.items()))}
    path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    """Where a race runs; without a GPU that half of it is skipped, saying so."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device is here")
    return str(request.param)


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """CPU threads, for torch and for OpenCV."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    number = int(request.config.getoption("--threads"))
    torch.set_num_threads(number)
    cv2.setNumThreads(number)
    yield number
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


@pytest.fixture
def race(benchmark: Any, request: pytest.FixtureRequest, threads: int) -> Callable[..., Outcome]:
    """Runs a race, keeps what it found for `--record`, and lets pytest-benchmark list our part."""

    def run(
        name: str,
        title: str,
        contestants: Mapping[str, Run],
        bars: list[Bar],
        device: str = "cpu",
        floor: str | None = None,
        rounds: int = 9,
        seconds: float = 20.0,
        notes: Mapping[str, float | int | str] | None = None,
        before: Run | None = None,
    ) -> Outcome:
        medians, counts = run_race(contestants, device, rounds, seconds, before)
        outcome = Outcome(name, title, device, threads, medians, counts, [], floor, dict(notes or {}))
        outcome.bars = judged(outcome, bars)
        request.config.stash[RECORD].append(outcome)
        benchmark.extra_info.update(seconds=medians, bars=outcome.bars)
        benchmark.pedantic(contestants[OURS], rounds=1)
        return outcome

    return run


CONFIGURATION = ExperimentConfig(
    name="server",
    size=540,
    data=DataConfig("synthetic", "cityscapes:16+3", train_length=8, evaluate_length=2, height=96, width=192),
    segmenter=SegmenterConfig(weights="none", decoder_channels=32),
    closed_set=ClosedSetConfig(steps=4, batch=2, crop=(64, 96), warmup=1, checkpoint_every=4),
    meta_channels=MetaChannelConfig(branches=(), steps=2, batch=2, checkpoint_every=2),
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
