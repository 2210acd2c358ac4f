"""What `segment` leaves for each image: all four files, or none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from ignota.cli.inputs import PARTS
from ignota.data.files import write_atomically
from ignota.data.images import write_indexed_png, write_jpeg, write_png16
from ignota.reports.pictures import label_tags, overlay
from ignota.taxonomy import IGNORE_INDEX, UNKNOWN_INDEX
from ignota.world.scene import Scene

_WORTH_A_TAG = 0.01
_MOST_TAGS = 12


def write_scene(out: Path, name: str, path: Path, image: UInt8[np.ndarray, "H W 3"], scene: Scene) -> None:
    """Writes the four results of one image into `out`; where one cannot be written, none is left behind."""
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    labels_path, anomaly_path, overlay_path, json_path = (out / f"{name}{part}" for part in PARTS)
    labels = scene.labels_with_unknown()
    whole = False
    try:
        write_indexed_png(labels_path, labels, scene.taxonomy.palette())
        write_png16(anomaly_path, scene.anomaly)
        write_jpeg(overlay_path, tagged_overlay(image, labels, scene))
        text = json.dumps(describe_scene(path, labels, scene), indent=2, ensure_ascii=False)
        write_atomically(json_path, (text + "\n").encode())
        whole = True
    finally:
        if not whole:
            for written in (labels_path, anomaly_path, overlay_path, json_path):
                written.unlink(missing_ok=True)
            if made and not any(out.iterdir()):
                out.rmdir()


def tagged_overlay(
    image: UInt8[np.ndarray, "H W 3"], labels: UInt8[np.ndarray, "H W"], scene: Scene
) -> UInt8[np.ndarray, "H W 3"]:
    """Labels over the image, unknown regions outlined, the largest piece of each class and unknown regions named."""
    unknown = labels == UNKNOWN_INDEX
    picture = overlay(image, labels, scene.taxonomy.palette(), unknown_mask=unknown)
    pieces = np.zeros(labels.shape, np.int32)
    names: dict[int, str] = {}
    for label in scene.taxonomy.classes:
        mask = (labels == label.id).astype(np.uint8)
        if mask.mean() < _WORTH_A_TAG:
            continue
        _, ids, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_32S)
        pieces[ids == 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())] = len(names) + 1
        names[len(names) + 1] = label.name
    for region in scene.unknown[:_MOST_TAGS]:
        if region.area >= _WORTH_A_TAG * labels.size:
            pieces[region.mask] = len(names) + 1
            names[len(names) + 1] = f"unknown {region.score:.2f}"
    return label_tags(picture, pieces, names)


def describe_scene(path: Path, labels: UInt8[np.ndarray, "H W"], scene: Scene) -> dict[str, Any]:
    """The content of NAME.json: shares and scores in 0..1, boxes as left, top, right, bottom in pixels."""
    height, width = labels.shape
    share = np.bincount(labels.ravel(), minlength=256) / labels.size
    return {
        "image": str(path),
        "width": width,
        "height": height,
        "classes": [
            {"id": c.id, "name": c.name, "colour": list(c.colour), "share": float(share[c.id])}
            for c in scene.taxonomy.classes
        ],
        "labels": {"unknown": UNKNOWN_INDEX, "void": IGNORE_INDEX},
        "threshold": 0.5,
        "unknown_share": float(share[UNKNOWN_INDEX]),
        "regions": [
            {"box": list(region.box), "area": region.area, "score": region.score, "nearest": region.nearest}
            for region in scene.unknown
        ],
    }
