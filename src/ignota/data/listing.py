"""The contents of one split of a data set on disk: pairs of files and the meaning of label values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ignota.data.files import natural_key
from ignota.taxonomy import IGNORE_INDEX, Taxonomy

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")

UNKNOWN_VALUE = -1
"""In a lookup table: a label value that the data set does not define."""


@dataclass(frozen=True)
class Pair:
    """An image and its label picture; key: the image's name in its data set, without suffix."""

    key: str
    image: Path
    label: Path


@dataclass(frozen=True)
class Listing:
    """One split of a published data set.

    lut: "256" int16, stored label value → class id (or 0 normal, 1 anomaly), 255 void, -1 unknown.
    taxonomy: None where the labels are normal/anomaly. expected_size: (H, W) as published, expected_length: the
    number of images as published; None where it is not fixed.
    """

    pairs: tuple[Pair, ...]
    lut: NDArray[np.int16]
    taxonomy: Taxonomy | None
    expected_size: tuple[int, int] | None = None
    expected_length: int | None = None


@dataclass(frozen=True)
class Layout:
    """How a data set lies on disk: which splits a folder holds, what a split consists of, and that in words."""

    splits: Callable[[Path], tuple[str, ...]]
    list: Callable[[Path, str], Listing]
    form: str


def value_table(values: Mapping[int, int], void: Iterable[int] = (IGNORE_INDEX,)) -> NDArray[np.int16]:
    """Stored value → label as a "256" int16 lookup table; `void` values become 255, all others -1 (unknown)."""
    lut = np.full(256, UNKNOWN_VALUE, np.int16)
    lut[list(void)] = IGNORE_INDEX
    lut[list(values.keys())] = list(values.values())
    return lut


def class_table(taxonomy: Taxonomy, void: Iterable[int] = (IGNORE_INDEX,)) -> NDArray[np.int16]:
    """The table of a data set whose stored values are its taxonomy's ids."""
    return value_table({label.id: label.id for label in taxonomy.classes}, void)


def pictures(folder: Path) -> list[Path]:
    """Image files directly in `folder` in natural order, by suffix; hidden files are left out."""
    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    return sorted((path for path in found if not path.name.startswith(".")), key=lambda path: natural_key(path.name))


def subfolders(folder: Path) -> list[str]:
    """Names of the folders directly in `folder` in natural order; hidden ones are left out."""
    if not folder.is_dir():
        return []
    names = (path.name for path in folder.iterdir() if path.is_dir())
    return sorted((name for name in names if not name.startswith(".")), key=natural_key)


def in_usual_order(splits: Iterable[str]) -> tuple[str, ...]:
    """train, val, test first, then the others by name."""
    usual = ("train", "val", "test")
    return tuple(sorted(splits, key=lambda name: (usual.index(name) if name in usual else len(usual), name)))
