"""Windows of training images, for scores that learn from the image itself rather than from features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from ignota.data.images import fit_short_side, resize_image, resize_label
from ignota.scores.score import State
from ignota.structures import Encoding, InputError
from ignota.taxonomy import IGNORE_INDEX

GREY = 128
"""What void pixels are painted over with."""


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
