"""A scene's label map as the polygons of a Cityscapes JSON file."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from ignota.synthetic.scene import SyntheticScene
from ignota.taxonomy import CITYSCAPES, IGNORE_INDEX

_FEWEST_CORNERS = 3


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
