"""What the server adds to a segment call, beside the library's own call in the same run: `make bench`.

Images are 1280×720, read at 540×960; each call gets a new one. Times are those of one core's work, client included, so
that a busy machine does not matter. A call takes a second, nearly all of it in `encode` and `tables`, which both calls
run alike and whose time varies by more than what is sought: it is taken out of either.
"""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient

from ignota.data.images import decode_image
from ignota.storage import bundle
from ignota.web.app import create_app
from ignota.world.model import OpenWorldModel

ROUNDS = 12
JSON_MS, MAPS_MS = 15.0, 60.0


@pytest.fixture(autouse=True, scope="module")
def one_core() -> Iterator[None]:
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    yield
    torch.set_num_threads(threads[0])
    cv2.setNumThreads(threads[1])


@pytest.fixture(scope="module")
def world(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> OpenWorldModel:
    return bundle.load(shutil.copytree(trained, tmp_path_factory.mktemp("served") / "world"), writable=True)


@pytest.fixture(scope="module")
def client(world: OpenWorldModel) -> Iterator[TestClient]:
    with TestClient(create_app(world, "bench"), base_url="http://localhost") as opened:
        yield opened


def library(world: OpenWorldModel, data: bytes, maps: bool) -> object:
    """The same answer without a server: decoded, segmented, read off."""
    scene = world.segment(decode_image(data))
    regions = [(region.box, region.area, region.score, region.nearest) for region in scene.unknown]
    return regions, scene.labels_with_unknown() if maps else None


def seconds(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


@pytest.fixture
def alike(world: OpenWorldModel, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds of every call of `encode` and `tables`, whoever makes it."""
    spent: list[float] = []

    def watched(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            started = time.process_time()
            try:
                return call(*args, **options)
            finally:
                spent.append(time.process_time() - started)

        return run

    monkeypatch.setattr(world, "encode", watched(world.encode))
    monkeypatch.setattr(world, "tables", watched(world.tables))
    return spent


@pytest.mark.parametrize(("maps", "most"), [(False, JSON_MS), (True, MAPS_MS)], ids=["json", "png"])
def test_what_the_server_adds(
    benchmark,
    world: OpenWorldModel,
    client: TestClient,
    images: Iterator[bytes],
    alike: list[float],
    maps: bool,
    most: float,
) -> None:
    whole: list[float] = []
    alone: list[float] = []
    served: list[float] = []

    def besides(call: Callable[[], object]) -> float:
        alike.clear()
        took = seconds(call)
        assert len(alike) == 2, "both calls run encode and tables once"
        return took - sum(alike)

    def pair() -> None:
        data = next(images)
        alone.append(besides(lambda: library(world, data, maps)))
        whole.append(alone[-1] + sum(alike))
        served.append(besides(lambda: client.post("/api/segment", params={"maps": maps}, content=data).json()["image"]))

    benchmark.pedantic(pair, rounds=ROUNDS, warmup_rounds=2)
    added = 1000 * float(np.median(np.subtract(served, alone)[2:]))
    benchmark.extra_info["added_ms"] = round(added, 1)
    print(
        json.dumps({"maps": maps, "library_ms": round(1000 * float(np.median(whole)), 1), "added_ms": round(added, 1)})
    )
    assert added <= most


def test_relabelling_twenty_open_images(benchmark, client: TestClient, images: Iterator[bytes]) -> None:
    """From the name to twenty images labelled again, as the page requests it."""
    keys = [client.post("/api/segment", content=next(images)).json()["image"] for _ in range(20)]
    names = (f"thing {n}" for n in itertools.count())

    spent: list[float] = []

    def learn() -> None:
        mark = {"image": keys[0], "click": {"x": 640, "y": 500, "extent": "region"}}
        form = {"name": next(names), "examples": [mark], "force": True, "relabel": keys}
        spent.append(seconds(lambda: client.post("/api/learn", json=form).raise_for_status()))

    benchmark.pedantic(learn, rounds=5, warmup_rounds=1)
    print(json.dumps({"relabel_20_ms": round(1000 * float(np.median(spent)), 1)}))
    assert float(np.median(spent)) < 0.5
