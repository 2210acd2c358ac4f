"""LabelMe: one JSON beside each image; masks are written, which keep every pixel, and every closed shape is read.

Russell et al., "LabelMe: A Database and Web-Based Tool for Image Annotation", IJCV 2008; the format is that of the
`labelme` program from 5.3 on, which brought masks. A mask is a PNG in base64, its two points the corners it spans.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image

from ignota.data.files import write_json
from ignota.data.images import decode_label
from ignota.formats.documents import (
    entries,
    entry,
    json_files,
    label_map,
    load_json,
    picture_path,
    points_of,
    size_of,
    value_of,
    wrong,
)
from ignota.formats.drawing import fill_ellipse, fill_outlined
from ignota.formats.labels import MAP_FILE, Labelling, LabelMap, LabelPicture, Tick, blank, copy_image, counted, pieces
from ignota.taxonomy import ClassLabel

_VERSION = "5.5.0"
_VOID = "__ignore__"  # labelme's own name for pixels of no class
_AREAS = {"polygon": 3, "rectangle": 2, "oriented_rectangle": 4, "circle": 2, "mask": 2}
"""Shapes with an area, and the fewest points of each."""


def write(labelling: Labelling, out: Path, by_region: bool = False, tick: Tick | None = None) -> None:
    """KEY.json beside KEY.jpg or .png, and labels.txt with the names for `labelme --labels`."""
    for picture in counted(labelling, tick):
        height, width = picture.label.shape
        name = copy_image(picture, out)
        shapes = [_shape(label, mask) for label, mask in pieces(picture, labelling.labels, by_region)]
        content: dict[str, Any] = {
            "version": _VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": name,
            "imageData": None,
        }
        write_json(out / f"{picture.key}.json", content | {"imageHeight": height, "imageWidth": width}, compact=True)
    names = [_VOID, *(label.name for label in labelling.labels.classes)]
    (out / "labels.txt").write_text("\n".join(names) + "\n", "utf-8")


def read(root: Path, images: Sequence[Path], labels: LabelMap | None) -> Labelling:
    """All JSON files of a folder; later shapes lie over earlier ones. Raises InputError."""
    files = json_files(root, (MAP_FILE,))
    labels = labels or label_map(root, _names(files))
    left_out: Counter[str] = Counter()

    def each() -> Iterator[LabelPicture]:
        for path in files:
            content = load_json(path, dict)
            key, image = picture_path(path, entry(path, content, "imagePath", str, "the file"), (*images, root))
            size = size_of(path, content, "the file", ("imageHeight", "imageWidth"))
            label = blank(size, labels, path)
            for shape in entries(path, content, "shapes"):
                kind = shape.get("shape_type") or "polygon"
                if kind not in _AREAS:
                    left_out[f"{str(kind)[:40]} without an area"] += 1
                    continue
                name = entry(path, shape, "label", str, "a shape")
                mask = _mask(path, shape, str(kind), size)
                label[mask] = labels.void if name == _VOID else value_of(path, labels, name)
            yield LabelPicture(key, label, image)

    return Labelling(labels, each(), len(files), left_out)


def _names(files: Sequence[Path]) -> list[str]:
    found: dict[str, None] = {}
    for path in files:
        for shape in entries(path, load_json(path, dict), "shapes"):
            found[entry(path, shape, "label", str, "a shape")] = None
    return [name for name in found if name != _VOID]


def _shape(label: ClassLabel, mask: Bool[np.ndarray, "H W"]) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])
    stream = io.BytesIO()
    Image.fromarray(mask[top : bottom + 1, left : right + 1].astype(np.uint8)).save(stream, "PNG")
    return {
        "label": label.name,
        "points": [[left, top], [right, bottom]],
        "group_id": None,
        "description": "",
        "shape_type": "mask",
        "flags": {},
        "mask": base64.b64encode(stream.getvalue()).decode("ascii"),
    }


def _mask(path: Path, shape: dict[str, Any], kind: str, size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    points = points_of(path, shape.get("points"), f"a {kind}")
    if len(points) < _AREAS[kind] or (kind in ("rectangle", "circle", "mask") and len(points) != 2):
        raise wrong(path, f"a {kind} has {len(points)} points", "draw it again")
    if kind == "mask":
        return _stored_mask(path, shape, points, size)
    (x0, y0), (x1, y1) = points[:2]
    if kind == "circle":
        radius = min(math.hypot(x0 - x1, y0 - y1), 4.0 * max(size))
        return fill_ellipse(size, (x0 - radius, y0 - radius, x0 + radius, y0 + radius))
    if kind == "rectangle":
        left, right, top, bottom = min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)
        return fill_outlined(size, [(left, top), (right, top), (right, bottom), (left, bottom)])
    return fill_outlined(size, points)


def _stored_mask(
    path: Path, shape: dict[str, Any], points: Sequence[tuple[float, float]], size: tuple[int, int]
) -> Bool[np.ndarray, "H W"]:
    (left, top), (right, bottom) = ((int(x), int(y)) for x, y in points)
    if not (0 <= left <= right < size[1] and 0 <= top <= bottom < size[0]):
        raise wrong(path, f"a mask spans {left}, {top} to {right}, {bottom}, outside its image", "draw it again")
    try:
        data = base64.b64decode(entry(path, shape, "mask", str, "a mask"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise wrong(path, "a mask is no base64", "export it again") from error
    window = decode_label(data, f"a mask in {path.name}", size[0] * size[1]) != 0
    if window.shape != (bottom + 1 - top, right + 1 - left):
        raise wrong(path, f"a mask is {window.shape[1]}×{window.shape[0]}, its box another size", "export it again")
    mask = np.zeros(size, bool)
    mask[top : bottom + 1, left : right + 1] = window
    return mask
