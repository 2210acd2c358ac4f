"""What the server adds to a segment call, beside the library's own call in the same run: `make bench`.

Images are 1280×720, read at 540×960; each call gets a new one.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from fastapi.testclient import TestClient

from ignota.data.images import decode_image
from ignota.web.app import create_app
from ignota.world.model import OpenWorldModel

ROUNDS = 12
JSON_MS, MAPS_MS = 15.0, 60.0


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
