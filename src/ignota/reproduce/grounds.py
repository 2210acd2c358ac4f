"""The data of the paper's experiments: its own or a substitute, and how much of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ignota.data.datasets import LabelledImages, open_dataset
from ignota.data.drawn import DrawnImages
from ignota.functional.numbers import evenly_spaced
from ignota.reproduce.fidelity import FIDELITIES, Fidelity
from ignota.structures import InputError, Sample
from ignota.taxonomy import ClassSplit, Taxonomy
from ignota.training.configuration import ExperimentConfig
from ignota.training.experiment import open_split


@dataclass(frozen=True)
class AnomalySet:
    """One column group of Table 1.

    title: the data that are measured. closed: the split whose network sees them. dataset: name; None for the evaluation
    images with the split's own novel classes as anomalies. split: of the data set. text: what it holds. paper: the
    paper's data set that it stands for, "" for none.
    """

    title: str
    closed: str
    dataset: str | None
    split: str | None
    text: str
    paper: str = ""

    @property
    def heading(self) -> str:
        """The measured data, and in brackets the paper's where they are others."""
        return self.title if self.paper in ("", self.title) else f"{self.title} (paper: {self.paper})"


@dataclass(frozen=True)
class Ground:
    """One of `--world`. title: of its images. splits: the paper's name of a setting -> ours. preset: of every network,
    but for those of the splits that `presets` names. stands_for: what a reader should know about it. without: tables
    and figures that `all` leaves out."""

    name: str
    title: str
    preset: str
    splits: Mapping[str, str]
    anomaly_sets: tuple[AnomalySet, ...]
    stands_for: str
    presets: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()

    def trained_as(self, split: str) -> str:
        """The split whose network serves this one: the first with the same known classes and preset."""
        known = self.parsed(split).known
        same = (
            name
            for name in self.splits
            if self.parsed(name).known == known and self.preset_of(name) == self.preset_of(split)
        )
        return next(same)

    def parsed(self, split: str) -> ClassSplit:
        return ClassSplit.parse(self.splits[split])

    def preset_of(self, split: str) -> str:
        return self.presets.get(split, self.preset)

    def shown(self, split: str) -> str:
        """How many known and novel classes a setting has here."""
        parsed = self.parsed(split)
        return f"{len(parsed.known)}+{len(parsed.novel)}"

    def heading(self, split: str) -> str:
        """The measured data and classes, and in brackets the paper's where they are others."""
        own, papers = f"{self.title} {self.shown(split)}", f"{PAPERS} {split}"
        return own if own == papers else f"{own} (paper: {papers})"

    def hides(self, split: str) -> bool:
        """Whether novel classes of a split lie in its training images, as void pixels."""
        return bool(self.parsed(split).novel)


PAPERS = "Cityscapes"
"""On which the paper learns classes."""

RATIOS = ("18+1", "16+3", "14+5", "12+7")
"""Figure 7, from few novel classes to many."""

_NINETEEN = {
    "16+3": "cityscapes:16+3",
    "16+1": "cityscapes:16+1",
    "All 17": "cityscapes:truck,bus",
    "All 19": "cityscapes:19+0",
    "18+1": "cityscapes:18+1",
    "14+5": "cityscapes:14+5",
    "12+7": "cityscapes:12+7",
}
"""The paper's settings where the classes are those of Cityscapes."""
_LOST, _ROAD = "Lost and Found", "Road Anomaly"

