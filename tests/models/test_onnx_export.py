"""Modules for every size answer as the networks that pad and crop by asking."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ignota.models.onnx_export import PortableEncoder, PortableSegmenter
from ignota.perception.networks import Networks
from ignota.storage import bundle
from ignota.structures import InputError


@pytest.fixture(scope="module")
def networks(trained) -> Networks:
    return bundle.load(trained).networks


@pytest.mark.parametrize("size", [(48, 96), (49, 83), (64, 64), (71, 133)])
def test_answers_as_the_networks(networks: Networks, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    encoding, close = networks.encode(image, min(size)), networks.views(image)[1]
    assert encoding.image.shape == image.shape and networks.frozen is not None and close is not None
    segmenter = PortableSegmenter(networks.segmenter, networks.taps)
    encoder = PortableEncoder(networks.frozen, networks.taps)
    assert {*segmenter.names, *encoder.names} == {"logits", *networks.taps}
    found = segmenter(torch.from_numpy(image)) | encoder(torch.from_numpy(close))
    for name, expected in {"logits": encoding.logits, **encoding.features}.items():
        assert found[name].shape[1:] == expected.shape
        assert torch.allclose(found[name][0], expected, atol=1e-3 * float(expected.abs().max())), name


def test_the_networks_stay_as_they_are(networks: Networks) -> None:
    before = [type(module) for module in networks.segmenter.modules()]
    PortableSegmenter(networks.segmenter, networks.taps)
    assert [type(module) for module in networks.segmenter.modules()] == before


def test_a_segmenter_of_one_size_is_refused(networks: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(networks.segmenter), "fixed_size", (64, 64), raising=False)
    with pytest.raises(InputError, match="alone"):
        PortableSegmenter(networks.segmenter, networks.taps)
