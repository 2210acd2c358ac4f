"""Prepares networks for inference: folds batch normalisation into convolutions, and runs them in bfloat16."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ignota.models.depthwise import use_plain_depthwise

Network = TypeVar("Network", bound=nn.Module)
_WEIGHTED = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm, nn.ConvTranspose2d, nn.Embedding)
_FINE = 8


class FixedSame(nn.Module):
    """TensorFlow's "same" convolution where sides are multiples of its stride: its padding is then a constant.

    Equal to timm's Conv2dSame there, whose padding is computed again from each input.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        kernel, stride, dilation = convolution.kernel_size, convolution.stride, convolution.dilation
        rows, columns = (max(0, (k - 1) * d + 1 - s) for k, s, d in zip(kernel, stride, dilation, strict=True))
        self.padding = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        self.weight, self.bias = convolution.weight, convolution.bias
        self.stride, self.dilation, self.groups = convolution.stride, convolution.dilation, convolution.groups

    def forward(self, x: Float[Tensor, "B F H W"]) -> Float[Tensor, "B G h w"]:
        left, right, top, bottom = self.padding
        if left == right and top == bottom:
            return F.conv2d(x, self.weight, self.bias, self.stride, (top, left), self.dilation, self.groups)
        return F.conv2d(F.pad(x, self.padding), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def with_fixed_padding(network: Network) -> Network:
    """Changes every "same" convolution below `network` to FixedSame, in place; returns the network."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Conv2dSame):
                setattr(parent, name, FixedSame(child))
    return network


@torch.no_grad()
def folded(network: Network, probe: Float[Tensor, "1 3 H W"]) -> Network:
    """A copy whose batch normalisations are folded into the convolutions before them, as far as that changes nothing.

    Which normalisation follows which convolution is guessed from the order in which modules stand in their parent; one
    pass of `probe` through both networks tells whether the guess was right, and if not the copy is left as it is.
    """
    plain, quick = copy.deepcopy(network), use_plain_depthwise(copy.deepcopy(network))  # those know no bias
    for parent in quick.modules():
        _fold_children(parent)
    expected, found = _leaves(plain(probe)), _leaves(quick(probe))
    same = len(expected) == len(found) and all(
        a.shape == b.shape and torch.allclose(a, b, rtol=1e-3, atol=1e-3 * float(a.abs().max()))
        for a, b in zip(expected, found, strict=True)
    )
    return quick if same else plain


def _fold_children(parent: nn.Module) -> None:
    children = list(parent.named_children())
    for (name, convolution), (follower, norm) in pairwise(children):
        if not isinstance(convolution, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
            continue
        if convolution.out_channels != norm.num_features or norm.running_mean is None or norm.running_var is None:
            continue
        weight, bias = fuse_conv_bn_weights(
            convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        twin = copy.copy(convolution)
        twin._parameters = dict(convolution._parameters)
        twin.weight, twin.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
        setattr(parent, name, twin)
        rest = nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()
        setattr(parent, follower, rest)


def _leaves(output: object) -> list[Tensor]:
    """All tensors of what a network returned, in order."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict):
        return [leaf for value in output.values() for leaf in _leaves(value)]
    if isinstance(output, (list, tuple)):
        return [leaf for value in output for leaf in _leaves(value)]
    return [leaf for value in vars(output).values() for leaf in _leaves(value)]


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 itself; elsewhere it would be slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = getattr(torch.backends.cpu, "get_cpu_capability", lambda: "")()
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()) and "AVX512" in capabilities


@torch.no_grad()
def in_bfloat16(network: Network, probe: Float[Tensor, "1 3 H W"]) -> Network:
    """A copy in bfloat16, with folded normalisations, whose first layers stay in float32.

    Those are the ones before the image is reduced to an eighth of its sides: what they round away no later layer gives
    back. On CamVid they bring the labels that change from 0.3 % down to 0.1 %, and cost little, as they are narrow.
    Inputs in float32 are taken; outputs are of either type.
    """
    quick = folded(copy.deepcopy(network).float().eval(), probe)
    early = _early(quick, probe)
    for module in quick.modules():
        if module not in early:
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.bfloat16()
            for name, value in module.named_buffers(recurse=False):
                if value.is_floating_point():
                    setattr(module, name, value.bfloat16())
        if isinstance(module, _WEIGHTED):
            module.register_forward_pre_hook(_cast)
    return quick


def _cast(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    weight = getattr(module, "weight", None)
    if weight is None:
        return inputs
    return tuple(
        value.to(weight.dtype) if isinstance(value, Tensor) and value.is_floating_point() else value for value in inputs
    )


def _early(network: nn.Module, probe: Tensor) -> set[nn.Module]:
    """The convolutions that run before the first whose output is an eighth of the image high, and their norms."""
    called: list[tuple[nn.Module, int, int]] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        called.append((module, inputs[0].shape[-2], output.shape[-2]))

    hooks = [
        module.register_forward_hook(note)
        for module in network.modules()
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d))
    ]
    network(probe)
    for hook in hooks:
        hook.remove()
    found = set()
    for module, _, height in called:
        if height * _FINE <= called[0][1]:
            break
        found.add(module)
    return found
