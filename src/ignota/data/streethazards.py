"""StreetHazards: Hendrycks et al., Scaling out-of-distribution detection for real-world settings, ICML 2022.

Lists of files in .odgt (one JSON array; one object a line is read too), label value - 1, class 13 = anomaly.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

from ignota.data.files import one_line
from ignota.data.listing import Layout, Listing, Pair, in_usual_order, value_table
from ignota.structures import InputError
from ignota.taxonomy import STREETHAZARDS

_LISTS = {
    "train": ("train.odgt", "training.odgt"),
    "val": ("validation.odgt", "val.odgt"),
    "test": ("test.odgt",),
}
_FOLDERS = ("", "train", "test", "val", "data")
_LENGTHS = {"train": 5125, "val": 1031, "test": 1500}
_ANOMALY_VALUE = 14


def _list_file(root: Path, split: str) -> Path | None:
    candidates = (root / folder / name for name in _LISTS[split] for folder in _FOLDERS)
    return next((path for path in candidates if path.is_file()), None)


def _splits(root: Path) -> tuple[str, ...]:
    return in_usual_order(split for split in _LISTS if _list_file(root, split) is not None)


def _streethazards(root: Path, split: str) -> Listing:
    """The splits train and val carry classes, test the anomaly labels (class 13 = anomaly, all others normal)."""
    path = _list_file(root, split)
    entries = _entries(path) if path is not None else []
    pairs = tuple(_pair(path, root, entry) for entry in entries if path is not None)
    if split == "test":
        normal = dict.fromkeys(range(1, _ANOMALY_VALUE), 0)
        return Listing(
            pairs, value_table({**normal, _ANOMALY_VALUE: 1}, void=(0, 255)), None, (720, 1280), _LENGTHS[split]
        )
    table = value_table({label.id + 1: label.id for label in STREETHAZARDS.classes}, void=(0, 255))
    return Listing(pairs, table, STREETHAZARDS, (720, 1280), _LENGTHS[split])


def _entries(path: Path) -> list[Any]:
    try:
        text = path.read_text("utf-8").strip()
        if text.startswith("["):
            entries = json.loads(text)
        else:
            entries = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{one_line(path)} is no list of images ({one_line(error)}); it is a JSON array") from error
    return list(entries)


def _pair(path: Path, root: Path, entry: Any) -> Pair:
    """Names are relative to the list's folder or the data set's; towns repeat file names, so keys carry both."""
    fields = entry if isinstance(entry, dict) else {}
    image, label = (_inside(path, fields.get(field)) for field in ("fpath_img", "fpath_segm"))
    base = next((folder for folder in (path.parent, root) if (folder / image).is_file()), path.parent)
    return Pair(f"{image.parent.name}_{image.stem}", base / image, base / label)


def _inside(path: Path, name: object) -> PurePosixPath:
    if not isinstance(name, str):
        raise InputError(f"{one_line(path)}: each entry needs fpath_img and fpath_segm; fetch the list again")
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts:
        raise InputError(f"{one_line(path)}: {one_line(name)!r} leads out of the data set; list files inside it")
    return relative


STREETHAZARDS_LAYOUT = Layout(
    _splits, _streethazards, "train.odgt, validation.odgt, test.odgt with the files they list"
)
