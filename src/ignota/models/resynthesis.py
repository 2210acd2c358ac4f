"""Two small networks: one draws an image from its labels, the other detects where drawing and image differ.

After Lis, Nakka, Fua and Salzmann, "Detecting the Unexpected via Image Resynthesis", ICCV 2019, at a fraction of
its size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 16
"""Sides of pictures are divisible by it."""


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.GroupNorm(8, outputs), nn.ReLU())


class Generator(nn.Module):
    """labels one-hot "B C H W" -> picture "B 3 H W" in -1..1: a U-Net at strides 2 to 8."""

    def __init__(self, classes: int, width: int = 24) -> None:
        super().__init__()
        self.enter = nn.Conv2d(4 * classes, width, 1)
        self.to_quarter, self.to_eighth = _block(width, 2 * width, 2), _block(2 * width, 4 * width, 2)
        self.deep = nn.Sequential(_block(4 * width, 4 * width), _block(4 * width, 4 * width))
        self.up, self.out = _block(6 * width, 2 * width), _block(3 * width, width)
        self.paint = nn.Conv2d(width, 12, 3, 1, 1)

    def forward(self, labels: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 3 H W"]:
        first = self.enter(F.pixel_unshuffle(labels, 2)).relu()
        second = self.to_quarter(first)
        third = self.deep(self.to_eighth(second))
        second = self.up(torch.cat([_twice(third), second], 1))
        first = self.out(torch.cat([_twice(second), first], 1))
        return F.pixel_shuffle(self.paint(first), 2).tanh()


class DiscrepancyNet(nn.Module):
    """Features of picture and drawing at strides 4, 8, 16 and the labels -> logit "B H/4 W/4" of a discrepancy.

    At each stride it sees both pictures' features, their correlation (the cosine over channels), and the labels.
    channels: of the features, the finest first.
    """

    def __init__(self, classes: int, channels: Sequence[int], width: int = 32) -> None:
        super().__init__()
        self.looks = nn.ModuleList(nn.Conv2d(2 * count, width, 1) for count in channels)
        self.labels = nn.Conv2d(classes, 8, 1)
        inputs = [width + 1 + 8 + (width if i < len(channels) - 1 else 0) for i in range(len(channels))]
        self.blocks = nn.ModuleList(_block(count, width) for count in inputs)
        self.last = nn.Conv2d(width, 1, 1)

    def forward(
        self,
        seen: Sequence[Float[Tensor, "B F h w"]],
        drawn: Sequence[Float[Tensor, "B F h w"]],
        labels: Float[Tensor, "B C H W"],
    ) -> Float[Tensor, "B h w"]:
        above: Tensor | None = None
        for i in reversed(range(len(seen))):
            size = (seen[i].shape[-2], seen[i].shape[-1])
            both = self.looks[i](torch.cat([seen[i], drawn[i]], 1)).relu()
            alike = F.cosine_similarity(seen[i], drawn[i], dim=1)[:, None]
            parts = [both, alike, self.labels(F.adaptive_avg_pool2d(labels, size))]
            above = self.blocks[i](torch.cat(parts if above is None else [*parts, _twice(above)], 1))
        assert above is not None
        return self.last(above)[:, 0]


def _twice(grid: Tensor) -> Tensor:
    return F.interpolate(grid, scale_factor=2, mode="nearest")
