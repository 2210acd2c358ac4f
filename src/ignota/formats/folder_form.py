"""The form that all formats convert from and to: the data set form `folder`, and the output of `ignota segment`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jaxtyping import UInt8

from ignota.data.datasets import open_dataset
from ignota.data.files import as_name, as_text, natural_key, one_line, write_atomically
from ignota.data.folder import read_classes
from ignota.data.images import read_label, write_indexed_png
from ignota.formats.documents import entries, entry, load_json, typed, wrong
from ignota.formats.labels import Labelling, LabelMap, LabelPicture, Tick, copy_image, counted, pieces, unknown_class
from ignota.structures import InputError
from ignota.taxonomy import IGNORE_INDEX, UNKNOWN_COLOUR, ClassLabel

CLASSES = "classes.yaml"
_LABELS = "_labels.png"
_ANOMALY_MAP = (ClassLabel(0, "normal", (90, 90, 90)), ClassLabel(1, "anomaly", UNKNOWN_COLOUR))


def read(root: Path, split: str | None = None) -> Labelling:
    """A data set in the form `folder`, or a folder that `ignota segment` filled; raises InputError for another."""
    if (root / CLASSES).is_file():
        return read_folder(root, split)
    results = sorted((path for path in root.glob(f"*{_LABELS}")), key=lambda path: natural_key(path.name))
    if not results:
        raise wrong(root, f"it holds neither {CLASSES} nor *{_LABELS}", "name a data set or what `segment` left")
    if split is not None:
        raise wrong(root, "what `segment` left has no splits", "leave --split out")
    return read_results(root, [path.name.removesuffix(_LABELS) for path in results])


def read_folder(root: Path, split: str | None) -> Labelling:
    """images/, masks/ and classes.yaml, with the values as stored; normal/anomaly labels become 0 and 1."""
    dataset = open_dataset("folder", root, split)
    labels, anomaly = read_folder_map(root / CLASSES)

    def each() -> Iterator[LabelPicture]:
        for i, key in enumerate(dataset.keys):
            read_as_classes = dataset.load_label(i)  # raises for values that classes.yaml does not define
            stored = read_as_classes if anomaly else read_label(dataset.label_paths[i])
            yield LabelPicture(as_text(key), stored, dataset.image_paths[i])

    return Labelling(labels, each(), len(dataset))


def read_folder_map(path: Path) -> tuple[LabelMap, bool]:
    """The label map of a classes.yaml, and whether it tells normal from anomaly alone; raises InputError."""
    taxonomy, table = read_classes(path)
    if taxonomy is None:
        return LabelMap(_ANOMALY_MAP), True
    values = {int(table[value]): value for value in range(256) if 0 <= table[value] < len(taxonomy)}
    void = tuple(value for value in range(255, -1, -1) if table[value] == IGNORE_INDEX)
    if not void:
        raise wrong(path, "no value is void", "leave one of 0..255 to pixels of no class, such as 255")
    classes = [ClassLabel(values[label.id], label.name, label.colour) for label in taxonomy.classes]
    return LabelMap(tuple(sorted(classes, key=lambda label: label.id)), void), False


def write_folder(labelling: Labelling, out: Path, tick: Tick | None = None) -> None:
    """images/, masks/ and classes.yaml; raises InputError for an image that is missing or a key that comes twice."""
    masks = out / "masks"
    masks.mkdir(parents=True, exist_ok=True)
    seen: set[str] = set()
    palette = labelling.labels.palette()
    for picture in counted(labelling, tick):
        name = one_line(picture.key)
        if picture.key in seen:
            raise InputError(f"two images are called {name!r}: rename one of them")
        if picture.image is None:
            raise InputError(f"the image of {name!r} is not there: say with --images DIR where the images lie")
        seen.add(picture.key)
        list(pieces(picture, labelling.labels))  # raises for values without a meaning
        write_indexed_png(masks / f"{picture.key}.png", picture.label, palette)
        copy_image(picture, out / "images")
    if not seen:
        raise InputError("there is no labelled image in it: check what was exported")
    write_atomically(out / CLASSES, _classes_text(labelling.labels).encode("utf-8"))


def _classes_text(labels: LabelMap) -> str:
    if labels.classes == _ANOMALY_MAP:
        return yaml.safe_dump({"anomaly": [1], "ignore": list(labels.ignore)}, default_flow_style=None)
    classes = {label.id: {"name": label.name, "colour": list(label.colour)} for label in labels.classes}
    content = {"classes": classes, "ignore": list(labels.ignore)}
    return yaml.safe_dump(content, default_flow_style=None, sort_keys=False, allow_unicode=True, width=200)


def read_results(root: Path, names: list[str]) -> Labelling:
    """NAME_labels.png and NAME.json of `segment`; unknown is a class of its own. Raises InputError."""
    labels = _results_map(root / f"{names[0]}.json")

    def each() -> Iterator[LabelPicture]:
        for name in names:
            path = root / f"{name}.json"
            if _results_map(path) != labels:
                raise wrong(path, "its classes are not those of the others", "segment all with one world")
            image = _image(path)
            anomaly = root / f"{name}_anomaly.png"
            yield LabelPicture(as_text(name), _label(root, name), image, anomaly if anomaly.is_file() else None)

    return Labelling(labels, each(), len(names))


def _results_map(path: Path) -> LabelMap:
    content = load_json(path, dict)
    classes = [_class(path, found) for found in entries(path, content, "classes")]
    values = entry(path, content, "labels", dict, "the file")
    unknown, void = (entry(path, values, key, int, "'labels'") for key in ("unknown", "void"))
    try:
        return LabelMap((*classes, unknown_class(unknown)), (void,))
    except ValueError as error:
        raise wrong(path, str(error), "segment the image again") from error


def _class(path: Path, found: dict[str, Any]) -> ClassLabel:
    colour = [typed(path, value, int, "a colour") for value in entry(path, found, "colour", list, "a class")]
    if len(colour) != 3 or not all(0 <= value <= 255 for value in colour):
        raise wrong(path, f"a class has the colour {colour}"[:80], "segment the image again")
    number, name = entry(path, found, "id", int, "a class"), entry(path, found, "name", str, "a class")
    return ClassLabel(number, name, (colour[0], colour[1], colour[2]))


def _image(path: Path) -> Path | None:
    """The image itself; a frame of a video has no file of its own."""
    content = load_json(path, dict)
    image = Path(as_name(entry(path, content, "image", str, "the file")))
    return image if content.get("frame") is None and "\0" not in str(image) and image.is_file() else None


def _label(root: Path, name: str) -> UInt8[np.ndarray, "H W"]:
    return read_label(root / f"{name}{_LABELS}")
