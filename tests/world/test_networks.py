"""An image reaches each network at its own size, straight from the original."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ignota.data.images import resize_image
from ignota.world.model import OpenWorldModel
from ignota.world.networks import Networks


@pytest.fixture
def networks(trained: Path) -> Networks:
    return OpenWorldModel.load(trained).networks


def test_each_network_sees_the_original_at_its_own_size(networks: Networks) -> None:
    image = np.random.default_rng(0).integers(0, 256, (200, 320, 3), np.uint8)
    assert networks.frozen is not None
    networks.frozen.size = 100
    working, close = networks.views(image, 64)
    assert close is not None
    assert np.array_equal(working, resize_image(image, (64, 102)))
    assert np.array_equal(close, resize_image(image, (100, 160)))
    blurred = resize_image(working, (100, 160)).astype(float)
    assert close.std() > 1.2 * blurred.std()  # nothing is lost on the way through the segmenter's size
    encoding = networks.encode(image, 64)
    assert encoding.image.shape == working.shape
    assert encoding.features["frozen/16"].shape[1:] == (7, 10)


def test_without_its_taps_the_frozen_encoder_sees_nothing(networks: Networks) -> None:
    image = np.zeros((80, 90, 3), np.uint8)
    own = dataclasses.replace(networks, taps=("decoder",))
    assert own.views(image)[1] is None and list(own.encode(image).features) == ["decoder"]


def test_without_a_size_it_sees_the_world_s_own(networks: Networks) -> None:
    assert networks.frozen is not None
    networks.frozen.size = None
    working, close = networks.views(np.zeros((80, 160, 3), np.uint8), 64)
    assert close is not None and working.shape == (64, 128, 3) and close.shape[0] == networks.size
