"""Depthwise convolutions with a fast backward pass on a CPU in bfloat16.

oneDNN runs the forward pass of a bfloat16 depthwise convolution well, but takes reference kernels for much of the
backward pass: measured on 2 cores, the gradients of one 5×5 dilated layer took 50 times its forward pass. Here the
input gradient of a layer of stride 1 is itself a forward convolution with the flipped kernel, and the remaining
gradients are taken in float32, for which there are good kernels. The result differs from autograd's by rounding alone.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame, pad_same
from torch import Tensor, nn

Pair = tuple[int, int]
Network = TypeVar("Network", bound=nn.Module)


class _DepthwiseFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = (stride, padding, dilation)
        return F.conv2d(x, weight, None, stride, padding, dilation, weight.shape[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding, dilation = ctx.geometry
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        channels, kernel = weight.shape[0], weight.shape[2:]
        full = [d * (k - 1) - p for p, d, k in zip(padding, dilation, kernel, strict=True)]
        flips = tuple(stride) == (1, 1) and min(full) >= 0
        by_kernel = ctx.needs_input_grad[0] and not flips
        dx, dw, _ = torch.ops.aten.convolution_backward(
            gradient.float(), x.float(), weight.float(), [0], stride, padding, dilation, False, [0, 0], channels,
            [by_kernel, ctx.needs_input_grad[1], False],
        )  # fmt: skip
        if flips and ctx.needs_input_grad[0]:
            dx = F.conv2d(gradient, weight.flip(2, 3), None, 1, full, dilation, channels)
        return (
            None if dx is None else dx.to(x.dtype),
            None if dw is None else dw.to(weight.dtype),
            None,
            None,
            None,
        )


def depthwise_conv2d(x: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair) -> Tensor:
    """A depthwise convolution, x "B F H W" with weight "F 1 k k", in autocast's type where autocast is on."""
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(dtype), weight.to(dtype)
    if not torch.is_grad_enabled() or x.device.type != "cpu" or x.dtype != torch.bfloat16:
        return F.conv2d(x, weight, None, stride, padding, dilation, weight.shape[0])
    y: Tensor = _DepthwiseFunction.apply(x, weight, stride, padding, dilation)
    return y


class _Depthwise(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        (sy, sx), (dy, dx), (py, px) = self.stride, self.dilation, map(int, self.padding)
        return depthwise_conv2d(x, self.weight, (sy, sx), (py, px), (dy, dx))


class _DepthwiseSame(Conv2dSame):
    def forward(self, x: Tensor) -> Tensor:
        (sy, sx), (dy, dx) = self.stride, self.dilation
        x = pad_same(x, list(self.kernel_size), [sy, sx], [dy, dx])
        return depthwise_conv2d(x, self.weight, (sy, sx), (0, 0), (dy, dx))


def use_fast_depthwise(network: nn.Module) -> None:
    """Gives every bias-free depthwise convolution of `network` the backward pass above; weights and names stay."""
    for module in network.modules():
        if not isinstance(module, nn.Conv2d) or module.bias is not None:
            continue
        if module.groups == 1 or module.groups != module.in_channels or module.groups != module.out_channels:
            continue
        if type(module) is Conv2dSame:
            module.__class__ = _DepthwiseSame
        elif type(module) is nn.Conv2d and not isinstance(module.padding, str) and module.padding_mode == "zeros":
            module.__class__ = _Depthwise


def use_plain_depthwise(network: Network) -> Network:
    """Takes that back, in place, for a network that leaves Python; returns the network."""
    for module in network.modules():
        if type(module) is _Depthwise:
            module.__class__ = nn.Conv2d  # type: ignore[assignment]
        elif type(module) is _DepthwiseSame:
            module.__class__ = Conv2dSame  # type: ignore[assignment]
    return network
