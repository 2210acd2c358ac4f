"""The large networks of a world as one module that leaves Python: image bytes in, logits and taps out, any size."""

from __future__ import annotations

import copy
from fractions import Fraction
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ignota.models.depthwise import use_plain_depthwise
from ignota.models.folding import with_fixed_padding
from ignota.models.frozen_encoder import FrozenEncoder
from ignota.models.segmenter import ClosedSetSegmenter, Tap
from ignota.structures import InputError, Preprocessing

SMALLEST_SIDE = 33
"""Of the images that a graph takes: more than one cell of stride 32, as tracers treat sizes of 1 apart."""


class PortableNetworks(nn.Module):
    """Copies of the segmenter and the frozen encoder without anything that depends on the size of the image.

    forward: image "H W 3" uint8 -> {"logits": "1 C h w", tap: "1 F h w"}, as `Networks.encode` has them up to rounding.
    Padding to whole cells is a gather and "same" convolutions pad by constants, so that one graph serves every size.
    Raises InputError for a segmenter that takes one size alone, and for an encoder that sees the image reduced.
    """

    def __init__(self, segmenter: ClosedSetSegmenter, frozen: FrozenEncoder | None, taps: tuple[str, ...]) -> None:
        super().__init__()
        if getattr(segmenter, "fixed_size", None) is not None:
            raise InputError(f"this segmenter takes images of {segmenter.fixed_size} alone: export it by its own means")
        read = frozen is not None and any(tap in frozen.taps for tap in taps)
        if frozen is not None and read and frozen.magnify < 1:  # by area, which not every runtime can
            raise InputError(
                "this world's frozen encoder sees the image reduced, which no graph can do: "
                "take --backend torch, or train with fit.magnify 1 or more"
            )
        self.segmenter: Any = _portable(segmenter)
        self.frozen: Any = _portable(frozen) if frozen is not None and read else None
        self.taps = taps

    @property
    def names(self) -> tuple[str, ...]:
        """The outputs in order."""
        return ("logits", *self.taps)

    def forward(self, image: UInt8[Tensor, "H W 3"]) -> dict[str, Float[Tensor, "1 F h w"]]:
        height, width = image.shape[:2]
        output = self.segmenter(_grown(_normalised(image, self.segmenter.preprocessing), self.segmenter.multiple))
        stride = self.segmenter.logits_stride
        found = {"logits": _cropped(output.logits, height, width, stride)}
        for name, tap in self.segmenter.taps.items():
            found[name] = _cropped(output.features[name], height, width, tap.stride)
        if self.frozen is not None:
            found |= self._frozen_taps(image)
        return {name: found[name] for name in self.names}

    def _frozen_taps(self, image: Tensor) -> dict[str, Tensor]:
        pixels, magnify = _normalised(image, self.frozen.preprocessing), self.frozen.magnify
        height, width = image.shape[:2]
        if magnify != 1:
            share = Fraction(magnify).limit_denominator(1000)
            height, width = (side * share.numerator // share.denominator for side in (height, width))
            pixels = torch.ops.aten.upsample_bilinear2d(pixels, [height, width], False, magnify, magnify)
        stages = self.frozen.network(_grown(pixels, 32))
        taps: dict[str, Tap] = self.frozen.taps
        return {
            name: _cropped(stages[level], height, width, tap.stride)
            for (name, tap), level in zip(taps.items(), self.frozen.levels, strict=True)
        }


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
