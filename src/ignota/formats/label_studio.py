"""Label Studio: tasks.json with brush labels, and config.xml for a project; polygons and boxes are read too."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import quoteattr

import numpy as np
from jaxtyping import Bool

from ignota.data.files import write_json
from ignota.data.images import image_size
from ignota.formats.documents import (
    entry,
    is_number,
    json_files,
    label_map,
    load_json,
    picture_path,
    points_of,
    size_of,
    typed,
    value_of,
    wrong,
)
from ignota.formats.drawing import fill_box, fill_crossings
from ignota.formats.labels import MAP_FILE, Labelling, LabelMap, LabelPicture, Tick, blank, copy_image, counted, pieces
from ignota.formats.rle import decode_brush, encode_brush

FILE = "tasks.json"
_LOCAL = "/data/local-files/?d="
_KINDS = ("brushlabels", "polygonlabels", "rectanglelabels")


def write(labelling: Labelling, out: Path, by_region: bool = False, tick: Tick | None = None) -> None:
    """tasks.json with one finished annotation a task; images are named for local storage, as images/KEY.*."""
    tasks = []
    for number, picture in enumerate(counted(labelling, tick), start=1):
        name = copy_image(picture, out / "images")
        results = [
            _result(picture.key, i, label.name, mask)
            for i, (label, mask) in enumerate(pieces(picture, labelling.labels, by_region))
        ]
        tasks.append({"id": number, "data": {"image": f"{_LOCAL}images/{name}"}, "annotations": [{"result": results}]})
    write_json(out / FILE, tasks, compact=True)
    lines = [
        f'    <Label value={quoteattr(label.name)} background="#{bytes(label.colour).hex()}"/>'
        for label in labelling.labels.classes
    ]
    brush = "\n".join(['  <BrushLabels name="label" toName="image">', *lines, "  </BrushLabels>"])
    (out / "config.xml").write_text(f'<View>\n  <Image name="image" value="$image"/>\n{brush}\n</View>\n', "utf-8")


def read(root: Path, images: Sequence[Path], labels: LabelMap | None) -> Labelling:
    """An export in Label Studio's own JSON; of several annotations the last one that was not cancelled. No address that
    stands in it is ever opened. Raises InputError."""
    path = root if not root.is_dir() else root / FILE if (root / FILE).is_file() else json_files(root, (MAP_FILE,))[0]
    tasks = [typed(path, task, dict, "a task") for task in load_json(path, list)]
    found = [_results(path, task) for task in tasks]
    labels = labels or label_map(path, [name for results in found for name in _names(path, results)])
    places = (*images, path.parent / "images", path.parent)
    left_out: Counter[str] = Counter()

    def each() -> Iterator[LabelPicture]:
        for task, results in zip(tasks, found, strict=True):
            key, image = _image(path, task, places)
            areas = [result for result in results if result.get("type") in _KINDS and not result.get("image_rotation")]
            left_out.update(str(result.get("type"))[:40] for result in results if result not in areas)
            if not areas and (image is None or not _finished(path, task)):
                left_out["task without an annotation"] += 1
                continue
            size = _size(path, areas[0], key) if areas or image is None else image_size(image)
            label = blank(size, labels, path)
            for result in areas:
                label[_mask(path, result, size)] = value_of(path, labels, _name(path, result))
            yield LabelPicture(key, label, image)

    return Labelling(labels, each(), len(tasks), left_out)


def _size(path: Path, result: dict[str, Any], where: str) -> tuple[int, int]:
    return size_of(path, result, f"a result of {where!r}", ("original_height", "original_width"))


def _result(key: str, number: int, name: str, mask: Bool[np.ndarray, "H W"]) -> dict[str, Any]:
    height, width = mask.shape
    return {
        "id": hashlib.sha256(f"{key} {number}".encode()).hexdigest()[:10],
        "type": "brushlabels",
        "from_name": "label",
        "to_name": "image",
        "origin": "manual",
        "image_rotation": 0,
        "original_width": width,
        "original_height": height,
        "value": {"format": "rle", "rle": encode_brush(mask), "brushlabels": [name]},
    }


def _results(path: Path, task: dict[str, Any]) -> list[dict[str, Any]]:
    finished = _finished(path, task)
    if not finished:
        return []
    return [typed(path, one, dict, "a result") for one in entry(path, finished[-1], "result", list, "an annotation")]


def _finished(path: Path, task: dict[str, Any]) -> list[dict[str, Any]]:
    """The annotations of a task that nobody cancelled."""
    given = typed(path, task.get("annotations") or [], list, "'annotations'")
    return [one for one in given if not typed(path, one, dict, "an annotation").get("was_cancelled")]


def _names(path: Path, results: Sequence[dict[str, Any]]) -> list[str]:
    return [_name(path, result) for result in results if result.get("type") in _KINDS]


def _name(path: Path, result: dict[str, Any]) -> str:
    names = entry(path, entry(path, result, "value", dict, "a result"), result["type"], list, "a result")
    if len(names) != 1:
        raise wrong(path, f"a result has {len(names)} labels", "give it one")
    return typed(path, names[0], str, "a label")


def _image(path: Path, task: dict[str, Any], places: Sequence[Path]) -> tuple[str, Path | None]:
    """Key and file from an address: its local path or its last part, without what an upload put before the name."""
    data = entry(path, task, "data", dict, "a task")
    address = next((value for value in data.values() if isinstance(value, str) and value), None)
    if address is None:
        raise wrong(path, "a task names no image", "put its address into 'data'")
    parts = urlsplit(address[:2000])
    local = parse_qs(parts.query).get("d")
    name = local[0] if local else unquote(parts.path).rpartition("/")[2]
    key, image = picture_path(path, name, places)
    plain = re.sub(r"^[0-9a-f]{8}-", "", name)
    if image is None and plain != name:
        plain_key, image = picture_path(path, plain, places)
        key = plain_key if image else key
    return (key if local is None else Path(name).stem), image


def _mask(path: Path, result: dict[str, Any], size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    value, where = entry(path, result, "value", dict, "a result"), f"result {str(result.get('id'))[:20]!r}"
    if _size(path, result, where) != size:
        raise wrong(path, f"{where} has another size than the one before it", "export it again")
    x_scale, y_scale = size[1] / 100, size[0] / 100
    if result["type"] == "brushlabels":
        try:
            return decode_brush(entry(path, value, "rle", list, where), size)
        except ValueError as error:
            raise wrong(path, f"{where} is damaged: {error}", "export it again") from error
    if result["type"] == "polygonlabels":
        points = points_of(path, value.get("points"), where)
        return fill_crossings(size, [(x * x_scale, y * y_scale) for x, y in points])
    box: list[Any] = [value.get(part) for part in ("x", "y", "width", "height")]
    if not all(map(is_number, box)) or value.get("rotation"):
        raise wrong(path, f"{where} is no upright box", "draw it as a polygon")
    x, y, width, height = map(float, box)
    return fill_box(size, x * x_scale, y * y_scale, (x + width) * x_scale, (y + height) * y_scale)
