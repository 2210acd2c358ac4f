"""An image reaches each network at its own size, straight from the original."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from ignota.data.images import resize_image
from ignota.models.segmenter import Tap
from ignota.perception.networks import Networks
from ignota.storage import bundle
from ignota.storage.branch_files import beside
from ignota.structures import Preprocessing


@pytest.fixture
def networks(trained: Path) -> Networks:
    return bundle.load(trained).networks


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


class Bright:
    """An objectness network to which bright pixels are things."""

    sha256, size, preprocessing = "0" * 64, 56, Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    taps: ClassVar[dict[str, Tap]] = {"objectness/block1": Tap(3, 14), "objectness/block2": Tap(3, 14)}

    def view_size(self, height: int, width: int) -> tuple[int, int]:
        return 56, 84

    def __call__(self, image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return image[0].mean(0), dict.fromkeys(self.taps, image[0, :, ::14, ::14])


def test_objectness_sees_the_original_at_a_size_of_its_own(networks: Networks) -> None:
    image = np.random.default_rng(0).integers(0, 256, (200, 320, 3), np.uint8)
    plain = networks.encode(image, 64)
    more = dataclasses.replace(
        networks, objectness=Bright(), taps=(*networks.taps, "objectness/block1"),  # type: ignore[arg-type]
    )  # fmt: skip
    found = more.encode(image, 64)
    assert plain.objectness is None and found.objectness is not None
    expected = resize_image(image, (56, 84)).astype(np.float32) / 255
    assert np.allclose(found.objectness.numpy(), expected.mean(2), atol=1e-6)
    assert np.allclose(found.features["objectness/block1"].numpy(), expected[::14, ::14].transpose(2, 0, 1), atol=1e-6)
    assert list(found.features) == [*networks.taps, "objectness/block1"]
    assert torch.equal(found.logits, plain.logits)
    assert all(torch.equal(found.features[tap], plain.features[tap]) for tap in networks.taps)


def test_objectness_is_part_of_what_networks_are(networks: Networks) -> None:
    small, large = Bright(), Bright()
    large.size = 518
    digests = {dataclasses.replace(networks, objectness=one).digest for one in (None, small, large)}  # type: ignore[arg-type]
    assert len(digests) == 3 and networks.digest in digests


def test_a_branch_runs_no_objectness(networks: Networks) -> None:
    own = dataclasses.replace(networks, objectness=Bright())  # type: ignore[arg-type]
    assert beside(own, networks.segmenter).objectness is None
