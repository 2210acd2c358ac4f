"""For all tests: shapes and dtypes of signatures are checked at run time; real images; a tiny world, trained once."""

from __future__ import annotations

import dataclasses
import fcntl
import functools
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook

from ignota.training.configuration import (
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

_HOOK = install_import_hook(
    [
        "ignota.functional",
        "ignota.perception.hierarchy",
        "ignota.perception.proposals",
        "ignota.scores",
        "ignota.incremental",
    ],
    "beartype.beartype",
)

torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)
os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))  # of processes that tests start


_COUNTED = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, or one processor would be left with them when the others are done.

    Long and soak tests may take longer than the others, as hundreds of calls do beside other work.
    """
    for item in items:
        if any(map(item.get_closest_marker, ("long", "soak"))) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(3600))
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def kept_between_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A street of a data set is drawn once, and weights of a package are read once: both take most of many tests."""
    from ignota.models import weights
    from ignota.synthetic.scene import SyntheticScene, draw_scene

    drawn, read = functools.lru_cache(400)(draw_scene), functools.cache(weights._from_package)

    def scene(*words: Any, **options: Any) -> SyntheticScene:
        kept = drawn(*words, **options)
        maps = {name: value.copy() for name, value in vars(kept).items() if isinstance(value, np.ndarray)}
        return dataclasses.replace(kept, **maps)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ignota.synthetic.streets.draw_scene", scene)
        patch.setattr(weights, "_from_package", lambda encoder: dict(read(encoder)))
        patch.setenv("IGNOTA_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def nothing_allowed(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Code that one test allowed is not allowed in another, nor is what the user of this machine allowed."""
    monkeypatch.setenv("IGNOTA_STATE", str(tmp_path_factory.getbasetemp() / "states" / str(next(_COUNTED))))


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
    segmenter=SegmenterConfig(encoder="test_efficientnet", weights="none", decoder_channels=32),
    closed_set=ClosedSetConfig(steps=4, batch=2, crop=(48, 64), warmup=1, checkpoint_every=4),
    metric_network=MetricNetworkConfig(steps=4),
    meta_channels=MetaChannelConfig(steps=2, batch=2, warmup=1, checkpoint_every=2),
    region_embedder=RegionEmbedderConfig(steps=2, batch=2, hidden=16, released_hidden=8, embedding=8, views=2),
    embedder=EmbedderConfig(steps=2, batch=16, hidden=16, embedding=8),
    fit=FitConfig(
        objectness="none", magnify=1.25, things=4, coreset=50, reference=50, images=6, held_out=0.34, target_fpr=0.5
    ),
)


Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Fills a folder of some name: the first process of the session that asks does, the others wait for it."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def filled(name: str, fill: Callable[[Path], object]) -> Path:
        folder, done = root / name, root / f"{name}.done"
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return filled


@pytest.fixture(scope="session")
def trained(once: Once) -> Path:
    """The bundle of a world that hardly learnt anything; never changed by a test."""
    from ignota.storage import bundle
    from ignota.synthetic.streets import SyntheticStreets
    from ignota.training.stages import Stages

    torch.set_num_threads(1)

    def fill(folder: Path) -> None:
        data = TINY.data
        samples = SyntheticStreets("train", data.train_length, (data.height, data.width), 0)
        bundle.save(Stages(TINY, samples, folder, torch.device("cpu"), quiet=True).world(), folder / "world")

    return once("tiny", fill) / "world"


@pytest.fixture(scope="session")
def streets(once: Once) -> Path:
    """Synthetic Cityscapes in the size of the tiny world; never changed by a test."""
    from ignota.data.layouts import write_layout

    def fill(folder: Path) -> None:
        write_layout(folder / "cityscapes", "cityscapes", {"train": 8, "val": 2}, (48, 96))

    return once("streets", fill) / "cityscapes"


@pytest.fixture
def catalogues() -> Iterator[None]:
    """Plugins add entries to the catalogues and folders to the path; afterwards all are as before."""
    import sys

    from ignota import plugins

    dicts = (plugins.FITTED_SCORES, plugins.DATASETS, plugins._SOURCES)
    before, path = [dict(one) for one in dicts], list(sys.path)
    yield
    sys.path[:] = path
    for one, was in zip(dicts, before, strict=True):
        one.clear()
        one.update(was)


