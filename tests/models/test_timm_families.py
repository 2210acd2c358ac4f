"""The contract of a frozen encoder, kept by every family of timm's: CNNs, ConvNeXt, Swin, ViTs of several schools."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from ignota.models.frozen_encoder import FrozenEncoder, check_encoder, described_encoder, frozen_taps
from ignota.models.segmenter import Tap
from ignota.models.timm_levels import level_of
from ignota.models.weights import renamed
from ignota.structures import InputError

FAMILIES = {
    "resnet18": ("frozen/8", "frozen/32"),
    "mobilenetv3_small_050": ("frozen/16",),
    "efficientnet_lite0": ("frozen/8", "frozen/16"),
    "densenet121": ("frozen/16",),
    "convnext_atto": ("frozen/4", "frozen/16"),
    "swin_tiny_patch4_window7_224": ("frozen/8", "frozen/16"),
    "vit_tiny_patch16_224": ("frozen/block1",),
    "vit_small_patch14_dinov2": ("frozen/block0", "frozen/block2"),
    "vit_tiny_patch16_dinov3_qkvb": ("frozen/block1",),
    "vit_xsmall_patch16_clip_224": ("frozen/block1",),
}
"""Encoder of random weights -> taps that are read."""

Family = tuple[FrozenEncoder, nn.Module, list[int]]


def timm_s_own(encoder: str, blocks: list[int]) -> Any:
    """timm's wrapper round the same network: another way to the same features, under other names of tensors."""
    options: dict[str, Any] = {"dynamic_img_size": True} if "vit" in encoder or "swin" in encoder else {}
    options |= {"out_indices": blocks} if blocks else {}
    torch.manual_seed(0)
    return timm.create_model(encoder, features_only=True, **options).eval()


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    encoder, taps = request.param, FAMILIES[request.param]
    if encoder not in timm.list_models():
        pytest.skip(f"this version of timm has no {encoder}")
    blocks = [int(tap.removeprefix("frozen/block")) for tap in taps if "block" in tap]
    wrapper = timm_s_own(encoder, blocks)
    places = list(range(len(blocks))) or [wrapper.feature_info.reduction().index(int(tap[7:])) for tap in taps]
    return FrozenEncoder(encoder, taps, "file", weights=wrapper.state_dict()), wrapper, places


def test_features_are_timm_s_own(family: Family) -> None:
    frozen, wrapper, places = family
    images = torch.randn(2, 3, 2 * frozen.multiple, 3 * frozen.multiple, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = wrapper(images)
    found = frozen(images)
    assert tuple(found) == FAMILIES[frozen.encoder_name]
    last = str(getattr(wrapper, "output_fmt", "")).endswith("NHWC")
    for (name, grid), place in zip(found.items(), places, strict=True):
        theirs = expected[place].permute(0, 3, 1, 2) if last else expected[place]
        assert torch.allclose(grid, theirs, atol=1e-4 * float(theirs.abs().max())), name
        assert not grid.requires_grad and frozen.taps[name].channels == grid.shape[1]


@pytest.mark.parametrize("size", [(33, 65), (1, 50)])
def test_any_size(family: Family, size: tuple[int, int]) -> None:
    frozen, _, _ = family
    for name, grid in frozen(torch.randn(1, 3, *size)).items():
        stride = frozen.taps[name].stride
        assert grid.shape[-2:] == (-(-size[0] // stride), -(-size[1] // stride)), name


def test_images_are_normalised_as_in_its_training(family: Family) -> None:
    frozen, _, _ = family
    trained = timm.get_pretrained_cfg(frozen.encoder_name)
    assert (frozen.preprocessing.mean, frozen.preprocessing.std) == (trained.mean, trained.std)


def test_it_is_built_again_from_its_own_weights(family: Family) -> None:
    frozen, _, _ = family
    identity, own = frozen.identity(), frozen.own_weights()
    again = described_encoder(identity, list(frozen.taps), None, own)
    assert again.taps == frozen.taps and again.identity() == identity
    first = next(name for name in own if name.endswith("weight"))
    with pytest.raises(InputError, match="differ from those this world was fitted with"):
        described_encoder(identity, list(frozen.taps), None, own | {first: own[first] + 1})


def test_an_encoder_of_one_size_sees_images_resized_to_it() -> None:
    network = timm.create_model("test_vit_relpos")
    frozen = FrozenEncoder("test_vit_relpos", ["frozen/block1"], "file", weights=network.state_dict())
    assert frozen.fixed_size == network.pretrained_cfg["input_size"][1:]
    assert frozen(torch.randn(1, 3, 100, 170))["frozen/block1"].shape[-2:] == (7, 11)


def one_line(encoder: str, *taps: str) -> str:
    with pytest.raises(InputError) as caught:
        check_encoder(encoder, taps)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_not_there_is_told_with_what_is() -> None:
    assert "did you mean 'resnet18'" in one_line("resnet81")
    text = one_line("vit_tiny_patch16_224", "decoder", "frozen/32")
    assert text == "vit_tiny_patch16_224 has no features at stride 32; there are [16] and block0 to block11"
    check_encoder("vit_tiny_patch16_224", ("decoder", "frozen/16", "frozen/block11"))


@pytest.mark.parametrize("place", ["", "block", "8.5", "-8", "block3", "block-1", "1" * 400, "../../etc", "٨"])
def test_a_place_that_is_none(place: str) -> None:
    levels = [Tap(24, 8), Tap(48, 16), Tap(96, 16)]
    assert [level_of(name, levels, "net") for name in ("8", "16", "block0", "block1")] == [0, 2, 0, 1]
    with pytest.raises(InputError, match=r"net has no features at .*; there are \[8, 16\] and block0 to block2$"):
        level_of(place, levels, "net")


def test_weights_of_another_encoder_are_refused() -> None:
    with pytest.raises(InputError, match="tensors are missing, the first is"):
        FrozenEncoder("test_vit", ["frozen/16"], "file", weights=timm.create_model("test_convnext").state_dict())


def test_taps_come_by_stride_and_then_by_block() -> None:
    taps = ("frozen/block10", "decoder", "frozen/32", "frozen/block8", "frozen/16", "frozen/8", "frozen/16")
    assert frozen_taps(taps) == ["frozen/8", "frozen/16", "frozen/32", "frozen/block8", "frozen/block10"]


def test_names_of_wrappers_are_seen_through() -> None:
    weights: dict[str, Tensor] = {
        "model.stages_0.norm.weight": torch.zeros(1),
        "module.model.head.bias": torch.ones(1),
        "model.norm": torch.full((1,), 2.0),
    }
    found = renamed(weights, ["stages.0.norm.weight", "head.bias", "model.norm"])
    assert {name: float(value) for name, value in found.items()} == {
        "stages.0.norm.weight": 0, "head.bias": 1, "model.norm": 2
    }  # fmt: skip
