"""Joint augmentation of image and label, each a pure function of a numpy generator.

Everything stays uint8 in OpenCV: several times faster on few cores than float tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8

from ignota.data.images import resize_image, resize_label
from ignota.taxonomy import IGNORE_INDEX

_GREY_WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601, as torchvision takes them
_STRIDE = 4  # rare classes are looked for on every fourth pixel


@dataclass(frozen=True)
class Augmentation:
    """How a training sample is varied.

    crop: (H, W) of what comes out. scale: range of the random magnification. flip: mirror left and right half of the
    time. jitter: brightness, contrast and saturation are multiplied by a factor from 1-jitter..1+jitter.
    rare_class_probability: how often the crop is made to hold a pixel of a class drawn from those in the image with
    `rare_class_weights` (by class id; empty: all alike; classes beyond its end are never drawn).
    """

    crop: tuple[int, int]
    scale: tuple[float, float] = (0.75, 2.0)
    flip: bool = True
    jitter: float = 0.3
    rare_class_probability: float = 0.0
    rare_class_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if min(self.crop) < 1:
            raise ValueError(f"a crop has at least one pixel, not {self.crop}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale is a range (low, high) above 0, not {self.scale}")
        if self.jitter < 0 or not 0 <= self.rare_class_probability <= 1:
            raise ValueError(f"jitter {self.jitter} or probability {self.rare_class_probability} is out of range")
        if any(weight < 0 for weight in self.rare_class_weights):
            raise ValueError("weights of rare classes are not negative")


def sample_generator(seed: int, stage: int, step: int, index: int) -> np.random.Generator:
    """The generator of one training sample: the same arguments give the same stream, which makes resuming exact."""
    return np.random.default_rng([seed, stage, step, index])


def augment(
    image: UInt8[np.ndarray, "H W 3"],
    label: UInt8[np.ndarray, "H W"],
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"]]:
    """A random view of an image and its label, of the size `augmentation.crop`.

    What the crop sees beyond the picture is void (255) in the label and the crop's mean colour in the image.
    """
    scale = float(rng.uniform(*augmentation.scale))
    anchor = _rare_pixel(label, augmentation, rng)
    rows = _window(label.shape[0], augmentation.crop[0], scale, anchor and anchor[0], rng)
    columns = _window(label.shape[1], augmentation.crop[1], scale, anchor and anchor[1], rng)
    image, label = _cut(image, label, rows, columns, augmentation.crop)
    if augmentation.flip and rng.random() < 0.5:
        image, label = image[:, ::-1], label[:, ::-1]
    image = jitter_colours(np.ascontiguousarray(image), augmentation.jitter, rng)
    return image, np.ascontiguousarray(label)


def jitter_colours(
    image: UInt8[np.ndarray, "H W 3"], strength: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "H W 3"]:
    """Brightness, contrast and saturation in random order, each by a factor from max(0, 1-strength)..1+strength."""
    if strength == 0:
        return image
    adjustments = (adjust_brightness, adjust_contrast, adjust_saturation)
    factors = rng.uniform(max(0.0, 1.0 - strength), 1.0 + strength, len(adjustments))
    for which in rng.permutation(len(adjustments)):
        image = adjustments[which](image, float(factors[which]))
    return image


def distort(image: UInt8[np.ndarray, "H W 3"], strength: float, rng: np.random.Generator) -> UInt8[np.ndarray, "H W 3"]:
    """The picture as another camera might take it: colours, tint, blur and noise, all drawn at random.

    strength: 0 changes nothing; 1 multiplies brightness, contrast and saturation by 0.4..1.6 and each channel by
    0.8..1.2, blurs half of the pictures by up to 1.5 pixels, and adds noise of up to 10 grey levels.
    """
    if strength == 0:
        return image
    seen = jitter_colours(image, 0.6 * strength, rng)
    if rng.random() < 0.5:
        seen = np.asarray(cv2.GaussianBlur(seen, (0, 0), 0.01 + 1.5 * strength * float(rng.random())), np.uint8)
    tint = rng.uniform(1 - 0.2 * strength, 1 + 0.2 * strength, 3)
    noise = rng.normal(0, rng.uniform(0, 10 * strength), seen.shape)
    return np.clip(np.rint(seen * tint + noise), 0, 255).astype(np.uint8)


def adjust_brightness(image: UInt8[np.ndarray, "H W 3"], factor: float) -> UInt8[np.ndarray, "H W 3"]:
    """factor · image: 0 is black, 1 changes nothing."""
    return _map_values(image, factor, 0.0)


def adjust_contrast(image: UInt8[np.ndarray, "H W 3"], factor: float) -> UInt8[np.ndarray, "H W 3"]:
    """factor · image + (1 - factor) · mean grey of the picture: 0 is flat grey, 1 changes nothing."""
    mean = np.dot(cv2.mean(image)[:3], _GREY_WEIGHTS)
    return _map_values(image, factor, (1.0 - factor) * float(mean))


def adjust_saturation(image: UInt8[np.ndarray, "H W 3"], factor: float) -> UInt8[np.ndarray, "H W 3"]:
    """factor · image + (1 - factor) · grey of each pixel: 0 is grey, 1 changes nothing."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(image, factor, grey, 1.0 - factor, 0.0), np.uint8)


