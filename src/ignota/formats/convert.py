"""All label formats by name; a new one is a module with `write` and `read`, and one row here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ignota.data.files import new_folder, one_line, write_json
from ignota.formats import (
    cityscapes,
    coco,
    cvat,
    datumaro,
    fiftyone,
    folder_form,
    indexed,
    label_studio,
    labelme,
    smiyc,
)  # fmt: skip
from ignota.formats.documents import read_map
from ignota.formats.labels import MAP_FILE, Labelling, LabelMap, LabelPicture, Tick, map_content
from ignota.structures import InputError
from ignota.taxonomy import nearest


@dataclass(frozen=True)
class Format:
    """How one format is written to a new folder and read from a file or folder, and what it is called by people."""

    title: str
    write: Callable[[Labelling, Path, bool, Tick | None], None]
    read: Callable[[Path, Sequence[Path], LabelMap | None], Labelling]


FORMATS: dict[str, Format] = {
    "indexed": Format("indexed PNG and a label map", indexed.write, indexed.read),
    "cityscapes": Format("Cityscapes label ids and polygons", cityscapes.write, cityscapes.read),
    "coco": Format("COCO with compressed RLE", coco.write, coco.read),
    "labelme": Format("LabelMe", labelme.write, labelme.read),
    "label-studio": Format("Label Studio tasks with brush labels", label_studio.write, label_studio.read),
    "cvat": Format("CVAT for images 1.1", cvat.write, cvat.read),
    "datumaro": Format("Datumaro", datumaro.write, datumaro.read),
    "fiftyone": Format("a FiftyOne data set directory", fiftyone.write, fiftyone.read),
    "smiyc": Format("SegmentMeIfYouCan's HDF5 of anomaly", smiyc.write, smiyc.read),
}


def find_format(name: str) -> Format:
    """The format called `name`; raises InputError with the nearest."""
    if name not in FORMATS:
        raise InputError(f"no label format {one_line(name)!r}{nearest(name, list(FORMATS))}")
    return FORMATS[name]


def export_labels(
    name: str, source: Path, out: Path, split: str | None = None, by_region: bool = False, tick: Tick | None = None
) -> int:
    """Writes the labels of a `folder` data set, or of what `segment` left, as a format; returns how many images.

    `out` is complete or absent. Raises InputError.
    """
    chosen = find_format(name)
    labelling = folder_form.read(source, split)
    with new_folder(out) as draft:
        chosen.write(labelling, draft, by_region, tick)
        write_json(draft / MAP_FILE, map_content(labelling.labels), compact=True)
    return labelling.length


def import_labels(
    name: str,
    source: Path,
    out: Path,
    images: Path | None = None,
    classes: Path | None = None,
    rest: str | None = None,
    tick: Tick | None = None,
) -> tuple[int, Counter[str]]:
    """Reads a format into a new `folder` data set; returns how many images, and what was left out, by kind.

    classes: a classes.yaml or label_map.json with names and values, by default the one beside the labels. rest: the
    class of pixels that nothing covers, by default void. Raises InputError.
    """
    chosen = find_format(name)
    if images is not None and not images.is_dir():
        raise InputError(f"{one_line(images)} is no folder: say with --images where the images lie")
    if not source.exists():
        raise InputError(f"cannot read {one_line(source)}: nothing is there; name what the other program exported")
    labelling = chosen.read(source, () if images is None else (images,), _label_map(source, classes))
    if rest is not None:
        labelling = _filled(labelling, rest)
    with new_folder(out) as draft:
        folder_form.write_folder(labelling, draft, tick)
    return labelling.length, labelling.left_out


def _label_map(source: Path, classes: Path | None) -> LabelMap | None:
    if classes is not None:
        return read_map(classes) if classes.suffix.lower() == ".json" else folder_form.read_folder_map(classes)[0]
    beside = (source if source.is_dir() else source.parent) / MAP_FILE
    return read_map(beside) if beside.is_file() else None


def _filled(labelling: Labelling, rest: str) -> Labelling:
    value = labelling.labels.value_of(rest)
    if value is None:
        raise InputError(f"no class {rest!r}{nearest(rest, [label.name for label in labelling.labels.classes])}")

    def each() -> Iterator[LabelPicture]:
        for picture in labelling.pictures:
            label = np.where(picture.label == labelling.labels.void, np.uint8(value), picture.label)
            yield replace(picture, label=label)

    return replace(labelling, pictures=each())
