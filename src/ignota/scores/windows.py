"""Windows of training images, for scores that learn from the image itself, and how badly an autoencoder draws them.

Baur, Wiestler, Albarqouni and Navab, "Deep Autoencoding Models for Unsupervised Anomaly Segmentation in Brain MR
Images", MICCAI workshops 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from ignota.data.images import fit_short_side, resize_image, resize_label
from ignota.scores.score import State, stacked
from ignota.scores.trained import Tick, TrainedScore, descend, initialised, ordered, packed, unpacked
from ignota.structures import Encoding, InputError
from ignota.taxonomy import IGNORE_INDEX

GREY = 128
"""What void pixels are painted over with."""
_BATCH, _LR = 16, 2e-3
STRIDE = 8


@dataclass(frozen=True)
class Picture:
    """A training image at the size that a score looks at, without a trace of what its void pixels show.

    image: "H W 3". label: "H W" training ids, 255 void.
    """

    image: UInt8[np.ndarray, "H W 3"]
    label: UInt8[np.ndarray, "H W"]


def seen_at(encoding: Encoding, short: int) -> UInt8[np.ndarray, "H W 3"]:
    """The working image with a short side of at most `short` pixels."""
    height, width = encoding.image.shape[:2]
    return resize_image(encoding.image, fit_short_side(height, width, min(short, height, width)))


def picture(encoding: Encoding, label: UInt8[np.ndarray, "h w"], short: int) -> Picture:
    """A training image with its label; void pixels are grey before anything is made smaller, so that none bleeds."""
    full = resize_label(label, (encoding.image.shape[0], encoding.image.shape[1]))
    clean = np.where((full == IGNORE_INDEX)[:, :, None], np.uint8(GREY), encoding.image)
    height, width = full.shape
    size = fit_short_side(height, width, min(short, height, width))
    return Picture(resize_image(clean, size), resize_label(full, size))


def places(
    wanted: Bool[np.ndarray, "H W"], side: int, share: float, most: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Corners (y, x) of at most `most` random windows of `side` pixels, a share of each at least being wanted."""
    height, width = wanted.shape
    if height < side or width < side:
        return []
    sums = np.pad(wanted.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    found = np.flatnonzero(inside.ravel() >= max(1.0, share * side * side))
    chosen = rng.choice(found, min(most, len(found)), replace=False)
    return [(int(place) // inside.shape[1], int(place) % inside.shape[1]) for place in chosen]


def of_one_size(observations: Sequence[State], name: str) -> list[State]:
    """Those whose windows are as large as any; images that are too narrow for that have smaller ones or none.

    Raises InputError where there is no window at all.
    """
    found = [observation for observation in observations if len(observation[name])]
    if not found:
        raise InputError("no window of the training images is labelled for the most part: check the labels")
    largest = max(observation[name].shape[1] for observation in found)
    return [observation for observation in found if observation[name].shape[1] == largest]


def as_input(images: UInt8[Tensor, "N H W 3"]) -> Float[Tensor, "N 3 H W"]:
    """Pictures in -1..1."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


def on_grid(values: Float[Tensor, "h w"], encoding: Encoding) -> Float[Tensor, "H W"]:
    """A map on the grid of the logits: averaged where that is coarser, bilinear where it is finer."""
    size = (encoding.logits.shape[-2], encoding.logits.shape[-1])
    return F.interpolate(values[None, None], size=size, mode="bilinear", antialias=True)[0, 0]


def pixels_of(encoding: Encoding, short: int) -> Float[Tensor, "1 3 H W"]:
    """The working image as a network's input, on the device of the logits."""
    return as_input(torch.from_numpy(np.ascontiguousarray(seen_at(encoding, short)))[None].to(encoding.logits.device))


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
