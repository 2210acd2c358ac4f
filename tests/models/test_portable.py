"""One module for every size answers as the networks that pad and crop by asking."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ignota.models.portable import PortableNetworks
from ignota.structures import InputError
from ignota.world.model import OpenWorldModel
from ignota.world.networks import Networks


@pytest.fixture(scope="module")
def networks(trained) -> Networks:
    return OpenWorldModel.load(trained).networks


@pytest.mark.parametrize("size", [(48, 96), (49, 83), (64, 64), (71, 133)])
def test_answers_as_the_networks(networks: Networks, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    module = PortableNetworks(networks.segmenter, networks.frozen, networks.taps)
    found = module(torch.from_numpy(image))
    encoding = networks.encode(image, min(size))
    assert encoding.image.shape == image.shape
    for name, expected in {"logits": encoding.logits, **encoding.features}.items():
        assert found[name].shape[1:] == expected.shape
        assert torch.allclose(found[name][0], expected, atol=1e-3 * float(expected.abs().max())), name


def test_the_networks_stay_as_they_are(networks: Networks) -> None:
    before = [type(module) for module in networks.segmenter.modules()]
    PortableNetworks(networks.segmenter, networks.frozen, networks.taps)
    assert [type(module) for module in networks.segmenter.modules()] == before


def test_a_segmenter_of_one_size_is_refused(networks: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(networks.segmenter), "fixed_size", (64, 64), raising=False)
    with pytest.raises(InputError, match="alone"):
        PortableNetworks(networks.segmenter, networks.frozen, networks.taps)


def test_a_frozen_encoder_that_sees_the_image_reduced_is_refused(
    networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks.frozen, "magnify", 0.5)
    with pytest.raises(InputError, match=r"fit\.magnify"):
        PortableNetworks(networks.segmenter, networks.frozen, networks.taps)
    own = tuple(tap for tap in networks.taps if tap not in networks.frozen.taps)
    assert PortableNetworks(networks.segmenter, networks.frozen, own).frozen is None  # it is not read at all
