"""The tiny world behind HTTP: in this process, as a server of its own, and in a browser."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from ignota.storage import bundle
from ignota.synthetic.streets import SyntheticStreets
from ignota.web.app import create_app
from ignota.world.model import OpenWorldModel

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of the tiny world that a test may teach."""
    return Path(shutil.copytree(trained, tmp_path / "world"))


@pytest.fixture
def world(folder: Path) -> Iterator[OpenWorldModel]:
    """The copy, opened."""
    opened = bundle.load(folder, writable=True)
    yield opened
    opened.store.close()


@pytest.fixture
def client(world: OpenWorldModel) -> Iterator[TestClient]:
    """A client of the application, without a socket."""
    with TestClient(create_app(world, "tiny"), base_url="http://localhost", raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture(scope="session")
def photos() -> list[NDArray[np.uint8]]:
    """Synthetic streets with unknown things, of the size that the tiny world works at."""
    streets = SyntheticStreets("anomaly", 3, (48, 96), 5)
    return [streets[i].image for i in range(3)]


@pytest.fixture(scope="session")
def files(photos: list[NDArray[np.uint8]]) -> list[bytes]:
    """They as PNG."""
    return [png(photo) for photo in photos]


def png(image: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


@dataclass(frozen=True)
class Thing:
    """A region of a picture that the tiny world, which knows next to nothing, recognises once it is taught.

    mask: on the working grid. twin: a picture so much like the first that the thing is recognised there as well. x, y:
    a pixel of the grid inside.
    """

    photo: bytes
    twin: bytes
    mask: NDArray[np.bool_]
    x: int
    y: int


@pytest.fixture(scope="session", params=["drawn"])
def thing(request: pytest.FixtureRequest, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Thing:
    """The region that is recognised best on both pictures, which are drawn, or neighbouring frames of CamVid."""
    if request.param == "drawn":
        photos = request.getfixturevalue("photos")
        pairs = [(photo, np.clip(photo.astype(int) + 2, 0, 255).astype(np.uint8)) for photo in photos]
    else:
        frames = sorted((request.getfixturevalue("shared_data") / "camvid" / "val").glob("*.jpg"))[:4]
        pairs = list(itertools.pairwise(np.array(Image.open(frame)) for frame in frames))
    world = bundle.load(shutil.copytree(trained, tmp_path_factory.mktemp("thing") / "world"), writable=True)
    found = max((best_region(world, *pair) for pair in pairs), key=lambda pair: pair[0])
    world.store.close()
    assert found[0] > 0, "the tiny world recognises nothing at all"
    return found[1]


def best_region(world: OpenWorldModel, photo: NDArray[np.uint8], twin: NDArray[np.uint8]) -> tuple[int, Thing]:
    """The region of `photo` that is recognised best on both pictures, after how many pixels of the poorer one."""
    scenes = [world.segment(picture) for picture in (photo, twin)]
    ids = scenes[0].regions.ids
    best, chosen = -1, np.zeros(ids.shape, bool)
    for number in range(1, scenes[0].regions.count + 1):
        mask = ids == number
        if not 30 <= mask.sum() <= 1500:
            continue
        full = cv2.resize(mask.astype(np.uint8), photo.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
        world.learn("it", (scenes[0].encoding, full), force=True)
        taken = [(world.scene(s.encoding, s.tables).working_labels >= len(world.taxonomy)).sum() for s in scenes]
        world.forget("it")
        if min(taken) > best:
            best, chosen = int(min(taken)), mask
    inside = np.argwhere(chosen)
    y, x = inside[np.abs(inside - inside.mean(0)).sum(1).argmin()]
    return best, Thing(png(photo), png(twin), chosen, int(x), int(y))


@dataclass
class Served:
    """A server process and the links that it printed, for other machines first."""

    process: subprocess.Popen[str]
    links: list[str]

    @property
    def link(self) -> str:
        return self.links[-1]

    @property
    def port(self) -> int:
        return int(re.findall(r":(\d+)/", self.link)[0])

    def stop(self, how: int = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(60)


@contextlib.contextmanager
def serving() -> Iterator[Callable[..., Served]]:
    """Starts `ignota serve`, with at most so many open files; stops what still runs in the end."""
    started: list[Served] = []

    def start(world: Path, *words: str, files: int | None = None) -> Served:
        command = [sys.executable, "-m", "ignota", "serve", "--world", str(world), "--port", "0", *words]
        if files is not None:
            command = ["bash", "-c", f'ulimit -n {files} && exec "$@"', "bash", *command]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.findall(r"http://[^\s;]+", line)
        assert found, line
        started.append(Served(process, found))
        return started[-1]

    try:
        yield start
    finally:
        for served in started:
            if served.process.poll() is None:
                served.process.kill()
                served.process.wait()
            if served.process.stdout is not None:
                served.process.stdout.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """Servers of one test."""
    with serving() as start:
        yield start


@pytest.fixture(scope="module")
def served(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The tiny world behind one server for all tests of a module, each of which leaves it as it was."""
    with serving() as start:
        yield start(Path(shutil.copytree(trained, tmp_path_factory.mktemp("served") / "world")))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; without one the test is skipped, or fails where CI=true."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        text = "no browser: `apt-get install chromium` brings one"
        pytest.fail(text) if os.environ.get("CI") == "true" else pytest.skip(text)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()
