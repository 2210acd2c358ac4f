"""Images too large for one pass of the networks: overlapping tiles, blended on every grid."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ignota.perception.networks import Answer, Networks, Runner
from ignota.structures import InputError

AUTOMATIC_PIXELS = 12_000_000
"""Working images above this are tiled unasked: the networks then need about 4 GB at a time."""

AUTOMATIC_SIDE = 2048
_SMALLEST_SIDE = 128


@dataclass(frozen=True)
class Tiled:
    """Runs another runner on squares of `side` pixels that overlap by a quarter.

    Of the overlap the outer half counts for nothing, so that what a tile's border does to features nearby is not seen,
    and in the inner half one tile fades into the next. So the answer is that for the whole image wherever the networks
    look no further than an eighth of `side`; what they gather from the whole image (pooling over all of it) they gather
    from a tile. What the frozen encoder sees has the size that it was fitted at, and passes it whole. pixels: images up
    to this many pass whole.
    """

    runner: Runner
    side: int
    pixels: int = 0

    def __call__(
        self, networks: Networks, image: UInt8[np.ndarray, "H W 3"], close: UInt8[np.ndarray, "Hc Wc 3"] | None = None
    ) -> Answer:
        height, width = image.shape[:2]
        if height * width <= self.pixels or max(height, width) <= self.side:
            return self.runner(networks, image, close)
        strides = grid_strides(networks)
        step = math.lcm(*strides.values())
        rows, columns = (spans(length, self.side, step) for length in (height, width))
        joined: dict[str, _Joined] = {}
        whole: dict[str, Tensor] = {}
        for y, x in product(rows, columns):
            tile = np.ascontiguousarray(image[y.start : y.stop, x.start : x.stop])
            logits, features = self.runner(networks, tile, close)
            close = None  # the first tile took it along
            for name, grid in {"logits": logits, **features}.items():
                if name in strides:
                    joined.setdefault(name, _Joined(strides[name], (height, width))).add(grid.float(), y, x)
                elif networks.frozen is not None and name in networks.frozen.taps:
                    whole[name] = grid
        found = {name: grid.mean() for name, grid in joined.items()}
        return found.pop("logits"), found | whole


def tiled(networks: Networks, runner: Runner, side: int | None) -> Runner:
    """The runner on tiles of `side`, or, for None, on tiles where an image is too large; raises InputError."""
    whole = getattr(networks.segmenter, "fixed_size", None) is not None
    if side is None:
        return runner if whole else Tiled(runner, AUTOMATIC_SIDE, AUTOMATIC_PIXELS)
    if side == 0:
        return runner
    if whole:
        raise InputError("this world's segmenter takes images of one size, to which each is brought: take no --tile")
    smallest = max(_SMALLEST_SIDE, 4 * math.lcm(*grid_strides(networks).values()))
    if side < smallest:
        raise InputError(f"--tile is the side of a tile in pixels, {smallest} or more, or 0 for none, not {side}")
    return Tiled(runner, side)


def tiled_unasked(networks: Networks) -> Networks:
    """The same networks, on tiles where an image is too large."""
    return dataclasses.replace(networks, runner=tiled(networks, networks.runner, None))


@dataclass(frozen=True)
class Span:
    """Where a tile lies on one axis of the image; fade: pixels over which it fades out at its start and its end."""

    start: int
    stop: int
    margin: tuple[int, int]
    fade: tuple[int, int]

    def weights(self, cells: int, stride: int) -> Float[Tensor, " cells"]:
        """How much each of its cells counts: 0 in the margins, rising to 1."""
        centre = (torch.arange(cells, dtype=torch.float64) + 0.5) * stride
        length = self.stop - self.start
        rise = _ramp(centre - self.margin[0], self.fade[0])
        fall = _ramp(length - centre - self.margin[1], self.fade[1])
        return torch.minimum(rise, fall).float()


def _ramp(distance: Tensor, fade: int) -> Tensor:
    return (distance / fade).clamp(0, 1) if fade else torch.ones_like(distance)


def spans(length: int, side: int, step: int) -> list[Span]:
    """Tiles of one axis: each starts at a multiple of `step` and overlaps the next by a quarter of `side` at least."""
    if length <= side:
        return [Span(0, length, (0, 0), (0, 0))]
    advance = max(step, (side - side // 4) // step * step)
    starts = list(range(0, length - side + advance, advance))
    last = len(starts) - 1
    overlap = side - advance
    margin, fade = overlap // 4, overlap - 2 * (overlap // 4)
    return [
        Span(start, min(start + side, length), (margin * (i > 0), margin * (i < last)),
             (fade * (i > 0), fade * (i < last)))
        for i, start in enumerate(starts)
    ]  # fmt: skip


def grid_strides(networks: Networks) -> dict[str, int]:
    """How many pixels of the working image a cell of each of the segmenter's grids is wide."""
    segmenter = networks.segmenter
    own = getattr(segmenter, "logits_stride", None)
    found = {"logits": segmenter.taps["decoder"].stride if own is None else own}
    return found | {name: tap.stride for name, tap in segmenter.taps.items() if name in networks.taps}


class _Joined:
    """One grid of the whole image as a weighted mean of tiles."""

    def __init__(self, stride: int, size: tuple[int, int]) -> None:
        self.stride, self.size = stride, size
        self.total: Tensor | None = None
        self.weight: Tensor | None = None

    def add(self, grid: Float[Tensor, "F h w"], y: Span, x: Span) -> None:
        top, left = (span.start // self.stride for span in (y, x))
        bottom, right = top + grid.shape[1], left + grid.shape[2]
        if self.total is None or self.weight is None:
            shape = [max(1, math.ceil(side / self.stride)) for side in self.size]
            self.total, self.weight = grid.new_zeros(grid.shape[0], *shape), grid.new_zeros(shape)
        weight = (y.weights(grid.shape[1], self.stride)[:, None] * x.weights(grid.shape[2], self.stride)).to(grid)
        bottom, right = min(bottom, self.weight.shape[0]), min(right, self.weight.shape[1])
        weight, grid = weight[: bottom - top, : right - left], grid[:, : bottom - top, : right - left]
        self.total[:, top:bottom, left:right] += weight * grid
        self.weight[top:bottom, left:right] += weight

    def mean(self) -> Float[Tensor, "F h w"]:
        assert self.total is not None and self.weight is not None
        return self.total.div_(self.weight)
