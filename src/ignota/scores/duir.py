"""Image resynthesis: the image is drawn from its predicted labels, and a network detects where they were wrong.

Lis, Nakka, Fua and Salzmann, "Detecting the Unexpected via Image Resynthesis", ICCV 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from ignota.data.images import resize_label
from ignota.models.frozen_encoder import FrozenEncoder
from ignota.scores.score import State, stacked
from ignota.scores.trained import Tick, TrainedScore, descend, initialised, ordered, packed, unpacked
from ignota.scores.windows import as_input, of_one_size, on_grid, picture, pixels_of, places
from ignota.structures import Encoding
from ignota.taxonomy import IGNORE_INDEX

_BATCH, _LR = 4, 2e-3
_STRIDES = (4, 8, 16)
_SWAPPED, _LARGEST, _BLOTS = 0.3, 0.25, 2
"""The share of components that get another class, their largest share of the window, and the number of ellipses."""
STRIDE = 16
"""Sides of pictures are divisible by it."""


class Resynthesis(TrainedScore):
    """The logit of "drawn from wrong labels", by a discrepancy network that compares a picture with its drawing.

    A generator learns to draw windows of training pictures from the labels that the closed set gives them: L1 in
    colours and in the features of the frozen encoder. Then components of these labels get a random other known class,
    and the discrepancy network learns where the shown label is not the true one.
    """

    citation = "Lis et al., ICCV 2019"

    def __init__(
        self, short: int = 160, side: int = 96, per_image: int = 3, draws: int = 300, compares: int = 200
    ) -> None:
        self.short, self.side, self.per_image = short, side, per_image
        self.draws, self.compares, self.steps = draws, compares, draws + compares

    def observe(self, encoding: Encoding, label: UInt8[np.ndarray, "h w"], rng: np.random.Generator) -> State:
        seen = picture(encoding, label, self.short)
        side = min(self.side, min(seen.label.shape) // STRIDE * STRIDE)
        labelled = seen.label != IGNORE_INDEX
        predicted = encoding.logits.argmax(0).to(torch.uint8).cpu().numpy()
        shown = np.where(labelled, resize_label(predicted, seen.label.shape), IGNORE_INDEX).astype(np.uint8)
        chosen = places(labelled, side, 0.5, self.per_image, rng) if side else []
        stack = np.concatenate([seen.image, seen.label[..., None], shown[..., None]], axis=2)
        found = [stack[None, y : y + side, x : x + side] for y, x in chosen]
        windows = torch.from_numpy(np.concatenate([np.zeros((0, side, side, 5), np.uint8), *found]))
        return {"windows": windows, "classes": torch.full((len(windows),), len(encoding.logits), dtype=torch.int16)}

    def train(self, observations: Sequence[State], seed: int, tick: Tick) -> State:
        seen = ordered(of_one_size(observations, "windows"))
        windows, classes = stacked(seen, "windows"), int(stacked(seen, "classes")[0])
        images, label, shown = windows[..., :3], windows[..., 3], windows[..., 4]
        random, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
        drawer = initialised(Generator(classes), generator)

        def drawing_loss() -> Tensor:
            picked = torch.randint(len(images), (_BATCH,), generator=generator)
            image, counts = as_input(images[picked]), label[picked] != IGNORE_INDEX
            return drawing_error(drawer(one_hot(shown[picked], classes)), image, counts)

        descend(list(drawer.parameters()), drawing_loss, self.draws, _LR, tick)
        judge = initialised(DiscrepancyNet(classes, _channels()), generator)

        def judging_loss() -> Tensor:
            picked = torch.randint(len(images), (_BATCH,), generator=generator)
            swapped = torch.stack([torch.from_numpy(swap(one.numpy(), classes, random)) for one in shown[picked]])
            labels = one_hot(swapped, classes)
            with torch.no_grad():
                drawn = drawer(labels)
            found = judge(features(as_input(images[picked])), features(drawn), labels)
            return judging_error(found, swapped, label[picked])

        descend(list(judge.parameters()), judging_loss, self.compares, _LR, tick)
        return packed(drawer, "generator") | packed(judge, "discrepancy")

    def score(self, encoding: Encoding, state: State) -> Float[Tensor, "h w"]:
        image, classes = pixels_of(encoding, self.short), len(encoding.logits)
        height, width = image.shape[-2:]
        predicted = encoding.logits.argmax(0).to(torch.uint8).cpu().numpy()
        shown = torch.from_numpy(resize_label(predicted, (height, width)))[None].to(image.device)
        margins = (0, -width % STRIDE, 0, -height % STRIDE)
        image = F.pad(image, margins, mode="replicate")
        labels = F.pad(one_hot(shown, classes), margins, mode="replicate")
        channels = _channels()
        with torch.device("meta"):
            drawer, judge = Generator(classes), DiscrepancyNet(classes, channels)
        drawn = functional_call(drawer, unpacked(state, "generator"), (labels,))
        both = (features(image), features(drawn), labels)
        found = functional_call(judge, unpacked(state, "discrepancy"), both)
        full = F.interpolate(found[:, None], size=image.shape[-2:], mode="bilinear")[0, 0, :height, :width]
        return on_grid(full, encoding)


def swap(shown: UInt8[np.ndarray, "h w"], classes: int, rng: np.random.Generator) -> UInt8[np.ndarray, "h w"]:
    """Labels in which some components and two ellipses got another class; void stays void.

    Ellipses stand for things on the road, as there are no instances whose shapes could be had; with one class nothing
    can be swapped.
    """
    found = shown.copy()
    if classes < 2:
        return found
    largest = _LARGEST * shown.size
    for c in np.unique(shown[shown != IGNORE_INDEX]):
        count, pieces, boxes, _ = cv2.connectedComponentsWithStats((shown == c).astype(np.uint8))
        for number in range(1, count):
            if rng.random() < _SWAPPED and boxes[number, cv2.CC_STAT_AREA] <= largest:
                found[pieces == number] = _other(int(c), classes, rng)
    height, width = shown.shape
    for _ in range(_BLOTS):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(rng.integers(2, width // 6 + 3)), int(rng.integers(2, height // 6 + 3)))
        blot = cv2.ellipse(np.zeros_like(shown), centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1) > 0
        at = int(found[centre[1], centre[0]])
        found[blot & (shown != IGNORE_INDEX)] = _other(at, classes, rng)
    return found


def _other(c: int, classes: int, rng: np.random.Generator) -> np.uint8:
    if c >= classes:
        return np.uint8(rng.integers(classes))
    return np.uint8((c + int(rng.integers(1, classes))) % classes)


def one_hot(label: UInt8[Tensor, "B h w"], classes: int) -> Float[Tensor, "B C h w"]:
    """Void pixels are of no class."""
    return (label[:, None] == torch.arange(classes, device=label.device)[None, :, None, None]).float()


def drawing_error(
    drawn: Float[Tensor, "B 3 H W"], image: Float[Tensor, "B 3 H W"], counts: Bool[Tensor, "B H W"]
) -> Float[Tensor, ""]:
    """L1 of colours over labelled pixels, and of the frozen encoder's features in units of their size."""
    colours = ((drawn - image).abs().mean(1) * counts).sum() / counts.sum().clamp(min=1)
    with torch.no_grad():
        target = features(image)
    total = colours
    for wanted, found in zip(target, features(drawn), strict=True):
        inside = F.adaptive_avg_pool2d(counts[:, None].float(), (wanted.shape[-2], wanted.shape[-1]))
        error = (wanted - found).abs().mean(1, keepdim=True) / wanted.abs().mean().clamp(min=1e-6)
        total = total + (error * inside).sum() / inside.sum().clamp(min=1) / len(target)
    return total


