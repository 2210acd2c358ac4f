"""Cityscapes: gtFine/SPLIT/CITY/*_labelIds.png and *_polygons.json, images in leftImg8bit/.

Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016. Polygons are painted in their
order, each over those before it, filled as Pillow fills them; what none covers is unlabelled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from ignota.data.files import natural_key, one_line, write_json
from ignota.data.images import read_label, write_indexed_png
from ignota.formats.documents import entries, entry, load_json, picture_path, points_of, size_of, wrong
from ignota.formats.drawing import fill_outlined
from ignota.formats.labels import (
    UNKNOWN_NAME,
    Labelling,
    LabelMap,
    LabelPicture,
    Tick,
    blank,
    copy_image,
    counted,
    pieces,
)
from ignota.structures import InputError
from ignota.taxonomy import CITYSCAPES, CITYSCAPES_LABEL_IDS, ClassLabel, nearest

_CITY, _SPLIT = "ignota", "val"
_VOID_NAMES = (
    "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "parking",
    "rail track", "guard rail", "bridge", "tunnel", "polegroup", "caravan", "trailer",
)  # fmt: skip
_VOID_IDS = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)
_NOT_DRAWN = "license plate"
LABEL_IDS = dict(zip(CITYSCAPES.names, CITYSCAPES_LABEL_IDS, strict=True)) | dict(
    zip(_VOID_NAMES, _VOID_IDS, strict=True)
)
"""Label id by name; those of the second list are void in training."""

_MAP = LabelMap(
    tuple(ClassLabel(LABEL_IDS[label.name], label.name, label.colour) for label in CITYSCAPES.classes), _VOID_IDS
)


def write(labelling: Labelling, out: Path, by_region: bool = False, tick: Tick | None = None) -> None:
    """Label ids and polygons; void and `unknown` become unlabelled (0). by_region changes nothing.

    Raises InputError for classes that Cityscapes does not have.
    """
    lut = _label_id_lut(labelling.labels)
    names = {number: name for name, number in LABEL_IDS.items()}
    truth = out / "gtFine" / _SPLIT / _CITY
    truth.mkdir(parents=True, exist_ok=True)
    palette = _MAP.palette()
    for picture in counted(labelling, tick):
        list(pieces(picture, labelling.labels))  # raises for values without a meaning
        ids = lut[picture.label]
        height, width = ids.shape
        write_indexed_png(truth / f"{picture.key}_gtFine_labelIds.png", ids, palette)
        objects = [{"label": names[number], "polygon": polygon} for number, polygon in polygons(ids)]
        content: dict[str, Any] = {"imgHeight": height, "imgWidth": width, "objects": objects}
        write_json(truth / f"{picture.key}_gtFine_polygons.json", content, compact=True)
        copy_image(picture, out / "leftImg8bit" / _SPLIT / _CITY, "_leftImg8bit")


def read(root: Path, images: Sequence[Path], labels: LabelMap | None) -> Labelling:
    """All label ids below a folder, or where there are none all polygons; raises InputError."""
    base = root / "gtFine" if (root / "gtFine").is_dir() else root
    files = _found(base, "_labelIds.png") or _found(base, "_polygons.json")
    if not files:
        raise wrong(
            root, "there are no *_labelIds.png or *_polygons.json below it", "name the folder that holds gtFine/"
        )
    target = labels or _MAP
    lut = _value_lut(target)
    left_out: Counter[str] = Counter()

    def each() -> Iterator[LabelPicture]:
        for path in files:
            ids = read_label(path) if path.suffix == ".png" else drawn(path, left_out)
            stem = path.name.rpartition("_")[0].removesuffix("_gtFine").removesuffix("_gtCoarse")
            beside = root / "leftImg8bit" / path.parent.relative_to(base)
            _, image = picture_path(path, f"{stem}_leftImg8bit.png", (*images, beside))
            if image is None:
                _, image = picture_path(path, f"{stem}.png", (*images, beside))
            if ids.max() > max(_VOID_IDS + CITYSCAPES_LABEL_IDS):
                raise wrong(path, f"it holds the value {int(ids.max())}, which is no label id", "take *_labelIds.png")
            yield LabelPicture(stem, lut[ids], image)

    return Labelling(target, each(), len(files), left_out)


def polygons(ids: UInt8[np.ndarray, "H W"]) -> list[tuple[int, list[list[int]]]]:
    """Label id and corners of polygons that, painted in their order on 0, give every pixel back.

    Outer contours come first, large before small, as what lies in a hole is smaller than what is around it. Whatever
    differs then (specks, hairlines, corners) is painted over once more, run by run.
    """
    found: list[tuple[float, int, list[list[int]]]] = []
    for number in np.unique(ids).tolist():
        contours, _ = cv2.findContours((ids == number).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        for contour in contours:
            if len(contour) > 2:
                found.append((float(cv2.contourArea(contour)), number, np.asarray(contour)[:, 0].tolist()))
    found.sort(key=lambda shape: -shape[0])
    canvas = Image.new("L", (ids.shape[1], ids.shape[0]))
    drawer = ImageDraw.Draw(canvas)
    for _, number, polygon in found:
        drawer.polygon([(x, y) for x, y in polygon], fill=number)
    return [(number, polygon) for _, number, polygon in found] + _runs(ids, np.asarray(canvas))


def _runs(ids: UInt8[np.ndarray, "H W"], canvas: UInt8[np.ndarray, "H W"]) -> list[tuple[int, list[list[int]]]]:
    """Flat polygons over the pixels in which a canvas differs from the label ids, as long as one value goes."""
    wanted = np.where(ids == canvas, -1, ids.astype(np.int16))
    edges = np.diff(np.pad(wanted, ((0, 0), (1, 0)), constant_values=-2), axis=1) != 0
    rows, starts = np.nonzero(edges)
    ends = np.append(starts[1:], 0)
    ends[np.append(rows[1:] != rows[:-1], True)] = ids.shape[1]
    return [
        (int(wanted[y, x]), [[int(x), int(y)], [int(end) - 1, int(y)], [int(x), int(y)]])
        for y, x, end in zip(rows, starts, ends, strict=True)
        if wanted[y, x] >= 0
    ]


def drawn(path: Path, left_out: Counter[str]) -> UInt8[np.ndarray, "H W"]:
    """The label ids that a polygons file paints; raises InputError."""
    content = load_json(path, dict)
    ids = blank(size_of(path, content, "the file", ("imgHeight", "imgWidth")), LabelMap((), (0,)), path)
    for shape in entries(path, content, "objects"):
        name = entry(path, shape, "label", str, "an object")
        name = name if name in LABEL_IDS else name.removesuffix("group")
        if name == _NOT_DRAWN or shape.get("deleted"):
            continue
        if name not in LABEL_IDS:
            left_out[f"object called {one_line(name)[:40]}"] += 1
            continue
        points = points_of(path, shape.get("polygon"), f"a polygon of {name!r}")
        ids[fill_outlined((ids.shape[0], ids.shape[1]), points, outline=False)] = LABEL_IDS[name]
    return ids


def _found(base: Path, ending: str) -> list[Path]:
    return sorted(
        (path for path in base.rglob(f"*{ending}") if path.is_file()), key=lambda path: natural_key(str(path))
    )


def _label_id_lut(labels: LabelMap) -> UInt8[np.ndarray, 256]:
    lut = np.zeros(256, np.uint8)
    for label in labels.classes:
        if label.name == UNKNOWN_NAME:
            continue
        if label.name not in LABEL_IDS:
            raise InputError(f"Cityscapes has no class {one_line(label.name)!r}{nearest(label.name, CITYSCAPES.names)}")
        lut[label.id] = LABEL_IDS[label.name]
    return lut


def _value_lut(labels: LabelMap) -> UInt8[np.ndarray, 256]:
    """Label id → stored value by name; without a map of one's own label ids stay what they are."""
    if labels is _MAP:
        return np.arange(256, dtype=np.uint8)
    lut = np.full(256, labels.void, np.uint8)
    for label in labels.classes:
        if label.name in LABEL_IDS:
            lut[LABEL_IDS[label.name]] = label.id
    return lut
