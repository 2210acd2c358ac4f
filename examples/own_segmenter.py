"""An open world around a network of your own: any nn.Module, by naming the layers whose outputs are features.

    python examples/own_segmenter.py

The network is not changed. What is trained around it here is far too little to be of use, so that the script takes
seconds; the same from the command line, on your images and at full length:

    PYTHONPATH=examples ignota adapt own_segmenter:network --allow-code --dataset camvid --data ROOT --out my-world
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from ignota.cli.terminal import hush_training
from ignota.data.synthetic import SyntheticStreets
from ignota.engine.configuration import DataConfig, EmbedderConfig, ExperimentConfig, FitConfig, MetaChannelConfig
from ignota.engine.stages import Stages
from ignota.models.tapped import TappedModule
from ignota.structures import Preprocessing


class SmallNetwork(nn.Module):
    """Stands in for yours: images "B 3 H W" to logits "B C H W". It may have any layers with any names."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=4, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()
        )
        self.neck = nn.Conv2d(32, 24, 3, padding=1)
        self.classifier = nn.Conv2d(24, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        logits = self.classifier(self.neck(self.backbone(images)))
        return nn.functional.interpolate(logits, size=images.shape[-2:], mode="bilinear")


def network(num_classes: int = 11) -> TappedModule:
    """The network under Ignota's contract; load your weights before you wrap it.

    classifier: its input is the tap `decoder`, the paper's F. layers: further taps, by the layers' dotted names.
    """
    torch.manual_seed(0)
    return TappedModule(
        SmallNetwork(num_classes).eval(),
        layers={"early": "backbone.1", "late": "backbone"},
        classifier="classifier",
        preprocessing=Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        multiple=8,
    )


CONFIG = ExperimentConfig(
    size=64,
    data=DataConfig("synthetic", "cityscapes:16+3"),
    meta_channels=MetaChannelConfig(branches=()),
    embedder=EmbedderConfig(steps=20, batch=64),
    fit=FitConfig(taps=("decoder", "late", "frozen/16"), images=8, coreset=200, reference=200),
)


def main() -> list[str]:
    """Builds a world around the network, teaches it a car, and tells what came of it."""
    hush_training()
    segmenter = network(num_classes=16)  # the 16 known classes of the split
    said = [f"{name}: {tap.channels} channels, stride {tap.stride}" for name, tap in segmenter.taps.items()]
    streets = SyntheticStreets("train", 12, (64, 128))
    with tempfile.TemporaryDirectory() as folder:
        stages = Stages(CONFIG, streets, Path(folder), torch.device("cpu"), quiet=True, given=segmenter)
        world = stages.world()

    car = streets.taxonomy.id_of("car") if streets.taxonomy else 0
    samples = [streets[i] for i in range(len(streets))]
    masks = [(sample.image, sample.label == car) for sample in samples if sample.label is not None]
    largest = sorted(masks, key=lambda pair: -int(pair[1].sum()))[:3]
    world.learn("car", largest, force=True)  # even where it would take much from known classes
    scene = world.segment(largest[0][0])
    found = float((scene.labels == world.classes.id_of("car"))[largest[0][1]].mean())
    said.append(f"{len(world.classes)} classes; {100 * found:.0f} % of the first example is called 'car'")
    return said


if __name__ == "__main__":
    sys.stdout.write("\n".join(main()) + "\n")
