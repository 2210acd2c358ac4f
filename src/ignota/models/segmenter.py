"""The contract of every closed-set segmenter."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ignota.structures import Preprocessing, SegmenterOutput


@dataclass(frozen=True)
class Tap:
    """A place where features can be read: its number of channels and its stride in input pixels."""

    channels: int
    stride: int


class ClosedSetSegmenter(nn.Module, ABC):
    """A network that maps an image to logits of C known classes and to features by named tap.

    forward: images "B 3 H W" float, normalised by `preprocessing` -> SegmenterOutput with logits "B C h w" (not
    normalised) and features {tap: "B F h w"}, each at its own stride. Any H and W at least `multiple` are accepted.
    The tap `decoder` is the paper's feature map F (Section 3.1), the input of the label predictor G.
    """

    num_classes: int
    taps: dict[str, Tap]
    preprocessing: Preprocessing
    multiple: int = 1
    factory: str | None = None  # "package:function", where a factory made it
    class_names: tuple[str, ...] = ()  # in the order of the logits, where its files name them

    @abstractmethod
    def forward(self, images: Float[Tensor, "B 3 H W"]) -> SegmenterOutput: ...

    @abstractmethod
    def encoder_parameters(self) -> list[nn.Parameter]:
        """The parameters that start from pretrained weights and learn at the smaller rate."""

    def output_layers(self) -> list[nn.Module]:
        """The linear layers whose sum is the logits; none where they are not known."""
        return []

    def feature_parameters(self) -> list[nn.Parameter]:
        """The parameters of the paper's F, all below the label predictor G; the encoder's where G is not known."""
        return self.encoder_parameters()

    def head_parameters(self) -> list[nn.Parameter]:
        """All other parameters."""
        encoder = {id(parameter) for parameter in self.encoder_parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in encoder]


def pad_to_multiple(images: Float[Tensor, "B 3 H W"], multiple: int) -> Float[Tensor, "B 3 H2 W2"]:
    """Repeats the last row and column until both sides are divisible by `multiple`."""
    bottom, right = -images.shape[-2] % multiple, -images.shape[-1] % multiple
    return F.pad(images, (0, right, 0, bottom), mode="replicate") if bottom or right else images


def crop_to_image(grid: Float[Tensor, "B F h w"], height: int, width: int, stride: int) -> Float[Tensor, "B F h2 w2"]:
    """Drops the cells that lie wholly in the padding: ceil(H / stride) by ceil(W / stride) are left."""
    return grid[..., : -(-height // stride), : -(-width // stride)]


def resize_logits(logits: Float[Tensor, "B C h w"], size: tuple[int, int]) -> Float[Tensor, "B C H W"]:
    """Bilinear, to the size of the image."""
    return logits if logits.shape[-2:] == torch.Size(size) else F.interpolate(logits, size=size, mode="bilinear")
