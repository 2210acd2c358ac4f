"""The file layouts of the published data sets: one short function each, root and split → pairs of files."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

from ignota.data.files import one_line
from ignota.data.listing import Layout, Listing, Pair, class_table, in_usual_order, pictures, subfolders, value_table
from ignota.structures import InputError
from ignota.taxonomy import CAMVID, CITYSCAPES, STREETHAZARDS, cityscapes_label_id_lut

_CITYSCAPES_SIZE = (1024, 2048)
_CITYSCAPES_LENGTHS = {"train": 2975, "val": 500, "test": 1525}
_CAMVID_LENGTHS = {"train": 367, "val": 101, "test": 233}
_CAMVID_UNLABELLED = 11
_BDD_LENGTHS = {"train": 7000, "val": 1000}
_LOST_AND_FOUND_LENGTHS = {"train": 1036, "test": 1203}
_FIRST_OBSTACLE = 2
_OFFICIAL_MASK = "_labels_semantic.png"
_LISTS = {
    "train": ("train.odgt", "training.odgt"),
    "val": ("validation.odgt", "val.odgt"),
    "test": ("test.odgt",),
}
_FOLDERS = ("", "train", "test", "val", "data")
_LENGTHS = {"train": 5125, "val": 1031, "test": 1500}
_ANOMALY_VALUE = 14


def _camvid_splits(root: Path) -> tuple[str, ...]:
    """Brostow et al., Semantic object classes in video, 2009; the 11 classes of SegNet at 480×360."""
    names = set(subfolders(root))
    return in_usual_order(name for name in names if f"{name}annot" in names)


def _camvid(root: Path, split: str) -> Listing:
    labels = root / f"{split}annot"
    pairs = tuple(Pair(path.stem, path, labels / f"{path.stem}.png") for path in pictures(root / split))
    table = class_table(CAMVID, void=(_CAMVID_UNLABELLED, 255))
    return Listing(pairs, table, CAMVID, (360, 480), _CAMVID_LENGTHS.get(split))


def _left_images(root: Path, split: str, truth: str, kind: str) -> tuple[Pair, ...]:
    """The naming of Cityscapes: leftImg8bit/split/place/id_leftImg8bit.png and truth/split/place/id_truth_kind.png."""
    tail = "_leftImg8bit"
    pairs = []
    for place in subfolders(root / "leftImg8bit" / split):
        for path in pictures(root / "leftImg8bit" / split / place):
            key = path.stem.removesuffix(tail)
            pairs.append(Pair(key, path, root / truth / split / place / f"{key}_{truth}_{kind}.png"))
    return tuple(pairs)


def _left_splits(root: Path) -> tuple[str, ...]:
    return in_usual_order(subfolders(root / "leftImg8bit"))


def _cityscapes(root: Path, split: str) -> Listing:
    """Cordts et al., The Cityscapes dataset for semantic urban scene understanding, CVPR 2016."""
    pairs = _left_images(root, split, "gtFine", "labelIds")
    table = value_table(dict(enumerate(cityscapes_label_id_lut()[:34].tolist())))
    if pairs and not pairs[0].label.exists():
        trained = _left_images(root, split, "gtFine", "labelTrainIds")
        if any(pair.label.exists() for pair in trained):
            pairs, table = trained, class_table(CITYSCAPES)
    return Listing(pairs, table, CITYSCAPES, _CITYSCAPES_SIZE, _CITYSCAPES_LENGTHS.get(split))


def _lost_and_found(root: Path, split: str) -> Listing:
    """Pinggera et al., Lost and Found: detecting small road hazards for self-driving vehicles, IROS 2016."""
    pairs = _left_images(root, split, "gtCoarse", "labelIds")
    table = value_table({1: 0, **dict.fromkeys(range(_FIRST_OBSTACLE, 255), 1)}, void=(0, 255))
    return Listing(pairs, table, None, _CITYSCAPES_SIZE, _LOST_AND_FOUND_LENGTHS.get(split))


def _bdd100k_splits(root: Path) -> tuple[str, ...]:
    new, old = root / "images" / "10k", root / "seg" / "images"
    return in_usual_order(subfolders(new) if new.is_dir() else subfolders(old))


def _bdd100k(root: Path, split: str) -> Listing:
    """Yu et al., BDD100K: a diverse driving dataset for heterogeneous multitask learning, CVPR 2020."""
    if (root / "images" / "10k").is_dir():
        images, labels, tail = root / "images" / "10k" / split, root / "labels" / "sem_seg" / "masks" / split, ""
    else:
        images, labels, tail = root / "seg" / "images" / split, root / "seg" / "labels" / split, "_train_id"
    pairs = tuple(Pair(path.stem, path, labels / f"{path.stem}{tail}.png") for path in pictures(images))
    return Listing(pairs, class_table(CITYSCAPES), CITYSCAPES, (720, 1280), _BDD_LENGTHS.get(split))


def _masked_splits(root: Path) -> tuple[str, ...]:
    return ("val",) if (root / "images").is_dir() else ()


def _masked(root: Path) -> tuple[Pair, ...]:
    """images/ID.* with labels_masks/ID.png, or ID_labels_semantic.png as the SMIYC archives name them.

    Those archives hold the test images too, without masks: there the images named validation… are taken.
    """
    masks = root / "labels_masks"
    images = pictures(root / "images")
    if any(path.name.endswith(_OFFICIAL_MASK) for path in pictures(masks)):
        public = [path for path in images if path.stem.startswith("validation")] or images
        return tuple(Pair(path.stem, path, masks / f"{path.stem}{_OFFICIAL_MASK}") for path in public)
    return tuple(Pair(path.stem, path, masks / f"{path.stem}.png") for path in images)


def _anomaly_masks(size: tuple[int, int], length: int, citation: str) -> Layout:
    """A data set of images/ and labels_masks/ with 0 normal, 1 anomaly, 255 void; `citation` for the reader."""

    def listing(root: Path, _split: str) -> Listing:
        return Listing(_masked(root), value_table({0: 0, 1: 1}), None, size, length)

    return Layout(_masked_splits, listing, f"images/ID.jpg|png|webp with labels_masks/ID.png ({citation})")


def _road_anomaly_splits(root: Path) -> tuple[str, ...]:
    return ("val",) if (root / "frames").is_dir() or (root / "images").is_dir() else ()


def _road_anomaly(root: Path, _split: str) -> Listing:
    """Lis et al., Detecting the unexpected via image resynthesis, ICCV 2019; anomaly is 2, in some copies 1."""
    frames = root / "frames"
    if frames.is_dir():
        named = ((path.stem, path) for path in pictures(frames))
        pairs = tuple(Pair(key, path, frames / f"{key}.labels" / "labels_semantic.png") for key, path in named)
    else:
        pairs = _masked(root)
    return Listing(pairs, value_table({0: 0, 1: 1, 2: 1}), None, (720, 1280), 60)


CAMVID_LAYOUT = Layout(_camvid_splits, _camvid, "SPLIT/ID.jpg|png with SPLITannot/ID.png")
CITYSCAPES_LAYOUT = Layout(
    _left_splits,
    _cityscapes,
    "leftImg8bit/SPLIT/CITY/ID_leftImg8bit.png with gtFine/SPLIT/CITY/ID_gtFine_labelIds.png (or labelTrainIds)",
)
LOST_AND_FOUND_LAYOUT = Layout(
    _left_splits,
    _lost_and_found,
    "leftImg8bit/SPLIT/SCENE/ID_leftImg8bit.png with gtCoarse/SPLIT/SCENE/ID_gtCoarse_labelIds.png",
)
BDD100K_LAYOUT = Layout(
    _bdd100k_splits,
    _bdd100k,
    "images/10k/SPLIT/ID.jpg with labels/sem_seg/masks/SPLIT/ID.png, or seg/images/SPLIT with seg/labels/SPLIT",
)
ROAD_ANOMALY_LAYOUT = Layout(
    _road_anomaly_splits,
    _road_anomaly,
    "frames/ID.jpg with frames/ID.labels/labels_semantic.png, or images/ID.jpg with labels_masks/ID.png",
)
FISHYSCAPES_LOST_AND_FOUND_LAYOUT = _anomaly_masks(_CITYSCAPES_SIZE, 100, "Blum et al., IJCV 2021")
FISHYSCAPES_STATIC_LAYOUT = _anomaly_masks(_CITYSCAPES_SIZE, 30, "Blum et al., IJCV 2021")
ROAD_ANOMALY_21_LAYOUT = _anomaly_masks((720, 1280), 10, "Chan et al., SegmentMeIfYouCan, 2021")
ROAD_OBSTACLE_21_LAYOUT = _anomaly_masks((1080, 1920), 30, "Chan et al., SegmentMeIfYouCan, 2021")


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
