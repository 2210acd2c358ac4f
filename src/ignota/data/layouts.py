"""Writes the synthetic world in the layouts of the published data sets, to try loaders without them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from ignota.data.files import new_folder
from ignota.structures import InputError
from ignota.synthetic.scene import SyntheticScene, draw_scene
from ignota.synthetic.streets import SyntheticStreets, cityscapes_polygons
from ignota.taxonomy import CAMVID, CITYSCAPES, STREETHAZARDS, cityscapes_train_id_lut, nearest

_CAMVID_UNLABELLED = 11
_STREETHAZARDS_ANOMALY = 14
_CAMVID_NAMES = {
    "road": "road", "sidewalk": "pavement", "building": "building", "wall": "building", "fence": "fence",
    "pole": "pole", "traffic light": "sign", "traffic sign": "sign", "vegetation": "tree", "terrain": "tree",
    "sky": "sky", "person": "pedestrian", "rider": "bicyclist", "car": "car", "truck": "car", "bus": "car",
    "motorcycle": "bicyclist", "bicycle": "bicyclist",
}  # fmt: skip
"""Cityscapes → CamVid's eleven as SegNet merges them; trains stay unlabelled."""
_STREETHAZARDS_NAMES = {
    "road": "road", "sidewalk": "sidewalk", "building": "building", "wall": "wall", "fence": "fence", "pole": "pole",
    "traffic light": "other", "traffic sign": "traffic sign", "vegetation": "vegetation", "terrain": "other",
    "sky": "unlabeled", "person": "pedestrian", "rider": "pedestrian", "car": "car", "truck": "car", "bus": "car",
    "train": "car", "motorcycle": "car", "bicycle": "car",
}  # fmt: skip
"""Cityscapes → StreetHazards: every vehicle is a car, the sky is unlabelled."""