GROUNDS: dict[str, Ground] = {
    "synthetic": Ground(
        "synthetic",
        "drawn streets",
        "synthetic-16+3",
        _NINETEEN,
        (
            AnomalySet(
                "drawn things", "All 19", "synthetic", "anomaly", "drawn things on the street, all 19 known", _LOST
            ),
            AnomalySet("drawn vehicles", "16+3", None, None, "drawn cars, trucks and buses, never seen", _ROAD),
        ),
        "Drawn streets with the nineteen classes of Cityscapes stand in for Cityscapes and BDD100K.",
        without=("table-3", "table-e"),
    ),
    "camvid": Ground(
        "camvid",
        "CamVid",
        "camvid-8+3",
        {
            "16+3": "camvid:8+3",
            "16+1": "camvid:8+1",
            "All 17": "camvid:pedestrian,bicyclist",
            "All 19": "camvid:11+0",
            "18+1": "camvid:car",
            "14+5": "camvid:car,pedestrian,bicyclist,sign",
            "12+7": "camvid:car,pedestrian,bicyclist,sign,fence",
        },
        (
            AnomalySet("RoadObstacle21", "All 19", "road_obstacle_21", "val", "CamVid's eleven classes known", _LOST),
            AnomalySet("RoadAnomaly21", "All 19", "road_anomaly_21", "val", "CamVid's eleven classes known", _ROAD),
            AnomalySet("CamVid 8+3", "16+3", None, None, "CamVid's cars, pedestrians and bicyclists, never seen"),
        ),
        "CamVid 8+1 and 8+3 stand in for Cityscapes 16+1 and 16+3.",
        {"All 19": "camvid-11"},
        ("figure-7",),
    ),
    "cityscapes": Ground(
        "cityscapes",
        PAPERS,
        "cityscapes-16+3",
        {**_NINETEEN, "BDD100K": "cityscapes:19+0"},
        (
            AnomalySet(_LOST, "BDD100K", "lost_and_found", "test", "the test images", _LOST),
            AnomalySet(_ROAD, "BDD100K", "road_anomaly", None, "all images", _ROAD),
        ),
        "The paper's own data.",
        {"BDD100K": "bdd100k-anomaly"},
    ),
}


@dataclass(frozen=True)
class Setting:
    """A ground at a fidelity. configs: by the name of a preset, for any split. root: where images lie, if on disk."""

    ground: Ground
    fidelity: Fidelity
    configs: Mapping[str, ExperimentConfig]
    root: Path | None

    @classmethod
    def of(
        cls, world: str, fidelity: str, read: Callable[[str, Mapping[str, Any]], ExperimentConfig], root: Path | None,
        given: bool = False,
    ) -> Setting:  # fmt: skip
        """read: preset and changes -> configuration. given: the closed set is somebody's finished one, so that only
        what comes after it is changed. Raises InputError where a ground on disk has no root."""
        ground, chosen = GROUNDS[world], FIDELITIES[fidelity]
        if world != "synthetic" and root is None:
            raise InputError(f"{world} lies on disk: say where with --data ROOT")
        changes = dict(chosen.later) | ({} if given else dict(chosen.changes.get(world, {})))
        presets = {ground.preset, *ground.presets.values()}
        return cls(ground, chosen, {name: read(name, changes) for name in sorted(presets)}, root)

    def config(self, split: str) -> ExperimentConfig:
        """Of the network that serves a split."""
        name = self.ground.trained_as(split)
        config = self.configs[self.ground.preset_of(name)]
        return dataclasses.replace(config, data=dataclasses.replace(config.data, split=self.ground.splits[name]))

    def train(self, split: str) -> LabelledImages:
        config = self.config(split)
        return open_split(config.data, self.root, "train", config.seed)

    def evaluate(self, split: str) -> LabelledImages:
        """The images on which known and learnt classes are measured."""
        config = self.config(split)
        return self._few(open_split(config.data, self.root, "evaluate", config.seed))

    def anomalies(self, place: int) -> LabelledImages:
        """An anomaly set; its labels are class ids where it has a taxonomy."""
        where = self.ground.anomaly_sets[place]
        data = self.config(where.closed).data
        if where.dataset is None:
            return self.evaluate(where.closed)
        if where.dataset == "synthetic":
            return DrawnImages(where.split, data.evaluate_length, (data.height, data.width), self.config("16+3").seed)
        return self._few(open_dataset(where.dataset, self.root, where.split))

    def _few(self, images: LabelledImages) -> LabelledImages:
        most = self.fidelity.images
        return images if most is None or len(images) <= most else EvenlySpaced(images, most)


class EvenlySpaced:
    """Some images of a data set, evenly spread over it; a `LabelledImages`."""

    def __init__(self, images: LabelledImages, count: int) -> None:
        self.images = images
        self.chosen = evenly_spaced(len(images), count).tolist()
        self.name, self.split, self.expected_size = images.name, images.split, images.expected_size
        self.keys = tuple(images.keys[i] for i in self.chosen)
        self.expected_length = None
        self.image_paths = tuple(images.image_paths[i] for i in self.chosen) if images.image_paths else ()
        self.label_paths = tuple(images.label_paths[i] for i in self.chosen) if images.label_paths else ()

    @property
    def taxonomy(self) -> Taxonomy | None:
        return self.images.taxonomy

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> Sample:
        return self.images[self.chosen[index]]

    def load_label(self, index: int) -> np.ndarray:
        return self.images.load_label(self.chosen[index])
