"""What the server adds to a segment call, beside the library's own call in the same run: `make bench`.

A small world of its own is trained first. Images are 1280×720, read at 540×960; each call gets a new one.
"""

from __future__ import annotations

import io
import itertools
import json
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

from ignota.data.images import decode_image
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
from ignota.web.app import create_app
from ignota.world.model import OpenWorldModel

ROUNDS = 12
JSON_MS, MAPS_MS = 15.0, 60.0

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


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> OpenWorldModel:
    data = CONFIGURATION.data
    samples = SyntheticStreets("train", data.train_length, (data.height, data.width), 0)
    folder = tmp_path_factory.mktemp("server")
    return Stages(CONFIGURATION, samples, folder, torch.device("cpu"), quiet=True).world()


@pytest.fixture(scope="module")
def client(world: OpenWorldModel) -> Iterator[TestClient]:
    with TestClient(create_app(world, "bench"), base_url="http://localhost") as opened:
        yield opened


@pytest.fixture(scope="module")
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


def library(world: OpenWorldModel, data: bytes, maps: bool) -> object:
    """The same answer without a server: decoded, segmented, read off."""
    scene = world.segment(decode_image(data))
    regions = [(region.box, region.area, region.score, region.nearest) for region in scene.unknown]
    return regions, scene.labels_with_unknown() if maps else None


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


@pytest.mark.parametrize(("maps", "most"), [(False, JSON_MS), (True, MAPS_MS)], ids=["json", "png"])
def test_what_the_server_adds(
    benchmark, world: OpenWorldModel, client: TestClient, images: Iterator[bytes], maps: bool, most: float
) -> None:
    alone: list[float] = []
    served: list[float] = []

    def pair() -> None:
        data = next(images)
        alone.append(seconds(lambda: library(world, data, maps)))
        served.append(seconds(lambda: client.post("/api/segment", params={"maps": maps}, content=data).json()["image"]))

    benchmark.pedantic(pair, rounds=ROUNDS, warmup_rounds=2)
    added = 1000 * float(np.median(np.subtract(served, alone)[2:]))
    benchmark.extra_info["added_ms"] = round(added, 1)
    print(
        json.dumps({"maps": maps, "library_ms": round(1000 * float(np.median(alone)), 1), "added_ms": round(added, 1)})
    )
    assert added <= most


def test_relabelling_twenty_open_images(benchmark, client: TestClient, images: Iterator[bytes]) -> None:
    """From the name to twenty images labelled anew, as the page asks for it."""
    keys = [client.post("/api/segment", content=next(images)).json()["image"] for _ in range(20)]
    names = (f"thing {n}" for n in itertools.count())

    def learn() -> None:
        mark = {"image": keys[0], "click": {"x": 640, "y": 500, "extent": "region"}}
        form = {"name": next(names), "examples": [mark], "force": True, "relabel": keys}
        assert len(client.post("/api/learn", json=form).json()["patches"]) == 20

    benchmark.pedantic(learn, rounds=5, warmup_rounds=1)
    assert benchmark.stats.stats.median < 0.5
