"""Whether a segmenter knows its classes, measured on a few labelled images before anything is fitted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ignota.data.datasets import LabelledImages
from ignota.data.images import resize_image, resize_label, write_jpeg
from ignota.functional.confusion import confusion_matrix, iou
from ignota.functional.numbers import evenly_spaced
from ignota.models.segmenter import IMAGENET_MEAN, IMAGENET_STD, ClosedSetSegmenter
from ignota.perception.networks import Networks, largest_class
from ignota.reports.pictures import overlay
from ignota.structures import InputError, Preprocessing
from ignota.taxonomy import ClassSplit

IMAGES = 20
_SHOWN = 4
_OTHERS = (
    Preprocessing(IMAGENET_MEAN, IMAGENET_STD),
    Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    Preprocessing((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
)
"""What networks are usually given: ImageNet's mean and std, -1..1, 0..1, 0..255."""


@dataclass(frozen=True)
class ClassCheck:
    """What a segmenter says of some labelled images.

    confusion: "C C+1" pixels by true class and by output. names: of the classes. picture: image, labels and what the
    segmenter says, side by side.
    """

    dataset: str
    images: int
    names: tuple[str, ...]
    confusion: Int64[Tensor, "C J"]
    picture: Path

    @property
    def present(self) -> Tensor:
        """Which classes the labels show, "C"."""
        return self.confusion.sum(1) > 0

    @property
    def miou(self) -> float:
        """Mean IoU over the classes that the labels show, in 0..1."""
        return float(iou(self.confusion)[self.present].mean())

    @property
    def share(self) -> float:
        """The share of the pixels that the most frequent class has."""
        pixels = self.confusion.sum(1)
        return float(pixels.max() / pixels.sum())

    @property
    def usual(self) -> float:
        """The mIoU of predicting the most frequent class everywhere: its share over the number of classes."""
        return self.share / int(self.present.sum())

    @property
    def bar(self) -> float:
        """The mIoU that is asked for: twice the usual, or, with one or two classes, half way from it to 1."""
        return min(2 * self.usual, (1 + self.usual) / 2)

    def __str__(self) -> str:
        return (
            f"{100 * self.miou:.1f} mIoU on {self.images} images of {self.dataset} "
            f"(the most frequent class everywhere: {100 * self.usual:.1f}); picture: {self.picture}"
        )

    def in_order(self) -> ClassCheck:
        """The same outputs under those names that fit them best (Hungarian method on IoU)."""
        classes = len(self.names)
        hits = self.confusion[:, :classes].double()
        union = self.confusion.sum(1)[:, None] + hits.sum(0)[None] - hits
        _, output = linear_sum_assignment((hits / union.clamp(min=1)).numpy(), maximize=True)
        names = tuple(self.names[i] for i in np.argsort(output))
        return dataclasses.replace(self, names=names, confusion=self.confusion[torch.from_numpy(np.argsort(output))])


def check_classes(
    segmenter: ClosedSetSegmenter,
    split: ClassSplit,
    images: LabelledImages,
    size: int,
    device: torch.device,
    picture: Path,
) -> ClassCheck:
    """Measures the segmenter on at most 20 images and writes `picture`.

    Raises InputError with the likely cause where its mIoU is below `ClassCheck.bar`.
    """
    segmenter = segmenter.to(device).eval().requires_grad_(False)
    networks = Networks(segmenter, None, size, (), device)
    chosen = evenly_spaced(len(images), IMAGES).tolist()
    _draw(networks, split, images, chosen[:: -(-len(chosen) // _SHOWN)], picture)
    names = split.known_taxonomy.names
    confusion = _confusion(networks, split, images, chosen)
    if not confusion.any():
        raise InputError(f"none of {len(chosen)} images of {images.name} shows a class that the segmenter knows")
    found = ClassCheck(images.name, len(chosen), names, confusion, picture)
    if found.miou >= found.bar:
        return found
    asked = f"{100 * found.bar:.1f} are asked for"
    cause, remedy = _permuted(found) or _unprepared(found, networks, split, images, chosen)
    error = InputError(f"the segmenter does not know these classes: {found}; {asked}; {cause}")
    error.command_line += remedy
    raise error


def _permuted(found: ClassCheck) -> tuple[str, str] | None:
    """The cause and its remedy, where the outputs under other names do far better than what is asked for.

    An untrained network that tells bright from dark does a little better than what is asked for, too.
    """
    better = found.in_order()
    right = float(better.confusion.diagonal().sum() / better.confusion.sum())
    if better.miou < min(2 * found.bar, (1 + found.bar) / 2) or right <= found.share:
        return None
    wrong = [(n, old, new) for n, (old, new) in enumerate(zip(found.names, better.names, strict=True)) if old != new]
    number, old, new = wrong[0]
    cause = f"classes permuted? {len(wrong)} outputs fit others, the first is {number}: {new!r} rather than {old!r}"
    words = ",".join(better.names)
    return f"{cause} ({100 * better.miou:.1f} mIoU)", f": say --classes '{words}'" if len(words) < 400 else ""


def _unprepared(
    found: ClassCheck, networks: Networks, split: ClassSplit, images: LabelledImages, chosen: Sequence[int]
) -> tuple[str, str]:
    """The cause and its remedy, where the input or the weights must be wrong."""
    own = networks.segmenter.preprocessing
    try:
        for other in _OTHERS:
            networks.segmenter.preprocessing = other
            again = dataclasses.replace(found, confusion=_confusion(networks, split, images, chosen))
            if other != own and again.miou >= found.bar:
                mean, std = (",".join(f"{v:.4g}" for v in values) for values in (other.mean, other.std))
                cause = f"preprocessing? with mean {mean} and std {std} it gets {100 * again.miou:.1f}"
                return cause, f": say --mean {mean} --std {std}"
    finally:
        networks.segmenter.preprocessing = own
    return "preprocessing (mean, std, size)? or weights that were never trained or belong to other classes?", ""


def _confusion(
    networks: Networks, split: ClassSplit, images: LabelledImages, chosen: Sequence[int]
) -> Int64[Tensor, "C J"]:
    lut, classes = split.training_lut(), len(split.known)
    total = torch.zeros(classes, classes + 1, dtype=torch.int64)
    for i in chosen:
        sample = images[i]
        label = lut[sample.label]
        said = largest_class(networks.encode(sample.image).logits, label.shape)
        total += confusion_matrix(torch.from_numpy(label), torch.from_numpy(said), classes)
    return total


def _draw(networks: Networks, split: ClassSplit, images: LabelledImages, chosen: Sequence[int], picture: Path) -> None:
    """Image, labels and what the segmenter says, a row each."""
    lut, palette = split.training_lut(), split.known_taxonomy.palette()
    rows: list[UInt8[np.ndarray, "H W 3"]] = []
    for i in chosen:
        sample = images[i]
        encoding = networks.encode(sample.image)
        size = (encoding.image.shape[0], encoding.image.shape[1])
        label, said = resize_label(lut[sample.label], size), largest_class(encoding.logits, size)
        views = [encoding.image, *(overlay(encoding.image, labels, palette, 0.6) for labels in (label, said))]
        rows.append(np.concatenate(views, 1))
    shape = rows[0].shape
    picture.parent.mkdir(parents=True, exist_ok=True)
    write_jpeg(picture, np.concatenate([resize_image(row, (shape[0], shape[1])) for row in rows]))
