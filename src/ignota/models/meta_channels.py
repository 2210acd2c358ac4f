"""The head that splits a closed set's logits into known channels and meta channels (Section 3.3)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ignota.models.segmenter import ClosedSetSegmenter


class MetaChannelHead(nn.Module):
    """A 1×1 convolution from the C closed-set logits to C + M channels, the M meta channels last.

    identity: known channels start as the identity, so that training begins at the closed set's own answer, and meta
    channels small and random; without it all weights start as those of any convolution of PyTorch, as in the released
    code. Random numbers come from `generator`.
    """

    def __init__(
        self, num_classes: int, meta_channels: int, generator: torch.Generator | None = None, identity: bool = True
    ) -> None:
        super().__init__()
        self.num_classes, self.meta_channels = num_classes, meta_channels
        self.convolution = nn.Conv2d(num_classes, num_classes + meta_channels, 1)
        bias = self.convolution.get_parameter("bias")
        if not identity:
            limit = num_classes**-0.5
            for parameter in (self.convolution.weight, bias):
                nn.init.uniform_(parameter, -limit, limit, generator)
            return
        nn.init.zeros_(bias)
        with torch.no_grad():
            weight = torch.randn(num_classes + meta_channels, num_classes, generator=generator) * 0.05
            weight[:num_classes] = torch.eye(num_classes)
            self.convolution.weight.copy_(weight[:, :, None, None])

    def forward(self, logits: Float[Tensor, "B C h w"]) -> Float[Tensor, "B M h w"]:
        """Channel logits before any activation, "B C+M h w"."""
        return self.convolution(logits)


class MetaChannelNetwork(nn.Module):
    """A segmenter with meta channels on its logits: what stage 2 trains.

    forward: images "B 3 H W" -> the N closed-set logits "B C h w" and all N+K channel logits "B M h w".
    """

    def __init__(self, segmenter: ClosedSetSegmenter, head: MetaChannelHead) -> None:
        super().__init__()
        self.segmenter, self.head = segmenter, head

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, "B C h w"], Float[Tensor, "B M h w"]]:
        logits = self.segmenter(images).logits
        return logits, self.head(logits)
