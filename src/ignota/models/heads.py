"""The networks that RAML adds to a segmenter: the head of its meta channels (Section 3.3), and D (Equation 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ignota.models.segmenter import ClosedSetSegmenter


class RegionEmbedder(nn.Module):
    """Region vectors "R F", standardised by the training set's statistics, to unit embeddings "R D".

    f_object = D(mean of F over the region), RAML Equation 3. The classifier over known classes is the released code's
    auxiliary cross entropy; it is used in training alone.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: int, num_classes: int, hidden: int = 256, embedding: int = 128) -> None:
        super().__init__()
        self.first = nn.Linear(features, hidden)
        self.second = nn.Linear(hidden, embedding)
        self.classifier = nn.Linear(embedding, num_classes, bias=False)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))

    def raw(self, vectors: Float[Tensor, "R F"]) -> Float[Tensor, "R D"]:
        """The embedding before normalisation."""
        return self.second(F.relu(self.first((vectors - self.mean) / self.std)))

    def forward(self, vectors: Float[Tensor, "R F"]) -> Float[Tensor, "R D"]:
        return F.normalize(self.raw(vectors), dim=-1)


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
