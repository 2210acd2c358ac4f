"""An open world around a network of your own: any nn.Module, by naming the layers whose outputs are features.

    python examples/own_segmenter.py

The network is not changed. It and what is trained around it see far too little here to be of use, so that the script
takes seconds; the same from the command line, once it has written its weights:

    python examples/own_segmenter.py small-network.pth
    SMALL_NETWORK=small-network.pth PYTHONPATH=examples ignota adapt own_segmenter:network --allow-code \
        --dataset synthetic --split cityscapes:16+3 --out my-world
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

import ignota
from ignota.models.tapped import TappedModule
from ignota.structures import Preprocessing
from ignota.synthetic import SyntheticStreets
from ignota.taxonomy import ClassSplit


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


def network(num_classes: int = 16) -> TappedModule:
    """The network under Ignota's contract, by default for the 16 known classes of cityscapes:16+3.

    Load your weights before you wrap it: here those in the file that $SMALL_NETWORK names.
    classifier: its input is the tap `decoder`, the paper's F. layers: further taps, by the layers' dotted names.
    """
    module = SmallNetwork(num_classes)
    if weights := os.environ.get("SMALL_NETWORK"):
        module.load_state_dict(torch.load(weights, weights_only=True))
    return TappedModule(
        module.eval(),
        layers={"early": "backbone.1", "late": "backbone"},
        classifier="classifier",
        preprocessing=Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
        multiple=8,
    )


def train(path: Path, steps: int = 80) -> None:
    """Stands in for your training: a few steps on drawn streets, rare classes counting more."""
    torch.manual_seed(0)
    module, streets = SmallNetwork(16), SyntheticStreets("train", 12, (64, 128))
    lut = torch.from_numpy(ClassSplit.parse("cityscapes:16+3").training_lut()).long()
    samples = [streets[i] for i in range(len(streets))]
    images = torch.stack([torch.from_numpy(sample.image) for sample in samples]).permute(0, 3, 1, 2) / 255
    labels = torch.stack([lut[torch.from_numpy(sample.label).long()] for sample in samples])
    weight = torch.bincount(labels[labels < 16], minlength=16).clamp(min=1).float() ** -0.5
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        logits = module((images - 0.5) / 0.25)
        nn.functional.cross_entropy(logits, labels, weight, ignore_index=255).backward()
        optimiser.step()
    torch.save(module.state_dict(), path)


SETTINGS: dict[str, object] = {
    "size": 64,
    "data.train_length": 12,
    "data.height": 64,
    "data.width": 128,
    "embedder.steps": 20,
    "embedder.batch": 64,
    "fit.taps": ["decoder", "late", "frozen/16"],
    "fit.images": 8,
    "fit.coreset": 200,
    "fit.reference": 200,
}


def main() -> list[str]:
    """Builds a world around the network, teaches it a car, and tells what came of it."""
    said = [f"{name}: {tap.channels} channels, stride {tap.stride}" for name, tap in network().taps.items()]
    with tempfile.TemporaryDirectory() as folder:
        out, weights = Path(folder) / "world", Path(folder) / "small-network.pth"
        train(weights)
        os.environ["SMALL_NETWORK"] = str(weights)
        source, split = "own_segmenter:network", "cityscapes:16+3"
        ignota.adapt(
            source, None, out, dataset="synthetic", split=split, settings=SETTINGS, allow_code=True, quiet=True,
            watch=said.append,
        )  # fmt: skip
        del os.environ["SMALL_NETWORK"]  # from now on its weights are the world's
        world = ignota.load(out, writable=True)  # its code was allowed a moment ago
        try:
            return said + teach(world)
        finally:
            world.store.close()


def teach(world: ignota.World) -> list[str]:
    """Teaches the world a car from three drawn streets."""
    streets = SyntheticStreets("train", 12, (64, 128))
    car = streets.taxonomy.id_of("car") if streets.taxonomy else 0
    samples = [streets[i] for i in range(len(streets))]
    masks = [(sample.image, sample.label == car) for sample in samples if sample.label is not None]
    largest = sorted(masks, key=lambda pair: -int(pair[1].sum()))[:3]
    world.learn("car", largest, force=True)  # even where it would take much from known classes
    scene = world.segment(largest[0][0])
    found = float((scene.labels == world.classes.id_of("car"))[largest[0][1]].mean())
    return [f"{len(world.classes)} classes; {100 * found:.0f} % of the first example is called 'car'"]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        train(Path(sys.argv[1]), 400)
    else:
        sys.stdout.write("\n".join(main()) + "\n")
