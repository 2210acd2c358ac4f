"""Eight bits are kept apart by the images that they were calibrated on, and none is lost to a later fault."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ignota.backends import onnx_running
from ignota.backends.onnx_running import OnnxRunner, int8_runner
from ignota.perception.networks import Networks
from ignota.structures import InputError, Preprocessing


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[Path]]:
    """The images of each calibration; the exporter and the quantiser themselves are tested by the backends."""
    pytest.importorskip("onnxruntime")
    found: list[list[Path]] = []

    def quantise(graph: Path, images: Sequence[Path], size: int, target: Path) -> None:
        found.append(list(images))
        target.write_bytes(b"".join(path.read_bytes() for path in images))

    def open_only(self: OnnxRunner, path: Path, frozen: Path | None, calibration: str = "") -> None:
        assert frozen is None
        self.calibration = calibration

    monkeypatch.setenv("IGNOTA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(onnx_running, "_segmenter_graph", lambda networks: tmp_path / "segmenter.onnx")
    monkeypatch.setattr(onnx_running, "quantise", quantise)
    monkeypatch.setattr(OnnxRunner, "__init__", open_only)
    return found


class Smallest(torch.nn.Conv2d):
    """As much of a segmenter as is looked at here."""

    num_classes, preprocessing = 2, Preprocessing()


@pytest.fixture
def networks() -> Networks:
    return Networks(Smallest(3, 2, 1), None, 48, ("decoder",), torch.device("cpu"))


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{n}.png" for n in range(3)]
    for n, path in enumerate(paths):
        Image.fromarray(np.full((8, 8, 3), n, np.uint8)).save(path)
    return paths


def test_each_set_of_images_has_a_graph_of_its_own(
    networks: Networks, made: list[list[Path]], pictures: list[Path]
) -> None:
    with pytest.raises(InputError, match="--calibrate"):
        int8_runner(networks)
    first, again = int8_runner(networks, pictures), int8_runner(networks, pictures)
    assert first.calibration == again.calibration == int8_runner(networks).calibration
    assert made == [pictures]  # once
    other = int8_runner(networks, pictures[:1])
    assert other.calibration not in ("", first.calibration) and made == [pictures, pictures[:1]]
    assert int8_runner(networks).calibration == other.calibration  # the last that was named
    assert int8_runner(networks, pictures).calibration == first.calibration and len(made) == 2


def test_a_bad_image_costs_no_graph(
    networks: Networks, made: list[list[Path]], pictures: list[Path], tmp_path: Path
) -> None:
    before = int8_runner(networks, pictures).calibration
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(InputError):
        int8_runner(networks, [broken])
    assert int8_runner(networks).calibration == before
