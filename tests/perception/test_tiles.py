"""Tiles blend into what the whole image gives, as far as the networks do not look further than a tile."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from ignota.perception.networks import Answer, Networks
from ignota.perception.tiles import Tiled, grid_strides, spans, tiled
from ignota.storage import bundle
from ignota.structures import InputError


@pytest.fixture(scope="module")
def networks(trained: Path) -> Networks:
    return bundle.load(trained).networks


def _grids(networks: Networks, image: np.ndarray, reach: int) -> Answer:
    """A segmenter that averages each cell's pixels, after a box blur of `reach` pixels on either side."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    if reach:
        pixels = F.avg_pool2d(pixels, 2 * reach + 1, 1, reach, count_include_pad=False)
    found = {}
    for name, stride in grid_strides(networks).items():
        bottom, right = (-side % stride for side in pixels.shape[-2:])
        found[name] = F.avg_pool2d(F.pad(pixels, (0, right, 0, bottom), mode="replicate"), stride)[0]
    return found.pop("logits"), found


@pytest.mark.parametrize(("reach", "tolerance"), [(0, 1e-4), (16, 1e-3)])
def test_equals_the_whole_within_the_networks_reach(networks: Networks, reach: int, tolerance: float) -> None:
    image = np.random.default_rng(0).integers(0, 256, (333, 490, 3), np.uint8)

    close = np.random.default_rng(1).integers(0, 256, (70, 90, 3), np.uint8)

    def runner(networks: Networks, image: np.ndarray, close: np.ndarray | None) -> Answer:
        logits, features = _grids(networks, image, reach)
        return logits, features if close is None else features | {"frozen/16": torch.from_numpy(close).float()}

    calls, seen_close = [], []

    def counted(networks: Networks, image: np.ndarray, close: np.ndarray | None) -> Answer:
        calls.append(image.shape)
        seen_close.append(close is not None)
        return runner(networks, image, close)

    whole, parts = runner(networks, image, close), Tiled(counted, 160)(networks, image, close)
    assert sum(seen_close) == 1  # the frozen encoder sees its view whole, and once
    assert len(calls) > 4 and max(max(shape[:2]) for shape in calls) == 160
    for name, expected in {"logits": whole[0], **whole[1]}.items():
        found = {"logits": parts[0], **parts[1]}[name]
        assert found.shape == expected.shape
        assert (found - expected).abs().max() < tolerance * 255, name


def test_the_networks_themselves_nearly_agree(networks: Networks) -> None:
    """They pool over the whole image, so tiles differ from it, but little."""
    image = np.random.default_rng(0).integers(0, 256, (200, 420, 3), np.uint8)
    whole = networks.encode(image, 200)
    parts = dataclasses.replace(networks, runner=Tiled(networks.runner, 256)).encode(image, 200)
    assert parts.logits.shape == whole.logits.shape
    assert {tap: grid.shape for tap, grid in parts.features.items()} == {t: g.shape for t, g in whole.features.items()}
    assert (parts.logits.argmax(0) == whole.logits.argmax(0)).float().mean() > 0.8


@given(st.integers(1, 3000), st.sampled_from([128, 200, 256, 512]), st.sampled_from([16, 32]))
def test_every_cell_is_seen_well(length: int, side: int, step: int) -> None:
    total = torch.zeros(-(-length // 16))
    found = spans(length, side, step)
    for span in found:
        assert span.start % step == 0 and span.stop - span.start <= side
        cells = -(-(span.stop - span.start) // 16)
        total[span.start // 16 : span.start // 16 + cells] += span.weights(cells, 16)
    assert found[-1].stop == length
    assert total.min() > 0.2


def test_small_images_pass_whole_and_large_ones_do_not(networks: Networks) -> None:
    automatic = tiled(networks, networks.runner, None)
    assert isinstance(automatic, Tiled) and automatic.pixels > 1_000_000
    assert tiled(networks, networks.runner, 0) is networks.runner
    with pytest.raises(InputError, match="or more"):
        tiled(networks, networks.runner, 16)
