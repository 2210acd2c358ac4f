"""A small convolutional autoencoder; it reconstructs badly what it was not trained on."""

from __future__ import annotations

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

STRIDE = 8


class Autoencoder(nn.Module):
    """images "B 3 H W" in -1..1, sides divisible by 8 -> the same through `code` channels at stride 8."""

    def __init__(self, width: int = 24, code: int = 16) -> None:
        super().__init__()
        down = [3, width, 2 * width, 4 * width]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(down):
            layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.ReLU()]
        layers += [nn.Conv2d(down[-1], code, 1), nn.Conv2d(code, down[-1], 1), nn.ReLU()]
        for inputs, outputs in pairwise(down[::-1]):
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1], nn.Tanh())

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        return self.layers(images)