@pytest.fixture(scope="session")
def thinned() -> Callable[[Any], Any]:
    """Takes all but the first block of each stage from EfficientNets of a world, in place: exporters trace for long."""

    def thin(network: Any) -> Any:
        for module in network.modules():
            if isinstance(stages := getattr(module, "blocks", None), torch.nn.Sequential):
                for i, stage in enumerate(stages):
                    stages[i] = stage[:1]
        return network

    return thin


@pytest.fixture
def small_scales() -> Iterator[None]:
    """DMLNet's five scales in the size of the tiny world: its own would take seconds an image."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ignota.evaluation.five_scales.SHORT_SIDES", (48, 56, 64, 72, 80))
        yield


@pytest.fixture(scope="session")
def tiny() -> ExperimentConfig:
    """The configuration of the tiny world."""
    return TINY


@pytest.fixture(scope="session")
def reseal() -> Callable[[Path, Callable[[dict[str, Any]], object]], None]:
    """Edits the document of a world and seals it again without any check, as an attacker could."""
    from ignota.storage.seals import document_text, sealed

    def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
        document = json.loads((folder / "world.json").read_text())
        change(document)
        (folder / "world.json").write_text(document_text(sealed(document, folder)))

    return rewrite


@pytest.fixture(scope="session")
def schema_1() -> Callable[[Path], dict[str, Any]]:
    """Turns a world into one as version 0.1 wrote it, and returns its document."""
    import sqlite3

    def rewrite(folder: Path) -> dict[str, Any]:
        document = json.loads((folder / "world.json").read_text())
        recipe = document["recipes"]["light"]
        for name in ("regions", "kappa_released", "steal_class", "strangest", "parts", "inside"):
            del recipe[name]
        if document["frozen"]:
            del document["frozen"]["preprocessing"]
        kept = ("taxonomy", "segmenter", "frozen", "size", "taps", "spaces", "provenance", "results")
        older = {"schema": 1, **{name: document[name] for name in kept}, "heads": [], "recipe": recipe}
        (folder / "world.json").write_text(json.dumps(older, indent=2))
        for file in [folder / "exemplars.sqlite", *folder.glob("branch-*.safetensors")]:
            file.unlink()
        connection = sqlite3.connect(folder / "exemplars.sqlite", isolation_level=None)
        connection.executescript(STORE_2)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.close()
        return older

    return rewrite


STORE_2 = """
CREATE TABLE class (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  colour TEXT NOT NULL,
  hidden INTEGER NOT NULL DEFAULT 0,
  taught_at TEXT NOT NULL
);
CREATE UNIQUE INDEX shown_name ON class (name) WHERE hidden = 0;
CREATE TABLE exemplar (
  id INTEGER PRIMARY KEY,
  class INTEGER NOT NULL REFERENCES class(id) ON DELETE CASCADE,
  hidden INTEGER NOT NULL DEFAULT 0,
  image_sha256 TEXT NOT NULL,
  source TEXT NOT NULL,
  given TEXT NOT NULL,
  author TEXT NOT NULL,
  at TEXT NOT NULL,
  mask TEXT,
  thumbnail BLOB,
  tensors BLOB NOT NULL
);
CREATE INDEX exemplar_class ON exemplar (class);
CREATE TABLE history (
  id INTEGER PRIMARY KEY,
  at TEXT NOT NULL,
  author TEXT NOT NULL,
  action TEXT NOT NULL,
  class TEXT NOT NULL,
  detail TEXT NOT NULL DEFAULT '',
  exemplars INTEGER NOT NULL,
  undone_by INTEGER REFERENCES history(id)
);
CREATE TABLE change (
  event INTEGER NOT NULL REFERENCES history(id) ON DELETE CASCADE,
  kind TEXT NOT NULL CHECK (kind IN ('class', 'exemplar')),
  row INTEGER NOT NULL,
  field TEXT NOT NULL,
  before NOT NULL,
  after NOT NULL
);
CREATE INDEX change_event ON change (event);
CREATE INDEX change_row ON change (kind, row);
PRAGMA user_version = 2;
"""
"""The store as version 0.1 wrote it."""


@pytest.fixture
def world(trained: Path, tmp_path: Path) -> Iterator[Any]:
    """A copy of the tiny world that a test may teach."""
    from ignota.storage import bundle

    opened = bundle.load(shutil.copytree(trained, tmp_path / "world"), writable=True)
    yield opened
    opened.store.close()


@pytest.fixture(scope="session")
def photos() -> list[Any]:
    """Synthetic streets with unknown things."""
    from ignota.synthetic.streets import SyntheticStreets

    streets = SyntheticStreets("anomaly", 3, (60, 120), 5)
    return [streets[i].image for i in range(3)]
