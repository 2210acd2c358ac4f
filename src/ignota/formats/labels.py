"""The contents of every label format: classes by stored value, void values, and one label picture at a time."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from ignota.data.files import one_line
from ignota.data.images import MAX_PIXELS, image_size
from ignota.structures import InputError
from ignota.taxonomy import IGNORE_INDEX, UNKNOWN_COLOUR, VOID_COLOUR, ClassLabel

MAP_FILE = "label_map.json"
"""Lies beside every export, so that values, colours and void come back whatever the format itself can hold."""

UNKNOWN_NAME = "unknown"
_LONGEST_NAME = 200


@dataclass(frozen=True)
class LabelMap:
    """Which stored value stands for which class, and which are void; a value is one of the two or does not occur.

    classes: in order of their values, 0..255 each. ignore: void values, the first of which fills what no shape covers.
    """

    classes: tuple[ClassLabel, ...]
    ignore: tuple[int, ...] = (IGNORE_INDEX,)

    def __post_init__(self) -> None:
        values = [*self.ids, *self.ignore]
        if not self.ignore or any(not 0 <= value <= 255 for value in values):
            raise ValueError("label values are numbers 0..255, and at least one of them is void")
        if len(set(values)) != len(values):
            raise ValueError("a label value stands twice, for two classes or for a class and void")
        names = [label.name for label in self.classes]
        if len(set(names)) != len(names):
            raise ValueError(f"class names repeat: {sorted(names)[:20]}")
        if any(not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME for name in names):
            raise ValueError(f"a class name has 1 to {_LONGEST_NAME} printable characters")

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(label.id for label in self.classes)

    @property
    def void(self) -> int:
        return self.ignore[0]

    def value_of(self, name: str) -> int | None:
        """The stored value of a class by its name, None for a name that there is not."""
        return next((label.id for label in self.classes if label.name == name), None)

    def palette(self) -> UInt8[np.ndarray, "256 3"]:
        """Colours by stored value."""
        colours = np.zeros((256, 3), np.uint8)
        colours[list(self.ignore)] = VOID_COLOUR
        for label in self.classes:
            colours[label.id] = label.colour
        return colours


@dataclass(frozen=True)
class LabelPicture:
    """The labels of one image. key: its name in its data set, without suffix and folders. label: "H W" stored values.

    image: where the image lies, None where nobody knows. anomaly: the map that `segment` left of it, if it did.
    """

    key: str
    label: UInt8[np.ndarray, "H W"]
    image: Path | None = None
    anomaly: Path | None = None


@dataclass(frozen=True)
class Labelling:
    """A labelled data set, read one picture at a time.

    left_out: what the format held besides areas of classes, by kind; it fills while the pictures are read.
    """

    labels: LabelMap
    pictures: Iterable[LabelPicture]
    length: int
    left_out: Counter[str] = field(default_factory=Counter)


Tick = Callable[[int, int], None]


def counted(labelling: Labelling, tick: Tick | None) -> Iterator[LabelPicture]:
    """The pictures of a labelling; tick: called with (done, total) after each was taken care of."""
    for done, picture in enumerate(labelling.pictures, start=1):
        yield picture
        if tick is not None:
            tick(done, labelling.length)


def pieces(
    picture: LabelPicture, labels: LabelMap, by_region: bool = False
) -> Iterator[tuple[ClassLabel, Bool[np.ndarray, "H W"]]]:
    """The mask of every class in a picture in order of values, or of every connected (8 neighbours) region of it.

    Void is in none. Raises InputError for values that the map does not define.
    """
    present = set(np.unique(picture.label).tolist())
    undefined = present - {*labels.ids, *labels.ignore}
    if undefined:
        listed = ", ".join(map(str, sorted(undefined)[:8]))
        raise InputError(
            f"{one_line(picture.key)}: label value {listed} is neither a class nor void; correct classes.yaml"
        )
    for label in labels.classes:
        if label.id not in present:
            continue
        mask = picture.label == label.id
        if not by_region:
            yield label, mask
            continue
        count, ids = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8, ltype=cv2.CV_32S)
        for number in range(1, count):
            yield label, ids == number


def blank(size: tuple[int, int], labels: LabelMap, where: object) -> UInt8[np.ndarray, "H W"]:
    """A picture of void alone to paint on; raises InputError for sizes (H, W) that no image has."""
    height, width = size
    if min(size) < 1 or height * width > MAX_PIXELS:
        raise InputError(
            f"{one_line(where)}: an image of {width}×{height} pixels cannot be; the most is {MAX_PIXELS:,}"
        )
    return np.full(size, labels.void, np.uint8)


def map_content(labels: LabelMap) -> dict[str, Any]:
    """A label map as JSON: classes with value, name and colour, and the void values."""
    classes = [{"id": label.id, "name": label.name, "colour": list(label.colour)} for label in labels.classes]
    return {"classes": classes, "ignore": list(labels.ignore)}


def unknown_class(value: int) -> ClassLabel:
    """The pixels of no class as a class of its own, as labelling tools have no other word for them."""
    return ClassLabel(value, UNKNOWN_NAME, UNKNOWN_COLOUR)


def copy_image(picture: LabelPicture, folder: Path, suffix: str = "") -> str:
    """Copies the image into `folder` as KEY + `suffix` + its own ending and returns that name.

    An image that nobody knows is named as PNG and not written. Raises InputError for what is no picture, or of another
    size than its labels.
    """
    if picture.image is None:
        return f"{picture.key}{suffix}.png"
    size = image_size(picture.image)
    height, width = picture.label.shape
    if size not in ((height, width), (width, height)):  # a photograph may be stored lying on its side
        sizes = f"labels {width}×{height}, image {size[1]}×{size[0]}"
        raise InputError(f"{one_line(picture.image)} does not fit its labels ({sizes}); take both from one source")
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{picture.key}{suffix}{picture.image.suffix.lower()}"
    shutil.copyfile(picture.image, folder / name)
    return name
