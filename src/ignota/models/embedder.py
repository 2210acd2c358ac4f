"""D of Equation 3: two fully connected layers from a region's features to its embedding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


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
