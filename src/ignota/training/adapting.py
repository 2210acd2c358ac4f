"""Builds a world around an existing segmenter: its classes are matched and checked, then D and `fit`."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ignota.data.datasets import LabelledImages, open_dataset
from ignota.data.folder import CLASSES_FILE
from ignota.models.frozen_encoder import frozen_taps
from ignota.models.onnx_segmenter import OnnxSegmenter
from ignota.models.segmenter import ClosedSetSegmenter
from ignota.storage import bundle
from ignota.structures import InputError
from ignota.taxonomy import TAXONOMIES, ClassLabel, ClassSplit, Taxonomy, plain_name
from ignota.training.class_check import check_classes
from ignota.training.configuration import ExperimentConfig, FitConfig
from ignota.training.experiment import check_frozen, open_split
from ignota.training.stages import Stages, check_trainable
from ignota.world.model import OpenWorldModel

_WHOLE = "all"
_UNNAMED = "label "
"""How transformers calls classes that nobody named: LABEL_0, LABEL_1, …"""


def training_images(name: str, root: Path | None, split: str = "train") -> LabelledImages:
    """The training images of a data set; of a flat folder, which has no splits, all. Raises InputError."""
    try:
        return open_dataset(name, root, split)
    except InputError:
        images = None if root is None else _all_of(name, root)
        if images is None:
            raise
        return images


def _all_of(name: str, root: Path) -> LabelledImages | None:
    try:
        images = open_dataset(name, root)
    except InputError:
        return None
    return images if images.split == _WHOLE else None


def folder_at(root: Path | None) -> str | None:
    """`folder`, where `root` is one, by its classes.yaml."""
    return "folder" if root is not None and (root / CLASSES_FILE).is_file() else None


def known_of(taxonomy: Taxonomy, split: str | None) -> int:
    """How many classes a segmenter must have whose files name none; raises InputError for a wrong split."""
    return len(_split_of(taxonomy, split).known)


def _split_of(taxonomy: Taxonomy, split: str | None) -> ClassSplit:
    if split is None:
        return ClassSplit(taxonomy, tuple(range(len(taxonomy))))
    found = ClassSplit.parse(split)
    if found.taxonomy != taxonomy:
        raise InputError.of_argument("split", f"{split} is of {found.taxonomy.name}, the data set of {taxonomy.name}")
    return found


def with_classes(
    config: ExperimentConfig,
    taxonomy: Taxonomy,
    split: str | None,
    segmenter: ClosedSetSegmenter,
    given: Sequence[str] = (),
) -> ExperimentConfig:
    """The configuration with what the segmenter's outputs are: by name where there are names, else in order.

    given: the names that the caller says, in place of those in the segmenter's files. Raises InputError.
    """
    usual, outputs = _split_of(taxonomy, split), segmenter.num_classes
    names = tuple(given) or _telling(segmenter.class_names)
    if not names and len(usual.known) != outputs:
        line = f"the segmenter has {outputs} classes, {split or taxonomy.name} {len(usual.known)} known ones"
        raise InputError(line, "give split= or classes=")
    if names and len(names) != outputs:
        raise InputError.of_argument("classes", f"names {len(names)} classes, the segmenter has {outputs}")
    found = _by_name(taxonomy, names) if names else usual
    novel = [taxonomy.classes[i].name for i in found.known if i in usual.novel]
    if novel:
        line = f"the segmenter knows {novel[0]!r}, which {split} keeps to be learnt"
        raise InputError(line, "give another split=")
    data = dataclasses.replace(config.data, split=split or taxonomy.name)
    if TAXONOMIES.get(taxonomy.name) != taxonomy:
        data = dataclasses.replace(data, labels=taxonomy.names)
    if found.known != usual.known:
        data = dataclasses.replace(data, classes=found.known_taxonomy.names)
    return dataclasses.replace(config, data=data)


def _by_name(taxonomy: Taxonomy, names: Sequence[str]) -> ClassSplit:
    try:
        found = ClassSplit.of_names(taxonomy, [" ".join(name.split())[:64] for name in names])
    except ValueError as error:
        raise InputError(str(error)) from None
    if min(found.known) >= len(taxonomy):
        theirs = f"{taxonomy.name} ({_listed(taxonomy.names)})"
        line = f"none of the segmenter's classes ({_listed(names)}) is one of {theirs}"
        raise InputError(line, "name them in the data set's words by classes=")
    return found


def _telling(own: Sequence[str]) -> tuple[str, ...]:
    """The names, unless they are none."""
    return tuple(own) if any(not plain_name(name).startswith(_UNNAMED) for name in own) else ()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


def adapt(
    segmenter: ClosedSetSegmenter,
    root: Path | None,
    out: Path,
    config: ExperimentConfig,
    device: torch.device,
    quiet: bool = False,
    allow_download: bool = False,
    allow_code: bool = False,
    watch: Callable[[str], object] = lambda _: None,
) -> OpenWorldModel:
    """A world round a segmenter that knows its classes: meta channels, D and `fit`; its weights stay untouched.

    config: its data are those of `with_classes`. watch: called with the segmenter's check before `fit`. The
    check's picture and the hidden intermediate stages are beside `out`, so a stopped run resumes. Raises InputError.
    """
    check_frozen(config, allow_download)
    check_trainable(config, segmenter)
    config = with_taps_of(config, segmenter)
    split = config.data.class_split
    images = open_split(config.data, root, "train", config.seed)
    picture = out.with_name(f"{out.name}-check.jpg")
    found = check_classes(segmenter, split, images, config.size, device, picture)
    watch(str(found))
    scratch = out.with_name(f".{out.name}.stages")
    world = Stages(config, images, scratch, device, quiet, segmenter, allow_download).world()
    world = dataclasses.replace(world, taxonomy=_in_colours_of(world.taxonomy, images.taxonomy))
    measured = {"miou": found.miou, "most_frequent": found.usual, "images": found.images, "dataset": found.dataset}
    bundle.save(world, out, {"check": measured})
    shutil.rmtree(scratch)
    return bundle.load(out, device, allow_code=allow_code, allow_download=allow_download)


def _in_colours_of(taxonomy: Taxonomy, other: Taxonomy | None) -> Taxonomy:
    colours = {} if other is None else {label.name: label.colour for label in other.classes}
    classes = (ClassLabel(c.id, c.name, colours.get(c.name, c.colour)) for c in taxonomy.classes)
    return Taxonomy(taxonomy.name, tuple(classes))


def with_taps_of(config: ExperimentConfig, segmenter: ClosedSetSegmenter) -> ExperimentConfig:
    """The default taps without those that the segmenter does not have; taps that somebody chose stay as they are."""
    if config.fit.taps == FitConfig().taps:
        # of an ONNX file the taps are those that the caller named
        own = segmenter.taps if isinstance(segmenter, OnnxSegmenter) else config.fit.taps
        frozen = (tap for tap in config.fit.taps if tap.startswith("frozen/"))
        taps = (*(tap for tap in own if tap in segmenter.taps), *frozen)
        config = dataclasses.replace(config, fit=dataclasses.replace(config.fit, taps=taps))
    if "decoder" not in segmenter.taps and not frozen_taps(config.fit.taps):
        raise InputError("fit.taps: a segmenter without a tap `decoder` needs one of the frozen encoder, as frozen/16")
    return config