@dataclass
class Target:
    """Where one scene goes: the data set's folder, the split, the scene's number within it."""

    root: Path
    split: str
    number: int
    lists: dict[str, list[dict[str, str | int]]] = field(default_factory=dict)

    def picture(self, name: str, pixels: NDArray[np.uint8], palette: NDArray[np.uint8] | None = None) -> None:
        """Writes an image or a label, as PNG or JPEG by the name's suffix; with a palette as indexed PNG."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(np.ascontiguousarray(pixels))
        if palette is not None:
            image.putpalette(palette.ravel().tolist())
        if path.suffix == ".jpg":
            image.save(path, quality=95)
        else:
            image.save(path, compress_level=3)


Writer = Callable[[Target, SyntheticScene], None]


@dataclass(frozen=True)
class LayoutWriter:
    """How one layout is written: `write` for each scene, `splits` with their default lengths.

    anomalous: the splits whose scenes hold unknown things.
    """

    write: Writer
    splits: Mapping[str, int]
    anomalous: tuple[str, ...] = ()
    finish: Callable[[Path, dict[str, list[dict[str, str | int]]]], None] | None = None


def _names_lut(names: Mapping[str, str], ids: Mapping[str, int], void: int) -> NDArray[np.uint8]:
    lut = np.full(256, void, np.uint8)
    for label in CITYSCAPES.classes:
        if label.name in names:
            lut[label.id] = ids[names[label.name]]
    return lut


def _cityscapes(target: Target, scene: SyntheticScene) -> None:
    city = f"synthetic{target.split}"
    key = f"{city}_{target.number:06d}_000019"
    truth = f"gtFine/{target.split}/{city}/{key}_gtFine"
    target.picture(f"leftImg8bit/{target.split}/{city}/{key}_leftImg8bit.png", scene.image)
    target.picture(f"{truth}_labelIds.png", cityscapes_train_id_lut()[scene.label])
    target.picture(f"{truth}_labelTrainIds.png", scene.label)
    polygons = json.dumps(cityscapes_polygons(scene))
    (target.root / f"{truth}_polygons.json").write_text(polygons, "utf-8")


def _camvid(target: Target, scene: SyntheticScene) -> None:
    lut = _names_lut(_CAMVID_NAMES, {label.name: label.id for label in CAMVID.classes}, _CAMVID_UNLABELLED)
    key = f"synthetic_{target.number:05d}"
    target.picture(f"{target.split}/{key}.jpg", scene.image)
    target.picture(f"{target.split}annot/{key}.png", lut[scene.label], CAMVID.palette())


def _road_anomaly(target: Target, scene: SyntheticScene) -> None:
    key = f"synthetic_{target.number:03d}"
    target.picture(f"frames/{key}.jpg", scene.image)
    target.picture(f"frames/{key}.labels/labels_semantic.png", np.where(scene.anomaly == 1, 2, 0).astype(np.uint8))


def _smiyc(target: Target, scene: SyntheticScene) -> None:
    target.picture(f"images/{target.number}.jpg", scene.image)
    target.picture(f"labels_masks/{target.number}.png", scene.anomaly)


def _lost_and_found(target: Target, scene: SyntheticScene) -> None:
    place = "01_Synthetic"
    key = f"{place}_{target.number:06d}_000010"
    label = (scene.label == CITYSCAPES.id_of("road")).astype(np.uint8)
    numbers = np.unique(scene.instance[scene.anomaly == 1])
    for value, number in enumerate(numbers, start=2):
        label[scene.instance == number] = value
    target.picture(f"leftImg8bit/{target.split}/{place}/{key}_leftImg8bit.png", scene.image)
    target.picture(f"gtCoarse/{target.split}/{place}/{key}_gtCoarse_labelIds.png", label)


def _bdd100k(target: Target, scene: SyntheticScene) -> None:
    key = f"synthetic-{target.number:08d}"
    target.picture(f"images/10k/{target.split}/{key}.jpg", scene.image)
    target.picture(f"labels/sem_seg/masks/{target.split}/{key}.png", scene.label)


def _streethazards(target: Target, scene: SyntheticScene) -> None:
    values = {label.name: label.id + 1 for label in STREETHAZARDS.classes}
    label = _names_lut(_STREETHAZARDS_NAMES, values, 0)[scene.label]
    label[scene.anomaly == 1] = _STREETHAZARDS_ANOMALY
    image = f"images/{target.split}/t1/{target.number}.png"
    annotation = f"annotations/{target.split}/t1/{target.number}.png"
    target.picture(image, scene.image)
    target.picture(annotation, label)
    height, width = scene.label.shape
    entry: dict[str, str | int] = {"fpath_img": image, "fpath_segm": annotation, "width": width, "height": height}
    target.lists.setdefault(target.split, []).append(entry)


def _write_lists(root: Path, lists: dict[str, list[dict[str, str | int]]]) -> None:
    for split, entries in lists.items():
        (root / f"{'validation' if split == 'val' else split}.odgt").write_text(json.dumps(entries), "utf-8")


def _folder(target: Target, scene: SyntheticScene) -> None:
    target.picture(f"images/{target.split}/{target.number:05d}.png", scene.image)
    target.picture(f"masks/{target.split}/{target.number:05d}.png", scene.label, CITYSCAPES.palette())


def _write_classes(root: Path, _: object) -> None:
    classes = [{"name": label.name, "colour": list(label.colour)} for label in CITYSCAPES.classes]
    text = yaml.safe_dump({"classes": classes, "ignore": [255]}, sort_keys=False, default_flow_style=None)
    (root / "classes.yaml").write_text(text, "utf-8")


_KNOWN = {"train": 40, "val": 10}
LAYOUTS: dict[str, LayoutWriter] = {
    "cityscapes": LayoutWriter(_cityscapes, _KNOWN),
    "camvid": LayoutWriter(_camvid, _KNOWN),
    "road_anomaly": LayoutWriter(_road_anomaly, {"val": 10}, ("val",)),
    "smiyc": LayoutWriter(_smiyc, {"val": 10}, ("val",)),
    "lost_and_found": LayoutWriter(_lost_and_found, {"train": 10, "test": 10}, ("train", "test")),
    "bdd100k": LayoutWriter(_bdd100k, _KNOWN),
    "streethazards": LayoutWriter(_streethazards, {"train": 40, "val": 10, "test": 10}, ("test",), _write_lists),
    "folder": LayoutWriter(_folder, _KNOWN, (), _write_classes),
}
"""Every layout by name; "smiyc" is that of road_anomaly_21, road_obstacle_21 and both Fishyscapes."""


def write_layout(
    root: Path,
    layout: str,
    lengths: Mapping[str, int] | None = None,
    size: tuple[int, int] = (256, 512),
    seed: int = 0,
    on_step: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes synthetic scenes as the data set `layout` into `root`, which must be empty or absent; returns it.

    lengths: scenes by split, by default a few. on_step: called with (done, total) after every scene. All is written to
    a folder beside `root` first, so that `root` is complete or absent. Raises InputError for an unknown layout
    or split, or where something stands in the way.
    """
    if layout not in LAYOUTS:
        raise InputError(f"no layout {layout!r}{nearest(layout, list(LAYOUTS))}")
    writer = LAYOUTS[layout]
    lengths = writer.splits if lengths is None else lengths
    for split in lengths:
        if split not in writer.splits:
            raise InputError(f"layout {layout} has no split {split!r}; it has: {', '.join(writer.splits)}")
    with new_folder(root) as draft:
        _write(draft, writer, lengths, size, seed, on_step)
    return root.resolve()


def _write(
    draft: Path,
    writer: LayoutWriter,
    lengths: Mapping[str, int],
    size: tuple[int, int],
    seed: int,
    on_step: Callable[[int, int], None] | None,
) -> None:
    total = sum(lengths.values())
    lists: dict[str, list[dict[str, str | int]]] = {}
    for done, (split, number, scene_seed) in enumerate(_seeds(writer, lengths, size, seed), start=1):
        scene = draw_scene(scene_seed, *size, anomalies=None if split in writer.anomalous else 0)
        writer.write(Target(draft, split, number, lists), scene)
        if on_step is not None:
            on_step(done, total)
    if writer.finish is not None:
        writer.finish(draft, lists)


def _seeds(
    writer: LayoutWriter, lengths: Mapping[str, int], size: tuple[int, int], seed: int
) -> Iterator[tuple[str, int, int]]:
    """Split, number and seed of every scene: those that `SyntheticStreets` would draw; splits share none."""
    taken = 0
    for split, length in lengths.items():
        anomalous = split in writer.anomalous
        streets = SyntheticStreets("anomaly" if anomalous else split, taken + length, size, seed)
        first = taken if anomalous else 0
        for number in range(length):
            yield split, number, streets.scene_seed(first + number)
        taken += length if anomalous else 0
