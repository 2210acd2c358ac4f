"""COCO: annotations.json with compressed RLE, holes and all; polygons and uncompressed RLE are read too.

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014. A category's id is the stored label value.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from ignota.data.files import write_json
from ignota.formats.documents import (
    entries,
    entry,
    is_number,
    json_files,
    label_map,
    load_json,
    picture_path,
    size_of,
    typed,
    value_of,
    wrong,
)
from ignota.formats.drawing import fill_crossings
from ignota.formats.labels import MAP_FILE, Labelling, LabelMap, LabelPicture, Tick, blank, copy_image, counted, pieces
from ignota.formats.rle import counts_mask, decode_mask, encode_mask

FILE = "annotations.json"


def write(labelling: Labelling, out: Path, by_region: bool = False, tick: Tick | None = None) -> None:
    """One annotation for each class of an image, or for each region; ids count from 1."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for picture in counted(labelling, tick):
        height, width = picture.label.shape
        name = copy_image(picture, out / "images")
        images.append({"id": len(images) + 1, "file_name": name, "width": width, "height": height})
        for label, mask in pieces(picture, labelling.labels, by_region):
            annotations.append(_annotation(len(annotations) + 1, len(images), label.id, mask))
    categories = [{"id": label.id, "name": label.name, "supercategory": ""} for label in labelling.labels.classes]
    write_json(out / FILE, {"images": images, "annotations": annotations, "categories": categories}, compact=True)


def read(root: Path, images: Sequence[Path], labels: LabelMap | None) -> Labelling:
    """A COCO file, or the one in a folder; later annotations lie over earlier ones. Raises InputError."""
    path = _file(root)
    content = load_json(path, dict)
    categories: dict[int, str] = {}
    for found in entries(path, content, "categories"):
        categories[entry(path, found, "id", int, "a category")] = entry(path, found, "name", str, "a category")
    labels = labels or label_map(path, categories.values(), {name: number for number, name in categories.items()})
    shapes: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for found in entries(path, content, "annotations"):
        shapes[entry(path, found, "image_id", int, "an annotation")].append(found)
    listed = entries(path, content, "images")
    places = (*images, path.parent / "images", path.parent, path.parent.parent / "images")
    left_out: Counter[str] = Counter()

    def each() -> Iterator[LabelPicture]:
        for found in listed:
            key, image = picture_path(path, entry(path, found, "file_name", str, "an image"), places)
            size = size_of(path, found, f"image {key!r}")
            label = blank(size, labels, path)
            for shape in shapes[entry(path, found, "id", int, "an image")]:
                mask = _mask(path, shape, size)
                if mask is None:
                    left_out["annotation without a segmentation"] += 1
                else:
                    label[mask] = _value(path, shape, categories, labels)
            yield LabelPicture(key, label, image)

    return Labelling(labels, each(), len(listed), left_out)


def _annotation(number: int, image: int, category: int, mask: Bool[np.ndarray, "H W"]) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    left, top = int(columns[0]), int(rows[0])
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": {"size": list(mask.shape), "counts": encode_mask(mask)},
        "area": int(mask.sum()),
        "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
        "iscrowd": 0,
    }


def _mask(path: Path, shape: dict[str, Any], size: tuple[int, int]) -> Bool[np.ndarray, "H W"] | None:
    segmentation = shape.get("segmentation")
    if not segmentation:
        return None
    where = f"the segmentation of annotation {shape.get('id')}"
    if isinstance(segmentation, dict):
        return rle_mask(path, segmentation, size, where)
    mask = np.zeros(size, bool)
    for polygon in typed(path, segmentation, list, where):
        flat = typed(path, polygon, list, where)
        if len(flat) % 2 or not all(map(is_number, flat)):
            raise wrong(path, f"{where} is no list of x, y, x, y, …", "write pixels in pairs")
        mask |= fill_crossings(size, list(zip(flat[::2], flat[1::2], strict=True)))
    return mask


def rle_mask(path: Path, rle: dict[str, Any], size: tuple[int, int], where: str) -> Bool[np.ndarray, "H W"]:
    """The mask of a COCO RLE object, compressed or not; raises InputError unless it is of `size`."""
    if rle.get("size") != list(size):
        raise wrong(
            path, f"{where} has the size {rle.get('size')}, its image {list(size)}", "take both from one source"
        )
    counts = rle.get("counts")
    try:
        return (
            decode_mask(counts, size)
            if isinstance(counts, str)
            else counts_mask(typed(path, counts, list, where), size)
        )
    except ValueError as error:
        raise wrong(path, f"{where} is damaged: {error}", "export it again") from error


def _value(path: Path, shape: dict[str, Any], categories: dict[int, str], labels: LabelMap) -> int:
    number = entry(path, shape, "category_id", int, "an annotation")
    if number not in categories:
        raise wrong(path, f"an annotation has category {number}, which is not in 'categories'", "add it")
    return value_of(path, labels, categories[number])


def _file(root: Path) -> Path:
    if not root.is_dir():
        return root
    if (root / FILE).is_file():
        return root / FILE
    folder = root / "annotations" if (root / "annotations").is_dir() else root
    found = json_files(folder, (MAP_FILE,))
    if len(found) > 1:
        raise wrong(folder, f"it holds {len(found)} JSON files", f"name one of them, such as {found[0].name}")
    return found[0]
