"""Opens a data set by its name: one list for the command line, the tests and the experiments."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from ignota.data import published
from ignota.data.files import one_line
from ignota.data.folder import FOLDER_LAYOUT
from ignota.data.images import read_image, read_label
from ignota.data.listing import Layout, Listing, Pair
from ignota.data.published import STREETHAZARDS_LAYOUT
from ignota.structures import InputError, Sample
from ignota.taxonomy import Taxonomy, nearest

DATASETS: dict[str, Layout] = {
    "camvid": published.CAMVID_LAYOUT,
    "cityscapes": published.CITYSCAPES_LAYOUT,
    "bdd100k": published.BDD100K_LAYOUT,
    "lost_and_found": published.LOST_AND_FOUND_LAYOUT,
    "road_anomaly": published.ROAD_ANOMALY_LAYOUT,
    "fishyscapes_lost_and_found": published.FISHYSCAPES_LOST_AND_FOUND_LAYOUT,
    "fishyscapes_static": published.FISHYSCAPES_STATIC_LAYOUT,
    "road_anomaly_21": published.ROAD_ANOMALY_21_LAYOUT,
    "road_obstacle_21": published.ROAD_OBSTACLE_21_LAYOUT,
    "streethazards": STREETHAZARDS_LAYOUT,
    "folder": FOLDER_LAYOUT,
}
"""The data sets that lie on disk; `synthetic`, which is drawn, comes on top. Plugins add entries of their own."""

DRAWN = "synthetic"
DEFAULT_SPLIT = "val"


class LabelledImages(Protocol):
    """What every data set can do; samples are read one by one, nothing is kept.

    taxonomy: None where the labels are 0 normal, 1 anomaly; 255 is void everywhere. expected_size: (H, W) and
    expected_length as published, None where not fixed. image_paths, label_paths: empty where nothing lies on disk.
    """

    @property
    def name(self) -> str: ...
    @property
    def taxonomy(self) -> Taxonomy | None: ...
    @property
    def split(self) -> str: ...
    @property
    def keys(self) -> tuple[str, ...]: ...
    @property
    def expected_size(self) -> tuple[int, int] | None: ...
    @property
    def expected_length(self) -> int | None: ...
    @property
    def image_paths(self) -> tuple[Path, ...]: ...
    @property
    def label_paths(self) -> tuple[Path, ...]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Sample: ...
    def load_label(self, index: int) -> UInt8[np.ndarray, "H W"]: ...


def labelled(images: LabelledImages, lut: NDArray[np.uint8]) -> Iterator[tuple[Sample, UInt8[np.ndarray, "H W"]]]:
    """Each sample with its label by `lut`; raises InputError where one has no label to measure against."""
    for i in range(len(images)):
        sample = images[i]
        if sample.label is None:
            raise InputError(f"{sample.key} of {images.name} has no label to measure against")
        yield sample, lut[sample.label]


@dataclass(frozen=True)
class PublishedImages:
    """A split of a data set on disk; a `LabelledImages`. Reading raises InputError for damaged files, unknown label
    values and a label of another size than its image."""

    name: str
    taxonomy: Taxonomy | None
    split: str
    root: Path
    pairs: tuple[Pair, ...] = field(repr=False)
    lut: NDArray[np.int16] = field(repr=False, compare=False)
    expected_size: tuple[int, int] | None = None
    expected_length: int | None = None

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        pair = self.pairs[index]
        image, label = read_image(pair.image), self.load_label(index)
        if image.shape[:2] != label.shape:
            sizes = f"label {label.shape[1]}×{label.shape[0]}, image {image.shape[1]}×{image.shape[0]}"
            raise InputError(f"{one_line(pair.label)} does not fit its image ({sizes}); take both from one release")
        return Sample(pair.key, image, label, pair.image)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(pair.key for pair in self.pairs)

    @property
    def image_paths(self) -> tuple[Path, ...]:
        return tuple(pair.image for pair in self.pairs)

    @property
    def label_paths(self) -> tuple[Path, ...]:
        return tuple(pair.label for pair in self.pairs)

    def load_label(self, index: int) -> UInt8[np.ndarray, "H W"]:
        """The labels of one image without decoding the image: class ids (or 0 normal, 1 anomaly), 255 void."""
        path = self.pairs[index].label
        values = read_label(path)
        label = np.asarray(cv2.LUT(values, self.lut))
        if label.min() < 0:
            unknown = np.unique(values[label < 0])
            defined = "normal/anomaly labels" if self.taxonomy is None else self.taxonomy.name
            listed = ", ".join(str(value) for value in unknown[:8])
            raise InputError(f"{one_line(path)}: label value {listed} is not in {defined}; is this really {self.name}?")
        return label.astype(np.uint8)


def file_mark(images: LabelledImages) -> str:
    """Of the files that images are read from, by their keys and sizes: the same wherever the folder lies, another one
    for other files. Empty for what is drawn, which its configuration tells."""
    paths = (*images.image_paths, *images.label_paths)
    sizes = [path.stat().st_size for path in paths if path.is_file()]
    return hashlib.sha256(json.dumps([list(images.keys), sizes]).encode()).hexdigest() if paths else ""


def open_dataset(name: str, root: str | Path | None, split: str | None = None) -> LabelledImages:
    """The data set `name` in `root`: its own folder, or one that holds it as NAME/ or NAME_val/.

    split: by default `val`, else the only one present. Raises InputError for unknown names and splits (with the
    nearest match and what there is), empty folders and images without labels.
    """
    if name == DRAWN:
        from ignota.data.drawn import DrawnImages  # only now: it brings the whole drawing room along

        return DrawnImages(split)
    return with_labels(open_unchecked(name, root, split))


def with_labels(dataset: PublishedImages) -> PublishedImages:
    """The data set itself; raises InputError unless each image has a label file."""
    missing = [pair.label for pair in dataset.pairs if not pair.label.is_file()]
    if missing:
        counts = f"{len(missing)} of {len(dataset)} images of {dataset.name} ({dataset.split})"
        raise InputError(f"{counts} have no label, first {one_line(missing[0])}; add the labels or take another split")
    return dataset


def open_unchecked(name: str, root: str | Path | None, split: str | None = None) -> PublishedImages:
    """`open_dataset` that lets images without label files pass, for `check_dataset` to report."""
    if name == DRAWN:
        raise InputError(f"{name} is drawn, not read: it has no files to check; check another data set")
    if name not in DATASETS:
        raise InputError(f"no data set is called {name!r}{nearest(name, [*DATASETS, DRAWN])}")
    if root is None:
        raise InputError(f"{name} lies on disk as {DATASETS[name].form}", "say where with data=ROOT")
    folder = _locate(name, Path(root))
    chosen = choose_split(name, folder, DATASETS[name].splits(folder), split)
    listing = DATASETS[name].list(folder, chosen)
    _check_keys(name, chosen, folder, listing)
    return PublishedImages(
        name,
        listing.taxonomy,
        chosen,
        folder,
        listing.pairs,
        listing.lut,
        listing.expected_size,
        listing.expected_length,
    )


def choose_split(name: str, where: Path | str, present: tuple[str, ...], split: str | None) -> str:
    """The split asked for; by default `val`, else the only one present. Raises InputError naming what there is."""
    if split is not None and split in present:
        return split
    if split is not None:
        there = nearest(split, present)
        listed = f" (splits there: {', '.join(present)})" if "did you mean" in there else ""
        raise InputError(f"{name} in {one_line(where)} has no split {split!r}{there}{listed}")
    if DEFAULT_SPLIT in present:
        return DEFAULT_SPLIT
    if len(present) == 1:
        return present[0]
    raise InputError(
        f"{name} in {one_line(where)} has no split {DEFAULT_SPLIT!r}, only {', '.join(present)}",
        "choose one with split=",
    )


def _locate(name: str, root: Path) -> Path:
    layout = DATASETS[name]
    try:
        for folder in (root, root / name, root / f"{name}_val"):
            if layout.splits(folder):
                return folder
        reason = "nothing of that form is there" if root.is_dir() else "no such folder"
    except OSError as error:
        reason = str(error.strerror)
    raise InputError(f"no {name} in {one_line(root)} ({reason}); it is expected as {layout.form}")


def _check_keys(name: str, split: str, folder: Path, listing: Listing) -> None:
    if not listing.pairs:
        raise InputError(
            f"{name} in {one_line(folder)} has no image in split {split!r}; expected are {DATASETS[name].form}"
        )
    key, count = Counter(pair.key for pair in listing.pairs).most_common(1)[0]
    if count > 1:
        raise InputError(
            f"{name} in {one_line(folder)}: {count} images are called {key!r}; keep one of them, whatever its suffix"
        )
