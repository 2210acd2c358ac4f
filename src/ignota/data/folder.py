"""A user's own images: `images/` + `masks/` + `classes.yaml`, optionally with a folder per split.

classes.yaml lists the classes in the order of their label values, or maps label values to classes:

    classes: [road, {name: car, colour: [0, 0, 142]}]      # values 0 and 1; a colour is made up where none is given
    classes: {7: road, 26: car}                            # values 7 and 26
    ignore: [0, 255]                                       # void; by default 255

or, for labels that tell only normal from anomaly, names the values that are anomalies (all others are normal):

    anomaly: [2]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ignota.data.files import one_line
from ignota.data.listing import Layout, Listing, Pair, in_usual_order, pictures, subfolders, value_table
from ignota.data.yaml_files import YamlError, read_yaml
from ignota.structures import InputError
from ignota.taxonomy import IGNORE_INDEX, ClassLabel, Taxonomy, made_up_colour

_WHOLE = "all"
CLASSES_FILE = "classes.yaml"
_LARGEST_FILE = 100_000


def read_classes(path: Path) -> tuple[Taxonomy | None, NDArray[np.int16]]:
    """The taxonomy (None: normal/anomaly) and the table of label values that a classes.yaml defines.

    Raises InputError that names the entry which is wrong.
    """
    content = _load(path)
    ignore = content.get("ignore", IGNORE_INDEX)
    void = _values(path, "ignore", ignore if isinstance(ignore, list) else [ignore])
    if "anomaly" in content:
        anomaly = content["anomaly"]
        values = _values(path, "anomaly", anomaly if isinstance(anomaly, list) else [anomaly])
        normal = {value: 0 for value in range(255) if value not in void}
        return None, value_table({**normal, **dict.fromkeys(values, 1)}, {*void, IGNORE_INDEX})
    entries = content.get("classes")
    if isinstance(entries, list):
        entries = dict(enumerate(entries))
    if not isinstance(entries, dict) or not entries:
        raise _wrong(path, "it has no list `classes`", "write e.g. `classes: [road, car]`")
    values = _values(path, "classes", list(entries))
    labels = tuple(_class(path, i, entry) for i, entry in enumerate(entries.values()))
    try:
        taxonomy = Taxonomy(path.parent.name or "folder", labels)
    except ValueError as error:
        raise _wrong(path, one_line(error), "give each class a name of its own") from error
    table = value_table({value: i for i, value in enumerate(values)}, {*void, IGNORE_INDEX} - set(values))
    return taxonomy, table


def _load(path: Path) -> dict[Any, Any]:
    try:
        content = read_yaml(path, _LARGEST_FILE)
    except FileNotFoundError as error:
        raise _wrong(path, "it is missing", "write e.g. `classes: [road, car]` into it") from error
    except OSError as error:
        raise _wrong(path, str(error.strerror), "check path and permissions") from error
    except YamlError as error:
        raise _wrong(path, str(error), "write e.g. `classes: [road, car]`") from error
    if isinstance(content, list):
        return {"classes": content}
    if not isinstance(content, dict):
        raise _wrong(path, "it has no list `classes`", "write e.g. `classes: [road, car]`")
    return content


def _values(path: Path, field: str, values: list[Any]) -> list[int]:
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 255:
            raise _wrong(path, f"`{field}` has {one_line(repr(value))[:60]}", "label values are numbers 0..255")
    return values


def _class(path: Path, index: int, entry: Any) -> ClassLabel:
    name = entry.get("name") if isinstance(entry, dict) else entry
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        remedy = "write a name, or {name: …, colour: [r, g, b]}; quote names such as 'no'"
        raise _wrong(path, f"class {index} is {one_line(repr(entry))[:60]}", remedy)
    colour = entry.get("colour") if isinstance(entry, dict) else None
    if colour is None:
        return ClassLabel(index, name.strip(), made_up_colour(index))
    if not isinstance(colour, list) or len(colour) != 3:
        raise _wrong(path, f"the colour of {name!r} is {one_line(repr(colour))[:60]}", "write [r, g, b] in 0..255")
    red, green, blue = _values(path, f"colour of {name}", colour)
    return ClassLabel(index, name.strip(), (red, green, blue))


def _wrong(path: Path, what: str, remedy: str) -> InputError:
    return InputError(f"{one_line(path)}: {what}; {remedy}")


def _splits(root: Path) -> tuple[str, ...]:
    if not (root / "images").is_dir():
        return ()
    return in_usual_order(subfolders(root / "images")) or (_WHOLE,)


def _folder(root: Path, split: str) -> Listing:
    inner = "" if split == _WHOLE and not (root / "images" / _WHOLE).is_dir() else split
    masks = root / "masks" / inner
    pairs = tuple(Pair(path.stem, path, masks / f"{path.stem}.png") for path in pictures(root / "images" / inner))
    taxonomy, table = read_classes(root / CLASSES_FILE)
    return Listing(pairs, table, taxonomy)


FOLDER_LAYOUT = Layout(
    _splits, _folder, "images/ID.jpg|png|webp with masks/ID.png and classes.yaml, or images/SPLIT with masks/SPLIT"
)
