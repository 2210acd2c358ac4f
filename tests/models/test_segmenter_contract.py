"""Every segmenter keeps the contract of ignota.models.segmenter."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ignota.models.segmenter import ClosedSetSegmenter, crop_to_image, pad_to_multiple, resize_logits

KINDS = (
    "deeplabv3plus",
    "deeplabv3plus_detail",
    "pspnet",
    "segformer",
    "upernet",
    "mask2former",
    "eomt",
    "exported",
    "exported_fixed",
    "tapped",
)
Make = Callable[[str], ClosedSetSegmenter]


@pytest.fixture(params=KINDS)
def segmenter(request: pytest.FixtureRequest, make: Make) -> ClosedSetSegmenter:
    return make(request.param)


def _randomise(segmenter: nn.Module) -> None:
    """Running statistics that differ from a batch's own, so that evaluation mode shows."""
    for module in segmenter.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)


@torch.no_grad()
def test_any_size_gives_the_promised_grids(segmenter: ClosedSetSegmenter) -> None:
    segmenter.eval()
    logits_stride = getattr(segmenter, "logits_stride", segmenter.taps["decoder"].stride)
    assert segmenter.num_classes == 5
    for height, width in ((33, 65), (64, 64), (40, 32), (96, 70)):
        output = segmenter(torch.randn(2, 3, height, width))
        assert output.logits.shape == (2, 5, -(-height // logits_stride), -(-width // logits_stride))
        assert set(output.features) == set(segmenter.taps)
        for name, tap in segmenter.taps.items():
            expected = (2, tap.channels, -(-height // tap.stride), -(-width // tap.stride))
            assert output.features[name].shape == expected, name


def test_the_decoder_tap_and_a_normalisation_are_always_there(segmenter: ClosedSetSegmenter) -> None:
    assert segmenter.taps["decoder"].channels > 1
    assert len(segmenter.preprocessing.mean) == 3 and min(segmenter.preprocessing.std) > 0


@torch.no_grad()
def test_evaluation_is_deterministic_and_batch_independent(segmenter: ClosedSetSegmenter) -> None:
    _randomise(segmenter)
    segmenter.eval()
    images = torch.randn(3, 3, 48, 64)
    first, again = segmenter(images), segmenter(images)
    assert torch.equal(first.logits, again.logits)
    alone = [segmenter(image[None]) for image in images]
    # one convolution may sum in another order for another batch size, so equal up to rounding
    torch.testing.assert_close(torch.cat([part.logits for part in alone]), first.logits, atol=1e-4, rtol=1e-4)
    for name in segmenter.taps:
        together = torch.cat([part.features[name] for part in alone])
        torch.testing.assert_close(together, first.features[name], atol=1e-3, rtol=1e-4)


@torch.no_grad()
def test_the_output_depends_on_the_image(segmenter: ClosedSetSegmenter) -> None:
    segmenter.eval()
    one, other = segmenter(torch.randn(1, 3, 64, 96)), segmenter(torch.randn(1, 3, 64, 96))
    assert not torch.equal(one.logits, other.logits)
    assert all(not torch.equal(one.features[name], other.features[name]) for name in segmenter.taps)


def test_parameters_are_split_in_two(segmenter: ClosedSetSegmenter) -> None:
    encoder = {id(parameter) for parameter in segmenter.encoder_parameters()}
    head = {id(parameter) for parameter in segmenter.head_parameters()}
    assert encoder and head
    assert not encoder & head
    assert encoder | head == {id(parameter) for parameter in segmenter.parameters()}


def test_gradients_reach_encoder_and_head(segmenter: ClosedSetSegmenter) -> None:
    segmenter.eval()
    output = segmenter(torch.randn(2, 3, 64, 96))
    (output.logits.square().sum() + sum(grid.sum() for grid in output.features.values())).backward()
    for group in (segmenter.encoder_parameters(), segmenter.head_parameters()):
        reached = [_moved(parameter) for parameter in group]
        assert sum(reached) > len(reached) / 2


def _moved(parameter: Tensor) -> bool:
    return parameter.grad is not None and bool(parameter.grad.abs().max() > 0)


@pytest.mark.parametrize("multiple", [1, 8, 32])
def test_padding_repeats_the_border_and_cropping_undoes_it(multiple: int) -> None:
    images = torch.randn(2, 3, 33, 65)
    padded = pad_to_multiple(images, multiple)
    assert padded.shape[-2] % multiple == padded.shape[-1] % multiple == 0
    assert torch.equal(padded[..., :33, :65], images)
    assert torch.equal(padded[..., -1, :65], images[..., -1, :])
    assert torch.equal(crop_to_image(padded, 33, 65, 1), images)


def test_logits_of_the_image_size_are_left_alone() -> None:
    logits = torch.randn(1, 4, 6, 8, requires_grad=True)
    assert resize_logits(logits, (6, 8)) is logits
    enlarged = resize_logits(logits, (12, 16))
    assert enlarged.shape == (1, 4, 12, 16)
    enlarged.sum().backward()
    torch.testing.assert_close(logits.grad, torch.full_like(logits, 4.0))
