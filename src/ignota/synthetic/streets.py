"""The synthetic world as a data set, the polygons of its label maps, and an overview of many scenes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from ignota.structures import InputError, Sample
from ignota.synthetic.scene import SyntheticScene, draw_scene
from ignota.taxonomy import CITYSCAPES, IGNORE_INDEX, Taxonomy

_SPLITS = {"train": 0, "val": 1, "anomaly": 2}
_FEWEST_CORNERS = 3
_UNKNOWN = np.array((255, 64, 160), np.float32)


class SyntheticStreets:
    """`length` scenes of a split, drawn when asked for; splits never share a scene's seed.

    "train" and "val" hold the nineteen Cityscapes classes (labels: train ids, 255 void) and nothing unknown;
    "anomaly" holds one to three unknown things a scene (labels: 0 normal, 1 anomaly, 255 void).
    Raises InputError for another split, a negative length or seed, or a size below 16 pixels.
    """

    name = "synthetic"

    def __init__(self, split: str, length: int, size: tuple[int, int] = (256, 512), seed: int = 0) -> None:
        if split not in _SPLITS:
            raise InputError(f"synthetic: no split {split!r}; there are: {', '.join(_SPLITS)}")
        if length < 0:
            raise InputError(f"synthetic: length {length} is negative; give the number of scenes")
        if min(size) < 16:
            raise InputError(f"synthetic: size {size[0]}x{size[1]} is too small; give at least 16x16")
        if seed < 0:
            raise InputError(f"synthetic: seed {seed} is negative; give 0 or more")
        self.split = split
        self.length = length
        self.size = size
        self.seed = seed

    @property
    def taxonomy(self) -> Taxonomy | None:
        """Cityscapes; None for the anomaly split, whose labels are 0, 1 and 255."""
        return None if self.split == "anomaly" else CITYSCAPES

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the scenes, in order."""
        return tuple(f"{self.split}_{i:06d}" for i in range(self.length))

    def __len__(self) -> int:
        return self.length

    def scene_seed(self, index: int) -> int:
        """The seed that `draw_scene` gets for this sample; no two splits, indices or data set seeds share one."""
        return ((self.seed * len(_SPLITS) + _SPLITS[self.split]) << 32) + index

    def __getitem__(self, index: int) -> Sample:
        if not -self.length <= index < self.length:
            raise IndexError(f"synthetic {self.split}: no scene {index}; there are {self.length}")
        index %= self.length
        unknown = self.split == "anomaly"
        scene = draw_scene(self.scene_seed(index), *self.size, anomalies=None if unknown else 0)
        label = scene.anomaly if unknown else scene.label
        return Sample(f"{self.split}_{index:06d}", scene.image, label)


def cityscapes_polygons(scene: SyntheticScene) -> dict[str, Any]:
    """Outer contours of every class region and every counted object, large ones first.

    Drawn in that order they give the label map back up to the smallest specks, since what lies in a hole of a region
    is smaller than the region. An object split by others gives one polygon per component.
    """
    height, width = scene.label.shape
    keys = scene.instance.astype(np.int64) * 256 + scene.label
    found: list[tuple[float, str, list[list[int]]]] = []
    for key in np.unique(keys).tolist():
        label = key & 255
        name = "unlabeled" if label == IGNORE_INDEX else CITYSCAPES.names[label]
        contours, _ = cv2.findContours((keys == key).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        for contour in contours:
            if len(contour) >= _FEWEST_CORNERS:
                found.append((float(cv2.contourArea(contour)), name, np.asarray(contour)[:, 0].tolist()))
    found.sort(key=lambda entry: -entry[0])
    objects = [{"label": name, "polygon": polygon} for _, name, polygon in found]
    return {"imgHeight": height, "imgWidth": width, "objects": objects}


def contact_sheet(
    seeds: Sequence[int],
    columns: int = 6,
    size: tuple[int, int] = (128, 256),
    anomalies: int | None = 0,
    show: Literal["image", "label", "anomaly"] = "image",
    gap: int = 4,
) -> NDArray[np.uint8]:
    """Scenes in rows of `columns` on white, "H W 3" uint8: as images, labels, or with anomalies tinted."""
    height, width = size
    rows = -(-len(seeds) // columns)
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    for k, seed in enumerate(seeds):
        top, left = gap + (k // columns) * (height + gap), gap + (k % columns) * (width + gap)
        tile = _tile(draw_scene(seed, height, width, anomalies), show)
        sheet[top : top + height, left : left + width] = tile
    return sheet


def _tile(scene: SyntheticScene, show: str) -> NDArray[np.uint8]:
    if show == "label":
        return CITYSCAPES.palette()[scene.label]
    if show == "anomaly":
        grey = scene.image.mean(2, keepdims=True) * 0.55 + 60.0
        mixed = np.where(scene.anomaly[..., None] == 1, 0.35 * scene.image + 0.65 * _UNKNOWN, grey)
        return mixed.clip(0, 255).astype(np.uint8)
    return scene.image
