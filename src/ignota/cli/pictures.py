"""The files of `segment` for each image: all four, or none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from ignota.cli.inputs import PARTS, Picture
from ignota.data.files import as_text, write_atomically
from ignota.data.images import resize_label, write_indexed_png, write_jpeg, write_png16
from ignota.perception.scene import Scene
from ignota.reports.pictures import label_tags, overlay
from ignota.taxonomy import IGNORE_INDEX, UNKNOWN_INDEX
from ignota.world.labelling import label_maps
from ignota.world.model import OpenWorldModel
from ignota.world.region_rows import region_rows

_WORTH_A_TAG = 0.01
_MOST_TAGS = 12
_END = "\n}"


def write_scene(
    out: Path, picture: Picture, world: OpenWorldModel, made_by: dict[str, str], method: str = "raml"
) -> None:
    """Segments one image and writes its four results into `out`; where one cannot be written, none is left behind.

    made_by: the fingerprints of world and image. method: what names taught classes. NAME.json comes last: where it
    stands, the others do.
    """
    assert picture.image is not None
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    paths = labels_path, anomaly_path, overlay_path, json_path = [out / f"{picture.name}{part}" for part in PARTS]
    scene = world.segment(picture.image)
    labels = scene.labels_with_unknown() if method == "raml" else method_labels(world, scene, method)
    whole = False
    try:
        json_path.unlink(missing_ok=True)
        write_indexed_png(labels_path, labels, scene.taxonomy.palette())
        write_png16(anomaly_path, scene.anomaly)
        write_jpeg(overlay_path, tagged_overlay(picture.image, labels, scene))
        document = describe_scene(picture.path, labels, scene, region_rows(scene))
        write_atomically(json_path, document_text(document | {"frame": picture.frame, "made_by": made_by}).encode())
        whole = True
    finally:
        if not whole:
            for written in paths:
                written.unlink(missing_ok=True)
            if made and not any(out.iterdir()):
                out.rmdir()


def method_labels(world: OpenWorldModel, scene: Scene, method: str) -> UInt8[np.ndarray, "H W"]:
    """World ids by a method; 254 where the world's own score is above its threshold and no taught class was named."""
    labels = resize_label(label_maps(world, scene.encoding, (method,))[method], scene.tables.size)
    unnamed = scene.unknown_mask() & (labels < scene.num_known)
    return np.where(unnamed, np.uint8(UNKNOWN_INDEX), labels)


def document_text(document: dict[str, Any]) -> str:
    """A NAME.json for people and programs: one line for each unknown region, as embeddings are long."""
    rest = json.dumps({key: value for key, value in document.items() if key != "regions"}, indent=2, ensure_ascii=False)
    rows = ",".join(f"\n    {json.dumps(row, ensure_ascii=False)}" for row in document["regions"])
    end = "\n  ]" if rows else "]"
    return f'{rest.removesuffix(_END)},\n  "regions": [{rows}{end}{_END}\n'


def tagged_overlay(
    image: UInt8[np.ndarray, "H W 3"], labels: UInt8[np.ndarray, "H W"], scene: Scene
) -> UInt8[np.ndarray, "H W 3"]:
    """Labels over the image; unknown objects outlined and named, and the largest component of each class."""
    picture = overlay(image, labels, scene.taxonomy.palette(), unknown_mask=scene.object_ids() > 0)
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


def describe_scene(
    path: Path, labels: UInt8[np.ndarray, "H W"], scene: Scene, regions: list[dict[str, Any]]
) -> dict[str, Any]:
    """The content of NAME.json: shares and scores in 0..1; regions as `region_rows` gives them."""
    height, width = labels.shape
    share = np.bincount(labels.ravel(), minlength=256) / labels.size
    return {
        "image": as_text(str(path)),
        "width": width,
        "height": height,
        "classes": [
            {"id": c.id, "name": c.name, "colour": list(c.colour), "share": float(share[c.id])}
            for c in scene.taxonomy.classes
        ],
        "labels": {"unknown": UNKNOWN_INDEX, "void": IGNORE_INDEX},
        "threshold": 0.5,
        "unknown_share": float(share[UNKNOWN_INDEX]),
        "regions": regions,
    }
