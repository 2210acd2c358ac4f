"""Datumaro: annotations/default.json and images/default/; CVAT imports and exports it as well.

A label's number is its place in the list of classes; colours stand in the colour map of the masks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from ignota.data.files import write_json
from ignota.formats.coco import rle_mask
from ignota.formats.documents import (
    entries,
    entry,
    is_number,
    json_files,
    label_map,
    load_json,
    picture_path,
    typed,
    value_of,
    wrong,
)
from ignota.formats.drawing import fill_box, fill_crossings
from ignota.formats.labels import MAP_FILE, Labelling, LabelMap, LabelPicture, Tick, blank, copy_image, counted, pieces
from ignota.formats.rle import encode_mask

_SUBSET = "default"
_AREAS = ("mask", "polygon", "bbox")


def write(labelling: Labelling, out: Path, by_region: bool = False, tick: Tick | None = None) -> None:
    """One item for each image with its masks as compressed RLE."""
    classes = labelling.labels.classes
    place = {label.id: i for i, label in enumerate(classes)}
    items = []
    for picture in counted(labelling, tick):
        name = copy_image(picture, out / "images" / _SUBSET)
        masks = [
            _mask_entry(number, place[label.id], mask)
            for number, (label, mask) in enumerate(pieces(picture, labelling.labels, by_region))
        ]
        image = {"path": name, "size": list(picture.label.shape)}
        items.append({"id": picture.key, "annotations": masks, "attr": {}, "image": image})
    listed = [{"name": label.name, "parent": "", "attributes": []} for label in classes]
    colours = [dict(zip("rgb", label.colour, strict=True)) | {"label_id": i} for i, label in enumerate(classes)]
    categories = {
        "label": {"labels": listed, "label_groups": [], "attributes": []},
        "mask": {"colormap": colours},
    }
    head = {"dm_format_version": "1.0", "media_type": 2, "infos": {}, "categories": categories}
    write_json(out / "annotations" / f"{_SUBSET}.json", head | {"items": items}, compact=True)


def read(root: Path, images: Sequence[Path], labels: LabelMap | None) -> Labelling:
    """A Datumaro JSON, or the one below annotations/; a higher z_order lies over others. Raises InputError."""
    path = _file(root)
    content = load_json(path, dict)
    categories = entry(path, content, "categories", dict, "the file")
    listed = entries(path, entry(path, categories, "label", dict, "'categories'"), "labels", "'label'")
    names = [entry(path, found, "name", str, "a label") for found in listed]
    labels = labels or label_map(path, names)
    items = entries(path, content, "items")
    base = path.parent.parent / "images"
    places = (*images, base / path.stem, base, path.parent)
    left_out: Counter[str] = Counter()

    def each() -> Iterator[LabelPicture]:
        for item in items:
            picture = entry(path, item, "image", dict, "an item")
            key, image = picture_path(path, picture.get("path") or item.get("id"), places)
            label = blank(_size(path, picture, key), labels, path)
            shapes = entries(path, item, "annotations", f"item {key!r}")
            for shape in sorted(shapes, key=lambda shape: _order(path, shape)):
                if shape.get("type") not in _AREAS:
                    left_out[f"{str(shape.get('type'))[:40]} without an area"] += 1
                    continue
                number = entry(path, shape, "label_id", int, "an annotation")
                if not 0 <= number < len(names):
                    raise wrong(path, f"an annotation has label {number} of {len(names)}", "add it to 'labels'")
                label[_mask(path, shape, (label.shape[0], label.shape[1]))] = value_of(path, labels, names[number])
            yield LabelPicture(key, label, image)

    return Labelling(labels, each(), len(items), left_out)


def _mask_entry(number: int, label: int, mask: Bool[np.ndarray, "H W"]) -> dict[str, Any]:
    rle = {"size": list(mask.shape), "counts": encode_mask(mask)}
    head = {"id": number, "type": "mask", "attributes": {}, "group": 0, "object_id": -1}
    return head | {"label_id": label, "rle": rle, "z_order": 0}


def _mask(path: Path, shape: dict[str, Any], size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    where = f"annotation {shape.get('id')}"
    if shape["type"] == "mask":
        return rle_mask(path, entry(path, shape, "rle", dict, where), size, where)
    key = "points" if shape["type"] == "polygon" else "bbox"
    values = entry(path, shape, key, list, where)
    if not all(map(is_number, values)) or len(values) % 2 or (key == "bbox" and len(values) != 4):
        raise wrong(path, f"{key!r} of {where} are no coordinates", "write pixels in pairs")
    if key == "points":
        return fill_crossings(size, list(zip(values[::2], values[1::2], strict=True)))
    left, top, width, height = values
    return fill_box(size, left, top, left + width, top + height)


def _size(path: Path, picture: dict[str, Any], key: str) -> tuple[int, int]:
    size = [typed(path, side, int, "a side") for side in entry(path, picture, "size", list, f"image {key!r}")]
    if len(size) != 2:
        raise wrong(path, f"the size of {key!r} is {size}"[:80], "write [height, width]")
    return size[0], size[1]


def _order(path: Path, shape: dict[str, Any]) -> int:
    return typed(path, shape.get("z_order") or 0, int, "'z_order'")


def _file(root: Path) -> Path:
    if not root.is_dir():
        return root
    found = json_files(root / "annotations" if (root / "annotations").is_dir() else root, (MAP_FILE,))
    if len(found) > 1:
        raise wrong(root, f"it holds {len(found)} subsets", f"name the file of one, such as {found[0].name}")
    return found[0]
