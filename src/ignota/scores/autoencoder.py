"""Reconstruction error of an autoencoder trained on training images alone.

Baur, Wiestler, Albarqouni and Navab, "Deep Autoencoding Models for Unsupervised Anomaly Segmentation in Brain MR
Images", MICCAI workshops 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from ignota.scores.score import State, stacked
from ignota.scores.trained import Tick, TrainedScore, descend, initialised, ordered, packed, unpacked
from ignota.scores.windows import as_input, of_one_size, on_grid, picture, pixels_of, places
from ignota.structures import Encoding
from ignota.taxonomy import IGNORE_INDEX

_BATCH, _LR = 16, 2e-3
STRIDE = 8


class Reconstruction(TrainedScore):
    """Σ (x - x̂)² / 3 over colours, x̂ the picture as the autoencoder draws it.

    It learns from random windows, half of which at least are labelled; void pixels are grey and their error does not
    count. The image has a short side of at most `short` pixels.
    """

    citation = "Baur et al., MICCAIW 2018"

    def __init__(self, short: int = 192, side: int = 64, per_image: int = 8, steps: int = 600) -> None:
        self.short, self.side, self.per_image, self.steps = short, side, per_image, steps

    def observe(self, encoding: Encoding, label: UInt8[np.ndarray, "h w"], rng: np.random.Generator) -> State:
        seen = picture(encoding, label, self.short)
        labelled = seen.label != IGNORE_INDEX
        side = min(self.side, min(labelled.shape) // STRIDE * STRIDE)
        chosen = places(labelled, side, 0.5, self.per_image, rng) if side else []
        windows = [np.s_[y : y + side, x : x + side] for y, x in chosen]
        empty = np.zeros((0, side, side, 3), np.uint8)
        images = np.concatenate([empty, *(seen.image[None][:, w[0], w[1]] for w in windows)])
        masks = np.concatenate([empty[..., 0], *(labelled[None][:, w[0], w[1]].astype(np.uint8) for w in windows)])
        return {"images": torch.from_numpy(images), "labelled": torch.from_numpy(masks)}

    def train(self, observations: Sequence[State], seed: int, tick: Tick) -> State:
        seen = ordered(of_one_size(observations, "images"))
        images, labelled = stacked(seen, "images"), stacked(seen, "labelled")
        generator = torch.Generator().manual_seed(seed)
        network = initialised(Autoencoder(), generator)

        def loss() -> Tensor:
            picked = torch.randint(len(images), (_BATCH,), generator=generator)
            batch, counts = as_input(images[picked]), labelled[picked]
            error = (network(batch) - batch).square().mean(1)
            return (error * counts).sum() / counts.sum()

        descend(list(network.parameters()), loss, self.steps, _LR, tick)
        return packed(network, "network")

    def score(self, encoding: Encoding, state: State) -> Float[Tensor, "h w"]:
        image = pixels_of(encoding, self.short)
        height, width = image.shape[-2:]
        padded = F.pad(image, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        with torch.device("meta"):
            network = Autoencoder()
        drawn = functional_call(network, unpacked(state, "network"), (padded,))
        return on_grid((drawn - padded).square().mean(1)[0, :height, :width], encoding)


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
