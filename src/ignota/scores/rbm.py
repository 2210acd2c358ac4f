"""Reconstruction error of a restricted Boltzmann machine trained on road alone.

Creusot and Munawar, "Real-time Small Obstacle Detection on Highways using Compressive RBM Road Reconstruction", IEEE
Intelligent Vehicles Symposium 2015.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from ignota.scores.score import State, stacked
from ignota.scores.trained import Tick, TrainedScore, descend, ordered
from ignota.scores.windows import as_input, on_grid, picture, pixels_of, places
from ignota.structures import Encoding, InputError
from ignota.taxonomy import IGNORE_INDEX

_BATCH, _LR = 256, 2e-3
_STEP = 2


class RoadMachine(TrainedScore):
    """The mean square error with which windows of 8×8 pixels come back from `hidden` binary units.

    Road is the class that most often lies before the camera in training images: at the middle of their lowest quarter.
    The machine learns from windows that hold nothing else, by contrastive divergence. What is read is every second
    pixel's window, averaged where windows overlap, on an image with a short side of at most `short` pixels.
    """

    citation = "Creusot and Munawar, IV 2015"

    def __init__(
        self, short: int = 192, side: int = 8, hidden: int = 32, per_image: int = 200, steps: int = 2000
    ) -> None:
        self.short, self.side, self.hidden, self.per_image, self.steps = short, side, hidden, per_image, steps

    def observe(self, encoding: Encoding, label: UInt8[np.ndarray, "h w"], rng: np.random.Generator) -> State:
        seen, side = picture(encoding, label, self.short), self.side
        road = before_the_camera(seen.label)
        chosen = [] if road is None else places(seen.label == road, side, 1.0, self.per_image, rng)
        windows = [seen.image[None, y : y + side, x : x + side] for y, x in chosen]
        images = np.concatenate([np.zeros((0, side, side, 3), np.uint8), *windows])
        owner = torch.full((len(images),), IGNORE_INDEX if road is None else road, dtype=torch.uint8)
        return {"images": torch.from_numpy(images), "owner": owner}

    def train(self, observations: Sequence[State], seed: int, tick: Tick) -> State:
        seen = ordered(observations)
        images, owner = stacked(seen, "images"), stacked(seen, "owner")
        if not len(owner):
            raise InputError(f"no window of {self.side} pixels before the camera is of one class: check the labels")
        v = as_input(images[owner == owner.mode().values]).flatten(1)
        shift, scale = v.mean(0), v.std(0, correction=0).clamp(min=1e-2)
        units = (v - shift) / scale
        generator = torch.Generator().manual_seed(seed)
        weight = (torch.randn(units.shape[1], self.hidden, generator=generator) * 0.01).requires_grad_()
        a, b = torch.zeros(units.shape[1], requires_grad=True), torch.zeros(self.hidden, requires_grad=True)

        def loss() -> Tensor:
            picked = units[torch.randint(len(units), (min(_BATCH, len(units)),), generator=generator)]
            return contrastive_divergence(picked, weight, a, b, generator)

        descend([weight, a, b], loss, self.steps, _LR, tick)
        return {"weight": weight.detach(), "a": a.detach(), "b": b.detach(), "shift": shift, "scale": scale}

    def score(self, encoding: Encoding, state: State) -> Float[Tensor, "h w"]:
        image = pixels_of(encoding, self.short)
        size = (image.shape[-2], image.shape[-1])
        reach = self.side // 2
        padded = F.pad(image, (reach,) * 4, mode="replicate")
        windows = F.unfold(padded, self.side, stride=_STEP)[0].T
        units = (windows - state["shift"]) / state["scale"]
        error = reconstruction_error(units, state["weight"], state["a"], state["b"])
        grid = error.view((size[0] + 2 * reach - self.side) // _STEP + 1, -1)
        smooth = F.avg_pool2d(grid[None, None], reach + 1, stride=1, padding=reach // 2, count_include_pad=False)
        return on_grid(smooth[0, 0], encoding)


def before_the_camera(label: UInt8[np.ndarray, "H W"]) -> int | None:
    """The most frequent class in the middle half of the lowest quarter, if anything is labelled there."""
    height, width = label.shape
    near = label[height - max(1, height // 4) :, width // 4 : max(width // 4 + 1, 3 * width // 4)]
    classes, counts = np.unique(near[near != IGNORE_INDEX], return_counts=True)
    return int(classes[counts.argmax()]) if len(classes) else None


def hidden(v: Float[Tensor, "N V"], weight: Float[Tensor, "V H"], b: Float[Tensor, " H"]) -> Float[Tensor, "N H"]:
    """p(h = 1 | v) = σ(b + Wᵀ v)."""
    return torch.sigmoid(v @ weight + b)


def visible(h: Float[Tensor, "N H"], weight: Float[Tensor, "V H"], a: Float[Tensor, " V"]) -> Float[Tensor, "N V"]:
    """The mean of p(v | h): a + W h."""
    return h @ weight.T + a


def free_energy(
    v: Float[Tensor, "N V"], weight: Float[Tensor, "V H"], a: Float[Tensor, " V"], b: Float[Tensor, " H"]
) -> Float[Tensor, " N"]:
    """-log Σ_h exp(-E(v, h)) = ½ ‖v - a‖² - Σ_j log(1 + exp(b_j + W_jᵀ v))."""
    return (v - a).square().sum(1) / 2 - F.softplus(v @ weight + b).sum(1)


def contrastive_divergence(
    v: Float[Tensor, "N V"],
    weight: Float[Tensor, "V H"],
    a: Float[Tensor, " V"],
    b: Float[Tensor, " H"],
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """A loss whose gradient is that of CD-1: the free energy of the data minus that of one step of Gibbs sampling.

    Hidden units are drawn, visible ones take their mean, as is usual for real visible units.
    """
    with torch.no_grad():
        drawn = torch.bernoulli(hidden(v, weight, b), generator=generator)
        dreamt = visible(drawn, weight, a)
    return free_energy(v, weight, a, b).mean() - free_energy(dreamt, weight, a, b).mean()


def reconstruction_error(
    v: Float[Tensor, "N V"], weight: Float[Tensor, "V H"], a: Float[Tensor, " V"], b: Float[Tensor, " H"]
) -> Float[Tensor, " N"]:
    """The mean square of v - (a + W σ(b + Wᵀ v)) over visible units."""
    return (v - visible(hidden(v, weight, b), weight, a)).square().mean(1)