def judging_error(
    found: Float[Tensor, "B h w"], shown: UInt8[Tensor, "B H W"], label: UInt8[Tensor, "B H W"]
) -> Float[Tensor, ""]:
    """Cross entropy to "the shown label is not the true one" at labelled pixels; both answers weigh the same."""
    logits = F.interpolate(found[:, None], size=label.shape[-2:], mode="bilinear")[:, 0]
    wrong, counts = (shown != label).float(), label != IGNORE_INDEX
    each = F.binary_cross_entropy_with_logits(logits, wrong, reduction="none")
    sides = [each[counts & (wrong == value)] for value in (0, 1)]
    return torch.stack([side.mean() if len(side) else side.sum() for side in sides]).sum()


def features(images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B F h w"]]:
    """What the frozen encoder sees, with gradients to the images; sides are divisible by 16."""
    return list(_encoder(str(images.device)).read(images).values())


def _channels() -> list[int]:
    return [tap.channels for tap in _encoder("cpu").taps.values()]


@cache
def _encoder(device: str) -> FrozenEncoder:
    with torch.inference_mode(False):  # it may first be asked for where images are read, and then be trained through
        return FrozenEncoder(taps=[f"frozen/{stride}" for stride in _STRIDES]).to(device)


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.GroupNorm(8, outputs), nn.ReLU())


