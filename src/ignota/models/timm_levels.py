"""Any encoder of timm as a list of levels: how it is built and where its features are read, at any image size."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ignota.models.segmenter import Tap
from ignota.structures import InputError

_PLACE = re.compile(r"(block)?([0-9]{1,4})")
_DRAWING = (Tensor.uniform_, Tensor.normal_, Tensor.erfinv_, nn.init.uniform_, nn.init.normal_,
            nn.init.kaiming_uniform_)  # fmt: skip
_UNFIT = (RuntimeError, AssertionError, ValueError, TypeError, KeyError, IndexError, AttributeError,
          NotImplementedError)  # fmt: skip


class Undrawn(TorchFunctionMode):
    """Leaves out the drawing of random weights that loaded ones replace: most of the time that building takes."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _DRAWING:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def build_levels(encoder: str) -> Any:
    """timm's network of that registered name, its weights still to be loaded, for images of any size where it can be.

    Raises InputError where it cannot be built or its inner features cannot be read.
    """
    try:
        with Undrawn():
            try:
                network: Any = timm.create_model(encoder, dynamic_img_size=True)
            except TypeError:  # of a network that is of any size by itself, or never
                network = timm.create_model(encoder)
    except _UNFIT as error:
        raise InputError(f"timm cannot build {encoder}: {_cause(error)}") from None
    if not hasattr(network, "forward_intermediates") or not getattr(network, "feature_info", None):
        raise InputError(f"timm offers no inner features of {encoder}: choose another encoder")
    return network


def places(network: Any) -> list[Tap]:
    """Channels and stride of every level, the shallowest first: the stages of a pyramid, the blocks of a ViT."""
    return [Tap(int(level["num_chs"]), int(level["reduction"])) for level in network.feature_info]


def level_of(place: str, levels: Sequence[Tap], encoder: str) -> int:
    """The level that a tap's name means: "16" the deepest of that stride, "block8" the one of that index, from 0.

    Raises InputError that names those there are.
    """
    strides = [level.stride for level in levels]
    match = _PLACE.fullmatch(place)
    if match and match[1] and int(match[2]) < len(levels):
        return int(match[2])
    if match and not match[1] and int(match[2]) in strides:
        return len(levels) - 1 - strides[::-1].index(int(match[2]))
    where = f"stride {place}"[:20] if place.isdecimal() else repr(place[:20])
    raise InputError(
        f"{encoder} has no features at {where}; there are {sorted(set(strides))} and block0 to block{len(levels) - 1}"
    )


def prune(network: Any, levels: Sequence[int]) -> None:
    """Drops what no level needs: the classifier with its norm and, where all levels have one stride, later blocks.

    A pyramid keeps all its stages: the digests of worlds are of all of them.
    """
    count, strides = len(network.feature_info), {level.stride for level in places(network)}
    kept = max(levels, default=0) + 1 if len(strides) == 1 else count
    network.prune_intermediate_layers(list(range(kept)), prune_norm=True)


def fixed_size(network: Any) -> tuple[int, int] | None:
    """(H, W) of a network that takes images of no other size, by timm's own record."""
    free = getattr(getattr(network, "patch_embed", None), "strict_img_size", True) is False
    if free or not network.pretrained_cfg.get("fixed_input_size"):
        return None
    height, width = network.pretrained_cfg["input_size"][-2:]
    return height, width


def read_levels(
    network: Any, images: Float[Tensor, "B 3 H W"], levels: Sequence[int]
) -> list[Float[Tensor, "B F h w"]]:
    """The maps of `levels` (each once, in rising order), channels first."""
    found: list[Tensor] = network.forward_intermediates(
        images, indices=list(levels), stop_early=True, output_fmt="NCHW", intermediates_only=True
    )
    return found


def check_levels(network: Any, levels: Sequence[int], multiple: int, encoder: str) -> None:
    """Raises InputError unless a small image comes out of each level as wide and as deep as timm says."""
    if not levels:
        return
    height, width = fixed_size(network) or (2 * multiple, 3 * multiple)
    try:
        with torch.no_grad():
            grids = read_levels(network.eval(), torch.zeros(1, 3, height, width), levels)
    except _UNFIT as error:
        raise InputError(f"{encoder} takes no image of {height}×{width}: {_cause(error)}") from None
    for level, grid in zip(levels, grids, strict=True):
        tap = places(network)[level]
        expected = (1, tap.channels, height // tap.stride, width // tap.stride)
        if tuple(grid.shape) != expected:
            raise InputError(
                f"{encoder} gives {tuple(grid.shape)} at level {level} where timm says {expected}: choose another"
            )


def _cause(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:120]
