"""The frozen encoder stays as it is."""

from __future__ import annotations

import pytest
import timm
import torch

from ignota.models.frozen_encoder import FrozenEncoder
from ignota.models.weights import package_identity
from ignota.structures import InputError


@pytest.fixture(scope="module")
def frozen() -> FrozenEncoder:
    return FrozenEncoder()


def test_taps_are_the_encoder_s_own_stages(frozen: FrozenEncoder) -> None:
    images = torch.randn(2, 3, 64, 96)
    network = timm.create_model("tf_efficientnet_lite0", features_only=True).eval()
    network.load_state_dict(frozen.network.state_dict())
    with torch.no_grad():
        expected = network(images)[2:]
    found = frozen(images)
    assert list(found) == ["frozen/8", "frozen/16", "frozen/32"]
    for name, grid in zip(found, expected, strict=True):
        assert torch.equal(found[name], grid)
        assert frozen.taps[name].channels == grid.shape[1] and frozen.taps[name].stride == 64 // grid.shape[2]


def test_any_size(frozen: FrozenEncoder) -> None:
    for height, width in ((33, 65), (31, 32), (1, 70)):
        for name, grid in frozen(torch.randn(1, 3, height, width)).items():
            stride = frozen.taps[name].stride
            assert grid.shape[-2:] == (-(-height // stride), -(-width // stride))


def test_training_leaves_it_alone(frozen: FrozenEncoder) -> None:
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    assert frozen.train() is frozen and not frozen.training
    assert not any(module.training for module in frozen.modules())
    holder = torch.nn.Sequential(frozen).train()
    assert holder.training and not any(module.training for module in frozen.modules())
    images = torch.randn(2, 3, 64, 64, requires_grad=True)
    assert not any(grid.requires_grad for grid in frozen(images).values())
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())


def test_its_identity_names_the_package(frozen: FrozenEncoder) -> None:
    identity = frozen.identity()
    assert identity["encoder"] == "tf_efficientnet_lite0"
    assert identity["size"] is None and FrozenEncoder(size=540).identity() == identity | {"size": 540}
    assert identity["sha256"] == package_identity("tf_efficientnet_lite0")["sha256"]


def test_a_stride_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"at stride 64; there are \[2, 4, 8, 16, 32\] and block0 to block4"):
        FrozenEncoder(taps=("frozen/8", "frozen/64"))
