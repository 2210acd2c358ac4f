"""Pastes unknown objects of the synthetic world into photographs, so no data set has to provide unknowns."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from ignota.synthetic.streets import SyntheticStreets
from ignota.taxonomy import IGNORE_INDEX

_SCENE = (360, 720)
_SMALLEST = 400
"""Pixels of a cut-out: smaller ones are too coarse to be magnified."""
_HEIGHTS = (0.05, 0.4)
_HORIZON = 1 / 3


@dataclass(frozen=True)
class CutOut:
    """A cut-out: its box of the picture, and which pixels of it are the thing."""

    image: UInt8[np.ndarray, "h w 3"]
    mask: Bool[np.ndarray, "h w"]


def cut_outs(scenes: int, seed: int) -> tuple[CutOut, ...]:
    """Everything unknown in `scenes` synthetic streets that is large enough, in the order of the scenes."""
    streets, found = SyntheticStreets("anomaly", scenes, _SCENE, seed), []
    for i in range(scenes):
        scene = streets[i]
        if scene.label is None:
            continue
        _, ids, boxes, _ = cv2.connectedComponentsWithStats((scene.label == 1).astype(np.uint8))
        for number, (x, y, width, height, area) in enumerate(boxes):
            if number and area >= _SMALLEST:
                window = np.s_[y : y + height, x : x + width]
                found.append(CutOut(scene.image[window], ids[window] == number))
    return tuple(found)


def paste(
    image: UInt8[np.ndarray, "H W 3"],
    label: UInt8[np.ndarray, "H W"],
    things: tuple[CutOut, ...],
    count: int,
    rng: np.random.Generator,
) -> tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W"]]:
    """`count` of `things` at random places below the horizon, 5 to 40 % of the image high.

    Returns the picture, and where its unknowns are: 0 known, 1 pasted, 255 void.
    """
    image, target = image.copy(), np.where(label == IGNORE_INDEX, IGNORE_INDEX, 0).astype(np.uint8)
    height, width = target.shape
    for _ in range(count if things else 0):
        thing = things[int(rng.integers(len(things)))]
        high = max(1, round(height * float(np.exp(rng.uniform(*np.log(_HEIGHTS))))))
        wide = min(width, max(1, round(thing.mask.shape[1] * high / thing.mask.shape[0])))
        top = int(rng.integers(min(int(height * _HORIZON), height - high), height - high + 1))
        left = int(rng.integers(0, width - wide + 1))
        window = np.s_[top : top + high, left : left + wide]
        mask = cv2.resize(thing.mask.astype(np.uint8), (wide, high), interpolation=cv2.INTER_NEAREST) > 0
        image[window][mask] = cv2.resize(thing.image, (wide, high), interpolation=cv2.INTER_AREA)[mask]
        target[window][mask] = 1
    return image, target
