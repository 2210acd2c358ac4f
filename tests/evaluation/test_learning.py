"""A world that can be learnt in seconds: streets of flat colours, on which every incremental method must learn."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ignota.evaluation.incremental_evaluation import evaluate_incremental
from ignota.models.segmenter import ClosedSetSegmenter, Tap, crop_to_image, pad_to_multiple
from ignota.structures import Preprocessing, Sample, SegmenterOutput
from ignota.taxonomy import CAMVID, ClassSplit, Taxonomy
from ignota.training.configuration import (
    ClosedSetConfig,
    DataConfig,
    EmbedderConfig,
    ExperimentConfig,
    FitConfig,
    MetaChannelConfig,
    MetricNetworkConfig,
    RegionEmbedderConfig,
)
from ignota.training.segmenters import segmentation_loss
from ignota.training.stages import Stages
from ignota.training.training import normalise_images
from ignota.world.model import OpenWorldModel

pytestmark = pytest.mark.slow
SIZE = (48, 128)
COLOURS = {
    "sky": (150, 200, 250), "building": (120, 60, 40), "road": (90, 90, 100), "pavement": (190, 180, 170),
}  # fmt: skip
HALVES = {
    "tree": ((30, 140, 40), (80, 50, 20)), "sign": ((230, 220, 40), (140, 140, 140)),
    "fence": ((240, 140, 20), (60, 60, 0)), "pole": ((20, 20, 20), (180, 120, 220)),
    "car": ((30, 30, 220), (10, 10, 60)), "pedestrian": ((230, 30, 40), (40, 220, 220)),
    "bicyclist": ((220, 40, 220), (250, 250, 250)),
}  # fmt: skip
"""Colours of the upper and lower half of each thing: no pixel alone looks like the mean of its class."""
THINGS = {
    "car": (22, 26), "pedestrian": (30, 12), "bicyclist": (20, 18),
    "tree": (14, 10), "fence": (8, 12), "sign": (10, 8), "pole": (16, 6),
}  # fmt: skip
FEW = ("raml", "raml_paper", "plm_all_frozen", "npm_frozen", "ft_frozen")
METHODS = (
    *FEW, "raml_released", "raml_tuned", "npm", "plm_latest", "plm_all", "ft", "plm_latest_frozen",
)  # fmt: skip
"""The other members of each family learn in `make test-long` alone."""


class FlatStreets:
    """Bands of sky, building, pavement and road in flat colours with noise; things as rectangles that do not touch."""

    name = "flat"
    expected_size = SIZE
    image_paths: tuple[Path, ...] = ()
    label_paths: tuple[Path, ...] = ()
    taxonomy: Taxonomy | None = CAMVID

    def __init__(self, split: str, length: int) -> None:
        self.split, self.length = split, length

    @property
    def expected_length(self) -> int:
        return self.length

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(f"{self.split}{i}" for i in range(self.length))

    def __len__(self) -> int:
        return self.length

    def load_label(self, index: int) -> NDArray[np.uint8]:
        label = self[index].label
        assert label is not None
        return label

    def __getitem__(self, index: int) -> Sample:
        if index >= self.length:
            raise IndexError(index)
        random = np.random.default_rng([index, len(self.split)])
        label = np.zeros(SIZE, np.uint8)
        edges = (0, *np.cumsum(random.integers((10, 10, 5), (15, 15, 8))), SIZE[0])
        for name, top, bottom in zip(("sky", "building", "pavement", "road"), edges, edges[1:], strict=False):
            label[top:bottom] = CAMVID.id_of(name)
        image = np.zeros((*SIZE, 3))
        for name, colour in COLOURS.items():
            image[label == CAMVID.id_of(name)] = colour
        free = SIZE[1] - sum(width for _, width in THINGS.values())
        gaps = 1 + random.multinomial(free - len(THINGS), np.full(len(THINGS) + 1, 1 / (len(THINGS) + 1)))
        left = 0
        for gap, name in zip(gaps, random.permutation(sorted(THINGS)), strict=False):
            height, width = THINGS[name]
            top, left = random.integers(0, SIZE[0] - height), left + gap
            label[top : top + height, left : left + width] = CAMVID.id_of(name)
            upper, lower = HALVES[name]
            image[top : top + height // 2, left : left + width] = upper
            image[top + height // 2 : top + height, left : left + width] = lower
            left += width
        image += random.normal(0, 8, image.shape)
        return Sample(self.keys[index], image.clip(0, 255).astype(np.uint8), label)


class FlatSegmenter(ClosedSetSegmenter):
    """Three convolutions at half the size of the image: all that flat colours need."""

    def __init__(self, classes: int, width: int = 24) -> None:
        super().__init__()
        self.num_classes, self.taps, self.multiple = classes, {"decoder": Tap(width, 2)}, 2
        self.preprocessing = Preprocessing((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))

        def layer(inputs: int, size: int, stride: int = 1) -> nn.Sequential:
            convolution = nn.Conv2d(inputs, width, size, stride, size // 2, bias=False)
            return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())

        self.encoder = nn.Sequential(layer(3, 3, 2), layer(width, 3), layer(width, 3))
        self.classifier = nn.Conv2d(width, classes, 1)

    def forward(self, images: Tensor) -> SegmenterOutput:
        height, width = images.shape[-2:]
        features = crop_to_image(self.encoder(pad_to_multiple(images, 2)), height, width, 2)
        return SegmenterOutput(self.classifier(features), {"decoder": features})

    def encoder_parameters(self) -> list[nn.Parameter]:
        return list(self.encoder.parameters())

    def output_layers(self) -> list[nn.Module]:
        return [self.classifier]


SPLIT = ClassSplit.parse("camvid:8+3")
EXPERIMENT = ExperimentConfig(
    name="flat",
    size=SIZE[0],
    data=DataConfig("synthetic", "camvid:8+3", height=SIZE[0], width=SIZE[1]),
    closed_set=ClosedSetConfig(crop=SIZE, scale=(1.0, 1.0), jitter=0.0, encoder_lr=0.05, head_lr=0.05, warmup=5),
    metric_network=MetricNetworkConfig(steps=60),
    meta_channels=MetaChannelConfig(
        branches=("paper",),
        steps=300,
        batch=6,
        warmup=5,
        encoder_lr=0.05,
        norm_momentum=0.1,
        checkpoint_every=300,
    ),
    region_embedder=RegionEmbedderConfig(
        steps=100, batch=4, hidden=32, released_hidden=32, embedding=16, views=4, checkpoint_every=100
    ),
    embedder=EmbedderConfig(steps=10, batch=16, hidden=16, embedding=8, taps=("decoder",)),
    fit=FitConfig(
        objectness="none", taps=("decoder",), things=10, coreset=100, reference=100, images=16, held_out=0.25,
        target_fpr=0.05,
    ),
)  # fmt: skip


def closed_set(streets: FlatStreets) -> FlatSegmenter:
    """The segmenter, trained on the known classes; the rest is void."""
    torch.manual_seed(0)
    network, lut = FlatSegmenter(len(SPLIT.known)), SPLIT.training_lut()
    optimiser = torch.optim.SGD(network.parameters(), 0.2, momentum=0.9)
    images = np.stack([streets[i].image for i in range(len(streets))])
    labels = torch.from_numpy(lut[np.stack([streets.load_label(i) for i in range(len(streets))])])
    pixels = normalise_images(torch.from_numpy(images), network.preprocessing.mean, network.preprocessing.std)
    for step in range(100):
        chosen = torch.arange(6 * step, 6 * step + 6) % len(streets)
        optimiser.zero_grad()
        segmentation_loss(network(pixels[chosen]).logits, labels[chosen]).backward()
        optimiser.step()
    return network.eval()


def learnt(experiment: ExperimentConfig, folder: Path) -> OpenWorldModel:
    """A world that has learnt the flat streets."""
    streets = FlatStreets("train", 40)
    return Stages(experiment, streets, folder, torch.device("cpu"), quiet=True, given=closed_set(streets)).world()


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> OpenWorldModel:
    return learnt(EXPERIMENT, tmp_path_factory.mktemp("flat"))


def check_novel(world: OpenWorldModel, methods: tuple[str, ...], images: int) -> None:
    """All but RAML as released, whose meta channels need thousands of steps to grow, and FT, which forgets."""
    found = evaluate_incremental(world, FlatStreets("val", images), FlatStreets("train", 40), methods, 5)
    novel = {name: found["methods"][name]["miou"]["novel"] for name in methods}
    assert all(value > 0.2 for name, value in novel.items() if name not in ("raml_released", "ft", "ft_frozen")), novel
    assert all(novel[name] > 0 for name in ("ft", "ft_frozen") if name in novel), novel
    assert novel["raml_paper"] > novel["npm_frozen"], novel


def test_incremental_methods_learn(flat: OpenWorldModel) -> None:
    check_novel(flat, FEW, 4)


@pytest.mark.long
def test_every_incremental_method_learns(tmp_path: Path) -> None:
    branches = dataclasses.replace(EXPERIMENT.meta_channels, branches=("paper", "released", "dmlnet"))
    check_novel(learnt(dataclasses.replace(EXPERIMENT, meta_channels=branches), tmp_path), METHODS, 10)


def test_meta_channels_take_what_no_known_class_takes(flat: OpenWorldModel) -> None:
    streets, branch = FlatStreets("val", 4), flat.branch("paper")
    novel, known = [], []
    for i in range(len(streets)):
        mass, label = branch.read(flat.encode(streets[i].image)).mass().numpy(), streets.load_label(i)
        novel.append(mass[label >= len(SPLIT.known)])
        known.append(mass[label < len(SPLIT.known)])
    assert np.concatenate(novel).mean() > 0.7 and np.concatenate(known).mean() < 0.3
