"""The large networks of a world as exportable modules: image bytes in, logits and taps out, any size.

Padding to whole cells is a gather and "same" convolutions pad by constants, so that one graph serves every size.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ignota.models.depthwise import use_plain_depthwise
from ignota.models.folding import with_fixed_padding
from ignota.models.frozen_encoder import FrozenEncoder
from ignota.models.onnx_segmenter import OnnxSegmenter
from ignota.models.segmenter import ClosedSetSegmenter, Tap
from ignota.structures import InputError, Preprocessing

SMALLEST_SIDE = 33
"""Of the images that a graph takes: more than one cell of stride 32, as tracers treat sizes of 1 apart."""


class PortableSegmenter(nn.Module):
    """A copy of the segmenter without anything that depends on the size of the image.

    forward: image "H W 3" uint8 -> {"logits": "1 C h w", tap: "1 F h w"}, as the network has them up to rounding; of
    `taps` those that it has. Raises InputError for a segmenter that takes one size alone.
    """

    def __init__(self, segmenter: ClosedSetSegmenter, taps: Sequence[str]) -> None:
        super().__init__()
        if isinstance(segmenter, OnnxSegmenter):
            raise InputError("this world's segmenter is an ONNX file already: take that")
        if getattr(segmenter, "fixed_size", None) is not None:
            raise InputError(f"this segmenter takes images of {segmenter.fixed_size} alone: export it by its own means")
        self.segmenter: Any = _portable(segmenter)
        self.names = ("logits", *(tap for tap in taps if tap in segmenter.taps))
        """The outputs in order."""

    def forward(self, image: UInt8[Tensor, "H W 3"]) -> dict[str, Float[Tensor, "1 F h w"]]:
        height, width = image.shape[:2]
        output = self.segmenter(_grown(_normalised(image, self.segmenter.preprocessing), self.segmenter.multiple))
        stride = self.segmenter.logits_stride
        found = {"logits": _cropped(output.logits, height, width, stride)}
        for name, tap in self.segmenter.taps.items():
            found[name] = _cropped(output.features[name], height, width, tap.stride)
        return {name: found[name] for name in self.names}


class PortableEncoder(nn.Module):
    """The same of the frozen encoder; forward: image "H W 3", values 0..255 -> {tap: "1 F h w"}. Raises the same."""

    def __init__(self, frozen: FrozenEncoder, taps: Sequence[str]) -> None:
        super().__init__()
        if frozen.fixed_size is not None:
            raise InputError(f"{frozen.encoder_name} takes images of {frozen.fixed_size} alone: take --backend torch")
        self.frozen: Any = _portable(frozen)
        self.names = tuple(tap for tap in taps if tap in frozen.taps)
        """The outputs in order."""

    def forward(self, image: Float[Tensor, "H W 3"] | UInt8[Tensor, "H W 3"]) -> dict[str, Float[Tensor, "1 F h w"]]:
        height, width = image.shape[:2]
        grids = self.frozen.grids(_grown(_normalised(image, self.frozen.preprocessing), self.frozen.multiple))
        taps: dict[str, Tap] = self.frozen.taps
        return {name: _cropped(grids[name], height, width, taps[name].stride) for name in self.names}


def _portable(network: nn.Module) -> nn.Module:
    twin = copy.deepcopy(network).cpu().float().eval().requires_grad_(False).to(memory_format=torch.contiguous_format)
    return with_fixed_padding(use_plain_depthwise(twin))


def _normalised(image: Tensor, preprocessing: Preprocessing) -> Float[Tensor, "1 3 H W"]:
    mean, std = (torch.tensor(v) * 255 for v in (preprocessing.mean, preprocessing.std))
    return ((image.float() - mean) / std).permute(2, 0, 1)[None]


def _grown(images: Float[Tensor, "1 3 H W"], multiple: int) -> Float[Tensor, "1 3 H2 W2"]:
    """`pad_to_multiple` without asking whether there is anything to pad: rows and columns are gathered."""
    if multiple == 1:
        return images
    for dim in (2, 3):
        side = images.shape[dim]
        index = torch.arange(multiple * ((side + multiple - 1) // multiple)).clamp(max=side - 1)
        images = images.index_select(dim, index)
    return images


def _cropped(grid: Tensor, height: int, width: int, stride: int) -> Tensor:
    """`crop_to_image` by gathering: a slice would ask whether anything is cut off."""
    for dim, side in ((2, height), (3, width)):
        if stride > 1:
            grid = grid.index_select(dim, torch.arange((side + stride - 1) // stride))
    return grid
