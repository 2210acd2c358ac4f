"""The quick backward pass of depthwise convolutions equals autograd's up to rounding."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from torch import Tensor, nn

from ignota.models.depthwise import _Depthwise, _DepthwiseSame, depthwise_conv2d, use_fast_depthwise

GEOMETRIES = [(k, s, d) for k in (3, 5) for s in (1, 2) for d in (1, 2, 3) if s == 1 or d == 1]


def _run(layer: nn.Module, x: Tensor, bfloat16: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Output and the gradients of the input and the kernel."""
    x = x.clone().requires_grad_()
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        y = layer(x)
    (y.float() * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
    assert x.grad is not None
    return y.detach(), x.grad, layer.get_parameter("weight").grad.clone()


@pytest.mark.parametrize(("kernel", "stride", "dilation"), GEOMETRIES)
@pytest.mark.parametrize("same", [False, True])
def test_equals_autograd(kernel: int, stride: int, dilation: int, same: bool) -> None:
    options = {"stride": stride, "dilation": dilation, "groups": 6, "bias": False}
    padding = 0 if same else dilation * (kernel // 2)
    slow = (Conv2dSame if same else nn.Conv2d)(6, 6, kernel, padding=padding, **options)
    fast = nn.Sequential((Conv2dSame if same else nn.Conv2d)(6, 6, kernel, padding=padding, **options))
    fast[0].load_state_dict(slow.state_dict())
    use_fast_depthwise(fast)
    assert type(fast[0]) is (_DepthwiseSame if same else _Depthwise)
    x = torch.randn(2, 6, 17, 22)
    exact, quick = _run(slow, x, bfloat16=False), _run(fast[0], x, bfloat16=True)
    assert quick[0].dtype == torch.bfloat16
    for name, reference, found in zip(("output", "input", "kernel"), exact, quick, strict=True):
        # bfloat16 keeps 8 bits; sums of a few dozen rounded terms stay within a hundredth of the largest value
        error = (found.float() - reference).abs().max() / reference.abs().max()
        assert error < 0.012, f"{name} is off by {error:.4f} of its largest value"
    for reference, found in zip(exact, _run(fast[0], x, bfloat16=False), strict=True):
        assert torch.equal(reference, found)  # float32 is autograd's own path


def test_padding_wider_than_the_kernel_takes_the_other_path() -> None:
    """A forward convolution cannot undo padding beyond the kernel's reach."""
    x, weight = torch.randn(1, 4, 9, 9), torch.randn(4, 1, 3, 3)
    grads = []
    for dtype in (torch.float32, torch.bfloat16):
        given = x.detach().to(dtype).clone().requires_grad_()
        depthwise_conv2d(given, weight.to(dtype), (1, 1), (4, 4), (1, 1)).float().square().sum().backward()
        grads.append(given.grad.float())
    assert (grads[0] - grads[1]).abs().max() < 0.05 * grads[0].abs().max()


def test_without_gradients_it_is_the_plain_convolution() -> None:
    x, weight = torch.randn(1, 4, 9, 9, dtype=torch.bfloat16), torch.randn(4, 1, 3, 3, dtype=torch.bfloat16)
    with torch.no_grad():
        assert torch.equal(
            depthwise_conv2d(x, weight, (1, 1), (1, 1), (1, 1)), F.conv2d(x, weight, padding=1, groups=4)
        )


def test_only_bias_free_depthwise_layers_change() -> None:
    layers = [
        nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 3, bias=False), nn.Conv2d(4, 8, 3, groups=4, bias=False),
        nn.Conv2d(1, 1, 3, bias=False), nn.Conv2d(4, 4, 3, groups=4, bias=False, padding="same"),
        nn.Conv2d(4, 4, 3, groups=4, bias=False, padding=1, padding_mode="reflect"),
    ]  # fmt: skip
    network = nn.Sequential(*layers, nn.Conv2d(4, 4, 3, groups=4, bias=False))
    names = list(network.state_dict())
    use_fast_depthwise(network)
    assert all(type(layer) is nn.Conv2d for layer in layers)
    assert type(network[-1]) is _Depthwise
    assert list(network.state_dict()) == names


def test_a_frozen_kernel_gets_no_gradient() -> None:
    weight = torch.randn(4, 1, 3, 3, dtype=torch.bfloat16)
    x = torch.randn(1, 4, 9, 9, dtype=torch.bfloat16, requires_grad=True)
    depthwise_conv2d(x, weight, (2, 2), (1, 1), (1, 1)).float().sum().backward()
    assert x.grad is not None and weight.grad is None