class Generator(nn.Module):
    """labels one-hot "B C H W" -> picture "B 3 H W" in -1..1: a U-Net at strides 2 to 8."""

    def __init__(self, classes: int, width: int = 24) -> None:
        super().__init__()
        self.enter = nn.Conv2d(4 * classes, width, 1)
        self.to_quarter, self.to_eighth = _block(width, 2 * width, 2), _block(2 * width, 4 * width, 2)
        self.deep = nn.Sequential(_block(4 * width, 4 * width), _block(4 * width, 4 * width))
        self.up, self.out = _block(6 * width, 2 * width), _block(3 * width, width)
        self.paint = nn.Conv2d(width, 12, 3, 1, 1)

    def forward(self, labels: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 3 H W"]:
        first = self.enter(F.pixel_unshuffle(labels, 2)).relu()
        second = self.to_quarter(first)
        third = self.deep(self.to_eighth(second))
        second = self.up(torch.cat([_twice(third), second], 1))
        first = self.out(torch.cat([_twice(second), first], 1))
        return F.pixel_shuffle(self.paint(first), 2).tanh()


class DiscrepancyNet(nn.Module):
    """Features of picture and drawing at strides 4, 8, 16 and the labels -> logit "B H/4 W/4" of a discrepancy.

    At each stride it sees both pictures' features, their correlation (the cosine over channels), and the labels.
    channels: of the features, the finest first.
    """

    def __init__(self, classes: int, channels: Sequence[int], width: int = 32) -> None:
        super().__init__()
        self.looks = nn.ModuleList(nn.Conv2d(2 * count, width, 1) for count in channels)
        self.labels = nn.Conv2d(classes, 8, 1)
        inputs = [width + 1 + 8 + (width if i < len(channels) - 1 else 0) for i in range(len(channels))]
        self.blocks = nn.ModuleList(_block(count, width) for count in inputs)
        self.last = nn.Conv2d(width, 1, 1)

    def forward(
        self,
        seen: Sequence[Float[Tensor, "B _ _ _"]],
        drawn: Sequence[Float[Tensor, "B _ _ _"]],
        labels: Float[Tensor, "B C H W"],
    ) -> Float[Tensor, "B _ _"]:
        above: Tensor | None = None
        for i in reversed(range(len(seen))):
            size = (seen[i].shape[-2], seen[i].shape[-1])
            both = self.looks[i](torch.cat([seen[i], drawn[i]], 1)).relu()
            alike = F.cosine_similarity(seen[i], drawn[i], dim=1)[:, None]
            parts = [both, alike, self.labels(F.adaptive_avg_pool2d(labels, size))]
            above = self.blocks[i](torch.cat(parts if above is None else [*parts, _twice(above)], 1))
        assert above is not None
        return self.last(above)[:, 0]


def _twice(grid: Tensor) -> Tensor:
    return F.interpolate(grid, scale_factor=2, mode="nearest")
