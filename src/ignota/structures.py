"""Frozen values shared by several rooms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ignota.errors import InputError

__all__ = ["Encoding", "InputError", "Preprocessing", "RegionSet", "Sample", "SegmenterOutput"]


@dataclass(frozen=True)
class Sample:
    """One image of a data set with its labels.

    image: "H W 3" uint8 RGB. label: "H W" uint8 in the ids of the data set's taxonomy (or 0 normal,
    1 anomaly), 255 void; None where there is no label. key: the image's name in its data set, without suffix.
    """

    key: str
    image: NDArray[np.uint8]
    label: NDArray[np.uint8] | None
    path: Path | None = None


@dataclass(frozen=True)
class RegionSet:
    """Disjoint regions of one image.

    ids: "H W" int32, 0 = in no region, otherwise 1..count. count: R.
    """

    ids: NDArray[np.int32]
    count: int

    def __post_init__(self) -> None:
        if self.ids.ndim != 2 or self.ids.dtype != np.int32:
            raise ValueError(f"a region map is 'H W' int32, not {self.ids.shape} {self.ids.dtype}")

    @cached_property
    def areas(self) -> NDArray[np.int64]:
        """Number of pixels of each region, "R"."""
        counts = torch.bincount(torch.from_numpy(self.ids).flatten(), minlength=self.count + 1)
        return counts[1:].numpy()


@dataclass(frozen=True)
class SegmenterOutput:
    """What a closed-set segmenter gives: logits "B C h w" and features {tap: "B F h w"}, each at its own stride."""

    logits: Tensor
    features: dict[str, Tensor]


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a network's input: scaled to 0..1, minus mean, over std (R, G, B)."""

    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Encoding:
    """What the networks say of one image; everything after it costs next to nothing and runs no network but D.

    image: "H W 3" uint8 RGB at the working size. size: (H, W) of the original. logits: "C h w" float32.
    features: {tap: "F h w"}, each at its own stride. sha256: of the original's upright RGB pixels. source: what the
    image is called, if anything. objectness: "h w" in 0..1 on a grid of its own, where the world has such a network.
    """

    image: NDArray[np.uint8]
    size: tuple[int, int]
    logits: Tensor
    features: dict[str, Tensor]
    sha256: str = ""
    source: str = ""
    objectness: Tensor | None = None

    @property
    def bare(self) -> Encoding:
        """The same without features: enough to label the image again by its tables."""
        return replace(self, logits=self.logits[:, :0], features={})
