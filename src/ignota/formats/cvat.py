"""CVAT for images 1.1: annotations.xml with masks; polygons, boxes and ellipses are read too.

A mask is a box and the runs of zeros and ones by turns inside it, row by row, the first of zeros.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Bool

from ignota.data.files import one_line, write_atomically
from ignota.formats.documents import LARGEST_JSON, is_number, label_map, picture_path, value_of, wrong
from ignota.formats.drawing import fill_box, fill_crossings
from ignota.formats.labels import Labelling, LabelMap, LabelPicture, Tick, blank, copy_image, counted, pieces
from ignota.formats.rle import counts_mask, mask_counts

FILE = "annotations.xml"
_AREAS = ("mask", "polygon", "box")


def write(labelling: Labelling, out: Path, by_region: bool = False, tick: Tick | None = None) -> None:
    """annotations.xml and images/KEY.*, which CVAT takes as an archive of a task."""
    root = Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    ElementTree.SubElement(task, "name").text = "ignota"
    ElementTree.SubElement(task, "size").text = str(labelling.length)
    listed = ElementTree.SubElement(task, "labels")
    for label in labelling.labels.classes:
        element = ElementTree.SubElement(listed, "label")
        ElementTree.SubElement(element, "name").text = label.name
        ElementTree.SubElement(element, "color").text = f"#{bytes(label.colour).hex()}"
        ElementTree.SubElement(element, "type").text = "mask"
        ElementTree.SubElement(element, "attributes")
    for number, picture in enumerate(counted(labelling, tick)):
        height, width = picture.label.shape
        name = copy_image(picture, out / "images")
        image = ElementTree.SubElement(
            root, "image", {"id": str(number), "name": name, "width": str(width), "height": str(height)}
        )
        for label, mask in pieces(picture, labelling.labels, by_region):
            ElementTree.SubElement(image, "mask", _attributes(label.name, mask))
    ElementTree.indent(root)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / FILE, ElementTree.tostring(root, "utf-8", xml_declaration=True))


def read(root: Path, images: Sequence[Path], labels: LabelMap | None) -> Labelling:
    """annotations.xml; shapes of a higher z_order lie over others, else later ones over earlier. Raises InputError."""
    path = root / FILE if root.is_dir() else root
    document = _parsed(path)
    listed = document.findall("image")
    if not listed:
        raise wrong(path, "it holds no image", "export the task as 'CVAT for images 1.1'")
    named = [element.text or "" for element in document.findall("meta/*/labels/label/name")]
    shown = [shape.get("label", "") for image in listed for shape in image if shape.tag in _AREAS]
    labels = labels or label_map(path, [*named, *shown])
    left_out: Counter[str] = Counter()

    def each() -> Iterator[LabelPicture]:
        for element in listed:
            key, image = picture_path(path, element.get("name"), (*images, path.parent / "images", path.parent))
            size = _whole(path, element, "height"), _whole(path, element, "width")
            label = blank(size, labels, path)
            for shape in sorted(element, key=lambda shape: _whole(path, shape, "z_order", 0)):
                if shape.tag not in _AREAS or shape.get("rotation", "0").strip("0.") != "":
                    left_out[f"{shape.tag[:40]} without an upright area"] += 1
                    continue
                label[_mask(path, shape, size)] = value_of(path, labels, shape.get("label", ""))
            yield LabelPicture(key, label, image)

    return Labelling(labels, each(), len(listed), left_out)


def _parsed(path: Path) -> Element:
    """The document; one that declares entities is refused, as they can grow without bounds or name other files."""
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise wrong(path, "it is larger than 1 GB", "split it")
        text = path.read_bytes().decode("utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise wrong(path, "it declares a document type", "export it again from CVAT")
        return ElementTree.fromstring(text)
    except OSError as error:
        raise wrong(path, str(error.strerror), "name annotations.xml or its folder") from error
    except UnicodeDecodeError as error:
        raise wrong(path, "it is not in UTF-8", "export it again from CVAT") from error
    except (ElementTree.ParseError, RecursionError) as error:
        raise wrong(path, f"it is no XML ({error})", "export it again from CVAT") from error


def _attributes(name: str, mask: Bool[np.ndarray, "H W"]) -> dict[str, str]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = int(rows[0]), int(columns[0])
    window = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    box = {"left": left, "top": top, "width": window.shape[1], "height": window.shape[0]}
    runs = ", ".join(map(str, mask_counts(window.T)))  # the transpose's columns are our rows
    return {"label": name, "source": "auto", "occluded": "0", "rle": runs} | {
        key: str(value) for key, value in (box | {"z_order": 0}).items()
    }


def _mask(path: Path, shape: Element, size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    if shape.tag == "mask":
        return _stored_mask(path, shape, size)
    if shape.tag == "polygon":
        return fill_crossings(size, _points(path, shape))
    left, top, right, bottom = (_number(path, shape, key) for key in ("xtl", "ytl", "xbr", "ybr"))
    return fill_box(size, left, top, right, bottom)


def _stored_mask(path: Path, shape: Element, size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    left, top, width, height = (_whole(path, shape, key) for key in ("left", "top", "width", "height"))
    if min(left, top) < 0 or min(width, height) < 1 or left + width > size[1] or top + height > size[0]:
        raise wrong(path, f"a mask of {width}×{height} at {left}, {top} lies outside its image", "draw it again")
    try:
        counts = [int(count) for count in shape.get("rle", "").split(",")]
        window = counts_mask(counts, (width, height)).T
    except (ValueError, OverflowError) as error:
        raise wrong(path, f"the RLE of a mask is damaged ({error})", "export it again from CVAT") from error
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = window
    return mask


def _points(path: Path, shape: Element) -> list[tuple[float, float]]:
    try:
        points = [tuple(map(float, pair.split(","))) for pair in shape.get("points", "").split(";")]
    except ValueError:
        points = [()]
    if not all(len(point) == 2 and all(map(is_number, point)) for point in points):
        raise wrong(path, f"a polygon has the points {one_line(shape.get('points'))[:60]!r}", "write x,y;x,y;…")
    return [(point[0], point[1]) for point in points]


def _whole(path: Path, element: Element, key: str, default: int | None = None) -> int:
    text = element.get(key)
    if text is None and default is not None:
        return default
    try:
        return int(str(text)[:20])
    except ValueError:
        raise wrong(
            path, f"{key!r} of <{element.tag[:40]}> is {one_line(text)[:40]!r}", "write a whole number"
        ) from None


def _number(path: Path, element: Element, key: str) -> float:
    try:
        value = float(str(element.get(key))[:40])
    except ValueError:
        value = float("nan")
    if not is_number(value):
        raise wrong(path, f"{key!r} of <{element.tag[:40]}> is {one_line(element.get(key))[:40]!r}", "write pixels")
    return value