def _map_values(image: UInt8[np.ndarray, "H W 3"], factor: float, offset: float) -> UInt8[np.ndarray, "H W 3"]:
    table = np.clip(np.rint(np.arange(256) * factor + offset), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table), np.uint8)


@dataclass(frozen=True)
class _Window:
    """Along one axis: what is read of the picture (start, stop) and where it lands in the crop (at, length)."""

    start: int
    stop: int
    at: int
    length: int


def _window(size: int, crop: int, scale: float, anchor: int | None, rng: np.random.Generator) -> _Window:
    """A random place for a crop of `crop` pixels on an axis of `size` pixels magnified by `scale`."""
    seen = max(1, round(crop / scale))
    if seen <= size:
        low, high = 0, size - seen
        if anchor is not None:
            low, high = max(low, anchor - seen + 1), min(high, anchor)
        start = int(rng.integers(low, high + 1))
        return _Window(start, start + seen, 0, crop)
    length = min(crop, max(1, round(size * scale)))
    return _Window(0, size, int(rng.integers(0, crop - length + 1)), length)


def _cut(
    image: UInt8[np.ndarray, "H W 3"],
    label: UInt8[np.ndarray, "H W"],
    rows: _Window,
    columns: _Window,
    crop: tuple[int, int],
) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"]]:
    source = np.s_[rows.start : rows.stop, columns.start : columns.stop]
    size = (rows.length, columns.length)
    piece, marks = resize_image(image[source], size), resize_label(label[source], size)
    if size == crop:
        return piece, marks
    target = np.s_[rows.at : rows.at + rows.length, columns.at : columns.at + columns.length]
    canvas = np.empty((*crop, 3), np.uint8)
    canvas[:] = np.rint(cv2.mean(piece)[:3]).astype(np.uint8)
    canvas[target] = piece
    void = np.full(crop, IGNORE_INDEX, np.uint8)
    void[target] = marks
    return canvas, void


def _rare_pixel(
    label: UInt8[np.ndarray, "H W"], augmentation: Augmentation, rng: np.random.Generator
) -> tuple[int, int] | None:
    """Row and column of a random pixel of a class drawn by its weight from those present; None: crop anywhere."""
    if augmentation.rare_class_probability == 0 or rng.random() >= augmentation.rare_class_probability:
        return None
    coarse = label[::_STRIDE, ::_STRIDE]
    chances = (np.bincount(coarse.ravel(), minlength=256) > 0).astype(np.float64)
    chances[IGNORE_INDEX] = 0.0
    if augmentation.rare_class_weights:
        weights = np.zeros(256)
        weights[: len(augmentation.rare_class_weights)] = augmentation.rare_class_weights
        chances *= weights
    if chances.sum() == 0:
        return None
    drawn = rng.choice(256, p=chances / chances.sum())
    pixels = np.flatnonzero(coarse == drawn)
    row, column = divmod(int(rng.choice(pixels)), coarse.shape[1])
    return row * _STRIDE, column * _STRIDE
